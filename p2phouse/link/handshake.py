"""DTLS-SRTP handshakes (RFC 5764) over no socket: datagrams in, datagrams and at last keys out.

One certificate and one TLS context serve every peer of the process. Once the keys are out, TLS has
done its work: only the last flight is kept for a while, in case it was lost. Nothing here waits.
"""

import datetime
import os
import struct
from collections.abc import Sequence
from typing import Final, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from OpenSSL import SSL
from pylibsrtp import Policy

from p2phouse.errors import LinkError

MTU: Final = 1_200  # of what we send: fits IPv6 and most tunnels
FLIGHT_BYTES_MAX: Final = 8_192  # a browser's longest flight is about 1 kB
DAY: Final = datetime.timedelta(days=1)
CERTIFICATE_DAYS: Final = 30

_DTLS_1_2: Final = 0xFEFD
_RECORD_HEADER_BYTES: Final = 13
_LENGTH: Final = struct.Struct("!H")
_LABEL: Final = b"EXTRACTOR-dtls_srtp"


class NotProved(LinkError):
    """The other end of a link did not prove who it is: {reason}."""


class Profile(NamedTuple):
    """How a link protects RTP."""

    name: bytes  # as OpenSSL calls it
    libsrtp: int
    key_bytes: int
    salt_bytes: int
    tag_bytes: int
    is_gcm: bool


# As DTLS server our order counts. 128 bits of key before 256: a fifth cheaper, and what a listener
# is sent was spoken by somebody whose voice goes to everybody in the room.
PROFILES: Final = (
    Profile(b"SRTP_AEAD_AES_128_GCM", Policy.SRTP_PROFILE_AEAD_AES_128_GCM, 16, 12, 16, True),
    Profile(b"SRTP_AEAD_AES_256_GCM", Policy.SRTP_PROFILE_AEAD_AES_256_GCM, 32, 12, 16, True),
    Profile(b"SRTP_AES128_CM_SHA1_80", Policy.SRTP_PROFILE_AES128_CM_SHA1_80, 16, 14, 10, False),
)


class Keys(NamedTuple):
    """Master key and salt of each way, as libsrtp takes them. Security: never printed."""

    profile: Profile
    ours: bytes
    theirs: bytes

    def __repr__(self) -> str:
        return f"Keys({self.profile.name.decode()})"


class Identity:
    """Our certificate, and the one TLS context."""

    def __init__(self, profiles: Sequence[Profile] = PROFILES) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = _certificate(key)
        self.fingerprint = certificate.fingerprint(hashes.SHA256())
        context = SSL.Context(SSL.DTLS_METHOD)
        # 1.2 alone until what we release after a handshake is tried with 1.3.
        context.set_min_proto_version(_DTLS_1_2)
        context.set_max_proto_version(_DTLS_1_2)
        # Nothing is resumed here: kept sessions would only grow.
        context.set_options(SSL.OP_NO_TICKET | SSL.OP_NO_QUERY_MTU | SSL.OP_NO_RENEGOTIATION)
        context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
        # Security: any certificate will do for TLS; `Handshake` compares its fingerprint.
        context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, lambda *_: True)
        context.use_certificate(certificate)
        context.use_privatekey(key)
        context.set_cipher_list(
            b"ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-ECDSA-AES128-SHA"
        )
        context.set_tlsext_use_srtp(b":".join(profile.name for profile in profiles))
        self.context = context


class Handshake:
    """One peer's, until `keys` are there."""

    def __init__(self, identity: Identity, *, is_server: bool, fingerprint: bytes) -> None:
        """fingerprint: SHA-256 of the certificate that the peer must show."""
        self._is_server = is_server
        self._fingerprint = fingerprint
        self._tls = SSL.Connection(identity.context, None)
        self._tls.set_ciphertext_mtu(MTU)
        if is_server:
            self._tls.set_accept_state()
        else:
            self._tls.set_connect_state()
        self.keys: Keys | None = None

    def begin(self) -> list[bytes]:
        """A client's first flight."""
        return self._step()

    def receive(self, datagram: bytes) -> list[bytes]:
        """What must be sent in answer. Raises NotProved; the handshake is over then."""
        if not datagram:
            return []
        self._tls.bio_write(datagram)
        return self._step()

    def retry(self) -> list[bytes]:
        """What must be sent again, if it is time; call it now and then."""
        if self._tls.DTLSv1_get_timeout() == 0:
            self._tls.DTLSv1_handle_timeout()
        return self._flight()

    def goodbye(self) -> list[bytes]:
        """That we send no more; once the keys are there."""
        try:
            self._tls.shutdown()
        except SSL.Error:
            return []
        return self._flight()

    def is_goodbye(self, datagram: bytes) -> bool:
        """Whether this, after the keys, says that the peer sends no more."""
        try:
            self._tls.bio_write(datagram)
            self._tls.recv(1)
        except SSL.ZeroReturnError:
            return True
        except SSL.Error:  # nothing to read, or noise
            pass
        return False

    def _step(self) -> list[bytes]:
        try:
            self._tls.do_handshake()
        except SSL.WantReadError:
            return self._flight()
        except SSL.Error as error:
            raise NotProved(reason="the handshake failed") from error
        self.keys = self._prove()
        return self._flight()

    def _prove(self) -> Keys:
        # Security: the certificate must be the one of the offer, which a signature or HTTPS covers.
        # It is not parsed beyond what TLS did: what cryptography refuses to read would end us all.
        # Test: test_handshake.py::test_another_certificate_proves_nothing
        certificate = self._tls.get_peer_certificate()
        named = self._fingerprint.hex(":").upper().encode()
        if certificate is None or certificate.digest("sha256") != named:
            raise NotProved(reason="its certificate is not the one it named")
        name = self._tls.get_selected_srtp_profile()
        profile = next((each for each in PROFILES if each.name == name), None)
        if profile is None:
            raise NotProved(reason="no common SRTP profile")
        key, salt = profile.key_bytes, profile.salt_bytes
        material = self._tls.export_keying_material(_LABEL, 2 * (key + salt))
        # RFC 5764 §4.2: client's key, server's key, client's salt, server's salt.
        client = material[:key] + material[2 * key : 2 * key + salt]
        server = material[key : 2 * key] + material[2 * key + salt :]
        if self._is_server:
            return Keys(profile, ours=server, theirs=client)
        return Keys(profile, ours=client, theirs=server)

    def _flight(self) -> list[bytes]:
        try:
            data = self._tls.bio_read(FLIGHT_BYTES_MAX)
        except SSL.WantReadError:
            return []
        return _datagrams(data)


def _datagrams(data: bytes) -> list[bytes]:
    """Records in as few datagrams as they fit: a memory BIO has no borders between datagrams, and
    no record may be cut."""
    datagrams: list[bytes] = []
    begin = at = 0
    while at + _RECORD_HEADER_BYTES <= len(data):
        (length,) = _LENGTH.unpack_from(data, at + _RECORD_HEADER_BYTES - _LENGTH.size)
        end = at + _RECORD_HEADER_BYTES + length
        if end - begin > MTU and at > begin:
            datagrams.append(data[begin:at])
            begin = at
        at = end
    datagrams.append(data[begin:])
    return datagrams


def _certificate(key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, os.urandom(8).hex())])
    now = datetime.datetime.now(tz=datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - DAY)
        .not_valid_after(now + CERTIFICATE_DAYS * DAY)
        .sign(key, hashes.SHA256())
    )
