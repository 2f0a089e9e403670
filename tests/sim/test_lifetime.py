"""Rooms that outlive their hosts, rooms that nobody runs any more, and what goes on after them."""

from hashlib import sha256

import pytest

from p2phouse.identity.keys import key_tag
from p2phouse.record.types import Access, Act
from p2phouse.room import messages
from p2phouse.room.frames import FrameKind
from p2phouse.room.messages import Event, EventKind, SendRoomFrame
from p2phouse.room.rules import Level, Role
from tests.sim.test_authority import agree_on, decide, here, state
from tests.sim.test_mesh import room_of
from tests.sim.world import SEEDS, WEAK_4G, Node, World, agree, heard_by_all, kinds

FEW = list(SEEDS)[:6]  # minutes of a room in each: a second or two


def facts(node: Node) -> dict[str, object]:
    return node.rooms.facts()


def may(node: Node) -> list[str]:
    names = facts(node)["may"]
    assert isinstance(names, list)
    return names


def is_confirmed(node: Node) -> bool:
    return facts(node)["confirmed"] is True


def error_of(node: Node, action: messages.VerbAction) -> str:
    return str(node.answers[node.act(action)].error)


def left_with(node: Node) -> list[str]:
    return [event.text for event in node.events if event.kind is EventKind.LEFT]


def join(world: World, late: Node, by: Node) -> None:
    world.run_for(1)
    late.act(messages.Join(str(facts(by)["link"])))
    world.run_until(lambda: late.is_inside)


# ── beats ────────────────────────────────────────────────────────────────────────────────────


class Withholding:
    """Patches a node so that one other has no entries from it, and a digest of none."""

    def __init__(self, node: Node, victim: Node, *, beats: str) -> None:
        """beats: what it does with those of others: pass them "on", "drop" or "replay" them."""
        node.is_honest = False
        self.victim = victim
        self.beats = beats
        self.is_on = True
        self._perform = node._perform
        self._node = node
        self._old: list[SendRoomFrame] = []
        node._perform = self.perform  # type: ignore[method-assign]  # a modified client

    def perform(self, output: messages.Output) -> None:
        if isinstance(output, SendRoomFrame) and output.dev == self.victim.dev:
            kind = output.frame[0]
            if kind == FrameKind.BEAT and not self.is_on:
                self._old.append(output)
            if self.is_on and kind == FrameKind.ENTRY:
                return
            if self.is_on and kind == FrameKind.DIGEST:
                empty = [int(FrameKind.DIGEST), sha256(b"").digest()]
                output = SendRoomFrame(output.dev, output.room, empty)  # type: ignore[arg-type]
            if self.is_on and kind == FrameKind.BEAT and self.beats != "on":
                if not self._old or self.beats == "drop":
                    return
                output = self._old[-1]
        self._perform(output)


@pytest.mark.parametrize("seed", FEW)
def test_a_newcomer_s_log_is_confirmed_once_it_is_whole(seed):
    world = World(seed, WEAK_4G)
    host, ben = room_of(world, 2)
    decide(host, Act.TITLE, None, "coffee")
    (late,) = world.join("late")
    join(world, late, by=ben)
    world.run_until(lambda: is_confirmed(late), within_s=10)
    assert facts(late)["title"] == "coffee"
    assert EventKind.CONFIRMED in kinds(late)
    world.run_for(120)
    for node in (host, ben, late):
        assert is_confirmed(node)
        assert EventKind.UNCONFIRMED not in kinds(node)


@pytest.mark.parametrize("seed", FEW)
def test_decisions_as_fast_as_can_be_unsettle_nobody(seed):
    world = World(seed, WEAK_4G)
    nodes = room_of(world, 3)
    decide(nodes[0], Act.GRANT, nodes[1], "moderator")
    world.run_until(lambda: all(map(is_confirmed, nodes)))
    for number in range(60):
        decide(nodes[number % 2], Act.TITLE, None, f"title {number}")
        world.run_for(1)
    world.run_for(20)
    for node in nodes:
        assert is_confirmed(node)
        assert EventKind.UNCONFIRMED not in kinds(node)


