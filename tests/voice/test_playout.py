"""What is played: a frame a tick, in order, with what was lost made up for."""

import random
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2phouse.vocabulary import FRAME_S, FRAME_SAMPLES, SAMPLE_RATE_HZ, Frame
from p2phouse.voice.opus import carries_fec
from p2phouse.voice.playout import Playout, within_full_scale
from tests.voice.playing import (
    clicks,
    energy,
    hear,
    lose,
    sentence,
    with_pause,
)
from tests.voice.speech import frames_of, librivox, noise
from tests.voice.wire import (
    Network,
    Sent,
    arrivals,
    ear_of,
    speak,
)

# ── one frame a tick, in order ───────────────────────────────────────────────────────────────────


def some_opus() -> st.SearchStrategy[bytes]:
    return st.one_of(
        st.sampled_from([each.opus for each in sentence()[20:80]]),
        st.binary(min_size=0, max_size=40),
        st.integers(0, 255).map(lambda byte: bytes([31 << 3]) + bytes([byte]) * 100),
    )


@settings(max_examples=60)
@given(data=st.data())
def test_every_tick_gives_one_frame_within_full_scale_whatever_comes(data: st.DataObject):
    """Invariant: float32[960], finite, -1 to 1; nothing raises; at most QUEUE_MAX are played on."""
    playout, now_s, counter = Playout(), 0.0, 0
    for _ in range(data.draw(st.integers(1, 120), label="steps")):
        now_s += data.draw(st.sampled_from([0.0, 0.001, 0.02, 0.02, 0.3, 2.0]), label="later")
        step = data.draw(st.sampled_from(["tick", "tick", "next", "next", "any", "skip"]))
        if step == "tick":
            frame = playout.pull(now_s)
            assert frame.shape == (FRAME_SAMPLES,)
            assert frame.dtype == np.float32
            assert float(np.abs(frame).max()) <= 1.0  # false for NaN
        elif step == "skip":
            playout.skip(data.draw(st.integers(1, 200)))
        else:
            leap = st.integers(0, 3) if step == "next" else st.integers(-500, 5_000)
            counter = min(max(0, counter + data.draw(leap, label="leap")), 2**32 - 1)
            seq = data.draw(st.sampled_from([counter & 0xFFFF, 0, 40_000]), label="seq")
            playout.receive(now_s, seq, counter, data.draw(st.booleans()), data.draw(some_opus()))


def glide(count: int = 60) -> list[Frame]:
    """A tone that rises 120 Hz each frame, so that one hears which frame one hears."""
    hz = np.repeat(400.0 + 120.0 * np.arange(count), FRAME_SAMPLES)
    phase = 2 * np.pi * np.cumsum(hz) / SAMPLE_RATE_HZ
    return frames_of((0.3 * np.sin(phase)).astype(np.float32))


@cache
def glide_sent() -> list[Sent]:
    return speak(glide(), sealed=True)


def pitch_hz(frame: Frame) -> float:
    spectrum = np.abs(np.fft.rfft(frame * np.hanning(FRAME_SAMPLES), 10 * FRAME_SAMPLES))
    return float(np.argmax(spectrum)) * SAMPLE_RATE_HZ / (10 * FRAME_SAMPLES)


@settings(max_examples=40)
@given(seed=st.integers(0, 2**32), loss=st.floats(0, 0.4), spread_s=st.floats(0, 0.3))
def test_frames_are_heard_in_order_whatever_the_network_does(
    seed: int, loss: float, spread_s: float
):
    rng = random.Random(seed)
    came = [
        (each.at_s + 0.03 + rng.random() ** 3 * spread_s, each)
        for each in glide_sent()
        if rng.random() >= loss
    ]
    ear = ear_of(Playout())
    ear.listen(came, until_s=1.7)
    highest_hz = 0.0
    for frame in ear.heard:
        if energy(frame) > 10:  # a quarter of its loudness: not what concealment fades to
            # Concealment in the course of a rise reads up to a step and a half lower.
            assert pitch_hz(frame) > highest_hz - 200
            highest_hz = max(highest_hz, pitch_hz(frame))


# ── loss ─────────────────────────────────────────────────────────────────────────────────────────


