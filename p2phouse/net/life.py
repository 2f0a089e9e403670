"""One life of the libp2p host and all that ends with it: gossip, streams, pings.

`lives.py` begins another when this one ends. Importing this module imports libp2p.
"""

import logging
import math
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Final

import nacl.signing
import trio

from p2phouse.errors import LinkError, PeerError
from p2phouse.net import circuit, keepalive, relay_asks, room_links, signalling
from p2phouse.net.addresses import Address, Circuit, IPNetwork, Way, pack
from p2phouse.net.cards import Cards
from p2phouse.net.circuit_relay import CircuitRelay
from p2phouse.net.dht import Dht
from p2phouse.net.events import NetEvent
from p2phouse.net.faults import Faults
from p2phouse.net.gossip import Gossip
from p2phouse.net.hall_exchange import PROTOCOL as HALL
from p2phouse.net.hall_exchange import HallExchange
from p2phouse.net.host import CannotListen, Host
from p2phouse.net.kad import Kad
from p2phouse.net.room_links import RoomLinks
from p2phouse.net.wire import Wire, shielded
from p2phouse.vocabulary import DeviceKey, Now, key_short

if TYPE_CHECKING:
    from trio_typing import TaskStatus  # trio's own types are hidden behind its stubs

log = logging.getLogger(__name__)

COMPANY: Final = 24  # connections that gossip and the table live well with
START_S: Final = 10.0  # listening is a matter of milliseconds
STOP_S: Final = 1.5  # connections close in 0.2 s; what has not ended by then is cancelled


