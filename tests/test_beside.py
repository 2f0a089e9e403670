"""Guests on our own network, asked for where none can be (else: tests/e2e/test_guests_here.py)."""

import os
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import trio
import trio.testing

from p2phouse.beside import (
    LOOK_S,
    Beside,
    GuestsFailed,
    NoRelayProgram,
    NotOurRoom,
    OnlyMembers,
    _Running,
)
from p2phouse.config import Config
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


PROGRAM = """
import json, os, pathlib, time
pathlib.Path(__file__).with_suffix(".pid").write_text(str(os.getpid()))
print(json.dumps({"port": 9, "peer_id": "its own", "http": "http://127.0.0.1:9"}), flush=True)
time.sleep(60)
"""


def beside_of(
    folder: Path, monkeypatch: pytest.MonkeyPatch, look: Callable[[str], Awaitable[Any]]
) -> Beside:
    """Of a node in its open room; the relay's program does nothing but say that it has begun."""
    (folder / "stand_in_relay.py").write_text(PROGRAM)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setenv("PYTHONPATH", str(folder))
    table = Table()
    table.open()
    config = replace(Config(folder, folder), lan="loopback")
    relays: Any = SimpleNamespace(look=look)
    return Beside(config, table.me, table.rooms, relays, list, program="stand_in_relay")


def lives(folder: Path) -> bool:
    try:
        os.kill(int((folder / "stand_in_relay.pid").read_text()), 0)
    except ProcessLookupError:
        return False
    return True


async def test_a_relay_for_which_somebody_else_answers_is_given_no_room(tmp_path, monkeypatch):
    """Security: that other would hear it."""

    async def look(text: str) -> Any:  # noqa: ANN401 - as much of one as is looked at
        return SimpleNamespace(dev=bytes(32))

    with pytest.raises(GuestsFailed, match="somebody else"):
        await beside_of(tmp_path, monkeypatch, look).open()
    assert not lives(tmp_path)


async def test_who_gives_up_while_a_relay_begins_leaves_no_program_behind(tmp_path, monkeypatch):
    looked = trio.Event()

    async def look(text: str) -> None:
        looked.set()
        await trio.sleep_forever()

    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(beside_of(tmp_path, monkeypatch, look).open)
            await looked.wait()
            assert lives(tmp_path)
            nursery.cancel_scope.cancel()
    assert not lives(tmp_path)


async def test_in_no_room_there_are_none(tmp_path):
    with pytest.raises(NotOurRoom):
        await TableNode(Table(), tmp_path).asked("guests", choice="on")
