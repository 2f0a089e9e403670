"""What the owner of this node has chosen, in `config.toml` of the home, to read and edit by hand.

A file that is damaged is an error that is told, never written over: it may say "never".
"""

import re
import threading
import tomllib
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal, Self, get_args

from p2phouse.errors import UserError
from p2phouse.identity.keyfile import FileUnreadable, write_atomically

FILE_NAME: Final = "config.toml"
FILE_BYTES_MAX: Final = 64 * 1024
HEAD: Final = "# What you chose for this node. `p2phouse carry` and the page write it too.\n"

CarryChoice = Literal["auto", "never"]
CARRY_KBPS_LEAST: Final = 500  # three people, each with three voices of 55.2 kb/s
CARRY_KBPS_MOST: Final = 20_000  # 120 people: half a core, by what sixty cost (bench hub_load)
CARRY_KBPS_USUAL: Final = 5_000


class ChoicesDamaged(UserError):
    """The file {path} does not say what you chose ({reason}).
    Mend it, or move it away to begin anew."""


@dataclass(frozen=True, slots=True)
class Choices:
    """carry: "auto" carries the voices of others when a room of ours grows and this machine can
    afford it. carry_kbps: with no more than this. metered: what is sent from here costs money."""

    carry: CarryChoice = "auto"
    carry_kbps: int = CARRY_KBPS_USUAL
    metered: bool = False

    @classmethod
    def of(cls, known: dict[str, Any]) -> Self:
        """Of the file's values; what another version wrote is passed over. Raises ValueError."""
        choices = cls(**{name: known[name] for name in asdict(cls()) if name in known})
        if choices.carry not in get_args(CarryChoice):
            raise ValueError('carry is neither "auto" nor "never"')
        if type(choices.carry_kbps) is not int or type(choices.metered) is not bool:
            raise ValueError("carry_kbps is no whole number, or metered neither true nor false")
        if not CARRY_KBPS_LEAST <= choices.carry_kbps <= CARRY_KBPS_MOST:
            raise ValueError(f"carry_kbps is not from {CARRY_KBPS_LEAST} to {CARRY_KBPS_MOST}")
        return choices


class ChoicesFile:
    """Every method reads or writes the file: call them in a thread."""

    def __init__(self, home: Path) -> None:
        self._path = home / FILE_NAME
        self._lock = threading.Lock()  # between reading and writing

    def read(self) -> Choices:
        """Raises UserError."""
        return self._choices(self._text())

    def change(self, **chosen: Any) -> Choices:  # noqa: ANN401 - fields of Choices
        """Changes these and keeps all else, the owner's comments too. Raises UserError."""
        with self._lock:
            text = self._text() or HEAD
            choices = replace(self._choices(text), **chosen)
            for name, value in chosen.items():
                text = _with(text, f"{name} = {_toml(value)}", name)
            if self._choices(text) != choices:
                raise ChoicesDamaged(path=self._path, reason="it can only be edited by hand")
            write_atomically(self._path, text.encode())
            return choices

    def _text(self) -> str:
        try:
            with self._path.open("rb") as file:
                data = file.read(FILE_BYTES_MAX + 1)
        except FileNotFoundError:
            return ""
        except OSError as error:
            raise FileUnreadable(path=self._path, reason=error.strerror) from error
        if len(data) > FILE_BYTES_MAX:
            raise FileUnreadable(path=self._path, reason="it is far too large")
        try:
            return data.decode()
        except UnicodeDecodeError as error:
            raise ChoicesDamaged(path=self._path, reason="it is no text") from error

    def _choices(self, text: str) -> Choices:
        try:
            return Choices.of(tomllib.loads(text))
        except ValueError as error:  # TOMLDecodeError is one
            raise ChoicesDamaged(path=self._path, reason=str(error)) from error


def _toml(value: object) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value).lower()


def _with(text: str, line: str, name: str) -> str:
    """The text with that line in place of the one that sets the name, or before all tables."""
    there = re.search(rf"^[ \t]*{name}[ \t]*=[^\n#]*", text, re.MULTILINE)
    if there is not None:
        beside = " " if text[there.end() :].startswith("#") else ""
        return text[: there.start()] + line + beside + text[there.end() :]
    head, table, rest = f"\n{text}".partition("\n[")
    return f"{head}\n".lstrip("\n").rstrip() + f"\n{line}\n" + (f"\n[{rest}" if table else "")
