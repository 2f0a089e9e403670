"""The ninth person: a mesh has eight places, and who has one is heard by all."""

import pytest

from p2phouse.room import messages
from tests.sim.test_mesh import room_of
from tests.sim.world import SEEDS, World, agree, heard_by_all


def members(nodes):
    return [node for node in nodes if node.is_inside]


@pytest.mark.parametrize("seed", SEEDS)
def test_of_two_who_come_for_the_last_place_by_different_doors_one_or_none_gets_it(seed: int):
    world = World(seed)
    nodes = room_of(world, 7)
    late = world.join("x", "y")
    tickets = [
        node.act(messages.Join(str(door.rooms.facts()["link"])))
        for node, door in zip(late, world.rng.sample(nodes, 2), strict=True)
    ]
    world.run_for(20)
    assert len(members(late)) <= 1
    everybody = members([*nodes, *late])
    world.run_until(lambda: heard_by_all(everybody) and agree(everybody))
    for node, ticket in zip(late, tickets, strict=True):
        told = [str(node.answers[ticket].error), *(event.text for event in node.events)]
        assert node.is_inside or any("full" in text for text in told)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_place_that_becomes_free_can_be_taken(seed: int):
    world = World(seed)
    nodes = room_of(world, 8)
    (late,) = world.join("late")
    world.run_for(2)
    late.act(messages.Join("tea"))
    world.run_for(5)
    assert not late.is_inside
    nodes[3].act(messages.Leave())
    world.run_for(1)
    late.act(messages.Join("tea"))
    everybody = [*nodes[:3], *nodes[4:], late]
    world.run_until(lambda: heard_by_all(everybody) and agree(everybody))


@pytest.mark.parametrize("seed", SEEDS)
def test_ten_who_come_at_once_leave_a_whole_room_of_at_most_eight(seed: int):
    world = World(seed)
    nodes = world.join(*[f"node{number}" for number in range(10)])
    nodes[0].act(messages.Open("Tea"))
    world.run_for(2)
    for node in nodes[1:]:
        node.act(messages.Join("tea"))
    world.run_for(20)
    inside = members(nodes)
    assert 6 <= len(inside) <= 8
    assert heard_by_all(inside)
    assert agree(inside)
