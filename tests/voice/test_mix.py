import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2phouse.vocabulary import FRAME_SAMPLES
from p2phouse.voice.mix import CEILING, Mixer
from tests.voice.speech import frames_of, librivox, noise, tone

SILENCE = np.zeros(FRAME_SAMPLES, np.float32)


def test_nobody_is_silence():
    assert not Mixer().mix([]).any()


def test_voices_are_summed_with_their_gains():
    mixed = Mixer().mix([(tone(0), 1.0), (tone(0, hz=200), 0.5), (noise(1), 0.0)])
    assert np.allclose(mixed, tone(0) + 0.5 * tone(0, hz=200), atol=1e-6)


def test_frames_given_in_are_not_written_to():
    frame = tone(0, amplitude=0.9)
    frame.flags.writeable = False
    Mixer().mix([(frame, 1.0), (frame, 1.0)])


@settings(max_examples=60)
@given(st.lists(st.tuples(st.floats(0, 50), st.floats(20, 8_000)), min_size=1, max_size=12))
def test_whatever_is_mixed_stays_under_the_ceiling(loudness: list[tuple[float, float]]):
    mixer = Mixer()
    for n, (amplitude, hz) in enumerate(loudness):
        mixed = mixer.mix([(tone(n, amplitude=amplitude, hz=hz), 1.0), (noise(n), 2.0)])
        assert mixed.shape == (FRAME_SAMPLES,)
        assert float(np.abs(mixed).max()) <= CEILING + 1e-6


def test_two_loud_talkers_are_turned_down_not_chopped_off():
    mixer = Mixer()
    speech = [6.0 * frame for frame in frames_of(librivox())]
    mixed = np.concatenate([mixer.mix([(frame, 1.0), (frame, 0.5)]) for frame in speech])
    assert float(np.mean(np.abs(mixed) >= CEILING - 1e-4)) < 0.002
    assert np.corrcoef(mixed, np.concatenate(speech))[0, 1] > 0.97


def test_gain_comes_back_after_a_loud_moment_without_a_jump():
    mixer = Mixer()
    mixer.mix([(tone(0, amplitude=4.0), 1.0)])
    after = [mixer.mix([(tone(n, amplitude=0.5), 1.0)]) for n in range(1, 40)]
    assert np.allclose(after[-1], tone(39, amplitude=0.5))
    steps = np.abs(np.diff(np.concatenate(after)))
    assert float(steps.max()) < 0.05  # 400 Hz at 0.5 moves 0.026 a sample


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_broken_numbers_cost_one_frame_and_nothing_after(value: float):
    mixer = Mixer()
    broken = tone(0)
    broken[100] = value
    assert np.isfinite(mixer.mix([(broken, 1.0)])).all()
    assert np.allclose(mixer.mix([(tone(1), 1.0)]), tone(1))
