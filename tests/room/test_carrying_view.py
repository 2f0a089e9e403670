"""What it costs us to carry a room, from what media says that our links have sent."""

import pytest

from p2phouse.channel import LinkStats, Stats
from p2phouse.room.carrying_view import CarryingView
from p2phouse.room.messages import NameRelay
from p2phouse.vocabulary import LinkNumber, Now
from tests.room.company.people import fill
from tests.room.table import Table


def stats(**sent: int) -> Stats:
    links = tuple(
        LinkStats(LinkNumber(int(name[1:])), count, 0, 0, 0, 0, 0, 0)
        for name, count in sent.items()
    )
    return Stats(-1, -1, 0, (), links)


@pytest.fixture
def kbps():
    """Tells of each report at its time; returns what the page would show then."""
    table = Table()
    table.open()
    membership = table.rooms.membership
    assert membership is not None
    membership.hub = table.me.dev
    view = CarryingView(table.me)

    def tell(at_s: float, **sent: int) -> int:
        view.stats(Now(100 + at_s, 0.0), stats(**sent))
        load = view.facts(membership)["carrying"]
        assert isinstance(load, dict)
        return int(load["kbps"])

    return tell


def test_a_voice_to_one_is_fifty_five_kilobits_a_second_and_to_eight_eight_times_that(kbps):
    assert kbps(0, l1=1_000) == 0
    assert kbps(1, l1=1_050) == 55
    assert kbps(2, **{f"l{n}": 1_000 * n for n in range(2, 10)}) == 0
    assert kbps(3, **{f"l{n}": 1_000 * n + 50 for n in range(2, 10)}) == 442


def test_a_link_that_comes_or_goes_counts_from_its_first_report(kbps):
    kbps(0, l1=500, l2=500)
    assert kbps(1, l1=550, l3=90_000) == 55
    assert kbps(2, l3=90_050) == 55


def test_a_report_that_comes_late_is_spread_over_its_time_and_one_right_after_it_is_no_burst(kbps):
    kbps(0, l1=0)
    assert kbps(4, l1=200) == 55
    assert kbps(4.01, l1=225) == 55


def test_who_does_not_carry_the_room_has_no_load():
    table = Table()
    table.open()
    assert table.rooms.facts()["carrying"] is None


def test_a_relay_that_stands_by_is_none_of_the_people_whom_we_carry():
    table = Table()
    table.open()
    ann, relay = fill(table, 2)
    assert table.answer(table.ask(NameRelay(relay.me.uid))).error is None
    for person in (ann, relay):
        table.connect(person)
    table.here.hub = table.me.dev
    load = CarryingView(table.me).facts(table.here)["carrying"]
    assert isinstance(load, dict)
    assert load["people"] == 1
