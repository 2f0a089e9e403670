"""Where a node's datagrams seem to come from: STUN Binding (RFC 8489), the least of it that serves.

Public nodes answer on the port of hello, so that nobody need ask a company's server. An answer is
never longer than its question, which must be padded for that; nothing else of STUN is understood.
Pure.
"""

import ipaddress
import struct
from typing import Final

from p2phouse.errors import PeerError
from p2phouse.net.addresses import Address, IPAddress
from p2phouse.vocabulary import Entropy

BINDING_REQUEST: Final = 0x0001
BINDING_SUCCESS: Final = 0x0101
COOKIE: Final = 0x2112A442
XOR_MAPPED_ADDRESS: Final = 0x0020
SOFTWARE: Final = 0x8022
TRANSACTION_BYTES: Final = 12
HEADER_BYTES: Final = 20
REQUEST_BYTES: Final = 44  # as long as the answer to an IPv6 address
REQUEST_BYTES_MAX: Final = 256
_HEADER: Final = struct.Struct(f"!HHI{TRANSACTION_BYTES}s")
_ATTRIBUTE: Final = struct.Struct("!HH")


class NoReflection(PeerError):
    """A node that was asked where we seem to be answered something else."""


def request(entropy: Entropy) -> tuple[bytes, bytes]:
    """A new question: its transaction and the datagram."""
    transaction = entropy(TRANSACTION_BYTES)
    padding = b"p2phouse".ljust(REQUEST_BYTES - HEADER_BYTES - _ATTRIBUTE.size, b" ")
    body = _ATTRIBUTE.pack(SOFTWARE, len(padding)) + padding
    return transaction, _HEADER.pack(BINDING_REQUEST, len(body), COOKIE, transaction) + body


def is_request(datagram: bytes) -> bool:
    """Whether this asks what we answer; anything else is noise."""
    if not REQUEST_BYTES <= len(datagram) <= REQUEST_BYTES_MAX or len(datagram) % 4:
        return False
    kind, size, cookie, _ = _HEADER.unpack_from(datagram)
    whole = size == len(datagram) - HEADER_BYTES
    return bool(kind == BINDING_REQUEST and cookie == COOKIE and whole)


def answer(datagram: bytes, ip: IPAddress, port: int) -> bytes:
    """To a request from there, and no longer."""
    transaction = datagram[8:HEADER_BYTES]
    value = struct.pack("!BBH", 0, 1 if ip.version == 4 else 2, port ^ COOKIE >> 16)
    value += _xor(ip.packed, transaction)
    body = _ATTRIBUTE.pack(XOR_MAPPED_ADDRESS, len(value)) + value
    data = _HEADER.pack(BINDING_SUCCESS, len(body), COOKIE, transaction) + body
    # Security: whoever forges a source gains nothing by having us answer it.
    assert len(data) <= len(datagram)
    return data


def read(datagram: bytes, transaction: bytes) -> Address:
    """Where the answer says that the question came from. Raises NoReflection."""
    if not HEADER_BYTES <= len(datagram) <= REQUEST_BYTES_MAX:
        raise NoReflection
    kind, size, cookie, theirs = _HEADER.unpack_from(datagram)
    # Security: the transaction is the only proof that this is no stranger's word.
    if (kind, cookie, theirs) != (BINDING_SUCCESS, COOKIE, transaction):
        raise NoReflection
    if size != len(datagram) - HEADER_BYTES:
        raise NoReflection
    at = HEADER_BYTES
    while at + _ATTRIBUTE.size <= len(datagram):
        name, length = _ATTRIBUTE.unpack_from(datagram, at)
        value = datagram[at + _ATTRIBUTE.size : at + _ATTRIBUTE.size + length]
        if name == XOR_MAPPED_ADDRESS:
            return _address(value, transaction)
        at += _ATTRIBUTE.size + length + -length % 4
    raise NoReflection


def _address(value: bytes, transaction: bytes) -> Address:
    sizes = {1: 4, 2: 16}
    if len(value) < 4 or len(value) != 4 + sizes.get(value[1], -1):
        raise NoReflection
    port = int.from_bytes(value[2:4], "big") ^ COOKIE >> 16
    return Address(ipaddress.ip_address(_xor(value[4:], transaction)), port)


def _xor(data: bytes, transaction: bytes) -> bytes:
    pad = COOKIE.to_bytes(4, "big") + transaction
    return bytes(one ^ other for one, other in zip(data, pad, strict=False))
