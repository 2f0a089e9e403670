"""What a speaker of a crowd says: bytes that tell who, which and when, and can be checked. Pure."""

import struct
import zlib
from typing import Final

PAYLOAD_BYTES: Final = 100  # 32 kb/s and the seal

_STAMP: Final = struct.Struct("!B4sBIQ")  # a TOC byte of Opus, who, which, when
_MAGIC: Final = b"crwd"
_FILLER: Final = bytes((n * 37 + 11) % 256 for n in range(256 + PAYLOAD_BYTES))


def payload_of(voice: int, number: int, ns: int) -> bytes:
    stamp = _STAMP.pack(0x78, _MAGIC, voice, number % 2**32, ns)
    check = zlib.crc32(stamp)
    filler = _FILLER[check % 256 :][: PAYLOAD_BYTES - _STAMP.size - 4]
    return stamp + check.to_bytes(4) + filler


def said_ns(payload: bytes) -> int | None:
    """When it was said; None if it is not what a speaker of a crowd says."""
    if len(payload) != PAYLOAD_BYTES:
        return None
    _, _, voice, number, ns = _STAMP.unpack_from(payload)
    if payload != payload_of(voice, number, ns):
        return None
    return int(ns)
