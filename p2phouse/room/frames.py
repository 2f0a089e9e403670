"""What members say over their room links: `[kind, …]` arrays, read into types once, here.

The first frame each way is the greeting; net/room_links.py has already checked that its join
belongs to the peer at the other end. docs/protocol.md §4 is normative.
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from p2phouse.errors import PeerError
from p2phouse.record import envelope, limits
from p2phouse.record.cbor import Value
from p2phouse.record.envelope import Signed
from p2phouse.record.types import Epoch, Genesis, Identity, Join, Soft, Speak
from p2phouse.room.chat import HAVE_BYTES, HAVE_MAX
from p2phouse.vocabulary import DeviceKey, RoomId

MEMBERS_TOLD_MAX: Final = limits.ROOM_MEMBERS_MAX  # 10 kB with four long addresses each
ENTRIES_TOLD_MAX: Final = 64  # in one frame; so many do not fit
DIGEST_BYTES: Final = 32
EPOCHS_TOLD_MAX: Final = 8  # in one frame; so many small ones fit
CHATS_TOLD_MAX: Final = 64  # in one frame
SPEAKS_TOLD_MAX: Final = 2  # of one device: the running voice and the one it replaces


class FrameKind(IntEnum):
    GREETING = 0
    SPEAK = 1
    ENTRY = 2
    SOFT = 3
    BEAT = 4
    BYE = 5
    DIGEST = 6
    SKETCH = 7
    CHAT = 8
    EPOCH = 9
    LOBBY = 10  # read in lobby.py
    SUCCESSOR = 11
    REPORT = 12
    CLAIM = 13
    BID = 14
    NEWS = 15  # read in news.py
    LOST = 16
    SEEK = 17  # read in inquiry.py, as is its answer
    FOUND = 18


class ByeReason(IntEnum):
    LEAVING = 0
    FULL = 1
    NOT_HERE = 2
    LOCAL_ONLY = 3
    PUT_OUT = 4
    LOCKED = 5
    REFUSED = 6
    MOVED = 7
    NEEDS_CARRIER = 8


BYE_TEXTS: Final = {
    ByeReason.LEAVING: "that member is leaving",
    ByeReason.FULL: f"the room is full ({limits.ROOM_MEMBERS_MAX} people)",
    ByeReason.NOT_HERE: "that node is not in the room any more",
    ByeReason.LOCAL_ONLY: "the room is for people on its own network",
    ByeReason.PUT_OUT: "you were put out of the room",
    ByeReason.LOCKED: "the room is locked",
    ByeReason.MOVED: "that member went on to the room that continues this one",
    ByeReason.REFUSED: "whoever runs the room did not let you in",
    ByeReason.NEEDS_CARRIER: f"the room is full ({limits.MESH_MEMBERS_MAX} people): "
    "this room needs a relay or somebody willing to carry it",
}


class FrameRefused(PeerError):
    """A room link carried a frame that breaks the protocol: {reason}."""


@dataclass(frozen=True, slots=True)
class Greeting:
    """Who is there: the sender's proof of being in the room and whom else it knows."""

    join: Signed[Join]
    identity: Signed[Identity]
    addrs: tuple[bytes, ...]
    members: tuple[tuple[DeviceKey, tuple[bytes, ...]], ...]
    genesis: Signed[Genesis] | None  # None from somebody who joins by link and lacks it yet
    speaks: tuple[Signed[Speak], ...]


def read_greeting(frame: list[Value], *, sender: DeviceKey, room: RoomId) -> Greeting:
    """Raises PeerError. Every record in it is checked and belongs to the sender."""
    if len(frame) != 7:
        raise FrameRefused(reason=f"a greeting of {len(frame)} fields")
    _, join_data, identity_data, addrs, members, entries, speaks = frame
    join = envelope.read(as_bytes(join_data), Join)
    identity = envelope.read(as_bytes(identity_data), Identity)
    # Security: all of it must speak for the peer that the handshake proved, or a member could
    # bring in others who never came.
    if join.record.dev != sender or join.record.room != room:
        raise FrameRefused(reason="a join of somebody else or for another room")
    if identity.id != join.record.idrec or not lists_device(identity.record, sender):
        raise FrameRefused(reason="an identity that does not list the sender's device")
    history = _list(entries, most=limits.ENTRIES_PER_ROOM_MAX)
    genesis = envelope.read(as_bytes(history[0]), Genesis) if history else None
    # Security: the room's id is its genesis: nobody can put another title or host on a room.
    if genesis is not None and RoomId(genesis.id) != room:
        raise FrameRefused(reason="the genesis of another room")
    told = tuple(
        read_speak(item, sender=sender, room=room) for item in _list(speaks, most=SPEAKS_TOLD_MAX)
    )
    return Greeting(
        join=join,
        identity=identity,
        addrs=as_addresses(addrs),
        members=tuple(_member(item) for item in _list(members, most=MEMBERS_TOLD_MAX)),
        genesis=genesis,
        speaks=told,
    )


def lists_device(identity: Identity, dev: DeviceKey) -> bool:
    return any(device.dev == dev for device in identity.devices)


