"""How soon thirty nodes see a new room, and how soon one of them is joined by its id alone.

Thirty real hosts on 127.0.0.1, ten in each of three processes, which share this machine's cores.
Each has dialled three others, so cards go over several hops and the table of rooms knows nobody at
first hand but those. A join is measured from the id to an open room link: the card from the table,
the host dialled if need be, the link; the greeting would take a round trip more. Nodes that keep
the card themselves are not asked to find it. Then one process is killed, with ten nodes in it.
"""

import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

import nacl.signing
import trio

from bench.figures import Figure
from p2phouse.drive import clock
from p2phouse.errors import LinkError
from p2phouse.hall.card import make_card, make_genesis, read_card
from p2phouse.hall.shelf import key_of
from p2phouse.identity.keys import make_identity
from p2phouse.net.events import CardHeard, RoomClosed, RoomOpen
from p2phouse.net.network import Network
from p2phouse.record.types import Access
from p2phouse.vocabulary import DeviceKey, RoomId

NAME = "hall"

PROCESSES: Final = 3
NODES_EACH: Final = 10
NODES: Final = PROCESSES * NODES_EACH
DIALS: Final = 3
CARDS: Final = 15
JOINS: Final = 40
JOINS_AFTER: Final = 20
SETTLE_S: Final = 50.0  # each node looks for those around it 24 to 36 s after its start
PAUSE_S: Final = 4.0  # between cards: one costs thirty nodes a second of CPU altogether


# ── one process of nodes ─────────────────────────────────────────────────────────────────────


class Worker:
    """Ten nodes; told what to do by lines of JSON, and answers by some."""

    def __init__(self, first: int, folder: Path) -> None:
        self.first = first
        self.folder = folder
        self.nodes: dict[int, Network] = {}
        self.open: dict[tuple[int, str], trio.Event] = {}

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            for number in range(self.first, self.first + NODES_EACH):
                runtime = self.folder / str(number)
                runtime.mkdir(mode=0o700)
                node = self.nodes[number] = Network(
                    device_key=nacl.signing.SigningKey(number.to_bytes(32)),
                    port=0,
                    lan="off",
                    runtime_dir=runtime,
                    rng=random.Random(number),
                    entropy=os.urandom,
                    clock=clock,
                    cards=list,
                )
                await nursery.start(node.run)
                nursery.start_soon(self._listen, number, node)
            say(
                ready={
                    number: [node.dev.hex(), [addr.hex() for addr in node.addrs]]
                    for number, node in self.nodes.items()
                }
            )
            async for line in _lines():
                order = json.loads(line)
                nursery.start_soon(self._do, order)

    async def _listen(self, number: int, node: Network) -> None:
        async for event in node.events:
            match event:
                case CardHeard(data, _):
                    say(heard=read_card(data, clock()).room.hex(), node=number, at=time.monotonic())
                case RoomOpen(_, room) | RoomClosed(_, room):
                    if (waiting := self.open.get((number, room.hex()))) is not None:
                        waiting.set()

    async def _do(self, order: dict[str, Any]) -> None:
        node = self.nodes[order["node"]]
        match order["do"]:
            case "dial":
                node.dial(_dev(order["dev"]), [bytes.fromhex(addr) for addr in order["addrs"]])
            case "publish":
                await self._publish(order["node"], node)
            case "look":
                key = key_of(RoomId(bytes.fromhex(order["room"])))
                kept = node._dht.shelf.get(key, clock()) is not None
                say(kept=kept, known=node._dht.count, peers=node._lives.peer_count)
            case "join":
                await self._join(order["node"], node, RoomId(bytes.fromhex(order["room"])))

    async def _publish(self, number: int, node: Network) -> None:
        me = make_identity(now=clock(), entropy=os.urandom)
        me.device_key = nacl.signing.SigningKey(number.to_bytes(32))
        genesis = make_genesis(
            me, title="Bench", access=Access.OPEN, now=clock(), entropy=os.urandom
        )
        card = make_card(
            me, genesis, seq=1, speakers=1, listeners=0, addrs=(), ttl_s=600, now=clock()
        )
        say(published=genesis.id.hex(), node=number, at=time.monotonic())
        await node.publish_card(card.data)

    async def _join(self, number: int, node: Network, room: RoomId) -> None:
        began = time.monotonic()
        waiting = self.open[number, room.hex()] = trio.Event()
        try:
            data = await node.find_card(room)
        except LinkError as error:
            say(joined=False, why=str(error))
            return
        found = time.monotonic()
        dev = read_card(data, clock()).publisher
        connected = node._lives.connected(dev)
        node.open_room(dev, room, ())
        with trio.move_on_after(10):
            await waiting.wait()
        say(
            joined=waiting.is_set(),
            found_s=found - began,
            joined_s=time.monotonic() - began,
            connected=connected,
        )
        node.close_room(dev, room)


def say(**what: object) -> None:
    print(json.dumps(what), flush=True)


def _dev(text: str) -> DeviceKey:
    return DeviceKey(bytes.fromhex(text))


async def _lines() -> AsyncIterator[str]:
    while line := await trio.to_thread.run_sync(sys.stdin.readline, abandon_on_cancel=True):
        yield line


# ── all of them ──────────────────────────────────────────────────────────────────────────────


