"""The certificate of a relay: shown, renewed while it runs, and run out."""

import re
import ssl
from collections.abc import Callable
from dataclasses import replace

import pytest
import trio

from p2phouse.drive import clock
from p2phouse.net import well_known
from p2phouse_relay import certificate as certificates
from p2phouse_relay import home as relay_homes
from p2phouse_relay.certificate import CertificateUnusable
from p2phouse_relay.daemon import Relay, running
from p2phouse_relay.settings import Tls
from p2phouse_relay.telling import lines
from tests.guest.test_http import certificate
from tests.relay.test_admin import admin_port
from tests.relay.test_relay import PLAIN

ASK = b"GET /r/tea HTTP/1.1\r\nHost: x\r\n"


async def test_a_relay_speaks_tls_by_its_certificate_and_names_one_that_it_cannot_use(tmp_path):
    _, trusting = certificate(tmp_path)
    tls = Tls(tmp_path / "cert.pem", tmp_path / "key.pem")
    async with running(replace(PLAIN, tls=tls)) as its:
        stream = await trio.open_ssl_over_tcp_stream(
            "localhost", its.http_port, ssl_context=trusting, https_compatible=True
        )
        async with stream:
            await stream.send_all(b"GET /r/tea HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            told = b"".join([part async for part in stream])
        assert re.match(rb"HTTP/1.1 200", told)
    for wrong in (Tls(tmp_path / "none.pem", tls.key), Tls(tls.key, tls.key)):
        with pytest.raises(CertificateUnusable, match=re.escape(str(wrong.certificate))):
            async with running(replace(PLAIN, tls=wrong)):
                pass


async def connected(its: Relay, trusting: ssl.SSLContext) -> trio.SSLStream[trio.SocketStream]:
    stream = await trio.open_ssl_over_tcp_stream(
        "localhost", its.http_port, ssl_context=trusting, https_compatible=True
    )
    try:
        await stream.do_handshake()
    except trio.BrokenResourceError:
        await trio.aclose_forcefully(stream)
        raise
    return stream


async def is_taken(its: Relay, trusting: ssl.SSLContext) -> bool:
    """Whether somebody who trusts that certificate alone is answered."""
    try:
        async with await connected(its, trusting):
            return True
    except trio.BrokenResourceError:
        return False


async def until(holds: Callable[[], bool]) -> None:
    with trio.fail_after(20):
        while not holds():  # noqa: ASYNC110 - the log is what tells of it
            await trio.sleep(0.02)


async def test_a_new_certificate_is_shown_to_who_comes_next_and_half_of_one_to_nobody(
    tmp_path, monkeypatch, caplog
):
    monkeypatch.setattr(certificates, "LOOK_EACH_S", 0.05)
    caplog.set_level("INFO", certificates.__name__)
    new, made = tmp_path / "new", tmp_path / "made"
    for folder in (new, made):
        folder.mkdir()
    _, trusting_old = certificate(made)
    _, trusting_new = certificate(new)
    async with running(replace(PLAIN, tls=Tls(made / "cert.pem", made / "key.pem"))) as its:
        before = await connected(its, trusting_old)
        (new / "cert.pem").rename(made / "cert.pem")
        await until(lambda: "certificate_not_taken" in caplog.text)
        assert await is_taken(its, trusting_old), "it has no key for the new one yet"
        (new / "key.pem").rename(made / "key.pem")
        await until(lambda: "certificate_taken" in caplog.text)
        assert await is_taken(its, trusting_new)
        assert not await is_taken(its, trusting_old)
        async with before:
            await before.send_all(ASK + b"Connection: close\r\n\r\n")
            told = b"".join([part async for part in before])
        assert told.startswith(b"HTTP/1.1 200"), "who was there is served on"


async def test_a_certificate_that_has_run_out_is_said_by_status_and_to_who_comes(tmp_path):
    _, trusting = certificate(tmp_path, ends_days=-0.5)
    tls = Tls(tmp_path / "cert.pem", tmp_path / "key.pem")
    async with running(replace(PLAIN, tls=tls, home=tmp_path)) as its:
        await admin_port(its)
        facts = await trio.to_thread.run_sync(relay_homes.status, str(tmp_path))
        assert facts["certificate_days"] < 0
        assert any(
            "certificate has run out: browsers let nobody in" in each for each in lines(facts)
        )
        with pytest.raises(well_known.CertificateOver, match="has run out"):
            await well_known.fetch("localhost", its.http_port, trusting)


def test_days_are_counted_from_now():
    facts = certificates.Facts(clock().unix + 86_400, ("localhost",))
    assert 0.9 < facts.days(clock().unix) <= 1
