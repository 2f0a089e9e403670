"""The distributed table of rooms: a room's card is found by its id, though no gossip told of it.

Cards of rooms of ours are put at the nodes nearest to the room's id, and put again with each
refresh; whoever looks asks the nearest it knows for nearer ones. A new room never waits for it, and
with nobody to ask it does nothing. `kad.py` speaks and answers, `lookup.py` searches.
"""

import logging
import math
import random
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

import trio

from p2phouse.errors import LinkError, PeerError
from p2phouse.hall.card import RoomCard, read_card
from p2phouse.hall.shelf import Shelf, best, key_of, read_value
from p2phouse.identity.keys import PEER_ID_PREFIX
from p2phouse.net.addresses import Address, IPNetwork
from p2phouse.net.contacts import Contacts, reachable
from p2phouse.net.faults import Faults
from p2phouse.net.lookup import QUERY_S, Reply, Shortlist, search
from p2phouse.vocabulary import DeviceKey, Now, RoomId, key_short

if TYPE_CHECKING:  # importing libp2p takes a second
    from p2phouse.net.kad import Kad

log = logging.getLogger(__name__)

FIND_S: Final = 10.0
OTHERS_S: Final = 0.3  # after the first card found, for a newer one
WHERE_S: Final = 5.0  # a joining person waits for it
PUT_S: Final = 10.0
PUT_PAUSE_S: Final = 1.0  # whoever refuses our cards may be met any number of times
PUT_AGAIN_S: Final = 180.0  # cards are refreshed each 192 to 288 s, and may change each minute
QUERIES_MAX: Final = 16  # that run at one time, whoever asks for them
OURS_MAX: Final = 16
REFRESH_S: Final = 600.0
REFRESH_FIRST_S: Final = 30.0
GREET_S: Final = 10.0
VISIT_S: Final = 60.0  # how long a connection made for a question is kept


Question: TypeAlias = "Callable[[Kad, DeviceKey], Awaitable[Reply]]"


class NothingToAsk(LinkError):
    """this node is connected to nobody who could know it"""


class NotThere(LinkError):
    """none of the {count} nodes that answered has heard of it"""


@dataclass(slots=True)
class _Ours:
    """A card of ours. put_at: when it was last put, -inf if it is to be put now."""

    card: RoomCard
    put_at: float = -math.inf


