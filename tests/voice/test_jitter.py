import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2phouse.vocabulary import FRAME_S
from p2phouse.voice.jitter import (
    AGE_S_MAX,
    BIN_S,
    BURST_PACKETS,
    IDLE_S,
    PEAK_WAIT_S_MAX,
    SPREAD_S_MAX,
    WAKING_PACKETS,
    Jitter,
)


def hear(jitter: Jitter, transits_s: list[float], *, start_s: float = 100.0) -> float:
    """One packet and one tick each 20 ms; when the next would be."""
    for n, transit_s in enumerate(transits_s):
        now_s = start_s + n * FRAME_S
        jitter.hear(now_s, transit_s, marker=False)
        jitter.settle(now_s)
    return start_s + len(transits_s) * FRAME_S


def known(transits_s: list[float]) -> Jitter:
    jitter = Jitter()
    hear(jitter, transits_s)
    return jitter


def test_nothing_is_known_before_the_first_tick_after_a_packet():
    jitter = Jitter()
    jitter.settle(0.0)
    jitter.hear(0.0, 7.0, marker=False)
    assert jitter.wait_for_s is None
    assert jitter.spread_s == 0.0
    jitter.settle(0.02)
    assert jitter.wait_for_s == 7.0
    assert jitter.spread_s == 0.0


