"""The libp2p host behind a guard: everything of py-libp2p that p2phouse uses, but for gossip.

py-libp2p 0.8.1 as shipped dies of one exception in any stream handler, offers unauthenticated
transports, dials by itself and logs to stderr. Here it gets noise and yamux only, a guard around
every stream, a gate before every handshake, and no will of its own. Importing this module costs a
second, so only `network.py` does it, when the network starts.
"""

import ipaddress
import logging
import os
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Final

import multiaddr
import nacl.signing
import trio
from libp2p import new_host
from libp2p.crypto.ed25519 import Ed25519PrivateKey
from libp2p.crypto.keys import KeyPair
from libp2p.crypto.x25519 import create_new_key_pair as new_noise_key_pair
from libp2p.host.basic_host import BasicHost
from libp2p.network.config import ConnectionConfig, RetryConfig
from libp2p.network.connection import swarm_connection
from libp2p.network.connection.swarm_connection import SwarmConn
from libp2p.network.exceptions import SwarmException
from libp2p.network.stream.net_stream import NetStream
from libp2p.peer.id import ID
from libp2p.rcmgr import Direction
from libp2p.security.noise.transport import PROTOCOL_ID as NOISE
from libp2p.security.noise.transport import Transport as NoiseTransport
from libp2p.stream_muxer.yamux.yamux import PROTOCOL_ID as YAMUX
from libp2p.stream_muxer.yamux.yamux import Yamux

from p2phouse.errors import LinkError, PeerError
from p2phouse.net.addresses import Address
from p2phouse.net.faults import Faults, is_worth_a_line
from p2phouse.net.rates import Buckets
from p2phouse.net.wire import Wire, shielded
from p2phouse.vocabulary import DeviceKey, Now, key_short

log = logging.getLogger(__name__)

CONNECTIONS_MAX: Final = 160  # 128 peers, some of them twice: both ends may dial at once
CONNECTIONS_PER_IP_MAX: Final = 8  # one machine, or a household behind one router
STREAMS_PER_PEER_MAX: Final = 32  # inbound at one time; we use five kinds
NEGOTIATE_S: Final = 5.0  # naming a protocol takes one round trip
OPEN_S: Final = 6.0  # longer than NEGOTIATE_S, so that the stream ends cleanly first
CLOSE_S: Final = 1.0
ARRIVALS_BURST: Final = 16  # handshakes from one address at once, each dying by itself after 10 s
ARRIVALS_A_SECOND: Final = 1.0
LOCAL_ARRIVALS_FACTOR: Final = 8  # on one machine many nodes share 127.0.0.1

# A PeerId of an Ed25519 key is the key itself behind a fixed head.
# Spec: https://github.com/libp2p/specs/blob/master/peer-ids/peer-ids.md
_PEER_ID_HEAD: Final = bytes.fromhex("002408011220")


class CannotListen(LinkError):
    """libp2p could not listen on any address: {reason}."""


class NotConnected(LinkError):
    """There is no connection to that node."""


class DialRefused(LinkError):
    """That address does not answer as it should: {reason}."""


class ForeignKey(PeerError):
    """A peer without an Ed25519 key connected."""


def peer_id_of(dev: DeviceKey) -> ID:
    return ID(_PEER_ID_HEAD + dev)


def device_of(peer_id: ID) -> DeviceKey:
    """Raises ForeignKey for RSA, secp256k1 and hashed keys, which no p2phouse device has."""
    data = peer_id.to_bytes()
    if len(data) != 38 or not data.startswith(_PEER_ID_HEAD):
        raise ForeignKey
    return DeviceKey(data[6:])


class _ToOurLog(logging.Handler):
    """libp2p's errors, counted by their place in its source; its warnings are ordinary life.

    Their texts name whole PeerIds and addresses, and a stranger can cause any number of them.
    """

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self._seen: Counter[tuple[str, int]] = Counter()

    def emit(self, record: logging.LogRecord) -> None:
        self._seen[record.name, record.lineno] += 1
        count = self._seen[record.name, record.lineno]
        if is_worth_a_line(count):
            log.info("libp2p_error at=%s:%d count=%d", record.name, record.lineno, count)


