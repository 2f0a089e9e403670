"""What carrying would cost with each member: integers, medians, and nobody's word about itself."""

from dataclasses import replace
from typing import Any

import pytest

from p2phouse.record import limits
from p2phouse.record.types import Bid, BidFlag, BidRow
from p2phouse.shape import measure
from p2phouse.shape.measure import View, Why
from p2phouse.vocabulary import DeviceKey, RoomId

ROOM = RoomId(bytes(32))
CARRIES = int(BidFlag.CARRIES | BidFlag.MAINS)
PEOPLE = [DeviceKey(bytes([number + 1]) * 32) for number in range(9)]
ANA, BEN, CEM = PEOPLE[:3]


def a_bid(dev: DeviceKey, *rows: BidRow, **changed: object) -> Bid:
    bid = Bid(ROOM, dev, 1, CARRIES, 1, 63, 64, rows, 0)
    return replace(bid, **changed)  # type: ignore[arg-type]  # fields of Bid


def a_row(dev: DeviceKey, ms: int = 20, *, loss: int = 0) -> BidRow:
    return BidRow(dev, ms, ms, loss, 200)


def a_view(count: int = 9) -> View:
    """Everybody has measured Ana, by default at 20 ms."""
    people = PEOPLE[:count]
    bids = {dev: a_bid(dev, a_row(ANA)) for dev in people if dev != ANA}
    return View(ROOM, frozenset(people), {ANA: a_bid(ANA), **bids})


def test_cost_is_delay_and_half_of_its_spread() -> None:
    assert measure.cost(a_view(), ANA) == 20 + 10  # old, with capacity, tried


@pytest.mark.parametrize(
    ("changed", "more"),
    [
        ({"uptime_min": 0}, 40),  # just come
        ({"uptime_min": 1}, 32),
        ({"uptime_min": 10**6}, 0),  # nobody gains more by lying about it
        ({"cap": 16}, 0),  # twice the need
        ({"cap": 10}, 15),
        ({"cap": 8}, 40),
    ],
)
def test_what_it_says_of_itself_counts_for_little(changed: dict[str, Any], more: int) -> None:
    view = a_view()
    bids = {**view.bids, ANA: replace(view.bids[ANA], **changed)}
    got = measure.cost(replace(view, bids=bids), ANA)
    assert got == (30 + more + 2) // 5 * 5


def test_who_cannot_keep_up_costs_more_and_is_a_hub_if_there_is_no_other() -> None:
    view = a_view()
    bids = {**view.bids, ANA: replace(view.bids[ANA], flags=CARRIES | BidFlag.STRAINED)}
    assert measure.cost(replace(view, bids=bids), ANA) == 30 + 100
    assert ANA in measure.rank(replace(view, bids=bids))


@pytest.mark.parametrize(
    ("skipped", "losses", "is_strain"),
    [
        (0, [], False),
        (4, [0, 0], False),
        (5, [0, 0], True),
        (0, [1_000], False),  # one alone may lie, or sit behind a wall
        (0, [1_000, 0], False),
        (0, [200, 200], True),
        (0, [100] * 8, False),  # a hotel
        (0, [1_000, 1_000, 1_000, 0, 0, 0, 0], False),
        (0, [1_000, 1_000, 1_000, 200, 0, 0, 0], True),
    ],
)
def test_holes_in_our_own_time_or_loss_on_half_of_our_links_is_strain(
    skipped: int, losses: list[int], is_strain: bool
) -> None:
    assert measure.is_strain(skipped, losses) is is_strain


def test_loss_counts_by_the_permille() -> None:
    view = a_view()
    bids = {
        dev: replace(bid, rows=tuple(replace(row, loss=50) for row in bid.rows))
        for dev, bid in view.bids.items()
    }
    assert measure.cost(replace(view, bids=bids), ANA) == 80


@pytest.mark.parametrize(
    "changed",
    [
        {"flags": int(BidFlag.MAINS)},
        {"flags": int(BidFlag.CARRIES)},
        {"flags": CARRIES | BidFlag.METERED},
        {"flags": CARRIES | BidFlag.DRAINING},
        {"version": 2},
        {"cap": 7},
    ],
)
def test_who_would_not_or_could_not_carry_is_no_candidate(changed: dict[str, Any]) -> None:
    view = a_view()
    bids = {**view.bids, ANA: replace(view.bids[ANA], **changed)}
    assert measure.is_eligible(view, ANA)
    assert not measure.is_eligible(replace(view, bids=bids), ANA)


