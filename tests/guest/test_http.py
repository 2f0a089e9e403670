"""What the front of a relay does with requests, whole ones and others, over real sockets."""

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress

import pytest
import trio

from p2phouse.guest import exchange, http
from p2phouse.guest.exchange import Reply, Request
from p2phouse.guest.http import Front, holder_of


async def echo(request: Request) -> Reply:
    """Tells what it was asked."""
    if request.path == "/break":
        raise ZeroDivisionError
    if request.path == "/none":
        return Reply(204)
    told = f"{request.method} {request.path} {request.source} {len(request.body)}"
    return Reply(200, (("x-kind", request.headers.get("content-type", "")),), told.encode())


@asynccontextmanager
async def served(
    answer: Callable[[Request], Awaitable[Reply]] = echo, *, is_proxied: bool = False
) -> AsyncIterator[tuple[Front, int]]:
    front = Front(answer, is_proxied=is_proxied)
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(front.serve, listeners)
        yield front, listeners[0].socket.getsockname()[1]
        nursery.cancel_scope.cancel()


async def said(port: int, data: bytes, *, whole: bool = True, source: str | None = None) -> bytes:
    """All that comes back until the other side ends, after we have said `data`."""
    async with await trio.open_tcp_stream("127.0.0.1", port, local_address=source) as stream:
        await stream.send_all(data)
        if whole:
            await stream.send_eof()
        with trio.fail_after(5):
            return b"".join([part async for part in stream])


POST = b"POST /a?b=c HTTP/1.1\r\nHost: x\r\nContent-Type: t\r\nContent-Length: 5\r\n\r\nhello"


async def test_a_request_is_answered_with_what_it_asked():
    async with served() as (_, port):
        told = await said(port, POST)
    assert told.startswith(b"HTTP/1.1 200")
    assert b"x-kind: t\r\n" in told
    assert told.endswith(b"POST /a 127.0.0.1 5")


async def test_one_connection_carries_many_requests_and_two_at_once():
    async with served() as (_, port):
        told = await said(port, POST + POST + b"HEAD /h HTTP/1.1\r\nHost: x\r\n\r\n")
    assert told.count(b"HTTP/1.1 200") == 3
    assert told.endswith(b"content-length: 19\r\n\r\n")


async def test_an_answer_without_content_has_none():
    async with served() as (_, port):
        told = await said(port, b"GET /none HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert told.startswith(b"HTTP/1.1 204")
    assert b"content-length" not in told


async def test_a_body_in_chunks_is_read_and_one_that_waits_to_be_asked_is():
    chunks = (
        b"POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"
    )
    waits = b"POST /a HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nhi"
    async with served() as (_, port):
        assert (await said(port, chunks)).endswith(b" 2")
        told = await said(port, waits)
    assert told.startswith(b"HTTP/1.1 100")
    assert told.endswith(b" 2")


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"rubbish\r\n\r\n", 400),
        (b"GET * HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET http://elsewhere/ HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"a" * http.HEAD_BYTES_MAX, 431),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", 400),
        (
            b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n"
            b"\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n",
            400,
        ),
        (
            b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n"
            + b"x" * (http.BODY_BYTES_MAX + 1),
            413,
        ),
    ],
)
async def test_what_is_no_fair_request_is_refused_and_the_next_guest_is_served(data, status):
    async with served() as (_, port):
        told = await said(port, data, whole=False)
        assert told.startswith(b"HTTP/1.1 %d " % status), told[:60]
        assert b"connection: close" in told.lower()
        assert told.count(b"HTTP/1.1") == 1
        assert (await said(port, POST)).startswith(b"HTTP/1.1 200")


async def test_a_fault_of_ours_ends_one_connection_and_is_logged(caplog):
    async with served() as (_, port):
        assert await said(port, b"GET /break HTTP/1.1\r\nHost: x\r\n\r\n") == b""
        assert (await said(port, POST)).startswith(b"HTTP/1.1 200")
    assert "request_failed" in caplog.text


class Counting:
    """A stream that says numbers down to 0."""

    def __init__(self, most: int = 1_000_000, size: int = 1) -> None:
        self.is_closed = trio.Event()
        self._left, self._size = most, size

    async def next(self) -> bytes:
        await trio.lowlevel.checkpoint()
        self._left -= 1
        return b"%d," % self._left * self._size if self._left >= 0 else b""

    def close(self) -> None:
        assert not self.is_closed.is_set()
        self.is_closed.set()


