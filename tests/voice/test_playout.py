import random
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2phouse.vocabulary import FRAME_S, FRAME_SAMPLES, SAMPLE_RATE_HZ, Frame
from p2phouse.voice.opus import Encoder, carries_fec
from p2phouse.voice.playout import Playout, within_full_scale
from tests.voice.speech import CLIPS, frames_of, librivox, noise, tone
from tests.voice.wire import (
    GOOD_WIFI,
    HOTEL,
    SILENCE,
    WEAK_4G,
    Conditions,
    Ear,
    Network,
    Sent,
    arrivals,
    click,
    ear_of,
    speak,
)

PHASES = [0.001, 0.007, 0.013, 0.019]
STALLS_AT = [(0.7, 0.001), (0.7, 0.013), (4.0, 0.007), (4.0, 0.019)]  # s, phase of the ticks


@cache
def said() -> np.ndarray:
    """24 s of a person who reads, nearly without a pause."""
    return np.concatenate([librivox(clip) for clip in CLIPS])


@cache
def spoken() -> list[Sent]:
    return speak(frames_of(said()))


@cache
def half() -> list[Sent]:
    """The first 11 seconds of it: stalls need no more."""
    return [each for each in spoken() if each.at_s < 11.0]


@cache
def sentence() -> list[Sent]:
    """Three seconds, every tick sent."""
    return speak(frames_of(librivox()), sealed=True)


def room_noise(n: int) -> Frame:
    return noise(n, amplitude=0.0005)  # -66 dBFS: DTX leaves it out


def hear(
    sent: list[Sent],
    network: Network | None = None,
    *,
    phase_s: float = 0.013,
    stalls: tuple[tuple[float, float], ...] = (),
    reads_first: bool = False,
) -> tuple[Playout, Ear[Sent]]:
    playout = Playout()
    ear = ear_of(playout, phase_s=phase_s, stalls=stalls, reads_first=reads_first)
    ear.listen(arrivals(sent, network or Network()), until_s=sent[-1].at_s + 0.3)
    return playout, ear


def delays_ms(ear: Ear[Sent], *at_s: float) -> list[int]:
    """Delay of what was said at these times, wherever there is speech."""
    found = [ear.delay_s(said(), each) for each in at_s]
    return [round(1000 * delay_s) for delay_s in found if delay_s is not None]


def lose(sent: list[Sent], *counters: int) -> list[Sent]:
    return [each for each in sent if each.counter not in counters]


def energy(frame: np.ndarray) -> float:
    return float(frame @ frame)


# ── one frame a tick, in order ───────────────────────────────────────────────────────────────────


def some_opus() -> st.SearchStrategy[bytes]:
    return st.one_of(
        st.sampled_from([each.opus for each in sentence()[20:80]]),
        st.binary(min_size=0, max_size=40),
        st.integers(0, 255).map(lambda byte: bytes([31 << 3]) + bytes([byte]) * 100),
    )


@settings(max_examples=60, deadline=None)
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


@settings(max_examples=40, deadline=None)
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


@settings(max_examples=25, deadline=None)
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


def with_pause(frames_of_pause: int) -> tuple[list[Frame], range]:
    """Speech, a pause in which only the room is heard, speech; and where the pause is."""
    speech = frames_of(librivox())
    before, after = speech[20:60], speech[60:110]
    pause = range(len(before), len(before) + frames_of_pause)
    # The words come out of the room's noise: without it libopus takes the pause for another room.
    frames = [*[room_noise(n) for n in range(20)], *before]
    pause = range(len(frames), len(frames) + frames_of_pause)
    return [*frames, *[room_noise(n) for n in pause], *after], pause


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


# ── delay: as much as the network needs ──────────────────────────────────────────────────────────


@pytest.mark.parametrize("conditions", [GOOD_WIFI, WEAK_4G, HOTEL])
def test_few_packets_come_too_late_once_the_network_is_known(conditions: Conditions):
    calm = Conditions(conditions.delay_s, conditions.jitter_s)
    playout, ear = hear(spoken(), Network(calm, seed=2))
    assert playout.stats.late < 0.03 * len(spoken())
    # And no later than that needs: its spread, the follower's frame, and a tick's phase.
    needed_s = FRAME_S + calm.delay_s + 3 * calm.jitter_s + 2 * FRAME_S + 0.0065
    assert max(delays_ms(ear, *np.arange(4.0, 20.0))) <= 1000 * needed_s


