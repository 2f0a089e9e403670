"""Inputs that need no file and no device: a tone to test with, and silence."""

from typing import Final

import numpy as np

from p2phouse.vocabulary import FRAME_SAMPLES, SAMPLE_RATE_HZ, Frame

TONE_HZ: Final = 400  # 8 whole periods a frame: every frame is the same
TONE_AMPLITUDE: Final = 0.25  # -12 dBFS, as loud as close speech


class SteadySource:
    """The same frame for ever."""

    def __init__(self, frame: Frame) -> None:
        self._frame = frame
        self._frame.flags.writeable = False

    def next_frame(self) -> Frame | None:
        return self._frame

    def skip(self, ticks: int) -> None:
        pass

    def close(self) -> None:
        pass


def tone() -> SteadySource:
    at = np.arange(FRAME_SAMPLES) / SAMPLE_RATE_HZ
    return SteadySource((TONE_AMPLITUDE * np.sin(2 * np.pi * TONE_HZ * at)).astype(np.float32))


def silence() -> SteadySource:
    return SteadySource(np.zeros(FRAME_SAMPLES, np.float32))
