"""Sound out to a WAV file: 16 bit, mono, 48 kHz, written by a thread of its own.

Data is appended first and the header's lengths follow, every half second and at the end: a
process killed at any moment leaves a file that reads up to there. What the disk does not take
within ten seconds becomes silence, so that the file keeps clock time; nothing else is left out.
"""

import os
import queue
import stat
import struct
import threading
from typing import Final

from p2phouse.errors import UserError
from p2phouse.sound.files import Samples, to_samples
from p2phouse.sound.plain import plain
from p2phouse.vocabulary import FRAME_SAMPLES, SAMPLE_RATE_HZ, Frame

HEADER_BYTES: Final = 44
SAMPLE_BYTES: Final = 2
BLOCK_FRAMES: Final = 25  # half a second: two wake-ups a second, and what a kill can cost
BLOCKS_MAX: Final = 20  # ten seconds or 1 MB: a disk that spins up takes four
DATA_BYTES_MAX: Final = 2**32 - 4096  # lengths are 32 bits wide in a WAV file: 12.4 hours
_ZEROS: Final = bytes(2**16)


class SoundNotWritten(UserError):
    """The sound file {path} could not be written ({reason}). Choose another place or file."""


class SoundFileFull(UserError):
    """The sound file {path} is as long as a WAV file can be. Go on in another file."""


class Backlog:
    """What waits for the disk, in order and bounded. What finds no room becomes silence."""

    def __init__(self) -> None:
        self._block = bytearray()
        self._gap_samples = 0  # of silence due before the block
        self._waiting: queue.Queue[bytes | int | None] = queue.Queue(BLOCKS_MAX)

    def add(self, samples: Samples) -> None:
        """Returns at once."""
        self._block += samples.astype("<i2", copy=False).tobytes()
        if len(self._block) >= BLOCK_FRAMES * FRAME_SAMPLES * SAMPLE_BYTES:
            self._hand_over()

    def add_silence(self, count: int) -> None:
        """Returns at once. count: of samples."""
        self._hand_over()
        self._gap_samples += count

    def end(self) -> None:
        """Nothing follows. Blocks while there is no room."""
        for rest in (self._gap_samples, bytes(self._block), None):
            self._waiting.put(rest)

    def take(self) -> bytes | int | None:
        """Bytes to append, or a number of silent samples, or None at the end. Blocks."""
        return self._waiting.get()

    def _hand_over(self) -> None:
        block, self._block = bytes(self._block), bytearray()
        try:
            if self._gap_samples:
                self._waiting.put_nowait(self._gap_samples)
                self._gap_samples = 0
            self._waiting.put_nowait(block)
        except queue.Full:
            self._gap_samples += len(block) // SAMPLE_BYTES


class WavFile:
    """`play` and `skip` return at once; `close` waits until everything is in the file."""

    def __init__(self, path: str, *, data_bytes_max: int = DATA_BYTES_MAX) -> None:
        """Makes the file or empties it. Blocks. Raises SoundNotWritten."""
        self._path = plain(path)
        self._data_bytes_max = data_bytes_max
        self._data_bytes = 0
        self._backlog = Backlog()
        self._error: UserError | None = None
        try:
            self._handle = _open(path)
            try:
                self._write_header()
                os.lseek(self._handle, HEADER_BYTES, os.SEEK_SET)
            except BaseException:
                os.close(self._handle)
                raise
        except OSError as error:
            raise SoundNotWritten(path=self._path, reason=error.strerror) from error
        # A daemon: a process that ends without `close` is not held up; what it wrote is whole.
        self._writer = threading.Thread(target=self._write_on, name="wav", daemon=True)
        self._writer.start()

    def play(self, frame: Frame) -> None:
        """Appends a frame. Raises SoundNotWritten or SoundFileFull if an earlier one failed."""
        if self._error is not None:
            raise self._error
        self._backlog.add(to_samples(frame))

    def skip(self, ticks: int) -> None:
        """Silence where ticks fell out."""
        self._backlog.add_silence(ticks * FRAME_SAMPLES)

    def close(self) -> None:
        """Blocks until the file is whole. Raises SoundNotWritten or SoundFileFull."""
        self._backlog.end()
        self._writer.join()
        if self._error is not None:
            raise self._error

    # ── the writer's thread ──────────────────────────────────────────────────────────────────

    def _write_on(self) -> None:
        """Takes blocks until the end, also after a failure: nobody may wait for a full queue."""
        while (block := self._backlog.take()) is not None:
            if self._error is not None:
                continue
            try:
                self._append(block)
            except OSError as error:
                self._error = SoundNotWritten(path=self._path, reason=error.strerror)
            except UserError as error:
                self._error = error
        os.close(self._handle)

    def _append(self, block: bytes | int) -> None:
        size = block * SAMPLE_BYTES if isinstance(block, int) else len(block)
        if self._data_bytes + size > self._data_bytes_max:
            raise SoundFileFull(path=self._path)
        if isinstance(block, int):
            for start in range(0, size, len(_ZEROS)):
                _write_all(self._handle, _ZEROS[: size - start])
        else:
            _write_all(self._handle, block)
        self._data_bytes += size
        self._write_header()

    def _write_header(self) -> None:
        """RIFF's header at the start. It never claims more data than the file has."""
        byte_rate = SAMPLE_RATE_HZ * SAMPLE_BYTES
        form = struct.pack("<HHIIHH", 1, 1, SAMPLE_RATE_HZ, byte_rate, SAMPLE_BYTES, 16)
        header = (
            struct.pack("<4sI4s4sI", b"RIFF", 36 + self._data_bytes, b"WAVE", b"fmt ", len(form))
            + form
            + struct.pack("<4sI", b"data", self._data_bytes)
        )
        assert len(header) == HEADER_BYTES
        os.pwrite(self._handle, header, 0)


def _open(path: str) -> int:
    """A handle on an empty ordinary file. Raises SoundNotWritten or OSError."""
    if "\0" in path:
        raise SoundNotWritten(path=plain(path), reason="a path has no NUL in it")
    # Not O_TRUNC: what is no ordinary file is left alone. O_NONBLOCK: a pipe nobody reads from.
    flags = os.O_WRONLY | os.O_CREAT | os.O_NONBLOCK | os.O_CLOEXEC
    handle = os.open(path, flags, 0o666)
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise SoundNotWritten(path=plain(path), reason="it is no ordinary file")
        os.ftruncate(handle, 0)
    except BaseException:
        os.close(handle)
        raise
    return handle


def _write_all(handle: int, data: bytes) -> None:
    """os.write may take a part; the next call then says why. Raises OSError."""
    view = memoryview(data)
    while view:
        view = view[os.write(handle, view) :]
