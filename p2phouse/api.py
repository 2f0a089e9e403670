"""The node's verbs and events, and the unix socket on which commands reach them.

A request is one line of JSON, `{"verb": …, argument: …}`; the answer is any number of
`{"event": …}` lines and then `{"result": …}` or `{"error": …, "yours": bool}`. A client that
closes its writing end asks a long verb to stop. docs/api.md lists every verb.
"""

import json
import logging
import os
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

import trio

from p2phouse.ask import LINE_BYTES_MAX
from p2phouse.errors import P2PHouseError, UserError

log = logging.getLogger(__name__)

REQUEST_BYTES_MAX: Final = 64 * 1024
REQUEST_S_MAX: Final = 5.0  # one line of a local program
CONNECTIONS_MAX: Final = 32
EVENTS_QUEUED_MAX: Final = 256  # a listener that does not read loses the newest

Facts = dict[str, Any]
ResultT = TypeVar("ResultT")
Tell = Callable[[Facts], Awaitable[None]]


class Call:
    """A verb that runs: where to tell events, and when the asker wants no more."""

    def __init__(self, tell: Tell, stopped: trio.Event) -> None:
        self.tell = tell
        self.stopped = stopped


@dataclass(frozen=True, slots=True)
class Verb:
    """What can be asked of this node."""

    perform: Callable[[Call, Facts], Awaitable[Facts]]
    page: bool = False  # whether a page may ask it

    async def __call__(self, call: Call, request: Facts) -> Facts:
        return await self.perform(call, request)


class BadRequest(UserError):
    """That is no request this node understands: {reason}. p2phouse --help lists the commands."""


@asynccontextmanager
async def listening(path: Path) -> AsyncIterator[trio.SocketListener]:
    """A unix socket at `path` that only we may open; removed at the end."""
    with suppress(FileNotFoundError):
        os.unlink(path)  # of a node that was killed: the lock on its home is ours now
    listener = trio.socket.socket(trio.socket.AF_UNIX, trio.socket.SOCK_STREAM)
    # Security: the mask makes the socket 0600 from its first moment; chmod later would race.
    mask = os.umask(0o177)
    try:
        await listener.bind(os.fspath(path))
    finally:
        os.umask(mask)
    listener.listen(CONNECTIONS_MAX)
    try:
        yield trio.SocketListener(listener)
    finally:
        listener.close()
        with suppress(FileNotFoundError):
            os.unlink(path)


async def serve(listener: trio.SocketListener, verbs: dict[str, Verb]) -> None:
    """Answers requests until cancelled."""
    places = trio.CapacityLimiter(CONNECTIONS_MAX)

    async def one(stream: trio.SocketStream) -> None:
        async with places, stream:
            await _answer(stream, verbs)

    await trio.serve_listeners(one, [listener])


async def _answer(stream: trio.SocketStream, verbs: dict[str, Verb]) -> None:
    # Security: the file's mode keeps others out already; this holds if somebody loosens it.
    if peer_uid(stream.socket) != os.getuid():
        log.warning("api_refused reason=other_user")
        return
    try:
        result = await _perform(stream, verbs)
        await _write(stream, {"result": result})
    except P2PHouseError as error:
        yours = isinstance(error, UserError)
        await _write(stream, {"error": str(error), "yours": yours})


async def _perform(stream: trio.SocketStream, verbs: dict[str, Verb]) -> Facts:
    request = await _read_request(stream)
    name = request.pop("verb", None)
    verb = verbs.get(name) if isinstance(name, str) else None
    if verb is None:
        raise BadRequest(reason=f"no verb {str(name)[:40]!r}")
    stopped = trio.Event()

    async def tell(event: Facts) -> None:
        await _write(stream, event)

    return await beside(
        partial(_watch_for_end, stream, stopped), partial(verb, Call(tell, stopped), request)
    )


async def beside(
    background: Callable[[], Awaitable[None]], work: Callable[[], Awaitable[ResultT]]
) -> ResultT:
    """What `work` returns, with `background` running until then.

    Its P2PHouseError comes out as it is: in the group that a nursery makes of it nobody would
    know it for the answer to a person.
    """
    failure: P2PHouseError | None = None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(background)
        try:
            result = await work()
        except P2PHouseError as error:
            failure = error
        nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure
    return result


async def _read_request(stream: trio.SocketStream) -> Facts:
    data = b""
    with trio.move_on_after(REQUEST_S_MAX):
        while b"\n" not in data:
            try:
                more = await stream.receive_some(REQUEST_BYTES_MAX)
            except trio.BrokenResourceError:
                more = b""
            if not more:
                raise BadRequest(reason="it ended before its line did")
            data += more
            if len(data) > REQUEST_BYTES_MAX:
                raise BadRequest(reason=f"longer than {REQUEST_BYTES_MAX} bytes")
        try:
            request = json.loads(data.partition(b"\n")[0])
        except (ValueError, RecursionError) as error:
            raise BadRequest(reason="not JSON") from error
        if not isinstance(request, dict):
            raise BadRequest(reason="not an object")
        return request
    raise BadRequest(reason="it took too long to arrive")


async def _watch_for_end(stream: trio.SocketStream, stopped: trio.Event) -> None:
    """Sets `stopped` once the asker closes its writing end or goes away."""
    with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
        while await stream.receive_some(4_096):
            pass  # nothing may follow a request; what does is passed over
    stopped.set()


async def _write(stream: trio.SocketStream, message: Facts) -> None:
    line = json.dumps(message).encode() + b"\n"
    if len(line) > LINE_BYTES_MAX:
        # Peers fill what is answered: too much of it is an error, never the end of the node.
        log.error("api_answer_too_long bytes=%d", len(line))
        line = json.dumps({"error": "The answer is too long to tell.", "yours": False}).encode()
        line += b"\n"
    with suppress(trio.BrokenResourceError, trio.ClosedResourceError):  # the asker went away
        await stream.send_all(line)


def peer_uid(connection: trio.socket.SocketType) -> int:
    """User id of the process at the other end; -1 where the system cannot tell."""
    if not hasattr(socket, "SO_PEERCRED"):
        return os.getuid()  # macOS: the socket's mode alone guards it
    credentials = connection.getsockopt(
        socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")
    )
    assert isinstance(credentials, bytes)
    _, uid, _ = struct.unpack("3i", credentials)
    return int(uid)