def test_a_voice_without_quiet_frames_is_waited_for_as_well():
    """One packet in ten is 45 ms late; copies would hide that, but only half as well."""
    came = [
        (at_s + (0.045 if each.counter % 10 == 7 else 0), each)
        for at_s, each in arrivals(speak([noise(n) for n in range(500)], sealed=True), Network())
    ]
    playout = Playout()
    ear_of(playout).listen(came, until_s=10.0)
    assert playout.stats.late + playout.stats.recovered <= 6
    assert playout.stats.grown >= 2


class TwoNetworks(Network):
    """One until a time, another after it."""

    def __init__(self, first: Conditions, second: Conditions, *, change_s: float) -> None:
        super().__init__(first, seed=3)
        self._then, self._change_s = Network(second, seed=3), change_s

    def carry(self, sent_s: float) -> float | None:
        return super().carry(sent_s) if sent_s < self._change_s else self._then.carry(sent_s)


@pytest.mark.parametrize("loudness", [1.0, 0.02])
def test_delay_grows_with_jitter_and_shrinks_after_it_in_quiet_frames(loudness: float):
    rough, even = Conditions(0.03, 0.03), Conditions(0.03)
    sent = speak([loudness * frame for frame in frames_of(said())])
    steady = delays_ms(hear(sent)[1], 10.0)
    growing, ear = hear(sent, TwoNetworks(even, rough, change_s=8.0))
    assert growing.stats.grown >= 1
    assert growing.stats.dropped <= growing.stats.grown
    assert delays_ms(ear, 7.0) == steady
    assert delays_ms(ear, 20.0) > steady
    shrinking, ear = hear(sent, TwoNetworks(rough, even, change_s=8.0))
    assert delays_ms(ear, 7.0) > steady
    # 3 s until the window has forgotten the jitter, and some for quiet frames to come by.
    assert delays_ms(ear, 14.0) == delays_ms(ear, 20.0) == steady
    assert shrinking.stats.dropped >= 1


def test_a_frame_left_out_leaves_no_crack():
    # A pure tone too late by 0.3 s: each frame left out puts two of its frames together.
    sent = speak([tone(n, hz=410.0) for n in range(200)], sealed=True)
    playout, ear = hear_late_start(sent, late_s=0.3)
    assert playout.stats.dropped + playout.stats.hurried >= 14
    steps = np.abs(np.diff(ear.part(0.34, 3.0)))
    assert float(steps.max()) < 0.035  # 410 Hz at 0.3 moves 0.016 a sample


@pytest.mark.parametrize("voice", ["speech", "noise"])
def test_a_little_more_delay_is_taken_in_a_quiet_frame_or_not_at_all(voice: str):
    """The way grows by 12 ms: packets still come in time, their followers not quite."""
    loud = [noise(n) for n in range(500)]
    sent = speak(frames_of(said())[:500] if voice == "speech" else loud, sealed=True)
    longer = TwoNetworks(Conditions(0.03), Conditions(0.042), change_s=4.0)
    playout = Playout()
    ear_of(playout).listen(arrivals(sent, longer), until_s=sent[-1].at_s)
    assert playout.stats.grown == (1 if voice == "speech" else 0)
    assert playout.stats.concealed == playout.stats.late == 0


def test_a_hole_in_what_is_queued_is_no_leap_of_the_clock():
    rough = Conditions(0.03, 0.04)
    came = arrivals(half(), Network(rough, seed=5))
    playout = Playout()
    ear = ear_of(playout)
    ear.listen([each for each in came if not 385 <= each[1].counter < 392], until_s=11.0)
    assert playout.stats.jitter_us > 60_000
    assert playout.stats.concealed + playout.stats.recovered >= 7
    assert delays_ms(ear, 7.2) == delays_ms(ear, 7.9) == delays_ms(ear, 8.5) == [179]


