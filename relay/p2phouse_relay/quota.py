"""What a relay carries now, and how near that is to what it may: rooms, listeners, what it sends.

At nine tenths whoever is new is sent to another relay, if there is one; at the whole only who
speaks, or listens already, is carried on. Nobody loses a place to make one for another.
"""

from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from p2phouse.vocabulary import Now, RoomId
from p2phouse_relay.traffic import Traffic

NEARLY_PERMILLE: Final = 900
LISTENER_KBPS: Final = 166  # three voices at a time, with all headers (p2phouse/willing.py)


class Pressure(Enum):
    NONE = "none"
    NEARLY = "nearly full"  # who is new goes to another relay
    FULL = "full"  # who speaks and who listens already


_GRADES: Final = [*Pressure]


class Place(Enum):
    """Where somebody is carried."""

    HERE = "here"
    ELSEWHERE = "elsewhere"  # here, if nobody else is known who carries
    NOWHERE = "nowhere"


class Whose(Enum):
    """Who asks to be carried in a room."""

    SPEAKER = "speaker"
    KNOWN = "listens already"
    NEW = "new"


@dataclass(slots=True)
class Load:
    """Of one room. key: on whose account it is, a person or a relay grant. kbps_max: of all rooms
    of that account together."""

    key: bytes
    listeners_max: int
    kbps_max: int
    listeners: int = 0
    kbps: int = 0
    guests: int = 0  # with a browser, and what they are sent
    guests_kbps: int = 0

    @property
    def kbps_in_all(self) -> int:
        return self.kbps + self.guests_kbps


@dataclass(slots=True)
class Ledger:
    """Everything that the relay carries."""

    rooms_max: int
    kbps_max: int
    traffic: Traffic = field(default_factory=Traffic)
    loads: dict[RoomId, Load] = field(default_factory=dict)

    def take(self, room: RoomId, key: bytes, *, listeners_max: int, kbps_max: int) -> None:
        self.loads[room] = Load(key, listeners_max, kbps_max)

    def drop(self, room: RoomId) -> None:
        self.loads.pop(room, None)

    def measured(self, room: RoomId, *, listeners: int, kbps: int) -> None:
        if room in self.loads:
            self.loads[room].listeners, self.loads[room].kbps = listeners, kbps

    def visited(self, room: RoomId, *, guests: int, kbps: int) -> None:
        if room in self.loads:
            self.loads[room].guests, self.loads[room].guests_kbps = guests, kbps

    def rooms_of(self, key: bytes) -> int:
        return sum(each.key == key for each in self.loads.values())

    def kbps_of(self, key: bytes) -> int:
        return sum(each.kbps_in_all for each in self.loads.values() if each.key == key)

    @property
    def kbps(self) -> int:
        return sum(each.kbps_in_all for each in self.loads.values())

    @property
    def pressure(self) -> Pressure:
        """Of all rooms together, by what is sent now and was this month."""
        return max(_pressure(self.kbps, self.kbps_max), self.month_pressure(), key=_GRADES.index)

    def month_pressure(self, key: bytes | None = None) -> Pressure:
        """By what was sent this month, on that account or in all."""
        used, most = self.traffic.used() if key is None else self.traffic.used_of(key)
        return _pressure(used, most) if most else Pressure.NONE

    def sent(self, now: Now, seconds: float) -> None:
        """Every room has sent for so long what was measured last."""
        for load in self.loads.values():
            self.traffic.add(now, round(load.kbps_in_all * 125 * seconds), of=load.key)

    @property
    def is_full_of_rooms(self) -> bool:
        """Whether one room more would be more than nine tenths, and more than the first."""
        return 1_000 * (len(self.loads) + 1) > NEARLY_PERMILLE * self.rooms_max and bool(self.loads)

    def pressure_of(self, room: RoomId) -> Pressure:
        """Of one room: its own, its account's, or that of all together."""
        load = self.loads[room]
        own = [
            _pressure(load.listeners + load.guests, load.listeners_max),
            _pressure(self.kbps_of(load.key), load.kbps_max),
            self.month_pressure(load.key),
            self.pressure,
        ]
        return max(own, key=_GRADES.index)

    def is_spent(self, key: bytes) -> bool:
        """Whether the account uses so much that it has no room more."""
        most = [each.kbps_max for each in self.loads.values() if each.key == key]
        return bool(most) and _pressure(self.kbps_of(key), min(most)) is not Pressure.NONE

    def place_for(self, room: RoomId, whose: Whose) -> Place:
        pressure = self.pressure_of(room)
        if pressure is Pressure.NONE or whose is not Whose.NEW:
            return Place.HERE
        return Place.ELSEWHERE if pressure is Pressure.NEARLY else Place.NOWHERE

    def links_for(self, room: RoomId, links: int) -> int:
        """How many links may be fed in the room, that has so many now."""
        load = self.loads[room]
        if self.pressure_of(room) is not Pressure.NONE:
            return links
        spare_kbps = min(load.kbps_max - self.kbps_of(load.key), self.kbps_max - self.kbps)
        return min(load.listeners_max, links + max(0, spare_kbps) // LISTENER_KBPS)


def _pressure(used: int, most: int) -> Pressure:
    if used >= most:
        return Pressure.FULL
    return Pressure.NEARLY if 1_000 * used >= NEARLY_PERMILLE * most else Pressure.NONE
