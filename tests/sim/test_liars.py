"""Members and strangers who lie: the room of the honest goes on as if nobody had spoken."""

import pytest

from p2phouse.room import messages
from tests.sim.liar import Liar, trouble_between
from tests.sim.test_mesh import meet
from tests.sim.world import GOOD_WIFI, SEEDS, World, agree, heard_by_all


@pytest.mark.parametrize("seed", SEEDS)
def test_a_liar_in_the_room_harms_nobody_but_itself(seed: int):
    world = World(seed, GOOD_WIFI)
    nodes = world.join("a", "b", "c", "d", "e")
    liar = Liar(world, nodes[world.rng.randrange(5)])
    meet(world, nodes)
    nodes.remove(liar.node)
    world.run_for(30)
    assert liar.lies > 900
    assert not trouble_between(nodes)
    world.crash(liar.node)
    world.run_until(lambda: heard_by_all(nodes) and agree(nodes))
    (newcomer,) = world.join("newcomer")
    newcomer.act(messages.Join(str(nodes[0].rooms.facts()["link"])))
    everybody = [*nodes, newcomer]
    world.run_until(lambda: heard_by_all(everybody) and agree(everybody))
