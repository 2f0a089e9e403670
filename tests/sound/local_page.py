"""A page without a browser: its end of the local socket, and sockets of others who try it."""

import asyncio
import base64
import logging
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import numpy as np
from websockets.asyncio.client import ClientConnection, connect

from p2phouse.sound.files import to_float, to_samples
from p2phouse.sound.page import Page
from p2phouse.vocabulary import Frame

TOKEN = bytes(range(32))
ORIGIN = "http://127.0.0.1:5555"
SILENT_LOG = logging.Logger("the page's own", logging.CRITICAL + 1)
HANDSHAKE = {
    "Origin": ORIGIN,
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": base64.b64encode(bytes(16)).decode(),
}


def word(token: bytes = TOKEN) -> str:
    """The token as the page says it."""
    return base64.urlsafe_b64encode(token).decode().rstrip("=")


def message(frame: Frame) -> bytes:
    return to_samples(frame).astype("<i2").tobytes()


def frame_of(data: bytes | str) -> Frame:
    assert isinstance(data, bytes)
    return to_float(np.frombuffer(data, "<i2"))


@asynccontextmanager
async def page_socket() -> AsyncIterator[tuple[Page, int]]:
    """The node's end, and its port. A bug in it fails the test."""
    bugs: list[Exception] = []
    page = Page(bugs.append)
    port = await page.open(TOKEN, ORIGIN)
    assert port
    try:
        yield page, port
    finally:
        await page.close()
    assert bugs == []


def knock(port: int, origin: str | None = ORIGIN, **options) -> connect:
    return connect(
        f"ws://127.0.0.1:{port}/sound",
        origin=origin,  # type: ignore[arg-type]  # a NewType of theirs
        logger=SILENT_LOG,
        compression=None,
        ping_interval=None,
        proxy=None,
        **options,
    )


@asynccontextmanager
async def let_in(port: int, token: bytes = TOKEN, **options) -> AsyncIterator[ClientConnection]:
    async with knock(port, **options) as client:
        await client.send(word(token))
        assert await client.recv() == '{"ready":true}'
        yield client


async def status(
    port: int, headers: Mapping[str, str | list[str]], line: str = "GET /sound"
) -> int:
    """What a request with exactly these headers is answered."""
    lines = [f"{line} HTTP/1.1"]
    for name, value in headers.items():
        lines += [f"{name}: {one}" for one in ([value] if isinstance(value, str) else value)]
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write("\r\n".join([*lines, "", ""]).encode())
    answer = await reader.readline()
    writer.transport.abort()
    return int(answer.split()[1])


async def until(holds) -> None:
    """Waits until `holds()`: what the other end of a socket does is not announced."""
    async with asyncio.timeout(20):
        while not holds():  # noqa: ASYNC110  # nothing would set an event
            await asyncio.sleep(0.001)


def secrets() -> bytes:
    return os.urandom(32)
