"""A room that outgrows the mesh: elected hub, standby, hand-over, both lost, apart and together."""

from collections.abc import Callable
from typing import Final

import pytest

from p2phouse.room import messages
from tests.sim.world import GOOD_WIFI, LAN, SEEDS, WEAK_4G, Node, Wire, World, agree, heard_by_all

FEW: Final = SEEDS[::5]
WIRES: Final = [LAN, GOOD_WIFI, WEAK_4G]


def crowd(count: int, seed: int, wire: Wire = LAN) -> tuple[World, list[Node]]:
    """So many people who come one after the other; each would carry the others."""
    world = World(seed, wire)
    nodes = world.join(*[f"node{number}" for number in range(count)])
    for node in nodes:
        node.offer()
    nodes[0].act(messages.Open("Tea"))
    world.run_until(lambda: all(node.rooms.directory.live(node.now) for node in nodes))
    for node in nodes[1:]:
        node.act(messages.Join("tea"))
        world.run_for(1.0)
    return world, nodes


def until(world: World, reached: Callable[[], bool], within_s: float = 60.0) -> None:
    """Looks each half second: to look at so many nodes costs more than what happens."""
    end = world.time + within_s
    while world.time < end and not reached():
        world.run_for(0.5)
    assert reached(), f"not reached within {within_s} s; {world}"


def hubs(nodes: list[Node]) -> set[str]:
    """Names of those who are hub by anybody's view; "" for a mesh."""
    named = {node.dev: node.name for node in nodes}
    found = set()
    for node in nodes:
        membership = node.rooms.membership
        hub = None if membership is None else membership.hub
        found.add("" if hub is None else named.get(hub, "somebody else"))
    return found


def is_hub_room(nodes: list[Node]) -> bool:
    """All name one hub who is among them, and each voice reaches everybody."""
    named = hubs(nodes)
    return len(named) == 1 and named <= {node.name for node in nodes} and heard_by_all(nodes)


def by_name(nodes: list[Node], name: str) -> Node:
    return next(node for node in nodes if node.name == name)


@pytest.mark.parametrize("seed", FEW[:1])
def test_nine_people_are_carried_by_one_of_them(seed: int) -> None:
    world, nodes = crowd(9, seed, WIRES[seed % len(WIRES)])
    until(world, lambda: agree(nodes) and is_hub_room(nodes))
    world.run_for(10)
    assert is_hub_room(nodes)
    carriers = {nodes[0].rooms.membership.hub, nodes[0].rooms.membership.standby}  # type: ignore[union-attr]  # it is in
    for node in nodes:
        if node.dev not in carriers:
            assert len(node.media.links) == 2, "a link beside those to hub and standby"


def carried(seed: int, count: int = 9) -> tuple[World, list[Node], Node, Node]:
    """A room that a hub carries; hub and standby."""
    world, nodes = crowd(count, seed, WIRES[seed % len(WIRES)])
    until(world, lambda: agree(nodes) and is_hub_room(nodes))
    world.run_for(8)
    return world, nodes, *carriers(nodes)


def carriers(nodes: list[Node]) -> tuple[Node, Node]:
    membership = nodes[0].rooms.membership
    assert membership is not None
    by_dev = {node.dev: node for node in nodes}
    assert membership.hub is not None
    assert membership.standby is not None
    return by_dev[membership.hub], by_dev[membership.standby]


@pytest.mark.nightly
@pytest.mark.parametrize("seed", FEW)
def test_a_hub_that_dies_is_followed_by_its_standby(seed: int) -> None:
    world, nodes, hub, standby = carried(seed)
    world.crash(hub)
    rest = [node for node in nodes if node is not hub]
    until(world, lambda: is_hub_room(rest), within_s=4.0)
    assert hubs(rest) == {standby.name}
    until(world, lambda: agree(rest) and carriers(rest)[1].alive, within_s=4.0)


@pytest.mark.nightly
def test_a_class_of_thirty_hears_on_when_the_laptop_that_carries_it_leaves() -> None:
    """Sixteen of them have a place on the stage, and the rest listen."""
    world, nodes = crowd(30, 1)

    def is_heard() -> bool:
        stage = [node for node in nodes if node.rooms.membership.own.on_stage]  # type: ignore[union-attr]
        return (
            len(hubs(nodes)) == 1
            and hubs(nodes) <= {node.name for node in nodes}
            and len(stage) >= 14
            and all(node.hears(each) for node in nodes for each in stage if each is not node)
        )

    until(world, is_heard)
    world.run_for(20)
    for _ in range(2):
        hub = by_name(nodes, *hubs(nodes))
        world.crash(hub)
        nodes.remove(hub)
        until(world, is_heard, within_s=4.0)
        world.run_for(10)
    assert all(node.rooms.facts()["people"] == 28 for node in nodes)


