import random
import struct
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2phouse.carry.rtcp import (
    BLOCKS_MAX,
    DATAGRAM_BYTES_MAX,
    LOST_MAX,
    LOST_MIN,
    Block,
    ControlKind,
    Keepalive,
    NotLinkControl,
    Report,
    Request,
    SenderInfo,
    decode,
    encode_keepalive,
    encode_report,
    encode_request,
)
from p2phouse.vocabulary import Ssrc

US, THEM = Ssrc(0xCAFEF00D), Ssrc(0xA0A0A0A0)
U32 = st.integers(0, 0xFFFFFFFF)
BLOCKS = st.builds(
    Block,
    ssrc=U32.map(Ssrc),
    fraction_lost=st.integers(0, 255),
    lost=st.integers(LOST_MIN, LOST_MAX),
    highest_seq=U32,
    jitter=U32,
    lsr=U32,
    dlsr=U32,
)
REPORTS = st.builds(
    Report,
    ssrc=U32.map(Ssrc),
    sender=st.none() | st.builds(SenderInfo, clock=U32, packets=U32, octets=U32),
    blocks=st.lists(BLOCKS, max_size=BLOCKS_MAX).map(tuple),
)
MESSAGES = (
    st.builds(Keepalive, quiet=st.booleans(), epoch=U32, carries=st.booleans())
    | st.builds(Request, kind=st.sampled_from(list(ControlKind)[1:]), epoch=U32)
    | st.builds(Request, kind=st.just(ControlKind.RELEASE), epoch=U32, altogether=st.booleans())
)
BLOCK = Block(THEM, 25, -2, 0x0001_0002, 58, 0xB705_2000, 0x0005_4000)
REPORT = Report(US, SenderInfo(0xB710_8000, 7, 700), (BLOCK,))
KEEPALIVE = encode_keepalive(US, Keepalive(quiet=True, epoch=7))
# As a browser or another library puts them into compound packets.
SDES = bytes.fromhex("81ca0003cafef00d0104616263640000")
BYE = bytes.fromhex("81cb0001cafef00d")


def encode(message: Keepalive | Request) -> bytes:
    if isinstance(message, Keepalive):
        return encode_keepalive(US, message)
    return encode_request(US, message)


def test_messages_have_the_published_bytes():
    assert KEEPALIVE.hex() == "80cc0004" + "cafef00d" + b"p2ph".hex() + "00000001" + "00000007"
    for kind, first in [("PULL", "81"), ("PUSH", "82"), ("RELEASE", "83")]:
        data = encode_request(US, Request(ControlKind[kind], 7))
        assert data.hex() == first + "cc0004cafef00d" + b"p2ph".hex() + "00000000" + "00000007"


def test_flags_have_the_published_bits():
    assert encode_keepalive(US, Keepalive(False, 7, carries=True))[12:16].hex() == "00000002"
    assert encode_keepalive(US, Keepalive(True, 7, carries=True))[12:16].hex() == "00000003"
    release = Request(ControlKind.RELEASE, 7, altogether=True)
    assert encode_request(US, release)[12:16].hex() == "00000001"


def test_a_flag_means_nothing_in_a_message_that_has_none():
    pull = bytearray(encode_request(US, Request(ControlKind.PULL, 7)))
    pull[15] = 0xFF
    assert decode(bytes(pull)) == Request(ControlKind.PULL, 7)


def test_reports_have_the_bytes_of_the_rfc():
    block = "a0a0a0a0" + "19" + "fffffe" + "00010002" + "0000003a" + "b7052000" + "00054000"
    sender = "0000b71080000000" + "00000000" + "00000007" + "000002bc"
    assert encode_report(REPORT).hex() == "81c8000c" + "cafef00d" + sender + block
    without = Report(US, None, (BLOCK,))
    assert encode_report(without).hex() == "81c90007" + "cafef00d" + block
    assert encode_report(Report(US, None, ())).hex() == "80c90001" + "cafef00d"


@given(MESSAGES)
def test_a_message_comes_back_as_it_went(message: Keepalive | Request):
    assert decode(encode(message)) == message


@given(st.lists(REPORTS, min_size=1, max_size=2))
def test_reports_come_back_as_they_went(reports: list[Report]):
    data = b"".join(map(encode_report, reports))
    if len(data) <= DATAGRAM_BYTES_MAX:
        assert decode(data) == tuple(reports)


def test_an_epoch_is_told_by_its_low_32_bits_and_a_loss_in_24():
    assert decode(encode_keepalive(US, Keepalive(False, (1 << 40) + 9))) == Keepalive(False, 9)
    for lost, told in [(1 << 30, 8_388_607), (-(1 << 30), -8_388_608)]:
        data = encode_report(Report(US, None, (Block(THEM, lost=lost),)))
        assert decode(data) == (Report(US, None, (Block(THEM, lost=told),)),)


def test_what_others_put_into_a_compound_packet_is_walked_over():
    feedback = bytes.fromhex("81cd0002cafef00da0a0a0a0")
    assert decode(encode_report(REPORT) + SDES + BYE + feedback) == (REPORT,)
    assert decode(SDES) == ()


def test_a_report_holds_thirty_one_blocks():
    report = Report(US, None, tuple(Block(Ssrc(n)) for n in range(31)))
    data = encode_report(report)
    assert decode(data) == (report,)
    assert data[8:] == b"".join(n.to_bytes(4) + bytes(20) for n in range(31))
    with pytest.raises(AssertionError):
        encode_report(Report(US, None, (*report.blocks, Block(THEM))))


