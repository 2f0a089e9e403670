"""Who is let into a social or closed room: by hand, by an invite, or because the host follows him.

An admission is an entry of the log, a role for the person; whoever holds it lets him in (R12). This
module decides when to write one; until then he waits in the lobby (lobby.py). A knock is told to
those who run the room and to nobody else.
"""

from collections.abc import Generator, Iterator
from typing import Final

from p2phouse.errors import PeerError, UserError
from p2phouse.identity.keys import Me, key_tag, peer_id
from p2phouse.record import envelope, limits
from p2phouse.record.cbor import Value
from p2phouse.record.envelope import Signed
from p2phouse.record.types import Access, Act, Entry, Invite
from p2phouse.room import frames, lobby
from p2phouse.room.frames import ByeReason, FrameRefused, Greeting
from p2phouse.room.invites import Invites, MayNotLetIn, runs
from p2phouse.room.lobby import LobbyState, Relayed, Shown, Told, Waiting
from p2phouse.room.messages import (
    CloseRoomLink,
    Event,
    EventKind,
    Output,
    SendRoomFrame,
)
from p2phouse.room.rules import Role
from p2phouse.room.state import Membership, RoomLink, Stage
from p2phouse.vocabulary import DeviceKey, Entropy, Now, UserKey

INSIDE: Final = (Role.LISTENER, Role.MUTED, Role.SPEAKER)
KNOCK_S_MAX: Final = limits.LOBBY_S_MAX + 15.0  # theirs ends first, and says why
BYE_S: Final = 5.0  # as in company.py


class NobodyWaits(UserError):
    """Nobody called “{text}” waits to be let in. `p2phouse lobby` lists who does."""


class SeveralWait(UserError):
    """Several people called “{text}” wait. Use the key tag: {tags}."""


class NoPlaceLeft(UserError):
    """The room is full ({limit} people). Somebody must leave before you can let anybody in."""


class PutOutFromAbove(UserError):
    """Somebody above you put {name} out of the room. Only a host or the creator can let {name} in
    again."""


