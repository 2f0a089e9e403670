"""Who may do what in a room: a pure function of the set of its entries.

No clock, no order of arrival, nobody to ask: whoever holds the same entries sees the same room. It
works because a cut only ever goes down. The creator's entries stand by themselves; they settle who
is host; the hosts' entries settle who is moderator; so each level is judged by what is above it,
and two people can never cut one another.

The rules have the numbers that they have in docs/protocol.md §2.12. R1 to R5 judge an entry by
itself and what it names, once and for all (`is_sound`); R6 to R10 judge it among all the others.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum, IntEnum
from typing import Final

from p2phouse.record import limits
from p2phouse.record.envelope import Signed
from p2phouse.record.types import Access, Act, Entry, Genesis, Identity
from p2phouse.vocabulary import RecordId, UserKey


class Level(IntEnum):
    """The lower the number, the more one may."""

    CREATOR = 0
    HOST = 1
    MODERATOR = 2
    SPEAKER = 3
    LISTENER = 4


class Role(Enum):
    """What a person is in the room, the most restrictive first."""

    BAN = "ban"
    REMOVE = "remove"
    RELAY = "relay"  # carries the room, and is no person in it
    LISTENER = "listener"
    MUTED = "muted"
    SPEAKER = "speaker"


Value = str | int | bool | None
Register = tuple[Act, bytes | None]
"""What entries compete for: the role of one person (None: of all who have none), the title, …"""

ON_STAGE: Final = frozenset({Role.SPEAKER, Role.MUTED})  # the muted keep their place
SEATS: Final = {"host": Level.HOST, "moderator": Level.MODERATOR}
ROLES: Final = {role.value: role for role in Role}
DEFAULTS: Final = {"listener", "muted", "speaker"}  # nobody is put out unnamed
POWERS: Final = {
    Act.GRANT: Level.HOST,
    Act.REVOKE: Level.HOST,
    Act.ROLE: Level.MODERATOR,
    Act.TITLE: Level.MODERATOR,
    Act.LOCK: Level.MODERATOR,
    Act.ACCESS: Level.HOST,
    Act.END: Level.HOST,
    Act.CHAT: Level.MODERATOR,
}
RELAY_POWER: Final = Level.HOST  # who names a relay shows it everybody's network address
_STRICTNESS: Final = {role.value: number for number, role in enumerate(Role)}
_SLOW_S: Final = range(1, limits.SLOW_MODE_S_MAX + 1)  # of slow mode
_ACCESS_STRICTNESS: Final = {Access.CLOSED: 0, Access.SOCIAL: 1, Access.OPEN: 2}


@dataclass(frozen=True, slots=True)
class Seat:
    """A place from which entries are written: the creator's, or one that a grant made."""

    id: RecordId  # the grant's, or the genesis's
    uid: UserKey
    level: Level
    grant: Signed[Entry] | None = None
    revokes: tuple[Signed[Entry], ...] = ()  # all that count, the lower id first

    @property
    def is_standing(self) -> bool:
        return not self.revokes


