"""The verb `doctor`, on a node whose network is what the test says."""

from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

import pytest

from p2phouse.config import Config
from p2phouse.net.addresses import Address, Interface
from tests.asked import TableNode
from tests.net.test_doctor import HOME, HOST, OUTSIDE
from tests.room.table import Table


class Standing:
    """A network that stands in the home of test_doctor.py."""

    interfaces = (Interface.of("192.168.1.10", 24),)
    reflections = (Address(ip_address("5.8.1.2"), 40_000),)

    async def examine(self, *, apart):
        return replace(HOME, apart=apart(self.reflections))


@pytest.fixture
def table():
    table = Table()
    table.open()
    return table


def node_on(table, folder, **chosen):
    node = TableNode(table, folder)
    node.config = Config(folder, folder, **chosen)
    node.network = Standing()  # type: ignore[assignment]  # all that the verb asks of one
    return node


async def findings(node):
    return {each["what"]: each for each in (await node.asked("doctor"))["findings"]}


async def test_who_is_in_the_same_wifi_and_not_reached_is_named(table, tmp_path: Path):
    ann = table.person("ann")
    table.let_in(ann)
    node = node_on(table, tmp_path)
    assert (await findings(node))["isolation"]["ok"] is True
    table.here.members[ann.dev].cands = (HOST, OUTSIDE)
    found = (await findings(node))["isolation"]
    assert found["ok"] is False
    assert "ann" in found["text"]
    table.here.members[ann.dev].link_up = True
    assert (await findings(node))["isolation"]["ok"] is True


@pytest.mark.parametrize(
    ("mouth", "ok", "words"),
    [
        ("page", True, "The page"),
        ("none", None, "no microphone"),
        ("file:tea.wav", True, "from a file"),
    ],
)
async def test_what_is_said_of_the_sound(mouth, ok, words, tmp_path: Path):
    found = (await findings(node_on(Table(), tmp_path, mouth=mouth)))["sound"]
    assert found["ok"] is ok
    assert words in found["text"]


async def test_what_keeps_us_from_being_heard_comes_first(table, tmp_path: Path):
    table.let_in(table.person("ann"))
    node = node_on(table, tmp_path, mouth="page")
    table.wait(10)
    found = (await findings(node))["sound"]
    assert found["ok"] is False
    assert found["next"]


async def test_who_shows_the_address_to_relays_alone_is_told_whether_one_is_here(
    table, tmp_path: Path
):
    ann = table.person("ann")
    table.let_in(ann)
    node = node_on(table, tmp_path, relay_only=True)
    assert (await findings(node))["relay_only"]["ok"] is False
    table.here.members[ann.dev].link_up = True
    assert (await findings(node))["relay_only"]["ok"] is True
