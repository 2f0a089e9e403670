"""What media tells of sound, as far as it explains a silence: our input, our ear, others' voices.

Media says once a second how loud our microphone was, muted or not, and how many frames of each
voice were played. Nothing here asks for more or opens anything.
"""

import math
from dataclasses import dataclass, field
from typing import Final

from p2phouse.channel import Stats, VoiceCondition, VoiceState
from p2phouse.vocabulary import Now, Ssrc

# Digital silence is 127; a covered or broken microphone 85 to 100; a quiet room through a cheap
# one, its gain turned down, 60 to 70.
SILENT_DBOV: Final = 75
# A microphone that was heard works, and a browser that takes noise away leaves less than that of a
# person who listens: then only what is no sound at all counts. One bit of 16 is -90 dBov.
NOTHING_DBOV: Final = 100
# Of 50 frames a second speech has 20 or more this loud (channel.Stats); typing has 10.
TALKED_FRAMES: Final = 15
TALKED_S: Final = 3.0  # two such seconds within it: nobody is told for a cough
SOMEBODY_ELSE_FRAMES: Final = 25  # of another's voice in a second: then our microphone hears that

OURS: Final = Ssrc(0)


@dataclass(slots=True)
class Sounding:
    input_open: bool = False
    input_silent: bool = False  # in the last second
    input_worked: bool = False  # since it was opened somebody spoke into it
    input_lost: str = ""  # one sentence, until there is an input again
    output_failed: str = ""
    output_ready: bool = True  # somebody is at the other end of our ear
    page_blocked: bool = False  # the browser plays nothing until it is clicked
    keyless: set[Ssrc] = field(default_factory=set)
    unproved: set[Ssrc] = field(default_factory=set)  # held back, for anybody might speak so
    still: set[Ssrc] = field(default_factory=set)  # voices of which nothing new was played
    _played: dict[Ssrc, int] = field(default_factory=dict)
    _talked: list[float] = field(default_factory=list)

    def voice_state(self, state: VoiceState) -> None:
        match state.condition:
            case VoiceCondition.INPUT_STARTED:
                self.input_open, self.input_silent, self.input_lost = True, False, ""
            case VoiceCondition.INPUT_FAILED:
                self.input_open, self.input_lost = False, state.text
            case VoiceCondition.INPUT_ENDED:
                self.input_open = False
            case VoiceCondition.OUTPUT_STARTED:
                self.output_failed = ""
            case VoiceCondition.OUTPUT_FAILED:
                self.output_failed = state.text
            case VoiceCondition.KEY_MISSING:
                self.keyless.add(state.ssrc)
                self.unproved.discard(state.ssrc)
            case VoiceCondition.UNPROVED:
                self.unproved.add(state.ssrc)
            case VoiceCondition.FLOWING | VoiceCondition.NO_PACKETS:
                self.keyless.discard(state.ssrc)
                self.unproved.discard(state.ssrc)

    def stats(self, now: Now, stats: Stats) -> None:
        self.input_open = stats.captured_age_us >= 0
        self.input_worked = self.input_open and (self.input_worked or stats.input_loud > 0)
        if stats.input_dbov >= 0:
            limit = NOTHING_DBOV if self.input_worked else SILENT_DBOV
            self.input_silent = stats.input_dbov > limit
        self.output_ready = stats.output_ready
        if not stats.output_ready:
            self.page_blocked = False  # the page that said so is gone
        played = {voice.ssrc: voice.played for voice in stats.voices}
        gained = {ssrc: count - self._played.get(ssrc, 0) for ssrc, count in played.items()}
        self.still = {ssrc for ssrc, count in gained.items() if count <= 0}
        self.keyless &= played.keys()
        self.unproved &= played.keys()
        self._played = played
        if not self.input_open:
            self._talked.clear()
        elif (
            stats.input_loud >= TALKED_FRAMES
            and max(gained.values(), default=0) < SOMEBODY_ELSE_FRAMES
        ):
            self._talked = [*self._talked[-1:], now.mono]

    def left(self) -> None:
        """Of the room: what was lost there is asked for anew in the next."""
        self.input_lost = self.output_failed = ""

    def is_talking(self, now: Now) -> bool:
        """Whether somebody speaks into our microphone, be it muted."""
        return len(self._talked) == 2 and self._talked[0] > now.mono - TALKED_S

    @property
    def talking_until(self) -> float:
        """When is_talking ends without another word."""
        return self._talked[0] + TALKED_S if len(self._talked) == 2 else math.inf
