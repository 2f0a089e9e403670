"""Rules of repair in virtual time: the clock is whatever number the test gives."""

import itertools
from collections.abc import Iterable
from math import inf

from hypothesis import given
from hypothesis import strategies as st

from p2phouse.carry.repair import (
    LOOK_S,
    SILENCE_S,
    Pull,
    Push,
    Release,
    Repair,
    RepairOutput,
)
from p2phouse.carry.table import compile_table
from p2phouse.channel import Heard, Silent, TableRow
from p2phouse.vocabulary import FRAME_S, HERE, LinkNumber
from tests.carry.packets import ANA, BEN, CEM, FOUR, ONE, THREE, TWO

Told = list[tuple[float, RepairOutput]]


class Here:
    """A Repair whose tick is called at each deadline, and what came out of it, with the time."""

    def __init__(self, *links: LinkNumber) -> None:
        self.repair = Repair()
        self.now = 0.0
        self.told: Told = []
        for link in links:
            self.repair.add(0.0, link)

    def set_rows(
        self,
        *rows: TableRow,
        guarded: LinkNumber | None = None,
        leaning: LinkNumber | None = None,
    ) -> None:
        self.repair.set_table(compile_table(1, rows, guarded, leaning=leaning))

    def run(self, until_s: float) -> Told:
        """Lets time go by; returns what was told in it."""
        told = len(self.told)
        while self.repair.deadline <= until_s:
            self.now = max(self.now, self.repair.deadline)
            self._tell(self.repair.tick(self.now))
            assert self.repair.deadline > self.now
        self.now = until_s
        return self.told[told:]

    def hear(self, link: LinkNumber, *, talking: bool | None = None) -> list[RepairOutput]:
        outputs = self.repair.heard(self.now, link, talking)
        self._tell(outputs)
        return list(outputs)

    def stall(self, until_s: float) -> list[RepairOutput]:
        """Nothing runs until then, and the tick runs before anything is read."""
        self.now = until_s
        outputs = self.repair.tick(until_s)
        self._tell(outputs)
        assert self.repair.deadline > until_s
        return outputs

    def _tell(self, outputs: Iterable[RepairOutput]) -> None:
        self.told += [(round(self.now, 6), output) for output in outputs]


# ── a link without standby ───────────────────────────────────────────────────────────────────


def test_a_link_on_which_nothing_comes_is_told_silent_once_in_less_than_600_ms():
    here = Here(ONE)
    here.run(0.1)
    here.hear(ONE)
    assert here.run(5.0) == [(0.65, Silent(ONE))]
    assert SILENCE_S + FRAME_S < 0.6


def test_a_link_that_never_brings_anything_counts_from_when_it_came_up():
    here = Here()
    assert here.repair.deadline == inf
    here.repair.add(100.0, ONE)
    assert here.run(101.0) == [(100.0 + SILENCE_S, Silent(ONE))]


def test_keepalives_each_200_ms_keep_a_link_alive_though_one_is_lost():
    here = Here(ONE)
    for n in range(1, 21):
        here.run(0.2 * n)
        if n % 2:
            here.hear(ONE, talking=False)
    assert here.told == []


def test_the_limit_counts_the_link_and_not_a_voice_that_pauses():
    here = Here(ONE, TWO)
    here.set_rows(TableRow(ONE, ANA, (), (HERE,)))
    here.hear(ONE, talking=True)
    for n in range(1, 10):
        here.run(0.5 * n)
        here.hear(ONE)
        here.hear(TWO)
    assert here.told == []


def test_a_silent_link_that_brings_something_again_is_told_heard_at_once():
    here = Here(ONE, TWO)
    here.run(1.0)
    assert here.hear(ONE, talking=True) == [Heard(ONE)]
    assert here.hear(ONE, talking=True) == []
    assert [output for _, output in here.run(3.0)] == [Silent(ONE)]


def test_every_link_that_stands_by_is_pulled_when_the_one_that_brings_a_voice_is_silent():
    here = Here(ONE, TWO, THREE)
    here.set_rows(TableRow(ONE, ANA, (TWO, THREE), (HERE,)))
    here.hear(ONE, talking=True)
    pulled = {output.link for _, output in here.run(0.1) if isinstance(output, Pull)}
    assert pulled == {TWO, THREE}


