"""Which secret the voices of a sealed room are under, and when to change it.

An *epoch* is a secret together with what all its records say alike: its number, where it comes
from, and the removals that it accounts for. The **cover rule** decides among those we know: a
sender uses the greatest that accounts for every removal it knows of, or sends nothing. Without it
two parts of a room that cannot hear one another could agree, once they can, on a secret that
somebody holds whom the one part has put out.

Secrets stay in control; media gets the keys of single voices (room/keys.py). docs/protocol.md §4.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final

from p2phouse.errors import PeerError
from p2phouse.record import cbor, limits
from p2phouse.record.envelope import Signed
from p2phouse.record.types import Access, Act, Entry, Epoch, EpochBox
from p2phouse.room import keys
from p2phouse.room.rules import Role, RoomState
from p2phouse.vocabulary import DeviceKey, Entropy, Now, RecordId, RoomId, UserKey

SWITCH_S: Final = 2.0  # by then everybody holds the new one: three round trips and a lost link
KEPT_S: Final = 5.0  # who switches last does so 2 s after a record that took 3 s to come
MEDIA_KEYS_MAX: Final = 2  # that media takes of one voice
OUT: Final = (Role.BAN.value, Role.REMOVE.value)

OpenBox = Callable[[bytes], bytes | None]
Counts = Callable[[DeviceKey], bool]
"""Whether a device may make epochs now: it is of somebody who runs the room."""


@dataclass(frozen=True, slots=True)
class Live:
    """A secret that voices may be under, and its number."""

    n: int
    secret: bytes = field(repr=False)  # Security: no log holds it


class EpochRefused(PeerError):
    """An epoch record cannot be: {reason}."""


@dataclass(frozen=True, slots=True)
class Outline:
    """What all records of one epoch have in common."""

    id: RecordId
    by: DeviceKey
    n: int
    parent: RecordId | None
    rm: tuple[RecordId, ...]
    commit: bytes

    @property
    def rank(self) -> tuple[int, bool, RecordId]:
        """The lower, the greater the epoch: by number, then chance before ratchet, then id."""
        return -self.n, self.ratchet, self.id

    @property
    def ratchet(self) -> bool:
        return self.parent is not None

    @property
    def line(self) -> RecordId:
        """Id of the epoch of chance whose secret this one's is made from, or is."""
        return self.id if self.parent is None else self.parent


@dataclass(slots=True, eq=False)
class Known:
    """An epoch that we have a record of, and perhaps its secret."""

    outline: Outline
    records: dict[DeviceKey, Signed[Epoch]] = field(default_factory=dict)  # the first of each
    boxed: set[DeviceKey] = field(default_factory=set)  # who was given the secret, as we know
    secret: bytes | None = field(default=None, repr=False)
    since: float = math.inf  # when we came to hold it
    tried: set[RecordId] = field(default_factory=set)  # from which it could not be made

    @property
    def live(self) -> Live:
        assert self.secret is not None
        return Live(self.outline.n, self.secret)


# ── what an epoch must account for ───────────────────────────────────────────────────────────


def is_sealed(state: RoomState) -> bool:
    """Whether voices in the room are secret; else their keys come from the room's id."""
    return state.access in (Access.SOCIAL, Access.CLOSED)


def is_admitted(state: RoomState, uid: UserKey) -> bool:
    """Whether the person may be given the secret."""
    role = state.role_of(uid)
    # Security: a relay carries what it cannot open.
    # Test: tests/sim/test_relay.py::test_a_relay_of_a_closed_room_is_given_no_key
    return role is not None and role.value not in OUT and role is not Role.RELAY


def runs_room(state: RoomState, uid: UserKey) -> bool:
    """Whether epochs that the person makes count."""
    return state.seat_of(uid) is not None and is_admitted(state, uid)


def removals(state: RoomState) -> frozenset[RecordId]:
    """Every entry by which somebody is kept out now, or may have lost a seat or an admission."""
    out = {
        each.id
        for (act, sub), standing in state.candidates.items()
        if act is Act.ROLE and sub is not None
        for each in standing
        if each.record.val in OUT
    }
    # Security: who was let in from a seat that was revoked later is out again, without a removal.
    return frozenset(out | {each.id for seat in state.seats for each in seat.revokes})


