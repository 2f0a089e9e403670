"""Stalls, ours and those of the network, and beginnings."""

import pytest

from p2phouse.vocabulary import FRAME_S
from p2phouse.voice.playout import Playout
from tests.voice.playing import (
    PHASES,
    STALLS_AT,
    TwoNetworks,
    clicks,
    delays_ms,
    half,
    hear,
    said,
    sentence,
    spoken,
)
from tests.voice.speech import frames_of, librivox
from tests.voice.wire import (
    SILENCE,
    Conditions,
    Network,
    arrivals,
    ear_of,
    speak,
)

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
