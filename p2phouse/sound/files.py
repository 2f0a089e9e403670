"""Sound files in: whatever FFmpeg reads, as mono at 48 kHz, whole and before the first tick.

Decoding goes on in PyAV, which aiortc has loaded already. A file is kept as 16-bit samples, so an
hour, the longest that is taken, holds 346 MB. What cannot be decoded in the middle of a file is
left out: a recording cut short by a full disk or a bad download is spoken as far as it goes.
"""

import os
import stat
import time
from collections import deque
from collections.abc import Callable, Iterator, MutableSequence
from itertools import groupby
from typing import Any, BinaryIO, Final

import av
import numpy as np
import soxr
from numpy.typing import NDArray

from p2phouse.errors import UserError
from p2phouse.sound.plain import plain
from p2phouse.vocabulary import FRAME_SAMPLES, SAMPLE_RATE_HZ, Frame

FILE_S_MAX: Final = 3_600
SAMPLES_MAX: Final = FILE_S_MAX * SAMPLE_RATE_HZ
PIECE_SAMPLES: Final = 500 * FRAME_SAMPLES  # ten seconds, 1 MB
PIECE_BYTES: Final = 2 * PIECE_SAMPLES
TURN_S: Final = 0.001
PAUSE_S: Final = 0.0005
RATE_HZ_MIN: Final = 1_000  # below, one block of a file could grow to gigabytes at 48 kHz
RATE_HZ_MAX: Final = 768_000

# Security: FFmpeg also reads play lists (HLS, concat, DASH) that name other files and addresses;
# a "sound file" must not read or fetch anything but itself. Test: test_files.py::test_a_play_list_
FORMATS: Final = "wav,w64,aiff,au,caf,mp3,aac,ogg,flac,mov,matroska"

Samples = NDArray[np.int16]
"""Mono sound at 48 kHz, any length."""


class SoundUnreadable(UserError):
    """The sound file {path} could not be read ({reason}). Check its path and its permissions."""


class NotSound(UserError):
    """The file {path} holds no sound that can be read. Use a WAV, MP3, Ogg, FLAC or M4A file."""


class SoundTooLong(UserError):
    """The sound file {path} is longer than {minutes} minutes. Cut it into shorter ones."""


class FileSource:
    """A file's sound, frame by frame; the last is filled up with silence."""

    def __init__(self, pieces: list[Samples]) -> None:
        """pieces: as of `load_pieces`; given away, for they are let go as they are spoken."""
        self._pieces = deque(pieces)
        pieces.clear()
        self._at = 0

    def next_frame(self) -> Frame | None:
        """None after the last."""
        while self._pieces and self._at >= len(self._pieces[0]):
            self._at -= len(self._pieces.popleft())
        if not self._pieces:
            return None
        taken = self._pieces[0][self._at : self._at + FRAME_SAMPLES]
        self._at += FRAME_SAMPLES
        frame: Frame = np.zeros(FRAME_SAMPLES, np.float32)
        frame[: len(taken)] = to_float(taken)
        return frame

    def skip(self, ticks: int) -> None:
        self._at += ticks * FRAME_SAMPLES

    def close(self) -> None:
        _let_go(self._pieces)


def to_float(samples: Samples) -> NDArray[np.float32]:
    """The same sound between -1.0 and 1.0."""
    return samples.astype(np.float32) / np.float32(32_768)


def to_samples(sound: NDArray[np.float32]) -> Samples:
    """The same sound in 16 bits: what is too loud is clipped, what is no number is silence."""
    scaled = np.rint(np.nan_to_num(sound, nan=0.0, posinf=1.0, neginf=-1.0) * 32_768)
    return np.asarray(np.clip(scaled, -32_768, 32_767), np.int16)


def load(path: str) -> Samples:
    """The sound of a file as one piece. Blocks. Raises what `load_pieces` raises."""
    return np.concatenate(load_pieces(path))