class Admission:
    """See the module. The room is given with each call."""

    def __init__(self, me: Me, *, entropy: Entropy) -> None:
        self.following: frozenset[UserKey] = frozenset()
        self.invites = Invites(me, entropy=entropy)
        self._me = me

    # ── who may be in the room ───────────────────────────────────────────────────────────────

    def is_let_in(self, membership: Membership, uid: UserKey) -> bool:
        return not membership.is_sealed or membership.log.state.role_of(uid) in INSIDE

    def must_wait(self, now: Now, membership: Membership, uid: UserKey, *, outbound: bool) -> bool:
        """Whether somebody who greets is no member yet. outbound: on a link that we opened."""
        if self.is_let_in(membership, uid):
            return False
        # Somebody new cannot have all of the log, and takes whom he was sent to for members. Whom
        # the log does not let in by `strangers` is out again.
        return not (outbound and membership.is_new(now))

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
            yield from self._turn_away(membership, dev, LobbyState.REFUSED)
            return
        # Security: a crowd at the door, or one that comes and goes, must neither fill a list nor
        # keep out who has an invite or is followed.
        is_brief = not place.has_space(None) or not place.knocks.take(now.mono)
        if is_brief and not place.has_brief_space:
            yield from self._turn_away(membership, dev, LobbyState.FULL)
            return
        wait_s = lobby.SHOWING_S if is_brief else limits.LOBBY_S_MAX
        link.stage, link.is_new, link.until = Stage.LOBBY, False, now.mono + wait_s
        waiting = Waiting(
            dev, greeting.join, greeting.identity, now.mono, greeting=greeting, is_brief=is_brief
        )
        place.people[dev] = waiting
        if not is_brief:
            yield _changed(membership, waiting)

    def _turn_away(
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
            yield from self._turn_away(membership, sender, LobbyState.INVITE_FORGED)
            return
        fault = self.invites.fault_of(now, membership, invite)
        if fault is not None:
            yield from self._turn_away(membership, sender, fault)
            return
        waiting.invite = invite
        waiting.told.clear()  # with it he may be let in
        if waiting.is_brief:
            waiting.is_brief = False
            membership.links[sender].until = now.mono + limits.LOBBY_S_MAX
            yield _changed(membership, waiting)

    def _relayed(
        self, now: Now, membership: Membership, sender: DeviceKey, said: Relayed
    ) -> Iterator[Output]:
        invite = envelope.read(said.invite, Invite) if said.invite is not None else None
        dev, place = DeviceKey(said.join.record.dev), membership.lobby
        waiting = place.people.get(dev)
        if lobby.is_final(said.state):
            if waiting is not None and waiting.via == sender:
                del place.people[dev]
                yield _changed(membership, waiting)
            elif waiting is not None and waiting.via is None:
                yield from self._refused_by(now, membership, sender, waiting, said.state)
            return
        if not runs(membership, self._me.uid) or dev in membership.members:
            return  # it is nothing to us
        if waiting is not None and waiting.via != sender:
            return
        if waiting is None and not place.has_space(sender):
            return
        fault = self.invites.fault_of(now, membership, invite) if invite is not None else None
        if fault is not None and invite is not None and invite.record.dev == self._me.dev:
            bad = Waiting(dev, said.join, said.identity, now.mono, invite=invite)
            yield SendRoomFrame(sender, membership.room, lobby.relayed(bad, fault))
            return
        place.people[dev] = waiting = Waiting(
            dev, said.join, said.identity, now.mono, via=sender, invite=None if fault else invite
        )
        yield _changed(membership, waiting)

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
        yield from self._turn_away(membership, waiting.dev, state)

    # ── letting in ───────────────────────────────────────────────────────────────────────────

    def admit(self, membership: Membership, text: str) -> tuple[Signed[Entry], ...]:
        """By hand. Raises UserError."""
        waiting = self.find(membership, text)
        state = membership.log.state
        if not state.may(self._me.uid, Act.ROLE, waiting.uid):
            raise MayNotLetIn
        if membership.count >= limits.MESH_MEMBERS_MAX:
            raise NoPlaceLeft(limit=limits.MESH_MEMBERS_MAX)
        decided = state.candidates.get((Act.ROLE, waiting.uid), ())
        level = state.level(self._me.uid)
        if any(_is_out(each) and state.counting[each.id] < level for each in decided):
            raise PutOutFromAbove(name=waiting.name or key_tag(waiting.uid))
        return self._write(membership, waiting.uid)

    def _write(self, membership: Membership, uid: UserKey) -> tuple[Signed[Entry], ...]:
        role = membership.log.state.default_role
        return membership.log.write(self._me, Act.ROLE, uid, role.value)

    def refuse(self, now: Now, membership: Membership, text: str) -> Iterator[Output]:
        """By hand. Raises UserError."""
        waiting = self.find(membership, text)
        if not runs(membership, self._me.uid):
            raise MayNotLetIn
        membership.lobby.refuse(now.mono, waiting.uid)
        if waiting.via is None:
            yield from self._turn_away(membership, waiting.dev, LobbyState.REFUSED)
        else:
            refused = lobby.relayed(waiting, LobbyState.REFUSED)
            yield SendRoomFrame(waiting.via, membership.room, refused)
            del membership.lobby.people[waiting.dev]
            yield _changed(membership, waiting)

    def find(self, membership: Membership, text: str) -> Waiting:
        """Who waits under that name, key tag or PeerId. Raises UserError."""
        wanted = text.casefold()
        found = [
            waiting
            for waiting in membership.lobby.known
            if wanted
            in (waiting.name.casefold(), key_tag(waiting.uid), peer_id(waiting.dev).casefold())
        ]
        if not wanted or not found:
            raise NobodyWaits(text=text)
        if len({waiting.uid for waiting in found}) > 1:
            tags = ", ".join(key_tag(waiting.uid) for waiting in found)
            raise SeveralWait(text=text, tags=tags)
        return found[0]

    def by_policy(
        self, now: Now, membership: Membership
    ) -> Generator[Output, None, tuple[Signed[Entry], ...]]:
        """Lets in who has a good invite, and in a social room whom the owner of this node follows,
        if that runs the room. Returns what was written."""
        written: tuple[Signed[Entry], ...] = ()
        for waiting in membership.lobby.people.values():
            seat = membership.log.state.seat_of(self._me.uid)
            # Security: policy leaves room in the seat for what its holder decides by hand.
            if seat is None or membership.log.size_of(seat.id) >= limits.ADMITTED_BY_SEAT_MAX:
                break
            if membership.count + len(written) >= limits.MESH_MEMBERS_MAX:
                break
            if self._is_welcome(now, membership, waiting):
                if waiting.invite is not None:
                    yield from self.invites.use(waiting.invite)
                written += self._write(membership, waiting.uid)
        return written

    def _is_welcome(self, now: Now, membership: Membership, waiting: Waiting) -> bool:
        state = membership.log.state
        # Security: who was put out comes back by hand alone, or a link would undo it.
        if (Act.ROLE, waiting.uid) in state.winners or not state.may(
            self._me.uid, Act.ROLE, waiting.uid
        ):
            return False
        if state.access is Access.SOCIAL and waiting.uid in self.following:
            return True
        if waiting.uid in membership.continued:
            return True  # he was in the room that this one continues
        return self.invites.may_use(now, membership, waiting.invite)

    def set_access(self, membership: Membership, access: Access) -> tuple[Signed[Entry], ...]:
        """Changes who may come in; those who are in stay. Raises UserError."""
        state = membership.log.state
        written: tuple[Signed[Entry], ...] = ()
        if access in (Access.SOCIAL, Access.CLOSED) and state.may(self._me.uid, Act.ACCESS):
            for uid in dict.fromkeys(member.uid for member in membership.members.values()):
                named = (Act.ROLE, uid) in state.winners
                if not named and state.may(self._me.uid, Act.ROLE, uid) and not state.seat_of(uid):
                    written += self._write(membership, uid)
        return written + membership.log.write(self._me, Act.ACCESS, None, int(access))

    # ── what follows ─────────────────────────────────────────────────────────────────────────

    def tick(self, now: Now, membership: Membership) -> Iterator[Output]:
        for waiting in membership.lobby.at(None):
            link = membership.links.get(waiting.dev)
            if link is not None and link.until <= now.mono:
                state = LobbyState.FULL if waiting.is_brief else LobbyState.OVER
                yield from self._turn_away(membership, waiting.dev, state)

    def tidy(self, membership: Membership) -> Iterator[Output]:
        """Forgets who waits no more, and says so to those who knew."""
        for waiting in list(membership.lobby.people.values()):
            if waiting.via is None:
                link = membership.links.get(waiting.dev)
                is_there = link is not None and link.stage is Stage.LOBBY
            else:
                is_there = waiting.via in membership.members and not self.is_let_in(
                    membership, waiting.uid
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
            yield _changed(membership, waiting)

    def let_in(self, membership: Membership) -> list[Waiting]:
        """Those at our door who are let in by now."""
        waiting = membership.lobby.at(None)
        return [each for each in waiting if self.is_let_in(membership, each.uid)]

    def tell(self, membership: Membership) -> Iterator[Output]:
        """Who waits is told how it stands; who runs the room is told who waits."""
        hosts = [
            member
            for member in membership.members.values()
            if runs(membership, member.uid)
            and membership.links.get(member.dev, _NO_LINK).stage is Stage.UP
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


_NO_LINK: Final = RoomLink(Stage.OVER, until=0.0)


def _changed(membership: Membership, waiting: Waiting) -> Event:
    return Event(EventKind.LOBBY_CHANGED, membership.room, waiting.dev, waiting.name)


def _is_out(entry: Signed[Entry]) -> bool:
    return entry.record.val in (Role.BAN.value, Role.REMOVE.value)