def test_a_removed_link_is_not_told_of():
    here = Here(ONE, TWO)
    here.repair.remove(ONE)
    here.repair.remove(FOUR)
    assert here.hear(ONE) == []
    assert [output for _, output in here.run(1.0)] == [Silent(TWO)]
    here.repair.remove(TWO)
    assert here.repair.deadline == inf


def test_whom_we_lean_on_is_pulled_for_as_long_as_the_table_says_so():
    """Who cannot reach the hub hears everything from the standby; that it brings something then
    proves nothing, for it does so because it is pulled."""
    here = Here(ONE, TWO)
    here.set_rows(TableRow(ONE, ANA, (), (HERE,)), leaning=ONE)
    while here.now < 3.0:
        for link in (ONE, TWO):
            here.hear(link, talking=False)
            here.repair.carried(here.now, link, feeds=here.now > 0.5)
        here.run(here.now + 0.2)
    pulls = [time for time, output in here.told if output == Pull(ONE)]
    assert pulls[0] <= 0.2
    assert all(b - a <= 0.3 for a, b in itertools.pairwise(pulls))
    assert pulls[-1] >= 2.7
    before = here.now
    while here.now < before + 0.1:
        here.set_rows(TableRow(ONE, ANA, (), (HERE,)), leaning=ONE)
        for link in (ONE, TWO):
            here.hear(link, talking=False)
        here.stall(here.now + 0.02)
    again = [time for time, output in here.told if output == Pull(ONE) and time > before]
    assert len(again) <= 1, "a table that says the same is no reason to ask anew"
    here.set_rows(TableRow(TWO, ANA, (ONE,), (HERE,)))
    assert [output for _, output in here.run(here.now + 0.3)] == [Release(ONE)]


# ── a link with a standby ────────────────────────────────────────────────────────────────────


def with_standby(*, talking: bool | None) -> Here:
    """ONE brings Ana, TWO stands by for her, THREE has nothing to do with it; all are heard."""
    here = Here(ONE, TWO, THREE)
    here.set_rows(TableRow(ONE, ANA, (TWO,), (HERE,)), TableRow(THREE, BEN, (), (HERE,)))
    here.hear(ONE, talking=talking)
    return here


def keep_hearing(here: Here, until_s: float, *links: LinkNumber) -> None:
    while here.now < until_s:
        here.run(min(here.now + 0.02, until_s))
        for link in links:
            here.hear(link)


def test_after_60_ms_of_a_silent_link_while_someone_talks_the_standby_is_pulled_then_told():
    here = with_standby(talking=True)
    assert here.run(0.1) == [(0.06, Pull(TWO)), (0.06, Silent(ONE))]


def test_while_it_is_quiet_the_standby_is_pulled_after_600_ms():
    here = with_standby(talking=True)
    here.run(0.05)
    here.hear(ONE, talking=False)
    keep_hearing(here, 1.0, TWO, THREE)
    assert here.told[:2] == [(0.65, Pull(TWO)), (0.65, Silent(ONE))]


def test_a_report_says_nothing_of_who_talks():
    here = with_standby(talking=True)
    here.run(0.05)
    here.hear(ONE, talking=None)
    assert here.run(0.2)[:1] == [(0.11, Pull(TWO))]


def test_a_link_is_taken_for_quiet_until_somebody_talks():
    here = with_standby(talking=None)
    keep_hearing(here, 0.5, TWO, THREE)
    assert here.told == []


def test_only_rows_with_a_standby_have_the_short_limit():
    here = with_standby(talking=True)
    here.hear(THREE, talking=True)
    keep_hearing(here, 0.5, ONE, TWO)
    assert here.told == []


def test_a_pull_is_said_again_and_again_because_it_may_be_lost():
    here = with_standby(talking=True)
    keep_hearing(here, 0.7, TWO, THREE)
    times = [time for time, output in here.told if output == Pull(TWO)]
    assert times == [0.06, 0.26, 0.46, 0.66]