@dataclass(frozen=True, slots=True)
class RoomState:
    """What the entries add up to."""

    genesis: Signed[Genesis]
    seats: tuple[Seat, ...]  # the creator's first; also those that were revoked
    winners: Mapping[Register, Signed[Entry]]
    candidates: Mapping[Register, tuple[Signed[Entry], ...]]  # not replaced, the winner first
    counting: Mapping[RecordId, Level]  # every entry that counts, by its author's level
    heads: Mapping[RecordId, RecordId]  # of each seat with entries that count: the last of them
    relays: frozenset[UserKey] = frozenset()  # named to carry the room

    # ── people ───────────────────────────────────────────────────────────────────────────────

    def seat_of(self, uid: UserKey) -> Seat | None:
        """The highest seat that the person holds now."""
        held = [seat for seat in self.seats if seat.uid == uid and seat.is_standing]
        return min(held, key=lambda seat: (seat.level, seat.id), default=None)

    def role_of(self, uid: UserKey) -> Role | None:
        """None: neither let in nor put out; who comes to such a room waits in its lobby."""
        # R11 role: one's own entry, else speaker from a seat, else the room's default.
        winner = self.winners.get((Act.ROLE, uid))
        if winner is not None:
            return ROLES[str(winner.record.val)]
        if self.seat_of(uid) is not None:
            return Role.SPEAKER
        # R12 admission: only an open or lan room lets in whom no entry names.
        if self.access in (Access.SOCIAL, Access.CLOSED):
            return None
        return self.default_role

    def level(self, uid: UserKey) -> Level:
        seat = self.seat_of(uid)
        if seat is not None:
            return seat.level
        return Level.SPEAKER if self.role_of(uid) in ON_STAGE else Level.LISTENER

    def may_speak(self, uid: UserKey) -> bool:
        """Whether forwarders and receivers carry this person's voice."""
        return not self.ended and self.role_of(uid) is Role.SPEAKER

    def may_chat(self, uid: UserKey) -> bool:
        """Whether what this person writes is shown to others."""
        # R13 chat: whoever is let in and not put out; while it is off, who has a seat.
        if self.role_of(uid) in (None, Role.BAN, Role.REMOVE, Role.RELAY):
            return False
        return self.chat is not False or self.runs(uid)

    def runs(self, uid: UserKey) -> bool:
        """Whether the person has a seat: runs the room, alone or with others."""
        return self.seat_of(uid) is not None

    def may(
        self, uid: UserKey, act: Act, subject: UserKey | None = None, value: Value = None
    ) -> bool:
        """Whether an entry that the person wrote now would count.

        subject: whom a grant, revoke or role is about. value: matters to grants and roles.
        """
        seat = self.seat_of(uid)
        if seat is None or seat.level > power_of(act, value):
            return False
        match act:
            case Act.GRANT:
                return subject is not None and seat.level < SEATS[str(value)]
            case Act.REVOKE:
                held = [each for each in self.seats if each.uid == subject and each.is_standing]
                return bool(held) and all(seat.level < each.level for each in held)
            case Act.ROLE:
                return subject is None or seat.level < self._seat_level(subject)
            case Act.ACCESS:
                return self.genesis.record.access is not Access.LAN
            case _:
                return True

    def _seat_level(self, uid: UserKey) -> Level:
        seat = self.seat_of(uid)
        return Level.LISTENER if seat is None else seat.level

    def why(self, uid: UserKey) -> tuple[Signed[Entry], ...]:
        """The entries that made the person what it is: seats, their ends, and its role."""
        found: list[Signed[Entry]] = []
        for seat in self.seats:
            if seat.uid == uid and seat.grant is not None:
                found += [seat.grant, *seat.revokes]
        decided = self.candidates.get((Act.ROLE, uid), ())
        if not decided and self.seat_of(uid) is None:
            decided = self.candidates.get((Act.ROLE, None), ())
        return (*found, *decided)

    # ── the room ─────────────────────────────────────────────────────────────────────────────

    @property
    def creator(self) -> UserKey:
        return UserKey(self.genesis.record.uid)

    @property
    def speakers_max(self) -> int:
        return self.genesis.record.maxspk

    @property
    def default_role(self) -> Role:
        """Of those who have neither a seat nor a role of their own."""
        value = self._value(Act.ROLE)
        return Role.SPEAKER if value is None else ROLES[str(value)]

    @property
    def title(self) -> str:
        value = self._value(Act.TITLE)
        return self.genesis.record.title if value is None else str(value)

    @property
    def locked(self) -> bool:
        """Nobody comes in who was not in, but those whom an entry names."""
        return self._value(Act.LOCK) is True

    @property
    def access(self) -> Access:
        value = self._value(Act.ACCESS)
        return self.genesis.record.access if value is None else Access(int(value))

    @property
    def chat(self) -> bool | int:
        """Whether there is chat; a number: in slow mode, of one message a person in so many s."""
        value = self._value(Act.CHAT)
        return value if isinstance(value, bool | int) else True

    @property
    def ended(self) -> bool:
        return (Act.END, None) in self.winners

    def _value(self, act: Act) -> Value:
        winner = self.winners.get((act, None))
        return None if winner is None else winner.record.val


