"""What verbs refuse before they ask anything of the node."""

from pathlib import Path
from typing import Annotated, Literal

import pytest
import trio

from p2phouse import channel
from p2phouse.api import BadRequest, Call
from p2phouse.channel import SetInput, SetOutput
from p2phouse.config import Config
from p2phouse.node import Node
from p2phouse.verbs.declaration import PATH_CHARS_MAX, Between, FilePath, verb
from p2phouse.verbs.room import TYPED_ADDRESS
from p2phouse.verbs.table import VERBS


async def tell(event):
    raise AssertionError("nothing has happened")


@pytest.mark.parametrize(("name", "argument"), [("say", "path"), ("listen", "out")])
@pytest.mark.parametrize("path", ["x" * (PATH_CHARS_MAX + 1), "a\udcff.wav", 5])
async def test_a_path_that_the_media_process_could_not_be_told_is_refused(
    tmp_path, name, argument, path
):
    node = Node(Config(tmp_path, tmp_path))
    with pytest.raises(BadRequest):
        await VERBS[name](node, Call(tell, trio.Event()), {argument: path})


def test_the_longest_path_fits_the_message_that_carries_it():
    longest = "file:" + "\U0001f3a4" * PATH_CHARS_MAX
    for message in (SetInput(longest), SetOutput(longest)):
        assert channel.FrameReader("down").feed(channel.encode(message)) == [message]


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("10.0.0.1:17472", ("10.0.0.1", "17472")),
        ("kitchen.local:4001", ("kitchen.local", "4001")),
        ("x:\u00b2", None),
        ("x:" + "9" * 4_400, None),
        ("Tea 10:30", None),
        ("Tea", None),
        ("p2ph:abc:12", None),
        (":12", None),
    ],
)
def test_only_a_host_and_a_port_are_taken_for_an_address(text, address):
    found = TYPED_ADDRESS.fullmatch(text)
    assert (found and found.groups()) == address


# ── declarations ─────────────────────────────────────────────────────────────────────────────


@verb()
async def paint(
    node,
    call,
    wall: Annotated[str, "which", Between(1, 5)],
    colour: Literal["red", "blue"] | Annotated[int, Between(1, 9)] = "red",
    coats: int = 1,
    wet: bool = False,
):
    """Paints a wall."""
    return {"wall": wall, "colour": colour, "coats": coats, "wet": wet}


async def painted(request):
    node = Node(Config(Path("none"), Path("none")))
    return await paint(node, Call(tell, trio.Event()), request)


async def test_what_is_missing_takes_its_default_and_what_is_unknown_is_passed_over():
    assert await painted({"wall": "north", "brush": 3}) == {
        "wall": "north",
        "colour": "red",
        "coats": 1,
        "wet": False,
    }


@pytest.mark.parametrize("colour", ["blue", 1, 9])
async def test_an_argument_may_be_of_one_of_several_kinds(colour):
    assert (await painted({"wall": "north", "colour": colour}))["colour"] == colour


@pytest.mark.parametrize(
    ("request_", "says"),
    [
        ({}, "wall is missing"),
        ({"wall": None}, "wall must be text of 1 to 5 characters"),
        ({"wall": ""}, "wall must be text of 1 to 5 characters"),
        ({"wall": "longer"}, "wall must be text of 1 to 5 characters"),
        ({"wall": "a\udcff"}, "wall is not Unicode"),
        ({"wall": "a", "colour": "pink"}, "one of red, blue or a whole number from 1 to 9"),
        ({"wall": "a", "colour": 10}, "colour must be"),
        ({"wall": "a", "colour": 0}, "colour must be"),
        ({"wall": "a", "coats": True}, "coats must be a whole number"),
        ({"wall": "a", "coats": "1"}, "coats must be a whole number"),
        ({"wall": "a", "coats": 1.0}, "coats must be a whole number"),
        ({"wall": "a", "wet": 0}, "wet must be true or false"),
        ({"wall": "a", "wet": None}, "wet must be true or false"),
    ],
)
async def test_what_an_argument_may_not_be_is_said_before_anything_is_done(request_, says):
    with pytest.raises(BadRequest, match=says):
        await painted(request_)


def test_no_argument_is_called_as_the_number_of_a_question_is():
    async def drop(node, call, id: str):  # noqa: A002 - that is the point
        return {}

    with pytest.raises(AssertionError):
        verb(page=True)(drop)


def test_a_verb_that_names_a_file_cannot_be_given_to_the_page():
    async def burn(node, call, path: FilePath):
        return {}

    # Security: whoever got hold of the token may run the page, not read or write files.
    with pytest.raises(AssertionError):
        verb(page=True)(burn)
    assert verb()(burn).arguments[0].hint.names_file
