"""Sound for the tests of the voice: human speech from Debian, and noise from a seed."""

import wave
from pathlib import Path

import numpy as np
import soxr

from p2phouse.vocabulary import FRAME_SAMPLES, SAMPLE_RATE_HZ, Frame
from tests.needed import need

LIBRIVOX = Path("/usr/share/pocketsphinx/test/data/librivox")
CLIPS = ("0880", "0930", "0890", "0920", "0870")


def librivox(clip: str = "0930") -> np.ndarray:
    """A clip of read human speech, float32 at 48 kHz; skips (in CI: fails) without the package."""
    path = LIBRIVOX / f"sense_and_sensibility_01_austen_64kb-{clip}.wav"
    need(path.exists(), "needs human speech: apt-get install pocketsphinx-testdata")
    with wave.open(str(path)) as file:
        assert file.getnchannels() == 1
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2")
        rate = file.getframerate()
    sound = soxr.resample(samples.astype(np.float32) / 32_768, rate, SAMPLE_RATE_HZ)
    return np.asarray(sound, np.float32)


def frames_of(sound: np.ndarray) -> list[Frame]:
    """Whole frames of a sound, each contiguous; the rest of the last is dropped."""
    count = len(sound) // FRAME_SAMPLES
    return list(np.ascontiguousarray(sound[: count * FRAME_SAMPLES]).reshape(count, FRAME_SAMPLES))


def tone(frame: int, *, hz: float = 400.0, amplitude: float = 0.3) -> Frame:
    """Frame number `frame` of a continuous tone; whole periods by default."""
    at = np.arange(frame * FRAME_SAMPLES, (frame + 1) * FRAME_SAMPLES)
    return (amplitude * np.sin(2 * np.pi * hz * at / SAMPLE_RATE_HZ)).astype(np.float32)


def noise(seed: int, *, amplitude: float = 0.1) -> Frame:
    rng = np.random.default_rng(seed)
    return (amplitude * rng.standard_normal(FRAME_SAMPLES)).astype(np.float32)
