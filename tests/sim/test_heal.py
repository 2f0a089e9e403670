"""A room that fell apart and is whole again: five seconds later all hold one state of it."""

import pytest

from p2phouse.identity.keys import key_tag
from p2phouse.record.types import Act, ChatKind
from p2phouse.room import messages
from tests.sim.test_authority import agree_on, decide, here
from tests.sim.test_chat import FEW, all_show_the_same, shown, write
from tests.sim.test_stage import ask, meet, queue
from tests.sim.world import GOOD_WIFI, LAN, WEAK_4G, Node, World

HEALED_S = 5.0  # from the moment at which the network is whole: also for finding one another


def soft_of(node: Node) -> dict[str, tuple[object, ...]]:
    """What the node holds of everybody's soft state, its own person's too."""
    membership = here(node)
    own = membership.own
    said = {
        member.name: (member.soft.muted, member.soft.on_stage, member.soft.hand)
        for member in membership.members.values()
    } | {node.name: (membership.muted, own.on_stage, own.hand)}
    return {
        name: (muted, on_stage, hand and (hand.topic, hand.ts))
        for name, (muted, on_stage, hand) in said.items()
    }


def softs_agree(nodes: list[Node]) -> bool:
    first = nodes[0]
    return all((soft_of(node), queue(node)) == (soft_of(first), queue(first)) for node in nodes)


@pytest.mark.parametrize("seed", FEW)
def test_five_seconds_after_a_heal_log_soft_state_and_chat_are_one(seed: int):
    world = World(seed, (LAN, GOOD_WIFI, WEAK_4G)[seed % 3])
    host, ben, cleo, dan, eve, fay = nodes = meet(world, 6, stage="invited")
    decide(host, Act.GRANT, cleo, "moderator")
    world.run_until(lambda: agree_on(nodes) and len(here(fay).log) == 2)
    world.split(nodes[:2], nodes[2:])
    world.run_for(30)
    for node in (ben, dan, fay):
        ask(node, messages.Hand(f"of {node.name}"))
        write(node, f"from {node.name}")
        world.run_for(1)
    write(cleo, "rules", ChatKind.PIN)
    decide(cleo, Act.ROLE, eve, "speaker")
    decide(cleo, Act.TITLE, None, "ours")
    ask(host, messages.Invite(key_tag(ben.me.uid)))
    ask(host, messages.SetMuted(muted=False))
    world.run_for(5)
    assert not agree_on(nodes)
    assert not all_show_the_same(nodes)
    world.heal()
    world.run_for(HEALED_S)
    assert agree_on(nodes)
    assert softs_agree(nodes)
    assert all_show_the_same(nodes)
    assert len(shown(host)) == 3
    assert not soft_of(eve)[host.name][0]
