"""What a join costs before media hears of it: HTTP, the offer, the answer, the message to media.

The CPU of the process that answers, per POST, each over a connection of its own as players open
them; beside it hypercorn, which serves the owner's page, with an application that does nothing.
"""

import itertools
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import trio

from bench.figures import Figure
from p2phouse.web.guard import Message, Receive, Send

NAME = "joins"
JOINS = 3_000
AT_ONCE = 16
OFFER = Path(__file__).parents[1] / "tests/guest/offers/chromium-recvonly.sdp"
CLOCK_HZ = os.sysconf("SC_CLK_TCK")


def run() -> list[Figure]:
    with serving("ours") as (port, pid):
        ours, rate = joined(port, pid)
    with serving("hypercorn") as (port, pid):
        theirs, _ = joined(port, pid)
    return [
        Figure(
            "CPU of control per join, offer of four voices",
            ours,
            "ms",
            "≤ 0.3",
            "hypercorn on trio, with nothing behind it",
            theirs,
            f"{JOINS} POSTs, {AT_ONCE} at once, a connection each; {rate:.0f} joins/s",
        )
    ]


@contextmanager
def serving(kind: str) -> Iterator[tuple[int, int]]:
    """Port and process id of a child that serves."""
    command = [sys.executable, "-m", __name__, kind]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        port = int(child.stdout.readline())
        try:
            yield port, child.pid
        finally:
            child.kill()


def joined(port: int, pid: int) -> tuple[float, float]:
    """Milliseconds of the process's CPU per join, and joins a second."""
    post(port, 50)
    before, began = cpu_s(pid), time.monotonic()
    threads = [threading.Thread(target=post, args=(port, JOINS // AT_ONCE)) for _ in range(AT_ONCE)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    count = JOINS // AT_ONCE * AT_ONCE
    return 1_000 * (cpu_s(pid) - before) / count, count / (time.monotonic() - began)


def post(port: int, count: int) -> None:
    body = OFFER.read_bytes()
    head = "POST /whep/tea HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/sdp\r\n"
    head += f"Connection: close\r\nContent-Length: {len(body)}\r\n\r\n"
    for _ in range(count):
        with socket.create_connection(("127.0.0.1", port)) as stream:
            stream.sendall(head.encode() + body)
            told = stream.recv(16)
            while part := stream.recv(65_536):
                told += part
        assert told.startswith(b"HTTP/1.1 201"), told[:200]


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / CLOCK_HZ


# ── in the child ─────────────────────────────────────────────────────────────────────────────


async def ours() -> None:
    """The relay's control up to the socket of its media process, whose end nobody answers."""
    from p2phouse import channel
    from p2phouse.drive import clock
    from p2phouse.guest.exchange import Reply, Request
    from p2phouse.guest.http import Front
    from p2phouse.guest.resources import Guests, Terms

    terms = Terms(None, rooms_max=1, guests_max=10**6, waiting_max=10**6)
    guests = Guests(terms, os.urandom, itertools.count(1))
    guests.reached_at(("127.0.0.1",))
    guests.heard(clock(), channel.PortReady(7_000, os.urandom(32)))
    near, far = trio.socket.socketpair()

    async def answer(request: Request) -> Reply:
        reply, commands = guests.request(clock(), request)
        for command in commands:
            await near.send(channel.encode(command))
        return reply

    async def read() -> None:
        while await far.recv(1 << 20):
            pass

    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1", backlog=1_024)
    print(listeners[0].socket.getsockname()[1], flush=True)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        nursery.start_soon(Front(answer).serve, listeners)


async def theirs() -> None:
    from hypercorn.config import Config
    from hypercorn.trio import serve

    with socket.create_server(("127.0.0.1", 0), backlog=1_024) as listener:
        config = Config()
        config.bind = [f"fd://{listener.fileno()}"]
        config.accesslog = None
        config.errorlog = None
        print(listener.getsockname()[1], flush=True)
        await serve(nothing, config, mode="asgi")  # type: ignore[arg-type]  # as in web/server.py


async def nothing(scope: Message, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        while (await receive())["type"] != "lifespan.shutdown":
            await send({"type": "lifespan.startup.complete"})
        return
    while (await receive()).get("more_body"):
        pass
    headers = [(b"content-length", b"2"), (b"content-type", b"text/plain")]
    await send({"type": "http.response.start", "status": 201, "headers": headers})
    await send({"type": "http.response.body", "body": b"ok"})


if __name__ == "__main__":
    trio.run(ours if sys.argv[1] == "ours" else theirs)
