"""Who may speak to the owner's page: every request is judged here before anything else reads it.

Any site that is open in a browser of this machine can send requests to 127.0.0.1. What a browser
does not let it forge is Host, Origin and Sec-Fetch-*: those decide. docs/page.md lists the rules.
"""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

BODY_BYTES_MAX: Final = 64 * 1024

# Security: nothing but our own files may run, be fetched or frame the page; sound and API are
# WebSockets of this machine. No form may post anywhere, no <base> may bend a path.
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self' ws://127.0.0.1:* ws://localhost:*; frame-ancestors 'none'; "
    "base-uri 'none'; form-action 'none'"
)
HEADERS: Final = (
    (b"content-security-policy", POLICY.encode()),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
)


class Guard:
    """ASGI middleware around everything that the page's port serves."""

    def __init__(self, app: App, *, port: int) -> None:
        self._app = app
        self._hosts = frozenset((f"127.0.0.1:{port}", f"localhost:{port}"))

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        refused = self._refusal(scope)
        if refused is None:
            await self._app(scope, receive, _with_headers(send))
        elif scope["type"] == "http":
            await _answer(send, "http.response", *refused)
        else:
            await receive()  # websocket.connect
            await _answer(send, "websocket.http.response", *refused)

    def _refusal(self, scope: Message) -> tuple[int, str] | None:
        """Status and reason; None if the request may pass."""
        headers: dict[str, list[str]] = {}
        for name, value in scope["headers"]:
            headers.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1"))
        hosts = headers.get("host", [])
        origins = headers.get("origin", [])
        # Security: two of a kind, and whoever reads after us may take the other one.
        if len(hosts) != 1 or len(origins) > 1:
            return 400, "one Host and at most one Origin"
        # Security: DNS rebinding. A site whose name now leads to 127.0.0.1 is same-origin with us
        # to its browser; only the name in Host gives it away.
        if hosts[0] not in self._hosts:
            return 421, "not the host of this page"
        # Security: a foreign site, or `null` as from a file or a sandboxed frame.
        if origins and origins[0] != f"http://{hosts[0]}":
            return 403, "not from this page"
        # Security: a browser names the origin of whatever can change something; who does not is
        # none. WebSockets are not held to same-origin by browsers, so this is all that holds them.
        if not origins and (scope["type"] == "websocket" or scope["method"] not in ("GET", "HEAD")):
            return 403, "no Origin"
        # Security: a foreign page may not even load our files, lest it learn that we run.
        if headers.get("sec-fetch-site", ["none"])[0] not in ("same-origin", "none") and not (
            _is_arrival(scope, headers)
        ):
            return 403, "not from this page"
        # Security: nothing here takes a large body; one of unknown length may be endless.
        lengths = headers.get("content-length", ["0"])
        if "transfer-encoding" in headers or not lengths[0].isdigit():
            return 411, "a body needs its length"
        if int(lengths[0]) > BODY_BYTES_MAX:
            return 413, "too large"
        return None


def _is_arrival(scope: Message, headers: dict[str, list[str]]) -> bool:
    """A person goes to the page, in a tab of its own: the one-shot file is another site to us.

    The document holds no secret and does nothing without the token; framing is refused.
    """
    return (
        scope["type"] == "http"
        and scope["path"] == "/"
        and headers.get("sec-fetch-mode") == ["navigate"]
        and headers.get("sec-fetch-dest") == ["document"]
    )


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] in ("http.response.start", "websocket.http.response.start"):
            message["headers"] = [*message.get("headers", []), *HEADERS]
        await send(message)

    return sending


async def _answer(send: Send, kind: str, status: int, reason: str) -> None:
    body = f"{reason}\n".encode()
    headers = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", str(len(body)).encode()),
        *HEADERS,
    ]
    await send({"type": f"{kind}.start", "status": status, "headers": headers})
    await send({"type": f"{kind}.body", "body": body, "more_body": False})
