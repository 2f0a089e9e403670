"""The verbs that run a room, asked of a node with a real core: what they do and refuse."""

import pytest

from p2phouse.api import BadRequest
from p2phouse.guest import tokens
from p2phouse.hall import invitation
from p2phouse.identity.keys import key_tag, peer_id
from p2phouse.record import limits
from p2phouse.room import messages
from p2phouse.room.authority import NobodyCalled, SeveralCalled
from p2phouse.room.log import HasNoSeat, MayNot
from p2phouse.room.room import NoGuestsHere
from p2phouse.room.rules import Role
from p2phouse.room.stay import NotInARoom
from tests.asked import TableNode
from tests.room.table import Person, Table

ASKED = {
    "grant": {"who": "ann", "seat": "host"},
    "revoke": {"who": "ann"},
    "role": {"who": "ann", "role": "muted"},
    "title": {"title": "Coffee"},
    "lock": {},
    "unlock": {},
    "end": {},
    "why": {},
    "guest_token": {"name": "Zoé"},
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
async def test_outside_a_room_there_is_nothing_to_run(verb):
    with pytest.raises(NotInARoom):
        await TableNode(Table()).asked(verb, **ASKED[verb])


@pytest.mark.parametrize("verb", ["grant", "revoke", "role", "why"])
async def test_nobody_and_several_are_told_apart_from_one(node, verb):
    with pytest.raises(NobodyCalled, match="“ann”"):
        await node.asked(verb, **ASKED[verb] | {"who": "ann"})
    for _ in range(2):
        node.table.let_in(node.table.person("ann"))
    with pytest.raises(SeveralCalled, match="key tag"):
        await node.asked(verb, **ASKED[verb] | {"who": "ann"})


@pytest.mark.parametrize("seat", ["host", "moderator"])
async def test_a_seat_is_given_and_taken_back_and_why_says_by_whom(node, ann, seat):
    written = (await node.asked("grant", who="ann", seat=seat))["entries"]
    assert (await person(node, "ann"))["level"] == seat
    why = await node.asked("why", who="ann")
    assert why["level"] == seat
    assert [(each["id"], each["act"], each["value"], each["by"]) for each in why["entries"]] == [
        (written[0], "grant", seat, key_tag(node.me.uid))
    ]
    await node.asked("revoke", who=peer_id(ann.dev))
    assert (await person(node, "ann"))["level"] == "speaker"


@pytest.mark.parametrize("who", ["ann", "peer_id", "key_tag"])
async def test_a_person_is_meant_by_name_key_tag_or_peer_id(node, ann, who):
    meant = {"peer_id": peer_id(ann.dev), "key_tag": key_tag(ann.me.uid)}.get(who, who)
    await node.asked("role", who=meant, role="listener")
    assert (await person(node, "ann"))["role"] == "listener"


@pytest.mark.parametrize("role", ["speaker", "muted", "listener"])
async def test_a_person_is_given_a_role_and_why_says_so(node, ann, role):
    await node.asked("role", who="ann", role=role)
    assert (await person(node, "ann"))["role"] == role
    (entry,) = (await node.asked("why", who="ann"))["entries"]
    assert (entry["act"], entry["value"]) == ("role", role)


@pytest.mark.parametrize("role", ["remove", "ban"])
async def test_who_is_put_out_is_gone(node, ann, role):
    await node.asked("role", who="ann", role=role)
    assert [each["name"] for each in (await node.asked("members"))["members"]] == ["me"]


async def test_an_empty_who_means_all_without_a_role_of_their_own(node, ann):
    ben = node.table.person("ben")
    node.table.let_in(ben)
    await node.asked("role", who="ann", role="speaker")
    await node.asked("role", who="", role="listener")
    assert (await person(node, "ben"))["role"] == "listener"
    assert (await person(node, "ann"))["role"] == "speaker"
    await node.asked("role", who="", role="speaker")
    assert (await person(node, "ben"))["role"] == "speaker"


@pytest.mark.parametrize("role", ["remove", "ban"])
async def test_nobody_is_put_out_unnamed(node, ann, role):
    with pytest.raises(BadRequest, match=role):
        await node.asked("role", who="", role=role)
    assert (await person(node, "ann"))["role"] == "speaker"


@pytest.mark.parametrize(
    ("verb", "arguments"),
    [
        ("grant", {"who": "ann", "seat": "king"}),
        ("grant", {"who": "ann"}),
        ("grant", {"who": "", "seat": "host"}),
        ("grant", {"who": 5, "seat": "host"}),
        ("revoke", {"who": ""}),
        ("revoke", {}),
        ("role", {"who": "ann", "role": "king"}),
        ("role", {"who": "ann", "role": ""}),
        ("role", {"role": "muted"}),
        ("title", {}),
        ("title", {"title": 5}),
        ("title", {"title": ""}),
        ("title", {"title": " \t "}),
        ("title", {"title": "a\u202eb"}),
        ("title", {"title": "x" * (limits.TITLE_CODE_POINTS_MAX + 1)}),
        ("why", {"who": None}),
    ],
)
async def test_what_cannot_be_meant_is_refused_before_anything_is_written(
    node, ann, verb, arguments
):
    before = await node.asked("members")
    with pytest.raises(BadRequest):
        await node.asked(verb, **arguments)
    assert await node.asked("members") == before


@pytest.mark.parametrize("title", ["Coffee", "é" * limits.TITLE_CODE_POINTS_MAX])
async def test_the_room_takes_another_title(node, title):
    await node.asked("title", title=f"  {title} ")
    assert (await node.asked("members"))["title"] == title


async def test_a_room_is_locked_and_unlocked(node):
    await node.asked("lock")
    assert (await node.asked("members"))["locked"]
    await node.asked("unlock")
    assert not (await node.asked("members"))["locked"]


async def test_a_room_that_was_ended_is_left(node):
    await node.asked("end")
    assert (await node.asked("members"))["room"] is None


async def test_nobody_takes_the_creator_s_seat(node):
    with pytest.raises(MayNot):
        await node.asked("revoke", who="me")


async def test_there_is_no_seat_to_take_back_from_who_has_none(node, ann):
    with pytest.raises(HasNoSeat):
        await node.asked("revoke", who="ann")


async def test_why_of_nobody_is_why_of_ourselves(node):
    why = await node.asked("why")
    assert why == {
        "key_tag": key_tag(node.me.uid),
        "role": "speaker",
        "level": "creator",
        "entries": [],
    }


async def test_a_guest_s_token_is_a_person_whom_the_log_lets_speak(node):
    with pytest.raises(NoGuestsHere, match="relay"):
        await node.asked("guest_token", name="Zoé")
    relay = node.table.person("relay")
    node.table.ask(messages.NameRelay(relay.me.uid))
    given = await node.asked("guest_token", name="Zoé B/2")
    seed = tokens.read(given["token"])
    assert seed is not None
    zoe = tokens.person_of(seed, node.table.now)
    assert given["key_tag"] == key_tag(zoe)
    room = node.table.here.room
    assert given["path"] == f"/whip/{invitation.room_text(room)}/Zo%C3%A9%20B%2F2"
    state = node.table.here.log.state
    assert (state.role_of(zoe), state.level(zoe).name) == (Role.SPEAKER, "SPEAKER")
    await node.asked("role", who=given["key_tag"], role="remove")
    assert not node.table.here.log.state.may_speak(zoe)
    again = await node.asked("guest_token", name="Zoé")
    assert again["token"] != given["token"]
    await node.asked("access", value="closed")
    with pytest.raises(NoGuestsHere):
        await node.asked("guest_token", name="Zoé")
