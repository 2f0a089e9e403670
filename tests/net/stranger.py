"""A peer that keeps to nothing: a bare libp2p host without guard or manners, to send what we must
survive."""

import secrets
from contextlib import asynccontextmanager

import multiaddr
import trio
from libp2p import new_host
from libp2p.crypto.ed25519 import Ed25519PrivateKey
from libp2p.crypto.keys import KeyPair
from libp2p.crypto.x25519 import create_new_key_pair
from libp2p.io.trio import TrioTCPStream
from libp2p.network.config import ConnectionConfig, RetryConfig
from libp2p.network.connection.raw_connection import RawConnection
from libp2p.security.noise.transport import PROTOCOL_ID as NOISE
from libp2p.security.noise.transport import Transport as NoiseTransport
from libp2p.stream_muxer.yamux.yamux import PROTOCOL_ID as YAMUX
from libp2p.stream_muxer.yamux.yamux import Yamux
from libp2p.transport.upgrader import TransportUpgrader

from p2phouse.net.host import peer_id_of
from p2phouse.vocabulary import DeviceKey


class Stranger:
    """Connects, opens streams of any protocol and writes any bytes on them."""

    def __init__(self, host, dev):
        self.libp2p = host
        self.dev = dev

    async def connect(self, node):
        """A connection to the node; each call makes another."""
        address = multiaddr.Multiaddr(f"/ip4/127.0.0.1/tcp/{node.network.port}")
        peer_id = peer_id_of(node.dev)
        self.libp2p.get_network().unblock_peer(peer_id)
        with trio.fail_after(10):
            return await self.libp2p.get_network().dial_addr(address, peer_id)

    async def open(self, node, protocol):
        with trio.fail_after(10):
            return await self.libp2p.new_stream(peer_id_of(node.dev), [protocol])


def new_key(number=None):
    """number: for a key that is the same in every run; without it a new one."""
    seed = secrets.token_bytes(32) if number is None else number.to_bytes(32, "big")
    private = Ed25519PrivateKey.from_bytes(seed)
    return KeyPair(private, private.get_public_key())


def noise_of(pair):
    return NoiseTransport(pair, noise_privkey=create_new_key_pair().private_key)


async def visit(node, nursery):
    """A connection under a new key, with no host behind it; returns its multiplexer."""
    tcp = await trio.open_tcp_stream("127.0.0.1", node.network.port)
    raw = RawConnection(TrioTCPStream(tcp), True)
    upgrader = TransportUpgrader({NOISE: noise_of(new_key())}, {YAMUX: Yamux})
    peer_id = peer_id_of(node.dev)
    try:
        secured = await upgrader.upgrade_security(raw, True, peer_id)
        muxed = await upgrader.upgrade_connection(secured, peer_id)
    except Exception:
        await tcp.aclose()
        raise
    nursery.start_soon(muxed.start)
    return muxed


@asynccontextmanager
async def stranger(number=None):
    pair = new_key(number)
    host = new_host(
        key_pair=pair,
        sec_opt={NOISE: noise_of(pair)},
        muxer_opt={YAMUX: Yamux},
        connection_config=ConnectionConfig(
            max_connections=1_000, min_connections=0, low_watermark=0, high_watermark=1_000
        ),
    )
    host.get_network().retry_config = RetryConfig(max_retries=0)
    async with host.run([]):
        try:
            yield Stranger(host, DeviceKey(pair.public_key.to_bytes()))
        finally:
            with trio.CancelScope(shield=True), trio.move_on_after(3):
                await host.close()
