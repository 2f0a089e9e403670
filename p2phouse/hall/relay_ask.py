"""What a host asks of a relay, and what that replies: the frames of /p2phouse/relay/1, and no more.

A question is one frame and its reply another. What a relay thinks of a question is its own affair
(relay/p2phouse_relay/admission.py); here stands what both must be able to read.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Annotated, Final, TypeVar

from p2phouse.errors import PeerError
from p2phouse.record import cbor, envelope, limits
from p2phouse.record.cbor import Malformed, Value
from p2phouse.record.envelope import Signed
from p2phouse.record.schema import Count, Range, Size, Text, pack, unpack
from p2phouse.record.types import Address, Genesis, Identity, Policy, RelayGrant
from p2phouse.vocabulary import DeviceKey

VERSION: Final = 1
T = TypeVar("T")


class AskUnreadable(PeerError):
    """What was asked of a relay, or what it replied, is not readable: {reason}."""


class Verdict(IntEnum):
    """What a relay says to a room."""

    CARRIED = 0
    DRAINING = 1  # it is about to be stopped and takes nothing new
    FULL = 2
    NOT_LISTED = 3  # it carries whom it knows, or who has a relay grant
    GRANT_UNFIT = 4  # not of a key on its list, not about this room, not for this relay, or over
    DENIED = 5
    ROOM_UNFIT = 6  # over, for one network only, or of a kind that it does not know
    TOO_MANY = 7  # rooms of that person or relay grant
    NOT_THE_HOST = 8  # another device opened the room
    SPENT = 9  # it has sent nearly as much this month as it may, in all or for that person or grant


@dataclass(frozen=True, slots=True)
class AskPolicy:
    """What kind of relay are you?"""


@dataclass(frozen=True, slots=True)
class AskCarry:
    """Carry this room: come by me."""

    genesis: Signed[Genesis]
    at: tuple[bytes, ...]  # where the asker may be dialled
    grant: Signed[RelayGrant] | None = None


@dataclass(frozen=True, slots=True)
class Shown:
    """identity: of the relay, that proves whom a room's log is to name."""

    policy: Signed[Policy]
    identity: Signed[Identity]


@dataclass(frozen=True, slots=True)
class Said:
    """another: a relay to ask instead, HOST:PORT; empty if it knows none. The rest says within what
    a room is carried, and is zero if it is not."""

    verdict: Verdict
    another: str = ""
    listeners: int = 0
    kbps: int = 0
    until: int = 0


Ask = AskPolicy | AskCarry
Reply = Shown | Said


@dataclass(frozen=True, slots=True)
class _Carry:
    genesis: Annotated[bytes, Size(1, Genesis.SIZE_MAX)]
    at: Annotated[tuple[Address, ...], Count(0, limits.ADDRS_MAX)]
    grant: Annotated[bytes, Size(0, RelayGrant.SIZE_MAX)]


@dataclass(frozen=True, slots=True)
class _Said:
    verdict: Verdict
    another: Annotated[str, Text(80)]
    listeners: Annotated[int, Range(0, 4_096)]
    kbps: Annotated[int, Range(0, 2**32 - 1)]
    until: Annotated[int, Range(0, 2**40)]


def write(message: Ask | Reply) -> bytes:
    match message:
        case AskPolicy():
            frame: list[Value] = [VERSION, 0]
        case AskCarry(genesis, at, grant):
            proof = grant.data if grant is not None else b""
            frame = [VERSION, 1, *pack(_Carry(genesis.data, at, proof))]
        case Shown(policy, identity):
            frame = [VERSION, 0, policy.data, identity.data]
        case Said():
            fields = (message.another, message.listeners, message.kbps, message.until)
            frame = [VERSION, 1, *pack(_Said(message.verdict, *fields))]
    return cbor.encode(frame)


def read_ask(data: bytes) -> Ask:
    """Raises PeerError. Whether its records are timely is for the relay to say."""
    kind, fields = _frame(data, limits.RELAY_ASK_BYTES_MAX)
    if kind == 0 and not fields:
        return AskPolicy()
    if kind != 1:
        raise AskUnreadable(reason="a question of another kind")
    told = _unpack(_Carry, fields)
    grant = envelope.read(told.grant, RelayGrant) if told.grant else None
    return AskCarry(envelope.read(told.genesis, Genesis), told.at, grant)


def read_policy(data: bytes, relay: DeviceKey) -> Signed[Policy]:
    """Of that relay itself. Raises PeerError."""
    kind, fields = _frame(data, limits.RELAY_REPLY_BYTES_MAX)
    match kind, fields:
        case 0, [bytes(signed), bytes(proof)]:
            policy = envelope.read(signed, Policy)
            identity = envelope.read(proof, Identity).record
        case _:
            raise AskUnreadable(reason="no policy")
    # Security: or one relay could show the policy that another has signed.
    if policy.record.dev != relay:
        raise AskUnreadable(reason="the policy of another relay")
    # Security: a host names this person a relay, who then has no voice. Or a relay could have
    # anybody silenced by showing his uid for its own.
    is_listed = any(device.dev == relay for device in identity.devices)
    if identity.uid != policy.record.uid or not is_listed:
        raise AskUnreadable(reason="a policy in the name of another person")
    return policy


def read_said(data: bytes) -> Said:
    """Raises PeerError."""
    kind, fields = _frame(data, limits.RELAY_REPLY_BYTES_MAX)
    if kind != 1:
        raise AskUnreadable(reason="no verdict")
    told = _unpack(_Said, fields)
    return Said(told.verdict, told.another, told.listeners, told.kbps, told.until)


def _frame(data: bytes, size_max: int) -> tuple[int, list[Value]]:
    match cbor.decode(data, size_max=size_max):
        case [int(version), int(kind), *fields] if type(version) is int and type(kind) is int:
            if version == VERSION:
                return kind, fields
    raise AskUnreadable(reason="no frame of this version")


def _unpack(cls: type[T], fields: Sequence[Value]) -> T:
    try:
        return unpack(cls, list(fields))
    except Malformed as error:
        raise AskUnreadable(reason=str(error)) from error
