"""What verbs refuse before they ask anything of the node."""

import pytest
import trio

from p2phouse import channel, verbs
from p2phouse.api import BadRequest, Call
from p2phouse.channel import SetInput, SetOutput
from p2phouse.config import Config
from p2phouse.node import Node
from p2phouse.verbs import PATH_CHARS_MAX, VERBS


async def tell(event):
    raise AssertionError("nothing has happened")


@pytest.mark.parametrize(("verb", "name"), [("say", "path"), ("listen", "out")])
@pytest.mark.parametrize("path", ["x" * (PATH_CHARS_MAX + 1), "a\udcff.wav", 5])
async def test_a_path_that_the_media_process_could_not_be_told_is_refused(
    tmp_path, verb, name, path
):
    node = Node(Config(tmp_path, tmp_path))
    with pytest.raises(BadRequest):
        await VERBS[verb](node, Call(tell, trio.Event()), {name: path})


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
    found = verbs.TYPED_ADDRESS.fullmatch(text)
    assert (found and found.groups()) == address