@pytest.mark.parametrize(("each", "waited_for"), [(100, 5.0), (50, 5.0), (25, 5.1), (20, 5.1)])
def test_three_packets_of_a_hundred_are_not_waited_for(each: int, waited_for: float):
    """One packet in so many is late; that the newest is must not change the answer."""
    transits_s = [5.1 if n % each == each - 1 else 5.0 for n in range(400)]
    assert known(transits_s).wait_for_s == waited_for
    assert known(transits_s[: -each // 2]).wait_for_s == waited_for


def test_of_a_few_packets_one_may_be_late():
    """A talk has just begun; one hiccup of its sender must not rule the first seconds."""
    assert known([5.0, 5.0, 5.3, 5.0]).wait_for_s == 5.0
    assert known([5.0, 5.2, 5.3, 5.0]).wait_for_s == 5.2
    assert known([5.3]).wait_for_s == 5.3


def test_spread_is_from_the_fastest_to_the_latest_that_is_waited_for():
    jitter = known([5.0] * 50 + [5.04] * 50)
    assert jitter.spread_s == pytest.approx(0.04)


def test_four_late_packets_within_a_second_are_believed():
    assert known([*[5.0] * 200, *[5.1, *[5.0] * 9] * 3]).wait_for_s == 5.0
    assert known([*[5.0] * 200, *[5.1, *[5.0] * 9] * 4]).wait_for_s == 5.1


def test_what_was_is_forgotten_within_five_seconds_of_speech():
    assert known([5.1] * 500 + [5.0] * 150).wait_for_s == 5.1
    assert known([5.1] * 500 + [5.0] * 250).wait_for_s == 5.0
    rough = [5.0 + 0.1 * (n % 2) for n in range(500)]
    assert known(rough + [5.0] * 200).wait_for_s == 5.0


def test_a_faster_way_counts_at_once_and_a_fast_packet_of_long_ago_no_more():
    assert known([5.1] * 100 + [5.0]).spread_s == pytest.approx(0.1)
    assert known([5.0] + [5.1] * 300).spread_s == 0.0


def test_what_is_long_past_is_forgotten_though_few_packets_came_since():
    jitter = Jitter()
    now_s = hear(jitter, [5.1] * 100)
    hear(jitter, [5.0], start_s=now_s + 7.0)
    assert jitter.wait_for_s == 5.1
    other = known([5.1] * 100)
    hear(other, [5.0], start_s=now_s + AGE_S_MAX + 0.1)
    assert other.wait_for_s == 5.0


def test_refreshes_of_a_pause_slowly_become_all_that_is_known():
    """DTX sends a packet each 0.4 s: after half a minute the way may be another."""
    jitter = Jitter()
    now_s = hear(jitter, [5.0 + 0.1 * (n % 2) for n in range(200)])
    for n in range(1, 80):
        hear(jitter, [5.0], start_s=now_s + 0.4 * n)
    assert jitter.wait_for_s == 5.0
    hear(jitter, [5.06] * 2, start_s=now_s + 32.5)
    assert jitter.wait_for_s == 5.06


def test_clocks_that_drift_move_the_answer_and_not_the_spread():
    """Ten times what the worst sound cards do, until it is more than all bins hold."""
    for drift in (-0.005, 0.005):
        jitter = Jitter()
        transits_s = [5.0 + drift * n * FRAME_S + 0.02 * (n % 2) for n in range(9_000)]
        hear(jitter, transits_s)
        assert jitter.wait_for_s == pytest.approx(transits_s[-1], abs=0.08)
        assert 0.02 < jitter.spread_s < 0.1


def stalls(count: int, *, each_s: float, height_s: float = 0.2) -> Jitter:
    """An even way on which so often nothing gets through, and then all at once."""
    jitter, now_s = Jitter(), 100.0
    held = round(height_s / FRAME_S)
    for _ in range(count):
        now_s = hear(jitter, [5.0] * (round(each_s / FRAME_S) - held), start_s=now_s)
        now_s += height_s - FRAME_S
        for n in range(held):
            jitter.hear(now_s, 5.0 + height_s - (n + 1) * FRAME_S, marker=False)
        jitter.settle(now_s)
        now_s += FRAME_S
    hear(jitter, [5.0] * 25, start_s=now_s)
    return jitter


def test_stalls_that_come_again_and_again_are_waited_for():
    assert stalls(2, each_s=3.0).spread_s == 0.0
    assert stalls(3, each_s=3.0).spread_s == pytest.approx(0.18, abs=BIN_S)
    assert stalls(9, each_s=7.0).spread_s == 0.0  # so rarely they cost less than delay would


def test_one_stall_that_is_longer_than_the_others_does_not_rule():
    jitter = Jitter()
    now_s = hear(jitter, [5.0] * 100)
    for height_s in (0.11, 0.11, 0.24, 0.11, 0.115):
        now_s = hear(jitter, [5.0] * 100, start_s=now_s)
        for n in range(5):
            jitter.hear(now_s, 5.0 + height_s - n * FRAME_S, marker=False)
        jitter.settle(now_s)
        assert jitter.spread_s < 0.12
    assert jitter.spread_s == pytest.approx(0.115, abs=BIN_S)


def test_stalls_that_are_over_are_forgotten():
    jitter = stalls(5, each_s=2.0)
    assert jitter.spread_s > 0.1
    hear(jitter, [5.0] * 500, start_s=111.0)
    assert jitter.spread_s == 0.0


def test_a_stall_too_long_to_wait_for_is_not_waited_for_a_little():
    longest_s = PEAK_WAIT_S_MAX
    assert stalls(5, each_s=2.0, height_s=longest_s + FRAME_S - 0.01).spread_s > longest_s - 0.02
    assert stalls(5, each_s=2.0, height_s=longest_s + FRAME_S + 0.01).spread_s < 0.05


def test_a_packet_that_is_late_by_itself_is_no_stall():
    transits_s = [5.2 if n % 50 == 49 else 5.0 for n in range(600)]
    assert known(transits_s).spread_s == 0.0


def test_delay_has_an_end_however_wide_the_spread():
    jitter = known([5.0] + [9.0] * 60)
    assert jitter.wait_for_s == 5.0 + SPREAD_S_MAX
    assert jitter.spread_s == pytest.approx(SPREAD_S_MAX)


def test_a_burst_of_any_length_weighs_as_one_stall():
    jitter = Jitter()
    now_s = hear(jitter, [5.0] * 300)
    for n in range(40):
        jitter.hear(now_s, 5.8 - n * FRAME_S, marker=False)
    jitter.settle(now_s)
    assert jitter.wait_for_s == 5.0


def test_bursts_that_are_the_rule_are_waited_for():
    """A modem that sends each 80 ms: four packets at a time, the first 60 ms late."""
    jitter = Jitter()
    for group in range(30):
        now_s = 100.0 + group * 4 * FRAME_S
        for n in range(BURST_PACKETS + 1):
            jitter.hear(now_s, 5.06 - n * FRAME_S, marker=False)
        jitter.settle(now_s)
    assert jitter.wait_for_s == pytest.approx(5.06)


def test_what_lay_unread_while_we_stood_still_is_no_jitter():
    """Read before the tick that comes late, or after it and before the next."""
    jitter = Jitter()
    now_s = hear(jitter, [5.0] * 10)
    jitter.hear(now_s, 5.3, marker=False)
    jitter.hear(now_s, 5.28, marker=False)
    jitter.stall()
    assert not jitter.stalled
    jitter.settle(now_s)
    assert jitter.stalled
    jitter.hear(now_s, 5.26, marker=False)
    jitter.hear(now_s, 5.24, marker=False)
    jitter.settle(now_s + FRAME_S)
    assert jitter.stalled
    assert jitter.wait_for_s == 5.0
    for n, transit_s in enumerate((5.1, 5.1), start=2):
        jitter.hear(now_s + n * FRAME_S, transit_s, marker=False)
        jitter.settle(now_s + n * FRAME_S)
        assert not jitter.stalled
    assert jitter.wait_for_s == 5.1


def test_the_late_first_packets_of_a_sender_that_wakes_are_no_jitter():
    jitter = Jitter()
    now_s = hear(jitter, [5.0] * 100) + IDLE_S
    for n in range(WAKING_PACKETS):
        jitter.hear(now_s, 5.1 - n * FRAME_S, marker=n == 0)
        jitter.settle(now_s)
    hear(jitter, [5.0] * 40, start_s=now_s)
    assert jitter.spread_s == 0.0


def test_waking_lasts_for_a_few_packets_only():
    jitter = Jitter()
    jitter.hear(100.0, 5.0, marker=True)
    hear(jitter, [5.1] * (WAKING_PACKETS - 1))
    assert jitter.wait_for_s is None
    hear(jitter, [5.1], start_s=101.0)
    assert jitter.wait_for_s == 5.1


def test_a_sender_that_wakes_closer_than_before_is_believed_at_once():
    jitter = Jitter()
    now_s = hear(jitter, [5.1] * 10) + 10.0
    jitter.hear(now_s, 5.0, marker=True)
    jitter.settle(now_s)
    assert jitter.wait_for_s == 5.0


def test_after_a_mere_pause_in_speech_late_packets_are_jitter_but_for_the_first():
    """A radio that slept wakes for it; the second finds it awake."""
    jitter = Jitter()
    now_s = hear(jitter, [5.0] * 10) + IDLE_S / 2
    for n in range(3):
        jitter.hear(now_s + n * FRAME_S, 5.1, marker=n == 0)
        jitter.settle(now_s + n * FRAME_S)
        assert jitter.wait_for_s == (5.1 if n == 2 else 5.0)


def test_a_clock_that_jumped_begins_anew():
    jitter = known([5.0] * 100)
    jitter.hear(200.0, 5.0, marker=False)
    jitter.forget()
    jitter.settle(200.0)
    assert jitter.wait_for_s is None
    assert jitter.spread_s == 0.0
    hear(jitter, [-9.0], start_s=200.02)
    assert jitter.wait_for_s == -9.0


@settings(max_examples=100)
@given(
    st.lists(
        st.tuples(st.floats(0.0, 3.0), st.floats(-50.0, 50.0), st.booleans(), st.booleans()),
        min_size=1,
        max_size=300,
    )
)
def test_whatever_comes_it_waits_for_one_of_the_transits_or_the_longest_it_would(
    events: list[tuple[float, float, bool, bool]],
):
    jitter, now_s, heard = Jitter(), 0.0, set()
    for later_s, transit_s, marker, tick in events:
        now_s += later_s
        jitter.hear(now_s, transit_s, marker)
        heard.add(transit_s)
        if tick:
            jitter.settle(now_s)
            assert 0.0 <= jitter.spread_s <= SPREAD_S_MAX + 1e-9
            if jitter.wait_for_s is not None:
                fastest_s = jitter.wait_for_s - jitter.spread_s
                assert jitter.wait_for_s in heard or jitter.spread_s == pytest.approx(SPREAD_S_MAX)
                assert min(heard) <= fastest_s + 1e-9
