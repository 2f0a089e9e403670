"""Samples on their way between PortAudio's thread and the tick, and what keeps them in bounds.

A sound card's clock is not ours: at 100 ppm apart they drift by 20 ms in three minutes. The tick's
side watches how little the ring held at the worst moment of the last half second, and makes the
next frame out of a few samples more or fewer than 960 (at most 2 %, a third of a semitone).
Larger steps, a stall of ours or of the sound server, are dropped or left silent.
"""

import threading
from collections import deque
from typing import Final

import numpy as np
from numpy.typing import NDArray

from p2phouse.vocabulary import FRAME_SAMPLES, Frame

CAPACITY_SAMPLES: Final = 5_760  # 120 ms: a stall of 100 ms is caught up tick by tick (engine.py)
CUSHION_SAMPLES_MIN: Final = 480  # one block: now and then three fall between two ticks, or one
CUSHION_SAMPLES_MAX: Final = 1_200  # 25 ms: more is only delay
WATCHED_FRAMES: Final = 25
BENT_SAMPLES_MAX: Final = FRAME_SAMPLES // 50
HASTE: Final = 100  # a sample more for each 2 ms out of bounds: what is seen is half a second old

Sound = NDArray[np.float32]


class Ring:
    """First in, first out; when it is full the oldest samples go. For two threads."""

    def __init__(self, capacity: int = CAPACITY_SAMPLES) -> None:
        self._samples = np.zeros(capacity, np.float32)
        self._lock = threading.Lock()  # held for microseconds
        self._start = 0
        self._held = 0

    def __len__(self) -> int:
        return self._held

    def put(self, sound: Sound) -> None:
        capacity = len(self._samples)
        sound = sound[-capacity:]
        with self._lock:
            self._forget(max(0, self._held + len(sound) - capacity))
            at = (self._start + self._held) % capacity
            fits = min(len(sound), capacity - at)
            self._samples[at : at + fits] = sound[:fits]
            self._samples[: len(sound) - fits] = sound[fits:]
            self._held += len(sound)

    def take(self, count: int) -> Sound | None:
        """The oldest `count` samples, or None if there are not so many."""
        with self._lock:
            if self._held < count:
                return None
            fits = self._samples[self._start : self._start + count]
            taken = np.concatenate([fits, self._samples[: count - len(fits)]])
            self._forget(count)
        return taken

    def drop(self, count: int) -> None:
        """Forgets the oldest `count` samples, or all; none if `count` is negative."""
        with self._lock:
            self._forget(min(max(0, count), self._held))

    def _forget(self, count: int) -> None:
        self._start = (self._start + count) % len(self._samples)
        self._held -= count


class Cushion:
    """Says how far the samples held are above or under what is wanted. Pure; one look per tick."""

    def __init__(self, least: int = CUSHION_SAMPLES_MIN, most: int = CUSHION_SAMPLES_MAX) -> None:
        """least, most: the bounds of what should be held at the emptiest moment, in samples."""
        self._least = least
        self._most = most
        self._seen: deque[int] = deque(maxlen=WATCHED_FRAMES)

    def surplus(self, held: int) -> int:
        """How many samples the next frame should use up (positive) or spare (negative).

        held: what the ring holds at its emptiest: after a take (negative if that cannot be), or
        before a put.
        """
        self._seen.append(held)
        if len(self._seen) < WATCHED_FRAMES:
            return 0
        least = min(self._seen)
        if least > self._most:
            return min(BENT_SAMPLES_MAX, 1 + (least - self._most) // HASTE)
        if least < self._least:
            return -min(BENT_SAMPLES_MAX, 1 + (self._least - least) // HASTE)
        return 0


def bend(sound: Sound, count: int) -> Frame:
    """The same sound in `count` samples, a few more or fewer; straight lines between them."""
    if len(sound) == count:
        return sound
    at = np.linspace(0, len(sound) - 1, count)
    return np.interp(at, np.arange(len(sound)), sound).astype(np.float32)
