"""What is asked over HTTP and what is answered, without a socket."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Final, Protocol

Headers = tuple[tuple[str, str], ...]

SDP: Final = "application/sdp"
FRAGMENT: Final = "application/trickle-ice-sdpfrag"

# Any page may listen: what protects a room is its token, which no browser adds by itself.
CORS: Final[Headers] = (
    ("access-control-allow-origin", "*"),
    ("access-control-expose-headers", "etag, link, location, retry-after"),
)
PREFLIGHT: Final[Headers] = (
    ("access-control-allow-methods", "POST, PATCH, DELETE, OPTIONS"),
    ("access-control-allow-headers", "authorization, content-type, if-match"),
    ("access-control-max-age", "86400"),
    ("accept-post", SDP),
    ("accept-patch", FRAGMENT),
)


@dataclass(frozen=True, slots=True)
class Request:
    """headers: names in lower case; of two of a name the last. source: the guest's IP address.
    query: what follows the path's question mark, as it was sent."""

    method: str
    path: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes
    source: str
    query: str = field(default="", repr=False)
    # Security: a token may stand there. Test: test_http.py::test_no_log_shows_what_a_guest_showed


class Stream(Protocol):
    """A body that comes as time goes by."""

    async def next(self) -> bytes:
        """What follows; empty if nothing more will."""

    def close(self) -> None:
        """Whoever asked is gone, or nothing follows any more; called once, whatever happened."""


class Bytes(Protocol):
    """Both ways of a connection, as trio's streams have them."""

    async def send_all(self, data: bytes) -> None: ...

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray: ...


class Upgrade(Protocol):
    """What a connection becomes that does not go on with HTTP."""

    async def talk(self, connection: Bytes, early: bytes) -> None:
        """Until it ends. early: what came right behind the request."""


@dataclass(frozen=True, slots=True)
class Reply:
    """stream: what is sent behind `body`, for as long as it goes on. upgrade: with status 101."""

    status: int
    headers: Headers = ()
    body: bytes = b""
    stream: Stream | None = None
    upgrade: Upgrade | None = None


def said(status: int, text: str, *headers: tuple[str, str]) -> Reply:
    return Reply(
        status, (("content-type", "text/plain; charset=utf-8"), *headers), f"{text}\n".encode()
    )


def later(seconds: int, text: str) -> Reply:
    return said(503, text, ("retry-after", str(seconds)))


def kind_of(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def network_of(source: str) -> str:
    """/24 of IPv4, /48 of IPv6: what one person or household has at least."""
    if ":" not in source:
        return source.rpartition(".")[0]
    return ip_address(source.partition("%")[0]).exploded[:14]


ASKS_TOKEN: Final = said(401, "this room asks for a token", ("www-authenticate", "Bearer"))
