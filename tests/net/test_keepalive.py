"""Our own ping, in memory and on a clock that jumps."""

import random
from itertools import pairwise

import pytest
import trio

from p2phouse.errors import PeerError
from p2phouse.net import keepalive
from p2phouse.net.wire import TooSlow, WireBroken
from tests.net.pipes import BEN, raw_pair, wire_pair


class Peer:
    """Answers pings while it lives; the test may stop it, or bring it back."""

    def __init__(self, nursery):
        self._nursery = nursery
        self.is_stopped = False
        self.opened = 0
        self.pings = []

    async def open_wire(self):
        self.opened += 1
        ours, theirs = wire_pair()
        self._nursery.start_soon(self._answer, theirs)
        return ours

    async def _answer(self, wire):
        while True:
            try:
                nonce = await wire.receive(size_max=8, wait_s=None)
            except WireBroken:
                return
            self.pings.append(trio.current_time())
            while self.is_stopped:  # noqa: ASYNC110 - a stopped process has no event either
                await trio.sleep(0.1)
            await wire.send(nonce)


@pytest.fixture
def peer(nursery):
    return Peer(nursery)


async def watch(peer, *, in_room):
    """Pings until the peer is given up."""
    await keepalive.keep_alive(
        BEN, open_wire=peer.open_wire, in_room=lambda: in_room, rng=random.Random(5)
    )


@pytest.mark.parametrize(("in_room", "interval_s"), [(True, 5.0), (False, 15.0)])
async def test_a_living_peer_is_pinged_for_ever_on_one_stream(
    peer, autojump_clock, in_room, interval_s
):
    with trio.move_on_after(600) as scope:
        await watch(peer, in_room=in_room)
    assert scope.cancelled_caught
    assert peer.opened == 1
    gaps = [after - before for before, after in pairwise(peer.pings)]
    assert all(0.9 * interval_s <= gap <= 1.1 * interval_s for gap in gaps)


@pytest.mark.parametrize(("in_room", "soonest", "latest"), [(True, 10.0, 15.6), (False, 30, 46.6)])
async def test_a_peer_that_stops_is_given_up_after_three_misses(
    peer, nursery, autojump_clock, in_room, soonest, latest
):
    async def stop():
        await trio.sleep(100)
        peer.is_stopped = True

    nursery.start_soon(stop)
    await watch(peer, in_room=in_room)
    assert soonest <= trio.current_time() - 100 <= latest
    nursery.cancel_scope.cancel()


async def test_a_stall_shorter_than_three_misses_is_survived(peer, nursery, autojump_clock):
    async def stall():
        await trio.sleep(100)
        peer.is_stopped = True
        await trio.sleep(8)
        peer.is_stopped = False

    nursery.start_soon(stall)
    with trio.move_on_after(600) as scope:
        await watch(peer, in_room=True)
    assert scope.cancelled_caught
    assert peer.opened == 1, "the late echoes are passed over on the same stream"


async def test_who_joins_a_room_is_watched_more_closely_at_once(peer, nursery, autojump_clock):
    joined = trio.Event()

    async def join_and_stop():
        await trio.sleep(1)
        joined.set()
        peer.is_stopped = True

    nursery.start_soon(join_and_stop)
    await keepalive.keep_alive(
        BEN, open_wire=peer.open_wire, in_room=joined.is_set, rng=random.Random(5)
    )
    assert trio.current_time() < 20
    nursery.cancel_scope.cancel()


async def test_a_peer_that_refuses_streams_is_given_up(autojump_clock):
    tries = []

    async def refuse():
        tries.append(trio.current_time())
        raise WireBroken(reason="refused")

    await keepalive.keep_alive(BEN, open_wire=refuse, in_room=lambda: True, rng=random.Random(5))
    assert len(tries) == keepalive.MISSES_MAX


async def test_a_peer_that_echoes_something_else_is_given_up(autojump_clock, nursery):
    async def open_wire():
        wire, stream = raw_pair()
        nursery.start_soon(lie, stream)
        return wire

    async def lie(stream):
        for _ in range(keepalive.STRAY_MAX):
            await stream.write(b"\x00\x00\x00\x08" + b"no echo!")

    with trio.fail_after(60):
        await keepalive.keep_alive(
            BEN, open_wire=open_wire, in_room=lambda: True, rng=random.Random(5)
        )


async def test_an_echo_comes_back_as_it_went_and_not_longer(autojump_clock, nursery):
    ours, theirs = wire_pair()
    nursery.start_soon(keepalive.echo, theirs)
    for nonce in (b"12345678", b"", b"abc"):
        await ours.send(nonce)
        assert await ours.receive(size_max=8) == nonce
    nursery.cancel_scope.cancel()


async def test_nine_bytes_are_no_ping(autojump_clock):
    ours, theirs = wire_pair()
    await ours.send(b"123456789")
    with pytest.raises(PeerError):
        await keepalive.echo(theirs)


async def test_whoever_pings_without_end_gets_ten_echoes_a_second(autojump_clock, nursery):
    ours, theirs = wire_pair()
    nursery.start_soon(keepalive.echo, theirs)
    for _ in range(100):
        await ours.send(b"12345678")
    for _ in range(100):
        await ours.receive(size_max=8, wait_s=None)
    assert trio.current_time() >= 9.8
    nursery.cancel_scope.cancel()


async def test_a_ping_stream_that_falls_silent_is_ended(autojump_clock):
    _, theirs = wire_pair()
    with pytest.raises(TooSlow):
        await keepalive.echo(theirs)
    assert trio.current_time() == pytest.approx(keepalive.IDLE_S, abs=1)
