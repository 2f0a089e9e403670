"""A stage and its listeners: who has room links with whom, and what those hear who have two."""

from typing import Any, Final

import pytest

from p2phouse.record.types import Access, Act, ChatKind
from p2phouse.room import messages
from p2phouse.room.messages import EventKind
from tests.sim.test_crowd import until
from tests.sim.world import LAN, SEEDS, Node, Wire, World

FEW: Final = SEEDS[::20]  # each a world of fifteen; the night tries more


def house(
    listeners: int, seed: int, *, speakers: int = 6, wire: Wire = LAN
) -> tuple[World, list[Node], list[Node]]:
    """A stage, whose first two carry the room, and people who only listen. The first is the host
    and everybody else comes by somebody's link."""
    world = World(seed, wire)
    stage = world.join(*[f"speaker{number}" for number in range(speakers)])
    world.carriers = tuple(stage[:2])
    stage[0].act(messages.Open("Tea", stage="invited"))
    link = str(stage[0].rooms.facts()["link"])
    for node in stage[1:]:
        node.act(messages.Join(link))
    until(world, lambda: all(node.is_inside for node in stage))
    for node in stage[1:]:
        stage[0].act(messages.Invite(str(node.name)))
        world.run_for(0.3)
        node.act(messages.Accept())
    until(world, lambda: all(node.rooms.facts()["on_stage"] == speakers for node in stage))
    audience = world.join(*[f"listener{number}" for number in range(listeners)])
    doors = [*stage, *audience]
    for number, node in enumerate(audience):
        door = doors[world.rng.randrange(speakers + number // 2)]
        node.act(messages.Join(str(door.rooms.facts()["link"])))
        world.run_for(0.1)
    world.run_for(15)
    return world, stage, audience


def links(node: Node) -> set[str]:
    membership = node.rooms.membership
    assert membership is not None
    return {membership.members[dev].name for dev in membership.links if membership.is_up(dev)}


def on_stage(node: Node) -> object:
    return node.rooms.facts()["on_stage"]


def is_settled(stage: list[Node], audience: list[Node]) -> bool:
    """Listeners are linked with hub and standby alone, the stage with all of the stage."""
    everybody = len(stage) + len(audience)
    carriers = {node.name for node in stage[:2]}
    names = {node.name for node in stage}
    return (
        all(node.is_inside for node in [*stage, *audience])
        and all(links(node) == carriers for node in audience)
        and all(names - {node.name} <= links(node) for node in stage)
        and all(links(node) <= names for node in stage[2:])
        and all(node.rooms.facts()["people"] == everybody for node in [*stage, *audience])
        and all(on_stage(node) == len(stage) for node in audience)
    )


def told(node: Node, kind: EventKind, by: Node) -> bool:
    return any(event.kind is kind and event.dev == by.dev for event in node.events)


@pytest.mark.nightly
def test_forty_people_a_stage_of_six_and_everybody_knows_what_matters():
    world, stage, audience = house(34, 1)
    until(world, lambda: is_settled(stage, audience))
    everybody = [*stage, *audience]
    for node in everybody:
        node.events.clear()
    quiet = audience[7]
    quiet.act(messages.Hand("about cats"))
    audience[8].act(messages.Write(ChatKind.TEXT, "good evening"))
    audience[9].act(messages.React("👏"))
    stage[3].act(messages.SetMuted(muted=False))
    world.run_for(3)
    for node in everybody:
        if node is not quiet:
            assert told(node, EventKind.HAND_RAISED, quiet), node.name
        chats: Any = node.rooms.chat()["messages"]
        assert [each["text"] for each in chats] == ["good evening"]
        assert node is stage[3] or told(node, EventKind.MEMBER_UNMUTED, stage[3])
        assert node is audience[9] or told(node, EventKind.REACTION, audience[9])


@pytest.mark.parametrize("seed", FEW)
def test_who_is_invited_comes_to_the_stage_and_is_linked_with_all_of_it(seed: int):
    world, stage, audience = house(9, seed)
    until(world, lambda: is_settled(stage, audience))
    riser, rest = audience[4], [*audience[:4], *audience[5:]]
    riser.act(messages.Hand())
    world.run_for(3)
    stage[0].act(messages.Invite(riser.name))
    until(world, lambda: is_settled([*stage, riser], rest), within_s=20)
    assert all(riser.name in node.company for node in [*stage, *rest])
    riser.act(messages.StepDown())
    until(world, lambda: is_settled(stage, audience), within_s=30)


@pytest.mark.parametrize("seed", FEW)
def test_who_has_not_said_a_word_is_listed_invited_and_put_out_by_name(seed: int):
    world, stage, audience = house(9, seed)
    until(world, lambda: is_settled(stage, audience))
    riser, gone, *rest = audience
    host = stage[2]  # the host himself carries the room, and is linked with all
    stage[0].act(messages.Decide(Act.GRANT, host.name, "moderator"))
    world.run_for(1)
    assert not {riser.name, gone.name} & set(host.company)
    listed = host.act(messages.Listeners())
    world.run_for(1)
    facts: Any = host.answers[listed].facts
    assert {each["name"] for each in facts["listeners"]} == {node.name for node in audience}
    host.act(messages.Invite(riser.name))
    host.act(messages.Decide(Act.ROLE, gone.name, "ban"))
    world.run_for(3)
    riser.act(messages.Accept())
    assert not gone.is_inside
    until(world, lambda: is_settled([*stage, riser], rest), within_s=30)


@pytest.mark.nightly
@pytest.mark.parametrize("seed", FEW)
def test_what_is_decided_reaches_listeners_and_who_is_put_out_is_gone(seed: int):
    world, stage, audience = house(9, seed)
    until(world, lambda: is_settled(stage, audience))
    gone, rest = audience[2], [*audience[:2], *audience[3:]]
    gone.act(messages.Hand())
    world.run_for(3)
    stage[0].act(messages.Decide(Act.ROLE, gone.name, "ban"))
    world.run_for(6)
    assert not gone.is_inside
    everybody = [*stage, *rest]
    digests = {node.rooms.membership.log.digest for node in everybody}  # type: ignore[union-attr]
    assert len(digests) == 1
    assert all(gone.name not in node.company for node in everybody)
    until(world, lambda: is_settled(stage, rest))


@pytest.mark.nightly
@pytest.mark.parametrize("seed", FEW)
def test_the_hub_dies_and_listeners_go_on_with_the_next(seed: int):
    world, stage, audience = house(9, seed)
    until(world, lambda: is_settled(stage, audience))
    world.carriers = tuple(stage[:3])
    world.crash(stage[0])
    rest = [stage[1], stage[2], *stage[3:]]
    until(world, lambda: is_settled(rest, audience), within_s=30)
    audience[0].act(messages.Hand())
    world.run_for(3)
    assert all(told(node, EventKind.HAND_RAISED, audience[0]) for node in [*rest, *audience[1:]])


@pytest.mark.parametrize("seed", FEW)
def test_hub_and_standby_die_together_and_listeners_find_the_stage(seed: int):
    world, stage, audience = house(9, seed)
    until(world, lambda: is_settled(stage, audience))
    for node in stage[:2]:
        world.crash(node)
    world.carriers = tuple(stage[2:4])
    until(world, lambda: is_settled(stage[2:], audience), within_s=60)


@pytest.mark.nightly
def test_a_standby_that_leaves_takes_nobody_with_it():
    world, stage, audience = house(9, 3)
    until(world, lambda: is_settled(stage, audience))
    world.carriers = (stage[0], stage[2])
    stage[1].act(messages.Leave())
    rest = [stage[0], *stage[2:]]
    until(world, lambda: is_settled(rest, audience), within_s=30)


@pytest.mark.nightly
def test_fifty_on_stage_or_seated_and_three_hundred_listeners():
    world, stage, audience = house(300, 1, speakers=16)
    until(world, lambda: is_settled(stage, audience))
    audience[100].act(messages.Hand("from the last row"))
    world.run_for(5)
    heard = [told(node, EventKind.HAND_RAISED, audience[100]) for node in [*stage, *audience]]
    assert sum(heard) == len(heard)  # one's own hand is told to oneself


@pytest.mark.nightly
@pytest.mark.parametrize("seed", FEW)
def test_in_a_closed_room_listeners_are_given_the_key_and_a_new_one_without_who_is_put_out(
    seed: int,
):
    world = World(seed)
    stage = world.join(*[f"speaker{number}" for number in range(4)])
    world.carriers = tuple(stage[1:3])
    stage[0].act(messages.Open("Tea", Access.CLOSED, stage="invited"))
    ticket = stage[0].act(messages.MakeInvite(hours=1, once=False))
    world.run_for(1)
    link = str(stage[0].answers[ticket].facts["link"])
    audience = world.join(*[f"listener{number}" for number in range(8)])
    for node in [*stage[1:], *audience]:
        node.act(messages.Join(link))
        world.run_for(1)
    until(world, lambda: all(node.is_inside for node in [*stage, *audience]))
    for node in stage[1:]:
        stage[0].act(messages.Invite(node.name))
        world.run_for(1)
        node.act(messages.Accept())
    world.run_for(20)

    def is_keyed(nodes: list[Node]) -> bool:
        lives = {node.rooms.membership.live for node in nodes}  # type: ignore[union-attr]
        return len(lives) == 1 and None not in lives

    until(world, lambda: is_keyed([*stage, *audience]))
    assert all(links(node) == {stage[1].name, stage[2].name} for node in audience)
    before = stage[0].rooms.membership.live  # type: ignore[union-attr]
    gone, rest = audience[3], [*audience[:3], *audience[4:]]
    gone.act(messages.Hand())
    world.run_for(3)
    stage[0].act(messages.Decide(Act.ROLE, gone.name, "ban"))
    world.run_for(5)
    assert is_keyed([*stage, *rest])
    assert stage[0].rooms.membership.live != before  # type: ignore[union-attr]
    assert not gone.is_inside


@pytest.mark.nightly
def test_an_elected_hub_feeds_listeners_and_so_does_the_next():
    world = World(2)
    stage = world.join(*[f"speaker{number}" for number in range(5)])
    audience = world.join(*[f"listener{number}" for number in range(12)])
    for node in [*stage, *audience]:
        node.offer()
    stage[0].act(messages.Open("Tea", stage="invited"))
    link = str(stage[0].rooms.facts()["link"])
    for node in [*stage[1:], *audience]:
        node.act(messages.Join(link))
        world.run_for(1.0)
    for node in stage[1:]:
        node.act(messages.Hand())  # of who listens and says nothing the host knows nothing
        world.run_for(3)
        stage[0].act(messages.Invite(node.name))
        world.run_for(3)
    everybody = [*stage, *audience]

    def is_heard(nodes: list[Node]) -> bool:
        speakers = [node for node in stage if node in nodes]
        people = {node.rooms.facts()["people"] for node in nodes}
        return people == {len(nodes)} and all(
            a.hears(b) for a in nodes for b in speakers if a is not b
        )

    until(world, lambda: is_heard(everybody))
    hub = next(node for node in everybody if node.dev == stage[0].rooms.membership.hub)  # type: ignore[union-attr]
    world.crash(hub)
    rest = [node for node in everybody if node is not hub]
    until(world, lambda: is_heard(rest), within_s=30)
