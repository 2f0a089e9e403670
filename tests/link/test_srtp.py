"""That libsrtp does what the crowds rely on, and that pylibsrtp still lets us at it."""

import os

import pytest

from p2phouse.link.handshake import PROFILES, Keys, Profile
from p2phouse.link.srtp import WINDOW_PACKETS, Receiving, new, open_sending, protect, read
from p2phouse.vocabulary import Ssrc
from p2phouse.voice.packet import PT_OPUS
from p2phouse.voice.plain import Plain, build


def keys_of(profile: Profile) -> tuple[Keys, Keys]:
    """Both ends'."""
    size = profile.key_bytes + profile.salt_bytes
    ours, theirs = os.urandom(size), os.urandom(size)
    return Keys(profile, ours, theirs), Keys(profile, theirs, ours)


def packet(seq: int, payload: bytes = b"opus", ssrc: int = 5) -> bytes:
    return build(Plain(PT_OPUS, False, seq % 65_536, 960 * seq, Ssrc(ssrc), 30, payload))


def protected(handle: object, plain: bytes) -> bytes | None:
    row, size = new("char[]", 2_000), new("int *", len(plain))
    row[0 : len(plain)] = plain
    return None if protect(handle, row, size) else read(row, size[0])


@pytest.mark.parametrize("profile", PROFILES, ids=lambda each: each.name.decode())
def test_what_one_end_protects_the_other_opens(profile: Profile):
    ours, theirs = keys_of(profile)
    handle, receiving = open_sending(ours), Receiving(theirs)
    for seq in range(65_500, 65_600):  # across a wrap
        data = protected(handle, packet(seq))
        assert data is not None
        assert len(data) == len(packet(seq)) + profile.tag_bytes
        assert receiving.open(data) == packet(seq)


def test_no_nonce_is_used_twice():
    handle = open_sending(keys_of(PROFILES[0])[0])
    assert protected(handle, packet(5)) is not None
    assert protected(handle, packet(5, b"other")) is None
    assert protected(handle, packet(5 + WINDOW_PACKETS)) is not None
    assert protected(handle, packet(4)) is None  # too old to know
    assert protected(handle, packet(6)) is not None
    assert protected(handle, packet(6)) is None


def test_what_was_changed_or_came_before_does_not_open():
    ours, theirs = keys_of(PROFILES[0])
    data = protected(open_sending(ours), packet(9))
    assert data is not None
    receiving = Receiving(theirs)
    for bit in range(8 * len(data)):
        forged = bytearray(data)
        forged[bit // 8] ^= 1 << bit % 8
        assert receiving.open(bytes(forged)) is None
    for size in range(len(data)):
        assert receiving.open(data[:size]) is None
    assert receiving.open(data + bytes(2_000)) is None
    assert receiving.open(data) == packet(9)
    assert receiving.open(data) is None
