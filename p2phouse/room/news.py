"""NEWS: what a listener hears of a room, one frame a second from its hub and one from its standby.

A listener has room links to these two alone, so they tell it what the others say to all: in the
frames in which they said it, each signed by its author, so that nobody can forge a word. What waits
is kept once for all listeners. This module knows frames and bounds; room/herald.py knows members.
"""

import math
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeVar

from p2phouse.record import envelope, limits
from p2phouse.record.cbor import Value
from p2phouse.record.envelope import Signed
from p2phouse.record.types import Identity, Join
from p2phouse.room import frames
from p2phouse.room.frames import FrameKind, FrameRefused
from p2phouse.vocabulary import DeviceKey, RoomId

NEWS_S: Final = 1.0
LIFE_SIGN_S: Final = 20.0  # though there be nothing new: how many people there are
ITEMS_MAX: Final = 64  # of each kind in one frame
HERE_MAX: Final = 256
PREFIX_BYTES: Final = 8  # of a join's id: names one device of a room
WAITING_MAX: Final = 512  # what is more is left out, and found by digests and questions
FLEETING_MAX: Final = 16  # of reactions the last; what does not fit is dropped
RELAYED: Final = (FrameKind.SPEAK, FrameKind.SOFT, FrameKind.SUCCESSOR)  # of whom they name
COMMON: Final = (FrameKind.ENTRY, FrameKind.EPOCH, FrameKind.BEAT, FrameKind.CHAT)  # of anybody

Word = tuple[DeviceKey | None, list[Value]]
"""A frame, and whose it is; of nobody's in particular if what is in it names its author."""


@dataclass(frozen=True, slots=True)
class Present:
    """Somebody who is there, as the greeting told it."""

    join: Signed[Join]
    identity: Signed[Identity]
    addrs: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class News:
    people: int
    on_stage: int
    here: frozenset[bytes] | None  # all of the stage, and whoever else was named; None: as before
    present: tuple[list[Value], ...]  # unread: most are known already
    said: tuple[Word, ...]
    gone: tuple[bytes, ...]


# ── on the wire ──────────────────────────────────────────────────────────────────────────────


def frame_of(
    people: int,
    on_stage: int,
    *,
    here: Iterable[bytes] | None = None,
    present: Iterable[list[Value]] = (),
    said: Iterable[Word] = (),
    gone: Iterable[bytes] = (),
) -> list[Value]:
    told_here: Value = None if here is None else [*here]
    told_said: list[Value] = [[dev, frame] for dev, frame in said]
    return [int(FrameKind.NEWS), people, on_stage, told_here, [*present], told_said, [*gone]]


def read(frame: list[Value]) -> News:
    """Raises FrameRefused."""
    match frame[1:]:
        case [int(people), int(on_stage), here, list(present), list(said), list(gone)]:
            pass
        case _:
            raise FrameRefused(reason="news of another shape")
    counts = (people, on_stage)
    if any(isinstance(count, bool) or not 0 <= count <= limits.PEOPLE_MAX for count in counts):
        raise FrameRefused(reason="more people than can be")
    if max(len(present), len(said), len(gone)) > ITEMS_MAX:
        raise FrameRefused(reason="news without end")
    named = None if here is None else frozenset(_prefixes(here, HERE_MAX))
    return News(
        people,
        on_stage,
        named,
        tuple(as_present(item) for item in present),
        tuple(_word(item) for item in said),
        tuple(_prefixes(gone, ITEMS_MAX)),
    )


def read_present(item: list[Value], room: RoomId) -> Present:
    """Raises PeerError unless the join and the identity belong together."""
    join = envelope.read(frames.as_bytes(item[0]), Join)
    identity = envelope.read(frames.as_bytes(item[1]), Identity)
    # Security: who is told of must have signed that it came into this room, with these keys.
    # Test: test_news.py::test_nobody_is_made_up
    if (
        join.record.room != room
        or identity.id != join.record.idrec
        or not frames.lists_device(identity.record, DeviceKey(join.record.dev))
    ):
        raise FrameRefused(reason="somebody who never came")
    return Present(join, identity, frames.as_addresses(item[2]))


def as_present(item: Value) -> list[Value]:
    """Somebody of whom is told, still unread. Raises FrameRefused."""
    if not isinstance(item, list) or len(item) != 3:
        raise FrameRefused(reason="somebody who is no join, identity and addresses")
    return item


