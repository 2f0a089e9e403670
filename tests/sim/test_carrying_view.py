"""What each is told of a room that one of them carries: who, why, and at what cost."""

from collections.abc import Callable

import pytest

from p2phouse.room import messages
from p2phouse.room.carrying_view import link_fact
from p2phouse.room.messages import EventKind
from tests.sim.test_hub import carried, crowd, hubs, is_hub_room, until
from tests.sim.world import LAN, Node, heard_by_all


def texts(node: Node) -> list[str]:
    return [event.text for event in node.events if event.kind is EventKind.CARRIED_BY]


def fact(name: str) -> Callable[[Node], object]:
    return lambda node: node.rooms.facts()[name]


def test_everybody_names_the_same_hub_and_reason_and_the_hub_its_cost() -> None:
    world, nodes, hub, standby = carried(seed=1)
    world.run_for(2)
    for node in nodes:
        facts = node.rooms.facts()
        assert (facts["shape"], facts["shape_why"], facts["needs_relay"]) == (
            "hub",
            "people",
            False,
        )
        assert facts["hub"] == {**facts["hub"], "name": hub.name, "me": node is hub}  # type: ignore[dict-item]
        assert facts["standby"]["name"] == standby.name  # type: ignore[index]
        who = "you" if node is hub else hub.name
        assert facts["carried_text"] == f"now carried by {who}: nearest to most of the room"
        assert texts(node)[-1] == facts["carried_text"]
        assert (facts["carrying"] is not None) == (node is hub)
    assert hub.rooms.facts()["carrying"]["people"] == 8  # type: ignore[index]


def links(node: Node) -> dict[str, str]:
    """How each other member is linked with this one, by name."""
    membership = node.rooms.membership
    assert membership is not None
    return {each.name: link_fact(membership, each) for each in membership.members.values()}


def test_who_has_no_link_to_us_is_carried_for_as_long_as_somebody_brings_it() -> None:
    world, nodes, hub, standby = carried(seed=6)
    until(world, lambda: len(links(nodes[0])) == 8)
    node = next(each for each in nodes if each not in (hub, standby))
    found = links(node)
    assert (found.pop(hub.name), found.pop(standby.name)) == ("connected", "connected")
    assert set(found.values()) == {"carried"}
    assert set(links(hub).values()) == {"connected"}
    for carrier in (hub, standby):
        world.cut(node, carrier)
    until(world, lambda: "carried" not in links(node).values(), within_s=3.0)


@pytest.mark.nightly
def test_a_standby_that_takes_over_is_told_with_that_reason_by_all() -> None:
    world, nodes, hub, standby = carried(seed=2)
    world.crash(hub)
    rest = [node for node in nodes if node is not hub]
    until(world, lambda: is_hub_room(rest), within_s=4.0)
    assert {fact("carried_why")(node) for node in rest} == {"took_over"}
    for node in rest:
        assert standby.name in texts(node)[-1] or node is standby
        assert texts(node)[-1].endswith("the one who carried it before stopped")


def test_the_only_one_who_lets_itself_be_used_is_named_so() -> None:
    world, nodes = crowd(6, 3, LAN)
    for node in nodes[1:]:
        node.offer(willing=False)
    world.cut(nodes[2], nodes[3])
    until(world, lambda: hubs(nodes) == {nodes[0].name}, within_s=60.0)
    assert {fact("carried_why")(node) for node in nodes} == {"only_one"}
    assert {fact("shape_why")(node) for node in nodes} == {"pair"}


def test_a_pair_that_cannot_meet_and_that_nobody_would_carry_needs_a_relay() -> None:
    world, nodes = crowd(3, 4, LAN)
    for node in nodes:
        node.offer(willing=False)
    world.cut(nodes[1], nodes[2])
    until(world, lambda: all(map(fact("needs_relay"), nodes)), within_s=60.0)
    for node in nodes:
        assert [event.kind for event in node.events].count(EventKind.NEEDS_RELAY) == 1
        assert fact("shape_why")(node) == "pair"
    nodes[0].offer()
    until(world, lambda: not any(map(fact("needs_relay"), nodes)), within_s=60.0)


@pytest.mark.nightly
def test_a_room_that_shrinks_says_that_it_is_direct_again() -> None:
    world, nodes, hub, standby = carried(seed=5)
    left = [node for node in nodes if node not in (hub, standby)][:5]
    for node in left:
        node.act(messages.Leave())
    rest = [node for node in nodes if node not in left]
    until(world, lambda: hubs(rest) == {""}, within_s=90.0)
    for node in rest:
        facts = node.rooms.facts()
        assert (facts["shape"], facts["hub"], facts["carried_text"]) == ("mesh", None, "")
        assert facts["carrying"] is None
        assert texts(node)[-1] == ""


def test_who_says_never_while_carrying_hands_over_and_nobody_misses_a_word() -> None:
    world, nodes, hub, standby = carried(seed=7)
    hub.offer(willing=False)
    end = world.time + 15.0
    while hubs(nodes) != {standby.name} and world.time < end:
        world.run_for(0.1)
        assert heard_by_all(nodes)
    assert hubs(nodes) == {standby.name}
    assert {fact("carried_why")(node) for node in nodes} == {"took_over"}
    assert hub.rooms.facts()["carrying"] is None


def test_who_says_never_carries_no_more_though_nobody_else_can() -> None:
    world, nodes = crowd(4, 8, LAN)
    for node in nodes[1:]:
        node.offer(willing=False)
    world.cut(nodes[2], nodes[3])
    until(world, lambda: hubs(nodes) == {nodes[0].name}, within_s=60.0)
    nodes[0].offer(willing=False)
    until(world, lambda: hubs(nodes) == {""}, within_s=20.0)
    until(world, lambda: all(map(fact("needs_relay"), nodes)), within_s=20.0)
    world.run_for(30)
    assert hubs(nodes) == {""}
