"""Nodes of one machine meet through sockets, and through nothing that is no socket of theirs."""

import contextlib
import os
import random
import socket
import stat
import tempfile
import time
from contextlib import ExitStack, asynccontextmanager, closing, contextmanager
from pathlib import Path

import nacl.signing
import pytest
import trio

from p2phouse.net import hello
from p2phouse.net.faults import Faults
from p2phouse.net.hello import HelloAnswerer
from p2phouse.net.machine import SOCKETS_MAX, Machine, PathTooLong, RuntimeDirUnusable
from p2phouse.record import envelope
from p2phouse.record.types import Hello
from p2phouse.vocabulary import DeviceKey, Now

ADDR = bytes.fromhex("047f00000106") + (4_000).to_bytes(2, "big")


def key(number):
    return nacl.signing.SigningKey(number.to_bytes(32, "big"))


def dev(number):
    return DeviceKey(bytes(key(number).verify_key))


@pytest.fixture
def folder():
    with tempfile.TemporaryDirectory(prefix="p2ph-") as path:
        yield Path(path)


class Node:
    """One on this machine: whom it found, what troubled it."""

    def __init__(self, number, folder, **more):
        self.found = []
        self.troubles = []
        self.faults = Faults()
        answerer = HelloAnswerer(
            key(number),
            addrs=lambda: [ADDR],
            clock=lambda: Now(time.monotonic(), time.time()),
            faults=self.faults,
        )
        self.machine = Machine(
            folder,
            answerer=answerer,
            addrs=lambda: [ADDR],
            found=self._find,
            trouble=self._trouble,
            entropy=os.urandom,
            faults=self.faults,
            **more,
        )

    async def _find(self, dev, addresses):
        self.found.append(dev)

    async def _trouble(self, error):
        self.troubles.append(str(error))

    async def finds(self, dev):
        with trio.fail_after(10):
            while dev not in self.found:  # noqa: ASYNC110 - a list has no event
                await trio.sleep(0.01)


@asynccontextmanager
async def running(*nodes):
    async with trio.open_nursery() as nursery:
        for node in nodes:
            nursery.start_soon(node.machine.run)
        yield
        nursery.cancel_scope.cancel()


@contextmanager
def bound(path):
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as plain:
        plain.bind(str(path))
        yield plain


async def sockets(folder, count):
    with trio.fail_after(10):
        while len(paths := list(folder.glob("*.sock"))) != count:  # noqa: ASYNC110 - nor has a folder
            await trio.sleep(0.01)
    return paths


async def test_who_comes_later_finds_the_others_and_is_found(folder):
    ana, ben = Node(1, folder), Node(2, folder)
    async with running(ana):
        await sockets(folder, 1)
        async with running(ben):
            await ben.finds(dev(1))
            await ana.finds(dev(2))


async def test_the_socket_is_ours_alone_and_goes_with_us(folder):
    async with running(Node(1, folder)):
        (path,) = await sockets(folder, 1)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(folder.iterdir()) == []


async def test_garbage_on_the_socket_leaves_it_answering(folder):
    rng = random.Random(4)
    ana, ben = Node(1, folder), Node(2, folder)
    async with running(ana):
        (path,) = await sockets(folder, 1)
        with bound(folder / "hello-garbage.sock") as sender:
            sender.setblocking(False)
            for number in range(2_000):
                size = 512 if number % 2 else rng.randrange(1_400)
                try:
                    sender.sendto(rng.randbytes(size), str(path))
                except BlockingIOError:
                    await trio.sleep(0.001)  # its queue is full: let it read
        async with running(ben):
            await ben.finds(dev(1))
            await ana.finds(dev(2))


async def test_whoever_asks_from_elsewhere_gets_no_answer(folder):
    with tempfile.TemporaryDirectory(prefix="p2ph-") as other:
        async with running(Node(1, folder)):
            (path,) = await sockets(folder, 1)
            for place in (Path(other) / "hello-1.sock", folder / "evil.sock"):
                with bound(place) as asker:
                    asker.setblocking(False)
                    asker.sendto(hello.request(os.urandom)[1], str(path))
                    await trio.sleep(0.1)
                    with pytest.raises(BlockingIOError):
                        asker.recv(600)


async def test_a_node_of_another_version_is_one_sentence_and_ends_nothing(folder):
    ana, ben = Node(1, folder), Node(2, folder)
    with bound(folder / "hello-0-old.sock") as old:
        old.setblocking(False)
        async with running(ana):
            with trio.fail_after(10):
                while True:
                    try:
                        asked, source = old.recvfrom(600)
                        break
                    except BlockingIOError:
                        await trio.sleep(0.01)
            answer = Hello(asked[:64], (7, 9), dev(9), (ADDR,))
            old.sendto(envelope.sign(answer, key(9)).data, source)
            async with running(ben):
                await ana.finds(dev(2))
    assert ana.troubles == [
        "That node speaks version 7 to 9 of the protocol and this one version 1. "
        "Update p2phouse on this machine."
    ]
    assert dev(9) not in ana.found


async def test_a_full_socket_of_somebody_elses_holds_nobody_up(folder):
    with bound(folder / "hello-0-stuck.sock") as stuck:
        with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as filler:
            filler.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                while True:
                    filler.sendto(bytes(512), stuck.getsockname())
        ana, ben = Node(1, folder), Node(2, folder)
        async with running(ana, ben):
            await ana.finds(dev(2))
            await ben.finds(dev(1))


async def test_the_sockets_of_the_dead_are_removed_and_those_of_the_living_stay(folder):
    with bound(folder / "hello-1-dead.sock"):
        pass
    with bound(folder / "hello-2-alive.sock"), bound(folder / "other-program.sock"):
        async with running(Node(1, folder)):
            paths = await sockets(folder, 3)
    assert {"hello-2-alive.sock", "other-program.sock"} < {path.name for path in paths}


async def test_sixty_four_sockets_are_asked_and_no_more(folder):
    asked: list[int] = []
    others = [folder / f"hello-{number:03}.sock" for number in range(SOCKETS_MAX + 1)]
    with ExitStack() as stack:
        listening = [stack.enter_context(bound(path)) for path in others]
        ana = Node(1, folder)
        async with running(ana):
            with trio.fail_after(10):
                while len(asked) < SOCKETS_MAX:
                    for number, other in enumerate(listening):
                        if number not in asked and readable(other):
                            asked.append(number)
                    await trio.sleep(0.01)
            await trio.sleep(0.1)
            assert not readable(listening[SOCKETS_MAX])


def readable(plain):
    try:
        plain.recv(600, socket.MSG_DONTWAIT)
    except BlockingIOError:
        return False
    return True


async def test_a_path_too_long_for_sockets_is_one_sentence(folder):
    deep = folder / ("x" * 100)
    deep.mkdir()
    with pytest.raises(PathTooLong, match="Choose a shorter run-time directory"):
        await Node(1, deep).machine.run()


async def test_a_folder_that_is_not_there_is_one_sentence(folder):
    with pytest.raises(RuntimeDirUnusable, match="No such file or directory"):
        await Node(1, folder / "gone").machine.run()


async def test_nodes_ask_again_so_that_a_lost_question_does_no_harm(folder):
    ana = Node(1, folder, ask_again_s=0.05)
    with bound(folder / "hello-0-deaf.sock") as deaf:
        async with running(ana):
            heard = 0
            with trio.fail_after(10):
                while heard < 3:
                    heard += readable(deaf)
                    await trio.sleep(0.01)
