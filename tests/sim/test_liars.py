"""Members and strangers who lie: the room of the honest goes on as if nobody had spoken."""

import pytest

from p2phouse.hall.card import make_card, make_genesis
from p2phouse.identity.keys import make_identity
from p2phouse.record import limits
from p2phouse.record.types import Access
from p2phouse.room import messages
from tests.sim.liar import Liar, trouble_between
from tests.sim.test_mesh import meet
from tests.sim.world import LAN, SEEDS, Node, World, agree, heard_by_all


@pytest.mark.parametrize("seed", SEEDS)
def test_a_liar_in_the_room_harms_nobody_but_itself(seed: int):
    world = World(seed, LAN)
    nodes = world.join("a", "b", "c", "d", "e")
    liar = Liar(world, nodes[world.rng.randrange(5)])
    meet(world, nodes)
    liar.begin()
    nodes.remove(liar.node)
    world.run_for(30)
    assert liar.lies > 900
    assert not trouble_between(nodes)
    world.crash(liar.node)
    # A close of ours may have met the next link of the liar, and its end is heard of by nobody.
    world.run_until(lambda: heard_by_all(nodes) and agree(nodes), within_s=240)
    (newcomer,) = world.join("newcomer")
    newcomer.act(messages.Join(str(nodes[0].rooms.facts()["link"])))
    everybody = [*nodes, newcomer]
    world.run_until(lambda: heard_by_all(everybody) and agree(everybody))


def test_a_flood_of_cards_hides_no_room_that_was_known_and_passes():
    world = World(1)
    ana, ben, eve = world.join("ana", "ben", "eve")
    eve.is_honest = False
    ana.act(messages.Open("Tea"))
    world.run_until(lambda: bool(ben.rooms.directory.live(ben.now)))
    flood(world, eve)
    world.run_for(1)
    assert len(ben.rooms.directory.live(ben.now)) == limits.ROOMS_CACHED_MAX
    ben.act(messages.Open("Coffee"))
    world.run_for(300)
    titles = {card.genesis.record.title for card in ben.rooms.directory.live(ben.now)}
    assert {"Tea", "Coffee"} <= titles, "a refresh of what is known, and our own, always count"
    assert ben.rooms.live_cards(ben.now)[0] == own_card(ben)
    world.run_for(600)
    assert len(ben.rooms.directory.live(ben.now)) == 2
    assert len(ana.rooms.directory.live(ana.now)) == 2, "a room that found no place comes in later"


def flood(world: World, eve: Node) -> None:
    """Ten rooms of each key, as many keys as it takes, and one key with far more."""
    now = eve.now
    for number in range(limits.ROOMS_CACHED_MAX // 10 + 10):
        me = make_identity(now=now, entropy=world.rng.randbytes)
        for _ in range(10 if number else 100):
            genesis = make_genesis(
                me, title="Buy", access=Access.OPEN, now=now, entropy=world.rng.randbytes
            )
            card = make_card(
                me, genesis, seq=1, speakers=1, listeners=0, addrs=(), ttl_s=600, now=now
            )
            world.gossip(eve, card.data)


def own_card(node: Node) -> bytes:
    return next(
        card.card.data for card in node.rooms.directory.live(node.now) if card.publisher == node.dev
    )