def _quieten_libp2p() -> None:
    logger = logging.getLogger("libp2p")
    logger.propagate = False
    logger.setLevel(logging.ERROR)
    if not any(isinstance(handler, _ToOurLog) for handler in logger.handlers):
        logger.addHandler(_ToOurLog())
    # This module calls logging.debug() itself, which would give the root logger a stderr handler.
    swarm_connection.logging = logging.getLogger("libp2p.network.connection")


class _Gate:
    """Who may begin a handshake; asked by the swarm for every accepted socket."""

    def __init__(self, clock: Callable[[], Now], faults: Faults) -> None:
        self._clock = clock
        self._faults = faults
        self._far = Buckets(ARRIVALS_A_SECOND, ARRIVALS_BURST, sources_max=1_024)
        self._local = Buckets(
            ARRIVALS_A_SECOND * LOCAL_ARRIVALS_FACTOR, ARRIVALS_BURST * LOCAL_ARRIVALS_FACTOR, 256
        )

    async def is_allowed(self, remote: multiaddr.Multiaddr) -> bool:
        # Security: a handshake costs 10 ms and a place for 10 s; without this one address could
        # hold all places for ever by connecting and saying nothing.
        ip = ipaddress.ip_address(next(iter(remote.values())))
        buckets = self._local if ip.is_loopback else self._far
        if buckets.take(ip, self._clock().mono):
            return True
        self._faults.count("arrivals_refused")
        return False


class _Notifee:
    """libp2p's view of an observer; it awaits each call on its own path, so none may block."""

    def __init__(
        self, connected: Callable[[SwarmConn], None], disconnected: Callable[[SwarmConn], None]
    ) -> None:
        self._connected = connected
        self._disconnected = disconnected

    async def connected(self, network: object, conn: SwarmConn) -> None:
        self._connected(conn)

    async def disconnected(self, network: object, conn: SwarmConn) -> None:
        self._disconnected(conn)

    async def _nothing(self, *unused: object) -> None:
        return

    opened_stream = closed_stream = listen = listen_close = _nothing