def load_pieces(
    path: str,
    is_wanted: Callable[[], bool] = lambda: True,
    *,
    samples_max: int = SAMPLES_MAX,
) -> list[Samples]:
    """The sound of a file, its channels averaged, in pieces of PIECE_SAMPLES but for the last.

    Blocks: call it in a thread. is_wanted: asked now and then; after a False the rest is not read.
    Raises SoundUnreadable, NotSound, SoundTooLong.
    """
    shown = plain(path)
    pieces: list[Samples] = []
    rest = bytearray()
    try:
        with _open(path) as file:
            for sound in _politely(_resampled(_decoded(file))):
                rest += to_samples(sound).tobytes()
                while len(rest) >= PIECE_BYTES:
                    pieces.append(np.frombuffer(bytes(rest[:PIECE_BYTES]), np.int16))
                    del rest[:PIECE_BYTES]
                if len(pieces) * PIECE_SAMPLES + len(rest) // 2 > samples_max:
                    _let_go(pieces)
                    raise SoundTooLong(path=shown, minutes=samples_max // SAMPLE_RATE_HZ // 60)
                if not is_wanted():
                    break
    # Before OSError, which some of FFmpeg's errors are as well. ValueError: whole numbers of 64
    # bits, the one format that PyAV does not hand over.
    except (av.FFmpegError, ValueError) as error:
        raise NotSound(path=shown) from error
    except OSError as error:
        raise SoundUnreadable(path=shown, reason=error.strerror) from error
    if rest:
        pieces.append(np.frombuffer(rest, np.int16))
    if not pieces:
        raise NotSound(path=shown)
    return pieces


def _politely(sounds: Iterator[NDArray[np.float32]]) -> Iterator[NDArray[np.float32]]:
    """The same, with pauses: the loop asks for Python's one lock again and again, and waits up to
    5 ms each time for a thread that computes (12 ms late at p99 without the pauses, 4 with)."""
    began = time.perf_counter()
    for sound in sounds:
        yield sound
        if time.perf_counter() - began > TURN_S:
            time.sleep(PAUSE_S)
            began = time.perf_counter()


def _let_go(pieces: MutableSequence[Samples]) -> None:
    """Frees piece by piece: an hour at once would hold Python's lock for 45 ms."""
    while pieces:
        pieces.pop()
        time.sleep(PAUSE_S)


def _open(path: str) -> BinaryIO:
    """The file at `path`, if it is one. Raises SoundUnreadable or OSError."""
    if "\0" in path:
        raise SoundUnreadable(path=plain(path), reason="a path has no NUL in it")
    # Not to wait for ever for the other end of a pipe.
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    mode = os.fstat(handle).st_mode
    if not stat.S_ISREG(mode):
        os.close(handle)
        reason = "it is a folder" if stat.S_ISDIR(mode) else "it is no ordinary file"
        raise SoundUnreadable(path=plain(path), reason=reason)
    return os.fdopen(handle, "rb")


def _decoded(file: BinaryIO) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """The sound in pieces, each with its rate in Hz. Raises av.FFmpegError."""
    # metadata_errors: a title in no known encoding is no reason not to play a song.
    options = {"format_whitelist": FORMATS}
    with av.open(file, options=options, metadata_errors="replace") as container:
        tracks = container.streams.audio[:1]
        for packet in container.demux(*tracks) if tracks else ():
            try:
                blocks = packet.decode()
            except av.FFmpegError:
                continue  # a damaged piece; what comes after it may be whole
            for block in blocks:
                if RATE_HZ_MIN <= block.sample_rate <= RATE_HZ_MAX:
                    yield block.sample_rate, _mono(block)


def _mono(block: Any) -> NDArray[np.float32]:  # noqa: ANN401  # av.AudioFrame, which has no types
    """The mean of the channels, between -1.0 and 1.0 for whole numbers of any width."""
    values = block.to_ndarray()
    if not block.format.is_planar:
        values = values.reshape(-1, block.layout.nb_channels).T
    mean = values.mean(axis=0, dtype=np.float64)
    if values.dtype == np.uint8:
        mean = (mean - 128) / 128
    elif values.dtype.kind == "i":
        mean /= -float(np.iinfo(values.dtype).min)
    return np.asarray(mean, np.float32)


def _resampled(
    pieces: Iterator[tuple[int, NDArray[np.float32]]],
) -> Iterator[NDArray[np.float32]]:
    """The pieces at 48 kHz; a file may change its rate on the way."""
    for rate, group in groupby(pieces, key=lambda piece: piece[0]):
        # A NaN would spread over all that the resampler's filter reaches.
        sounds = (np.nan_to_num(sound, nan=0.0, posinf=1.0, neginf=-1.0) for _, sound in group)
        if rate == SAMPLE_RATE_HZ:
            yield from sounds
            continue
        resampler = soxr.ResampleStream(rate, SAMPLE_RATE_HZ, 1, dtype="float32", quality="HQ")
        for sound in sounds:
            yield resampler.resample_chunk(sound)
        yield resampler.resample_chunk(np.zeros(0, np.float32), last=True)
