"""Three parts of a room that cannot hear one another, and people in them who cheat.

What is written here is judged by rules that the caller gives, so that wrong ones can be tried too;
`faults` holds the outcome against what the rules are for, worked out anew and as naively as can be.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Final

from nacl.signing import SigningKey

from p2phouse.identity.keys import Me
from p2phouse.record import envelope
from p2phouse.record.envelope import Signed
from p2phouse.record.types import Access, Act, Entry
from p2phouse.vocabulary import RecordId
from tests.room.logbook import NOW, Logbook, nothing, person
from tests.room.mutants import GRANTS_MAX

PARTS: Final = 3
PEOPLE: Final = [person(name) for name in ("ana", "ben", "cleo", "dan", "eve", "fred", "gina")]
CREATOR: Final = PEOPLE[0]
STRANGER: Final = person("stranger")  # of whom no entry ever speaks
SEATS: Final = {"host": 1, "moderator": 2}
LOWEST: Final = dict(
    zip(Act, (1, 1, 2, 2, 2, 1, 1, 2), strict=True)
)  # the lowest level that may do each act
STRICT: Final = ["ban", "remove", "listener", "muted", "speaker"]
VALUES: Final[dict[Act, list[str | int | bool | None]]] = {
    Act.GRANT: ["host", "moderator", "moderator", "speaker"],
    Act.REVOKE: [None, None, None, 1],
    Act.ROLE: [*STRICT, "host"],
    Act.TITLE: ["tea", "coffee", None],
    Act.LOCK: [True, False, 1],
    Act.ACCESS: [0, 1, 2, 3, True],
    Act.END: [None, None, True],
    Act.CHAT: [False, 30, 60, True, 0, 3_601],
}


def _expired() -> list[Me]:
    """Two who are somebody of PEOPLE by their root key, but whose proof of that had run out."""
    ben = PEOPLE[1]
    record = ben.record.record
    (device,) = record.devices
    early = int(NOW.unix) - 1
    aged = replace(record, devices=(replace(device, exp=early),), seq=1)
    over = replace(record, created=early - 1, exp=early, seq=2)
    return [replace(ben, record=envelope.sign(each, ben.root_key)) for each in (aged, over)]


EXPIRED: Final = _expired()


@dataclass
class LogWorld:
    """One run: `live` lets everybody write, `heal` brings all of it together."""

    seed: int
    law: Any
    access: Access = Access.OPEN
    parts: list[dict[RecordId, Signed[Entry]]] = field(init=False)

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)
        self.access = self.rng.choice([Access.OPEN, Access.OPEN, Access.CLOSED, Access.LAN])
        self.book = Logbook(host=CREATOR, access=self.access)
        self.parts = [{} for _ in range(PARTS)]
        self.honest = {each.uid for each in self.rng.sample(PEOPLE, 4)}
        self.home = {each.uid: self.rng.randrange(PARTS) for each in PEOPLE}
        for each in (*PEOPLE, *EXPIRED, STRANGER):
            self.book.identities[each.record.id] = each.record

    def live(self) -> None:
        # Somebody to run the room, or most of what is written could not count.
        for by, to, seat in [(0, 1, "host"), (0, 2, "host"), (1, 3, "moderator")]:
            self._decide(PEOPLE[by], Act.GRANT, PEOPLE[to], seat)
            if self.rng.random() < 0.5:
                self._meet(0, self.rng.randrange(PARTS))
        for _ in range(self.rng.randrange(5, 50)):
            if self.rng.random() < 0.2:
                self._meet(*self.rng.sample(range(PARTS), 2))
            author = self.rng.choice([*PEOPLE, *PEOPLE[:4], *PEOPLE[:4]])
            if author.uid in self.honest or self.rng.random() < 0.4:
                self._govern(author)
            else:
                self._cheat(author)

    def _meet(self, one: int, other: int) -> None:
        both = self.parts[one] | self.parts[other]
        self.parts[one], self.parts[other] = dict(both), dict(both)

    def state(self, part: int) -> Any:  # noqa: ANN401 - the state of the given rules
        return self.fold(list(self.parts[part].values()))

    def fold(self, entries: list[Signed[Entry]]) -> Any:  # noqa: ANN401 - as above
        identities = {id_: signed.record for id_, signed in self.book.identities.items()}
        return self.law.fold(self.book.genesis, entries, identities)

    # ── those who keep to the rules ──────────────────────────────────────────────────────────

    def _govern(self, author: Me) -> None:
        act = self.rng.choice(
            [
                *[Act.GRANT] * 3,
                *[Act.ROLE] * 4,
                *[Act.REVOKE] * 3,
                Act.TITLE,
                Act.LOCK,
                Act.ACCESS,
                Act.CHAT,
            ]
            if self.rng.random() < 0.97
            else [Act.END]
        )
        about_people = act in (Act.GRANT, Act.REVOKE, Act.ROLE)
        subject = self.rng.choice([*PEOPLE, *PEOPLE[-2:], *PEOPLE[-2:]]) if about_people else None
        if act is Act.ROLE and self.rng.random() < 0.2:
            subject = None
        self._decide(author, act, subject, self.rng.choice(VALUES[act][:3]))

    def _decide(self, author: Me, act: Act, subject: Me | None, value: Any) -> None:  # noqa: ANN401
        """What a node does for its person, by what its part of the room holds."""
        part = self.home[author.uid]
        state = self.state(part)
        seat = state.seat_of(author.uid)
        uid = subject.uid if subject else None
        if seat is None or not state.may(author.uid, act, uid, value):
            return
        if act is Act.ROLE and subject is None:
            value = self.rng.choice(STRICT[2:])
        auth = None if seat.grant is None else seat.id
        pin = None
        name: Any = uid
        if act is Act.REVOKE:
            target = next(each for each in state.seats if each.uid == uid and each.is_standing)
            name = target.id
            before = [each.id for each in self.book.entries if each.record.auth == target.id]
            pin = self.rng.choice([state.heads.get(target.id), *before[-3:], None])
        standing = state.candidates.get((act, name), ())
        over = [each for each in standing if seat.level <= state.counting[each.id]]
        self._put(
            part,
            self.book.write(
                author,
                act,
                name,
                value,
                auth=auth,
                prev=state.heads.get(seat.id),
                over=over[:8] if act not in (Act.GRANT, Act.REVOKE) else (),
                pin=pin,
            ),
        )

    # ── those who do not ─────────────────────────────────────────────────────────────────────

    def _cheat(self, author: Me) -> None:
        """Anything that can be signed: from others' seats, into the past, upwards, twice over."""
        rng = self.rng
        known = [*self.book.entries]
        grants = [each for each in known if each.record.act is Act.GRANT]
        own = [each for each in grants if each.record.sub == author.uid]
        auth: Any = None
        if own and rng.random() < 0.8:
            auth = rng.choice(own)
        elif author is not CREATOR and rng.random() < 0.5:
            auth = rng.choice([*known, nothing("seat")])
        seat_id = auth.id if isinstance(auth, Signed) else self.book.id
        of_seat = [each for each in known if each.record.auth == seat_id]
        act = rng.choice([*Act, Act.ROLE, Act.ROLE, Act.REVOKE, Act.REVOKE, Act.GRANT])
        value = rng.choice(VALUES[act])
        name: Any = None
        if act in (Act.GRANT, Act.ROLE):
            name = rng.choice([*(each.uid for each in (*PEOPLE, *PEOPLE[-2:], *PEOPLE[-2:])), None])
        elif act is Act.REVOKE:
            some = [*grants, *grants[:3], *grants[:3]] or known
            name = rng.choice([*(each.id for each in some), nothing("grant")])
        prev = rng.choice([None, *of_seat, *of_seat, *known[-1:], nothing("entry")])
        pins = [None, *(each for each in known if each.record.auth == name), *known[-1:]]
        more: dict[str, Any] = {}
        match rng.randrange(16):
            case 0:
                more["room"] = nothing("another room")
            case 1:
                more["key"] = SigningKey(bytes(32))
            case 2:
                more["uid"] = rng.choice(PEOPLE).uid
            case 3:
                author = rng.choice(EXPIRED)
            case 4:
                author, more["uid"] = STRANGER, rng.choice(PEOPLE).uid
                more["idrec"] = rng.choice([PEOPLE[1].record.id, STRANGER.record.id])
        competing = [each for each in known if (each.record.act, each.record.sub) == (act, name)]
        entry = self.book.write(
            author,
            act,
            name,
            value,
            auth=auth,
            prev=prev,
            over=rng.sample(competing, min(len(competing), rng.choice([0, 1, 8, 8]))),
            pin=rng.choice(pins) if act is Act.REVOKE or rng.random() < 0.05 else None,
            **more,
        )
        for part in rng.sample(range(PARTS), rng.randrange(1, PARTS + 1)):
            self._put(part, entry)

    def _put(self, part: int, entry: Signed[Entry]) -> None:
        self.parts[part][entry.id] = entry

    # ── the outcome ──────────────────────────────────────────────────────────────────────────

    def heal(self) -> list[Signed[Entry]]:
        """All that was written, once each."""
        everything: dict[RecordId, Signed[Entry]] = {}
        for part in self.parts:
            everything |= part
        return list(everything.values())

    def faults(self) -> Iterator[str]:
        """What is wrong with the state that all of it adds up to, in the words of the promise."""
        everything = self.heal()
        try:
            state = self.fold(everything)
        except (KeyError, TypeError, ValueError) as error:
            yield f"the rules take whatever is signed: {error!r}"
            return
        for _ in range(3):
            again = everything + self.rng.choices(everything, k=5)
            self.rng.shuffle(again)
            if self.fold(again) != state:
                yield "any order and any copies fold to one state"
        yield from _Judge(self, everything, state).faults()


