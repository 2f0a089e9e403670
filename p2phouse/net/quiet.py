"""The logs of libp2p and zeroconf, which name whole addresses and PeerIds, reduced to counts.

A stranger can cause any number of their lines, and a person's log is for state, not for strangers.
"""

import logging
from collections import Counter

from p2phouse.net.faults import is_worth_a_line

log = logging.getLogger(__name__)


def quieten(library: str, level: int) -> None:
    """From `level` on, a library's lines are counted by their place in its source; no text of
    theirs is kept. Below it they are ordinary life."""
    logger = logging.getLogger(library)
    logger.propagate = False
    logger.setLevel(level)
    if not any(isinstance(handler, _Counting) for handler in logger.handlers):
        logger.addHandler(_Counting(level))


class _Counting(logging.Handler):
    def __init__(self, level: int) -> None:
        super().__init__(level)
        self._seen: Counter[tuple[str, int]] = Counter()

    def emit(self, record: logging.LogRecord) -> None:
        self._seen[record.name, record.lineno] += 1
        count = self._seen[record.name, record.lineno]
        if is_worth_a_line(count):
            log.info("library_error at=%s:%d count=%d", record.name, record.lineno, count)
