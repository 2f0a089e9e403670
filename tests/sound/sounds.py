"""Sound files of many kinds for the tests of ear and mouth."""

import wave
from pathlib import Path

import av
import numpy as np

from p2phouse.vocabulary import SAMPLE_RATE_HZ


def sine(hz: float = 400.0, *, seconds: float = 1.0, rate: int = SAMPLE_RATE_HZ) -> np.ndarray:
    at = np.arange(round(seconds * rate))
    return (0.3 * np.sin(2 * np.pi * hz * at / rate)).astype(np.float32)


def encode(
    path: Path, codec: str, sound: np.ndarray, *, rate: int = SAMPLE_RATE_HZ, kind: str = ""
) -> Path:
    """Writes a sound of shape (channels, samples), or (samples,), with one of FFmpeg's codecs."""
    channels = np.atleast_2d(sound)
    layout = "mono" if len(channels) == 1 else "stereo"
    with av.open(str(path), "w", format=kind or None) as container:
        track = container.add_stream(codec, rate=rate)
        track.layout = layout
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(channels, np.float32), format="fltp", layout=layout
        )
        frame.sample_rate = rate
        frame.pts = 0
        resampler = av.AudioResampler(
            track.codec_context.format, layout, rate, frame_size=track.codec_context.frame_size
        )
        for piece in [*resampler.resample(frame), *resampler.resample(None)]:
            container.mux(track.encode(piece))
        container.mux(track.encode(None))
    return path


def read_wav(path: Path) -> np.ndarray:
    """The samples of a WAV file as another program sees them: 16 bit, mono, 48 kHz."""
    with wave.open(str(path)) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, 48_000)
        return np.frombuffer(file.readframes(file.getnframes()), "<i2")
