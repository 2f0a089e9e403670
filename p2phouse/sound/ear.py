"""Where what we hear goes to: a file, the page, a device, nowhere, or no ear at all.

One frame a tick.
"""

from collections.abc import Callable
from typing import Protocol

from p2phouse.channel import VoiceCondition
from p2phouse.errors import UserError
from p2phouse.sound.devices import Loudspeaker
from p2phouse.sound.jack import Jack
from p2phouse.sound.page import Page, PageLoudspeaker
from p2phouse.sound.plain import plain
from p2phouse.sound.wav import WavFile
from p2phouse.vocabulary import Frame


class OutputUnknown(UserError):
    """There is no output "{spec}". Use file:PATH, device, device:NAME, page, null or
    none."""


class Sink(Protocol):
    def play(self, frame: Frame) -> None:
        """Returns at once. Raises UserError if it can play no more."""

    def skip(self, ticks: int) -> None: ...

    def close(self) -> None:
        """May block. Raises UserError if something of what was played is lost."""


class NullSink:
    """Plays to nobody, in real time."""

    def play(self, frame: Frame) -> None:
        pass

    def skip(self, ticks: int) -> None:
        pass

    def close(self) -> None:
        pass


def open_sink(spec: str, page: Page | None = None) -> Sink:
    """Blocks until the sink takes frames. Raises UserError."""
    match spec.partition(":"):
        case ["file", ":", path]:
            return WavFile(path)
        case ["null", "", ""]:
            return NullSink()
        case ["page", "", ""] if page is not None:
            return PageLoudspeaker(page)
        case ["device", "", ""]:
            return Loudspeaker(None)
        case ["device", ":", name] if name:
            return Loudspeaker(name)
    raise OutputUnknown(spec=plain(spec))


class Ear:
    """`set` says where sound goes, `play` sends it there, once per tick."""

    def __init__(
        self,
        state: Callable[[VoiceCondition, str], None],
        open_sink: Callable[[str], Sink] = open_sink,
    ) -> None:
        """state: told OUTPUT_STARTED at the first frame, then once OUTPUT_ENDED, when all that
        was played is out (a file is whole), or OUTPUT_FAILED."""
        self._state = state
        self._open_sink = open_sink
        self._jack: Jack[Sink] = Jack()
        self.began_s: float | None = None

    @property
    def is_open(self) -> bool:
        return self._jack.plug is not None

    async def set(self, spec: str) -> None:
        """Closes the output and opens another; the newest call wins. Returns once it is open,
        and what was there before is whole."""
        self.close()
        if spec == "none":
            await self._jack.closed()
            return
        try:
            await self._jack.change(lambda is_wanted: self._open_sink(spec))
        except UserError as error:
            self._state(VoiceCondition.OUTPUT_FAILED, str(error))

    def play(self, scheduled_s: float, frame: Frame) -> None:
        """Plays a frame at `scheduled_s`, this tick's time; nothing without an output."""
        sink = self._jack.plug
        if sink is None:
            return
        try:
            sink.play(frame)
        except UserError as error:
            self._jack.pull()
            self.began_s = None
            self._state(VoiceCondition.OUTPUT_FAILED, str(error))
            return
        if self.began_s is None:
            self.began_s = scheduled_s
            self._state(VoiceCondition.OUTPUT_STARTED, "")

    def skip(self, ticks: int) -> None:
        """Ticks fell out: a file has silence there. What has not begun yet has no gap."""
        if self._jack.plug is not None and self.began_s is not None:
            self._jack.plug.skip(ticks)

    def close(self) -> None:
        """Nothing is played after this; OUTPUT_ENDED comes when the last of it is out."""
        had_begun, self.began_s = self.began_s is not None, None
        self._jack.pull(lambda error: self._closed(error, had_begun))

    def _closed(self, error: UserError | None, had_begun: bool) -> None:
        if error is not None:
            self._state(VoiceCondition.OUTPUT_FAILED, str(error))
        elif had_begun:
            self._state(VoiceCondition.OUTPUT_ENDED, "")
