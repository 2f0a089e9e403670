"""Chat in rooms that fall apart, with wrong clocks, and with people who flood or cheat."""

import pytest

from p2phouse.identity.keys import key_tag
from p2phouse.record.types import Act, ChatKind
from p2phouse.room import messages
from p2phouse.room.frames import FrameKind
from p2phouse.room.messages import Decide, Write
from tests.sim.test_mesh import room_of
from tests.sim.world import SEEDS, WEAK_4G, Node, World

FEW = [*SEEDS][::5]  # of what takes many messages


def write(node: Node, text: str = "", kind: ChatKind = ChatKind.TEXT, ref: str = "") -> str:
    answer = node.answers[node.act(Write(kind, text, ref))]
    assert answer.error is None, answer.error
    return str(answer.facts["id"])


def shown(node: Node, part: str = "messages") -> list[tuple[str, str, bool]]:
    words = node.rooms.chat()[part]
    assert isinstance(words, list)
    return [(each["id"], each["text"], each["deleted"]) for each in words]


def texts(node: Node, part: str = "messages") -> list[str]:
    return [text for _, text, _ in shown(node, part)]


def all_show_the_same(nodes: list[Node]) -> bool:
    states = {(*shown(node), "pins", *shown(node, "pins")) for node in nodes}
    return len(states) == 1


@pytest.mark.parametrize("seed", SEEDS)
def test_what_one_writes_all_read_within_a_second(seed: int):
    world = World(seed, WEAK_4G)
    nodes = room_of(world, 8)
    for node in nodes:
        write(node, f"hello from {node.name}")
    world.run_for(1)
    assert all_show_the_same(nodes)
    assert len(shown(nodes[0])) == 8


@pytest.mark.parametrize("seed", FEW)
def test_a_room_that_fell_in_two_shows_one_chat_within_five_seconds_of_its_healing(seed: int):
    world = World(seed)
    nodes = room_of(world, 6)
    host, ben, *_ = nodes
    assert host.answers[host.act(Decide(Act.GRANT, key_tag(ben.me.uid), "moderator"))]
    first = write(host, "before")
    world.run_for(2)
    world.split(nodes[:3], nodes[3:])
    for turn in range(65):
        for node in nodes[2:4]:
            write(node, f"{turn} from {node.name}")
        world.run_for(1)
    write(ben, "rules", ChatKind.PIN)
    write(ben, kind=ChatKind.DELETE, ref=shown(ben)[-1][0])
    write(host, kind=ChatKind.DELETE, ref=first)
    assert not all_show_the_same(nodes)
    world.heal()
    world.run_until(lambda: all(len(node.company) == 5 for node in nodes))
    world.run_for(5)
    assert all_show_the_same(nodes)
    assert len(shown(host)) == 131
    assert [text for _, text, deleted in shown(nodes[5]) if deleted] == ["", ""]
    assert texts(nodes[5], "pins") == ["rules"]


@pytest.mark.parametrize("seed", SEEDS)
def test_clocks_an_hour_wrong_change_the_order_and_nothing_else(seed: int):
    world = World(seed)
    nodes = world.join("a", "b", "c", "d", skew_s=3_600)
    nodes[0].act(messages.Open("Tea"))
    world.run_for(2)
    link = str(nodes[0].rooms.facts()["link"])
    for node in nodes[1:]:
        node.act(messages.Join(link))
    world.run_until(lambda: all(len(node.company) == 3 for node in nodes))
    for turn in range(3):
        for node in nodes:
            write(node, f"{turn}")
            world.run_for(1)
    world.run_for(2)
    assert all_show_the_same(nodes)
    assert len(shown(nodes[0])) == 12


@pytest.mark.parametrize("seed", FEW)
def test_somebody_new_reads_the_last_fifty_messages(seed: int):
    world = World(seed)
    nodes = room_of(world, 3)
    for turn in range(30):
        for node in nodes[:2]:
            write(node, f"{turn}")
        world.run_for(1)
    (late,) = world.join("late")
    world.run_for(2)
    late.act(messages.Join("tea"))
    world.run_until(lambda: len(late.company) == 3)
    world.run_for(3)
    assert shown(late) == shown(nodes[0])[-50:]
    world.run_for(130)
    assert shown(late) == shown(nodes[0])[-50:]


