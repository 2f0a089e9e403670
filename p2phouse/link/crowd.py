"""Many sinks that are sent the same packet in one call, and no bytecode for any of them.

Everything that `sendmmsg` needs lies in flat arrays that change when a sink comes or goes, never
per packet: ciphers, nonces but for the seq, addresses, messages. A packet is encrypted for a chunk
of sinks by one `map` over C functions, laid out in one piece of memory, and leaves in one call.
What that costs and what else was tried: docs/adr/0017-one-port-for-all-listeners.md.
"""

import errno
import struct
from collections.abc import Callable, Sequence
from functools import cache
from itertools import chain, repeat
from typing import Any, Final, NamedTuple

import numpy as np
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from p2phouse.link import gcm, srtp, syscalls
from p2phouse.link.gcm import NONCE_BYTES, Flow, Flows
from p2phouse.link.port import (
    CHUNK,
    IOVEC_BYTES,
    SEGMENTS_MAX,
    SOCKADDR_BYTES,
    Kind,
    Sink,
    Tray,
    sockaddr_bytes,
)
from p2phouse.link.srtp import Handle
from p2phouse.vocabulary import Ssrc
from p2phouse.voice.packet import wraps_soon

CAPACITY_MIN: Final = 16
PADDING_MAX: Final = 255  # RFC 3550 §5.1: its length is one byte
ROWS_BYTES: Final = (256, 768, 1_536)  # a packet of 32 kb/s, of 128 kb/s sealed, any other

_PADDED: Final = 0x20
_WORD: Final = np.dtype("<u2")
_INT: Final = struct.Struct("@i")
_SEQ_SSRC: Final = struct.Struct("!HxxxxI")
_MESSAGE: Final = np.dtype(
    {
        "names": ["name", "name_bytes", "iov", "iov_count", "control", "control_bytes"],
        "formats": [np.uint64, np.uint32, np.uint64, np.uint64, np.uint64, np.uint64],
        "offsets": [0, 8, 16, 24, 32, 40],
        "itemsize": syscalls.ffi.sizeof("struct mmsghdr"),
    }
)


Send = Callable[[bytes], None]


class Item(NamedTuple):
    """A packet that goes to a crowd, and what of its nonce is the same for all."""

    packet: bytes
    ssrc: Ssrc
    seq: int
    flow: Flow
    wraps: int


class Crowd:
    """Sinks that are sent the same packets, in no order: going costs as little as coming."""

    def __init__(self, flows: Flows | None = None) -> None:
        """flows: shared by all crowds to which one sink may belong."""
        self._flows = Flows() if flows is None else flows
        self._groups: dict[Kind, _Group] = {}
        self._kinds: dict[int, Kind] = {}

    def __len__(self) -> int:
        return len(self._kinds)

    def __contains__(self, sink: Sink) -> bool:
        return sink.number in self._kinds

    def add(self, sink: Sink) -> None:
        # Security: what one sink is sent is counted in one place, or nonces could repeat.
        assert sink.flows is None or sink.flows is self._flows
        sink.flows = self._flows
        group = self._groups.get(sink.kind)
        if group is None:
            is_gcm = sink.keys.profile.is_gcm
            group = self._groups[sink.kind] = _GcmGroup(sink) if is_gcm else _OtherGroup(sink)
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
        item = self._item(packet)
        if item is not None:
            for group in self._groups.values():
                group.send((item,))

    def send_together(self, packets: Sequence[bytes]) -> None:
        """Several packets, which cost little more than one where the system cuts them apart (UDP
        segmentation offload); at most SEGMENTS_MAX. Shorter ones are padded."""
        assert len(packets) <= SEGMENTS_MAX
        lengths = [len(packet) for packet in packets]
        if len(packets) > 1 and max(lengths) - min(lengths) <= PADDING_MAX:
            packets = [_pad(packet, max(lengths) - len(packet)) for packet in packets]
            items = [item for packet in packets if (item := self._item(packet))]
            for group in self._groups.values():
                group.send(items)
        else:
            for packet in packets:
                self.send(packet)

    def _item(self, packet: bytes) -> Item | None:
        seq, number = _SEQ_SSRC.unpack_from(packet, 2)
        ssrc = Ssrc(number)
        flow = self._flows.of(ssrc)
        wraps = flow.admit(seq, packet)
        return None if wraps is None else Item(packet, ssrc, seq, flow, wraps)


def gatherer(
    flows: Flows,
) -> Callable[[Sequence[Callable[[bytes], None]]], Callable[[bytes], None]]:
    """What carry/batch.py asks for: it makes one send of many sinks."""

    def gather(sends: Sequence[Callable[[bytes], None]]) -> Callable[[bytes], None]:
        crowd = Crowd(flows)
        for send in sends:
            assert isinstance(send, Alone)
            crowd.add(send.sink)
        return crowd.send

    return gather


