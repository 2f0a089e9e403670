"""`sendmmsg`, by which one call of the system sends many datagrams, where there is one.

cffi in ABI mode: no compiler, and the layout is that of 64-bit Linux. Elsewhere `sendmmsg` is None
and whoever wants to send many calls `sendto` for each.
"""

import errno
import sys
from typing import Any, Final

from cffi import FFI

MESSAGES_MAX: Final = 1_024  # UIO_MAXIOV: the kernel takes no more in a call
SOL_UDP: Final = 17
UDP_SEGMENT: Final = 103  # linux/udp.h: the size of the datagrams that one message is cut into

Pointer = Any  # of cffi, which has no types

ffi: Any = FFI()
ffi.cdef("""
    struct iovec { void *iov_base; size_t iov_len; };
    struct msghdr {
        void *msg_name; unsigned int msg_namelen;
        struct iovec *msg_iov; size_t msg_iovlen;
        void *msg_control; size_t msg_controllen; int msg_flags;
    };
    struct mmsghdr { struct msghdr msg_hdr; unsigned int msg_len; };
    struct segment_size { size_t cmsg_len; int cmsg_level; int cmsg_type; uint16_t size; };
    int sendmmsg(int fd, struct mmsghdr *messages, unsigned int count, int flags);
    int malloc_trim(size_t pad);
""")


SEGMENT_SIZE_SPACE: Final = ffi.sizeof("struct segment_size")  # CMSG_SPACE(2)
SEGMENT_SIZE_LENGTH: Final = ffi.offsetof("struct segment_size", "size") + 2  # CMSG_LEN(2)


def _find(name: str) -> Any:  # noqa: ANN401 - a function of cffi, or None
    if sys.platform != "linux" or sys.maxsize < 2**32:
        return None
    try:
        return getattr(ffi.dlopen(None), name)
    except (AttributeError, OSError):
        return None


sendmmsg: Final = _find("sendmmsg")
_malloc_trim: Final = _find("malloc_trim")  # of glibc; others give back by themselves


def give_back() -> None:
    """Memory that was freed, to the system: glibc keeps what lies below anything still in use."""
    if _malloc_trim is not None:
        _malloc_trim(0)


def address_of(pointer: Pointer) -> int:
    address: int = int(ffi.cast("uintptr_t", pointer))
    return address


def last_errno() -> int:
    """Of the last call by this thread."""
    number: int = ffi.errno
    return number


WOULD_BLOCK: Final = (errno.EAGAIN, errno.EWOULDBLOCK, errno.ENOBUFS)
