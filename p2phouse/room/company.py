"""Who is in the room with us: greetings, farewells, and those whose links broke.

A member is held by two kinds of link, the room link and media. While one of them lives the member
stays; when none is left the member is lost, and looked for.
"""

import math
import random
from collections.abc import Generator, Iterator
from typing import Final

from p2phouse.identity.keys import Me
from p2phouse.record import limits
from p2phouse.record.cbor import Value
from p2phouse.room import frames
from p2phouse.room.frames import ByeReason, FrameKind, Greeting
from p2phouse.room.messages import (
    CloseRoomLink,
    Event,
    EventKind,
    OpenRoomLink,
    Output,
    SendRoomFrame,
)
from p2phouse.room.negotiation import Negotiation
from p2phouse.room.state import Lost, Member, Membership
from p2phouse.room.talk import Talk
from p2phouse.room.wiring import Wiring
from p2phouse.vocabulary import DeviceKey, LinkNumber, Now, RoomId

REDIAL_FIRST_S: Final = 1.0
REDIAL_S_MAX: Final = 15.0
LOST_SOUGHT_S: Final = 300.0  # a laptop that changed network is back long before
LINKLESS_S_MAX: Final = 30.0  # sound goes on while a libp2p host is rebuilt: 2 to 5 s
OFFER_AWAITED_S: Final = 10.0  # the opener offers within a second; then we do