def _word(item: Value) -> Word:
    match item:
        case [None, [int(kind), *_] as frame] if kind in COMMON and kind is not True:
            return None, frame
        case [bytes(dev), [int(kind), *_] as frame] if kind in RELAYED and kind is not True:
            return DeviceKey(dev), frame
        case [_, [int(), *_] as frame]:
            return None, [*frame[:0]]  # of a later version: passed over
    raise FrameRefused(reason="a word that is no frame")


def _prefixes(item: Value, most: int) -> list[bytes]:
    if not isinstance(item, list) or len(item) > most:
        raise FrameRefused(reason="something else where a list of joins belongs")
    found = [frames.as_bytes(each) for each in item]
    if any(len(each) != PREFIX_BYTES for each in found):
        raise FrameRefused(reason="the name of a join in another length")
    return found


# ── what waits ───────────────────────────────────────────────────────────────────────────────


K = TypeVar("K")


def _fitting(waiting: Mapping[K, object], left: int) -> list[K]:
    keys: list[K] = []
    for key, item in waiting.items():
        left -= size_of(item)
        if left < 0 or len(keys) == ITEMS_MAX:
            break
        keys.append(key)
    return keys


@dataclass(slots=True)
class Tray:
    """What waits to be told to the audience, or to the stage: lasting things in their order, then
    of what is fleeting what still fits."""

    present: dict[DeviceKey, list[Value]] = field(default_factory=dict)
    said: dict[object, Word] = field(default_factory=dict)  # by what a newer one takes the place of
    fleeting: deque[Word] = field(default_factory=lambda: deque(maxlen=FLEETING_MAX))
    gone: dict[bytes, None] = field(default_factory=dict)

    def say(self, key: object, word: Word) -> None:
        # Security: what one crowd says waits for nobody's memory.
        if key in self.said or len(self.said) < WAITING_MAX:
            self.said[key] = word

    def __bool__(self) -> bool:
        return bool(self.present or self.said or self.fleeting or self.gone)

    def take(self) -> tuple[list[list[Value]], list[Word], list[bytes]]:
        """As much as one frame holds; at least one thing, if there is any."""
        left = limits.NEWS_BYTES_MAX
        gone = list(self.gone)[:ITEMS_MAX]
        left -= (PREFIX_BYTES + 1) * len(gone)
        present = _fitting(self.present, left)
        left -= sum(size_of(self.present[dev]) for dev in present)
        said = [] if len(present) < len(self.present) else _fitting(self.said, left)
        words = [self.said.pop(key) for key in said]
        left -= sum(map(size_of, words))
        if not self.said:
            while self.fleeting and len(words) < ITEMS_MAX:
                word = self.fleeting.popleft()
                left -= size_of(word)
                if left >= 0:
                    words.append(word)
            self.fleeting.clear()
        for prefix in gone:
            del self.gone[prefix]
        return [self.present.pop(dev) for dev in present], words, gone


@dataclass(slots=True)
class NewsBook:
    """What a carrier has to tell, and what a listener was told."""

    is_open: bool = False  # there may be an audience, and it is ours to tell
    audience: Tray = field(default_factory=Tray)
    stage: Tray = field(default_factory=Tray)  # what listeners say
    introduced: dict[DeviceKey, bytes] = field(default_factory=dict)  # who is no part of the stage
    # Who has come down from the stage: of those whom it had no time to meet there we tell.
    unwelcomed: set[DeviceKey] = field(default_factory=set)
    due: float = math.inf
    sent_at: float = -math.inf

    here: dict[DeviceKey, set[bytes]] = field(default_factory=dict)  # by whom it was told
    counts: dict[DeviceKey, tuple[int, int]] = field(default_factory=dict)

    def soon(self, now_mono: float) -> None:
        """There is something to tell."""
        self.due = min(self.due, max(now_mono, self.sent_at + NEWS_S))

    def tell(self, now_mono: float, key: object, frame: list[Value]) -> None:
        """The audience, if there is one, what names its author itself."""
        if self.is_open:
            self.audience.say(key, (None, frame))
            self.soon(now_mono)


def prefix_of(join: Signed[Join]) -> bytes:
    return join.id[:PREFIX_BYTES]


def size_of(item: object) -> int:
    """About as many bytes as it takes on the wire, and no fewer."""
    if isinstance(item, bytes):
        return len(item) + 3
    if isinstance(item, list | tuple):
        return 3 + sum(map(size_of, item))
    return 9
