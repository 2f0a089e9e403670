"""Stages in rooms that fall apart: one queue, one limit, and no voice from the audience."""

import random
from typing import Final

import pytest

from p2phouse.identity.keys import key_tag
from p2phouse.record.types import Act
from p2phouse.room import messages, stage_view
from p2phouse.room.messages import Decide, EventKind
from p2phouse.room.rules import Role
from p2phouse.vocabulary import DeviceKey
from tests.sim.test_authority import _Deaf, agree_on, decide, here, muted, state
from tests.sim.world import GOOD_WIFI, LAN, SEEDS, WEAK_4G, Node, World, agree, kinds

CALM_S: Final = 12.0  # a refresh of soft state and two comparisons of logs


def meet(world: World, count: int, **how: object) -> list[Node]:
    """So many in a room that the first opened; every media link is up."""
    nodes = world.join(*[f"node{number}" for number in range(count)], skew_s=55.0)
    nodes[0].act(messages.Open("Tea", **how))  # type: ignore[arg-type]  # its own fields
    world.run_until(lambda: all(node.rooms.directory.live(node.now) for node in nodes))
    for node in nodes[1:]:
        node.act(messages.Join("tea"))
    world.run_until(lambda: agree(nodes) and all(linked(node) for node in nodes))
    world.run_until(lambda: agree_on(nodes))
    return nodes


def linked(node: Node) -> bool:
    return all(member.link_up for member in here(node).members.values())


def queue(node: Node) -> list[DeviceKey]:
    places = stage_view.queue(here(node), node.dev)
    return sorted(places, key=places.__getitem__)


def on_stage(node: Node) -> bool:
    return here(node).own.on_stage is True


def ask(node: Node, action: messages.VerbAction) -> messages.Answer:
    return node.answers[node.act(action)]


@pytest.mark.parametrize("seed", SEEDS)
def test_hands_that_went_up_in_partitions_are_one_queue_after_they_heal(seed: int):
    world = World(seed, WEAK_4G if seed % 2 else LAN)
    nodes = meet(world, 8, stage="invited")
    cut = world.rng.randrange(2, 7)
    world.split(nodes[:cut], nodes[cut:])
    world.run_for(20)
    for node in world.rng.sample(nodes, 6):
        world.run_for(world.rng.uniform(0, 2))
        ask(node, messages.Hand(node.name))
    world.run_for(5)
    assert len({tuple(queue(node)) for node in nodes}) == 2
    world.heal()
    world.run_until(lambda: agree(nodes), within_s=60)
    world.run_until(lambda: len({tuple(queue(node)) for node in nodes}) == 1, within_s=CALM_S)
    assert len(queue(nodes[0])) == 6
    up = [node for node in nodes if here(node).own.hand is not None]
    world.cut_power(up[0])
    world.run_for(20)
    rest = [node for node in nodes if node is not up[0]]
    assert {len(queue(node)) for node in rest} == {5}, "a hand goes with whose it is"


@pytest.mark.parametrize("seed", SEEDS)
def test_when_everybody_is_muted_nobody_hears_a_node_that_takes_no_notice(seed: int):
    world = World(seed)
    host, loud, *others = nodes = meet(world, 5)
    world.run_until(lambda: all(other.hears(loud) for other in (host, *others)))
    for node in nodes:
        ask(node, messages.SetMuted(muted=False))
    loud.is_honest = False
    deaf = _Deaf(loud)
    assert ask(host, messages.MuteAll(lock=True)).error is None
    world.run_for(3)
    assert deaf.refused
    assert not muted(loud)
    assert here(loud).may_speak(loud.me.uid)
    for node in (host, *others):
        assert not node.hears(loud)
    assert all(muted(node) and node.media.input == "none" for node in others)
    assert all(node.hears(host) for node in others)
    assert ask(others[0], messages.SetMuted(muted=False)).error is not None
    assert ask(host, messages.UnmuteAll()).error is None
    world.run_for(3)
    assert all(muted(node) for node in others), "each unmutes by hand"
    assert ask(others[0], messages.SetMuted(muted=False)).error is None
    assert all(node.hears(loud) for node in (host, *others))


@pytest.mark.parametrize("seed", SEEDS)
def test_who_is_asked_to_mute_is_muted_and_may_speak_again(seed: int):
    world = World(seed)
    host, *others = meet(world, 4)
    world.run_until(lambda: all(node.media.voice is not None for node in others))
    for node in others:
        ask(node, messages.SetMuted(muted=False))
    world.run_for(1)
    ask(host, messages.MuteAll())
    world.run_for(1)
    for node in others:
        assert muted(node)
        assert EventKind.PLEASE_MUTE in kinds(node)
        assert ask(node, messages.SetMuted(muted=False)).error is None


@pytest.mark.parametrize("seed", SEEDS)
def test_whom_the_host_sends_to_the_audience_nobody_hears_though_its_node_goes_on(seed: int):
    world = World(seed)
    host, loud, *others = meet(world, 4)
    world.run_until(lambda: all(other.hears(loud) for other in (host, *others)))
    loud.is_honest = False
    _Deaf(loud)
    decide(host, Act.ROLE, loud, "listener")
    world.run_for(2)
    assert on_stage(loud)
    for node in (host, *others):
        assert not node.hears(loud)
        assert not node.rooms.member_facts(here(node).members[loud.dev])["on_stage"]


