"""Sound over HTTPS, for nodes whose network lets no UDP out: a WebSocket to our own UDP port.

Each connection has a socket of its own towards media, to which it is a peer like any other; ICE,
DTLS and SRTP inside are what they are over UDP (p2phouse/link/tunnel.py). A token admits, which the
relay has handed to the other end of one link together with where that link is reached.
"""

import logging
import socket
from base64 import b64decode
from binascii import Error as NotBase64
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import urlsplit

import trio
from websockets.frames import CloseCode, Frame, Opcode
from websockets.protocol import State
from websockets.server import ServerProtocol
from websockets.utils import accept_key

from p2phouse import channel
from p2phouse.guest.exchange import Bytes, Reply, Request, later, said
from p2phouse.guest.http import holder_of
from p2phouse.guest.sdp import reached_at
from p2phouse.link import tunnel
from p2phouse.link.tunnel import DATAGRAM_BYTES_MAX, Entrance, Newest
from p2phouse.net.rates import TokenBucket
from p2phouse.vocabulary import Entropy, LinkNumber

log = logging.getLogger(__name__)

TUNNELS_MAX: Final = 32  # of four voices each: a third of a core (bench/tunnel.py)
OF_ONE_SOURCE_MAX: Final = 16  # a school behind one address
TICKET_S: Final = 60.0  # the offer's answer and ICE over UDP take 15 s each at most
TOKEN_BYTES: Final = 16
PACKETS_PER_S: Final = 600  # each way; one voice and its reports are 60, four voices 250
PACKETS_AT_ONCE: Final = 300  # TCP repeats what was lost for a second and then brings it all
IDLE_S_MAX: Final = 30.0  # a link that lives asks for consent each second
STALLED_S_MAX: Final = 10.0  # for which the other end takes nothing: consent is long over
READ_BYTES: Final = 16 * 1024
READ_MAX: Final = 64  # datagrams of media's, then they are sent

_quiet: Final = logging.Logger("p2phouse_relay.tunnels.websockets", logging.CRITICAL + 1)


@dataclass(frozen=True, slots=True)
class Ticket:
    link: LinkNumber
    until_s: float


class Tunnels:
    """Says where each link is reached (`reached`), lets in by that (`answer`), ends with the link
    (`forget`)."""

    def __init__(
        self,
        page: str,
        addresses: Sequence[str],
        bind: str,
        udp_port: Callable[[], int],
        entropy: Entropy,
    ) -> None:
        """page: our HTTPS as others find it, https://NAME; empty if there is none. addresses: at
        which others reach media's port; bind: where it is on this machine."""
        self._page = urlsplit(page)
        self._addresses = addresses
        self._bind = bind
        self._udp_port = udp_port
        self._entropy = entropy
        self._tickets: dict[str, Ticket] = {}
        self._scopes: dict[LinkNumber, trio.CancelScope] = {}  # of who was let in
        self._of_holder: Counter[str] = Counter()

    def __len__(self) -> int:
        """How many are open."""
        return sum(self._of_holder.values())

    def reached(self, now_s: float, message: channel.Up) -> channel.Up:
        """What media says to rooms of nodes: it knows its own sockets, and not where others reach
        them or how else."""
        match message:
            case channel.LocalDescription(link):
                direct = reached_at(self._addresses, self._udp_port())
                return replace(message, cands=(*direct, *self._entrance(now_s, link)))
            case channel.LinkState(link, status) if status is not channel.LinkStatus.CONNECTED:
                self.forget(link)
        return message

    def _entrance(self, now_s: float, link: LinkNumber) -> tuple[str, ...]:
        """For the other end of this link, as a candidate; none if there is no HTTPS."""
        host, port = self._page.hostname or "", self._page.port or 443
        if not 0 < len(host) <= tunnel.HOST_CHARS_MAX:
            return ()
        self._tickets = {
            token: each for token, each in self._tickets.items() if now_s < each.until_s
        }
        token = self._entropy(TOKEN_BYTES).hex()
        self._tickets[token] = Ticket(link, now_s + TICKET_S)
        return (tunnel.write(Entrance(host, port, token)),)

    def forget(self, link: LinkNumber) -> None:
        """The link is over, and with it what it went through."""
        self._tickets = {token: each for token, each in self._tickets.items() if each.link != link}
        scope = self._scopes.pop(link, None)
        if scope is not None:
            scope.cancel()

    def answer(self, now_s: float, request: Request) -> Reply:
        accepted = _accepted(request)
        if accepted is None:
            return said(426, "this is a WebSocket", ("upgrade", "websocket"))
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        ticket = self._tickets.get(token)
        # Security: only whoever is at the other end of a link of ours, and once; never a proxy.
        # Test: test_tunnels.py::test_nobody_comes_in_without_a_token_of_a_link_or_with_it_twice
        if ticket is None or now_s >= ticket.until_s:
            return said(401, "this wants the token that came with an offer or answer")
        holder = holder_of(request.source)
        # Security: nobody takes all the places, nor more of our time than sound has to spare.
        # Test: test_tunnels.py::test_the_tunnels_of_one_address_and_of_all_are_bounded
        if len(self) >= TUNNELS_MAX or self._of_holder[holder] >= OF_ONE_SOURCE_MAX:
            return later(10, "too many come this way")
        del self._tickets[token]
        headers = (
            ("upgrade", "websocket"),
            ("connection", "Upgrade"),
            ("sec-websocket-accept", accepted),
        )
        self._scopes[ticket.link] = trio.CancelScope()
        return Reply(101, headers, upgrade=_Admitted(self, ticket.link, holder))

    async def carry(self, connection: Bytes, early: bytes, link: LinkNumber, holder: str) -> None:
        """Of one who was let in, until either end leaves."""
        scope = self._scopes.get(link)
        if scope is None:
            return  # the link was over before we came here
        self._of_holder[holder] += 1
        try:
            address = _here(self._bind), self._udp_port()
            family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
            with socket.socket(family, socket.SOCK_DGRAM) as to_media, scope:
                to_media.setblocking(False)
                # Security: connected, so it reaches our own port and hears nobody else, whatever
                # comes in. Test: test_tunnels.py::test_nothing_but_media_is_reached_or_heard
                to_media.connect(address)
                one = _Tunnel(connection, to_media)
                log.info("tunnel link=%d", link)
                await one.run(early)
                log.info("tunnel_over link=%d late=%d", link, one.late)
        finally:
            self._scopes.pop(link, None)
            self._of_holder[holder] -= 1
            if not self._of_holder[holder]:
                del self._of_holder[holder]


