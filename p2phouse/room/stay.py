"""Our stay in a room: coming in, being let in, going, and coming back after a crash.

One membership at a time. `settle` draws the consequences after each input and tick.
"""

import contextlib
import math
from collections import OrderedDict
from collections.abc import Iterator
from typing import Final

from p2phouse.errors import P2PHouseError, PeerError, UserError
from p2phouse.hall import invitation
from p2phouse.hall.invitation import Invitation
from p2phouse.identity.keys import Me
from p2phouse.record import envelope
from p2phouse.record.cbor import Value
from p2phouse.record.envelope import Signed
from p2phouse.record.types import Access, Act, Genesis, Invite, Join
from p2phouse.room import keeper
from p2phouse.room.attendance import Attendance
from p2phouse.room.authority import COMPARE_S
from p2phouse.room.carrying import Carrying
from p2phouse.room.chat_view import mode_of
from p2phouse.room.company import Company
from p2phouse.room.confirmation import Confirmation
from p2phouse.room.frames import BYE_TEXTS, ByeReason
from p2phouse.room.greetings import RETELL_S, is_understood, no_place
from p2phouse.room.hallway import Hallway
from p2phouse.room.lobby import STATE_TEXTS
from p2phouse.room.messages import Answer, Event, EventKind, Output, Remember
from p2phouse.room.negotiation import Negotiation
from p2phouse.room.rules import Role
from p2phouse.room.search import Search
from p2phouse.room.stage import Place
from p2phouse.room.stage_view import room_facts
from p2phouse.room.state import Membership
from p2phouse.room.succession import Successors, people_of
from p2phouse.room.talk import Talk
from p2phouse.room.wiring import Wiring
from p2phouse.vocabulary import DeviceKey, Now, RecordId, RoomId, UserKey

LOG_REMEMBERED_BYTES_MAX: Final = 32_000  # of a file of 64 KiB; others hold the rest
BEATS_HELD_MAX: Final = 16  # rooms that were left; a person comes back to few
JOIN_S_MAX: Final = 12.0  # a dial takes up to 4 s an address, two at once, then a greeting


# What a person is told before anything else of a room: who gets to know where he is.
BROWSERS: Final = " Anybody with its link can listen in a browser, through its relay."
EXPOSURES: Final = {
    Access.OPEN: "People here can see your network address, and anybody may come.",
    Access.SOCIAL: "People who were let in can see your network address.",
    Access.CLOSED: "People who were let in can see your network address.",
    Access.LAN: "People here can see your network address. They are on your own network.",
}


class NotInARoom(UserError):
    """You are not in a room. Join one with `p2phouse join ROOM`, or open one."""


class AlreadyInARoom(UserError):
    """You are in "{title}". Leave it first: p2phouse leave."""


class JoinFailed(P2PHouseError):
    """Could not join: {reason}. Does the room still go on? `p2phouse rooms` lists what does."""


class NobodyAnswered(JoinFailed):
    """Could not join: {reason}. Does the room still go on? `p2phouse rooms` lists what does."""


class NotLetIn(JoinFailed):
    """Could not join: {reason}. Ask somebody who is in the room."""


class LeftMeanwhile(UserError):
    """The room was left before all of it was said."""


class OwnLink(UserError):
    """That link leads to this node, which is not in the room any more.
    Use the link of somebody who is, or open a room of your own."""


class UnknownKind(UserError):
    """That room is of a kind that this version of p2phouse does not know. Update it to join."""


