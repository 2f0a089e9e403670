"""Rooms that others have opened for us to go on in, when ours closes.

Two people may open one at the same time. Nobody decides between them: everybody puts the one with
the lower id first, and who has gone to the other is offered it too.
"""

from collections.abc import Iterator
from typing import Final

from p2phouse.errors import UserError
from p2phouse.hall.card import RoomCard, make_genesis
from p2phouse.identity.keys import Me, key_tag
from p2phouse.record import limits
from p2phouse.record.cbor import Value
from p2phouse.record.envelope import Signed
from p2phouse.record.types import Act, Genesis
from p2phouse.room import frames
from p2phouse.room.attendance import Attendance
from p2phouse.room.frames import ByeReason, FrameKind
from p2phouse.room.hallway import Hallway
from p2phouse.room.messages import Event, EventKind, Output, SendRoomFrame
from p2phouse.room.rules import Level, Role
from p2phouse.room.state import Member, Membership, Successor
from p2phouse.vocabulary import DeviceKey, Entropy, Now, UserKey

OFFERS_MAX: Final = 8  # as many as a room has people
PUT_OUT_MAX: Final = 128  # a quarter of what one seat may write
_OUT: Final = (Role.BAN.value, Role.REMOVE.value)


class NoSuccessor(UserError):
    """Nobody has opened a room that continues this one. To open one: p2phouse continue."""


