"""Who is connected, told as PeerUp and PeerDown without ever making libp2p wait.

libp2p awaits its observers on the path that adds a connection, so they may only note a fact here;
a task of ours tells it on. A peer gone and back before it was told about is not told about twice.
"""

from collections.abc import Awaitable, Callable

import trio

from p2phouse.net.events import NetEvent, PeerDown, PeerUp
from p2phouse.vocabulary import DeviceKey


class Presence:
    """Bounded by the number of connections that the host allows."""

    def __init__(self, emit: Callable[[NetEvent], Awaitable[None]]) -> None:
        self._emit = emit
        self._here: dict[DeviceKey, tuple[bytes, ...]] = {}
        self._told: set[DeviceKey] = set()
        self._changed = trio.Event()

    def up(self, dev: DeviceKey, addrs: tuple[bytes, ...]) -> None:
        """addrs: where the peer is reached; empty if it came to us."""
        self._here[dev] = addrs or self._here.get(dev, ())
        self._changed.set()

    def down(self, dev: DeviceKey) -> None:
        self._here.pop(dev, None)
        self._changed.set()

    def remind(self, dev: DeviceKey) -> None:
        """Tells PeerUp again for a peer that is here, to whoever asked for it just now."""
        self._told.discard(dev)
        self._changed.set()

    def clear(self) -> list[DeviceKey]:
        """Nobody is here any more; returns who was."""
        gone = list(self._here)
        self._here.clear()
        self._changed.set()
        return gone

    async def run(self) -> None:
        while True:
            await self._changed.wait()
            self._changed = trio.Event()
            for dev in self._told - self._here.keys():
                self._told.discard(dev)
                await self._emit(PeerDown(dev))
            for dev in self._here.keys() - self._told:
                addrs = self._here.get(dev)
                if addrs is not None:
                    self._told.add(dev)
                    await self._emit(PeerUp(dev, addrs))
