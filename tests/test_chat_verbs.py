"""The verbs of chat and of people, asked of a node with a real core: what they do and refuse."""

import stat
from pathlib import Path

import pytest

from p2phouse.api import BadRequest
from p2phouse.identity.keys import key_tag
from p2phouse.people.blocks import blocks
from p2phouse.room import report
from p2phouse.room.authority import NobodyCalled
from p2phouse.room.chat_pen import BadMessage, NoSuchMessage
from p2phouse.room.frames import FrameKind
from p2phouse.room.messages import SendRoomFrame
from p2phouse.room.stay import NotInARoom
from p2phouse.verbs.people import BlockingYourself, NotBlocked
from tests.asked import TableNode
from tests.room.table import Person, Table, of
from tests.room.test_chat_exchange import say, word

ASKED: dict[str, dict[str, object]] = {
    "chat": {"text": "hello"},
    "messages": {},
    "unsay": {"message": "abcd"},
    "pin": {"text": "rules"},
    "unpin": {"message": "abcd"},
    "mods": {"text": "psst"},
    "chat_mode": {"mode": "off"},
    "block": {"who": "ann"},
    "gain": {"who": "ann", "percent": 50},
    "report": {"who": "ann", "text": "rude"},
}


@pytest.fixture
def node(tmp_path) -> TableNode:
    table = Table()
    table.open()
    return TableNode(table, tmp_path)


@pytest.fixture
def ann(node: TableNode) -> Person:
    person = node.table.person("ann")
    node.table.let_in(person)
    return person


def private(file: Path) -> bytes:
    """What is in the file, which nobody else may read."""
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    return file.read_bytes()


async def texts(node: TableNode, part: str = "messages") -> list[str]:
    return [each["text"] for each in (await node.asked("messages"))[part]]


@pytest.mark.parametrize("verb", ASKED)
async def test_outside_a_room_nobody_is_there_to_write_to_or_about(verb, tmp_path):
    with pytest.raises(NotInARoom):
        await TableNode(Table(), tmp_path).asked(verb, **ASKED[verb])


@pytest.mark.parametrize("verb", ["block", "gain", "report"])
async def test_nobody_is_meant_whom_nobody_knows(node, verb):
    with pytest.raises(NobodyCalled):
        await node.asked(verb, **ASKED[verb])


async def test_what_is_written_stands_in_the_chat_with_who_wrote_it(node, ann):
    say(node.table, ann, word(ann, node.table, "hello"))
    written = await node.asked("chat", text="hello, Ann")
    first, second = (await node.asked("messages"))["messages"]
    assert (first["name"], first["by"], first["mine"]) == ("ann", key_tag(ann.me.uid), False)
    assert (second["id"], second["text"], second["mine"]) == (written["id"], "hello, Ann", True)
    later = (await node.asked("messages", since=second["at_s"] + 1))["messages"]
    assert later == []


async def test_a_message_is_named_by_the_start_of_its_id(node, ann):
    mine = (await node.asked("chat", text="oops"))["id"]
    for wrong in ("abc", "zzzz", mine[:3]):
        with pytest.raises(NoSuchMessage):
            await node.asked("unsay", message=wrong)
    await node.asked("unsay", message=mine[:4].upper())
    (message,) = (await node.asked("messages"))["messages"]
    assert (message["deleted"], message["text"]) == (True, "")


async def test_pins_and_the_moderators_channel(node, ann):
    pin = (await node.asked("pin", text="https://p2phouse.example"))["id"]
    await node.asked("mods", text="is Ann all right?")
    assert await texts(node, "pins") == ["https://p2phouse.example"]
    assert await texts(node, "mods") == ["is Ann all right?"]
    await node.asked("unpin", message=pin)
    assert await texts(node, "pins") == []


@pytest.mark.parametrize(("mode", "told"), [("off", "off"), ("on", "on"), (30, 30), (3_600, 3_600)])
async def test_the_chat_s_mode_is_a_fact_of_the_room(node, ann, mode, told):
    assert (await node.asked("members"))["chat"] == "on"
    await node.asked("chat_mode", mode=mode)
    assert (await node.asked("members"))["chat"] == told
    assert (await node.asked("messages"))["mode"] == told
    await node.asked("chat_mode", mode="on")
    assert (await node.asked("members"))["chat"] == "on"


