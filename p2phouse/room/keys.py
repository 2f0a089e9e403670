"""From a room's epoch secret to the base key of one sender (RFC 9605 takes it from there).

The epoch secret stays in the control process; media is given base keys only.
"""

import struct
from hashlib import blake2b, sha256
from typing import Final

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF, HKDFExpand
from nacl.exceptions import CryptoError
from nacl.public import Box, PrivateKey, PublicKey, SealedBox

from p2phouse.vocabulary import DeviceKey, Entropy, RoomId, VoiceId

EPOCHS_IN_KID: Final = 16
SECRET_BYTES: Final = 32


def open_secret(room: RoomId) -> bytes:
    """Epoch 0 of an open or lan room: public on purpose, so "authenticated, not secret"."""
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=b"p2phouse/1/open").derive(room)


def sender_base(secret: bytes, *, room: RoomId, epoch: int, dev: DeviceKey, sid: VoiceId) -> bytes:
    """The sender's SFrame base key, 16 bytes. A new sid gives a new key: no nonce comes twice."""
    info = b"p2phouse/1/sframe-base\0" + room + struct.pack("!I", epoch) + dev + sid
    return HKDFExpand(algorithm=SHA256(), length=16, info=info).derive(secret)


def key_id(*, epoch: int, slot: int) -> int:
    """SFrame KID: the epoch's low four bits, then the speaker's slot (0 to 15)."""
    return (epoch % EPOCHS_IN_KID) << 4 | slot


# ── sealed rooms ─────────────────────────────────────────────────────────────────────────────


def commit(secret: bytes) -> bytes:
    """By which whoever opens a box knows that all were given the same secret."""
    return sha256(secret).digest()


def next_secret(secret: bytes, *, room: RoomId, epoch: int) -> bytes:
    """The secret of the ratchet `epoch`, from that of the epoch before it; there is no way back."""
    info = b"p2phouse/1/epoch-next\0" + room + struct.pack("!I", epoch)
    return HKDFExpand(algorithm=SHA256(), length=SECRET_BYTES, info=info).derive(secret)


def seal(secret: bytes, xpk: bytes, entropy: Entropy) -> bytes | None:
    """The secret for the holder of an X25519 key alone; None if that key is none.

    libsodium's sealed box (`crypto_box_seal`), with the chance that it needs as an argument.
    """
    ours = PrivateKey(entropy(32))
    public = bytes(ours.public_key)
    nonce = blake2b(public + xpk, digest_size=Box.NONCE_SIZE).digest()
    try:
        return public + Box(ours, PublicKey(xpk)).encrypt(secret, nonce).ciphertext
    except (CryptoError, RuntimeError):
        # Security: a key of small order makes a box that all can open; its owner gets none.
        return None


def open_box(key: PrivateKey, box: bytes) -> bytes | None:
    """The secret inside, or None if it is not for this key."""
    try:
        secret = SealedBox(key).decrypt(box)
    except (CryptoError, RuntimeError, ValueError):
        return None
    return secret if len(secret) == SECRET_BYTES else None
