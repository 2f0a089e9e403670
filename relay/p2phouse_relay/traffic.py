"""What a relay has sent this month, in all and on whose account, and how much it may.

A month is the calendar's in UTC. It ends once the clock has said so for a while, and no clock that
leaps, back or ahead, gives a month anew: what was counted is only ever added to. A file of the home
keeps it, so that neither a restart nor a crash forgives what was sent.
"""

import json
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from p2phouse.errors import UserError
from p2phouse.identity.keyfile import write_atomically
from p2phouse.vocabulary import Now

FILE_NAME: Final = "traffic.json"
GB: Final = 1_000_000_000
BELIEVED_S: Final = 3_600.0  # a clock that was set wrongly is mostly put right within
ACCOUNTS_MAX: Final = 1_000  # of more those that were sent least are forgotten
FILE_BYTES_MAX: Final = 256 * 1024


class TrafficDamaged(UserError):
    """{path} cannot be read ({reason}), so what was sent this month is not known. Restore it from a
    backup, or remove it: the month then counts from zero."""


@dataclass(slots=True)
class Traffic:
    """month: as 2026-05; empty before anything was counted. gb_max: in all, gb_each_max: of one
    account; 0: as much as there is."""

    gb_max: int = 0
    gb_each_max: int = 0
    month: str = ""
    octets: int = 0
    of: Counter[bytes] = field(default_factory=Counter)
    left: str = ""  # the month before which the clock was put back: it is none anew when it comes
    _other: str = ""  # a month that the clock has said since then instead
    _other_since: float = 0.0

    def add(self, now: Now, octets: int, of: bytes | None = None) -> None:
        """Sent now. of: on whose account, of which the whole has been told already."""
        self._turn(now)
        if of is None:
            self.octets += octets
        elif self.gb_each_max:  # else it is nobody's business who had how much
            self.of[of] += octets
            if len(self.of) > ACCOUNTS_MAX:
                self.of = Counter(dict(self.of.most_common(ACCOUNTS_MAX)))

    def _turn(self, now: Now) -> None:
        said = datetime.fromtimestamp(max(0.0, now.unix), UTC).strftime("%Y-%m")
        if said == self.month or not self.month:
            self.month, self._other = said, ""
        elif said != self._other:
            self._other, self._other_since = said, now.mono
        elif now.mono - self._other_since >= BELIEVED_S:
            if said > self.month and said != self.left:
                self.octets = 0
                self.of.clear()
            self.left = self.month if said < self.month else ""
            self.month, self._other = said, ""

    def used(self) -> tuple[int, int]:
        """How much, and how much it may be; the latter 0 for any."""
        return self.octets, self.gb_max * GB

    def used_of(self, account: bytes) -> tuple[int, int]:
        return self.of[account], self.gb_each_max * GB

    def written(self) -> bytes:
        of = {key.hex(): octets for key, octets in self.of.items()}
        told = {"month": self.month, "octets": self.octets, "of": of, "left": self.left}
        return json.dumps(told).encode()


def read(home: Path) -> Traffic:
    """Without what it may. Raises TrafficDamaged."""
    path = home / FILE_NAME
    try:
        if path.stat().st_size > FILE_BYTES_MAX:
            raise TrafficDamaged(path=path, reason="it is too large")
        told = json.loads(path.read_bytes())
        of = Counter({bytes.fromhex(key): int(octets) for key, octets in told["of"].items()})
        octets = int(told["octets"])
        if min(0, octets, *of.values()) < 0:
            raise ValueError(octets)
        return Traffic(
            month=str(told["month"]), octets=octets, of=of, left=str(told.get("left", ""))
        )
    except FileNotFoundError:
        return Traffic()
    except OSError as error:
        raise TrafficDamaged(path=path, reason=error.strerror) from error
    except (
        ArithmeticError,
        AttributeError,
        LookupError,
        RecursionError,
        TypeError,
        ValueError,
    ) as error:
        raise TrafficDamaged(path=path, reason="it is not what was written") from error


def write(home: Path, written: bytes) -> None:
    """Raises FileNotWritten."""
    write_atomically(home / FILE_NAME, written)
