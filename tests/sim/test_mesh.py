"""Rooms of up to eight in a simulated world: joining, leaving, dying, coming back."""

import pytest

from p2phouse.room import messages
from p2phouse.room.messages import EventKind
from tests.sim.world import (
    GOOD_WIFI,
    LAN,
    SEEDS,
    WEAK_4G,
    Node,
    Wire,
    World,
    agree,
    heard_by_all,
    kinds,
)

LINK_FAILED, MEMBER_LOST, MEMBER_SILENT = (
    EventKind.LINK_FAILED,
    EventKind.MEMBER_LOST,
    EventKind.MEMBER_SILENT,
)


def room_of(world: World, count: int) -> list[Node]:
    """So many people in one room, connected."""
    nodes = world.join(*[f"node{number}" for number in range(count)])
    meet(world, nodes)
    return nodes


def meet(world: World, nodes: list[Node]) -> None:
    nodes[0].act(messages.Open("Tea"))
    world.run_until(lambda: all(node.rooms.directory.live(node.now) for node in nodes))
    for node in nodes[1:]:
        node.act(messages.Join("tea"))
    world.run_until(lambda: heard_by_all(nodes))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("wire", [LAN, GOOD_WIFI, WEAK_4G], ids=["lan", "wifi", "4g"])
def test_eight_who_join_at_once_all_hear_one_another(seed: int, wire: Wire):
    nodes = room_of(World(seed, wire), 8)
    for node in nodes:
        assert len(node.company) == 7


@pytest.mark.parametrize("seed", SEEDS)
def test_nobody_is_unmuted_by_joining(seed: int):
    for node in room_of(World(seed), 4):
        assert node.media.voice is not None
        assert node.media.voice.muted
        assert node.media.input == "none"


@pytest.mark.parametrize("seed", SEEDS)
def test_unmuting_opens_the_mouth_and_others_see_it(seed: int):
    world = World(seed)
    nodes = room_of(world, 3)
    nodes[1].act(messages.SetMuted(muted=False))
    world.run_for(1)
    assert nodes[1].media.voice is not None
    assert not nodes[1].media.voice.muted
    for other in (nodes[0], nodes[2]):
        assert EventKind.MEMBER_UNMUTED in kinds(other)


@pytest.mark.parametrize("seed", SEEDS)
def test_one_who_leaves_is_gone_at_once_and_the_rest_go_on(seed: int):
    world = World(seed)
    nodes = room_of(world, 5)
    nodes[2].act(messages.Leave())
    world.run_for(1)
    rest = [*nodes[:2], *nodes[3:]]
    assert heard_by_all(rest)
    assert agree(rest)
    assert all(EventKind.MEMBER_LEFT in kinds(node) for node in rest)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_killed_node_is_lost_within_a_second_and_its_return_is_heard(seed: int):
    world = World(seed)
    nodes = room_of(world, 4)
    world.crash(nodes[1])
    world.run_for(1)
    rest = [nodes[0], *nodes[2:]]
    assert agree(rest)
    before = list(nodes[1].sids)
    world.restart(nodes[1])
    world.run_until(lambda: heard_by_all(nodes))
    assert nodes[1].media.voice is not None
    assert nodes[1].media.voice.muted
    assert nodes[1].media.sid not in before


@pytest.mark.parametrize("seed", SEEDS)
def test_a_machine_without_power_is_silent_in_600_ms_unlinked_in_4_s_and_then_lost(seed: int):
    """Its system says nothing, so libp2p needs three pings more to miss it than media does."""
    world = World(seed, busy_s_max=0.0)  # the limits are media's
    nodes = room_of(world, 4)
    gone, rest = nodes[1], [nodes[0], *nodes[2:]]
    world.cut_power(gone)
    for within_s, kind in ((0.6, MEMBER_SILENT), (3.4, LINK_FAILED), (9.0, MEMBER_LOST)):
        before = [seen(node, kind, gone) for node in rest]
        world.run_for(within_s)
        assert not any(before)
        assert all(seen(node, kind, gone) for node in rest)
    assert agree(rest)
    assert heard_by_all(rest)