@settings(max_examples=25)
@given(lost=st.sets(st.integers(1, 110), max_size=60))
def test_no_loss_leaves_a_delay_behind(lost: set[int]):
    """Before, after, and without any loss the delay is the same to the sample."""
    whole, ear = hear(sentence())
    playout, lossy = hear(lose(sentence(), *lost))
    assert lossy.delay_s(librivox(), 2.5) == ear.delay_s(librivox(), 2.5)
    assert playout.stats.grown == playout.stats.dropped == playout.stats.late == 0
    assert playout.stats.buffered_us == whole.stats.buffered_us
    assert playout.stats.played == len(sentence()) - len(lost)
    assert playout.stats.recovered + playout.stats.concealed == len(lost)


def with_copy_in_follower(sent: list[Sent]) -> list[int]:
    """Counters of loud packets whose follower repeats them."""
    return [
        one.counter
        for one, follower in pairwise(sent)
        if carries_fec(follower.opus) and 20 < one.counter < 130
    ]


def test_a_lost_packet_is_recovered_from_its_follower():
    _, ear = hear(sentence())
    for n in with_copy_in_follower(sentence())[::20]:
        playout, lossy = hear(lose(sentence(), n))
        assert (playout.stats.recovered, playout.stats.concealed) == (1, 0)
        concealing, worse = hear(lose(sentence(), n, n + 1))
        assert concealing.stats.concealed + concealing.stats.recovered == 2
        at_s = n * FRAME_S + 0.03
        truth = ear.part(at_s, at_s + 0.06)
        error = energy(truth - lossy.part(at_s, at_s + 0.06))
        assert error < 0.6 * energy(truth - worse.part(at_s, at_s + 0.06))


def test_a_packet_whose_follower_has_no_copy_of_it_is_concealed():
    n = next(
        one.counter
        for one, follower in pairwise(sentence())
        if one.counter > 5 and not carries_fec(follower.opus)
    )
    playout, _ = hear(lose(sentence(), n))
    assert (playout.stats.recovered, playout.stats.concealed) == (0, 1)


def test_of_several_lost_in_a_row_the_last_is_recovered():
    n = with_copy_in_follower(sentence())[10]
    playout, _ = hear(lose(sentence(), n - 2, n - 1, n))
    assert (playout.stats.recovered, playout.stats.concealed) == (1, 2)


def test_a_late_packet_is_given_up_and_not_waited_for():
    n = with_copy_in_follower(sentence())[10]
    came = [
        (at_s + (0.1 if each.counter == n else 0), each)
        for at_s, each in arrivals(sentence(), Network())
    ]
    playout = Playout()
    ear = ear_of(playout)
    ear.listen(came, until_s=4)
    assert (playout.stats.late, playout.stats.recovered, playout.stats.grown) == (1, 1, 0)
    _, whole = hear(sentence())
    assert ear.delay_s(librivox(), 2.5) == whole.delay_s(librivox(), 2.5)


@pytest.mark.parametrize(
    "rubbish",
    [b"", b"\xff\xff", b"\x4b\x41\xfe\x40" + bytes(20)],
    ids=["empty", "no packet", "says it repeats its forerunner"],
)
def test_a_packet_that_is_no_opus_costs_its_own_frame(rubbish: bytes):
    _, whole = hear(sentence())
    broken = [
        each._replace(opus=rubbish) if each.counter == 60 else each for each in lose(sentence(), 59)
    ]
    playout, ear = hear(broken)
    assert playout.stats.broken == 1
    assert playout.stats.played == len(sentence()) - 2
    assert playout.stats.recovered == 0
    assert ear.delay_s(librivox(), 2.5) == whole.delay_s(librivox(), 2.5)


def test_a_decoder_gone_mad_is_kept_within_full_scale():
    # CELT packets of one repeated byte raise their own energy from frame to frame.
    loud = bytes([31 << 3]) + bytes([50]) * 100
    playout = Playout()
    for n in range(40):
        playout.receive(n * FRAME_S, n, n, n == 0, loud)
        assert float(np.abs(playout.pull(n * FRAME_S + 0.001)).max()) <= 1.0
    for n in range(40, 50):  # what is invented after it is as loud as it was
        assert float(np.abs(playout.pull(n * FRAME_S)).max()) <= 1.0
    # And so is what its state makes of a good packet's copy of the frame before.
    good = next(each for each in sentence() if carries_fec(each.opus))
    playout.receive(1.0, 51, 51, False, good.opus)
    assert float(np.abs(playout.pull(1.001)).max()) <= 1.0
    assert float(np.abs(playout.pull(1.02)).max()) <= 1.0
    assert playout.stats.recovered == 1


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_frame_with_a_number_that_is_none_is_silent(value: float):
    """No packet is known that makes libopus give one."""
    frame = noise(1)
    frame[100] = value
    assert not within_full_scale(frame).any()


