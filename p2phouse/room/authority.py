"""The log of the room we are in: written by those who run it, passed on by all, obeyed by each.

Nobody is asked whether an entry may be: whoever holds it judges it (room/rules.py) and acts on it
alone. What is written floods over the room links; digests find what was lost on the way.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from p2phouse.errors import UserError
from p2phouse.identity.keys import Me, key_tag, peer_id
from p2phouse.record.cbor import Value
from p2phouse.record.envelope import Signed
from p2phouse.record.types import Act, Entry
from p2phouse.room import flood, frames, log
from p2phouse.room.frames import FrameKind
from p2phouse.room.messages import Decide, Event, EventKind, Output, SendRoomFrame
from p2phouse.room.rules import Role, RoomState
from p2phouse.room.state import Member, Membership
from p2phouse.room.talk import Talk
from p2phouse.room.wiring import Wiring
from p2phouse.vocabulary import DeviceKey, Now, UserKey

COMPARE_S: Final = 5.0  # what one link lost another brings within it
REMOVED_S: Final = 60.0  # who was removed, not banned, may come back after it, to listen
BATCH_BYTES_MAX: Final = 14_000  # with its head a frame of 16 KiB
PUT_OUT_TEXT: Final = frames.BYE_TEXTS[frames.ByeReason.PUT_OUT]
BATCHES_MAX: Final = 16  # 230 kB an answer: a full log comes in four, and nobody's uplink stalls
OUT: Final = (Role.BAN, Role.REMOVE)


class NobodyCalled(UserError):
    """Nobody here is called “{text}”. Use a name, key tag or PeerId of `p2phouse members`."""


class SeveralCalled(UserError):
    """Several people here are called “{text}”. Use the key tag: {tags}."""


class Authority:
    """See the module. The room is given with each call."""

    def __init__(self, me: Me, talk: Talk, wiring: Wiring) -> None:
        self._me = me
        self._talk = talk
        self._wiring = wiring

    # ── writing ──────────────────────────────────────────────────────────────────────────────

    def write(self, membership: Membership, decision: Decide) -> tuple[Signed[Entry], ...]:
        """Signs what the person at this node decides. Raises UserError."""
        room_log, act = membership.log, decision.act
        about_people = act in (Act.GRANT, Act.REVOKE, Act.ROLE)
        subject = self.find(membership, decision.who) if about_people and decision.who else None
        written: tuple[Signed[Entry], ...] = ()
        if subject is not None and decision.value in (role.value for role in OUT):
            # Who is put out must not go on running the room from outside.
            state = room_log.state
            if state.seat_of(subject) and state.may(self._me.uid, Act.REVOKE, subject):
                held = [seat for seat in state.seats if seat.uid == subject and seat.is_standing]
                room_log.reserve(self._me, len(held) + 1)
                written += room_log.write(self._me, Act.REVOKE, subject)
        if act is Act.REVOKE and subject is not None:
            written += self._keep_in(membership, subject)
        return written + room_log.write(self._me, act, subject, decision.value)

    def _keep_in(self, membership: Membership, subject: UserKey) -> tuple[Signed[Entry], ...]:
        """Who was let into a sealed room by the seat alone stays in when he loses it."""
        state, me = membership.log.state, self._me.uid
        is_named = (Act.ROLE, subject) in state.winners
        if is_named or not membership.is_sealed or not state.may(me, Act.REVOKE, subject):
            return ()
        return membership.log.write(self._me, Act.ROLE, subject, state.default_role.value)

    def find(self, membership: Membership, text: str) -> UserKey:
        """The person with that name, key tag or PeerId. Raises UserError."""
        names = {self._me.uid: {self._me.name}}
        ids = {self._me.uid: {peer_id(self._me.dev)}}
        for member in membership.members.values():
            names.setdefault(member.uid, set()).add(member.name)
            ids.setdefault(member.uid, set()).add(peer_id(member.dev))
        for message in membership.view.messages:  # of a listener of whom we know nothing else
            names.setdefault(message.uid, set()).add(message.name)
            ids.setdefault(message.uid, set())
        for signed in membership.log:
            ids.setdefault(UserKey(signed.record.uid), set())
            if signed.record.sub is not None and signed.record.act is not Act.REVOKE:
                ids.setdefault(UserKey(signed.record.sub), set())
        wanted = text.casefold()
        # Security: keys before names, or whoever takes another's key tag for a name shields that
        # other from whoever runs the room.
        keyed = {uid: {key_tag(uid), *of} for uid, of in ids.items()}
        found = _called(keyed, wanted) or _called(names, wanted)
        if not wanted or not found:
            raise NobodyCalled(text=text)
        if len(found) > 1:
            raise SeveralCalled(text=text, tags=", ".join(map(key_tag, found)))
        return found[0]

    # ── passing on ───────────────────────────────────────────────────────────────────────────

    def take(self, membership: Membership, frame: list[Value]) -> tuple[Signed[Entry], ...]:
        """What is new to us of the entries in a frame. Raises PeerError before anything changed."""
        entries, identities = frames.read_entries(frame)
        return membership.log.take(entries, identities)

    def pass_on(
        self,
        now: Now,
        membership: Membership,
        entries: tuple[Signed[Entry], ...],
        sender: DeviceKey | None,
    ) -> Iterator[Output]:
        """Ours to everybody; others' not to whoever told us. sender: None for ours."""
        is_ours = sender is None
        devs = flood.linked(membership) if is_ours else flood.onward(membership, self._me.dev)
        for dev in devs:
            if dev != sender:
                yield from self._send(membership, dev, entries)
        if is_ours:
            return
        subjects = {entry.record.sub for entry in entries}
        untold = [entry for entry in membership.log if entry.id in membership.news.audience.said]
        for dev in flood.audience(membership):
            # Whom it is about hears it at once: he may be about to be parted with for it. And what
            # others will hear of in a second, for it counts for nothing without what it rests on.
            if dev != sender and membership.members[dev].uid in subjects:
                yield from self._send(membership, dev, [*untold, *entries])
        for entry in entries:
            proofs: list[Value] = [each.data for each in membership.log.identities_of([entry])]
            told: list[Value] = [int(FrameKind.ENTRY), [entry.data], proofs]
            membership.news.tell(now.mono, entry.id, told)

    def _send(
        self, membership: Membership, dev: DeviceKey, entries: Iterable[Signed[Entry]]
    ) -> Iterator[Output]:
        told: set[bytes] = set()
        batch: tuple[list[Value], list[Value]] = ([], [])
        size, sent = 0, 0
        for entry in entries:
            proofs = [
                each.data for each in membership.log.identities_of([entry]) if each.id not in told
            ]
            more = len(entry.data) + sum(map(len, proofs))
            if size + more > BATCH_BYTES_MAX:
                yield SendRoomFrame(dev, membership.room, [int(FrameKind.ENTRY), *batch])
                batch, size, sent = ([], []), 0, sent + 1
                if sent == BATCHES_MAX:
                    return  # the next digest brings the rest
            told.add(entry.record.idrec)
            batch[0].append(entry.data)
            batch[1].extend(proofs)
            size += more
        if batch[0]:
            yield SendRoomFrame(dev, membership.room, [int(FrameKind.ENTRY), *batch])

    # ── comparing ────────────────────────────────────────────────────────────────────────────

    def compare(self, membership: Membership, dev: DeviceKey) -> Iterator[Output]:
        """Tells a member which entries we hold, be it none: who says nothing may hide some."""
        if membership.genesis is not None:
            digest: list[Value] = [int(FrameKind.DIGEST), membership.log.digest]
            yield SendRoomFrame(dev, membership.room, digest)

    def heard_digest(
        self, now: Now, membership: Membership, sender: DeviceKey, frame: list[Value]
    ) -> Iterator[Output]:
        digest = frames.read_exactly(frame, frames.DIGEST_BYTES)
        membership.members[sender].digest = digest
        if digest == membership.log.digest or not self._has_leave(now, membership, sender):
            return
        if membership.is_audience(sender):
            yield from self.compare(membership, sender)  # it asks, if it lacks anything
            return
        sketch: list[Value] = [int(FrameKind.SKETCH), membership.log.sketch]
        yield SendRoomFrame(sender, membership.room, sketch)

    def heard_sketch(
        self, now: Now, membership: Membership, sender: DeviceKey, frame: list[Value]
    ) -> Iterator[Output]:
        sketch = frames.read_exactly(frame, log.SKETCH_BYTES)
        if self._has_leave(now, membership, sender):
            yield from self._send(membership, sender, membership.log.missing(sketch))

    def _has_leave(self, now: Now, membership: Membership, sender: DeviceKey) -> bool:
        # Security: a few bytes of theirs make us send many.
        return membership.pace_of(sender).compares.take(now.mono)

    def tick(self, now: Now, membership: Membership) -> Iterator[Output]:
        if membership.compare_at <= now.mono:
            membership.compare_at = now.mono + COMPARE_S
            for dev in flood.stage(membership):
                yield from self.compare(membership, dev)

    # ── obeying ──────────────────────────────────────────────────────────────────────────────

    def obey(self, now: Now, membership: Membership, before: RoomState) -> Iterator[Output]:
        """What follows from a log that has changed, but for who must go."""
        state = membership.log.state
        membership.compare_at = min(membership.compare_at, now.mono + COMPARE_S)
        membership.changed = True
        # Security: first of all, so that nobody is heard a moment longer.
        yield from self._wiring.rewire(membership)
        if not state.may_speak(self._me.uid):
            yield from self._talk.silence(now, membership)
        # What somebody new learns is past, and was judged by those who let him in.
        is_new = membership.is_new(now) and self._me.uid != state.creator
        people = [(self._me.dev, self._me.uid)]
        people += [(member.dev, member.uid) for member in membership.members.values()]
        for dev, uid in people:
            was, role = before.role_of(uid), state.role_of(uid)
            if role is Role.REMOVE and was is not role and not is_new:
                membership.removed_until[uid] = now.mono + REMOVED_S
            if was is not role or before.level(uid) is not state.level(uid):
                text = role.value if role is not None else ""
                yield Event(EventKind.ROLE_CHANGED, membership.room, dev, text)
        if (before.title, before.locked) != (state.title, state.locked):
            yield Event(EventKind.ROOM_CHANGED, membership.room, None, state.title)
        if state.ended:
            membership.over = "the room was ended"

    def put_out(self, now: Now, membership: Membership) -> list[Member]:
        """Members who are in the room no more; if it is we ourselves, it is over for us."""
        if not self._knows_all(now, membership):
            return []
        if self.is_out(now, membership, self._me.uid):
            membership.over = PUT_OUT_TEXT
        members = membership.members.values()
        return [member for member in members if self.is_out(now, membership, member.uid)]

    def _knows_all(self, now: Now, membership: Membership) -> bool:
        """Whether we may act on who is out. To somebody new a long log comes in several frames, and
        in what came so far a ban may stand that a later one takes back. In doubt until our log was
        a member's once, for a dozen seconds at most; whoever is out has no voice meanwhile."""
        if not membership.caught_up:
            held, members = membership.log.digest, membership.members.values()
            membership.caught_up = (
                not membership.is_new(now)
                or not members
                or any(member.digest == held for member in members)
            )
        return membership.caught_up

    def is_out(self, now: Now, membership: Membership, uid: UserKey) -> bool:
        role = membership.log.state.role_of(uid)
        removed_until = membership.removed_until.get(uid, now.mono)
        return role is Role.BAN or (role is Role.REMOVE and now.mono < removed_until)

    def has_gone_by(self, membership: Membership) -> bool:
        """Whether a member who puts us out has the log on its side."""
        if membership.genesis is None or not membership.joined:
            return False
        return membership.log.state.role_of(self._me.uid) in OUT

    def is_shut_out(self, now: Now, membership: Membership, uid: UserKey) -> bool:
        """Whether the room is locked to somebody who was not in it."""
        if membership.is_new(now):
            return False  # we do not know yet who was
        state = membership.log.state
        if (Act.ROLE, uid) in state.winners or state.seat_of(uid) is not None:
            return False
        return state.locked and uid not in membership.met


def _called(named: Mapping[UserKey, set[str]], wanted: str) -> list[UserKey]:
    return [uid for uid, of in named.items() if wanted in {each.casefold() for each in of}]
