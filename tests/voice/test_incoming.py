import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from p2phouse.errors import PeerError
from p2phouse.vocabulary import FRAME_S, Ssrc, VoiceId
from p2phouse.voice import packet
from p2phouse.voice.incoming import REPLAY_FRAMES, IncomingVoice, WrongTime, WrongVoice
from p2phouse.voice.outgoing import OutgoingVoice
from p2phouse.voice.packet import NotAPacket
from p2phouse.voice.seal import (
    COUNTER_MAX,
    Forged,
    KeyMissing,
    SealKey,
    derive,
    encode_header,
)
from tests.voice.speech import frames_of, librivox, tone

SID, SSRC, BASE = VoiceId(bytes(16)), Ssrc(0xCAFEF00D), bytes(range(16))


def a_pair(*, kid: int = 0x73) -> tuple[OutgoingVoice, IncomingVoice]:
    outgoing = OutgoingVoice(SID, entropy=bytes)
    outgoing.set(SSRC, SealKey(kid, BASE), muted=False, sealed=True)
    incoming = IncomingVoice(SSRC)
    incoming.set_keys([SealKey(kid, BASE)])
    return outgoing, incoming


def packets_of(outgoing: OutgoingVoice, count: int) -> list[bytes]:
    packets = [outgoing.next_packet(tone(n)) for n in range(count)]
    return [data for data in packets if data is not None]


def test_what_is_said_is_heard():
    outgoing, incoming = a_pair()
    heard = []
    for n, frame in enumerate(frames_of(librivox())):
        data = outgoing.next_packet(frame)
        assert data is not None
        assert incoming.receive(n * FRAME_S, data)
        heard.append(incoming.pull(n * FRAME_S + 0.010))
    said, heard_all = librivox()[: len(heard) * 960], np.concatenate(heard)
    delays = range(312, 312 + 4 * 960, 960)
    assert max(np.corrcoef(said[:-d], heard_all[d:])[0, 1] for d in delays) > 0.7
    assert incoming.stats.concealed == incoming.stats.late == incoming.stats.grown == 0
    assert (incoming.level, incoming.talking) == (outgoing.level, outgoing.talking)


def test_a_forged_packet_does_not_block_the_true_one():
    outgoing, incoming = a_pair()
    for data in packets_of(outgoing, 10):
        forged = bytearray(data)
        forged[-1] ^= 1
        with pytest.raises(Forged):
            incoming.receive(0.0, bytes(forged))
        assert incoming.receive(0.0, data)


def test_a_copy_is_heard_once():
    outgoing, incoming = a_pair()
    packets = packets_of(outgoing, 5)
    assert [incoming.receive(0.0, data) for data in packets + packets] == [True] * 5 + [False] * 5
    assert incoming.duplicates == 5


def test_packets_out_of_order_are_all_taken_within_the_window():
    outgoing, incoming = a_pair()
    packets = packets_of(outgoing, REPLAY_FRAMES)
    assert all(incoming.receive(0.0, data) for data in reversed(packets))
    assert not any(incoming.receive(0.0, data) for data in packets)


def test_what_is_older_than_the_window_is_a_replay():
    outgoing, incoming = a_pair()
    packets = packets_of(outgoing, REPLAY_FRAMES + 1)
    assert incoming.receive(0.0, packets[-1])
    assert not incoming.receive(0.0, packets[0])
    assert incoming.receive(0.0, packets[1])


def test_a_leap_of_the_counter_empties_the_window():
    outgoing, incoming = a_pair()
    (before,) = packets_of(outgoing, 1)
    outgoing.skip(1_000_000)
    (after,) = packets_of(outgoing, 1)
    assert incoming.receive(0.0, before)
    assert incoming.receive(0.0, after)
    assert not incoming.receive(0.0, before)
    assert not incoming.receive(0.0, after)


