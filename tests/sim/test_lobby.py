"""Closed and social rooms in a world: knockers who lie, partitions, crashes, one invite for two."""

import pytest

from p2phouse.identity.keys import key_tag
from p2phouse.record.types import Access, Act
from p2phouse.room import messages
from p2phouse.room.frames import FrameKind
from p2phouse.room.messages import EventKind, Input
from p2phouse.vocabulary import DeviceKey
from tests.sim.liar import Liar, trouble_between
from tests.sim.test_authority import here
from tests.sim.world import LAN, SEEDS, WEAK_4G, Node, World, agree, heard_by_all, kinds

FEW = list(SEEDS)[:8]
TO_THOSE_OUTSIDE = {int(FrameKind.LOBBY), int(FrameKind.BYE)}


def link_of(node: Node) -> str:
    return str(node.rooms.facts()["link"])


def knock(world: World, node: Node, at: Node, link: str = "") -> None:
    node.act(messages.Join(link or link_of(at)))
    world.run_until(lambda: waits(node) or node.is_inside)


def waits(node: Node) -> bool:
    return node.rooms.membership is not None and node.rooms.membership.waits is not None


def admit(world: World, host: Node, node: Node) -> None:
    world.run_until(lambda: node.me.uid in [each.uid for each in here(host).lobby.people.values()])
    ticket = host.act(messages.Admit(key_tag(node.me.uid)))
    assert host.answers[ticket].error is None
    world.run_until(lambda: node.is_inside)


def closed(world: World, *names: str, access: Access = Access.CLOSED) -> list[Node]:
    """The first opens a room and lets the others in."""
    nodes = world.join(*names)
    host, *others = nodes
    host.act(messages.Open("Tea", access))
    for node in others:
        knock(world, node, host)
        admit(world, host, node)
    world.run_until(lambda: heard_by_all(nodes) and agree(nodes))
    return nodes


def heard_from(node: Node, honest: list[Node]) -> list[int]:
    """Kinds of the frames that reach the node from those, from now on."""
    devs = {each.dev for each in honest}
    got: list[int] = []
    receive = node.receive

    def heard(sender: DeviceKey, message: Input) -> None:
        if isinstance(message, messages.RoomFrame) and sender in devs:
            got.append(int(message.frame[0]))  # type: ignore[arg-type]  # a number, by net
        receive(sender, message)

    node.receive = heard  # type: ignore[method-assign]
    return got


@pytest.mark.parametrize("seed", FEW)
def test_who_lies_at_the_door_learns_nothing_and_harms_nobody(seed: int):
    world = World(seed, LAN)
    nodes = closed(world, "a", "b", "c")
    (eve,) = world.join("eve")
    liar = Liar(world, eve)
    got = heard_from(eve, nodes)
    eve.act(messages.Join(link_of(nodes[world.rng.randrange(3)])))
    world.run_for(1)
    liar.begin()
    world.run_for(25)
    assert set(got) <= TO_THOSE_OUTSIDE
    assert got
    assert not trouble_between(nodes)
    assert agree(nodes)
    world.crash(eve)
    world.run_for(80)  # what it used up of others' patience comes back
    (ben,) = world.join("ben")
    knock(world, ben, nodes[1])
    admit(world, nodes[0], ben)
    world.run_until(lambda: heard_by_all([*nodes, ben]) and agree([*nodes, ben]))


@pytest.mark.parametrize("seed", FEW)
def test_who_is_let_in_on_either_side_of_a_partition_is_in_when_it_heals(seed: int):
    world = World(seed, WEAK_4G)
    nodes = closed(world, "host", "mod", "a", "b")
    host, mod, a, b = nodes
    host.act(messages.Decide(Act.GRANT, key_tag(mod.me.uid), "moderator"))
    world.run_for(5)
    new = world.join("c", "d")
    world.split([host, a, new[0]], [mod, b, new[1]])
    world.run_until(lambda: agree([host, a]) and agree([mod, b]), within_s=60)
    knock(world, new[0], a)
    admit(world, host, new[0])
    knock(world, new[1], b)
    admit(world, mod, new[1])
    world.run_for(world.rng.uniform(0, 20))
    world.heal()
    everybody = [*nodes, *new]
    world.run_until(lambda: heard_by_all(everybody) and agree(everybody), within_s=240)
    world.run_for(70)
    assert agree(everybody)
    assert not any(here(node).lobby.people for node in everybody)


@pytest.mark.parametrize("seed", FEW)
def test_one_invite_for_one_person_lets_one_in_wherever_two_show_it(seed: int):
    world = World(seed, WEAK_4G)
    nodes = closed(world, "host", "a", "b")
    host = nodes[0]
    ticket = host.act(messages.MakeInvite(1, once=True))
    link = str(host.answers[ticket].facts["link"])
    room, _, invite = link.partition("?")[0], None, link.partition("&i=")[2]
    guests = world.join("ann", "ben")
    doors = [world.rng.choice(nodes) for _ in guests]
    for guest, door in zip(guests, doors, strict=True):
        assert link_of(door).startswith(room)
        guest.act(messages.Join(f"{link_of(door)}&i={invite}"))
        world.run_for(world.rng.uniform(0, 0.3))
    if world.rng.random() < 0.5:  # what it knows of invites outlives it
        world.crash(host)
        world.restart(host)
    world.run_for(60)
    assert [guest.is_inside for guest in guests].count(True) <= 1
    world.run_for(620)  # nobody waits for ever
    assert sorted(guest.is_inside for guest in guests) in ([False, True], [False, False])
    assert not any(waits(guest) for guest in guests)


@pytest.mark.parametrize("seed", FEW)
def test_a_closed_room_comes_back_after_crashes_of_anybody_in_it(seed: int):
    world = World(seed, LAN)
    nodes = closed(world, "host", "a", "b")
    for _ in range(3):
        node = world.rng.choice(nodes)
        world.run_for(world.rng.uniform(0, 30))
        world.crash(node)
        world.run_for(world.rng.uniform(0, 3))
        world.restart(node)
        world.run_until(lambda: heard_by_all(nodes) and agree(nodes), within_s=120)
    world.run_for(100)
    assert agree(nodes)


@pytest.mark.parametrize("seed", FEW)
def test_in_a_social_room_whom_a_host_follows_comes_in_at_any_door(seed: int):
    world = World(seed, WEAK_4G)
    nodes = closed(world, "host", "a", "b", access=Access.SOCIAL)
    ann, ben = world.join("ann", "ben")
    nodes[0].receive(nodes[0].dev, messages.Following(frozenset({ann.me.uid})))
    door = world.rng.choice(nodes)
    for guest in (ann, ben):
        guest.act(messages.Join(link_of(door)))
    world.run_until(lambda: ann.is_inside and waits(ben))
    everybody = [*nodes, ann]
    world.run_until(lambda: heard_by_all(everybody) and agree(everybody))
    assert EventKind.JOINED not in kinds(ben)


@pytest.mark.parametrize("seed", FEW)
def test_nobody_outside_ever_holds_a_card_of_a_closed_room(seed: int):
    world = World(seed, LAN)
    closed(world, "host", "a")
    (eve,) = world.join("eve")
    world.run_for(300)
    assert not eve.rooms.directory.live(eve.now)
    assert messages.PublishCard not in {kind for node in world.nodes.values() for kind in node.sent}
