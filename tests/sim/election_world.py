"""The shipped election alone, in a room of many: an event heap, lossy wires, no media.

A link is heard while both ends live and reach each other; standing by, pulls and bids are reduced
to what the election is told of them. After every event `check` asks what must always hold (E1, E3,
E8, E9); tests ask the rest where it is due.
"""

import heapq
import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from nacl.signing import SigningKey

from p2phouse.record import envelope
from p2phouse.record.envelope import Signed
from p2phouse.record.types import Bid, BidFlag, BidRow, Claim
from p2phouse.shape import claims
from p2phouse.shape.election import (
    Adopted,
    ClaimHeard,
    Election,
    MakeClaim,
    Output,
    PullsHeard,
    Seen,
    State,
    TellAgain,
)
from p2phouse.shape.measure import View, would_carry
from p2phouse.vocabulary import DeviceKey, RoomId

ROOM = RoomId(bytes(range(32)))
CARRIES = int(BidFlag.CARRIES | BidFlag.MAINS)
SILENCE_S = 0.06  # until media misses a hub
GONE_S = 0.6  # until a dead node is no member
JOINED_S = 30.0  # all have been there for so long when it begins
AGE_S = 600.0  # of the room


@dataclass(eq=False)
class Person:
    number: int
    key: SigningKey
    election: Election = field(init=False)
    bid: Bid = field(init=False)
    island: int = 0
    alive: bool = True
    lies: bool = False
    heard_of: dict[DeviceKey, Bid] = field(default_factory=dict)
    missing: dict[DeviceKey, float] = field(default_factory=dict)  # since when unheard
    wake_at: float = -1.0
    claimed: list[tuple[float, MakeClaim]] = field(default_factory=list)
    best: claims.Key | None = None  # the greatest claim it ever held

    @property
    def dev(self) -> DeviceKey:
        return DeviceKey(bytes(self.key.verify_key))


