"""What a speaker of a crowd says: bytes that tell who, which and when, and can be checked. Pure."""

import struct
import zlib
from typing import Final

from p2phouse.link.gcm import TAG_BYTES
from p2phouse_relay.crowd.ears import HEADER_BYTES, ROW_BYTES

_STAMP: Final = struct.Struct("!B4sBIQ")  # a TOC byte of Opus, who, which, when
_MAGIC: Final = b"crwd"
_CHECK_BYTES: Final = 4

PAYLOAD_BYTES: Final = 100  # 32 kb/s and the seal
BYTES_MIN: Final = _STAMP.size + _CHECK_BYTES
BYTES_MAX: Final = ROW_BYTES - HEADER_BYTES - TAG_BYTES  # what an ear has room for

_FILLER: Final = bytes((n * 37 + 11) % 256 for n in range(256 + BYTES_MAX))


def payload_of(voice: int, number: int, ns: int, size: int = PAYLOAD_BYTES) -> bytes:
    """size: BYTES_MIN to BYTES_MAX."""
    stamp = _STAMP.pack(0x78, _MAGIC, voice, number % 2**32, ns)
    check = zlib.crc32(stamp, size)  # of the length too: what was cut off is missed
    filler = _FILLER[check % 256 :][: size - BYTES_MIN]
    return stamp + check.to_bytes(_CHECK_BYTES) + filler


def said_ns(payload: bytes) -> int | None:
    """When it was said; None if it is not what a speaker of a crowd says."""
    if len(payload) < BYTES_MIN:
        return None
    _, _, voice, number, ns = _STAMP.unpack_from(payload)
    if payload != payload_of(voice, number, ns, len(payload)):
        return None
    return int(ns)
