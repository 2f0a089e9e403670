"""Greetings: what two nodes say first on a room link, and what follows from it.

A greeting is the first word on a link that we opened, or the one answer to the first on a link that
they opened. One that comes later tells of members and gets no answer: so two nodes never greet in
circles.
"""

import math
from collections.abc import Generator, Iterable, Iterator
from typing import Final

from p2phouse.identity.keys import Me
from p2phouse.record import limits
from p2phouse.record.cbor import Value
from p2phouse.record.envelope import Signed
from p2phouse.record.types import Access, Genesis, Speak
from p2phouse.room import frames, lobby
from p2phouse.room.admission import Admission
from p2phouse.room.authority import Authority
from p2phouse.room.carrying import Carrying
from p2phouse.room.chat_exchange import ChatExchange
from p2phouse.room.confirmation import Confirmation
from p2phouse.room.door import Door
from p2phouse.room.frames import ByeReason, FrameKind, FrameRefused, Greeting
from p2phouse.room.graph import Graph
from p2phouse.room.hallway import Hallway
from p2phouse.room.herald import Herald
from p2phouse.room.lobby import Waiting
from p2phouse.room.messages import (
    CloseRoomLink,
    Event,
    EventKind,
    Output,
    RoomLinkUp,
    SendRoomFrame,
)
from p2phouse.room.negotiation import Negotiation
from p2phouse.room.parting import Parting
from p2phouse.room.search import OPEN_S_MAX, Search
from p2phouse.room.stage import Place
from p2phouse.room.state import Member, Membership, RoomLink, Stage
from p2phouse.room.talk import Talk
from p2phouse.room.wiring import Wiring
from p2phouse.vocabulary import DeviceKey, Now, UserKey

RELAY_DEVICES_MAX: Final = 2  # it, and the machine it moved from
RETELL_S: Final = 60.0  # two who could not reach each other when they were told try again
OURS: Final = (Stage.GREETED, Stage.KNOCKED)  # links that we opened, and where theirs is due
UNHEARD_S_MAX: Final = 3 * RETELL_S  # nobody is silent for so long on a link that stands