class Dht:
    """Outlives libp2p's host: `kad` is there while a host is."""

    def __init__(
        self,
        own: DeviceKey,
        *,
        addresses: Callable[[], Sequence[Address]],
        reach: Callable[[DeviceKey, Sequence[Address]], Awaitable[None]],
        connected: Callable[[DeviceKey], bool],
        release: Callable[[DeviceKey], None],
        networks: Callable[[], Sequence[IPNetwork]],
        clock: Callable[[], Now],
        rng: random.Random,
        faults: Faults,
    ) -> None:
        """addresses: where we can be dialled; reach: connects or raises LinkError; connected:
        without a relay between; release: closes a connection that nobody else needs."""
        self.kad: Kad | None = None
        self.contacts = Contacts()
        self.shelf = Shelf(PEER_ID_PREFIX + own)
        self.addresses = addresses
        self._own = own
        self._reach = reach
        self._connected = connected
        self._release = release
        self._networks = networks
        self._clock = clock
        self._rng = rng
        self._faults = faults
        self._ours: OrderedDict[RoomId, _Ours] = OrderedDict()
        self._visited: set[DeviceKey] = set()
        self._queries = trio.CapacityLimiter(QUERIES_MAX)
        self._wake = trio.Event()
        self._nursery: trio.Nursery | None = None

    @property
    def count(self) -> int:
        """How many nodes of the table we know."""
        return self.kad.count if self.kad is not None else 0

    async def run(self) -> None:
        async with trio.open_nursery() as self._nursery:
            self._nursery.start_soon(self._refresh)
            while True:
                await self._wake.wait()
                self._wake = trio.Event()  # first: what comes while cards are put counts
                await self._put_due()
                await trio.sleep(PUT_PAUSE_S)

    def met(self) -> None:
        """Somebody of the table is there, perhaps the first."""
        if any(ours.put_at == -math.inf for ours in self._ours.values()):
            self._wake.set()

    # ── what is put ──────────────────────────────────────────────────────────────────────────

    def publish(self, data: bytes) -> None:
        """A card of ours went out by gossip. Returns at once."""
        try:
            now = self._clock()
            card = read_value(key_of(read_card(data, now).room), data, now)
        except PeerError:
            return  # of a lan room, which is for nobody else
        known = self._ours.get(card.room)
        recent = known is not None and self._clock().mono - known.put_at < PUT_AGAIN_S
        if recent and not card.is_tombstone:
            return
        self._ours[card.room] = _Ours(card)
        if len(self._ours) > OURS_MAX:
            self._ours.popitem(last=False)
        self._wake.set()

    async def flush(self) -> None:
        """Until the last tombstone is out, for as long as the caller lets it."""
        if self.count:
            await self._put_due(tombstones_only=True)
            while any(  # noqa: ASYNC110 - those that `run` was putting already
                ours.card.is_tombstone and ours.put_at > -math.inf for ours in self._ours.values()
            ):
                await trio.sleep(0.02)

    async def _put_due(self, *, tombstones_only: bool = False) -> None:
        for room, ours in list(self._ours.items()):
            if ours.put_at == -math.inf and (ours.card.is_tombstone or not tombstones_only):
                ours.put_at = self._clock().mono
                if not await self._put(ours.card):
                    ours.put_at = -math.inf  # again when somebody is met
                elif ours.card.is_tombstone and self._ours.get(room) is ours:
                    del self._ours[room]

    async def _put(self, card: RoomCard) -> int:
        """At how many nodes it is now."""
        key, value, now = key_of(card.room), card.card.data, self._clock()
        with suppress(PeerError):
            self.shelf.keep(key, value, now)
        nearest = await self._search(
            key.encode(), lambda kad, dev: kad.get_value(dev, key), seconds=PUT_S
        )
        stored = 0

        async def put(dev: DeviceKey) -> None:
            nonlocal stored
            with trio.move_on_after(QUERY_S), suppress(LinkError, PeerError):
                async with self._queries:
                    if self.kad is not None:
                        await self.kad.put_value(dev, key, value)
                        stored += 1

        with trio.move_on_after(PUT_S):
            async with trio.open_nursery() as nursery:
                for dev in nearest:
                    nursery.start_soon(put, dev)
        log.info("card_put room=%s nodes=%d", key_short(card.room), stored)
        return stored

    # ── what is sought ───────────────────────────────────────────────────────────────────────

    async def find(self, room: RoomId) -> bytes:
        """The room's card. Raises NothingToAsk or NotThere."""
        key = key_of(room)
        found: list[RoomCard] = []
        answered: list[DeviceKey] = []
        with trio.move_on_after(FIND_S) as scope:

            def heard(dev: DeviceKey, value: bytes | None) -> None:
                if value is None:
                    return
                try:
                    found.append(read_value(key, value, self._clock()))
                except PeerError as error:
                    self._faults.count("kad_lies", error, dev=dev)
                    return
                if not found[-1].is_tombstone:
                    scope.deadline = min(scope.deadline, trio.current_time() + OTHERS_S)

            heard(self._own, self.shelf.get(key, self._clock()))
            answered = await self._search(
                key.encode(),
                lambda kad, dev: kad.get_value(dev, key),
                heard=lambda dev, reply: heard(dev, reply.value),
                seconds=FIND_S,
            )
        card = best(found) if found else None
        if card is not None and not card.is_tombstone:
            return card.card.data
        if not self.count:
            raise NothingToAsk
        raise NotThere(count=len(answered))

    async def whereabouts(self, dev: DeviceKey) -> list[Address]:
        """Where that node listens, as others say; empty if nobody knows."""
        with trio.move_on_after(WHERE_S) as scope:

            def heard(_: DeviceKey, reply: Reply) -> None:
                if dev in reply.closer and self._ways(dev):
                    scope.cancel()

            target = PEER_ID_PREFIX + dev
            await self._search(
                target,
                lambda kad, other: kad.find_node(other, target),
                heard=heard,
                seconds=WHERE_S,
            )
        return self._ways(dev)

    # ── how ──────────────────────────────────────────────────────────────────────────────────

    async def _search(
        self,
        target: bytes,
        question: Question,
        *,
        seconds: float,
        heard: Callable[[DeviceKey, Reply], None] = lambda dev, reply: None,
    ) -> list[DeviceKey]:
        """Who answered, nearest first."""
        if self.kad is None or self._nursery is None:
            return []
        shortlist = Shortlist(target, self.kad.nearest(target), own=self._own)
        with trio.move_on_after(seconds):
            await search(
                shortlist,
                lambda dev: self._ask(dev, question),
                spawn=self._nursery.start_soon,
                heard=heard,
            )
        return shortlist.nearest

    async def _ask(self, dev: DeviceKey, question: Question) -> Reply:
        """Raises LinkError or PeerError."""
        try:
            async with self._queries:
                if not self._connected(dev):
                    await self._visit(dev)
                # A circuit's bytes cost a volunteer, who gives them to people and not to tables.
                if self.kad is None or not self._connected(dev):
                    raise NothingToAsk
                reply = await question(self.kad, dev)
        except (LinkError, PeerError) as error:
            if isinstance(error, PeerError):
                self._faults.count("kad_bad_answer", error, dev=dev)
            if self.kad is not None and not self._connected(dev):
                self.kad.forget(dev)
            raise
        if self.kad is not None:
            await self.kad.meet(dev)
        return reply

    async def _visit(self, dev: DeviceKey) -> None:
        """Connects for a question. Raises LinkError."""
        assert self._nursery is not None
        if dev not in self._visited:
            self._visited.add(dev)
            self._nursery.start_soon(self._end_visit, dev)
        await self._reach(dev, self._ways(dev))

    async def _end_visit(self, dev: DeviceKey) -> None:
        await trio.sleep(VISIT_S)
        self._visited.discard(dev)
        self._release(dev)

    def _ways(self, dev: DeviceKey) -> list[Address]:
        return reachable(self.contacts.addresses(dev), self._networks(), near=True)

    # ── whom we know ─────────────────────────────────────────────────────────────────────────

    async def introduce(self, dev: DeviceKey, address: Address) -> None:
        """To a peer that we have dialled: it learns where we can be dialled, and we whether it is
        of the table."""
        self.contacts.prove(dev, [address])
        if dev not in self._visited:
            await self._greet(dev)

    async def _greet(self, dev: DeviceKey) -> None:
        target = PEER_ID_PREFIX + self._own
        with suppress(LinkError, PeerError), trio.move_on_after(GREET_S):
            await self._ask(dev, lambda kad, dev: kad.find_node(dev, target))

    async def _refresh(self) -> None:
        """Looks for ourselves, so that the nodes around us are known."""
        pause_s, target = REFRESH_FIRST_S, PEER_ID_PREFIX + self._own
        while True:
            await trio.sleep(pause_s * self._rng.uniform(0.8, 1.2))
            pause_s = REFRESH_S
            for dev in self.contacts.all_proved():
                if self.kad is not None and self._connected(dev) and not self.kad.knows(dev):
                    await self._greet(dev)  # whose answer to the first was late
            await self._search(target, lambda kad, dev: kad.find_node(dev, target), seconds=FIND_S)
