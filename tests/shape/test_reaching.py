"""What a hub does for whom neither it nor its standby reaches: the room stays where it is."""

from dataclasses import replace

import pytest

from p2phouse.identity.keys import Me
from p2phouse.record.types import BidFlag, BidRow
from p2phouse.shape.election import (
    CALM_S,
    DESERTED_S,
    MAKE_WAY_S,
    ClaimHeard,
    Election,
    MakeClaim,
    Seen,
)
from p2phouse.shape.measure import LOST_PERMILLE, View, Why
from p2phouse.vocabulary import DeviceKey
from tests.shape.test_election import (  # noqa: F401 - a fixture
    DESERTED,
    NINE,
    ROOM,
    WILLING,
    bid,
    claims,
    go,
    hub_of_nine,
    me,
    nine,
    signed,
)

LOST, STANDBY = NINE[2], NINE[1]
STRAINED = WILLING | int(BidFlag.STRAINED)


def carrying(me: Me) -> Election:  # noqa: F811 - the fixture's value
    return hub_of_nine(me, bid(STANDBY, WILLING))


def a_view(me: Me, *, hears_him: bool = False, deserted: bool = True) -> View:  # noqa: F811
    """All of the nine would carry, and one says that he hears neither hub nor standby."""
    said = DESERTED if deserted else WILLING
    bids = [bid(dev, said if dev == LOST else WILLING) for dev in [me.dev, *NINE[1:]]]
    view = nine(me, *bids)
    return view if hears_him else replace(view, heard=view.heard - {LOST})


def test_whom_neither_hub_nor_standby_reaches_gets_another_standby_at_once(me: Me):  # noqa: F811
    election = carrying(me)
    assert not claims(election.handle(Seen(a_view(me)), 70.0))
    (said,) = go(election, 70.0 + DESERTED_S + 0.01)
    assert said.hub == me.dev
    assert said.standby not in (STANDBY, LOST)


def test_who_is_heard_or_says_nothing_of_it_or_is_back_soon_changes_nothing(me: Me):  # noqa: F811
    for healthy in (a_view(me, hears_him=True), a_view(me, deserted=False)):
        election = carrying(me)
        assert not claims(election.handle(Seen(healthy), 70.0))
        assert not go(election, 75.0)
        assert not claims(election.handle(Seen(a_view(me)), 75.0))
        assert not claims(election.handle(Seen(healthy), 75.0 + DESERTED_S - 0.01))
        assert not go(election, 80.0)


def test_who_is_known_to_have_failed_to_meet_him_is_not_tried_for_him(me: Me):  # noqa: F811
    """By what both have said: here all but one, who is far away."""
    missed, far = [dev for dev in NINE[1:8] if dev != LOST], NINE[8]
    view = a_view(me)

    def rows(dev: DeviceKey) -> tuple[BidRow, ...]:
        apart = missed if dev == LOST else [LOST] if dev in missed else []
        met = [other for other in view.members if other not in (dev, *apart)]
        said = [BidRow(other, 0, 0, LOST_PERMILLE, 0) for other in apart]
        return (*said, *(BidRow(other, 300 if other == far else 20, 300, 0, 200) for other in met))

    bids = {dev: replace(each, rows=rows(dev)) for dev, each in view.bids.items()}
    election = carrying(me)
    election.handle(Seen(replace(view, bids=bids)), 70.0)
    (said,) = go(election, 70.0 + DESERTED_S + 0.01)
    assert (said.hub, said.standby) == (me.dev, far)


def carried_for_a_pair(me: Me, hub: DeviceKey, members: list[DeviceKey]) -> Election:  # noqa: F811
    """A small room that another carries because we and NINE[2] have not met."""
    apart = {me.dev: NINE[2], NINE[2]: me.dev}
    bids = {
        dev: replace(bid(dev, WILLING), rows=(BidRow(apart[dev], 0, 0, LOST_PERMILLE, 0),))
        for dev in apart
    }
    everybody = frozenset([me.dev, *members])
    view = View(ROOM, everybody, bids, everybody - {me.dev})
    election = Election(me.dev, view, 0.0)
    election.handle(Seen(view), 0.0)
    said = signed(me, MakeClaim(1, 50, hub, NINE[3]))
    election.handle(ClaimHeard(said, hub, 60.0), 60.0)
    return election


