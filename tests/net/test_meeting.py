"""Nodes that find one another by themselves."""

import contextlib
import socket

import pytest
import trio

from p2phouse.net.events import Found, PeerUp
from p2phouse.net.hello import NobodyAnswers


async def test_nodes_of_one_machine_meet_in_the_runtime_directory(make_node):
    async with make_node(1, runtime="shared") as ana, make_node(2, runtime="shared") as ben:
        assert (await ana.next(Found)).where == "machine"
        await ben.next(Found, dev=ana.dev)
        await ana.next(PeerUp, dev=ben.dev)
        await ben.next(PeerUp, dev=ana.dev)


async def test_nodes_meet_by_browsing_on_loopback_alone(make_node):
    async with make_node(1, lan="loopback") as ana, make_node(2, lan="loopback") as ben:
        found = await ana.next(Found, dev=ben.dev)
        assert found.where == "lan"
        await ana.next(PeerUp, dev=ben.dev)
        await ben.next(PeerUp, dev=ana.dev)


async def test_the_socket_of_a_dead_process_is_removed(make_node, tmp_path):
    runtime = tmp_path / "shared"
    runtime.mkdir(mode=0o700)
    dead = runtime / "hello-1-dead.sock"
    with contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as left_over:
        left_over.bind(str(dead))
    async with make_node(1, runtime="shared"):
        with trio.fail_after(10):
            while dead.exists():  # noqa: ASYNC110 - a file system has no event to wait for
                await trio.sleep(0.01)


async def test_a_typed_address_says_who_listens_there(make_node):
    async with make_node(1) as ana, make_node(2) as ben:
        answer = await ana.network.hello("127.0.0.1", ben.network.port)
        assert answer.dev == ben.dev
        ana.network.dial(answer.dev, answer.addrs)
        assert (await ana.next(PeerUp)).addrs[0] in answer.addrs


async def test_a_typed_address_where_nobody_listens_is_one_sentence(make_node):
    async with make_node(1) as ana:
        with pytest.raises(NobodyAnswers, match="Nobody answered"):
            await ana.network.hello("127.0.0.1", 9)