@pytest.mark.parametrize("seed", FEW)
@pytest.mark.parametrize("beats", ["on", "drop", "replay"])
def test_who_keeps_a_ban_from_a_newcomer_is_noticed(seed, beats):
    world = World(seed)
    host, thief, ben = room_of(world, 3)
    (late,) = world.join("late")
    world.cut(late, host)  # what it hears of the host it hears from the thief
    world.cut(late, ben)
    withholding = Withholding(thief, late, beats=beats)
    withholding.is_on = False
    join(world, late, by=thief)
    world.run_until(lambda: is_confirmed(late), within_s=60)
    withholding.is_on = True
    decide(host, Act.ROLE, ben, "ban")
    world.run_until(lambda: not is_confirmed(late), within_s=60)
    assert EventKind.UNCONFIRMED in kinds(late)
    world.run_for(120)
    assert not is_confirmed(late)
    assert state(late).role_of(ben.me.uid) is Role.SPEAKER, "it has not been told"
    world.heal()
    world.run_until(lambda: is_confirmed(late), within_s=60)
    assert state(late).role_of(ben.me.uid) is Role.BAN


@pytest.mark.parametrize("seed", FEW)
def test_who_joins_through_one_who_keeps_a_ban_back_is_never_told_that_all_is_well(seed):
    world = World(seed)
    host, thief, ben = room_of(world, 3)
    decide(host, Act.ROLE, ben, "ban")
    world.run_for(70)  # no beat from before it is good any more
    (late,) = world.join("late")
    world.cut(late, host)
    Withholding(thief, late, beats="on")
    join(world, late, by=thief)
    world.run_for(90)
    assert EventKind.CONFIRMED not in kinds(late)
    assert not is_confirmed(late)


@pytest.mark.parametrize("seed", FEW)
def test_a_lost_seat_s_beats_are_missed_within_a_minute(seed):
    world = World(seed)
    host, ben, cleo = room_of(world, 3)
    world.run_until(lambda: is_confirmed(ben) and is_confirmed(cleo))
    world.crash(host)
    world.run_until(lambda: not is_confirmed(ben) and not is_confirmed(cleo), within_s=65)


# ── hosts come and go ────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("seed", FEW)
def test_a_creator_who_comes_back_through_a_link_has_the_seat_back(seed):
    world = World(seed)
    host, ben, cleo = room_of(world, 3)
    decide(host, Act.GRANT, ben, "moderator")
    world.run_until(lambda: agree_on([host, ben, cleo]) and len(here(cleo).log) == 1)
    host.act(messages.Leave())
    world.run_for(700)
    assert decide(ben, Act.ROLE, cleo, "muted").error is None
    assert EventKind.UNATTENDED not in kinds(cleo), "a moderator runs it"
    host.act(messages.Join(str(facts(ben)["link"])))
    world.run_until(lambda: host.is_inside and agree_on([host, ben, cleo]))
    assert facts(host)["level"] == "creator"
    for node in (host, ben, cleo):
        assert state(node).level(host.me.uid) is Level.CREATOR
    assert decide(host, Act.REVOKE, ben).error is None
    world.run_until(lambda: state(ben).level(ben.me.uid) is Level.SPEAKER)


@pytest.mark.parametrize("seed", FEW)
def test_a_room_that_nobody_runs_says_so_and_closes_after_ten_minutes(seed):
    world = World(seed)
    host, ben, cleo = room_of(world, 3)
    host.act(messages.Leave())
    world.run_for(28)
    assert facts(ben)["attended"] is True
    assert facts(ben)["closes_in_s"] is None
    world.run_until(lambda: not facts(ben)["attended"] and not facts(cleo)["attended"], within_s=4)
    assert EventKind.UNATTENDED in kinds(ben)
    assert 560 <= int(str(facts(ben)["closes_in_s"])) <= 575
    world.run_for(560)
    assert heard_by_all([ben, cleo])
    world.run_until(lambda: not ben.is_inside and not cleo.is_inside, within_s=15)
    assert all("closed after ten minutes" in text for text in [*left_with(ben), *left_with(cleo)])


