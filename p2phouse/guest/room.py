"""A room of guests inside the media process: their voices come in plain and go out to who listens.

Listeners differ in how many voices their browser has a line for, one to four. Those of one number
are a crowd, and carry/slots.py chooses for each number by itself: the loudest alone, for who has
one line, is not the first of four. Of a relay with several media processes each has a room of its
own for the listeners that are there, and what came in at another enters it by `hand_out`.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from math import inf
from typing import Final

from p2phouse.carry.control import Reception
from p2phouse.carry.pace import Pace
from p2phouse.carry.rtcp import Block, Report, decode, encode_report
from p2phouse.carry.slots import Slots
from p2phouse.errors import PeerError
from p2phouse.link.crowd import Crowd
from p2phouse.link.port import SEGMENTS_MAX, Sink
from p2phouse.vocabulary import HERE, Entropy, LinkNumber, Ssrc
from p2phouse.voice.packet import PT_OPUS
from p2phouse.voice.plain import NotPlain, Plain, build, parse

# How long a packet waits for those of the other voices when they go together. Voices whose frames
# begin evenly spread are all in within 15 ms; a listener's jitter buffer holds 60 ms and more.
TOGETHER_S: Final = 0.016
TALKING_S: Final = 0.100  # a voice unheard for longer is not waited for
# A voice that is no guest's here has left if it is unheard for so long: nobody tells us. A browser
# in a pause sends each 0.4 s, and a node that spoke again would be given a slot again.
AWAY_S: Final = 5.0


class _Listeners:
    """Those with so many lines: one crowd, since each slot goes to all of them."""

    def __init__(self, ssrcs: tuple[Ssrc, ...], entropy: Entropy) -> None:
        self.slots = Slots(ssrcs, entropy)
        self.crowd = Crowd()
        self.waiting: list[Sink] = []  # until a slot that is about to wrap has done so
        self.flush_s = inf
        self._held: dict[Ssrc, bytes] = {}  # packets that go together, one of each voice
        self._heard_s: dict[Ssrc, float] = {}

    def add(self, now_s: float, sink: Sink) -> None:
        if self.slots.may_begin(now_s):
            self.crowd.add(sink)
        else:
            self.waiting.append(sink)

    def remove(self, sink: Sink) -> None:
        self.crowd.remove(sink)
        if sink in self.waiting:
            self.waiting.remove(sink)

    def send(self, now_s: float, packet: Plain, *, together: bool) -> None:
        data = build(packet)
        if together and self._others_talk(now_s, packet.ssrc):
            if packet.ssrc in self._held or len(self._held) >= SEGMENTS_MAX:
                self.flush()
            if not self._held:
                self.flush_s = now_s + TOGETHER_S
            self._held[packet.ssrc] = data
        else:
            self.flush()
            self.crowd.send(data)
        if self.waiting and self.slots.may_begin(now_s):
            for sink in self.waiting:
                self.crowd.add(sink)
            self.waiting.clear()

    def flush(self) -> None:
        """What is held goes now."""
        if self._held:
            self.crowd.send_together(list(self._held.values()))
            self._held.clear()
            self.flush_s = inf

    def _others_talk(self, now_s: float, ssrc: Ssrc) -> bool:
        self._heard_s[ssrc] = now_s
        since_s = now_s - TALKING_S
        return any(at >= since_s for other, at in self._heard_s.items() if other != ssrc)


class _Speaker:
    def __init__(self, payload_type: int, level_extension: int) -> None:
        self.payload_type = payload_type
        self.level_extension = level_extension
        self.reception: Reception | None = None
        self.ssrc = Ssrc(0)
        self._clock = 0  # in its last sender report, by which it measures the way there and back
        self._clock_s = 0.0
        self.pace = Pace()

    def hear(self, now_s: float, packet: Plain) -> None:
        timed = packet._replace(payload_type=PT_OPUS)  # whatever number it has for this browser
        if self.reception is None:
            self.ssrc, self.reception = packet.ssrc, Reception(now_s, timed)
        else:
            self.reception.hear(now_s, timed)

    def hear_report(self, now_s: float, report: Report) -> None:
        if report.sender is not None:
            self._clock, self._clock_s = report.sender.clock, now_s

    def block(self, now_s: float) -> Block | None:
        """What we received of it since the last call; None if that is nothing."""
        if self.reception is None or not self.reception.fresh:
            return None
        block = self.reception.block(self.ssrc)
        if not self._clock:
            return block
        return replace(block, lsr=self._clock, dlsr=int((now_s - self._clock_s) * 65_536))


class GuestRoom:
    """Who is in it, by link; `receive` is the hot path. Call `flush` at `deadline`."""

    def __init__(self, ssrcs: tuple[Ssrc, ...], entropy: Entropy) -> None:
        """ssrcs: what listeners know its slots by, as many as anybody may have lines."""
        self._ssrcs = ssrcs
        self._entropy = entropy
        self._ssrc = Ssrc(int.from_bytes(entropy(4)))  # of our reports
        self._speakers: dict[LinkNumber, _Speaker] = {}
        self._by_lines: dict[int, _Listeners] = {}
        self._lines: dict[LinkNumber, tuple[int, Sink]] = {}
        self._elsewhere_s: dict[LinkNumber, float] = {}  # when we heard who is no guest here
        # To where voices that enter here are wanted as well, if anywhere.
        self.send_on: Callable[[float, LinkNumber, Plain], None] | None = None
        self.together = False  # packets of several voices go in one call: cheaper, and later
        self.refused = 0  # packets of speakers that were none of their voice, or too many

    @property
    def links(self) -> tuple[LinkNumber, ...]:
        return (*self._speakers, *self._lines)

    def add_speaker(self, link: LinkNumber, payload_type: int, level_extension: int) -> None:
        self._speakers[link] = _Speaker(payload_type, level_extension)

    def add_listener(self, now_s: float, link: LinkNumber, sink: Sink, lines: int) -> None:
        listeners = self._by_lines.get(lines)
        if listeners is None:
            listeners = self._by_lines[lines] = _Listeners(self._ssrcs[:lines], self._entropy)
        listeners.add(now_s, sink)
        self._lines[link] = lines, sink

    def remove(self, link: LinkNumber) -> None:
        """If it is there."""
        if self._speakers.pop(link, None) is not None:
            self._leave_slots(link)
        lines, sink = self._lines.pop(link, (0, None))
        if sink is not None:
            self._by_lines[lines].remove(sink)

    def _leave_slots(self, source: LinkNumber) -> None:
        for listeners in self._by_lines.values():
            listeners.slots.leave(source)

    def moved(self, sink: Sink) -> None:
        """A listener has another address."""
        for listeners in self._by_lines.values():
            listeners.crowd.moved(sink)

    def receive(self, now_s: float, link: LinkNumber, data: bytes) -> None:
        """A plain packet of a speaker. Raises nothing."""
        speaker = self._speakers.get(link)
        if speaker is None:
            return
        # Security: one who floods has all rooms of this relay wait for his packets' listeners.
        # Test: test_room.py::test_one_who_floods_is_sent_on_no_faster_than_a_voice
        if not speaker.pace.allow(now_s, len(data)):
            self.refused += 1
            return
        try:
            packet = parse(data, speaker.level_extension)
        except NotPlain:
            self.refused += 1
            return
        if packet.payload_type != speaker.payload_type:
            self.refused += 1  # not Opus: telephone events, comfort noise
            return
        speaker.hear(now_s, packet)
        self.enter(now_s, link, packet)

    def enter(self, now_s: float, source: LinkNumber, packet: Plain) -> None:
        """A packet of a voice that comes in here, for whoever listens in any process."""
        if self.send_on is not None:  # first, for theirs have further to go
            self.send_on(now_s, source, packet)
        self.hand_out(now_s, source, packet)

    def hand_out(self, now_s: float, source: LinkNumber, packet: Plain) -> None:
        """A packet of a voice, wherever it came in, for who listens here."""
        if source not in self._speakers:
            self._elsewhere_s[source] = now_s
        for listeners in self._by_lines.values():
            out = listeners.slots.place(now_s, source, packet)
            if out is not None:
                listeners.send(now_s, out, together=self.together)

    def forget_silent(self, now_s: float) -> None:
        """Voices that are no guests' here and came no more; to be called about once a second."""
        for source in [n for n, at_s in self._elsewhere_s.items() if now_s > at_s + AWAY_S]:
            del self._elsewhere_s[source]
            self._leave_slots(source)

    @property
    def is_heard(self) -> bool:
        """Whether anybody listens, here or in another process."""
        return bool(self._lines) or self.send_on is not None

    def hear_control(self, now_s: float, link: LinkNumber, data: bytes) -> None:
        """RTCP of a speaker; a listener's reports are not used. Raises nothing."""
        speaker = self._speakers.get(link)
        if speaker is None:
            return
        try:
            decoded = decode(data)
        except PeerError:
            return
        if isinstance(decoded, tuple):
            for report in decoded:
                speaker.hear_report(now_s, report)

    def reports(self, now_s: float) -> Iterator[tuple[LinkNumber, bytes]]:
        """What each speaker whose voice came since the last call is told of how it came: from the
        loss a browser decides how much of it to repeat."""
        for link, speaker in self._speakers.items():
            block = speaker.block(now_s)
            if block is not None:
                yield link, encode_report(Report(self._ssrc, None, (block,)))

    @property
    def holders(self) -> tuple[LinkNumber, ...]:
        """Who has each slot for listeners with a line for each; HERE stands for nobody."""
        listeners = self._by_lines.get(len(self._ssrcs))
        if listeners is None:
            return (HERE,) * len(self._ssrcs)
        return tuple(holder or HERE for holder in listeners.slots.holders)

    @property
    def deadline(self) -> float:
        """When to call `flush`."""
        return min((each.flush_s for each in self._by_lines.values()), default=inf)

    def flush(self, now_s: float) -> None:
        """What has waited long enough for other voices goes."""
        for listeners in self._by_lines.values():
            if now_s >= listeners.flush_s:
                listeners.flush()
