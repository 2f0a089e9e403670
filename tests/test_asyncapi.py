"""docs/asyncapi.json says what the code does: it is written from it, and real answers fit it."""

import json
from typing import Literal, get_args, get_origin

import pytest
from jsonschema import ValidationError

from p2phouse.api import BadRequest
from p2phouse.room.messages import EventKind
from p2phouse.verbs.declaration import REQUIRED
from p2phouse.verbs.document import PLAIN, written
from p2phouse.verbs.table import VERBS
from tests import promised
from tests.asked import TableNode
from tests.room.table import Table


def words_of(hint):
    return get_args(hint.kind) if get_origin(hint.kind) is Literal else ()


DOCUMENT = json.loads(promised.PATH.read_text())
ARGUMENTS = [(verb.name, each) for verb in VERBS.values() for each in verb.arguments]
WORDS = {word for _, each in ARGUMENTS for option in each.hint.options for word in words_of(option)}
SAMPLES: list[object] = [None, "", "x", "ana", "x" * 10_000, -1, 0, 1, 201, 10**12, True, 1.5, []]
SAMPLES += sorted(WORDS)


def test_it_is_what_the_code_says():
    assert promised.PATH.read_text() == written(), "run python -m p2phouse.verbs.document"


def references(part) -> list[str]:
    if isinstance(part, dict):
        own = [part["$ref"]] if "$ref" in part else []
        return own + [each for value in part.values() for each in references(value)]
    return [each for value in part for each in references(value)] if isinstance(part, list) else []


def test_every_reference_leads_somewhere():
    for reference in references(DOCUMENT):
        found = DOCUMENT
        for name in reference.removeprefix("#/").split("/"):
            found = found[name]


def test_every_verb_is_asked_through_the_socket_and_those_of_the_page_through_it():
    operations = DOCUMENT["operations"]
    assert {f"socket.{name}" for name in VERBS} == {n for n in operations if n[:7] == "socket."}
    of_page = {f"page.{verb.name}" for verb in VERBS.values() if verb.page}
    of_page |= {"page.token", "page.pulse", "page.events"}
    assert of_page == {name for name in operations if name.startswith("page.")}


def test_every_event_is_a_message_with_its_meaning():
    for kind in EventKind:
        message = DOCUMENT["components"]["messages"][f"event.{kind.name.lower()}"]
        assert message["summary"]


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_argument_and_fact_says_what_it_is(verb):
    declared = VERBS[verb]
    assert declared.doc.endswith((".", ":"))
    for each in declared.arguments:
        assert each.hint.doc or each.hint.kind not in PLAIN, each.name


@pytest.mark.parametrize(("verb", "argument"), ARGUMENTS, ids=lambda each: str(each)[:20])
def test_the_document_takes_just_what_the_verb_takes(verb, argument):
    needed = {each.name: sample_of(each) for each in VERBS[verb].arguments}
    needed = {name: value for name, value in needed.items() if value is not REQUIRED}
    for sample in SAMPLES:
        request = {**needed, argument.name: sample}
        assert takes(argument, request) == fits(verb, request), sample


def sample_of(argument):
    """A value that a required argument may have."""
    if argument.default is not REQUIRED:
        return REQUIRED
    return next(each for each in SAMPLES if takes(argument, {argument.name: each}))


def takes(argument, request) -> bool:
    try:
        argument.read(request)
    except BadRequest:
        return False
    return True


def fits(verb, request) -> bool:
    try:
        promised.check_request(verb, **request)
    except ValidationError:
        return False
    return True


async def test_what_a_core_says_of_its_room_and_people_is_declared():
    table = Table()
    node = TableNode(table)
    assert await node.asked("members") == {"room": None, "report": 0, "members": []}
    table.open()
    table.let_in(table.person())
    facts = await node.asked("members")
    assert [each["you"] for each in facts["members"]] == [True, False]


async def test_a_fact_that_nobody_declared_is_found():
    with pytest.raises(ValidationError):
        promised.check_result("rename", {"name": "Ana", "age": 5})
    with pytest.raises(ValidationError):
        promised.check_event("events", {"event": "joined", "room": 5, "peer_id": None, "text": ""})
