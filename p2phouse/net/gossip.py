"""Cards to everybody: one gossipsub topic, configured by what was measured, guarded as it must be.

Nothing but cards travels here: a message costs every node 10 ms of CPU. Gossip has no past; who
connects later asks by `hall_exchange.py`. What libp2p reads from neighbours is read here instead:
its own reader starts a task for each message, believes any topic and dies of a junk key. Importing
this module imports libp2p.
"""

import logging
import time
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any, Final

import trio
from google.protobuf.message import DecodeError
from libp2p.network.stream.net_stream import NetStream
from libp2p.peer.id import ID
from libp2p.pubsub.gossipsub import GossipSub
from libp2p.pubsub.pb.rpc_pb2 import RPC, ControlMessage, Message
from libp2p.pubsub.pubsub import Pubsub
from libp2p.pubsub.validators import signature_validator
from libp2p.tools.anyio_service import background_trio_service

from p2phouse.errors import PeerError
from p2phouse.net.cards import Cards, Verdict
from p2phouse.net.faults import Faults
from p2phouse.net.host import Host, HostEnded, device_of, peer_id_of
from p2phouse.net.rates import Buckets, TokenBucket
from p2phouse.net.wire import Framing, Wire, WireBroken
from p2phouse.record.types import Card
from p2phouse.vocabulary import DeviceKey, Now

log = logging.getLogger(__name__)

TOPIC: Final = "/p2phouse/hall/1"
PROTOCOLS: Final = ("/meshsub/1.1.0", "/meshsub/1.0.0")
RPC_BYTES_MAX: Final = 64 * 1024
MESSAGE_BYTES_MAX: Final = Card.SIZE_MAX + 256  # sender, number, key and signature: 170 B
MESSAGES_PER_RPC_MAX: Final = 64
SUBSCRIPTIONS_PER_RPC_MAX: Final = 8
CONTROLS_PER_RPC_MAX: Final = 64
IDS_PER_RPC_MAX: Final = 512  # three beats of 40 messages are 120
PUBLISH_A_SECOND: Final = 3.0
HEARD_A_SECOND: Final = 20.0  # of one neighbour; more waits in its own connection
HEARD_BURST: Final = 60.0
ALL_NEW_A_SECOND: Final = 40.0  # messages not seen before: 40 % of a core at the very worst
ALL_NEW_BURST: Final = 120.0
ALL_HEARD_A_SECOND: Final = 200.0  # RPCs: a message comes from up to six neighbours
ALL_HEARD_BURST: Final = 400.0
NEIGHBOURS_MAX: Final = 256
MEND_S: Final = 10.0
MENDS_MAX: Final = 3

CardSink = Callable[[bytes, DeviceKey], Awaitable[None]]


class BadGossip(PeerError):
    """A neighbour gossiped against the protocol: {reason}."""


class Gossip:
    """The hall's topic during one life of the host."""

    def __init__(
        self,
        host: Host,
        *,
        cards: Cards,
        heard: CardSink,
        clock: Callable[[], Now],
        faults: Faults,
    ) -> None:
        """heard: may wait, and then gossip waits."""
        self._host = host
        self._cards = cards
        self._budget = _Queue(TokenBucket(PUBLISH_A_SECOND, PUBLISH_A_SECOND), clock)
        self._router = _Router(host, cards)
        self._pubsub = _Pubsub(
            host, self._router, cards=cards, heard=heard, clock=clock, faults=faults
        )

    @asynccontextmanager
    async def run(self) -> AsyncIterator[None]:
        """Takes part in the topic while the block runs; inside the host's own run."""
        try:
            async with background_trio_service(self._pubsub), background_trio_service(self._router):
                await self._pubsub.wait_until_ready()
                await self._pubsub.subscribe(TOPIC)
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._watch)
                    nursery.start_soon(self._mend)
                    try:
                        yield
                    finally:
                        nursery.cancel_scope.cancel()
        finally:
            self._pubsub.seen_messages.stop()  # a thread of its own, which libp2p forgets

    async def publish(self, data: bytes) -> None:
        """Tells the mesh; waits while more than three messages went out in the last second."""
        assert len(data) <= Card.SIZE_MAX, "a card of ours is too long"
        await self._budget.turn()
        self._cards.pass_on(data)
        await self._pubsub.publish(TOPIC, data)

    async def flush(self) -> None:
        """Until what was published is out of our queues, for as long as the caller lets it."""
        while any(map(len, self._pubsub.peer_queues.values())):  # noqa: ASYNC110 - libp2p's queue has no event for being empty
            await trio.sleep(0.01)

    def lost(self, dev: DeviceKey) -> None:
        """One of the peer's connections ended.

        A peer that is back before we saw it go still has the old stream in libp2p's books, which
        would tell it nothing for ever.
        """
        peer = peer_id_of(dev)
        stream = self._pubsub.peers.get(peer)
        if stream is not None and stream.muxed_conn.is_closed:
            self._pubsub._handle_dead_peer(peer)  # asks it anew if it is connected otherwise

    async def wait_for_mesh(self, dev: DeviceKey, *, seconds: float = 5.0) -> None:
        """Until the peer is a neighbour in the topic; for tests, which must not sleep."""
        await self._pubsub.wait_for_mesh(peer_id_of(dev), TOPIC, timeout=seconds)

    async def _watch(self) -> None:
        """Raises when one of libp2p's services ends quietly, which would leave a deaf node."""
        async with trio.open_nursery() as nursery:

            async def watch(service: Pubsub | GossipSub) -> None:
                await service.manager.wait_finished()
                if not service.manager.did_error:  # else it has its own error
                    raise HostEnded

            nursery.start_soon(watch, self._pubsub)
            nursery.start_soon(watch, self._router)

    async def _mend(self) -> None:
        """libp2p asks a new peer once for gossip; one too busy to answer then is asked again."""
        asked: dict[ID, int] = {}
        while True:
            await trio.sleep(MEND_S)
            deaf = [
                peer
                for peer in map(peer_id_of, self._host.peers())
                if peer not in self._pubsub.peers
            ]
            asked = {peer: asked.get(peer, 0) + 1 for peer in deaf}
            for peer, times in asked.items():
                if times <= MENDS_MAX:
                    self._pubsub._schedule_peer_stream_retry(peer)


