"""The one shape a packet of a voice has on every link: RTP (RFC 3550) with a 20-byte header.

    0x90 | marker, type | seq | timestamp | ssrc | 0xBEDE | 1 | 0x10 | V, level | 0 | payload

Header extension 1 is the level of RFC 6464 in the clear, in the one-byte form of RFC 8285. There
is no other shape: no CSRC, no padding, no second extension, so parsing is one comparison each.
Header fields are end to end the same but not authenticated by the seal; see incoming.py.
"""

import struct
from typing import Final, NamedTuple

from p2phouse.errors import PeerError
from p2phouse.vocabulary import FRAME_SAMPLES, Ssrc

PT_OPUS: Final = 111  # sealed Opus, 20 ms
PT_AUDIT: Final = 112  # signed hashes of the packets before it
HEADER: Final = struct.Struct("!BBHIIHHBBH")
HEADER_BYTES: Final = HEADER.size  # 20
PAYLOAD_BYTES_MAX: Final = 700  # 128 kb/s sealed is 340 B; the rest is room for an audit
SEQ_START_MAX: Final = 32_767  # SRTP's rollover guess needs the first seq in the lower half
LEVEL_ID: Final = 1  # of the header extension with the level
SEQ_MODULUS: Final = 1 << 16
# The last 1.3 s before seq begins anew. No sample (carry/forwarder.py) comes after them.
WRAP_PACKETS: Final = 64
TIMESTAMP_MODULUS: Final = 1 << 32

_VERSION_EXTENSION: Final = 0x90  # version 2, extension, no padding, no CSRC
_PROFILE: Final = 0xBEDE
_LEVEL_ELEMENT: Final = LEVEL_ID << 4  # of one byte
_SSRC: Final = struct.Struct("!I")
_SSRC_OFFSET: Final = 8


class NotAPacket(PeerError):
    """A datagram is no packet of a voice: {reason}."""


class Packet(NamedTuple):
    """A parsed packet. A tuple, not a dataclass: one is made for each packet heard."""

    payload_type: int
    marker: bool  # first packet of a talk spurt: nothing was sent for the tick before
    seq: int
    timestamp: int
    ssrc: Ssrc
    level: int  # -dBov, 0..127
    talking: bool
    payload: bytes


def build(packet: Packet) -> bytes:
    """The packet's bytes. Fields out of range are a bug of ours and raise."""
    payload_type, marker, seq, timestamp, ssrc, level, talking, payload = packet
    assert 0 < len(payload) <= PAYLOAD_BYTES_MAX
    assert 0 <= level <= 127
    return (
        HEADER.pack(
            _VERSION_EXTENSION,
            payload_type | marker << 7,
            seq,
            timestamp,
            ssrc,
            _PROFILE,
            1,
            _LEVEL_ELEMENT,
            talking << 7 | level,
            0,
        )
        + payload
    )


def parse(data: bytes) -> Packet:
    """The packet in these bytes, if they have exactly our shape. Raises NotAPacket."""
    size = len(data) - HEADER_BYTES
    # Size first: nothing of a datagram is looked at, copied or kept before its size is known.
    if not 0 < size <= PAYLOAD_BYTES_MAX:
        raise NotAPacket(reason=f"{len(data)} bytes")
    first, kind, seq, timestamp, ssrc, profile, words, element, level, padding = HEADER.unpack_from(
        data
    )
    payload_type = kind & 0x7F
    if first != _VERSION_EXTENSION or (payload_type != PT_OPUS and payload_type != PT_AUDIT):
        raise NotAPacket(reason=f"it begins with {first:#04x} {kind:#04x}")
    if profile != _PROFILE or words != 1 or element != _LEVEL_ELEMENT or padding:
        raise NotAPacket(reason="its header extension is not the level alone")
    return Packet(
        payload_type,
        kind > 0x7F,
        seq,
        timestamp,
        ssrc,
        level & 0x7F,
        level > 0x7F,
        bytes(data[HEADER_BYTES:]),
    )


def peek_ssrc(data: bytes) -> Ssrc:
    """Whose packet this claims to be, without parsing the rest. Raises NotAPacket."""
    if len(data) <= HEADER_BYTES or data[0] != _VERSION_EXTENSION:
        raise NotAPacket(reason=f"{len(data)} bytes, not of our shape")
    (ssrc,) = _SSRC.unpack_from(data, _SSRC_OFFSET)
    return Ssrc(ssrc)


def wraps_soon(seq: int) -> bool:
    """Whether a voice should not be begun for anybody now. Were all packets until the wrap lost,
    who gets it would count the wraps one short, and never open one of it (RFC 3711 §3.3.1)."""
    return seq >= SEQ_MODULUS - WRAP_PACKETS


def timestamp_of(counter: int) -> int:
    """The timestamp a frame of this counter must carry: no random offset, so all can check it."""
    return counter * FRAME_SAMPLES % TIMESTAMP_MODULUS
