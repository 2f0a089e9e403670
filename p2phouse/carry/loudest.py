"""Which of many voices a forwarder sends on: the few that are loudest by the level in the clear.

Everybody who is carried needs a link for each voice at a time; of sixteen open microphones a
listener makes out three. The payload stays sealed: the level of RFC 6464 is all that is read, and
whoever sends it may lie. A lie that never varies loses its seat (FLAT_S); one that imitates speech
does not, and is a matter for moderators, who take the voice out of the table.
"""

from collections.abc import Mapping
from math import exp, inf
from typing import Final

from p2phouse.vocabulary import FRAME_S, Ssrc
from p2phouse.voice.level import SILENCE_DBOV

LOUDNESS_S: Final = 0.200  # time constant: a word, not a syllable
OVER: Final = 10**0.6  # 6 dB in power: two people who are about as loud do not take turns
OVER_S: Final = 0.100  # a cough is over by then
STAY_S: Final = 1.5  # whoever has begun a sentence is heard with it
VACANT_S: Final = 1.5  # a seat nobody speaks on is free again; a pause for breath is shorter
HELD_S: Final = 0.060  # a packet that is late is no silence
FLAT_DB: Final = 6  # speech varies by more within one word
FLAT_S: Final = 10.0  # and nobody hums for so long while others want to speak

_POWERS: Final = tuple(10 ** (-dbov / 10) for dbov in range(SILENCE_DBOV + 1))
_FLAT_TICKS: Final = round(FLAT_S / FRAME_S)


class _Voice:
    __slots__ = (
        "flat_ticks",
        "heard_s",
        "high",
        "is_pinned",
        "level",
        "low",
        "over_s",
        "power",
        "seated_s",
    )

    def __init__(self) -> None:
        self.is_pinned = False
        self.level = SILENCE_DBOV
        self.heard_s = -inf
        self.power = 0.0  # mean over LOUDNESS_S
        self.low = self.high = -1  # of its level since that last varied; -1: not heard since
        self.flat_ticks = 0  # with a packet, since then
        self.over_s = inf  # since when it is louder than the weakest seated
        self.seated_s = inf  # since when it has a seat; inf: none

    @property
    def is_seated(self) -> bool:
        return self.seated_s < inf

    @property
    def rank(self) -> float:
        """Its loudness against others; that of a flat level counts for nothing."""
        return 0.0 if self.flat_ticks > _FLAT_TICKS else self.power

    def hear(self, now_s: float, level: int) -> None:
        self.level, self.heard_s = level, now_s
        self.flat_ticks += 1
        if self.low < 0:
            self.low = self.high = level
        self.low, self.high = min(self.low, level), max(self.high, level)
        if self.high - self.low >= FLAT_DB:
            self.low = self.high = level
            self.flat_ticks = 0

    def age(self, now_s: float, keep: float) -> None:
        power = _POWERS[self.level] if now_s < self.heard_s + HELD_S else 0.0
        self.power = power + (self.power - power) * keep


class Loudest:
    """Call `tick` each 20 ms with the levels that came; it says whom to withhold."""

    def __init__(self, seats: int) -> None:
        self.seats = seats
        self._voices: dict[Ssrc, _Voice] = {}
        self._ticked_s: float | None = None

    def set_voices(self, voices: Mapping[Ssrc, bool]) -> None:
        """Who is chosen from, and who of them is pinned: never withheld, and on nobody's seat."""
        self._voices = {ssrc: self._voices.get(ssrc) or _Voice() for ssrc in voices}
        for ssrc, is_pinned in voices.items():
            voice = self._voices[ssrc]
            voice.is_pinned = is_pinned
            if is_pinned:
                voice.seated_s = inf

    def tick(self, now_s: float, levels: Mapping[Ssrc, int]) -> frozenset[Ssrc]:
        """levels: in -dBov, of the voices of which a packet came since the last tick. Returns
        those that go nowhere for now."""
        since_s = FRAME_S if self._ticked_s is None else now_s - self._ticked_s
        self._ticked_s = now_s
        keep = exp(-since_s / LOUDNESS_S)
        for ssrc, voice in self._voices.items():
            if ssrc in levels:
                voice.hear(now_s, levels[ssrc])
            voice.age(now_s, keep)
        self._vacate(now_s)
        self._seat(now_s)
        self._contest(now_s)
        if self._free:
            return frozenset()  # whoever begins now is heard from the first packet on
        return frozenset(
            ssrc
            for ssrc, voice in self._voices.items()
            if not voice.is_seated and not voice.is_pinned
        )

    @property
    def _seated(self) -> list[_Voice]:
        return [voice for voice in self._voices.values() if voice.is_seated]

    @property
    def _free(self) -> int:
        return self.seats - len(self._seated)

    def _waiting(self, now_s: float) -> list[_Voice]:
        """Who speaks without a seat, the loudest first; of equals the first in the table."""
        waiting = [
            voice
            for voice in self._voices.values()
            if not voice.is_seated and not voice.is_pinned and now_s < voice.heard_s + HELD_S
        ]
        return sorted(waiting, key=lambda voice: -voice.rank)

    def _vacate(self, now_s: float) -> None:
        for voice in self._seated:
            if now_s >= voice.heard_s + VACANT_S:
                voice.seated_s = inf

    def _seat(self, now_s: float) -> None:
        for voice in self._waiting(now_s)[: max(0, self._free)]:
            voice.seated_s, voice.over_s = now_s, inf

    def _contest(self, now_s: float) -> None:
        """At most one seat changes hands a tick."""
        seated = self._seated
        if not seated:
            return
        weakest = min(seated, key=lambda voice: voice.rank)
        waiting = self._waiting(now_s)
        for voice in self._voices.values():
            if voice not in waiting or voice.rank <= weakest.rank * OVER:
                voice.over_s = inf
            else:
                voice.over_s = min(voice.over_s, now_s)
        may_go = [voice for voice in seated if now_s >= voice.seated_s + STAY_S]
        if not may_go:
            return
        weakest = min(may_go, key=lambda voice: voice.rank)
        for voice in waiting:
            if now_s >= voice.over_s + OVER_S and voice.rank > weakest.rank * OVER:
                weakest.seated_s = inf
                voice.seated_s, voice.over_s = now_s, inf
                return
