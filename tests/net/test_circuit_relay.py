"""The middle of a circuit, on wires in memory."""

import contextlib
import time

import pytest
import trio

from p2phouse.errors import PeerError
from p2phouse.identity.keys import PEER_ID_PREFIX
from p2phouse.net import circuit, circuit_relay
from p2phouse.net.circuit import RelayRefused
from p2phouse.net.circuit_messages import (
    BadCircuitMessage,
    Kind,
    Message,
    Status,
    read_stop,
    write_hop,
    write_stop,
)
from p2phouse.net.circuit_relay import CircuitRelay
from p2phouse.net.rates import Pace
from p2phouse.net.wire import Framing, Wire, WireBroken
from p2phouse.vocabulary import DeviceKey, Now
from tests.net.pipes import Stream, wire_pair

CARLA = DeviceKey(b"\x03" * 32)
PEERS = [DeviceKey(bytes([number]) * 32) for number in range(1, 5)]


def end(dev, *, relayed=False):
    """A wire of the relay's to a peer, and that peer's own end."""
    one, other = trio.testing.memory_stream_pair()
    return (
        Wire(Stream(one), dev, near=False, relayed=relayed),
        Wire(Stream(other), DeviceKey(bytes(32)), near=False),
    )


class Middle:
    """A relay whose peers are all connected and answer every call."""

    def __init__(self, nursery, **limits):
        self.nursery = nursery
        self.calls: dict[DeviceKey, list[Wire]] = {}
        self.connected = set(PEERS)
        self.now = Now(1_000.0, 2_000.0)
        self.willing = True
        self.answers: bool | None = True  # None: not even a wire to them comes about
        self.relay = CircuitRelay(
            clock=lambda: Now(time.monotonic(), time.time()),
            willing=lambda: self.willing,
            connected=lambda dev: dev in self.connected,
            open_wire=self._call,
            addrs=lambda: [b"\x04addr"],
            **limits,
        )

    async def _call(self, dev, protocol):
        assert protocol == circuit.STOP
        if self.answers is None:
            await trio.sleep_forever()
        ours, theirs = end(dev)
        self.calls.setdefault(dev, []).append(theirs)
        if self.answers:
            self.nursery.start_soon(circuit.accept, theirs)
        else:
            self.nursery.start_soon(circuit.refuse, theirs)
        return ours

    async def ask(self, dev, question, *, relayed=False):
        """Asks in a task of its own; what the question makes of the answer."""
        ours, theirs = end(dev, relayed=relayed)
        self.nursery.start_soon(self._serve, ours)
        return theirs, await question(theirs)

    async def _serve(self, wire):
        with contextlib.suppress(PeerError, WireBroken):
            await self.relay.serve(wire)

    async def reserve(self, dev, **more):
        return await self.ask(dev, circuit.reserve, **more)

    async def circuit(self, dev, to):
        wire, _ = await self.ask(dev, lambda wire: circuit.ask_for_circuit(wire, to))
        return wire


@pytest.fixture
def make_middle(nursery):
    def make(**limits):
        return Middle(nursery, **limits)

    return make


ANA, BEN, *_ = PEERS


async def test_bytes_go_both_ways_between_two_who_never_met(make_middle):
    middle = make_middle()
    _, until = await middle.reserve(BEN)
    assert until > time.time() + 3_000
    ana = await middle.circuit(ANA, BEN)
    (ben,) = middle.calls[BEN]
    await ana.write(b"hello")
    assert await ben.read() == b"hello"
    await ben.write(b"hello to you")
    assert await ana.read() == b"hello to you"
    assert middle.relay.circuits == 1


async def test_an_end_of_one_ends_it_for_the_other(make_middle):
    middle = make_middle()
    await middle.reserve(BEN)
    ana = await middle.circuit(ANA, BEN)
    (ben,) = middle.calls[BEN]
    await ana.reset()
    with pytest.raises(WireBroken):
        await ben.read()
    with trio.fail_after(2):
        while middle.relay.circuits:  # noqa: ASYNC110 - a count has no event
            await trio.sleep(0.01)


@pytest.mark.parametrize("gone", ["never", "left", "expired", "unreachable"])
async def test_nobody_is_called_who_holds_no_place(make_middle, gone, monkeypatch):
    middle = make_middle()
    if gone == "expired":
        monkeypatch.setattr(circuit_relay, "RESERVATION_S", 0)
    if gone != "never":
        await middle.reserve(BEN)
    if gone == "left":
        middle.relay.lost(BEN)
    if gone == "unreachable":
        middle.connected.discard(BEN)  # but for a circuit of somebody else's
    with pytest.raises(RelayRefused, match="not there"):
        await middle.circuit(ANA, BEN)
    assert not middle.calls


