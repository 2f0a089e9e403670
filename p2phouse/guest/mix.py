"""A room of guests as one voice in WebM, for whoever has nothing but a player. Pure.

Voices come in plain, as they go from one media process to another. The loudest four are played,
added up and encoded once each 20 ms, for however many read it. In silence it goes on as well: a
player that is given nothing stops.
"""

from typing import Final

from p2phouse.carry.slots import Slots
from p2phouse.guest.webm import cluster
from p2phouse.vocabulary import FRAME_MS, FRAME_SAMPLES, HERE, Entropy, LinkNumber, Ssrc
from p2phouse.voice.mix import Mixer
from p2phouse.voice.opus import Encoder
from p2phouse.voice.packet import TIMESTAMP_MODULUS
from p2phouse.voice.plain import Plain
from p2phouse.voice.playout import Playout

BITRATE_BPS: Final = 48_000  # for voices over one another
CLUSTER_FRAMES: Final = 5  # 100 ms: what every listener waits for, half of it on average
AWAY_S: Final = 5.0  # a voice that is unheard for so long has left: nobody tells us

_HALF: Final = TIMESTAMP_MODULUS // 2
_BEGIN: Final = 1 << 16  # of counters, so that what came before the first is none below zero


class _Slot:
    def __init__(self, packet: Plain) -> None:
        self.playout = Playout()
        self.heard_s = 0.0
        self._stamp = packet.timestamp
        self._samples = _BEGIN * FRAME_SAMPLES

    def receive(self, now_s: float, packet: Plain) -> None:
        self.heard_s = now_s
        # Timestamps wrap; counters do not. What is older counts back.
        ahead = (packet.timestamp - self._stamp + _HALF) % TIMESTAMP_MODULUS - _HALF
        samples = self._samples + ahead
        if ahead > 0:
            self._samples, self._stamp = samples, packet.timestamp
        counter = max(0, round(samples / FRAME_SAMPLES))
        self.playout.receive(now_s, packet.seq, counter, packet.marker, packet.payload)


class RoomMix:
    """`receive` what comes, `tick` each 20 ms."""

    def __init__(self, slots: tuple[Ssrc, ...], entropy: Entropy, at_ms: int) -> None:
        """at_ms: when its time begins, later than an earlier mix of the room had come."""
        self._at_ms = at_ms
        self._slots = Slots(slots, entropy)
        self._playing: dict[Ssrc, _Slot] = {}
        self._heard_s: dict[LinkNumber, float] = {}
        self._mixer = Mixer()
        self._encoder = Encoder(BITRATE_BPS, dtx=False)
        self._packets: list[bytes] = []

    @property
    def holders(self) -> tuple[LinkNumber, ...]:
        """Who is heard in each slot; HERE stands for nobody."""
        return tuple(holder or HERE for holder in self._slots.holders)

    def receive(self, now_s: float, source: LinkNumber, packet: Plain) -> None:
        """A packet of a voice. Raises nothing."""
        self._heard_s[source] = now_s
        placed = self._slots.place(now_s, source, packet)
        if placed is None:
            return
        slot = self._playing.get(placed.ssrc)
        if slot is None:
            slot = self._playing[placed.ssrc] = _Slot(placed)
        slot.receive(now_s, placed)

    def tick(self, now_s: float) -> bytes:
        """The next 20 ms; gives a cluster when one is full, else nothing."""
        playing = self._playing.values()
        mixed = self._mixer.mix([(each.playout.pull(now_s), 1.0) for each in playing])
        self._packets.append(self._encoder.encode(mixed))
        if len(self._packets) < CLUSTER_FRAMES:
            return b""
        self._forget_silent(now_s)
        return self._close()

    def skip(self, ticks: int) -> bytes:
        """So many ticks fell out: nobody will hear them. Gives what there was before."""
        for slot in self._playing.values():
            slot.playout.skip(ticks)
        before = self._close() if self._packets else b""
        self._at_ms += ticks * FRAME_MS
        return before

    def _forget_silent(self, now_s: float) -> None:
        for source in [n for n, at_s in self._heard_s.items() if now_s > at_s + AWAY_S]:
            del self._heard_s[source]
            self._slots.leave(source)
        for ssrc in [n for n, its in self._playing.items() if now_s > its.heard_s + AWAY_S]:
            del self._playing[ssrc]

    def _close(self) -> bytes:
        closed = cluster(self._at_ms, self._packets)
        self._at_ms += len(self._packets) * FRAME_MS
        self._packets.clear()
        return closed
