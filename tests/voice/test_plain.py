"""Browsers' RTP: whatever RFC 3550 and RFC 8285 allow is read, the rest is refused."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2phouse.vocabulary import Ssrc
from p2phouse.voice.level import SILENCE_DBOV
from p2phouse.voice.plain import LEVEL_UNKNOWN_DBOV, NotPlain, Plain, build, parse

PLAIN = Plain(111, True, 65_535, 2**32 - 1, Ssrc(2**32 - 2), LEVEL_UNKNOWN_DBOV, b"\x78opus")


def rtp(
    payload: bytes = b"\x78opus",
    *,
    csrcs: int = 0,
    extension: bytes | None = None,
    profile: int = 0xBEDE,
    padding: int = 0,
) -> bytes:
    first = 0x80 | csrcs | (0x10 if extension is not None else 0) | (0x20 if padding else 0)
    data = struct.pack("!BBHII", first, 0x80 | 111, 65_535, 2**32 - 1, 2**32 - 2) + bytes(4 * csrcs)
    if extension is not None:
        assert len(extension) % 4 == 0
        data += struct.pack("!HH", profile, len(extension) // 4) + extension
    return data + payload + bytes([padding] * padding)


def test_what_is_built_is_read():
    assert parse(build(PLAIN)) == PLAIN
    assert parse(rtp()) == PLAIN


WORDS = st.lists(st.binary(min_size=4, max_size=4), max_size=3).map(b"".join)


@given(st.integers(0, 15), st.integers(0, 255), WORDS)
def test_whatever_header_it_has_the_payload_is_found(csrcs, padding, extension):
    assert parse(rtp(csrcs=csrcs, padding=padding, extension=extension)).payload == b"\x78opus"


@pytest.mark.parametrize(
    ("extension", "level"),
    [
        (b"\x10\xa3\x00\x00", 0x23),  # with the flag of voice activity
        (b"\x10\x23\x00\x00", 0x23),
        (b"\x00\x00\x10\x05", 5),  # padding before
        (b"\x32abc\x10\x05\x00\x00", 5),  # another element before
        (b"\x20\x05\x00\x00", LEVEL_UNKNOWN_DBOV),
        (b"\xf0\x00\x10\x05", LEVEL_UNKNOWN_DBOV),  # id 15 ends the list
        (b"\x3fab\x10", LEVEL_UNKNOWN_DBOV),  # an element longer than all
        (b"", LEVEL_UNKNOWN_DBOV),
    ],
)
def test_the_level_is_read_where_it_was_agreed_to(extension: bytes, level: int):
    assert parse(rtp(extension=extension), level_extension=1).level == level
    assert parse(rtp(extension=extension)).level == LEVEL_UNKNOWN_DBOV


def test_the_two_byte_form_has_no_level_for_us():
    data = rtp(extension=b"\x01\x01\x05\x00", profile=0x1000)
    assert parse(data, level_extension=1).level == LEVEL_UNKNOWN_DBOV


def test_a_frame_that_was_not_sent_is_silence():
    assert parse(rtp(b"\x78\x00")).level == SILENCE_DBOV


FOREIGN = {
    "nothing": b"",
    "half a header": rtp()[:11],
    "no payload": rtp(b""),
    "another version": b"\x40" + rtp()[1:],
    "cut off in its sources": rtp(csrcs=3)[:20],
    "cut off before the length of its extension": rtp(extension=b"")[:14],
    "cut off in its extension": rtp(extension=bytes(8))[:18],
    "padded by more than there is": rtp(padding=4)[:-1] + b"\xff",
    "too long for Opus": rtp(bytes(1_277)),
}


@pytest.mark.parametrize("what", FOREIGN)
def test_what_is_cut_off_or_foreign_is_refused(what: str):
    with pytest.raises(NotPlain):
        parse(FOREIGN[what])


@given(st.binary(max_size=64), st.integers(0, 14))
def test_noise_is_read_or_refused(data, level_extension):
    try:
        packet = parse(data, level_extension)
    except NotPlain:
        return
    assert 0 < len(packet.payload) <= len(data)
    assert 0 <= packet.level <= 127
