"""Links to nodes through the relay's port: one Carrier whose forwarder sends to all in one call.

What engine.py is to a node's links this is to the relay's: it joins the core that carries, the link
control of each link, and the port. It has no voice of its own, and an ear for guests alone.
"""

import logging
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from ipaddress import ip_address
from math import inf
from typing import Final

from aioice.candidate import Candidate, candidate_foundation, candidate_priority

from p2phouse import channel
from p2phouse.carry.batch import BatchForwarder, Traffic
from p2phouse.carry.carrier import Ask, Carrier, CarrierOutput
from p2phouse.carry.control import LinkControl
from p2phouse.carry.pace import Pace
from p2phouse.carry.table import TableRefused, compile_table
from p2phouse.channel import ConnectLink, LinkRole, LinkStatus, OpenLink, SetKeys, SetTable
from p2phouse.errors import PeerError
from p2phouse.guest.ear import Ear
from p2phouse.guest.room import GuestRoom
from p2phouse.link.crowd import Alone, gatherer
from p2phouse.link.gcm import Flows
from p2phouse.link.ice import CANDIDATES_MAX, CONSENT_S_MAX
from p2phouse.link.lite import Address, Credentials
from p2phouse.link.peers import Peers
from p2phouse.link.port import Port, Sink
from p2phouse.vocabulary import FRAME_S, HERE, LinkNumber, Ssrc

log = logging.getLogger(__name__)

UFRAG_BYTES: Final = 4  # of chance; as text twice as long
PWD_BYTES: Final = 16
STATS_EACH_S: Final = 1.0