def hear_late_start(sent: list[Sent], *, late_s: float) -> tuple[Playout, Ear[Sent]]:
    """The first packet comes so late, and the next with it; those after that in time."""
    start_s = sent[0].at_s + 0.03 + late_s
    came = [(max(at_s, start_s), each) for at_s, each in arrivals(sent, Network())]
    playout = Playout()
    ear = ear_of(playout)
    ear.listen(came, until_s=sent[-1].at_s + 0.2)
    return playout, ear


@pytest.mark.parametrize(
    ("quiet_db", "surplus_ms"), [(-25, (-5, 21)), (-12, (80, 101)), (0, (180, 201))]
)
def test_the_later_it_is_the_louder_a_frame_may_be_left_out(
    quiet_db: int, surplus_ms: tuple[int, int]
):
    """At once what is 20 dB under the peak; over 100 ms late 8 dB; over 200 ms anything."""
    loud = [n % 10 < 7 for n in range(300)]
    frames = [
        noise(n, amplitude=0.1 * (1.0 if loud[n] else 10 ** (quiet_db / 20))) for n in range(300)
    ]
    steady, _ = hear(speak(frames, sealed=True))
    playout, _ = hear_late_start(speak(frames, sealed=True), late_s=0.35)
    surplus = (playout.stats.buffered_us - steady.stats.buffered_us) / 1000
    assert surplus_ms[0] <= surplus <= surplus_ms[1]
    assert playout.stats.concealed == playout.stats.late == 0


def test_on_an_uneven_network_delay_is_not_moved_to_and_fro():
    moved = [hear(spoken(), Network(WEAK_4G, seed=seed))[0].stats.dropped for seed in range(6)]
    assert sum(moved) <= 1


def test_on_an_uneven_network_what_is_hardly_late_is_heard():
    rough = Conditions(0.03, 0.025)
    late = [hear(spoken(), Network(rough, seed=seed))[0].stats.late for seed in range(12)]
    assert sum(late) <= 9  # of 14,700 packets


def test_in_a_pause_delay_that_was_lacking_is_added_unheard():
    """The way has grown by 12 ms in loud speech: too little to break into that for it."""
    loud = [noise(n) for n in range(150)]
    sent = speak([*loud, *[SILENCE] * 60, *loud])
    n = next(
        one.counter
        for one, follower in pairwise(sent)
        if one.counter > 250 and carries_fec(follower.opus)
    )
    longer = TwoNetworks(Conditions(0.03), Conditions(0.042), change_s=2.0)
    playout, _ = hear(lose(sent, n), longer)
    assert (playout.stats.recovered, playout.stats.concealed) == (1, 0)
    assert playout.stats.buffered_us > 25_000


@pytest.mark.parametrize(("pause", "left_ms"), [(4, (90, 130)), (15, (-5, 1))])
def test_a_pause_too_short_to_run_dry_in_also_takes_delay_away(
    pause: int, left_ms: tuple[int, int]
):
    """Delay is 180 ms too much, so the word after the pause is here before the pause is."""
    sent = speak([noise(n) for n in range(200)], sealed=True)
    paused = [
        each._replace(counter=each.counter + pause, at_s=each.at_s + pause * FRAME_S,
                      marker=each.counter == 80) if each.counter >= 80 else each
        for each in sent
    ]  # fmt: skip
    steady, _ = hear(paused)
    playout, _ = hear_late_start(paused, late_s=0.19)
    surplus = (playout.stats.buffered_us - steady.stats.buffered_us) / 1000
    assert left_ms[0] <= surplus <= left_ms[1]
    assert playout.stats.played + playout.stats.dropped == len(sent)
    assert playout.stats.dropped <= 1  # the first frame: libopus begins softly
    assert playout.stats.grown == playout.stats.late == 0
    unmarked, _ = hear_late_start(lose(paused, 80 + pause), late_s=0.19)
    assert unmarked.stats.concealed + unmarked.stats.recovered == 1
    assert unmarked.stats.grown == unmarked.stats.late == 0


