"""Who is let into a social or closed room: by hand, by an invite, or because the host follows him.

An admission is an entry of the log, a role for the person; whoever holds it lets him in (R12). This
module decides when to write one; until then he waits at the door (door.py).
"""

from collections.abc import Generator, Iterator

from p2phouse.errors import UserError
from p2phouse.identity.keys import Me, key_tag, peer_id
from p2phouse.record import limits
from p2phouse.record.envelope import Signed
from p2phouse.record.types import Access, Act, Entry
from p2phouse.room import lobby
from p2phouse.room.door import Door, changed
from p2phouse.room.invites import Invites, MayNotLetIn, runs
from p2phouse.room.lobby import LobbyState, Waiting
from p2phouse.room.messages import (
    Output,
    SendRoomFrame,
)
from p2phouse.room.rules import Role
from p2phouse.room.state import Membership
from p2phouse.vocabulary import Now, UserKey


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

    def __init__(self, me: Me, invites: Invites, door: Door) -> None:
        self.following: frozenset[UserKey] = frozenset()
        self.invites = invites
        self._me = me
        self._door = door

    # ── who may be in the room ───────────────────────────────────────────────────────────────

    def must_wait(self, now: Now, membership: Membership, uid: UserKey, *, outbound: bool) -> bool:
        """Whether somebody who greets is no member yet. outbound: on a link that we opened."""
        if membership.is_let_in(uid):
            return False
        # Somebody new cannot have all of the log, and takes whom he was sent to for members. Whom
        # the log does not let in by the end of DOUBT_S (company.py) is out again.
        return not (outbound and membership.is_new(now))

    def let_in(self, membership: Membership) -> list[Waiting]:
        """Those at our door who are let in by now."""
        waiting = membership.lobby.at(None)
        return [each for each in waiting if membership.is_let_in(each.uid)]

    # ── letting in ───────────────────────────────────────────────────────────────────────────

    def admit(self, membership: Membership, text: str) -> tuple[Signed[Entry], ...]:
        """By hand. Raises UserError."""
        waiting = self.find(membership, text)
        state = membership.log.state
        if not state.may(self._me.uid, Act.ROLE, waiting.uid):
            raise MayNotLetIn
        if not membership.has_place(outbound=False):
            raise NoPlaceLeft(limit=membership.places)
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
            yield from self._door.turn_away(membership, waiting.dev, LobbyState.REFUSED)
        else:
            refused = lobby.relayed(waiting, LobbyState.REFUSED)
            yield SendRoomFrame(waiting.via, membership.room, refused)
            del membership.lobby.people[waiting.dev]
            yield changed(membership, waiting)

    def find(self, membership: Membership, text: str) -> Waiting:
        """Who waits under that name, key tag or PeerId. Raises UserError."""
        wanted, known = text.casefold(), membership.lobby.known
        # Security: keys before names, which anybody may take.
        found = [
            waiting
            for waiting in known
            if wanted in (key_tag(waiting.uid), peer_id(waiting.dev).casefold())
        ] or [waiting for waiting in known if wanted == waiting.name.casefold()]
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
            if membership.linked_count + len(written) >= membership.places:
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
            people = dict.fromkeys(member.uid for member in membership.members.values())
            membership.log.reserve(self._me, len(people) + 1)
            for uid in people:
                named = (Act.ROLE, uid) in state.winners
                if not named and state.may(self._me.uid, Act.ROLE, uid) and not state.seat_of(uid):
                    written += self._write(membership, uid)
        return written + membership.log.write(self._me, Act.ACCESS, None, int(access))


def _is_out(entry: Signed[Entry]) -> bool:
    return entry.record.val in (Role.BAN.value, Role.REMOVE.value)
