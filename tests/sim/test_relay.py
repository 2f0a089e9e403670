"""A relay among people: it carries the room that a host gave it, and is nobody in it."""

from functools import partial
from typing import Final

import pytest

from p2phouse.record.types import Access, Act, ChatKind
from p2phouse.room import messages
from p2phouse.room.messages import Write
from tests.sim.election_world import ElectionWorld
from tests.sim.test_election import AGREED_S, hub_and_standby
from tests.sim.test_hub import by_name, hubs, missed, talking, until
from tests.sim.test_sealed import knock, let_in
from tests.sim.world import GOOD_WIFI, LAN, SEEDS, Node, World, heard_by_all

FEW: Final = SEEDS[::5]
WIRES: Final = [LAN, GOOD_WIFI]


def room_with_relay(
    seed: int, count: int, access: Access = Access.OPEN, stage: str = "everyone"
) -> tuple[World, list[Node]]:
    """So many people and, last of the nodes, a relay that the first has named."""
    world = World(seed, WIRES[seed % len(WIRES)])
    people = world.join(*[f"node{number}" for number in range(count)])
    (relay,) = world.join("relay", serve=True)
    for node in [*people, relay]:
        node.offer(cap=100 if node is relay else 30)
    host = people[0]
    host.act(messages.Open("Tea", access, stage))
    name(host, relay)
    world.run_until(lambda: relay.is_inside)
    for node in people[1:]:
        if access is Access.CLOSED:
            knock(node, host)
            let_in(world, host, [node])
        else:
            node.act(messages.Join(str(host.rooms.facts()["link"])))
            world.run_until(lambda node=node: node.is_inside)  # type: ignore[misc]
    speakers = people if stage == "everyone" else [host]

    def is_heard() -> bool:
        return all(node.hears(each) for node in people for each in speakers if each is not node)

    until(world, lambda: hubs([*people, relay]) == {"relay"} and is_heard())
    return world, [*people, relay]


def name(host: Node, relay: Node) -> None:
    assert host.answers[host.act(messages.NameRelay(relay.me.uid))].error is None
    relay.act(messages.Join(str(host.rooms.facts()["link"])))


@pytest.mark.parametrize("seed", FEW)
def test_a_relay_that_a_host_named_carries_a_room_of_three(seed: int) -> None:
    world, nodes = room_with_relay(seed, 3)
    *people, relay = nodes
    world.run_for(30.0)
    assert hubs(nodes) == {"relay"}, "it goes on, though so few could do without"
    for node in people:
        facts = node.rooms.facts()
        assert facts["people"] == 3, "a relay is no person"
        assert facts["carried_why"] == "named"
        (told,) = [
            node.rooms.member_facts(member)
            for member in node.rooms.membership.members.values()  # type: ignore[union-attr]  # it is in
            if member.dev == relay.dev
        ]
        assert told["relay"] is True
        assert told["on_stage"] is False


@pytest.mark.parametrize("seed", FEW[:2])
def test_a_relay_of_a_closed_room_is_given_no_key(seed: int) -> None:
    """Security: and all hear one another through it."""
    world, nodes = room_with_relay(seed, 3, Access.CLOSED)
    *people, relay = nodes
    world.run_for(90.0)  # an epoch by ratchet for who came, and each is told to all who may
    assert heard_by_all(people)
    assert relay.rooms.membership is not None
    assert relay.rooms.membership.custody.epochs is None


@pytest.mark.parametrize("seed", FEW[:1])
def test_a_relay_of_a_closed_room_reads_nothing(seed: int) -> None:
    """Security: nor is it asked what it missed, once everybody has been."""
    world, nodes = room_with_relay(seed, 3, Access.CLOSED)
    *people, relay = nodes
    people[1].act(Write(ChatKind.TEXT, "the code is 1234"))
    world.run_for(70.0)
    for node in people:
        assert "1234" in str(node.rooms.chat())
    assert relay.rooms.membership is not None
    assert len(relay.rooms.membership.chats) == 0


@pytest.mark.parametrize("seed", FEW[:2])
def test_listeners_of_a_closed_room_have_its_key_and_its_chat_by_the_member_that_stands_by(
    seed: int,
) -> None:
    """The relay, by which they hear, has neither to give."""
    world, nodes = room_with_relay(seed, 11, Access.CLOSED, "invited")
    *people, relay = nodes
    world.run_for(10.0)
    assert people[5].rooms.membership.is_listener  # type: ignore[union-attr]  # it is in
    people[5].act(Write(ChatKind.TEXT, "from the audience"))
    until(world, lambda: all("from the audience" in str(n.rooms.chat()) for n in people))
    people[0].act(messages.Decide(Act.ROLE, people[9].name, "remove"))
    rest = [node for node in people if node is not people[9]]
    until(world, lambda: not people[9].hears(people[0]), within_s=5.0)
    until(world, lambda: all(node.hears(people[0]) for node in rest[1:]), within_s=5.0)
    assert not people[9].hears(people[0])
    assert relay.rooms.membership is not None
    assert len(relay.rooms.membership.chats) == 0


@pytest.mark.parametrize("seed", FEW)
def test_a_relay_that_dies_is_followed_by_a_member_and_has_the_room_back_when_it_returns(
    seed: int,
) -> None:
    world, nodes = room_with_relay(seed, 10)
    *people, relay = nodes
    world.run_for(8)
    world.crash(relay)
    until(world, lambda: len(hubs(people)) == 1 and heard_by_all(people), within_s=4.0)
    assert hubs(people) <= {node.name for node in people}
    world.restart(relay)
    relay.act(messages.Join(str(people[0].rooms.facts()["link"])))
    until(world, lambda: hubs(nodes) == {"relay"} and heard_by_all(people), within_s=40.0)


