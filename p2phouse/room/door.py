"""The door of a sealed room: what room links say of those who wait at it, at ours or another's.

It lets nobody in (admission.py does): it keeps who waits, tells them how it stands, and tells those
who run the room of them and nobody else.
"""

from collections.abc import Iterator
from typing import Final

from p2phouse.errors import PeerError
from p2phouse.identity.keys import Me
from p2phouse.record import envelope, limits
from p2phouse.record.cbor import Value
from p2phouse.record.types import Invite
from p2phouse.room import frames, lobby
from p2phouse.room.frames import ByeReason, FrameRefused, Greeting
from p2phouse.room.invites import Invites, runs
from p2phouse.room.lobby import LobbyState, Relayed, Shown, Told, Waiting
from p2phouse.room.messages import CloseRoomLink, Event, EventKind, Output, SendRoomFrame
from p2phouse.room.state import Membership, RoomLink, Stage
from p2phouse.vocabulary import DeviceKey, Now, UserKey

KNOCK_S_MAX: Final = limits.LOBBY_S_MAX + 15.0  # theirs ends first, and says why
BYE_S: Final = 5.0  # as in company.py


class Door:
    """See the module. The room is given with each call."""

    def __init__(self, me: Me, invites: Invites) -> None:
        self._me = me
        self._invites = invites

    # ── knocking ─────────────────────────────────────────────────────────────────────────────

    def knock(
        self, now: Now, membership: Membership, link: RoomLink, greeting: Greeting
    ) -> Iterator[Output]:
        """Somebody greets who is not let in: he waits, and hears nothing of the room."""
        dev, place = DeviceKey(greeting.join.record.dev), membership.lobby
        waiting = place.at_our_door(dev)
        if waiting is not None and waiting.join.id == greeting.join.id:
            return
        if place.is_refused(now.mono, UserKey(greeting.identity.record.uid)):
            yield from self.turn_away(membership, dev, LobbyState.REFUSED)
            return
        # Security: a crowd at the door, or one that comes and goes, must neither fill a list nor
        # keep out who has an invite or is followed.
        is_brief = not place.has_space(None) or not place.knocks.take(now.mono)
        if is_brief and not place.has_brief_space:
            yield from self.turn_away(membership, dev, LobbyState.FULL)
            return
        wait_s = lobby.SHOWING_S if is_brief else limits.LOBBY_S_MAX
        link.stage, link.is_new, link.until = Stage.LOBBY, False, now.mono + wait_s
        waiting = Waiting(
            dev, greeting.join, greeting.identity, now.mono, greeting=greeting, is_brief=is_brief
        )
        place.people[dev] = waiting
        if not is_brief:
            yield changed(membership, waiting)

    def turn_away(
        self, membership: Membership, dev: DeviceKey, state: LobbyState
    ) -> Iterator[Output]:
        membership.links.pop(dev, None)
        refusal = (
            frames.bye(ByeReason.REFUSED) if state is LobbyState.REFUSED else lobby.told(state)
        )
        yield SendRoomFrame(dev, membership.room, refusal)
        yield CloseRoomLink(dev, membership.room)

    # ── what room links say of it ────────────────────────────────────────────────────────────

    def heard(
        self, now: Now, membership: Membership, sender: DeviceKey, frame: list[Value]
    ) -> Iterator[Output]:
        """Raises PeerError before anything has changed."""
        said = lobby.read(frame, membership.room)
        match said:
            case Told(state):
                yield from self._told(now, membership, sender, state)
            case Shown(data):
                yield from self._shown(now, membership, sender, data)
            case Relayed() if sender in membership.members and membership.joined:
                yield from self._relayed(now, membership, sender, said)

    def _told(
        self, now: Now, membership: Membership, sender: DeviceKey, state: LobbyState
    ) -> Iterator[Output]:
        link = membership.links.get(sender)
        if link is None or link.stage not in (Stage.GREETED, Stage.KNOCKED):
            return
        membership.answered = True
        if lobby.is_final(state):
            membership.links[sender] = RoomLink(Stage.OVER, until=now.mono + BYE_S)
            membership.refusal = lobby.STATE_TEXTS[state]
            return
        if link.stage is Stage.GREETED:
            link.stage, link.until = Stage.KNOCKED, now.mono + KNOCK_S_MAX
        if membership.joined or membership.waits is state:
            return
        if membership.waits is None:
            membership.give_up_at = now.mono + KNOCK_S_MAX
        membership.waits = state
        text = lobby.STATE_TEXTS[state]
        yield Event(EventKind.LOBBY_WAITING, membership.room, sender, text)

    def _shown(
        self, now: Now, membership: Membership, sender: DeviceKey, data: bytes
    ) -> Iterator[Output]:
        waiting = membership.lobby.at_our_door(sender)
        if waiting is None or waiting.invite is not None:
            return
        try:
            invite = envelope.read(data, Invite)
        except PeerError:
            yield from self.turn_away(membership, sender, LobbyState.INVITE_FORGED)
            return
        fault = self._invites.fault_of(now, membership, invite)
        if fault is not None:
            yield from self.turn_away(membership, sender, fault)
            return
        waiting.invite = invite
        waiting.told.clear()  # with it he may be let in
        if waiting.is_brief:
            waiting.is_brief = False
            membership.links[sender].until = now.mono + limits.LOBBY_S_MAX
            yield changed(membership, waiting)

    def _relayed(
        self, now: Now, membership: Membership, sender: DeviceKey, said: Relayed
    ) -> Iterator[Output]:
        invite = envelope.read(said.invite, Invite) if said.invite is not None else None
        dev, place = DeviceKey(said.join.record.dev), membership.lobby
        waiting = place.people.get(dev)
        if lobby.is_final(said.state):
            if waiting is not None and waiting.via == sender:
                del place.people[dev]
                yield changed(membership, waiting)
            # Security: OVER tells of that member's own door. Who knocks at two and leaves one sets
            # nobody against the other.
            elif waiting is not None and waiting.via is None and said.state != LobbyState.OVER:
                yield from self._refused_by(now, membership, sender, waiting, said.state)
            return
        if not runs(membership, self._me.uid) or dev in membership.members:
            return  # it is nothing to us
        if waiting is not None and waiting.via != sender:
            return
        if waiting is None and not place.has_space(sender):
            return
        fault = self._invites.fault_of(now, membership, invite) if invite is not None else None
        if fault is not None and invite is not None and invite.record.dev == self._me.dev:
            bad = Waiting(dev, said.join, said.identity, now.mono, invite=invite)
            yield SendRoomFrame(sender, membership.room, lobby.relayed(bad, fault))
            return
        place.people[dev] = waiting = Waiting(
            dev, said.join, said.identity, now.mono, via=sender, invite=None if fault else invite
        )
        yield changed(membership, waiting)

    def _refused_by(
        self,
        now: Now,
        membership: Membership,
        sender: DeviceKey,
        waiting: Waiting,
        state: LobbyState,
    ) -> Iterator[Output]:
        """A member says that whoever waits at our door shall not come in."""
        # Security: only who runs the room turns people away, or a listener could shut its door.
        if not runs(membership, membership.members[sender].uid):
            raise FrameRefused(reason="somebody turned away by who does not run the room")
        if state is LobbyState.REFUSED:
            membership.lobby.refuse(now.mono, waiting.uid)
        yield from self.turn_away(membership, waiting.dev, state)

    # ── what follows ─────────────────────────────────────────────────────────────────────────

    def tick(self, now: Now, membership: Membership) -> Iterator[Output]:
        for waiting in membership.lobby.at(None):
            link = membership.links.get(waiting.dev)
            if link is not None and link.until <= now.mono:
                state = LobbyState.FULL if waiting.is_brief else LobbyState.OVER
                yield from self.turn_away(membership, waiting.dev, state)

    def tidy(self, membership: Membership) -> Iterator[Output]:
        """Forgets who waits no more, and says so to those who knew."""
        for waiting in list(membership.lobby.people.values()):
            if waiting.via is None:
                link = membership.links.get(waiting.dev)
                is_there = link is not None and link.stage is Stage.LOBBY
            else:
                is_there = waiting.via in membership.members and not membership.is_let_in(
                    waiting.uid
                )
            if not is_there:
                del membership.lobby.people[waiting.dev]
                yield from self.gone(membership, waiting)

    def gone(self, membership: Membership, waiting: Waiting) -> Iterator[Output]:
        """He waits no more: he went, was refused, or is in."""
        for member in membership.members.values():
            if member.join.id in waiting.told:
                over = lobby.relayed(waiting, LobbyState.OVER)
                yield SendRoomFrame(member.dev, membership.room, over)
        if not waiting.is_brief:
            yield changed(membership, waiting)

    def tell(self, membership: Membership) -> Iterator[Output]:
        """Who waits is told how it stands; who runs the room is told who waits."""
        hosts = [
            member
            for member in membership.members.values()
            if runs(membership, member.uid) and membership.is_up(member.dev)
        ]
        for waiting in membership.lobby.at(None):
            if waiting.is_brief:
                continue
            for member in hosts:
                if member.join.id not in waiting.told:
                    waiting.told.add(member.join.id)
                    knock = lobby.relayed(waiting, LobbyState.WAITING)
                    yield SendRoomFrame(member.dev, membership.room, knock)
            state = self._state_of(membership, waiting, has_host=bool(hosts))
            if waiting.state is not state:
                waiting.state = state
                yield SendRoomFrame(waiting.dev, membership.room, lobby.told(state))

    def _state_of(self, membership: Membership, waiting: Waiting, *, has_host: bool) -> LobbyState:
        invite = waiting.invite.record if waiting.invite is not None else None
        if invite is not None and invite.once:
            maker = DeviceKey(invite.dev)
            if maker != self._me.dev and maker not in membership.members:
                return LobbyState.ISSUER_AWAY
        if has_host or runs(membership, self._me.uid):
            return LobbyState.WAITING
        return LobbyState.NOBODY_HERE


def changed(membership: Membership, waiting: Waiting) -> Event:
    return Event(EventKind.LOBBY_CHANGED, membership.room, waiting.dev, waiting.name)
