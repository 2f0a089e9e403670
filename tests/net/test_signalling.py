"""Offers and answers, on streams in memory."""

import pytest
import trio

from p2phouse.net import signalling
from p2phouse.net.events import OfferHeard
from p2phouse.net.wire import FrameTooLong, TooSlow
from tests.net.pipes import ANA, wire_pair


async def serve(wire, *, reply=None):
    """Answers one offer with `reply`; returns what the node heard."""
    heard = []

    async def emit(event):
        heard.append(event)
        if reply is not None:
            event.reply(reply)

    await signalling.answer(wire, emit)
    await wire.finish()
    return heard


async def test_an_offer_of_the_longest_size_is_answered_and_one_byte_more_is_not():
    ours, theirs = wire_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: serve(theirs, reply=bytes(2_048)))
        answer = await signalling.ask(ours, bytes(signalling.OFFER_BYTES_MAX))
    assert answer == bytes(2_048)
    ours, theirs = wire_pair()
    await ours.send(bytes(signalling.OFFER_BYTES_MAX + 1))
    with pytest.raises(FrameTooLong):
        await serve(theirs)


async def test_an_answer_too_long_is_refused():
    ours, theirs = wire_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: serve(theirs, reply=bytes(2_049)))
        with pytest.raises(FrameTooLong):
            await signalling.ask(ours, b"offer")


async def test_an_offer_that_nobody_answers_is_told_to_who_made_it(autojump_clock):
    ours, theirs = wire_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve, theirs)
        with pytest.raises(signalling.NoAnswer, match="did not answer"):
            await signalling.ask(ours, b"offer")
    assert trio.current_time() == pytest.approx(signalling.ANSWER_S, abs=2.5)


async def test_an_answer_that_comes_too_late_or_twice_is_ignored(autojump_clock):
    ours, theirs = wire_pair()
    await ours.send(b"offer")
    (heard,) = await serve(theirs)
    assert isinstance(heard, OfferHeard)
    assert (heard.dev, heard.data) == (ANA, b"offer")
    heard.reply(b"late")
    heard.reply(b"later")


async def test_a_stream_without_an_offer_is_too_slow(autojump_clock):
    _, theirs = wire_pair()
    with pytest.raises(TooSlow):
        await serve(theirs)
