"""The verbs of the stage, asked of a node with a real core: what they do and refuse."""

import pytest

from p2phouse.api import BadRequest
from p2phouse.record import limits
from p2phouse.room.stay import NotInARoom
from tests.asked import TableNode
from tests.room.table import Person, Table

ASKED: dict[str, dict[str, object]] = {
    "hand": {},
    "lower_hand": {},
    "invite": {"who": "ann"},
    "accept": {},
    "decline": {},
    "step_down": {},
    "audience": {"who": "ann"},
    "mute_all": {},
    "unmute_all": {},
    "react": {"emoji": "🎉"},
    "typing": {"on": True},
}


@pytest.fixture
def node() -> TableNode:
    table = Table()
    table.open()
    return TableNode(table)


@pytest.fixture
def ann(node: TableNode) -> Person:
    person = node.table.person("ann")
    node.table.let_in(person)
    return person


async def person(node, name):
    found = (await node.asked("members"))["members"]
    return next(each for each in found if each["name"] == name)


@pytest.mark.parametrize("verb", ASKED)
async def test_outside_a_room_there_is_no_stage(verb):
    with pytest.raises(NotInARoom):
        await TableNode(Table()).asked(verb, **ASKED[verb])


async def test_a_hand_goes_up_with_its_topic_in_one_line_and_down(node):
    await node.asked("hand", topic="  one \n question ")
    me = await person(node, "me")
    assert me["hand"] == {"topic": "one question", "place": 1}
    await node.asked("lower_hand")
    assert (await person(node, "me"))["hand"] is None


@pytest.mark.parametrize("topic", ["x" * 65, "a\u202eb", 5])
async def test_a_topic_that_others_would_refuse_is_refused_here(node, topic):
    with pytest.raises(BadRequest):
        await node.asked("hand", topic=topic)
    assert (await person(node, "me"))["hand"] is None
    await node.asked("hand", topic="x" * limits.TOPIC_CODE_POINTS_MAX)


@pytest.mark.parametrize("emoji", ["", "   ", "x" * 9, "\u202e"])
async def test_a_reaction_that_others_would_pass_over_is_refused_here(node, emoji):
    with pytest.raises(BadRequest):
        await node.asked("react", emoji=emoji)
    await node.asked("react", emoji="👩‍👩‍👧‍👦")


async def test_a_room_of_the_invited_is_opened_with_an_audience():
    node = TableNode(Table())
    facts = await node.asked("open", title="Tea", stage="invited")
    assert (facts["stage"], facts["role"], facts["speakers_max"]) == ("invited", "speaker", 16)
    node.table.let_in(node.table.person("ann"))
    assert (await person(node, "ann"))["role"] == "listener"
    await node.asked("invite", who="ann")
    assert (await person(node, "ann"))["role"] == "speaker"
    assert "audience" in (await person(node, "ann"))["may"]
    await node.asked("audience", who="ann")
    assert (await person(node, "ann"))["role"] == "listener"


@pytest.mark.parametrize("speakers", [1, 16])
async def test_a_stage_has_as_many_places_as_its_opener_says(speakers):
    facts = await TableNode(Table()).asked("open", title="Tea", speakers=speakers)
    assert facts["speakers_max"] == speakers


@pytest.mark.parametrize("speakers", [0, 17])
async def test_a_stage_has_1_to_16_places(speakers):
    with pytest.raises(BadRequest):
        await TableNode(Table()).asked("open", title="Tea", speakers=speakers)


async def test_stepping_down_and_coming_back(node):
    assert (await node.asked("members"))["on_stage"] == 1
    await node.asked("step_down")
    assert not (await person(node, "me"))["on_stage"]
    assert (await node.asked("members"))["on_stage"] == 0
    node.table.key_voice()
    await node.asked("accept")
    assert (await node.asked("members"))["on_stage"] == 1


async def test_mute_all_says_what_it_wrote_and_a_request_nothing(node, ann):
    assert await node.asked("mute_all") == {}
    assert len((await node.asked("mute_all", lock=True))["entries"]) == 1
    assert (await person(node, "ann"))["role"] == "muted"
    assert len((await node.asked("unmute_all"))["entries"]) == 1
    assert (await person(node, "ann"))["role"] == "speaker"


async def test_typing_is_shown(node):
    await node.asked("typing", on=True)
    assert (await person(node, "me"))["typing"]
    await node.asked("typing", on=False)
    assert not (await person(node, "me"))["typing"]