# ── an entry by itself: what is true of it once is true for ever ─────────────────────────────


def is_sound(
    entry: Entry,
    genesis: Signed[Genesis],
    *,
    auth: Entry | None,
    prev: Entry | None,
    identity: Identity | None,
) -> bool:
    """R1 to R5. auth: the grant it names, None if it names the genesis. auth, prev and identity
    are those that the entry names, and are sound themselves."""
    creation = genesis.record
    # R1 form: of this room, with a subject and a value that fit the act.
    if entry.room != genesis.id or not _has_form(entry, creation):
        return False
    # R2 device: the identity is the author's, lists the device, and had not run out.
    if identity is None or not _lists(identity, entry, creation.created):
        return False
    # R3 seat: the author is whom the grant seats, or the creator.
    if auth is None:
        holder = creation.uid if entry.auth == genesis.id else None
    else:
        holder = auth.sub if auth.act == Act.GRANT else None
    if holder is None or entry.uid != holder:
        return False
    # R4 chain: what went before was written from the same seat.
    if entry.prev is not None and (prev is None or prev.auth != entry.auth):
        return False
    # R5 power: the seat's level allows the act.
    level = seat_level(auth)
    if level > power_of(Act(entry.act), entry.val):
        return False
    return entry.act != Act.GRANT or level < SEATS[str(entry.val)]


def power_of(act: Act, value: Value) -> Level:
    """The level that an entry takes."""
    is_relay = act is Act.ROLE and value == Role.RELAY.value
    return RELAY_POWER if is_relay else POWERS[act]


def seat_level(auth: Entry | None) -> Level:
    """The level of the seat that the grant makes; of the genesis's if None."""
    return Level.CREATOR if auth is None else SEATS[str(auth.val)]


def _has_form(entry: Entry, creation: Genesis) -> bool:
    act, sub, val = entry.act, entry.sub, entry.val
    if act != Act.REVOKE and entry.pin is not None:
        return False
    if act in (Act.GRANT, Act.REVOKE) and entry.over:
        return False
    if act not in (Act.GRANT, Act.REVOKE, Act.ROLE) and sub is not None:
        return False
    match act:
        case Act.GRANT:
            return sub is not None and sub != creation.uid and val in SEATS
        case Act.REVOKE:
            return sub is not None and val is None
        case Act.ROLE:
            return val in (DEFAULTS if sub is None else ROLES)
        case Act.TITLE:
            return isinstance(val, str)
        case Act.LOCK:
            return isinstance(val, bool)
        case Act.ACCESS:
            # `true` is 1 to Python; and a lan room's people never agreed to be seen elsewhere.
            is_number = isinstance(val, int) and not isinstance(val, bool)
            return is_number and val in _ACCESS_STRICTNESS and creation.access is not Access.LAN
        case Act.END:
            return val is None
        case Act.CHAT:
            return isinstance(val, bool) or val in _SLOW_S


def _lists(identity: Identity, entry: Entry, created: int) -> bool:
    if identity.uid != entry.uid or identity.exp < created:
        return False
    return any(each.dev == entry.dev and each.exp >= created for each in identity.devices)


# ── all of them together ─────────────────────────────────────────────────────────────────────


def fold(
    genesis: Signed[Genesis],
    entries: Iterable[Signed[Entry]],
    identities: Mapping[RecordId, Identity],
) -> RoomState:
    """The room. Same entries, in whatever order and however often: same state."""
    return _Fold(genesis, {each.id: each for each in entries}, identities).state()