class _Judge:
    def __init__(self, world: LogWorld, entries: list[Signed[Entry]], state: Any) -> None:  # noqa: ANN401
        self.world = world
        self.state = state
        self.entries = {each.id: each for each in entries}
        self.counts = state.counting
        self.revokes = [
            each for each in entries if each.id in self.counts and each.record.act is Act.REVOKE
        ]
        self.grants = [
            each for each in entries if each.id in self.counts and each.record.act is Act.GRANT
        ]

    def faults(self) -> Iterator[str]:
        state, room = self.state, self.world.book.id
        role = state.role_of(CREATOR.uid)
        if state.level(CREATOR.uid) != 0 or role is None or role.value != "speaker":
            yield "nobody touches the creator"
        for each in self.entries.values():
            counts, entry = each.id in self.counts, each.record
            sound = self.is_sound(entry)
            if counts and (not sound or not self.seat_counts(entry)):
                yield f"no authority without a seat: {entry.act.name}"
            if counts and not self.is_pinned(each):
                yield "nothing counts that was written into the past of a revoked seat"
            if counts and self.goes_up(entry):
                yield "nobody cuts an equal, or upwards"
            rightful = sound and self.seat_counts(entry) and self.is_pinned(each)
            if rightful and not self.goes_up(entry) and not counts:
                if entry.act is not Act.GRANT:
                    yield f"nothing rightful is lost: {entry.act.name}"
                elif len(self.grants) < GRANTS_MAX or self.precedes(each):
                    yield "no rightful grant is lost"
        if len(self.grants) > GRANTS_MAX:
            yield "no more grants than may be"
        made = {seat.id for seat in state.seats if seat.id != room}
        if made != {each.id for each in self.grants}:
            yield "a seat for each grant that counts, and none besides"
        yield from self.wrong_words()
        yield from self.wrong_people()

    # ── one entry ────────────────────────────────────────────────────────────────────────────

    def level(self, auth: bytes) -> int | None:
        """Of the seat that an entry's auth names, by the way down from the creator."""
        if auth == self.world.book.id:
            return 0
        grant = self.entries.get(RecordId(auth))
        if grant is None or grant.record.act is not Act.GRANT or not self.is_sound(grant.record):
            return None
        return SEATS[str(grant.record.val)]

    def is_sound(self, entry: Entry) -> bool:
        book = self.world.book
        level = self.level(entry.auth)
        holder = CREATOR.uid
        if level is None:
            return False
        if level > 0:
            holder = self.entries[RecordId(entry.auth)].record.sub  # type: ignore[assignment]
        identity = book.identities[RecordId(entry.idrec)].record
        devices = {each.dev: each.exp for each in identity.devices}
        began = book.genesis.record.created
        prev = self.entries.get(RecordId(entry.prev)) if entry.prev else None
        return (
            entry.room == book.id
            and entry.uid == holder == identity.uid
            and identity.exp >= began
            and devices.get(entry.dev, -1) >= began
            and (entry.prev is None or prev is not None)
            and (prev is None or (prev.record.auth == entry.auth and self.is_sound(prev.record)))
            and level <= LOWEST[entry.act]
            and self.fits(entry, level)
        )

    def fits(self, entry: Entry, level: int) -> bool:
        val, sub = entry.val, entry.sub
        is_number = type(val) is int
        forms = {
            Act.GRANT: sub not in (None, CREATOR.uid)
            and val in SEATS
            and level < SEATS.get(str(val), 0),
            Act.REVOKE: sub is not None and val is None,
            Act.ROLE: val in (STRICT if sub else STRICT[2:]),
            Act.TITLE: sub is None and type(val) is str,
            Act.LOCK: sub is None and type(val) is bool,
            Act.ACCESS: sub is None
            and is_number
            and val in (0, 1, 2)
            and self.world.access is not Access.LAN,
            Act.END: sub is None and val is None,
            Act.CHAT: sub is None and (type(val) is bool or (is_number and 1 <= val <= 3_600)),  # type: ignore[operator]
        }
        pinned = entry.pin is not None and entry.act is not Act.REVOKE
        misplaced = bool(entry.over) and entry.act in (Act.GRANT, Act.REVOKE)
        return forms[entry.act] and not pinned and not misplaced

    def seat_counts(self, entry: Entry) -> bool:
        return entry.auth == self.world.book.id or entry.auth in self.counts

    def is_pinned(self, signed: Signed[Entry]) -> bool:
        cuts = [each.record.pin for each in self.revokes if each.record.sub == signed.record.auth]
        return all(signed.id in self.line(pin) for pin in cuts)

    def line(self, pin: bytes | None) -> set[bytes]:
        """The entry and all before it; nothing if it is none that a log would keep."""
        found: set[bytes] = set()
        if pin not in self.entries or not self.is_sound(self.entries[RecordId(pin)].record):
            return found
        while pin is not None:
            found.add(pin)
            pin = self.entries[RecordId(pin)].record.prev
        return found

    def goes_up(self, entry: Entry) -> bool:
        level = self.level(entry.auth)
        if level is None:
            return True
        if entry.act is Act.REVOKE:
            grant = self.entries.get(RecordId(entry.sub or b""))
            if grant is None or grant.record.act is not Act.GRANT:
                return True
            return not self.is_sound(grant.record) or level >= SEATS[str(grant.record.val)]
        if entry.act is Act.ROLE and entry.sub is not None:
            return level >= self.protection(entry.sub, than=level)
        return False

    def protection(self, uid: bytes, than: int) -> int:
        """The level of the highest seat that the person has."""
        if uid == CREATOR.uid:
            return 0
        cut = {each.record.sub for each in self.revokes}
        held = [
            SEATS[str(each.record.val)]
            for each in self.grants
            if each.record.sub == uid and each.id not in cut
        ]
        return min(held, default=9)

    def precedes(self, signed: Signed[Entry]) -> bool:
        """Whether a grant that counts should have given way to this one."""

        def place(grant: Signed[Entry]) -> tuple[int, int, bytes]:
            before = len(self.line(grant.record.prev))
            return (self.level(grant.record.auth) or 0, before, grant.id)

        return any(place(signed) < place(other) for other in self.grants)

    # ── all of them ──────────────────────────────────────────────────────────────────────────

    def wrong_words(self) -> Iterator[str]:
        """Registers: the strictest of what nobody entitled has replaced."""
        registers: dict[tuple[Act, bytes | None], list[Signed[Entry]]] = {}
        for each in self.entries.values():
            if each.id in self.counts and each.record.act not in (Act.GRANT, Act.REVOKE):
                registers.setdefault((each.record.act, each.record.sub), []).append(each)
        if set(registers) != set(self.state.winners):
            yield "something is decided exactly where somebody has decided"
            return
        for register, entries in registers.items():
            left = [
                each
                for each in entries
                if not any(
                    each.id in other.record.over
                    and self.level(other.record.auth) <= self.level(each.record.auth)  # type: ignore[operator]
                    for other in entries
                )
            ]
            left.sort(key=self.strictness)
            if [each.id for each in self.state.candidates[register]] != [each.id for each in left]:
                yield "what is replaced stays replaced, by equals and those above alone"
            if self.state.winners[register].id != left[0].id:
                yield "the most restrictive word holds"

    def strictness(self, signed: Signed[Entry]) -> tuple[int, int, bytes]:
        entry = signed.record
        strict = 0
        if entry.act is Act.ROLE:
            strict = STRICT.index(str(entry.val))
        elif entry.act is Act.CHAT:
            strict = {False: -9_999, True: 0}[entry.val] if type(entry.val) is bool else -entry.val  # type: ignore[operator]
        elif entry.act in (Act.LOCK, Act.ACCESS):
            strict = -int(entry.val or 0)
        return (strict, self.level(entry.auth) or 0, signed.id)

    def wrong_people(self) -> Iterator[str]:
        state = self.state
        default = state.winners.get((Act.ROLE, None))
        usual = str(default.record.val) if default else "speaker"
        changed = state.winners.get((Act.ACCESS, None))
        access = int(changed.record.val) if changed else int(self.world.access)
        outside = None if access in (1, 2) else usual
        if outside not in (None, *STRICT[2:]):
            yield "nobody is put out unnamed"
        for each in (*PEOPLE, STRANGER):
            winner = state.winners.get((Act.ROLE, each.uid))
            seated = self.protection(each.uid, than=9) < 9
            expected = "speaker" if seated else outside
            if winner is not None:
                expected = str(winner.record.val)
            role = state.role_of(each.uid)
            if (role.value if role else None) != expected:
                yield f"a person is what the entries say: {expected}"
            ended = (Act.END, None) in state.winners
            if state.may_speak(each.uid) != (expected == "speaker" and not ended):
                yield "speakers speak, and nobody else"
            is_off = any(
                act is Act.CHAT and each.record.val is False
                for (act, _), each in state.winners.items()
            )
            inside = expected not in (None, "ban", "remove")
            if state.may_chat(each.uid) != (inside and (seated or not is_off)):
                yield "who is inside may write, but not while chat is off without a seat"
