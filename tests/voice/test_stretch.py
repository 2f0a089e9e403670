"""Time-stretch: the voice faster or slower, its pitch, its loudness and its joints as they were."""

import time
from collections.abc import Callable

import numpy as np
import pytest

from p2phouse.vocabulary import FRAME_S, FRAME_SAMPLES, SAMPLE_RATE_HZ, Frame
from p2phouse.voice.stretch import PERIOD_MAX, PERIOD_MIN, Stretch
from tests.voice.speech import frames_of, librivox, noise, tone

Change = Callable[[Stretch], int]


def shorten(stretch: Stretch) -> int:
    return stretch.shorten(PERIOD_MAX)


SHORTEN, LENGTHEN = shorten, Stretch.lengthen


def vowel(frame: int, *, hz: float = 110.0) -> Frame:
    """Twelve harmonics that fall by 6 dB an octave: a pulse each period, as of a throat."""
    at = np.arange(frame * FRAME_SAMPLES, (frame + 1) * FRAME_SAMPLES) / SAMPLE_RATE_HZ
    return np.asarray(
        sum(0.2 / k * np.cos(2 * np.pi * k * hz * at) for k in range(1, 13)), np.float32
    )


def play(frames: list[Frame], change: Change, *, each: int = 2) -> tuple[np.ndarray, list[int]]:
    """All that is heard if every so many frames time is taken out or put in; and how much."""
    stretch, heard, changed = Stretch(), [], []
    for n, frame in enumerate(frames):
        stretch.take(frame)
        if n % each == each - 1:
            changed.append(change(stretch))
        while stretch.spare >= FRAME_SAMPLES:
            heard.append(stretch.give())
    return np.concatenate(heard), changed


def pitch_hz(sound: np.ndarray) -> float:
    """Where the autocorrelation of 80 ms has its first great peak."""
    part = sound[: 4 * FRAME_SAMPLES] - sound[: 4 * FRAME_SAMPLES].mean()
    fit = np.correlate(part, part, "full")[len(part) - 1 :]
    low, high = SAMPLE_RATE_HZ // 420, SAMPLE_RATE_HZ // 60
    return SAMPLE_RATE_HZ / (low + int(np.argmax(fit[low:high])))


def steepest(sound: np.ndarray) -> float:
    return float(np.abs(np.diff(sound)).max())


def test_what_is_not_stretched_comes_out_as_it_went_in():
    frames = [noise(n) for n in range(5)]
    heard, _ = play(frames, SHORTEN, each=99)
    assert np.array_equal(heard, np.concatenate(frames))


@pytest.mark.parametrize("hz", [70.0, 110.0, 180.0, 250.0, 380.0])
@pytest.mark.parametrize("change", [SHORTEN, LENGTHEN], ids=["shorter", "longer"])
def test_a_vowel_is_changed_by_whole_periods_and_nobody_hears_the_joint(hz: float, change: Change):
    frames = [vowel(n, hz=hz) for n in range(60)]
    plain = np.concatenate(frames)
    heard, changed = play(frames, change)
    for samples in changed[1:]:  # at the very first nothing was heard before
        periods = samples * hz / SAMPLE_RATE_HZ
        assert samples <= PERIOD_MAX
        assert periods >= 0.98
        assert abs(periods - round(periods)) < 0.01
    assert len(heard) != len(plain)
    middle = heard[10 * FRAME_SAMPLES :]
    assert pitch_hz(middle) == pytest.approx(hz, rel=0.01)
    assert steepest(heard) < 1.05 * steepest(plain)
    loudness = [float(frame @ frame) for frame in frames_of(middle)]
    whole = [float(frame @ frame) for frame in frames]
    assert 0.85 * min(whole) < min(loudness) <= max(loudness) < 1.15 * max(whole)


def test_delay_of_a_frame_is_won_within_a_fifth_of_a_second_of_a_vowel():
    _, shorter = play([vowel(n) for n in range(10)], SHORTEN)
    _, longer = play([vowel(n) for n in range(10)], LENGTHEN)
    assert sum(shorter) >= FRAME_SAMPLES
    assert sum(longer) >= FRAME_SAMPLES


def test_most_loud_frames_of_speech_can_be_stretched():
    frames = frames_of(librivox())
    loudest = max(float(frame @ frame) for frame in frames)
    for change in (SHORTEN, LENGTHEN):
        stretch, loud, changed = Stretch(), 0, 0
        for frame in frames:
            stretch.take(frame)
            if float(frame @ frame) > loudest / 10:
                loud += 1
                changed += change(stretch) > 0
            while stretch.spare >= FRAME_SAMPLES:
                stretch.give()
        assert changed > 0.55 * loud


@pytest.mark.parametrize("change", [SHORTEN, LENGTHEN], ids=["shorter", "longer"])
def test_what_does_not_repeat_itself_is_left_alone(change: Change):
    for frames in (
        [noise(n) for n in range(40)],  # a fricative
        [np.float32(n == 5) * vowel(n) for n in range(10)],  # a sound begins and ends here
        [np.full(FRAME_SAMPLES, np.nan, np.float32)] * 10,
    ):
        _, changed = play(frames, change, each=1)
        assert not any(changed[4:6])


def test_never_more_is_taken_than_is_allowed_or_here():
    for most in (PERIOD_MIN - 1, PERIOD_MIN, 300, PERIOD_MAX):
        stretch = Stretch()
        for n in range(3):
            stretch.take(vowel(n, hz=380.0))
            stretch.give()
        assert stretch.shorten(most) == 0  # nothing is here
        stretch.take(vowel(3, hz=380.0))
        taken = stretch.shorten(most)
        assert taken <= most
        assert (taken > 0) == (most > PERIOD_MIN)
        assert stretch.spare == FRAME_SAMPLES - taken


def test_a_quiet_part_is_left_out_to_the_sample_and_without_a_crack():
    stretch = Stretch()
    for n in range(2):
        stretch.take(tone(n))
    whole = steepest(tone(0))
    stretch.cut(FRAME_SAMPLES)
    assert stretch.spare == FRAME_SAMPLES
    assert steepest(stretch.give()) < 1.1 * whole
    stretch.take(tone(3))
    stretch.cut(FRAME_SAMPLES - 10)  # no room for the joint
    assert stretch.spare == FRAME_SAMPLES
    stretch.clear()
    assert stretch.spare == 0


def test_a_frame_is_stretched_in_a_fortieth_of_its_time():
    frames = [vowel(n) for n in range(100)]
    best_s = min(cost_s(frames) for _ in range(5))
    assert best_s < FRAME_S / 40


def cost_s(frames: list[Frame]) -> float:
    """Process time for each frame, every one of them shortened."""
    started = time.process_time()
    play(frames, SHORTEN, each=1)
    return (time.process_time() - started) / len(frames)
