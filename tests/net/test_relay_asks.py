"""Questions to relays, on streams in memory."""

import pytest
import trio

from p2phouse.net import relay_asks
from p2phouse.net.wire import FrameTooLong, TooSlow
from p2phouse.record import limits
from tests.net.pipes import ANA, wire_pair


async def serve(wire, reply: bytes, heard: list[object] | None = None):
    async def answerer(dev, question):
        if heard is not None:
            heard.append((dev, question))
        return reply

    await relay_asks.answer(wire, answerer)
    await wire.finish()


async def test_what_is_asked_of_a_relay_has_1536_bytes_and_no_more():
    ours, theirs = wire_pair()
    heard: list[object] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve, theirs, b"reply", heard)
        assert await relay_asks.ask(ours, bytes(limits.RELAY_ASK_BYTES_MAX)) == b"reply"
    assert heard == [(ANA, bytes(1_536))]
    ours, theirs = wire_pair()
    await ours.send(bytes(limits.RELAY_ASK_BYTES_MAX + 1))
    with pytest.raises(FrameTooLong):
        await serve(theirs, b"reply")


async def test_what_a_relay_replies_has_3600_bytes_and_no_more():
    for size in (3_600, 3_601):
        assert limits.RELAY_REPLY_BYTES_MAX == 3_600
        ours, theirs = wire_pair()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve, theirs, bytes(size))
            if size > limits.RELAY_REPLY_BYTES_MAX:
                with pytest.raises(FrameTooLong):
                    await relay_asks.ask(ours, b"?")
            else:
                assert await relay_asks.ask(ours, b"?") == bytes(size)


async def test_who_asks_a_node_that_says_nothing_is_told_so(autojump_clock):
    ours, _ = wire_pair()
    with pytest.raises(relay_asks.NoReply, match="did not reply"):
        await relay_asks.ask(ours, b"?")


async def test_who_opens_a_stream_and_asks_nothing_is_too_slow(autojump_clock):
    _, theirs = wire_pair()
    with pytest.raises(TooSlow):
        await serve(theirs, b"reply")
