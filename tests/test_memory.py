"""What a node remembers: peers and a room, whatever becomes of the files."""

import logging
import os
import random
from contextlib import asynccontextmanager

import pytest
import trio

from p2phouse.memory import PEERS_KEPT_MAX, Memory
from p2phouse.record import cbor
from p2phouse.record.cbor import Value
from p2phouse.vocabulary import DeviceKey

ADDR = bytes.fromhex("04c0a8010206") + (4_000).to_bytes(2, "big")
OTHER = bytes.fromhex("04c0a8010306") + (4_000).to_bytes(2, "big")


def dev(number):
    return DeviceKey(number.to_bytes(32, "big"))


@asynccontextmanager
async def remembering(home):
    """A memory that is kept until the block ends."""
    memory = Memory(home)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(memory.run)
        yield memory
        nursery.cancel_scope.cancel()


async def test_peers_are_remembered_the_latest_met_first(tmp_path):
    async with remembering(tmp_path) as memory:
        memory.met(dev(1), (ADDR,))
        memory.met(dev(2), (ADDR, OTHER))
        memory.met(dev(1), (OTHER,))
    assert Memory(tmp_path).peers == [(dev(1), (OTHER,)), (dev(2), (ADDR, OTHER))]


async def test_a_peer_met_again_where_it_always_was_is_the_latest(tmp_path):
    async with remembering(tmp_path) as memory:
        for number in (1, 2, 1):
            memory.met(dev(number), (ADDR,))
    assert [met for met, _ in Memory(tmp_path).peers] == [dev(1), dev(2)]


async def test_of_one_who_only_came_to_us_nothing_is_noted(tmp_path):
    async with remembering(tmp_path) as memory:
        memory.met(dev(1), (ADDR,))
        memory.met(dev(1), ())
        memory.met(dev(2), ())
    assert Memory(tmp_path).peers == [(dev(1), (ADDR,))]


async def test_sixty_four_peers_are_kept_and_of_one_more_the_longest_unmet_goes(tmp_path):
    async with remembering(tmp_path) as memory:
        for number in range(PEERS_KEPT_MAX):
            memory.met(dev(number), (ADDR,))
        assert len(memory.peers) == PEERS_KEPT_MAX
        memory.met(dev(0), (ADDR,))
        memory.met(dev(999), (ADDR,))
    kept = [met for met, _ in Memory(tmp_path).peers]
    assert kept[:2] == [dev(999), dev(0)]
    assert dev(1) not in kept
    assert len(kept) == PEERS_KEPT_MAX


async def test_a_node_killed_a_moment_later_remembers_all_the_same(tmp_path):
    async with remembering(tmp_path) as memory:
        memory.met(dev(1), (ADDR,))
        with trio.fail_after(5):
            while not Memory(tmp_path).peers:  # noqa: ASYNC110 - a file has no event to wait for
                await trio.sleep(0.01)
    assert Memory(tmp_path).peers == [(dev(1), (ADDR,))]


async def test_the_file_is_for_us_alone(tmp_path):
    async with remembering(tmp_path) as memory:
        memory.met(dev(1), (ADDR,))
    assert (tmp_path / "peers.cbor").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff" * 100,
        cbor.encode([[dev(1), [ADDR]]])[:-1],
        cbor.encode([[dev(1), [ADDR]]]) + b"\0",
        bytes(70_000),
    ],
    ids=["empty", "junk", "cut", "longer", "huge"],
)
def test_a_damaged_file_is_one_line_of_the_log_and_nobody_remembered(tmp_path, caplog, content):
    caplog.set_level(logging.WARNING)
    path = tmp_path / "peers.cbor"
    path.write_bytes(content)
    path.chmod(0o600)
    assert Memory(tmp_path).peers == []
    assert [record.getMessage().split()[:2] for record in caplog.records] == [
        ["memory_unreadable", "file=peers.cbor"]
    ]


