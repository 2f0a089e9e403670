"""A voice from mouth to ear in virtual time: a clock that speaks, a network, an ear that ticks.

Time is a number that only a loop here moves, chance comes from a seed, and a run replays exactly.
The delay of a sound is from when its first sample is spoken, 20 ms before the tick that sends it,
to when it is heard, at the tick that plays it.
"""

import math
import random
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Generic, NamedTuple, Protocol, TypeVar

import numpy as np

from p2phouse.vocabulary import FRAME_S, FRAME_SAMPLES, SAMPLE_RATE_HZ, Frame, Ssrc, VoiceId
from p2phouse.voice import packet
from p2phouse.voice.incoming import IncomingVoice
from p2phouse.voice.outgoing import OutgoingVoice
from p2phouse.voice.playout import Playout
from p2phouse.voice.seal import SealKey, open_sealed

PacketT = TypeVar("PacketT")

SID, SSRC, KID, BASE = VoiceId(bytes(16)), Ssrc(0xCAFEF00D), 0x73, bytes(range(16))
STALL_TICKS: Final = 5  # engine.py: so many ticks late and they are skipped, else made up for
PHASE_S: Final = 0.013  # of the ear's ticks against the mouth's: anything from 0 to 20 ms
LIKENESS_MIN: Final = 0.6  # of half a second said and heard; Opus alone gives 0.8 and more
SILENCE: Final[Frame] = np.zeros(FRAME_SAMPLES, np.float32)

# ── the network ──────────────────────────────────────────────────────────────────────────────────


class Hold(NamedTuple):
    """Now and then nothing gets through for a while; then all that waited comes at once."""

    each_s: float  # from one to the next, on average
    from_s: float
    to_s: float


@dataclass(frozen=True, slots=True)
class Conditions:
    """What a network does to packets. The names below are for life, so that results compare."""

    delay_s: float  # one way, undisturbed
    jitter_s: float = 0.0  # deviation of what comes on top; three of them at most (RFC 8868)
    loss: float = 0.0
    lost_in_a_row: float = 1.0  # mean length of a loss in packets; 1.0: each by itself
    holds: tuple[Hold, ...] = ()


STEADY: Final = Conditions(0.030)

# Jitter: the Gaussian of 5 ms cut at 15 that RFC 8868 recommends. Holds: a home with a mesh of
# access points had 1 % of its round trips above 90 ms over 24 hours (S. Sarode, "Why every home
# needs a Wi-Fi mesh: statistical analysis", 2022).
GOOD_WIFI: Final = Conditions(0.010, 0.005, loss=0.001, holds=(Hold(5.0, 0.030, 0.090),))

# Delay and jitter: the 4G of Loadero's network conditions (45 and 15 ms), which agrees with up to
# two HARQ retransmissions of 8 ms (Lipovac et al., EURASIP J. Wireless Com. 2021). Holds: a
# hand-over in LTE breaks for 50-90 ms, and a walk of 7 minutes saw 3 gaps above 400 ms (M. Sauter,
# wirelessmoves.com, "OTT voice observations", parts 3 and 4).
WEAK_4G: Final = Conditions(
    0.045, 0.015, loss=0.01, lost_in_a_row=2.0,
    holds=(Hold(20.0, 0.050, 0.090), Hold(140.0, 0.400, 0.450)),
)  # fmt: skip

# Many on one access point with a long queue. Holds: power saving and queues on 2.4 GHz stop a
# station for 120 ms to 1 s (blog.cerowrt.org, "Anomalies thus far"); one access point alone had 1 %
# of its round trips above 500 ms (Sarode, as above). Loss: the middle of RFC 8868's 0 to 20 %, in
# runs, since a full queue drops its neighbours too.
HOTEL: Final = Conditions(
    0.030, 0.020, loss=0.05, lost_in_a_row=2.5, holds=(Hold(10.0, 0.120, 0.500),)
)