def account_of(known: frozenset[RecordId]) -> tuple[RecordId, ...]:
    """These removals as the `rm` of an epoch; of more than it may name their digest."""
    ids = tuple(sorted(known))
    if len(ids) <= limits.EPOCH_REMOVALS_MAX:
        return ids
    return (RecordId(sha256(b"".join(ids)).digest()),)


def covers(rm: tuple[RecordId, ...], known: frozenset[RecordId]) -> bool:
    """Whether an epoch with that `rm` accounts for these removals."""
    return known <= set(rm) or rm == account_of(known)


def may_be_given(
    rm: tuple[RecordId, ...],
    uid: UserKey,
    known: frozenset[RecordId],
    entry: Callable[[RecordId], Entry | None],
) -> bool:
    """Whether somebody admitted may be given a secret that accounts for these removals.

    entry: looks one up in the log.
    """
    # Security: not one that says it is without him. Whoever comes to know that a removal holds
    # after all, because what had lifted it was void, goes back to just such an epoch.
    for name in known if rm == account_of(known) else rm:
        removal = entry(name)
        if removal is None or (removal.act is Act.ROLE and removal.sub == uid):
            return False
    return True


# ── records ──────────────────────────────────────────────────────────────────────────────────


def outline(
    room: RoomId,
    *,
    by: DeviceKey,
    n: int,
    parent: RecordId | None,
    rm: tuple[RecordId, ...],
    commit: bytes,
) -> Outline:
    body = cbor.encode([room, by, n, parent is not None, parent, list(rm), commit])
    id_ = RecordId(sha256(b"p2phouse/1/epoch-id\0" + body).digest())
    return Outline(id_, by, n, parent, rm, commit)


def read_outline(record: Epoch) -> Outline:
    """Raises EpochRefused for what no honest node makes."""
    if record.ratchet != (record.parent is not None):
        raise EpochRefused(reason="a ratchet has a parent, and nothing else has")
    if list(record.rm) != sorted(set(record.rm)):
        raise EpochRefused(reason="removals that do not ascend")
    return outline(
        RoomId(record.room),
        by=DeviceKey(record.by),
        n=record.n,
        parent=None if record.parent is None else RecordId(record.parent),
        rm=tuple(RecordId(name) for name in record.rm),
        commit=record.commit,
    )


def records_of(
    room: RoomId, dev: DeviceKey, epoch: Outline, boxes: Iterable[EpochBox]
) -> list[Epoch]:
    """As many records, to be signed by `dev`, as the boxes need; one if there are none."""
    given = list(boxes)
    # A box takes 117 bytes, a removal 34, and all else less than 300.
    most = (Epoch.SIZE_MAX - 300 - 34 * len(epoch.rm)) // 117
    most = min(limits.EPOCH_BOXES_MAX, most)
    return [
        Epoch(
            room=room,
            dev=dev,
            by=epoch.by,
            n=epoch.n,
            ratchet=epoch.ratchet,
            parent=epoch.parent,
            rm=epoch.rm,
            commit=epoch.commit,
            boxes=tuple(given[at : at + most]),
        )
        for at in range(0, max(1, len(given)), most)
    ]


# ── those we know ────────────────────────────────────────────────────────────────────────────


