"""What the two ends of one link tell each other beside voices: that it lives, and how well it does.

Plain RTCP in and out; link/ puts SRTCP round it. A link is silent when neither a voice nor a
keepalive comes; what follows from that is repair.py's. Formats: rtcp.py, docs/protocol.md §6.
"""

from math import inf
from typing import Final, Protocol

from p2phouse.carry.rtcp import (
    BLOCKS_MAX,
    Block,
    ControlKind,
    Keepalive,
    Report,
    Request,
    SenderInfo,
    decode,
    encode_keepalive,
    encode_report,
    encode_request,
)
from p2phouse.vocabulary import SAMPLE_RATE_HZ, Entropy, Ssrc
from p2phouse.voice.packet import (
    HEADER_BYTES,
    PT_OPUS,
    SEQ_MODULUS,
    TIMESTAMP_MODULUS,
    NotAPacket,
    parse,
)

# A voice fell silent when the packet 20 ms after its last does not go. Half a frame later it is no
# mere lateness, and whoever hears its tick only then still says so within the 20 ms after.
VOICE_GAP_S: Final = 0.030
KEEPALIVE_S: Final = 0.200
# At each tick, though ticks come a little early or late: at the next but one the other end might
# already take it for a death. Ticks are 20 ms apart.
KEEPALIVE_HURRIED_S: Final = 0.015
REPORT_S: Final = 1.0

VOICES_MAX: Final = BLOCKS_MAX - 1  # one block is the link's own
VOICE_S_MAX: Final = 10.0  # a voice unheard for so long is counted afresh when it returns
DROPOUT_PACKETS_MAX: Final = 3_000  # RFC 3550 §A.1: a greater leap is a new start, no loss
MISORDER_PACKETS_MAX: Final = 100
RTT_S_MAX: Final = 10.0  # what measures longer was answered by somebody who cannot count
LOSS_SMOOTHING: Final = 1 / 4  # one loss in a second of 50 packets is 20 ‰: listen for 4 s

_CLOCK_HZ: Final = 1 << 16
_U32: Final = 1 << 32


class Timed(Protocol):
    """A packet of a voice, of ours or of a browser's."""

    @property
    def payload_type(self) -> int: ...
    @property
    def seq(self) -> int: ...
    @property
    def timestamp(self) -> int: ...


class Reception:
    """One voice as this link brings it: loss by RFC 3550 §A.3, jitter by §A.8.

    Without the probation of §A.1: whoever sends here has proved himself to SRTP.
    """

    def __init__(self, now_s: float, packet: Timed) -> None:
        self._first = self._highest = packet.seq  # highest: with its wraps above 16 bits
        self._received = 0
        self._expected_told = self._received_told = 0  # in the last report
        self._transit: int | None = None
        self._jitter_16 = 0  # sixteenfold, so that integers are fine enough
        self.hear(now_s, packet)

    @property
    def jitter(self) -> int:
        return self._jitter_16 >> 4

    def hear(self, now_s: float, packet: Timed) -> None:
        self.heard_s = now_s
        self.fresh = True  # since the last report
        ahead = (packet.seq - self._highest) % SEQ_MODULUS
        if ahead < DROPOUT_PACKETS_MAX:
            self._highest += ahead
        elif ahead <= SEQ_MODULUS - MISORDER_PACKETS_MAX:
            self._first = self._highest = packet.seq
            self._received = self._expected_told = self._received_told = 0
        self._received += 1
        if packet.payload_type == PT_OPUS:
            self._hear_transit(int(now_s * SAMPLE_RATE_HZ) - packet.timestamp)

    def block(self, ssrc: Ssrc) -> Block:
        """What came since the last call. LSR stays 0: a voice sends no SR, the link does."""
        self.fresh = False
        expected = self._highest - self._first + 1
        expected_now = expected - self._expected_told
        lost_now = max(0, expected_now - (self._received - self._received_told))
        self._expected_told, self._received_told = expected, self._received
        return Block(
            ssrc,
            # Below 256, since a leap that is expected was made by a packet that was received.
            fraction_lost=lost_now * 256 // expected_now if lost_now else 0,
            lost=expected - self._received,
            highest_seq=self._highest % _U32,
            jitter=self.jitter,
        )

    def _hear_transit(self, transit: int) -> None:
        if self._transit is not None:
            apart = (transit - self._transit) % TIMESTAMP_MODULUS
            apart = min(apart, TIMESTAMP_MODULUS - apart)
            self._jitter_16 += apart - (self._jitter_16 + 8 >> 4)
        self._transit = transit


