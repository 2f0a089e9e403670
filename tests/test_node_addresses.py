"""What a node does when it stands elsewhere: cards and greetings, and media, hear of it at once."""

from ipaddress import ip_address
from pathlib import Path

import pytest
import trio

from p2phouse import channel
from p2phouse.net.addresses import Address
from p2phouse.room import messages
from tests.asked import TableNode
from tests.room.table import Table


class Standing:
    """A network that stands where the test says."""

    def __init__(self):
        self.addrs_changed = trio.Event()
        self.addrs: list[bytes] = []
        self.reflectors: list[Address] = []

    def move(self, *addrs, reflectors=()):
        self.addrs, self.reflectors = list(addrs), list(reflectors)
        self.addrs_changed.set()
        self.addrs_changed = trio.Event()


class Media:
    """A media process that keeps what it is told."""

    def __init__(self):
        self.told: list[channel.Down] = []

    async def send(self, message):
        self.told.append(message)


class Slow:
    """A core that takes a while to hear."""

    def __init__(self) -> None:
        self.heard: list[tuple[bytes, ...]] = []

    async def tell(self, message: messages.Input) -> None:
        await trio.sleep(0.1)
        if isinstance(message, messages.OwnAddresses):
            self.heard.append(message.addrs)


class Moving(TableNode):
    def __init__(self, folder):
        super().__init__(Table(), folder)
        self.network = Standing()  # type: ignore[assignment]  # all that is asked of one
        self.media = Media()  # type: ignore[assignment]  # as above
        self._shell = slow = Slow()  # type: ignore[assignment]  # as above
        self.heard = slow.heard


@pytest.fixture
async def node(tmp_path: Path, nursery):
    node = Moving(tmp_path)
    nursery.start_soon(node._watch_addresses)
    await trio.testing.wait_all_tasks_blocked()
    return node


REFLECTOR = Address(ip_address("5.9.1.2"), 17_472)


async def test_where_a_node_stands_is_told_as_soon_as_it_changes(node, autojump_clock):
    await trio.sleep(1)
    node.network.move(b"here")
    await trio.sleep(0.2)
    assert node.heard == [(), (b"here",)]
    await trio.sleep(60)
    assert len(node.heard) == 2


async def test_a_change_in_the_moment_in_which_another_is_told_is_not_lost(node, autojump_clock):
    node.network.move(b"here")  # while the core hears that we are nowhere
    await trio.sleep(0.25)
    assert node.heard == [(), (b"here",)]


async def test_media_hears_whom_to_ask_and_so_does_the_one_after_it(node, autojump_clock):
    told = channel.SetReflectors((channel.Reflector("5.9.1.2", 17_472),))
    node.network.move(reflectors=[REFLECTOR])
    await trio.sleep(1)
    assert node.media.told == [told]
    await node._media_gone()
    assert node.media.told == [told, told]
