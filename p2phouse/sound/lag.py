"""How far what is taken of a live sound lags behind what is said, kept as small as its unevenness
allows. Pure: whoever takes tells what is there and when the last of it came.

The sound comes in pieces. Were it even, a taker would need to lag by one piece alone; what comes
late at times asks for more. So it is watched how much of the lag was left at the worst moment of
each half second, had we lagged then as we do now. The second worst of the last eight counts: one
stall is no reason to lag for everything after it.
"""

import math
from collections import deque
from typing import Final

from p2phouse.vocabulary import FRAME_SAMPLES, SAMPLE_RATE_HZ

SPARE_SAMPLES_MIN: Final = 96  # 2 ms: what is left of the lag at that moment
SPARE_SAMPLES_MAX: Final = 240  # 5 ms: more is only delay
LATE_SAMPLES_MAX: Final = 1_440  # what is later than 30 ms is given up: all would lag for it
STALL_SAMPLES: Final = 5 * FRAME_SAMPLES  # a lag of 100 ms too much is cut off at once
WATCHED_TICKS: Final = 25  # half a second
WATCHED_TIMES: Final = 8
BENT_SAMPLES_MAX: Final = FRAME_SAMPLES // 100  # of a frame: a sixth of a semitone
HASTE: Final = 160  # a sample more for each 3 ms out of bounds


class Lag:
    """One look per tick: `surplus` before what it says is taken, `took` after."""

    def __init__(self) -> None:
        self._leasts: deque[float] = deque(maxlen=WATCHED_TIMES)  # less what was spared by then
        self._least, self._most = math.inf, -math.inf  # of this half second
        self._ticks = 0
        self._spared = 0  # by how much we lag more than at the beginning

    def surplus(self, held: int, piece: int, since_s: float) -> int:
        """How many samples the next frame should use up (positive) or spare (negative) beyond its
        960. Never more than BENT_SAMPLES_MAX, but after a stall: then they should be cut off.

        held: the samples that are here. piece, since_s: how many came last, and how long ago.
        """
        # By now so much more was said, unless the next piece is overdue.
        left = held - FRAME_SAMPLES - piece + min(piece, int(since_s * SAMPLE_RATE_HZ))
        self._least = min(self._least, left - self._spared)
        self._most = max(self._most, left - self._spared)
        self._ticks += 1
        worst = max(self._least, self._most - LATE_SAMPLES_MAX)
        if self._ticks % WATCHED_TICKS == 0:
            self._leasts.append(worst)
            self._least, self._most = math.inf, -math.inf
        if not self._leasts:
            return 0
        leasts = sorted([*self._leasts, worst])
        least = int(leasts[min(1, len(self._leasts) - 1)]) + self._spared
        if least > STALL_SAMPLES:
            return least - SPARE_SAMPLES_MAX
        if least > SPARE_SAMPLES_MAX:
            return min(BENT_SAMPLES_MAX, 1 + (least - SPARE_SAMPLES_MAX) // HASTE)
        if least < SPARE_SAMPLES_MIN:
            return -min(BENT_SAMPLES_MAX, 1 + (SPARE_SAMPLES_MIN - least) // HASTE)
        return 0

    def took(self, count: int, ticks: int = 1) -> None:
        """So many samples were taken for so many ticks: what is fewer than 960 each is spared."""
        self._spared += ticks * FRAME_SAMPLES - count
