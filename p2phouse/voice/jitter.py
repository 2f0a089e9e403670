"""How late the packets of one voice come, so that playout knows how long to wait for them.

Transit is arrival time minus the frame's own time (counter × 20 ms). Its zero is arbitrary, since
sender and receiver share no clock; only differences between transits mean anything. What says
nothing about the network must stay out: our own stalls, and the moment in which a sender wakes.
"""

from bisect import bisect_left, insort
from collections import deque
from typing import Final

WINDOW_PACKETS: Final = 150  # 3 s of speech
AGE_S_MAX: Final = 10.0  # across pauses: clocks drift 1 ms in it, Wi-Fi roams about as often
LATE_PER_HUNDRED: Final = 3  # packets given up so that the rest need not wait for them
SPREAD_S_MAX: Final = 0.6  # past this a talk cannot be kept up: later packets count as lost
BURST_PACKETS: Final = 3  # more than this between two ticks: one stall, not so many late packets
IDLE_S: Final = 1.0  # Opus refreshes its background noise each 0.4 s: longer means mute or idle
WAKING_PACKETS: Final = 5  # 100 ms in which a sender catches up with its own start


class Jitter:
    """The transits of the last seconds and the quantile of them that is worth waiting for."""

    def __init__(self) -> None:
        self.wait_for_s: float | None = None  # transit of the latest packet worth waiting for
        self.stalled = False  # we stood still until this tick or the last: packets may lie unread
        self._window: deque[tuple[float, float]] = deque()  # (arrival, transit), in order
        self._sorted: list[float] = []
        self._pending: list[float] = []  # since the last tick; at most one burst
        self._waking = 0
        self._heard_s = -AGE_S_MAX
        self._stalled_ticks = 0  # of the ticks to come, those that take in nothing

    @property
    def spread_s(self) -> float:
        """From the fastest packet to the latest that is waited for; 0.0 if nothing is known."""
        return 0.0 if self.wait_for_s is None else self.wait_for_s - self._sorted[0]

    def hear(self, now_s: float, transit_s: float, marker: bool) -> None:
        """One packet came. It counts from the next tick on, unless that tick finds a stall."""
        idle = now_s - self._heard_s > IDLE_S
        self._heard_s = now_s
        if marker and idle:
            self._waking = WAKING_PACKETS
        if self._waking:
            # The first packets after idle are late by the sender's own start (60-135 ms seen):
            # taken for jitter they would keep the whole spurt late.
            self._waking -= 1
            if self.wait_for_s is None or transit_s > self.wait_for_s:
                return
        self._pending.append(transit_s)
        if len(self._pending) > BURST_PACKETS:
            # Only the ends of a burst are kept, so the list stays short and a stall of the
            # network weighs as much as one late packet. If stalls are the rule, they add up.
            self._pending = [max(self._pending), min(self._pending), transit_s]

    def stall(self) -> None:
        """We stood still: what came since the last tick, and comes until the next, lay waiting."""
        self._stalled_ticks = 2  # a socket is read packet by packet, with ticks in between

    def settle(self, now_s: float) -> None:
        """The tick: take in what came since the last one."""
        self.stalled = self._stalled_ticks > 0
        if self.stalled:
            self._stalled_ticks -= 1
            self._pending.clear()
        if not self._pending:
            return
        window, ordered = self._window, self._sorted
        for transit_s in self._pending:
            window.append((now_s, transit_s))
            insort(ordered, transit_s)
        self._pending.clear()
        oldest_s = now_s - AGE_S_MAX
        while len(window) > WINDOW_PACKETS or window[0][0] < oldest_s:
            del ordered[bisect_left(ordered, window.popleft()[1])]
        count = len(ordered)
        given_up = -(-count * LATE_PER_HUNDRED // 100)  # rounded up
        latest = ordered[max(0, count - 1 - given_up)]
        self.wait_for_s = min(latest, ordered[0] + SPREAD_S_MAX)

    def forget(self) -> None:
        """Start afresh: the voice's clock has jumped."""
        self._window.clear()
        self._sorted.clear()
        self._pending.clear()
        self.wait_for_s = None
