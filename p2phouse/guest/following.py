"""Who follows what is told of a room: each change is written once, and sent to all of them.

To push a change costs a relay a third of what a page that asks costs it, and nothing while nothing
changes (docs/adr/0020). A follower who is slow gets the whole again instead of what it missed.
"""

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import trio

from p2phouse.guest.http import holder_of
from p2phouse.guest.telling import Told, changes

LOOK_S: Final = 0.5  # somebody's face lights that much later than the voice at most
BEAT_S: Final = 20.0  # a page that hears nothing for three of them looks for another way
# Connections are held by whoever follows: half of those of one source, and of all three quarters.
OF_ONE_SOURCE_MAX: Final = 64
FOLLOWERS_MAX: Final = 1_536


Key = tuple[str, int | None]  # a room's name, and in which media process the followers are


@dataclass(slots=True)
class _Room:
    """last: line of what changed between the version before and this one."""

    told: Told
    line: bytes
    last: bytes = b""
    version: int = 0
    followers: int = 0
    is_over: bool = False
    changed: trio.Event = field(default_factory=trio.Event)

    def change(self, told: Told | None) -> None:
        """None: nobody is told of it any more."""
        if told is not None:
            found = told if self.is_over else changes(self.told, told)
            if not found:
                return
            self.told, self.line, self.last = told, _line(told), _line(found)
            self.version += 1
        self.is_over = told is None
        self.changed.set()
        self.changed = trio.Event()


class Following:
    """`follow` gives a stream; `run` looks what has changed."""

    def __init__(self, tell: Callable[[Key], Told | None]) -> None:
        """tell: what there is to say of a room; None if that is nothing, or to nobody."""
        self._tell = tell
        self._rooms: dict[Key, _Room] = {}
        self._of_holder: Counter[str] = Counter()
        self.count = 0

    def follow(self, key: Key, source: str) -> "Follower | None":
        """None if there are too many, or there is no such room."""
        holder = holder_of(source)
        # Security: who holds connections open shuts out nobody who wants to come and listen.
        # Test: test_following.py::test_followers_of_one_source_leave_room_for_others
        if self._of_holder[holder] >= OF_ONE_SOURCE_MAX or self.count >= FOLLOWERS_MAX:
            return None
        if key not in self._rooms:
            told = self._tell(key)
            if told is None:
                return None
            self._rooms[key] = _Room(told, _line(told))
        self._rooms[key].followers += 1
        self._of_holder[holder] += 1
        self.count += 1
        return Follower(self._rooms[key], lambda: self._leave(key, holder))

    def _leave(self, key: Key, holder: str) -> None:
        self.count -= 1
        self._of_holder[holder] -= 1
        if not self._of_holder[holder]:
            del self._of_holder[holder]
        room = self._rooms[key]
        room.followers -= 1
        if not room.followers:
            del self._rooms[key]

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await trio.sleep(LOOK_S)
            for key, room in list(self._rooms.items()):
                room.change(self._tell(key))


class Follower:
    """A stream of lines, one JSON object in each; an empty one says that we are still here."""

    def __init__(self, room: _Room, leave: Callable[[], None]) -> None:
        self._room = room
        self._leave = leave
        self._version = -2  # before all: the whole comes first

    async def next(self) -> bytes:
        room = self._room
        if self._version == room.version and not room.is_over:
            with trio.move_on_after(BEAT_S):
                await room.changed.wait()
        if room.is_over:
            return b""
        behind, self._version = room.version - self._version, room.version
        return b"\n" if not behind else room.last if behind == 1 else room.line

    def close(self) -> None:
        self._leave()


def _line(told: Told) -> bytes:
    return json.dumps(told, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