def test_flags_of_a_later_version_are_passed_over() -> None:
    assert measure.would_carry(a_bid(ANA, flags=CARRIES | 128))


def test_whom_nobody_has_measured_comes_after_all_others() -> None:
    view = a_view()
    assert measure.rank(view)[0] == ANA
    assert not measure.is_tried(view, BEN)
    assert measure.cost(view, BEN) >= measure.UNTRIED_MS


def test_those_on_the_stage_count_three_times() -> None:
    view = a_view(4)
    far = a_bid(BEN, a_row(ANA, 200))
    view = replace(view, bids={**view.bids, BEN: far})
    assert measure.cost(view, ANA) == 30
    assert measure.cost(replace(view, speakers=frozenset([BEN])), ANA) == 300


def test_capacity_doubles_each_ten_seconds_of_good_service_up_to_the_cap() -> None:
    for served, links in ((0, 8), (9, 8), (10, 16), (20, 32), (30, 64), (10_000, 64)):
        view = a_view()
        bids = {
            dev: replace(bid, rows=tuple(replace(row, served=served) for row in bid.rows))
            for dev, bid in view.bids.items()
        }
        assert measure.capacity(replace(view, bids=bids), ANA) == links


def test_a_pair_is_apart_if_both_say_so_and_one_who_says_it_alone_costs_ten() -> None:
    view = a_view()
    alone = {**view.bids, BEN: a_bid(BEN, a_row(ANA, loss=1_000))}
    assert not measure.failing_pairs(replace(view, bids=alone))
    assert measure.cost(replace(view, bids=alone), ANA) == 30 + measure.DOUBT_MS
    both = {**alone, ANA: a_bid(ANA, a_row(BEN, loss=1_000))}
    assert measure.failing_pairs(replace(view, bids=both)) == {frozenset([ANA, BEN])}
    assert measure.cost(replace(view, bids=both), ANA) == 30 + measure.LOST_MS


def test_whom_more_than_a_fifth_cannot_reach_is_no_candidate() -> None:
    view = a_view(5)
    lost = {
        **view.bids,
        ANA: a_bid(ANA, a_row(BEN, loss=1_000)),
        BEN: a_bid(BEN, a_row(ANA, loss=1_000)),
    }
    assert not measure.is_eligible(replace(view, bids=lost), ANA)


def test_why_a_room_is_no_mesh() -> None:
    assert measure.why_no_mesh(a_view(limits.MESH_MEMBERS_MAX)) is None
    assert measure.why_no_mesh(a_view(limits.MESH_MEMBERS_MAX + 1)) is Why.PEOPLE
    view = a_view(4)
    strained = {**view.bids, CEM: a_bid(CEM, flags=CARRIES | BidFlag.STRAINED)}
    assert measure.why_no_mesh(replace(view, bids=strained)) is Why.STRAIN


def test_a_relay_goes_before_whoever_is_nearer() -> None:
    view = a_view()
    far = {dev: replace(bid, rows=(*bid.rows, a_row(BEN, 400))) for dev, bid in view.bids.items()}
    view = replace(view, bids=far)
    assert measure.rank(view)[0] == ANA
    assert measure.rank(replace(view, relays=frozenset([BEN])))[0] == BEN


def test_a_hub_is_doubted_if_a_third_of_the_others_on_the_stage_miss_it_too() -> None:
    """Security: of five two; not what it or its standby say, nor who only listens."""
    view = a_view()
    view = replace(view, speakers=frozenset(PEOPLE[:8]))

    def is_doubted(*sayers: DeviceKey, view: View = view) -> bool:
        said = {dev: a_bid(dev, flags=CARRIES | BidFlag.DESERTED) for dev in sayers}
        return measure.is_doubted(replace(view, bids={**view.bids, **said}), ANA, BEN, CEM)

    assert not is_doubted()
    assert not is_doubted(PEOPLE[3])
    assert is_doubted(*PEOPLE[3:5])
    assert not is_doubted(ANA, BEN, CEM, PEOPLE[8], PEOPLE[3])
    # Nobody else has a say: then both must be gone, and somebody be left to be carried.
    few = replace(view, speakers=frozenset([CEM]))
    assert not is_doubted(view=few)
    assert not is_doubted(view=replace(few, members=few.members - {ANA}))
    assert is_doubted(view=replace(few, members=few.members - {ANA, BEN}))
    assert not is_doubted(view=replace(few, members=frozenset([CEM])))
