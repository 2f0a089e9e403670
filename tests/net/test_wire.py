"""Frames over a stream: their sizes, their times, their ends."""

import struct

import pytest
import trio
from libp2p.network.stream.exceptions import StreamReset
from trio.testing import memory_stream_pair

from p2phouse.net.wire import (
    FIRST_BYTE_S,
    FRAME_S,
    SEND_S,
    BadLength,
    FrameTooLong,
    Framing,
    TooSlow,
    Wire,
    WireBroken,
    WireEnded,
)
from tests.net.pipes import BEN, Stream, raw_pair, wire_pair


def frame(body):
    return struct.pack("!I", len(body)) + body


async def test_frames_arrive_as_they_were_sent():
    ana, ben = wire_pair()
    for body in (b"", b"x", bytes(1_000)):
        await ana.send(body)
    assert [await ben.receive(size_max=1_000) for _ in range(3)] == [b"", b"x", bytes(1_000)]


async def test_a_frame_at_the_limit_passes_and_one_byte_more_does_not():
    ana, ben = wire_pair()
    await ana.send(bytes(64))
    assert await ben.receive(size_max=64) == bytes(64)
    await ana.send(bytes(65))
    with pytest.raises(FrameTooLong, match="65 bytes came where 64"):
        await ben.receive(size_max=64)


async def test_a_length_is_judged_before_its_body_is_waited_for():
    wire, stream = raw_pair()
    await stream.write(b"\xff\xff\xff\xff")
    with trio.fail_after(1), pytest.raises(FrameTooLong):
        await wire.receive(size_max=64)


async def test_frames_cut_anywhere_are_put_together(autojump_clock):
    wire, stream = raw_pair()
    data = frame(b"one") + frame(b"") + frame(b"three")

    async def dribble():
        for number in range(len(data)):
            await stream.write(data[number : number + 1])
            await trio.sleep(0.1)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(dribble)
        assert [await wire.receive(size_max=64) for _ in range(3)] == [b"one", b"", b"three"]


async def test_a_first_byte_that_does_not_come_is_too_slow(autojump_clock):
    wire, _ = raw_pair()
    with pytest.raises(TooSlow, match=r"within 2\.0 s"):
        await wire.receive(size_max=64, wait_s=2.0)


@pytest.mark.parametrize(
    ("after_s", "is_heard"), [(FIRST_BYTE_S - 0.1, True), (FIRST_BYTE_S + 0.1, False)]
)
async def test_a_stream_has_five_seconds_for_its_first_byte(autojump_clock, after_s, is_heard):
    assert FIRST_BYTE_S == 5.0
    wire, stream = raw_pair()

    async def speak():
        await trio.sleep(after_s)
        await stream.write(frame(b"hello"))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(speak)
        if is_heard:
            assert await wire.receive(size_max=64, wait_s=FIRST_BYTE_S) == b"hello"
        else:
            with pytest.raises(TooSlow):
                await wire.receive(size_max=64, wait_s=FIRST_BYTE_S)


async def test_a_frame_that_begins_and_does_not_end_is_too_slow(autojump_clock):
    wire, stream = raw_pair()
    await stream.write(frame(b"half a frame")[:-1])
    with pytest.raises(TooSlow):
        await wire.receive(size_max=64, wait_s=None)
    assert trio.current_time() == pytest.approx(FRAME_S, abs=0.1)


async def test_waiting_for_ever_for_a_first_byte_is_possible(autojump_clock):
    wire, stream = raw_pair()

    async def later():
        await trio.sleep(3_600)
        await stream.write(frame(b"at last"))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(later)
        assert await wire.receive(size_max=64, wait_s=None) == b"at last"


async def test_a_stream_that_ends_between_frames_has_ended_and_within_one_is_broken():
    ana, ben = wire_pair()
    await ana.close()
    with pytest.raises(WireEnded):
        await ben.receive(size_max=64)
    wire, stream = raw_pair()
    await stream.write(frame(b"half")[:-1])
    await stream.close_write()
    with pytest.raises(WireBroken) as raised:
        await wire.receive(size_max=64)
    assert not isinstance(raised.value, WireEnded)


async def test_a_peer_that_reads_nothing_is_given_five_seconds(autojump_clock):
    class Full:
        async def write(self, data):
            await trio.sleep_forever()

    with pytest.raises(WireBroken, match="does not read"):
        await Wire(Full(), BEN, near=True).send(b"anything")
    assert trio.current_time() == pytest.approx(SEND_S, abs=0.1)


async def test_a_wire_that_is_finished_waits_for_the_other_end_and_then_no_longer(autojump_clock):
    ana, ben = wire_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ana.finish)
        await ben.close()
    assert trio.current_time() < 0.1
    ana, ben = wire_pair()
    await ana.finish()
    assert 1.9 < trio.current_time() < 2.2
    with pytest.raises(WireBroken):
        await ben.send(b"still there?")


async def test_a_peer_that_writes_on_after_the_end_fills_nothing(autojump_clock):
    near_end, far_end = memory_stream_pair()
    stream, flooder = Stream(near_end), Stream(far_end)

    async def flood():
        try:
            while True:
                await flooder.write(bytes(4_096))
                await trio.sleep(0.001)
        except StreamReset:
            return

    async with trio.open_nursery() as nursery:
        nursery.start_soon(flood)
        await Wire(stream, BEN, near=True).finish()
    assert stream.taken <= (64 + 16) * 1024


@pytest.mark.parametrize("size", [0, 1, 127, 128, 16_383, 16_384, 60_000])
async def test_libp2ps_own_framing_is_read_too(size):
    wire, stream = raw_pair()
    length, rest = b"", size
    while rest > 0x7F:
        length += bytes([rest & 0x7F | 0x80])
        rest >>= 7
    await stream.write(length + bytes([rest]) + bytes(size))
    body = await wire.receive(size_max=60_000, framing=Framing.VARINT)
    assert body == bytes(size)


async def test_a_varint_that_does_not_end_is_no_length():
    wire, stream = raw_pair()
    await stream.write(b"\xff" * 6)
    with pytest.raises(BadLength):
        await wire.receive(size_max=64, framing=Framing.VARINT)


async def test_a_varint_beyond_the_limit_is_refused():
    wire, stream = raw_pair()
    await stream.write(b"\xff\xff\xff\xff\x7f")
    with pytest.raises(FrameTooLong):
        await wire.receive(size_max=64, framing=Framing.VARINT)


async def test_an_end_within_a_shield_is_not_disturbed_by_a_cancellation(autojump_clock):
    ana, ben = wire_pair()
    with trio.CancelScope() as scope:
        scope.cancel()
        await ana.reset()
    with pytest.raises(WireEnded):
        await ben.receive(size_max=1)
