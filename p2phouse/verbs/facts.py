"""What many verbs answer. A fact that may be missing is NotRequired; its text says when.

These are the shapes that docs/asyncapi.json promises. Answers are checked against them in tests
rather than built from them: the core, which knows nothing of JSON, hands out plain dictionaries.
"""

from typing import Annotated, Final, Literal, NotRequired, TypedDict

from p2phouse.api import Facts
from p2phouse.identity.keys import peer_id
from p2phouse.record.types import Access
from p2phouse.room.messages import Event

KeyTag = Annotated[str, "forty bits of a person's root key, `xxxx-xxxx`, to tell people apart by"]
Uid = Annotated[str, "a person's root key, 64 hexadecimal digits; a face is drawn from it"]
PeerIdText = Annotated[str, "a device's libp2p PeerId"]
RoomIdText = Annotated[str, "id of a room, 64 hexadecimal digits"]
RoleName = Annotated[
    Literal["speaker", "muted", "listener", "relay", "remove", "ban"] | None,
    "what a person is in the room; null if not let in",
]
LevelName = Annotated[
    Literal["creator", "host", "moderator", "speaker", "listener"], "what a person may do"
]
AccessName = Literal["open", "social", "closed", "lan"]
ACCESSES: Final = {access.name.lower(): access for access in Access}
ChatMode = Annotated[
    Literal["on", "off"] | int, "a number: slow mode, of one message a person in so many seconds"
]
Mouth = Annotated[str, "what the node speaks with: `page`, what --audio said, or `none`"]


class Identity(TypedDict):
    name: Annotated[str, "as the person wrote it, or empty"]
    uid: Uid
    key_tag: KeyTag
    peer_id: PeerIdText
    addrs: Annotated[list[str], "multiaddrs where others may dial this node"]
    port: Annotated[int, "TCP and UDP"]


CauseName = Annotated[
    Literal[
        "forged",
        "device_lost",
        "output_blocked",
        "link_down",
        "muted_by",
        "key_missing",
        "unproved",
        "no_microphone",
        "level_zero",
        "no_packets",
        "talking_while_muted",
    ],
    "what kind of reason",
]


class Silence(TypedDict):
    """Why somebody is not heard, or we."""

    cause: CauseName
    text: Annotated[str, "one sentence"]
    remedy: Annotated[str, "the one thing to do"]
    by: Annotated[str | None, "name of who decided it, if somebody did"]


class Successor(TypedDict):
    title: str
    by: Annotated[str, "name of who opened it, or key tag"]
    room: RoomIdText


ShapeWhy = Annotated[
    Literal["", "people", "pair", "relay", "strain"],
    "why one forwards, or should: too many people, a pair that cannot meet, a relay that a host"
    " named, a machine or connection at its limit",
]
CarriedWhy = Annotated[
    Literal["", "named", "nearest", "only_one", "took_over"],
    "why that member does: a relay that a host named, nearest to most, the only one who can, or"
    " the one before stopped",
]


class Carrier(TypedDict):
    """A member who forwards the voices of the room, or would at once."""

    peer_id: PeerIdText
    name: Annotated[str, "as the person wrote it, or the key tag"]
    me: Annotated[bool, "whether that is us"]


class Load(TypedDict):
    people: Annotated[int, "how many others we feed"]
    kbps: Annotated[int, "what we send them now"]


class GuestsVia(TypedDict):
    """People with only a browser who listen through a relay. Nobody else can count them."""

    name: Annotated[str, "of the relay, whose word it is"]
    peer_id: PeerIdText
    count: int


