"""When to play which packet: one frame per tick, in order, as late as the network makes it.

The frame's counter is the clock. `due` is the counter that the next tick plays; it moves on by
one per tick, so a lost packet costs nothing but itself. Delay changes only by moving `due` by
more or less than one: unheard in a pause, else by an inserted (grown) or a quiet, dropped frame.
docs/adr/0004-own-playout.md tells why this is not a library.
"""

import math
from collections import deque
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from p2phouse.vocabulary import FRAME_S, FRAME_SAMPLES, Frame
from p2phouse.voice.jitter import Jitter
from p2phouse.voice.opus import Decoder, NotOpus, carries_fec
from p2phouse.voice.stretch import PERIOD_MAX, Stretch

QUEUE_MAX: Final = 64  # 1.28 s; a full queue drops its oldest packet
AHEAD_MAX: Final = 50  # a second ahead of what is due: the voice's clock jumped, start afresh
FEC_MARGIN_S: Final = FRAME_S  # a lost frame stands in its follower, so that must be here as well
GROW_S: Final = 0.005  # too little delay by less than this is left alone: the estimate's noise
LACK_TICKS: Final = 25  # half a second of too little delay is no noise, and speech is stretched
GROW_NOW_S: Final = FRAME_S  # past this more packets come late than we accept: do not wait
SLACK_S_MIN: Final = 0.001  # a whole frame too much, and this much more, and delay may shrink:
SLACK_S_MAX: Final = 0.004  # less would move it to and fro with the estimate's noise
HOLD_TICKS: Final = 4  # 80 ms; after 5 ticks without a packet play on where the clock stands
WAKE_FRAMES: Final = 10  # 200 ms: the beginning of a word is worth that delay until the next pause
VERY_LATE_S: Final = 5 * FRAME_S  # more than four frames late: louder frames may go
HURRY_EACH: Final = 2  # of two frames one is shortened, by 2.5 to 15 ms; very late: of one
TOO_LATE_S: Final = 0.2  # any frame may: a tone or music has no quiet ones, and clocks drift
QUIET: Final = 10 ** (-20 / 10)  # power, relative to the voice's recent peak
QUIET_VERY_LATE: Final = 10 ** (-8 / 10)
PEAK_DECAY: Final = 0.995  # per frame; 1.1 dB a second
SILENT_TICKS: Final = 64  # three of Opus' noise refreshes (each 0.4 s) missed: it is mute, not DTX
LATE_TICK_S: Final = 0.010  # a tick this late found packets that had waited for us

SILENCE: Final[Frame] = np.zeros(FRAME_SAMPLES, np.float32)
SILENCE.flags.writeable = False  # it is handed to many
UNKNOWN: Final = -1
PASSED_OVER_MAX: Final = 16  # of a voice's audits the newest: 5 s, longer than any hole in speech
_SEQ_MASK: Final = 0xFFFF
_SEQ_HALF: Final = 0x8000


@dataclass(slots=True)
class Stats:
    """Frames since the voice began, and how the buffer stands now."""

    played: int = 0  # from their own packet
    recovered: int = 0  # from the copy in the following packet
    concealed: int = 0  # lost by seq and invented; a gap of DTX is not among them
    late: int = 0  # packets that came after their time
    grown: int = 0  # frames inserted into speech
    dropped: int = 0  # quiet frames left out
    slowed: int = 0  # frames by which delay grew without that, by time-stretch
    hurried: int = 0  # and by which it shrank
    skipped: int = 0  # frames consumed while we stood still
    crowded_out: int = 0  # packets dropped from a full queue
    broken: int = 0  # packets that did not hold 20 ms of Opus
    buffered_us: int = 0  # how long the packet played last had waited
    jitter_us: int = 0  # from the fastest packet to the latest worth waiting for


class _Queued(NamedTuple):
    seq: int
    marker: bool
    opus: bytes
    arrived_s: float


