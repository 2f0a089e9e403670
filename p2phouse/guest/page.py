"""The page on which somebody without p2phouse listens to a room, and what it asks about the room.

Files are read once and looked up by name: no path reaches the disk. What the owner's page has
already (colours, faces, icons) is taken from there. The page trusts its server for all it shows.
"""

import json
import mimetypes
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final

from p2phouse.guest.exchange import Headers, Reply, Request
from p2phouse.guest.resources import Guests

STATIC: Final = Path(__file__).parent / "static"
SHARED: Final = Path(__file__).parents[1] / "web" / "static"
SHARED_FILES: Final = (
    "tokens.css",
    "page.css",
    "i18n.js",
    "faces.js",
    "icons.js",
    "parts.js",
    "voices.js",
    "mark.svg",
    "vendor/htm-preact.js",
    "vendor/icons.js",
)
FACE_CONTEXT: Final = b"p2phouse face 1"

# Security: nothing but our own files may run, be fetched or frame the page; it sends voice nowhere
# and asks nothing of anybody but this server.
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; manifest-src 'self'; frame-ancestors 'none'; "
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

    def reply(self, request: Request) -> Reply | None:
        """None if it is not for the page."""
        found = self._found(request)
        if found is None:
            return None
        if request.method not in ("GET", "HEAD"):
            return Reply(405, (*HEADERS, ("allow", "GET, HEAD")))
        return Reply(found.status, (*HEADERS, *found.headers), found.body)

    def _found(self, request: Request) -> Reply | None:
        match request.path.split("/"):
            case ["", "r", room]:
                known = self._guests.room(room) is not None
                return self._file(request, "listen.html", status=200 if known else 404)
            case ["", "r", room, "now"]:
                return self._now(request, room)
            case ["", "r", room, "elsewhere"]:
                return self._guests.page_elsewhere(request, room)
            case ["", "r", room, "app.webmanifest"] if self._guests.room(room) is not None:
                return _json(_manifest(room), kind="application/manifest+json")
            case ["", *_] if request.path[1:] in self._files:
                return self._file(request, request.path[1:])
        return None

    def _file(self, request: Request, name: str, *, status: int = 200) -> Reply:
        file = self._files[name]
        headers = (("etag", file.etag), ("cache-control", "no-cache"))
        if status == 200 and request.headers.get("if-none-match") == file.etag:
            return Reply(304, headers)
        return Reply(status, (("content-type", file.kind), *headers), file.body)

    def _now(self, request: Request, name: str) -> Reply:
        """What the page shows of the room, asked every few seconds."""
        room = self._guests.room(name)
        if room is None:
            return _json({"error": "there is no such room"}, status=404)
        facts = {"room": name, "relay": self._relay}
        # Security: who is in a room that asks for a token is for those who have it.
        if not self._guests.may_listen(request, name):
            return _json({**facts, "allowed": False, "people": 0, "speakers": []})
        speakers = [
            {"name": speaker, "face": _face(speaker), "slot": _slot(room.slots, speaker)}
            for speaker in room.speakers
        ]
        people = len(speakers) + room.listeners
        return _json({**facts, "allowed": True, "people": people, "speakers": speakers})


def _slot(slots: Sequence[str], speaker: str) -> int | None:
    return slots.index(speaker) if speaker in slots else None


def _face(name: str) -> str:
    """The bytes a face is drawn from: of somebody without a key, from the name.

    Worked out here: a browser hashes only on secure pages, and a page on a LAN is none.
    """
    return sha256(FACE_CONTEXT + name.encode()).digest()[:10].hex()


def _json(value: object, *, status: int = 200, kind: str = "application/json") -> Reply:
    headers = (("content-type", kind), ("cache-control", "no-store"))
    return Reply(status, headers, json.dumps(value, ensure_ascii=False).encode())


def _manifest(room: str) -> dict[str, object]:
    return {
        "name": f"p2phouse: {room}",
        "short_name": room,
        "start_url": f"/r/{room}",
        "scope": f"/r/{room}",
        "display": "standalone",
        "background_color": "#FAF4EA",
        "theme_color": "#FAF4EA",
        "icons": [{"src": "/mark.svg", "sizes": "any", "type": "image/svg+xml"}],
    }


def _files() -> dict[str, _File]:
    """By path: those of the owner's page that are shared, and our own."""
    mimetypes.add_type("text/javascript", ".js")  # some systems' tables say otherwise
    paths = {name: SHARED / name for name in SHARED_FILES}
    paths |= {path.name: path for path in STATIC.iterdir() if path.is_file()}
    files = {}
    for name, path in paths.items():
        body = path.read_bytes()
        kind, _ = mimetypes.guess_type(path.name)
        files[name] = _File(body, str(kind), f'"{sha256(body).hexdigest()[:16]}"')
    return files
