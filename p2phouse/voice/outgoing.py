"""Our own voice: one frame per tick in, at most one sealed packet out.

The counter is time: it moves on with every tick since the voice began, sent or not. The seq
counts packets. So the receiver tells silence (counter alone) from loss (both). Audits are packets
of the voice as well: of one tick the sealed frame goes first, then the audit if one is due.
"""

from typing import Final

from nacl.signing import SigningKey

from p2phouse.vocabulary import Entropy, Frame, Ssrc, VoiceId
from p2phouse.voice.audit import AuditWriter
from p2phouse.voice.level import SILENCE_DBOV, Talking, level_dbov
from p2phouse.voice.opus import DTX_BYTES_MAX, LOSS_PCT_MIN, Encoder
from p2phouse.voice.packet import (
    PT_AUDIT,
    PT_OPUS,
    SEQ_MODULUS,
    SEQ_START_MAX,
    Packet,
    build,
    timestamp_of,
)
from p2phouse.voice.seal import COUNTER_MAX, SealKey, seal

SEQ_BYTES: Final = 2
KEY_BYTES: Final = 32


class OutgoingVoice:
    """One run of one speaker's voice: `sid`, its counter and its encoder. Begins muted."""

    def __init__(self, sid: VoiceId, *, entropy: Entropy) -> None:
        self.sid = sid
        self.ssrc: Ssrc | None = None
        self.muted = True
        self.level = SILENCE_DBOV  # of the last frame sent, -dBov
        self.talking = False
        self.counter = 0  # of the next frame
        self._seq = int.from_bytes(entropy(SEQ_BYTES)) & SEQ_START_MAX
        # Security: made here, used here, and gone with the voice; control and disk never see it.
        self._audits = AuditWriter(SigningKey(entropy(KEY_BYTES)))
        self._key: SealKey | None = None
        self._encoder: Encoder | None = None
        self._sealed = False
        self._loss_pct = LOSS_PCT_MIN
        self._detector = Talking()
        self._spurt = False  # the tick before this one sent a packet

    @property
    def akey(self) -> bytes:
        """The public key that this voice's audits are checked with."""
        return self._audits.akey

    def set(self, ssrc: Ssrc, key: SealKey, *, muted: bool, sealed: bool) -> None:
        """Say who we are, what to seal with and whether to be heard; may be called at any tick.

        sealed: constant bitrate and no DTX, so that packet lengths and gaps tell nothing.
        """
        if muted or sealed != self._sealed:
            # A new encoder after each mute: nothing said before it can be heard after it.
            self._encoder = None
        self.ssrc, self._key, self.muted, self._sealed = ssrc, key, muted, sealed

    def set_loss(self, pct: int) -> None:
        """The loss our listeners report, in percent: more of it, more repetition."""
        self._loss_pct = pct
        if self._encoder is not None:
            self._encoder.set_loss(pct)

    def next_packet(self, frame: Frame | None) -> bytes | None:
        """The packet of this tick, or None if nothing is to be sent. Call once per tick.

        frame: None if there is no input.
        """
        counter = self.counter
        self.counter += 1
        opus = b"" if self.muted or frame is None else self._encode(frame)
        if self._key is None or self.ssrc is None or counter > COUNTER_MAX:
            opus = b""
        if len(opus) <= DTX_BYTES_MAX:
            self._spurt = False
            if self.muted or frame is None:
                self.level, self.talking = SILENCE_DBOV, self._detector.hear(SILENCE_DBOV)
            return None
        return self._seal(counter, opus)

    def carry(self, counter: int, opus: bytes, level: int) -> bytes | None:
        """The packet of a frame that was encoded elsewhere, of its time; None if none is to be
        sent. level: in -dBov, as whoever sent it says. Instead of `next_packet`; a time that has
        passed is passed over.
        """
        if counter < self.counter or counter > COUNTER_MAX:
            return None
        self._spurt = self._spurt and counter == self.counter
        self.counter = counter + 1
        if self.muted or self._key is None or len(opus) <= DTX_BYTES_MAX:
            self._spurt = False
            return None
        self.level, self.talking = level, self._detector.hear(level)
        return self._seal(counter, opus)

    def _seal(self, counter: int, opus: bytes) -> bytes:
        assert self._key is not None
        # Security: one owner per (key, counter). This counter is ours alone, only rises, and
        # starts at 0 once per sid, which is part of the key's base; the key checks it again.
        sframe = seal(self._key, counter, opus)
        self._audits.sent(counter, sframe)
        packet = self._build(PT_OPUS, counter, sframe, marker=not self._spurt)
        self._spurt = True
        return packet

    def next_audit(self) -> bytes | None:
        """The audit that follows this tick's packet, if one is due. Call once per tick, after it.

        Also while muted: it is about what was said before.
        """
        counter = self.counter - 1
        audit = self._audits.next_audit(counter)
        return None if audit is None else self._build(PT_AUDIT, counter, audit, marker=False)

    def _build(self, payload_type: int, counter: int, payload: bytes, *, marker: bool) -> bytes:
        assert self.ssrc is not None
        seq, self._seq = self._seq, (self._seq + 1) % SEQ_MODULUS
        return build(
            Packet(
                payload_type,
                marker,
                seq,
                timestamp_of(counter),
                self.ssrc,
                self.level,
                self.talking,
                payload,
            )
        )

    def skip(self, ticks: int) -> None:
        """Ticks fell out: time went on without frames."""
        self.counter += ticks
        self._spurt = False

    def _encode(self, frame: Frame) -> bytes:
        if self._encoder is None:
            self._encoder = Encoder(
                loss_pct=self._loss_pct, dtx=not self._sealed, constant=self._sealed
            )
        self.level = level_dbov(frame)
        self.talking = self._detector.hear(self.level)
        return self._encoder.encode(frame)
