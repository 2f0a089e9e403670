"""What a site shows of a relay, and each way in which it may not."""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio

from p2phouse.errors import UserError
from p2phouse.net.well_known import (
    CertificateNotYet,
    CertificateOfAnother,
    CertificateOver,
    CertificateUnknown,
    NoRelayThere,
    SiteSilent,
    fetch,
)
from p2phouse.record.types import Policy
from tests.guest.test_http import certificate

CARD = b"a card"


def answer(body: bytes, status: str = "200 OK", more: str = "") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{more}\r\n".encode() + body


@asynccontextmanager
async def site(context: ssl.SSLContext, told: bytes = answer(CARD)) -> AsyncIterator[int]:
    """The port of a site that says `told` to whatever is asked."""

    async def serve(stream: trio.SSLStream[trio.SocketStream]) -> None:
        try:
            if await stream.receive_some():
                await stream.send_all(told)
        except trio.BrokenResourceError:
            pass  # our certificate was not good enough

    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        over_tls = trio.SSLListener(listener, context, https_compatible=True)
        nursery.start_soon(trio.serve_listeners, serve, [over_tls])
        yield listener.socket.getsockname()[1]
        nursery.cancel_scope.cancel()


async def test_a_card_comes_from_a_site_whose_certificate_is_good(tmp_path):
    serving, trusting = certificate(tmp_path)
    async with site(serving) as port:
        assert await fetch("localhost", port, trusting) == CARD


@pytest.mark.parametrize(
    ("made", "error"),
    [
        ({"ends_days": -0.5}, CertificateOver),
        ({"begins_days": 1}, CertificateNotYet),
        ({"name": "another.example"}, CertificateOfAnother),
    ],
)
async def test_what_is_wrong_with_a_certificate_is_said_and_nothing_is_read(tmp_path, made, error):
    """Security: who stands between a person and a relay would show a relay of his own."""
    serving, trusting = certificate(tmp_path, **made)
    async with site(serving) as port:
        with pytest.raises(error, match="localhost"):
            await fetch("localhost", port, trusting)


async def test_a_certificate_that_nobody_vouches_for_is_not_taken(tmp_path):
    serving, _ = certificate(tmp_path)
    async with site(serving) as port:
        with pytest.raises(CertificateUnknown, match="self-signed"):
            await fetch("localhost", port)


@pytest.mark.parametrize(
    ("told", "words"),
    [
        (answer(b"no", "404 Not Found"), "HTTP 404"),
        (answer(b"", "302 Found", "Location: https://evil.example/\r\n"), "HTTP 302"),
        (answer(bytes(Policy.SIZE_MAX + 1)), "too long"),
        (b"220 mail.example ESMTP\r\n", "speaks no HTTP"),
        (b"", "speaks no HTTP"),
    ],
)
async def test_a_site_without_a_relay_is_told_from_one_with(tmp_path, told, words):
    """Security: what a site says is bounded, and leads nowhere else."""
    serving, trusting = certificate(tmp_path)
    async with site(serving, told) as port:
        with pytest.raises(NoRelayThere, match=words):
            await fetch("localhost", port, trusting)


async def test_who_does_not_answer_by_tls_is_said_to_be_silent():
    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        port = listener.socket.getsockname()[1]
        nursery.start_soon(trio.serve_listeners, _hang_up, [listener])
        with pytest.raises(SiteSilent, match="localhost"):
            await fetch("localhost", port)
        nursery.cancel_scope.cancel()
    for host in ("localhost", "nowhere.invalid"):
        with pytest.raises(UserError, match=host):
            await fetch(host, port)


async def _hang_up(stream: trio.SocketStream) -> None:
    await stream.send_all(b"SSH-2.0\r\n")
