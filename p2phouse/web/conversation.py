"""What one page and the node say to each other on the WebSocket /api.

First the page shows the token. Then it asks, `{"id": n, "verb": …, argument: …}`, and is answered
`{"id": n, "result": …}` or `{"id": n, "error": …, "yours": bool}`; in between it is told every
event, and what the pulse says whenever that changes. docs/page.md has it all.
"""

import json
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, Final

import trio
from starlette.websockets import WebSocket, WebSocketDisconnect

from p2phouse.api import BadRequest, Call, Facts, Verb, beside
from p2phouse.errors import P2PHouseError, UserError
from p2phouse.web.opening import Opening

TOKEN_S_MAX: Final = 2.0
CALLS_MAX: Final = 16  # a page asks a few at once; more wait
OUTBOX_MESSAGES: Final = 256
PULSE_S: Final = 0.1  # levels are redrawn ten times a second at most
UNAUTHENTICATED: Final = 4401


async def converse(
    socket: WebSocket, opening: Opening, verbs: dict[str, Verb], pulse: Callable[[], Facts]
) -> None:
    """Until the page goes away."""
    await socket.accept()
    if not await _shows_token(socket, opening):
        with suppress(WebSocketDisconnect, RuntimeError):  # it went away by itself
            await socket.close(UNAUTHENTICATED)
        return
    opening.forget_files()
    outbox, posted = trio.open_memory_channel[Facts](OUTBOX_MESSAGES)

    async def others() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_post, socket, posted)
            nursery.start_soon(_tell_pulse, outbox, pulse)
            call = Call(outbox.send, trio.Event())
            nursery.start_soon(verbs["events"], call, {})

    with suppress(WebSocketDisconnect):
        await beside(others, partial(_answer_all, socket, outbox, verbs))


async def _shows_token(socket: WebSocket, opening: Opening) -> bool:
    # Security: the first word within two seconds, or a program could hold our sockets for nothing.
    with trio.move_on_after(TOKEN_S_MAX):
        try:
            match json.loads(await _text(socket)):
                case {"token": str(token)}:
                    return opening.is_token(token)
        except (ValueError, RecursionError, WebSocketDisconnect):
            pass
    return False


async def _answer_all(
    socket: WebSocket, outbox: trio.MemorySendChannel[Facts], verbs: dict[str, Verb]
) -> None:
    places = trio.CapacityLimiter(CALLS_MAX)
    async with trio.open_nursery() as nursery:
        while True:
            try:
                text = await _text(socket)
            except WebSocketDisconnect:
                nursery.cancel_scope.cancel()
                return
            place = object()
            await places.acquire_on_behalf_of(place)  # not read on until one is free

            async def one(text: str, place: object) -> None:
                try:
                    await outbox.send(await _answer(text, outbox, verbs))
                finally:
                    places.release_on_behalf_of(place)

            nursery.start_soon(one, text, place)


async def _answer(
    text: str, outbox: trio.MemorySendChannel[Facts], verbs: dict[str, Verb]
) -> Facts:
    number: Any = None
    try:
        request = _request(text)
        number, name = request.pop("id", None), request.pop("verb", None)
        if type(number) is not int:
            number = None
            raise BadRequest(reason="id must be int")
        verb = verbs.get(name) if isinstance(name, str) else None
        # Security: whoever got hold of the token may run the page, not read or write files by
        # `say` and `listen` with any path.
        if verb is None or not verb.page:
            raise BadRequest(reason=f"no verb {str(name)[:40]!r}")
        result = await verb(Call(outbox.send, trio.Event()), request)
    except P2PHouseError as error:
        return {"id": number, "error": str(error), "yours": isinstance(error, UserError)}
    return {"id": number, "result": result}


async def _text(socket: WebSocket) -> str:
    """The next message; empty if it was bytes. Raises WebSocketDisconnect."""
    message = await socket.receive()
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(message.get("code") or 1005)
    return message.get("text") or ""


def _request(text: str) -> Facts:
    try:
        request = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadRequest(reason="not JSON") from error
    if not isinstance(request, dict):
        raise BadRequest(reason="not an object")
    return request


async def _tell_pulse(outbox: trio.MemorySendChannel[Facts], pulse: Callable[[], Facts]) -> None:
    told: Facts = {}
    while True:
        now = pulse()
        for name, value in now.items():
            if told.get(name) != value:
                try:
                    outbox.send_nowait({name: value})
                except trio.WouldBlock:
                    break  # the page does not keep up: newest wins, next time
                told[name] = value
        await trio.sleep(PULSE_S)


async def _post(socket: WebSocket, posted: trio.MemoryReceiveChannel[Facts]) -> None:
    async for facts in posted:
        with suppress(WebSocketDisconnect, RuntimeError):  # it went away; the reader ends us
            await socket.send_text(json.dumps(facts))
