"""Who of a crowd got which packets: lost, duplicated, reordered, for each listener and voice.

Counted by the clear RTP header, for many listeners in one call: arrays, no object per packet.
All listeners of a room at one process of the relay are sent the same seqs (carry/slots.py), so what
one of them got says what all should have. Pure.
"""

from dataclasses import dataclass
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

Number = TypeVar("Number", np.int64, np.bool_)
Numbers = NDArray[np.int64]

SEQ_MODULUS: Final = 65_536
SEEN_PACKETS: Final = (
    64  # bits of what is known: one later than that counts as lost, it is of no use
)
MARK_AHEAD: Final = 5  # a count begins with a packet that nobody has yet: 100 ms ahead
NEVER: Final = -1
OPEN: Final = 1 << 62


@dataclass(frozen=True, slots=True)
class Counts:
    """Packets since the mark. expected = received + lost. silent: listeners who got nothing."""

    expected: int
    received: int
    lost: int
    duplicated: int
    reordered: int
    silent: int
    lost_worst: int  # of one listener

    @property
    def loss(self) -> float:
        """0 to 1."""
        return self.lost / self.expected if self.expected else 0.0


class Tally:
    """Tell it what came by `add`; `mark` begins a count, `close` ends it, `counts` says it."""

    def __init__(self, listeners_max: int, voices: int, groups: int = 1) -> None:
        """groups: of listeners who are sent the same."""
        self._voices = voices
        self._group = np.zeros(listeners_max, np.int64)
        size = listeners_max * voices
        self._first = np.full(size, NEVER, np.int64)
        self._last = np.full(size, NEVER, np.int64)
        self._seen = np.zeros(size, np.uint64)  # bit n: the n-th before the last
        self._received = np.zeros(size, np.int64)
        self._duplicated = np.zeros(size, np.int64)
        self._reordered = np.zeros(size, np.int64)
        self._is_in = np.zeros(listeners_max, bool)  # who is counted
        # By group and voice.
        self._highest = np.full(groups * voices, NEVER, np.int64)  # that anybody has
        self._begin = np.zeros(groups * voices, np.int64)
        self._end = np.full(groups * voices, OPEN, np.int64)

    def place(self, row: int, group: int) -> None:
        """Of a listener, before anything of his comes."""
        self._group[row] = group

    def add(self, rows: Numbers, voices: Numbers, seqs: Numbers) -> Numbers:
        """One packet of each of these listeners, no listener twice; who of them got his first."""
        said = self._group[rows] * self._voices + voices
        numbers = self._numbers(said, seqs)
        at = rows * self._voices + voices
        last = self._last[at]
        is_first = last == NEVER
        ahead = np.where(is_first, SEEN_PACKETS, numbers - last)
        is_newer = ahead > 0
        forward = np.clip(ahead, 0, SEEN_PACKETS - 1).astype(np.uint64)
        back = np.clip(-ahead, 0, SEEN_PACKETS - 1).astype(np.uint64)
        seen, one = self._seen[at], np.uint64(1)
        moved = np.where(ahead < SEEN_PACKETS, seen << forward, np.uint64(0)) | one
        is_late = ahead <= -SEEN_PACKETS
        is_again = ~is_newer & ~is_late & ((seen >> back) & one == one)
        self._seen[at] = np.where(is_newer, moved, np.where(is_late, seen, seen | (one << back)))
        self._last[at] = np.where(is_newer, numbers, last)
        self._first[at[is_first]] = numbers[is_first]
        counts = (numbers >= self._begin[said]) & (numbers <= self._end[said])
        self._received[at] += counts & ~is_again & ~is_late & (numbers >= self._first[at])
        self._duplicated[at] += counts & is_again
        self._reordered[at] += counts & ~is_newer & ~is_again
        firsts: Numbers = rows[is_first]
        return firsts

    def mark(self, rows: Numbers) -> None:
        """A count begins, of these listeners alone; who comes later is not among them."""
        self._is_in[:] = False
        self._is_in[rows] = True
        self._begin = np.where(self._highest == NEVER, 0, self._highest + MARK_AHEAD)
        self._end[:] = OPEN
        for counted in (self._received, self._duplicated, self._reordered):
            counted[:] = 0

    def close(self) -> None:
        """What is spoken from now on is not counted; what was may still be on its way."""
        self._end = self._highest.copy()

    def counts(self) -> Counts:
        is_spoken = (self._highest != NEVER) & (self._end >= self._begin)
        first = self._table(self._first)[self._is_in]
        group = self._group[self._is_in]
        begin = np.maximum(first, self._table(self._begin)[group])
        end = self._table(self._end)[group]
        expected = np.maximum(0, np.where(self._table(is_spoken)[group], end - begin + 1, 0))
        received = self._table(self._received)[self._is_in]
        lost = expected - received
        worst = int(lost.sum(axis=1).max()) if len(lost) else 0
        return Counts(
            expected=int(expected.sum()),
            received=int(received.sum()),
            lost=int(lost.sum()),
            duplicated=int(self._table(self._duplicated)[self._is_in].sum()),
            reordered=int(self._table(self._reordered)[self._is_in].sum()),
            silent=int((received.sum(axis=1) == 0).sum()) if is_spoken.any() else 0,
            lost_worst=worst,
        )

    def _table(self, counted: NDArray[Number]) -> NDArray[Number]:
        return counted.reshape(-1, self._voices)

    def _numbers(self, said: Numbers, seqs: Numbers) -> Numbers:
        """Seqs as numbers that do not wrap, the same for all listeners of a group. said: of which
        group and voice each is."""
        for voice in np.unique(said[self._highest[said] == NEVER]):
            # One turn up, so that what comes out of order before the first is no negative number.
            self._highest[voice] = seqs[said == voice][0] + SEQ_MODULUS
        highest = self._highest[said]
        half = SEQ_MODULUS // 2
        numbers = highest + (seqs - highest + half) % SEQ_MODULUS - half
        np.maximum.at(self._highest, said, numbers)
        return numbers
