"""Clocks that are wrong, and clocks that step: not every machine has internet or a battery."""

import pytest

from p2phouse.record import limits
from p2phouse.room import messages
from p2phouse.room.messages import EventKind
from tests.sim.test_mesh import room_of
from tests.sim.world import SEEDS, Node, World, agree, heard_by_all, kinds

HOUR_S = 3_600.0


def link_of(node: Node) -> str:
    return str(node.rooms.facts()["link"])


@pytest.mark.parametrize("seed", SEEDS)
def test_clocks_an_hour_apart_hide_cards_but_a_link_leads_in_and_all_are_heard(seed: int):
    world = World(seed)
    nodes = [
        *world.join("late", skew_s=0.0),
        *world.join("b", "c", "d", skew_s=HOUR_S),
    ]
    nodes[0].act(messages.Open("Tea"))
    world.run_for(2)
    tickets = {node: node.act(messages.Join(link_of(nodes[0]))) for node in nodes[1:]}
    world.run_until(lambda: heard_by_all(nodes))
    assert agree(nodes)
    assert all(node.answers[ticket].error is None for node, ticket in tickets.items())


def test_a_card_from_an_hour_ahead_or_behind_is_not_listed_and_its_teller_not_blamed():
    world = World(1)
    (ana,) = world.join("ana")
    (ben,) = world.join("ben")
    ben.skew_s = HOUR_S
    (carla,) = world.join("carla")
    carla.skew_s = -HOUR_S
    ana.act(messages.Open("Tea"))
    world.run_for(2)
    assert not ben.rooms.directory.live(ben.now)
    assert not carla.rooms.directory.live(carla.now)


@pytest.mark.parametrize("step_s", [HOUR_S, -HOUR_S])
@pytest.mark.parametrize("seed", SEEDS)
def test_a_clock_that_steps_by_an_hour_interrupts_nobody(seed: int, step_s: float):
    world = World(seed)
    nodes = room_of(world, 4)
    nodes[0].skew_s += step_s
    nodes[2].skew_s -= step_s
    world.run_for(20)
    assert heard_by_all(nodes)
    assert not any(EventKind.MEMBER_LOST in kinds(node) for node in nodes)
    assert not any(EventKind.MEMBER_SILENT in kinds(node) for node in nodes)


def test_a_host_whose_clock_steps_back_is_listed_again_as_soon_as_it_may():
    world = World(3)
    ana, ben = world.join("ana", "ben")
    ana.act(messages.Open("Tea"))
    world.run_until(lambda: bool(ben.rooms.directory.live(ben.now)))
    world.crash(ana)
    ana.skew_s -= 60.0  # a minute: its new process counts seq from an earlier time
    world.restart(ana)
    world.run_for(610)
    assert ben.rooms.directory.live(ben.now)


@pytest.mark.parametrize("seed", SEEDS)
def test_twelve_hours_end_the_room_for_all_and_every_verb_is_answered(seed: int):
    world = World(seed)
    nodes = room_of(world, 3)
    said = nodes[1].act(messages.Say("tone"))
    for node in nodes:
        node.skew_s += limits.ROOM_LIFE_S_MAX - 30.0
    world.run_for(60)
    assert all(node.rooms.membership is None for node in nodes)
    assert all(kinds(node).count(EventKind.LEFT) == 1 for node in nodes)
    assert nodes[1].answers[said].error is not None


def test_a_laptop_that_slept_for_days_in_its_own_room_wakes_outside_of_it():
    world = World(4)
    ana, ben = world.join("ana", "ben")
    ana.act(messages.Open("Tea"))
    world.run_until(lambda: bool(ben.rooms.directory.live(ben.now)))
    ana.skew_s += 3 * 86_400.0
    world.run_for(300)
    assert ana.rooms.membership is None
    assert not ana.rooms.directory.live(ana.now)