@pytest.mark.parametrize("seed", FEW)
def test_a_host_who_is_back_in_time_keeps_the_room_open(seed):
    world = World(seed)
    host, ben, cleo = room_of(world, 3)
    host.act(messages.Leave())
    world.run_for(500)
    host.act(messages.Join(str(facts(ben)["link"])))
    world.run_until(lambda: host.is_inside and agree([host, ben, cleo]))
    world.run_for(600)
    assert EventKind.ATTENDED in kinds(ben)
    assert facts(cleo)["attended"] is True
    assert facts(cleo)["closes_in_s"] is None
    assert heard_by_all([host, ben, cleo])


# ── on the list ──────────────────────────────────────────────────────────────────────────────


def publishers(node: Node) -> list[str]:
    """Who lists the rooms that a node sees."""
    return [node.world.nodes[card.publisher].name for card in node.rooms.directory.live(node.now)]


@pytest.mark.parametrize("seed", FEW)
def test_when_the_creator_leaves_the_lowest_of_those_it_seated_lists_the_room(seed):
    world = World(seed)
    host, *others = room_of(world, 4)
    plain, *seated = sorted(others, key=lambda node: node.dev)
    (eve,) = world.join("eve")
    for node in seated:
        decide(host, Act.GRANT, node, "moderator")
    world.run_until(lambda: agree_on([host, *others]) and len(here(plain).log) == 2)
    world.run_for(70)
    assert publishers(eve) == [host.name]
    host.act(messages.Leave())
    world.run_until(lambda: publishers(eve) == [seated[0].name], within_s=5)
    world.run_for(900)
    assert publishers(eve) == [seated[0].name], "its cards are renewed"
    seated[0].act(messages.Leave())
    world.run_until(lambda: publishers(eve) == [seated[1].name], within_s=5)
    eve.act(messages.Join("tea"))
    world.run_until(lambda: eve.is_inside and heard_by_all([plain, seated[1], eve]))
    seated[1].act(messages.Leave())
    world.run_until(lambda: publishers(plain) == [], within_s=5)
    host.act(messages.Join(str(facts(plain)["link"])))
    world.run_until(lambda: publishers(eve) == [host.name])


@pytest.mark.parametrize("seed", FEW)
def test_a_killed_creator_s_room_stays_listed_and_a_revoked_moderator_lists_none(seed):
    world = World(seed)
    host, ben, cleo, eve = (*room_of(world, 3), *world.join("eve"))
    for node in (ben, cleo):
        decide(host, Act.GRANT, node, "moderator")
    world.run_until(lambda: agree_on([host, ben, cleo]) and len(here(cleo).log) == 2)
    first, other = sorted((ben, cleo), key=lambda node: node.dev)
    decide(host, Act.REVOKE, first)
    world.run_until(lambda: agree_on([host, ben, cleo]) and len(here(cleo).log) == 3)
    world.cut_power(host)
    world.run_until(lambda: publishers(eve) == [other.name], within_s=60)
    assert first.sent[messages.PublishCard] == 0


# ── going on ─────────────────────────────────────────────────────────────────────────────────


def abandoned(world: World, count: int) -> list[Node]:
    """So many people in a room whose host has gone for good."""
    host, *rest = room_of(world, count + 1)
    host.act(messages.Leave())
    world.run_until(lambda: not any(facts(node)["attended"] for node in rest), within_s=40)
    return rest