class Network:
    """Carries packets in the order in which they are sent, as a queue does."""

    def __init__(
        self,
        conditions: Conditions = STEADY,
        *,
        seed: int = 0,
        stalls: Sequence[tuple[float, float]] = (),
    ) -> None:
        """stalls: (when, how long) nothing gets through, besides the conditions' own holds."""
        self._conditions = conditions
        self._rng = random.Random(seed)
        self._losing = False
        self._arrived_s = -math.inf
        self._stalls = [(start_s, start_s + length_s) for start_s, length_s in stalls]
        self._next_holds = [self._rng.expovariate(1 / hold.each_s) for hold in conditions.holds]

    def carry(self, sent_s: float) -> float | None:
        """When a packet sent now arrives; None: never."""
        for n, hold in enumerate(self._conditions.holds):
            while self._next_holds[n] < sent_s:
                start_s = self._next_holds[n]
                length_s = self._rng.uniform(hold.from_s, hold.to_s)
                self._stalls.append((start_s, start_s + length_s))
                self._next_holds[n] += length_s + self._rng.expovariate(1 / hold.each_s)
        if self._loses():
            return None
        arrives_s = sent_s + self._conditions.delay_s + self._jitter_s()
        for start_s, end_s in self._stalls:
            if start_s <= arrives_s < end_s:
                arrives_s = end_s
        self._arrived_s = max(self._arrived_s, arrives_s)
        return self._arrived_s

    def _jitter_s(self) -> float:
        deviation_s = self._conditions.jitter_s
        return min(abs(self._rng.gauss(0.0, deviation_s)), 3 * deviation_s) if deviation_s else 0.0

    def _loses(self) -> bool:
        """Two states, losing and not (Gilbert): the mean run and the share lost are as told."""
        loss, run = self._conditions.loss, self._conditions.lost_in_a_row
        if run <= 1.0:
            return self._rng.random() < loss
        leave = 1 / run
        enter = leave * loss / (1 - loss)
        chance = self._rng.random()
        self._losing = chance >= leave if self._losing else chance < enter
        return self._losing


# ── the mouth ────────────────────────────────────────────────────────────────────────────────────


class Sent(NamedTuple):
    """A packet as playout is given it; `data` is the same, sealed, as it goes over a link."""

    at_s: float
    seq: int
    counter: int
    marker: bool
    opus: bytes
    data: bytes


def speak(
    frames: Iterable[Frame | None], *, sealed: bool = False, ppm: float = 0.0, loss_pct: int = 0
) -> list[Sent]:
    """What OutgoingVoice sends for these frames, the first at 0 s. None: muted for this tick.

    sealed: every tick sends a packet (no DTX). ppm: how much too slow the mouth's clock is.
    """
    key = SealKey(KID, BASE)
    keys = {KID: (SealKey(KID, BASE),)}
    voice = OutgoingVoice(SID, entropy=bytes)
    voice.set(SSRC, key, muted=False, sealed=sealed)
    voice.set_loss(loss_pct)
    sent = []
    for n, frame in enumerate(frames):
        if voice.muted != (frame is None):
            voice.set(SSRC, key, muted=frame is None, sealed=sealed)
        data = voice.next_packet(frame)
        if data is not None:
            parsed = packet.parse(data)
            opened = open_sealed(keys, parsed.payload)
            at_s = n * FRAME_S * (1 + ppm / 1e6)
            sent.append(
                Sent(at_s, parsed.seq, opened.counter, parsed.marker, opened.plaintext, data)
            )
    return sent


def click(amplitude: float = 0.5) -> Frame:
    """A frame that begins with 10 ms of a dying tone of 1 kHz."""
    at = np.arange(FRAME_SAMPLES) / SAMPLE_RATE_HZ
    shape = np.exp(-at / 0.002) * (at < 0.010)
    return np.asarray(amplitude * np.cos(2 * np.pi * 1_000 * at) * shape, np.float32)


# ── the ear ──────────────────────────────────────────────────────────────────────────────────────


class Voice(Protocol):
    def pull(self, now_s: float) -> Frame: ...
    def skip(self, ticks: int) -> None: ...


