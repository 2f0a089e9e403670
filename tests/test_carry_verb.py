"""The verb `carry`, asked of a node with a real core."""

import pytest

from p2phouse.api import BadRequest
from p2phouse.choices import CARRY_KBPS_LEAST, CARRY_KBPS_MOST
from p2phouse.cli.carrying import _said
from p2phouse.verbs.carrying import CapOutOfRange
from tests.asked import TableNode
from tests.room.table import Table


@pytest.fixture
async def node(tmp_path):
    made = TableNode(Table(), tmp_path)
    await made.willing.begin()
    return made


async def test_whoever_chose_nothing_is_willing_within_five_megabits(node):
    assert await node.asked("carry") == {
        "carry": "auto",
        "cap_kbps": 5_000,
        "links": 30,
        "on_mains": True,
        "metered": False,
        "willing": True,
    }


async def test_a_choice_reaches_the_core_and_stays(node, tmp_path):
    facts = await node.asked("carry", choice="never", cap_kbps=1_500)
    assert (facts["carry"], facts["willing"], facts["links"]) == ("never", False, 9)
    assert not node.rooms.carry.willing
    assert node.rooms.carry.cap == 9
    again = TableNode(Table(), tmp_path)
    await again.willing.begin()
    assert (await again.asked("carry"))["carry"] == "never"


async def test_a_metered_network_carries_nobody_until_it_is_not(node):
    assert not (await node.asked("carry", metered="yes"))["willing"]
    assert (await node.asked("carry", metered="no"))["willing"]


@pytest.mark.parametrize("kbps", [CARRY_KBPS_LEAST, CARRY_KBPS_MOST])
async def test_a_limit_holds_at_the_least_and_the_most(node, kbps):
    assert (await node.asked("carry", cap_kbps=kbps))["cap_kbps"] == kbps


@pytest.mark.parametrize("kbps", [1, CARRY_KBPS_LEAST - 1])
async def test_a_limit_that_feeds_nobody_is_refused_in_words(node, kbps):
    with pytest.raises(CapOutOfRange, match="Choose 500 to 20,000; 5,000 is usual"):
        await node.asked("carry", cap_kbps=kbps)


@pytest.mark.parametrize("kbps", [-1, CARRY_KBPS_MOST + 1])
async def test_a_limit_beyond_all_is_refused(node, kbps):
    with pytest.raises(BadRequest):
        await node.asked("carry", cap_kbps=kbps)


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({}, "at most 30 people, 5 Mb/s."),
        ({"carry": "never", "willing": False}, "You never carry"),
        ({"metered": True, "willing": False}, "not now: your network is metered."),
        ({"on_mains": False, "willing": False}, "not now: you are on battery."),
    ],
)
async def test_the_command_says_whether_and_why_not(node, facts, words):
    assert words in _said(await node.asked("carry") | facts)
