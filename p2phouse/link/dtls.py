"""DTLS and SRTP of one link (RFC 5764), and the only module that knows aiortc.

aiortc gives the handshake and the keys; its RTP receivers, codecs and jitter buffer are not used
(docs/adr/0004). Every private name of aiortc that stands here is held by
tests/link/test_aiortc_contract.py, and aiortc is pinned.
"""

import functools
from collections.abc import Callable
from typing import Final

import pylibsrtp
from aiortc import RTCCertificate, RTCDtlsTransport
from aiortc.rtcdtlstransport import (
    SRTP_AEAD_AES_128_GCM,
    SRTP_AEAD_AES_256_GCM,
    RTCDtlsFingerprint,
    RTCDtlsParameters,
)

from p2phouse.errors import LinkError
from p2phouse.link.ice import Datagrams

FINGERPRINT_BYTES: Final = 32
_RTCP_TYPES: Final = range(192, 224)  # RFC 5761 §4: the second byte tells RTCP from RTP


class HandshakeFailed(LinkError):
    """The other end of a link did not prove who it is."""


class _Path:
    """The part of aiortc's RTCIceTransport that its DTLS transport uses."""

    def __init__(self, datagrams: Datagrams) -> None:
        self._recv = datagrams.receive_handshake
        self._send = datagrams.send
        self.role = "controlling" if datagrams.ice_controlling else "controlled"


@functools.cache
def certificate() -> RTCCertificate:
    """One for the process: a node is in one room at a time, and nothing else reads it."""
    return RTCCertificate.generateCertificate()


def fingerprint() -> bytes:
    """SHA-256 of our certificate, as an offer names it."""
    (text,) = [
        each.value for each in certificate().getFingerprints() if each.algorithm == "sha-256"
    ]
    return bytes.fromhex(text.replace(":", ""))


class Dtls(RTCDtlsTransport):  # type: ignore[misc]  # aiortc has no types we follow
    """Authenticated by the fingerprint of a signed offer; then SRTP both ways, synchronously."""

    def __init__(
        self, datagrams: Datagrams, *, is_server: bool, on_closed: Callable[[], None]
    ) -> None:
        """on_closed: the other end said goodbye, or the path is gone."""
        super().__init__(_Path(datagrams), [certificate()])
        # Security: AES-GCM alone; a peer cannot talk us down to SHA1_80.
        self._srtp_profiles = [SRTP_AEAD_AES_256_GCM, SRTP_AEAD_AES_128_GCM]
        self._set_role("server" if is_server else "client")
        self._on_closed = on_closed
        self.on("statechange", self._changed)

    async def prove(self, remote_fingerprint: bytes) -> None:
        """The handshake. Raises HandshakeFailed."""
        value = remote_fingerprint.hex(":").upper()
        # Security: the certificate must be the one whose fingerprint the member signed.
        await self.start(RTCDtlsParameters([RTCDtlsFingerprint("sha-256", value)]))
        if self.state != "connected":
            raise HandshakeFailed

    @property
    def is_ready(self) -> bool:
        return self._tx_srtp is not None

    def protect(self, packet: bytes) -> bytes | None:
        """SRTP of one RTP packet. No two packets may share SSRC and seq: carry/forwarder.py.

        None if its seq is too far behind the newest of its SSRC on this link.
        """
        try:
            protected: bytes = self._tx_srtp.protect(packet)
        except pylibsrtp.Error:
            return None
        return protected

    def protect_control(self, data: bytes) -> bytes:
        protected: bytes = self._tx_srtp.protect_rtcp(data)
        return protected

    def unprotect(self, data: bytes) -> tuple[bytes, bool] | None:
        """The plain datagram and whether it is RTCP; None if it is forged, replayed or early."""
        if self._rx_srtp is None or len(data) < 12:
            return None
        is_control = data[1] in _RTCP_TYPES
        try:
            if is_control:
                return self._rx_srtp.unprotect_rtcp(data), True
            return self._rx_srtp.unprotect(data), False
        except (pylibsrtp.Error, ValueError):  # ValueError: longer than its buffer
            return None

    def _changed(self) -> None:
        if self.state == "closed":
            self._on_closed()
