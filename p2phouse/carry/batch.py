"""Packets to the next hop, all sinks in one call: the forwarder of who carries a crowd on one port.

What goes where is decided by the plain forwarder. Only the way out differs: the sinks of a voice
are gathered once into one send (link/port.py), and what each was sent is added up when somebody
asks, not per packet. Pure; it is told how to gather, and what time it is.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf
from typing import ClassVar

from p2phouse.carry.forwarder import End, Forwarder, LinkCounts, Send, Sinks
from p2phouse.vocabulary import LinkNumber, Ssrc
from p2phouse.voice.packet import HEADER_BYTES

Gather = Callable[[Sequence[Send]], Send]
"""Makes one send of many."""


@dataclass(frozen=True, slots=True)
class Traffic:
    """What a link was sent of voices."""

    packets: int = 0
    octets: int = 0  # of payload
    sent_s: float = -inf  # the last of them


class _BatchEnd(End):
    __slots__ = ("octets", "sent_s")

    def __init__(self, send: Send | None) -> None:
        super().__init__(send)
        self.octets = 0
        self.sent_s = -inf


class _Burst(Sinks):
    """Sinks that are gathered when a packet first goes to them: many a row never has one."""

    __slots__ = ("_count", "_ends", "_forwarder", "_octets", "_send", "_sent_s")

    def __init__(self, ends: Sequence[_BatchEnd], forwarder: "BatchForwarder") -> None:
        super().__init__(ends)
        self._ends = ends
        self._forwarder = forwarder
        self._send: Send | None = None
        self._count = self._octets = 0  # not yet added to each
        self._sent_s = -inf

    def __call__(self, packet: bytes) -> None:
        if self._send is None:
            if not self._ends:
                return
            self._send = self._forwarder.gather([end.send for end in self._ends if end.send])
        self._send(packet)
        if not self._count:
            self._forwarder.unsettled.append(self)
        self._count += 1
        self._octets += len(packet) - HEADER_BYTES
        self._sent_s = self._forwarder.now_s

    def settle(self) -> None:
        for end in self._ends:
            end.sent += self._count
            end.octets += self._octets
            end.sent_s = max(end.sent_s, self._sent_s)
        self._count = self._octets = 0


class BatchForwarder(Forwarder):
    """A Forwarder; set `now_s` before `receive`, for `traffic` to know when."""

    end_kind: ClassVar[type[End]] = _BatchEnd

    def __init__(self, deliver: Callable[[Ssrc, bytes], None], gather: Gather) -> None:
        super().__init__(deliver)
        self.gather = gather
        self.unsettled: list[_Burst] = []

    def bind(self, ends: Sequence[End]) -> Sinks:
        there = [end for end in ends if isinstance(end, _BatchEnd) and end.send is not None]
        return _Burst(there, self)

    def counts(self, link: LinkNumber) -> LinkCounts:
        self._settle()
        return super().counts(link)

    def traffic(self, link: LinkNumber) -> Traffic:
        """Since it was added; nothing for a link that is not here."""
        self._settle()
        end = self._ends.get(link)
        if not isinstance(end, _BatchEnd):
            return Traffic()
        return Traffic(end.sent, end.octets, end.sent_s)

    def _settle(self) -> None:
        for burst in self.unsettled:
            burst.settle()
        self.unsettled.clear()