def test_a_pull_is_due_on_time_however_the_looks_fall():
    here = with_standby(talking=True)
    keep_hearing(here, 0.09, TWO, THREE)
    here.repair.tick(here.now)
    keep_hearing(here, 0.3, TWO, THREE)
    assert [time for time, output in here.told if output == Pull(TWO)] == [0.06, 0.26]


def test_when_the_link_is_back_the_standby_is_released():
    here = with_standby(talking=True)
    keep_hearing(here, 0.2, TWO, THREE)
    assert here.hear(ONE, talking=True) == [Release(TWO), Heard(ONE)]
    here.told.clear()
    keep_hearing(here, 1.0, ONE, TWO, THREE)
    assert here.told == []


def test_each_standby_of_a_link_is_pulled_and_one_that_is_not_here_is_not():
    here = Here(ONE, TWO, THREE)
    rows = [TableRow(ONE, ssrc, (by,), ()) for ssrc, by in [(ANA, THREE), (BEN, TWO), (CEM, FOUR)]]
    here.set_rows(*rows)
    here.hear(ONE, talking=True)
    assert [output for _, output in here.run(0.1)] == [Pull(TWO), Pull(THREE), Silent(ONE)]


def test_a_standby_wanted_by_two_links_is_released_when_both_are_back():
    here = Here(ONE, TWO, THREE)
    here.set_rows(TableRow(ONE, ANA, (THREE,), ()), TableRow(TWO, BEN, (THREE,), ()))
    here.hear(ONE, talking=True)
    here.hear(TWO, talking=True)
    assert [output for _, output in here.run(0.1)] == [Pull(THREE), Silent(ONE), Silent(TWO)]
    assert here.hear(ONE, talking=True) == [Heard(ONE)]
    assert here.hear(TWO, talking=True) == [Release(THREE), Heard(TWO)]


def test_a_new_table_releases_a_standby_it_does_not_need_and_pulls_the_one_it_names():
    here = with_standby(talking=True)
    keep_hearing(here, 0.2, TWO, THREE)
    here.told.clear()
    here.set_rows(TableRow(ONE, ANA, (THREE,), (HERE,)))
    keep_hearing(here, 0.32, TWO, THREE)
    assert [output for _, output in here.told] == [Pull(THREE), Release(TWO)]


def test_the_standby_of_a_link_that_was_removed_steps_in_until_the_next_table():
    here = with_standby(talking=False)
    here.repair.remove(ONE)
    keep_hearing(here, 0.15, TWO, THREE)
    assert [output for _, output in here.told] == [Pull(TWO)]
    here.told.clear()
    # That one is now her forwarder: a release could reach it when it already carries her to us.
    here.set_rows(TableRow(TWO, ANA, (), (HERE,)))
    keep_hearing(here, 0.5, TWO, THREE)
    assert here.told == []


def test_a_table_may_name_a_link_that_is_not_up_yet():
    here = Here(TWO)
    here.set_rows(TableRow(ONE, ANA, (TWO,), (HERE,)))
    keep_hearing(here, 0.5, TWO)
    here.repair.remove(ONE)  # it never came up
    keep_hearing(here, 1.0, TWO)
    assert here.told == []


def test_a_removed_standby_is_neither_pulled_nor_released():
    here = with_standby(talking=True)
    keep_hearing(here, 0.1, TWO, THREE)
    here.repair.remove(TWO)
    here.told.clear()
    keep_hearing(here, 0.5, THREE)
    here.hear(ONE)
    assert [output for _, output in here.told] == [Heard(ONE)]


def test_jitter_lengthens_the_limit_of_talk_up_to_a_bound():
    for jitter_s, limit_s in [(0.010, 0.060), (0.020, 0.100), (0.5, 0.120)]:
        here = with_standby(talking=True)
        here.repair.set_jitter(ONE, jitter_s)
        keep_hearing(here, 0.3, TWO, THREE)
        assert here.told[0] == (limit_s, Pull(TWO))


