"""HTTP/1.1 for strangers, on trio: one request after another, each bounded in bytes and seconds.

h11 knows the protocol; here are the sockets, the limits and who is on the other end. No framework
stands between: a join may cost 0.3 ms at most (docs/adr/0018). It knows nothing of what is asked.
"""

import logging
import math
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Final

import h11
import trio

from p2phouse.guest import exchange
from p2phouse.guest.exchange import Reply, Request

log = logging.getLogger(__name__)

HEAD_BYTES_MAX: Final = 16 * 1024
BODY_BYTES_MAX: Final = 64 * 1024
READ_BYTES: Final = 16 * 1024
REQUEST_S_MAX: Final = 10.0  # from its first byte to the last of its answer: a phone on a train
IDLE_S_MAX: Final = 15.0  # a page that asks each few seconds keeps its connection
CONNECTIONS_MAX: Final = 2_048
OF_ONE_SOURCE_MAX: Final = 128  # a school behind one address asks for little at a time
TLS_S_MAX: Final = 10.0
STALLED_S_MAX: Final = 30.0  # for which the reader of a stream takes nothing: it is gone
STREAM_BYTES: Final = (
    16 * 1024
)  # of a stream on their way: what is stuck there is not live any more
UNSENT_BYTES: Final = 4 * 1024  # of what is live: 100 ms of four voices and a half
HEADERS_BYTES: Final = 80  # of IP, TCP, TLS and a chunk, with each piece of a stream
LINGER_S_MAX: Final = 1.0
LINGER_READS_MAX: Final = 64  # 1 MB

# Where the system has it, a socket takes no more than that before it is on its way.
NOTSENT_LOWAT: Final = getattr(trio.socket, "TCP_NOTSENT_LOWAT", None)

Listener = trio.SocketListener | trio.SSLListener[trio.SocketStream]
Stream = trio.SocketStream | trio.SSLStream[trio.SocketStream]