def test_in_a_pause_delay_is_put_right_at_once_and_unheard():
    loud = [noise(n) for n in range(60)]  # not a frame of it may be left out
    sent = speak([*loud, *[SILENCE] * 60, *loud])
    steady, _ = hear(sent)
    before_pause, _ = hear_late_start([each for each in sent if each.counter < 60], late_s=0.15)
    assert before_pause.stats.buffered_us > steady.stats.buffered_us + 140_000
    playout, _ = hear_late_start(sent, late_s=0.15)
    assert playout.stats.buffered_us == steady.stats.buffered_us
    assert playout.stats.concealed == 0


@pytest.mark.parametrize("ppm", [-1000, 1000])
@pytest.mark.parametrize("voice", ["speech", "tone"])
def test_a_clock_that_drifts_is_followed(ppm: int, voice: str):
    """Ten times what sound cards drift, for two minutes: as 20 minutes, with and without pauses."""
    tones = [tone(n) for n in range(200)]
    sent = speak(frames_of(said()) if voice == "speech" else tones, sealed=True)[20:]
    playout = Playout()
    buffered = drift(playout, sent, ppm=ppm, minutes=2)
    stats = playout.stats
    moved = stats.grown + stats.slowed if ppm > 0 else stats.dropped + stats.hurried
    assert max(buffered) < 65_000
    assert 5 <= moved <= 7  # 120 ms, and the estimate's noise
    assert playout.stats.late == playout.stats.concealed == 0


@pytest.mark.parametrize("ppm", [-2000, 2000])
def test_nothing_is_heard_of_a_clock_that_drifts(ppm: int):
    """A tone has no quiet frames: nothing of it is left out or made up, and no joint cracks."""
    sent = speak([tone(n) for n in range(1_700)], sealed=True, ppm=ppm)
    playout, ear = hear(sent)
    stats = playout.stats
    assert 2 <= stats.slowed + stats.hurried <= 4  # 68 ms, 13 of them unknown yet
    assert stats.grown == stats.dropped == stats.concealed == 0
    steady = ear.heard[50:-50]
    loudness = [energy(frame) for frame in steady]
    assert min(loudness) > 0.97 * max(loudness)
    usual = max(float(np.abs(np.diff(frame)).max()) for frame in steady[:50])
    assert float(np.abs(np.diff(np.concatenate(steady))).max()) < 1.1 * usual


@pytest.mark.slow
@pytest.mark.parametrize("ppm", [pytest.param(-100, marks=pytest.mark.nightly), 100])
def test_an_hour_of_talk_between_two_clocks_that_differ(ppm: int):
    encoder = Encoder(bitrate_bps=8_000, dtx=False)  # narrow-band: decoded in half the time
    sent = [
        Sent(0.0, 0, n, False, encoder.encode(frame), b"")
        for n, frame in enumerate(frames_of(said()))
    ]
    playout = Playout()
    buffered = drift(playout, sent[20:], ppm=ppm, minutes=60)
    assert max(buffered) < 65_000
    assert max(buffered[-5:]) < 65_000
    # 100 ppm of an hour are 360 ms, 18 frames.
    stats = playout.stats
    assert 16 <= stats.grown + stats.dropped + stats.slowed + stats.hurried <= 20
    assert playout.stats.late == playout.stats.concealed == 0


def drift(playout: Playout, sent: list[Sent], *, ppm: float, minutes: int) -> list[int]:
    """Plays the packets round and round; how long the last packet of each minute had waited, µs."""
    ear = ear_of(playout)
    buffered, n = [], 0
    for minute in range(1, minutes + 1):
        came = []
        while (at_s := n * FRAME_S * (1 + ppm / 1e6)) < minute * 60:
            each = sent[n % len(sent)]
            came.append((at_s + 0.03, each._replace(seq=n & 0xFFFF, counter=n, marker=n == 0)))
            n += 1
        ear.listen(came, until_s=minute * 60)
        ear.heard.clear()
        buffered.append(playout.stats.buffered_us)
    return buffered


