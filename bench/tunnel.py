"""What sound pays for going through a relay's HTTPS: delay on loopback, and CPU of its control.

Each node sends one voice and is sent three, through real TLS and WebSockets; where media would be,
a socket sends back what it gets. TCP loses nothing here, so this is what the tunnel itself costs.
"""

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import cast

import numpy as np
import trio

from bench.figures import Figure
from bench.joins import cpu_s
from p2phouse.channel import LocalDescription
from p2phouse.guest.exchange import Reply, Request
from p2phouse.guest.http import Front
from p2phouse.link import tunnel
from p2phouse.link.tunnel import Entrance
from p2phouse.link.websocket import context, open_tunnel
from p2phouse.vocabulary import FRAME_S, LinkNumber
from p2phouse_relay import tunnels
from p2phouse_relay.tunnels import Tunnels
from tests.guest.test_http import certificate

NAME = "tunnel"
SECONDS = 10.0
VOICES = 3
NODES = (1, 32)
PACKET = 120  # bytes: 32 kb/s, sealed and protected


def run() -> list[Figure]:
    figures = []
    for nodes in NODES:
        delays_ms, cpu_us = asyncio.run(measured(nodes))
        note = f"{nodes} node(s), one voice sent and {VOICES} heard, {SECONDS:.0f} s"
        figures += [
            Figure(
                f"delay that a tunnel adds, p{share}, {nodes} node(s)",
                float(np.percentile(delays_ms, share)),
                "ms",
                note=note,
            )
            for share in (50, 99)
        ]
        figures.append(
            Figure(f"CPU of control per packet, {nodes} node(s)", cpu_us, "µs", note=note)
        )
    return figures


async def measured(nodes: int) -> tuple[list[float], float]:
    """Half of each round trip less the half of one by UDP alone, in ms; CPU of the relay's control
    per packet through it, in µs."""
    loop = asyncio.get_running_loop()
    echo_transport, _ = await loop.create_datagram_endpoint(
        lambda: Echo(VOICES), local_addr=("127.0.0.1", 0)
    )
    udp_port = echo_transport.get_extra_info("sockname")[1]
    direct = Ear()
    plain, _ = await loop.create_datagram_endpoint(
        lambda: direct, remote_addr=("127.0.0.1", udp_port)
    )
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder), udp_port, nodes) as served:
        pid, entrances = served
        ways = [await open_tunnel(each, may_use=lambda ip: True) for each in entrances]
        ears = [Ear() for _ in ways]
        for way, ear in zip(ways, ears, strict=True):
            way.give(ear)
        before_s = cpu_s(pid)
        began_s = loop.time()
        for tick in count():
            if (due_s := began_s + tick * FRAME_S) > began_s + SECONDS:
                break
            await asyncio.sleep(due_s - loop.time())
            for send in (plain.sendto, *[way.sendto for way in ways]):
                send(b"%d " % time.perf_counter_ns() + bytes(PACKET))
                await asyncio.sleep(FRAME_S / (2 * len(ways)))
        await asyncio.sleep(0.2)
        cpu_us = 1e6 * (cpu_s(pid) - before_s) / (tick * nodes * (1 + VOICES))
        for way in ways:
            way.close()
    plain.close()
    echo_transport.close()
    heard = [each for ear in ears for each in ear.round_trips_ms]
    assert len(heard) >= 0.99 * tick * nodes * VOICES, f"only {len(heard)} packets came back"
    base_ms = float(np.median(direct.round_trips_ms))
    return [(each - base_ms) / 2 for each in heard], cpu_us


class Echo(asyncio.DatagramProtocol):
    """Where media would be."""

    def __init__(self, times: int) -> None:
        self._times = times

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str | int, ...]) -> None:
        for _ in range(self._times):
            self._transport.sendto(data, addr)


class Ear(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.round_trips_ms: list[float] = []

    def datagram_received(self, data: bytes, addr: tuple[str | int, ...]) -> None:
        sent_ns = int(data.partition(b" ")[0])
        self.round_trips_ms.append((time.perf_counter_ns() - sent_ns) / 1e6)


@contextmanager
def serving(folder: Path, udp_port: int, nodes: int) -> Iterator[tuple[int, list[Entrance]]]:
    """Process id of a child that serves, and where each node enters."""
    certificate(folder)
    os.environ["SSL_CERT_FILE"] = str(folder / "cert.pem")
    context.cache_clear()
    command = [sys.executable, "-m", __name__, str(folder), str(udp_port), str(nodes)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        found = [tunnel.read(child.stdout.readline().strip()) for _ in range(nodes)]
        try:
            yield child.pid, [each for each in found if each is not None]
        finally:
            child.kill()


# ── in the child ─────────────────────────────────────────────────────────────────────────────


async def serve(folder: Path, udp_port: int, nodes: int) -> None:
    import ssl

    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    vars(tunnels)["OF_ONE_SOURCE_MAX"] = nodes  # all come from this machine
    plain = await trio.open_tcp_listeners(0, host="127.0.0.1")
    page = f"https://localhost:{plain[0].socket.getsockname()[1]}"
    its = Tunnels(page, (), "127.0.0.1", lambda: udp_port, os.urandom)

    async def answer(request: Request) -> Reply:
        return its.answer(trio.current_time(), request)

    for number in range(nodes):
        told = LocalDescription(LinkNumber(number), "", "", bytes(32), ())
        described = its.reached(trio.current_time(), told)
        assert isinstance(described, LocalDescription)
        print(described.cands[-1], flush=True)
    listeners = [trio.SSLListener(each, tls, https_compatible=True) for each in plain]
    await Front(answer).serve(listeners)


if __name__ == "__main__":
    trio.run(serve, Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
