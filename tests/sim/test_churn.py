"""Rooms in which everything happens at once: people come, go and die, and the network fails."""

import random

import pytest

from p2phouse.room import messages
from tests.sim.test_mesh import room_of
from tests.sim.world import (
    GOOD_WIFI,
    HOTEL,
    LAN,
    SEEDS,
    WEAK_4G,
    Node,
    World,
    agree,
    heard_by_all,
)

WIRES = [LAN, GOOD_WIFI, WEAK_4G, HOTEL]


class Weather:
    """Something happens to somebody every few seconds."""

    def __init__(self, world: World, nodes: list[Node]) -> None:
        self.world = world
        self.nodes = nodes
        self.rng = random.Random(world.rng.random())
        self.split = False

    def blow(self, seconds: float) -> None:
        end = self.world.time + seconds
        while self.world.time < end:
            self.world.run_for(self.rng.expovariate(1 / 2.0))
            self.befall(self.rng.choice(self.nodes))
        self.clear()

    def befall(self, node: Node) -> None:
        world = self.world
        inside = [other for other in self.nodes if other.is_inside]
        what = self.rng.randrange(11)
        if what == 0 and node.alive and len(inside) > 2:
            world.crash(node)
        elif what == 1 and node.alive and len(inside) > 2:
            world.cut_power(node)
        elif what == 2 and not node.alive:
            world.restart(node)
        elif what == 3 and node.is_inside and len(inside) > 2:
            node.act(messages.Leave())
        elif what in (4, 5):
            self.join(node)
        elif what == 6:
            world.crash_media(node)
        elif what == 7 and node.alive:
            world.rebuild_host(node)
        elif what == 8 and not self.split:
            self.split = True
            cut = self.rng.randrange(1, len(self.nodes))
            shuffled = self.rng.sample(self.nodes, len(self.nodes))
            world.split(shuffled[:cut], shuffled[cut:])
        elif what == 9 and self.rng.random() < 0.5:
            self.split = False
            world.heal()
        elif what == 10:
            world.cut(*self.rng.sample(self.nodes, 2))
        if node.is_inside:
            self.talk(node)

    def talk(self, node: Node) -> None:
        actions: list[messages.VerbAction] = [
            messages.Say("file:x.wav"),
            messages.StopSaying(),
            messages.SetMuted(muted=True),
            messages.SetMuted(muted=False),
        ]
        node.act(self.rng.choice(actions))

    def join(self, node: Node) -> None:
        """By the card, or by the link of somebody inside."""
        if not node.alive or node.rooms.membership is not None:
            return
        hosts = [other for other in self.nodes if other.is_inside]
        text = str(self.rng.choice(hosts).rooms.facts()["link"]) if hosts else "tea"
        node.act(messages.Join(self.rng.choice([text, "tea"])))

    def clear(self) -> None:
        self.world.heal()
        for node in self.nodes:
            if not node.alive:
                self.world.restart(node)


def link_of(node: Node) -> str:
    return str(node.rooms.facts()["link"])


@pytest.mark.parametrize("seed", SEEDS)
def test_after_two_minutes_of_everything_the_members_hear_one_another(seed: int):
    world = World(seed, WIRES[seed % len(WIRES)])
    nodes = room_of(world, 7)
    Weather(world, nodes).blow(120)
    world.run_until(lambda: heard_by_all(members(nodes)) and agree(members(nodes)), within_s=120)
    world.run_for(60)
    assert heard_by_all(members(nodes))
    assert agree(members(nodes))


def members(nodes: list[Node]) -> list[Node]:
    return [node for node in nodes if node.is_inside]
