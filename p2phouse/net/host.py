"""The libp2p host behind a guard: everything of py-libp2p that p2phouse uses, but for gossip.

py-libp2p 0.8.1 as shipped dies of one exception in any stream handler, offers unauthenticated
transports, keeps the place of each connection that ever came, dials by itself and logs to stderr.
Here it gets noise and strict yamux only, a guard around every stream, a door before every
handshake, no protocols but ours, and no will of its own. Importing this module costs a second, so
only `network.py` does it, when the network starts.
"""

import ipaddress
import logging
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Final

import multiaddr
import nacl.signing
import trio
from libp2p import new_host
from libp2p.abc import IMuxedConn, IRawConnection, ISecureConn
from libp2p.crypto.ed25519 import Ed25519PrivateKey
from libp2p.crypto.keys import KeyPair
from libp2p.crypto.x25519 import create_new_key_pair as new_noise_key_pair
from libp2p.exceptions import ParseError
from libp2p.host.basic_host import BasicHost
from libp2p.io.abc import Reader
from libp2p.io.trio import TrioTCPStream
from libp2p.network.config import ConnectionConfig, RetryConfig
from libp2p.network.connection import swarm_connection
from libp2p.network.connection.swarm_connection import SwarmConn
from libp2p.network.exceptions import SwarmException
from libp2p.network.stream.net_stream import NetStream
from libp2p.peer.id import ID
from libp2p.protocol_muxer import multiselect_communicator
from libp2p.rcmgr import Direction
from libp2p.security.noise.transport import PROTOCOL_ID as NOISE
from libp2p.security.noise.transport import Transport as NoiseTransport
from libp2p.stream_muxer.yamux.yamux import PROTOCOL_ID as YAMUX
from libp2p.utils.varint import read_varint_prefixed_bytes_limited

from p2phouse.errors import LinkError, PeerError
from p2phouse.identity.keys import PEER_ID_PREFIX
from p2phouse.net.addresses import Address, Circuit, IPAddress, IPNetwork, Way, pack
from p2phouse.net.circuit import HOP, CircuitConnection, ask_for_circuit, circuit_of
from p2phouse.net.door import Door, crowd_of, is_near, to_close
from p2phouse.net.faults import Faults, cause, place
from p2phouse.net.muxer import StrictYamux
from p2phouse.net.quiet import quieten
from p2phouse.net.rates import Buckets
from p2phouse.net.wire import Wire, shielded
from p2phouse.vocabulary import DeviceKey, Now, key_short

log = logging.getLogger(__name__)

CONNECTIONS_MAX: Final = 128  # of one more, `door.to_close` says which leaves
CONNECTIONS_HARD_MAX: Final = 160  # for those that are just closing
CONNECTIONS_PER_PEER_MAX: Final = 3  # both ends may dial at once, and one may have come back
STREAMS_PER_PEER_MAX: Final = 32  # inbound at one time; we use five kinds
STREAMS_A_SECOND: Final = 8.0  # a stream costs 5 ms, whatever then becomes of it
STREAMS_BURST: Final = 64.0
HANDSHAKE_S: Final = 5.0  # three round trips and two lost packets
NEGOTIATE_S: Final = 5.0  # naming a protocol takes one round trip
NEGOTIATION_BYTES_MAX: Final = 1_024  # a protocol id has 20
OPEN_S: Final = 6.0  # longer than NEGOTIATE_S, so that the stream ends cleanly first
CLOSE_S: Final = 1.0


class CannotListen(LinkError):
    """libp2p could not listen on any address: {reason}."""


class HostEnded(LinkError):
    """libp2p's host ended of its own accord."""


class NotConnected(LinkError):
    """There is no connection to that node."""


class DialRefused(LinkError):
    """That address does not answer as it should: {reason}."""


class ForeignKey(PeerError):
    """A peer without an Ed25519 key connected."""


