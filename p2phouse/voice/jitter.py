"""How late the packets of one voice come, so that playout knows how long to wait for them.

Transit is arrival time minus the frame's own time (counter × 20 ms). Its zero is arbitrary, since
sender and receiver share no clock; only differences between transits mean anything. What says
nothing about the network must stay out: our own stalls, and the moment in which a sender wakes.

A histogram of transits forgets a little with each packet and with each pause, and its 97th
hundredth is waited for: the idea of NetEQ's DelayManager (WebRTC; also S. Moon, J. Kurose and
D. Towsley, "Packet audio playout delay adjustment", Multimedia Systems 6, 1998, which has the
spikes too). Transits are absolute here, so a clock that drifts moves the bins that it fills.
"""

import math
from collections import deque
from typing import Final

import numpy as np

from p2phouse.vocabulary import FRAME_S

BIN_S: Final = 0.001
BINS: Final = 768  # a little more than SPREAD_S_MAX
FORGETTING: Final = 0.99  # per packet; as certain as a window of (1 + f) / (1 - f) = 199 of them
NEEDED_S: Final = FRAME_S  # what came later than so much before the latest that is waited for,
UNNEEDED_S: Final = 1.5  # needed that wait. Without such for so long, forget twice as fast
PAUSE_S: Final = 3.0  # without packets all weights fall to 1/e: the way may be another then
AGE_S_MAX: Final = 10.0  # and after so long nothing is known: Wi-Fi roams about as often
FORGOTTEN: Final = 0.05  # of a packet: after 300 more it is no longer the fastest
LATE: Final = 0.02  # of all weight, and one packet: given up, so that the rest need not wait for
SPREAD_S_MAX: Final = 0.6  # past this a talk cannot be kept up: later packets count as lost
BURST_PACKETS: Final = 3  # more than this between two ticks: one stall, not so many late packets
BURST_END: Final = 0.1  # of a packet's weight: a modem that only sends bursts has a fastest too
IDLE_S: Final = 1.0  # Opus refreshes its background noise each 0.4 s: longer means mute or idle
STALLED_TICKS: Final = 2  # a socket is read packet by packet, with ticks in between;
STALLED_S: Final = 0.015  # and ticks that are made up for come all at once
WAKING_PACKETS: Final = 5  # 100 ms in which a sender catches up with its own start

# Stalls that come again and again are waited for. By ITU-T G.107 (2015) 190 ms more delay, from 90
# to 280, cost 16 points of R, and so do 2.8 % of packets lost in bursts: two stalls of 190 ms
# in 12 s. So a delay is worth it if it saves twice its length; and three stalls make a rule.
PEAK_S: Final = 0.1  # beyond the histogram's answer: less is bridged and caught up (playout.py)
SAME_PEAK_S: Final = 0.3  # what one stall held back may come in parts
PEAK_WORTH: Final = 2.0
PEAKS_MIN: Final = 3
PEAK_AGE_S: Final = 12.0
PEAK_WAIT_S_MAX: Final = 0.25  # a longer stall is not worth the delay that would bridge it
PEAKS_MAX: Final = 32

_GAIN_MAX: Final = 1e9