class Host:
    """One life of the host under our device key; `network.py` builds the next when it ends."""

    def __init__(
        self,
        device_key: nacl.signing.SigningKey,
        *,
        clock: Callable[[], Now],
        faults: Faults,
        peer_up: Callable[[DeviceKey, Address | None], None],
        peer_down: Callable[[DeviceKey], None],
    ) -> None:
        """peer_up: called for each connection with the device and, if we dialled, its address.

        peer_down: called when the last connection of a device is gone. Neither may block.
        """
        self._clock = clock
        self._faults = faults
        self._peer_up = peer_up
        self._peer_down = peer_down
        self._inbound: Counter[DeviceKey] = Counter()
        self.libp2p = _new_host(device_key)
        self._swarm = self.libp2p.get_network()
        self._guard()

    def _guard(self) -> None:
        swarm = self._swarm
        # The swarm must never act by itself: our dialer alone decides whom to connect to.
        swarm.auto_connector.maybe_connect = _do_nothing
        swarm.dial_peer = _refuse_to_dial
        swarm.retry_config = RetryConfig(max_retries=0)
        # Its limits are a server's (1,000 connections); ours stand at the head of this module.
        swarm.set_resource_manager(None)
        swarm.connection_gate = _Gate(self._clock, self._faults)
        swarm.register_notifee(_Notifee(self._connected, self._disconnected))
        unguarded = self.libp2p._swarm_stream_handler  # negotiation and then the protocol's handler

        async def guarded(stream: NetStream) -> None:
            await self._serve(stream, unguarded)

        swarm.set_stream_handler(guarded)

    async def _serve(
        self, stream: NetStream, unguarded: Callable[[NetStream], Awaitable[None]]
    ) -> None:
        """Runs one inbound stream to its end, whatever happens in it.

        Security: an exception that left here would end the host for everybody, and 50 bytes on
        /meshsub/1.1.0 are enough to raise one inside libp2p.
        """
        dev: DeviceKey | None = None
        try:
            dev = device_of(stream.muxed_conn.peer_id)
            if self._inbound[dev] >= STREAMS_PER_PEER_MAX:
                self._faults.count("streams_refused", dev=dev)
                await Wire(stream, dev).reset()
                return
            self._inbound[dev] += 1
            try:
                await unguarded(stream)
            finally:
                self._inbound[dev] -= 1
                if not self._inbound[dev]:
                    del self._inbound[dev]
        except Exception as error:
            # Broad on purpose, see above; never BaseException: trio.Cancelled must pass.
            if not isinstance(error, LinkError):
                self.blame(dev, error)
            await Wire(stream, dev or DeviceKey(b"")).reset()

    def blame(self, dev: DeviceKey | None, error: Exception) -> None:
        """Counts a fault; the peer it is proved against is cut off after 100 in a minute."""
        kind = "peer_error" if isinstance(error, PeerError) else "stream_failed"
        self._faults.count(kind, repr(error), dev=dev)
        if dev is not None and self._faults.blame(self._clock().mono, dev):
            self.drop(dev)

    # ── life ─────────────────────────────────────────────────────────────────────────────────

    @asynccontextmanager
    async def run(self, addresses: Sequence[Address]) -> AsyncIterator[trio.Nursery]:
        """Listens while the block runs; yields a nursery that ends with the host.

        Raises CannotListen, or a group when libp2p dies under us.
        """
        listen = [multiaddr.Multiaddr(str(address)) for address in addresses]
        async with trio.open_nursery() as self._nursery:
            async with self.libp2p.run(listen):
                try:
                    if not self.libp2p.get_transport_addrs():
                        raise CannotListen(reason="every one is taken")
                    yield self._nursery
                finally:
                    await self.close()
            self._nursery.cancel_scope.cancel()

    async def close(self) -> None:
        """Closes connections and listeners; without it they outlive `run`. Never raises.

        Sockets go first, so that whoever is stuck in a shielded write ends at once. libp2p closes
        one connection after another with a pause of 0.2 s each; all at once, that is 0.2 s.
        """
        with shielded(CLOSE_S):
            async with trio.open_nursery() as nursery:
                for connection in self._connections():
                    nursery.start_soon(_close_quietly, connection)
        with shielded(CLOSE_S):
            await self.libp2p.close()

    def _connections(self) -> list[SwarmConn]:
        return [conn for conns in self._swarm.connections.values() for conn in conns]

    # ── peers ────────────────────────────────────────────────────────────────────────────────

    def connected(self, dev: DeviceKey) -> bool:
        return bool(self._swarm.get_connections(peer_id_of(dev)))

    async def dial(self, dev: DeviceKey, address: Address) -> None:
        """Connects. Raises DialRefused. The handshake proves that `dev` answers, or it fails."""
        peer_id = peer_id_of(dev)
        self._swarm.unblock_peer(peer_id)  # else one failure bars the peer for 60 s
        try:
            connection = await self._swarm.dial_addr(multiaddr.Multiaddr(str(address)), peer_id)
        except SwarmException as error:
            raise DialRefused(reason=_reason(error)) from error
        except Exception as error:
            # A broken handshake leaves libp2p by whichever of its layers was at work.
            raise DialRefused(reason=type(error).__name__) from error
        # Security: addresses come from strangers, so who answers is believed only by its key.
        assert connection.muxed_conn.peer_id == peer_id

    async def open(self, dev: DeviceKey, protocol: str) -> Wire:
        """A new stream to a connected peer. Raises NotConnected or DialRefused."""
        if not self.connected(dev):
            raise NotConnected
        with trio.move_on_after(OPEN_S):
            try:
                return Wire(await self.libp2p.new_stream(peer_id_of(dev), [protocol]), dev)
            except Exception as error:
                # As in `dial`.
                raise DialRefused(reason=_reason(error)) from error
        raise DialRefused(reason="it does not answer")

    def serve(self, protocol: str, handler: Callable[[Wire], Awaitable[None]]) -> None:
        """Each inbound stream of `protocol` runs `handler`; its PeerErrors are counted."""

        async def handle(stream: NetStream) -> None:
            await handler(Wire(stream, device_of(stream.muxed_conn.peer_id)))

        self.libp2p.set_stream_handler(protocol, handle)

    def drop(self, dev: DeviceKey) -> None:
        """Closes every connection to the peer, in the background."""
        for connection in list(self._swarm.get_connections(peer_id_of(dev))):
            self._nursery.start_soon(_close_quietly, connection)

    def protect(self, dev: DeviceKey) -> None:
        """Its connections are not trimmed when there are too many."""
        self._swarm.protect(peer_id_of(dev), "room")

    def unprotect(self, dev: DeviceKey) -> None:
        self._swarm.unprotect(peer_id_of(dev), "room")

    def _connected(self, connection: SwarmConn) -> None:
        try:
            dev = device_of(connection.muxed_conn.peer_id)
        except ForeignKey:
            self._faults.count("foreign_key")
            self._nursery.start_soon(_close_quietly, connection)
            return
        if self._faults.is_banned(self._clock().mono, dev) or self._crowds(connection):
            self._faults.count("connections_refused", dev=dev)
            self._nursery.start_soon(_close_quietly, connection)
            return
        outbound = connection.direction == Direction.OUTBOUND
        log.info("connected peer=%s outbound=%s", key_short(dev), outbound)
        self._peer_up(dev, _remote(connection) if outbound else None)

    def _crowds(self, connection: SwarmConn) -> bool:
        """Whether its address holds more connections than one address may."""
        remote = _remote(connection)
        if remote is None or remote.ip.is_loopback:
            return False
        others = [_remote(other) for other in self._connections()]
        same = sum(other is not None and other.ip == remote.ip for other in others)
        return same > CONNECTIONS_PER_IP_MAX

    def _disconnected(self, connection: SwarmConn) -> None:
        try:
            dev = device_of(connection.muxed_conn.peer_id)
        except ForeignKey:
            return
        if not self.connected(dev):
            log.info("disconnected peer=%s", key_short(dev))
            self._peer_down(dev)


