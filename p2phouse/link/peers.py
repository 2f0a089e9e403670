"""Everybody on our ports: who checks, shakes hands and then sends or is sent SRTP (RFC 7983 demux).

Media goes first. SRTP is passed on once the port is read dry (backlog.py); checks and handshakes
wait in one bounded queue that `work` empties under a budget, so that five hundred who come at once
make nobody who listens wait. When a handshake has given its keys, TLS is let go.
"""

import logging
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from math import inf
from time import monotonic
from typing import Final

from p2phouse.channel import LinkStatus
from p2phouse.errors import LinkError
from p2phouse.link import syscalls
from p2phouse.link.backlog import Backlog
from p2phouse.link.handshake import Handshake, Identity, Keys
from p2phouse.link.lite import (
    CONSENT_S_MAX,
    Address,
    Answer,
    Chosen,
    Credentials,
    Expired,
    Lite,
    LiteOutput,
    Seen,
    Way,
    ufrag_in,
)
from p2phouse.link.peer import Peer
from p2phouse.link.port import Port, Sink
from p2phouse.link.sparing import network_of
from p2phouse.link.srtp import Receiving
from p2phouse.link.turns import Turns
from p2phouse.vocabulary import Entropy, LinkNumber

log = logging.getLogger(__name__)

WAITING_MAX: Final = 2_048  # datagrams of checks and handshakes: 500 who come at once send 2,000
WAITING_EACH_MAX: Final = 16  # of one peer: a flight in six pieces, and checks by two ways
READ_MAX: Final = 256  # datagrams of one port, then the others have their turn
WORK_TICK_S: Final = 0.020
WORK_S_MAX: Final = 0.012  # of each tick: a thousand joins a second, and sound has the rest
SLICE_S: Final = 0.002  # then the ports are looked at again
SOUND_S_MAX: Final = 0.010  # the same for sound: as long as one packet takes to two thousand

HANDSHAKE_S_MAX: Final = 10.0
# Times what came, until it is shown that answers arrive (RFC 9000 §8.1).
ANSWERED_MAX: Final = 3
# After so many, and after fewer if nobody comes any more, what TLS had is given back: else 70 kB
# stay of each of 500 who come at once, instead of 14. It takes a millisecond.
GIVE_BACK_EACH: Final = 64
GIVE_BACK_MIN: Final = 16
LAST_FLIGHT_S: Final = 10.0  # for how long it is sent again to whoever has not got it
LAST_FLIGHTS_MAX: Final = 8
TICK_S: Final = 0.1
SSRCS_MAX: Final = 256  # of one peer: each costs memory in libsrtp

# A browser has its answer, and checks, some ms before control's word of it is read here. Refused,
# it would try again 50 to 500 ms later, or never (aioice): checks for unknown names wait a little.
EARLY_S: Final = 0.3
EARLY_MAX: Final = 512

RTP_BYTES_MIN: Final = 12  # of RTCP as well, under SRTP

_ALERT: Final = 21
_RTCP_TYPES: Final = range(192, 224)  # RFC 5761 §4: the second byte tells RTCP from RTP


