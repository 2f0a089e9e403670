"""Which media process of a relay a guest comes to, and where the voices of its room go on to.

A shard is one media process, with a UDP port and a core of its own; one is what most relays have.
Guests of one room may be in any of them. What comes into the room in one shard is sent on to those
in which somebody listens (across.py), and to no other. Pure.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from p2phouse.channel import CloseGuestRoom, Down, GuestRole, NewGuestRoom, SendOn
from p2phouse.guest.capacity import BUSY_PERMILLE
from p2phouse.guest.sdp import Place
from p2phouse.vocabulary import Ssrc

NODES: Final = 0  # the shard that has all links to nodes: what they carry stays in one
MIXER: Final = 255  # no shard, but voices go on to it as to one: it makes a room's mix of them
# Of a core. A join takes 1 ms, and then a listener of one voice a quarter of that each second: who
# came since a shard last told its load is not in it yet.
JOIN_PERMILLE: Final = 1
ALIKE_PERMILLE: Final = 50  # shards whose loads differ by less are filled evenly


@dataclass(frozen=True, slots=True)
class To:
    """What one shard is told."""

    shard: int
    message: Down


@dataclass(frozen=True, slots=True)
class ShardFacts:
    """load_permille: of a core."""

    shard: int
    guests: int
    load_permille: int


@dataclass(slots=True)
class _Shard:
    place: Place
    load_permille: int = 0
    guests: int = 0
    coming: int = 0  # since it told its load

    @property
    def rank(self) -> tuple[int, int, int]:
        """The lower the more welcome is whoever comes next."""
        expected = self.load_permille + JOIN_PERMILLE * self.coming
        return max(0, expected - BUSY_PERMILLE), expected // ALIKE_PERMILLE, self.guests


class Shards:
    """Those that run."""

    def __init__(self) -> None:
        self._shards: dict[int, _Shard] = {}

    def begin(self, shard: int, place: Place) -> None:
        """Guests can come there."""
        self._shards[shard] = _Shard(place)

    def load(self, shard: int, permille: int) -> None:
        if shard in self._shards:
            its = self._shards[shard]
            its.load_permille, its.coming = permille, 0

    def end(self, shard: int) -> None:
        """With all who are there."""
        self._shards.pop(shard, None)

    @property
    def are_ready(self) -> bool:
        return bool(self._shards)

    def has(self, shard: int) -> bool:
        """Whether it runs."""
        return shard in self._shards

    @property
    def least_load(self) -> int:
        """In permille: above the most that one may have nobody more is let in anywhere."""
        return min((each.load_permille for each in self._shards.values()), default=0)

    def facts(self) -> list[ShardFacts]:
        return [
            ShardFacts(shard, its.guests, its.load_permille)
            for shard, its in sorted(self._shards.items())
        ]

    def place(self, shard: int) -> Place:
        return self._shards[shard].place

    def choose(self) -> int:
        """For who comes now; one has to be ready."""
        return min(self._shards, key=lambda shard: (self._shards[shard].rank, shard))

    def enter(self, shard: int) -> None:
        """A guest is expected there."""
        its = self._shards[shard]
        its.guests += 1
        its.coming += 1

    def leave(self, shard: int) -> None:
        if shard in self._shards:
            self._shards[shard].guests -= 1


class Spread:
    """Of one room: in which shards it is, and in which its voices are wanted."""

    def __init__(self, room: int, slots: tuple[Ssrc, ...], of: int = 0) -> None:
        """of: the room of nodes whose voices are heard as well. Those come in at NODES, so this
        room is there if it is anywhere."""
        self._room = room
        self._slots = slots
        self._of = of
        self._listeners: Counter[int] = Counter()
        self._told: dict[int, tuple[int, ...]] = {}  # by shard in which it is: where to send on

    def enter(self, shard: int, role: GuestRole) -> list[To]:
        """Somebody comes there: what has to be told before."""
        outputs = list(self._open(shard))
        if self._of:
            outputs += self._open(NODES)
        if role is GuestRole.LISTENER:
            self._listeners[shard] += 1
        return [*outputs, *self._send_on()]

    def leave(self, shard: int, role: GuestRole) -> list[To]:
        if role is GuestRole.LISTENER:
            self._listeners[shard] -= 1
        closed = list(self._send_on())
        if shard == MIXER and not self.tuned:  # which works for as long as it has the room
            del self._told[MIXER]
            closed.append(To(MIXER, CloseGuestRoom(self._room)))
        return closed

    def end(self, shard: int) -> list[To]:
        """It died, with all who were there. What it is told from now on the next one hears."""
        self._told.pop(shard, None)
        self._listeners.pop(shard, None)
        again = self._open(shard) if self._of and shard == NODES and self._told else ()
        return [*again, *self._send_on()]

    def close(self) -> list[To]:
        return [To(shard, CloseGuestRoom(self._room)) for shard in self._told]

    @property
    def listeners(self) -> int:
        return self._listeners.total()

    @property
    def tuned(self) -> int:
        """Of the listeners: who hears the room's mix."""
        return self._listeners[MIXER]

    @property
    def fullest(self) -> int:
        """The shard at whose port most listen."""
        ports = [shard for shard in self._told if shard != MIXER]
        return max(ports, key=lambda shard: (self._listeners[shard], -shard), default=0)

    def _open(self, shard: int) -> Iterator[To]:
        if shard not in self._told:
            self._told[shard] = ()
            of = self._of if shard == NODES else 0
            yield To(shard, NewGuestRoom(self._room, self._slots, of))

    def _send_on(self) -> Iterator[To]:
        wanted = sorted(shard for shard, count in self._listeners.items() if count)
        for shard, before in self._told.items():
            to = tuple(each for each in wanted if each != shard)
            if to != before:
                self._told[shard] = to
                yield To(shard, SendOn(self._room, to))
