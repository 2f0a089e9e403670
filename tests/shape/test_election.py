"""What one member's election must not do, whatever it is told. Worlds of it: tests/sim."""

from dataclasses import replace

import pytest

from p2phouse.identity.keys import Me, make_identity
from p2phouse.record import envelope, limits
from p2phouse.record.envelope import Signed
from p2phouse.record.types import Bid, BidFlag, BidRow, Claim
from p2phouse.shape import measure
from p2phouse.shape.claims import Register
from p2phouse.shape.election import (
    RANK_S,
    Adopted,
    ClaimHeard,
    Election,
    MakeClaim,
    Output,
    ReleasedBy,
    Seen,
    TellAgain,
)
from p2phouse.shape.measure import View
from p2phouse.vocabulary import DeviceKey, Now, RoomId

ROOM = RoomId(b"\x07" * 32)
WILLING = int(BidFlag.CARRIES | BidFlag.MAINS)
DESERTED = WILLING | int(BidFlag.DESERTED)
NINE = [DeviceKey(bytes([number]) * 32) for number in range(9)]


@pytest.fixture
def me() -> Me:
    return make_identity(now=Now(0.0, 1.8e9), entropy=lambda size: b"\x33" * size, name="Ana")


def bid(dev: DeviceKey, flags: int, cap: int = 30) -> Bid:
    return Bid(ROOM, dev, 1, flags, 1, 90, cap, (), 0)


def nine(me: Me, *bids: Bid) -> View:
    members = frozenset([me.dev, *NINE[1:]])
    return View(ROOM, members, {DeviceKey(each.dev): each for each in bids}, members - {me.dev})


def all_on_stage(me: Me) -> View:
    """Six of the nine say that they hear neither NINE[1] nor NINE[2]."""
    bids = [bid(dev, WILLING) for dev in (me.dev, *NINE[1:3])]
    view = nine(me, *bids, *(bid(dev, DESERTED) for dev in NINE[3:]))
    return replace(view, speakers=view.members)


def signed(me: Me, said: MakeClaim) -> Signed[Claim]:
    record = Claim(ROOM, me.dev, said.epoch, said.cost, said.hub, said.standby, 0)
    return envelope.sign(record, me.device_key)


def claims(outputs: list[Output]) -> list[MakeClaim]:
    return [each for each in outputs if isinstance(each, MakeClaim)]


def tick(election: Election, until: float) -> list[Output]:
    """Lets time pass, with a tick whenever it wants one."""
    outputs: list[Output] = []
    while election.deadline <= until:
        outputs += election.handle(None, election.deadline)
    return outputs


def hub_of_nine(me: Me, *others: Bid) -> Election:
    """One that carries nine people."""
    view = nine(me, bid(me.dev, WILLING), *others)
    election = Election(me.dev, view, 0.0)
    election.handle(Seen(view), 0.0)
    (said,) = claims(tick(election, 60.0))[-1:]
    election.handle(ClaimHeard(signed(me, said), me.dev, 60.0), 60.0)
    tick(election, 69.9)
    assert election.hub == me.dev
    return election


