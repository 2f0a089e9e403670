"""In-memory places for sound to come from and go to, and a log of what was told."""

import threading

import numpy as np

from p2phouse.channel import VoiceCondition
from p2phouse.errors import UserError
from p2phouse.vocabulary import FRAME_SAMPLES, Frame


class Broken(UserError):
    """The {name} broke. Mend it."""


class Told(list[tuple[str, str]]):
    """What an ear or a mouth said of its state: (condition, text)."""

    def __call__(self, condition: VoiceCondition, text: str) -> None:
        self.append((condition.name, text))

    @property
    def conditions(self) -> list[str]:
        return [condition for condition, _ in self]


class Place:
    """A source of frames 1, 2, 3 … and a sink of any; notes what happens to it in `diary`."""

    def __init__(self, name: str, diary: list[str], closed: threading.Event) -> None:
        self.name = name
        self.breaks = False
        self.breaks_at_close = False
        self.may_close = threading.Event()
        self.may_close.set()
        self.heard: list[float] = []
        self._diary = diary
        self._closed = closed
        self._at = 0
        diary.append(f"open {name}")

    def next_frame(self) -> Frame | None:
        if self.breaks:
            raise Broken(name=self.name)
        self._at += 1
        return np.full(FRAME_SAMPLES, self._at, np.float32)

    def play(self, frame: Frame) -> None:
        if self.breaks:
            raise Broken(name=self.name)
        self.heard.append(float(frame[0]))

    def skip(self, ticks: int) -> None:
        self._at += ticks
        self.heard += [0.0] * ticks

    def close(self) -> None:
        assert self.may_close.wait(30)
        self._diary.append(f"close {self.name}")
        self._closed.set()
        if self.breaks_at_close:
            raise Broken(name=self.name)


class Opening:
    """Opens places by name; those in `slow` only once their event is set."""

    def __init__(self, *slow: str) -> None:
        self.diary: list[str] = []
        self.places: dict[str, Place] = {}
        self.gates = {name: threading.Event() for name in slow}
        self.started = {name: threading.Event() for name in slow}
        self.closed = threading.Event()  # any of them

    def source(self, spec: str, is_wanted: object) -> Place:
        return self.sink(spec)

    def sink(self, spec: str) -> Place:
        if spec in self.gates:
            self.started[spec].set()
            assert self.gates[spec].wait(30)
        if spec == "bad":
            raise Broken(name=spec)
        self.places[spec] = Place(spec, self.diary, self.closed)
        return self.places[spec]