class Ear(Generic[PacketT]):
    """Hears one voice: receives packets, pulls a frame each tick, now and then stands still.

    Ticks are run as engine.py runs them. After a stall packets and ticks are both due: asyncio
    reads a socket once in each round of its loop, and DTLS takes rounds of its own.
    """

    def __init__(
        self,
        voice: Voice,
        receive: Callable[[float, PacketT], object],
        *,
        phase_s: float = PHASE_S,
        stalls: Sequence[tuple[float, float]] = (),
        reads_first: bool = False,
    ) -> None:
        """stalls: (when, how long) the process stands still.

        reads_first: of packet and tick that are both due the packet has its turn; else the tick.
        """
        self.heard: list[Frame] = []  # one for each tick of its clock, zeros for a skipped one
        self._voice = voice
        self._receive = receive
        self._phase_s = phase_s
        self._stalls = sorted(stalls)
        self._reads_first = reads_first
        self._waiting: deque[tuple[float, PacketT]] = deque()
        self._ticks = 0  # run or skipped
        self._now_s = -math.inf

    def listen(self, arrivals: Iterable[tuple[float, PacketT]], *, until_s: float) -> None:
        """Run every tick that is due before `until_s`. May be called again with later arrivals."""
        waiting = self._waiting
        waiting.extend(sorted(arrivals, key=lambda arrival: arrival[0]))
        while self._due_s < until_s:
            next_s = min(self._due_s, waiting[0][0]) if waiting else self._due_s
            now_s = self._now_s = self._awake_s(max(self._now_s, next_s))
            packet_due, tick_due = bool(waiting) and waiting[0][0] <= now_s, self._due_s <= now_s
            if packet_due and (self._reads_first or not tick_due):
                self._receive(now_s, waiting.popleft()[1])
            else:
                self._tick(now_s)

    @property
    def sound(self) -> np.ndarray:
        return np.concatenate(self.heard) if self.heard else np.zeros(0, np.float32)

    @property
    def _due_s(self) -> float:
        return self._phase_s + self._ticks * FRAME_S

    def _awake_s(self, now_s: float) -> float:
        for start_s, length_s in self._stalls:
            if start_s <= now_s < start_s + length_s:
                return start_s + length_s
        return now_s

    def _tick(self, now_s: float) -> None:
        behind = int((now_s - self._due_s) / FRAME_S + 1e-9)
        if behind >= STALL_TICKS:
            self._voice.skip(behind)
            self.heard += [SILENCE] * behind
            self._ticks += behind
        self.heard.append(self._voice.pull(now_s))
        self._ticks += 1

    # ── what was heard when ──────────────────────────────────────────────────────────────────

    def part(self, from_s: float, to_s: float) -> np.ndarray:
        """What was heard between two times of the virtual clock."""
        start, end = (round((at - self._phase_s) * SAMPLE_RATE_HZ) for at in (from_s, to_s))
        before = np.zeros(max(0, -start), np.float32)
        return np.concatenate([before, self.sound[max(0, start) : max(0, end)]])

    def click_delay_s(self, frame: int, *, within_s: float = 0.5) -> float:
        """How long after it was spoken the click in the mouth's frame `frame` was heard."""
        spoken_s = (frame - 1) * FRAME_S
        window = np.abs(self.part(spoken_s, spoken_s + within_s))
        assert window.max() > 0.05, f"no click of frame {frame}"
        return int(np.argmax(window > window.max() / 3)) / SAMPLE_RATE_HZ

    def delay_s(self, said: np.ndarray, at_s: float, *, window_s: float = 0.5) -> float | None:
        """How long after it was spoken the sound of this window was heard; None: not found.

        said: what the mouth was given from its first frame on.
        """
        start = round(at_s * SAMPLE_RATE_HZ)
        pattern = said[start : start + round(window_s * SAMPLE_RATE_HZ)].astype(np.float64)
        spoken_s = at_s - FRAME_S
        window = self.part(spoken_s, spoken_s + window_s + 0.8).astype(np.float64)
        size = 1 << (len(pattern) + len(window)).bit_length()
        spectrum = np.conj(np.fft.rfft(pattern, size)) * np.fft.rfft(window, size)
        fit = np.fft.irfft(spectrum, size)[: len(window) - len(pattern) + 1]
        energy = np.concatenate([[0.0], np.cumsum(window**2)])
        loudness = np.sqrt(np.maximum(energy[len(pattern) :] - energy[: -len(pattern)], 1e-9))
        likeness = fit / loudness / max(1e-9, float(np.linalg.norm(pattern)))
        best = int(np.argmax(likeness))
        return best / SAMPLE_RATE_HZ if likeness[best] > LIKENESS_MIN else None


def arrivals(sent: Iterable[Sent], network: Network) -> list[tuple[float, Sent]]:
    """What of it comes through, and when."""
    carried = [(network.carry(each.at_s), each) for each in sent]
    return [(at_s, each) for at_s, each in carried if at_s is not None]


def ear_of(
    voice: Playout | IncomingVoice,
    *,
    phase_s: float = PHASE_S,
    stalls: Sequence[tuple[float, float]] = (),
    reads_first: bool = False,
) -> Ear[Sent]:
    def receive(now_s: float, sent: Sent) -> None:
        if isinstance(voice, Playout):
            voice.receive(now_s, sent.seq, sent.counter, sent.marker, sent.opus)
        else:
            voice.receive(now_s, sent.data)

    return Ear(voice, receive, phase_s=phase_s, stalls=stalls, reads_first=reads_first)


def incoming() -> IncomingVoice:
    voice = IncomingVoice(SSRC)
    voice.set_keys([SealKey(KID, BASE)])
    return voice