class Refused(Exception):
    """What was sent is no request that we answer in earnest; the connection ends with this."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class Front:
    """Answers what comes on any listener by `answer`, which must not fail."""

    def __init__(
        self, answer: Callable[[Request], Awaitable[Reply]], *, is_proxied: bool = False
    ) -> None:
        """is_proxied: only our own reverse proxy comes here, and it names who asked it."""
        self._answer = answer
        self._is_proxied = is_proxied
        self._of_holder: Counter[str] = Counter()
        self.octets = 0  # of streams, with the headers of TCP and IP
        self.connections = 0

    async def serve(self, listeners: Sequence[Listener]) -> None:
        """Until cancelled. Closes the listeners."""
        await trio.serve_listeners(self._connected, list(listeners))

    async def _connected(self, stream: Stream) -> None:
        holder = ""
        try:
            source = _source(stream)
            holder = holder_of(source)
            # Security: whoever opens connections and says nothing shuts nobody else out.
            # Test: test_http.py::test_who_says_nothing_shuts_nobody_else_out_and_is_sent_away
            most = CONNECTIONS_MAX if self._is_proxied else OF_ONE_SOURCE_MAX
            self.connections += 1
            self._of_holder[holder] += 1
            if self.connections <= CONNECTIONS_MAX and self._of_holder[holder] <= most:
                await self._talk(stream, source)
        except (OSError, trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError):
            pass  # they left, or take too long
        except Exception:
            # What one stranger sends must not end what all others hear.
            log.exception("request_failed")
        finally:
            if holder:
                self.connections -= 1
                self._of_holder[holder] -= 1
                if not self._of_holder[holder]:
                    del self._of_holder[holder]
            await _close(stream)

    async def _talk(self, stream: Stream, source: str) -> None:
        if isinstance(stream, trio.SSLStream):
            with trio.fail_after(TLS_S_MAX):
                await stream.do_handshake()
        connection = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_BYTES_MAX)
        try:
            while connection.our_state is h11.IDLE and await self._one(connection, stream, source):
                connection.start_next_cycle()
        except (Refused, h11.RemoteProtocolError) as error:
            with trio.fail_after(REQUEST_S_MAX):
                await _refuse(connection, stream, error)

    async def _one(self, connection: h11.Connection, stream: Stream, source: str) -> bool:
        """One request and its answer; whether another may follow."""
        with trio.fail_after(IDLE_S_MAX) as scope:
            first = await _next(connection, stream)
            if not isinstance(first, h11.Request):
                return False
            scope.deadline = trio.current_time() + REQUEST_S_MAX
            request = await self._whole(connection, stream, first, source)
            reply = await self._answer(request)
            if reply.upgrade is not None:
                scope.deadline = math.inf
                await _switch(connection, stream, reply)
                return False
            try:
                head = request.method == "HEAD"
                await stream.send_all(_encoded(connection, reply, head=head))
                if reply.stream is not None and not head:
                    scope.deadline = math.inf
                    await self._flow(connection, stream, reply.stream)
            finally:
                if reply.stream is not None:
                    reply.stream.close()
        return connection.our_state is h11.DONE and connection.their_state is h11.DONE

    async def _flow(
        self, connection: h11.Connection, stream: Stream, body: exchange.Stream
    ) -> None:
        """Until it ends. Raises trio.TooSlowError if its reader does not read."""
        _tcp(stream).setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_SNDBUF, STREAM_BYTES)
        while data := await body.next():
            # Security: who takes nothing more has no place here for good.
            # Test: test_http.py::test_who_takes_nothing_of_a_stream_is_sent_away_and_others_hear_it
            with trio.fail_after(STALLED_S_MAX):
                await stream.send_all(connection.send(h11.Data(data=data)) or b"")
            self.octets += len(data) + HEADERS_BYTES
        with trio.fail_after(STALLED_S_MAX):
            await stream.send_all(connection.send(h11.EndOfMessage()) or b"")

    async def _whole(
        self, connection: h11.Connection, stream: Stream, first: h11.Request, source: str
    ) -> Request:
        """The request with its body. Raises Refused."""
        headers = {name.decode(): value.decode("latin-1") for name, value in first.headers}
        path, _, query = first.target.decode("latin-1").partition("?")
        # Security: two lengths are two requests to a proxy that reads the other (RFC 9112 §6.3).
        # Test: test_http.py::test_what_is_no_fair_request_is_refused_and_the_next_guest_is_served
        if not path.startswith("/") or {"content-length", "transfer-encoding"} <= headers.keys():
            raise Refused(400)
        body = bytearray()
        if connection.they_are_waiting_for_100_continue:
            go_on = h11.InformationalResponse(status_code=100, headers=[])
            await stream.send_all(connection.send(go_on) or b"")
        while isinstance(event := await _next(connection, stream), h11.Data):
            body += event.data
            if len(body) > BODY_BYTES_MAX:
                raise Refused(413)
        if self._is_proxied:
            source = _forwarded(headers.get("x-forwarded-for", ""), source)
        return Request(first.method.decode(), path, headers, bytes(body), source, query)


async def _close(stream: Stream) -> None:
    """A socket closes at once; TLS says goodbye first, which somebody may not take."""
    if isinstance(stream, trio.SocketStream):
        await stream.aclose()
        return
    with trio.move_on_after(LINGER_S_MAX):
        await stream.aclose()


async def _next(connection: h11.Connection, stream: Stream) -> object:
    """The next event. Raises h11.RemoteProtocolError."""
    while (event := connection.next_event()) is h11.NEED_DATA:
        connection.receive_data(bytes(await stream.receive_some(READ_BYTES)))
    return event


async def _switch(connection: h11.Connection, stream: Stream, reply: Reply) -> None:
    """Goes on with what is no HTTP, until that ends."""
    assert reply.upgrade is not None
    tcp = _tcp(stream)
    tcp.setsockopt(trio.socket.IPPROTO_TCP, trio.socket.TCP_NODELAY, 1)
    if NOTSENT_LOWAT is not None:
        tcp.setsockopt(trio.socket.IPPROTO_TCP, NOTSENT_LOWAT, UNSENT_BYTES)
    switching = h11.InformationalResponse(status_code=reply.status, headers=[*reply.headers])
    await stream.send_all(connection.send(switching) or b"")
    early, _ = connection.trailing_data
    await reply.upgrade.talk(stream, early)


def _encoded(connection: h11.Connection, reply: Reply, *, head: bool) -> bytes:
    """All of it, or what comes before a stream, whose length nobody knows."""
    headers = [*reply.headers]
    if reply.status not in (204, 304) and reply.stream is None:
        headers.append(("content-length", str(len(reply.body))))
    data = connection.send(h11.Response(status_code=reply.status, headers=headers)) or b""
    if reply.body and not head:
        data += connection.send(h11.Data(data=reply.body)) or b""
    if reply.stream is not None and not head:
        return data
    return data + (connection.send(h11.EndOfMessage()) or b"")


async def _refuse(
    connection: h11.Connection, stream: Stream, error: Refused | h11.RemoteProtocolError
) -> None:
    """Says no and ends: what they would send next cannot be told from the rest of this."""
    if connection.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
        return
    status = error.status if isinstance(error, Refused) else error.error_status_hint
    headers = (("connection", "close"), ("content-type", "text/plain; charset=utf-8"))
    reply = Reply(status, headers, b"this cannot be answered\n")
    await stream.send_all(_encoded(connection, reply, head=False))
    if isinstance(stream, trio.SocketStream):
        await stream.send_eof()
    # Who is still sending would be told of a reset instead of the answer.
    with trio.move_on_after(LINGER_S_MAX):
        for _ in range(LINGER_READS_MAX):
            if not await stream.receive_some(READ_BYTES):
                return


def holder_of(address: str) -> str:
    """By what connections are counted: an address of IPv4, or the /56 of one of IPv6, since each
    household has 2^64 of those and more."""
    if ":" not in address:
        return address
    return str(ip_network((address.partition("%")[0], 56), strict=False))


def _source(stream: Stream) -> str:
    """The other end's IP address; one of IPv4 is written as such on a socket of both kinds."""
    address: str = _tcp(stream).socket.getpeername()[0]
    return _plain(address) if ":" in address else address


def _tcp(stream: Stream) -> trio.SocketStream:
    return stream.transport_stream if isinstance(stream, trio.SSLStream) else stream


def _plain(address: str) -> str:
    found = ip_address(address.partition("%")[0])
    if isinstance(found, IPv6Address) and found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(found)


def _forwarded(given: str, otherwise: str) -> str:
    """Security: the last of the list is what our own proxy saw; all before it is hearsay."""
    try:
        return _plain(given.rpartition(",")[2].strip())
    except ValueError:
        return otherwise
