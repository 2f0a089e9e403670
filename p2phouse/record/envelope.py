"""The envelope of every signed record: `[1, type, body, signature]`.

The signature covers `"p2phouse/1/" ‖ name ‖ 00 ‖ body`; a record's id is the SHA-256 of the same
bytes, so that signing again makes no new record.
"""

from dataclasses import dataclass
from hashlib import sha256
from typing import Final, Generic, TypeVar

from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey, VerifyKey

from p2phouse.errors import PeerError
from p2phouse.record import cbor, limits
from p2phouse.record.cbor import Malformed
from p2phouse.record.schema import pack, unpack
from p2phouse.record.types import (
    BODY_VERSION,
    Audit,
    Beat,
    Bid,
    Card,
    Chat,
    Claim,
    Entry,
    Epoch,
    Genesis,
    Hello,
    Identity,
    Invite,
    Join,
    Offer,
    Policy,
    Record,
    RelayGrant,
    Report,
    Soft,
    Speak,
)
from p2phouse.vocabulary import RecordId

R = TypeVar("R", bound=Record)
ENVELOPE_VERSION: Final = 1
CONTEXT: Final = b"p2phouse/1/"


class BadSignature(PeerError):
    """A record is not signed by the key it names."""


class Expired(PeerError):
    """A record is from another time: {reason}."""


@dataclass(frozen=True, slots=True)
class Signed(Generic[R]):
    """A record whose signature holds, its id, and the bytes it travels as."""

    record: R
    id: RecordId
    data: bytes


def sign(record: R, key: SigningKey) -> Signed[R]:
    """The record as its signer sends it. `key` must be the one that the record names."""
    assert getattr(record, record.SIGNER) == bytes(key.verify_key)
    assert _reads_back(record), f"{record.NAME} that everybody would refuse"
    body = cbor.encode([BODY_VERSION, *pack(record)])
    signature = key.sign(_context(type(record)) + body).signature
    data = cbor.encode([ENVELOPE_VERSION, int(record.TYPE), body, signature])
    assert len(data) <= record.SIZE_MAX, f"{record.NAME} of {len(data)} bytes"
    return Signed(record, _id(type(record), body), data)


def _reads_back(record: Record) -> bool:
    try:
        return unpack(type(record), pack(record)) == record
    except Malformed:
        return False


def read(data: bytes, expected: type[R]) -> Signed[R]:
    """The signed record of the expected class. Raises Malformed or BadSignature."""
    envelope = cbor.decode(data, size_max=expected.SIZE_MAX)
    match envelope:
        case [version, number, bytes(body), bytes(signature)] if len(signature) == 64:
            pass
        case _:
            raise Malformed(reason="no envelope")
    if not _is(version, ENVELOPE_VERSION):
        raise Malformed(reason="an envelope of another version")
    if not _is(number, expected.TYPE):
        raise Malformed(reason=f"a record of another type where {expected.NAME} belongs")
    values = cbor.decode(body, size_max=expected.SIZE_MAX)
    if not isinstance(values, list) or not values or not _is(values[0], BODY_VERSION):
        raise Malformed(reason="a body of another version")
    record = unpack(expected, values[1:])
    # Security: libsodium's verdict is the protocol. OpenSSL and WebCrypto accept signatures that
    # libsodium refuses; a record valid for some members only would split a room.
    try:
        VerifyKey(getattr(record, expected.SIGNER)).verify(_context(expected) + body, signature)
    except (BadSignatureError, ValueError) as error:
        raise BadSignature from error
    return Signed(record, _id(expected, body), data)


def _is(value: cbor.Value, number: int) -> bool:
    """Whether it is this number; `true` is 1 to Python, and two encodings of one record to us."""
    return type(value) is int and value == number


def _context(cls: type[Record]) -> bytes:
    return CONTEXT + cls.NAME.encode() + b"\0"


def _id(cls: type[Record], body: bytes) -> RecordId:
    return RecordId(sha256(_context(cls) + body).digest())


def check_time(record: Record, now_unix: float) -> None:
    """Raises Expired if the record is over, not begun, or lives longer than it may."""
    match record:
        case Identity():
            _check_span(record.created, record.exp, limits.IDENTITY_LIFE_S, now_unix)
        case Genesis():
            _check_span(record.created, record.exp, limits.ROOM_LIFE_S_MAX, now_unix)
        case Card():
            # A card without a life is a tombstone: it counts for as long as what it takes back.
            end = record.created + (record.ttl or limits.CARD_TTL_S_MAX)
            _check_span(record.created, end, limits.CARD_TTL_S_MAX, now_unix)
        case Offer():
            _check_span(record.ts, record.ts, 0, now_unix)  # fresh: all the span is clock skew
        case Beat():
            _check_span(record.ts, record.ts, 0, min(now_unix, record.ts))
            # Security: no allowance for clocks here. Who keeps something from us may show us the
            # beats from before it was decided, and for no longer than this.
            if now_unix - record.ts > limits.BEAT_LIFE_S:
                raise Expired(reason="it says how things were a while ago")
        case Join() | Soft():
            _check_span(
                record.ts, record.ts + limits.ROOM_LIFE_S_MAX, limits.ROOM_LIFE_S_MAX, now_unix
            )
        case Speak():
            end = record.created + limits.ROOM_LIFE_S_MAX
            _check_span(record.created, end, limits.ROOM_LIFE_S_MAX, now_unix)
        case Hello():
            pass  # its nonce is its time
        case Entry() | Epoch():
            pass  # they have none: what they are worth must not depend on anybody's clock
        case Chat() | Report():
            pass  # read in their order, under whatever clock they were written
        case Claim() | Bid():
            pass  # ordered by epoch and seq; one that is out of date says nothing wrong
        case Policy():
            _check_span(record.created, record.exp, limits.POLICY_LIFE_S_MAX, now_unix)
        case RelayGrant():
            _check_span(record.created, record.exp, limits.RELAY_GRANT_LIFE_S_MAX, now_unix)
        case Audit():
            pass  # its block is, on the clock of its voice
        case Invite():
            # Its maker's clock and ours may differ, and it may be made when the room begins.
            _check_span(
                record.exp - limits.ROOM_LIFE_S_MAX, record.exp, limits.ROOM_LIFE_S_MAX, now_unix
            )


def _check_span(start: int, end: int, most: int, now_unix: float) -> None:
    if end - start > most or end < start:
        raise Expired(reason="it would live longer than it may")
    if start > now_unix + limits.CLOCK_SKEW_S_MAX:
        raise Expired(reason="it is from the future; is this clock right?")
    if end < now_unix - limits.CLOCK_SKEW_S_MAX:
        raise Expired(reason="it is over")