@pytest.mark.parametrize("seed", SEEDS)
def test_who_was_killed_and_comes_back_reads_the_last_messages_and_writes_on(seed: int):
    world = World(seed)
    nodes = room_of(world, 3)
    ben = nodes[1]
    write(ben, "before the crash")
    world.run_for(1)
    world.crash(ben)
    write(nodes[0], "meanwhile")
    world.run_for(3)
    world.restart(ben)
    world.run_until(lambda: all(len(node.company) == 2 for node in nodes))
    world.run_for(3)
    write(ben, "back again")
    world.run_for(1)
    assert texts(ben) == ["before the crash", "meanwhile", "back again"]
    assert all_show_the_same(nodes)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_new_moderator_reads_what_the_moderators_said_and_an_old_one_no_more(seed: int):
    world = World(seed)
    host, ben, *rest = room_of(world, 4)
    write(host, "nobody here yet", ChatKind.MODS)
    world.run_for(1)
    host.act(Decide(Act.GRANT, key_tag(ben.me.uid), "moderator"))
    world.run_for(3)
    assert texts(ben, "mods") == ["nobody here yet"]
    host.act(Decide(Act.REVOKE, key_tag(ben.me.uid)))
    world.run_for(1)
    assert texts(ben, "mods") == []
    assert all(texts(node, "mods") == [] for node in rest)


@pytest.mark.parametrize("seed", FEW)
def test_a_flood_reaches_people_at_the_pace_of_anybody_else_and_blames_nobody(seed: int):
    world = World(seed)
    nodes = room_of(world, 5)
    host, flooder, *rest = nodes
    flooder.is_honest = False
    flooder.rooms._chat._pen._must_be_shown = lambda *_: None  # type: ignore[method-assign]  # a modified client
    for turn in range(20):
        for number in range(20):
            write(flooder, f"{turn}/{number}")
        world.run_for(0.5)
    write(rest[0], "still here")
    world.run_for(2)
    honest = [host, *rest]
    for node in honest:
        assert 0 < len([text for text in texts(node) if "/" in text]) <= 5 + 10 + 1
        assert "still here" in texts(node)
        assert {each.name for each in honest} - {node.name} <= node.company
    host.act(Decide(Act.ROLE, key_tag(flooder.me.uid), "ban"))
    world.run_for(1)
    assert all(texts(node) == ["still here"] for node in honest)


@pytest.mark.parametrize("seed", FEW)
def test_while_chat_is_off_a_modified_client_is_read_by_nobody(seed: int):
    world = World(seed)
    host, loud, *rest = room_of(world, 4)
    write(loud, "before")
    loud.is_honest = False
    host.act(Decide(Act.CHAT, value=False))
    world.run_for(1)
    loud.rooms._chat._pen._must_be_shown = lambda *_: None  # type: ignore[method-assign]  # a modified client
    membership = loud.rooms.membership
    assert membership is not None
    membership.log.state.winners.clear()  # type: ignore[attr-defined]
    for number in range(5):
        write(loud, f"anyway {number}")
        world.run_for(1)
    write(host, "back at nine")
    world.run_for(130)
    for node in (host, *rest):
        assert texts(node) == ["back at nine"]
    host.act(Decide(Act.CHAT, value=True))
    world.run_for(5)
    for node in (host, *rest):
        assert texts(node)[0] == "before"


@pytest.mark.parametrize("seed", FEW)
def test_the_moderators_channel_crosses_no_link_of_anybody_else(seed: int):
    world = World(seed)
    host, ben, *rest = room_of(world, 5)
    host.act(Decide(Act.GRANT, key_tag(ben.me.uid), "moderator"))
    world.run_for(1)
    crossed: list[bytes] = []
    for node in rest:
        take = node.rooms.receive

        def watch(now, sender, message, take=take):
            if isinstance(message, messages.RoomFrame) and message.frame[0] == FrameKind.CHAT:
                crossed.extend(message.frame[1])  # type: ignore[arg-type]
            return take(now, sender, message)

        node.rooms.receive = watch  # type: ignore[method-assign]  # what comes in at the others
    write(ben, "who invited node4?", ChatKind.MODS)
    world.run_for(1)
    world.split([host, ben], rest)
    world.run_for(20)
    write(host, "I did", ChatKind.MODS)
    world.heal()
    world.run_for(80)
    assert texts(host, "mods") == texts(ben, "mods") == ["who invited node4?", "I did"]
    assert all(texts(node, "mods") == [] for node in rest)
    assert not any(b"invited" in data or b"I did" in data for data in crossed)
