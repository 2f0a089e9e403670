"""A network in a process of its own, told what to do by lines and telling its events in lines.

`python -m tests.net.process NUMBER RUNTIME_DIR --lan MODE` is the node; `Remote` is the test's end
of it. Only for what one process cannot show: namespaces, a stopped or killed node.
"""

import argparse
import json
import os
import random
import sys
import time
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from subprocess import PIPE

import nacl.signing
import trio

from p2phouse.hall.card import make_card, make_genesis
from p2phouse.identity.keys import make_identity
from p2phouse.net import events
from p2phouse.net.network import Network
from p2phouse.record.types import Access
from p2phouse.vocabulary import DeviceKey, Now


def clock():
    return Now(time.monotonic(), time.time())


class Remote:
    """A node in another process, perhaps in another network namespace."""

    def __init__(self, process):
        self.process = process
        self.told = []
        self._buffer = b""

    async def get_ready(self):
        facts = await self.next("ready")
        self.dev = DeviceKey(bytes.fromhex(facts["dev"]))
        self.port = facts["port"]
        self.addrs = [bytes.fromhex(addr) for addr in facts["addrs"]]

    async def tell(self, **command):
        await self.process.stdin.send_all(json.dumps(command).encode() + b"\n")

    async def next(self, kind, within_s=30, **wanted):
        """The next event of this kind with these fields, keeping the others for later."""
        with trio.fail_after(within_s):
            while True:
                for told in self.told:
                    if told["kind"] == kind and all(
                        told.get(name) == value for name, value in wanted.items()
                    ):
                        self.told.remove(told)
                        return told
                self.told.append(await self._line())

    async def _line(self):
        while b"\n" not in self._buffer:
            data = await self.process.stdout.receive_some()
            assert data, "the node's process ended"
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        return json.loads(line)


@asynccontextmanager
async def remote(number, runtime_dir, *, lan="off", namespace=None):
    """Runs a node in a process while the block runs."""
    command = [sys.executable, "-m", "tests.net.process", str(number), str(runtime_dir)]
    command += ["--lan", lan]
    if namespace is not None:
        command = ["ip", "netns", "exec", namespace, *command]
    async with trio.open_nursery() as nursery:
        run_process = partial(trio.run_process, command, stdin=PIPE, stdout=PIPE, check=False)
        node = Remote(await nursery.start(run_process))
        try:
            await node.get_ready()
            yield node
        finally:
            node.process.kill()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("number", type=int)
    parser.add_argument("runtime_dir", type=Path)
    parser.add_argument("--lan", default="off")
    trio.run(run, parser.parse_args())


async def run(options):
    network = Network(
        device_key=nacl.signing.SigningKey(options.number.to_bytes(32, "big")),
        port=0,
        lan=options.lan,
        runtime_dir=options.runtime_dir,
        rng=random.Random(options.number),
        entropy=os.urandom,
        clock=clock,
        cards=lambda: list(held),
    )
    held: list[bytes] = []
    async with trio.open_nursery() as nursery:
        await nursery.start(network.run)
        tell("ready", dev=network.dev.hex(), port=network.port, addrs=texts(network.addrs))
        nursery.start_soon(tell_events, network)
        await obey(network, held)
        nursery.cancel_scope.cancel()


async def obey(network, held):
    me = make_identity(now=clock(), entropy=os.urandom)
    lines = trio.lowlevel.FdStream(os.dup(0))
    buffer = b""
    while data := await lines.receive_some():
        *whole, buffer = (buffer + data).split(b"\n")
        for line in whole:
            match json.loads(line):
                case {"dial": dev, "addrs": addrs}:
                    network.dial(DeviceKey(bytes.fromhex(dev)), list(map(bytes.fromhex, addrs)))
                case {"hello": [host, port]}:
                    answer = await network.hello(host, port)
                    tell("hello", dev=answer.dev.hex())
                case {"counters": _}:
                    tell("counters", **network.counters)
                case {"mesh": dev}:
                    await network.wait_for_mesh(DeviceKey(bytes.fromhex(dev)))
                    tell("mesh", dev=dev)
                case {"hold": title, "lan": lan, "publish": publish}:
                    card = new_card(me, title, Access.LAN if lan else Access.OPEN)
                    held.append(card)
                    if publish:
                        await network.publish_card(card)
                    tell("held", card=card.hex())


def new_card(me, title, access):
    genesis = make_genesis(me, title=title, access=access, now=clock(), entropy=os.urandom)
    return make_card(
        me, genesis, seq=1, speakers=1, listeners=0, addrs=(), ttl_s=600, now=clock()
    ).data


async def tell_events(network):
    async for event in network.events:
        match event:
            case events.PeerUp(dev, addrs):
                tell("PeerUp", dev=dev.hex(), addrs=texts(addrs))
            case events.PeerDown(dev) | events.DialFailed(dev):
                tell(type(event).__name__, dev=dev.hex())
            case events.Found(dev, _, where):
                tell("Found", dev=dev.hex(), where=where)
            case events.CardHeard(data, teller):
                tell("CardHeard", card=data.hex(), teller=teller.hex())
            case events.Trouble(text):
                tell("Trouble", text=text)


def tell(kind, **facts):
    print(json.dumps({"kind": kind, **facts}), flush=True)


def texts(addrs):
    return [addr.hex() for addr in addrs]


if __name__ == "__main__":
    main()