class _Fold:
    def __init__(
        self,
        genesis: Signed[Genesis],
        known: dict[RecordId, Signed[Entry]],
        identities: Mapping[RecordId, Identity],
    ) -> None:
        self._genesis = genesis
        self._known = known
        self._identities = identities
        self._depths = self._judge()
        self._seats = [Seat(genesis.id, UserKey(genesis.record.uid), Level.CREATOR)]
        self._counting: dict[RecordId, Level] = {}
        self._revokes: defaultdict[RecordId, list[Signed[Entry]]] = defaultdict(list)
        self._standing: dict[bytes, Level] = {}  # seats of the levels that are settled
        self._heads: dict[RecordId, RecordId] = {}

    def state(self) -> RoomState:
        from_seat: defaultdict[RecordId, list[Signed[Entry]]] = defaultdict(list)
        for id_ in self._depths:
            signed = self._known[id_]
            from_seat[RecordId(signed.record.auth)].append(signed)
        for level in (Level.CREATOR, Level.HOST, Level.MODERATOR):
            seats = [seat for seat in self._seats if seat.level == level]
            for seat in seats:
                if seat.id not in self._revokes:
                    self._standing.setdefault(seat.uid, level)
            for seat in seats:
                self._count(seat, from_seat[seat.id])
            self._fill_seats(level)
        winners, candidates = self._settle()
        return RoomState(
            self._genesis,
            tuple(
                Seat(seat.id, seat.uid, seat.level, seat.grant, self._revokes_of(seat))
                for seat in self._seats
            ),
            winners,
            candidates,
            self._counting,
            self._heads,
            frozenset(
                UserKey(subject)
                for (act, subject), winner in winners.items()
                if act is Act.ROLE and subject and winner.record.val == Role.RELAY.value
            ),
        )

    def _revokes_of(self, seat: Seat) -> tuple[Signed[Entry], ...]:
        return tuple(sorted(self._revokes.get(seat.id, ()), key=_id))

    # ── soundness ────────────────────────────────────────────────────────────────────────────

    def _judge(self) -> dict[RecordId, int]:
        """How many entries stand before each sound one in its seat."""
        depths: dict[RecordId, int] = {}
        void: set[RecordId] = set()
        for id_ in self._known:
            waiting = [id_]  # a chain has hundreds of links: no recursion
            while waiting:
                at = waiting[-1]
                entry = self._known[at].record
                unjudged = [
                    name
                    for name in (entry.prev, entry.auth)
                    if name in self._known and name not in depths and name not in void
                ]
                if unjudged:
                    waiting += [RecordId(name) for name in unjudged if name is not None]
                    continue
                waiting.pop()
                if at in depths or at in void:
                    continue
                auth, prev = self._sound(entry.auth, depths), self._sound(entry.prev, depths)
                identity = self._identities.get(RecordId(entry.idrec))
                if is_sound(entry, self._genesis, auth=auth, prev=prev, identity=identity):
                    depths[at] = 0 if entry.prev is None else depths[RecordId(entry.prev)] + 1
                else:
                    void.add(at)
        return depths

    def _sound(self, name: bytes | None, depths: dict[RecordId, int]) -> Entry | None:
        return self._known[RecordId(name)].record if name in depths and name is not None else None

    # ── authority, level by level ────────────────────────────────────────────────────────────

    def _count(self, seat: Seat, written: list[Signed[Entry]]) -> None:
        allowed = self._allowed(seat)
        for signed in written:
            # R7 pin: of a revoked seat counts only what every revoke's pin descends from.
            if allowed is not None and signed.id not in allowed:
                continue
            entry = signed.record
            # R6 below: seats and people are cut only from above.
            if entry.act == Act.REVOKE and not seat.level < self._level_of_grant(entry.sub):
                continue
            if entry.act == Act.ROLE and not seat.level < self._level_of_person(entry.sub):
                continue
            self._counting[signed.id] = seat.level
            self._heads[seat.id] = self._later(signed.id, self._heads.get(seat.id, signed.id))
            if entry.act == Act.REVOKE:
                self._revokes[RecordId(entry.sub or b"")].append(signed)

    def _later(self, one: RecordId, other: RecordId) -> RecordId:
        return min(one, other, key=lambda id_: (-self._depths[id_], id_))

    def _level_of_grant(self, name: bytes | None) -> Level:
        """Of the seat that a sound grant makes, whoever wrote it; what is none nobody can cut."""
        grant = self._sound(name, self._depths)
        if grant is None or grant.act != Act.GRANT:
            return Level.CREATOR
        return seat_level(grant)

    def _level_of_person(self, uid: bytes | None) -> Level:
        if uid is None:
            return Level.LISTENER
        return self._standing.get(uid, Level.LISTENER)

    def _allowed(self, seat: Seat) -> frozenset[RecordId] | None:
        """What counts of the seat; None if it was not revoked.

        Lines go up to the root like the branches of a tree, so what two pins have in common is one
        line again; each entry is walked over once, however many revokes there are.
        """
        revokes = self._revokes.get(seat.id)
        if not revokes:
            return None
        line: list[RecordId] = []
        common: dict[RecordId, int] = {}  # how much of the line each entry descends from
        length = None
        for signed in revokes:
            trail: list[RecordId] = []
            at = signed.record.pin
            while at in self._depths and at not in common:
                trail.append(RecordId(at))
                at = self._known[RecordId(at)].record.prev
            if length is None:
                line = trail[::-1]
                common = {id_: place for place, id_ in enumerate(line, 1)}
                length = len(line)
                continue
            shared = common.get(RecordId(at), 0) if at is not None else 0
            common.update(dict.fromkeys(trail, shared))
            length = min(length, shared)
        return frozenset(line[:length])

    def _fill_seats(self, level: Level) -> None:
        """Makes the seats that this level's grants give."""
        grants = [
            self._known[id_]
            for id_, of in self._counting.items()
            if of == level and self._known[id_].record.act == Act.GRANT
        ]
        grants.sort(key=lambda signed: (self._depths[signed.id], signed.id))
        # R8 grants: so many make seats, the higher level's first, then the earlier in its seat.
        room_for = limits.GRANTS_PER_ROOM_MAX - (len(self._seats) - 1)
        for grant in grants[:room_for]:
            uid = UserKey(grant.record.sub or b"")
            self._seats.append(Seat(grant.id, uid, seat_level(grant.record), grant))
        for grant in grants[max(0, room_for) :]:
            del self._counting[grant.id]

    # ── what the room is like ────────────────────────────────────────────────────────────────

    def _settle(
        self,
    ) -> tuple[dict[Register, Signed[Entry]], dict[Register, tuple[Signed[Entry], ...]]]:
        written: defaultdict[Register, list[Signed[Entry]]] = defaultdict(list)
        for id_ in self._counting:
            signed = self._known[id_]
            if signed.record.act not in (Act.GRANT, Act.REVOKE):
                written[(signed.record.act, signed.record.sub)].append(signed)
        winners, candidates = {}, {}
        for register, entries in written.items():
            left = sorted(self._not_replaced(entries), key=self._strictest_first)
            winners[register], candidates[register] = left[0], tuple(left)
        return winners, candidates

    def _not_replaced(self, entries: list[Signed[Entry]]) -> Iterator[Signed[Entry]]:
        # R9 over: an entry replaces those it names, of its own register, level or a lower one.
        replaced_by: dict[bytes, Level] = {}
        for signed in entries:
            level = self._counting[signed.id]
            for name in signed.record.over:
                replaced_by[name] = min(level, replaced_by.get(name, level))
        for signed in entries:
            by = replaced_by.get(signed.id)
            if by is None or by > self._counting[signed.id]:
                yield signed

    def _strictest_first(self, signed: Signed[Entry]) -> tuple[int, Level, RecordId]:
        # R10 strict: the most restrictive, then the higher level, then the lower id.
        return _strictness(signed.record), self._counting[signed.id], signed.id


def _strictness(entry: Entry) -> int:
    match entry.act:
        case Act.ROLE:
            return _STRICTNESS[str(entry.val)]
        case Act.LOCK:
            return 0 if entry.val else 1
        case Act.ACCESS:
            return _ACCESS_STRICTNESS[Access(int(entry.val or 0))]
        case Act.CHAT:
            # Off before slow, the slower before the less slow, on last.
            if isinstance(entry.val, bool):
                return 0 if entry.val else -1 - limits.SLOW_MODE_S_MAX
            return -int(entry.val or 0)
        case _:
            return 0


def _id(signed: Signed[Entry]) -> RecordId:
    return signed.id
