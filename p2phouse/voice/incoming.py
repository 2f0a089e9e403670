"""Another's voice: packets in as they come, one frame per tick out.

opened.py opens them, playout.py decides when each frame is heard; this joins the two.
"""

from collections.abc import Iterable
from typing import Final

from p2phouse.vocabulary import Frame, Ssrc
from p2phouse.voice.level import SILENCE_DBOV
from p2phouse.voice.opened import OpenedVoice
from p2phouse.voice.playout import SILENCE, Playout, Stats
from p2phouse.voice.seal import SealKey

LEVEL_TICKS: Final = 10  # 200 ms without a packet and the level reads silence


class IncomingVoice:
    """One heard voice."""

    def __init__(self, ssrc: Ssrc) -> None:
        self.ssrc = ssrc
        self._opened = OpenedVoice(ssrc)
        self._playout = Playout()
        self._level = SILENCE_DBOV
        self._talking = False
        self._ticks_without = LEVEL_TICKS

    @property
    def stats(self) -> Stats:
        return self._playout.stats

    @property
    def key_missing(self) -> bool:
        """Whether the newest packet asked for a key that we do not hold."""
        return self._opened.key_missing

    @property
    def duplicates(self) -> int:
        return self._opened.duplicates

    @property
    def level(self) -> int:
        """What the sender last said of its loudness, -dBov."""
        if self.forged or self.doubted:
            return SILENCE_DBOV
        return self._level if self._ticks_without < LEVEL_TICKS else SILENCE_DBOV

    @property
    def talking(self) -> bool:
        is_heard = not (self.forged or self.doubted)
        return self._talking and self._ticks_without < LEVEL_TICKS and is_heard

    @property
    def forged(self) -> bool:
        """As of OpenedVoice."""
        return self._opened.forged

    @property
    def doubted(self) -> bool:
        """As of OpenedVoice."""
        return self._opened.doubted

    def set_akey(self, akey: bytes) -> None:
        """As of OpenedVoice."""
        self._opened.set_akey(akey)

    def set_keys(self, keys: Iterable[SealKey]) -> None:
        """As of OpenedVoice."""
        self._opened.set_keys(keys)

    def receive(self, now_s: float, data: bytes) -> bool:
        """Take a packet; False if it was a duplicate or no sound, or the voice is `forged`.

        Raises what OpenedVoice does.
        """
        heard = self._opened.receive(now_s, data)
        if heard is None:
            return False
        packet = heard.packet
        if heard.frame is None:
            self._playout.pass_over(packet.seq)
            return False
        self._level, self._talking, self._ticks_without = packet.level, packet.talking, 0
        self._playout.receive(now_s, packet.seq, heard.counter, packet.marker, heard.frame)
        return True

    def pull(self, now_s: float) -> Frame:
        """The frame of this tick. Call once per tick; do not write into the frame."""
        self._ticks_without += 1
        self._opened.tick(now_s)
        # Security: a voice that is not its speaker's falls silent here and now, whatever of it
        # still waits to be played.
        # Test: test_incoming.py::test_a_forged_voice_is_silent_from_the_very_tick
        if self.forged:
            return SILENCE
        if self.doubted:
            self._playout.skip(1)
            return SILENCE
        return self._playout.pull(now_s)

    def skip(self, ticks: int) -> None:
        """Our own ticks fell out: their frames are consumed unheard."""
        self._opened.skip(ticks)
        self._playout.skip(ticks)
