"""What the operator does not carry: rooms and keys, why, until when, and on whose notice.

One file of the home, which the running relay reads anew whenever it changes. Nothing is taken out
of it: what was lifted stays with its date, so that a month can be accounted for.
"""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Final

from p2phouse.errors import UserError
from p2phouse.identity.keyfile import write_atomically
from p2phouse.identity.keys import device_of_peer_id

FILE_NAME: Final = "denied.json"
NOTICES: Final = "notices"
FILE_BYTES_MAX: Final = 4 * 1024 * 1024
DENIALS_MAX: Final = 10_000
REASON_CHARS_MAX: Final = 200
NOTICE_BYTES_MAX: Final = 256 * 1024
DAY_S: Final = 86_400


class DenialsDamaged(UserError):
    """{path} cannot be read ({reason}). Restore it from a backup: without it nobody knows what this
    relay is not to carry."""


class NotDenied(UserError):
    """{what} is not denied. `p2phouse-relay denied` lists what is."""


class NoticeUnreadable(UserError):
    """The notice {path} cannot be used: {reason}."""


class ReasonUnusable(UserError):
    """A reason has 1 to {most} characters on one line: whom it concerns reads it."""


@dataclass(frozen=True, slots=True)
class Denial:
    """what: a room's name, or a key. Times are Unix seconds; until: inf if for good.

    notice: the name of the file in `notices/` that it was asked for with; empty if by ourselves.
    """

    what: str
    reason: str
    since: float
    until: float = math.inf
    notice: str = ""
    lifted: float | None = None

    def stands(self, unix: float) -> bool:
        return self.lifted is None and self.since <= unix < self.until


def standing(denials: Iterable[Denial], unix: float) -> dict[str, str]:
    """What is denied at that time, and why."""
    return {each.what: each.reason for each in denials if each.stands(unix)}


def denied(denials: list[Denial], denial: Denial) -> list[Denial]:
    """With one more; the oldest that stand no more make room. Raises ReasonUnusable."""
    if not 0 < len(denial.reason) <= REASON_CHARS_MAX or not denial.reason.isprintable():
        raise ReasonUnusable(most=REASON_CHARS_MAX)
    kept = [each for each in denials if each.stands(denial.since)]
    gone = [each for each in denials if not each.stands(denial.since)]
    room_left = max(0, DENIALS_MAX - 1 - len(kept))
    return [*gone[len(gone) - min(len(gone), room_left) :], *kept, denial]


def lifted(denials: list[Denial], what: str, unix: float) -> list[Denial]:
    """With all that stands against it lifted. Raises NotDenied."""
    if what not in standing(denials, unix):
        raise NotDenied(what=what)
    return [
        replace(each, lifted=unix) if each.what == what and each.stands(unix) else each
        for each in denials
    ]


def keys_of(denied: Iterable[str]) -> frozenset[bytes]:
    """Those of what is denied that are a person's `uid`, 64 digits, or a device's PeerId."""
    found = set()
    for what in denied:
        try:
            found.add(bytes.fromhex(what) if len(what) == 64 else device_of_peer_id(what))
        except ValueError:  # the name of a room
            continue
    return frozenset(found)


@dataclass(frozen=True, slots=True)
class Account:
    """What was decided within some time."""

    denied: int
    on_notice: int
    lifted: int
    standing: int  # at its end


def account(denials: Iterable[Denial], begin: float, end: float) -> Account:
    denials = list(denials)
    begun = [each for each in denials if begin <= each.since < end]
    return Account(
        denied=len(begun),
        on_notice=sum(bool(each.notice) for each in begun),
        lifted=sum(each.lifted is not None and begin <= each.lifted < end for each in denials),
        standing=sum(
            each.since < end <= min(each.until, each.lifted or math.inf) for each in denials
        ),
    )


# ── the file ─────────────────────────────────────────────────────────────────────────────────


def read(home: Path) -> list[Denial]:
    """Raises DenialsDamaged."""
    path = home / FILE_NAME
    try:
        if path.stat().st_size > FILE_BYTES_MAX:
            raise DenialsDamaged(path=path, reason="it is too large")
        return [_denial(each) for each in json.loads(path.read_bytes())]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise DenialsDamaged(path=path, reason=error.strerror) from error
    except (ValueError, TypeError, KeyError) as error:
        raise DenialsDamaged(path=path, reason="it is not what was written") from error


def write(home: Path, denials: Iterable[Denial]) -> None:
    rows = [_row(each) for each in denials]
    write_atomically(home / FILE_NAME, json.dumps(rows, ensure_ascii=False, indent=1).encode())


class DenialWatch:
    """Tells a running relay when what is denied is something else than before."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._written: int | None = None  # when the file that was read last was written
        self._denials: list[Denial] = []
        self._standing: dict[str, str] = {}

    def changed(self, unix: float) -> dict[str, str] | None:
        """What is denied now, and why; None if that is as it was. Raises DenialsDamaged."""
        path = self._home / FILE_NAME
        written = path.stat().st_mtime_ns if path.exists() else None
        if written != self._written:
            self._written = written
            self._denials = read(self._home)
        found = standing(self._denials, unix)
        if found == self._standing:
            return None
        self._standing = found
        return found


def _row(denial: Denial) -> dict[str, object]:
    """JSON has no infinity."""
    return asdict(denial) | {"until": None if math.isinf(denial.until) else denial.until}


def _denial(row: Mapping[str, Any]) -> Denial:
    given = {each.name: row[each.name] for each in fields(Denial)}
    texts = [given[name] for name in ("what", "reason", "notice")]
    times = [given["since"], given["until"] or 0, given["lifted"] or 0]
    if not all(isinstance(each, str) for each in texts):
        raise ValueError
    if not all(isinstance(each, int | float) for each in times):
        raise ValueError
    return Denial(**given | {"until": math.inf if given["until"] is None else given["until"]})


def keep_notice(home: Path, path: Path, *, name: str) -> str:
    """A copy of the notice under that name in the home; the name. Raises NoticeUnreadable."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise NoticeUnreadable(path=path, reason=error.strerror) from error
    if len(data) > NOTICE_BYTES_MAX:
        raise NoticeUnreadable(path=path, reason=f"it has more than {NOTICE_BYTES_MAX:,} bytes")
    folder = home / NOTICES
    folder.mkdir(mode=0o700, exist_ok=True)
    write_atomically(folder / name, data)
    return name
