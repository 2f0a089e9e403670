"""Many voices into one ear, never louder than full scale.

The limiter sees the whole frame it works on, so it needs no delay: gain goes in straight lines
between the corners of 2.5 ms blocks, and each corner is low enough for both its blocks. Only a
peak in the very first block can come sooner than the gain can fall; that block is bent softly.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from p2phouse.vocabulary import FRAME_SAMPLES, Frame

CEILING: Final = 0.97  # leaves room for what a converter's filter adds between samples
BLOCKS: Final = 8
BLOCK_SAMPLES: Final = FRAME_SAMPLES // BLOCKS  # 120, 2.5 ms
RELEASE: Final = 1.015  # per block: 6 dB in 115 ms, slow enough not to growl at 100 Hz

_RAMP: Final = np.linspace(1 / BLOCK_SAMPLES, 1.0, BLOCK_SAMPLES, dtype=np.float32)


class Mixer:
    """Sums frames with their gains and limits the sum. One per output."""

    def __init__(self) -> None:
        self._gain = 1.0  # at the end of the last frame

    def mix(self, voices: Sequence[tuple[Frame, float]]) -> Frame:
        """The sum of all frames, each times its gain (0.0 and up), within ±CEILING."""
        total: Frame = np.zeros(FRAME_SAMPLES, np.float32)
        for frame, gain in voices:
            if gain == 1.0:
                total += frame
            elif gain > 0.0:
                total += np.float32(gain) * frame
        peak = float(np.abs(total).max())
        if peak <= CEILING and self._gain == 1.0:
            return total
        # Security: one voice of NaN must not stay in the limiter's state and deafen the rest.
        # Not `peak < ...`: NaN compares false. Test: test_mix.py::test_broken_numbers_...
        if not peak < float(np.finfo(np.float32).max):
            return np.zeros(FRAME_SAMPLES, np.float32)
        return self._limit(total)

    def _limit(self, total: Frame) -> Frame:
        blocks = total.reshape(BLOCKS, BLOCK_SAMPLES)
        peaks = np.abs(blocks).max(axis=1)
        allowed = [min(1.0, CEILING / float(peak)) if peak > 0 else 1.0 for peak in peaks]
        corners = [self._gain]
        for n in range(BLOCKS):
            following = allowed[n + 1] if n + 1 < BLOCKS else 1.0
            corners.append(min(allowed[n], following, 1.0, corners[-1] * RELEASE))
        start = np.array(corners[:-1], np.float32)[:, None]
        end = np.array(corners[1:], np.float32)[:, None]
        limited: NDArray[np.float32] = blocks * (start + (end - start) * _RAMP)
        if self._gain > allowed[0]:
            limited[0] = _bend(limited[0])
        self._gain = corners[-1]
        return np.clip(limited.reshape(FRAME_SAMPLES), -CEILING, CEILING)  # rounding only


def _bend(block: NDArray[np.float32]) -> NDArray[np.float32]:
    """Press what stands above 3/4 of the ceiling into the last quarter, without a corner."""
    knee = 0.75 * CEILING
    over = np.maximum(np.abs(block) - knee, 0.0)
    room = CEILING - knee
    return np.asarray(
        np.where(over > 0, np.sign(block) * (knee + room * over / (over + room)), block)
    )
