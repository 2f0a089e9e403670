"""What a crowd hears: packets of thousands of sockets into one block of memory, read by `map`.

One call of `recvmmsg` for each socket that has something, and none of Python's objects for any
packet: numpy sees all headers of a round at once. Every eighth socket has its arrival times from
the kernel, so that it does not matter how long a packet waits here until it is looked at.
"""

import itertools
import select
import socket
import sys
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import numpy as np
from cffi import FFI
from numpy.typing import NDArray

from p2phouse.errors import UserError
from p2phouse.link import syscalls

AT_ONCE: Final = 8  # datagrams of a socket in one call
ROW_BYTES: Final = 256  # a packet of 32 kb/s, an answer to a check
HEADER_BYTES: Final = 12
CONTROL_BYTES: Final = 64
SO_TIMESTAMPNS: Final = 35  # asm-generic/socket.h; the socket module does not name it

ffi: Any = FFI()
ffi.include(syscalls.ffi)
ffi.cdef("int recvmmsg(int fd, struct mmsghdr *messages, unsigned n, int flags, void *timeout);")

_MESSAGE: Final = np.dtype(
    {
        "names": ["iov", "iov_count", "control", "control_bytes", "size"],
        "formats": [np.uint64, np.uint64, np.uint64, np.uint64, np.uint32],
        "offsets": [16, 24, 32, 40, 56],
        "itemsize": ffi.sizeof("struct mmsghdr"),
    }
)


class NotHere(UserError):
    """A rehearsal needs 64-bit Linux. Run it on the machine that the relay will run on."""


class Heard(NamedTuple):
    """One datagram each of these listeners; row n of each is of rows[n]."""

    rows: NDArray[np.int64]
    heads: NDArray[np.uint8]  # the first HEADER_BYTES of each
    place: int  # for `data` and `stamp_ns`


class Ears:
    """Sockets by row; `listen` gives what has come."""

    def __init__(self, rows_max: int) -> None:
        """Raises NotHere."""
        if syscalls.sendmmsg is None or sys.maxsize < 2**32:
            raise NotHere
        self._receive = ffi.dlopen(None).recvmmsg
        self._epoll = select.epoll()
        self._row_of: dict[int, int] = {}
        self._rows_max = rows_max
        count = rows_max * AT_ONCE
        self._memory = np.zeros((rows_max, AT_ONCE, ROW_BYTES), np.uint8)
        self._controls = np.zeros((rows_max, AT_ONCE, CONTROL_BYTES // 8), np.int64)
        self._iovs = np.zeros((count, 2), np.uint64)
        self._iovs[:, 0] = self._memory.ctypes.data + np.arange(count, dtype=np.uint64) * ROW_BYTES
        self._iovs[:, 1] = ROW_BYTES
        self._messages = ffi.new("struct mmsghdr[]", count)
        view = np.frombuffer(ffi.buffer(self._messages), _MESSAGE).reshape(rows_max, AT_ONCE)
        places = np.arange(count, dtype=np.uint64).reshape(rows_max, AT_ONCE)
        view["iov"] = self._iovs.ctypes.data + places * 16
        view["iov_count"] = 1
        self._control_at = self._controls.ctypes.data + places * CONTROL_BYTES
        self._view = view
        self._sizes = view["size"]
        self._control_sizes = view["control_bytes"]
        self._timed = np.zeros(rows_max, bool)
        self._pointers = [self._messages + row * AT_ONCE for row in range(rows_max)]

    def add(self, row: int, sock: socket.socket, *, is_timed: bool) -> None:
        if is_timed:
            sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
            self._view["control"][row] = self._control_at[row]
            self._timed[row] = True
        self._row_of[sock.fileno()] = row
        self._epoll.register(sock.fileno(), select.EPOLLIN)

    def remove(self, sock: socket.socket) -> None:
        """Before it is closed."""
        row = self._row_of.pop(sock.fileno(), None)
        if row is not None:
            self._timed[row] = False
            self._view["control"][row] = 0
            self._epoll.unregister(sock.fileno())

    def close(self) -> None:
        self._epoll.close()

    def listen(self) -> Iterator[Heard]:
        """All that is there now; what stands in memory is gone with the next turn of the iterator
        but AT_ONCE."""
        while ready := self._epoll.poll(0, self._rows_max):
            fds = [fd for fd, _ in ready]
            rows = [self._row_of[fd] for fd in fds]
            index = np.array(rows)
            timed = index[self._timed[index]]
            self._control_sizes[timed] = CONTROL_BYTES
            messages = [self._pointers[row] for row in rows]
            got = np.fromiter(
                map(
                    self._receive, fds, messages, itertools.repeat(AT_ONCE),
                    itertools.repeat(socket.MSG_DONTWAIT), itertools.repeat(ffi.NULL),
                ),
                np.int64,
                len(fds),
            )  # fmt: skip
            for place in range(max(0, int(got.max()))):
                some = index[got > place]
                yield Heard(some, self._memory[some, place, :HEADER_BYTES], place)
            if not (got == AT_ONCE).any():
                return

    def data(self, row: int, place: int) -> bytes:
        return self._memory[row, place, : self._sizes[row, place]].tobytes()

    def stamp_ns(self, row: int, place: int) -> int:
        """When the kernel had it, of a timed row; nanoseconds since 1970."""
        # struct cmsghdr has 16 bytes, then struct timespec.
        seconds, nanos = self._controls[row, place, 2:4].tolist()
        return int(seconds) * 1_000_000_000 + int(nanos)
