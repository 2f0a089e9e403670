"""How loud a frame is, as the byte of RFC 6464, and whether that counts as talking.

The sender measures, everybody else reads the byte: a relay without keys ranks speakers by it.
A sender can lie about it, so nothing but ranking and drawing may depend on it.
"""

import math
from typing import Final

from p2phouse.vocabulary import FRAME_SAMPLES, Frame

SILENCE_DBOV: Final = 127
TALKING_DBOV: Final = 45  # -45 dBov: speech at arm's length is 15-30, a quiet room 55-70
QUIET_DBOV: Final = 50  # 5 dB of hysteresis: a voice that trails off does not flicker
HANG_FRAMES: Final = 15  # 300 ms: longer than the closure of a stop consonant, shorter than a pause


def level_dbov(frame: Frame) -> int:
    """Loudness in -dBov, 0 (a full-scale square wave) to 127 (silence). Spec: RFC 6464 §3."""
    power = float(frame @ frame) / FRAME_SAMPLES
    # Not `power <= ...`: NaN from a broken input must read as silence, not raise.
    if not power > 1e-12:
        return SILENCE_DBOV
    return min(SILENCE_DBOV, max(0, round(-10.0 * math.log10(power))))


class Talking:
    """Level with hysteresis: the V bit of RFC 6464. Not a speech detector: music talks too."""

    def __init__(self) -> None:
        self._hang = 0

    def hear(self, dbov: int) -> bool:
        """Whether this voice talks, after one more frame of this level."""
        if dbov <= TALKING_DBOV or (self._hang and dbov <= QUIET_DBOV):
            self._hang = HANG_FRAMES
        elif self._hang:
            self._hang -= 1
        return self._hang > 0


class Loudness:
    """How loud an input was over some frames: tells a dead microphone, and somebody who talks."""

    def __init__(self) -> None:
        self.loudest_dbov = -1  # -dBov; -1: there was no frame
        self.loud_frames = 0

    def hear(self, frame: Frame) -> None:
        dbov = level_dbov(frame)
        self.loudest_dbov = dbov if self.loudest_dbov < 0 else min(dbov, self.loudest_dbov)
        self.loud_frames += dbov <= TALKING_DBOV
