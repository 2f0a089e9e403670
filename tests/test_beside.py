"""Guests on our own network, asked for where none can be (else: tests/e2e/test_guests_here.py)."""

import pytest

from p2phouse.beside import NoRelayProgram, NotOurRoom, OnlyMembers
from p2phouse.record.types import Access
from tests.asked import TableNode
from tests.room.table import Table


async def test_without_the_relay_s_program_it_is_said_what_to_do(tmp_path):
    table = Table()
    table.open()
    node = TableNode(table, tmp_path)
    with pytest.raises(NoRelayProgram, match="pip install"):
        await node.asked("guests", choice="on")
    assert (await node.asked("guests"))["page"] == ""


async def test_a_room_is_open_all_the_same(tmp_path):
    node = TableNode(Table(), tmp_path)
    opened = await node.asked("open", title="Tea", guests=True)
    assert opened["title"] == "Tea"
    assert "pip install" in opened["guests_here"]["text"]


async def test_a_sealed_room_has_no_guests(tmp_path):
    table = Table()
    table.open(access=Access.CLOSED)
    with pytest.raises(OnlyMembers):
        await TableNode(table, tmp_path).asked("guests", choice="on")


async def test_in_no_room_there_are_none(tmp_path):
    with pytest.raises(NotOurRoom):
        await TableNode(Table(), tmp_path).asked("guests", choice="on")