def test_the_least_and_the_greatest_that_may_come():
    assert decode(b"\x80\xc0\x00\x00") == decode(b"\x80\xdf\x00\x00") == ()
    assert decode(b"\x80\xcc\x00\x02" + bytes(4) + b"abcd") == ()
    assert decode(b"\x80\xca" + (1_500 // 4 - 1).to_bytes(2) + bytes(1_496)) == ()
    assert decode(b"\xa0\xca\x00\x01" + b"\x00\x00\x00\x04") == ()


def test_padding_may_end_the_last_packet():
    padded = encode_report(REPORT) + bytes(3) + b"\x04"
    padded = bytes([padded[0] | 0x20, *padded[1:3], padded[3] + 1, *padded[4:]])
    assert decode(padded) == (REPORT,)
    assert decode(SDES + padded) == (REPORT,)
    with pytest.raises(NotLinkControl, match="padding before the last"):
        decode(padded + SDES)
    for count in (0, 3, 5, 56, 60, 252, 255):
        with pytest.raises(NotLinkControl, match="bytes of padding"):
            decode(padded[:-1] + bytes([count]))
    # Padding that eats into what the packet says it holds.
    with pytest.raises(NotLinkControl, match="1 blocks in"):
        decode(padded[:-1] + b"\x08")


def test_other_apps_and_later_kinds_are_passed_over_and_later_flags_not_looked_at():
    other = KEEPALIVE.replace(b"p2ph", b"abcd")
    assert decode(other) == decode(other + SDES) == ()
    assert decode(bytes([0x80 | 4]) + KEEPALIVE[1:]) == ()
    assert decode(bytes([0x80 | 31]) + KEEPALIVE[1:]) == ()
    flags = bytearray(KEEPALIVE)
    flags[12] = 0xFF
    assert decode(bytes(flags)) == Keepalive(quiet=True, epoch=7)


def test_a_message_stands_alone_in_its_datagram():
    for data in (KEEPALIVE + SDES, encode_report(REPORT) + KEEPALIVE, KEEPALIVE * 2):
        with pytest.raises(NotLinkControl, match="not alone"):
            decode(data)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "0 bytes"),
        (bytes(DATAGRAM_BYTES_MAX + 1), "1501 bytes"),
        (b"\x80\xc8\x00", "3 bytes after the last"),
        (SDES + b"\x80\xca", "2 bytes after the last"),
        (b"\x00" + KEEPALIVE[1:], "begins with 0x00 0xcc"),
        (b"\x40" + KEEPALIVE[1:], "begins with 0x40 0xcc"),
        (b"\xc0" + KEEPALIVE[1:], "begins with 0xc0 0xcc"),
        (b"\x80\x6f" + KEEPALIVE[2:], "begins with 0x80 0x6f"),
        (b"\x80\xbf" + KEEPALIVE[2:], "begins with 0x80 0xbf"),
        (b"\x80\xe0" + KEEPALIVE[2:], "begins with 0x80 0xe0"),
        (KEEPALIVE[:-1], "longer than its datagram"),
        (KEEPALIVE[:3] + b"\x05" + KEEPALIVE[4:], "longer than its datagram"),
        (KEEPALIVE[:3] + b"\x03" + KEEPALIVE[4:16], "a message of 16 bytes"),
        (KEEPALIVE[:3] + b"\x05" + KEEPALIVE[4:] + bytes(4), "a message of 24 bytes"),
        (b"\x80\xcc\x00\x01" + bytes(4), "an APP packet of 8 bytes"),
        (b"\x80\xcc\x00\x00", "an APP packet of 4 bytes"),
        (b"\x80\xc9\x00\x00", "0 blocks in 4 bytes"),
        (b"\x80\xc8\x00\x05" + bytes(20), "0 blocks in 24 bytes"),
        (b"\x82" + encode_report(REPORT)[1:], "2 blocks in 52 bytes"),
    ],
)
def test_what_is_no_link_control_is_refused(data: bytes, why: str):
    with pytest.raises(NotLinkControl, match=why):
        decode(data)


@given(st.binary(max_size=120))
def test_any_bytes_are_read_or_refused(data: bytes):
    with suppress(NotLinkControl):
        decode(data)


def test_a_hundred_thousand_malformed_datagrams_are_read_or_refused():
    """Invariant: decode returns what encodes to a datagram of no greater size, or PeerError."""
    rng = random.Random(21)
    good = [KEEPALIVE, encode_report(REPORT), encode_report(REPORT) + SDES + BYE]
    read = 0
    for n in range(100_000):
        if n % 4 == 0:
            data = rng.randbytes(rng.randrange(100))
        else:
            changed = bytearray(rng.choice(good))
            for _ in range(rng.randrange(4)):
                changed[rng.choice([rng.randrange(4), rng.randrange(len(changed))])] ^= (
                    1 << rng.randrange(8)
                )
            if n % 4 == 1:
                del changed[rng.randrange(len(changed) + 1) :]
            data = bytes(changed)
        try:
            decoded = decode(data)
        except NotLinkControl:
            continue
        read += 1
        if isinstance(decoded, tuple):
            assert sum(len(encode_report(report)) for report in decoded) <= len(data)
        else:
            assert len(encode(decoded)) == len(data)
    assert read > 10_000


def test_every_length_field_is_held_against_the_datagram():
    for words in range(1 << 16):
        data = struct.pack("!BBH", 0x80, 202, words) + SDES[4:]
        if words == len(SDES) // 4 - 1:
            assert decode(data) == ()
        elif words > len(SDES) // 4 - 1:
            with pytest.raises(NotLinkControl):
                decode(data)
