"""ICE of one link (RFC 8445), and the only module that knows aioice.

aioice gathers, checks and keeps consent; what it would queue without bound goes straight on here,
since a datagram is either voice (handed over at once) or part of a handshake (few are kept).
"""

import asyncio
import ipaddress
import logging
import random
import socket
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any, Final

import ifaddr
from aioice import Candidate, Connection, stun
from aioice.candidate import candidate_foundation, candidate_priority
from aioice.ice import StunProtocol
from aioice.stun import TransactionError

from p2phouse.errors import LinkError
from p2phouse.link.websocket import NoTunnel, Tunnel

log = logging.getLogger(__name__)

Interface = ipaddress.IPv4Interface | ipaddress.IPv6Interface

CONNECT_S_MAX: Final = 10.0  # two lost checks back off to 0.5 + 1 + 2 s; aioice itself takes 64 s
UDP_FIRST_S: Final = 3.0  # three checks lost of every pair: UDP is blocked, or as good as that
UDP_AGAIN_S: Final = 0.5  # where it was a while ago: one round trip round the world
HANDSHAKE_DATAGRAMS_MAX: Final = 32  # a flight of DTLS has at most six; a full queue drops new ones
CANDIDATES_MAX: Final = 8
CANDIDATE_CHARS_MAX: Final = 160
NOBODY6: Final = "2001:db8::1"  # RFC 3849
REFLECTIONS_MAX: Final = 4
REFLECTED_S_MAX: Final = 0.5  # a round trip round the world; a dead reflector costs a join no more
UNSENT_BYTES_MAX: Final = 64 * 1024  # the system's buffer is full as well: a second of eight voices
TUNNELLED: Final = "wss"  # as a candidate's transport
EXPEDITED: Final = 0xB8  # DSCP EF (RFC 8837 §5): Wi-Fi puts it into its voice queue

CONSENT_EACH_S: Final = 1.0
CONSENT_S_MAX: Final = 3.4  # three questions, each sent twice: a loss of 20 % breaks no link


class NoPath(LinkError):
    """No path to the other node was found: {reason}."""


class NoCandidates(LinkError):
    """This machine has no network address that a link could use."""


