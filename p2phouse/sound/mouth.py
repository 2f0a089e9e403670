"""Where our voice comes from: a file, the page, a device, a tone, silence or nothing.

One frame a tick.
"""

from collections.abc import Callable
from typing import Protocol

from p2phouse.channel import VoiceCondition
from p2phouse.errors import UserError
from p2phouse.sound import files, tone
from p2phouse.sound.devices import Microphone
from p2phouse.sound.jack import Jack
from p2phouse.sound.page import Page, PageMicrophone
from p2phouse.sound.plain import plain
from p2phouse.vocabulary import FRAME_S, Frame

IsWanted = Callable[[], bool]


class InputUnknown(UserError):
    """There is no input "{spec}". Use file:PATH, tone, silence, device, device:NAME, page
    or none."""


class Source(Protocol):
    def next_frame(self) -> Frame | None:
        """None at the end. Returns at once. Raises UserError if the device is lost."""

    def skip(self, ticks: int) -> None: ...

    def close(self) -> None:
        """May block."""


def open_source(spec: str, is_wanted: IsWanted, page: Page | None = None) -> Source:
    """Blocks until the source can give frames. Raises UserError."""
    match spec.partition(":"):
        case ["file", ":", path]:
            return files.FileSource(files.load_pieces(path, is_wanted))
        case ["tone", "", ""]:
            return tone.tone()
        case ["silence", "", ""]:
            return tone.silence()
        case ["page", "", ""] if page is not None:
            return PageMicrophone(page)
        case ["device", "", ""]:
            return Microphone(None)
        case ["device", ":", name] if name:
            return Microphone(name)
    raise InputUnknown(spec=plain(spec))


class Mouth:
    """`set` says where sound comes from, `frame` takes it, once per tick.

    Security: no microphone opens by itself. `set` is the one way to open any input, and control
    calls it when a person unmutes. Test: test_mouth.py::test_no_microphone_opens_by_itself
    """

    def __init__(
        self,
        state: Callable[[VoiceCondition, str], None],
        open_source: Callable[[str, IsWanted], Source] = open_source,
    ) -> None:
        """state: told INPUT_STARTED, then INPUT_ENDED or INPUT_FAILED; no end that `set` or
        `close` made. `began_s` still holds while the end is told."""
        self._state = state
        self._open_source = open_source
        self._jack: Jack[Source] = Jack()
        self.began_s: float | None = None

    @property
    def is_open(self) -> bool:
        return self._jack.plug is not None

    async def set(self, spec: str) -> None:
        """Closes the input and opens another; the newest call wins. Returns once it is open."""
        self.close()
        if spec == "none":
            await self._jack.closed()
            return
        try:
            await self._jack.change(lambda is_wanted: self._open_source(spec, is_wanted))
        except UserError as error:
            self._state(VoiceCondition.INPUT_FAILED, str(error))

    def frame(self, scheduled_s: float) -> Frame | None:
        """What was said in the 20 ms before `scheduled_s`, this tick's time; None if no input."""
        source = self._jack.plug
        if source is None:
            return None
        try:
            frame = source.next_frame()
        except UserError as error:
            self._end(VoiceCondition.INPUT_FAILED, str(error))
            return None
        if frame is None:
            self._end(VoiceCondition.INPUT_ENDED, "")
        elif self.began_s is None:
            self.began_s = scheduled_s - FRAME_S
            self._state(VoiceCondition.INPUT_STARTED, "")
        return frame

    def skip(self, ticks: int) -> None:
        """Ticks fell out: their sound is gone. What has not begun yet loses nothing."""
        if self._jack.plug is not None and self.began_s is not None:
            self._jack.plug.skip(ticks)

    def close(self) -> None:
        """No frame comes after this; the device itself is closed within a moment."""
        self._jack.pull()
        self.began_s = None

    def _end(self, condition: VoiceCondition, text: str) -> None:
        self._jack.pull()
        self._state(condition, text)
        self.began_s = None