def test_a_push_of_the_standby_makes_a_quiet_link_count_sooner():
    here = with_standby(talking=False)
    keep_hearing(here, 0.1, TWO, THREE)
    here.repair.pushed(here.now, TWO)
    here.repair.pushed(here.now, THREE)  # it stands by for nobody
    keep_hearing(here, 0.4, TWO, THREE)
    assert here.told[:1] == [(0.25, Pull(TWO))]


# ── we stand by for a hub ────────────────────────────────────────────────────────────────────


def as_standby() -> Here:
    """ONE is the hub that we stand by for, TWO a member."""
    here = Here(ONE, TWO)
    rows = [TableRow(ONE, ANA, (), (HERE,), warm=(TWO,))]
    here.set_rows(*rows, guarded=ONE)
    return here


def test_60_ms_after_the_hub_fell_silent_its_standby_pushes_then_tells():
    here = as_standby()
    here.hear(ONE, talking=True)
    keep_hearing(here, 0.2, TWO)
    assert here.told == [(0.06, Push()), (0.06, Silent(ONE))]


def test_in_quiet_too_once_keepalives_of_the_hub_come_each_20_ms():
    here = as_standby()
    for n in range(3):  # it has not heard yet that we stand by for it
        here.run(0.2 * n)
        here.hear(ONE, talking=False)
        here.hear(TWO)
    assert here.told == []
    here.run(0.42)
    here.hear(ONE, talking=False)
    keep_hearing(here, 0.6, TWO)
    assert here.told == [(0.48, Push()), (0.48, Silent(ONE))]


def test_a_report_between_keepalives_makes_no_link_brisk():
    here = as_standby()
    for n in range(4):
        here.run(0.2 * n)
        here.hear(ONE, talking=False)
        here.run(0.2 * n + 0.01)
        here.hear(ONE)
        here.hear(TWO)
    assert here.told == []


def test_a_push_is_not_repeated_within_five_seconds():
    here = as_standby()
    for n in range(1, 60):  # the hub comes and goes
        here.hear(ONE, talking=True)
        here.hear(TWO)
        here.run(0.1 * n)
    assert [at for at, output in here.told if output == Push()] == [0.06, 5.06]


def test_a_hub_that_lives_and_fails_a_voice_is_got_round_while_it_does():
    here = with_standby(talking=True)
    here.repair.set_failing(frozenset({ONE}))
    keep_hearing(here, 0.35, ONE, TWO, THREE)
    assert [output for _, output in here.told] == [Pull(TWO)] * 2
    here.repair.set_failing(frozenset())
    keep_hearing(here, 0.5, ONE, TWO, THREE)
    assert [output for _, output in here.told[2:]] == [Release(TWO)]


def test_a_hub_that_says_goodbye_is_pushed_for_at_once():
    here = as_standby()
    here.hear(ONE, talking=False)
    here.run(0.05)
    here.repair.remove(ONE)
    keep_hearing(here, 0.2, TWO)
    assert [output for _, output in here.told] == [Push()]
    here.set_rows(TableRow(TWO, ANA, (), (HERE,)))
    here.repair.remove(TWO)
    here.run(1.0)
    assert [output for _, output in here.told] == [Push()]


# ── a hub moved ──────────────────────────────────────────────────────────────────────────────


def after_a_move(*, links: tuple[LinkNumber, ...] = (ONE, TWO, THREE)) -> Here:
    """ONE carried Ana and Ben to us; from now on TWO does, and ONE stands by while it yields."""
    here = Here(*links)
    here.set_rows(TableRow(ONE, ANA, (TWO,), (HERE,)), TableRow(ONE, BEN, (TWO,), (HERE,)))
    here.set_rows(TableRow(TWO, ANA, (ONE,), (HERE,)), TableRow(TWO, BEN, (ONE,), (HERE,)))
    return here


def test_the_former_hub_is_released_once_the_new_one_has_brought_something():
    here = after_a_move()
    assert list(here.repair.brought(0.0, ONE)) == list(here.repair.brought(0.0, THREE)) == []
    assert list(here.repair.brought(0.0, TWO)) == [Release(ONE, altogether=True)]
    assert list(here.repair.brought(0.0, TWO)) == []


