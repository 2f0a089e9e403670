"""What holds of every verb, of those to come as well: it answers as declared or says what to do."""

import pytest

from p2phouse.errors import UserError
from p2phouse.room import messages
from p2phouse.verbs.table import VERBS
from tests.asked import TableNode
from tests.room.table import Table
from tests.room.test_stay import let_us_in, list_room
from tests.test_asyncapi import SAMPLES, takes

# These want a network, a web server, a media process or an end that no table has.
ELSEWHERE = {"status", "id", "page", "events", "say", "listen", "join", "doctor"}
NAMES = [name for name in VERBS if name not in ELSEWHERE]


def some(verb, **fixed):
    """Arguments that the verb takes."""
    arguments = {}
    for each in VERBS[verb].arguments:
        likely = ["ann", "hello", "text", *SAMPLES]
        arguments[each.name] = fixed.get(each.name) or next(
            value for value in likely if takes(each, {each.name: value})
        )
    return arguments


async def answers_or_says_why(node, verb, **fixed):
    said = "Done."
    try:
        await node.asked(verb, **some(verb, **fixed))
    except UserError as error:
        said = str(error)
    assert said.endswith((".", "?")), "a sentence"
    await node.asked("members")


@pytest.mark.parametrize("verb", NAMES)
async def test_outside_a_room_it_answers_or_says_what_to_do(verb, tmp_path):
    await answers_or_says_why(TableNode(Table(), tmp_path), verb)


@pytest.mark.parametrize("verb", NAMES)
@pytest.mark.parametrize("who", ["ann", "me", "nobody"])
async def test_in_a_room_of_ours_it_answers_or_says_why_not(verb, who, tmp_path):
    table = Table()
    table.open()
    table.let_in(table.person("ann"))
    await answers_or_says_why(TableNode(table, tmp_path), verb, who=who)


@pytest.mark.parametrize("verb", NAMES)
async def test_in_a_room_of_others_it_answers_or_says_why_not(verb, tmp_path):
    table, ann = Table(), Table(seed=3).person("ann")
    list_room(table, ann)
    table.ask(messages.Join("tea"))
    let_us_in(table, ann)
    await answers_or_says_why(TableNode(table, tmp_path), verb, who="ann")
