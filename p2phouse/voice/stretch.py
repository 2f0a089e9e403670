"""Time-stretch: a voice a little faster or slower, its pitch as it was, nothing left out of it.

Voiced speech repeats itself each pitch period, so one or a few whole periods are taken out or put
in where the sound is most like itself that far on, and the joint is cross-faded: WSOLA of
Verhelst and Roelands (ICASSP 1993), as in NetEQ's accelerate and preemptive expand. What does not
repeat itself (a plosive, a fricative) is left alone. Not for music: a chord has no one period.
"""

from typing import Final

import numpy as np

from p2phouse.vocabulary import FRAME_SAMPLES, SAMPLE_RATE_HZ, Frame

PERIOD_MIN: Final = SAMPLE_RATE_HZ // 400  # 2.5 ms
PERIOD_MAX: Final = 15 * SAMPLE_RATE_HZ // 1_000  # two periods of a deep voice, 133 Hz, or one
FADE: Final = SAMPLE_RATE_HZ // 200  # 5 ms of cross-fade
ALIKE: Final = 0.9  # correlation of 10 ms with what lies a period further; NetEQ has the same
NEARLY: Final = 0.02  # so much less alike, and more periods at once are better than fewer
LOUDER_MAX: Final = 4.0  # energy; past 6 dB a sound begins or ends here

_COARSE: Final = 6  # the search is done at 8 kHz, then refined
_WINDOW: Final = 2 * FADE
_RISE: Final = np.linspace(0.0, 1.0, FADE, dtype=np.float32)
_FALL: Final = 1.0 - _RISE


class Stretch:
    """One voice's samples between decoder and ear; what a frame holds more or less than a tick.

    take() a decoded frame, perhaps change it, give() a tick's worth. `spare` samples stay.
    """

    def __init__(self) -> None:
        self._samples: Frame = np.zeros(0, np.float32)
        self._given: Frame = np.zeros(FRAME_SAMPLES, np.float32)

    @property
    def spare(self) -> int:
        """Samples taken and not given yet."""
        return len(self._samples)

    def take(self, frame: Frame) -> None:
        self._samples = np.concatenate([self._samples, frame]) if len(self._samples) else frame

    def give(self) -> Frame:
        """The next 960 samples, which must be here. Not to be written to."""
        given, self._samples = self._samples[:FRAME_SAMPLES], self._samples[FRAME_SAMPLES:]
        self._given = given
        return given

    def clear(self) -> None:
        """Forget what is spare."""
        self._samples = self._samples[:0]

    def cut(self, samples: int) -> None:
        """Leave out the next samples, whatever they are: for what is too quiet to be missed."""
        x = self._samples
        fade = min(FADE, len(x) - samples)
        if samples > 0 and fade == FADE:
            self._samples = _joined(x, x[samples:])

    def shorten(self, most: int) -> int:
        """Leave out whole periods, at most so many samples; how many, 0 if it cannot be done."""
        x = self._samples
        most = min(most, PERIOD_MAX, len(x) - FADE)
        if most < PERIOD_MIN:
            return 0
        around = np.concatenate([self._given[-FADE:], x[: most + FADE]])
        period = _period(around, most)
        if period:
            self._samples = _joined(x, x[period:])
        return period

    def lengthen(self) -> int:
        """Put in whole periods again that were just given; how many samples, 0: cannot be done."""
        x, given = self._samples, self._given
        if len(x) < FADE:
            return 0
        # Backwards in time what lies a period further lies a period earlier.
        around = np.concatenate([given[-PERIOD_MAX - FADE :], x[:FADE]])
        period = _period(around[::-1], PERIOD_MAX)
        if period:
            self._samples = _joined(x, np.concatenate([given[-period:], x]))
        return period


def _joined(before: Frame, after: Frame) -> Frame:
    """`after`, its beginning faded in over that of `before`."""
    joined = after.copy()
    joined[:FADE] = before[:FADE] * _FALL + after[:FADE] * _RISE
    return joined


def _period(sound: Frame, most: int) -> int:
    """After how many samples, at most so many, the first 10 ms come again; 0: they do not.

    sound: at least most + 10 ms. Of several periods the longest that is nearly as like.
    """
    coarse = sound[: len(sound) // _COARSE * _COARSE].reshape(-1, _COARSE).mean(axis=1)
    width = _WINDOW // _COARSE
    first = PERIOD_MIN // _COARSE
    last = min(most // _COARSE, len(coarse) - width)
    if last < first:
        return 0
    likeness = _likeness(coarse[:width], coarse[first : last + width])
    best = float(likeness.max())
    if not best >= ALIKE:  # false for NaN as well
        return 0
    at = first + int(np.flatnonzero(likeness >= max(ALIKE, best - NEARLY))[-1])
    # The longest that is nearly as like lies on the slope of its peak: go up to its top.
    while at > first and likeness[at - 1 - first] > likeness[at - first]:
        at -= 1
    low = max(PERIOD_MIN, (at - 1) * _COARSE)
    high = min(most, (at + 1) * _COARSE, len(sound) - _WINDOW)
    fine = _likeness(sound[:_WINDOW], sound[low : high + _WINDOW])
    return low + int(np.argmax(fine))


def _likeness(pattern: Frame, sound: Frame) -> Frame:
    """Normalised correlation with each place of the sound; -1 where it is far louder or softer."""
    width = len(pattern)
    dots = np.correlate(sound, pattern, "valid")
    sums = np.concatenate([[0.0], np.cumsum(np.square(sound, dtype=np.float64))])
    energies = np.maximum(sums[width:] - sums[:-width], 1e-12)
    own = max(float(pattern @ pattern), 1e-12)
    ratio = energies / own
    alike = dots / np.sqrt(energies * own)
    return np.where((ratio < LOUDER_MAX) & (ratio > 1 / LOUDER_MAX), alike, -1.0)