def read_speak(data: Value, *, sender: DeviceKey, room: RoomId) -> Signed[Speak]:
    """Raises PeerError if it is not the sender's own voice in this room."""
    speak = envelope.read(as_bytes(data), Speak)
    if speak.record.dev != sender or speak.record.room != room:
        raise FrameRefused(reason="a speak record of somebody else or for another room")
    return speak


def read_soft(data: Value, *, sender: DeviceKey, room: RoomId) -> Signed[Soft]:
    soft = envelope.read(as_bytes(data), Soft)
    if soft.record.dev != sender or soft.record.room != room:
        raise FrameRefused(reason="soft state of somebody else or for another room")
    return soft


def read_entries(frame: list[Value]) -> tuple[list[bytes], list[bytes]]:
    """Entries of the room's log, and the identities of those who wrote them; still unread."""
    if len(frame) != 3:
        raise FrameRefused(reason=f"entries in a frame of {len(frame)} fields")
    entries, identities = (_list(item, most=ENTRIES_TOLD_MAX) for item in frame[1:])
    return [as_bytes(item) for item in entries], [as_bytes(item) for item in identities]


def read_successor(
    frame: list[Value], *, sender: DeviceKey, room: RoomId
) -> tuple[Signed[Genesis], tuple[bytes, ...]]:
    """The room that the sender has opened to continue this one, and where it is entered."""
    if len(frame) != 3:
        raise FrameRefused(reason=f"a successor in a frame of {len(frame)} fields")
    genesis = envelope.read(as_bytes(frame[1]), Genesis)
    if genesis.record.dev != sender or genesis.record.continues != room:
        raise FrameRefused(reason="a successor of somebody else or to another room")
    return genesis, as_addresses(frame[2])


def read_epochs(
    frame: list[Value], *, room: RoomId
) -> tuple[list[Signed[Epoch]], list[Signed[Identity]]]:
    """Epochs, and the identities of those who signed them; none of either is a question."""
    if len(frame) != 3:
        raise FrameRefused(reason=f"epochs in a frame of {len(frame)} fields")
    records, identities = (_list(item, most=EPOCHS_TOLD_MAX) for item in frame[1:])
    read = [envelope.read(as_bytes(item), Epoch) for item in records]
    if any(signed.record.room != room for signed in read):
        raise FrameRefused(reason="an epoch of another room")
    return read, [envelope.read(as_bytes(item), Identity) for item in identities]


def read_chat(frame: list[Value]) -> tuple[list[bytes], list[bytes], bytes | None]:
    """Chat records, the identities of their authors, and which records the sender has if it asks
    for others; all still unread."""
    if len(frame) != 4:
        raise FrameRefused(reason=f"chat in a frame of {len(frame)} fields")
    records, identities = (_list(item, most=CHATS_TOLD_MAX) for item in frame[1:3])
    have = None if frame[3] is None else as_bytes(frame[3])
    if have is not None and (len(have) % HAVE_BYTES or len(have) > HAVE_BYTES * HAVE_MAX):
        raise FrameRefused(reason="a list of ids in pieces")
    return [as_bytes(item) for item in records], [as_bytes(item) for item in identities], have


def read_report(frame: list[Value]) -> bytes:
    """A bundle, still unread."""
    return as_bytes(only_field(frame))


def read_exactly(frame: list[Value], size: int) -> bytes:
    """The one field of the frame, of so many bytes."""
    data = as_bytes(only_field(frame))
    if len(data) != size:
        raise FrameRefused(reason=f"{len(data)} bytes where {size} belong")
    return data


def bye(reason: ByeReason) -> list[Value]:
    return [int(FrameKind.BYE), int(reason)]


def lost(join: bytes) -> list[Value]:
    """The sender has lost the member with that join."""
    return [int(FrameKind.LOST), join]


def read_bye(frame: list[Value]) -> ByeReason:
    """Whatever we do not know is a leaving: who says bye is gone either way."""
    match frame:
        case [_, int(reason), *_] if reason in set(ByeReason):
            return ByeReason(reason)
    return ByeReason.LEAVING


def only_field(frame: list[Value]) -> Value:
    """What stands after the kind. Raises FrameRefused if that is not one thing."""
    if len(frame) != 2:
        raise FrameRefused(reason=f"a frame of {len(frame)} fields where two belong")
    return frame[1]


def _member(item: Value) -> tuple[DeviceKey, tuple[bytes, ...]]:
    pair = _list(item, most=2)
    if len(pair) != 2 or len(as_bytes(pair[0])) != 32:
        raise FrameRefused(reason="a member that is not a device and its addresses")
    return DeviceKey(as_bytes(pair[0])), as_addresses(pair[1])


def as_addresses(item: Value) -> tuple[bytes, ...]:
    addrs = tuple(as_bytes(addr) for addr in _list(item, most=limits.ADDRS_MAX))
    if any(len(addr) > limits.ADDR_BYTES_MAX for addr in addrs):
        raise FrameRefused(reason="an address that is too long")
    return addrs


def as_bytes(item: Value) -> bytes:
    if not isinstance(item, bytes):
        raise FrameRefused(reason="something else where bytes belong")
    return item


def _list(item: Value, *, most: int) -> list[Value]:
    if not isinstance(item, list) or len(item) > most:
        raise FrameRefused(reason="something else where a short list belongs")
    return item