class _Router(GossipSub):  # type: ignore[misc]  # libp2p's types do not hold
    """gossipsub 1.1 as it was measured to behave, which tells a lan room's cards to near ones."""

    def __init__(self, host: Host, cards: Cards) -> None:
        super().__init__(
            protocols=list(PROTOCOLS),
            degree=4,
            degree_low=3,
            degree_high=6,
            heartbeat_interval=1,  # the default of 120 s leaves a broken mesh alone for minutes
            heartbeat_initial_delay=0.2,
            prune_back_off=10,
            adaptive_gossip_enabled=False,  # it answers poor health with a beat of 60 s
            spam_protection_enabled=False,  # it punishes the forwarder of a busy room
            eclipse_protection_enabled=False,
        )
        self._host = host
        self._cards = cards
        # Only the adaptive beat empties these lists, and it is off.
        self.recent_message_deliveries: dict[str, deque[float]] = defaultdict(
            lambda: deque(maxlen=1)
        )

    def send_rpc(self, peer_id: ID, rpc: RPC, priority: bool = False) -> None:
        """Every message to a neighbour comes through here, a new card as well as one asked for."""
        outbound = RPC()
        outbound.CopyFrom(rpc)
        outbound.ClearField("senderRecord")  # tells all our addresses, and costs a signature
        if outbound.publish and not self._host.near(device_of(peer_id)):
            # Security: a lan room's cards stay on networks attached to this machine.
            for_all = [
                message
                for message in outbound.publish
                if self._cards.verdict(message.data) is not Verdict.TELL_NEAR
            ]
            del outbound.publish[:]
            outbound.publish.extend(for_all)
        if outbound.ByteSize():
            super().send_rpc(peer_id, outbound, priority)

    def remove_peer(self, peer_id: ID) -> None:
        super().remove_peer(peer_id)
        for peers in self.back_off.values():
            for peer in [peer for peer, until in peers.items() if until < time.time()]:
                del peers[peer]