class Stay:
    """See the module."""

    def __init__(
        self,
        me: Me,
        *,
        hallway: Hallway,
        wiring: Wiring,
        talk: Talk,
        negotiation: Negotiation,
        search: Search,
        company: Company,
        confirmation: Confirmation,
        attendance: Attendance,
        successors: Successors,
        place: Place,
        carrying: Carrying,
        serves: bool = False,
    ) -> None:
        """serves: we come to carry the room, without voice or ear."""
        self.membership: Membership | None = None
        self._serves = serves
        self._me = me
        self._hallway = hallway
        self._wiring = wiring
        self._talk = talk
        self._negotiation = negotiation
        self._search = search
        self._company = company
        self._confirmation = confirmation
        self._attendance = attendance
        self._successors = successors
        self._beats_held: OrderedDict[RoomId, RecordId] = OrderedDict()
        self._place = place
        self._carrying = carrying

    @property
    def here(self) -> Membership:
        """The room we have been let into. Raises NotInARoom."""
        if self.membership is None or not self.membership.joined:
            raise NotInARoom
        return self.membership

    def refuse_second(self) -> None:
        """Raises AlreadyInARoom."""
        if self.membership is not None:
            raise AlreadyInARoom(title=self.membership.title or "a room")

    # ── coming in ────────────────────────────────────────────────────────────────────────────

    def open(
        self,
        now: Now,
        genesis: Signed[Genesis],
        ticket: int | None,
        *,
        default: Role = Role.SPEAKER,
    ) -> Iterator[Output]:
        """Into a room that we need nobody's leave to be in. default: the role of those who come."""
        membership = self._enter(now, RoomId(genesis.id), genesis, ticket)
        if default is not Role.SPEAKER:
            membership.log.write(self._me, Act.ROLE, None, default.value)
        yield from self._talk.begin(membership)
        yield from self._let_in(now, membership)

    def approach(
        self, now: Now, genesis: Signed[Genesis] | None, way: Invitation, ticket: int
    ) -> Iterator[Output]:
        """Asks the member that `way` leads to. Raises UserError."""
        if genesis is not None and not is_understood(genesis.record):
            raise UnknownKind
        if way.dev == self._me.dev:
            if genesis is None or genesis.record.dev != self._me.dev:
                raise OwnLink
            yield from self.open(now, genesis, ticket)  # a room of ours that others still list
            return
        membership = self._enter(now, way.room, genesis, ticket)
        membership.invite = way.invite
        yield from self._talk.begin(membership)
        yield from self._search.dial(now, membership, way.dev, way.addrs)

    def _enter(
        self, now: Now, room: RoomId, genesis: Signed[Genesis] | None, ticket: int | None
    ) -> Membership:
        join = Join(
            room=room,
            dev=self._me.dev,
            idrec=self._me.record.id,
            beat=self._beats_held.get(room),
            ts=int(now.unix),
        )
        self.membership = Membership(
            room,
            envelope.sign(join, self._me.device_key),
            genesis,
            self._talk.new_voice(),
            joined=False,
            relay=self._me.uid if self._serves else None,
            ticket=ticket,
            give_up_at=now.mono + JOIN_S_MAX,
        )
        return self.membership

    def _let_in(self, now: Now, membership: Membership) -> Iterator[Output]:
        membership.joined = True
        membership.since = now.mono
        membership.retell_at = now.mono + self._search.about(RETELL_S)
        membership.give_up_at = math.inf
        membership.compare_at = now.mono + COMPARE_S
        self._confirmation.begin(now, membership)
        self._hallway.changed(now, membership)
        yield from self._hallway.tried(now, membership.room, vain=False)
        yield _remember(membership)
        yield from self._place.arrive(now, membership)
        if membership.waits is not None:
            yield Event(EventKind.ADMITTED, membership.room, self._me.dev, membership.title)
        membership.waits, membership.invite = None, b""
        yield Event(EventKind.JOINED, membership.room, self._me.dev, membership.title)
        if membership.ticket is not None:
            yield Answer(membership.ticket, self.facts())
            membership.ticket = None

    def resume(self, now: Now, state: list[Value]) -> Iterator[Output]:
        """Back into the room of a process that was killed: same identity, new voice, muted."""
        match state:
            case [bytes(data), list(others), list(entries), list(identities)] if (
                self.membership is None
            ):
                pass
            case _:
                return
        try:
            genesis = envelope.read(data, Genesis)
            envelope.check_time(genesis.record, now.unix)
        except PeerError:
            yield Remember(None)  # over, or damaged: nothing to come back to
            return
        membership = self._enter(now, RoomId(genesis.id), genesis, None)
        with contextlib.suppress(PeerError):  # damaged: others hold it too
            membership.log.take(_all_bytes(entries), _all_bytes(identities))
        if len(membership.log):
            membership.compare_at = now.mono
        for other in others:
            match other:
                case [bytes(dev), list(addrs)] if len(dev) == 32:
                    known = tuple(addr for addr in addrs if isinstance(addr, bytes))
                    self._search.lost(now, membership, DeviceKey(dev), known)
        yield from self._talk.begin(membership)
        yield from self._let_in(now, membership)

    # ── going ────────────────────────────────────────────────────────────────────────────────

    def leave(self, now: Now, why: str, reason: ByeReason = ByeReason.LEAVING) -> Iterator[Output]:
        """Out of the room, or no longer on the way into one. why: empty if the person asked."""
        membership = self.membership
        if membership is None:
            raise NotInARoom
        yield from self._talk.end(now, membership, LeftMeanwhile())
        yield from self._carrying.gone(membership)
        if membership.joined:
            yield from self._hallway.end(now, membership)
            self._keep_beat(now, membership)
        yield from self._wiring.rewire(None)
        yield from self._company.leave(membership, reason)
        self.membership = None
        is_vain = bool(why) and not membership.answered
        if membership.ticket is not None:
            text = why or "you left before anybody answered"
            if is_vain or membership.answered:
                yield from self._hallway.tried(now, membership.room, vain=is_vain)
            kind = JoinFailed
            if text in STATE_TEXTS.values():
                kind = NotLetIn
            elif is_vain:
                kind = NobodyAnswered
            yield Answer(membership.ticket, error=kind(reason=text))
        if membership.joined:
            yield Event(EventKind.LEFT, membership.room, self._me.dev, why)
        yield Remember(None)

    def _keep_beat(self, now: Now, membership: Membership) -> None:
        """For our join, should we come back: it says how old what we know is."""
        held = membership.beats.latest(now, membership.log.state)
        if held is not None:
            self._beats_held.pop(membership.room, None)
            self._beats_held[membership.room] = held
            if len(self._beats_held) > BEATS_HELD_MAX:
                self._beats_held.popitem(last=False)

    def continue_room(self, now: Now, ticket: int) -> Iterator[Output]:
        """Opens the room in which ours goes on; goes there if somebody has. Raises UserError."""
        old = self.here
        if old.successors:
            yield from self.move(now, ticket)
            return
        self._attendance.refuse_continuing(now, old)
        genesis = self._successors.make(now, old)
        yield from self._successors.offer(old, genesis)
        yield from self.leave(now, "", ByeReason.MOVED)
        new = self._enter(now, RoomId(genesis.id), genesis, ticket)
        new.continued, new.met_identities = people_of(old), dict(old.met_identities)
        self._successors.furnish(old, new)
        yield from self._talk.begin(new)
        yield from self._let_in(now, new)

    def move(self, now: Now, ticket: int) -> Iterator[Output]:
        """Out of ours and into the one that continues it, muted. Raises UserError."""
        old = self.here
        offer = self._successors.first(old)
        if not is_understood(offer.genesis.record):
            raise UnknownKind
        yield from self.leave(now, "", ByeReason.MOVED)
        way = Invitation(offer.room, offer.dev, offer.addrs)
        yield from self.approach(now, offer.genesis, way, ticket)
        new = self.membership
        assert new is not None
        new.continued, new.met_identities = people_of(old), dict(old.met_identities)
        for dev, addrs in old.moved.items():
            yield from self._search.dial(now, new, dev, addrs)

    # ── what follows ─────────────────────────────────────────────────────────────────────────

    def settle(self, now: Now) -> Iterator[Output]:
        """Draws the consequences of what has just changed."""
        membership = self.membership
        if membership is None:
            return
        if not membership.joined:
            if membership.members:
                yield from self._let_in(now, membership)
            elif not membership.hopes():
                yield from self.leave(now, membership.refusal or "nobody there answered")
                return
        yield from self._company.settle(now, membership)
        yield from self._carrying.settle(now, membership)
        self._negotiation.settle(now, membership)
        yield from self._negotiation.tick(now, membership)  # links wanted from now on
        yield from self._attendance.settle(now, membership)
        if membership.over:
            yield from self.leave(now, membership.over)
            return
        yield from self._place.keep_place(now, membership)
        if membership.changed:
            membership.changed = False
            self._hallway.changed(now, membership)
            yield _remember(membership)

    def media_gone(self, now: Now) -> Iterator[Output]:
        """Media died: a new voice, muted, and a new link to everybody, offered by us."""
        membership = self.membership
        room = membership.room if membership is not None else None
        yield Event(EventKind.MEDIA_RESTARTED, room, self._me.dev)
        yield from self._talk.media_gone(now, membership)
        if membership is None:
            return
        yield from self._negotiation.anew(now, membership)
        yield from self._wiring.rewire(membership)

    def tick(self, now: Now) -> Iterator[Output]:
        membership = self.membership
        if membership is None:
            return
        if membership.give_up_at <= now.mono:
            yield from self.leave(now, membership.refusal or "nobody there answered in time")
        elif membership.genesis is not None and membership.genesis.record.exp <= now.unix:
            yield from self.leave(now, "the room reached the end of its twelve hours")
        elif membership.judged_at <= now.mono and self._company.has_no_place(membership):
            yield from self.leave(now, BYE_TEXTS[no_place(membership)])
        else:
            yield from self._negotiation.tick(now, membership)
            yield from self._company.tick(now, membership)
            yield from self._search.tick(now, membership)
            yield from self._confirmation.tick(now, membership)
            yield from self._place.tick(now, membership)

    def drop(self, now: Now) -> Iterator[Output]:
        """Last of all in a tick, for what else happens in it decides which links are wanted."""
        membership = self.membership
        if membership is None:
            return
        dropped = list(self._negotiation.drop(now, membership))
        if dropped:  # the table first: it names no link that is gone
            yield from self._wiring.rewire(membership)
            yield from dropped

    @property
    def deadline(self) -> float:
        membership = self.membership
        if membership is None:
            return math.inf
        times = [membership.give_up_at, membership.judged_at]
        times += [self._company.deadline(membership), self._search.deadline(membership)]
        times.append(self._negotiation.deadline(membership))
        times += [self._confirmation.deadline(membership), self._attendance.deadline(membership)]
        times.append(self._place.deadline(membership))
        times.append(self._carrying.deadline(membership))
        if membership.genesis is not None:
            times.append(self._hallway.mono_of(membership.genesis.record.exp))
        return min(times)

    def facts(self) -> dict[str, object]:
        """The room we are in, as the API tells it."""
        membership = self.membership
        if membership is not None and membership.waits is not None:
            return {
                "room": membership.room.hex(),
                "title": membership.title,
                "waiting": "lobby",
                "waiting_text": STATE_TEXTS[membership.waits],
            }
        if membership is None or membership.genesis is None:
            return {"room": None}
        access = membership.log.state.access
        return {
            "room": membership.room.hex(),
            "title": membership.title,
            "link": invitation.write(self._way(membership)),
            "access": access.name.lower(),
            "exposure": EXPOSURES[access] + (BROWSERS if membership.has_browsers else ""),
            "lobby_count": len(membership.lobby.known),
            "muted": membership.muted,
            "people": membership.people,
            **standing(membership, self._me.uid),
            "locked": membership.log.state.locked,
            "chat": mode_of(membership.log.state),
            "confirmed": membership.confirmed,
            "attended": not membership.unattended,
            "closes_in_s": self._attendance.closes_in_s(self._hallway.now, membership),
            "successor": self._successors.facts(membership),
            **keeper.facts(membership),
            **room_facts(membership, self._me.uid),
        }

    @property
    def link(self) -> str:
        """By which others come to the room through us. Raises NotInARoom."""
        return invitation.write(self._way(self.here))

    def _way(self, membership: Membership, invite: bytes = b"") -> Invitation:
        return Invitation(membership.room, self._me.dev, self._hallway.own_addrs, invite)

    def link_facts(self, invite: Signed[Invite]) -> dict[str, object]:
        """The link that an invite travels in."""
        return {
            "link": invitation.write(self._way(self.here, invite.data)),
            "expires": invite.record.exp,
            "once": invite.record.once,
        }


def standing(membership: Membership, uid: UserKey) -> dict[str, object]:
    """What a person is in the room, as the API tells it."""
    if membership.genesis is None:
        return {}  # nobody has let us in yet
    state = membership.log.state
    role = state.role_of(uid)
    return {"role": role and role.value, "level": state.level(uid).name.lower()}


def _remember(membership: Membership) -> Remember:
    """Where to come back to after a crash: the room, and whoever was or is sought in it."""
    assert membership.genesis is not None
    others: dict[DeviceKey, tuple[bytes, ...]] = {
        dev: sought.addrs for dev, sought in membership.sought.items() if sought.teller is None
    }
    others |= {dev: member.addrs for dev, member in membership.members.items()}
    told: list[Value] = [[dev, list(addrs)] for dev, addrs in others.items()]
    entries, identities = membership.log.beginning(LOG_REMEMBERED_BYTES_MAX)
    return Remember([membership.genesis.data, told, entries, identities])


def _all_bytes(items: list[Value]) -> list[bytes]:
    return [item for item in items if isinstance(item, bytes)]
