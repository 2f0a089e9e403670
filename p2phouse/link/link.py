"""A path between two nodes: ICE finds it, DTLS proves who is there, SRTP carries voice over it.

A link is used once: when it fails or is lost, control opens a new one under a new number. It says
CONNECTED once, then at most one of LOST; or FAILED alone; and nothing after `close`.
"""

import asyncio
import ipaddress
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from p2phouse.channel import LinkRole, LinkStatus
from p2phouse.errors import LinkError
from p2phouse.link import ice, tunnel
from p2phouse.link.dtls import Dtls, fingerprint
from p2phouse.link.ice import CONNECT_S_MAX, Datagrams
from p2phouse.link.websocket import open_tunnel
from p2phouse.vocabulary import LinkNumber
from p2phouse.voice.packet import wraps_soon

log = logging.getLogger(__name__)


class HandshakeSlow(LinkError):
    """A path was found, but the handshake on it took longer than {seconds:.0f} s."""


@dataclass(frozen=True, slots=True)
class Description:
    """One end of a link, as an offer or answer tells it to the other."""

    ufrag: str
    pwd: str
    fp: bytes  # SHA-256 of the DTLS certificate, 32 bytes
    cands: tuple[str, ...]  # RFC 8839 candidate lines without their "candidate:"


class Link:
    """`open`, then `connect` to what the other end described; `send` from CONNECTED on."""

    def __init__(
        self,
        number: LinkNumber,
        role: LinkRole,
        *,
        local_only: bool,
        loopback_only: bool,
        reflectors: Sequence[tuple[str, int]] = (),
        on_packet: Callable[[LinkNumber, bytes], None],
        on_control: Callable[[LinkNumber, bytes], None],
        on_state: Callable[[LinkNumber, LinkStatus, str], None],
    ) -> None:
        """local_only: a lan room, on attached networks with a TTL of 1. reflectors: nodes that
        tell us how we look from outside. on_packet and on_control
        are given plain RTP and RTCP of a peer that proved itself."""
        self.number = number
        self._local_only = local_only
        self._on_packet = on_packet
        self._on_control = on_control
        self._on_state = on_state
        self._addresses = ice.local_addresses(loopback_only=loopback_only)
        is_offerer = role is LinkRole.OFFERER
        self._datagrams = Datagrams(
            controlling=is_offerer,
            addresses=self._addresses,
            hops_max=1 if local_only else None,
            reflectors=() if local_only else reflectors,
            on_voice=self._voice,
        )
        self._dtls = Dtls(self._datagrams, is_server=is_offerer, on_closed=self._hung_up)
        self._gathering = asyncio.Lock()
        self._connected = False
        self._over = False
        self._begun: set[bytes] = set()  # the SSRCs that were sent
        self.forged = 0  # datagrams that did not open: not from the peer, or played again

    @property
    def is_connected(self) -> bool:
        return self._connected and not self._over

    @property
    def is_tunnelled(self) -> bool:
        """Whether it goes through HTTPS."""
        return self._datagrams.is_tunnelled

    async def open(self) -> Description:
        """Gathers our end. Raises NoCandidates."""
        datagrams = self._datagrams
        async with self._gathering:
            cands = await datagrams.gather()
        return Description(datagrams.local_username, datagrams.local_password, fingerprint(), cands)

    async def connect(
        self, remote: Description, *, is_relay: bool = False, doubts_udp: bool = False
    ) -> None:
        """Checks, then shakes hands; on_state tells how it went. Raises nothing.

        is_relay: the other end may be reached through its HTTPS, where UDP is blocked.
        doubts_udp: it was blocked not long ago.
        """
        may_use = partial(ice.may_use, own=self._addresses, networks=self._networks())
        candidates = ice.read_candidates(remote.cands, may_use=may_use)
        detour = None
        # Security: only whom a host named a relay has us look a name up and knock there.
        # Test: test_websocket.py::test_nobody_but_a_relay_has_us_open_a_tunnel
        if is_relay and not self._local_only:
            entrance = next(filter(None, map(tunnel.read, remote.cands)), None)
            if entrance is not None:
                detour = partial(open_tunnel, entrance, may_use=may_use)
        try:
            await self._datagrams.find_path(
                remote.ufrag, remote.pwd, candidates, detour, doubts_udp=doubts_udp
            )
            try:
                async with asyncio.timeout(CONNECT_S_MAX):
                    await self._dtls.prove(remote.fp)
            except TimeoutError:
                raise HandshakeSlow(seconds=CONNECT_S_MAX) from None
        except LinkError as error:
            self._tell(LinkStatus.FAILED, str(error))
            return
        if self._over:
            return
        self._connected = True
        self._on_state(self.number, LinkStatus.CONNECTED, "")

    def send(self, packet: bytes) -> None:
        """One RTP packet; dropped if the link is not connected, the system takes no more or SRTP
        cannot count so far back."""
        if self._connected and self._may_begin(packet):
            protected = self._dtls.protect(packet)
            if protected is not None:
                self._datagrams.send_now(protected)

    def _may_begin(self, packet: bytes) -> bool:
        # Security: a voice that is about to wrap begins after it, or might never be heard here.
        # Test: test_link.py::test_a_voice_that_is_about_to_wrap_begins_after_it
        ssrc = packet[8:12]
        if ssrc not in self._begun:
            if wraps_soon(int.from_bytes(packet[2:4])):
                return False
            self._begun.add(ssrc)
        return True

    def send_control(self, data: bytes) -> None:
        """One RTCP datagram."""
        if self._connected:
            self._datagrams.send_now(self._dtls.protect_control(data))

    async def close(self) -> None:
        """Says goodbye to the other end and frees the sockets."""
        self._over = True
        self._connected = False
        await self._dtls.stop()
        async with self._gathering:  # a socket bound after the close would stay open
            await self._datagrams.close()

    # ── what comes in ────────────────────────────────────────────────────────────────────────

    def _voice(self, data: bytes) -> None:
        plain = self._dtls.unprotect(data)
        if plain is None:
            self.forged += 1
        elif not self._over:
            packet, is_control = plain
            (self._on_control if is_control else self._on_packet)(self.number, packet)

    def _networks(self) -> list[ipaddress.IPv4Network | ipaddress.IPv6Network] | None:
        """Those that the link may not leave; None if it may go anywhere."""
        return ice.attached_networks() if self._local_only else None

    def _hung_up(self) -> None:
        if self._connected:
            expired = self._datagrams.expired
            reason = "the other end answers no more" if expired else "closed by the other end"
            self._tell(LinkStatus.LOST, reason)

    def _tell(self, status: LinkStatus, reason: str) -> None:
        if not self._over:
            self._over = True
            self._connected = False
            self._on_state(self.number, status, reason)
