"""One word per thing: the identifiers, units and values that every other module shares.

Nothing here does anything. Identifiers are never bare `bytes`, `str` or `int` in a signature.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NewType

import numpy as np
from numpy.typing import NDArray

UserKey = NewType("UserKey", bytes)
"""Root Ed25519 public key of a person, 32 bytes (`uid` on the wire)."""

DeviceKey = NewType("DeviceKey", bytes)
"""Ed25519 public key of one device, 32 bytes (`dev` on the wire); also its libp2p host key."""

RoomId = NewType("RoomId", bytes)
"""Id of a room's genesis record, 32 bytes."""

RecordId = NewType("RecordId", bytes)
"""SHA-256 of a record's context and body, 32 bytes."""

VoiceId = NewType("VoiceId", bytes)
"""`sid`: names one run of one speaker's voice, 16 random bytes, new at every start."""

Ssrc = NewType("Ssrc", int)
"""RTP SSRC, unsigned 32 bit: the first four bytes of the id of a `speak` record."""

LinkNumber = NewType("LinkNumber", int)
"""A path to a neighbour, counted up by control and never reused; HERE is this node."""

HERE = LinkNumber(0)
"""This node: its own voice as ingress, its own ear as sink."""

Entropy = Callable[[int], bytes]
"""Gives that many secret random bytes (os.urandom); never `random`."""

SAMPLE_RATE_HZ = 48_000
FRAME_MS = 20
FRAME_SAMPLES = SAMPLE_RATE_HZ * FRAME_MS // 1_000  # 960
FRAME_S = FRAME_MS / 1_000

Frame = NDArray[np.float32]
"""20 ms of mono sound: float32[960] at 48 kHz, -1.0 to 1.0."""


@dataclass(frozen=True, slots=True)
class Now:
    """The two kinds of time a core is given: deadlines compare `mono`, records compare `unix`.

    mono: seconds on a clock that never steps. unix: seconds since 1970, may step.
    """

    mono: float
    unix: float


def key_short(key: bytes) -> str:
    """How a key prints in logs: its first eight hexadecimal characters."""
    return key[:4].hex()