class Datagrams(Connection):  # type: ignore[misc]  # aioice has no types we follow
    """One aioice connection that hands voice over at once and bounds the rest."""

    def __init__(
        self,
        *,
        controlling: bool,
        addresses: Sequence[str],
        hops_max: int | None,
        reflectors: Sequence[tuple[str, int]] = (),
        on_voice: Callable[[bytes], None],
    ) -> None:
        """addresses: to gather on. hops_max: TTL of what is sent, None for the system's.
        reflectors: whom to ask where our datagrams seem to come from."""
        super().__init__(ice_controlling=controlling)
        self._addresses = addresses
        self._hops_max = hops_max
        self._reflectors = reflectors
        self._on_voice = on_voice
        self._handshake: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._consent_s = 0.0  # when the last answered question was asked
        self.expired = False  # the other end's consent ran out
        self.dropped = 0

    # ── what aioice calls ────────────────────────────────────────────────────────────────────

    async def get_component_candidates(
        self, component: int, addresses: list[str], timeout: int = 5
    ) -> list[Candidate]:
        """Gathers on our addresses, not on aioice's: those leave out loopback always."""
        candidates: list[Candidate] = await super().get_component_candidates(
            component, list(self._addresses), timeout
        )
        for protocol in self._protocols:
            self._mark(protocol.transport.get_extra_info("socket"))
        return candidates + await self._reflections()

    async def _reflections(self) -> list[Candidate]:
        """How our sockets look from outside, as far as anybody says so in time."""
        asked = [
            asyncio.ensure_future(reflection(protocol, reflector))
            for reflector in self._reflectors
            for protocol in self._protocols
            if protocol.local_candidate.host == way_to(reflector)
        ]
        if not asked:
            return []
        done, late = await asyncio.wait(asked, timeout=REFLECTED_S_MAX)
        for task in late:
            task.cancel()
        found = [task.result() for task in done]
        return list({each.host + str(each.port): each for each in found if each}.values())

    def data_received(self, data: bytes, component: int) -> None:
        """A datagram that is no STUN. Told apart by its first byte (RFC 7983 §7)."""
        if data and 127 < data[0] < 192:
            self._on_voice(data)
        elif data and 19 < data[0] < 64 and self._handshake.qsize() < HANDSHAKE_DATAGRAMS_MAX:
            self._handshake.put_nowait(data)
        else:
            self.dropped += 1

    def protocol_lost(self, protocol: Any) -> None:  # noqa: ANN401 - aioice's StunProtocol
        if any(pair.protocol is protocol for pair in self._nominated.values()):
            self._handshake.put_nowait(None)

    async def query_consent(self) -> None:
        """Asks for consent to send (RFC 7675) and closes once it has run out.

        aioice's own takes half a minute to find a peer gone, and would take any two lost
        datagrams for that if it were merely sped up.
        """
        loop = asyncio.get_running_loop()
        self._consent_s = loop.time()
        questions: set[asyncio.Task[None]] = set()
        try:
            while loop.time() - self._consent_s < CONSENT_S_MAX:
                question = asyncio.create_task(self._ask_consent())
                questions.add(question)
                question.add_done_callback(questions.discard)
                left_s = self._consent_s + CONSENT_S_MAX - loop.time()
                await asyncio.sleep(min(CONSENT_EACH_S * random.uniform(0.8, 1.2), left_s))
        finally:
            for question in questions:
                question.cancel()
        self.expired = True
        self._query_consent_task = None
        await self.close()

    async def _ask_consent(self) -> None:
        asked_s = asyncio.get_running_loop().time()
        pair = self._nominated.get(1)
        if pair is None or pair.protocol.transport.is_closing():
            return
        assert self.remote_password is not None
        request = self.build_request(pair, nominate=False)
        with suppress(TransactionError):  # unanswered: what counts is the last that was answered
            await pair.protocol.request(
                request,
                pair.remote_addr,
                integrity_key=self.remote_password.encode(),
                retransmissions=1,
            )
            self._consent_s = max(self._consent_s, asked_s)

    async def close(self) -> None:
        await super().close()
        self._handshake.put_nowait(None)

    def _mark(self, sock: socket.socket) -> None:
        six = sock.family == socket.AF_INET6
        with suppress(OSError):  # not every system lets us; the voice goes all the same
            if six:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, EXPEDITED)
            else:
                sock.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, EXPEDITED)
        if self._hops_max is not None:
            # Security: a room for one network stays in it; no router passes a TTL of 1 on.
            if six:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, self._hops_max)
            else:
                sock.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, self._hops_max)

    # ── what DTLS and the link use ───────────────────────────────────────────────────────────

    async def receive_handshake(self) -> bytes:
        """The next DTLS datagram. Raises ConnectionError once the connection is closed."""
        data = await self._handshake.get()
        if data is None:
            self._handshake.put_nowait(None)
            raise ConnectionError("closed")
        return data

    def send_now(self, data: bytes) -> bool:
        """Sends on the nominated pair; False if there is none or the system takes no more."""
        pair = self._nominated.get(1)
        if pair is None:
            return False
        transport = pair.protocol.transport
        if transport.is_closing() or transport.get_write_buffer_size() > UNSENT_BYTES_MAX:
            self.dropped += 1  # late sound is worth less than the next
            return False
        transport.sendto(data, pair.remote_addr)
        return True

    async def gather(self) -> tuple[str, ...]:
        """Binds its sockets and names them. Raises NoCandidates."""
        await self.gather_candidates()
        candidates = sorted(self.local_candidates, key=lambda each: -each.priority)
        if not candidates:
            raise NoCandidates
        # What is seen from outside is the only one of use afar, and has the least priority.
        outside = [each for each in candidates if each.type == "srflx"][:REFLECTIONS_MAX]
        inside = [each for each in candidates if each.type != "srflx"]
        told = [*inside[: CANDIDATES_MAX - len(outside)], *outside]
        return tuple(candidate.to_sdp() for candidate in told)

    async def find_path(
        self,
        ufrag: str,
        pwd: str,
        candidates: Sequence[Candidate],
        detour: Callable[[], Awaitable[Tunnel]] | None = None,
        *,
        doubts_udp: bool = False,
    ) -> None:
        """Checks until a pair works. detour: opens what may be used if none has for a while.
        doubts_udp: it is a short while. Raises NoPath."""
        self.remote_username, self.remote_password = ufrag, pwd
        opening: asyncio.Task[None] | None = None
        try:
            async with asyncio.timeout(CONNECT_S_MAX):
                for candidate in candidates:
                    await self.add_remote_candidate(candidate)
                if detour is None:
                    await self.add_remote_candidate(None)
                else:
                    opening = asyncio.create_task(
                        self._go_round(detour, UDP_AGAIN_S if doubts_udp else UDP_FIRST_S)
                    )
                await self.connect()
        except TimeoutError:
            raise NoPath(reason=f"no answer within {CONNECT_S_MAX:.0f} s") from None
        except (ConnectionError, ValueError) as error:
            raise NoPath(reason=str(error) or "the checks failed") from error
        finally:
            if opening is not None:
                opening.cancel()
                await asyncio.wait([opening])

    async def _go_round(self, detour: Callable[[], Awaitable[Tunnel]], after_s: float) -> None:
        """A tunnel as one more socket of ours, with nobody at its other end but the relay."""
        await asyncio.sleep(after_s)
        try:
            tunnel = await detour()
        except NoTunnel as error:
            log.info("no_tunnel error=%s", error)
        else:
            protocol = StunProtocol(self)
            protocol.connection_made(tunnel)
            tunnel.give(protocol)
            host, port = tunnel.address
            # Of a transport of its own: aioice pairs it with the tunnel and with nothing else.
            protocol.local_candidate, theirs = (
                Candidate(foundation, 1, TUNNELLED, 1, host, port, "relay")
                for foundation in ("here", "there")
            )
            self._protocols.append(protocol)
            await self.add_remote_candidate(theirs)
        await self.add_remote_candidate(None)

    @property
    def is_tunnelled(self) -> bool:
        """Whether the path that was found is a tunnel."""
        pair = self._nominated.get(1)
        return pair is not None and pair.local_candidate.transport == TUNNELLED


