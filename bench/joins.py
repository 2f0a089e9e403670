"""What a join costs a relay's control: HTTP, the offer, the answer, what it and media say of it.

The CPU of the process that answers, per POST, each over a connection of its own as players open
them; beside it hypercorn, which serves the owner's page, with an application that does nothing.
"""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import trio

from bench.figures import Figure
from p2phouse.web.guard import Message, Receive, Send

NAME = "joins"
JOINS = 2_000
AT_ONCE = 16
OFFER = Path(__file__).parents[1] / "tests/guest/offers/chromium-recvonly.sdp"
CLOCK_HZ = os.sysconf("SC_CLK_TCK")


def run() -> list[Figure]:
    one, four = offers()
    with serving("ours") as (port, pid):
        of_one, rate = joined(port, pid, one)
        of_four, rate_of_four = joined(port, pid, four)
    with serving("hypercorn") as (port, pid):
        theirs, _ = joined(port, pid, four)
    reference = "hypercorn on trio, with nothing behind it"
    note = f"{JOINS} POSTs, {AT_ONCE} at once, a connection each"
    return [
        Figure(
            "CPU of control per join, offer of one voice",
            of_one,
            "ms",
            "≤ 0.3",
            reference,
            theirs,
            f"{note}; {rate:.0f} joins/s",
        ),
        Figure(
            "CPU of control per join, offer of four voices",
            of_four,
            "ms",
            "",
            reference,
            theirs,
            f"{note}; {rate_of_four:.0f} joins/s",
        ),
    ]


def offers() -> tuple[bytes, bytes]:
    """Chromium's, as a player makes it and as our page does."""
    four = OFFER.read_bytes()
    one = b"m=".join(four.split(b"m=audio", 2)[:2]).replace(b"m=", b"m=audio")
    return one.replace(b"BUNDLE 0 1 2 3", b"BUNDLE 0"), four


@contextmanager
def serving(kind: str) -> Iterator[tuple[int, int]]:
    """Port and process id of a child that serves."""
    command = [sys.executable, "-m", __name__, kind]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as child:
        assert child.stdout is not None
        port = int(child.stdout.readline())
        try:
            yield port, child.pid
        finally:
            child.kill()


def joined(port: int, pid: int, offer: bytes) -> tuple[float, float]:
    """Milliseconds of the process's CPU per join, and joins a second."""
    post(port, offer, 50)
    before, began = cpu_s(pid), time.monotonic()
    with ThreadPoolExecutor(AT_ONCE) as threads:
        for each in [threads.submit(post, port, offer, JOINS // AT_ONCE) for _ in range(AT_ONCE)]:
            each.result()
    count = JOINS // AT_ONCE * AT_ONCE
    return 1_000 * (cpu_s(pid) - before) / count, count / (time.monotonic() - began)


def post(port: int, body: bytes, count: int) -> None:
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
    """All of a relay's control; its media process does nothing but say that guests have come."""
    from p2phouse_relay.daemon import RelayConfig, running
    from p2phouse_relay.run import DEV_TERMS
    from tests.relay import stand_in_media

    config = RelayConfig(
        name="bench",
        addresses=("127.0.0.1",),
        bind="127.0.0.1",
        http_port=0,
        udp_port=0,
        terms=DEV_TERMS,
        media_module=stand_in_media.__name__,
    )
    async with running(config) as relay:
        print(relay.http_port, flush=True)
        await trio.sleep_forever()


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
