"""A list of people in a file of the home: keys, and the names that the owner gave them.

It stays on this machine, readable by its owner alone. A file that cannot be read is an error that
is told and never written over: whoever made it may want it back.
"""

import threading
from pathlib import Path
from typing import Final

from p2phouse.errors import P2PHouseError, UserError
from p2phouse.identity.keyfile import FileExposed, FileUnreadable, read_private, write_atomically
from p2phouse.record import cbor, limits
from p2phouse.record.cbor import Value
from p2phouse.vocabulary import UserKey

VERSION: Final = 1
FILE_BYTES_MAX: Final = 512 * 1024  # 1,024 names of 40 characters take 210 kB


class ListDamaged(UserError):
    """The list in {path} is damaged ({reason}) and was left as it is.
    Restore it from a backup, or move it away to begin a new one."""


class ListFull(UserError):
    """The list holds {limit} people and no more. Take somebody off it first."""


class Book:
    """See the module. Every method reads or writes the file: call them in a thread."""

    def __init__(self, path: Path, *, most: int) -> None:
        self._path = path
        self._most = most
        self._lock = threading.Lock()  # between reading and writing

    def read(self) -> dict[UserKey, str]:
        """Everybody on the list, with the name each was given. Raises UserError."""
        try:
            value = cbor.decode(read_private(self._path), size_max=FILE_BYTES_MAX)
        except FileNotFoundError:
            return {}
        except (FileExposed, FileUnreadable):
            raise
        except P2PHouseError as error:
            raise ListDamaged(path=self._path, reason=str(error).rstrip(".")) from error
        match value:
            # `true` is 1 to Python.
            case [int(version), list(items)] if (type(version), version) == (int, VERSION):
                if len(items) > self._most:
                    raise ListDamaged(path=self._path, reason=f"more than {self._most} people")
                return dict(self._person(item) for item in items)
        raise ListDamaged(path=self._path, reason="it is no list of people of this version")

    def _person(self, item: Value) -> tuple[UserKey, str]:
        match item:
            case [bytes(uid), str(name)] if len(uid) == 32:
                return UserKey(uid), name
        raise ListDamaged(path=self._path, reason="something in it is nobody")

    def put(self, uid: UserKey, name: str) -> dict[UserKey, str]:
        """Puts a person on it, or gives one another name. Raises UserError."""
        with self._lock:
            people = self.read()
            if uid not in people and len(people) >= self._most:
                raise ListFull(limit=self._most)
            return self._write({**people, uid: name[: limits.NAME_CODE_POINTS_MAX]})

    def take_off(self, uid: UserKey) -> dict[UserKey, str]:
        """Raises UserError."""
        with self._lock:
            people = self.read()
            people.pop(uid, None)
            return self._write(people)

    def _write(self, people: dict[UserKey, str]) -> dict[UserKey, str]:
        write_atomically(self._path, cbor.encode([VERSION, [[*each] for each in people.items()]]))
        return people