class Thirty:
    """The three processes, and what they have said."""

    def __init__(self) -> None:
        self.processes: list[trio.Process] = []
        self.ways: dict[int, list[Any]] = {}
        self.published: dict[str, tuple[int, float]] = {}
        self.heard: dict[str, dict[int, float]] = {}
        self._answers, self.answers = trio.open_memory_channel[dict[str, Any]](1_000)

    @asynccontextmanager
    async def run(self) -> AsyncIterator["Thirty"]:
        async with AsyncExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="p2ph-")))
            nursery = await stack.enter_async_context(trio.open_nursery())
            for number in range(PROCESSES):
                command = [sys.executable, "-m", "bench.hall", str(1 + number * NODES_EACH)]
                process = await trio.lowlevel.open_process(
                    [*command, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
                )
                self.processes.append(process)
                nursery.start_soon(self._read, process)
            try:
                with trio.fail_after(60):
                    while len(self.ways) < NODES:  # noqa: ASYNC110 - three processes say so
                        await trio.sleep(0.1)
                yield self
            finally:
                for process in self.processes:
                    process.kill()
                nursery.cancel_scope.cancel()

    async def _read(self, process: trio.Process) -> None:
        assert process.stdout is not None
        rest = b""
        async for part in process.stdout:
            *lines, rest = (rest + part).split(b"\n")
            for line in lines:
                self._take(json.loads(line))

    def _take(self, said: dict[str, Any]) -> None:
        if "ready" in said:
            self.ways |= {int(number): way for number, way in said["ready"].items()}
        elif "heard" in said:
            self.heard.setdefault(said["heard"], {}).setdefault(said["node"], said["at"])
        elif "published" in said:
            self.published[said["published"]] = (said["node"], said["at"])
        else:
            self._answers.send_nowait(said)

    async def tell(self, do: str, node: int, **more: object) -> None:
        process = self.processes[(node - 1) // NODES_EACH]
        assert process.stdin is not None
        order = json.dumps({"do": do, "node": node, **more})
        await process.stdin.send_all(order.encode() + b"\n")

    async def ask(self, do: str, node: int, **more: object) -> dict[str, Any]:
        await self.tell(do, node, **more)
        with trio.fail_after(30):
            return await self.answers.receive()


async def measure() -> list[Figure]:
    rng = random.Random(1)
    async with Thirty().run() as thirty:
        for number in range(1, NODES + 1):
            others = [other for other in range(1, NODES + 1) if other != number]
            for other in rng.sample(others, DIALS):
                dev, addrs = thirty.ways[other]
                await thirty.tell("dial", number, dev=dev, addrs=addrs)
        await trio.sleep(SETTLE_S)
        seen = await _cards(thirty, rng)
        await trio.sleep(5.0)  # for the last to be put
        known = [await thirty.ask("look", number, room="00" * 32) for number in range(1, NODES + 1)]
        joins = await _joins(thirty, rng, range(1, NODES + 1), JOINS)
        thirty.processes[-1].kill()
        await trio.sleep(8.0)
        after = await _joins(thirty, rng, range(1, NODES - NODES_EACH + 1), JOINS_AFTER, alive=True)
    load = f"load {os.getloadavg()[0]:.1f}"
    return [
        _figure("new card seen by 30 nodes, p50", _share(seen, 0.5), "s", note=load),
        _figure("new card seen by 30 nodes, p99", _share(seen, 0.99), "s", "≤ 1.0"),
        _figure("cards not seen within 10 s", CARDS * (NODES - 1) - len(seen), "", "≤ 0"),
        *_of_joins("", joins, note=load),
        *_of_joins(" after 10 of 30 were killed", after),
        _figure(
            "peers of the table that a node knows", _share([k["known"] for k in known], 0.5), ""
        ),
        _figure("connections of a node", _share([k["peers"] for k in known], 0.5), ""),
    ]


async def _cards(thirty: Thirty, rng: random.Random) -> list[float]:
    for _ in range(CARDS):
        await thirty.tell("publish", rng.randint(1, NODES))
        await trio.sleep(PAUSE_S)
    await trio.sleep(10.0)
    return [
        heard_at - at
        for room, (publisher, at) in thirty.published.items()
        for number, heard_at in thirty.heard.get(room, {}).items()
        if number != publisher
    ]


async def _joins(
    thirty: Thirty, rng: random.Random, seekers: range, count: int, *, alive: bool = False
) -> list[dict[str, Any]]:
    """alive: only rooms whose host is one of the seekers' processes."""
    rooms = [
        (room, host) for room, (host, _) in thirty.published.items() if not alive or host in seekers
    ]
    joins: list[dict[str, Any]] = []
    while len(joins) < count:
        room, host = rng.choice(rooms)
        seeker = rng.choice(seekers)
        if seeker == host or (await thirty.ask("look", seeker, room=room))["kept"]:
            continue
        joins.append(await thirty.ask("join", seeker, room=room))
        await trio.sleep(0.2)
    return joins


def _of_joins(when: str, joins: list[dict[str, Any]], note: str = "") -> list[Figure]:
    good = [join for join in joins if join["joined"]]
    times = [join["joined_s"] for join in good]
    found = [join["found_s"] for join in good]
    strange = sum(not join["connected"] for join in good)
    return [
        _figure(f"join by id{when}, p50", _share(times, 0.5), "s", "≤ 2.0", note=note),
        _figure(f"join by id{when}, p95", _share(times, 0.95), "s"),
        _figure(f"of it the card found{when}, p50", _share(found, 0.5), "s"),
        _figure(
            f"joins that failed{when}",
            len(joins) - len(good),
            f"of {len(joins)}",
            "≤ 0",
            note=f"{strange} to a host not connected before"
            + "".join(f"; {join.get('why', 'no link')}" for join in joins if not join["joined"]),
        ),
    ]


def _figure(what: str, value: float, unit: str, target: str = "", note: str = "") -> Figure:
    return Figure(what, round(value, 3), unit, target, note=note)


def _share(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else float("nan")


def run() -> list[Figure]:
    return trio.run(measure)


if __name__ == "__main__":
    trio.run(partial(Worker(int(sys.argv[1]), Path(sys.argv[2])).run))
