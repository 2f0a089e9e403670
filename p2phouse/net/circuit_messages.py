"""The messages of circuit relay v2, written and read: protobufs so small that a page does it.

What we write any implementation reads; of what we read, unknown fields are passed over and
everything has a limit. Pure.
Spec: https://github.com/libp2p/specs/blob/master/relay/circuit-v2.md
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from p2phouse.errors import PeerError
from p2phouse.identity.keys import PEER_ID_PREFIX
from p2phouse.net.wire import varint
from p2phouse.vocabulary import DeviceKey

MESSAGE_BYTES_MAX: Final = 4_096  # a reservation with a voucher and a few addresses has 500
KEY_BYTES: Final = 32
_VARINT_BYTES_MAX: Final = 10
_FIELDS_MAX: Final = 64


class BadCircuitMessage(PeerError):
    """What should be a message of a circuit relay is none."""


class Kind(IntEnum):
    RESERVE = 0
    CONNECT = 1
    STATUS = 2


class Status(IntEnum):
    OK = 100
    RESERVATION_REFUSED = 200
    RESOURCE_LIMIT_EXCEEDED = 201
    PERMISSION_DENIED = 202
    CONNECTION_FAILED = 203
    NO_RESERVATION = 204


@dataclass(frozen=True, slots=True)
class Message:
    """One message on a hop stream (asker and relay) or a stop stream (relay and target).

    peer: a binary PeerId. expire_unix: of a reservation. limit_s, limit_bytes: of a circuit, both
    directions together, for libp2p's other implementations; we say them and do not read them.
    """

    kind: Kind
    peer: bytes = b""
    status: int | None = None
    expire_unix: int = 0
    limit_s: int = 0
    limit_bytes: int = 0


# Stop messages have other numbers for the same things: their CONNECT is 0 and their STATUS is 1.
_STOP_KINDS: Final = {Kind.CONNECT: 0, Kind.STATUS: 1}


def device_in(peer: bytes) -> DeviceKey:
    """The key in a binary PeerId. Raises BadCircuitMessage if it is of no p2phouse device."""
    head, key = peer[: len(PEER_ID_PREFIX)], peer[len(PEER_ID_PREFIX) :]
    if head != PEER_ID_PREFIX or len(key) != KEY_BYTES:
        raise BadCircuitMessage
    return DeviceKey(key)


def write_hop(message: Message, *, addrs: tuple[bytes, ...] = ()) -> bytes:
    """addrs: with a reservation, the relay's own addresses as binary multiaddrs."""
    reservation = b""
    if message.expire_unix:
        reservation = _number(1, message.expire_unix) + b"".join(_bytes(2, each) for each in addrs)
    return (
        _number(1, message.kind)
        + _peer(message)
        + _part(3, reservation)
        + _part(4, _limit(message))
        + (_number(5, message.status) if message.status is not None else b"")
    )


def write_stop(message: Message) -> bytes:
    return (
        _number(1, _STOP_KINDS[message.kind])
        + _peer(message)
        + _part(3, _limit(message))
        + (_number(4, message.status) if message.status is not None else b"")
    )


def read_hop(data: bytes) -> Message:
    """Raises BadCircuitMessage."""
    fields = _fields(data)
    try:
        kind = Kind(_int(fields, 1))
    except ValueError:
        raise BadCircuitMessage from None
    reservation = _fields(_octets(fields, 3))
    return Message(
        kind,
        peer=_octets(_fields(_octets(fields, 2)), 1),
        status=_int(fields, 5) if 5 in fields else None,
        expire_unix=_int(reservation, 1),
    )


def read_stop(data: bytes) -> Message:
    """Raises BadCircuitMessage."""
    fields = _fields(data)
    number = _int(fields, 1)
    kinds = [kind for kind, stop in _STOP_KINDS.items() if stop == number]
    if not kinds:
        raise BadCircuitMessage
    return Message(
        kinds[0],
        peer=_octets(_fields(_octets(fields, 2)), 1),
        status=_int(fields, 4) if 4 in fields else None,
    )


# ── protobuf ─────────────────────────────────────────────────────────────────────────────────


def _peer(message: Message) -> bytes:
    return _bytes(2, _bytes(1, message.peer)) if message.peer else b""


def _limit(message: Message) -> bytes:
    duration = _number(1, message.limit_s) if message.limit_s else b""
    return duration + (_number(2, message.limit_bytes) if message.limit_bytes else b"")


def _part(number: int, data: bytes) -> bytes:
    return _bytes(number, data) if data else b""


def _number(number: int, value: int) -> bytes:
    return varint(number << 3) + varint(value)


def _bytes(number: int, data: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(data)) + data


_Fields = dict[int, int | bytes]


def _fields(data: bytes) -> _Fields:
    """The last value of each field, as protobuf has it."""
    found: _Fields = {}
    for count, (number, value) in enumerate(_each_field(data)):
        if count >= _FIELDS_MAX:
            raise BadCircuitMessage
        found[number] = value
    return found


def _each_field(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    at = 0
    while at < len(data):
        key, at = _read_varint(data, at)
        value: int | bytes
        match key & 7:
            case 0:
                value, at = _read_varint(data, at)
            case 2:
                size, at = _read_varint(data, at)
                value, at = data[at : at + size], at + size
            case 1:
                value, at = data[at : at + 8], at + 8
            case 5:
                value, at = data[at : at + 4], at + 4
            case _:
                raise BadCircuitMessage
        if at > len(data) or key >> 3 == 0:
            raise BadCircuitMessage
        yield key >> 3, value


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for position in range(_VARINT_BYTES_MAX):
        if at >= len(data):
            break
        value |= (data[at] & 0x7F) << 7 * position
        at += 1
        if data[at - 1] < 0x80 and value < 1 << 64:
            return value, at
    raise BadCircuitMessage


def _int(fields: _Fields, number: int) -> int:
    value = fields.get(number, 0)
    if not isinstance(value, int):
        raise BadCircuitMessage
    return value


def _octets(fields: _Fields, number: int) -> bytes:
    value = fields.get(number, b"")
    if not isinstance(value, bytes):
        raise BadCircuitMessage
    return value