def test_a_single_sample_beyond_full_scale_is_cut_and_the_rest_is_left():
    frame = noise(1, amplitude=0.001)
    expected = frame.copy()
    frame[100], expected[100] = 1.01, 1.0
    assert np.array_equal(within_full_scale(frame), expected)


# ── pauses ───────────────────────────────────────────────────────────────────────────────────────


def test_a_pause_is_no_loss_and_sounds_like_the_room():
    frames, pause = with_pause(150)
    sent = speak(frames)
    quiet = range(pause.start + 30, pause.stop)
    assert sum(each.counter in quiet for each in sent) < 12  # a refresh each 0.4 s
    playout, ear = hear(sent)
    assert playout.stats.concealed == playout.stats.recovered == playout.stats.grown == 0
    assert playout.stats.played == len(sent)
    room = np.median([energy(frame) for frame in frames[:20]])
    heard = [energy(ear.part(n * FRAME_S + 0.1, (n + 1) * FRAME_S + 0.1)) for n in quiet[:-5]]
    assert min(heard) > 0.01 * room  # comfort noise; of digital silence one asks who hung up
    assert max(heard) < 10 * room


def test_after_a_pause_the_delay_is_the_same():
    frames, at = clicks(400, quiet=range(100, 300))
    sent = speak(frames)
    assert sum(150 < each.counter < 300 for each in sent) < 12
    playout, ear = hear(sent)
    assert max(abs(ear.click_delay_s(n) - ear.click_delay_s(5)) for n in at) < 0.001
    assert playout.stats.grown == playout.stats.dropped == 0


def test_a_packet_lost_at_either_end_of_a_pause_is_counted():
    frames, pause = with_pause(60)
    sent = speak(frames)
    marked = next(
        one.counter
        for one, other in pairwise(sent)
        if one.marker and one.counter > pause.start and other.counter == one.counter + 1
    )
    last = max(each.counter for each in sent if each.counter < marked)
    assert last < marked - 5
    # A marker says that nothing was sent before it; a copy in it would be of another frame.
    copied = next(each.opus for each in sent if carries_fec(each.opus))
    copying = [each._replace(opus=copied) if each.counter >= marked else each for each in sent]
    one, _ = hear(lose(copying, last))
    assert (one.stats.recovered, one.stats.concealed) == (0, 1)
    other, _ = hear(lose(copying, marked))
    assert (other.stats.recovered, other.stats.concealed) == (1, 0)
    both, _ = hear(lose(copying, last, marked))
    assert (both.stats.recovered, both.stats.concealed) == (1, 1)


def test_a_seq_changed_on_the_way_tells_nothing_of_loss():
    """The seal does not cover it: far ahead where no frame is missing, or back after a pause."""
    frames, pause = with_pause(60)
    for leap, since in ((1_000, pause.start + 3), (40_000, pause.stop - 20)):
        sent = [
            each._replace(seq=(each.seq + leap) % 65_536) if each.counter >= since else each
            for each in speak(frames)
        ]
        assert hear(sent)[0].stats.concealed == 0


def test_a_voice_of_which_nothing_comes_any_more_falls_silent():
    playout = Playout()
    ear = ear_of(playout)
    assert not playout.pull(0.0).any()
    sent = speak([noise(n, amplitude=0.01) for n in range(100)], sealed=True)
    ear.listen(arrivals(sent, Network()), until_s=2.1)
    ear.heard.clear()
    ear.listen([], until_s=2.1 + 70 * FRAME_S)
    assert all(frame.any() for frame in ear.heard[:60])  # a pause sounds like the room
    assert not any(frame.any() for frame in ear.heard[-5:])
    assert playout.stats.concealed == 0