@pytest.mark.parametrize("seed", FEW[:2])
def test_a_relay_takes_nobodys_place_in_a_full_mesh(seed: int) -> None:
    world = World(seed)
    people = world.join(*[f"node{number}" for number in range(8)])
    host = people[0]
    host.act(messages.Open("Tea"))
    for node in people[1:]:
        node.act(messages.Join(str(host.rooms.facts()["link"])))
    until(world, lambda: heard_by_all(people))
    (relay,) = world.join("relay", serve=True)
    relay.offer(cap=100)
    name(host, relay)
    until(world, lambda: hubs([*people, relay]) == {"relay"} and heard_by_all(people))
    assert all(node.rooms.facts()["people"] == 8 for node in people)


def test_who_comes_as_a_relay_and_was_not_named_carries_nothing() -> None:
    """Security: by its own word nobody comes before the members, or in uncounted."""
    world = World(1)
    people = world.join("ana", "ben", "cleo")
    (relay,) = world.join("relay", serve=True)
    for node in [*people, relay]:
        node.offer()
    people[0].act(messages.Open("Tea"))
    for node in [*people[1:], relay]:
        node.act(messages.Join(str(people[0].rooms.facts()["link"])))
    until(world, lambda: heard_by_all(people))
    world.run_for(30)
    assert hubs(people) == {""}
    assert by_name(people, "ana").rooms.facts()["people"] == 4


# ── what is heard (M1 to M4 are checked of every packet) ──────────────────────────────────────


def nobody_misses(world: World, speakers: list[Node], people: list[Node], since: float) -> None:
    for speaker in speakers:
        for node in people:
            if node is not speaker:
                assert missed(world, speaker, node, since, world.time - 1.0) == 0


@pytest.mark.parametrize("seed", FEW[:2])
def test_no_packet_is_lost_when_a_relay_takes_a_room_over_and_when_it_drains(seed: int) -> None:
    """From the mesh to the relay, and from the relay to a member."""
    world = World(seed)
    people = world.join("ana", "ben", "cleo", "dan")
    (relay,) = world.join("relay", serve=True)
    for node in [*people, relay]:
        node.offer(cap=30)
    people[0].act(messages.Open("Tea"))
    for node in people[1:]:
        node.act(messages.Join(str(people[0].rooms.facts()["link"])))
    until(world, lambda: heard_by_all(people))
    speakers = talking(world, people)
    begin = world.time
    name(people[0], relay)
    until(world, lambda: hubs([*people, relay]) == {"relay"})
    world.run_for(8)
    ticket = relay.act(messages.HandOver())
    until(world, lambda: ticket in relay.answers, within_s=5.0)
    relay.act(messages.Leave())
    until(world, lambda: len(hubs(people)) == 1)
    world.run_for(8)
    nobody_misses(world, speakers, people, begin)


@pytest.mark.nightly
@pytest.mark.parametrize("seed", FEW)
def test_no_packet_is_lost_when_a_member_gives_the_room_back_to_its_relay(seed: int) -> None:
    world, nodes = room_with_relay(seed - seed % len(WIRES), 9)
    *people, relay = nodes
    world.run_for(8)
    world.crash(relay)
    until(world, lambda: len(hubs(people)) == 1 and heard_by_all(people), within_s=4.0)
    world.run_for(8)
    speakers = talking(world, people)
    begin = world.time
    world.restart(relay)
    until(world, lambda: hubs(nodes) == {"relay"}, within_s=40.0)
    world.run_for(8)
    nobody_misses(world, speakers, people, begin)


# ── the election alone (E1, E2, E3, E9 are checked in its world) ─────────────────────────────


def elected(seed: int, count: int = 12, relays: int = 1) -> ElectionWorld:
    """A room that a relay carries, whatever the round trip to it."""
    world = ElectionWorld(seed, count, relays=relays, loss=0.02)
    assert world.run_until(lambda: world.agreed() in world.relays, within_s=AGREED_S), world
    world.run_for(15.0)
    assert world.agreed() in world.relays
    return world


@pytest.mark.parametrize("seed", SEEDS)
def test_a_dead_relay_is_followed_by_the_member_that_stands_by(seed: int) -> None:
    world = elected(seed)
    relay, standby = hub_and_standby(world)
    assert standby.dev not in world.relays
    world.crash(relay)
    died = world.time
    assert world.run_until(lambda: world.agreed() == standby.dev, within_s=AGREED_S), world
    assert world.time <= died + 0.9


@pytest.mark.parametrize("seed", FEW)
def test_of_two_relays_one_carries_and_the_other_stands_by(seed: int) -> None:
    world = elected(seed, relays=2)
    hub, standby = hub_and_standby(world)
    assert {hub.dev, standby.dev} == world.relays
    world.crash(hub)
    assert world.run_until(lambda: world.agreed() == standby.dev, within_s=AGREED_S), world


@pytest.mark.parametrize("seed", SEEDS)
def test_a_room_that_was_cut_off_from_its_relay_has_it_back_when_it_heals(seed: int) -> None:
    world = elected(seed)
    relay, _ = hub_and_standby(world)
    others = [person for person in world.people if person is not relay]
    near, far = [relay, *others[: len(others) // 2]], others[len(others) // 2 :]
    world.split(near, far)
    for side in (near, far):
        has_hub = partial(lambda its: world.agreed(its) is not None, side)
        assert world.run_until(has_hub, within_s=AGREED_S), world
    world.run_for(world.rng.uniform(0.0, 20.0))
    world.heal()
    assert world.run_until(lambda: world.agreed() is not None, within_s=AGREED_S), world
    assert world.run_until(lambda: world.agreed() == relay.dev, within_s=40.0), world
    world.run_for(60.0)
    assert {person.election.hub for person in world.living} == {relay.dev}