def peer_id_of(dev: DeviceKey) -> ID:
    return ID(PEER_ID_PREFIX + dev)


def device_of(peer_id: ID) -> DeviceKey:
    """Raises ForeignKey for RSA, secp256k1 and hashed keys, which no p2phouse device has."""
    data = peer_id.to_bytes()
    if len(data) != 38 or not data.startswith(PEER_ID_PREFIX):
        raise ForeignKey
    return DeviceKey(data[6:])


class Host:
    """One life of the host under our device key; `lives.py` has the next when it ends."""

    def __init__(
        self,
        device_key: nacl.signing.SigningKey,
        *,
        clock: Callable[[], Now],
        faults: Faults,
        networks: Callable[[], Sequence[IPNetwork]],
        protected: Callable[[DeviceKey], bool],
        peer_up: Callable[[DeviceKey, Way | None], None],
        peer_down: Callable[[DeviceKey], None],
        lost: Callable[[DeviceKey], None],
    ) -> None:
        """networks: those this machine is attached to now; protected: whether a peer stays when
        there are too many.

        peer_up: called for each connection with the device and, if we dialled, the way to it;
        peer_down: called when the last connection of a device is gone; lost: when any of them is.
        None may block.
        """
        self.dev = DeviceKey(bytes(device_key.verify_key))
        self._clock = clock
        self._faults = faults
        self._networks = networks
        self._protected = protected
        self._peer_up = peer_up
        self._peer_down = peer_down
        self._lost = lost
        self._door = Door(networks)
        self._inbound: Counter[DeviceKey] = Counter()
        self._stream_rates = Buckets(STREAMS_A_SECOND, STREAMS_BURST, CONNECTIONS_HARD_MAX)
        self._since: dict[SwarmConn, float] = {}  # every connection that was told about
        self._circuits: dict[SwarmConn, Circuit] = {}  # those of them that a relay carries
        self._ending = False
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
        swarm.register_notifee(_Notifee(self._connected, self._disconnected))
        # Identify tells every peer all our addresses, and its push lets any peer write into our
        # address book. We ask for neither, and hello says what must be known.
        for protocol in list(self.libp2p.multiselect.handlers):
            self.libp2p.remove_stream_handler(protocol)
        self.libp2p._schedule_identify = _ignore
        unguarded = self.libp2p._swarm_stream_handler  # negotiation and then the protocol's handler

        async def guarded(stream: NetStream) -> None:
            await self._serve(stream, unguarded)

        swarm.set_stream_handler(guarded)
        upgrade = self._upgrade_inbound = swarm.upgrade_inbound_raw_conn

        async def upgrade_and_stay(raw: IRawConnection, listener: multiaddr.Multiaddr) -> None:
            _locate(raw)
            await self._welcome(raw, lambda: upgrade(raw, listener))

        swarm.upgrade_inbound_raw_conn = upgrade_and_stay
        upgrade_outbound = swarm.upgrade_outbound_raw_conn

        async def locate_and_upgrade(raw: IRawConnection, *more: object) -> SwarmConn:
            _locate(raw)
            return await upgrade_outbound(raw, *more)

        swarm.upgrade_outbound_raw_conn = locate_and_upgrade
        muxers = swarm.upgrader.muxer_multistream

        async def new_muxer(conn: ISecureConn, peer_id: ID) -> IMuxedConn:
            await muxers.select_transport(conn)
            return StrictYamux(conn, peer_id, flooded=lambda: self._flooded(peer_id))

        muxers.new_conn = new_muxer

    # ── inbound ──────────────────────────────────────────────────────────────────────────────

    async def _welcome(
        self, raw: IRawConnection, upgrade: Callable[[], Awaitable[IMuxedConn]]
    ) -> None:
        """Lets an inbound connection through the handshake and stays with it to its end.

        Security: libp2p would keep its task and its place until the host ends, so that after 160
        connections, however short, nobody could come in any more.
        """
        remote = raw.get_remote_address()
        if remote is None:
            raise SwarmException("it went away")
        scope = trio.CancelScope()
        now = self._clock().mono
        handshake = self._door.enter(now, ipaddress.ip_address(remote[0]), scope.cancel)
        if handshake is None:
            self._faults.count("arrivals_refused")
            raise SwarmException("refused")
        try:
            with scope:
                muxed = await upgrade()
        finally:
            self._door.leave(handshake)
        if scope.cancelled_caught:
            self._faults.count("handshakes_given_way")
            raise SwarmException("gave way to another")
        await muxed.event_closed.wait()
        raise SwarmException("it has ended")  # whereupon libp2p frees what it holds

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
            if self._inbound[dev] < STREAMS_PER_PEER_MAX and self._stream_rates.take(
                dev, self._clock().mono
            ):
                self._inbound[dev] += 1
                try:
                    await unguarded(stream)
                    await self._wire(stream, dev).finish()
                finally:
                    self._inbound[dev] -= 1
                return
            self._faults.count("streams_refused", dev=dev)
        except Exception as error:
            # Broad on purpose, see above; never BaseException: trio.Cancelled must pass.
            if not isinstance(error, LinkError):
                self.blame(dev, error)
        finally:
            if dev is not None and not self._inbound[dev]:
                del self._inbound[dev]
        await self._wire(stream, dev or DeviceKey(b"")).reset()

    def blame(self, dev: DeviceKey | None, error: Exception) -> None:
        """Counts a fault; the peer it is proved against is cut off after 100 in a minute."""
        if isinstance(error, PeerError):
            self._faults.count("peer_error", error, dev=dev)
        else:
            self._faults.count("stream_failed", f"{cause(error)} at {place(error)}", dev=dev)
        if dev is not None and self._faults.blame(self._clock().mono, dev):
            self.drop(dev)

    def _flooded(self, peer_id: ID) -> None:
        try:
            self._faults.count("flooded", dev=device_of(peer_id))
        except ForeignKey:
            self._faults.count("flooded")

    # ── life ─────────────────────────────────────────────────────────────────────────────────

    @asynccontextmanager
    async def run(self) -> AsyncIterator[None]:
        """Lives while the block runs. Raises a group when libp2p dies under us."""
        async with trio.open_nursery() as self._nursery:
            async with self.libp2p.run([]):
                try:
                    self._nursery.start_soon(self._watch)
                    yield
                finally:
                    await self.close()
            self._nursery.cancel_scope.cancel()

    async def listen(self, addresses: Sequence[Address]) -> None:
        """Lets peers in at these addresses too. Raises CannotListen if none of them works.

        Not before gossip runs: whoever comes sooner is told that we do not take part, and believes
        it for ten seconds.
        """
        if not await self._swarm.listen(*[multiaddr.Multiaddr(str(each)) for each in addresses]):
            raise CannotListen(reason="every one is taken")

    async def _watch(self) -> None:
        """Raises when libp2p's service ends quietly, which would leave a node that hears nobody."""
        await self._swarm.manager.wait_finished()
        if not self._ending and not self._swarm.manager.did_error:  # else it has its own error
            raise HostEnded

    async def close(self) -> None:
        """Closes listeners and connections; without it they outlive `run`. Never raises.

        Sockets go first, so that whoever is stuck in a shielded write ends at once. libp2p closes
        one connection after another with a pause of 0.2 s each; all at once, that is 0.2 s.
        """
        self._ending = True
        for end in (self._stop_listening, self._close_connections, self.libp2p.close):
            with shielded(CLOSE_S):
                try:
                    await end()
                except Exception as error:
                    # Broad: it is the end, and the next step must be taken all the same.
                    log.warning("close_failed error=%s at=%s", cause(error), place(error))

    async def _stop_listening(self) -> None:
        async with trio.open_nursery() as nursery:
            for listener in self._swarm.listeners.values():
                nursery.start_soon(listener.close)

    async def _close_connections(self) -> None:
        async with trio.open_nursery() as nursery:
            for connection in self._connections():
                nursery.start_soon(_close, connection)

    def _connections(self) -> set[SwarmConn]:
        """All of them, also those that a dying libp2p has struck from its list unclosed."""
        return {conn for conns in self._swarm.connections.values() for conn in conns} | {
            *self._since
        }

    # ── peers ────────────────────────────────────────────────────────────────────────────────

    def connected(self, dev: DeviceKey) -> bool:
        return bool(self._swarm.get_connections(peer_id_of(dev)))

    def peers(self) -> list[DeviceKey]:
        return list({device_of(each.muxed_conn.peer_id) for each in self._since})

    def directly(self, dev: DeviceKey) -> bool:
        """Whether one of its connections has no relay in it."""
        connections = self._swarm.get_connections(peer_id_of(dev))
        return any(each not in self._circuits for each in connections)

    def leads_through(self, dev: DeviceKey) -> bool:
        """Whether it is the relay of a circuit of ours."""
        return any(circuit.through == dev for circuit in self._circuits.values())

    def reached_at(self, dev: DeviceKey) -> Address | None:
        """Where this node dialled the peer with success; None if the peer came to us."""
        for connection in self._swarm.get_connections(peer_id_of(dev)):
            if connection.direction == Direction.OUTBOUND:
                remote = _remote(connection)
                if remote is not None:
                    return remote
        return None

    def near(self, dev: DeviceKey) -> bool:
        """Whether each of its connections comes from this machine or an attached network."""
        connections = self._swarm.get_connections(peer_id_of(dev))
        return bool(connections) and all(map(self._is_near, connections))

    def ips(self, dev: DeviceKey) -> set[IPAddress]:
        """Where its connections come from."""
        return set(map(_ip, self._swarm.get_connections(peer_id_of(dev))))

    async def dial(self, dev: DeviceKey, address: Address) -> None:
        """Connects. Raises DialRefused. The handshake proves that `dev` answers, or it fails."""
        peer_id = peer_id_of(dev)
        self._swarm.unblock_peer(peer_id)  # else one failure bars the peer for 60 s
        try:
            connection = await self._swarm.dial_addr(multiaddr.Multiaddr(str(address)), peer_id)
        except Exception as error:
            # A broken handshake leaves libp2p by whichever of its layers was at work.
            raise DialRefused(reason=cause(error)) from error
        # Security: addresses come from strangers, so who answers is believed only by its key.
        if connection.muxed_conn.peer_id != peer_id:
            await _close(connection)
            raise DialRefused(reason="somebody else answers there")

    async def dial_through(self, dev: DeviceKey, circuit: Circuit) -> None:
        """Connects over a relay that we are connected to. Raises LinkError or PeerError.

        The relay passes on what it cannot read: the handshake is with `dev` itself.
        """
        wire = await self.open(circuit.through, HOP)
        try:
            await ask_for_circuit(wire, dev)
            raw = CircuitConnection(wire, circuit, initiator=True)
            await self._swarm.upgrade_outbound_raw_conn(raw, peer_id_of(dev))
        except BaseException as error:
            # Broad: cancelled too, as another way was quicker, or the relay would keep the circuit
            # for two hours. What libp2p raises is put in our words as in `dial`.
            await wire.reset()
            if isinstance(error, LinkError | PeerError) or not isinstance(error, Exception):
                raise
            raise DialRefused(reason=cause(error)) from error

    async def welcome(self, wire: Wire, circuit: Circuit) -> None:
        """Lets in who comes over a circuit, and stays with the connection to its end."""
        raw = CircuitConnection(wire, circuit, initiator=False)
        try:
            muxed = await self._upgrade_inbound(raw, multiaddr.Multiaddr(pack(circuit)))
        except Exception as error:
            # As in `dial`.
            raise DialRefused(reason=cause(error)) from error
        await muxed.event_closed.wait()

    async def open(self, dev: DeviceKey, protocol: str) -> Wire:
        """A new stream to a connected peer. Raises NotConnected or DialRefused."""
        if not self.connected(dev):
            raise NotConnected
        # Cancelled half-way, libp2p would forget a stream that the peer holds open.
        with shielded(OPEN_S):
            try:
                stream = await self.libp2p.new_stream(peer_id_of(dev), [protocol])
            except Exception as error:
                # As in `dial`.
                raise DialRefused(reason=cause(error)) from error
            return self._wire(stream, dev)
        raise DialRefused(reason="it does not answer")

    def serve(
        self,
        protocol: str,
        handler: Callable[[Wire], Awaitable[None]],
        *,
        a_second: float,
        burst: float,
    ) -> None:
        """Each inbound stream of `protocol` runs `handler`; its PeerErrors are counted.

        a_second, burst: how many such streams one peer may open.
        """
        rates = Buckets(a_second, burst, CONNECTIONS_HARD_MAX)

        async def handle(stream: NetStream) -> None:
            dev = device_of(stream.muxed_conn.peer_id)
            wire = self._wire(stream, dev)
            if rates.take(dev, self._clock().mono):
                await handler(wire)
            else:
                self._faults.count("streams_too_fast", dev=dev)
                await wire.reset()

        self.libp2p.set_stream_handler(protocol, handle)

    def drop(self, dev: DeviceKey) -> None:
        """Closes every connection to the peer, in the background."""
        for connection in list(self._swarm.get_connections(peer_id_of(dev))):
            self._nursery.start_soon(_close, connection)

    def _connected(self, connection: SwarmConn) -> None:
        try:
            dev = device_of(connection.muxed_conn.peer_id)
        except ForeignKey:
            self._faults.count("foreign_key")
            self._nursery.start_soon(_close, connection)
            return
        if self._faults.is_banned(self._clock().mono, dev):
            self._faults.count("banned_came", dev=dev)
            self._nursery.start_soon(_close, connection)
            return
        outbound = connection.direction == Direction.OUTBOUND
        circuit = circuit_of(connection)
        log.info(
            "connected peer=%s outbound=%s circuit=%s",
            key_short(dev),
            outbound,
            circuit is not None,
        )
        self._since[connection] = self._clock().mono
        if circuit is not None:
            self._circuits[connection] = circuit
        self._peer_up(dev, circuit or _remote(connection) if outbound else None)
        self._make_room(dev)

    def _make_room(self, dev: DeviceKey) -> None:
        """Closes what is too much, be it a connection that has just come."""
        own = sorted(
            (each for each in self._since if each.muxed_conn.peer_id == peer_id_of(dev)),
            key=self._since.__getitem__,
        )
        if len(own) > CONNECTIONS_PER_PEER_MAX:
            # The oldest, as a peer that was killed and is back knows nothing of it.
            self._give_up(own[0])
        if len(self._since) > CONNECTIONS_MAX:
            leaves = to_close(
                [
                    (each, crowd_of(_ip(each), self._networks()), since)
                    for each, since in self._since.items()
                    if each.direction != Direction.OUTBOUND
                    and not self._protected(device_of(each.muxed_conn.peer_id))
                ]
            )
            if leaves is not None:
                self._give_up(leaves)

    def _give_up(self, connection: SwarmConn) -> None:
        self._faults.count("connections_refused", dev=device_of(connection.muxed_conn.peer_id))
        self._since.pop(connection, None)
        self._nursery.start_soon(_close, connection)

    def _disconnected(self, connection: SwarmConn) -> None:
        self._since.pop(connection, None)
        self._circuits.pop(connection, None)
        try:
            dev = device_of(connection.muxed_conn.peer_id)
        except ForeignKey:
            return
        self._lost(dev)
        if not self.connected(dev):
            log.info("disconnected peer=%s", key_short(dev))
            self._peer_down(dev)

    def _wire(self, stream: NetStream, dev: DeviceKey) -> Wire:
        connection = stream.swarm_conn
        relayed = connection in self._circuits
        return Wire(stream, dev, near=self._is_near(connection), relayed=relayed)

    def _is_near(self, connection: SwarmConn) -> bool:
        return is_near(_ip(connection), self._networks())