class ElectionWorld:
    """So many people in one room. near: their round trips in ms to everybody else. relays: so many
    of them, the last, are none, and a host has named them to carry it."""

    def __init__(
        self,
        seed: int,
        count: int,
        *,
        loss: float = 0.01,
        delay_s: float = 0.05,
        carries: Callable[[int], bool] = lambda number: True,
        relays: int = 0,
    ) -> None:
        self.seed = seed
        self.rng = random.Random(seed)
        self.loss, self.delay_s = loss, delay_s
        self.time = JOINED_S
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self.people = [
            Person(number, SigningKey(self.rng.randbytes(32))) for number in range(count)
        ]
        self.relays = frozenset(person.dev for person in self.people[count - relays :])
        self.by_dev = {person.dev: person for person in self.people}
        self.rtt = {person.dev: self.rng.randrange(5, 120) for person in self.people}
        for person in self.people:
            view = View(ROOM, frozenset([person.dev]))
            person.election = Election(person.dev, view, 0.0)
            person.bid = self._bid(person, CARRIES if carries(person.number) else 0)
        for person in self.people:
            person.heard_of = {other.dev: other.bid for other in self.people}
        for person in self.people:
            self.look(person)

    def __repr__(self) -> str:
        return f"ElectionWorld(seed={self.seed}) at {self.time:.2f} s"

    def _bid(self, person: Person, flags: int) -> Bid:
        """As of a mesh: it has measured everybody, up to eight."""
        others = [other for other in self.people if other is not person]
        rows = [
            BidRow(other.dev, self.rtt[other.dev], self.rtt[other.dev] * 3 // 2, 0, 0)
            for other in self.rng.sample(others, min(8, len(others)))
        ]
        return Bid(ROOM, person.dev, 1, flags, 1, self.rng.randrange(120), 64, tuple(rows), 0)

    # ── running ──────────────────────────────────────────────────────────────────────────────

    def after(self, delay_s: float, act: Callable[[], None]) -> None:
        heapq.heappush(self._heap, (self.time + delay_s, next(self._order), act))

    def run_for(self, seconds: float) -> None:
        self.run_until(lambda: False, within_s=seconds)

    def run_until(self, reached: Callable[[], bool], *, within_s: float) -> bool:
        end = self.time + within_s
        while self._heap and self._heap[0][0] <= end and not reached():
            self.time, _, act = heapq.heappop(self._heap)
            try:
                act()
                self.check()
            except Exception as error:
                error.add_note(f"{self}; replay with P2PHOUSE_SEEDS={self.seed}-{self.seed}")
                raise
        if not reached():
            self.time = end
        return reached()

    # ── what a person sees ───────────────────────────────────────────────────────────────────

    def reaches(self, one: Person, other: Person) -> bool:
        return one.alive and other.alive and one.island == other.island

    def look(self, person: Person) -> None:
        """Tells its election who is there and heard, now and when that changes by itself."""
        if not person.alive:
            return
        members, heard = {person.dev}, set()
        for other in self.people:
            if other is person:
                continue
            if self.reaches(person, other):
                person.missing.pop(other.dev, None)
                members.add(other.dev)
                heard.add(other.dev)
                continue
            since = person.missing.setdefault(other.dev, self.time)
            for limit_s, known in ((SILENCE_S, heard), (GONE_S, members)):
                if self.time < since + limit_s - 1e-9:
                    known.add(other.dev)
                    self.after(since + limit_s - self.time, lambda: self.look(person))
        bids = {dev: bid for dev, bid in person.heard_of.items() if dev in members}
        view = View(
            ROOM,
            frozenset(members),
            bids,
            frozenset(heard),
            speakers=frozenset(members),
            relays=self.relays & members,
        )
        self.tell(person, Seen(view))
        self._pull(person)

    def _pull(self, person: Person) -> None:
        """Whoever does not hear the hub pulls from the standby, which counts."""
        hub, standby = person.election.hub, person.election.standby
        if hub is None or standby is None or hub not in person.missing:
            return
        to = self.by_dev[standby]
        self.after(self._delay(), lambda: self._count_pulls(to, hub))

    def _count_pulls(self, standby: Person, hub: DeviceKey) -> None:
        others = [p for p in self.people if p.alive and p.dev not in (hub, standby.dev)]
        pulling = [p for p in others if self.reaches(p, standby) and hub in p.missing]
        if standby.alive:
            self.tell(standby, PullsHeard(len(pulling), len(others)))

    # ── what is said ─────────────────────────────────────────────────────────────────────────

    def tell(self, person: Person, event: Seen | ClaimHeard | PullsHeard | None) -> None:
        outputs = person.election.handle(event, self.time)
        for output in outputs:
            self._do(person, output)
        self._say_whether_deserted(person)
        at = person.election.deadline
        if at != person.wake_at and at < float("inf"):
            person.wake_at = at

            def wake() -> None:
                if person.alive and person.wake_at == at:
                    person.wake_at = -1.0
                    self.tell(person, None)
                    assert person.election.deadline > self.time, "a core that spins"

            self.after(max(0.0, at - self.time), wake)

    def _say_whether_deserted(self, person: Person) -> None:
        """As room/bidding.py does, of one who hears neither hub nor standby."""
        flag = int(BidFlag.DESERTED)
        is_deserted = person.election.state(self.time) is State.SUSPECT
        if is_deserted is not bool(person.bid.flags & flag):
            self.rebid(person, flags=person.bid.flags ^ flag)

    def _do(self, person: Person, output: Output) -> None:
        match output:
            case MakeClaim():
                person.claimed.append((self.time, output))
                signed = self.sign(person, output)
                self.tell(person, ClaimHeard(signed, person.dev, AGE_S))
            case TellAgain() | Adopted():
                claim = person.election.claim
                assert claim is not None
                for other in self.people:
                    if other is not person:
                        self.send(person, other, claim)

    def sign(self, person: Person, made: MakeClaim) -> Signed[Claim]:
        record = Claim(ROOM, person.dev, made.epoch, made.cost, made.hub, made.standby, 0)
        return envelope.sign(record, person.key)

    def send(self, person: Person, to: Person, claim: Signed[Claim]) -> None:
        if self.rng.random() >= self.loss:
            copies = 1 + (self.rng.random() < 0.1)
            for _ in range(copies):
                self.after(self._delay(), lambda: self._arrive(person, to, claim))

    def _arrive(self, person: Person, to: Person, claim: Signed[Claim]) -> None:
        if to.alive and person.island == to.island:
            self.tell(to, ClaimHeard(claim, person.dev, AGE_S))
            self.look(to)

    def _delay(self) -> float:
        return self.delay_s * self.rng.uniform(0.5, 2.0)

    def rebid(self, person: Person, **changed: object) -> None:
        """A new bid, told to all whom it reaches."""
        person.bid = replace(person.bid, seq=person.bid.seq + 1, **changed)  # type: ignore[arg-type]  # fields of Bid
        for other in self.people:
            if other is person or self.reaches(person, other):

                def hear(other: Person = other, bid: Bid = person.bid) -> None:
                    other.heard_of[bid_dev(bid)] = bid
                    self.look(other)

                self.after(0.0 if other is person else self._delay(), hear)

    # ── trouble ──────────────────────────────────────────────────────────────────────────────

    def crash(self, person: Person) -> None:
        person.alive = False
        self.look_all()

    def split(self, *groups: list[Person]) -> None:
        for island, group in enumerate(groups):
            for person in group:
                person.island = island
        self.look_all()

    def heal(self) -> None:
        for person in self.people:
            person.island = 0
        self.look_all()
        # On each new link both tell what they hold.
        for person in self.living:
            claim = person.election.claim
            for other in self.living:
                if claim is not None and other is not person:
                    self.after(self._delay(), lambda a=person, b=other, c=claim: self.send(a, b, c))  # type: ignore[misc]

    def look_all(self) -> None:
        for person in self.people:
            self.look(person)

    # ── what holds ───────────────────────────────────────────────────────────────────────────

    @property
    def living(self) -> list[Person]:
        return [person for person in self.people if person.alive]

    @property
    def honest(self) -> list[Person]:
        return [person for person in self.living if not person.lies]

    def agreed(self, group: list[Person] | None = None) -> DeviceKey | None:
        """The hub that all of them name, if it is one that lives among them and carries."""
        group = self.living if group is None else group
        held = {None if p.election.claim is None else p.election.claim.id for p in group}
        hub = group[0].election.hub
        if len(held) != 1 or hub is None:
            return None
        person = self.by_dev[hub]
        fits = person.alive and person in group and would_carry(person.bid)
        return hub if fits else None

    def check(self) -> None:
        for person in self.living:
            claim = person.election.claim
            if claim is None:
                continue
            key = claims.key(claim)
            # E1: what somebody holds only grows.
            assert person.best is None or key >= person.best, "a smaller claim was taken"
            person.best = key


def bid_dev(bid: Bid) -> DeviceKey:
    return DeviceKey(bid.dev)