def test_a_keepalive_that_says_so_releases_the_former_hub_and_another_does_not():
    here = after_a_move()
    assert list(here.repair.carried(0.0, TWO, feeds=False)) == []
    assert list(here.repair.carried(0.0, TWO, feeds=True)) == [Release(ONE, altogether=True)]


def test_a_table_in_between_does_not_forget_whom_to_release():
    here = after_a_move()
    here.set_rows(TableRow(TWO, ANA, (ONE,), (HERE,)))
    assert list(here.repair.brought(0.0, TWO)) == [Release(ONE, altogether=True)]
    here.set_rows(TableRow(TWO, ANA, (ONE,), (HERE,)))
    assert list(here.repair.brought(0.0, TWO)) == []


def test_what_the_new_hub_brings_because_we_pulled_proves_nothing():
    here = Here(ONE, TWO)
    here.set_rows(TableRow(ONE, ANA, (TWO,), (HERE,)))
    here.hear(ONE, talking=True)
    keep_hearing(here, 0.1, TWO)
    assert here.told[0] == (0.06, Pull(TWO))
    here.set_rows(TableRow(TWO, ANA, (ONE,), (HERE,)))
    assert list(here.repair.brought(1.5, TWO)) == []
    assert list(here.repair.brought(1.56, TWO)) == [Release(ONE, altogether=True)]


def test_who_carries_us_again_is_told_so_lest_a_release_on_its_way_be_our_last_word():
    here = after_a_move()
    assert list(here.repair.brought(0.0, TWO)) == [Release(ONE, altogether=True)]
    here.set_rows(TableRow(ONE, ANA, (TWO,), (HERE,)), TableRow(ONE, BEN, (TWO,), (HERE,)))
    pulls = [told for told in here.run(0.5) if told[1] == Pull(ONE)]
    assert len(pulls) >= 2, "one may be lost, or overtake the release"
    keep_hearing(here, 2.0, ONE, TWO, THREE)
    assert here.told[-1][0] <= 0.6


def test_who_was_released_long_ago_is_not_asked_for_what_he_brings_unasked():
    here = after_a_move()
    assert list(here.repair.brought(0.0, TWO)) == [Release(ONE, altogether=True)]
    keep_hearing(here, 1.0, ONE, TWO, THREE)
    here.set_rows(TableRow(ONE, ANA, (TWO,), (HERE,)), TableRow(ONE, BEN, (TWO,), (HERE,)))
    keep_hearing(here, 2.0, ONE, TWO, THREE)
    assert here.told == []


def test_who_brings_us_his_own_voice_is_not_released():
    here = Here(ONE, TWO)
    here.set_rows(TableRow(ONE, ANA, (TWO,), (HERE,)), TableRow(ONE, BEN, (TWO,), (HERE,)))
    here.set_rows(TableRow(TWO, ANA, (ONE,), (HERE,)), TableRow(ONE, BEN, (), (HERE,)))
    assert list(here.repair.brought(0.0, TWO)) == []


def test_a_former_hub_is_released_when_the_last_of_its_voices_has_a_new_way():
    here = Here(ONE, TWO, THREE)
    here.set_rows(TableRow(ONE, ANA, (), (HERE,)), TableRow(ONE, BEN, (), (HERE,)))
    here.set_rows(TableRow(TWO, ANA, (ONE,), (HERE,)), TableRow(THREE, BEN, (ONE,), (HERE,)))
    assert list(here.repair.brought(0.0, TWO)) == []
    assert list(here.repair.brought(0.0, THREE)) == [Release(ONE, altogether=True)]


def test_a_former_hub_that_is_gone_is_not_released():
    here = after_a_move(links=(TWO,))
    assert list(here.repair.brought(0.0, TWO)) == []


def test_a_hub_that_lives_and_says_that_it_carries_nothing_to_us_is_pulled_with_its_standby():
    here = with_standby(talking=False)
    for n in range(1, 9):
        here.run(0.1 * n)
        here.repair.carried(here.now, ONE, feeds=False)
        for link in (ONE, TWO, THREE):
            here.hear(link, talking=False)
    assert here.told[:2] == [(0.6, Pull(ONE)), (0.6, Pull(TWO))]
    here.repair.carried(here.now, ONE, feeds=True)
    here.told.clear()
    keep_hearing(here, 1.2, ONE, TWO, THREE)
    assert [output for _, output in here.told] == [Release(ONE), Release(TWO)]


