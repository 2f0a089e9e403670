"""One UDP port for all peers, and crowds that are sent one packet in one call.

A crowd is everything that `sendmmsg` needs to reach its sinks, prepared: handles of SRTP,
addresses and messages in flat arrays that change when a sink comes or goes, never per packet. The
packet is copied into a row of a chunk for each sink, protected there by a `map` over C functions,
and the chunk leaves in one call. No bytecode runs per sink. What a packet costs: bench/relay.py.
"""

import errno
import logging
import socket
import struct
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import count
from typing import Any, Final

import numpy as np

from p2phouse.link import srtp, syscalls
from p2phouse.link.handshake import Keys
from p2phouse.link.ice import EXPEDITED
from p2phouse.link.lite import Address
from p2phouse.link.srtp import Handle

log = logging.getLogger(__name__)

# The last of 1,000 sinks waits for all before it, and the first need not: of 16 to 1,000 rows in a
# chunk none costs less CPU than another.
CHUNK: Final = 64
ROWS_BYTES: Final = (256, 768, 1_536)  # a packet of 32 kb/s, of 128 kb/s sealed, any other
SOCKET_BYTES: Final = 4 * 1024 * 1024  # 3,000 packets on their way to a slow network card
SEND_S_MAX: Final = 0.020  # past this the network is the bottleneck, and late sound is worth less
CAPACITY_MIN: Final = 16
SEGMENTS_MAX: Final = 4  # packets that go together: one of each slot of a room
PADDING_MAX: Final = 255  # RFC 3550 §5.1: its length is one byte

_PADDED: Final = 0x20

_INT: Final = struct.Struct("@i")
_SOCKADDR_BYTES: Final = 28  # of sockaddr_in6, the longer of the two
_IOVEC_BYTES: Final = syscalls.ffi.sizeof("struct iovec")
_MESSAGE: Final = np.dtype(
    {
        "names": ["name", "name_bytes", "iov", "iov_count", "control", "control_bytes"],
        "formats": [np.uint64, np.uint32, np.uint64, np.uint64, np.uint64, np.uint64],
        "offsets": [0, 8, 16, 24, 32, 40],
        "itemsize": syscalls.ffi.sizeof("struct mmsghdr"),
    }
)
_numbers = count(1)


