"""From a room's epoch secret to the base key of one sender (RFC 9605 takes it from there).

The epoch secret stays in the control process; media is given base keys only.
"""

import struct

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF, HKDFExpand

from p2phouse.vocabulary import DeviceKey, RoomId, VoiceId

EPOCHS_IN_KID = 16


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
