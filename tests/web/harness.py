"""A served page in this process, and a way to send it any bytes."""

import os
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import trio
from wsproto import ConnectionType, WSConnection
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    RejectConnection,
    TextMessage,
)
from wsproto.events import Request as Upgrade
from wsproto.utilities import RemoteProtocolError

from p2phouse.api import Verb
from p2phouse.errors import UserError
from p2phouse.web import server
from p2phouse.web.opening import Opening


class Mistaken(UserError):
    """That was your mistake."""


@dataclass
class Served:
    """What the page's verbs did, and what its pulse says."""

    opening: Opening
    folder: Path
    pulse: dict[str, object] = field(default_factory=dict)
    happens: trio.MemorySendChannel[dict[str, object]] | None = None
    running: int = 0
    running_most: int = 0
    release: trio.Event = field(default_factory=trio.Event)
    all_run: trio.Event = field(default_factory=trio.Event)
    enough: int = 1  # of running questions, for `all_run`
    pages: list["Page"] = field(default_factory=list)

    @property
    def port(self) -> int:
        return self.opening.port

    async def open(self, **headers: str) -> "Page":
        """A WebSocket to /api. Raises Closed with the HTTP status if it is refused."""
        page = Page(await trio.open_tcp_stream("127.0.0.1", self.port))
        self.pages.append(page)
        await page.enter(self.port, headers)
        return page

    def verbs(self):
        send, receive = trio.open_memory_channel(16)
        self.happens = send

        async def status(call, request):
            return {"asked": request}

        async def join(call, request):
            raise Mistaken

        async def rooms(call, request):
            self.running += 1
            self.running_most = max(self.running_most, self.running)
            if self.running >= self.enough:
                self.all_run.set()
            await self.release.wait()
            self.running -= 1
            return {}

        async def events(call, request):
            async for event in receive:
                await call.tell(event)
            return {}

        async def listen(call, request):
            raise AssertionError("the page may not write files")

        mine = {"status": status, "join": join, "rooms": rooms}
        return {
            **{name: Verb(perform, page=True) for name, perform in mine.items()},
            "events": Verb(events),
            "listen": Verb(listen),
        }


@asynccontextmanager
async def served():
    with TemporaryDirectory() as folder:
        its = Served(Opening(Path(folder), "label", os.urandom), Path(folder))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.run, its.opening, its.verbs(), lambda: its.pulse)
            yield its
            for page in its.pages:
                await page.close()
            nursery.cancel_scope.cancel()
        its.opening.close()


async def ask(port: int, head: str, body: bytes = b"") -> tuple[int, dict[str, str], bytes]:
    """Sends a request as it is written; the status, the headers and the body of the answer."""
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    async with stream:
        await stream.send_all(head.replace("\n", "\r\n").encode() + b"\r\n\r\n" + body)
        data = b""
        with trio.fail_after(20):
            while b"\r\n\r\n" not in data:
                data += await _some(stream)
            top, _, rest = data.partition(b"\r\n\r\n")
            first, *lines = top.decode().split("\r\n")
            headers = {k.lower(): v for k, v in (line.split(": ", 1) for line in lines)}
            while len(rest) < int(headers.get("content-length", 0)):
                rest += await _some(stream)
    return int(first.split()[1]), headers, rest


async def _some(stream: trio.SocketStream) -> bytes:
    data = await stream.receive_some(65_536)
    assert data, "it was closed without an answer"
    return data


class Closed(Exception):
    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class Page:
    """A WebSocket to /api, as a browser or somebody else would open it."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._protocol = WSConnection(ConnectionType.CLIENT)
        self._events: list[object] = []

    async def enter(self, port: int, headers: dict[str, str]) -> None:
        host = headers.pop("Host", f"127.0.0.1:{port}")
        headers = {"Origin": f"http://127.0.0.1:{port}"} | headers
        extra = [(k.encode(), v.encode()) for k, v in headers.items() if v]
        await self._send(Upgrade(host=host, target="/api", extra_headers=extra))
        answer = await self._next()
        if isinstance(answer, RejectConnection):
            raise Closed(answer.status_code)
        assert isinstance(answer, AcceptConnection)

    async def say(self, text: str) -> None:
        await self._send(TextMessage(data=text))

    async def say_bytes(self, data: bytes) -> None:
        await self._send(BytesMessage(data=data))

    async def hear(self) -> str:
        """The next message. Raises Closed."""
        text = ""
        while True:
            match await self._next():
                case TextMessage(data=data, message_finished=finished):
                    text += data
                    if finished:
                        return text
                case CloseConnection(code=code):
                    raise Closed(code)

    async def close(self) -> None:
        await self._stream.aclose()

    async def _send(self, event) -> None:
        await self._stream.send_all(self._protocol.send(event))

    async def _next(self):
        with trio.fail_after(20):
            while not self._events:
                data = await self._stream.receive_some(65_536)
                try:
                    self._protocol.receive_data(data or None)
                    self._events += self._protocol.events()
                except RemoteProtocolError:
                    raise Closed(0) from None
                if not data and not self._events:
                    raise Closed(0)
            return self._events.pop(0)
