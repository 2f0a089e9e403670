"""What was heard of what was said: its delay, and how well it can be understood.

Sent and heard sound are laid beside each other half second by half second: a playout that rightly
grows or shrinks by a frame shifts all that follows, and a measure of the whole would call that
unintelligible. Pauses are left out. Nothing is taken off the delay for the codec: its look-ahead
is part of mouth to ear.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from p2phouse.errors import UserError
from p2phouse.vocabulary import SAMPLE_RATE_HZ

# What a person would call heard; both must hold. Opus alone gives .98, 10 % random loss .97.
STOI_HEARD_MIN: Final = 0.85
CONCEALED_PCT_HEARD_MAX: Final = 5.0

WINDOW_SAMPLES: Final = SAMPLE_RATE_HZ // 2
PAUSE_DB: Final = 25.0  # a window so far under the loudest one holds no speech
DELAY_S_MIN: Final = -1.0  # the two clocks may be a second apart, either way,
DELAY_S_MAX: Final = 2.0  # and the delay itself may be a second
LIKENESS_MIN: Final = 0.5  # Opus with 10 % loss gives .6 to .9, another voice up to .46
NEAR_SAMPLES: Final = SAMPLE_RATE_HZ // 10
NEAR_FAVOUR: Final = 0.75  # speech repeats itself: a place further off must be clearly more alike
FOUND_MIN: Final = 0.5  # of the windows; fewer, and that is no delay but a few chance likenesses

Sound = NDArray[np.float32]


class StoiMissing(UserError):
    """Measuring what was heard needs one package more: pip install "p2phouse[demo]"."""


@dataclass(frozen=True, slots=True)
class Hearing:
    """The delays are None if what was sent is not in what was heard."""

    delay_ms_p50: float | None
    delay_ms_p99: float | None
    stoi: float  # 0 to 1: short-time objective intelligibility, Taal et al. 2011

    def is_heard(self, *, concealed_pct: float) -> bool:
        """concealed_pct: share of the frames played that were made up, from the node's counts."""
        return (
            self.delay_ms_p50 is not None
            and self.stoi >= STOI_HEARD_MIN
            and concealed_pct <= CONCEALED_PCT_HEARD_MAX
        )


def measure(*, sent: Sound, spoken_s: float, heard: Sound, played_s: float) -> Hearing:
    """Compares two sounds of 48 kHz; `heard` may hold more, before, after and in between.

    spoken_s, played_s: when the first sample of each was spoken and played, on one clock.
    Takes some 20 ms and half a megabyte a window. Raises StoiMissing.
    """
    stoi = _stoi()
    windows = _spoken_windows(sent)
    # Where in `heard` the first sample of `sent` would lie if there were no delay.
    origin = round((spoken_s - played_s) * SAMPLE_RATE_HZ)
    found = _find(windows, heard, origin)
    if not found:
        return Hearing(None, None, 0.0)
    aligned = [_cut(heard, origin + at + _delay_at(found, at), WINDOW_SAMPLES) for at, _ in windows]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # "not enough frames": it then says 1e-5
        score = stoi(np.concatenate([window for _, window in windows]), np.concatenate(aligned))
    stoi_heard = max(0.0, float(score))
    if len(found) < FOUND_MIN * len(windows):
        return Hearing(None, None, stoi_heard)
    p50, p99 = np.percentile(list(found.values()), [50, 99], method="higher")
    return Hearing(_ms(p50), _ms(p99), stoi_heard)


def _spoken_windows(sent: Sound) -> list[tuple[int, Sound]]:
    """Half seconds that hold speech, each with where it begins; what is over at the end is not."""
    starts = range(0, len(sent) - WINDOW_SAMPLES + 1, WINDOW_SAMPLES)
    windows = [(at, sent[at : at + WINDOW_SAMPLES]) for at in starts]
    energies = [float(window @ window) for _, window in windows]
    pause = max(energies, default=0.0) * 10 ** (-PAUSE_DB / 10)
    return [window for window, energy in zip(windows, energies, strict=True) if energy > pause]


def _find(windows: list[tuple[int, Sound]], heard: Sound, origin: int) -> dict[int, int]:
    """By where a window begins: its delay in samples. Windows that were not found are left out."""
    first, last = round(DELAY_S_MIN * SAMPLE_RATE_HZ), round(DELAY_S_MAX * SAMPLE_RATE_HZ)
    size = last - first + WINDOW_SAMPLES
    alike = [_likeness(window, _cut(heard, origin + at + first, size)) for at, window in windows]
    if not alike:
        return {}
    estimate = int(np.argmax(sum(alike)))  # where all together fit best
    found: dict[int, int] = {}
    for (at, _), likeness in zip(windows, alike, strict=True):
        start = max(0, estimate - NEAR_SAMPLES)
        best = int(np.argmax(likeness))
        nearby = start + int(np.argmax(likeness[start : estimate + NEAR_SAMPLES + 1]))
        if likeness[nearby] >= NEAR_FAVOUR * likeness[best]:
            best = nearby
        if likeness[best] >= LIKENESS_MIN:
            found[at] = best + first
            estimate = best
    return found


def _likeness(window: Sound, region: Sound) -> Sound:
    """How alike `window` is to each place of `region`, from -1 to 1, however loud it is there."""
    size = len(region)
    # A circular correlation is enough: no place looked at reaches over the end.
    products = np.fft.irfft(np.fft.rfft(region) * np.conj(np.fft.rfft(window, size)), size)
    energies = np.cumsum(np.square(region, dtype=np.float64))
    energies = energies[len(window) - 1 :] - np.concatenate([[0.0], energies[: -len(window)]])
    own = float(window @ window)
    # 40 dB under what was sent nobody hears anything, and rounding must not look like speech.
    scale = np.sqrt(own * np.maximum(energies, 1e-4 * own))
    return np.asarray(products[: len(energies)] / scale, np.float32)


def _delay_at(found: dict[int, int], at: int) -> int:
    """The delay of the window at `at`: its own, else that of the nearest that was found."""
    return found[min(found, key=lambda other: abs(other - at))]


def _cut(sound: Sound, start: int, size: int) -> Sound:
    """A piece of a sound that is silent before its beginning and after its end."""
    piece = np.zeros(size, np.float32)
    low, high = max(0, start), min(len(sound), start + size)
    if low < high:
        piece[low - start : high - start] = sound[low:high]
    return piece


def _ms(samples: int) -> float:
    return round(float(samples) / SAMPLE_RATE_HZ * 1_000, 1)


def _stoi() -> Callable[[Sound, Sound], float]:
    try:
        from pystoi import stoi  # brings scipy: 100 MB and a second, and nodes need neither
    except ModuleNotFoundError as error:
        raise StoiMissing from error
    return lambda sent, heard: stoi(sent, heard, SAMPLE_RATE_HZ)