class Alone:
    """A sink as a send of its own, for the one forwarder that gathers."""

    __slots__ = ("_crowd", "_flows", "sink")

    def __init__(self, sink: Sink, flows: Flows) -> None:
        self.sink = sink
        self._flows = flows
        self._crowd: Crowd | None = None  # made if anybody does not gather

    def __call__(self, packet: bytes) -> None:
        if self._crowd is None:
            self._crowd = Crowd(self._flows)
            self._crowd.add(self.sink)
        self._crowd.send(packet)


class _Group:
    """A crowd of one kind: who is in it, and how a chunk that lies in a tray gets to them."""

    _messages: syscalls.Pointer

    def __init__(self, like: Sink, tray: Tray) -> None:
        self._port, self._payload_type, self._profile = like.kind
        self._tray = tray
        self._sinks: list[Sink] = []
        self._places: dict[int, int] = {}
        self._control = syscalls.ffi.new("struct segment_size *")
        self._is_cut = False  # whether messages are several datagrams
        self._grow(CAPACITY_MIN)

    def __len__(self) -> int:
        return len(self._sinks)

    def add(self, sink: Sink) -> None:
        place = len(self._sinks)
        if place == self._capacity:
            self._grow(2 * place)
        self._places[sink.number] = place
        self._sinks.append(sink)
        self._set_address(place, sink)

    def remove(self, sink: Sink) -> int:
        """The last takes its place, which is returned."""
        place = self._places.pop(sink.number)
        last = self._sinks.pop()
        if last is not sink:
            self._sinks[place] = last
            self._places[last.number] = place
            self._set_address(place, last)
        return place

    def send(self, items: Sequence[Item]) -> None:
        raise NotImplementedError

    def _send_rows(self, start: int, number: int) -> bool:
        """False if the system takes no more for now: then the rest of the crowd is not tried, for
        each try would wait. A bad address does not starve those behind it: it is passed over."""
        if syscalls.sendmmsg is None:
            for row in range(number):
                self._port.send(self._tray.row(row), self._sinks[start + row].address)
            return True
        done = 0
        while done < number:
            messages = self._messages + (start + done)
            sent = syscalls.sendmmsg(self._port.fd, messages, number - done, 0)
            if sent > 0:
                done += sent
                self._port.count(sent, self._tray.size, self._control.size if self._is_cut else 0)
            elif syscalls.last_errno() in syscalls.WOULD_BLOCK:
                self._port.dropped += len(self._sinks) - start - done
                return False
            elif syscalls.last_errno() == errno.EIO and self._is_cut:
                self._port.can_segment = False  # this way out cannot; the next packets go singly
                self._port.dropped += len(self._sinks) - start - done
                return False
            elif syscalls.last_errno() != errno.EINTR:
                self._port.dropped += 1
                done += 1
        return True

    def _cut(self, size: int) -> None:
        """Messages are datagrams of this size; 0: each is one."""
        self._control.size = size
        if bool(size) is not self._is_cut:
            self._is_cut = bool(size)
            self._view["control"] = syscalls.address_of(self._control) if size else 0
            self._view["control_bytes"] = syscalls.SEGMENT_SIZE_SPACE if size else 0

    def _grow(self, capacity: int) -> None:
        self._capacity = capacity
        self._messages = syscalls.ffi.new("struct mmsghdr[]", capacity)
        self._addresses = syscalls.ffi.new("char[]", capacity * SOCKADDR_BYTES)
        self._address_bytes = syscalls.ffi.buffer(self._addresses)
        self._view = view = np.frombuffer(syscalls.ffi.buffer(self._messages), _MESSAGE)
        places = np.arange(capacity, dtype=np.uint64)
        view["name"] = syscalls.address_of(self._addresses) + places * SOCKADDR_BYTES
        view["name_bytes"] = sockaddr_bytes(self._port.socket.family)
        # A chunk begins at a multiple of CHUNK, and its rows lie in the tray from its beginning.
        view["iov"] = self._tray.iov_address + places % CHUNK * IOVEC_BYTES
        view["iov_count"] = 1
        self._is_cut = False
        self._control.cmsg_len = syscalls.SEGMENT_SIZE_LENGTH
        self._control.cmsg_level = syscalls.SOL_UDP
        self._control.cmsg_type = syscalls.UDP_SEGMENT
        for place, sink in enumerate(self._sinks):
            self._set_address(place, sink)

    def _set_address(self, place: int, sink: Sink) -> None:
        at = place * SOCKADDR_BYTES
        self._address_bytes[at : at + len(sink.raw)] = sink.raw


