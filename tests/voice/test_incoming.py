from itertools import cycle, islice

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from p2phouse.errors import PeerError
from p2phouse.vocabulary import FRAME_S, Ssrc, VoiceId
from p2phouse.voice import packet
from p2phouse.voice.incoming import IncomingVoice
from p2phouse.voice.opened import (
    PACKETS_A_SECOND,
    PACKETS_BURST,
    REPLAY_FRAMES,
    TooFast,
    WrongTime,
    WrongVoice,
)
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
from tests.voice.wire import Conditions, Ear, Network

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


def test_300_packets_come_at_once_and_then_60_a_second():
    outgoing, incoming = a_pair()
    assert (PACKETS_BURST, PACKETS_A_SECOND) == (300, 60)
    sent = packets_of(outgoing, 362)
    assert all(incoming.receive(10.0, data) for data in sent[:300])
    with pytest.raises(TooFast):
        incoming.receive(10.0, sent[300])
    assert all(incoming.receive(11.01, data) for data in sent[301:361])
    with pytest.raises(TooFast):
        incoming.receive(11.01, sent[361])


def test_a_voice_that_two_ways_bring_for_half_a_minute_is_whole_and_not_taken_for_forged():
    """Audits too come twice: no way may use up what the other is allowed."""
    outgoing, incoming = a_pair()
    incoming.set_akey(outgoing.akey)
    for n in range(1_500):
        for data in (outgoing.next_packet(tone(n)), outgoing.next_audit()):
            if data is not None:
                incoming.receive(n * FRAME_S, data)
                assert not incoming.receive(n * FRAME_S + 0.005, data)
        incoming.pull(n * FRAME_S + 0.010)
    assert incoming.stats.played > 1_490
    assert incoming.stats.concealed == 0
    assert not incoming.forged
    assert incoming.duplicates > 1_500


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


# ── audits ───────────────────────────────────────────────────────────────────────────────────


def an_audited_pair(*, sealed: bool = True) -> tuple[OutgoingVoice, IncomingVoice]:
    outgoing, incoming = a_pair()
    outgoing.set(SSRC, SealKey(0x73, BASE), muted=False, sealed=sealed)
    incoming.set_akey(outgoing.akey)
    return outgoing, incoming


def test_audits_take_a_place_in_seq_and_are_no_loss():
    outgoing, incoming = an_audited_pair(sealed=False)
    silence = np.zeros(960, np.float32)
    seqs = []
    for n in range(600):
        # Words of 0.4 s with pauses of 0.8 s between them, which Opus does not send.
        frame = tone(n) if n % 60 < 20 else silence
        for data in (outgoing.next_packet(frame), outgoing.next_audit()):
            if data is not None:
                seqs.append(packet.parse(data).seq)
                incoming.receive(n * FRAME_S, data)
        incoming.pull(n * FRAME_S + 0.010)
    assert seqs == list(range(seqs[0], seqs[0] + len(seqs)))
    assert incoming.stats.concealed == incoming.stats.recovered == 0
    assert incoming.stats.played > 200
    assert not incoming.forged


def test_audits_that_get_lost_disturb_no_sound():
    """The same frames are played from the same packets, whether audits come or none does."""
    heard = []
    for is_lost in (False, True):
        outgoing, incoming = a_pair()
        frames = []
        for n in range(100):
            for data in (outgoing.next_packet(tone(n)), outgoing.next_audit()):
                if data is not None and not (is_lost and packet.parse(data).payload_type == 112):
                    incoming.receive(n * FRAME_S, data)
            frames.append(incoming.pull(n * FRAME_S + 0.010))
        assert incoming.stats.concealed == incoming.stats.grown == 0
        heard.append(np.concatenate(frames))
    with_audits, without = heard
    assert np.array_equal(with_audits, without)


def test_read_speech_over_a_bad_network_is_not_taken_for_forged():
    """All of it together for a minute: Opus with DTX, 20 % loss in runs, jitter, audits in seq."""
    outgoing, incoming = an_audited_pair(sealed=False)
    network = Network(Conditions(0.030, 0.010, loss=0.20, lost_in_a_row=2.0), seed=4)
    frames = list(islice(cycle(frames_of(librivox())), 3_000))
    sent = [
        (n * FRAME_S, data)
        for n, frame in enumerate(frames)
        for data in (outgoing.next_packet(frame), outgoing.next_audit())
        if data is not None
    ]
    carried = [(network.carry(at_s), data) for at_s, data in sent]
    arrivals = [(at_s, data) for at_s, data in carried if at_s is not None]
    ear = Ear(incoming, incoming.receive)
    ear.listen(arrivals, until_s=62.0)
    assert not incoming.forged
    assert incoming.stats.played > 1_000


def test_what_was_said_before_a_mute_is_audited_after_it():
    outgoing, incoming = an_audited_pair()
    for data in packets_of(outgoing, 10):
        incoming.receive(0.0, data)
    outgoing.set(SSRC, SealKey(0x73, BASE), muted=True, sealed=True)
    sent = []
    for n in range(200):
        assert outgoing.next_packet(tone(n)) is None
        sent.append(outgoing.next_audit())
    audits = [data for data in sent if data is not None]
    assert 1 <= len(audits) <= 7
    for data in audits:
        incoming.receive(1.0, data)
    for n in range(250):
        incoming.pull(n * FRAME_S)
    assert not incoming.forged


def test_a_forged_voice_is_silent_from_the_very_tick():
    """Whoever else holds the key of an open room speaks as Ana: for less than 3 s, to nobody."""
    forger = OutgoingVoice(SID, entropy=bytes)
    forger.set(SSRC, SealKey(0x73, BASE), muted=False, sealed=True)
    _, incoming = an_audited_pair()
    incoming.set_akey(bytes(32))  # a second one changes nothing
    silent_s = None
    for n in range(200):
        data = forger.next_packet(tone(n))
        assert data is not None
        incoming.receive(n * FRAME_S, data)
        frame = incoming.pull(n * FRAME_S + 0.010)
        if incoming.doubted:
            silent_s = silent_s or n * FRAME_S
            assert not frame.any()
            assert incoming.level == 127
            assert not incoming.talking
    assert silent_s is not None
    assert silent_s <= 3.0


def test_a_voice_whose_audits_are_lost_for_a_while_is_silent_and_then_played_again():
    """As of a hub whose uplink is full: it drops the largest packets."""
    outgoing, incoming = an_audited_pair()
    silent = []
    for n in range(500):
        for data in (outgoing.next_packet(tone(n)), outgoing.next_audit()):
            is_audit = data is not None and packet.parse(data).payload_type == packet.PT_AUDIT
            if data is not None and not (is_audit and 100 <= n < 350):
                incoming.receive(n * FRAME_S, data)
        frame = incoming.pull(n * FRAME_S + 0.010)
        if n > 10 and not frame.any():
            silent.append(n)
            assert incoming.level == 127
            assert not incoming.talking
    assert 200 <= silent[0] <= 100 + 150
    assert silent[-1] <= 350 + 25
    assert silent == list(range(silent[0], silent[-1] + 1))
    assert not incoming.forged


def test_an_audit_before_the_key_is_known_is_passed_over():
    outgoing, incoming = a_pair()
    packets_of(outgoing, 17)
    data = outgoing.next_audit()
    assert data is not None
    assert not incoming.receive(0.0, data)
