"""What the network tells node.py: typed facts, in the order in which they happened per peer."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from p2phouse.record.cbor import Value
from p2phouse.vocabulary import DeviceKey, RoomId


@dataclass(frozen=True, slots=True)
class PeerUp:
    """A connection stands, with `dev` proved by its handshake.

    addrs: where it was reached; empty if the peer came to us.
    """

    dev: DeviceKey
    addrs: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class PeerDown:
    """The last connection to the peer is gone."""

    dev: DeviceKey


@dataclass(frozen=True, slots=True)
class DialFailed:
    """A round over all addresses failed. A kept peer is tried again by itself."""

    dev: DeviceKey
    reason: str


@dataclass(frozen=True, slots=True)
class Found:
    """A node answered hello on this LAN or machine; the network dials it by itself."""

    dev: DeviceKey
    addrs: tuple[bytes, ...]
    where: Literal["lan", "machine"]


@dataclass(frozen=True, slots=True)
class CardHeard:
    """Size, CBOR and signature hold; whether it is timely and new is for the hall to say.

    teller: who told us, by gossip its signed origin; never to be punished for the content.
    """

    data: bytes
    teller: DeviceKey


@dataclass(frozen=True, slots=True)
class RoomOpen:
    """A room link to the peer is ready.

    outbound: this node asked for it and greets now; else the peer's greeting follows as the next
    RoomFrame. Comes again for a link that stands when the stream under it was replaced.
    near: whether the peer is on a network that this machine is attached to.
    """

    dev: DeviceKey
    room: RoomId
    outbound: bool
    near: bool = True


@dataclass(frozen=True, slots=True)
class RoomFrame:
    dev: DeviceKey
    room: RoomId
    frame: list[Value]


@dataclass(frozen=True, slots=True)
class RoomClosed:
    """The link is gone or could not be opened. Not sent for a link that this node closed."""

    dev: DeviceKey
    room: RoomId
    reason: str


@dataclass(frozen=True, slots=True)
class OfferHeard:
    """An offer came; `reply` takes the answer once, within a few seconds."""

    dev: DeviceKey
    data: bytes
    reply: Callable[[bytes], None]


@dataclass(frozen=True, slots=True)
class HostRebuilt:
    """The libp2p host died and stands again under its identity; every stream of before is gone."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something a person should know; the network goes on without it."""

    text: str


NetEvent = (
    PeerUp
    | PeerDown
    | DialFailed
    | Found
    | CardHeard
    | RoomOpen
    | RoomFrame
    | RoomClosed
    | OfferHeard
    | HostRebuilt
    | Trouble
)
