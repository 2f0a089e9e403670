"""What a hub does for whom neither it nor its standby reaches: the room stays where it is."""

from dataclasses import replace

from p2phouse.identity.keys import Me
from p2phouse.shape.election import DESERTED_S, MAKE_WAY_S, ClaimHeard, Election, Seen
from p2phouse.shape.measure import View
from tests.shape.test_election import (  # noqa: F401 - a fixture
    DESERTED,
    NINE,
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


def test_one_who_says_that_he_is_deserted_moves_nobody_but_the_standby(me: Me):  # noqa: F811
    """Security: and that each ten seconds at most, however long he says so."""
    election = carrying(me)
    election.handle(Seen(a_view(me)), 70.0)
    (said,) = go(election, 70.0 + DESERTED_S + 0.01)
    at = 70.0 + DESERTED_S
    for _ in range(3):
        election.handle(ClaimHeard(signed(me, said), me.dev, at), at)
        assert election.hub == me.dev
        assert not go(election, at + MAKE_WAY_S)
        at += MAKE_WAY_S
        (said,) = claims(election.handle(None, at))
        assert said.hub == me.dev
