"""The entries of one room that this node holds, each checked once, and what others may lack.

Every member keeps the same set: entries flood, and a digest each few seconds finds what was lost.
The log decides which entries are in the set; what they are worth is decided by room/rules.py. An
entry comes in when all that it names is there: its identity record, the grant of its seat, and the
entry before it. Until then it waits aside.

The set is bounded without an order of arrival, or two members who heard the same would differ:
each entry has a rank that it gets from itself, and when there are too many the last go.
"""

from collections import OrderedDict, defaultdict
from collections.abc import Iterable, Iterator
from hashlib import sha256
from typing import Final

from p2phouse.errors import PeerError, UserError
from p2phouse.identity.keys import Me
from p2phouse.record import envelope, limits
from p2phouse.record.cbor import Value
from p2phouse.record.envelope import Signed
from p2phouse.record.types import Act, Entry, Genesis, Identity
from p2phouse.room import rules
from p2phouse.room.rules import Level, RoomState, Seat
from p2phouse.vocabulary import RecordId, UserKey

BUCKETS: Final = 256  # by the first byte of an id: eight entries in each of a full room's
BUCKET_BYTES: Final = 16  # a collision takes 2^64 tries, and only hides entries of its maker
SKETCH_BYTES: Final = BUCKETS * BUCKET_BYTES

Rank = tuple[Level, int, RecordId]
"""Level of the author's seat, entries before it in that seat, id: who ranks last goes first."""


class ForeignEntry(PeerError):
    """An entry belongs to another room than the one it was sent in."""


class BadSketch(PeerError):
    """A sketch of a log has another length than sketches have."""


class NoSeat(UserError):
    """You do not run this room. Ask its host or a moderator."""


class MayNot(UserError):
    """Your seat in this room does not allow that: only somebody above can do it."""


class HasNoSeat(UserError):
    """That person has no seat in this room: there is nothing to take back."""


class SeatFull(UserError):
    """You have written {limit} entries in this room, which is all that one seat may.
    Somebody above you can give you a new seat."""