async def test_nobody_is_called_by_themselves(make_middle):
    middle = make_middle()
    await middle.reserve(ANA)
    with pytest.raises(RelayRefused, match="not there"):
        await middle.circuit(ANA, ANA)
    assert not middle.calls


@pytest.mark.parametrize("peer", [b"", b"\x01" * 38, PEER_ID_PREFIX + BEN + b"\0"])
async def test_who_names_nobody_breaks_the_protocol(make_middle, peer):
    middle = make_middle()
    relay, ana = end(ANA)
    await ana.send_varint(write_hop(Message(Kind.CONNECT, peer=peer)))
    with pytest.raises(BadCircuitMessage):
        await middle.relay.serve(relay)


async def test_a_place_is_for_whom_the_handshake_proved(make_middle):
    # Security: the message may name anybody.
    middle = make_middle()

    async def in_ben_s_name(wire):
        await wire.send_varint(write_hop(Message(Kind.RESERVE, peer=PEER_ID_PREFIX + BEN)))
        await wire.receive(size_max=4_096, framing=Framing.VARINT)

    await middle.ask(ANA, in_ben_s_name)
    with pytest.raises(RelayRefused, match="not there"):
        await middle.circuit(CARLA, BEN)
    await middle.circuit(CARLA, ANA)


async def test_places_are_so_many_and_no_more(make_middle):
    middle = make_middle(reservations_max=2)
    await middle.reserve(PEERS[0])
    await middle.reserve(PEERS[1])
    with pytest.raises(RelayRefused, match="no place left"):
        await middle.reserve(PEERS[2])
    await middle.reserve(PEERS[0])  # who has one keeps it
    middle.relay.lost(PEERS[1])
    await middle.reserve(PEERS[2])
    assert middle.relay.reservations == 2


async def test_circuits_of_one_peer_are_so_many_and_no_more(make_middle, monkeypatch):
    monkeypatch.setattr(circuit_relay, "CIRCUITS_PER_PEER_MAX", 2)
    middle = make_middle()
    await middle.reserve(BEN)
    for _ in range(2):
        await middle.circuit(ANA, BEN)
    with pytest.raises(RelayRefused, match="as much as it may"):
        await middle.circuit(ANA, BEN)
    with pytest.raises(RelayRefused, match="as much as it may"):
        await middle.circuit(CARLA, BEN)


async def test_circuits_of_all_together_are_so_many_and_no_more(make_middle, monkeypatch):
    monkeypatch.setattr(circuit_relay, "CIRCUITS_MAX", 2)
    middle = make_middle()
    await middle.reserve(ANA)
    await middle.reserve(BEN)
    await middle.circuit(CARLA, BEN)
    wire = await middle.circuit(PEERS[3], ANA)
    with pytest.raises(RelayRefused, match="as much as it may"):
        await middle.circuit(CARLA, ANA)
    await wire.reset()
    with trio.fail_after(2):
        while middle.relay.circuits > 1:  # noqa: ASYNC110 - a count has no event
            await trio.sleep(0.01)
    await middle.circuit(CARLA, ANA)


@pytest.mark.parametrize("bound", ["PACE", "ALL"])
async def test_what_goes_through_keeps_the_pace_of_a_circuit_and_of_all_together(
    make_middle, monkeypatch, autojump_clock, bound
):
    # Security: a volunteer's uplink is not for whoever sends the most.
    monkeypatch.setattr(circuit_relay, f"{bound}_BURST_BYTES", 1_000)
    monkeypatch.setattr(circuit_relay, f"{bound}_BYTES_A_SECOND", 100)
    middle = make_middle()
    await middle.reserve(BEN)
    pairs = [(await middle.circuit(asker, BEN), middle.calls[BEN][-1]) for asker in (ANA, CARLA)]

    async def seconds(pair, size):
        began = trio.current_time()
        await pair[0].write(bytes(size))
        while size:
            size -= len(await pair[1].read())
        return trio.current_time() - began

    assert await seconds(pairs[0], 1_000) < 1
    assert await seconds(pairs[0], 1_000) > 9
    assert (await seconds(pairs[1], 1_000) > 9) is (bound == "ALL"), "the others' pace is theirs"