class NodeLinks:
    """Of one room; call `tick` at `deadline`."""

    def __init__(
        self,
        peers: Peers,
        ports: Sequence[Port],
        fingerprint: bytes,
        say: Callable[[channel.Up], None],
        room: int = 0,
    ) -> None:
        self.room = room
        self._peers = peers
        self._fingerprint = fingerprint
        self._say = say
        self._stays_near = all(port.stays_near for port in ports)
        self._is_trial = all(ip_address(port.host).is_loopback for port in ports)
        self._cands = tuple(map(candidate, ports[:CANDIDATES_MAX]))
        self._flows = Flows()
        self.ear = Ear(lambda ssrc: say(channel.AuditFailed(ssrc, room)))
        self._forwarder = BatchForwarder(self._hear, gatherer(self._flows))
        self._carrier = Carrier(self._hear, self._forwarder)
        self._roles: dict[LinkNumber, LinkRole] = {}  # of all that were opened
        self._controls: dict[LinkNumber, LinkControl] = {}  # of those that are connected
        self._sinks: dict[LinkNumber, Sink] = {}
        self._told: dict[LinkNumber, Traffic] = {}  # to their controls
        # By link and SSRC, of which Peers bounds how many there are.
        self._paces: dict[tuple[LinkNumber, bytes], Pace] = {}
        self._due_s = inf
        self._stats_s = inf

    def __contains__(self, number: LinkNumber) -> bool:
        return number in self._roles

    def __len__(self) -> int:
        return len(self._roles)

    # ── commands ─────────────────────────────────────────────────────────────────────────────

    def open(self, now_s: float, to: OpenLink) -> None:
        if to.local_only and not self._stays_near:
            # A room that must not leave its network has a TTL of 1, and our socket serves others.
            self._fail(to.link, "a relay carries no room of one network alone")
            return
        ours = Credentials(os.urandom(UFRAG_BYTES).hex(), os.urandom(PWD_BYTES).hex())
        if not self._peers.expect(now_s, to.link, ours, is_node=True, consent_s=CONSENT_S_MAX):
            self._fail(to.link, "its number is in use")
            return
        self._roles[to.link] = to.role
        self._say(
            channel.LocalDescription(to.link, ours.ufrag, ours.pwd, self._fingerprint, self._cands)
        )

    def connect(self, now_s: float, to: ConnectLink) -> None:
        role = self._roles.get(to.link)
        if role is not None:
            theirs = Credentials(to.ufrag, to.pwd)
            offered = role is LinkRole.OFFERER
            knock_at = addresses_in(to.cands, is_trial=self._is_trial) if offered else ()
            self._peers.meet(now_s, to.link, theirs, to.fp, is_server=offered, knock_at=knock_at)

    def close(self, number: LinkNumber) -> None:
        self._carry_no_more(number)
        self._roles.pop(number, None)
        self._peers.forget(number)

    def set_table(self, now_s: float, to: SetTable) -> None:
        try:
            table = compile_table(to.epoch, to.rows, to.guarded, to.hurried, to.loudest)
        except TableRefused as error:
            log.error("table_refused epoch=%d error=%s", to.epoch, error)
            return
        if not self._carrier.set_table(now_s, table):
            log.warning("table_old epoch=%d", to.epoch)

    # ── what comes ───────────────────────────────────────────────────────────────────────────

    def link_state(self, now_s: float, number: LinkNumber, status: LinkStatus, reason: str) -> None:
        if status is LinkStatus.CONNECTED:
            sink = self._peers.sink(number)
            assert sink is not None
            self._sinks[number] = sink
            self._controls[number] = LinkControl(os.urandom)
            self._told[number] = Traffic()
            self._carrier.add(now_s, number, Alone(sink, self._flows))
            self._due_s = min(self._due_s, now_s)
            self._stats_s = min(self._stats_s, now_s + STATS_EACH_S)
        else:
            self._carry_no_more(number)
        self._say(channel.LinkState(number, status, reason[:200]))

    def moved(self, number: LinkNumber) -> None:
        self._carrier.moved(number)

    def speak(self, now_s: float, packet: bytes) -> None:
        """A packet of our own voice."""
        self._forwarder.now_s = now_s
        self._carrier.receive(HERE, packet)

    def _hear(self, ssrc: Ssrc, packet: bytes) -> None:
        self.ear.hear(self._forwarder.now_s, ssrc, packet)

    def packet(self, now_s: float, number: LinkNumber, packet: bytes) -> None:
        control = self._controls.get(number)
        # Security: who floods one voice has all rooms of this relay wait for those who hear it.
        # Test: test_links.py::test_a_voice_that_is_flooded_is_carried_no_faster_than_a_voice
        if control is not None and self._pace(number, packet).allow(now_s, len(packet)):
            # Heard even if refused: a peer may talk before our table names its voice.
            self._tell_all(self._carrier.hear_voice(now_s, number))
            self._forwarder.now_s = now_s
            if self._carrier.receive(number, packet):
                control.received_voice(now_s, packet)

    def _pace(self, number: LinkNumber, packet: bytes) -> Pace:
        key = number, packet[8:12]
        pace = self._paces.get(key)
        if pace is None:
            pace = self._paces[key] = Pace()
        return pace

    def control(self, now_s: float, number: LinkNumber, data: bytes) -> None:
        control = self._controls.get(number)
        if control is None:
            return
        try:
            message = control.receive(now_s, data)
        except PeerError as error:
            log.debug("bad_control link=%d error=%s", number, error)
            return
        self._tell_all(self._carrier.hear_control(now_s, number, message))

    # ── time ─────────────────────────────────────────────────────────────────────────────────

    @property
    def deadline(self) -> float:
        return self._due_s

    def tick(self, now_s: float) -> None:
        """Each 20 ms while a link is connected."""
        if not self._controls:
            self._due_s = self._stats_s = inf
            return
        # After a stall nobody catches up: the next is one from now.
        self._due_s = max(self._due_s + FRAME_S, now_s)
        carrier = self._carrier
        loud = carrier.loud(own=False)
        for number, control in self._controls.items():
            self._count(number, control)
            for data in control.tick(
                now_s,
                quiet=number not in loud,
                epoch=carrier.epoch,
                is_standby=number in carrier.hurried,
                carries=number in carrier.carried,
            ):
                self._sinks[number].control(data)
        self._tell_all(carrier.tick(now_s))
        self.ear.tick(now_s)
        if now_s >= self._stats_s:
            self._stats_s = now_s + STATS_EACH_S
            self._tell_stats()

    def _count(self, number: LinkNumber, control: LinkControl) -> None:
        told, traffic = self._told[number], self._forwarder.traffic(number)
        if traffic.packets > told.packets:
            self._told[number] = traffic
            control.sent_voices(
                traffic.sent_s, traffic.packets - told.packets, traffic.octets - told.octets
            )

    def _tell_all(self, outputs: Iterable[CarrierOutput]) -> None:
        for output in outputs:
            match output:
                case Ask(link, kind, altogether):
                    control = self._controls.get(link)
                    if control is not None:
                        data = control.request(kind, self._carrier.epoch, altogether=altogether)
                        self._sinks[link].control(data)
                case channel.Pulls():
                    self._say(replace(output, room=self.room))
                case _:
                    self._say(output)

    def _tell_stats(self) -> None:
        for number, control in self._controls.items():
            self._carrier.set_jitter(number, control.jitter_us / 1e6)
        links = tuple(self._link_stats(*each) for each in self._controls.items())
        self._say(channel.Stats(-1, -1, 0, (), links[:4_096]))

    def _link_stats(self, number: LinkNumber, control: LinkControl) -> channel.LinkStats:
        counts = self._carrier.counts(number)
        return channel.LinkStats(
            number,
            counts.sent,
            counts.received,
            counts.refused,
            counts.malformed + self._peers.forged(number),
            control.rtt_us,
            control.loss_permille,
            control.jitter_us,
        )

    def _carry_no_more(self, number: LinkNumber) -> None:
        self._carrier.remove(number)
        for kept in (self._controls, self._sinks, self._told):
            kept.pop(number, None)
        self._paces = {key: pace for key, pace in self._paces.items() if key[0] != number}

    def _fail(self, number: LinkNumber, reason: str) -> None:
        self._say(channel.LinkState(number, LinkStatus.FAILED, reason))