# ── stalls ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("reads_first", [False, True])
@pytest.mark.parametrize("length_s", [0.03, 0.05, 0.08, 0.095, 0.12, 0.3, 0.9, 2.0])
def test_a_stall_of_our_own_costs_its_own_length_and_nothing_after(
    length_s: float, reads_first: bool
):
    for at_s, phase_s in STALLS_AT:
        playout, ear = hear(
            half(), phase_s=phase_s, stalls=((at_s, length_s),), reads_first=reads_first
        )
        end_s = at_s + length_s
        after_s = [end_s + later for later in (0.1, 0.5, 1.0, 2.0, 4.0)]
        found = delays_ms(ear, 0.0, 3.0, *after_s)
        assert len(found) >= 5
        assert max(found) - min(found) <= 1
        assert playout.stats.grown == playout.stats.dropped == 0
        assert playout.stats.jitter_us == 0  # what was read after it is no jitter
        stats = playout.stats
        assert stats.late <= 1  # what we slept through was not late
        lost = stats.skipped + stats.late + stats.crowded_out
        assert lost <= length_s / FRAME_S + 1
        assert stats.played + lost == len(half())


@pytest.mark.parametrize("length_s", [0.15, 0.3, 0.5, 1.0])
def test_a_stall_of_the_network_is_left_behind_at_once(length_s: float):
    """Nothing queued and more than four frames missing: play on where the clock stands."""
    for at_s, phase_s in STALLS_AT:
        network = Network(stalls=[(at_s, length_s)])
        playout, ear = hear(half(), network, phase_s=phase_s)
        end_s = at_s + length_s
        found = delays_ms(ear, 3.0, *[end_s + later for later in (0.2, 0.5, 1, 2, 4)])
        assert len(found) >= 4
        assert max(found) - min(found) <= 1
        assert playout.stats.grown == playout.stats.dropped == 0
        assert length_s / FRAME_S - 3 <= playout.stats.late <= length_s / FRAME_S + 1


@pytest.mark.parametrize("length_s", [0.03, 0.04])
def test_a_hiccup_of_one_frame_costs_that_frame_at_most(length_s: float):
    for phase_s in PHASES:
        twice = Network(stalls=[(4.0, length_s), (6.0, length_s)])
        playout, ear = hear(half(), twice, phase_s=phase_s)
        found = delays_ms(ear, 3.0, 4.1, 4.5, 6.1, 6.5)
        assert max(found) - min(found) <= 1
        assert playout.stats.late <= 2
        assert playout.stats.grown == playout.stats.dropped == 0


@pytest.mark.parametrize("length_s", [0.06, 0.08])
def test_a_short_stall_of_the_network_is_waited_for_and_caught_up_within_two_seconds(
    length_s: float,
):
    for phase_s in PHASES:
        playout, ear = hear(half(), Network(stalls=[(4.0, length_s)]), phase_s=phase_s)
        assert playout.stats.late <= 1
        assert len(set(delays_ms(ear, 3.0, 6.0, 7.0, 10.0))) == 1
        stats = playout.stats
        assert stats.dropped + stats.hurried == stats.grown + stats.slowed


def test_a_machine_that_stalls_again_and_again_is_no_rough_network():
    stalls = tuple((1.0 + 0.6 * n, 0.13) for n in range(8))
    for phase_s in PHASES:
        playout, ear = hear(half(), phase_s=phase_s, stalls=stalls)
        found = delays_ms(ear, 0.2, 7.0, 9.0)
        assert max(found) - min(found) <= 1
        assert playout.stats.jitter_us == 0
        assert playout.stats.grown == playout.stats.dropped == 0


def hear_at_ticks(ticks_s: list[float], network: Network) -> Playout:
    """Ticks at these times, none of them told as skipped."""
    playout = Playout()
    came = arrivals(half(), network)
    for tick_s in ticks_s:
        while came and came[0][0] <= tick_s:
            at_s, each = came.pop(0)
            playout.receive(at_s, each.seq, each.counter, each.marker, each.opus)
        playout.pull(tick_s)
    return playout


def test_one_late_tick_does_not_move_the_clock_of_ticks():
    punctual = [0.013 + n * FRAME_S for n in range(500)]
    expected = hear_at_ticks(punctual, Network()).stats
    assert hear_at_ticks([0.028, *punctual[1:]], Network()).stats == expected
    assert hear_at_ticks([*punctual[:300], 6.03, *punctual[301:]], Network()).stats == expected