class Peers:
    """Tell it whom to expect; `read` what came, `work` off what waits, `tick` at `deadline`."""

    def __init__(
        self,
        identity: Identity,
        ports: Sequence[Port],
        *,
        entropy: Entropy,
        on_packet: Callable[[LinkNumber, bytes], None],
        on_control: Callable[[LinkNumber, bytes], None],
        on_state: Callable[[LinkNumber, LinkStatus, str], None],
        on_moved: Callable[[LinkNumber, Sink], None],
    ) -> None:
        """on_packet and on_control are given plain RTP and RTCP of a peer that proved itself;
        on_moved a link whose sink has another address, for the crowds it is in."""
        self._identity = identity
        self._ports = ports
        self._on_packet = on_packet
        self._on_control = on_control
        self._on_state = on_state
        self._on_moved = on_moved
        self._lite = Lite(entropy)
        self._peers: dict[LinkNumber, Peer] = {}
        self._at: list[dict[Address, Peer]] = [{} for _ in ports]
        self._sound = Backlog()
        self._has_passed = False  # a slice of it, since the last work
        self._waiting: deque[tuple[Peer, bytes, int, Address]] = deque()
        self._early: dict[str, tuple[float, bytes, int, Address]] = {}  # by the name they are for
        self._turns = Turns()
        self._called: deque[Peer] = deque()  # whose turn it is now
        self._ended = 0  # handshakes, since memory was given back
        self._flights: deque[tuple[float, Peer]] = deque()
        self._window_s = -inf  # in which work was last counted
        self._worked_s = 0.0
        self._ticked_s = 0.0
        self.dropped = 0  # datagrams of nobody, or too many at once

    # ── who is expected ──────────────────────────────────────────────────────────────────────

    def expect(
        self,
        now_s: float,
        number: LinkNumber,
        ours: Credentials,
        *,
        ssrcs_max: int = SSRCS_MAX,
        payload_type: int | None = None,
        is_node: bool = False,
        consent_s: float = CONSENT_S_MAX,
    ) -> bool:
        """Somebody will come; `meet` tells who. False if the names are in use.

        ssrcs_max: how many voices it may bring; 0: nothing of its is opened at all.
        payload_type: what its packets are given in place of their own. is_node: not a browser: it
        must protect by AES-GCM, and goodbyes are said both ways.
        """
        if not self._lite.expect(now_s, number, ours, None, consent_s):
            return False
        peer = self._peers[number] = Peer(
            number, ssrcs_max=ssrcs_max, payload_type=payload_type, is_node=is_node
        )
        self._take_early(peer, ours)
        return True

    def restart(self, number: LinkNumber, ours: Credentials, theirs: Credentials) -> bool:
        """It looks for another way, under new names; until it has one, all goes on by the old. Its
        keys stay (RFC 8842 §4.4: they are another's only with another fingerprint). False if it is
        not here, or the names are in use."""
        if not self._lite.restart(number, ours, theirs):
            return False
        self._take_early(self._peers[number], ours)
        return True

    def _take_early(self, peer: Peer, ours: Credentials) -> None:
        """What came for these names before we knew them."""
        early = self._early.pop(ours.ufrag, None)
        if early is not None:
            self._wait(peer, *early[1:])

    def meet(
        self,
        now_s: float,
        number: LinkNumber,
        theirs: Credentials,
        fingerprint: bytes,
        *,
        is_server: bool,
        knock_at: Sequence[Address] = (),
    ) -> None:
        """It is this one. is_server: whether we wait for its handshake or begin it. knock_at: where
        it may be if it only answers, as we do."""
        peer = self._peers.get(number)
        if peer is not None and not peer.fingerprint:
            peer.fingerprint, peer.is_server = fingerprint, is_server
            ways = [Way(n, at) for at in knock_at for n in self._sockets_for(at)]
            self._perform(now_s, self._lite.meet(number, theirs, ways))

    def _sockets_for(self, address: Address) -> list[int]:
        is_v6 = ":" in address[0]
        return [n for n, port in enumerate(self._ports) if (":" in port.host) is is_v6]

    def forget(self, number: LinkNumber) -> None:
        """Nothing is told of it any more; a node is told goodbye, a browser nothing."""
        self._lite.forget(number)
        peer = self._peers.pop(number, None)
        if peer is None:
            return
        peer.receiving = None  # what of it still waits is not told either
        if peer.tls is not None:
            self._send(peer, peer.tls.goodbye())
        for way in peer.ways:
            self._at[way.socket].pop(way.address, None)
        self._end_handshake(peer)

    def sink(self, number: LinkNumber) -> Sink | None:
        peer = self._peers.get(number)
        return None if peer is None else peer.sink

    def late_permille(self) -> int:
        """Of the packets of sound since it was last asked, those that waited too long to go on."""
        taken, dropped = self._sound.count()
        return 1_000 * dropped // max(1, taken + dropped)

    def forged(self, number: LinkNumber) -> int:
        """Datagrams from where it is that did not open, or were under an SSRC too many."""
        peer = self._peers.get(number)
        return 0 if peer is None else peer.forged

    # ── what comes ───────────────────────────────────────────────────────────────────────────

    def read(self, now_s: float, index: int) -> None:
        """What has come to this port."""
        receive, at = self._ports[index].receive, self._at[index]
        for _ in range(READ_MAX):
            got = receive()
            if got is None:
                break
            data, address = got
            kind = data[0] if data else 255
            if 127 < kind < 192 and len(data) >= RTP_BYTES_MIN:
                peer = at.get(address)
                if peer is not None and peer.receiving is not None:
                    if data[1] not in _RTCP_TYPES:
                        self._sound.put(now_s, peer, data)
                    elif (plain := peer.open_control(data)) is not None:
                        self._on_control(peer.number, plain)
                elif peer is None:
                    self.dropped += 1
            elif kind < 4:
                self._check(now_s, data, index, address)
            # Security: whoever has not completed ICE from there cannot make us shake hands.
            # Test: test_peers.py::test_a_handshake_from_an_address_without_ice_is_not_begun
            elif 19 < kind < 64 and address in at:
                self._wait(at[address], data, index, address)
            else:
                self.dropped += 1
        self._pass_on(now_s)

    def _check(self, now_s: float, data: bytes, index: int, address: Address) -> None:
        number = self._lite.named(ufrag := ufrag_in(data))
        if number is not None:
            self._wait(self._peers[number], data, index, address)
        # Security: strangers' take no place in the queue from whoever is expected.
        # Test: test_peers.py::test_a_flood_of_checks_is_bounded_and_keeps_nobody_out
        elif ufrag and len(self._early) < EARLY_MAX:
            self._early[ufrag] = now_s + EARLY_S, data, index, address
        else:
            self._perform(now_s, self._lite.receive(now_s, data, Way(index, address)))

    def _wait(self, peer: Peer, data: bytes, index: int, address: Address) -> None:
        # Security: one who is known does not take the places of all who come.
        # Test: test_peers.py::test_one_guest_does_not_fill_the_queue
        if peer.waiting < WAITING_EACH_MAX and len(self._waiting) < WAITING_MAX:
            peer.waiting += 1
            self._waiting.append((peer, data, index, address))
        else:
            self.dropped += 1

    def _pass_on(self, now_s: float) -> None:
        """A slice of the sound that came."""
        self._has_passed = True
        began_s, took_s = monotonic(), 0.0
        while took_s < SOUND_S_MAX and (got := self._sound.take(now_s + took_s)) is not None:
            peer, data = got
            plain = peer.open(data)
            if plain is not None:
                self._on_packet(peer.number, plain)
            took_s = monotonic() - began_s

    # ── what can wait ────────────────────────────────────────────────────────────────────────

    @property
    def has_work(self) -> bool:
        return bool(self._waiting or self._called or self._sound)

    def work(self, now_s: float) -> float:
        """A slice of the sound that waits, and one of checks and handshakes. Returns when to come
        again; inf: nothing waits."""
        if not self._has_passed:
            self._pass_on(now_s)
        self._has_passed = False
        if now_s >= self._window_s + WORK_TICK_S:
            self._window_s, self._worked_s = now_s, 0.0
        # The clock here measures only what the work takes; when it is, the caller says.
        began_s, took_s = monotonic(), 0.0
        waiting, called = self._waiting, self._called
        while (waiting or called) and took_s < SLICE_S and self._worked_s + took_s < WORK_S_MAX:
            if called:
                self._begin(now_s, called.popleft())
            else:
                peer, data, index, address = waiting.popleft()
                peer.waiting -= 1
                self._receive(now_s, data, Way(index, address))
            took_s = monotonic() - began_s
        self._worked_s += took_s
        if self._sound:
            return now_s
        if not (waiting or called):
            return inf
        return self._window_s + WORK_TICK_S if self._worked_s >= WORK_S_MAX else now_s

    def _receive(self, now_s: float, data: bytes, way: Way) -> None:
        if data[0] < 4:
            outputs = self._lite.receive(now_s, data, way)
            self._perform(now_s, outputs)
            self._earn(way, data, outputs)
        else:
            self._earn(way, data)
            self._handshake(now_s, data, way)

    def _earn(self, way: Way, data: bytes, outputs: Sequence[LiteOutput] = ()) -> None:
        """What came from whoever shakes hands there, less what it was answered, is its credit."""
        peer = self._at[way.socket].get(way.address)
        if peer is None or peer.sink is not None or peer.way != way:
            return
        answered = sum(len(each.data) for each in outputs if isinstance(each, Answer))
        peer.credit += ANSWERED_MAX * len(data) - answered
        self._send(peer, ())

    def _handshake(self, now_s: float, data: bytes, way: Way) -> None:
        peer = self._at[way.socket].get(way.address)
        if peer is None:
            return
        if peer.sink is not None:
            self._late(now_s, peer, data)
        elif peer.handshake is not None:
            self._further(now_s, peer, data)
        elif peer.is_server and peer.way is not None:
            peer.first = data  # again, if it was repeated
            self._begin(now_s, peer)

    def _begin(self, now_s: float, peer: Peer) -> None:
        """A handshake, or its place in the line of its network."""
        if peer.number not in self._peers:  # gone since it was called
            return
        if not self._has_room(now_s, peer.network):
            self._turns.wait(peer)
            return
        self._turns.begin(peer)
        peer.begun_s = peer.moved_s = now_s
        peer.handshake = Handshake(
            self._identity, is_server=peer.is_server, fingerprint=peer.fingerprint
        )
        if peer.is_server:
            first, peer.first = peer.first, b""
            self._further(now_s, peer, first)
        else:
            self._send(peer, peer.handshake.begin())

    def _has_room(self, now_s: float, network: int) -> bool:
        """Whether one more of it may shake hands; one that stands still makes room."""
        if self._turns.has_room(network):
            return True
        stalled = self._turns.stalled(now_s, network)
        if stalled is None:
            return False
        self._fail(stalled, "the handshake stood still and others waited")
        return True

    def _further(self, now_s: float, peer: Peer, data: bytes) -> None:
        assert peer.handshake is not None
        try:
            flight = peer.handshake.receive(data)
        except LinkError as error:
            self._fail(peer, str(error))
            return
        self._send(peer, flight)
        if flight:
            peer.moved_s = now_s
        keys = peer.handshake.keys
        if keys is not None:
            self._connect(now_s, peer, keys, flight)

    def _connect(self, now_s: float, peer: Peer, keys: Keys, flight: list[bytes]) -> None:
        if peer.is_node and not keys.profile.is_gcm:
            # Security: a node cannot be talked down to SHA1_80; only browsers may need it.
            self._fail(peer, "it does not protect by AES-GCM")
            return
        assert peer.way is not None
        if peer.ssrcs_max:
            peer.receiving = Receiving(keys)
        port = self._ports[peer.way.socket]
        peer.sink = Sink(port, peer.way.address, keys, peer.payload_type)
        peer.credit = inf
        self._send(peer, ())
        peer.last_flight = flight
        if peer.is_node:
            peer.tls = peer.handshake
        self._flights.append((now_s + LAST_FLIGHT_S, peer))
        self._end_handshake(peer)
        self._on_state(peer.number, LinkStatus.CONNECTED, "")

    def _late(self, now_s: float, peer: Peer, data: bytes) -> None:
        """TLS is gone; what still comes is a flight again, because our last was lost, or a
        goodbye. That cannot be read any more, so it only makes us ask."""
        if peer.tls is not None and data[0] == _ALERT:
            if peer.tls.is_goodbye(data):
                peer.tls = None
                self._end(peer, LinkStatus.LOST, "closed by the other end")
        elif data[0] == _ALERT:
            self._perform(now_s, self._lite.ask(now_s, peer.number))
        elif peer.last_flights < LAST_FLIGHTS_MAX:
            peer.last_flights += 1
            self._send(peer, peer.last_flight)

    # ── time ─────────────────────────────────────────────────────────────────────────────────

    @property
    def deadline(self) -> float:
        return self._ticked_s + TICK_S if self._peers or self._early else inf

    def tick(self, now_s: float) -> None:
        self._ticked_s = now_s
        if now_s >= self._lite.deadline:
            self._perform(now_s, self._lite.tick(now_s))
            self._end_spent()
        for peer in self._turns:
            if now_s >= peer.begun_s + HANDSHAKE_S_MAX:
                self._fail(peer, f"the handshake took longer than {HANDSHAKE_S_MAX:.0f} s")
            elif peer.handshake is not None and not peer.held:
                self._send(peer, peer.handshake.retry())
        if self._ended >= (GIVE_BACK_EACH if self._turns else GIVE_BACK_MIN):
            self._ended = 0
            syscalls.give_back()
        while self._flights and now_s >= self._flights[0][0]:
            self._flights.popleft()[1].last_flight = []
        for network in self._turns.lines:
            if self._has_room(now_s, network):
                self._called += self._turns.call(network)
        for ufrag, (until_s, data, index, address) in list(self._early.items()):
            if now_s >= until_s:
                del self._early[ufrag]
                self._perform(now_s, self._lite.receive(now_s, data, Way(index, address)))

    def _end_spent(self) -> None:
        """A link of a node that can take no voice more ends, and is made anew with other keys.

        Security: forgotten, a voice would begin again at nonces that were used; kept, it costs
        memory; and barred, it would be missing without a word.
        Test: test_peers.py::test_a_link_that_had_all_the_voices_it_may_have_ends_with_a_word
        """
        for peer in [each for each in self._peers.values() if each.is_node]:
            if peer.sink is not None and (peer.sink.is_spent or len(peer.ssrcs) >= peer.ssrcs_max):
                self._end(peer, LinkStatus.LOST, "its keys have served all the voices they may")

    # ── outcomes ─────────────────────────────────────────────────────────────────────────────

    def _perform(self, now_s: float, outputs: Iterable[LiteOutput]) -> None:
        for output in outputs:
            match output:
                case Answer(way, data):
                    self._ports[way.socket].send(data, way.address)
                case Seen(number, way, gone):
                    self._see(self._peers[number], way, gone)
                case Chosen(number, way):
                    self._choose(now_s, self._peers[number], way)
                case Expired(number, came):
                    peer = self._peers[number]
                    if peer.sink is not None:
                        self._end(peer, LinkStatus.LOST, "the other end answers no more")
                    else:
                        reason = "the handshake did not end" if came else "nobody came"
                        self._end(peer, LinkStatus.FAILED, reason)

    def _see(self, peer: Peer, way: Way, gone: Way | None) -> None:
        self._at[way.socket][way.address] = peer
        peer.ways.add(way)
        if gone is not None:
            peer.ways.discard(gone)
            self._at[gone.socket].pop(gone.address, None)

    def _choose(self, now_s: float, peer: Peer, way: Way) -> None:
        is_first = peer.way is None
        peer.way = way
        if is_first:
            peer.network = network_of(way.address[0])
            if not peer.is_server:
                self._begin(now_s, peer)
            return
        peer.credit = inf  # it has answered from there
        if peer.sink is not None:
            peer.sink.move(self._ports[way.socket], way.address)
            self._on_moved(peer.number, peer.sink)

    def _fail(self, peer: Peer, reason: str) -> None:
        self._end(peer, LinkStatus.FAILED, reason)

    def _end(self, peer: Peer, status: LinkStatus, reason: str) -> None:
        self.forget(peer.number)
        self._on_state(peer.number, status, reason)

    def _end_handshake(self, peer: Peer) -> None:
        """Lets TLS go, and makes room for the next of the network."""
        self._ended += peer.handshake is not None
        peer.handshake = None
        self._turns.leave(peer)
        self._called += self._turns.call(peer.network)

    def _send(self, peer: Peer, datagrams: Iterable[bytes]) -> None:
        """These after what is held, as far as the credit goes."""
        if peer.way is None:
            return
        port, address = self._ports[peer.way.socket], peer.way.address
        for data in peer.due(datagrams):
            port.send(data, address)
