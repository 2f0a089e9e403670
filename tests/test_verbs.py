"""What verbs refuse before they ask anything of the node."""

import pytest
import trio

from p2phouse import channel
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