class NodeRooms:
    """All rooms of nodes, each with its own links and table; asked as one of them is."""

    def __init__(self, new_room: Callable[[int], NodeLinks]) -> None:
        self._new_room = new_room
        self._rooms: dict[int, NodeLinks] = {}
        self._of: dict[LinkNumber, NodeLinks] = {}
        self._guests: dict[int, GuestRoom] = {}  # who listens to a room, by its number

    def __contains__(self, number: LinkNumber) -> bool:
        return number in self._of

    def open(self, now_s: float, to: OpenLink) -> None:
        room = self._room(to.room)
        room.open(now_s, to)
        if to.link in room:
            self._of[to.link] = room

    def connect(self, now_s: float, to: ConnectLink) -> None:
        if to.link in self._of:
            self._of[to.link].connect(now_s, to)

    def close(self, number: LinkNumber) -> None:
        room = self._of.pop(number)
        room.close(number)
        if not room:  # its number is never used again, or begins with a new table
            room.ear.lead_to(None)
            self._rooms.pop(room.room, None)

    def set_table(self, now_s: float, to: SetTable) -> None:
        if to.room in self._rooms or to.rows:
            self._room(to.room).set_table(now_s, to)

    def set_keys(self, to: SetKeys) -> None:
        if to.room in self._rooms:
            self._rooms[to.room].ear.set_keys(to.keys)

    def lead_to(self, number: int, guests: GuestRoom | None) -> None:
        """These guests, or none, hear the room of that number, be it carried now or later."""
        if guests is None:
            self._guests.pop(number, None)
        else:
            self._guests[number] = guests
        if number in self._rooms:
            self._rooms[number].ear.lead_to(guests)

    def link_state(self, now_s: float, number: LinkNumber, status: LinkStatus, reason: str) -> None:
        self._of[number].link_state(now_s, number, status, reason)

    def moved(self, number: LinkNumber) -> None:
        self._of[number].moved(number)

    def packet(self, now_s: float, number: LinkNumber, packet: bytes) -> None:
        room = self._of.get(number)
        if room is not None:
            room.packet(now_s, number, packet)

    def speak(self, now_s: float, number: int, packet: bytes) -> None:
        """A packet of our own voice in the room of that number."""
        if number in self._rooms:
            self._rooms[number].speak(now_s, packet)

    def control(self, now_s: float, number: LinkNumber, data: bytes) -> None:
        room = self._of.get(number)
        if room is not None:
            room.control(now_s, number, data)

    @property
    def deadline(self) -> float:
        return min((room.deadline for room in self._rooms.values()), default=inf)

    def tick(self, now_s: float) -> None:
        for room in list(self._rooms.values()):
            if now_s >= room.deadline:
                room.tick(now_s)

    def _room(self, number: int) -> NodeLinks:
        room = self._rooms.get(number)
        if room is None:
            room = self._rooms[number] = self._new_room(number)
            room.ear.lead_to(self._guests.get(number))
        return room


def addresses_in(cands: Iterable[str], *, is_trial: bool) -> list[Address]:
    """Of the candidates that can be read. is_trial: we are on loopback alone ourselves."""
    found: list[Address] = []
    for text in cands:
        try:
            read = Candidate.from_sdp(text)
            host = ip_address(read.host)
        except (ValueError, IndexError):
            continue
        # Security: a member must not have us knock at what only this machine can reach.
        # Test: test_links.py::test_a_relay_knocks_nowhere_inside_its_own_machine
        if host.is_multicast or host.is_unspecified or host.is_loopback is not is_trial:
            continue
        if read.transport.lower() == "udp" and 0 < read.port < 65_536:
            # As a socket tells who answers, or an answer over IPv6 would seem to be from elsewhere.
            at = str(host), read.port
            found.append(at if host.version == 4 else (*at, 0, 0))
    return found


def candidate(port: Port) -> str:
    """The address as an offer or answer tells it."""
    text: str = Candidate(
        foundation=candidate_foundation("host", "udp", port.host),
        component=1,
        transport="udp",
        priority=candidate_priority(1, "host"),
        host=port.host,
        port=port.number,
        type="host",
    ).to_sdp()
    return text