class EntryLog:
    """See the module."""

    def __init__(self, genesis: Signed[Genesis]) -> None:
        self.genesis = genesis
        self._entries: dict[RecordId, Signed[Entry]] = {}
        self._ranks: dict[RecordId, Rank] = {}
        self._seat_sizes: defaultdict[RecordId, int] = defaultdict(int)
        self._identities: dict[RecordId, Signed[Identity]] = {}
        self._named: defaultdict[RecordId, int] = defaultdict(int)  # entries of each identity
        self._aside: OrderedDict[RecordId, Signed[Entry]] = OrderedDict()
        self._held: set[bytes] = set()  # as they came, so that a copy costs no signature check
        self._state: RoomState | None = None
        self._digest: bytes | None = None

    # ── what is in it ────────────────────────────────────────────────────────────────────────

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, id_: RecordId) -> bool:
        return id_ in self._entries

    def __iter__(self) -> Iterator[Signed[Entry]]:
        """Each after all that it names."""
        return iter(sorted(self._entries.values(), key=self._rank))

    @property
    def state(self) -> RoomState:
        """What the entries add up to."""
        if self._state is None:
            identities = {id_: signed.record for id_, signed in self._identities.items()}
            self._state = rules.fold(self.genesis, self._entries.values(), identities)
        return self._state

    @property
    def digest(self) -> bytes:
        """SHA-256 of the ids in ascending order: equal digests, equal sets."""
        if self._digest is None:
            self._digest = sha256(b"".join(sorted(self._entries))).digest()
        return self._digest

    def identity(self, id_: RecordId) -> Signed[Identity] | None:
        return self._identities.get(id_)

    def get(self, id_: RecordId) -> Entry | None:
        signed = self._entries.get(id_)
        return None if signed is None else signed.record

    # ── coming in ────────────────────────────────────────────────────────────────────────────

    def add(self, data: bytes) -> tuple[Signed[Entry], ...]:
        """Takes an entry as it came from a peer. Returns what is new in the log: the entry, and
        those that had waited for it; nothing if it is known, waits, or can never count.

        Raises PeerError for what no honest peer passes on.
        """
        return self.take([data], [])

    def add_identity(self, data: bytes) -> tuple[Signed[Entry], ...]:
        """Takes an identity record; returns what had waited for it. Raises PeerError."""
        return self.take([], [data])

    def take(
        self, entries: Iterable[bytes], identities: Iterable[bytes]
    ) -> tuple[Signed[Entry], ...]:
        """Several at once, with the identities that they need. Raises PeerError before anything
        has changed."""
        proofs = [envelope.read(data, Identity) for data in identities]
        unknown = [data for data in entries if data not in self._held]
        arrived = [envelope.read(data, Entry) for data in unknown]
        if any(signed.record.room != self.genesis.id for signed in arrived):
            raise ForeignEntry
        new: list[Signed[Entry]] = []
        for identity in proofs:
            new += self._show(identity)
        for signed in arrived:
            if signed.id not in self._entries and signed.id not in self._aside:
                new += self._settle([signed])
        return tuple(each for each in new if each.id in self._entries)

    def _show(self, identity: Signed[Identity]) -> tuple[Signed[Entry], ...]:
        if identity.id in self._identities:
            return ()
        self._identities[identity.id] = identity
        self._forget_identities()
        return self._settle(self._waiting_for(identity.id))

    def _settle(self, arrived: list[Signed[Entry]]) -> tuple[Signed[Entry], ...]:
        """Puts each where it belongs, and then what waited for it."""
        new: list[RecordId] = []
        while arrived:
            signed = arrived.pop()
            if self._lacks(signed.record):
                self._put_aside(signed)
                continue
            if self._aside.pop(signed.id, None) is not None:
                self._held.discard(signed.data)
            if signed.id in self._entries:
                continue  # it had waited for two things that came together
            if self._is_sound(signed.record) and self._fits(signed):
                new.append(signed.id)
                arrived += self._waiting_for(signed.id)
        return tuple(self._entries[id_] for id_ in new if id_ in self._entries)

    def _waiting_for(self, id_: RecordId) -> list[Signed[Entry]]:
        return [
            each
            for each in self._aside.values()
            if id_ in (each.record.prev, each.record.auth, each.record.idrec)
        ]

    def _lacks(self, entry: Entry) -> list[RecordId]:
        """What it names and we do not hold."""
        # Security: each name in its own place, or a prev that names an identity would pass.
        lacking = [entry.idrec] if entry.idrec not in self._identities else []
        if entry.auth not in self._entries and entry.auth != self.genesis.id:
            lacking.append(entry.auth)
        if entry.prev is not None and entry.prev not in self._entries:
            lacking.append(entry.prev)
        return [RecordId(name) for name in lacking]

    def _is_sound(self, entry: Entry) -> bool:
        auth = None if entry.auth == self.genesis.id else self._record(entry.auth)
        return rules.is_sound(
            entry,
            self.genesis,
            auth=auth,
            prev=None if entry.prev is None else self._record(entry.prev),
            identity=self._identities[RecordId(entry.idrec)].record,
        )

    def _record(self, id_: bytes) -> Entry:
        return self._entries[RecordId(id_)].record

    # ── what there is room for ───────────────────────────────────────────────────────────────

    def _fits(self, signed: Signed[Entry]) -> bool:
        """Takes the entry in, and lets go of what then ranks too low. False if that is itself."""
        entry, seat = signed.record, RecordId(signed.record.auth)
        level = rules.seat_level(None if seat == self.genesis.id else self._record(seat))
        before = 0 if entry.prev is None else self._ranks[RecordId(entry.prev)][1] + 1
        self._entries[signed.id] = signed
        self._ranks[signed.id] = (level, before, signed.id)
        self._seat_sizes[seat] += 1
        self._named[RecordId(entry.idrec)] += 1
        self._held.add(signed.data)
        self._state = self._digest = None
        if self._seat_sizes[seat] > limits.ENTRIES_PER_SEAT_MAX:
            of_seat = [id_ for id_, each in self._entries.items() if each.record.auth == seat]
            self._drop(max(of_seat, key=self._ranks.__getitem__))
        if len(self._entries) > limits.ENTRIES_PER_ROOM_MAX:
            self._drop(max(self._ranks, key=self._ranks.__getitem__))
        return signed.id in self._entries

    def _drop(self, id_: RecordId) -> None:
        """Out of the set, with all that was written from the seat it makes."""
        signed = self._entries.pop(id_)
        del self._ranks[id_]
        self._held.discard(signed.data)
        self._seat_sizes[RecordId(signed.record.auth)] -= 1
        self._named[RecordId(signed.record.idrec)] -= 1
        if signed.record.act is not Act.GRANT:
            return
        for other in [each.id for each in self._entries.values() if each.record.auth == id_]:
            if other in self._entries:
                self._drop(other)

    def _put_aside(self, signed: Signed[Entry]) -> None:
        # Security: anybody can sign entries that name what does not exist. Who floods us with them
        # drives out what waits, and the next sketch brings that back.
        self._aside[signed.id] = signed
        self._held.add(signed.data)
        if len(self._aside) > limits.ENTRIES_ASIDE_MAX:
            _, oldest = self._aside.popitem(last=False)
            self._held.discard(oldest.data)

    def _forget_identities(self) -> None:
        spare = [id_ for id_ in self._identities if not self._named.get(id_)]
        for id_ in spare[: max(0, len(spare) - limits.ENTRIES_ASIDE_MAX)]:
            del self._identities[id_]

    # ── comparing with others ────────────────────────────────────────────────────────────────

    @property
    def sketch(self) -> bytes:
        """For each first byte of an id, 16 bytes of the SHA-256 of the ids that begin with it, in
        ascending order; zeros if none does. Two sketches tell where two logs differ."""
        buckets: list[list[RecordId]] = [[] for _ in range(BUCKETS)]
        for id_ in sorted(self._entries):
            buckets[id_[0]].append(id_)
        return b"".join(
            sha256(b"".join(ids)).digest()[:BUCKET_BYTES] if ids else bytes(BUCKET_BYTES)
            for ids in buckets
        )

    def missing(self, sketch: bytes) -> Iterator[Signed[Entry]]:
        """What the maker of the sketch may lack, each after all that it names; perhaps a few that
        it has. Identities are not among them. Raises BadSketch."""
        if len(sketch) != SKETCH_BYTES:
            raise BadSketch
        own = self.sketch
        differs = [
            own[at : at + BUCKET_BYTES] != sketch[at : at + BUCKET_BYTES]
            for at in range(0, SKETCH_BYTES, BUCKET_BYTES)
        ]
        return (signed for signed in self if differs[signed.id[0]])

    def identities_of(self, entries: Iterable[Signed[Entry]]) -> tuple[Signed[Identity], ...]:
        """The records that these need, each once, to be sent before them."""
        named = dict.fromkeys(RecordId(signed.record.idrec) for signed in entries)
        return tuple(self._identities[id_] for id_ in named)

    @property
    def awaited(self) -> frozenset[RecordId]:
        """Identities and entries that others wait for: what to ask for."""
        return frozenset(
            name
            for signed in self._aside.values()
            for name in self._lacks(signed.record)
            if name not in self._aside
        )

    def beginning(self, size_max: int) -> tuple[list[Value], list[Value]]:
        """The first entries, as many as fit with their identities, and these: to be kept."""
        entries: list[Value] = []
        identities: dict[RecordId, Value] = {}
        for signed in self:
            idrec = RecordId(signed.record.idrec)
            size_max -= len(signed.data)
            if idrec not in identities:
                size_max -= len(self._identities[idrec].data)
            if size_max < 0:
                break
            entries.append(signed.data)
            identities[idrec] = self._identities[idrec].data
        return entries, [*identities.values()]

    def _rank(self, signed: Signed[Entry]) -> Rank:
        return self._ranks[signed.id]

    # ── writing ──────────────────────────────────────────────────────────────────────────────

    def write(
        self,
        me: Me,
        act: Act,
        subject: UserKey | None = None,
        value: rules.Value = None,
        *,
        pin: RecordId | None = None,
    ) -> tuple[Signed[Entry], ...]:
        """Signs what I decide into the log; of a revoke one entry for each seat of the subject.

        pin: of a revoke, the last entry that goes on counting; if not given, all that we hold and
        that counts goes on counting, and nothing that comes to light later. Raises UserError.
        """
        state = self.state
        seat = state.seat_of(me.uid)
        if seat is None:
            raise NoSeat
        seats = [each for each in state.seats if each.uid == subject and each.is_standing]
        if act is Act.REVOKE and not seats:
            raise HasNoSeat
        if not state.may(me.uid, act, subject, value):
            raise MayNot
        if act is not Act.REVOKE:
            return (self._write(me, seat, act, subject, value, None),)
        return tuple(
            self._write(me, seat, act, each.id, None, pin or state.heads.get(each.id))
            for each in seats
        )

    def _write(
        self,
        me: Me,
        seat: Seat,
        act: Act,
        subject: UserKey | RecordId | None,
        value: rules.Value,
        pin: RecordId | None,
    ) -> Signed[Entry]:
        entry = Entry(
            room=self.genesis.id,
            uid=me.uid,
            dev=me.dev,
            idrec=me.record.id,
            auth=seat.id,
            prev=self.last_of(seat.id),
            act=act,
            sub=subject,
            val=value,
            over=self._replaceable(act, subject, seat.level),
            pin=pin,
        )
        signed = envelope.sign(entry, me.device_key)
        self.add_identity(me.record.data)
        if not self.add(signed.data):
            raise SeatFull(limit=limits.ENTRIES_PER_SEAT_MAX)
        return signed

    def reserve(self, me: Me, count: int) -> None:
        """Raises SeatFull unless I may still write so many: half of what belongs together would
        count, and be told to nobody."""
        seat = self.state.seat_of(me.uid)
        if seat is not None and self.size_of(seat.id) + count > limits.ENTRIES_PER_SEAT_MAX:
            raise SeatFull(limit=limits.ENTRIES_PER_SEAT_MAX)

    def size_of(self, seat: RecordId) -> int:
        """How many entries were written from the seat."""
        return self._seat_sizes[seat]

    def last_of(self, seat: RecordId) -> RecordId | None:
        """The entry of the seat with the longest line before it: the next one names it."""
        of_seat = [id_ for id_, each in self._entries.items() if each.record.auth == seat]
        return min(of_seat, key=lambda id_: (-self._ranks[id_][1], id_), default=None)

    def _replaceable(self, act: Act, subject: bytes | None, level: Level) -> tuple[RecordId, ...]:
        """The entries of the same register that an author of this level may replace."""
        if act in (Act.GRANT, Act.REVOKE):
            return ()
        state = self.state
        standing = state.candidates.get((act, subject), ())
        ours = [each.id for each in standing if level <= state.counting[each.id]]
        return tuple(ours[: limits.OVER_MAX])