def way_to(reflector: tuple[str, int]) -> str:
    """The address of ours from which datagrams go there; sends nothing."""
    family = socket.AF_INET6 if ":" in reflector[0] else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect(reflector)
            return str(probe.getsockname()[0])
    except OSError:
        return ""


async def reflection(protocol: Any, reflector: tuple[str, int]) -> Candidate | None:  # noqa: ANN401 - aioice's StunProtocol
    """The server-reflexive candidate of a socket (RFC 8445 §5.1.1.2); None without an answer."""
    request = stun.Message(message_method=stun.Method.BINDING, message_class=stun.Class.REQUEST)
    # Nobody answers more than they were asked with; this is p2phouse/net/stun.py's padding.
    request.attributes["SOFTWARE"] = "p2phouse".ljust(20)
    try:
        response, _ = await protocol.request(request, reflector, retransmissions=1)
        host, port = response.attributes["XOR-MAPPED-ADDRESS"]
    except (TransactionError, KeyError):
        return None
    local = protocol.local_candidate
    if (host, port) == (local.host, local.port):
        return None  # no router in between
    return Candidate(
        foundation=candidate_foundation("srflx", "udp", local.host),
        component=local.component,
        transport=local.transport,
        priority=candidate_priority(local.component, "srflx"),
        host=host,
        port=port,
        type="srflx",
        related_address=local.host,
        related_port=local.port,
    )


