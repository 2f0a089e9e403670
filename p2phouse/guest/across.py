"""Voices between the media processes of a relay, each of which has a port and a core of its own.

What a guest says comes in at one process and goes on, a datagram each, to those in which somebody
of the room listens: control says which (SendOn). Nothing waits for a slow process: what it has no
place for is dropped and counted, as on a network. A pair of sockets for each process is control's:
who dies leaves its ends to the next.
"""

import socket
import struct
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from p2phouse.vocabulary import LinkNumber, Ssrc
from p2phouse.voice.packet import PT_OPUS
from p2phouse.voice.plain import PAYLOAD_BYTES_MAX, Plain

# Bounded in bytes; a queue of datagrams is bounded in number as well (net.unix.max_dgram_qlen), by
# ten in a container, which is less than one burst. Only Linux has it.
_KIND: Final = socket.SOCK_SEQPACKET if sys.platform == "linux" else socket.SOCK_DGRAM
BUFFER_BYTES: Final = 256 * 1024  # some 300 packets with what the system keeps of each
READS_MAX: Final = 64  # in a turn of the loop, which has guests to look after too
_HEAD: Final = struct.Struct("!IqB?HII")
_DATAGRAM_BYTES_MAX: Final = _HEAD.size + PAYLOAD_BYTES_MAX


def pack(room: int, source: LinkNumber, packet: Plain) -> bytes:
    _, marker, seq, timestamp, ssrc, level, payload = packet
    return _HEAD.pack(room, source, level, marker, seq, timestamp, ssrc) + payload


def unpack(data: bytes) -> tuple[int, LinkNumber, Plain]:
    """Room, source and packet, whose payload type is ours now."""
    room, source, level, marker, seq, timestamp, ssrc = _HEAD.unpack_from(data)
    payload = data[_HEAD.size :]
    return (
        room,
        LinkNumber(source),
        Plain(PT_OPUS, marker, seq, timestamp, Ssrc(ssrc), level, payload),
    )


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


def inherited(own: int, others: Iterable[str]) -> "Across":
    """From what Pairs told of the ends."""
    pairs = (each.split("=") for each in others)
    return Across(_socket(own), {int(n): _socket(int(fd)) for n, fd in pairs})


def _socket(fd: int) -> socket.socket:
    return socket.socket(socket.AF_UNIX, _KIND, fileno=fd)


class Across:
    """A process's own ends. Call `read` when `socket` is readable."""

    def __init__(self, own: socket.socket, others: Mapping[int, socket.socket]) -> None:
        """own: where it receives. others: where it sends, by the number of who receives there."""
        self.socket = own
        self._others = others
        self.dropped = 0  # that found no place
        for _ in self._datagrams():
            pass  # they were for the process before this one

    def send(self, room: int, to: Sequence[int], source: LinkNumber, packet: Plain) -> None:
        """To each of those processes, if it has a place for it."""
        data = pack(room, source, packet)
        for number in to:
            try:
                self._others[number].send(data)
            except OSError:
                self.dropped += 1

    def close(self) -> None:
        for end in (self.socket, *self._others.values()):
            end.close()

    def read(self) -> Iterator[tuple[int, LinkNumber, Plain]]:
        """What has come, at most READS_MAX: room, source and packet."""
        for _, data in zip(range(READS_MAX), self._datagrams(), strict=False):
            yield unpack(data)

    def _datagrams(self) -> Iterator[bytes]:
        while True:
            try:
                yield self.socket.recv(_DATAGRAM_BYTES_MAX)
            except BlockingIOError:
                return