def _new_host(device_key: nacl.signing.SigningKey) -> BasicHost:
    _quieten_libp2p()
    private = Ed25519PrivateKey.from_bytes(bytes(device_key))
    key_pair = KeyPair(private, private.get_public_key())
    # Security: by default libp2p also accepts plaintext and SECIO, where a peer may claim any key.
    noise = NoiseTransport(key_pair, noise_privkey=new_noise_key_pair().private_key)
    return new_host(
        key_pair=key_pair,
        sec_opt={NOISE: noise},
        muxer_opt={YAMUX: Yamux},
        disable_identify_address_discovery=True,
        negotiate_timeout=int(NEGOTIATE_S),
        connection_config=ConnectionConfig(
            max_connections=CONNECTIONS_MAX,
            min_connections=0,
            low_watermark=0,
            high_watermark=CONNECTIONS_MAX,
            outbound_stream_protocol_negotiation_timeout=NEGOTIATE_S,
            inbound_stream_protocol_negotiation_timeout=NEGOTIATE_S,
        ),
    )


async def _do_nothing() -> None:
    return


async def _refuse_to_dial(peer_id: ID) -> list[SwarmConn]:
    raise SwarmException("not connected")


async def _close_quietly(connection: SwarmConn) -> None:
    with shielded(CLOSE_S):
        try:
            await connection.close()
        except Exception as error:
            # It was closing already; there is nobody left to tell.
            log.debug("close_failed error=%r", error)


def _remote(connection: SwarmConn) -> Address | None:
    remote = connection.muxed_conn.get_remote_address()
    return Address(ipaddress.ip_address(remote[0]), remote[1]) if remote else None


def _reason(error: BaseException) -> str:
    """The innermost cause in a few words, without addresses."""
    inner: BaseException | None = error
    while inner is not None:
        error = inner
        inner = error.exceptions[0] if isinstance(error, BaseExceptionGroup) else error.__cause__
    if isinstance(error, OSError) and error.errno is not None:
        return os.strerror(error.errno).lower()
    return type(error).__name__
