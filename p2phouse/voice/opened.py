"""Another's voice, opened: what a packet has to pass before anything is heard of it.

Nothing of a packet is believed before the seal is open, and nothing is remembered of one that
does not open: a forged packet must not keep out the true one with its numbers. What opens may
still be forged, by somebody else who holds the key: the voice's audits tell (audit.py).
What becomes of a frame is for others: incoming.py plays it, guest/ear.py gives it to guests.
"""

from collections.abc import Iterable
from typing import Final, NamedTuple

from p2phouse.errors import PeerError
from p2phouse.vocabulary import FRAME_S, Ssrc
from p2phouse.voice.audit import AuditReader
from p2phouse.voice.packet import PT_AUDIT, Packet, parse, timestamp_of
from p2phouse.voice.seal import COUNTER_MAX, KeyMissing, SealKey, open_sealed

KEYS_MAX: Final = 2  # this epoch's and the next's or last's
REPLAY_FRAMES: Final = 64  # 1.28 s: what comes later than this could not be played anyway
PACKETS_A_SECOND: Final = 60.0  # 50 frames, 3 audits, and a sender's clock that runs fast
PACKETS_BURST: Final = 300.0  # a network that stood still for seconds brings it all at once
TAKEN_PACKETS: Final = 64  # as long as the other of two ways may bring them again

_REPLAY_MASK: Final = (1 << REPLAY_FRAMES) - 1


class WrongVoice(PeerError):
    """A packet of voice {ssrc} was handed to another."""


class WrongTime(PeerError):
    """A packet's timestamp or counter is impossible: {reason}."""


class TooFast(PeerError):
    """More packets of one voice come than any voice has."""


class Heard(NamedTuple):
    """A good packet, for the first time. frame: Opus; None if it is an audit."""

    packet: Packet
    counter: int
    frame: bytes | None


class OpenedVoice:
    """Keys, replay window and audits of one voice. Call `tick` once per tick."""

    def __init__(self, ssrc: Ssrc) -> None:
        self.ssrc = ssrc
        self.key_missing = False  # the newest packet asked for a key that we do not hold
        self.duplicates = 0
        self._keys: dict[int, tuple[SealKey, ...]] = {}
        self._audits: AuditReader | None = None
        self._newest = -1  # highest counter opened
        self._seen = 0  # bit n: counter _newest - n was opened
        self._allowed, self._asked_s = PACKETS_BURST, 0.0
        self._taken: dict[int, bytes] = {}  # by seq, the oldest first: what was good

    @property
    def forged(self) -> bool:
        """Whether somebody else has spoken as this voice. It is not heard any more then."""
        return self._audits is not None and self._audits.forged

    @property
    def doubted(self) -> bool:
        """Whether too little of it is proved to be the speaker's. Until it is, it is not heard."""
        return self._audits is not None and self._audits.doubted

    def set_akey(self, akey: bytes) -> None:
        """The key that the voice's `speak` names; it never changes for one voice."""
        if self._audits is None:
            self._audits = AuditReader(akey)

    def set_keys(self, keys: Iterable[SealKey]) -> None:
        """Replace the keys, at most KEYS_MAX; two may share a KID."""
        by_kid: dict[int, tuple[SealKey, ...]] = {}
        count = 0
        for key in keys:
            by_kid[key.kid] = (*by_kid.get(key.kid, ()), key)
            count += 1
        assert count <= KEYS_MAX
        self._keys = by_kid

    def receive(self, now_s: float, data: bytes) -> Heard | None:
        """Take a packet; None if it was a duplicate or the voice is `forged`.

        Raises NotAPacket, WrongVoice, TooFast, KeyMissing (see also `key_missing`), Forged,
        WrongTime, and for an audit AuditRefused, Malformed, BadSignature.
        """
        packet = parse(data)
        if packet.ssrc != self.ssrc:
            raise WrongVoice(ssrc=packet.ssrc)
        if self.forged:
            return None
        # A hub and its standby may both bring a voice for a while. What is byte for byte a packet
        # that was good counts as nothing: else the pace would run out, and audits be refused until
        # an honest voice is taken for forged.
        if self._taken.get(packet.seq) == data:
            self.duplicates += 1
            return None
        # Security: before any key is used, or a member could have us open packets all day.
        # Test: test_incoming.py::test_300_packets_come_at_once_and_then_60_a_second
        if not self._is_paced(now_s):
            raise TooFast
        if packet.payload_type == PT_AUDIT:
            if self._audits is None:
                return None
            self._audits.receive(now_s, packet.payload)
            self._take(packet.seq, data)
            return Heard(packet, 0, None)
        try:
            opened = open_sealed(self._keys, packet.payload)
        except KeyMissing:
            self.key_missing = True
            raise
        # Security: open first, then mark as seen. Marking by the header's numbers alone would let
        # anybody on the way block a frame by sending rubbish under its number.
        # Test: test_incoming.py::test_a_forged_packet_does_not_block_the_true_one
        counter = opened.counter
        if counter > COUNTER_MAX:
            raise WrongTime(reason=f"counter {counter}")
        # Security: the header is not sealed; a timestamp that disagrees was changed on the way.
        if packet.timestamp != timestamp_of(counter):
            raise WrongTime(reason=f"timestamp {packet.timestamp} on counter {counter}")
        self.key_missing = False
        if not self._is_new(counter):
            self.duplicates += 1
            return None
        self._take(packet.seq, data)
        if self._audits is not None:
            self._audits.hear(now_s, counter, packet.payload)
        return Heard(packet, counter, opened.plaintext)

    def tick(self, now_s: float) -> None:
        """Judges what is due of the audits."""
        if self._audits is not None:
            self._audits.tick(now_s)

    def skip(self, ticks: int) -> None:
        """Our own ticks fell out."""
        if self._audits is not None:
            self._audits.skip(ticks * FRAME_S)

    def _take(self, seq: int, data: bytes) -> None:
        self._taken[seq] = data
        if len(self._taken) > TAKEN_PACKETS:
            del self._taken[next(iter(self._taken))]

    def _is_paced(self, now_s: float) -> bool:
        gained = max(0.0, now_s - self._asked_s) * PACKETS_A_SECOND
        self._allowed, self._asked_s = min(PACKETS_BURST, self._allowed + gained), now_s
        if self._allowed < 1.0:
            return False
        self._allowed -= 1.0
        return True

    def _is_new(self, counter: int) -> bool:
        """Whether this counter was not opened before; marks it. The sliding window of RFC 4303."""
        ahead = counter - self._newest
        if ahead > 0:
            # A leap of a window or more empties it; the shift must not make a huge number.
            self._seen = 1 if ahead >= REPLAY_FRAMES else (self._seen << ahead | 1) & _REPLAY_MASK
            self._newest = counter
            return True
        if -ahead >= REPLAY_FRAMES or self._seen >> -ahead & 1:
            return False
        self._seen |= 1 << -ahead
        return True
