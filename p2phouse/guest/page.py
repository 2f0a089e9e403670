"""The page on which somebody without p2phouse listens to a room, and what it asks about the room.

Files are read once and looked up by name: no path reaches the disk. What the owner's page has
already (colours, faces, icons) is taken from there. The page trusts its server for all it shows.
What is told of a room is written once for all who ask, and again when it has changed.
"""

import json
import mimetypes
from dataclasses import dataclass, replace
from hashlib import sha256
from html import escape
from pathlib import Path
from typing import Final

from p2phouse.guest.exchange import Headers, Reply, Request, later
from p2phouse.guest.facts import NodeRoom, RoomFacts, SealedRoom
from p2phouse.guest.following import Following, Key
from p2phouse.guest.resources import Guests
from p2phouse.guest.telling import Told, whole

STATIC: Final = Path(__file__).parent / "static"
SHARED: Final = Path(__file__).parents[1] / "web" / "static"
SHARED_FILES: Final = (
    "tokens.css",
    "page.css",
    "room.css",
    "flow.js",
    "reactions.js",
    "i18n.js",
    "faces.js",
    "icons.js",
    "parts.js",
    "voices.js",
    "mark.svg",
    "vendor/htm-preact.js",
    "vendor/icons.js",
)
JSON: Final = "application/json"
# x-accel-buffering: a proxy is to pass on each line as it comes.
NEWS: Final[Headers] = (
    ("content-type", "application/x-ndjson"),
    ("cache-control", "no-store"),
    ("x-accel-buffering", "no"),
)
GONE_AFTER: Final[Headers] = (("connection", "close"),)  # who asks seldom holds no connection
FOLLOW_AGAIN_S: Final = 60
WRITTEN_MAX: Final = 256  # rooms whose facts are kept written: names may be anybody's invention
ICONS: Final = (
    ("icon-192.png", "192x192", "any"),
    ("icon-512.png", "512x512", "any"),
    ("icon-maskable-512.png", "512x512", "maskable"),
    ("mark.svg", "any", "any"),
)

# Security: nothing but our own files may run, be fetched or frame the page; it sends voice nowhere
# and asks nothing of anybody but this server.
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; media-src 'self' blob:; manifest-src 'self'; frame-ancestors 'none'; "
    "base-uri 'none'; form-action 'none'"
)
HEADERS: Final[Headers] = (
    ("content-security-policy", POLICY),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    ("permissions-policy", "camera=(), microphone=(), geolocation=()"),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
)


@dataclass(frozen=True, slots=True)
class _File:
    body: bytes
    kind: str
    etag: str


