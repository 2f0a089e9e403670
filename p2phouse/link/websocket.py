"""A tunnel as a node opens it: a WebSocket to a relay's HTTPS that aioice takes for a socket.

The other end and the bounds: p2phouse/link/tunnel.py and relay/p2phouse_relay/tunnels.py. TCP
delivers late rather than not at all; here what TCP does not take at once waits for 100 ms at most.
"""

import asyncio
import functools
import ipaddress
import logging
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.uri import parse_uri

from p2phouse.errors import LinkError
from p2phouse.link.tunnel import DATAGRAM_BYTES_MAX, PATH, Entrance, Newest

log = logging.getLogger(__name__)

UNSENT_BYTES: Final = 4 * 1024  # of our one voice half a second: the system's part of the queue
GOODBYE_S_MAX: Final = 1.0
TRY_S_MAX: Final = 3.0  # of one address: four round trips, one of them repeated

_quiet: Final = logging.Logger("p2phouse.link.websocket.websockets", logging.CRITICAL + 1)

MayUse = Callable[[ipaddress.IPv4Address | ipaddress.IPv6Address], bool]


class NoTunnel(LinkError):
    """The relay is not reached through HTTPS: {reason}."""


@functools.cache
def context() -> ssl.SSLContext:
    """Reads the system's certificates, which takes some 20 ms: call it in a thread."""
    # Security: the certificate and its name are checked; without that anybody in between could see
    # whose link it is and cut it off.
    # Test: test_websocket.py::test_a_certificate_of_somebody_else_is_not_taken
    return ssl.create_default_context()


class Tunnel(asyncio.Protocol):
    """Made by `open_tunnel`. What aioice asks of a transport: `sendto`, `close`, `is_closing`,
    `get_write_buffer_size`."""

    def __init__(self, entrance: Entrance) -> None:
        host = f"[{entrance.host}]" if ":" in entrance.host else entrance.host
        uri = parse_uri(f"wss://{host}:{entrance.port}{PATH}")
        self._frames = ClientProtocol(uri, max_size=DATAGRAM_BYTES_MAX, logger=_quiet)
        self._token = entrance.token
        # What it holds is why not, or None. No exception: nobody may be waiting for it any more.
        loop = asyncio.get_running_loop()
        self._opened: asyncio.Future[NoTunnel | None] = loop.create_future()
        self._newest = Newest()
        self._tcp: asyncio.Transport | None = None
        self._tls: asyncio.Transport | None = None
        self._full = False
        self._receiver: asyncio.DatagramProtocol | None = None
        self.address: tuple[str, int] = ("", 0)  # the other end's

    async def open(self, address: tuple[Any, ...], host: str) -> None:
        """Over TCP to this address, where `host` has its certificate. Raises OSError, NoTunnel."""
        loop = asyncio.get_running_loop()
        trusted = await asyncio.to_thread(context)
        self._tcp, _ = await loop.create_connection(lambda: self, *address[:2])
        self.address = self._tcp.get_extra_info("peername")[:2]
        _keep_live(self._tcp)
        self._tls = await loop.start_tls(
            self._tcp, self, trusted, server_hostname=host, ssl_shutdown_timeout=GOODBYE_S_MAX
        )
        assert self._tls is not None
        self._tls.set_write_buffer_limits(1, 0)  # at 0 asyncio's TLS calls an empty buffer full
        request = self._frames.connect()
        request.headers["Authorization"] = f"Bearer {self._token}"
        self._frames.send_request(request)
        self._flush()
        refused = await self._opened
        if refused is not None:
            raise refused

    def give(self, receiver: asyncio.DatagramProtocol) -> None:
        """Whatever comes is this one's from now on; it is told of the end as well."""
        self._receiver = receiver

    @property
    def dropped(self) -> int:
        """Datagrams that TCP did not take in time."""
        return self._newest.dropped

    # ── as a transport ───────────────────────────────────────────────────────────────────────

    def sendto(self, data: bytes, addr: object = None) -> None:
        """One datagram, to the other end whatever the address; dropped if it is late."""
        if self.is_closing():
            return
        self._newest.put(asyncio.get_running_loop().time(), data)
        if not self._full:
            self._send()

    def is_closing(self) -> bool:
        return self._tls is None or self._tls.is_closing() or self._frames.state is not State.OPEN

    def get_write_buffer_size(self) -> int:
        """What waits here goes or is late within 100 ms."""
        return 0

    def get_extra_info(self, name: str, default: object = None) -> object:
        return default

    def close(self) -> None:
        if self._tls is not None:
            if self._frames.state is State.OPEN:
                self._frames.send_close(1000)
                self._flush()
            self._tls.close()
        elif self._tcp is not None:
            self._tcp.abort()
        self._end()

    # ── as asyncio tells it ──────────────────────────────────────────────────────────────────

    def data_received(self, data: bytes) -> None:
        self._frames.receive_data(data)
        for event in self._frames.events_received():
            if isinstance(event, Frame):
                if event.opcode is Opcode.BINARY and event.fin and self._receiver is not None:
                    self._receiver.datagram_received(bytes(event.data), self.address)
            elif not self._opened.done():
                refused = self._frames.handshake_exc
                self._opened.set_result(NoTunnel(reason=str(refused)) if refused else None)
        self._flush()
        if self._frames.state in (State.CLOSING, State.CLOSED) or self._frames.handshake_exc:
            self.close()

    def pause_writing(self) -> None:
        self._full = True

    def resume_writing(self) -> None:
        self._full = False
        if not self.is_closing():
            self._send()

    def eof_received(self) -> None:
        self._frames.receive_eof()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end()

    def _end(self) -> None:
        if not self._opened.done():
            self._opened.set_result(NoTunnel(reason="it hung up"))
        receiver, self._receiver = self._receiver, None
        if receiver is not None:
            receiver.connection_lost(None)

    def _send(self) -> None:
        """All that waits, each in a message of its own."""
        for data in self._newest.take(asyncio.get_running_loop().time()):
            self._frames.send_binary(data)
        self._flush()

    def _flush(self) -> None:
        out = b"".join(self._frames.data_to_send())
        if out and self._tls is not None and not self._tls.is_closing():
            self._tls.write(out)


