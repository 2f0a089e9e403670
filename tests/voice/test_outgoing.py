import numpy as np
import pytest

from p2phouse.vocabulary import FRAME_SAMPLES, Ssrc, VoiceId
from p2phouse.voice import packet
from p2phouse.voice.outgoing import OutgoingVoice
from p2phouse.voice.packet import Packet
from p2phouse.voice.seal import CounterReused, SealKey, decode_header, open_sealed
from tests.voice.speech import frames_of, librivox, noise, tone

SID, SSRC, BASE = VoiceId(bytes(16)), Ssrc(0xCAFEF00D), bytes(range(16))
SILENCE = np.zeros(FRAME_SAMPLES, np.float32)


def a_voice(*, muted: bool = False, sealed: bool = False) -> OutgoingVoice:
    voice = OutgoingVoice(SID, entropy=lambda size: b"\xff" * size)
    voice.set(SSRC, SealKey(0x73, BASE), muted=muted, sealed=sealed)
    return voice


def counter_of(sent: Packet) -> int:
    return decode_header(sent.payload)[1]


def say(voice: OutgoingVoice, frame) -> Packet | None:
    data = voice.next_packet(frame)
    return None if data is None else packet.parse(data)


def test_a_voice_begins_muted_and_without_key_and_sends_nothing():
    voice = OutgoingVoice(SID, entropy=bytes)
    assert [say(voice, tone(n)) for n in range(5)] == [None] * 5
    voice.set(SSRC, SealKey(0x73, BASE), muted=False, sealed=False)
    spoken = say(voice, tone(5))
    assert spoken is not None
    assert counter_of(spoken) == 5


def test_packets_carry_the_published_facts():
    voice = a_voice()
    spoken = [say(voice, tone(n)) for n in range(10)]
    for n, sent in enumerate(spoken):
        assert sent is not None
        assert sent.payload_type == packet.PT_OPUS
        assert sent.ssrc == SSRC
        assert sent.seq == 32_767 + n  # the entropy was all ones
        assert sent.timestamp == 960 * n
        assert counter_of(sent) == n
        assert sent.marker == (n == 0)
        assert sent.level == 13
        assert sent.talking
        assert open_sealed({0x73: (SealKey(0x73, BASE),)}, sent.payload).counter == n


def test_the_first_seq_is_in_the_lower_half_and_seqs_wrap():
    for entropy in (bytes, lambda size: b"\xff" * size):
        voice = OutgoingVoice(SID, entropy=entropy)
        voice.set(SSRC, SealKey(0x73, BASE), muted=False, sealed=True)
        first = say(voice, SILENCE)
        assert first is not None
        assert first.seq < 32_768
    voice = a_voice(sealed=True)
    seqs = [sent.seq for n in range(32_771) if (sent := say(voice, SILENCE))]
    assert seqs[-1] == 1


def test_time_goes_on_through_mute_silence_and_skipped_ticks_but_seq_does_not():
    voice, key = a_voice(), SealKey(0x73, BASE)
    before = [say(voice, tone(n)) for n in range(10)][-1]
    voice.set(SSRC, key, muted=True, sealed=False)
    assert [say(voice, tone(n)) for n in range(30)] == [None] * 30
    voice.set(SSRC, key, muted=False, sealed=False)
    assert say(voice, None) is None
    voice.skip(5)
    after = say(voice, tone(0))
    assert before is not None
    assert after is not None
    assert after.marker
    assert after.seq == before.seq + 1
    assert counter_of(after) - counter_of(before) == 30 + 1 + 5 + 1
    assert after.timestamp == 960 * counter_of(after)


def test_in_a_pause_hardly_anything_is_sent_and_speech_after_it_is_marked():
    voice = a_voice()
    speech = frames_of(librivox())[20:60]
    for frame in speech:
        say(voice, frame)
    pause = [say(voice, SILENCE) for _ in range(100)]
    assert sum(sent is not None for sent in pause[30:]) <= 5
    assert pause[-1] is None
    following = next(sent for frame in speech if (sent := say(voice, frame)))
    assert following.marker


def test_a_sealed_voice_sends_every_frame_with_one_length_so_pauses_tell_nothing():
    voice = a_voice(sealed=True)
    frames = [*frames_of(librivox())[:60], *[SILENCE] * 60]
    sent = [say(voice, frame) for frame in frames]
    assert all(sent)
    # The counter's length is part of the payload: one byte up to 7, two up to 255.
    assert len({len(each.payload) for each in sent[8:] if each}) == 1


def test_nothing_said_before_a_mute_is_heard_after_it():
    voice, key = a_voice(), SealKey(0x73, BASE)
    other = a_voice()
    for frame in frames_of(librivox())[20:60]:
        say(voice, frame)
        other.skip(1)
    voice.set(SSRC, key, muted=True, sealed=False)
    say(voice, tone(0))
    other.skip(1)
    voice.set(SSRC, key, muted=False, sealed=False)
    first, fresh = say(voice, noise(1)), say(other, noise(1))
    assert first is not None
    assert fresh is not None
    assert first.payload == fresh.payload


def test_muted_level_is_silence():
    voice = a_voice()
    say(voice, tone(0))
    assert (voice.level, voice.talking) == (13, True)
    voice.set(SSRC, SealKey(0x73, BASE), muted=True, sealed=False)
    say(voice, tone(1))
    assert voice.level == 127


def test_two_voices_with_one_key_are_stopped_before_a_counter_is_used_twice():
    key = SealKey(0x73, BASE)
    first, second = a_voice(), a_voice()
    first.set(SSRC, key, muted=False, sealed=False)
    second.set(SSRC, key, muted=False, sealed=False)
    say(first, tone(0))
    with pytest.raises(CounterReused):
        say(second, tone(0))


def test_declared_loss_reaches_a_running_and_a_new_encoder():
    voice = a_voice()
    say(voice, tone(0))
    voice.set_loss(25)
    voice.set(SSRC, SealKey(0x73, BASE), muted=True, sealed=False)
    voice.set(SSRC, SealKey(0x73, BASE), muted=False, sealed=False)
    voice.skip(5)
    assert say(voice, tone(1)) is not None
