"""Envelopes and signatures that no program of ours would make."""

from hashlib import sha256, sha512

from nacl.bindings import (
    crypto_core_ed25519_add,
    crypto_core_ed25519_scalar_add,
    crypto_core_ed25519_scalar_mul,
    crypto_core_ed25519_scalar_reduce,
    crypto_scalarmult_ed25519_base_noclamp,
)
from nacl.signing import SigningKey

from p2phouse.record import cbor
from p2phouse.record.cbor import Value
from p2phouse.record.schema import pack
from p2phouse.record.types import Record

ORDER = 2**252 + 27742317777372353535851937790883648493
IDENTITY_POINT = (1).to_bytes(32, "little")

# Every encoding of a point of order 1, 2, 4 or 8, the ones not in canonical form included.
SMALL_ORDER = [
    bytes.fromhex(text)
    for text in (
        "0100000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000080",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0000000000000000000000000000000000000000000000000000000000000080",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
    )
]
ORDER_8_POINT = SMALL_ORDER[10]


def message_of(record: Record, *, context: bytes | None = None, version: Value = 1) -> bytes:
    """What the signature covers."""
    name = f"p2phouse/1/{record.NAME}\0".encode() if context is None else context
    return name + body_of(record, version)


def body_of(record: Record, version: Value = 1) -> bytes:
    return cbor.encode([version, *pack(record)])


def enclose(
    record: Record,
    signature: bytes,
    *,
    version: Value = 1,
    number: Value = None,
    body: bytes | None = None,
) -> bytes:
    """An envelope around anything."""
    kind = int(record.TYPE) if number is None else number
    return cbor.encode([version, kind, body or body_of(record), signature])


class Signer:
    """Ed25519 by hand (RFC 8032 §5.1.6), so that each step can be done wrongly."""

    def __init__(self, key: SigningKey) -> None:
        digest = sha512(bytes(key)).digest()
        secret = bytearray(digest[:32])
        secret[0] &= 248
        secret[31] = secret[31] & 127 | 64
        self.secret = crypto_core_ed25519_scalar_reduce(bytes(secret).ljust(64, b"\0"))
        self.public = bytes(key.verify_key)

    def sign(self, message: bytes, *, nonce: bytes, torsion: bytes | None = None) -> bytes:
        """A signature with a nonce of our choice; torsion: a point to add to R."""
        number = crypto_core_ed25519_scalar_reduce(sha512(nonce).digest())
        point = crypto_scalarmult_ed25519_base_noclamp(number)
        if torsion is not None:
            point = crypto_core_ed25519_add(point, torsion)
        return point + self._answer(point, message, number)

    def sign_without_nonce(self, message: bytes) -> bytes:
        """R is the neutral point: valid by the bare equation, and gives the secret away."""
        return IDENTITY_POINT + self._answer(IDENTITY_POINT, message, bytes(32))

    def _answer(self, point: bytes, message: bytes, number: bytes) -> bytes:
        challenge = crypto_core_ed25519_scalar_reduce(
            sha512(point + self.public + message).digest()
        )
        product = crypto_core_ed25519_scalar_mul(challenge, self.secret)
        return crypto_core_ed25519_scalar_add(number, product)


def plus_order(signature: bytes) -> bytes:
    """The same signature with S + L for S."""
    raised = int.from_bytes(signature[32:], "little") + ORDER
    return signature[:32] + raised.to_bytes(32, "little")


def id_of(record: Record) -> bytes:
    return sha256(message_of(record)).digest()