async def open_tunnel(entrance: Entrance, *, may_use: MayUse) -> Tunnel:
    """Raises NoTunnel. How long it may take is for the caller to say."""
    reason = "no address of it may be used"
    try:
        found = await asyncio.get_running_loop().getaddrinfo(
            entrance.host, entrance.port, type=socket.SOCK_STREAM
        )
    except OSError as error:
        raise NoTunnel(reason=error.strerror or str(error)) from error
    for *_, address in found:
        # Security: of what a relay's name stands for, what a link may use and no more.
        # Test: test_websocket.py::test_a_name_of_this_very_machine_is_not_knocked_at
        if may_use(ipaddress.ip_address(str(address[0]).partition("%")[0])):
            tunnel = Tunnel(entrance)
            is_open = False
            try:
                async with asyncio.timeout(TRY_S_MAX):
                    await tunnel.open(address, entrance.host)
                is_open = True
                return tunnel
            except (OSError, TimeoutError) as error:
                reason = str(error) or f"no answer within {TRY_S_MAX:.0f} s"
            finally:
                if not is_open:
                    tunnel.close()
    raise NoTunnel(reason=reason)


def _keep_live(transport: asyncio.Transport) -> None:
    """What is written goes at once, and next to nothing waits in the system."""
    transport.set_write_buffer_limits(0)
    tcp = transport.get_extra_info("socket")
    tcp.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    lowat = getattr(socket, "TCP_NOTSENT_LOWAT", None)  # not on every system
    if lowat is not None:
        with suppress(OSError):
            tcp.setsockopt(socket.IPPROTO_TCP, lowat, UNSENT_BYTES)