class Life:
    """The host, its gossip and a task for each peer."""

    def __init__(
        self,
        device_key: nacl.signing.SigningKey,
        *,
        clock: Callable[[], Now],
        rng: random.Random,
        faults: Faults,
        networks: Callable[[], Sequence[IPNetwork]],
        protected: Callable[[DeviceKey], bool],
        rooms: RoomLinks,
        hall: HallExchange,
        cards: Cards,
        dht: Dht,
        emit: Callable[[NetEvent], Awaitable[None]],
        heard: Callable[[bytes, DeviceKey], Awaitable[None]],
        peer_up: Callable[[DeviceKey, Way | None], None],
        peer_down: Callable[[DeviceKey], None],
        willing: Callable[[], bool],
        place_at: Callable[[DeviceKey], Circuit | None],
        addresses: Callable[[], Sequence[Address]],
        has_moved: Callable[[], bool],
        answerer: relay_asks.Answerer | None,
    ) -> None:
        """willing: whether this node may be a circuit relay now. place_at: the circuit that a
        relay may call us by. addresses: where this node stands. has_moved: whether it stood
        elsewhere a moment ago, so that each connection may be one that leads nowhere. answerer: of
        questions to a relay, if this node is one."""
        self._answerer = answerer
        self._rng = rng
        self._rooms = rooms
        self._hall = hall
        self._dht = dht
        self._emit = emit
        self._up = peer_up
        self._down = peer_down
        self._pings: dict[DeviceKey, trio.CancelScope] = {}
        self._nursery: trio.Nursery | None = None
        self._stop = trio.Event()
        self._stopped = trio.Event()
        self.host = Host(
            device_key,
            clock=clock,
            faults=faults,
            networks=networks,
            protected=protected,
            peer_up=self._peer_up,
            peer_down=self._peer_down,
            lost=lambda dev: self.gossip.lost(dev),
        )
        self._place_at = place_at
        self._protected = protected
        self._has_moved = has_moved
        self.relay = CircuitRelay(
            clock=clock,
            willing=willing,
            connected=self.host.directly,
            open_wire=self.host.open,
            addrs=lambda: [pack(each) for each in addresses() if each.ip.is_global],
        )
        self.gossip = Gossip(self.host, cards=cards, heard=heard, clock=clock, faults=faults)
        self.kad = Kad(
            self.host,
            clock=clock,
            faults=faults,
            contacts=dht.contacts,
            shelf=dht.shelf,
            networks=networks,
            own=dht.addresses,
            met=dht.met,
        )

    @asynccontextmanager
    async def run(self, addresses: Sequence[Address]) -> AsyncIterator[None]:
        """Listens and serves while the block runs. Raises CannotListen, or what felled libp2p."""
        # What one peer may open, in a burst for connections that come and go. A hall exchange may
        # cost 100 signatures, a ping stream lasts.
        self.host.serve(keepalive.PROTOCOL, keepalive.echo, a_second=0.2, burst=8)
        self.host.serve(HALL, self._hall.answer, a_second=0.1, burst=4)
        self.host.serve(room_links.PROTOCOL, self._rooms.accept, a_second=1, burst=8)
        self.host.serve(circuit.HOP, self.relay.serve, a_second=1, burst=32)
        self.host.serve(circuit.STOP, self._called, a_second=1, burst=32)
        answer = partial(signalling.answer, emit=self._emit)
        self.host.serve(signalling.PROTOCOL, answer, a_second=2, burst=16)
        if self._answerer is not None:
            answer = partial(relay_asks.answer, answerer=self._answerer)
            self.host.serve(relay_asks.PROTOCOL, answer, a_second=0.2, burst=8)
        async with trio.open_nursery() as self._nursery:
            await self._nursery.start(self._serve, addresses)
            try:
                yield
            finally:
                self._stop.set()
                with shielded(STOP_S):
                    await self._stopped.wait()
                self._nursery.cancel_scope.cancel()

    async def _serve(
        self,
        addresses: Sequence[Address],
        task_status: "TaskStatus[None]" = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Runs libp2p out of reach of any cancellation but its own.

        Cancelled half-way through closing a connection it forgets the socket, and a message that
        meets a service already gone ends in "Nursery is closed to new arrivals".
        """
        with shielded(START_S) as scope:
            try:
                async with self.host.run(), self.gossip.run():
                    await self.host.listen(addresses)
                    scope.deadline = math.inf
                    task_status.started()
                    await self._stop.wait()
                    scope.deadline = trio.current_time() + STOP_S
                    await self.host.close()
            finally:
                self._stopped.set()
        if scope.cancelled_caught and not self._stop.is_set():
            raise CannotListen(reason=f"not within {START_S:.0f} s")

    @property
    def peer_count(self) -> int:
        return len(self._pings)

    def start(self, dev: DeviceKey, work: Callable[[], Awaitable[None]]) -> None:
        """Runs work with a peer in the background; its failure is the peer's, never the host's."""
        assert self._nursery is not None
        self._nursery.start_soon(self._work, dev, work)

    async def _work(self, dev: DeviceKey, work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
        except LinkError as error:
            log.info("work_failed peer=%s error=%s", key_short(dev), error)
        except PeerError as error:
            self.host.blame(dev, error)

    def _peer_up(self, dev: DeviceKey, dialled: Way | None) -> None:
        """For each connection; libp2p waits for us here, so it only notes and starts."""
        if dev not in self._pings:
            scope = self._pings[dev] = trio.CancelScope()
            self.start(dev, partial(self._keep_alive, dev, scope))
        if isinstance(dialled, Address):  # over a circuit cards would cost a volunteer
            self.start(dev, partial(self._ask_hall, dev))
            self.start(dev, partial(self._dht.introduce, dev, dialled))
        self._up(dev, dialled)

    def _peer_down(self, dev: DeviceKey) -> None:
        scope = self._pings.pop(dev, None)
        if scope is not None:
            scope.cancel()
        self.relay.lost(dev)
        self._down(dev)

    async def _keep_alive(self, dev: DeviceKey, scope: trio.CancelScope) -> None:
        with scope:
            await keepalive.keep_alive(
                dev,
                open_wire=partial(self.host.open, dev, keepalive.PROTOCOL),
                in_room=lambda: dev in self._rooms.peers() or self._has_moved(),
                rng=self._rng,
            )
            log.warning("peer_silent peer=%s", key_short(dev))
            self.host.drop(dev)

    def release(self, dev: DeviceKey) -> None:
        """Closes a connection made for a question, if there are others enough."""
        if self.peer_count <= COMPANY or self.host.near(dev):
            return
        is_needed = (
            self._protected(dev)
            or self._place_at(dev) is not None
            or self.relay.serves(dev)
            or self.host.leads_through(dev)
        )
        if not is_needed:
            self.host.drop(dev)

    async def reserve(self, dev: DeviceKey) -> int:
        """A place at this relay, until when in unix time. Raises LinkError or PeerError."""
        return await circuit.reserve(await self.host.open(dev, circuit.HOP))

    async def _called(self, wire: Wire) -> None:
        """A relay says that somebody wants to come through it."""
        way = self._place_at(wire.dev)
        if await circuit.answer(wire, has_place=way is not None) and way is not None:
            await self.host.welcome(wire, way)

    async def _ask_hall(self, dev: DeviceKey) -> None:
        await self._hall.ask(await self.host.open(dev, HALL))
