"""A connectivity check (RFC 8445 §7.1) as a controlling agent sends it, and what comes back.

Packed by hand: a thousand listeners ask for consent two hundred times a second, and what the
generator needs for itself it cannot use to look at packets.
"""

import hmac
import struct
import zlib
from typing import Final

from aioice import stun

from p2phouse.link.lite import Credentials

_HEADER: Final = struct.Struct("!HHI12s")
_ATTRIBUTE: Final = struct.Struct("!HH")
_TIE: Final = bytes(7) + b"\x01"  # the other end is lite: there is never a conflict to settle
_PRIORITY: Final = (2_113_937_151).to_bytes(4)  # RFC 8445 §5.1.2.1: a peer-reflexive candidate
_INTEGRITY_BYTES: Final = 24
_FINGERPRINT_BYTES: Final = 8


def check(transaction: bytes, ours: Credentials, theirs: Credentials) -> bytes:
    """Nominates at once: there is one pair (RFC 5245 §8.1.1.2, as browsers do with a lite end)."""
    body = b"".join(
        _attribute(kind, value)
        for kind, value in (
            (0x0006, f"{theirs.ufrag}:{ours.ufrag}".encode()),
            (0x0024, _PRIORITY),
            (0x802A, _TIE),  # ICE-CONTROLLING
            (0x0025, b""),  # USE-CANDIDATE
        )
    )
    with_integrity = _header(transaction, len(body) + _INTEGRITY_BYTES) + body
    body += _attribute(0x0008, hmac.digest(theirs.pwd.encode(), with_integrity, "sha1"))
    message = _header(transaction, len(body) + _FINGERPRINT_BYTES) + body
    return message + _attribute(0x8028, (zlib.crc32(message) ^ 0x5354554E).to_bytes(4))


def is_success(data: bytes, transaction: bytes) -> bool:
    """Whether this is a yes to that check; whose it is `is_by` says."""
    return data[:2] == b"\x01\x01" and data[8:20] == transaction


def is_by(data: bytes, key: str) -> bool:
    """Whether who wrote a message knows that password."""
    try:
        return bool(stun.parse_message(data).check_message_integrity(key.encode()))
    except (ValueError, struct.error):
        return False


def answer(data: bytes, ours: Credentials, seen: tuple[str, int]) -> bytes | None:
    """The answer to a check of the other end; None if it is none."""
    try:
        question = stun.parse_message(data)
    except (ValueError, struct.error):
        return None
    if question.message_class is not stun.Class.REQUEST:
        return None
    if not question.check_message_integrity(ours.pwd.encode()):
        return None
    message = stun.Message(stun.Method.BINDING, stun.Class.RESPONSE, question.transaction_id)
    message.attributes["XOR-MAPPED-ADDRESS"] = seen
    message.add_message_integrity(ours.pwd.encode())
    message.add_fingerprint()
    return bytes(message)


def _header(transaction: bytes, length: int) -> bytes:
    return _HEADER.pack(0x0001, length, stun.COOKIE, transaction)


def _attribute(kind: int, value: bytes) -> bytes:
    return _ATTRIBUTE.pack(kind, len(value)) + value + bytes(-len(value) % 4)
