"""Nodes found on this LAN or machine, and who of two dials: the higher id at once, the lower later.

Both find each other at about the same time; without the rule both would dial and keep two
connections, without the lower's second try a lost packet would keep them apart.
"""

import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Literal

import trio

from p2phouse.net.addresses import Address, pack
from p2phouse.net.events import Found, NetEvent
from p2phouse.vocabulary import DeviceKey, key_short

log = logging.getLogger(__name__)

LOWER_WAITS_S: Final = 0.5
TRIES: Final = 3
MET_MAX: Final = 256
NEIGHBOURS_MAX: Final = 40  # a class of 30 meets whole; beyond, gossip carries cards on

Where = Literal["lan", "machine"]


class Meeting:
    """Keeps contact with the nodes nearby, however they were found."""

    def __init__(
        self,
        own: DeviceKey,
        *,
        connected: Callable[[DeviceKey], bool],
        connected_count: Callable[[], int],
        want: Callable[[DeviceKey, Sequence[Address], int], None],
        emit: Callable[[NetEvent], Awaitable[None]],
        lower_waits_s: float = LOWER_WAITS_S,
    ) -> None:
        self._own = own
        self._connected = connected
        self._connected_count = connected_count
        self._want = want
        self._emit = emit
        self._lower_waits_s = lower_waits_s
        self._met: OrderedDict[DeviceKey, tuple[Address, ...]] = OrderedDict()
        self._to_meet: OrderedDict[DeviceKey, None] = OrderedDict()
        self._wake = trio.Event()

    async def run(self) -> None:
        """Meets whom `found` and `lost` name, without making them wait."""
        async with trio.open_nursery() as nursery:
            while True:
                for dev in self._to_meet:
                    nursery.start_soon(self._meet, dev)
                self._to_meet.clear()
                self._wake = trio.Event()
                await self._wake.wait()

    async def found(self, dev: DeviceKey, addresses: Sequence[Address], where: Where) -> None:
        """A node nearby proved its key by hello."""
        if dev == self._own:
            return
        news = self._met.get(dev) != tuple(addresses)
        self._met[dev] = tuple(addresses)
        self._met.move_to_end(dev)
        while len(self._met) > MET_MAX:
            self._met.popitem(last=False)
        if news:
            log.info("found peer=%s where=%s", key_short(dev), where)
            await self._emit(Found(dev, tuple(map(pack, addresses)), where))
        self._shall_meet(dev)

    def lost(self, dev: DeviceKey) -> None:
        """A connection ended; a neighbour is dialled again."""
        if dev in self._met:
            self._shall_meet(dev)

    def _shall_meet(self, dev: DeviceKey) -> None:
        if not self._connected(dev):
            self._to_meet[dev] = None
            self._wake.set()

    async def _meet(self, dev: DeviceKey) -> None:
        if self._own < dev:
            await trio.sleep(self._lower_waits_s)
        addresses = self._met.get(dev)
        if addresses and not self._connected(dev) and self._connected_count() < NEIGHBOURS_MAX:
            self._want(dev, addresses, TRIES)