# ── our own stalls ───────────────────────────────────────────────────────────────────────────


def test_the_time_of_our_own_stall_counts_for_nobody():
    here = Here(ONE)
    here.run(0.3)
    assert here.stall(2.0) == []
    here.run(2.05)  # the keepalives that lay in the socket
    here.hear(ONE)
    assert here.run(2.4) == []


def test_a_link_that_died_in_a_stall_is_told_soon_after_it():
    here = Here(ONE)
    here.run(0.35)
    here.stall(2.0)
    # 400 ms of silence counted until the look that did not come; 150 ms are left, and 100 to read.
    assert here.run(3.0) == [(2.25, Silent(ONE))]


def test_a_stall_just_before_the_limit_leaves_time_to_read():
    here = Here(ONE)
    here.run(SILENCE_S - 0.01)
    assert here.stall(SILENCE_S + 0.15) == []
    here.now += 0.02
    assert here.hear(ONE) == []
    assert here.run(SILENCE_S + 0.3) == []


def test_stall_upon_stall_does_not_keep_a_dead_link_alive():
    here = Here(ONE)
    while Silent(ONE) not in [output for _, output in here.told]:
        here.stall(here.now + 0.22)
        here.run(here.now + 0.2)
        assert here.now < 4.0


def test_a_tick_up_to_100_ms_late_is_no_stall():
    here = Here(ONE)
    here.run(SILENCE_S - 0.01)
    assert here.stall(SILENCE_S + 0.09) == [Silent(ONE)]


def test_a_stall_leaves_an_ingress_with_standby_time_to_read():
    here = with_standby(talking=True)
    here.run(0.05)
    assert here.stall(0.3) == []
    here.run(0.34)
    here.hear(ONE, talking=True)
    here.hear(TWO)
    here.hear(THREE)
    assert here.run(0.39) == []
    assert here.run(0.42) == [(0.4, Pull(TWO)), (0.4, Silent(ONE))]


def test_the_first_link_after_idle_hours_finds_no_stall():
    here = Here(ONE)
    here.repair.remove(ONE)
    here.repair.add(9_000.0, TWO)
    here.now = 9_000.0
    assert here.run(9_001.0) == [(9_000.0 + SILENCE_S, Silent(TWO))]


def test_a_look_is_due_each_100_ms_so_that_a_stall_is_known_for_one():
    here = Here(ONE)
    here.repair.tick(0.0)
    assert here.repair.deadline == LOOK_S


# ── always ───────────────────────────────────────────────────────────────────────────────────


@given(
    st.lists(
        st.tuples(
            st.floats(0.0, 0.7),
            st.sampled_from([ONE, TWO, THREE]),
            st.sampled_from(["heard", "talks", "quiet", "stall"]),
        ),
        max_size=60,
    )
)
def test_silent_and_heard_take_turns_and_so_do_pull_and_release(steps):
    """Whatever comes when; and a standby is pulled exactly while a link it stands by for is
    silent."""
    here = Here(ONE, TWO, THREE)
    here.set_rows(TableRow(ONE, ANA, (TWO,), (HERE,)), TableRow(THREE, BEN, (TWO,), (HERE,)))
    for wait_s, link, what in steps:
        if what == "stall":
            here.stall(here.now + wait_s)
            continue
        here.run(here.now + wait_s)
        here.hear(link, talking={"talks": True, "quiet": False}.get(what))
    silent: set[LinkNumber] = set()
    pulled: set[LinkNumber] = set()
    for _, output in here.told:
        match output:
            case Silent(link):
                assert link not in silent
                assert link == TWO or pulled == {TWO}  # repaired first, then told
                silent.add(link)
            case Heard(link):
                silent.remove(link)
                assert bool(pulled) == bool(silent - {TWO})
            case Pull(link):
                pulled.add(link)
            case Release(link):
                pulled.remove(link)
