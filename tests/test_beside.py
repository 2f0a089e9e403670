"""Guests on our own network, asked for where none can be (else: tests/e2e/test_guests_here.py)."""

import os
from typing import Any

import pytest
import trio
import trio.testing

from p2phouse.beside import LOOK_S, NoRelayProgram, NotOurRoom, OnlyMembers, _Running
from p2phouse.record.types import Access
from p2phouse.vocabulary import RoomId, UserKey
from tests.asked import TableNode
from tests.room.table import Table


class Program:
    """A process that ends when it is told to."""

    stdin = stdout = returncode = None

    def poll(self) -> int | None:
        return self.returncode

    def terminate(self) -> None:
        self.returncode = 0

    async def wait(self) -> None:
        pass


def running() -> _Running:
    """A relay beside us for a room that we are not in."""
    process: Any = Program()
    return _Running(
        process, RoomId(os.urandom(32)), UserKey(os.urandom(32)), "http://192.0.2.7/r/x"
    )


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


async def test_what_a_room_left_behind_is_ended_and_not_what_the_next_has_begun(
    tmp_path, autojump_clock
):
    node = TableNode(Table(), tmp_path)
    before, after = running(), running()
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(node.beside.run)
            async with node.beside._changing:  # as `open` does, when it makes one of the other
                node.beside._running = before
                await trio.sleep(2 * LOOK_S)
                node.beside._running = after
            await trio.testing.wait_all_tasks_blocked()
            assert node.beside.page == after.page
            await trio.sleep(2 * LOOK_S)
            assert node.beside.page == ""
            nursery.cancel_scope.cancel()


async def test_in_no_room_there_are_none(tmp_path):
    with pytest.raises(NotOurRoom):
        await TableNode(Table(), tmp_path).asked("guests", choice="on")