def read_candidates(
    texts: Sequence[str],
    *,
    may_use: Callable[[ipaddress.IPv4Address | ipaddress.IPv6Address], bool],
) -> list[Candidate]:
    """The candidates that we will send checks to; whatever else a peer wrote is passed over.

    Security: a name would make us look it up, over multicast for .local, so only addresses count;
    may_use refuses those that this link has no business with.
    """
    found = []
    for text in texts[:CANDIDATES_MAX]:
        with suppress(ValueError):
            if len(text) > CANDIDATE_CHARS_MAX:
                continue
            candidate = Candidate.from_sdp(text)
            ip = ipaddress.ip_address(candidate.host)
            usable = not (ip.is_multicast or ip.is_unspecified) and may_use(ip)
            is_udp = candidate.transport.lower() == "udp" and candidate.component == 1
            if usable and is_udp and 0 < candidate.port < 65_536:
                found.append(candidate)
    return found


def may_use(
    ip: ipaddress.IPv4Address | ipaddress.IPv6Address,
    *,
    own: Sequence[str],
    networks: Sequence[ipaddress.IPv4Network | ipaddress.IPv6Network] | None,
) -> bool:
    """Whether a peer's candidate is one that we send checks to.

    own: the addresses we gathered on. networks: for a lan room, those it may not leave; else None.
    """
    # Security: a peer must not have us probe programs of this machine; only where we stand on
    # loopback ourselves is it a way to the peer. Test: test_link.py::test_a_peer_cannot_have_
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
        return False  # IPv4 by an IPv6 socket: of whatever it stands for nothing was asked
    if ip.is_loopback:
        return list(own) == ["127.0.0.1"]
    # Security: a lan room's link never leaves its networks. Test: the same.
    return networks is None or any(
        ip.version == network.version and ip in network for network in networks
    )


def local_addresses(*, loopback_only: bool) -> list[str]:
    """Where a link gathers: on loopback only if there is nothing else."""
    outer = addresses_of(_interfaces(), outward=way_to((NOBODY6, 9)))
    return ["127.0.0.1"] if loopback_only or not outer else outer


def addresses_of(found: Iterable[Interface], *, outward: str) -> list[str]:
    """What a link tells of this machine, IPv4 first. outward: by which it goes out by IPv6.

    Of two families each has its share: a machine with many containers has many of IPv4.
    """
    usable = [each for each in found if not (each.ip.is_loopback or _is_link_local6(each))]
    out = ipaddress.ip_address(outward or "::")
    four = [str(each.ip) for each in usable if each.version == 4]
    # Security: of several in one network of IPv6 the outward one alone, which is mostly one for a
    # day, as in what the node tells of itself (net/addresses.py, `discreet`).
    # Test: test_link.py::test_of_several_addresses_of_ipv6_in_a_network_the_outward_one_is_told
    six = [
        str(each.ip)
        for each in usable
        if each.version == 6 and (each.ip == out or out not in each.network)
    ][: CANDIDATES_MAX // 2]
    return [*dict.fromkeys(four[: CANDIDATES_MAX - len(six)]), *dict.fromkeys(six)]


def _is_link_local6(interface: Interface) -> bool:
    return interface.version == 6 and interface.ip.is_link_local  # it means nothing elsewhere


def attached_networks() -> list[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    """The networks this machine stands in, loopback included."""
    return [interface.network for interface in _interfaces()]


def _interfaces() -> list[Interface]:
    return [
        ipaddress.ip_interface(
            f"{ip.ip if isinstance(ip.ip, str) else ip.ip[0]}/{ip.network_prefix}"
        )
        for adapter in ifaddr.get_adapters()
        for ip in adapter.ips
    ]