class Jitter:
    """What was learned of transits, and the one that is worth waiting for."""

    def __init__(self) -> None:
        self.wait_for_s: float | None = None  # transit of the latest packet worth waiting for
        self.stalled = False  # we stood still until this tick or the last: packets may lie unread
        self._fastest_s = 0.0
        self._usual_s = 0.0  # the spread without regard to stalls
        self._weights = np.zeros(BINS)
        self._latest = np.zeros(BINS)  # the highest transit in a bin
        self._origin = 0  # of bins counted from transit 0, the one that comes first here
        self._gain = 1.0  # the newest packet's weight: it grows, in place of the others' fall
        self._taken_s = -math.inf
        self._needed_s = -math.inf
        self._peaks: deque[tuple[float, float]] = deque(maxlen=PEAKS_MAX)  # when, how high
        self._pending: list[float] = []  # since the last tick; at most one burst
        self._burst = False
        self._waking = 0
        self._heard_s = -AGE_S_MAX
        self._stalled_ticks = 0  # of the ticks to come, those that take in nothing
        self._stalled_until_s = -math.inf

    @property
    def spread_s(self) -> float:
        """From the fastest packet to the latest that is waited for; 0.0 if nothing is known."""
        return 0.0 if self.wait_for_s is None else self.wait_for_s - self._fastest_s

    def hear(self, now_s: float, transit_s: float, marker: bool) -> None:
        """One packet came. It counts from the next tick on, unless that tick finds a stall."""
        idle = now_s - self._heard_s > IDLE_S
        self._heard_s = now_s
        is_late = self.wait_for_s is None or transit_s > self.wait_for_s
        if marker and idle:
            self._waking = WAKING_PACKETS
        if self._waking:
            # The first packets after idle are late by the sender's own start (60-135 ms seen):
            # taken for jitter they would keep the whole spurt late.
            self._waking -= 1
            if is_late:
                return
        elif marker and is_late and self.wait_for_s is not None:
            return  # a radio that slept through a pause wakes for the first packet after it
        self._pending.append(transit_s)
        if len(self._pending) > BURST_PACKETS:
            # Only the ends of a burst are kept, so the list stays short and a stall of the
            # network weighs as much as one late packet. If stalls are the rule, they add up.
            self._pending = [max(self._pending), transit_s]
            self._burst = True

    def stall(self) -> None:
        """We stood still: what came since the last tick, and comes until the next, lay waiting."""
        self._stalled_ticks = STALLED_TICKS

    def settle(self, now_s: float) -> None:
        """The tick: take in what came since the last one."""
        if self._stalled_ticks == STALLED_TICKS:
            self._stalled_until_s = now_s + STALLED_S
        self.stalled = self._stalled_ticks > 0 or now_s < self._stalled_until_s
        if self.stalled:
            self._stalled_ticks = max(0, self._stalled_ticks - 1)
            self._pending.clear()
            self._burst = False
        if not self._pending:
            return
        if self._burst and self.wait_for_s is not None:
            self._note_peak(now_s, self._pending[0] - self._fastest_s)
        self._forget_a_pause(now_s)
        highest_s = max(self._pending)
        if self.wait_for_s is None or highest_s > self.wait_for_s - NEEDED_S:
            self._needed_s = now_s
        by = FORGETTING if now_s - self._needed_s < UNNEEDED_S else FORGETTING**2
        for transit_s in self._pending[: 1 if self._burst else None]:
            self._gain /= by
            self._put(transit_s, self._gain)
        if self._burst:
            self._put(self._pending[-1], BURST_END * self._gain)
        self._pending.clear()
        self._burst = False
        self._judge(now_s)

    def forget(self) -> None:
        """Start afresh: the voice's clock has jumped."""
        self._weights.fill(0.0)
        self._gain = 1.0
        self._peaks.clear()
        self._pending.clear()
        self._burst = False
        self.wait_for_s = None

    def _forget_a_pause(self, now_s: float) -> None:
        pause_s = now_s - self._taken_s - FRAME_S
        self._taken_s = now_s
        if pause_s > AGE_S_MAX:
            self._weights.fill(0.0)
            self._gain = 1.0
        elif pause_s > 0.0:
            self._gain *= math.exp(pause_s / PAUSE_S)
        if self._gain > _GAIN_MAX:
            self._weights /= self._gain
            self._gain = 1.0

    def _put(self, transit_s: float, weight: float) -> None:
        at = math.floor(transit_s / BIN_S)
        n = at - self._origin
        if not 0 <= n < BINS:
            n = self._make_room(at)
        if self._weights[n] < FORGOTTEN * self._gain:
            self._weights[n], self._latest[n] = 0.0, transit_s
        self._weights[n] += weight
        self._latest[n] = max(self._latest[n], transit_s)

    def _make_room(self, at: int) -> int:
        """Move the bins so that this one is among them, or (all are in use) is the last."""
        known = np.flatnonzero(self._weights > FORGOTTEN * self._gain)
        lowest = min(at, self._origin + int(known[0])) if len(known) else at
        by = lowest - self._origin
        for bins in (self._weights, self._latest):
            moved = np.zeros(BINS)
            if 0 <= by < BINS:
                moved[: BINS - by] = bins[by:]
            elif -BINS < by < 0:
                moved[-by:] = bins[:by]
            bins[:] = moved
        self._origin = lowest
        return min(at - lowest, BINS - 1)

    def _judge(self, now_s: float) -> None:
        weights = self._weights
        lowest = int(np.argmax(weights > FORGOTTEN * self._gain))
        self._fastest_s = float(self._latest[lowest])
        above = np.cumsum(weights[::-1])
        given_up = (self._gain + LATE * float(above[-1])) * (1 + 1e-9)
        n = BINS - 1 - int(np.searchsorted(above, given_up, side="right"))
        wait_for_s = float(self._latest[max(n, lowest)])
        self._usual_s = wait_for_s - self._fastest_s
        spread_s = min(SPREAD_S_MAX, max(self._usual_s, self._peak_s(now_s)))
        # Not fastest + spread: what was heard is to be told to the last bit.
        self.wait_for_s = wait_for_s if spread_s == self._usual_s else self._fastest_s + spread_s

    def _note_peak(self, now_s: float, height_s: float) -> None:
        if height_s <= self._usual_s + PEAK_S:
            return
        if self._peaks and now_s - self._peaks[-1][0] < SAME_PEAK_S:
            height_s = max(height_s, self._peaks.pop()[1])
        self._peaks.append((now_s, height_s))

    def _peak_s(self, now_s: float) -> float:
        """How long to wait for the sake of stalls that keep coming; 0.0: not at all."""
        while self._peaks and self._peaks[0][0] < now_s - PEAK_AGE_S:
            self._peaks.popleft()
        best_s = worth_s = saved_s = 0.0
        heights = sorted(height_s for _, height_s in self._peaks if height_s <= PEAK_WAIT_S_MAX)
        for n, height_s in enumerate(heights, start=1):
            saved_s += height_s
            gained_s = saved_s - PEAK_WORTH * height_s
            if n >= PEAKS_MIN and gained_s > best_s:
                best_s, worth_s = gained_s, height_s
        return worth_s