def test_a_timestamp_that_disagrees_with_the_counter_is_refused_and_blocks_nothing():
    outgoing, incoming = a_pair()
    (data,) = packets_of(outgoing, 1)
    moved = packet.build(packet.parse(data)._replace(timestamp=960))
    with pytest.raises(WrongTime):
        incoming.receive(0.0, moved)
    assert incoming.receive(0.0, data)


def test_a_counter_past_the_end_of_a_voice_is_refused_though_its_seal_is_good():
    _, incoming = a_pair()
    key, salt = derive(0x73, BASE)
    for counter, good in ((COUNTER_MAX + 1, False), (COUNTER_MAX, True)):
        header = encode_header(0x73, counter)
        nonce = (int.from_bytes(salt) ^ counter).to_bytes(12)
        sealed = header + AESGCM(key).encrypt(nonce, b"opus", header)
        made = packet.Packet(111, True, 0, packet.timestamp_of(counter), SSRC, 1, True, sealed)
        if good:
            assert incoming.receive(0.0, packet.build(made))
        else:
            with pytest.raises(WrongTime):
                incoming.receive(0.0, packet.build(made))


def test_a_missing_key_is_told_until_it_is_there():
    outgoing, incoming = a_pair(kid=0x83)
    incoming.set_keys([])
    first, second = packets_of(outgoing, 2)
    with pytest.raises(KeyMissing):
        incoming.receive(0.0, first)
    assert incoming.key_missing
    incoming.set_keys([SealKey(0x73, BASE), SealKey(0x83, BASE)])
    assert incoming.receive(0.0, first)
    assert incoming.receive(0.02, second)
    assert not incoming.key_missing


def test_a_change_of_key_in_mid_speech_is_seamless():
    outgoing, incoming = a_pair()
    incoming.set_keys([SealKey(0x73, BASE), SealKey(0x83, bytes(16))])
    (before,) = packets_of(outgoing, 1)
    outgoing.set(SSRC, SealKey(0x83, bytes(16)), muted=False, sealed=True)
    (after,) = packets_of(outgoing, 1)
    assert incoming.receive(0.0, before)
    assert incoming.receive(0.02, after)


def test_no_more_than_two_keys_are_kept():
    with pytest.raises(AssertionError):
        IncomingVoice(SSRC).set_keys(SealKey(kid, BASE) for kid in range(3))


def test_another_voice_and_other_bytes_are_refused_and_an_audit_is_no_sound():
    outgoing, incoming = a_pair()
    (data,) = packets_of(outgoing, 1)
    parsed = packet.parse(data)
    with pytest.raises(WrongVoice):
        incoming.receive(0.0, packet.build(parsed._replace(ssrc=Ssrc(1))))
    with pytest.raises(NotAPacket):
        incoming.receive(0.0, b"\x80\x6f" + bytes(60))
    assert not incoming.receive(0.0, packet.build(parsed._replace(payload_type=112)))
    assert incoming.receive(0.0, data)


def test_a_changed_header_or_payload_never_gets_through_as_sound_from_another_time():
    """Invariant: one flipped bit gives a PeerError, or changes only seq, marker or level."""
    outgoing, incoming = a_pair()
    (data,) = packets_of(outgoing, 1)
    for bit in range(8 * len(data)):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        fresh = IncomingVoice(SSRC)
        fresh.set_keys([SealKey(0x73, BASE)])
        try:
            taken = fresh.receive(0.0, bytes(changed))
        except PeerError:
            continue
        sent, got = packet.parse(data), packet.parse(bytes(changed))
        assert got._replace(seq=sent.seq, marker=sent.marker, level=sent.level,
                            talking=sent.talking, payload_type=111) == sent  # fmt: skip
        assert taken or got.payload_type == packet.PT_AUDIT
    assert incoming.receive(0.0, data)


def test_the_level_falls_silent_with_the_voice():
    outgoing, incoming = a_pair()
    assert incoming.level == 127
    for data in packets_of(outgoing, 3):
        incoming.receive(0.0, data)
    assert incoming.level == 13
    for n in range(20):
        incoming.pull(n * FRAME_S)
    assert (incoming.level, incoming.talking) == (127, False)