def test_ticks_that_are_late_for_good_are_the_new_clock():
    """The network's jitter is learned all the same."""
    ticks_s = [0.013 + n * FRAME_S + (0.012 if n > 100 else 0.0) for n in range(500)]
    network = TwoNetworks(Conditions(0.03), Conditions(0.03, 0.03), change_s=5.0)
    stats = hear_at_ticks(ticks_s, network).stats
    assert stats.jitter_us > 40_000
    assert stats.late < 10


def test_the_first_packet_after_skipped_ticks_may_be_recovered():
    for marker in (False, True):
        playout = Playout()
        for n, each in enumerate(sentence()[:100]):
            if n != 60:
                is_marker = marker and n == 61
                playout.receive(n * FRAME_S, each.seq, each.counter, is_marker, each.opus)
            if n == 61:
                playout.skip(10)
            if not 51 <= n < 61:
                playout.pull(n * FRAME_S + 0.001)
        assert playout.stats.recovered == (0 if marker else 1)


def test_what_a_stall_held_back_may_come_around_a_tick():
    """Some of it, all late, is here at the tick, and the rest just after it; and once more."""
    came = arrivals(half(), Network())
    for n, (at_s, each) in enumerate(came):
        for start_s in (4.0, 7.6):
            tick_s = start_s + 0.313
            if start_s <= at_s < tick_s:
                came[n] = (tick_s + (-0.001 if at_s < start_s + 0.1 else 0.001), each)
    playout = Playout()
    ear = ear_of(playout, phase_s=0.013)
    ear.listen(came, until_s=11.0)
    found = delays_ms(ear, 3.0, 4.4, 5.0, 8.0, 8.6)
    assert max(found) - min(found) <= 1
    assert playout.stats.grown == playout.stats.dropped == 0
    assert 24 <= playout.stats.late <= 32


@pytest.mark.parametrize("longer_s", [0.025, 0.04, 0.12, 0.25, 0.55, 0.8, 3.0])
def test_a_way_that_is_longer_for_good_costs_one_packet(longer_s: float):
    """A phone leaves Wi-Fi: after a stall not the newest packet either is in time."""
    sent = speak(frames_of(said())[:550], sealed=True)
    for phase_s in PHASES:
        network = TwoNetworks(Conditions(0.03), Conditions(0.03 + longer_s), change_s=4.0)
        playout = Playout()
        ear_of(playout, phase_s=phase_s).listen(arrivals(sent, network), until_s=sent[-1].at_s)
        assert playout.stats.late <= 1
        assert playout.stats.concealed + playout.stats.recovered <= 1
        assert playout.stats.dropped == 0
        assert playout.stats.buffered_us <= 42_000


def test_skipped_ticks_consume_their_frames():
    playout = Playout()
    playout.skip(3)  # of a voice that has not begun: nothing
    for n, each in enumerate(sentence()[:100]):
        playout.receive(n * FRAME_S, each.seq, each.counter, each.marker, each.opus)
        if not 50 <= n < 60:
            if n == 60:
                playout.skip(10)
            playout.pull(n * FRAME_S + 0.001)
    assert playout.stats.skipped == 10
    assert playout.stats.played + playout.stats.skipped >= 98
    assert playout.stats.concealed == playout.stats.late == playout.stats.grown == 0


# ── beginnings ───────────────────────────────────────────────────────────────────────────────────


def clicks(
    count: int, *, quiet: range = range(0), muted: range = range(0)
) -> tuple[list[Frame | None], list[int]]:
    """A click each 0.2 s in a quiet room, and in which frames."""
    at = [n for n in range(5, count, 10) if n not in quiet and n not in muted]
    frames = [room_noise(n) + click() * (n in at) for n in range(count)]
    return [None if n in muted else frame for n, frame in enumerate(frames)], at