def test_a_pair_for_whom_a_small_room_is_carried_tries_again_each_minute(me: Me):  # noqa: F811
    election = carried_for_a_pair(me, NINE[1], NINE[1:5])
    tries = [at for at in range(60, 200) if election.retried(at)]
    assert tries == [*range(120, 132), *range(180, 192)]
    assert election.retried(120.0) == {NINE[2]}


def test_nobody_tries_again_for_whom_the_room_would_be_carried_all_the_same(me: Me):  # noqa: F811
    for election in (
        carried_for_a_pair(me, NINE[1], NINE[1:6]),  # more than a mesh begins again with
        carried_for_a_pair(me, me.dev, NINE[1:5]),  # it is linked with all anyway
    ):
        assert not any(election.retried(at) for at in range(60, 200))
    election = carried_for_a_pair(me, NINE[1], NINE[1:5])
    tired = {**election.view.bids, NINE[4]: bid(NINE[4], STRAINED)}
    election.handle(Seen(replace(election.view, bids=tired)), 61.0)
    met = replace(election.view, bids={NINE[4]: tired[NINE[4]]})
    election.handle(Seen(met), 62.0)
    assert election.why is Why.STRAIN
    assert not any(election.retried(at) for at in range(62, 200))


def reaches_out(me: Me, election: Election, view: View, until: float) -> list[float]:  # noqa: F811
    """When it names another standby for him; each such claim is adopted."""
    found: list[float] = []
    said = claims(election.handle(Seen(view), 70.0))
    at = 70.0
    while not said or said[0].hub == me.dev:
        if said:
            found.append(at)
            election.handle(ClaimHeard(signed(me, said[0]), me.dev, at), at)
        at = election.deadline
        if at > until:
            return found
        said = claims(election.handle(None, at))
    return [*found, -at]


def test_one_who_says_that_he_is_deserted_moves_nobody_but_the_standby(me: Me):  # noqa: F811
    """Security: and that ever less often, however long he says so."""
    said = reaches_out(me, carrying(me), a_view(me), 1_100.0)
    assert said == [pytest.approx(70.4 + after) for after in (0, 10, 30, 70, 150, 310, 630, 950)]


def test_after_a_quiet_while_the_next_who_is_deserted_waits_no_longer_than_the_first(
    me: Me,  # noqa: F811
):
    election = carrying(me)
    assert len(reaches_out(me, election, a_view(me), 150.0)) == 4
    election.handle(Seen(a_view(me, deserted=False)), 150.0)
    assert not go(election, 600.0)
    election.handle(Seen(a_view(me)), 600.0)
    (said,) = go(election, 601.0)
    election.handle(ClaimHeard(signed(me, said), me.dev, 601.0), 601.0)
    assert not go(election, 610.0)
    assert go(election, 611.1)


def test_one_who_says_that_he_is_deserted_keeps_no_room_with_a_hub_that_cannot_keep_up(
    me: Me,  # noqa: F811
):
    """Security: the standby that he moves on and on is no reason for the hub to stay."""
    election = carrying(me)
    assert reaches_out(me, election, a_view(me), 75.0)
    view = a_view(me)
    tired = replace(view, bids={**view.bids, me.dev: bid(me.dev, STRAINED)})
    assert not claims(election.handle(Seen(tired), 75.0))
    (said,) = go(election, 80.5)
    assert said.hub not in (me.dev, LOST)


def test_one_who_says_that_he_is_deserted_keeps_the_room_from_no_relay(me: Me):  # noqa: F811
    """Security: which waits for a room at rest."""
    election = carrying(me)
    assert reaches_out(me, election, a_view(me), 75.0)
    view = a_view(me)
    relay = NINE[8]
    *_, moved_at = reaches_out(me, election, replace(view, relays=frozenset([relay])), 200.0)
    assert 70.0 < -moved_at < 120.0


def test_one_who_says_that_he_is_deserted_keeps_no_small_room_from_being_a_mesh_again(
    me: Me,  # noqa: F811
):
    """Security: which waits for that as well."""
    view, four = a_view(me), frozenset([me.dev, *NINE[1:4]])
    bids = {dev: view.bids[dev] for dev in four}
    small = replace(view, members=four, heard=view.heard & four, bids=bids)
    election = carrying(me)
    *_, moved_at = reaches_out(me, election, small, 200.0)
    assert -moved_at < 70.4 + 2 * CALM_S + MAKE_WAY_S
