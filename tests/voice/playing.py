"""What was said, and what is heard of it at the other end of a made-up network."""

from functools import cache

import numpy as np

from p2phouse.vocabulary import Frame
from p2phouse.voice.playout import Playout
from tests.voice.speech import CLIPS, frames_of, librivox, noise
from tests.voice.wire import (
    Conditions,
    Ear,
    Network,
    Sent,
    arrivals,
    click,
    ear_of,
    speak,
)

PHASES = [0.001, 0.007, 0.013, 0.019]


STALLS_AT = [(0.7, 0.001), (0.7, 0.013), (4.0, 0.007), (4.0, 0.019)]  # s, phase of the ticks


@cache
def said() -> np.ndarray:
    """24 s of a person who reads, nearly without a pause."""
    return np.concatenate([librivox(clip) for clip in CLIPS])


@cache
def spoken() -> list[Sent]:
    return speak(frames_of(said()))


@cache
def half() -> list[Sent]:
    """The first 11 seconds of it: stalls need no more."""
    return [each for each in spoken() if each.at_s < 11.0]


@cache
def sentence() -> list[Sent]:
    """Three seconds, every tick sent."""
    return speak(frames_of(librivox()), sealed=True)


def room_noise(n: int) -> Frame:
    return noise(n, amplitude=0.0005)  # -66 dBFS: DTX leaves it out


def hear(
    sent: list[Sent],
    network: Network | None = None,
    *,
    phase_s: float = 0.013,
    stalls: tuple[tuple[float, float], ...] = (),
    reads_first: bool = False,
) -> tuple[Playout, Ear[Sent]]:
    playout = Playout()
    ear = ear_of(playout, phase_s=phase_s, stalls=stalls, reads_first=reads_first)
    ear.listen(arrivals(sent, network or Network()), until_s=sent[-1].at_s + 0.3)
    return playout, ear


def delays_ms(ear: Ear[Sent], *at_s: float) -> list[int]:
    """Delay of what was said at these times, wherever there is speech."""
    found = [ear.delay_s(said(), each) for each in at_s]
    return [round(1000 * delay_s) for delay_s in found if delay_s is not None]


def lose(sent: list[Sent], *counters: int) -> list[Sent]:
    return [each for each in sent if each.counter not in counters]


def energy(frame: np.ndarray) -> float:
    return float(frame @ frame)


def with_pause(frames_of_pause: int) -> tuple[list[Frame], range]:
    """Speech, a pause in which only the room is heard, speech; and where the pause is."""
    speech = frames_of(librivox())
    before, after = speech[20:60], speech[60:110]
    pause = range(len(before), len(before) + frames_of_pause)
    # The words come out of the room's noise: without it libopus takes the pause for another room.
    frames = [*[room_noise(n) for n in range(20)], *before]
    pause = range(len(frames), len(frames) + frames_of_pause)
    return [*frames, *[room_noise(n) for n in pause], *after], pause


class TwoNetworks(Network):
    """One until a time, another after it."""

    def __init__(self, first: Conditions, second: Conditions, *, change_s: float) -> None:
        super().__init__(first, seed=3)
        self._then, self._change_s = Network(second, seed=3), change_s

    def carry(self, sent_s: float) -> float | None:
        return super().carry(sent_s) if sent_s < self._change_s else self._then.carry(sent_s)


def hear_late_start(sent: list[Sent], *, late_s: float) -> tuple[Playout, Ear[Sent]]:
    """The first packet comes so late, and the next with it; those after that in time."""
    start_s = sent[0].at_s + 0.03 + late_s
    came = [(max(at_s, start_s), each) for at_s, each in arrivals(sent, Network())]
    playout = Playout()
    ear = ear_of(playout)
    ear.listen(came, until_s=sent[-1].at_s + 0.2)
    return playout, ear


def clicks(
    count: int, *, quiet: range = range(0), muted: range = range(0)
) -> tuple[list[Frame | None], list[int]]:
    """A click each 0.2 s in a quiet room, and in which frames."""
    at = [n for n in range(5, count, 10) if n not in quiet and n not in muted]
    frames = [room_noise(n) + click() * (n in at) for n in range(count)]
    return [None if n in muted else frame for n, frame in enumerate(frames)], at
