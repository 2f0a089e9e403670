"""What the page of a room shows to guests, as values: a room of guests, or one of nodes.

Who carries the room fills them in and the page writes them down. Nothing of a sealed room is among
them but the way in: a guest is never told its title, who is in it, or how many.
"""

from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final, Literal

from p2phouse.vocabulary import LinkNumber, UserKey

FACE_CONTEXT: Final = b"p2phouse face 1"
CHAT_SHOWN_MAX: Final = 50
HANDS_SHOWN_MAX: Final = 8
REACTIONS_S: Final = 10.0  # a page that asks each second has seen each by then

RoleName = Literal["host", "moderator", "speaker"]
Muted = Literal["", "self", "moderator"]


@dataclass(frozen=True, slots=True)
class Speaker:
    """A guest who speaks. source: of what voice the slots tell."""

    name: str
    source: LinkNumber


@dataclass(frozen=True, slots=True)
class Seat:
    """A member on the stage. tag: of the person's key; source: of its voice, 0 if it has none."""

    name: str
    tag: str
    face: str
    role: RoleName
    muted: Muted
    source: LinkNumber


@dataclass(frozen=True, slots=True)
class Hand:
    """Somebody of the audience who wants to speak."""

    name: str
    tag: str
    face: str


@dataclass(frozen=True, slots=True)
class Said:
    id: str
    name: str
    tag: str
    face: str
    text: str
    at_s: int


@dataclass(frozen=True, slots=True)
class Pin:
    id: str
    text: str


@dataclass(frozen=True, slots=True)
class Reaction:
    """n: rises by one from each to the next, so that a page shows each once."""

    n: int
    tag: str
    text: str


@dataclass(frozen=True, slots=True)
class NodeRoom:
    """An open room, or one of this network, of nodes. listeners: members without a seat.

    hands: of the audience, in their order. chat: None if it is off. invite: the link by which a
    node joins, or empty. voices: whom the log names as speakers, whoever they are.
    """

    title: str
    access: Literal["open", "lan"]
    stage: tuple[Seat, ...] = ()
    listeners: int = 0
    hands: tuple[Hand, ...] = ()
    chat: tuple[Said, ...] | None = ()
    pins: tuple[Pin, ...] = ()
    reactions: tuple[Reaction, ...] = ()
    invite: str = ""
    voices: frozenset[UserKey] = frozenset()


@dataclass(frozen=True, slots=True)
class Voice:
    """A guest who speaks in a room of nodes. seed: of it are made the keys that its log names."""

    room: str
    name: str
    seed: bytes = field(repr=False)  # Security: no log holds it


@dataclass(frozen=True, slots=True)
class SealedRoom:
    """Only its members hear it. invite: the link by which a node comes to its door, or empty."""

    invite: str = ""


@dataclass(frozen=True, slots=True)
class RoomFacts:
    """A room that guests come to. slots: whose voice each carries, as far as media told; 0: nobody.

    speakers, listeners: the guests of either kind. carried: what there is beside them.
    """

    name: str
    speakers: tuple[Speaker, ...] = ()
    listeners: int = 0
    slots: tuple[LinkNumber, ...] = ()
    carried: NodeRoom | SealedRoom | None = None


def face_of(uid: UserKey) -> str:
    """The bytes that a person's face is drawn from, as digits.

    Worked out here: a browser hashes only on secure pages, and a page on a LAN is none.
    """
    return _face(uid)


def face_of_name(name: str) -> str:
    """The same of somebody without a key."""
    return _face(name.encode())


def _face(of: bytes) -> str:
    return sha256(FACE_CONTEXT + of).digest()[:10].hex()
