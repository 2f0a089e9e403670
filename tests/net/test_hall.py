"""Cards on their way: gossip among neighbours, and the exchange on a new connection."""

import time

from p2phouse.net.cards import Judgement, Verdict
from p2phouse.net.events import CardHeard, PeerUp
from p2phouse.net.hall_exchange import CARDS_BYTES_MAX
from tests.net.conftest import everything_goes
from tests.net.test_doctor import card


async def test_a_published_card_reaches_the_neighbours(make_node):
    async with make_node(1) as ana, make_node(2) as ben:
        ana.network.dial(ben.dev, ben.network.addrs)
        await ben.next(PeerUp)
        await ana.in_mesh_with(ben)
        await ana.network.publish_card(b"a card")
        assert await ben.next(CardHeard) == CardHeard(b"a card", ana.dev)


async def test_a_card_travels_on_over_a_neighbour_between(make_node):
    async with make_node(1) as ana, make_node(2) as ben, make_node(3) as carla:
        ana.network.dial(ben.dev, ben.network.addrs)
        carla.network.dial(ben.dev, ben.network.addrs)
        await ana.in_mesh_with(ben)
        await carla.in_mesh_with(ben)
        await ana.network.publish_card(b"a card")
        assert await carla.next(CardHeard) == CardHeard(b"a card", ana.dev)


async def test_who_connects_later_hears_the_cards_of_before(make_node):
    early = make_node(1, cards=lambda: [b"own", b"heard"])
    late = make_node(2, cards=lambda: [b"bens"])
    async with early as ana, late as ben:
        ben.network.dial(ana.dev, ana.network.addrs)
        assert await ben.next(CardHeard) == CardHeard(b"own", ana.dev)
        assert await ben.next(CardHeard) == CardHeard(b"heard", ana.dev)
        assert await ana.next(CardHeard) == CardHeard(b"bens", ben.dev)


async def test_of_too_many_cards_the_first_fifty_are_told(make_node):
    cards = [bytes([number]) * 1_000 for number in range(60)]
    async with make_node(1, cards=lambda: cards) as ana, make_node(2) as ben:
        ben.network.dial(ana.dev, ana.network.addrs)
        told = CARDS_BYTES_MAX // 1_000
        for card in cards[:told]:
            assert await ben.next(CardHeard) == CardHeard(card, ana.dev)


async def test_a_card_with_a_provable_fault_goes_no_further(make_node):
    def judge(data, now):
        return Judgement(Verdict.FORGED) if data == b"forged" else everything_goes(data, now)

    async with make_node(1) as ana, make_node(2, judge=judge) as ben:
        ana.network.dial(ben.dev, ben.network.addrs)
        await ana.in_mesh_with(ben)
        await ana.network.publish_card(b"forged")
        await ana.network.publish_card(b"good")
        assert (await ben.next(CardHeard)).data == b"good"
        assert ben.network.counters["peer_error"] == 1


async def test_what_others_tell_shows_whether_the_clock_is_wrong_and_our_own_cards_do_not(
    make_node,
):
    async with make_node(1) as ana, make_node(2) as ben:
        ana.network.dial(ben.dev, ben.network.addrs)
        await ana.in_mesh_with(ben)
        ours = card(created=int(time.time()), dev=ana.dev)
        await ana.network.publish_card(ours)
        await ben.next(CardHeard, data=ours)
        assert await clock_s(ana) is None
        assert await clock_s(ben) == 0.0


async def test_our_own_card_of_before_a_restart_does_not_show_whether_the_clock_is_wrong(make_node):
    async with make_node(1) as ana:
        ours = card(created=int(time.time()), dev=ana.dev)
        async with make_node(2, cards=lambda: [ours]) as ben:
            ana.network.dial(ben.dev, ben.network.addrs)
            await ana.next(CardHeard, data=ours)
            assert await clock_s(ana) is None


async def clock_s(node):
    return (await node.network.examine(apart=lambda outside: [])).clock_s