class Port:
    """The socket of one local address."""

    def __init__(self, host: str, port: int) -> None:
        """port: 0 for any. Raises OSError."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.socket = sock = socket.socket(family, socket.SOCK_DGRAM)
        try:
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.bind((host, port))
        except OSError:
            sock.close()
            raise
        for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
            sock.setsockopt(socket.SOL_SOCKET, option, SOCKET_BYTES)
        with suppress(OSError):  # not every system lets us; the voice goes all the same
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, EXPEDITED)
            else:
                sock.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, EXPEDITED)
        # A burst may wait for a network card; a datagram read never does (MSG_DONTWAIT).
        sock.settimeout(None)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _timeval(SEND_S_MAX))
        self.fd = sock.fileno()
        self.host = host
        self.number: int = sock.getsockname()[1]
        self.dropped = 0  # datagrams that the system did not take
        self.chunk = _Chunk()
        self.train = _Train()
        self.can_segment = syscalls.sendmmsg is not None and _can_segment(sock)

    def receive(self) -> tuple[bytes, Address] | None:
        """A datagram, or None if there is none."""
        try:
            return self.socket.recvfrom(2_048, socket.MSG_DONTWAIT)
        except OSError:  # BlockingIOError, or what ICMP said of a peer that is gone
            return None

    def send(self, data: bytes, address: Address) -> None:
        """One datagram; dropped if the system does not take it."""
        try:
            self.socket.sendto(data, address)
        except OSError:
            self.dropped += 1

    def close(self) -> None:
        self.socket.close()


class Sink:
    """One peer that is sent to: where it is, and how its packets are protected."""

    __slots__ = ("address", "handle", "number", "payload_type", "port", "raw", "tag_bytes")

    def __init__(self, port: Port, address: Address, keys: Keys, payload_type: int | None) -> None:
        """Raises srtp.NoSrtp."""
        self.number = next(_numbers)
        self.handle: Handle = srtp.open_sending(keys)
        self.tag_bytes = keys.profile.tag_bytes
        self.payload_type = payload_type
        self.move(port, address)

    def move(self, port: Port, address: Address) -> None:
        """Another path. Crowds that hold it must be told (`Crowd.moved`)."""
        self.port, self.address = port, address
        self.raw = _sockaddr(port.socket.family, address)

    def __call__(self, packet: bytes) -> None:
        """One RTP packet to this peer alone."""
        data = srtp.protect_one(self.handle, _of_type(packet, self.payload_type))
        if data is not None:
            self.port.send(data, self.address)

    def control(self, data: bytes) -> None:
        """One RTCP datagram."""
        protected = srtp.protect_control(self.handle, data)
        if protected is not None:
            self.port.send(protected, self.address)

    @property
    def kind(self) -> "Kind":
        return self.port, self.payload_type, self.tag_bytes


Kind = tuple[Port, int | None, int]
"""Port, payload type, length of the tag: sinks of one kind are sent equal headers and lengths."""


class Crowd:
    """Sinks that are sent the same packets, in no order: going costs as little as coming."""

    def __init__(self) -> None:
        self._groups: dict[Kind, _Group] = {}
        self._kinds: dict[int, Kind] = {}

    def __len__(self) -> int:
        return len(self._kinds)

    def __contains__(self, sink: Sink) -> bool:
        return sink.number in self._kinds

    def add(self, sink: Sink) -> None:
        group = self._groups.get(sink.kind)
        if group is None:
            group = self._groups[sink.kind] = _group(sink)
        group.add(sink)
        self._kinds[sink.number] = sink.kind

    def remove(self, sink: Sink) -> None:
        """If it is there."""
        kind = self._kinds.pop(sink.number, None)
        if kind is not None:
            group = self._groups[kind]
            group.remove(sink)
            if not len(group):
                del self._groups[kind]

    def moved(self, sink: Sink) -> None:
        """The sink has another address."""
        if sink in self:
            self.remove(sink)
            self.add(sink)

    def send(self, packet: bytes) -> None:
        """Protect and send a plain RTP packet of at most 1,484 bytes to each. Raises nothing."""
        for group in self._groups.values():
            group.send(packet)

    def send_together(self, packets: Sequence[bytes]) -> None:
        """Several packets, which cost little more than one where the system cuts them apart (UDP
        segmentation offload); at most SEGMENTS_MAX. Shorter ones are padded."""
        lengths = [len(packet) for packet in packets]
        if len(packets) == 1 or max(lengths) - min(lengths) > PADDING_MAX:
            for packet in packets:
                self.send(packet)
            return
        packets = [_pad(packet, max(lengths) - len(packet)) for packet in packets]
        for group in self._groups.values():
            group.send_together(packets)


def gather(sends: Sequence[Callable[[bytes], None]]) -> Callable[[bytes], None]:
    """One send for many sinks; what carry/batch.py asks for. Any of them may be no sink."""
    crowd, others = Crowd(), []
    for send in sends:
        if isinstance(send, Sink):
            crowd.add(send)
        else:
            others.append(send)
    if not others:
        return crowd.send

    def send_all(packet: bytes) -> None:
        crowd.send(packet)
        for send in others:
            send(packet)

    return send_all


def _group(sink: Sink) -> "_Group":
    return _Group(sink) if syscalls.sendmmsg is not None else _SlowGroup(sink)


class _Group:
    """A crowd of one kind."""

    _messages: syscalls.Pointer
    _train_messages: syscalls.Pointer

    def __init__(self, like: Sink) -> None:
        self._port, self._payload_type, self._tag_bytes = like.kind
        self._sinks: list[Sink] = []
        self._handles: list[Handle] = []
        self._places: dict[int, int] = {}
        self._grow(CAPACITY_MIN)

    def __len__(self) -> int:
        return len(self._sinks)

    def add(self, sink: Sink) -> None:
        place = len(self._sinks)
        if place == self._capacity:
            self._grow(2 * place)
        self._places[sink.number] = place
        self._sinks.append(sink)
        self._handles.append(sink.handle)
        self._set_address(place, sink)

    def remove(self, sink: Sink) -> None:
        """The last takes its place."""
        place = self._places.pop(sink.number)
        last = self._sinks.pop()
        self._handles.pop()
        if last is not sink:
            self._sinks[place] = last
            self._handles[place] = last.handle
            self._places[last.number] = place
            self._set_address(place, last)

    def send(self, packet: bytes) -> None:
        packet = _of_type(packet, self._payload_type)
        chunk, handles = self._port.chunk, self._handles
        chunk.begin(packet, self._tag_bytes, len(handles))
        for start in range(0, len(handles), CHUNK):
            some = handles[start : start + CHUNK]
            chunk.fill(len(some))
            codes = list(map(srtp.protect, some, chunk.rows, chunk.lengths))
            if not any(codes):
                self._send(start, len(some))
                continue
            # Security: what libsrtp refuses stands there in clear and must not leave.
            # Test: test_port.py::test_a_packet_that_is_not_protected_does_not_leave
            for place, code in enumerate(codes, start):
                if code:
                    self._port.dropped += 1
                else:
                    self._send(place, 1)

    def send_together(self, packets: Sequence[bytes]) -> None:
        """Packets of one length."""
        port, handles = self._port, self._handles
        if not port.can_segment:
            for packet in packets:
                self.send(packet)
            return
        train = port.train
        packets = [_of_type(packet, self._payload_type) for packet in packets]
        train.begin(packets, self._tag_bytes, len(handles))
        messages = self._trains(len(packets))
        for start in range(0, len(handles), CHUNK):
            some = handles[start : start + CHUNK]
            if train.protect(some, len(packets)):
                self._send(start, len(some), messages)
                continue
            # One of them was refused for somebody: what each may be sent goes by itself.
            for place in range(len(some)):
                for data in train.protected(place):
                    port.send(data, self._sinks[start + place].address)

    def _send(self, start: int, number: int, messages: syscalls.Pointer = None) -> None:
        """A bad address does not starve those behind it: it is passed over."""
        if messages is None:
            messages = self._messages
        done = 0
        while done < number:
            sent = syscalls.sendmmsg(self._port.fd, messages + (start + done), number - done, 0)
            if sent > 0:
                done += sent
            elif syscalls.last_errno() in syscalls.WOULD_BLOCK:
                self._port.dropped += number - done
                return
            elif syscalls.last_errno() == errno.EIO and messages is not self._messages:
                self._port.can_segment = False  # this way out cannot; the next packets go singly
                self._port.dropped += number - done
                return
            elif syscalls.last_errno() != errno.EINTR:
                self._port.dropped += 1
                done += 1

    def _trains(self, length: int) -> syscalls.Pointer:
        """The messages for trains of so many packets."""
        if self._train_messages is None:
            self._train_messages, view = self._port.train.messages(self._capacity)
            for each in ("name", "name_bytes"):
                view[each] = np.frombuffer(syscalls.ffi.buffer(self._messages), _MESSAGE)[each]
            self._train_counts = view["iov_count"]
            self._train_counts[:] = self._train_length = length
        if length != self._train_length:
            self._train_counts[:] = self._train_length = length
        return self._train_messages

    def _grow(self, capacity: int) -> None:
        self._capacity = capacity
        self._train_messages = None  # made when they are first needed
        self._train_length = 0
        self._messages = syscalls.ffi.new("struct mmsghdr[]", capacity)
        self._addresses = syscalls.ffi.new("char[]", capacity * _SOCKADDR_BYTES)
        self._address_bytes = syscalls.ffi.buffer(self._addresses)
        messages = np.frombuffer(syscalls.ffi.buffer(self._messages), _MESSAGE)
        places = np.arange(capacity, dtype=np.uint64)
        messages["name"] = _address_of(self._addresses) + places * _SOCKADDR_BYTES
        messages["name_bytes"] = _sockaddr_bytes(self._port.socket.family)
        messages["iov"] = self._port.chunk.iov_address + places % CHUNK * _IOVEC_BYTES
        messages["iov_count"] = 1
        for place, sink in enumerate(self._sinks):
            self._set_address(place, sink)

    def _set_address(self, place: int, sink: Sink) -> None:
        at = place * _SOCKADDR_BYTES
        self._address_bytes[at : at + len(sink.raw)] = sink.raw


class _SlowGroup(_Group):
    """Where the system sends only one datagram in a call."""

    def _send(self, start: int, number: int, messages: syscalls.Pointer = None) -> None:
        chunk, port = self._port.chunk, self._port
        for place in range(start, start + number):
            port.send(chunk.row(place % CHUNK), self._sinks[place].address)


class _Rows:
    """CHUNK rows of one length, one after the other."""

    def __init__(self, row_bytes: int) -> None:
        self.row_bytes = row_bytes
        self.memory = srtp.new("char[]", CHUNK * row_bytes)
        self.pointers = [self.memory + n * row_bytes for n in range(CHUNK)]
        address = int(srtp.cast("uintptr_t", self.memory))
        self.bases = address + np.arange(CHUNK, dtype=np.uint64) * row_bytes


class _Chunk:
    """CHUNK copies of a packet, and where `sendmmsg` finds them; one for all crowds of a port."""

    def __init__(self) -> None:
        self._iov = syscalls.ffi.new("struct iovec[]", CHUNK)
        self.iov_address = _address_of(self._iov)
        view = np.frombuffer(syscalls.ffi.buffer(self._iov), np.uint64).reshape(CHUNK, 2)
        self._bases, self._sizes = view[:, 0], view[:, 1]
        self.size = 0  # of each row once it is protected
        self._memory = srtp.new("int[]", CHUNK)
        self.lengths = [self._memory + n for n in range(CHUNK)]
        self._layouts = [_Rows(row_bytes) for row_bytes in ROWS_BYTES]
        self._lay(self._layouts[0])
        self._copies = b""
        self._counts = b""

    def begin(self, packet: bytes, tag_bytes: int, number: int) -> None:
        """This packet is next, for so many sinks."""
        size = len(packet)
        if size + srtp.TRAILER_BYTES_MAX > self._rows.row_bytes or self._rows.row_bytes > size * 8:
            self._lay(
                next(r for r in self._layouts if size + srtp.TRAILER_BYTES_MAX <= r.row_bytes)
            )
        if size + tag_bytes != self.size:
            self.size = size + tag_bytes
            self._sizes[:] = self.size
        number = min(number, CHUNK)
        self._copies = packet.ljust(self._rows.row_bytes, b"\0") * number
        self._counts = _INT.pack(size) * number

    def fill(self, number: int) -> None:
        """So many rows and lengths as they are before they are protected."""
        srtp.move(self._rows.memory, self._copies, number * self._rows.row_bytes)
        srtp.move(self._memory, self._counts, number * _INT.size)

    def row(self, number: int) -> bytes:
        """As it is now."""
        at = number * self._rows.row_bytes
        data: bytes = srtp.read(self._rows.memory + at, self.size)
        return data

    def _lay(self, rows: _Rows) -> None:
        self._rows = rows
        self.rows = rows.pointers
        self.bases = rows.bases
        self._bases[:] = rows.bases


class _Train:
    """Up to SEGMENTS_MAX packets for each of CHUNK sinks: a message is as many pieces, and leaves
    as as many datagrams."""

    def __init__(self) -> None:
        self._chunks = [_Chunk() for _ in range(SEGMENTS_MAX)]
        self._iov = syscalls.ffi.new("struct iovec[]", CHUNK * SEGMENTS_MAX)
        view = np.frombuffer(syscalls.ffi.buffer(self._iov), np.uint64)
        self._view = view.reshape(CHUNK, SEGMENTS_MAX, 2)
        self._control = syscalls.ffi.new("struct segment_size *")
        self._control.cmsg_len = syscalls.SEGMENT_SIZE_LENGTH
        self._control.cmsg_level = syscalls.SOL_UDP
        self._control.cmsg_type = syscalls.UDP_SEGMENT
        self._codes: list[list[int]] = []

    def begin(self, packets: Sequence[bytes], tag_bytes: int, number: int) -> None:
        """These are next, for so many sinks."""
        self._control.size = len(packets[0]) + tag_bytes
        for place, packet in enumerate(packets):
            chunk = self._chunks[place]
            chunk.begin(packet, tag_bytes, number)
            self._view[:, place, 0] = chunk.bases
            self._view[:, place, 1] = chunk.size

    def protect(self, handles: Sequence[Handle], length: int) -> bool:
        """Whether all packets are protected for all of these."""
        self._codes = []
        for chunk in self._chunks[:length]:
            chunk.fill(len(handles))
            self._codes.append(list(map(srtp.protect, handles, chunk.rows, chunk.lengths)))
        return not any(map(any, self._codes))

    def protected(self, place: int) -> list[bytes]:
        """Of one sink, those packets that are."""
        pairs = zip(self._codes, self._chunks, strict=False)
        return [chunk.row(place) for codes, chunk in pairs if not codes[place]]

    def messages(self, number: int) -> tuple[syscalls.Pointer, Any]:
        """So many messages, and a view of their fields; who they go to is not filled in."""
        messages = syscalls.ffi.new("struct mmsghdr[]", number)
        view = np.frombuffer(syscalls.ffi.buffer(messages), _MESSAGE)
        places = np.arange(number, dtype=np.uint64) % CHUNK
        view["iov"] = _address_of(self._iov) + places * (SEGMENTS_MAX * _IOVEC_BYTES)
        view["control"] = _address_of(self._control)
        view["control_bytes"] = syscalls.ffi.sizeof("struct segment_size")
        return messages, view


def _can_segment(sock: socket.socket) -> bool:
    try:
        sock.setsockopt(syscalls.SOL_UDP, syscalls.UDP_SEGMENT, 0)
    except OSError:
        return False
    return True


def _pad(packet: bytes, missing: int) -> bytes:
    """So much longer, by padding of RTP (RFC 3550 §5.1): segments must be of one length."""
    if not missing:
        return packet
    return b"%c%b%b%c" % (packet[0] | _PADDED, packet[1:], bytes(missing - 1), missing)


def _of_type(packet: bytes, payload_type: int | None) -> bytes:
    kind = packet[1]
    if payload_type is None or kind & 0x7F == payload_type:
        return packet
    return b"%c%c%b" % (packet[0], kind & 0x80 | payload_type, packet[2:])


def _sockaddr(family: int, address: Address) -> bytes:
    """As the kernel of Linux reads it."""
    host, port, *rest = address
    if family == socket.AF_INET:
        return (
            struct.pack("=H", family) + struct.pack("!H", port) + socket.inet_aton(host) + bytes(8)
        )
    flow, scope = rest or (0, 0)
    packed = socket.inet_pton(socket.AF_INET6, host.partition("%")[0])
    return struct.pack("=H", family) + struct.pack("!HI", port, flow) + packed + _INT.pack(scope)


def _sockaddr_bytes(family: int) -> int:
    return 28 if family == socket.AF_INET6 else 16


def _address_of(pointer: Any) -> int:  # noqa: ANN401 - cffi's
    address: int = int(syscalls.ffi.cast("uintptr_t", pointer))
    return address


def _timeval(seconds: float) -> bytes:
    return struct.pack("@ll", int(seconds), int(seconds % 1 * 1e6))
