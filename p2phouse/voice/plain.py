"""A browser's RTP (RFC 3550): any header that is allowed in, one short header out.

Plain Opus of guests, not sealed packets of members: those have one shape, and packet.py reads them.
"""

import struct
from typing import Final, NamedTuple

from p2phouse.errors import PeerError
from p2phouse.vocabulary import Ssrc
from p2phouse.voice.level import SILENCE_DBOV

PAYLOAD_BYTES_MAX: Final = 1_276  # RFC 6716 §3.4: the longest Opus packet of one frame
DTX_BYTES_MAX: Final = 2
LEVEL_UNKNOWN_DBOV: Final = 30  # speech, about as loud as any other

_HEADER: Final = struct.Struct("!BBHII")
_EXTENSION: Final = struct.Struct("!HH")
_ONE_BYTE: Final = 0xBEDE  # RFC 8285 §4.2


class NotPlain(PeerError):
    """A datagram is no packet of a guest's voice: {reason}."""


class Plain(NamedTuple):
    payload_type: int
    marker: bool
    seq: int
    timestamp: int
    ssrc: Ssrc
    level: int  # -dBov
    payload: bytes


def parse(data: bytes, level_extension: int = 0) -> Plain:
    """level_extension: the id of RFC 6464's element; 0 if none was agreed. Raises NotPlain."""
    if len(data) < _HEADER.size:
        raise NotPlain(reason=f"{len(data)} bytes")
    first, kind, seq, timestamp, ssrc = _HEADER.unpack_from(data)
    if first >> 6 != 2:
        raise NotPlain(reason=f"version {first >> 6}")
    begin, end = _HEADER.size + 4 * (first & 0x0F), len(data)
    level = LEVEL_UNKNOWN_DBOV
    if first & 0x10:
        if begin + _EXTENSION.size > end:
            raise NotPlain(reason="an extension cut off")
        profile, words = _EXTENSION.unpack_from(data, begin)
        elements = begin + _EXTENSION.size
        begin = elements + 4 * words
        if level_extension and profile == _ONE_BYTE and begin <= end:
            level = _level(data[elements:begin], level_extension)
    if first & 0x20:
        end -= data[-1]
    if not 0 < end - begin <= PAYLOAD_BYTES_MAX:
        raise NotPlain(reason=f"{end - begin} bytes of payload")
    if end - begin <= DTX_BYTES_MAX:
        level = SILENCE_DBOV
    return Plain(
        kind & 0x7F, kind > 0x7F, seq, timestamp, Ssrc(ssrc), level, bytes(data[begin:end])
    )


def build(packet: Plain) -> bytes:
    """Without the level: what a listener needs of it has been decided here."""
    kind = packet.payload_type | packet.marker << 7
    header = _HEADER.pack(0x80, kind, packet.seq, packet.timestamp, packet.ssrc)
    return header + packet.payload


def _level(elements: bytes, wanted: int) -> int:
    at = 0
    while at < len(elements):
        first = elements[at]
        if first == 0:  # padding
            at += 1
            continue
        number, size = first >> 4, (first & 0x0F) + 1
        if number == 15 or at + size >= len(elements):  # 15 ends the list
            break
        if number == wanted:
            return elements[at + 1] & 0x7F
        at += 1 + size
    return LEVEL_UNKNOWN_DBOV