class LinkControl:
    """One end of one link. Tell it what goes and comes; call `tick` at `deadline`."""

    def __init__(self, entropy: Entropy) -> None:
        self.rtt_us = 0  # as last measured; 0 if not yet
        self._ssrc = Ssrc(int.from_bytes(entropy(4)))  # of our reports, not of any voice
        # Zero of the clock in our reports. Chance, because that of the machine would tell since
        # when it runs, and so which links are of one machine.
        self._clock_zero = int.from_bytes(entropy(4))
        self._said_s = -inf  # when a voice or keepalive last went out
        self._said_voice = False
        self._said_quiet = True
        self._quiet = True
        self._is_standby = False
        self._report_due_s = -inf
        self._packets = self._octets = 0
        self._voices: dict[Ssrc, Reception] = {}
        self._peer_ssrc = Ssrc(0)
        self._peer_clock: int | None = None  # in its last SR
        self._peer_heard_s = 0.0
        self._loss: float | None = None

    @property
    def loss_permille(self) -> int:
        """The other end's loss of what we send, over some seconds; 0 if it has not told."""
        return round(1_000 * (self._loss or 0.0))

    @property
    def jitter_us(self) -> int:
        """Of the worst of the voices that come, as RFC 3550 smooths it."""
        jitter = max((voice.jitter for voice in self._voices.values()), default=0)
        return jitter * 1_000_000 // SAMPLE_RATE_HZ

    @property
    def deadline(self) -> float:
        """Call tick() at this time; a voice going out moves it. In the past until the first."""
        return min(self._keepalive_due_s, self._report_due_s)

    def sent_voice(self, now_s: float, packet: bytes) -> None:
        """A packet of a voice went out. Called for each sink, so it only notes."""
        self._said_s = now_s
        self._said_voice = True
        self._packets += 1
        self._octets += len(packet) - HEADER_BYTES

    def sent_voices(self, last_s: float, packets: int, octets: int) -> None:
        """Several went out since the last call; the last of them at `last_s`."""
        self._said_s = max(self._said_s, last_s)
        self._said_voice = True
        self._packets += packets
        self._octets += octets

    def received_voice(self, now_s: float, packet: bytes) -> None:
        """A packet of a voice came in, duplicate or not. What is malformed is not counted here."""
        try:
            parsed = parse(packet)
        except NotAPacket:
            return
        voice = self._voices.get(parsed.ssrc)
        if voice is not None:
            voice.hear(now_s, parsed)
            return
        if len(self._voices) >= VOICES_MAX:
            # One report has space for so many. The voice unheard for longest makes room, so a
            # flood of made-up ones spoils no figures but those of its own link.
            del self._voices[min(self._voices, key=lambda ssrc: self._voices[ssrc].heard_s)]
        self._voices[parsed.ssrc] = Reception(now_s, parsed)

    def receive(self, now_s: float, data: bytes) -> Keepalive | Request | None:
        """An RTCP datagram came: its message, or None if it only reports. Raises PeerError."""
        decoded = decode(data)
        if not isinstance(decoded, tuple):
            return decoded
        for report in decoded:
            if report.sender is not None:
                self._peer_ssrc, self._peer_clock = report.ssrc, report.sender.clock
                self._peer_heard_s = now_s
            self._hear_blocks(now_s, report.blocks)
        return None

    def tick(
        self,
        now_s: float,
        *,
        quiet: bool,
        epoch: int,
        is_standby: bool = False,
        carries: bool = False,
    ) -> list[bytes]:
        """The datagrams that are due.

        quiet: nobody talks whose voice this link would carry. epoch: of our table.
        is_standby: the other end is the standby of ours, and must notice our end at once.
        carries: some voice goes to this link by our table, unasked.
        """
        self._quiet, self._is_standby = quiet, is_standby
        datagrams = []
        if now_s >= self._keepalive_due_s:
            self._said_s, self._said_voice, self._said_quiet = now_s, False, quiet
            datagrams.append(encode_keepalive(self._ssrc, Keepalive(quiet, epoch, carries)))
        if now_s >= self._report_due_s:
            self._report_due_s = now_s + REPORT_S
            datagrams.append(encode_report(self._report(now_s)))
        return datagrams

    def request(self, kind: ControlKind, epoch: int, *, altogether: bool = False) -> bytes:
        """The datagram of a PULL, PUSH or RELEASE."""
        assert kind is not ControlKind.KEEPALIVE
        return encode_request(self._ssrc, Request(kind, epoch, altogether))

    @property
    def _keepalive_due_s(self) -> float:
        if self._said_voice:
            return self._said_s + VOICE_GAP_S
        # Who said that somebody talks owes a next keepalive soon, or one that is quiet.
        hurried = self._is_standby or not (self._quiet and self._said_quiet)
        return self._said_s + (KEEPALIVE_HURRIED_S if hurried else KEEPALIVE_S)

    def _report(self, now_s: float) -> Report:
        """Always an SR: "issued if a site has sent any data packets" (RFC 3550 §6.4), but the time
        there and back is wanted of quiet links too, since forwarders are chosen by it."""
        blocks = []
        if self._peer_clock is not None:
            since = int((now_s - self._peer_heard_s) * _CLOCK_HZ)
            blocks.append(
                Block(self._peer_ssrc, lsr=self._peer_clock, dlsr=max(0, min(since, _U32 - 1)))
            )
        gone = [s for s, v in self._voices.items() if now_s - v.heard_s > VOICE_S_MAX]
        for ssrc in gone:
            del self._voices[ssrc]
        blocks += [voice.block(ssrc) for ssrc, voice in self._voices.items() if voice.fresh]
        sender = SenderInfo(self._clock(now_s), self._packets % _U32, self._octets % _U32)
        return Report(self._ssrc, sender, tuple(blocks))

    def _hear_blocks(self, now_s: float, blocks: tuple[Block, ...]) -> None:
        fractions = [block.fraction_lost / 256 for block in blocks if block.ssrc != self._ssrc]
        if fractions:
            mean = sum(fractions) / len(fractions)
            before = mean if self._loss is None else self._loss
            self._loss = before + (mean - before) * LOSS_SMOOTHING
        for block in blocks:
            if block.ssrc == self._ssrc and block.lsr:
                # RFC 3550 §6.4.1: A - LSR - DLSR, all in the middle 32 bits, modulo 2^32.
                rtt = (self._clock(now_s) - block.lsr - block.dlsr) % _U32
                if rtt <= RTT_S_MAX * _CLOCK_HZ:
                    self.rtt_us = max(1, rtt * 1_000_000 // _CLOCK_HZ)

    def _clock(self, now_s: float) -> int:
        """What stands for NTP's middle 32 bits: a clock that only measures differences. Never 0,
        which as LSR would mean that no SR came."""
        return (int(now_s * _CLOCK_HZ) + self._clock_zero) % _U32 or 1
