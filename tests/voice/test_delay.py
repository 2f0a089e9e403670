"""How long the playout waits: as long as the network needs, and no longer."""

from itertools import pairwise

import numpy as np
import pytest

from p2phouse.vocabulary import FRAME_S
from p2phouse.voice.opus import Encoder, carries_fec
from p2phouse.voice.playout import Playout
from tests.voice.playing import (
    TwoNetworks,
    delays_ms,
    energy,
    half,
    hear,
    hear_late_start,
    lose,
    said,
    spoken,
)
from tests.voice.speech import frames_of, noise, tone
from tests.voice.wire import (
    GOOD_WIFI,
    HOTEL,
    SILENCE,
    WEAK_4G,
    Conditions,
    Network,
    Sent,
    arrivals,
    ear_of,
    speak,
)


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