@pytest.mark.parametrize("seed", SEEDS)
def test_who_comes_to_a_full_stage_drives_nobody_from_it(seed: int):
    world = World(seed, GOOD_WIFI)
    first = meet(world, 3, speakers_max=3)
    world.run_until(lambda: all(on_stage(node) for node in first))
    world.run_for(1)
    voices = [node.media.sid for node in first]
    late = world.join("late1", "late2", "late3", "late4")
    world.run_until(lambda: all(node.rooms.directory.live(node.now) for node in late))
    for node in late:
        node.act(messages.Join("tea"))
    world.run_for(20)
    assert agree([*first, *late])
    assert [node.media.sid for node in first] == voices
    assert not any(on_stage(node) for node in late)
    first[1].act(messages.StepDown())
    world.run_for(1)
    assert ask(late[0], messages.Accept()).error is None
    world.run_for(1)
    assert all(node.hears(late[0]) for node in [*first, *late[1:]])


# ── churn ────────────────────────────────────────────────────────────────────────────────────


class Director:
    """Somebody is invited, sent down, muted, comes, goes or dies every second or so."""

    def __init__(self, world: World, nodes: list[Node], *, speakers_max: int) -> None:
        self.world = world
        self.nodes = nodes
        self.speakers_max = speakers_max
        self.rng = random.Random(world.rng.random())

    def direct(self, seconds: float) -> None:
        end = self.world.time + seconds
        while self.world.time < end:
            self.world.run_for(self.rng.expovariate(1.5))
            inside = [node for node in self.nodes if node.is_inside]
            self._happen(self.rng.choice(inside))
            self._check(inside)

    def _happen(self, node: Node) -> None:
        rng, world = self.rng, self.world
        who = key_tag(rng.choice(self.nodes).me.uid)
        actions: list[messages.VerbAction] = [
            messages.Invite(who),
            Decide(Act.ROLE, who, "listener"),
            Decide(Act.ROLE, who, "muted"),
            Decide(Act.ROLE, "", rng.choice(["listener", "speaker"])),
            messages.MuteAll(lock=rng.random() < 0.5),
            messages.UnmuteAll(),
            messages.LowerHand(rng.choice(["", "*"])),
            messages.Hand("x"),
            messages.Accept(),
            messages.Accept(),
            messages.Decline(),
            messages.StepDown(),
            messages.SetMuted(muted=False),
            messages.SetMuted(muted=False),
            messages.React("🎉"),
            messages.Say("file:x.wav"),
        ]
        what = rng.randrange(len(actions) + 4)
        if what < len(actions):
            # Those who run the room do most of the running.
            runs = isinstance(actions[what], Decide | messages.Invite | messages.MuteAll)
            (self.nodes[rng.randrange(2)] if runs else node).act(actions[what])
        elif what == len(actions):
            world.crash_media(node)
        elif what == len(actions) + 1:
            cut = rng.randrange(1, len(self.nodes))
            shuffled = rng.sample(self.nodes, len(self.nodes))
            world.split(shuffled[:cut], shuffled[cut:])
        else:
            world.heal()

    def _check(self, inside: list[Node]) -> None:
        """By its own log, nobody hears whom the log does not let speak, nor more than there are
        places for."""
        for node in inside:
            log = state(node)
            members = here(node).members.values()
            speaking = {member.ssrc for member in members if log.may_speak(member.uid)}
            playing = {row.ssrc for row in node.media.table.rows if row.ingress}
            if node.media.is_known:
                assert playing <= speaking
                assert len(node.media.table.rows) <= self.speakers_max


@pytest.mark.parametrize("seed", SEEDS)
def test_however_people_come_and_go_on_stage_the_audience_has_no_voice(seed: int):
    world = World(seed, GOOD_WIFI)
    speakers_max = (2, 3, 16)[seed % 3]
    nodes = meet(world, 7, stage="invited", speakers_max=speakers_max)
    decide(nodes[0], Act.GRANT, nodes[1], "moderator")
    Director(world, nodes, speakers_max=speakers_max).direct(40)
    world.heal()
    world.run_until(lambda: agree(nodes) and agree_on(nodes), within_s=60)
    world.run_until(lambda: all(linked(node) for node in nodes), within_s=60)
    world.run_for(CALM_S)
    audience = [node for node in nodes if not on_stage(node)]
    assert len(nodes) - len(audience) <= speakers_max
    for node in nodes:
        role = state(node).role_of(node.me.uid)
        assert on_stage(node) <= (role in (Role.SPEAKER, Role.MUTED))
        for other in nodes:
            if other is node:
                continue
            assert other.hears(node) == (on_stage(node) and role is Role.SPEAKER)
            seen = other.rooms.member_facts(here(other).members[node.dev])
            assert seen["on_stage"] == on_stage(node)
            assert seen["invited"] == (here(node).own.on_stage is None)
            assert here(other).members[node.dev].muted == here(node).muted
    assert len({tuple(queue(node)) for node in nodes}) == 1