@dataclass(frozen=True, slots=True)
class _Admitted:
    tunnels: Tunnels
    link: LinkNumber
    holder: str

    async def talk(self, connection: Bytes, early: bytes) -> None:
        await self.tunnels.carry(connection, early, self.link, self.holder)


class _Tunnel:
    """Two ways: `_come` from the WebSocket to media; `_hear` from media, and `_send` on."""

    def __init__(self, connection: Bytes, to_media: socket.socket) -> None:
        self._connection = connection
        self._media = to_media
        self._frames = ServerProtocol(state=State.OPEN, max_size=DATAGRAM_BYTES_MAX, logger=_quiet)
        self._newest = Newest()
        self._wake = trio.Event()
        self._inward = TokenBucket(PACKETS_PER_S, PACKETS_AT_ONCE)
        self._outward = TokenBucket(PACKETS_PER_S, PACKETS_AT_ONCE)

    @property
    def late(self) -> int:
        """Datagrams that waited too long for a slow reader."""
        return self._newest.dropped

    async def run(self, early: bytes) -> None:
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._hear)
                nursery.start_soon(self._send, nursery.cancel_scope)
                await self._come(early)
        except* (OSError, trio.BrokenResourceError, trio.TooSlowError):
            pass  # they left, or take too long

    async def _come(self, early: bytes) -> None:
        data: bytes | bytearray = early
        while True:
            if data:
                self._frames.receive_data(data)
                now_s = trio.current_time()
                for event in self._frames.events_received():
                    if isinstance(event, Frame):
                        self._frame(now_s, event)
                self._wake.set()  # a pong or a goodbye may be due
            with trio.fail_after(IDLE_S_MAX):
                data = await self._connection.receive_some(READ_BYTES)
            if not data:
                raise BrokenPipeError

    def _frame(self, now_s: float, frame: Frame) -> None:
        # Security: nobody floods media, nor has us answer pings without end.
        # Test: test_tunnels.py::test_who_floods_is_carried_no_faster_than_a_stage_talks
        if not self._inward.take(now_s):
            if frame.opcode is Opcode.PING:
                self._frames.fail(CloseCode.POLICY_VIOLATION)
        elif frame.opcode is Opcode.BINARY and frame.fin:
            with suppress(OSError):  # full, or media is being started anew: as UDP loses it
                self._media.send(frame.data)
        elif frame.opcode in (Opcode.BINARY, Opcode.TEXT):
            self._frames.fail(CloseCode.UNSUPPORTED_DATA)

    async def _hear(self) -> None:
        while True:
            await trio.lowlevel.wait_readable(self._media)
            now_s = trio.current_time()
            with suppress(OSError):  # read to the end, or media is not there
                for _ in range(READ_MAX):
                    data = self._media.recv(DATAGRAM_BYTES_MAX + 1)
                    if len(data) <= DATAGRAM_BYTES_MAX and self._outward.take(now_s):
                        self._newest.put(now_s, data)
            self._wake.set()

    async def _send(self, scope: trio.CancelScope) -> None:
        """What waits, in one go; while TCP takes nothing, the newest waits and the old is lost."""
        while True:
            await self._wake.wait()
            self._wake = trio.Event()
            if self._frames.state is State.OPEN:
                for data in self._newest.take(trio.current_time()):
                    self._frames.send_binary(data)
            out = b"".join(self._frames.data_to_send())
            if out:
                with trio.fail_after(STALLED_S_MAX):
                    await self._connection.send_all(out)
            if self._frames.state is not State.OPEN:
                scope.cancel()


def _accepted(request: Request) -> str | None:
    """What proves to the other end that we speak WebSocket (RFC 6455 §4.2.2); None if it does
    not ask for one."""
    headers = request.headers
    key = headers.get("sec-websocket-key", "")
    is_asked = (
        request.method == "GET"
        and headers.get("upgrade", "").lower() == "websocket"
        and "upgrade" in headers.get("connection", "").lower()
        and headers.get("sec-websocket-version") == "13"
    )
    try:
        return accept_key(key) if is_asked and len(b64decode(key, validate=True)) == 16 else None
    except NotBase64:
        return None


def _here(bind: str) -> str:
    """Where a program of this machine finds what is bound to all of its addresses, or to one."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(bind, bind)
