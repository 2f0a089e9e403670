"""Cards to everybody: one gossipsub topic, configured by what was measured, guarded as it must be.

Nothing but cards travels here: a message costs every node 10 ms of CPU. Gossip has no past; who
connects later asks by `hall_exchange.py`. Importing this module imports libp2p.
"""

import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final

import trio
from libp2p.abc import ISubscriptionAPI
from libp2p.host.basic_host import BasicHost
from libp2p.peer.id import ID
from libp2p.pubsub.gossipsub import GossipSub
from libp2p.pubsub.pb.rpc_pb2 import Message
from libp2p.pubsub.pubsub import Pubsub
from libp2p.tools.anyio_service import background_trio_service

from p2phouse.net.faults import Faults
from p2phouse.net.host import ForeignKey, Host, device_of, peer_id_of
from p2phouse.net.rates import Buckets, TokenBucket
from p2phouse.record.types import Card
from p2phouse.vocabulary import DeviceKey, Now

log = logging.getLogger(__name__)

TOPIC: Final = "/p2phouse/hall/1"
PROTOCOLS: Final = ("/meshsub/1.1.0", "/meshsub/1.0.0")
RPC_BYTES_MAX: Final = 64 * 1024
PUBLISH_A_SECOND: Final = 3.0
HEARD_A_SECOND: Final = 20.0
HEARD_BURST: Final = 60.0
PEERS_MAX: Final = 256

CardSink = Callable[[bytes, DeviceKey], Awaitable[None]]


class SafePubsub(Pubsub):  # type: ignore[misc]  # libp2p's types do not hold
    """Pubsub that outlives what it is sent, and takes only so much from one neighbour."""

    def __init__(
        self,
        host: BasicHost,
        router: GossipSub,
        *,
        admit: Callable[[ID], bool],
        refuse: Callable[[ID, Exception], None],
    ) -> None:
        super().__init__(
            host,
            router,
            strict_signing=True,
            max_inbound_rpc_size=RPC_BYTES_MAX,
            max_subscriptions_per_peer=4,
            allowed_topics={TOPIC},  # else a peer fills our memory with topics it makes up
        )
        self._admit = admit
        self._refuse = refuse
        # libp2p counts from unix seconds, so a node that published more than one message a second
        # and restarts would use numbers again and be dropped as a duplicate.
        self.counter = time.time_ns() // 1_000

    async def push_msg(self, msg_forwarder: ID, msg: Message) -> None:
        """Takes in one message, from a neighbour or from us."""
        if msg_forwarder == self.my_id:
            await super().push_msg(msg_forwarder, msg)
            return
        # Security: before the signature is checked, or forgeries cost us 0.5 ms each.
        if not self._admit(msg_forwarder):
            return
        try:
            await super().push_msg(msg_forwarder, msg)
        except Exception as error:
            # Security: a junk key in one message raises here, and the exception would end pubsub
            # and with it the host.
            self._refuse(msg_forwarder, error)


class Gossip:
    """The hall's topic during one life of the host."""

    def __init__(
        self,
        host: Host,
        *,
        check_card: Callable[[bytes], bool],
        heard: CardSink,
        clock: Callable[[], Now],
        faults: Faults,
    ) -> None:
        """check_card: False only for provable faults; heard: may wait, and then gossip waits."""
        self._clock = clock
        self._faults = faults
        self._check_card = check_card
        self._heard = heard
        self._budget = TokenBucket(PUBLISH_A_SECOND, PUBLISH_A_SECOND)
        self._publishing = trio.Lock()
        self._neighbours = Buckets(HEARD_A_SECOND, HEARD_BURST, PEERS_MAX)
        self._router = GossipSub(
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
        self._own = host.libp2p.get_id()
        self._pubsub = SafePubsub(host.libp2p, self._router, admit=self._admit, refuse=self._refuse)

    def _admit(self, neighbour: ID) -> bool:
        if self._neighbours.take(neighbour, self._clock().mono):
            return True
        self._faults.count("gossip_too_fast")
        return False

    def _refuse(self, neighbour: ID, error: Exception) -> None:
        self._faults.count("gossip_message", repr(error))

    @asynccontextmanager
    async def run(self) -> AsyncIterator[None]:
        """Takes part in the topic while the block runs; inside the host's own run."""
        async with background_trio_service(self._pubsub), background_trio_service(self._router):
            await self._pubsub.wait_until_ready()
            self._pubsub.set_topic_validator(TOPIC, self._is_honest, False)
            subscription = await self._pubsub.subscribe(TOPIC)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._drain, subscription)
                try:
                    yield
                finally:
                    nursery.cancel_scope.cancel()

    def _is_honest(self, forwarder: ID, message: Message) -> bool:
        """Whether forwarding this can have been honest; synchronous and never raises.

        False is held against the forwarder and remembered for 300 s, so it is said only of what is
        provably bad; late or unknown cards pass and are judged by the hall.
        """
        if len(message.data) > Card.SIZE_MAX:
            self._faults.count("gossip_card_size")
            return False
        try:
            honest = self._check_card(message.data)
        except Exception as error:
            # Broad: an exception in a validator ends pubsub; ours is a bug, not the peer's doing.
            log.error("check_card_raised error=%r", error)
            return True
        if not honest:
            self._faults.count("gossip_card")
        return honest

    async def _drain(self, subscription: ISubscriptionAPI) -> None:
        """Does nothing but empty the subscription, whose queue of 32 drops the newest."""
        outbox, inbox = trio.open_memory_channel[tuple[bytes, DeviceKey]](256)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._deliver, inbox)
            while True:
                message = await subscription.get()
                origin = ID(message.from_id)
                if origin == self._own:
                    continue
                try:
                    outbox.send_nowait((bytes(message.data), device_of(origin)))
                except ForeignKey:
                    self._faults.count("gossip_foreign_key")
                except trio.WouldBlock:
                    # The newest is dropped: cards come again within minutes.
                    self._faults.count("gossip_queue_full")

    async def _deliver(self, inbox: trio.MemoryReceiveChannel[tuple[bytes, DeviceKey]]) -> None:
        async for data, origin in inbox:
            await self._heard(data, origin)

    async def publish(self, data: bytes) -> None:
        """Tells the mesh; waits while more than three messages went out in the last second."""
        assert len(data) <= Card.SIZE_MAX, "a card of ours is too long"
        async with self._publishing:  # whoever waits, waits in turn
            await trio.sleep(self._budget.wait_s(self._clock().mono))
            self._budget.take(self._clock().mono)
            await self._pubsub.publish(TOPIC, data)

    async def wait_for_mesh(self, dev: DeviceKey, *, seconds: float = 5.0) -> None:
        """Until the peer is a neighbour in the topic; for tests, which must not sleep."""
        await self._pubsub.wait_for_mesh(peer_id_of(dev), TOPIC, timeout=seconds)
