"""Guests who speak among nodes, in the media process: each is a member with links of its own.

To the room such a guest is a node (docs/adr/0023): control runs one for it, whose links come from
here, at a port beside the one for everybody. What the guest sends is sealed as that member's voice
and goes out on them; what comes in on them nobody hears. Its room is told by the number of the
guest's link, made negative, so that no number is a room of two kinds.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from math import inf
from time import monotonic
from typing import Final

from p2phouse import channel
from p2phouse.carry.pace import Pace
from p2phouse.channel import (
    CloseLink,
    ConnectLink,
    Down,
    EndVoice,
    LinkStatus,
    NewVoice,
    OpenGuest,
    OpenLink,
    SetTable,
    SetVoice,
)
from p2phouse.guest.mouth import GuestMouth
from p2phouse.link.handshake import Identity
from p2phouse.link.ice import CANDIDATES_MAX
from p2phouse.link.peers import Peers
from p2phouse.link.port import Port
from p2phouse.vocabulary import FRAME_S, LinkNumber
from p2phouse.voice.plain import NotPlain, Plain, parse
from p2phouse_relay.links import NodeLinks, NodeRooms, candidate

HUB_PORTS_MAX: Final = 2


def room_of(link: LinkNumber) -> int:
    """By which the room of this guest's member is told."""
    return -link


class Speaker:
    """A guest as what comes of it is given on; it has what a room of guests has for speakers."""

    def __init__(self, guest: OpenGuest, speaking: "Speaking") -> None:
        self._guest = guest
        self._speaking = speaking
        self._pace = Pace()

    def receive(self, now_s: float, link: LinkNumber, data: bytes) -> None:
        """Plain RTP. Raises nothing."""
        # Security: one who floods seals no more than a voice has.
        # Test: test_speaking.py::test_of_a_guest_nothing_is_sealed_beyond_a_voice_or_that_is_none
        if not self._pace.allow(now_s, len(data)):
            return
        try:
            packet = parse(data, self._guest.level_extension)
        except NotPlain:
            return
        if packet.payload_type == self._guest.payload_type:
            self._speaking.say(now_s, room_of(link), packet)

    def hear_control(self, now_s: float, link: LinkNumber, data: bytes) -> None:
        """RTCP: an encoder that asks for no report is told of none."""


class Speaking:
    """Nothing of it is there before the first such guest. Call `tick` at `deadline`."""

    def __init__(
        self,
        identity: Identity,
        tell: Callable[[channel.Up], None],
        everybodys: Sequence[Port],
        open_ports: Callable[[], Sequence[Port]],
    ) -> None:
        """everybodys: ports of this process; the hub is there if it is us. open_ports: asked once,
        when they are needed; whoever waits on them calls `read`."""
        self._identity = identity
        self._tell = tell
        self._hub = tuple(map(candidate, everybodys[:HUB_PORTS_MAX]))
        self._open_ports = open_ports
        self._peers: Peers | None = None
        self._rooms = NodeRooms(self._new_links)
        self._mouths: dict[int, GuestMouth] = {}
        self._ports: Sequence[Port] = ()
        self._due_s = inf

    def __contains__(self, link: LinkNumber) -> bool:
        return link in self._rooms

    def perform(self, now_s: float, message: Down) -> bool:
        """False if it is about something else."""
        match message:
            case OpenLink() if message.room < 0:
                self._begin()
                self._rooms.open(now_s, message)
            case SetTable() if message.room < 0:
                self._rooms.set_table(now_s, message)
            case ConnectLink(link, cands=cands) if link in self._rooms:
                # The hub is most often us, and is told of by an address that a router of ours may
                # not lead back to this machine.
                here = replace(message, cands=(*self._hub, *cands)[:CANDIDATES_MAX])
                self._rooms.connect(now_s, here)
            case CloseLink(link) if link in self._rooms:
                self._rooms.close(link)
            case NewVoice(sid, room):
                mouth = self._mouths[room] = GuestMouth(now_s, sid, entropy=os.urandom)
                self._due_s = min(self._due_s, now_s)
                self._tell(channel.VoiceKey(sid, mouth.akey))
            case SetVoice(sid, ssrc, kid, base) if self._is_of(message.room, sid):
                self._mouths[message.room].set(ssrc, kid, base, muted=message.muted)
            case EndVoice(sid, room) if self._is_of(room, sid):
                del self._mouths[room]
            case SetVoice() | EndVoice():
                pass  # of a voice that has ended
            case _:
                return False
        return True

    def _is_of(self, room: int, sid: bytes) -> bool:
        return room in self._mouths and self._mouths[room].sid == sid

    def say(self, now_s: float, room: int, packet: Plain) -> None:
        """A packet of the guest."""
        mouth = self._mouths.get(room)
        if mouth is not None:
            for sealed in mouth.receive(now_s, packet):
                self._rooms.speak(now_s, room, sealed)

    # ── the port ─────────────────────────────────────────────────────────────────────────────

    def _begin(self) -> None:
        if self._peers is not None:
            return
        self._ports = self._open_ports()
        self._peers = Peers(
            self._identity,
            self._ports,
            entropy=os.urandom,
            on_packet=lambda link, data: self._rooms.packet(monotonic(), link, data),
            on_control=lambda link, data: self._rooms.control(monotonic(), link, data),
            on_state=self._link_state,
            on_moved=lambda link, sink: self._rooms.moved(link) if link in self._rooms else None,
        )

    def _new_links(self, room: int) -> NodeLinks:
        assert self._peers is not None
        return NodeLinks(self._peers, self._ports, self._identity.fingerprint, self._tell, room)

    def read(self, now_s: float, index: int) -> None:
        if self._peers is not None:
            self._peers.read(now_s, index)

    def work(self, now_s: float) -> float:
        """What waits at the port; when there is more."""
        return self._peers.work(now_s) if self._peers is not None else inf

    @property
    def has_work(self) -> bool:
        return self._peers is not None and self._peers.has_work

    def _link_state(self, link: LinkNumber, status: LinkStatus, reason: str) -> None:
        if link in self._rooms:
            self._rooms.link_state(monotonic(), link, status, reason)

    # ── time ─────────────────────────────────────────────────────────────────────────────────

    @property
    def deadline(self) -> float:
        peers_s = self._peers.deadline if self._peers is not None else inf
        return min(self._due_s, self._rooms.deadline, peers_s)

    def tick(self, now_s: float) -> None:
        if now_s >= self._due_s:
            # After a stall nobody catches up: the next is one from now.
            self._due_s = max(self._due_s + FRAME_S, now_s) if self._mouths else inf
            for room, mouth in self._mouths.items():
                for sealed in mouth.tick(now_s):
                    self._rooms.speak(now_s, room, sealed)
        if now_s >= self._rooms.deadline:
            self._rooms.tick(now_s)
        if self._peers is not None and now_s >= self._peers.deadline:
            self._peers.tick(now_s)
