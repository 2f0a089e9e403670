"""The voice of a guest who speaks among nodes: plain Opus in, packets of a member's voice out.

The frames stay as the guest encoded them; here they are sealed with the key of a member, in whose
name control has let the guest speak (docs/adr/0023). Of a browser's RTP time alone counts: the
counter that a frame is sealed with is its time since the voice began. Pure.
"""

from collections.abc import Iterator
from typing import Final

from p2phouse.vocabulary import FRAME_S, FRAME_SAMPLES, Entropy, Ssrc, VoiceId
from p2phouse.voice.opus import PACKET_BYTES_MAX, duration_us
from p2phouse.voice.outgoing import OutgoingVoice
from p2phouse.voice.packet import TIMESTAMP_MODULUS
from p2phouse.voice.plain import Plain
from p2phouse.voice.seal import SealKey

FRAME_US: Final = 20_000
LEAP_FRAMES_MAX: Final = 250  # 5 s: a greater leap of a sender's time is a new start, no pause
QUIET_S: Final = 0.1  # then nothing more of it is on its way, and time goes on without it


class GuestMouth:
    """Give it each packet of the guest, and call `tick` each 20 ms."""

    def __init__(self, now_s: float, sid: VoiceId, *, entropy: Entropy) -> None:
        self._voice = OutgoingVoice(sid, entropy=entropy)
        self._key: SealKey | None = None
        self._began_s = now_s
        self._stamp: int | None = None  # of the last packet that was in its time
        self._counter = -1  # that it was given
        self._heard_s = now_s
        self.refused = 0  # packets that are no frame of 20 ms, or too long

    @property
    def sid(self) -> VoiceId:
        return self._voice.sid

    @property
    def akey(self) -> bytes:
        return self._voice.akey

    def set(self, ssrc: Ssrc, kid: int, base: bytes, *, muted: bool) -> None:
        if self._key is None or (self._key.kid, self._key.base) != (kid, base):
            self._key = SealKey(kid, base)
        self._voice.set(ssrc, self._key, muted=muted, sealed=False)

    def receive(self, now_s: float, packet: Plain) -> Iterator[bytes]:
        """What goes to the room."""
        # A receiver's counter is frames of 20 ms: no other frame has a place in it.
        if duration_us(packet.payload) != FRAME_US or len(packet.payload) > PACKET_BYTES_MAX:
            self.refused += 1
            return
        self._heard_s = now_s
        sealed = self._voice.carry(self._time_of(now_s, packet), packet.payload, packet.level)
        yield from self._with_audit(sealed)

    def tick(self, now_s: float) -> Iterator[bytes]:
        """While the guest says nothing: the proofs of what was said before."""
        behind = int((now_s - QUIET_S - self._began_s) / FRAME_S) - self._voice.counter
        if now_s >= self._heard_s + QUIET_S and behind > 0:
            self._voice.skip(1)
            yield from self._with_audit(None)

    def _with_audit(self, sealed: bytes | None) -> Iterator[bytes]:
        if sealed is not None:
            yield sealed
        audit = self._voice.next_audit()
        if audit is not None:
            yield audit

    def _time_of(self, now_s: float, packet: Plain) -> int:
        """The frame's place in the voice's time."""
        frames = None
        if self._stamp is not None:
            apart = (packet.timestamp - self._stamp) % TIMESTAMP_MODULUS
            if apart >= TIMESTAMP_MODULUS // 2:
                apart -= TIMESTAMP_MODULUS
            frames = round(apart / FRAME_SAMPLES)
        if frames is None or abs(frames) > LEAP_FRAMES_MAX:
            # Where the clock stands, and never before what was sent.
            counter = max(self._voice.counter, int((now_s - self._began_s) / FRAME_S))
        else:
            counter = self._counter + frames
        if counter > self._counter:
            self._stamp, self._counter = packet.timestamp, counter
        return counter