@pytest.mark.nightly
@pytest.mark.parametrize("seed", FEW)
def test_when_hub_and_standby_die_together_the_room_finds_itself_again(seed: int) -> None:
    world, nodes, hub, standby = carried(seed, 10)
    world.crash(hub)
    world.crash(standby)
    rest = [node for node in nodes if node not in (hub, standby)]
    until(world, lambda: is_hub_room(rest), within_s=6.0)


@pytest.mark.nightly
@pytest.mark.parametrize("seed", FEW)
def test_a_hub_that_is_stopped_is_followed_though_its_links_stand(seed: int) -> None:
    world, nodes, hub, standby = carried(seed)
    world.cut_power(hub)
    rest = [node for node in nodes if node is not hub]
    until(world, lambda: hubs(rest) == {standby.name}, within_s=6.0)
    until(world, lambda: heard_by_all(rest), within_s=6.0)


@pytest.mark.parametrize("seed", FEW[:1])
def test_a_hub_whose_uplink_is_too_small_hands_over_and_nobody_misses_a_word(seed: int) -> None:
    world, nodes, hub, standby = carried(seed - seed % len(WIRES))
    speakers = talking(world, [node for node in nodes if node not in (hub, standby)])
    begin = world.time
    hub.loses_permille = 300
    until(world, lambda: hubs(nodes) == {standby.name}, within_s=20.0)
    hub.loses_permille = 0
    world.run_for(90)
    assert hubs(nodes) == {standby.name}, "it would soon be too small again"
    for speaker in speakers:
        for node in nodes:
            if node is not speaker:
                assert missed(world, speaker, node, begin, world.time - 1.0) == 0


@pytest.mark.parametrize("seed", FEW[:1])
def test_a_room_of_four_is_carried_once_one_of_them_cannot_send_to_all(seed: int) -> None:
    world, nodes = crowd(4, seed)
    world.run_for(10)
    assert hubs(nodes) == {""}
    narrow = nodes[2]
    narrow.loses_permille = 300
    until(world, lambda: is_hub_room(nodes), within_s=30.0)
    assert hubs(nodes) != {narrow.name}
    assert all(node.rooms.facts()["shape_why"] == "strain" for node in nodes)


@pytest.mark.parametrize("seed", FEW[:1])
def test_who_leaves_the_stage_hears_the_others_on(seed: int) -> None:
    world, nodes, hub, standby = carried(seed)
    quiet = next(node for node in nodes if node not in (hub, standby))
    quiet.act(messages.StepDown())
    world.run_for(45)  # what was said of the room before has lapsed by then
    assert quiet.company == {node.name for node in nodes} - {quiet.name}
    assert all(quiet.hears(node) for node in nodes if node is not quiet)


@pytest.mark.parametrize("cut", [World.cut, World.cut_sound])
@pytest.mark.parametrize("seed", FEW[:1])
def test_a_listener_who_cannot_reach_the_hub_hears_by_its_standby_and_moves_nobody(
    seed: int, cut: Callable[[World, Node, Node], None]
) -> None:
    world, nodes, hub, standby = carried(seed)
    listener, speaker = [node for node in nodes if node not in (hub, standby)][:2]
    listener.act(messages.StepDown())
    talking(world, [speaker], 1)
    world.run_for(12)
    begin = world.time
    cut(world, hub, listener)
    world.run_for(40)
    assert hubs(nodes) == {hub.name}
    assert missed(world, speaker, listener, begin, world.time - 1.0) * 0.02 <= 0.3


@pytest.mark.parametrize("cut", [World.cut, World.cut_sound])
@pytest.mark.parametrize("seed", FEW[:1])
def test_a_hub_that_a_speaker_reaches_no_more_gives_way_within_ten_seconds(
    seed: int, cut: Callable[[World, Node, Node], None]
) -> None:
    world, nodes, hub, standby = carried(seed)
    speaker = next(node for node in nodes if node not in (hub, standby))
    talking(world, [speaker], 1)
    begin = world.time
    cut(world, hub, speaker)
    until(world, lambda: hubs(nodes) == {standby.name}, within_s=10.0)
    moved = world.time
    world.run_for(30)
    assert hubs(nodes) == {standby.name}, "it goes to and fro"
    for node in nodes:
        if node not in (speaker, hub):
            # The hub has it from its standby as soon as it finds the speaker silent.
            assert missed(world, speaker, node, begin, moved) * 0.02 <= 1.0
            assert missed(world, speaker, node, moved, world.time - 1.0) == 0


