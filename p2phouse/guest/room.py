"""A room of guests inside the media process: their voices come in plain and go out to who listens.

Listeners differ in how many voices their browser has a line for, one to four. Those of one number
are a crowd, and carry/slots.py chooses for each number by itself: the loudest alone, for who has
one line, is not the first of four.
"""

from typing import Final

from p2phouse.carry.slots import Slots
from p2phouse.link.port import Crowd, Sink
from p2phouse.vocabulary import Entropy, LinkNumber, Ssrc
from p2phouse.voice.plain import NotPlain, build, parse

LINES_MAX: Final = 4


class _Listeners:
    """Those with so many lines: one crowd, since each slot goes to all of them."""

    def __init__(self, ssrcs: tuple[Ssrc, ...], entropy: Entropy) -> None:
        self.slots = Slots(ssrcs, entropy)
        self.crowd = Crowd()
        self.waiting: list[Sink] = []  # until a slot that is about to wrap has done so

    def add(self, sink: Sink) -> None:
        if self.slots.may_begin:
            self.crowd.add(sink)
        else:
            self.waiting.append(sink)

    def remove(self, sink: Sink) -> None:
        self.crowd.remove(sink)
        if sink in self.waiting:
            self.waiting.remove(sink)


class _Speaker:
    def __init__(self, payload_type: int, level_extension: int) -> None:
        self.payload_type = payload_type
        self.level_extension = level_extension


class GuestRoom:
    """Who is in it, by link; `receive` is the hot path."""

    def __init__(self, ssrcs: tuple[Ssrc, ...], entropy: Entropy) -> None:
        """ssrcs: what listeners know its slots by, LINES_MAX of them."""
        self._ssrcs = ssrcs
        self._entropy = entropy
        self._speakers: dict[LinkNumber, _Speaker] = {}
        self._by_lines: dict[int, _Listeners] = {}
        self._lines: dict[LinkNumber, tuple[int, Sink]] = {}
        self.refused = 0  # packets of speakers that were none of their voice

    @property
    def links(self) -> tuple[LinkNumber, ...]:
        return (*self._speakers, *self._lines)

    def add_speaker(self, link: LinkNumber, payload_type: int, level_extension: int) -> None:
        self._speakers[link] = _Speaker(payload_type, level_extension)

    def add_listener(self, link: LinkNumber, sink: Sink, lines: int) -> None:
        listeners = self._by_lines.get(lines)
        if listeners is None:
            listeners = self._by_lines[lines] = _Listeners(self._ssrcs[:lines], self._entropy)
        listeners.add(sink)
        self._lines[link] = lines, sink

    def remove(self, link: LinkNumber) -> None:
        """If it is there."""
        if self._speakers.pop(link, None) is not None:
            for listeners in self._by_lines.values():
                listeners.slots.leave(link)
        lines, sink = self._lines.pop(link, (0, None))
        if sink is not None:
            self._by_lines[lines].remove(sink)

    def moved(self, sink: Sink) -> None:
        """A listener has another address."""
        for listeners in self._by_lines.values():
            listeners.crowd.moved(sink)

    def receive(self, now_s: float, link: LinkNumber, data: bytes) -> None:
        """A plain packet of a speaker. Raises nothing."""
        speaker = self._speakers.get(link)
        if speaker is None:
            return
        try:
            packet = parse(data, speaker.level_extension)
        except NotPlain:
            self.refused += 1
            return
        if packet.payload_type != speaker.payload_type:
            self.refused += 1  # not Opus: telephone events, comfort noise
            return
        for listeners in self._by_lines.values():
            out = listeners.slots.place(now_s, link, packet)
            if out is None:
                continue
            listeners.crowd.send(build(out))
            if listeners.waiting and listeners.slots.may_begin:
                for sink in listeners.waiting:
                    listeners.crowd.add(sink)
                listeners.waiting.clear()
