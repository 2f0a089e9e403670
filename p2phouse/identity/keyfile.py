"""Files that must never be lost, half written or read by others.

A write makes a new file beside the old one and renames it over: a process or machine that dies
at any moment leaves the old file or the new one, whole.
"""

import os
import re
import stat
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Final

from p2phouse.errors import UserError

FILE_BYTES_MAX: Final = 1024 * 1024
_LEFTOVER: Final = re.compile(r"\.[a-z]+\.cbor\.[a-z0-9_]{8}")  # as mkstemp names it below


class FileNotWritten(UserError):
    """The file {path} could not be written ({reason}).
    Free some space or choose another folder with --home DIR."""


class FileExposed(UserError):
    """Others on this machine may read {path}. Run: chmod 600 {path}"""


class FileUnreadable(UserError):
    """The file {path} could not be read ({reason}). Restore it from a backup, or move it away."""


def write_atomically(path: Path, data: bytes) -> None:
    """Replaces the file's content for good, readable by us alone. Raises FileNotWritten."""
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # 0600
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            with suppress(OSError):
                os.unlink(temporary)
            raise
        _sync_folder(path.parent)
    except OSError as error:
        raise FileNotWritten(path=path, reason=error.strerror) from error


def _sync_folder(path: Path) -> None:
    """The rename itself must survive a power cut."""
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def remove_leftovers(folder: Path, *, before_unix: float) -> None:
    """Removes what writes that were killed half way left in the folder, with keys in it perhaps.

    before_unix: what was touched since then may belong to a write that goes on. Raises nothing:
    what cannot be removed is in nobody's way.
    """
    for path in folder.glob(".*"):
        if not _LEFTOVER.fullmatch(path.name):
            continue
        with suppress(OSError):
            state = path.lstat()
            # Security: nothing that somebody else put there, and no link to elsewhere.
            is_ours = stat.S_ISREG(state.st_mode) and state.st_uid == os.getuid()
            if is_ours and state.st_mtime < before_unix:
                path.unlink()


def read_private(path: Path) -> bytes:
    """The file's bytes. Raises FileNotFoundError, FileExposed or FileUnreadable."""
    try:
        with path.open("rb") as file:
            state = os.fstat(file.fileno())
            # Security: a key that others can read is no secret any more; say so, do not use it.
            if stat.S_IMODE(state.st_mode) & 0o077 or state.st_uid != os.getuid():
                raise FileExposed(path=path)
            data = file.read(FILE_BYTES_MAX + 1)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise FileUnreadable(path=path, reason=error.strerror) from error
    if len(data) > FILE_BYTES_MAX:
        raise FileUnreadable(path=path, reason="it is far too large")
    return data
