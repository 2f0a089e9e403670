"""Whom we feed, in virtual time."""

from math import inf

import pytest

from p2phouse.carry.feeding import Feeding
from p2phouse.carry.table import compile_table
from p2phouse.channel import Pulls, Released, TableRow
from p2phouse.vocabulary import HERE
from tests.carry.packets import ANA, BEN, FOUR, ONE, THREE, TWO


@pytest.fixture
def feeding() -> Feeding:
    """We stand by for TWO and THREE, and for FOUR, which is not up; ONE is the hub."""
    feeding = Feeding()
    for link in (ONE, TWO, THREE):
        feeding.add(link)
    feeding.set_table(
        compile_table(
            1,
            [
                TableRow(TWO, ANA, (ONE,), (HERE,), warm=(THREE, FOUR)),
                TableRow(HERE, BEN, (), (ONE,), warm=(TWO, THREE, FOUR)),
            ],
        )
    )
    return feeding


def test_a_pull_on_a_link_that_is_not_up_feeds_nobody(feeding):
    feeding.pull(1.0, FOUR)
    assert feeding.fed(1.0) == set()
    assert feeding.deadline == inf


def test_a_pull_feeds_the_link_for_one_and_a_half_seconds_and_then_lapses(feeding):
    assert feeding.fed(0.0) == set()
    feeding.pull(1.0, TWO)
    assert feeding.fed(1.0) == feeding.fed(2.49) == {TWO}
    assert feeding.fed(2.5) == set()
    feeding.pull(2.6, TWO)
    feeding.pull(3.0, TWO)
    assert feeding.fed(4.4) == {TWO}


def test_a_release_ends_a_pull_at_once_and_is_told_to_nobody(feeding):
    feeding.pull(1.0, TWO)
    feeding.release(1.0, TWO, altogether=False)
    assert feeding.fed(1.0) == feeding.released == set()
    assert feeding.tick(2.0) == []


def test_a_pull_by_a_link_that_we_carry_feeds_nobody_but_undoes_its_release(feeding):
    feeding.release(0.0, ONE, altogether=True)
    assert feeding.tick(0.3) == [Released(ONE)]
    assert feeding.released == {ONE}
    feeding.release(0.4, ONE, altogether=True)
    assert feeding.tick(0.7) == []
    feeding.pull(1.0, ONE)
    assert feeding.fed(1.0) == feeding.released == set()


def test_who_releases_us_is_sent_for_a_moment_what_is_still_on_its_way(feeding):
    feeding.release(1.0, ONE, altogether=True)
    feeding.release(1.1, ONE, altogether=True)
    assert feeding.tick(1.24) == []
    assert feeding.released == set()
    assert feeding.deadline == 1.25
    assert feeding.tick(1.25) == [Released(ONE)]
    feeding.pull(2.0, ONE)
    feeding.release(3.0, ONE, altogether=True)
    feeding.pull(3.1, ONE)
    assert Released(ONE) not in feeding.tick(3.5), "it has changed its mind"


def test_a_new_table_undoes_every_release(feeding):
    feeding.release(0.0, ONE, altogether=True)
    feeding.tick(0.3)
    feeding.set_table(compile_table(2, [TableRow(HERE, BEN, (), (ONE,))]))
    assert feeding.released == set()
    feeding.release(0.4, ONE, altogether=True)
    feeding.set_table(compile_table(3, [TableRow(HERE, BEN, (), (ONE,))]))
    assert feeding.tick(0.64) == [], "control would have us stop while something is on its way"
    assert feeding.deadline == 0.65
    assert feeding.tick(0.65) == [Released(ONE)], "it was, and control has to know"
    assert feeding.released == set()
    assert feeding.tick(1.0) == []
    feeding.release(2.0, ONE, altogether=True)
    feeding.set_table(compile_table(4, [TableRow(HERE, BEN, (), (ONE,))]))
    feeding.pull(2.1, ONE)
    assert Released(ONE) not in feeding.tick(2.5), "nor once it has changed its mind"


def test_a_pull_that_came_before_its_table_counts_under_it(feeding):
    feeding.pull(1.0, ONE)
    feeding.set_table(compile_table(2, [TableRow(HERE, BEN, (), (TWO,), warm=(ONE,))]))
    assert feeding.fed(1.0) == {ONE}


def test_a_push_feeds_everybody_for_half_a_second(feeding):
    feeding.push(1.0)
    assert feeding.fed(1.49) == {TWO, THREE, FOUR}
    assert feeding.fed(1.5) == set()


def test_how_many_pull_is_told_when_it_changes_and_counts_for_400_ms(feeding):
    assert feeding.tick(0.0) == []
    feeding.pull(1.0, TWO)
    assert feeding.tick(1.0) == [Pulls(1, 2)]
    assert feeding.tick(1.1) == []
    feeding.pull(1.2, TWO)
    feeding.pull(1.2, THREE)
    assert feeding.tick(1.2) == [Pulls(2, 2)]
    assert feeding.tick(1.59) == []
    assert feeding.tick(1.6) == [Pulls(0, 2)]
    assert feeding.fed(1.6) == {TWO, THREE}  # but brought it they are


def test_only_those_whom_we_stand_by_for_are_counted(feeding):
    feeding.pull(1.0, ONE)
    assert feeding.tick(1.0) == []


def test_the_hub_is_brought_what_it_misses_and_is_none_of_those_who_miss_it(feeding):
    rows = [TableRow(HERE, BEN, (), (), warm=(ONE, TWO))]
    feeding.set_table(compile_table(2, rows, guarded=ONE))
    feeding.pull(1.0, ONE)
    assert feeding.fed(1.0) == {ONE}
    assert feeding.warm == {TWO}
    assert feeding.tick(1.0) == []


def test_a_link_that_is_gone_is_neither_fed_nor_counted_and_asks_nothing(feeding):
    feeding.pull(1.0, TWO)
    feeding.tick(1.0)
    feeding.remove(TWO)
    assert feeding.fed(1.0) == set()
    assert feeding.tick(1.0) == [Pulls(0, 1)]
    feeding.pull(1.0, TWO)
    feeding.release(1.0, TWO, altogether=True)
    assert feeding.fed(1.0) == set()
    assert feeding.tick(2.0) == []


def test_a_tick_is_due_when_something_lapses(feeding):
    assert feeding.deadline == inf
    feeding.pull(1.0, TWO)
    feeding.push(1.0)
    now = 1.0
    feeding.tick(now)
    for due in (1.4, 1.5, 2.5):
        assert feeding.deadline == due
        feeding.tick(due)
        assert feeding.deadline > due
    assert feeding.deadline == inf