def _new_host(device_key: nacl.signing.SigningKey) -> BasicHost:
    _tame_libp2p()
    private = Ed25519PrivateKey.from_bytes(bytes(device_key))
    key_pair = KeyPair(private, private.get_public_key())
    # Security: by default libp2p also accepts plaintext and SECIO, where a peer may claim any key.
    noise = NoiseTransport(key_pair, noise_privkey=new_noise_key_pair().private_key)
    return new_host(
        key_pair=key_pair,
        sec_opt={NOISE: noise},
        muxer_opt={YAMUX: StrictYamux},
        disable_identify_address_discovery=True,
        negotiate_timeout=int(NEGOTIATE_S),
        connection_config=ConnectionConfig(
            max_connections=CONNECTIONS_HARD_MAX,
            min_connections=0,
            low_watermark=0,
            high_watermark=CONNECTIONS_HARD_MAX,
            max_connections_per_peer=CONNECTIONS_HARD_MAX,  # ours is kept by `_make_room`
            inbound_upgrade_timeout=HANDSHAKE_S,
            outbound_upgrade_timeout=HANDSHAKE_S,
            outbound_stream_protocol_negotiation_timeout=NEGOTIATE_S,
            inbound_stream_protocol_negotiation_timeout=NEGOTIATE_S,
        ),
    )