class _Lane:
    """One voice in one group: each sink's nonce for its last packet, in the order of the sinks."""

    __slots__ = ("_seq", "_tails", "barred", "count", "flow", "memory", "wraps")

    _tails: Any  # numpy's view of where the seqs belong

    def __init__(self, flow: Flow, wraps: int) -> None:
        self.flow = flow
        self.wraps = wraps
        self.count = 0  # of sinks whose nonce is there
        self.barred: set[int] = set()  # places of those that cannot be sent this voice
        self._seq = 0  # that the nonces are of
        self.memory = bytearray()
        self._lay()

    def turn(self, seq: int) -> None:
        """The nonces are of this seq now."""
        if seq != self._seq:
            self._tails ^= (seq ^ self._seq) >> 8 | (seq ^ self._seq) << 8 & 0xFF00
            self._seq = seq

    def extend(self, bases: Sequence[bytes | None], capacity: int) -> None:
        """The nonces of more sinks, but for the seq; None: that one is barred."""
        self.turn(0)
        self.barred |= {place for place, base in enumerate(bases, self.count) if base is None}
        new = b"".join(base or bytes(NONCE_BYTES) for base in bases)
        at = self.count * NONCE_BYTES
        self.count += len(bases)
        if self.count * NONCE_BYTES > len(self.memory):
            kept = self.memory[:at]
            self._tails = None
            self.memory = bytearray(capacity * NONCE_BYTES)
            self.memory[:at] = kept
            self._lay()
        self.memory[at : at + len(new)] = new

    def shrink(self, count: int) -> None:
        """Only the first so many are still right."""
        self.count = min(self.count, count)
        self.barred = {each for each in self.barred if each < count}

    def _lay(self) -> None:
        # The last two bytes of each nonce, where the seq belongs, highest byte first; as words with
        # the lowest byte first, so `turn` swaps its own.
        words = np.frombuffer(self.memory, _WORD)
        self._tails = words[NONCE_BYTES // 2 - 1 :: NONCE_BYTES // 2]


def _is_uneven(lane: _Lane, item: Item) -> bool:
    """Whether not everybody can be sent the packet in one way."""
    return bool(lane.barred) or lane.wraps != item.wraps


class _GcmGroup(_Group):
    """Under AES-GCM: our own RFC 7714."""

    def __init__(self, like: Sink) -> None:
        super().__init__(like, like.port.tray)
        self._ciphers: list[AESGCM] = []
        self._lanes: dict[Ssrc, _Lane] = {}

    def add(self, sink: Sink) -> None:
        super().add(sink)
        self._ciphers.append(sink.session[0].cipher)

    def remove(self, sink: Sink) -> int:
        place = super().remove(sink)
        last = self._ciphers.pop()
        if place < len(self._ciphers):
            self._ciphers[place] = last
        for lane in self._lanes.values():
            lane.shrink(place)  # from there on they are made anew
        return place

    def send(self, items: Sequence[Item]) -> None:
        if len(items) > 1 and self._port.can_segment:
            self._send_cut(items)
            return
        for item in items:
            self._send_one(item)

    def _send_one(self, item: Item) -> None:
        lane = self._lane(item)
        if lane.barred or lane.wraps != item.wraps:
            self._send_singly(item)
            return
        packet = _of_type(item.packet, self._payload_type)
        size = gcm.header_bytes(packet)
        header, body = packet[:size], packet[size:]
        lane.turn(packet[2] << 8 | packet[3])
        size = len(packet) + gcm.TAG_BYTES
        self._cut(0)
        self._tray.lay(size, size)
        for start in range(0, len(self._ciphers), CHUNK):
            ciphers = self._ciphers[start : start + CHUNK]
            nonces = _nonces(len(ciphers)).unpack_from(lane.memory, start * NONCE_BYTES)
            sealed = map(AESGCM.encrypt, ciphers, nonces, repeat(body), repeat(header))
            data = header + header.join(sealed)
            srtp.move(self._tray.memory, data, len(data))
            if not self._send_rows(start, len(ciphers)):
                return

    def _send_cut(self, items: Sequence[Item]) -> None:
        """All as one message for each sink, which the system cuts apart."""
        lanes = [self._lane(item) for item in items]
        if any(map(_is_uneven, lanes, items)):
            for item in items:
                self._send_one(item)
            return
        parts = []
        for item, lane in zip(items, lanes, strict=True):
            packet = _of_type(item.packet, self._payload_type)
            size = gcm.header_bytes(packet)
            lane.turn(packet[2] << 8 | packet[3])
            # A copy, for two of the packets may be of one voice.
            parts.append((packet[:size], packet[size:], bytes(lane.memory)))
        size = len(items[0].packet) + gcm.TAG_BYTES
        self._cut(size)
        self._tray.lay(len(items) * size, len(items) * size)
        for start in range(0, len(self._ciphers), CHUNK):
            ciphers = self._ciphers[start : start + CHUNK]
            columns: list[Any] = []
            for header, body, memory in parts:
                nonces = _nonces(len(ciphers)).unpack_from(memory, start * NONCE_BYTES)
                columns.append(repeat(header))
                columns.append(map(AESGCM.encrypt, ciphers, nonces, repeat(body), repeat(header)))
            data = b"".join(chain.from_iterable(zip(*columns, strict=False)))
            srtp.move(self._tray.memory, data, len(data))
            if not self._send_rows(start, len(ciphers)):
                return

    def _lane(self, item: Item) -> _Lane:
        """Of this voice, with a nonce for each sink, unless the packet is from before a wrap."""
        lane = self._lanes.get(item.ssrc)
        if lane is None or lane.flow is not item.flow:
            lane = self._lanes[item.ssrc] = _Lane(item.flow, item.wraps)
        if item.wraps > lane.wraps:
            lane.wraps = item.wraps
            lane.shrink(0)
        if lane.count < len(self._sinks) and item.wraps == lane.wraps:
            missing = self._sinks[lane.count :]
            # Security: else who comes just then might never hear this voice.
            # Test: test_crowd.py::test_a_voice_that_is_about_to_wrap_begins_after_it
            may_begin = not wraps_soon(item.seq)
            bases = [
                each.session[1].base(item.ssrc, item.flow, item.wraps, may_begin=may_begin)
                for each in missing
            ]
            lane.extend(bases, self._capacity)
        return lane

    def _send_singly(self, item: Item) -> None:
        """The rare ways: just before a wrap that others have passed, or not to everybody."""
        packet = _of_type(item.packet, self._payload_type)
        size = gcm.header_bytes(packet)
        header, body, seq = packet[:size], packet[size:], int.from_bytes(packet[2:4])
        for sink in self._sinks:
            session, receiver = sink.session
            base = receiver.base(item.ssrc, item.flow, item.wraps, may_begin=False)
            if base is not None:
                nonce = (int.from_bytes(base) ^ seq).to_bytes(NONCE_BYTES)
                data = header + session.cipher.encrypt(nonce, body, header)
                self._port.send(data, sink.address)


class _OtherGroup(_Group):
    """Under another cipher: libsrtp's, on prepared pointers. Few browsers need it."""

    def __init__(self, like: Sink) -> None:
        super().__init__(like, Tray(CHUNK * ROWS_BYTES[-1]))
        self._handles: list[Handle] = []
        self._sizes = srtp.new("int[]", CHUNK)
        self._size_pointers = [self._sizes + row for row in range(CHUNK)]
        self._rows = {
            row_bytes: [self._tray.memory + row * row_bytes for row in range(CHUNK)]
            for row_bytes in ROWS_BYTES
        }

    def add(self, sink: Sink) -> None:
        super().add(sink)
        self._handles.append(sink.handle)

    def remove(self, sink: Sink) -> int:
        place = super().remove(sink)
        last = self._handles.pop()
        if place < len(self._handles):
            self._handles[place] = last
        return place

    def send(self, items: Sequence[Item]) -> None:
        for item in items:
            self._send_one(_of_type(item.packet, self._payload_type))

    def _send_one(self, packet: bytes) -> None:
        size = len(packet)
        row_bytes = next(each for each in ROWS_BYTES if size + srtp.TRAILER_BYTES_MAX <= each)
        rows, number = self._rows[row_bytes], min(CHUNK, len(self._handles))
        copies, sizes = packet.ljust(row_bytes, b"\0") * number, _INT.pack(size) * number
        self._tray.lay(row_bytes, size + self._profile.tag_bytes)
        for start in range(0, len(self._handles), CHUNK):
            some = self._handles[start : start + CHUNK]
            srtp.move(self._tray.memory, copies, len(some) * row_bytes)
            srtp.move(self._sizes, sizes, len(some) * _INT.size)
            codes = list(map(srtp.protect, some, rows, self._size_pointers))
            if not any(codes):
                if not self._send_rows(start, len(some)):
                    return
                continue
            # Security: what libsrtp refuses stands there in clear and must not leave.
            # Test: test_crowd.py::test_a_packet_that_is_not_protected_does_not_leave
            for row, code in enumerate(codes):
                if code:
                    self._port.dropped += 1
                else:
                    self._port.send(self._tray.row(row), self._sinks[start + row].address)


@cache
def _nonces(number: int) -> struct.Struct:
    """So many nonces that lie one behind the other; at most CHUNK kinds of it."""
    return struct.Struct(f"{NONCE_BYTES}s" * number)


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