class Room(TypedDict):
    """The room this node is in. In none there is `room`, null, and nothing else."""

    room: Annotated[str | None, "id of the room, 64 hexadecimal digits; null in none"]
    title: NotRequired[str]
    link: NotRequired[
        Annotated[str, "leads others to the room; useless while the node has no address"]
    ]
    muted: NotRequired[Annotated[bool, "whether we are"]]
    people: NotRequired[Annotated[int, "how many are in it, ourselves included"]]
    role: NotRequired[RoleName]
    level: NotRequired[LevelName]
    stage: NotRequired[
        Annotated[Literal["everyone", "invited"], "who may come to it: who comes, or who is asked"]
    ]
    speakers_max: NotRequired[Annotated[int, "places on the stage"]]
    on_stage: NotRequired[Annotated[int, "how many stand there"]]
    guests: NotRequired[Annotated[list[GuestsVia], "who listens beside the people of the room"]]
    may: NotRequired[Annotated[list[str], "what we may do in the room now, as names of verbs"]]
    locked: NotRequired[Annotated[bool, "whether nobody new comes in"]]
    confirmed: NotRequired[
        Annotated[bool, "whether what we know of the room is what those who run it say they hold"]
    ]
    attended: NotRequired[Annotated[bool, "whether somebody who runs the room was in it lately"]]
    closes_in_s: NotRequired[Annotated[int | None, "null if it is more than ten minutes away"]]
    sealed: NotRequired[Annotated[bool, "whether only those let in are given the key of voices"]]
    epoch: NotRequired[
        Annotated[int | None, "number of the secret that we send under; null if there is none"]
    ]
    keys: NotRequired[
        Annotated[
            Literal["public", "current", "waiting"],
            "whose voices may be opened: anybody's who comes, only of those let in, or none yet",
        ]
    ]
    chat: NotRequired[ChatMode]
    successor: NotRequired[Annotated[Successor | None, "the room in which this one goes on"]]
    access: NotRequired[Annotated[AccessName, "who may come in"]]
    exposure: NotRequired[Annotated[str, "who gets to know our network address, in a sentence"]]
    lobby_count: NotRequired[Annotated[int, "people who wait to be let in, as far as we know"]]
    waiting: NotRequired[
        Annotated[Literal["lobby"], "we wait to be let in; only then, and only with three others"]
    ]
    waiting_text: NotRequired[Annotated[str, "what we wait for; with `waiting` alone"]]
    silence: NotRequired[Annotated[Silence | None, "why we are not heard, or hear nobody"]]
    shape: NotRequired[
        Annotated[
            Literal["mesh", "hub"],
            "mesh: each sends its voice to everybody; hub: one member forwards those of all",
        ]
    ]
    shape_why: NotRequired[ShapeWhy]
    hub: NotRequired[Annotated[Carrier | None, "who forwards; null in a mesh"]]
    standby: NotRequired[Annotated[Carrier | None, "who takes over at once if the hub stops"]]
    carried_text: NotRequired[Annotated[str, "who carries the room and why, or empty"]]
    carried_why: NotRequired[CarriedWhy]
    carrying: NotRequired[Annotated[Load | None, "what we forward for others; null if nothing"]]
    needs_relay: NotRequired[
        Annotated[bool, "whether the room has outgrown its links and nobody in it can carry it"]
    ]


class Hand(TypedDict):
    topic: Annotated[str, "may be empty"]
    place: Annotated[int | None, "in the queue, from 1; null behind the twentieth"]


class Asked(TypedDict):
    entries: NotRequired[Annotated[list[str], "ids of what was written into the room's log"]]


class Entries(TypedDict):
    entries: Annotated[list[str], "ids of what was written into the room's log"]


class Happened(TypedDict):
    """One change of state."""

    event: Annotated[str, "what kind of change"]
    room: Annotated[str | None, "id of the room that it is about"]
    peer_id: Annotated[str | None, "PeerId of the node that it is about"]
    text: Annotated[str, "as the kind says; empty for most"]


def told(event: Event) -> Facts:
    """An event as the API tells it."""
    return {
        "event": event.kind.name.lower(),
        "room": event.room.hex() if event.room else None,
        "peer_id": peer_id(event.dev) if event.dev else None,
        "text": event.text,
    }