@pytest.mark.parametrize("listens", [False, True])
@pytest.mark.parametrize("cut", [World.cut, World.cut_sound])
@pytest.mark.parametrize("seed", FEW[:1])
def test_one_who_reaches_neither_hub_nor_standby_takes_the_room_from_nobody(
    seed: int, cut: Callable[[World, Node, Node], None], listens: bool
) -> None:
    """From the stage the hub finds him another; to a listener it comes in no claim."""
    world, nodes, hub, standby = carried(seed)
    lost, speaker = [node for node in nodes if node not in (hub, standby)][:2]
    if listens:
        lost.act(messages.StepDown())
    talking(world, [speaker], 1)
    world.run_for(12)
    for carrier in (hub, standby):
        cut(world, carrier, lost)
    begin = world.time
    while world.time < begin + 40:
        world.run_for(0.5)
        assert lost.name not in hubs(nodes)
    reached = [node for node in nodes if node not in (speaker, lost)]
    reached += [] if listens else [lost]
    for node in reached:
        assert missed(world, speaker, node, world.time - 5.0, world.time - 1.0) == 0


@pytest.mark.parametrize("cut", [World.cut, World.cut_sound])
@pytest.mark.parametrize("seed", FEW[:1])
def test_who_on_the_stage_reaches_neither_hub_nor_standby_is_silent_for_three_seconds_at_most(
    seed: int, cut: Callable[[World, Node, Node], None]
) -> None:
    world, nodes, hub, standby = carried(seed)
    lost, speaker = [node for node in nodes if node not in (hub, standby)][:2]
    talking(world, [lost, speaker])
    world.run_for(12)
    begin = world.time
    for carrier in (hub, standby):
        cut(world, carrier, lost)
    world.run_for(6)
    assert hubs(nodes) == {hub.name}
    assert missed(world, speaker, lost, begin, world.time - 1.0) * 0.02 <= 3.0
    for node in nodes:
        if node is not lost:
            assert missed(world, lost, node, begin, world.time - 1.0) * 0.02 <= 3.0


@pytest.mark.parametrize("whom", ["standby", "member"])
@pytest.mark.parametrize("seed", FEW[:1])
def test_who_hears_nobody_for_some_seconds_leaves_the_room_as_it_is(seed: int, whom: str) -> None:
    """A Wi-Fi that drops out: its node brings no claim of its own with it when it is back."""
    world, nodes, hub, standby = carried(seed)
    lost = standby if whom == "standby" else next(n for n in nodes if n not in (hub, standby))
    rest = [node for node in nodes if node is not lost]
    world.split([lost], rest)
    world.run_for(6)
    world.heal()
    until(world, lambda: hubs(nodes) == {hub.name} and heard_by_all(nodes), within_s=20.0)
    world.run_for(20)
    assert hubs(nodes) == {hub.name}


@pytest.mark.parametrize("seed", FEW[:1])
def test_the_one_guest_on_a_small_stage_may_drop_out_for_some_seconds_too(seed: int) -> None:
    """Nobody else there could say that hub and standby are silent."""
    world, nodes, hub, standby = carried(seed)
    guest, *audience = [node for node in nodes if node not in (hub, standby)]
    for node in audience:
        node.act(messages.StepDown())
    world.run_for(12)
    world.split([guest], [node for node in nodes if node is not guest])
    world.run_for(6)
    world.heal()
    world.run_for(20)
    assert hubs(nodes) == {hub.name}


@pytest.mark.nightly
@pytest.mark.parametrize("seed", FEW)
def test_two_halves_that_were_apart_agree_on_one_hub_again(seed: int) -> None:
    world, nodes, hub, standby = carried(seed, 12)
    others = [node for node in nodes if node not in (hub, standby)]
    with_hub, without = [hub, standby, *others[:4]], others[4:]
    world.split(with_hub, without)
    until(world, lambda: heard_by_all(with_hub) and heard_by_all(without), within_s=60.0)
    world.heal()
    until(world, lambda: agree(nodes) and is_hub_room(nodes), within_s=60.0)


@pytest.mark.nightly
@pytest.mark.parametrize("seed", FEW)
def test_a_hub_that_was_cut_off_follows_the_room_that_it_comes_back_to(seed: int) -> None:
    world, nodes = crowd(10, seed, WIRES[seed % len(WIRES)])
    until(world, lambda: is_hub_room(nodes))
    (before,) = hubs(nodes)
    hub = by_name(nodes, before)
    rest = [node for node in nodes if node is not hub]
    world.split([hub], rest)
    until(world, lambda: is_hub_room(rest))
    world.run_for(20)
    (chosen,) = hubs(rest)
    world.heal()
    until(world, lambda: is_hub_room(nodes))
    assert hubs(nodes) == {chosen}
    world.run_for(20)
    assert hubs(nodes) == {chosen}