def test_a_file_that_others_may_read_is_not_believed(tmp_path, caplog):
    path = tmp_path / "peers.cbor"
    path.write_bytes(cbor.encode([[dev(1), [ADDR]]]))
    path.chmod(0o644)
    assert Memory(tmp_path).peers == []
    assert "memory_unreadable" in caplog.text


def test_without_a_file_nobody_is_known_and_nothing_is_said(tmp_path, caplog):
    assert Memory(tmp_path).peers == []
    assert Memory(tmp_path).room is None
    assert caplog.records == []


def test_what_is_no_peer_in_a_whole_file_is_passed_over(tmp_path):
    path = tmp_path / "peers.cbor"
    items: list[cbor.Value] = [
        [dev(1), [ADDR]],
        [dev(2)],
        [b"short", [ADDR]],
        [dev(3), [ADDR] * 5],
        [dev(4), [ADDR, 7]],
        "a word",
    ]
    path.write_bytes(cbor.encode(items))
    path.chmod(0o600)
    assert Memory(tmp_path).peers == [(dev(4), (ADDR,)), (dev(1), (ADDR,))]


def test_of_too_many_peers_in_a_file_the_latest_sixty_four_are_taken(tmp_path):
    path = tmp_path / "peers.cbor"
    path.write_bytes(cbor.encode([[dev(number), [ADDR]] for number in range(PEERS_KEPT_MAX + 1)]))
    path.chmod(0o600)
    peers = Memory(tmp_path).peers
    assert len(peers) == PEERS_KEPT_MAX
    assert peers[0] == (dev(PEERS_KEPT_MAX), (ADDR,))


def test_any_bytes_in_the_file_are_survived(tmp_path):
    rng = random.Random(6)
    path = tmp_path / "peers.cbor"
    for _ in range(300):
        whole = bytearray(cbor.encode([[dev(1), [ADDR]], [dev(2), [OTHER]]]))
        whole[rng.randrange(len(whole))] = rng.randrange(256)
        path.write_bytes(whole)
        path.chmod(0o600)
        assert len(Memory(tmp_path).peers) <= 2


async def test_a_home_that_is_gone_ends_nothing(tmp_path, caplog):
    home = tmp_path / "home"
    home.mkdir()
    async with remembering(home) as memory:
        home.rmdir()
        memory.met(dev(1), (ADDR,))
    assert "peers_not_written" in caplog.text


async def test_a_room_is_remembered_until_it_is_left(tmp_path):
    async with remembering(tmp_path) as memory:
        memory.remember_room([b"room", 1])
    assert Memory(tmp_path).room == [b"room", 1]
    async with remembering(tmp_path) as memory:
        memory.remember_room(None)
    assert Memory(tmp_path).room is None
    assert not (tmp_path / "room.cbor").exists()


async def test_invites_are_kept_as_soon_as_that_is_said_and_for_their_owner_alone(tmp_path):
    memory = Memory(tmp_path)
    invites: list[Value] = [[bytes([n]) * 16, bytes(32), 2_000_000_000] for n in range(256)]
    await memory.keep_invites(invites)
    assert Memory(tmp_path).invites == invites
    assert (tmp_path / "invites.cbor").stat().st_mode & 0o777 == 0o600
    await memory.keep_invites([])
    assert Memory(tmp_path).invites == []


@pytest.mark.parametrize("damage", [b"", b"\xff", cbor.encode(5), b"x" * 70_000])
async def test_a_damaged_file_of_invites_lets_nobody_in(tmp_path, damage):
    path = tmp_path / "invites.cbor"
    path.write_bytes(damage)
    path.chmod(0o600)
    assert Memory(tmp_path).invites == []


async def test_invites_that_cannot_be_kept_are_all_void_after_a_restart(tmp_path, monkeypatch):
    """Rather none than one that two can use."""
    memory = Memory(tmp_path)
    await memory.keep_invites([[bytes(16), bytes(32), 5]])

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        await memory.keep_invites([])  # the one is used
    assert Memory(tmp_path).invites == []