class Successors:
    """See the module. The room that is continued is given with each call."""

    def __init__(self, me: Me, hallway: Hallway, attendance: Attendance, entropy: Entropy) -> None:
        self._me = me
        self._hallway = hallway
        self._attendance = attendance
        self._entropy = entropy

    # ── hearing of them ──────────────────────────────────────────────────────────────────────

    def heard(
        self, now: Now, membership: Membership, member: Member, frame: list[Value]
    ) -> Iterator[Output]:
        """A member opens one. Raises PeerError before anything has changed."""
        genesis, addrs = frames.read_successor(frame, sender=member.dev, room=membership.room)
        # Security: else anybody could lure people out of a room that somebody runs.
        if self._attendance.may_offer(now, membership, member.uid):
            offer = Successor(genesis, member.dev, addrs, _name(membership, member.uid))
            yield from self._keep(membership, offer)

    def seen(self, now: Now, membership: Membership, card: RoomCard) -> Iterator[Output]:
        """A card came in. It may be of one whose opener had no link to us, or went there as we
        went to another."""
        genesis, room = card.genesis.record, membership.genesis
        if genesis.continues is None or room is None or card.is_tombstone:
            return
        opener = UserKey(genesis.uid)
        if not _opened_by_whom_it_names(membership, genesis):
            return
        if genesis.continues == membership.room:
            # Security: of those who were here with us; a stranger's word leads nobody away.
            is_known = opener in people_of(membership)
            is_meant = is_known and self._attendance.may_offer(now, membership, opener)
        else:
            is_sister = genesis.continues == room.record.continues and card.room < membership.room
            is_meant = is_sister and opener in membership.continued
        if is_meant:
            by = _name(membership, opener)
            offer = Successor(card.genesis, card.publisher, card.card.record.at, by)
            if offer.room not in membership.successors:
                yield from self._keep(membership, offer)

    def moved(self, membership: Membership, member: Member, reason: ByeReason) -> None:
        """A member parts. One who goes on elsewhere can let us in there, should the opener not."""
        if reason is ByeReason.MOVED:
            membership.moved.pop(member.dev, None)
            membership.moved[member.dev] = member.addrs
            if len(membership.moved) > OFFERS_MAX:
                del membership.moved[next(iter(membership.moved))]

    def _keep(self, membership: Membership, offer: Successor) -> Iterator[Output]:
        offers = membership.successors
        openers = {each.genesis.record.dev for each in offers.values()}
        if offer.room in offers:
            offers[offer.room] = offer  # its opener's own word, after its card
            return
        same_kind = membership.genesis is not None and (
            offer.genesis.record.access is membership.log.state.access
        )
        if not same_kind or offer.genesis.record.dev in openers or len(offers) >= OFFERS_MAX:
            return
        offers[offer.room] = offer
        title = offer.genesis.record.title
        yield Event(EventKind.SUCCESSOR_OFFERED, membership.room, offer.dev, title)

    def first(self, membership: Membership) -> Successor:
        """Where people go: everybody who knows of the same ones to the same. Raises NoSuccessor."""
        if not membership.successors:
            raise NoSuccessor
        return membership.successors[min(membership.successors)]

    def facts(self, membership: Membership) -> dict[str, object] | None:
        if not membership.successors:
            return None
        offer = self.first(membership)
        return {"title": offer.genesis.record.title, "by": offer.by, "room": offer.room.hex()}

    # ── opening one ──────────────────────────────────────────────────────────────────────────

    def make(self, now: Now, membership: Membership) -> Signed[Genesis]:
        """The room in which this one goes on: its title and its kind."""
        return make_genesis(
            self._me,
            title=_cut(membership.title),
            access=membership.log.state.access,
            now=now,
            entropy=self._entropy,
            speakers_max=membership.log.state.speakers_max,
            continues=membership.room,
        )

    def furnish(self, old: Membership, new: Membership) -> None:
        """What people were in the old room they are in the new one, which is ours: those who sit,
        those who are muted, those whom it let in, and those whom it put out."""
        before, log = old.log.state, new.log
        if before.default_role is Role.LISTENER:
            log.write(self._me, Act.ROLE, None, Role.LISTENER.value)
        here = sorted({member.uid for member in old.members.values()} - {self._me.uid})
        for uid in here:
            seat, role = before.seat_of(uid), before.role_of(uid)
            if seat is not None:
                value = "moderator" if seat.level is Level.MODERATOR else "host"
                log.write(self._me, Act.GRANT, uid, value)
            if role is not None and role is not log.state.role_of(uid):
                log.write(self._me, Act.ROLE, uid, role.value)
        # Security: or whoever was put out would come in by the next door.
        put_out = sorted(
            (str(winner.record.val), UserKey(uid))
            for (act, uid), winner in before.winners.items()
            if act is Act.ROLE and uid is not None and winner.record.val in _OUT
        )
        for out, uid in put_out[:PUT_OUT_MAX]:  # the banned first
            log.write(self._me, Act.ROLE, uid, out)

    def offer(self, membership: Membership, genesis: Signed[Genesis]) -> Iterator[Output]:
        """Tells everybody here. The links are closed after it, not before it is out."""
        addrs: list[Value] = [*self._hallway.own_addrs]
        for dev in membership.listening():
            frame: list[Value] = [int(FrameKind.SUCCESSOR), genesis.data, addrs]
            yield SendRoomFrame(dev, membership.room, frame)


def people_of(membership: Membership) -> frozenset[UserKey]:
    """Who was in the room with us and was not put out of it."""
    role_of = membership.log.state.role_of
    # Security: who was put out leads nobody away, and is let in nowhere for having been here, and
    # nor is a relay.
    out = (Role.BAN, Role.REMOVE, Role.RELAY)
    return frozenset(uid for uid in membership.met if role_of(uid) not in out)


def _opened_by_whom_it_names(membership: Membership, genesis: Genesis) -> bool:
    """Whether we met the person that the genesis names, and the device is that person's."""
    # Security: a genesis is signed by a device alone. Anybody could put the name of one who is
    # trusted here on a room of his own.
    return any(
        identity.uid == genesis.uid and frames.lists_device(identity, DeviceKey(genesis.dev))
        for identity in membership.met_identities.values()
    )


def _name(membership: Membership, uid: UserKey) -> str:
    members = membership.members.values()
    name = next((member.name for member in members if member.uid == uid), "")
    return name or key_tag(uid)


def _cut(title: str) -> str:
    """What of a title fits into a genesis: an entry may set a longer one."""
    return title.encode()[: limits.TITLE_BYTES_MAX].decode(errors="ignore")
