import datetime
import hashlib
import os
import platform
import warnings
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import Encoding
from OpenSSL import crypto

from p2phouse.link import syscalls
from p2phouse.link.handshake import MTU, Handshake, Identity, NotProved
from tests.needed import need


def pair(*, named: bytes | None = None) -> tuple[Handshake, Handshake]:
    """A server and a client who know each other. named: another fingerprint than the client's."""
    ours, theirs = Identity(), Identity()
    server = Handshake(ours, is_server=True, fingerprint=named or theirs.fingerprint)
    client = Handshake(theirs, is_server=False, fingerprint=ours.fingerprint)
    return server, client


def shake(server: Handshake, client: Handshake) -> int:
    """Until neither has anything to say; how many datagrams."""
    going = [(server, data) for data in client.begin()]
    count = 0
    while going:
        to, data = going.pop(0)
        assert len(data) <= MTU
        count += 1
        back = client if to is server else server
        going += [(back, each) for each in to.receive(data)]
    return count


def test_both_ends_get_the_same_keys_and_prefer_aes_128_gcm():
    server, client = pair()
    assert shake(server, client) <= 6
    assert server.keys is not None
    assert client.keys is not None
    assert server.keys.ours == client.keys.theirs
    assert server.keys.theirs == client.keys.ours
    assert server.keys.ours != server.keys.theirs
    assert server.keys.profile.name == b"SRTP_AEAD_AES_128_GCM"
    assert len(server.keys.ours) == 16 + 12


def test_two_handshakes_have_nothing_in_common():
    identity, other = Identity(), Identity()
    keys = []
    for _ in range(2):
        server = Handshake(identity, is_server=True, fingerprint=other.fingerprint)
        client = Handshake(other, is_server=False, fingerprint=identity.fingerprint)
        shake(server, client)
        assert server.keys is not None
        keys += [server.keys.ours, server.keys.theirs]
    assert len(set(keys)) == 4


def test_another_certificate_proves_nothing():
    server, client = pair(named=bytes(32))
    with pytest.raises(NotProved, match="not the one it named"):
        shake(server, client)
    assert server.keys is None


def test_a_certificate_that_cryptography_cannot_read_ends_no_process():
    """OpenSSL bears a certificate of version 6; cryptography's exception would have been no
    LinkError, and the end of everybody's sound."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([])
    day = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).serial_number(1)
    builder = builder.public_key(key.public_key()).not_valid_before(day).not_valid_after(day)
    der = builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)
    odd = der.replace(b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x05", 1)
    ours, theirs = Identity(), Identity()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        theirs.context.use_certificate(crypto.load_certificate(crypto.FILETYPE_ASN1, odd))
    theirs.context.use_privatekey(key)
    with pytest.raises(x509.InvalidVersion):
        x509.load_der_x509_certificate(odd)
    fingerprint = hashlib.sha256(odd).digest()
    server = Handshake(ours, is_server=True, fingerprint=fingerprint)
    shake(server, Handshake(theirs, is_server=False, fingerprint=ours.fingerprint))
    assert server.keys is not None


def test_a_server_with_another_certificate_is_refused_as_well():
    ours, theirs = Identity(), Identity()
    server = Handshake(ours, is_server=True, fingerprint=theirs.fingerprint)
    client = Handshake(theirs, is_server=False, fingerprint=bytes(32))
    with pytest.raises(NotProved):
        shake(server, client)


def test_noise_ends_no_handshake():
    """Anybody could send it in the peer's name."""
    server, client = pair()
    flight = client.begin()
    for noise in (b"", b"\x16", b"\x16\xfe\xfd" + bytes(60), b"\x3f" * 500, flight[0][:40]):
        assert server.receive(noise) == []
    for data in flight:
        for each in server.receive(data):
            for answer in client.receive(each):
                for last in server.receive(answer):
                    client.receive(last)
    assert server.keys is not None
    assert client.keys is not None


def test_a_repeated_flight_is_borne():
    server, client = pair()
    (hello,) = client.begin()
    first = server.receive(hello)
    server.receive(hello)
    for each in first:
        for answer in client.receive(each):
            for last in server.receive(answer):
                client.receive(last)
    assert client.keys is not None


def test_keys_stand_in_no_log():
    server, client = pair()
    shake(server, client)
    assert server.keys is not None
    assert server.keys.ours.hex() not in repr(server.keys)
    assert str(server.keys.ours) not in f"{server.keys}"


def test_what_many_handshakes_had_goes_back_to_the_system():
    """Little of it would: something that stays lies above each."""
    need(platform.libc_ver()[0] == "glibc", "needs glibc: no other library keeps it")
    need(Path("/proc/self/statm").exists(), "needs /proc")
    ours, theirs = Identity(), Identity()
    half_open, stay = [], []
    for _ in range(300):
        server = Handshake(ours, is_server=True, fingerprint=theirs.fingerprint)
        client = Handshake(theirs, is_server=False, fingerprint=ours.fingerprint)
        (hello,) = client.begin()
        server.receive(hello)
        half_open.append((server, client))
        stay.append(AESGCM(bytes(16)))
    half_open.clear()
    del server, client
    before = resident_bytes()
    syscalls.give_back()
    assert before - resident_bytes() > 5_000_000
    assert len(stay) == 300


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
