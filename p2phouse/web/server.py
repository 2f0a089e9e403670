"""The owner's page: a few files and one WebSocket, on a loopback port, behind the guard.

Imports the web server, which takes a third of a second: node.py does so once it is ready.
"""

import logging
import mimetypes
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import trio
from hypercorn.config import Config as Hypercorn
from hypercorn.trio import serve
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from p2phouse.api import Facts, Verb
from p2phouse.web.conversation import converse
from p2phouse.web.guard import Guard
from p2phouse.web.opening import Opening

log = logging.getLogger(__name__)

STATIC: Final = Path(__file__).parent / "static"
PAGES_MAX: Final = 8  # tabs
MESSAGE_BYTES_MAX: Final = 16 * 1024
RETRY_S: Final = 1.0
TRY_AGAIN_LATER: Final = 1013
KINDS: Final = {".html", ".css", ".js", ".svg"}


async def run(opening: Opening, verbs: dict[str, Verb], pulse: Callable[[], Facts]) -> None:
    """Serves the page until cancelled."""
    app = Guard(_app(opening, verbs, pulse), port=opening.port)
    while True:
        try:
            # type: hypercorn wants its own TypedDicts, Starlette's world has plain mappings
            await serve(app, _config(os.dup(opening.listener.fileno())), mode="asgi")  # type: ignore[arg-type]
        except Exception:
            # What a stranger's bytes do to the web server must not end a talk.
            log.exception("page_server_failed")
        await trio.sleep(RETRY_S)


def _config(listener: int) -> Hypercorn:
    config = Hypercorn()
    config.bind = [f"fd://{listener}"]
    config.accesslog = None
    config.errorlog = log
    config.graceful_timeout = 0.0
    config.include_server_header = False
    config.alpn_protocols = ["http/1.1"]
    # Security: a message is a verb and a few words; what is larger closes the socket.
    config.websocket_max_message_size = MESSAGE_BYTES_MAX
    return config


def _app(opening: Opening, verbs: dict[str, Verb], pulse: Callable[[], Facts]) -> Any:  # noqa: ANN401 - ASGI
    files = _files()
    places = trio.CapacityLimiter(PAGES_MAX)

    async def file(request: Request) -> Response:
        # The sound's socket lets in one origin, 127.0.0.1. What follows the # goes along.
        if request.url.path == "/" and request.headers["host"].startswith("localhost:"):
            return RedirectResponse(f"{opening.origin}/", 307)
        # Security: a name is looked up among those read at the start; no path reaches the disk.
        found = files.get(request.path_params["name"])
        if found is None:
            return PlainTextResponse("not found\n", 404)
        body, kind = found
        return Response(body, media_type=kind)

    async def api(socket: WebSocket) -> None:
        try:
            places.acquire_nowait()
        except trio.WouldBlock:
            await socket.accept()
            await socket.close(TRY_AGAIN_LATER)
            return
        try:
            await converse(socket, opening, verbs, pulse)
        finally:
            places.release()

    return Starlette(routes=[WebSocketRoute("/api", api), Route("/{name:path}", file)])


def _files() -> dict[str, tuple[bytes, str]]:
    """Every file of the page and its kind, by its path; the page itself by the empty path."""
    mimetypes.add_type("text/javascript", ".js")  # some systems' tables say otherwise
    files = {}
    for path in STATIC.rglob("*"):
        if path.suffix in KINDS:
            kind, _ = mimetypes.guess_type(path.name)
            files[path.relative_to(STATIC).as_posix()] = (path.read_bytes(), str(kind))
    files[""] = files["index.html"]
    return files
