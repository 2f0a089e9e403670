"""Who is here: each guest, and the rooms that guests are in, as resources.py keeps them."""

from dataclasses import dataclass, field
from typing import Final

from p2phouse.channel import GuestRole
from p2phouse.guest.shards import Spread
from p2phouse.record import limits
from p2phouse.vocabulary import LinkNumber, Ssrc

NAME_CHARS_MAX: Final = 40
OF_NAME_KEPT: Final = 16  # of a guest's own among nodes, however the relay is called


@dataclass(slots=True)
class Room:
    number: int
    name: str
    slots: tuple[Ssrc, ...]
    of: int  # the room of nodes that is heard in it, by media's number; 0: none
    spread: Spread
    speakers: dict[str, "Guest"] = field(default_factory=dict)
    # Whose voice each slot carries, by shard, as each told last.
    holders: dict[int, tuple[LinkNumber, ...]] = field(default_factory=dict)

    @property
    def is_empty(self) -> bool:
        return not self.speakers and not self.spread.listeners


@dataclass(slots=True)
class Guest:
    """name: under which a speaker speaks; empty for a listener."""

    link: LinkNumber
    key: str  # Security: the end of its resource's path; who knows it may end the guest's link
    room: Room
    shard: int
    role: GuestRole
    name: str
    source: str
    ufrag: str
    etag: str
    seed: bytes | None = None  # Security: no log holds it. Of who speaks among nodes

    @property
    def told_room(self) -> int:
        """As media is told of it."""
        return self.room.number if self.seed is None else -self.link


def is_name(name: str) -> bool:
    """Whether one may speak under it."""
    return 0 < len(name) <= NAME_CHARS_MAX and name.isprintable() and name == name.strip()


def name_among_nodes(name: str, relay: str) -> str:
    """How members read it of a guest who comes by that relay."""
    most = limits.NAME_CODE_POINTS_MAX
    # Security: a name that is long does not hide that it is a guest's.
    # Test: test_carried.py::test_no_name_is_so_long_that_it_hides_where_a_guest_comes_from
    mark = f" via {relay}"[: most - OF_NAME_KEPT].rstrip()
    return f"{name[: most - len(mark)].rstrip()}{mark}"