def seen(node: Node, kind: EventKind, of: Node) -> bool:
    return any(event.kind is kind and event.dev == of.dev for event in node.events)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_rebuilt_host_is_not_heard_of_by_anybody(seed: int):
    """libp2p dies under one node and is built again: its sound does not notice, nor do people."""
    world = World(seed)
    nodes = room_of(world, 5)
    world.rebuild_host(nodes[2])
    world.run_for(20)
    assert heard_by_all(nodes)
    trouble = {MEMBER_SILENT, LINK_FAILED, MEMBER_LOST, EventKind.MEMBER_LEFT}
    assert not any(trouble & set(kinds(node)) for node in nodes)
    nodes[2].act(messages.SetMuted(muted=False))
    world.run_for(1)
    assert all(seen(node, EventKind.MEMBER_UNMUTED, nodes[2]) for node in nodes)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_host_may_be_killed_and_come_back(seed: int):
    world = World(seed)
    nodes = room_of(world, 4)
    world.crash(nodes[0])
    world.run_for(5)
    assert heard_by_all(nodes[1:])
    world.restart(nodes[0])
    world.run_until(lambda: heard_by_all(nodes))


@pytest.mark.parametrize("seed", SEEDS)
def test_a_dead_media_process_comes_back_muted_with_a_new_voice(seed: int):
    world = World(seed)
    nodes = room_of(world, 4)
    nodes[3].act(messages.SetMuted(muted=False))
    before = list(nodes[3].sids)
    world.crash_media(nodes[3])
    world.run_until(lambda: heard_by_all(nodes))
    assert nodes[3].media.voice is not None
    assert nodes[3].media.voice.muted
    assert nodes[3].media.input == "none"
    assert nodes[3].media.sid not in before


@pytest.mark.parametrize("seed", SEEDS)
def test_a_partition_of_a_minute_heals(seed: int):
    world = World(seed)
    nodes = room_of(world, 6)
    world.split(nodes[:2], nodes[2:])
    world.run_for(60)
    assert heard_by_all(nodes[:2])
    assert heard_by_all(nodes[2:])
    assert not nodes[0].hears(nodes[3])
    world.heal()
    world.run_until(lambda: heard_by_all(nodes))


@pytest.mark.parametrize("seed", SEEDS)
def test_a_ninth_is_told_that_the_room_is_full(seed: int):
    world = World(seed)
    nodes = room_of(world, 8)
    (late,) = world.join("late")
    late.receive(nodes[0].dev, messages.CardHeard(nodes[0].rooms.live_cards(nodes[0].now)[0]))
    ticket = late.act(messages.Join("tea"))
    world.run_until(lambda: ticket in late.answers)
    assert "full" in str(late.answers[ticket].error)
    assert late.rooms.membership is None


def test_joining_a_room_whose_host_is_gone_says_so():
    world = World(1)
    ana, ben = world.join("ana", "ben")
    ana.act(messages.Open("Tea"))
    world.run_for(1)
    world.crash(ana)
    ticket = ben.act(messages.Join("tea"))
    world.run_until(lambda: ticket in ben.answers)
    assert "nobody" in str(ben.answers[ticket].error)


def test_a_host_who_leaves_takes_the_room_off_the_list():
    world = World(1)
    ana, ben = world.join("ana", "ben")
    ana.act(messages.Open("Tea"))
    world.run_until(lambda: bool(ben.rooms.directory.live(ben.now)))
    ana.act(messages.Leave())
    world.run_until(lambda: not ben.rooms.directory.live(ben.now))
    assert EventKind.ROOM_GONE in kinds(ben)


def test_the_card_of_a_dead_host_runs_out_within_ten_minutes():
    world = World(1)
    ana, ben = world.join("ana", "ben")
    ana.act(messages.Open("Tea"))
    world.run_for(1)
    world.crash(ana)
    world.run_for(610)
    assert not ben.rooms.directory.live(ben.now)


def test_a_card_is_refreshed_for_as_long_as_the_room_lasts():
    world = World(1)
    ana, ben = world.join("ana", "ben")
    ana.act(messages.Open("Tea"))
    for _ in range(20):
        world.run_for(100)
        assert ben.rooms.directory.live(ben.now)
