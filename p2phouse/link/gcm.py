"""SRTP by AES-GCM (RFC 7714) for many who are sent one packet: what of it is the same for all is
done once, and what is not lies in flat arrays.

libsrtp keeps for each listener a context, a list of its voices and a window. Here the window and
the count of wraps are one for a voice, whoever is sent it; a listener adds only at which wrap he
began to be sent it, which his receiver takes for none (RFC 3711 §3.3.1). The whole relay came to a
sixth less CPU: docs/adr/0017. Only RTP goes this way; RTCP has keys and an index of its own.
"""

import struct
from dataclasses import dataclass
from typing import Final, NamedTuple

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from p2phouse.link.handshake import Keys
from p2phouse.vocabulary import Ssrc
from p2phouse.voice.packet import SEQ_MODULUS

NONCE_BYTES: Final = 12
SALT_BYTES: Final = 12
TAG_BYTES: Final = 16
WINDOW_PACKETS: Final = 128
FLOWS_MAX: Final = 4_096  # voices that are known; the one unheard for longest is forgotten

_HALF: Final = SEQ_MODULUS // 2
_MASK: Final = (1 << WINDOW_PACKETS) - 1
_HEADER: Final = struct.Struct("!BBHII")
_NONCE: Final = struct.Struct("!xxIIxx")
_KEY_LABEL, _SALT_LABEL = 0, 2


class Session(NamedTuple):
    """What protects RTP to one peer. Security: never printed."""

    cipher: AESGCM
    salt: int

    def __repr__(self) -> str:
        return "Session()"


def session(keys: Keys) -> Session:
    """RFC 3711 §4.3 with the key derivation of RFC 7714 §11."""
    size = keys.profile.key_bytes
    key, salt = keys.ours[:size], keys.ours[size:]
    return Session(
        AESGCM(_derive(key, salt, _KEY_LABEL, size)),
        int.from_bytes(_derive(key, salt, _SALT_LABEL, SALT_BYTES)),
    )


def _derive(key: bytes, salt: bytes, label: int, size: int) -> bytes:
    block = bytearray(salt.ljust(16, b"\0"))
    block[7] ^= label
    return Cipher(algorithms.AES(key), modes.CTR(bytes(block))).encryptor().update(bytes(size))


class Flow:
    """One voice, to whoever it is sent: how often its seq has wrapped, and what was sent of it."""

    __slots__ = ("_last", "_newest", "_sent", "is_in_use")

    def __init__(self) -> None:
        self._newest = -1  # of its indexes: seq and wraps together
        self._sent = 0  # bit n: index newest - n was
        self._last = b""
        self.is_in_use = False

    def admit(self, seq: int, packet: bytes) -> int | None:
        """How often its seq has wrapped at this packet; None if it must not go.

        Security: no index twice, for another packet of it would repeat a nonce for everybody. The
        very same packet may go again, to others: it gives the same bytes.
        Test: test_gcm.py::test_no_index_is_used_for_two_packets
        """
        self.is_in_use = True
        if self._newest < 0:
            self._newest, self._sent, self._last = seq, 1, packet
            return 0
        ahead = (seq - self._newest + _HALF) % SEQ_MODULUS - _HALF  # of two readings the nearer
        index = self._newest + ahead
        if index < 0:
            return None
        if ahead > 0:
            self._sent = 1 if ahead >= WINDOW_PACKETS else (self._sent << ahead | 1) & _MASK
            self._newest = index
        elif ahead <= -WINDOW_PACKETS or (self._sent >> -ahead & 1 and packet != self._last):
            return None
        else:
            self._sent |= 1 << -ahead
        self._last = packet
        return index // SEQ_MODULUS


class Flows:
    """The voices of one room. A peer is sent those of one Flows alone."""

    def __init__(self) -> None:
        self._flows: dict[Ssrc, Flow] = {}

    def of(self, ssrc: Ssrc) -> Flow:
        flow = self._flows.get(ssrc)
        if flow is None:
            if len(self._flows) >= FLOWS_MAX:
                self._forget_one()
            flow = self._flows[ssrc] = Flow()
        return flow

    def _forget_one(self) -> None:
        """One of which nothing was sent for longer than of most.

        Security: who was sent a voice that is forgotten is never sent it again, for its wraps would
        be counted from none. Test: test_gcm.py::test_a_forgotten_voice_is_nobodys
        """
        while True:
            ssrc = next(iter(self._flows))
            flow = self._flows.pop(ssrc)
            if not flow.is_in_use:
                return
            flow.is_in_use = False  # next time, unless it is sent meanwhile
            self._flows[ssrc] = flow


@dataclass(slots=True)
class Begun:
    """When a peer was first sent a voice."""

    flow: Flow
    wraps: int


class Receiver:
    """What of one peer's state its nonces depend on."""

    __slots__ = ("_begun", "salt")

    def __init__(self, salt: int) -> None:
        self.salt = salt
        self._begun: dict[Ssrc, Begun] = {}

    @property
    def is_full(self) -> bool:
        """Whether it can be sent no voice more than it was."""
        return len(self._begun) >= FLOWS_MAX

    def base(self, ssrc: Ssrc, flow: Flow, wraps: int, *, may_begin: bool = True) -> bytes | None:
        """The nonce at this count of wraps but for the seq (RFC 7714 §8.1); None if the peer cannot
        be sent it."""
        begun = self._begun.get(ssrc)
        if begun is None:
            if self.is_full or not may_begin:
                return None
            begun = self._begun[ssrc] = Begun(flow, wraps)
        if begun.flow is not flow or wraps < begun.wraps:
            return None
        nonce = int.from_bytes(_NONCE.pack(ssrc, wraps - begun.wraps))
        return (nonce ^ self.salt).to_bytes(NONCE_BYTES)


def header_bytes(packet: bytes) -> int:
    """How much of an RTP packet is sent in clear."""
    size = _HEADER.size + 4 * (packet[0] & 0x0F)
    if packet[0] & 0x10:
        size += 4 + 4 * int.from_bytes(packet[size + 2 : size + 4])
    return size