class Company:
    """The members of the room that is given with each call."""

    def __init__(
        self, me: Me, negotiation: Negotiation, talk: Talk, wiring: Wiring, *, rng: random.Random
    ) -> None:
        self._me = me
        self._negotiation = negotiation
        self._talk = talk
        self._wiring = wiring
        self._rng = rng
        self.own_addrs: tuple[bytes, ...] = ()

    # ── arriving ─────────────────────────────────────────────────────────────────────────────

    def dial(
        self, membership: Membership, dev: DeviceKey, addrs: tuple[bytes, ...]
    ) -> Iterator[Output]:
        membership.dialling.add(dev)
        yield OpenRoomLink(dev, membership.room, addrs)

    def link_up(
        self,
        membership: Membership | None,
        sender: DeviceKey,
        room: RoomId,
        *,
        outbound: bool,
    ) -> Iterator[Output]:
        """A room link is ready. Who opened it greets; of two opened at once one stays."""
        if membership is None or membership.room != room:
            if outbound:
                yield CloseRoomLink(sender, room)
            return
        if not outbound:
            membership.dialling.discard(sender)
            membership.awaited.add(sender)
            return
        membership.awaited.discard(sender)
        membership.dialling.add(sender)
        yield SendRoomFrame(sender, room, self._greeting(membership))

    def _greeting(self, membership: Membership) -> list[Value]:
        speak = membership.voice.speak
        entries: list[Value] = [membership.genesis.data] if membership.genesis else []
        speaks: list[Value] = [speak.data] if speak else []
        told: list[Value] = [
            [member.dev, list(member.addrs)]
            for member in list(membership.members.values())[: frames.MEMBERS_TOLD_MAX]
        ]
        return [
            int(FrameKind.GREETING),
            membership.join.data,
            self._me.record.data,
            list(self.own_addrs),
            told,
            entries,
            speaks,
        ]

    def frame(
        self,
        now: Now,
        membership: Membership | None,
        sender: DeviceKey,
        room: RoomId,
        frame: list[Value],
    ) -> Iterator[Output]:
        """Anything that a room link brings. Raises PeerError."""
        kind = frame[0] if frame else None
        if membership is None or membership.room != room:
            if kind == FrameKind.GREETING:
                yield SendRoomFrame(sender, room, frames.bye(ByeReason.NOT_HERE))
            yield CloseRoomLink(sender, room)
            return
        member = membership.members.get(sender)
        match frame:
            case [FrameKind.GREETING, *_]:
                yield from self._greeted(now, membership, sender, frame)
            case [FrameKind.BYE, *_]:
                yield from self._bye(membership, sender, frame)
            case _ if member is None:
                raise frames.FrameRefused(reason="a frame before the greeting")
            case [FrameKind.SPEAK, data]:
                speak = frames.read_speak(data, sender=sender, room=room)
                yield from self._talk.heard_speak(membership, member, speak)
            case [FrameKind.SOFT, data]:
                soft = frames.read_soft(data, sender=sender, room=room)
                yield from self._talk.heard_soft(membership, member, soft)
            case _:
                pass  # kinds that a later version adds

    def _greeted(
        self, now: Now, membership: Membership, sender: DeviceKey, frame: list[Value]
    ) -> Iterator[Output]:
        outbound = sender in membership.dialling
        greeting = frames.read_greeting(
            frame, sender=sender, room=membership.room, joining=not outbound
        )
        if sender not in membership.members and membership.count >= limits.MESH_MEMBERS_MAX:
            yield SendRoomFrame(sender, membership.room, frames.bye(ByeReason.FULL))
            yield CloseRoomLink(sender, membership.room)
            return
        membership.genesis = membership.genesis or greeting.genesis
        if not outbound:
            yield SendRoomFrame(sender, membership.room, self._greeting(membership))
        membership.dialling.discard(sender)
        membership.awaited.discard(sender)
        member = yield from self._admit(now, membership, greeting, outbound=outbound)
        yield SendRoomFrame(sender, membership.room, self._talk.own_soft(now, membership))
        if outbound and membership.voice.speak is not None:
            # Our voice may have changed while our greeting was on its way.
            told: list[Value] = [int(FrameKind.SPEAK), membership.voice.speak.data]
            yield SendRoomFrame(sender, membership.room, told)
        yield from self._meet_the_others(membership, greeting)
        for speak in greeting.speaks:
            yield from self._talk.heard_speak(membership, member, speak)
        if outbound and member.link is None:
            yield from self._negotiation.offer(membership, member)

    def _meet_the_others(self, membership: Membership, greeting: Greeting) -> Iterator[Output]:
        for dev, addrs in greeting.members:
            known = dev == self._me.dev or dev in membership.members or dev in membership.dialling
            if not known and membership.count < limits.MESH_MEMBERS_MAX:
                yield from self.dial(membership, dev, addrs)

    def _admit(
        self, now: Now, membership: Membership, greeting: Greeting, *, outbound: bool
    ) -> Generator[Output, None, Member]:
        sender = DeviceKey(greeting.join.record.dev)
        member = membership.members.get(sender)
        if member is not None and member.join.id != greeting.join.id:
            # The same device in a new process: its old link and voice are gone for good.
            yield from self._negotiation.close(member)
            member = None
        if member is None:
            membership.lost.pop(sender, None)
            member = Member(sender, greeting.join, greeting.identity, greeting.addrs, outbound)
            membership.members[sender] = member
            membership.changed = True
            yield from self._wiring.rewire(membership)
            yield Event(EventKind.MEMBER_JOINED, membership.room, sender, member.name)
        member.room_link = True
        member.addrs = greeting.addrs
        member.outbound = outbound
        member.redial_at = member.give_up_at = math.inf
        if member.link is None and not outbound:
            member.retry_at = now.mono + OFFER_AWAITED_S
        return member

    # ── leaving ──────────────────────────────────────────────────────────────────────────────

    def leave(self, membership: Membership) -> Iterator[Output]:
        """We go: farewell to everybody."""
        for member in membership.members.values():
            if member.room_link:
                yield SendRoomFrame(member.dev, membership.room, frames.bye(ByeReason.LEAVING))
                yield CloseRoomLink(member.dev, membership.room)
            yield from self._negotiation.close(member)
        for dev in membership.dialling:
            yield CloseRoomLink(dev, membership.room)

    def _bye(
        self, membership: Membership, sender: DeviceKey, frame: list[Value]
    ) -> Iterator[Output]:
        yield CloseRoomLink(sender, membership.room)
        membership.dialling.discard(sender)
        membership.awaited.discard(sender)
        membership.lost.pop(sender, None)
        membership.refusal = frames.read_bye(frame)
        member = membership.members.get(sender)
        if member is not None:
            yield from self._remove(membership, member, EventKind.MEMBER_LEFT)

    def link_down(
        self, now: Now, membership: Membership, sender: DeviceKey, reason: str
    ) -> Iterator[Output]:
        """A room link ended, or could not be opened."""
        membership.awaited.discard(sender)
        if sender in membership.dialling:
            membership.dialling.discard(sender)
            membership.refusal = membership.refusal or reason
            self._seek_later(now, membership, sender)
        member = membership.members.get(sender)
        if member is None:
            return
        if not member.room_link:
            member.redial_at = now.mono + self._pause(2)
            return
        member.room_link = False
        if not member.is_heard:
            yield from self.lose(now, membership, member)
            return
        # Sound goes on without it: the peer may be rebuilding its libp2p host.
        member.redial_at = now.mono + self._pause(0 if member.outbound else 2)
        member.give_up_at = now.mono + LINKLESS_S_MAX

    def media_changed(self, now: Now, membership: Membership, member: Member) -> Iterator[Output]:
        """The member's media link failed or fell silent: was it the last that held the member?"""
        if not member.room_link and not member.is_heard:
            yield from self.lose(now, membership, member)

    def silence(
        self, now: Now, membership: Membership, link: LinkNumber, *, silent: bool
    ) -> Iterator[Output]:
        member = membership.by_link(link)
        if member is None or member.silent == silent:
            return
        member.silent = silent
        kind = EventKind.MEMBER_SILENT if silent else EventKind.MEMBER_HEARD
        yield Event(kind, membership.room, member.dev, member.name)
        yield from self.media_changed(now, membership, member)

    def lose(self, now: Now, membership: Membership, member: Member) -> Iterator[Output]:
        """No link of any kind is left: out of the room, but looked for."""
        self.seek(now, membership, member.dev, member.addrs)
        yield CloseRoomLink(member.dev, membership.room)
        yield from self._remove(membership, member, EventKind.MEMBER_LOST)

    def seek(
        self, now: Now, membership: Membership, dev: DeviceKey, addrs: tuple[bytes, ...]
    ) -> None:
        """Looks for somebody who was here, at once and then with growing pauses."""
        membership.lost[dev] = Lost(addrs, now.mono + self._pause(-3), now.mono + LOST_SOUGHT_S)

    def _seek_later(self, now: Now, membership: Membership, dev: DeviceKey) -> None:
        lost = membership.lost.get(dev)
        if lost is not None:
            lost.tries += 1
            lost.redial_at = now.mono + self._pause(lost.tries)

    def _pause(self, tries: int) -> float:
        pause: float = min(REDIAL_S_MAX, REDIAL_FIRST_S * 2.0**tries)
        return pause * self._rng.uniform(0.8, 1.2)

    def _remove(self, membership: Membership, member: Member, kind: EventKind) -> Iterator[Output]:
        del membership.members[member.dev]
        membership.changed = True
        yield from self._wiring.rewire(membership)
        yield from self._negotiation.close(member)
        yield Event(kind, membership.room, member.dev, member.name)

    # ── time ─────────────────────────────────────────────────────────────────────────────────

    def tick(self, now: Now, membership: Membership) -> Iterator[Output]:
        for member in list(membership.members.values()):
            if member.give_up_at <= now.mono:
                yield from self.lose(now, membership, member)
            elif member.redial_at <= now.mono:
                member.redial_at = now.mono + REDIAL_S_MAX
                yield from self.dial(membership, member.dev, member.addrs)
        for dev, lost in list(membership.lost.items()):
            if lost.give_up_at <= now.mono:
                del membership.lost[dev]
            elif lost.redial_at <= now.mono:
                lost.redial_at = now.mono + REDIAL_S_MAX
                yield from self.dial(membership, dev, lost.addrs)

    def deadline(self, membership: Membership) -> float:
        times = [math.inf]
        for member in membership.members.values():
            times += [member.redial_at, member.give_up_at]
        for lost in membership.lost.values():
            times += [lost.redial_at, lost.give_up_at]
        return min(times)