def test_nobody_is_made_a_hub_by_a_cost_that_those_who_measured_it_would_not_know(me: Me):
    """Security: or a liar would be cheaper than all, and the room his."""
    far = (BidRow(NINE[1], 200, 200, 0, 0),)
    measured = [replace(bid(dev, WILLING), rows=far) for dev in NINE[2:6]]
    view = nine(me, bid(NINE[1], WILLING), *measured)
    true = measure.cost(view, NINE[1])
    for cost, is_believed in ((0, False), (true // 2, False), (true, True), (true - 40, True)):
        election = Election(me.dev, view, 0.0)
        election.handle(ClaimHeard(signed(me, MakeClaim(1, cost, NINE[1], None)), NINE[1]), 60.0)
        assert (election.hub == NINE[1]) is is_believed


def test_a_listener_takes_no_room_from_a_hub_that_it_alone_has_lost(me: Me):
    """While the standby lives, who is not on the stage leaves it to those who are."""
    for listens in (False, True):
        view = all_on_stage(me)
        election = Election(me.dev, view, 0.0)
        said = signed(me, MakeClaim(1, 200, NINE[1], NINE[2]))
        election.handle(ClaimHeard(said, NINE[1], 60.0), 60.0)
        members = view.members - {NINE[1]}
        lost = replace(view, members=members, heard=view.heard & members, listens=listens)
        election.handle(Seen(lost), 60.5)
        assert bool(go(election, 70.0)) is not listens


def deserted(me: Me, *sayers: DeviceKey, listens: bool = False) -> tuple[Election, View]:
    """Hub and standby fall silent for us at 60.5; these others say that they hear neither."""
    bids = [bid(dev, DESERTED if dev in sayers else WILLING) for dev in (me.dev, *NINE[1:])]
    view = nine(me, *bids)
    view = replace(view, speakers=view.members, listens=listens)
    election = Election(me.dev, view, 0.0)
    said = signed(me, MakeClaim(1, 200, NINE[1], NINE[2]))
    election.handle(ClaimHeard(said, NINE[1], 60.0), 60.0)
    view = replace(view, heard=view.heard - {NINE[1], NINE[2]})
    election.handle(Seen(view), 60.5)
    return election, view


def test_one_who_alone_hears_neither_hub_nor_standby_claims_nothing(me: Me):
    """Security: whoever has lost his network would take the room with him when he comes back."""
    for sayers in ([], NINE[3:4], [NINE[1], NINE[2], NINE[3]]):
        election, _ = deserted(me, *sayers)
        assert not go(election, 90.0)


def test_one_who_hears_neither_and_of_others_who_do_not_claims_by_rank_from_then(me: Me):
    election, view = deserted(me)
    assert not go(election, 64.0)
    said_by = {dev: bid(dev, DESERTED) for dev in NINE[3:5]}
    said_by[me.dev] = replace(bid(me.dev, DESERTED), uptime_min=0)
    view = replace(view, bids={**view.bids, **said_by})
    election.handle(Seen(view), 64.0)
    place = measure.rank(view, but=NINE[1:3]).index(me.dev)
    assert place == 6, "we have just come"
    assert not go(election, 64.0 + RANK_S * place)
    (said,) = claims(election.handle(None, election.deadline))
    assert said.hub == me.dev


def test_who_was_deserted_once_waits_for_its_turn_again_the_next_time(me: Me):
    election, view = deserted(me, *NINE[3:])
    bids = {**view.bids, me.dev: replace(bid(me.dev, DESERTED), uptime_min=0)}
    view = replace(view, bids=bids)
    election.handle(Seen(view), 61.6)
    election.handle(Seen(replace(view, heard=view.members - {me.dev})), 61.7)
    assert not go(election, 70.0)
    election.handle(Seen(view), 70.0)
    place = measure.rank(view, but=NINE[1:3]).index(me.dev)
    assert place == 6
    assert not go(election, 71.0 + RANK_S * place)
    assert claims(election.handle(None, election.deadline))


def test_a_listener_claims_nothing_though_it_once_bid_and_others_are_deserted_too(me: Me):
    assert go(deserted(me, *NINE[3:])[0], 70.0)
    assert not go(deserted(me, *NINE[3:], listens=True)[0], 70.0)


def test_a_standby_that_hears_nobody_at_all_claims_nothing(me: Me):
    """It has lost its own network; the hub has taken another by now."""
    for heard, is_promoted in ((frozenset(NINE[2:]), True), (frozenset[DeviceKey](), False)):
        view = nine(me, *(bid(dev, WILLING) for dev in (me.dev, *NINE[1:])))
        election = Election(me.dev, view, 0.0)
        said = signed(me, MakeClaim(1, 200, NINE[1], me.dev))
        election.handle(ClaimHeard(said, NINE[1], 60.0), 60.0)
        election.handle(Seen(replace(view, heard=heard)), 60.5)
        assert bool(go(election, 80.0)) is is_promoted


def test_a_hub_that_may_carry_no_more_keeps_nine_people_whom_nobody_else_would_carry(me: Me):
    election = hub_of_nine(me)
    assert not claims(election.handle(Seen(nine(me, bid(me.dev, 0))), 70.0))
    assert not claims(tick(election, 80.0))


def test_a_hub_hands_over_to_nobody_whose_own_bid_says_no(me: Me):
    election = hub_of_nine(me, bid(NINE[1], WILLING))
    assert election.standby == NINE[1]
    unwilling = nine(me, bid(me.dev, 0), bid(NINE[1], 0))
    assert not claims(election.handle(Seen(unwilling), 70.0))


def test_a_hub_whose_owner_lowers_what_it_may_feed_hands_over_if_somebody_can(me: Me):
    election = hub_of_nine(me, bid(NINE[1], WILLING))
    less = nine(me, bid(me.dev, WILLING, cap=4), bid(NINE[1], WILLING))
    (said,) = claims(election.handle(Seen(less), 70.0))
    assert said.hub == NINE[1]


def go(election: Election, until: float) -> list[MakeClaim]:
    """Ticks whenever it wants to; what it claims before that time."""
    said: list[MakeClaim] = []
    while election.deadline < until:
        said += claims(election.handle(None, election.deadline))
    return said


def apart(me: Me, one: DeviceKey, *others: DeviceKey) -> View:
    """Nine people who would all carry the room. One has met neither us nor these others, as all of
    them say."""

    def said_by(dev: DeviceKey) -> Bid:
        cut_off = [me.dev, *others]
        missing = cut_off if dev == one else [one] if dev in cut_off else []
        met = [other for other in [me.dev, *NINE[1:]] if other not in (dev, *missing)]
        rows = [BidRow(other, 0, 0, measure.LOST_PERMILLE, 0) for other in missing]
        rows += [BidRow(other, 20, 20, 0, 200) for other in met]
        return replace(bid(dev, WILLING), rows=tuple(rows))

    return nine(me, *map(said_by, [me.dev, *NINE[1:]]))


def test_a_hub_whom_somebody_does_not_reach_gives_way_to_its_standby_after_three_seconds(me: Me):
    election = hub_of_nine(me, bid(NINE[1], WILLING))
    assert not claims(election.handle(Seen(apart(me, NINE[2])), 70.0))
    assert not go(election, 73.0)
    (said,) = claims(election.handle(None, 73.0))
    assert said.hub == NINE[1]


def test_a_hub_gives_way_to_nobody_for_one_who_is_just_back_and_has_no_link_yet(me: Me):
    """His Wi-Fi dropped out; what both said of that comes with him."""
    bids = [bid(dev, WILLING) for dev in (me.dev, NINE[1])]
    election = hub_of_nine(me, bids[1])
    for at in (70.0, 80.0):
        assert not claims(election.handle(Seen(apart(me, NINE[2])), at))
        assert not go(election, at + 2.9)
        assert not claims(election.handle(Seen(nine(me, *bids)), at + 2.9))
        assert not go(election, at + 10.0)


def test_a_hub_gives_way_to_nobody_who_is_reached_no_better(me: Me):
    election = hub_of_nine(me, bid(NINE[1], WILLING))
    election.handle(Seen(apart(me, NINE[2], NINE[1])), 70.0)
    said = go(election, 73.1)[0]
    assert said.hub == me.dev
    assert said.standby not in (NINE[1], NINE[2])
    election = hub_of_nine(me, bid(NINE[1], WILLING))
    nobody = apart(me, NINE[2], *NINE[1:2], *NINE[3:])
    assert not claims(election.handle(Seen(nobody), 70.0))
    assert not go(election, 80.0)


def test_one_who_says_alone_that_he_does_not_reach_the_hub_moves_nobody(me: Me):
    """Security: whoever likes could say so."""
    view = apart(me, NINE[2])
    election = hub_of_nine(me, bid(NINE[1], WILLING))
    alone = replace(view, bids={**view.bids, me.dev: bid(me.dev, WILLING)})
    assert not claims(election.handle(Seen(alone), 70.0))
    assert not go(election, 80.0)


def test_a_hub_that_cannot_keep_up_hands_over_to_its_standby_if_that_one_can(me: Me):
    strained = WILLING | int(BidFlag.STRAINED)
    election = hub_of_nine(me, bid(NINE[1], WILLING))
    view = nine(me, bid(me.dev, strained), bid(NINE[1], WILLING), bid(NINE[2], WILLING))
    assert not claims(election.handle(Seen(view), 61.0))
    assert not go(election, 70.0)
    (said,) = claims(election.handle(None, 70.0))
    assert (said.hub, said.standby) == (NINE[1], NINE[2])


def test_a_hub_that_cannot_keep_up_takes_another_standby_first_or_carries_on(me: Me):
    strained = WILLING | int(BidFlag.STRAINED)
    tired = [bid(me.dev, strained), bid(NINE[1], strained)]
    election = hub_of_nine(me, bid(NINE[1], WILLING))
    (said,) = claims(election.handle(Seen(nine(me, *tired, bid(NINE[2], WILLING))), 70.0))
    assert (said.hub, said.standby) == (me.dev, NINE[2])
    election = hub_of_nine(me, bid(NINE[1], WILLING))
    assert not claims(election.handle(Seen(nine(me, *tired)), 70.0))


def test_a_hub_gives_way_to_no_standby_that_it_does_not_hear_itself(me: Me):
    election = hub_of_nine(me, bid(NINE[1], WILLING))
    view = apart(me, NINE[2])
    election.handle(Seen(view), 70.0)
    election.handle(Seen(replace(view, heard=view.heard - {NINE[1]})), 72.5)
    said = go(election, 73.1)[0]
    assert said.hub == me.dev
    assert said.standby not in (NINE[1], NINE[2])


def test_one_whom_no_hub_reaches_moves_the_room_each_ten_seconds(me: Me):
    election = hub_of_nine(me, bid(NINE[1], WILLING))
    assert not claims(election.handle(Seen(apart(me, NINE[2])), 61.0))
    assert not go(election, 70.0)
    assert claims(election.handle(None, 70.0))


def test_who_once_did_not_reach_somebody_is_not_chosen_for_being_near_to_the_others(me: Me):
    """While it is neither hub nor standby it has no link to him that could fail again."""
    election = hub_of_nine(me, bid(NINE[4], WILLING))
    seen = apart(me, NINE[2], NINE[1])
    election.handle(Seen(replace(seen, bids={**seen.bids, me.dev: bid(me.dev, WILLING)})), 61.0)
    near = (BidRow(NINE[1], 5, 5, 0, 300), BidRow(NINE[3], 20, 20, 0, 300))
    all_near = [replace(bid(dev, WILLING), rows=near) for dev in NINE[4:]]
    view = nine(me, *(bid(dev, WILLING) for dev in (me.dev, NINE[1], NINE[3])), *all_near)
    election.handle(Seen(view), 61.0)
    assert not go(election, 120.0)
    (said,) = claims(election.handle(None, 120.0))
    assert said.standby == NINE[3]


def test_a_claim_of_our_own_that_we_refuse_is_not_made_again_in_the_same_breath(me: Me):
    """Else whoever drives the election would never come back from it."""
    election = hub_of_nine(me)
    election.handle(Seen(nine(me, bid(me.dev, WILLING))), 70.0)
    said = MakeClaim(2, limits.COST_MAX, None, None)
    assert not election.handle(ClaimHeard(signed(me, said), me.dev, 70.0), 70.0)
    assert 70.0 < election.deadline <= 71.0


def test_a_smaller_claim_counts_for_nothing_though_our_clock_is_wrong_and_many_tell_of_it(me: Me):
    """By our clock the room began just now, so both are of epochs that it cannot have reached."""
    election = Election(me.dev, nine(me), 0.0)
    for epoch, hub, at in ((100, NINE[1], 60.0), (50, NINE[2], 70.0)):
        claim = signed(me, MakeClaim(epoch, 100, hub, None))
        outputs: list[Output] = []
        for teller in NINE[1:6]:
            outputs += election.handle(ClaimHeard(claim, teller), at)
        assert any(isinstance(each, Adopted) for each in outputs) == (hub == NINE[1])
        assert any(isinstance(each, TellAgain) for each in outputs) == (hub == NINE[2])
    assert election.hub == NINE[1]
    assert election.former(70.0) is None


def test_nobody_uses_the_epochs_up_one_by_one(me: Me):
    """Security: a liar who claims one more and one more is passed over at half as many again as
    the room is old, so that in twelve hours the last epoch is not reached."""
    register = Register()
    for epoch in range(1, 10_000):
        claim = signed(me, MakeClaim(epoch, 100, me.dev, None))
        if not register.is_in_reach(claim.record, 600.0):
            break
        register.take(claim)
    assert 600 < register.epoch < 1_000
    assert limits.ROOM_LIFE_S_MAX * 3 // 2 < limits.CLAIM_EPOCH_MAX


def test_a_hub_that_was_away_hears_what_was_claimed_before_it_claims_itself(me: Me):
    """Of two claims of the same epoch one would drive out the other, and the room change twice."""
    election = hub_of_nine(me, bid(NINE[1], WILLING), bid(NINE[2], WILLING))
    others = nine(me, bid(me.dev, WILLING), bid(NINE[2], WILLING))
    alone = View(ROOM, others.members - {NINE[1]}, others.bids, frozenset())
    outputs = election.handle(Seen(alone), 95.0)
    assert not claims(outputs + tick(election, 98.0)), "its standby is gone, and it slept"
    theirs = signed(me, MakeClaim(election.claim.record.epoch + 1, 1_000, NINE[2], None))  # type: ignore[union-attr]
    election.handle(ClaimHeard(theirs, NINE[2], 98.0), 98.0)
    assert election.hub == NINE[2]


def test_a_hub_that_was_away_and_finds_all_as_it_was_goes_on(me: Me):
    election = hub_of_nine(me, bid(NINE[1], WILLING), bid(NINE[2], WILLING))
    others = nine(me, bid(me.dev, WILLING), bid(NINE[2], WILLING))
    alone = View(ROOM, others.members - {NINE[1]}, others.bids, others.heard)
    election.handle(Seen(alone), 95.0)
    (said,) = claims(tick(election, 100.1))
    assert (said.hub, said.standby) == (me.dev, NINE[2])


def test_a_hub_that_is_cut_off_claims_nothing_and_follows_the_room_that_it_comes_back_to(me: Me):
    election = hub_of_nine(me, bid(NINE[1], WILLING), bid(NINE[2], WILLING))
    assert election.claim is not None
    epoch = election.claim.record.epoch
    bids = {me.dev: bid(me.dev, WILLING)}
    assert not claims(election.handle(Seen(View(ROOM, frozenset([me.dev]), bids)), 70.0))
    assert not claims(tick(election, 170.0))
    # Whom it meets first is not the one who carries the others now.
    met = View(ROOM, frozenset([me.dev, NINE[3]]), bids)
    assert not claims(election.handle(Seen(met), 170.0))
    theirs = signed(me, MakeClaim(epoch + 1, 1_000, NINE[1], None))
    election.handle(ClaimHeard(theirs, NINE[3], 170.0), 170.1)
    assert (election.hub, election.standby) == (NINE[1], None)
    # He was our standby, heard until the cable was pulled: that is no silence of his now.
    assert not claims(tick(election, 173.0))


def test_a_hub_that_heard_nobody_waits_for_what_was_claimed_meanwhile(me: Me):
    """The first that it hears again are not those who could tell it."""
    bids = [bid(dev, WILLING) for dev in (me.dev, NINE[1], NINE[2])]
    election = hub_of_nine(me, *bids[1:])
    assert election.standby == NINE[1]
    view = nine(me, *bids)
    election.handle(Seen(replace(view, heard=frozenset())), 70.0)
    assert not go(election, 75.0)
    back = replace(view, heard=view.heard - {NINE[1]})
    assert not claims(election.handle(Seen(back), 75.0))
    assert not go(election, 86.0), "it is heard of, and its link is not up yet"
    said = go(election, 90.0)[0]
    assert said.standby == NINE[2]


def test_a_hub_that_is_no_relay_gives_the_room_to_one_that_a_host_named(me: Me):
    """First as its standby, and once that is heard as the hub, however far away it is."""
    election = hub_of_nine(me)
    far = tuple(BidRow(dev, 400, 400, 0, 30) for dev in NINE[2:6])
    bids = [bid(me.dev, WILLING), bid(NINE[1], WILLING)]
    bids += [replace(bid(dev, 0), rows=(BidRow(NINE[1], 400, 400, 0, 0),)) for dev in NINE[2:6]]
    bids[0] = replace(bids[0], rows=far)
    view = replace(nine(me, *bids), relays=frozenset([NINE[1]]))
    said, *_ = claims(election.handle(Seen(view), 70.0))
    assert (said.hub, said.standby) == (me.dev, NINE[1])
    election.handle(ClaimHeard(signed(me, said), me.dev, 70.0), 70.0)
    assert not claims(tick(election, 79.0))
    (said,) = claims(tick(election, 86.0))[:1]
    assert (said.hub, said.standby) == (NINE[1], me.dev)


def test_a_relay_gives_the_room_to_nobody_who_is_only_nearer(me: Me):
    near = (BidRow(me.dev, 400, 400, 0, 30), BidRow(NINE[1], 5, 5, 0, 30))
    bids = [bid(me.dev, WILLING), bid(NINE[1], WILLING)]
    bids += [replace(bid(dev, 0), rows=near) for dev in NINE[2:7]]
    view = replace(nine(me, *bids), relays=frozenset([me.dev]))
    election = Election(me.dev, view, 0.0)
    election.handle(Seen(view), 0.0)
    (said,) = claims(tick(election, 10.0))[-1:]
    election.handle(ClaimHeard(signed(me, said), me.dev, 10.0), 10.0)
    assert (election.hub, election.standby) == (me.dev, NINE[1])
    assert not claims(tick(election, 400.0))


def test_a_second_relay_stands_by_in_the_place_of_a_member_however_near_that_is(me: Me):
    near = (BidRow(NINE[1], 5, 5, 0, 30), BidRow(NINE[2], 400, 400, 0, 0))
    bids = [bid(dev, WILLING) for dev in (me.dev, NINE[1])]
    bids += [replace(bid(dev, 0), rows=near) for dev in NINE[3:8]]
    view = replace(nine(me, *bids), relays=frozenset([me.dev, NINE[2]]))
    election = Election(me.dev, view, 0.0)
    election.handle(Seen(view), 0.0)
    (said,) = claims(tick(election, 10.0))[-1:]
    election.handle(ClaimHeard(signed(me, said), me.dev, 10.0), 10.0)
    assert (election.hub, election.standby) == (me.dev, NINE[1])
    view = replace(nine(me, *bids, bid(NINE[2], WILLING)), relays=view.relays)
    assert not claims(election.handle(Seen(view), 12.0))
    said, *_ = claims(tick(election, 30.0))
    assert (said.hub, said.standby) == (me.dev, NINE[2])
    election.handle(ClaimHeard(signed(me, said), me.dev, 30.0), 30.0)
    assert not claims(tick(election, 400.0)), "one that is as good as itself"


def test_a_former_hub_is_needed_until_all_but_hub_and_standby_have_released_it(me: Me):
    """These two take each voice from who speaks, and release nobody."""
    election = hub_of_nine(me, bid(NINE[1], WILLING), bid(NINE[2], WILLING))
    said = signed(me, MakeClaim(9, 200, NINE[1], NINE[2]))
    election.handle(ClaimHeard(said, NINE[1], 70.0), 70.0)
    for dev in NINE[3:]:
        assert election.former(70.1) == me.dev
        election.handle(ReleasedBy(dev), 70.1)
    assert election.former(70.1) is None


def test_a_relay_that_nobody_has_measured_claims_a_mesh_as_if_it_had_been(me: Me):
    """A host vouches for it; others would wait ten seconds for somebody who was measured."""
    for relays, is_at_once in ((frozenset([me.dev]), True), (frozenset[DeviceKey](), False)):
        view = replace(nine(me, bid(me.dev, WILLING)), relays=relays)
        election = Election(me.dev, view, 0.0)
        election.handle(Seen(view), 60.0)
        assert bool(go(election, 61.0)) is is_at_once


def test_a_relay_that_is_not_heard_just_now_is_given_nothing(me: Me):
    election = hub_of_nine(me)
    view = nine(me, bid(me.dev, WILLING), bid(NINE[1], WILLING))
    view = replace(view, relays=frozenset([NINE[1]]))
    (said,) = claims(election.handle(Seen(view), 70.0))
    assert said.standby == NINE[1]
    election.handle(ClaimHeard(signed(me, said), me.dev, 70.0), 70.0)
    tick(election, 79.7)
    election.handle(Seen(replace(view, heard=view.heard - {NINE[1]})), 79.8)
    assert not go(election, 80.5)
    (said,) = claims(election.handle(Seen(view), 80.6))
    assert said.hub == NINE[1]


def test_who_has_just_come_takes_nothing_over_in_its_first_three_seconds(me: Me):
    view = all_on_stage(me)
    election = Election(me.dev, view, 60.0)
    said = signed(me, MakeClaim(1, 200, NINE[1], NINE[2]))
    election.handle(ClaimHeard(said, NINE[1], 60.0), 60.1)
    election.handle(Seen(replace(view, heard=view.heard - {NINE[1], NINE[2]})), 60.2)
    assert not go(election, 63.0)
    assert claims(election.handle(None, election.deadline))


def test_a_relay_that_cannot_keep_up_is_owed_nothing_until_it_can_again(me: Me):
    """Else the room would go to and fro between it and the member who stands in."""
    election = hub_of_nine(me)
    strained = bid(NINE[1], WILLING | int(BidFlag.STRAINED))
    rows = [replace(bid(dev, 0), rows=(BidRow(NINE[1], 5, 5, 0, 90),)) for dev in NINE[2:7]]
    view = replace(nine(me, bid(me.dev, WILLING), strained, *rows), relays=frozenset([NINE[1]]))
    said, *_ = claims(election.handle(Seen(view), 70.0))
    assert said.standby == NINE[1], "nobody else is there to stand by"
    election.handle(ClaimHeard(signed(me, said), me.dev, 70.0), 70.0)
    assert not claims(tick(election, 100.0))
    fit = replace(view, bids={**view.bids, NINE[1]: bid(NINE[1], WILLING)})
    said, *_ = claims(election.handle(Seen(fit), 100.0))
    assert (said.hub, said.standby) == (NINE[1], me.dev)