@pytest.mark.parametrize("seed", FEW)
def test_people_go_on_together_in_a_successor(seed):
    world = World(seed)
    ben, cleo, dan = nodes = abandoned(world, 3)
    old = ben.rooms.room
    assert "continue_room" in may(ben)
    assert "move" not in may(cleo)
    ben.act(messages.SetMuted(muted=False))
    answer = ben.answers[ben.act(messages.Continue())]
    assert answer.error is None
    assert answer.facts["title"] == "Tea"
    assert answer.facts["level"] == "creator"
    world.run_until(lambda: all(EventKind.SUCCESSOR_OFFERED in kinds(x) for x in (cleo, dan)))
    for node in (cleo, dan):
        offered = {"title": "Tea", "by": ben.name, "room": answer.facts["room"]}
        assert facts(node)["successor"] == offered
        assert "move" in may(node)
        node.act(messages.Move())
    world.run_until(lambda: heard_by_all(nodes) and agree(nodes))
    for node in nodes:
        genesis = here(node).genesis
        assert genesis is not None
        assert genesis.record.continues == old
        assert here(node).muted
        assert left_with(node) == [""]
        assert facts(node)["successor"] is None


@pytest.mark.parametrize("seed", FEW)
def test_who_continues_a_room_that_somebody_has_continued_goes_there(seed):
    world = World(seed)
    ben, cleo, dan = nodes = abandoned(world, 3)
    ben.act(messages.Continue())
    world.run_for(1)
    for node in (cleo, dan):
        node.act(messages.Continue())
    world.run_until(lambda: heard_by_all(nodes) and agree(nodes))
    assert len({node.rooms.room for node in nodes}) == 1


@pytest.mark.parametrize("seed", FEW)
def test_of_two_successors_opened_at_once_everybody_is_led_to_the_same(seed):
    world = World(seed)
    ben, cleo, dan, eve = nodes = abandoned(world, 4)
    ben.act(messages.Continue())
    cleo.act(messages.Continue())
    rooms = {node: node.rooms.room for node in (ben, cleo)}
    assert rooms[ben] != rooms[cleo]
    first, other = sorted((ben, cleo), key=lambda node: rooms[node] or b"")
    world.run_until(lambda: all(len(here(node).successors) == 2 for node in (dan, eve)))
    for node in (dan, eve):
        offered = facts(node)["successor"]
        assert isinstance(offered, dict)
        assert offered["room"] == (rooms[first] or b"").hex()
        node.act(messages.Move())
    # Who opened the other one learns of the first by its card, and may follow.
    world.run_until(lambda: EventKind.SUCCESSOR_OFFERED in kinds(other))
    assert facts(first)["successor"] is None
    other.act(messages.Move())
    world.run_until(lambda: heard_by_all(nodes) and agree(nodes))


@pytest.mark.parametrize("seed", FEW)
def test_a_member_whom_the_opener_cannot_reach_learns_of_the_successor_by_its_card(seed):
    world = World(seed)
    ben, cleo, dan = abandoned(world, 3)
    world.cut(ben, dan)
    world.run_until(lambda: ben.name not in dan.company, within_s=60)
    ben.act(messages.Continue())
    world.heal()
    world.run_until(lambda: EventKind.SUCCESSOR_OFFERED in kinds(dan))
    dan.act(messages.Move())
    world.run_until(lambda: heard_by_all([ben, dan]))
    assert cleo.is_inside


@pytest.mark.parametrize("seed", FEW)
def test_who_cannot_reach_the_opener_comes_in_by_others_who_have_moved(seed):
    world = World(seed)
    ben, cleo, dan = abandoned(world, 3)
    ben.act(messages.Continue())
    world.run_until(lambda: all(facts(node)["successor"] for node in (cleo, dan)))
    world.cut(ben, dan)
    cleo.act(messages.Move())
    world.run_until(lambda: cleo.is_inside and cleo.name not in dan.company)
    dan.act(messages.Move())
    world.run_until(lambda: dan.hears(cleo) and cleo.company == {ben.name, dan.name})
    assert dan.rooms.room == ben.rooms.room


