"""The page on which somebody without p2phouse listens to a room, and what it asks about the room.

Files are read once and looked up by name: no path reaches the disk. What the owner's page has
already (colours, faces, icons) is taken from there. The page trusts its server for all it shows.
What is told of a room is written once for all who ask, and again when it has changed.
"""

import json
import mimetypes
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final

from p2phouse.guest.exchange import Headers, Reply, Request
from p2phouse.guest.facts import NodeRoom, RoomFacts, SealedRoom, face_of_name
from p2phouse.guest.resources import Guests
from p2phouse.qr import matrix

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
TOLD_MAX: Final = 256  # rooms whose facts are kept written: names may be anybody's invention
ICONS: Final = (("mark.svg", "any", "any"),)

# Security: nothing but our own files may run, be fetched or frame the page; it sends voice nowhere
# and asks nothing of anybody but this server.
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; media-src 'self'; manifest-src 'self'; frame-ancestors 'none'; "
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
        self._told: dict[str, tuple[RoomFacts, _File]] = {}

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
            case ["", "r", name]:
                status = _status(self._guests.room(name))
                return _file(request, self._files["listen.html"], status=status)
            case ["", "r", name, "now"]:
                return self._now(request, name)
            case ["", "r", name, "elsewhere"]:
                return self._guests.page_elsewhere(request, name)
            case ["", "r", name, "app.webmanifest"]:
                room = self._guests.room(name)
                if _status(room) == 200 and room is not None:
                    return _json(_manifest(room), kind="application/manifest+json")
            case ["", *_] if request.path[1:] in self._files:
                return _file(request, self._files[request.path[1:]])
        return None

    def _now(self, request: Request, name: str) -> Reply:
        """What the page shows of the room, asked each second."""
        room = self._guests.room(name)
        if room is None:
            return _json({"error": "there is no such room"}, status=404)
        # Security: who is in a room that asks for a token is for those who have it.
        if not self._guests.may_listen(request, name):
            return _json({"room": name, "relay": self._relay, "allowed": False})
        before, told = self._told.get(name, (None, None))
        if told is None or before != room:
            told = self._written(room)
            self._told.pop(name, None)
            while len(self._told) >= TOLD_MAX:
                del self._told[next(iter(self._told))]
            self._told[name] = room, told
        return _file(request, told, status=_status(room))

    def _written(self, room: RoomFacts) -> _File:
        facts: dict[str, object] = {"room": room.name, "relay": self._relay, "allowed": True}
        body = json.dumps(facts | _facts(room), ensure_ascii=False).encode()
        return _File(body, "application/json", _etag(body))


def _status(room: RoomFacts | None) -> int:
    if room is None:
        return 404
    return 403 if isinstance(room.carried, SealedRoom) else 200


def _facts(room: RoomFacts) -> dict[str, object]:
    """See docs/relay.md. Guests who speak are after the members, and have no key to show."""
    match room.carried:
        # Security: of a sealed room nothing is told but how a node gets there.
        # Test: test_page.py::test_of_a_sealed_room_a_guest_learns_the_way_in_and_nothing_else
        case SealedRoom(invite):
            code = matrix(invite) if invite else []
            return {"access": "sealed", "invite": invite, "code": code}
        case NodeRoom() as carried:
            facts: dict[str, object] = {
                "access": carried.access,
                "title": carried.title,
                "hands": [asdict(each) for each in carried.hands],
                "chat": None if carried.chat is None else [asdict(each) for each in carried.chat],
                "pins": [asdict(each) for each in carried.pins],
                "reactions": [asdict(each) for each in carried.reactions],
            }
            members, stage = len(carried.stage) + carried.listeners, carried.stage
        case None:
            facts, members, stage = {"access": "guests", "title": room.name}, 0, ()
    guests = len(room.speakers) + room.listeners
    seats = [asdict(each) | {"via": False} for each in stage]
    seats += [
        {"name": each.name, "tag": "", "face": face_of_name(each.name), "source": each.source}
        | {"role": "speaker", "muted": "", "via": True}
        for each in room.speakers
    ]
    return facts | {
        "people": members + guests,
        "guests": guests,
        "speakers": [_with_slot(each, room) for each in seats],
    }


def _with_slot(seat: dict[str, object], room: RoomFacts) -> dict[str, object]:
    source = seat.pop("source")
    slot = room.slots.index(source) if source and source in room.slots else None
    return seat | {"slot": slot}


def _etag(body: bytes) -> str:
    return f'"{sha256(body).hexdigest()[:16]}"'


def _file(request: Request, file: _File, *, status: int = 200) -> Reply:
    headers = (("etag", file.etag), ("cache-control", "no-cache"))
    if status == 200 and request.headers.get("if-none-match") == file.etag:
        return Reply(304, headers)
    return Reply(status, (("content-type", file.kind), *headers), file.body)


def _json(value: object, *, status: int = 200, kind: str = "application/json") -> Reply:
    headers = (("content-type", kind), ("cache-control", "no-store"))
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
