"""How far the page's voice lags: pieces of 10 ms put and frames of 20 ms taken in virtual time."""

import random
from collections.abc import Callable

import pytest

from p2phouse.sound.lag import BENT_SAMPLES_MAX, STALL_SAMPLES, Lag
from p2phouse.vocabulary import FRAME_SAMPLES, SAMPLE_RATE_HZ

PIECE = 480
PIECE_S = PIECE / SAMPLE_RATE_HZ


class Talk:
    """A page that says a piece each 10 ms of its own clock, and the tick that takes frames."""

    def __init__(self, late_s: Callable[[int], float] = lambda n: 0.0, ppm: float = 0) -> None:
        self._late_s = late_s
        self._piece_s = PIECE_S / (1 + ppm / 1e6)
        self._pieces = 0
        self._came_s = 0.0
        self._held = 2 * FRAME_SAMPLES
        self._lag = Lag()
        self.ticks = 0
        self.silent: list[int] = []
        self.lags_ms: list[float] = []  # of the last sample of each frame since it was said
        self._said_s = 0.0

    def run(self, ticks: int) -> "Talk":
        for _ in range(ticks):
            self.ticks += 1
            self._tick(self.ticks * 0.02 + 0.0037)
        return self

    def _tick(self, now_s: float) -> None:
        while (at_s := self._next_s()) <= now_s:
            self._pieces, self._held, self._came_s = self._pieces + 1, self._held + PIECE, at_s
        surplus = self._lag.surplus(self._held, PIECE, now_s - self._came_s)
        if surplus > BENT_SAMPLES_MAX:
            self._held -= surplus
            self._lag.took(surplus, ticks=0)
            surplus = 0
        count = FRAME_SAMPLES + surplus
        if self._held < count:
            self.silent.append(self.ticks)
            count = 0
        self._held -= count
        self._lag.took(count)
        said = now_s / self._piece_s - self._pieces
        self.lags_ms.append(1000 * (self._held / SAMPLE_RATE_HZ + said * self._piece_s))

    def _next_s(self) -> float:
        n = self._pieces + 1
        return max(self._came_s, n * self._piece_s + self._late_s(n))


@pytest.mark.parametrize("ppm", [-1_000, -100, 0, 100, 1_000])
def test_an_even_voice_lags_by_a_piece_and_a_little_and_never_falls_silent(ppm: int):
    talk = Talk(ppm=ppm).run(6_000)  # two minutes
    assert talk.silent == []
    assert max(talk.lags_ms[500:]) < 10 + 5 + 1 + 6 * abs(ppm) / 1e3
    assert min(talk.lags_ms[500:]) > 10


@pytest.mark.parametrize("jitter_ms", [3, 8, 12])
def test_an_uneven_voice_lags_as_far_as_it_is_uneven(jitter_ms: int):
    chance = random.Random(jitter_ms)
    talk = Talk(lambda n: chance.uniform(0, jitter_ms / 1e3)).run(1_500)
    assert len([tick for tick in talk.silent if tick > 100]) <= 1
    assert max(talk.lags_ms[500:]) < 10 + jitter_ms + 6


def test_one_stall_is_no_reason_to_lag_for_long():
    talk = Talk(lambda n: max(0.0, 0.06 - (n - 1_000) * PIECE_S) if n >= 1_000 else 0.0)
    talk.run(850)
    assert 0 < len(talk.silent) <= 3  # 60 ms of which nothing was there
    assert max(talk.lags_ms[501:510]) > 40
    assert max(talk.lags_ms[800:]) < 22  # six seconds later


@pytest.mark.parametrize("late_ms", [13, 25])
def test_what_comes_late_again_and_again_is_waited_for(late_ms: int):
    talk = Talk(lambda n: late_ms / 1e3 if n % 100 == 0 else 0.0).run(1_500)
    assert [tick for tick in talk.silent if tick > 200] == []


@pytest.mark.parametrize("late_ms", [60, 200])
def test_nobody_lags_for_long_for_what_is_very_late(late_ms: int):
    talk = Talk(lambda n: late_ms / 1e3 if n % 100 == 0 else 0.0).run(3_000)
    assert len([tick for tick in talk.silent if tick > 200]) > 10
    # What a hole leaves behind is used up before the next one.
    assert sorted(talk.lags_ms[500:])[1_250] < 110


def test_a_stall_of_ours_is_cut_off_at_once():
    lag = Lag()
    for _ in range(100):
        lag.took(FRAME_SAMPLES + lag.surplus(FRAME_SAMPLES + 600, PIECE, 0.0))
    lag.took(600, ticks=9)
    surplus = lag.surplus(9 * FRAME_SAMPLES + 600, PIECE, 0.0)
    assert surplus > STALL_SAMPLES
    lag.took(surplus, ticks=0)
    assert lag.surplus(9 * FRAME_SAMPLES + 600 - surplus, PIECE, 0.0) <= BENT_SAMPLES_MAX


def test_it_bends_no_frame_by_more_than_one_in_a_hundred():
    chance = random.Random(1)
    lag = Lag()
    for _ in range(500):
        surplus = lag.surplus(chance.randrange(0, 3 * FRAME_SAMPLES), PIECE, chance.random() / 50)
        assert -BENT_SAMPLES_MAX <= surplus <= BENT_SAMPLES_MAX