class Page:
    """`reply` answers what is the page's, and nothing else."""

    def __init__(self, guests: Guests, *, relay: str) -> None:
        """relay: how the operator calls this relay, for people."""
        self._guests = guests
        self._relay = relay
        self._files = _files()
        self._written: dict[Key, tuple[RoomFacts, _File]] = {}
        self._following = Following(self._told)

    def reply(self, request: Request) -> Reply | None:
        """None if it is not for the page."""
        found = self._found(request)
        if found is None:
            return None
        if request.method not in ("GET", "HEAD"):
            return Reply(405, (*HEADERS, ("allow", "GET, HEAD")))
        return replace(found, headers=(*HEADERS, *found.headers))

    def _found(self, request: Request) -> Reply | None:
        match request.path.split("/"):
            case ["", "r", name]:
                room = self._guests.room(name)
                return _file(request, self._titled(room), status=_status(room))
            case ["", "r", name, "now"]:
                return self._now(request, name)
            case ["", "r", name, "news"]:
                return self._news(request, name)
            case ["", "r", name, "elsewhere"]:
                return self._guests.page_elsewhere(request, name)
            case ["", "r", name, "app.webmanifest"]:
                room = self._guests.room(name)
                if _status(room) == 200 and room is not None:
                    return _json(_manifest(room), kind="application/manifest+json")
            case ["", *_] if request.path[1:] in self._files:
                return _file(request, self._files[request.path[1:]])
        return None

    def _titled(self, room: RoomFacts | None) -> _File:
        """The page itself; with the title of an open room, for whoever is sent a link to it."""
        plain = self._files["listen.html"]
        if room is None or not isinstance(room.carried, NodeRoom):
            return plain
        # Security: a title is anybody's words.
        # Test: test_page.py::test_a_title_stands_in_the_page_as_words_and_nothing_else
        title = escape(room.carried.title)
        head = f'<title>{title}</title>\n<meta property="og:title" content="{title}">'
        body = plain.body.replace(b"<title>p2phouse</title>", head.encode())
        return _File(body, plain.kind, _etag(body))

    def _now(self, request: Request, name: str) -> Reply:
        """What the page shows of the room, for who does not follow its news."""
        shard = self._shard(request)
        room = self._guests.room(name, shard)
        if room is None:
            return _NO_ROOM
        # Security: who is in a room that asks for a token is for those who have it.
        if not self._guests.may_listen(request, name):
            return _json({"room": name, "relay": self._relay, "allowed": False}, GONE_AFTER)
        before, file = self._written.get((name, shard), (None, None))
        if file is None or before != room:
            body = json.dumps(whole(room, self._relay), ensure_ascii=False).encode()
            file = _File(body, JSON, _etag(body))
            self._written.pop((name, shard), None)
            while len(self._written) >= WRITTEN_MAX:
                del self._written[next(iter(self._written))]
            self._written[name, shard] = room, file
        reply = _file(request, file, status=_status(room))
        return replace(reply, headers=(*reply.headers, *GONE_AFTER))

    def _news(self, request: Request, name: str) -> Reply:
        """The same, and each change of it for as long as somebody listens."""
        key = (name, self._shard(request))
        if self._told(key) is None:
            return self._now(request, name)
        # Security: as in _now.
        if not self._guests.may_listen(request, name):
            return _json({"room": name, "relay": self._relay, "allowed": False}, status=401)
        if request.method != "GET":
            return Reply(200)
        stream = self._following.follow(key, request.source)
        if stream is None:
            return later(FOLLOW_AGAIN_S, "too many follow this")
        return Reply(200, NEWS, stream=stream)

    def _shard(self, request: Request) -> int | None:
        """Of the guest whose location the page shows: slots differ from one to the other."""
        return self._guests.shard_of(request.headers.get("guest", ""))

    def _told(self, key: Key) -> Told | None:
        room = self._guests.room(*key)
        return whole(room, self._relay) if room is not None and _status(room) == 200 else None

    async def run(self) -> None:
        """Until cancelled: tells those who follow a room what changes in it."""
        await self._following.run()


def _status(room: RoomFacts | None) -> int:
    if room is None:
        return 404
    return 403 if isinstance(room.carried, SealedRoom) else 200


def _etag(body: bytes) -> str:
    return f'"{sha256(body).hexdigest()[:16]}"'


def _file(request: Request, file: _File, *, status: int = 200) -> Reply:
    headers = (("etag", file.etag), ("cache-control", "no-cache"))
    if status == 200 and request.headers.get("if-none-match") == file.etag:
        return Reply(304, headers)
    return Reply(status, (("content-type", file.kind), *headers), file.body)


def _json(value: object, headers: Headers = (), *, status: int = 200, kind: str = JSON) -> Reply:
    headers = (("content-type", kind), ("cache-control", "no-store"), *headers)
    return Reply(status, headers, json.dumps(value, ensure_ascii=False).encode())


def _manifest(room: RoomFacts) -> dict[str, object]:
    title = room.carried.title if isinstance(room.carried, NodeRoom) else room.name
    return {
        "name": f"{title} · p2phouse",
        "short_name": title,
        "id": f"/r/{room.name}",
        "start_url": f"/r/{room.name}",
        "scope": f"/r/{room.name}",
        "display": "standalone",
        "background_color": "#FAF4EA",
        "theme_color": "#FAF4EA",
        "icons": [
            {"src": f"/{name}", "sizes": sizes, "type": _kind(name), "purpose": purpose}
            for name, sizes, purpose in ICONS
        ],
    }


_NO_ROOM: Final = _json({"error": "there is no such room"}, GONE_AFTER, status=404)


def _kind(name: str) -> str:
    return str(mimetypes.guess_type(name)[0])


def _files() -> dict[str, _File]:
    """By path: those of the owner's page that are shared, and our own."""
    mimetypes.add_type("text/javascript", ".js")  # some systems' tables say otherwise
    paths = {name: SHARED / name for name in SHARED_FILES}
    paths |= {path.name: path for path in STATIC.iterdir() if path.is_file()}
    files = {}
    for name, path in paths.items():
        body = path.read_bytes()
        files[name] = _File(body, _kind(path.name), _etag(body))
    return files