@pytest.mark.parametrize("seed", FEW[:1])
def test_a_small_room_is_a_mesh_again_once_the_two_can_meet_who_could_not(seed: int) -> None:
    world, nodes = crowd(4, seed)
    world.run_for(10)
    one, other = nodes[1], nodes[3]
    world.cut_sound(one, other)
    until(world, lambda: is_hub_room(nodes))
    world.run_for(150)
    assert is_hub_room(nodes), "they have tried twice"
    one.no_datagrams.clear()
    other.no_datagrams.clear()
    until(world, lambda: hubs(nodes) == {""}, within_s=120.0)
    world.run_for(15)
    assert heard_by_all(nodes)
    assert hubs(nodes) == {""}


@pytest.mark.parametrize("seed", FEW)
def test_a_room_that_shrinks_is_a_mesh_again(seed: int) -> None:
    world, nodes, hub, _ = carried(seed)
    rest = [hub, *[node for node in nodes if node is not hub][:3]]
    for node in nodes:
        if node not in rest:
            node.act(messages.Leave())
    until(world, lambda: hubs(rest) == {""} and agree(rest), within_s=60.0)
    world.run_for(15)
    assert heard_by_all(rest)
    assert hubs(rest) == {""}


@pytest.mark.nightly
@pytest.mark.parametrize("seed", FEW)
def test_a_hub_that_leaves_hands_over_first_and_nobody_misses_a_word(seed: int) -> None:
    world, nodes, hub, standby = carried(seed)
    rest = [node for node in nodes if node is not hub]
    ticket = hub.act(messages.HandOver())
    end = world.time + 10.0
    while ticket not in hub.answers and world.time < end:
        world.run_for(0.05)
        assert heard_by_all(rest)
    hub.act(messages.Leave())
    for _ in range(40):
        world.run_for(0.05)
        assert heard_by_all(rest)
    assert hubs(rest) == {standby.name}
    until(world, lambda: agree(rest) and carriers(rest)[1].is_inside, within_s=10.0)


def talking(world: World, nodes: list[Node], count: int = 2) -> list[Node]:
    """So many of them are unmuted and say something all the time."""
    for node in nodes[:count]:
        node.act(messages.SetMuted(muted=False))
        node.media.talk(on=True)
    world.run_for(1.0)
    return nodes[:count]


def missed(world: World, speaker: Node, listener: Node, since: float, until_s: float) -> int:
    """Packets of that time which never came to that ear."""
    voice = speaker.media.voice
    assert voice is not None
    due = [
        key
        for key, (at, _) in world.spoken.items()
        if key[0] == voice.ssrc and since <= at < until_s
    ]
    assert due, "nothing was said"
    return sum(key not in listener.media.heard for key in due)


@pytest.mark.nightly
@pytest.mark.parametrize("seed", FEW)
def test_no_packet_is_lost_when_a_mesh_becomes_a_hub_room(seed: int) -> None:
    world, nodes = crowd(8, seed)
    world.run_for(10)
    speakers = talking(world, nodes)
    begin = world.time
    (ninth,) = world.join("ninth")
    ninth.offer()
    world.run_for(1.0)
    ninth.act(messages.Join("tea"))
    until(world, lambda: is_hub_room([*nodes, ninth]))
    world.run_for(8)
    for speaker in speakers:
        for node in nodes:
            if node is not speaker:
                assert missed(world, speaker, node, begin, world.time - 1.0) == 0


@pytest.mark.nightly
@pytest.mark.parametrize("seed", FEW)
def test_no_packet_is_lost_when_a_hub_leaves_in_good_order(seed: int) -> None:
    world, nodes, hub, _ = carried(seed - seed % len(WIRES))  # a wire that loses nothing
    rest = [node for node in nodes if node is not hub]
    speakers = talking(world, rest)
    begin = world.time
    ticket = hub.act(messages.HandOver())
    until(world, lambda: ticket in hub.answers, within_s=4.0)
    hub.act(messages.Leave())
    world.run_for(6)
    for speaker in speakers:
        for node in rest:
            if node is not speaker:
                assert missed(world, speaker, node, begin, world.time - 1.0) == 0


@pytest.mark.parametrize("seed", FEW[:1])
def test_when_a_hub_is_killed_at_most_three_tenths_of_a_second_are_missed(seed: int) -> None:
    world, nodes, hub, standby = carried(seed - seed % len(WIRES))
    rest = [node for node in nodes if node is not hub]
    speakers = talking(world, [node for node in rest if node is not standby])
    begin = world.time
    world.crash(hub)
    world.run_for(6)
    for speaker in speakers:
        for node in rest:
            if node is not speaker:
                assert missed(world, speaker, node, begin, world.time - 1.0) * 0.02 <= 0.3
