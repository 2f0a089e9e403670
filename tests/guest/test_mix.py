"""A room as one voice: what whoever reads its clusters hears."""

import io
import os

import av
import numpy as np
import pytest

from p2phouse.guest import webm
from p2phouse.guest.mix import AWAY_S, CLUSTER_FRAMES, RoomMix
from p2phouse.vocabulary import FRAME_S, FRAME_SAMPLES, HERE, SAMPLE_RATE_HZ, LinkNumber, Ssrc
from p2phouse.voice.opus import Encoder
from p2phouse.voice.packet import PT_OPUS, SEQ_MODULUS, TIMESTAMP_MODULUS
from p2phouse.voice.plain import Plain

SLOTS = (Ssrc(11), Ssrc(12), Ssrc(13), Ssrc(14))


class Voice:
    """Says one tone. stamp: of its first packet."""

    def __init__(self, source: int, hz: float, stamp: int = 0) -> None:
        self._encoder = Encoder(dtx=False)
        self.source, self._hz, self._stamp, self._said = LinkNumber(source), hz, stamp, 0

    def say(self) -> Plain:
        n = self._said
        self._said += 1
        at = np.arange(n * FRAME_SAMPLES, (n + 1) * FRAME_SAMPLES)
        tone = np.sin(at * 2 * np.pi * self._hz / SAMPLE_RATE_HZ) * 0.2
        stamp = (self._stamp + n * FRAME_SAMPLES) % TIMESTAMP_MODULUS
        opus = self._encoder.encode(tone.astype(np.float32))
        seq = (65_500 + n) % SEQ_MODULUS
        return Plain(PT_OPUS, n == 0, seq, stamp, Ssrc(self.source), 30, opus)


def new_mix(at_ms: int = 0) -> RoomMix:
    return RoomMix(SLOTS, os.urandom, at_ms)


def heard(mix: RoomMix, ticks: int, *voices: Voice, from_s: float = 0.0) -> bytes:
    clusters = b""
    for n in range(ticks):
        for each in voices:
            mix.receive(from_s + n * FRAME_S + 0.003, each.source, each.say())
        clusters += mix.tick(from_s + (n + 1) * FRAME_S)
    return clusters


def sound(clusters: bytes) -> np.ndarray:
    with av.open(io.BytesIO(webm.header() + clusters)) as container:
        return np.concatenate([each.to_ndarray()[0] for each in container.decode(audio=0)])


def tones(what: np.ndarray) -> set[int]:
    """What stands out of its last half second, in Hz to the next hundred."""
    power = np.abs(np.fft.rfft(what[-SAMPLE_RATE_HZ // 2 :])) / (SAMPLE_RATE_HZ / 4)
    return {round(2 * int(bin_) / 100) * 100 for bin_ in np.flatnonzero(power > 0.05)}


def test_four_who_speak_at_once_are_heard_at_once_and_a_fifth_is_not():
    voices = [Voice(n, hz) for n, hz in enumerate((400, 700, 1_100, 1_900, 3_000), 1)]
    mix = new_mix()
    assert tones(sound(heard(mix, 100, *voices))) == {400, 700, 1_100, 1_900}
    assert set(mix.holders) == {1, 2, 3, 4}


def test_who_has_left_makes_room():
    voices = [Voice(n, hz) for n, hz in enumerate((400, 700, 1_100, 1_900), 1)]
    mix = new_mix()
    heard(mix, 20, *voices)
    ticks = round((AWAY_S + 1) / FRAME_S)
    assert tones(sound(heard(mix, ticks, voices[0], from_s=1.0))) == {400}
    assert set(mix.holders) == {HERE, 1}


def test_a_voice_s_time_may_wrap_and_pause():
    mix = new_mix()
    voice = Voice(1, 400, stamp=TIMESTAMP_MODULUS - 30 * FRAME_SAMPLES)
    assert tones(sound(heard(mix, 100, voice))) == {400}
    for pause_s, now_s in ((2.0, 2.0), (3 * AWAY_S, 6.0)):
        assert tones(sound(heard(mix, round(pause_s / FRAME_S), from_s=now_s))) == set()
        assert tones(sound(heard(mix, 100, voice, from_s=now_s + pause_s))) == {400}


def test_in_silence_it_goes_on():
    what = sound(heard(new_mix(), 100))
    assert len(what) == pytest.approx(2 * SAMPLE_RATE_HZ, abs=FRAME_SAMPLES)
    assert not np.abs(what).max() > 0.001


def test_what_is_no_opus_is_passed_over():
    mix, voice = new_mix(), Voice(1, 400)
    for rubbish in (b"\x03", b"\xff" * 200, os.urandom(50)):
        mix.receive(0.0, LinkNumber(1), Plain(PT_OPUS, False, 1, 0, Ssrc(1), 30, rubbish))
    assert tones(sound(heard(mix, 150, voice))) == {400}


def test_ticks_that_fell_out_are_a_hole_in_its_time_and_no_more():
    mix, voice = new_mix(500), Voice(1, 400)
    before = heard(mix, CLUSTER_FRAMES + 2, voice)
    before += mix.skip(50)
    after = heard(mix, 100, voice, from_s=(CLUSTER_FRAMES + 52) * FRAME_S)
    with av.open(io.BytesIO(webm.header() + before + after)) as container:
        times = [
            round(each.pts * 1_000 * each.time_base) for each in container.demux() if each.size
        ]
    steps = np.diff(times)
    assert times[0] == pytest.approx(500, abs=10)
    assert list(np.flatnonzero(steps != 20)) == [CLUSTER_FRAMES + 1]
    assert steps[CLUSTER_FRAMES + 1] == 20 + 50 * 20
    assert tones(sound(after)) == {400}
