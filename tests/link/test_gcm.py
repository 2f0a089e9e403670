"""Our RFC 7714 beside libsrtp: the same bytes, and no nonce for two packets whatever comes."""

import os
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2phouse.link import srtp
from p2phouse.link.gcm import FLOWS_MAX, NONCE_BYTES, Flow, Flows, Receiver, header_bytes, session
from p2phouse.link.handshake import PROFILES, Keys, Profile
from p2phouse.link.srtp import Receiving
from p2phouse.vocabulary import Ssrc
from p2phouse.voice.packet import PT_OPUS, Packet
from p2phouse.voice.packet import build as build_sealed
from p2phouse.voice.plain import Plain, build

GCM = [profile for profile in PROFILES if profile.is_gcm]
SSRC = Ssrc(0x89ABCDEF)

# How far each packet is from the one before: mostly the next, some late, some lost, some again.
STEPS = st.lists(
    st.one_of(st.just(1), st.integers(-100, 100), st.integers(0, 20_000)), min_size=1, max_size=200
)


def keys_of(profile: Profile) -> tuple[Keys, Keys]:
    size = profile.key_bytes + profile.salt_bytes
    ours, theirs = os.urandom(size), os.urandom(size)
    return Keys(profile, ours, theirs), Keys(profile, theirs, ours)


def a_packet(seq: int, payload: bytes = b"opus") -> bytes:
    return build(Plain(PT_OPUS, False, seq % 65_536, 960 * seq % 2**32, SSRC, 30, payload))


class Sender:
    """One peer's packets of one voice, as a crowd would make them."""

    def __init__(self, keys: Keys, flow: Flow) -> None:
        self.session = session(keys)
        self.receiver = Receiver(self.session.salt)
        self.flow = flow

    def protect(self, packet: bytes) -> bytes | None:
        seq, size = int.from_bytes(packet[2:4]), header_bytes(packet)
        wraps = self.flow.admit(seq, packet)
        base = None if wraps is None else self.receiver.base(SSRC, self.flow, wraps)
        if base is None:
            return None
        nonce = (int.from_bytes(base) ^ seq).to_bytes(NONCE_BYTES)
        return packet[:size] + self.session.cipher.encrypt(nonce, packet[size:], packet[:size])


def by_libsrtp(handle: object, packet: bytes) -> bytes | None:
    row, size = srtp.new("char[]", 2_000), srtp.new("int *", len(packet))
    row[0 : len(packet)] = packet
    return None if srtp.protect(handle, row, size) else srtp.read(row, size[0])


@pytest.mark.parametrize("profile", GCM, ids=lambda each: each.name.decode())
def test_it_says_what_libsrtp_says(profile: Profile):
    @given(st.integers(0, 65_535), STEPS)
    @settings(max_examples=60)
    def says_the_same(first: int, steps: list[int]) -> None:
        ours, theirs = keys_of(profile)
        sender, receiving = Sender(ours, Flow()), Receiving(theirs)
        handle = srtp.open_sending(ours)
        seq = first
        last = b""
        for number, step in enumerate([0, *steps]):
            seq = max(0, seq + step)
            packet = a_packet(seq, b"%d" % number)
            mine, theirs_ = sender.protect(packet), by_libsrtp(handle, packet)
            assert mine == theirs_
            if mine is not None:
                assert receiving.open(mine) == packet
                last = packet
        assert last

    says_the_same()


def test_each_header_that_a_packet_may_have_is_covered():
    ours, theirs = keys_of(PROFILES[0])
    sender, receiving = Sender(ours, Flow()), Receiving(theirs)
    sealed = build_sealed(Packet(PT_OPUS, True, 5, 0, SSRC, 30, True, b"sealed"))
    csrc = b"\x82" + a_packet(6)[1:12] + bytes(8) + b"opus"
    for packet in (sealed, csrc):
        data = sender.protect(packet)
        assert data is not None
        assert receiving.open(data) == packet


def test_whoever_comes_late_opens_from_his_first_packet_on():
    flow = Flow()
    pairs = []
    for seq in range(65_000, 65_000 + 3 * 65_536, 37):
        if seq % 20_000 < 37:
            ours, theirs = keys_of(PROFILES[0])
            pairs.append((Sender(ours, flow), Receiving(theirs)))
        packet = a_packet(seq)
        for sender, receiving in pairs:
            data = sender.protect(packet)
            assert data is not None
            assert receiving.open(data) == packet
    assert len(pairs) > 8


@given(st.integers(0, 65_535), STEPS, st.randoms(use_true_random=False))
def test_no_index_is_used_for_two_packets(first: int, steps: list[int], rng: random.Random):
    """Whatever is lost, late, repeated or changed, and whoever comes and goes."""
    flow = Flow()
    salts = [rng.getrandbits(96) for _ in range(3)]
    receivers = [Receiver(salt) for salt in salts]
    used: dict[tuple[int, bytes], bytes] = {}
    seq = first
    for number, step in enumerate(steps):
        seq = max(0, seq + step)
        packet = a_packet(seq, b"%d" % rng.choice((number, 0)))
        wraps = flow.admit(seq % 65_536, packet)
        if wraps is None:
            continue
        for place, receiver in enumerate(receivers):
            if rng.random() < 0.7:
                base = receiver.base(SSRC, flow, wraps)
                if base is not None:
                    nonce = (int.from_bytes(base) ^ seq % 65_536).to_bytes(NONCE_BYTES)
                    assert used.setdefault((place, nonce), packet) == packet


def test_the_same_packet_may_go_again_to_others_and_another_of_its_seq_may_not():
    flow = Flow()
    assert flow.admit(7, a_packet(7)) == 0
    assert flow.admit(7, a_packet(7)) == 0
    assert flow.admit(7, a_packet(7, b"other")) is None
    assert flow.admit(8, a_packet(8)) == 0
    assert flow.admit(7, a_packet(7)) is None


def test_what_is_from_before_the_first_packet_goes_to_nobody():
    """It would have to be of a wrap before none."""
    flow = Flow()
    assert flow.admit(3, a_packet(3)) == 0
    assert flow.admit(65_535, a_packet(65_535)) is None
    assert flow.admit(2, a_packet(2)) == 0


def test_a_forgotten_voice_is_nobodys():
    """Not of those who had heard it: for them its wraps would be counted from none once more."""
    flows, old, new = Flows(), Receiver(1), Receiver(2)
    first = flows.of(SSRC)
    assert old.base(SSRC, first, 0) is not None
    first.admit(1, a_packet(1))
    for n in range(FLOWS_MAX):
        flows.of(Ssrc(n))
    assert flows.of(SSRC) is first  # others were sent less lately
    for n in range(2 * FLOWS_MAX):
        flows.of(Ssrc(n))
    again = flows.of(SSRC)
    assert again is not first
    assert old.base(SSRC, again, 0) is None
    assert new.base(SSRC, again, 0) is not None


def test_what_one_peer_keeps_of_voices_has_an_end():
    flows, receiver = Flows(), Receiver(1)
    for n in range(FLOWS_MAX):
        assert receiver.base(Ssrc(n), flows.of(Ssrc(n)), 0) is not None
    assert receiver.base(SSRC, flows.of(SSRC), 0) is None


def test_a_session_stands_in_no_log():
    assert "Session()" in repr(session(keys_of(PROFILES[0])[0]))