async def test_a_stream_comes_piece_by_piece_and_another_request_may_follow_it():
    async def count(request: Request) -> Reply:
        return Reply(200, stream=Counting(3)) if request.query == "n=3" else await echo(request)

    stream = b"GET /count?n=3 HTTP/1.1\r\nHost: x\r\n\r\n"
    async with served(count) as (front, port):
        told = await said(port, stream + POST)
        assert front.octets == 3 * (2 + http.HEADERS_BYTES), "what a month is charged with"
        assert b"transfer-encoding: chunked" in told.lower()
        assert b"\r\n\r\n2\r\n2,\r\n2\r\n1,\r\n2\r\n0,\r\n0\r\n\r\nHTTP/1.1 200" in told
        old = await said(port, stream.replace(b"HTTP/1.1", b"HTTP/1.0"))
        assert old.endswith(b"\r\n\r\n2,1,0,")  # to its end, for who knows of no chunks


async def test_of_a_stream_only_the_head_is_sent_to_who_asks_for_no_more():
    counting = Counting()

    async def count(request: Request) -> Reply:
        return Reply(200, stream=counting)

    async with served(count) as (_, port):
        told = await said(port, b"HEAD / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert told.endswith(b"\r\n\r\n")
        await counting.is_closed.wait()


async def test_who_takes_nothing_of_a_stream_is_sent_away_and_others_hear_it(monkeypatch):
    monkeypatch.setattr(http, "STALLED_S_MAX", 0.5)
    begun: list[Counting] = []

    async def count(request: Request) -> Reply:
        begun.append(Counting(size=1_000))
        return Reply(200, stream=begun[-1])

    get = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
    async with served(count) as (_, port), await trio.open_tcp_stream("127.0.0.1", port) as stalled:
        await stalled.send_all(get)
        assert await stalled.receive_some(1)
        async with await trio.open_tcp_stream("127.0.0.1", port) as hears:
            await hears.send_all(get)
            with trio.fail_after(10):
                heard = 0
                while not begun[0].is_closed.is_set():
                    heard += len(await hears.receive_some())
                assert heard
                assert await hears.receive_some()  # it goes on
        with trio.fail_after(5):
            await begun[1].is_closed.wait()  # who leaves is missed


async def test_who_says_nothing_shuts_nobody_else_out_and_is_sent_away(monkeypatch):
    monkeypatch.setattr(http, "IDLE_S_MAX", 0.5)
    async with served() as (_, port), AsyncExitStack() as held:
        first, *_ = [
            await held.enter_async_context(await trio.open_tcp_stream("127.0.0.1", port))
            for _ in range(http.OF_ONE_SOURCE_MAX)
        ]
        assert (await said(port, POST, source="127.0.0.2")).startswith(b"HTTP/1.1 200")
        with suppress(trio.BrokenResourceError):  # cut with our words unread, which is a reset
            assert await said(port, POST) == b""
        with trio.fail_after(5):
            assert await first.receive_some() == b""


async def test_there_is_an_end_to_connections_of_many_sources_as_well(monkeypatch):
    monkeypatch.setattr(http, "CONNECTIONS_MAX", 4)
    async with served() as (_, port), AsyncExitStack() as held:
        for n in range(4):
            stream = await held.enter_async_context(
                await trio.open_tcp_stream("127.0.0.1", port, local_address=f"127.0.0.{n + 2}")
            )
            await stream.send_all(POST)
            assert await stream.receive_some()  # it is counted by then
        with suppress(trio.BrokenResourceError):  # cut with our words unread, which is a reset
            assert await said(port, POST) == b""


async def test_all_who_come_by_our_proxy_are_not_taken_for_one_source(monkeypatch):
    monkeypatch.setattr(http, "OF_ONE_SOURCE_MAX", 1)
    async with (
        served(is_proxied=True) as (_, port),
        await trio.open_tcp_stream("127.0.0.1", port) as idle,
    ):
        await idle.send_all(b"GET")
        assert b" 200 " in await said(port, POST)


def test_no_log_shows_what_a_guest_showed():
    shown = Request("GET", "/r/tea", {"authorization": "Bearer secret"}, b"", "::1", "token=secret")
    assert "secret" not in repr(shown)


def test_a_household_s_addresses_are_counted_as_one():
    """Of IPv6 it has so many that a bound for each would be none."""
    one = holder_of("2001:db8:1:200::1")
    assert holder_of("2001:db8:1:2ff:a:b:c:d") == one
    assert holder_of("2001:db8:1:300::1") != one
    assert holder_of("fe80::1%eth0") == holder_of("fe80::2")
    assert holder_of("203.0.113.4") != holder_of("203.0.113.5")


async def test_who_sends_a_request_byte_by_byte_is_sent_away(monkeypatch):
    monkeypatch.setattr(http, "REQUEST_S_MAX", 0.5)
    async with served() as (_, port), await trio.open_tcp_stream("127.0.0.1", port) as stream:
        began = trio.current_time()
        with suppress(trio.BrokenResourceError), trio.fail_after(5):
            await stream.send_all(POST[:-5].replace(b"Length: 5", b"Length: 60000"))
            while True:
                await stream.send_all(b"x")
                await trio.sleep(0.05)
        assert trio.current_time() - began >= 0.5


async def test_who_reads_nothing_of_an_answer_is_sent_away_and_others_are_answered(monkeypatch):
    """Security: what we hold of an answer for him is held no longer than it takes a bad line."""
    monkeypatch.setattr(http, "REQUEST_S_MAX", 0.3)

    async def long(request: Request) -> Reply:
        return Reply(200, (), bytes(16 * 1024 * 1024 if request.path == "/long" else 1))

    async with (
        served(long) as (its, port),
        await trio.open_tcp_stream("127.0.0.1", port) as slow,
    ):
        await slow.send_all(b"GET /long HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await said(port, POST)).endswith(b"\0")
        with trio.fail_after(5):
            while its.connections:  # noqa: ASYNC110 - nobody is told of it
                await trio.sleep(0.02)
        read = 0
        with suppress(trio.BrokenResourceError):
            while part := await slow.receive_some():
                read += len(part)
        assert read < 16 * 1024 * 1024


@pytest.mark.parametrize(
    ("given", "source"),
    [
        (b"203.0.113.4", "203.0.113.4"),
        (b"6.6.6.6, 203.0.113.4", "203.0.113.4"),
        (b"::ffff:203.0.113.4", "203.0.113.4"),
        (b"2001:DB8::1", "2001:db8::1"),
        (b"rubbish", "127.0.0.1"),
    ],
)
async def test_who_asked_our_proxy_is_known_and_only_where_there_is_one(given, source):
    data = b"GET / HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: %b\r\nConnection: close\r\n\r\n" % given
    async with served(is_proxied=True) as (_, port):
        assert f" {source} ".encode() in await said(port, data)
    async with served() as (_, port):
        assert b" 127.0.0.1 " in await said(port, data)


class Shout:
    """No HTTP: says again, louder, what it is told."""

    async def talk(self, connection: exchange.Bytes, early: bytes) -> None:
        while not early.endswith(b"."):
            early += await connection.receive_some()
        await connection.send_all(early.upper())


async def test_a_connection_may_go_on_with_something_else_than_http():
    async def answer(request: Request) -> Reply:
        headers = (("upgrade", "shout"), ("connection", "upgrade"))
        return (
            Reply(101, headers, upgrade=Shout()) if request.path == "/up" else await echo(request)
        )

    ask = b"GET /up HTTP/1.1\r\nHost: x\r\nUpgrade: shout\r\nConnection: upgrade\r\n\r\nhello."
    async with served(answer) as (front, port):
        told = await said(port, ask, whole=False)
        assert told.startswith(b"HTTP/1.1 101 ")
        assert told.endswith(b"\r\n\r\nHELLO.")
        # Who did not ask for it is not taken out of HTTP.
        assert b"101" not in await said(port, ask.replace(b"Upgrade: shout\r\n", b""))
        assert front.connections == 0


async def test_over_tls_the_same_is_said(tmp_path):
    context, trusting = certificate(tmp_path)
    front = Front(echo)
    plain = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = plain[0].socket.getsockname()[1]
    listeners = [trio.SSLListener(each, context, https_compatible=True) for each in plain]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(front.serve, listeners)
        assert b"200" not in await said(port, POST)  # not in the clear
        stream = await trio.open_ssl_over_tcp_stream(
            "localhost", port, ssl_context=trusting, https_compatible=True
        )
        async with stream:
            await stream.send_all(POST.replace(b"Host: x", b"Host: x\r\nConnection: close"))
            told = b"".join([part async for part in stream])
        assert told.endswith(b"POST /a 127.0.0.1 5")
        nursery.cancel_scope.cancel()


def certificate(
    folder, *, name: str = "localhost", begins_days: float = -1, ends_days: float = 10
) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """cert.pem and key.pem of `folder`: whoever serves with them, and whoever trusts them."""
    import datetime

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    of = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder(of, of, key.public_key(), x509.random_serial_number())
        .not_valid_before(now + datetime.timedelta(days=begins_days))
        .not_valid_after(now + datetime.timedelta(days=ends_days))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    cert, private = folder / "cert.pem", folder / "key.pem"
    cert.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    serving = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    serving.load_cert_chain(cert, private)
    return serving, ssl.create_default_context(cafile=cert)