@pytest.mark.parametrize("late_s", [0.06, 0.1, 0.135, 0.18])
def test_the_first_word_after_idle_is_heard_whole_and_the_delay_is_back_within_two_seconds(
    late_s: float,
):
    """A sender that wakes sends its first packets late: 60-135 ms were seen."""
    frames, at = clicks(500, muted=range(100, 250))
    at_mute, awake = at.index(95), at.index(255)
    sent = speak(frames)
    for phase_s in PHASES:
        playout = Playout()
        ear = ear_of(playout, phase_s=phase_s)
        start_s = 250 * FRAME_S + 0.03 + late_s
        came = [
            (max(at_s, start_s) if each.counter >= 250 else at_s, each)
            for at_s, each in arrivals(sent, Network())
        ]
        ear.listen(came, until_s=10.5)
        steady_s = ear.click_delay_s(at[at_mute])
        assert ear.click_delay_s(at[awake], within_s=0.35) < steady_s + late_s + 0.021
        for n in at[awake + 10 :]:
            assert abs(ear.click_delay_s(n) - steady_s) < 0.001
        assert playout.stats.late == playout.stats.concealed == playout.stats.grown == 0


def test_a_beginning_that_is_too_late_is_not_waited_for():
    frames, _ = clicks(500, muted=range(100, 250))
    came = [
        (max(at_s, 250 * FRAME_S + 0.33) if each.counter >= 250 else at_s, each)
        for at_s, each in arrivals(speak(frames), Network())
    ]
    playout = Playout()
    ear = ear_of(playout)
    ear.listen(came, until_s=10.5)
    assert abs(ear.click_delay_s(275) - ear.click_delay_s(95)) < 0.001
    assert 10 <= playout.stats.late <= 15


def test_a_straggler_from_before_the_first_packet_heard_is_late():
    """Who joins in mid-speech begins with what comes first."""
    came = arrivals(half()[300:], Network())
    _, whole = hear(half()[300:])
    straggler = (came[0][0] + 0.015, half()[294])
    playout = Playout()
    ear = ear_of(playout)
    ear.listen([*came, straggler], until_s=11.0)
    assert playout.stats.late == 1
    assert playout.stats.grown == playout.stats.dropped == 0
    assert delays_ms(ear, 7.0, 8.0) == delays_ms(whole, 7.0, 8.0)


def test_a_clock_that_leaps_ahead_is_followed_at_once():
    """Say, a machine's virtual clock was put right: more than a second at once."""
    leapt = [
        each._replace(counter=each.counter + 1_000) if each.counter >= 80 else each
        for each in sentence()
    ]
    playout, ear = hear(leapt)
    _, whole = hear(sentence())
    assert playout.stats.played == len(sentence())
    assert playout.stats.recovered == playout.stats.concealed == 0  # nothing was lost
    assert ear.delay_s(librivox(), 2.5) == whole.delay_s(librivox(), 2.5)


def test_a_clock_that_stood_still_is_followed_at_once():
    """A machine that slept: its counter goes on from where it was, seconds late."""
    slept = [
        each._replace(at_s=each.at_s + 5.0) if each.counter >= 400 else each for each in spoken()
    ]
    playout, _ = hear(slept)
    whole, _ = hear(spoken())
    assert playout.stats.late == 1
    assert playout.stats.played == len(spoken()) - 1
    # Not what is late: a second late packet places the clock, one tick after its own.
    assert playout.stats.buffered_us <= whole.stats.buffered_us + 20_000
    assert playout.stats.grown == playout.stats.dropped == 0


def test_a_late_packet_now_and_then_is_no_sign_of_another_clock():
    came = [
        (at_s + (0.15 if each.counter % 50 == 7 else 0), each)
        for at_s, each in arrivals(spoken(), Network())
    ]
    playout = Playout()
    ear = ear_of(playout)
    ear.listen(came, until_s=25.0)
    assert playout.stats.played + playout.stats.late == len(spoken())
    assert playout.stats.late > 20


def test_a_flood_is_held_in_no_more_than_a_full_queue():
    playout = Playout()
    for n in range(5_000):
        playout.receive(0.0, n & 0xFFFF, n, n == 0, sentence()[50].opus)
    for n in range(300):
        playout.pull(n * FRAME_S)
    assert 0 < playout.stats.played + playout.stats.dropped <= 64
    assert playout.stats.crowded_out == 5_000 - 64


def test_silence_that_is_handed_to_many_cannot_be_written_to():
    assert not SILENCE.any()
    with pytest.raises(ValueError, match="read-only"):
        Playout().pull(0.0)[0] = 1.0
