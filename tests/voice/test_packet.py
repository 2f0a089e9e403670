import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2phouse.errors import PeerError
from p2phouse.vocabulary import Ssrc
from p2phouse.voice import packet
from p2phouse.voice.packet import HEADER_BYTES, PAYLOAD_BYTES_MAX, NotAPacket, Packet

PACKETS = st.builds(
    Packet,
    payload_type=st.sampled_from([packet.PT_OPUS, packet.PT_AUDIT]),
    marker=st.booleans(),
    seq=st.integers(0, 0xFFFF),
    timestamp=st.integers(0, 0xFFFFFFFF),
    ssrc=st.integers(0, 0xFFFFFFFF).map(Ssrc),
    level=st.integers(0, 127),
    talking=st.booleans(),
    payload=st.binary(min_size=1, max_size=PAYLOAD_BYTES_MAX),
)
EXAMPLE = Packet(packet.PT_OPUS, True, 0x1234, 960, Ssrc(0xCAFEF00D), 30, True, b"sealed")


def test_the_header_has_the_published_bytes():
    assert packet.build(EXAMPLE).hex() == (
        "90ef1234000003c0cafef00d" + "bede0001" + "109e0000" + b"sealed".hex()
    )


@given(PACKETS)
def test_parse_undoes_build(sent: Packet):
    data = packet.build(sent)
    assert packet.parse(data) == sent
    assert packet.peek_ssrc(data) == sent.ssrc


@pytest.mark.parametrize(
    ("offset", "value"),
    [(0, 0x80), (0, 0xB0), (0, 0x91), (1, 0x60), (12, 0), (15, 2), (16, 0x11), (18, 1), (19, 1)],
)
def test_any_other_shape_is_refused(offset: int, value: int):
    data = bytearray(packet.build(EXAMPLE))
    data[offset] = value
    with pytest.raises(NotAPacket):
        packet.parse(bytes(data))


def test_the_size_is_bounded_at_both_ends():
    data = packet.build(EXAMPLE._replace(payload=b"x" * PAYLOAD_BYTES_MAX))
    assert len(packet.parse(data).payload) == PAYLOAD_BYTES_MAX
    for wrong in (data + b"x", data[:HEADER_BYTES], data[: HEADER_BYTES - 1], b""):
        with pytest.raises(NotAPacket):
            packet.parse(wrong)


@pytest.mark.parametrize("data", [b"", b"\x90" * HEADER_BYTES, b"\x80" * 40])
def test_no_ssrc_is_read_from_another_shape(data: bytes):
    with pytest.raises(NotAPacket):
        packet.peek_ssrc(data)


def test_a_hundred_thousand_malformed_packets_yield_packets_or_peer_errors():
    """Invariant: parse returns a Packet that builds to the same bytes, or raises PeerError."""
    rng = random.Random(20)
    good = packet.build(EXAMPLE._replace(payload=b"x" * 60))
    accepted = 0
    for n in range(100_000):
        if n % 2:
            data = rng.randbytes(rng.randrange(100))
        else:
            changed = bytearray(good[: rng.randrange(len(good) + 1)])
            for _ in range(rng.randrange(4)):
                if changed:
                    changed[rng.randrange(len(changed))] = rng.randrange(256)
            data = bytes(changed)
        try:
            parsed = packet.parse(data)
        except PeerError:
            continue
        accepted += 1
        assert packet.build(parsed) == data
    assert accepted > 1_000


def test_timestamps_follow_the_counter_round_their_end():
    assert packet.timestamp_of(0) == 0
    assert packet.timestamp_of(3) == 2_880
    assert packet.timestamp_of((1 << 32) // 960 + 1) == ((1 << 32) // 960 + 1) * 960 - (1 << 32)
