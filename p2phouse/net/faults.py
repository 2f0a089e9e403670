"""Bad input from the network: counted by name, logged once a name, and its sender cut at last.

Nothing a stranger sends may fill a disk with log lines, so a name is logged when first seen and
at each power of ten; the counts are for tests, `stats` and the curious.
"""

import logging
import os
import traceback
from collections import Counter, OrderedDict
from typing import Final

from p2phouse.errors import LinkError, PeerError
from p2phouse.vocabulary import DeviceKey, key_short

log = logging.getLogger(__name__)

BAD_A_MINUTE_MAX: Final = 100  # an honest peer with a fault of ours sends a handful
BAN_S: Final = 600.0
OFFENDERS_MAX: Final = 1_024  # remembered; the longest silent is forgotten first
DETAIL_CHARS_MAX: Final = 120


def is_worth_a_line(count: int) -> bool:
    """Whether the count-th of a kind is logged: the first, and each power of ten."""
    return count in (1, 10, 100, 1_000) or count % 10_000 == 0


def cause(error: BaseException) -> str:
    """What lies at the bottom of an error, in a few words without addresses, keys or PeerIds.

    libp2p's and zeroconf's own texts hold all three, and a stranger chooses when they appear.
    """
    error = _innermost(error)
    if isinstance(error, LinkError | PeerError):
        return str(error)
    if isinstance(error, OSError) and error.errno is not None:
        return os.strerror(error.errno).lower()
    return type(error).__name__


def place(error: BaseException) -> str:
    """Where in the source an unexpected error was raised, for whoever must mend it."""
    frames = traceback.extract_tb(_innermost(error).__traceback__)
    return f"{os.path.basename(frames[-1].filename)}:{frames[-1].lineno}" if frames else "-"


def _innermost(error: BaseException) -> BaseException:
    inner: BaseException | None = error
    while inner is not None:
        error = inner
        inner = error.exceptions[0] if isinstance(error, BaseExceptionGroup) else error.__cause__
    return error


class Faults:
    """Counters by name, and each peer's bad input of the last minute."""

    def __init__(self) -> None:
        self.counters: Counter[str] = Counter()
        self._bad: OrderedDict[DeviceKey, tuple[float, int]] = OrderedDict()
        self._banned_until: OrderedDict[DeviceKey, float] = OrderedDict()

    def count(
        self, name: str, detail: str | BaseException = "", *, dev: DeviceKey | None = None
    ) -> None:
        """One bad thing called `name`. detail: for the log; never an address, a key or content."""
        self.counters[name] += 1
        seen = self.counters[name]
        if is_worth_a_line(seen):
            peer = key_short(dev) if dev else "-"
            text = cause(detail) if isinstance(detail, BaseException) else detail
            log.warning(
                "bad_input kind=%s count=%d peer=%s detail=%r",
                name,
                seen,
                peer,
                text[:DETAIL_CHARS_MAX],
            )

    def blame(self, now_mono: float, dev: DeviceKey) -> bool:
        """Books one piece of bad input to a proved peer; True if it is now banned."""
        since, count = self._bad.pop(dev, (now_mono, 0))
        if now_mono - since > 60.0:
            since, count = now_mono, 0
        self._bad[dev] = (since, count + 1)
        while len(self._bad) > OFFENDERS_MAX:
            self._bad.popitem(last=False)
        if count + 1 < BAD_A_MINUTE_MAX:
            return False
        del self._bad[dev]
        self._banned_until[dev] = now_mono + BAN_S
        while len(self._banned_until) > OFFENDERS_MAX:
            self._banned_until.popitem(last=False)
        log.warning("peer_banned peer=%s seconds=%d", key_short(dev), BAN_S)
        return True

    def is_banned(self, now_mono: float, dev: DeviceKey) -> bool:
        until = self._banned_until.get(dev)
        return until is not None and now_mono < until