class Greetings:
    """See the module. The room is given with each call."""

    def __init__(
        self,
        me: Me,
        hallway: Hallway,
        negotiation: Negotiation,
        talk: Talk,
        wiring: Wiring,
        search: Search,
        authority: Authority,
        confirmation: Confirmation,
        place: Place,
        chat: ChatExchange,
        door: Door,
        admission: Admission,
        carrying: Carrying,
        graph: Graph,
        herald: Herald,
        parting: Parting,
    ) -> None:
        self._me = me
        self._hallway = hallway
        self._negotiation = negotiation
        self._talk = talk
        self._wiring = wiring
        self._search = search
        self._authority = authority
        self._confirmation = confirmation
        self._place = place
        self._chat = chat
        self._door = door
        self._admission = admission
        self._carrying = carrying
        self._graph = graph
        self._herald = herald
        self._parting = parting

    def link_up(
        self,
        now: Now,
        membership: Membership | None,
        sender: DeviceKey,
        opened: RoomLinkUp,
    ) -> Iterator[Output]:
        """A room link is ready. Who opened it greets; who did not waits for the greeting."""
        room, outbound, near = opened.room, opened.outbound, opened.near
        if membership is None or membership.room != room:
            if outbound:
                yield CloseRoomLink(sender, room)
            return
        link = membership.links.get(sender)
        if outbound and (link is None or link.stage is Stage.OVER):
            yield CloseRoomLink(sender, room)  # we wanted it once, and do no more
            return
        until = now.mono + OPEN_S_MAX
        if not outbound:
            membership.links[sender] = RoomLink(Stage.AWAITED, until, is_new=True, is_near=near)
            return
        if link is not None and link.stage is Stage.UP:
            # The stream under it changed: who is there now greets by itself.
            link.is_new, link.is_near = True, near
        else:
            link = RoomLink(Stage.GREETED, until, is_new=True, is_near=near)
            membership.links[sender] = link
        if membership.genesis is not None and _is_too_far(link, membership.genesis.record):
            yield from self._turn_away(membership, sender, ByeReason.LOCAL_ONLY)
            return
        # Security: in a sealed room whoever we call proves to be let in before we tell of it.
        is_bare = membership.joined and membership.is_sealed and sender not in membership.members
        yield self.greet(membership, sender, is_bare=is_bare)
        if membership.invite and not membership.joined:
            yield SendRoomFrame(sender, room, lobby.shown(membership.invite))

    def greet(
        self, membership: Membership, to: DeviceKey, *, is_bare: bool = False
    ) -> SendRoomFrame:
        """is_bare: only who we are, nothing of the room."""
        others = _to_be_named(membership, to)
        speak, genesis = membership.voice.speak, membership.genesis
        if is_bare:
            others, speak, genesis = [], None, None
        membership.links[to].told = frozenset() if is_bare else frozenset(membership.members)
        membership.links[to].is_bare = is_bare
        entries: list[Value] = [genesis.data] if genesis else []
        speaks: list[Value] = [speak.data] if speak else []
        told: list[Value] = [[member.dev, list(member.addrs)] for member in others]
        greeting: list[Value] = [
            int(FrameKind.GREETING),
            membership.join.data,
            self._me.record.data,
            [] if is_bare else list(self._hallway.own_addrs),
            told,
            entries,
            speaks,
        ]
        return SendRoomFrame(to, membership.room, greeting)

    def greeted(
        self, now: Now, membership: Membership, sender: DeviceKey, frame: list[Value]
    ) -> Iterator[Output]:
        link = membership.links.get(sender)
        if link is None or link.stage in (Stage.OPENING, Stage.OVER):
            return  # on a link that we have closed, or they
        greeting = frames.read_greeting(frame, sender=sender, room=membership.room)
        member = membership.members.get(sender)
        known = member or membership.lobby.at_our_door(sender)
        is_same = known is not None and known.join.id == greeting.join.id
        if not is_same and not link.is_new:
            # Security: another process comes on a link of its own; else one peer could have
            # everybody close and open media links as fast as it signs.
            raise FrameRefused(reason="another join on the same link")
        if not is_same and not membership.pace_of(sender).joins.take(now.mono):
            raise FrameRefused(reason="it comes and goes without end")
        check_voices(now, membership, member, greeting.speaks)
        genesis = membership.genesis or greeting.genesis
        if genesis is None or not is_understood(genesis.record):
            yield from self._turn_away(membership, sender, ByeReason.NOT_HERE)
            return
        if _is_too_far(link, genesis.record):
            membership.refusal = frames.BYE_TEXTS[ByeReason.LOCAL_ONLY]
            membership.answered = True
            yield from self._turn_away(membership, sender, ByeReason.LOCAL_ONLY)
            return
        membership.genesis = genesis
        uid = UserKey(greeting.identity.record.uid)
        if self._authority.is_out(now, membership, uid):
            yield from self._turn_away(membership, sender, ByeReason.PUT_OUT)
            return
        if member is None and self._authority.is_shut_out(now, membership, uid):
            yield from self._turn_away(membership, sender, ByeReason.LOCKED)
            return
        if member is None and not _has_place(membership, link, uid):
            yield from self._turn_away(membership, sender, no_place(membership))
            return
        if self._admission.must_wait(now, membership, uid, outbound=link.stage in OURS):
            if link.stage in OURS:  # called on somebody's word, before our log knows of him
                yield CloseRoomLink(sender, membership.room)
                yield from self._parting.link_down(
                    now, membership, sender, "not let in, as far as we know"
                )
            else:
                yield from self._door.knock(now, membership, link, greeting)
            return
        yield from self._take_in(now, membership, link, greeting)

    def _take_in(
        self, now: Now, membership: Membership, link: RoomLink, greeting: Greeting
    ) -> Iterator[Output]:
        """Somebody who may be here has greeted."""
        sender = DeviceKey(greeting.join.record.dev)
        member = membership.members.get(sender)
        stage, link.stage, link.is_new = link.stage, Stage.UP, False
        if stage is Stage.AWAITED:
            yield self.greet(membership, sender)
        outbound = member.outbound if member and stage is Stage.UP else stage in OURS
        member = yield from self._admit(membership, greeting, outbound=outbound)
        if stage is not Stage.UP:
            self._herald.see(membership, sender)
            yield from self._place.greet(now, membership, sender)
            yield from self._authority.compare(membership, sender)
            yield from self._confirmation.greet(now, membership, sender)
            yield from self._chat.linked(now, membership, sender)
            yield from self._carrying.linked(membership, sender)
            # After it, or the other end would not know whose news these are.
            yield from self._herald.linked(now, membership, sender)
        if link.is_bare or membership.members.keys() - link.told - {sender}:
            # Admitted while our greeting was on its way: of any two members each of us knows,
            # the later is told of the earlier, so no two stay strangers.
            yield self.greet(membership, sender)
        member.knows = frozenset(dev for dev, _ in greeting.members)
        yield from self._graph.told(now, membership, sender, greeting.members)
        for speak in greeting.speaks:
            yield from self._talk.heard_speak(membership, member, speak)
        if stage is not Stage.UP:
            yield from self._negotiation.met(now, membership, member)

    def _turn_away(
        self, membership: Membership, sender: DeviceKey, reason: ByeReason
    ) -> Iterator[Output]:
        del membership.links[sender]
        self._search.found(membership, sender)
        yield SendRoomFrame(sender, membership.room, frames.bye(reason))
        yield CloseRoomLink(sender, membership.room)

    def _admit(
        self, membership: Membership, greeting: Greeting, *, outbound: bool
    ) -> Generator[Output, None, Member]:
        sender = DeviceKey(greeting.join.record.dev)
        self._search.found(membership, sender)
        member = membership.members.get(sender)
        if member is not None and member.join.id != greeting.join.id:
            # The same device in a new process: its old link and voice are gone for good.
            yield from self._negotiation.close(member)
            member = None
        if member is None:
            member = Member(sender, greeting.join, greeting.identity, greeting.addrs, outbound)
            membership.members[sender] = member
            membership.meet(member.uid)
            self._admission.invites.met(membership, member.identity)
            membership.changed = True
            yield from self._wiring.rewire(membership)
            yield Event(EventKind.MEMBER_JOINED, membership.room, sender, member.name)
        member.addrs = greeting.addrs
        member.outbound, member.is_told = outbound, False
        member.redial_at = member.give_up_at = math.inf
        return member

    def welcome(self, now: Now, membership: Membership, waiting: Waiting) -> Iterator[Output]:
        assert waiting.greeting is not None
        del membership.lobby.people[waiting.dev]
        yield from self._door.gone(membership, waiting)
        if not membership.has_place(outbound=False):
            yield from self._turn_away(membership, waiting.dev, no_place(membership))
            return
        link = membership.links[waiting.dev]
        link.stage, link.until = Stage.AWAITED, now.mono + UNHEARD_S_MAX
        yield from self._take_in(now, membership, link, waiting.greeting)