def _tame_libp2p() -> None:
    """What can only be mended for all hosts of this process at once."""
    quieten("libp2p", logging.ERROR)
    # This module calls logging.debug() itself, which would give the root logger a stderr handler.
    swarm_connection.logging = logging.getLogger("libp2p.network.connection")
    # Security: a negotiation has no limit of its own, so a stranger could make us collect
    # megabytes before it has proved any key.
    multiselect_communicator.read_delim = _read_delimited


async def _read_delimited(reader: Reader) -> bytes:
    """One message of multistream-select: a varint, a text and a line feed."""
    data: bytes = await read_varint_prefixed_bytes_limited(reader, NEGOTIATION_BYTES_MAX)
    if not data.endswith(b"\n"):
        raise ParseError("no line feed at the end")
    return data[:-1]


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


async def _do_nothing() -> None:
    return


def _ignore(*unused: object, **unused_too: object) -> None:
    return


async def _refuse_to_dial(peer_id: ID) -> list[SwarmConn]:
    raise SwarmException("not connected")


async def _close(connection: SwarmConn) -> None:
    """Closes one connection, its socket first: a peer that takes no bytes cannot hold it up."""
    with shielded(CLOSE_S):
        try:
            await connection.muxed_conn.cut()
            await connection.close()
        except Exception as error:
            # It was closing already; there is nobody left to tell.
            log.debug("close_failed error=%s", cause(error))


def _locate(raw: IRawConnection) -> None:
    """libp2p knows where a connection comes from by IPv4 alone; of IPv6 it says that it is gone."""
    stream = getattr(raw, "stream", None)
    if isinstance(stream, TrioTCPStream) and stream.get_remote_address() is None:
        with suppress(OSError):  # it really is gone
            host, port, *_ = stream.stream.socket.getpeername()
            stream._cached_remote_address = (host, port)


def _remote(connection: SwarmConn) -> Address | None:
    remote = connection.muxed_conn.get_remote_address()
    return Address(ipaddress.ip_address(remote[0]), remote[1]) if remote else None


def _ip(connection: SwarmConn) -> IPAddress:
    """Where the connection comes from; an address of nobody's if libp2p does not know."""
    remote = _remote(connection)
    return remote.ip if remote else ipaddress.IPv4Address(0)
