"""Rooms whose voices are secret: who is let in holds the key, who is put out does not."""

import pytest

from p2phouse.identity.keys import key_tag
from p2phouse.record.types import Access, Act
from p2phouse.room.messages import Decide
from tests.sim.test_authority import here
from tests.sim.test_mesh import room_of
from tests.sim.world import SEEDS, Node, World, heard_by_all


def decide(node: Node, act: Act, who: Node | None = None, value: str | int | None = None):
    ticket = node.act(Decide(act, key_tag(who.me.uid) if who else "", value))
    assert node.answers[ticket].error is None


def close(world: World, nodes: list[Node]) -> None:
    """The first has opened the room; it admits those here and closes it to all others."""
    host, *others = nodes
    for node in others:
        decide(host, Act.ROLE, node, "speaker")
    decide(host, Act.ACCESS, None, int(Access.CLOSED))
    world.run_until(lambda: heard_by_all(nodes) and all(sealed(node) for node in nodes))


def sealed_room(world: World, count: int) -> list[Node]:
    nodes = room_of(world, count)
    close(world, nodes)
    return nodes


def sealed(node: Node) -> bool:
    voice = node.media.voice
    return voice is not None and voice.sealed


def holds(node: Node, other: Node) -> bool:
    """Whether a node could open what the other sends now, had it every packet of it."""
    live = here(other).live
    assert live is not None
    known = here(node).custody.epochs
    secrets = {each.secret for each in known._known.values()} if known else set()
    return live.secret in secrets


@pytest.mark.parametrize("seed", SEEDS)
def test_in_a_closed_room_all_who_were_admitted_hear_one_another(seed):
    world = World(seed)
    nodes = sealed_room(world, 4)
    assert len({here(node).live for node in nodes}) == 1
    world.run_for(130)
    assert heard_by_all(nodes)
