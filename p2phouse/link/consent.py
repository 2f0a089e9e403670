"""The check that a peer repeats for as long as it stays (RFC 7675), read and answered quickly.

aioice.stun reads any message and takes 130 µs for a check and its answer: with a thousand who
listen and ask each 5 s, that was a fourteenth of all that the relay does. This knows one message, a
Binding request in its usual form, takes 8 µs, and leaves all others to aioice. Pure.
"""

import hmac
import socket
import struct
import zlib
from typing import Final

_HEADER: Final = struct.Struct("!HHI12s")
_ATTRIBUTE: Final = struct.Struct("!HH")
_LENGTH: Final = struct.Struct("!H")
_INTEGER: Final = struct.Struct("!I")
_SUCCESS: Final = 0x0101
_COOKIE: Final = 0x2112A442
_USERNAME: Final = 0x0006
_MESSAGE_INTEGRITY: Final = 0x0008
_XOR_MAPPED_ADDRESS: Final = 0x0020
_USE_CANDIDATE: Final = 0x0025
_FINGERPRINT: Final = 0x8028
_ICE_CONTROLLED: Final = 0x8029
_FINGERPRINT_XOR: Final = 0x5354554E
_MAC_BYTES: Final = 20
_TAIL: Final = struct.Struct(f"!HH{_MAC_BYTES}sHHI")  # what ends every message: MAC, fingerprint


def read(data: bytes, username: bytes, key: bytes) -> bool | None:
    """Whether an authentic check nominates; None if aioice must look at it, or it is forged."""
    end = len(data) - _TAIL.size
    if end < _HEADER.size:
        return None
    kind, size, mac, fingerprint, four, _ = _TAIL.unpack_from(data, end)
    if (kind, size, fingerprint, four) != (_MESSAGE_INTEGRITY, _MAC_BYTES, _FINGERPRINT, 4):
        return None
    nominates, named, at = False, b"", _HEADER.size
    while at < end:
        kind, size = _ATTRIBUTE.unpack_from(data, at)
        at += _ATTRIBUTE.size
        if kind == _USERNAME:
            named = data[at : at + size]
        elif kind == _USE_CANDIDATE:
            nominates = True
        elif kind in (_ICE_CONTROLLED, _MESSAGE_INTEGRITY, _FINGERPRINT):
            return None
        at += size + -size % 4
    # Security: the name and the MAC over all before it, by the length as it was then; and every
    # attribute ended where the next began. Test: test_consent.py::test_it_reads_as_aioice_does
    if at != end or named != username or _LENGTH.unpack_from(data, 2)[0] != len(data) - 20:
        return None
    signed = data[:2] + _LENGTH.pack(end + 4 + _MAC_BYTES - _HEADER.size) + data[4:end]
    if not hmac.compare_digest(mac, hmac.digest(key, signed, "sha1")):
        return None
    return nominates


def answer(transaction: bytes, host: str, port: int, key: bytes) -> bytes:
    """That we have heard a check from there."""
    pad = _INTEGER.pack(_COOKIE) + transaction
    if ":" in host:
        family, packed = 2, socket.inet_pton(socket.AF_INET6, host.partition("%")[0])
    else:
        family, packed = 1, socket.inet_aton(host)
    size = len(packed)
    xored = int.from_bytes(packed) ^ int.from_bytes(pad[:size])
    mapped = struct.pack("!HHHH", _XOR_MAPPED_ADDRESS, 4 + size, family, port ^ _COOKIE >> 16)
    mapped += xored.to_bytes(size)
    length = len(mapped) + 4 + _MAC_BYTES
    signed = _HEADER.pack(_SUCCESS, length, _COOKIE, transaction) + mapped
    mac = hmac.digest(key, signed, "sha1")
    checked = _HEADER.pack(_SUCCESS, length + 8, _COOKIE, transaction) + mapped
    checked += _ATTRIBUTE.pack(_MESSAGE_INTEGRITY, _MAC_BYTES) + mac
    checksum = zlib.crc32(checked) ^ _FINGERPRINT_XOR
    return checked + _ATTRIBUTE.pack(_FINGERPRINT, 4) + _INTEGER.pack(checksum)