@pytest.mark.parametrize("seed", FEW)
def test_nobody_leads_people_out_of_a_room_that_somebody_runs(seed):
    world = World(seed)
    host, ben, cleo = room_of(world, 3)
    assert "continue_room" not in may(ben)
    assert "goes on by itself" in error_of(ben, messages.Continue())
    assert "continue" in error_of(cleo, messages.Move())
    ben.is_honest = False
    here(ben).unattended = True  # so it says to itself, in a modified client
    ben.act(messages.Continue())
    world.run_for(5)
    for node in (host, cleo):
        assert EventKind.SUCCESSOR_OFFERED not in kinds(node)
        assert facts(node)["successor"] is None
    assert heard_by_all([host, cleo])


@pytest.mark.parametrize("seed", FEW)
def test_a_stranger_s_room_is_no_successor(seed):
    world = World(seed)
    ben, cleo = abandoned(world, 2)
    (eve,) = world.join("eve")
    eve.act(messages.Open("Tea"))
    stray = eve.rooms.membership
    assert stray is not None
    ben.act(messages.Continue())
    world.run_for(2)
    assert [each.dev for each in here(cleo).successors.values()] == [ben.dev]


@pytest.mark.parametrize("seed", FEW)
@pytest.mark.parametrize("access", [Access.SOCIAL, Access.CLOSED], ids=["social", "closed"])
def test_a_closed_room_goes_on_with_those_who_were_in_it_and_no_others(seed, access):
    world = World(seed)
    host, *guests = nodes = world.join("host", "ben", "cleo", "dan")
    host.act(messages.Open("Tea", access=access))
    world.run_for(1)
    for node in guests:
        node.act(messages.Join(str(facts(host)["link"])))
        world.run_until(lambda: waiting(host) != [])
        assert host.answers[host.act(messages.Admit(key_tag(node.me.uid)))].error is None
    world.run_until(lambda: heard_by_all(nodes))
    ben, cleo, dan = guests
    for node in (dan, host):
        node.act(messages.Leave())
    world.run_until(lambda: not facts(ben)["attended"], within_s=40)
    ben.act(messages.Continue())
    world.run_until(lambda: facts(cleo)["successor"] is not None)
    cleo.events.clear()
    cleo.act(messages.Move())
    world.run_until(lambda: cleo.is_inside and heard_by_all([ben, cleo]))
    assert EventKind.LOBBY_WAITING not in kinds(cleo)
    assert facts(cleo)["access"] == access.name.lower()
    (eve,) = world.join("eve")
    world.run_for(1)
    for node in (dan, eve):
        node.act(messages.Join(str(facts(ben)["link"])))
    world.run_until(lambda: dan.is_inside and heard_by_all([ben, cleo, dan]))
    world.run_for(10)
    assert not eve.is_inside
    assert waiting(ben) == [eve.name]


def waiting(node: Node) -> list[str]:
    """Who is at the door of a room, as a node knows."""
    return [each.name for each in here(node).lobby.people.values()]


@pytest.mark.parametrize("seed", FEW)
def test_a_successor_is_a_room_of_listeners_if_the_old_one_was(seed):
    world = World(seed)
    host, ben, cleo = room_of(world, 3)
    decide(host, Act.ROLE, None, "listener")
    world.run_until(lambda: state(ben).role_of(cleo.me.uid) is Role.LISTENER)
    host.act(messages.Leave())
    world.run_until(lambda: not facts(ben)["attended"], within_s=40)
    ben.act(messages.Continue())
    world.run_until(lambda: facts(cleo)["successor"] is not None)
    cleo.act(messages.Move())
    world.run_until(lambda: cleo.is_inside and state(cleo).role_of(cleo.me.uid) is Role.LISTENER)
    world.run_until(lambda: cleo.hears(ben))
    assert not ben.hears(cleo)
    assert isinstance(ben.events[-1], Event)