class Playout:
    """One voice's jitter buffer and decoder. Packets come opened and free of duplicates."""

    def __init__(self) -> None:
        self.stats = Stats()
        self._decoder = Decoder()
        self._stretch = Stretch()
        self._jitter = Jitter()
        self._queue: dict[int, _Queued] = {}
        self._passed_over: deque[int] = deque(maxlen=PASSED_OVER_MAX)
        self._started = False
        self._due = 0
        self._decided = -1  # up to this counter all is played or given up; `due` is above it
        self._consumed = -1  # up to this counter it was our own stall that gave it up
        self._last_counter = 0  # of the packet decoded last
        self._last_seq = UNKNOWN
        self._recovered_since = 0  # frames recovered since that packet
        self._starved = 0  # ticks in a row without anything to play
        self._late_ticks = 0  # ticks, since a packet was played, at which all that came was late
        self._tick_s = -math.inf
        self._peak = 0.0  # the voice's recent peak, energy of a frame
        self._quiet = True  # the last frame played was
        self._stiff = False  # it could not be stretched
        self._lacked = 0  # frames in a row that came with too little delay
        self._hurried_ago = 0  # frames of too much delay since one was last shortened

    def receive(self, now_s: float, seq: int, counter: int, marker: bool, opus: bytes) -> None:
        """Take one packet. now_s: when it came, on the clock that pull() is given."""
        self._jitter.hear(now_s, now_s - counter * FRAME_S, marker)
        if counter <= self._decided:
            if counter <= self._consumed:
                self.stats.skipped += 1
            else:
                self.stats.late += 1
            return
        if len(self._queue) >= QUEUE_MAX:
            del self._queue[min(self._queue)]
            self.stats.crowded_out += 1
        self._queue[counter] = _Queued(seq, marker, opus, now_s)

    def pass_over(self, seq: int) -> None:
        """A packet of this voice came that holds no frame: its place in seq is no loss."""
        self._passed_over.append(seq)

    def pull(self, now_s: float) -> Frame:
        """The frame of this tick; never waits, never raises. Do not write into it.

        Ticks may come late, but each must come; those that fell out are told to skip() first.
        """
        self._keep_time(now_s)
        if not self._started:
            if not self._queue:
                return SILENCE
            self._start()
        if self._stretch.spare < FRAME_SAMPLES:
            self._go_on()
        else:  # a whole frame was won by stretching: what is due may come a tick later
            self.stats.slowed += 1
        return self._stretch.give()

    def skip(self, ticks: int) -> None:
        """Our own ticks fell out: their frames are gone, and nobody's jitter rises for it."""
        self._jitter.stall()
        self._tick_s += ticks * FRAME_S
        if not self._started:
            return
        self._stretch.clear()
        self._last_seq = UNKNOWN
        self._due += ticks
        self.stats.skipped += self._drop_passed()

    # ── time ─────────────────────────────────────────────────────────────────────────────────

    def _keep_time(self, now_s: float) -> None:
        """Follow the ticks' own schedule: a late tick is no later frame."""
        if self._tick_s == -math.inf:
            self._tick_s = now_s
        else:
            # Earlier at once, later by half a millisecond a tick: drift passes, stumbles do not.
            self._tick_s = min(now_s, self._tick_s + FRAME_S + 0.0005)
        if now_s - self._tick_s > LATE_TICK_S:
            self._jitter.stall()
        self._jitter.settle(now_s)

    def _room_s(self) -> float:
        """How much longer the frame due now has waited than it need; negative: too little."""
        wait_for_s = self._jitter.wait_for_s
        if wait_for_s is None:
            return 0.0
        return self._tick_s - self._due * FRAME_S - wait_for_s - FEC_MARGIN_S

    def _slack_s(self) -> float:
        """What the estimate may be wrong by: more on a network that is less even."""
        return min(SLACK_S_MAX, SLACK_S_MIN + self._jitter.spread_s / 4)

    def _clock_stand(self, transit_s: float) -> int:
        """The counter that should be due at this tick if packets take this long."""
        return math.floor((self._tick_s - transit_s - FEC_MARGIN_S) / FRAME_S)

    def _start(self) -> None:
        """Place the first packet on the clock."""
        first = min(self._queue)
        transit_s = self._queue[first].arrived_s - first * FRAME_S
        self._due = min(first, self._clock_stand(transit_s))
        self._started = True

    def _start_afresh(self) -> None:
        """The voice's clock jumped, or the way did: what we know of them is of no use."""
        self._jitter.forget()
        self._start()

    def _catch_up(self, first: int) -> None:
        """Packets came after their tick, nothing newer was played: hear them late, or not."""
        behind = self._due - first
        if max(self._queue) < self._due:
            self._late_ticks += 1
        waking = self._queue[first].marker and behind <= WAKE_FRAMES
        room_s = self._room_s()
        stumbled = self._starved <= HOLD_TICKS and (behind > 1 or room_s < 0)
        lacking = behind * FRAME_S <= FRAME_S - room_s  # delay is to grow by that much in any case
        if self._late_ticks > 1:
            # After a stall the newest packet is in time. If it is not, twice, then the way has
            # grown longer for good, or the voice's machine slept and its clock stood still.
            self._start_afresh()
        elif waking or stumbled or lacking:
            self.stats.grown += 0 if waking else behind
            self._due = first
        else:
            self.stats.late += self._drop_passed()

    # ── the three things a tick can find ─────────────────────────────────────────────────────

    def _go_on(self) -> None:
        """Decode a frame, or more, for this tick."""
        if self._queue:
            first = min(self._queue)
            if first < self._due:
                self._catch_up(first)
            elif first - self._due > AHEAD_MAX:
                self._start_afresh()
        if not self._queue:
            self._stretch.take(self._starve())
            return
        self._starved = 0
        first = min(self._queue)
        if first == self._due:
            self._play()
        else:
            self._stretch.take(self._cross_gap(first))

    def _play(self) -> None:
        """The packet due is here."""
        room_s = self._room_s()
        lacks, urgent = room_s < -GROW_S, room_s < -GROW_NOW_S
        self._lacked = self._lacked + 1 if lacks else 0
        if lacks and (self._quiet or (urgent and self._stiff)):
            self.stats.grown += 1
            self._stretch.take(self._conceal())
            return
        frame = self._decode_due()
        self._stretch.take(frame)
        if urgent or self._lacked > LACK_TICKS:
            self._stiff = not self._stretch.lengthen()
        elif not lacks:
            self._shrink(frame, room_s)

    def _shrink(self, frame: Frame, room_s: float) -> None:
        """Take out what delay is too much: a quiet frame, else periods, else what is not loud."""
        spare = self._stretch.spare - FRAME_SAMPLES
        surplus = room_s >= FRAME_S + self._slack_s() and self._due in self._queue
        if self._quiet and surplus:
            self._leave_out()
        elif self._quiet and spare:
            self._stretch.cut(spare)
        elif surplus or spare:
            each = HURRY_EACH if room_s <= VERY_LATE_S else 1
            self._hurried_ago += 1
            if self._hurried_ago < each:
                return
            if self._stretch.shorten(PERIOD_MAX if surplus else spare):
                self._hurried_ago = 0
            elif surplus and self._may_drop(frame, room_s):
                self._leave_out()
            if self._stretch.spare < FRAME_SAMPLES:
                self.stats.hurried += 1
                self._stretch.take(self._decode_due())

    def _leave_out(self) -> None:
        """Of this frame and the next one is heard."""
        self.stats.dropped += 1
        self.stats.played -= 1
        self._stretch.take(self._decode_due())
        self._stretch.cut(FRAME_SAMPLES)

    def _cross_gap(self, first: int) -> Frame:
        """The packet due is not here, but a later one is: it was lost, late, or never sent."""
        follower = self._queue[first]
        if not self._was_sent(first, follower):
            # In a pause nobody hears that delay shrinks: all that is too much goes at once.
            surplus = int(max(0.0, self._room_s() - self._slack_s()) / FRAME_S)
            self._pass_by(min(1 + surplus, first - self._due))
            return self._conceal()
        recoverable = self._due == first - 1 and carries_fec(follower.opus)
        self._pass_by(1)
        return self._recover(follower.opus) if recoverable else self._conceal()

    def _starve(self) -> Frame:
        """Nothing is here: the sender pauses, or the network does. The next packet will tell."""
        self._starved += 1
        self._due += 1
        if self._jitter.stalled:  # it lies unread: our fault, and to wait would make it last
            self._decided = self._consumed = self._due - 1
        return SILENCE if self._starved > SILENT_TICKS else self._conceal()

    # ── frames ───────────────────────────────────────────────────────────────────────────────

    def _decode_due(self) -> Frame:
        """Take the packet due out of the queue, and count what was lost before it."""
        packet = self._queue.pop(self._due)
        if self._last_seq != UNKNOWN:
            lost = self._lost_before(self._due, packet.seq)
            self.stats.concealed += max(0, lost - self._recovered_since)
        self._last_counter, self._last_seq = self._due, packet.seq
        self._recovered_since = self._late_ticks = 0
        self._pass_by(1)
        try:
            frame = within_full_scale(self._decoder.decode(packet.opus))
        except NotOpus:
            self.stats.broken += 1
            return self._conceal()
        self._follow(frame)
        self.stats.played += 1
        self.stats.buffered_us = int(max(0.0, self._tick_s - packet.arrived_s) * 1e6)
        self.stats.jitter_us = int(self._jitter.spread_s * 1e6)
        return frame

    def _recover(self, follower: bytes) -> Frame:
        try:
            frame = within_full_scale(self._decoder.recover(follower))
        except NotOpus:
            return self._conceal()
        self._follow(frame)
        self.stats.recovered += 1
        self._recovered_since += 1
        return frame

    def _conceal(self) -> Frame:
        return within_full_scale(self._decoder.conceal())

    def _follow(self, frame: Frame) -> None:
        """Follow the voice's loudness."""
        energy = float(frame @ frame)
        self._peak = max(energy, self._peak * PEAK_DECAY)
        self._quiet = energy <= self._peak * QUIET

    def _may_drop(self, frame: Frame, room_s: float) -> bool:
        if room_s > TOO_LATE_S:
            return True
        return room_s > VERY_LATE_S and float(frame @ frame) <= self._peak * QUIET_VERY_LATE

    def _pass_by(self, frames: int) -> None:
        self._due += frames
        self._decided = self._due - 1

    def _drop_passed(self) -> int:
        """Take the packets that are no longer due out of the queue; how many they were."""
        passed = [counter for counter in self._queue if counter < self._due]
        for counter in passed:
            del self._queue[counter]
        return len(passed)

    def _lost_before(self, counter: int, seq: int) -> int:
        """Packets sent since the last decoded that are missing: at most one per frame between."""
        lost = (seq - self._last_seq - 1) & _SEQ_MASK
        lost -= sum((seq - other - 1) & _SEQ_MASK < lost for other in self._passed_over)
        # The seal does not cover seq: one that runs backwards says nothing about loss.
        return min(lost, counter - self._last_counter - 1) if lost < _SEQ_HALF else 0

    def _was_sent(self, first: int, follower: _Queued) -> bool:
        """Whether a packet was sent for the frame due, told by seq and marker of the next one."""
        if self._last_seq == UNKNOWN:
            return not follower.marker and self._due == first - 1
        hole = first - self._last_counter - 1
        lost = self._lost_before(first, follower.seq)
        at = self._due - self._last_counter - 1
        # A hole part lost, part DTX: before a marker nothing was sent, else the loss adjoins it.
        return at < lost if follower.marker else at >= hole - lost


def within_full_scale(frame: Frame) -> Frame:
    """The frame, what of it lies beyond full scale cut off. May write into it."""
    energy = float(frame @ frame)
    # Security: crafted packets decode to samples of thousands, and concealment carries them on;
    # the limiter would turn everybody else down for seconds. Not `energy >= ...`: NaN is not.
    # Test: test_playout.py::test_a_decoder_gone_mad_is_kept_within_full_scale
    if not energy < math.inf:
        frame.fill(0.0)
    elif energy > 1.0:  # a single sample beyond full scale has that much
        np.clip(frame, -1.0, 1.0, out=frame)
    return frame
