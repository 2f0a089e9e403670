"""The names of aiortc and aioice that link/ relies on without their leave: pinned, held here."""

import asyncio
import inspect

import aioice
import pylibsrtp
import pytest
from aiortc import RTCDtlsTransport

from p2phouse.link.dtls import Dtls, fingerprint
from p2phouse.link.ice import Datagrams


@pytest.mark.parametrize(
    "name",
    ["_do_handshake", "_validate_peer_identity", "_setup_srtp", "_recv_next", "_set_role"],
)
def test_aiortc_still_has_the_method(name):
    assert callable(getattr(RTCDtlsTransport, name))


def test_aiortc_still_makes_its_srtp_sessions_where_we_look_for_them():
    source = inspect.getsource(RTCDtlsTransport._setup_srtp)
    assert "self._rx_srtp = Session" in source
    assert "self._tx_srtp = Session" in source
    assert "self._srtp_profiles" in source


def test_aiortc_still_uses_no_more_of_a_path_than_we_give_it():
    used = {
        line.split("self.transport.")[1].split("(")[0].split(" ")[0].rstrip(",:)")
        for line in inspect.getsource(RTCDtlsTransport).splitlines()
        if "self.transport." in line
    }
    assert used <= {"_recv", "_send", "role"}


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("get_component_candidates", ["self", "component", "addresses", "timeout"]),
        ("data_received", ["self", "data", "component"]),
        ("protocol_lost", ["self", "protocol"]),
        ("query_consent", ["self"]),
        ("build_request", ["self", "pair", "nominate"]),
    ],
)
def test_aioice_still_calls_what_we_replace(name, parameters):
    theirs = inspect.signature(getattr(aioice.Connection, name))
    ours = inspect.signature(getattr(Datagrams, name))
    assert list(theirs.parameters) == parameters == list(ours.parameters)


def test_the_wheel_of_pylibsrtp_has_aes_gcm():
    for profile in ("AEAD_AES_128_GCM", "AEAD_AES_256_GCM"):
        pylibsrtp.Policy(srtp_profile=getattr(pylibsrtp.Policy, f"SRTP_PROFILE_{profile}"))


def test_our_fingerprint_is_32_bytes_and_stays():
    assert len(fingerprint()) == 32
    assert fingerprint() == fingerprint()


def test_only_aes_gcm_is_offered():
    async def profiles():
        datagrams = Datagrams(
            controlling=True, addresses=[], hops_max=None, on_voice=lambda data: None
        )
        dtls = Dtls(datagrams, is_server=True, on_closed=lambda: None)
        return {profile.openssl_profile for profile in dtls._srtp_profiles}

    names = asyncio.run(profiles())
    assert names == {b"SRTP_AEAD_AES_256_GCM", b"SRTP_AEAD_AES_128_GCM"}
