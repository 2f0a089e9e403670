"""One UDP port for all peers: its socket, and what is known of whoever is sent to from it.

Many who are sent the same packet are a crowd (crowd.py); a Sink alone sends only now and then.
"""

import socket
import struct
from contextlib import suppress
from functools import cached_property
from itertools import count
from typing import Final

import numpy as np

from p2phouse.link import gcm, srtp, syscalls
from p2phouse.link.gcm import Flows, Receiver
from p2phouse.link.handshake import Keys, Profile
from p2phouse.link.ice import EXPEDITED
from p2phouse.link.lite import Address
from p2phouse.link.near import keep_near
from p2phouse.link.srtp import Handle

# The last of 1,000 sinks waits for all before it, and the first need not: of 16 to 1,000 sinks in a
# call none costs less CPU than another.
CHUNK: Final = 64
SEGMENTS_MAX: Final = 4  # packets that go together: one of each slot of a room
SOCKET_BYTES: Final = 4 * 1024 * 1024  # 3,000 packets on their way to a slow network card
SEND_S_MAX: Final = 0.020  # past this the network is the bottleneck, and late sound is worth less

SOCKADDR_BYTES: Final = 28  # of sockaddr_in6, the longer of the two
IOVEC_BYTES: Final = syscalls.ffi.sizeof("struct iovec")
_numbers = count(1)


class Port:
    """The socket of one local address."""

    def __init__(self, host: str, port: int, *, stays_near: bool = False) -> None:
        """port: 0 for any. stays_near: no router passes on what it sends. Raises OSError."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.socket = sock = socket.socket(family, socket.SOCK_DGRAM)
        try:
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.bind((host, port))
        except OSError:
            sock.close()
            raise
        self.stays_near = stays_near
        if stays_near:
            # Security: a room for one network stays in it, also for its guests.
            # Test: test_port.py::test_what_has_to_stay_near_is_passed_on_by_no_router
            keep_near(sock)
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
        self.octets = 0  # sent, with the headers of UDP and IP: what a provider counts
        self._head = 48 if family == socket.AF_INET6 else 28
        self.can_segment = syscalls.sendmmsg is not None and _can_segment(sock)

    @cached_property
    def tray(self) -> "Tray":
        """For crowds; one is enough, since none is filled before the last was sent."""
        return Tray(CHUNK * SEGMENTS_MAX * srtp.DATAGRAM_BYTES_MAX)

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
        else:
            self.octets += len(data) + self._head

    def count(self, messages: int, size: int, cut: int) -> None:
        """Messages of one size were sent. cut: the size of the datagrams in each; 0: it is one."""
        datagrams = -(-size // cut) if cut else 1
        self.octets += messages * (size + datagrams * self._head)

    def close(self) -> None:
        self.socket.close()


class Tray:
    """CHUNK rows of one length, one behind the other, and where `sendmmsg` finds each."""

    def __init__(self, size: int) -> None:
        self.memory = srtp.new("char[]", size)
        self._address = int(srtp.cast("uintptr_t", self.memory))
        self._iov = syscalls.ffi.new("struct iovec[]", CHUNK)
        self.iov_address = syscalls.address_of(self._iov)
        view = np.frombuffer(syscalls.ffi.buffer(self._iov), np.uint64).reshape(CHUNK, 2)
        self._bases, self._sizes = view[:, 0], view[:, 1]
        self._places = np.arange(CHUNK, dtype=np.uint64)
        self._distance = self.size = 0

    def lay(self, distance: int, size: int) -> None:
        """Rows begin so far from each other, and so much of each is sent."""
        if distance != self._distance:
            self._distance = distance
            self._bases[:] = self._address + self._places * distance
        if size != self.size:
            self.size = size
            self._sizes[:] = size

    def row(self, place: int) -> bytes:
        return srtp.read(self.memory + place * self._distance, self.size)


class Sink:
    """One peer that is sent to: where it is, and how its packets are protected."""

    __slots__ = (
        "_alone",
        "_handle",
        "_session",
        "address",
        "flows",
        "keys",
        "number",
        "payload_type",
        "port",
        "raw",
    )

    def __init__(self, port: Port, address: Address, keys: Keys, payload_type: int | None) -> None:
        """payload_type: what its packets are given in place of their own."""
        self.number = next(_numbers)
        self.keys = keys
        self.payload_type = payload_type
        self.flows: Flows | None = None  # whose voices it is sent
        self._handle: Handle | None = None
        self._session: tuple[gcm.Session, Receiver] | None = None
        self.move(port, address)

    def move(self, port: Port, address: Address) -> None:
        """Another path. Crowds that hold it must be told (`Crowd.moved`)."""
        self.port, self.address = port, address
        self.raw = _sockaddr(port.socket.family, address)

    def control(self, data: bytes) -> None:
        """One RTCP datagram."""
        protected = srtp.protect_control(self.handle, data)
        if protected is not None:
            self.port.send(protected, self.address)

    @property
    def handle(self) -> Handle:
        """libsrtp's, made when it is first needed: a listener under AES-GCM has none."""
        if self._handle is None:
            self._handle = srtp.open_sending(self.keys)
        return self._handle

    @property
    def session(self) -> tuple[gcm.Session, Receiver]:
        if self._session is None:
            session = gcm.session(self.keys)
            self._session = session, Receiver(session.salt)
        return self._session

    @property
    def is_spent(self) -> bool:
        """Whether its keys were used for as many voices as they may be."""
        return self._session is not None and self._session[1].is_full

    @property
    def kind(self) -> "Kind":
        return self.port, self.payload_type, self.keys.profile


Kind = tuple[Port, int | None, Profile]
"""Sinks of one kind are sent packets of equal headers and lengths by one socket."""


def _can_segment(sock: socket.socket) -> bool:
    try:
        sock.setsockopt(syscalls.SOL_UDP, syscalls.UDP_SEGMENT, 0)
    except OSError:
        return False
    return True


def _sockaddr(family: int, address: Address) -> bytes:
    """As the kernel of Linux reads it."""
    host, port, *rest = address
    head, tail = struct.pack("=H", family), struct.pack("!H", port)
    if family == socket.AF_INET:
        return head + tail + socket.inet_aton(host) + bytes(8)
    flow, scope = rest or (0, 0)
    packed = socket.inet_pton(socket.AF_INET6, host.partition("%")[0])
    return head + tail + struct.pack("!I", flow) + packed + struct.pack("=I", scope)


def sockaddr_bytes(family: int) -> int:
    return 28 if family == socket.AF_INET6 else 16


def _timeval(seconds: float) -> bytes:
    return struct.pack("@ll", int(seconds), int(seconds % 1 * 1e6))
