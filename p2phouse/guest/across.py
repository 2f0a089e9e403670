"""Voices between the media processes of a relay, each of which has a port and a core of its own.

What a guest says comes in at one process and goes on, a datagram each, to those in which somebody
of the room listens: control says which (SendOn). Nothing waits for a slow process: what it has no
place for is dropped and counted, as on a network; who was held up passes on each voice's newest and
not what is too late for everybody. A pair of sockets for each process is control's: who dies leaves
its ends to the next. All processes read the one monotonic clock of the machine.
"""

import socket
import struct
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from math import inf
from typing import Final, NamedTuple

from p2phouse.vocabulary import LinkNumber, Ssrc
from p2phouse.voice.packet import PT_OPUS
from p2phouse.voice.plain import PAYLOAD_BYTES_MAX, Plain

# Bounded in bytes; a queue of datagrams is bounded in number as well (net.unix.max_dgram_qlen), by
# ten in a container, which is less than one burst. Only Linux has it.
_KIND: Final = socket.SOCK_SEQPACKET if sys.platform == "linux" else socket.SOCK_DGRAM
BUFFER_BYTES: Final = 256 * 1024  # some 300 packets with what the system keeps of each
READS_MAX: Final = 1_024  # more than a buffer holds
# A process that was not let run for a few frames sends them on, and buffers of listeners make up
# for it; what is later than this, none does.
LATE_S: Final = 0.100
_HEAD: Final = struct.Struct("!dIqB?HII")
_DATAGRAM_BYTES_MAX: Final = _HEAD.size + PAYLOAD_BYTES_MAX


class Crossing(NamedTuple):
    """A packet on its way: when it was sent, into which room, and of whose voice it is."""

    at_s: float
    room: int
    source: LinkNumber
    packet: Plain


def pack(crossing: Crossing) -> bytes:
    at_s, room, source, (_, marker, seq, timestamp, ssrc, level, payload) = crossing
    return _HEAD.pack(at_s, room, source, level, marker, seq, timestamp, ssrc) + payload


def unpack(data: bytes) -> Crossing:
    """Its payload type is ours now."""
    at_s, room, source, level, marker, seq, timestamp, ssrc = _HEAD.unpack_from(data)
    packet = Plain(PT_OPUS, marker, seq, timestamp, Ssrc(ssrc), level, data[_HEAD.size :])
    return Crossing(at_s, room, LinkNumber(source), packet)


class Pairs:
    """Control's: the ends of all processes, for as long as the relay runs."""

    def __init__(self, receivers: Iterable[int]) -> None:
        """receivers: the numbers of the processes, each of which may send to all others."""
        self._pairs = {each: socket.socketpair(socket.AF_UNIX, _KIND) for each in receivers}
        for pair in self._pairs.values():
            for end in pair:
                end.setblocking(False)
            pair[1].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER_BYTES)

    def arguments(self, process: int) -> tuple[str, ...]:
        """What a process is told of its ends."""
        told = [f"--across={self.own(process)}"]
        told += [f"--to={n}={fd}" for n, fd in self._others(process)]
        return tuple(told)

    def own(self, process: int) -> int:
        """The descriptor by which it receives."""
        return self._pairs[process][0].fileno()

    def fds(self, process: int) -> tuple[int, ...]:
        """What a process inherits."""
        return self.own(process), *(fd for _, fd in self._others(process))

    def close(self) -> None:
        for pair in self._pairs.values():
            for end in pair:
                end.close()

    def _others(self, process: int) -> list[tuple[int, int]]:
        return [(n, pair[1].fileno()) for n, pair in self._pairs.items() if n != process]


def inherited(own: int, others: Iterable[str], *, late_s: float = inf) -> "Across":
    """From what Pairs told of the ends."""
    pairs = (each.split("=") for each in others)
    return Across(_socket(own), {int(n): _socket(int(fd)) for n, fd in pairs}, late_s=late_s)


def _socket(fd: int) -> socket.socket:
    return socket.socket(socket.AF_UNIX, _KIND, fileno=fd)


class Across:
    """A process's own ends. Call `read` when `socket` is readable."""

    def __init__(
        self,
        own: socket.socket,
        others: Mapping[int, socket.socket],
        *,
        late_s: float = inf,
    ) -> None:
        """own: where it receives. others: where it sends, by the number of who receives there.
        late_s: of what waited for longer only the newest of each voice is read."""
        self.socket = own
        self._others = others
        self._late_s = late_s
        self.dropped = 0  # that found no place, or came too late
        for _ in self._datagrams():
            pass  # they were for the process before this one

    def send(self, to: Sequence[int], crossing: Crossing) -> None:
        """To each of those processes, if it has a place for it."""
        data = pack(crossing)
        for number in to:
            try:
                self._others[number].send(data)
            except OSError:
                self.dropped += 1

    def close(self) -> None:
        for end in (self.socket, *self._others.values()):
            end.close()

    def read(self, now_s: float) -> Sequence[Crossing]:
        """What has come."""
        came = [unpack(data) for data in islice(self._datagrams(), READS_MAX)]
        if not came or now_s <= came[0].at_s + self._late_s:
            return came
        newest = {(each.room, each.source): each for each in came}
        self.dropped += len(came) - len(newest)
        return list(newest.values())

    def _datagrams(self) -> Iterator[bytes]:
        while True:
            try:
                data = self.socket.recv(_DATAGRAM_BYTES_MAX)
            except BlockingIOError:
                return
            if not data:  # control and all others have ended, and so shall we
                return
            yield data
