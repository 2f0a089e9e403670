"""Real hosts on 127.0.0.1, one event loop, real clock."""

import os
import random
import time
from contextlib import asynccontextmanager

import nacl.signing
import pytest
import trio

from p2phouse.net.cards import Judgement, Verdict
from p2phouse.net.events import PeerUp
from p2phouse.net.network import Network
from p2phouse.vocabulary import Now


def clock():
    return Now(time.monotonic(), time.time())


def signing_key(number):
    """A device key that is the same in every run; keys are ordered by nothing but chance."""
    return nacl.signing.SigningKey(number.to_bytes(32, "big"))


def everything_goes(data, now):
    """For tests in which any bytes are a card."""
    return Judgement(Verdict.TELL, until_unix=now.unix + 600)


class Node:
    """A network with its events kept for the test to wait on."""

    def __init__(self, network, key):
        self.network = network
        self.key = key
        self.dev = network.dev
        self.heard = []

    async def in_mesh_with(self, other):
        """Once the other is a neighbour in gossip; publishing before that reaches nobody."""
        await self.next(PeerUp, dev=other.dev)
        await self.network.wait_for_mesh(other.dev)
        await other.network.wait_for_mesh(self.dev)

    async def next(self, kind, **wanted):
        """The next event of this kind with these fields, keeping the others for later."""
        with trio.fail_after(20):
            while True:
                for event in self.heard:
                    if isinstance(event, kind) and all(
                        getattr(event, name) == value for name, value in wanted.items()
                    ):
                        self.heard.remove(event)
                        return event
                self.heard.append(await self.network.events.receive())


async def addrs_are(node, hold):
    """Until where the node is reached is as wanted; each change is told by an event."""
    with trio.fail_after(20):
        while True:
            changed = node.network.addrs_changed
            if hold(node.network.addrs):
                return
            await changed.wait()


@pytest.fixture
def make_node(tmp_path):
    """Starts networks: `async with make_node(1) as node`."""

    @asynccontextmanager
    async def make(
        number, *, key=None, port=0, lan="off", cards=list, judge=everything_goes, **more
    ):
        key = key or signing_key(number)
        runtime_dir = tmp_path / more.pop("runtime", f"runtime-{number}")
        runtime_dir.mkdir(mode=0o700, exist_ok=True)
        network = Network(
            device_key=key,
            port=port,
            lan=lan,
            runtime_dir=runtime_dir,
            rng=random.Random(number),
            entropy=os.urandom,
            clock=clock,
            cards=cards,
            judge=judge,
            **more,
        )
        async with trio.open_nursery() as nursery:
            with trio.fail_after(20):
                await nursery.start(network.run)
            yield Node(network, key)
            nursery.cancel_scope.cancel()

    return make