def check_voices(
    now: Now, membership: Membership, member: Member | None, speaks: Iterable[Signed[Speak]]
) -> None:
    """Raises FrameRefused if the sender of these makes new voices without end."""
    known = member.speak.id if member is not None and member.speak is not None else None
    for speak in speaks:
        voices = membership.pace_of(DeviceKey(speak.record.dev)).voices
        # Security: a voice that takes our slot has us make another; not as fast as a peer signs.
        if speak.id != known and not voices.take(now.mono):
            raise FrameRefused(reason="new voices without end")


def _to_be_named(membership: Membership, to: DeviceKey) -> list[Member]:
    """Of whom our greeting tells: of all; where there are listeners of hub and standby alone, who
    tell of the others."""
    others = [member for member in membership.members.values() if member.dev != to]
    if membership.is_split:
        others = [member for member in others if membership.carries(member.dev)]
    return others[: frames.MEMBERS_TOLD_MAX]


def _has_place(membership: Membership, link: RoomLink, uid: UserKey) -> bool:
    if not membership.is_relay(uid):
        return membership.has_place(outbound=link.stage in OURS)
    # A relay takes nobody's place: it is there so that there are more.
    # Security: but who is one may sign devices without end, and each costs as much as a person.
    # Test: test_greeting.py::test_a_relay_comes_in_with_few_devices_full_or_not
    devices = sum(member.uid == uid for member in membership.members.values())
    return devices < RELAY_DEVICES_MAX


def no_place(membership: Membership) -> ByeReason:
    """Why somebody does not fit in."""
    is_mesh = membership.places == limits.MESH_MEMBERS_MAX
    return ByeReason.NEEDS_CARRIER if is_mesh else ByeReason.FULL


def _is_too_far(link: RoomLink, genesis: Genesis) -> bool:
    # Security: net asks the cards that it saw; somebody with a link may come to a room whose card
    # this machine never saw, or has forgotten.
    return genesis.access is Access.LAN and not link.is_near


def is_understood(genesis: Genesis) -> bool:
    """Whether this version knows such rooms. In others our voice would be public, or our address
    told, against the will of who opened them."""
    return genesis.exposure == "direct"