class _Pubsub(Pubsub):  # type: ignore[misc]  # as above
    """Reads from neighbours what may be read, no faster than it can be dealt with."""

    def __init__(
        self,
        host: Host,
        router: _Router,
        *,
        cards: Cards,
        heard: CardSink,
        clock: Callable[[], Now],
        faults: Faults,
    ) -> None:
        super().__init__(
            host.libp2p,
            router,
            strict_signing=True,
            max_inbound_rpc_size=RPC_BYTES_MAX,
            max_subscriptions_per_peer=4,
            allowed_topics={TOPIC},  # else a peer fills our memory with topics it makes up
        )
        self._our_host = host
        self._cards = cards
        self._heard = heard
        self._clock = clock
        self._faults = faults
        self._neighbours = Buckets(HEARD_A_SECOND, HEARD_BURST, NEIGHBOURS_MAX)
        self._rpcs = _Queue(TokenBucket(ALL_HEARD_A_SECOND, ALL_HEARD_BURST), clock)
        self._messages = _Queue(TokenBucket(ALL_NEW_A_SECOND, ALL_NEW_BURST), clock)
        # libp2p counts from unix seconds, so a node that published more than one message a second
        # and restarts would use numbers again and be dropped as a duplicate.
        self.counter = time.time_ns() // 1_000

    def get_hello_packet(self) -> RPC:
        """What we subscribe to, without our addresses."""
        return RPC(subscriptions=[RPC.SubOpts(subscribe=True, topicid=TOPIC)])

    async def _handle_new_peer(self, peer_id: ID) -> None:
        # A volunteer's circuit is for what two people's nodes say to each other; cards come to
        # both from the relay itself.
        if self._our_host.directly(device_of(peer_id)):
            await super()._handle_new_peer(peer_id)

    async def stream_handler(self, stream: NetStream) -> None:
        """One neighbour's RPCs, to the end of its stream. Raises PeerError."""
        neighbour = stream.muxed_conn.peer_id
        dev = device_of(neighbour)
        wire = Wire(stream, dev, near=self._our_host.near(dev))
        while True:
            try:
                body = await wire.receive(
                    size_max=RPC_BYTES_MAX, wait_s=None, framing=Framing.VARINT
                )
            except WireBroken:
                return
            await self._hear(neighbour, dev, _read(body))

    async def _hear(self, neighbour: ID, dev: DeviceKey, rpc: RPC) -> None:
        # Security: neighbours are read in turn and no faster than signatures can be checked. What
        # comes faster is not dropped but waits in the connection of whoever sends it.
        while (wait_s := self._neighbours.wait_s(dev, self._clock().mono)) > 0:
            self._faults.count("gossip_too_fast", dev=dev)
            await trio.sleep(wait_s)
        self._neighbours.take(dev, self._clock().mono)
        await self._rpcs.turn()
        for message in rpc.publish:
            if not self._is_msg_seen(message):
                await self._messages.turn()
                await self._hear_message(neighbour, dev, message)
        for subscription in rpc.subscriptions:
            self.handle_subscription(neighbour, subscription)
        if rpc.HasField("control"):
            await self.router.handle_rpc(RPC(control=rpc.control), neighbour)

    async def _hear_message(self, neighbour: ID, dev: DeviceKey, message: Message) -> None:
        origin = device_of(ID(message.from_id))
        if not _is_signed(message):
            raise BadGossip(reason="a message with a wrong signature")
        data = bytes(message.data)
        verdict = self._cards.hear(data)
        if verdict is Verdict.FORGED:
            # Security: said of what is provable only. An honest neighbour checks the same before
            # it passes a card on, but one with another clock may hold what is late for us.
            self._our_host.blame(dev, BadGossip(reason="a card with a fault that is provable"))
        elif (
            verdict is Verdict.LATE
            or (verdict is Verdict.TELL_NEAR and not self._our_host.near(dev))
            or self._cards.was_passed_on(data)
        ):
            self._faults.count("gossip_useless", dev=dev)
        else:
            await self.push_msg(neighbour, message)
            self._cards.pass_on(data)
            if origin != self._our_host.dev:
                await self._heard(data, origin)
        # Only now, or a stranger could make us deaf to a number that an honest node will use.
        self._mark_msg_seen(message)


class _Queue:
    """Lets tasks through one after another, as fast as a bucket allows."""

    def __init__(self, bucket: TokenBucket, clock: Callable[[], Now]) -> None:
        self._bucket = bucket
        self._clock = clock
        self._first = trio.Lock()  # fair: who waits, waits in turn

    async def turn(self) -> None:
        async with self._first:
            await trio.sleep(self._bucket.wait_s(self._clock().mono))
            self._bucket.take(self._clock().mono)


def _is_signed(message: Message) -> bool:
    try:
        return bool(signature_validator(message))
    except Exception:
        # Security: libp2p raises whatever its parsers raise on a key that is none.
        return False


def _read(body: bytes) -> RPC:
    """A neighbour's RPC, held to what a p2phouse node sends. Raises BadGossip."""
    rpc = RPC()
    try:
        rpc.ParseFromString(body)
    except DecodeError as error:
        raise BadGossip(reason="no RPC in a frame") from error
    _limit("messages", rpc.publish, MESSAGES_PER_RPC_MAX)
    _limit("subscriptions", rpc.subscriptions, SUBSCRIPTIONS_PER_RPC_MAX)
    for message in rpc.publish:
        if list(message.topicIDs) != [TOPIC]:
            raise BadGossip(reason="a message of another topic")
        if message.ByteSize() > MESSAGE_BYTES_MAX:
            raise BadGossip(reason="a message longer than any card")
    if rpc.HasField("control"):
        _check_control(rpc.control)
    return rpc


def _check_control(control: ControlMessage) -> None:
    """Raises BadGossip; leaves only what gossipsub 1.1 without peer exchange has."""
    topical: list[Any] = [*control.ihave, *control.graft, *control.prune]
    _limit("controls", [*topical, *control.iwant], CONTROLS_PER_RPC_MAX)
    asking: list[Any] = [*control.ihave, *control.iwant]
    ids = [each for asks in asking for each in asks.messageIDs]
    _limit("message ids", ids, IDS_PER_RPC_MAX)
    # Security: libp2p keeps a list for each topic that a peer names.
    if any(each.topicID != TOPIC for each in topical):
        raise BadGossip(reason="another topic")
    for prune in control.prune:
        # Security: with these a stranger chooses addresses that we would dial.
        del prune.peers[:]
    for later in ("idontwant", "extensions", "observe", "unobserve"):
        if later in ControlMessage.DESCRIPTOR.fields_by_name:
            control.ClearField(later)


def _limit(what: str, items: Iterable[Any], most: int) -> None:
    if sum(1 for _ in items) > most:
        raise BadGossip(reason=f"more than {most} {what} at once")