class Epochs:
    """The epochs of one room as one device knows them."""

    def __init__(self, room: RoomId, dev: DeviceKey) -> None:
        self.room = room
        self._dev = dev
        self._known: dict[RecordId, Known] = {}
        self._kept: dict[RecordId, float] = {}  # until when what we sent under is still heard
        self.best: Known | None = None  # the greatest that covers, of those whose secret we hold
        self.sending: Known | None = None
        self.receiving: tuple[Known, ...] = ()
        self.deadline = math.inf

    @property
    def held(self) -> tuple[Live, ...]:
        """Every secret that is not forgotten."""
        return tuple(each.live for each in self._known.values() if each.secret is not None)

    # ── coming in ────────────────────────────────────────────────────────────────────────────

    def take(self, now: Now, signed: Signed[Epoch], open_box: OpenBox) -> Known | None:
        """Takes a record of this room; None if it tells us nothing. Raises EpochRefused."""
        made = read_outline(signed.record)
        signer = DeviceKey(signed.record.dev)
        known = self._known.get(made.id)
        if known is None:
            if not self._has_room(signer, made):
                return None
            known = self._known[made.id] = Known(made)
            for other in self._known.values():
                known.boxed |= other.boxed if self._follows(known, other) else set()
        is_news = signer not in known.records
        known.records.setdefault(signer, signed)
        for box in signed.record.boxes:
            is_news = is_news or box.dev not in known.boxed
            known.boxed.add(DeviceKey(box.dev))
            if box.dev == self._dev and known.secret is None:
                self._hold(now, known, open_box(box.sealed))
        return known if is_news else None

    def _has_room(self, signer: DeviceKey, made: Outline) -> bool:
        """Whether one more is remembered of that signer, whose least gives way to a greater."""
        own = [known for known in self._known.values() if signer in known.records]
        if len(own) < limits.EPOCHS_OF_ONE_MAX:
            return True
        used = [each for each in (self.sending, self.best) if each is not None]
        spare = [
            known
            for known in own
            if known not in used and known.outline.id not in {made.parent, *map(_line, used)}
        ]
        least = max(spare, key=lambda known: known.outline.rank, default=None)
        if least is None or made.rank >= least.outline.rank:
            return False
        del least.records[signer]
        if not least.records:
            del self._known[least.outline.id]
            self._kept.pop(least.outline.id, None)
        return True

    def _follows(self, known: Known, other: Known) -> bool:
        """Whether its secret can be made from the other's."""
        ahead = known.outline.n - other.outline.n
        is_of_line = known.outline.line == other.outline.line
        return is_of_line and 0 < ahead <= limits.EPOCH_RATCHETS_MAX

    def _hold(self, now: Now, known: Known, secret: bytes | None) -> None:
        # Security: a keeper who gave each another secret would split the room unnoticed.
        if secret is not None and keys.commit(secret) == known.outline.commit:
            known.secret, known.since = secret, now.mono

    def _derive(self, now: Now, counts: Counts) -> None:
        """The secrets of ratchets of which we hold an earlier one."""
        for known in sorted(self._known.values(), key=lambda each: each.outline.n):
            # Security: a few bytes can ask for a thousand steps. So only for those who run the
            # room, and once from each epoch that we hold.
            if known.secret is not None or not self._stands(known, counts):
                continue
            for other in list(self._known.values()):
                is_new = other.outline.id not in known.tried and self._follows(known, other)
                if is_new and other.secret is not None and known.secret is None:
                    known.tried.add(other.outline.id)
                    self._hold(now, known, self._advance(other, known.outline.n))

    def _advance(self, known: Known, n: int) -> bytes | None:
        secret = known.secret
        for number in range(known.outline.n + 1, n + 1):
            assert secret is not None
            secret = keys.next_secret(secret, room=self.room, epoch=number)
        return secret

    def root(self, known: Known) -> Known | None:
        """The epoch of chance that its line began with: it tells who made the secret."""
        return self._known.get(known.outline.line)

    def forget_device(self, dev: DeviceKey) -> None:
        """It was started anew, and holds no secret any more."""
        for known in self._known.values():
            known.boxed.discard(dev)

    # ── choosing ─────────────────────────────────────────────────────────────────────────────

    def greatest(self, removed: frozenset[RecordId], counts: Counts) -> Known | None:
        """By the cover rule, whether or not we hold its secret."""
        fit = [known for known in self._known.values() if self._is_fit(known, removed, counts)]
        return min(fit, key=lambda known: known.outline.rank, default=None)

    def _is_fit(self, known: Known, removed: frozenset[RecordId], counts: Counts) -> bool:
        return self._stands(known, counts) and covers(known.outline.rm, removed)

    def _stands(self, known: Known, counts: Counts) -> bool:
        """Whether it counts, whatever it accounts for."""
        made, root = known.outline, self.root(known)
        # Security: whoever made the secret knows it, however many honest people pass it on.
        if root is None or made.by not in root.records or not counts(made.by):
            return False
        if made.ratchet:
            first = root.outline
            # It accounts for what the first of its line does, and for nothing else.
            if (made.by, made.rm) != (first.by, first.rm):
                return False
            if not first.n < made.n <= first.n + limits.EPOCH_RATCHETS_MAX:
                return False
            return any(counts(signer) for signer in known.records)
        return True

    def step(self, now: Now, removed: frozenset[RecordId], counts: Counts) -> bool:
        """Chooses anew; whether what we send or hear under has changed. Call it at `deadline`,
        and when something was taken or the log has changed."""
        before = self.sending, self.receiving
        self._derive(now, counts)
        held = [
            known
            for known in self._known.values()
            if known.secret is not None and self._is_fit(known, removed, counts)
        ]
        self.best = best = min(held, key=lambda known: known.outline.rank, default=None)
        old = self.sending
        # Security: at once if the old one does not cover: somebody who was put out holds it.
        if old not in held or (best is not None and best.since + SWITCH_S <= now.mono):
            self.sending = best
        if old is not None and old is not self.sending:
            self._kept[old.outline.id] = now.mono + KEPT_S
        self._erase(now)
        self.receiving = self._to_hear()
        return before != (self.sending, self.receiving)

    def _erase(self, now: Now) -> None:
        """Forgets the secrets that nobody may need any more: what is gone cannot be stolen."""
        self._kept = {id_: until for id_, until in self._kept.items() if until > now.mono}
        times = list(self._kept.values())
        if self.best is not None and self.best is not self.sending:
            times.append(self.best.since + SWITCH_S)
        for known in self._known.values():
            if known.secret is None or self._is_in_use(known):
                continue
            if known.since + KEPT_S > now.mono:
                times.append(known.since + KEPT_S)
            else:
                known.secret = None
        self.deadline = min(times, default=math.inf)

    def _is_in_use(self, known: Known) -> bool:
        if known in (self.sending, self.best) or known.outline.id in self._kept:
            return True
        return self.best is None or known.outline.rank < self.best.outline.rank

    def _to_hear(self) -> tuple[Known, ...]:
        held = sorted(self._known.values(), key=lambda known: known.outline.rank)
        kept = sorted(self._kept, key=lambda id_: -self._kept[id_])
        wanted = [self.best, self.sending, *(self._known.get(id_) for id_ in kept), *held]
        secret = dict.fromkeys(known for known in wanted if known and known.secret is not None)
        return tuple(secret)[:MEDIA_KEYS_MAX]

    # ── making ───────────────────────────────────────────────────────────────────────────────

    def make(
        self, removed: frozenset[RecordId], counts: Counts, entropy: Entropy
    ) -> tuple[Outline, bytes]:
        """A new epoch of pure chance, and its secret; it begins with the first record of it."""
        secret = entropy(keys.SECRET_BYTES)
        numbers = [known.outline.n for known in self._known.values() if counts(known.outline.by)]
        made = outline(
            self.room,
            by=self._dev,
            n=min(max(numbers, default=-1) + 1, limits.EPOCH_NUMBER_MAX),
            parent=None,
            rm=account_of(removed),
            commit=keys.commit(secret),
        )
        return made, secret

    def ratchet(self) -> tuple[Outline, bytes] | None:
        """The epoch after the best: whoever holds that makes it himself; None if there is none."""
        best = self.best
        root = self.root(best) if best is not None else None
        if best is None or best.secret is None or root is None:
            return None
        n = best.outline.n + 1
        if n > min(root.outline.n + limits.EPOCH_RATCHETS_MAX, limits.EPOCH_NUMBER_MAX):
            return None
        secret = keys.next_secret(best.secret, room=self.room, epoch=n)
        made = outline(
            self.room,
            by=best.outline.by,
            n=n,
            parent=best.outline.line,
            rm=best.outline.rm,
            commit=keys.commit(secret),
        )
        return made, secret

    def begin(self, now: Now, signed: Signed[Epoch], secret: bytes) -> Known:
        """Takes a record of ours, of an epoch whose secret we made or hold."""
        self.take(now, signed, lambda _: None)
        known = self._known[read_outline(signed.record).id]
        known.boxed.add(self._dev)
        if known.secret is None:
            self._hold(now, known, secret)
        return known


def _line(known: Known) -> RecordId:
    return known.outline.line
