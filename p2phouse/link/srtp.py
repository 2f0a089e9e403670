"""SRTP (RFC 3711) by libsrtp, and the only module that knows how pylibsrtp reaches it.

All that comes in, all RTCP, and what goes out to who does not know AES-GCM (gcm.py). Pylibsrtp's
Session copies twice and makes four objects a packet; here the library is called on prepared memory,
for a crowd by `map`. The private name that this needs is held by tests/link/test_srtp.py.
"""

from typing import Any, Final, NewType

from pylibsrtp import Policy
from pylibsrtp._binding import ffi, lib

from p2phouse.errors import P2PHouseError
from p2phouse.link.handshake import Keys

# cffi has no types: these are its objects.
Handle = NewType("Handle", object)  # an srtp_t that protects
Pointer = Any

# More than carry/window.py lets through out of order, else what was admitted would be refused.
WINDOW_PACKETS: Final = 128
TRAILER_BYTES_MAX: Final = 16
CONTROL_TRAILER_BYTES: Final = 4 + 16  # RFC 3711 §3.4: index, then the tag
PACKET_BYTES_MAX: Final = 1_484
DATAGRAM_BYTES_MAX: Final = PACKET_BYTES_MAX + TRAILER_BYTES_MAX

protect = lib.srtp_protect  # (handle, pointer to the packet, pointer to its length) -> 0 if done
new = ffi.new
cast = ffi.cast
move = ffi.memmove


def read(pointer: Pointer, size: int) -> bytes:
    data: bytes = ffi.buffer(pointer, size)[:]
    return data


class NoSrtp(P2PHouseError):
    """libsrtp does not take a key: error {code}."""


def open_sending(keys: Keys) -> Handle:
    """For what we send to one peer; freed with its last reference.

    Security: a repeated (SSRC, seq) is refused, since it would repeat a nonce of AES-GCM.
    Test: test_srtp.py::test_no_nonce_is_used_twice
    """
    return _create(keys, keys.ours, Policy.SSRC_ANY_OUTBOUND)


def protect_one(handle: Handle, packet: bytes) -> bytes | None:
    """SRTP of one RTP packet; None if it was sent before, or is too old to know."""
    return _changed(lib.srtp_protect, handle, packet)


def protect_control(handle: Handle, data: bytes) -> bytes | None:
    """SRTCP of one RTCP datagram, under keys and an index of its own."""
    return _changed(lib.srtp_protect_rtcp, handle, data)


_row: Final = ffi.new("char[]", PACKET_BYTES_MAX + CONTROL_TRAILER_BYTES)
_size: Final = ffi.new("int *")


class Receiving:
    """What one peer sends us."""

    def __init__(self, keys: Keys) -> None:
        self._handle = _create(keys, keys.theirs, Policy.SSRC_ANY_INBOUND)

    def open(self, data: bytes) -> bytes | None:
        """Plain RTP; None if it is forged, came before or is too long."""
        return _changed(lib.srtp_unprotect, self._handle, data)

    def open_control(self, data: bytes) -> bytes | None:
        """Plain RTCP; None if it is forged, came before or is too long."""
        return _changed(lib.srtp_unprotect_rtcp, self._handle, data)


def _changed(function: Any, handle: Handle, data: bytes) -> bytes | None:  # noqa: ANN401 - of cffi
    """What it makes of the data; None if it refuses."""
    size = len(data)
    if size > PACKET_BYTES_MAX:
        return None
    ffi.memmove(_row, data, size)
    _size[0] = size
    if function(handle, _row, _size):
        return None
    changed: bytes = ffi.buffer(_row, _size[0])[:]
    return changed


def _create(keys: Keys, key: bytes, kind: int) -> Handle:
    policy = Policy(key=key, ssrc_type=kind, srtp_profile=keys.profile.libsrtp)
    policy.window_size = WINDOW_PACKETS
    policy.allow_repeat_tx = False
    holder = ffi.new("srtp_t *")
    code = lib.srtp_create(holder, policy._policy)
    if code:
        raise NoSrtp(code=code)
    handle: Handle = ffi.gc(holder[0], lib.srtp_dealloc)
    return handle