@pytest.mark.parametrize(
    ("verb", "arguments"),
    [
        ("chat_mode", {"mode": 0}),
        ("chat_mode", {"mode": 3_601}),
        ("chat_mode", {"mode": "slow"}),
        ("chat_mode", {"mode": True}),
        ("chat", {"text": ""}),
        ("chat", {}),
        ("unsay", {"message": 5}),
        ("gain", {"who": "ann", "percent": 201}),
        ("gain", {"who": "ann", "percent": -1}),
        ("block", {}),
    ],
)
async def test_what_no_argument_can_be_is_refused(node, ann, verb, arguments):
    with pytest.raises(BadRequest):
        await node.asked(verb, **arguments)


async def test_a_text_that_no_record_holds_is_refused_with_what_would_do(node):
    with pytest.raises(BadMessage, match="1 to 500 characters"):
        await node.asked("chat", text=" \t ")
    with pytest.raises(BadMessage, match="1 to 200 characters"):
        await node.asked("pin", text="x" * 201)


async def test_who_is_blocked_is_listed_unread_and_unblocked_by_name(node, ann):
    say(node.table, ann, word(ann, node.table, "hello"))
    await node.asked("block", who="ann")
    assert await texts(node) == []
    (person,) = (await node.asked("blocked"))["people"]
    assert (person["name"], person["uid"]) == ("ann", ann.me.uid.hex())
    facts = (await node.asked("members"))["members"][1]
    assert (facts["blocked"], facts["level_dbov"]) == (True, -127)
    assert blocks(node.config.home).read() == {ann.me.uid: "ann"}
    with pytest.raises(NotBlocked):
        await node.asked("unblock", who="bob")
    await node.asked("unblock", who=key_tag(ann.me.uid))
    assert await texts(node) == ["hello"]
    assert (await node.asked("blocked"))["people"] == []
    with pytest.raises(BlockingYourself):
        await node.asked("block", who="me")


async def test_somebody_who_has_left_can_be_blocked_by_its_root_key(node, ann):
    say(node.table, ann, word(ann, node.table, "goodbye"))
    node.table.down(ann)
    (message,) = (await node.asked("messages"))["messages"]
    await node.asked("block", who=message["by_uid"])
    assert await texts(node) == []
    assert [each["name"] for each in (await node.asked("blocked"))["people"]] == ["ann"]


async def test_a_person_s_loudness_is_a_fact_of_the_person(node, ann):
    assert (await node.asked("members"))["members"][1]["gain_pct"] == 100
    await node.asked("gain", who="ann", percent=150)
    assert (await node.asked("members"))["members"][1]["gain_pct"] == 150


async def test_a_report_is_kept_for_oneself_and_told_to_those_who_run_the_room(node, ann):
    bob = node.table.person("bob")
    node.table.let_in(bob)
    await node.asked("grant", who="bob", seat="moderator")
    say(node.table, ann, word(ann, node.table, "go away"))
    facts = await node.asked("report", who="ann", text="rude to everybody")
    assert facts["told"] == ["bob"]
    kept = private(node.config.home / "reports" / facts["file"])
    bundle = report.read(kept)
    assert bundle.report.record.about == ann.me.uid
    assert [each.record.text for each in bundle.chats] == ["go away"]
    (sent,) = [f for f in of(SendRoomFrame, node.table.said) if f.frame[0] == FrameKind.REPORT]
    assert (sent.dev, sent.frame[1]) == (bob.dev, kept)
    again = await node.asked("report", who="ann", text="and again")
    assert again["file"] != facts["file"]


async def test_what_is_reported_to_us_is_listed_with_its_proof(node, ann):
    bob = node.table.person("bob")
    node.table.let_in(bob)
    say(node.table, ann, word(ann, node.table, "go away"))
    here = node.table.here
    data = report.make(
        bob.me, node.table.now, log=here.log, chats=here.chats, about=ann.me.uid, text="rude"
    )
    node.table.frame(bob, [int(FrameKind.REPORT), data])
    (told,) = (await node.asked("reports"))["reports"]
    assert (told["by_name"], told["about_name"], told["text"]) == ("bob", "ann", "rude")
    assert told["about_uid"] == ann.me.uid.hex()
    assert [each["text"] for each in told["evidence"]] == ["go away"]


async def test_what_one_may_do_with_the_chat_is_told_beforehand(node, ann):
    assert {"chat", "pin", "mods", "chat_mode"} <= set((await node.asked("members"))["may"])