async def test_a_circuit_ends_when_its_bytes_are_spent(make_middle):
    middle = make_middle(circuit_bytes=10)
    await middle.reserve(BEN)
    ana = await middle.circuit(ANA, BEN)
    (ben,) = middle.calls[BEN]
    await ana.write(b"12345")
    assert await ben.read() == b"12345"
    await ben.write(b"67890")
    assert await ana.read() == b"67890"
    await ana.write(b"!")
    with pytest.raises(WireBroken):
        await ben.read()


async def test_a_circuit_ends_when_its_time_is_over(make_middle):
    middle = make_middle(circuit_s=0.05)
    await middle.reserve(BEN)
    ana = await middle.circuit(ANA, BEN)
    with trio.fail_after(2), pytest.raises(WireBroken):
        await ana.read()


async def test_who_is_unwilling_or_is_asked_through_another_relay_says_so(make_middle):
    middle = make_middle()
    with pytest.raises(RelayRefused, match="no relay"):
        await middle.reserve(ANA, relayed=True)
    middle.willing = False
    with pytest.raises(RelayRefused, match="no relay"):
        await middle.reserve(ANA)
    with pytest.raises(RelayRefused, match="no relay"):
        await middle.circuit(ANA, BEN)


async def test_a_circuit_ends_when_the_owner_wants_to_carry_nobody_any_more(make_middle):
    middle = make_middle()
    await middle.reserve(BEN)
    ana = await middle.circuit(ANA, BEN)
    (ben,) = middle.calls[BEN]
    middle.willing = False
    await ana.write(b"hello")
    with trio.fail_after(2), pytest.raises(WireBroken):
        await ben.read()


async def test_it_is_known_who_is_served_by_a_place_or_a_circuit(make_middle):
    middle = make_middle()
    assert not any(map(middle.relay.serves, PEERS))
    await middle.reserve(BEN)
    assert [dev for dev in PEERS if middle.relay.serves(dev)] == [BEN]
    await middle.circuit(ANA, BEN)
    assert [dev for dev in PEERS if middle.relay.serves(dev)] == [ANA, BEN]


async def test_who_does_not_want_a_call_gets_no_circuit(make_middle):
    middle = make_middle()
    await middle.reserve(BEN)
    middle.answers = False
    with pytest.raises(RelayRefused, match="does not answer"):
        await middle.circuit(ANA, BEN)
    assert middle.relay.circuits == 0


async def test_who_is_announced_under_another_kind_of_key_is_not_welcome():
    ours, relay = wire_pair()
    await relay.send_varint(write_stop(Message(Kind.CONNECT, peer=b"\x07" * 38)))
    with pytest.raises(BadCircuitMessage):
        await circuit.accept(ours)


@pytest.mark.parametrize(
    ("has_place", "relayed", "comes"),
    [(True, False, True), (False, False, False), (True, True, False)],
)
async def test_nobody_calls_us_but_a_relay_with_a_place_for_us_and_straight(
    has_place, relayed, comes
):
    ours, relay = end(ANA, relayed=relayed)
    await relay.send_varint(write_stop(Message(Kind.CONNECT, peer=PEER_ID_PREFIX + CARLA)))
    assert await circuit.answer(ours, has_place=has_place) is comes
    said = read_stop(await relay.receive(size_max=512, framing=Framing.VARINT))
    assert (said.status == Status.OK) is comes


async def test_a_refusal_that_we_have_no_words_for_gives_its_number():
    ours, relay = wire_pair()
    await relay.send_varint(write_hop(Message(Kind.STATUS, status=400)))
    with pytest.raises(RelayRefused, match="status 400"):
        await circuit.reserve(ours)


async def test_whoever_is_called_and_says_nothing_is_not_waited_for(make_middle, autojump_clock):
    middle = make_middle()
    await middle.reserve(BEN)
    middle.answers = None
    with pytest.raises(RelayRefused, match="does not answer"):
        await middle.circuit(ANA, BEN)
    assert not middle.relay.serves(ANA)


def test_the_pace_of_a_circuit_is_under_that_of_a_voice():
    pace = Pace(4_000, 10_000)
    assert pace.wait_s(0.0, 10_000) == 0.0
    assert pace.wait_s(0.0, 1) == pytest.approx(1 / 4_000)
    # A voice of 32 kb/s with its headers, for ten seconds: it arrives ever later.
    waits = [pace.wait_s(1.0 + 0.02 * n, 138) for n in range(500)]
    assert waits[-1] > 2
    assert circuit_relay.PACE_BYTES_A_SECOND < 50 * (80 + 12)
