"""Token buckets and a pace, at their limits and one past."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2phouse.net.rates import Buckets, Pace, TokenBucket


def test_a_burst_passes_and_one_more_does_not():
    bucket = TokenBucket(rate=2.0, burst=3.0)
    assert [bucket.take(100.0) for _ in range(4)] == [True, True, True, False]


def test_tokens_come_back_with_time_and_never_more_than_the_burst():
    bucket = TokenBucket(rate=2.0, burst=3.0)
    for _ in range(3):
        bucket.take(100.0)
    assert not bucket.take(100.4)
    assert bucket.take(100.5)
    assert [bucket.take(1_000.0) for _ in range(4)] == [True, True, True, False]


def test_the_wait_is_the_time_until_the_next_token():
    bucket = TokenBucket(rate=2.0, burst=1.0)
    assert bucket.wait_s(0.0) == 0.0
    bucket.take(0.0)
    assert bucket.wait_s(0.0) == pytest.approx(0.5)
    assert bucket.wait_s(0.3) == pytest.approx(0.2)


@given(
    rate=st.floats(0.1, 1_000.0),
    burst=st.floats(1.0, 300.0),
    start=st.floats(0.0, 1e6),
)
def test_who_waits_as_long_as_told_gets_a_token_and_the_rate_is_kept(rate, burst, start):
    bucket = TokenBucket(rate, burst)
    now = start
    for _ in range(400):
        now += bucket.wait_s(now)
        assert bucket.take(now)
    assert now - start >= 0.99 * (399 - burst) / rate


def test_a_clock_that_steps_back_gives_no_tokens():
    bucket = TokenBucket(rate=1.0, burst=1.0)
    bucket.take(10.0)
    assert not bucket.take(5.0)


def test_sources_do_not_use_one_anothers_tokens():
    buckets = Buckets(rate=1.0, burst=1.0, sources_max=10)
    assert buckets.take("ana", 0.0)
    assert not buckets.take("ana", 0.0)
    assert buckets.wait_s("ana", 0.0) == pytest.approx(1.0)
    assert buckets.take("ben", 0.0)


def test_of_too_many_sources_the_longest_silent_is_forgotten():
    buckets = Buckets(rate=1.0, burst=1.0, sources_max=2)
    buckets.take("ana", 0.0)
    buckets.take("ben", 0.0)
    buckets.take("ana", 0.0)
    buckets.take("carla", 0.0)  # ben was silent longest
    assert not buckets.take("ana", 0.0)
    assert buckets.take("ben", 0.0)


def test_a_pace_saves_up_what_was_not_used_to_the_burst():
    pace = Pace(100, 1_000)
    pace.wait_s(0.0, 1_000)
    assert pace.wait_s(1_000.0, 1_000) == 0.0
    assert pace.wait_s(1_000.0, 100) == pytest.approx(1.0)
