"""Opus in WebM, as it is made: a header that is always the same, then clusters without an end.

Only writing, and only what one mono voice of Opus needs. A cluster stands by itself: whoever has
the header may begin with any, and leave any out.

Spec: RFC 8794 (EBML), RFC 9559 (Matroska) and its codec specifications; RFC 7845 §5.1 (OpusHead).
"""

import struct
from collections.abc import Sequence
from typing import Final

from p2phouse.vocabulary import FRAME_MS, SAMPLE_RATE_HZ
from p2phouse.voice.opus import LOOKAHEAD_SAMPLES

FRAMES_MAX: Final = 1_000  # of a cluster: blocks count ms from its beginning in 16 bits

_UNKNOWN_SIZE: Final = b"\x01" + b"\xff" * 7
_TRACK: Final = 1
_AUDIO: Final = 2
_MS: Final = 1_000_000  # in ns
_KEYFRAME: Final = 0x80
_PREROLL_MS: Final = 80  # RFC 7845 §4.6: what a decoder needs before its sound is right


def header() -> bytes:
    """What every reader begins with."""
    ebml = _element(
        0x1A45DFA3,
        *(_number(0x4286, 1), _number(0x42F7, 1), _number(0x42F2, 4), _number(0x42F3, 8)),
        *(_element(0x4282, b"webm"), _number(0x4287, 4), _number(0x4285, 2)),
    )
    info = _element(
        0x1549A966,
        _number(0x2AD7B1, _MS),
        *(_element(name, b"p2phouse") for name in (0x4D80, 0x5741)),
    )
    opus_head = struct.pack("<8sBBHIHB", b"OpusHead", 1, 1, LOOKAHEAD_SAMPLES, SAMPLE_RATE_HZ, 0, 0)
    audio = _element(
        0xE1, _element(0xB5, struct.pack(">d", float(SAMPLE_RATE_HZ))), _number(0x9F, 1)
    )
    track = _element(
        0xAE,
        *(_number(0xD7, _TRACK), _number(0x73C5, _TRACK), _number(0x83, _AUDIO)),
        *(_number(0x9C, 0), _element(0x86, b"A_OPUS"), _element(0x63A2, opus_head)),
        _number(0x56AA, LOOKAHEAD_SAMPLES * 1_000 * _MS // SAMPLE_RATE_HZ),
        _number(0x56BB, _PREROLL_MS * _MS),
        audio,
    )
    segment = (0x18538067).to_bytes(4) + _UNKNOWN_SIZE
    return ebml + segment + info + _element(0x1654AE6B, track)


def cluster(at_ms: int, packets: Sequence[bytes]) -> bytes:
    """Packets of 20 ms each, the first at that time; at most FRAMES_MAX."""
    assert 0 < len(packets) <= FRAMES_MAX
    blocks = (
        _element(0xA3, struct.pack(">BhB", 0x80 | _TRACK, n * FRAME_MS, _KEYFRAME), packet)
        for n, packet in enumerate(packets)
    )
    return _element(0x1F43B675, _number(0xE7, at_ms), *blocks)


def _element(name: int, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return name.to_bytes((name.bit_length() + 7) // 8) + _size(len(body)) + body


def _number(name: int, value: int) -> bytes:
    return _element(name, value.to_bytes(max(1, (value.bit_length() + 7) // 8)))


def _size(value: int) -> bytes:
    """RFC 8794 §4: as many bytes as there are leading zeros and one; all ones are reserved."""
    width = 1
    while value >= (1 << 7 * width) - 1:
        width += 1
    return (value | 1 << 7 * width).to_bytes(width)
