"""Whom this person has blocked: one small file in the home, which nobody else ever hears of.

Each change is in the file before it counts, whole or not at all.
"""

import threading
from pathlib import Path
from typing import Final

from p2phouse.errors import P2PHouseError, UserError
from p2phouse.identity.keyfile import read_private, write_atomically
from p2phouse.record import cbor, limits
from p2phouse.record.cbor import Value
from p2phouse.record.schema import is_plain_text
from p2phouse.vocabulary import UserKey

BLOCKED_MAX: Final = 1_000
FILE_BYTES_MAX: Final = 256 * 1_024
VERSION: Final = 1


class BlocksDamaged(UserError):
    """The list of people you have blocked is damaged: {path}. Restore it from a backup; or move it
    away, and nobody is blocked any more."""


class TooManyBlocked(UserError):
    """You have blocked {limit} people, which is all that the list holds. Unblock somebody first:
    p2phouse blocked lists them."""


class Blocks:
    """`add` and `remove` write the file, which takes some milliseconds, and may run in threads."""

    def __init__(self, home: Path) -> None:
        """Raises BlocksDamaged, or what reading a private file raises."""
        self._path = home / "blocked.cbor"
        self._names = _read(self._path)
        self._lock = threading.Lock()

    @property
    def people(self) -> dict[UserKey, str]:
        """Each with the name it had when it was blocked, in the order of their blocking."""
        return dict(self._names)

    def add(self, uid: UserKey, name: str) -> None:
        """Raises TooManyBlocked or FileNotWritten, and then nothing has changed."""
        with self._lock:
            if uid not in self._names and len(self._names) >= BLOCKED_MAX:
                raise TooManyBlocked(limit=BLOCKED_MAX)
            self._keep({**self._names, uid: name})

    def remove(self, uid: UserKey) -> None:
        with self._lock:
            self._keep({each: name for each, name in self._names.items() if each != uid})

    def _keep(self, names: dict[UserKey, str]) -> None:
        people: list[Value] = [[uid, name] for uid, name in names.items()]
        write_atomically(self._path, cbor.encode([VERSION, people]))
        self._names = names


def _read(path: Path) -> dict[UserKey, str]:
    try:
        data = read_private(path)
    except FileNotFoundError:
        return {}
    try:
        value = cbor.decode(data, size_max=FILE_BYTES_MAX)
    except P2PHouseError as error:
        raise BlocksDamaged(path=path) from error
    match value:
        case [1, list(people)] if len(people) <= BLOCKED_MAX:
            return dict(_person(each, path) for each in people)
    raise BlocksDamaged(path=path)


def _person(item: Value, path: Path) -> tuple[UserKey, str]:
    match item:
        case [bytes(uid), str(name)] if len(uid) == 32 and is_plain_text(name):
            return UserKey(uid), name[: limits.NAME_CODE_POINTS_MAX]
    # Half a list would let the other half in again without a word.
    raise BlocksDamaged(path=path)
