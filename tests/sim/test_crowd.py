"""More people than a mesh holds: who is there, and who has links with whom."""

from collections.abc import Callable
from typing import Final

import pytest

from p2phouse.record import limits
from p2phouse.room import messages
from p2phouse.room.messages import EventKind
from tests.sim.test_churn import Weather
from tests.sim.world import GOOD_WIFI, LAN, SEEDS, WEAK_4G, Node, Wire, World, agree

FEW: Final = SEEDS[::10]
WIRES = [LAN, GOOD_WIFI, WEAK_4G]


def crowd(count: int, seed: int, wire: Wire = LAN) -> tuple[World, list[Node]]:
    """So many people who all come at once into a room that the first two carry."""
    world = World(seed, wire)
    nodes = world.join(*[f"node{number}" for number in range(count)])
    world.carriers = tuple(nodes[:2])
    nodes[0].act(messages.Open("Tea"))
    world.run_until(lambda: all(node.rooms.directory.live(node.now) for node in nodes))
    for node in nodes[1:]:
        node.act(messages.Join("tea"))
    until(world, lambda: knows_all(nodes) and is_star(nodes))
    return world, nodes


def knows_all(nodes: list[Node]) -> bool:
    """Whether everybody sees how many there are; of up to sixteen who they are, for all of them
    stand on the stage."""
    if len(nodes) <= limits.SPEAKERS_MAX:
        return agree(nodes)
    return all(node.rooms.facts()["people"] == len(nodes) for node in nodes)


def until(world: World, reached: Callable[[], bool], within_s: float = 120.0) -> None:
    """Looks each half second: to look at so many nodes costs more than what happens."""
    end = world.time + within_s
    while world.time < end and not reached():
        world.run_for(0.5)
    assert reached(), f"not reached within {within_s} s; {world}"


def is_star(nodes: list[Node]) -> bool:
    """Each has media links to hub and standby, and to nobody else."""
    hub, standby, *others = nodes
    carriers = [each.media for each in (hub, standby)]
    is_up = all(each.media.way_to(carrier) for each in others for carrier in carriers)
    return (
        is_up
        and hub.media.way_to(standby.media) is not None
        and all(len(each.media.links) == 2 for each in others)
    )


@pytest.mark.parametrize("seed", FEW)
def test_twelve_who_come_at_once_are_all_there_and_linked_with_hub_and_standby(seed: int):
    world, nodes = crowd(12, seed, WIRES[seed % len(WIRES)])
    world.run_for(30)
    assert agree(nodes)
    assert is_star(nodes)
    assert all(node.rooms.facts()["people"] == 12 for node in nodes)


@pytest.mark.nightly
def test_thirty_who_come_at_once_are_all_there_and_sixteen_of_them_on_the_stage():
    world, nodes = crowd(30, 1)
    stages = [node.rooms.facts()["on_stage"] for node in nodes]
    world.run_for(10)
    stages = [node.rooms.facts()["on_stage"] for node in nodes]
    assert stages == [16] * 30
    trouble = {EventKind.MEMBER_LOST, EventKind.LINK_FAILED, EventKind.MEMBER_LEFT}
    assert not any(trouble & {event.kind for event in node.events} for node in nodes)


@pytest.mark.parametrize("seed", FEW)
def test_who_dies_in_a_crowd_is_missed_by_all_within_a_second(seed: int):
    """By those who have no media link to it as well: the hub tells them."""
    world, nodes = crowd(10, seed)
    world.crash(nodes[5])
    world.run_for(1)
    assert agree([*nodes[:5], *nodes[6:]])
    world.restart(nodes[5])
    until(world, lambda: agree(nodes) and is_star(nodes))


@pytest.mark.parametrize("seed", FEW)
def test_a_rebuilt_host_in_a_crowd_is_not_heard_of_by_anybody(seed: int):
    world, nodes = crowd(10, seed)
    world.rebuild_host(nodes[5])
    world.run_for(20)
    assert agree(nodes)
    trouble = {EventKind.MEMBER_LOST, EventKind.LINK_FAILED, EventKind.MEMBER_LEFT}
    assert not any(trouble & {event.kind for event in node.events} for node in nodes)


@pytest.mark.parametrize("seed", FEW)
def test_a_crowd_that_shrinks_to_eight_is_a_mesh_again(seed: int):
    world, nodes = crowd(10, seed)
    for node in nodes[8:]:
        node.act(messages.Leave())
    rest = nodes[:8]
    until(world, lambda: all(a.media.way_to(b.media) for a in rest for b in rest if a is not b))
    assert agree(rest)


@pytest.mark.nightly
@pytest.mark.parametrize("seed", FEW)
def test_after_a_minute_of_everything_a_crowd_is_whole(seed: int):
    world, nodes = crowd(12, seed, WIRES[seed % len(WIRES)])
    Weather(world, nodes[2:]).blow(60)

    def is_whole() -> bool:
        inside = [node for node in nodes if node.is_inside]
        return agree(inside) and (len(inside) <= 8 or is_star(inside))

    until(world, is_whole)
    world.run_for(30)
    assert is_whole()
