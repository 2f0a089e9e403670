"""SFrame (RFC 9605) with its suite 4, AES_128_GCM_SHA256_128: the seal between speaker and ear.

Unmodified RFC: one SFrame per Opus packet, no metadata. KID names epoch and slot, CTR is the
frame's index in time since the voice began. The one thing that must never happen is sealing two
frames with one key and counter: that gives away both and the key that authenticates them.
"""

import hmac
from collections.abc import Mapping
from typing import Final, NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from p2phouse.errors import PeerError

KEY_BYTES: Final = 16  # Nk of suite 4
NONCE_BYTES: Final = 12  # Nn
TAG_BYTES: Final = 16  # Nt
COUNTER_MAX: Final = (1 << 32) - 1  # 2.7 years of frames; a sid lives for 12 hours
_SUITE: Final = (4).to_bytes(2)
_FIELD_MAX: Final = (1 << 64) - 1
_INLINE_MAX: Final = 8  # a KID or CTR below this stands in the configuration byte itself


class SealError(PeerError):
    """A sealed frame cannot be opened: {reason}."""


class KeyMissing(SealError):
    """A frame is sealed with key {kid}, which this node does not hold."""


class Forged(SealError):
    """A frame was altered, forged, or sealed with another key: {reason}."""


class CounterReused(RuntimeError):
    """A bug of ours: a counter was about to be sealed twice, or after a later one."""


class Opened(NamedTuple):
    kid: int
    counter: int
    plaintext: bytes


class SealKey:
    """One sender's key for one KID, and the memory of what it has sealed."""

    __slots__ = ("_aead", "_counter_next", "_salt", "base", "kid")

    def __init__(self, kid: int, base: bytes) -> None:
        """kid: 0 to 2^64-1. base: the sender's 16-byte base key. Spec: RFC 9605 §4.4.2."""
        assert 0 <= kid <= _FIELD_MAX
        assert len(base) == KEY_BYTES
        self.kid = kid
        self.base = base
        key, salt = derive(kid, base)
        self._aead = AESGCM(key)
        self._salt = int.from_bytes(salt)
        self._counter_next = 0

    def claim(self, counter: int) -> None:
        """Take a counter for sealing. Raises CounterReused if it, or a later one, was taken."""
        # Security: one owner per (key, counter). A second frame under the same GCM nonce reveals
        # the XOR of both and lets anyone forge. An explicit raise, since `assert` can be off.
        # Test: test_seal.py::test_no_counter_is_sealed_twice_or_out_of_order
        if not self._counter_next <= counter <= COUNTER_MAX:
            raise CounterReused(f"counter {counter}, next free is {self._counter_next}")
        self._counter_next = counter + 1

    def nonce(self, counter: int) -> bytes:
        return (self._salt ^ counter).to_bytes(NONCE_BYTES)

    def encrypt(self, counter: int, plaintext: bytes, metadata: bytes) -> bytes:
        """Header and ciphertext. Raises CounterReused."""
        self.claim(counter)
        header = encode_header(self.kid, counter)
        return header + self._aead.encrypt(self.nonce(counter), plaintext, header + metadata)

    def decrypt(self, counter: int, ciphertext: bytes, aad: bytes) -> bytes:
        """Raises cryptography's InvalidTag, which is no ValueError."""
        return self._aead.decrypt(self.nonce(counter), ciphertext, aad)


def derive(kid: int, base: bytes) -> tuple[bytes, bytes]:
    """Key and salt of suite 4 for this KID: HKDF of RFC 5869, each within one block."""
    secret = hmac.digest(b"", base, "sha256")
    identity = kid.to_bytes(8) + _SUITE
    key = hmac.digest(secret, b"SFrame 1.0 Secret key " + identity + b"\x01", "sha256")
    salt = hmac.digest(secret, b"SFrame 1.0 Secret salt " + identity + b"\x01", "sha256")
    return key[:KEY_BYTES], salt[:NONCE_BYTES]


def seal(key: SealKey, counter: int, plaintext: bytes, metadata: bytes = b"") -> bytes:
    """Header and ciphertext. Counters of one key must rise. Raises CounterReused."""
    return key.encrypt(counter, plaintext, metadata)


def open_sealed(
    keys: Mapping[int, tuple[SealKey, ...]], data: bytes, metadata: bytes = b""
) -> Opened:
    """The frame inside, if one of the keys of its KID opens it.

    A KID may name several keys: epochs share it modulo 16. Raises KeyMissing, Forged.
    """
    kid, counter, size = decode_header(data)
    candidates = keys.get(kid)
    if not candidates:
        raise KeyMissing(kid=kid)
    if len(data) < size + TAG_BYTES:
        raise Forged(reason="it is shorter than its tag")
    ciphertext, aad = data[size:], data[:size] + metadata
    for key in candidates:
        try:
            return Opened(kid, counter, key.decrypt(counter, ciphertext, aad))
        except InvalidTag:
            continue
    raise Forged(reason=f"no key {kid} fits its tag")


def encode_header(kid: int, ctr: int) -> bytes:
    """The header of RFC 9605 §4.3, 1 to 17 bytes; both values below 2^64."""
    config, tail = 0, b""
    if kid < _INLINE_MAX:
        config |= kid << 4
    else:
        size = (kid.bit_length() + 7) // 8
        config |= 0x80 | size - 1 << 4
        tail += kid.to_bytes(size)
    if ctr < _INLINE_MAX:
        config |= ctr
    else:
        size = (ctr.bit_length() + 7) // 8
        config |= 0x08 | size - 1
        tail += ctr.to_bytes(size)
    return bytes((config,)) + tail


def decode_header(data: bytes) -> tuple[int, int, int]:
    """KID, CTR and the header's length. Raises Forged unless both are in their shortest form.

    RFC 9605 asks senders for the shortest form; here receivers insist on it, so that one frame
    has one spelling and no second copy of it can pass as another.
    """
    if not data:
        raise Forged(reason="it is empty")
    config = data[0]
    kid, at = _decode_field(data, config >> 4, 1)
    ctr, at = _decode_field(data, config & 0x0F, at)
    return kid, ctr, at


def _decode_field(data: bytes, nibble: int, at: int) -> tuple[int, int]:
    """A value and the offset after it: inline if the top bit is clear, else length-1 follows."""
    if nibble < 8:
        return nibble, at
    end = at + nibble - 7
    if end > len(data):
        raise Forged(reason="it ends inside its header")
    value = int.from_bytes(data[at:end])
    if value < _INLINE_MAX or not data[at]:
        raise Forged(reason="its header is not in the shortest form")
    return value, end
