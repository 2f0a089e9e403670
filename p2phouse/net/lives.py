"""One life of the libp2p host after another, under one identity, and what is asked of the present.

Whatever fells libp2p, the network outlives it: peers are told of as gone and dialled again. Imports
nothing of libp2p itself, which takes a second.
"""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from collections.abc import Set as AbstractSet
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import trio

from p2phouse.errors import LinkError
from p2phouse.net.addresses import Address, IPAddress
from p2phouse.net.faults import Faults, cause, place
from p2phouse.vocabulary import DeviceKey

if TYPE_CHECKING:
    from trio_typing import TaskStatus  # trio's own types are hidden behind its stubs

    from p2phouse.net.life import Life

log = logging.getLogger(__name__)

REBUILD_FIRST_S: Final = 0.1
REBUILD_S_MAX: Final = 10.0


class Starting(LinkError):
    """The network of this node is starting; try again in a moment."""


class Lives:
    """`now` is the life that runs, None in between."""

    def __init__(
        self,
        *,
        faults: Faults,
        addresses: Callable[[], Sequence[Address]],
        changed: Callable[[], None],
        reborn: Callable[[], Awaitable[None]],
        died: Callable[[], Awaitable[None]],
    ) -> None:
        """addresses: where to listen. changed: told when `now` did. reborn: awaited when another
        than the first has begun. died: awaited when one has ended by itself."""
        self.now: Life | None = None
        self._changed = changed
        self._faults = faults
        self._addresses = addresses
        self._reborn = reborn
        self._died = died
        self._alive = trio.Event()

    async def run(
        self,
        new_life: Callable[[], "Life"],
        task_status: "TaskStatus[None]" = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """For as long as the network runs; started() once the first serves."""
        pause_s = REBUILD_FIRST_S
        born = False
        while True:
            began = trio.current_time()
            try:
                async with self._live(new_life()):
                    if born:
                        await self._reborn()
                    else:
                        task_status.started()
                    born = True
                    await trio.sleep_forever()
            except Exception as error:
                # Whatever fells libp2p, the node outlives it: this is the top of its task.
                if not born:
                    raise
                log.error("host_died error=%s at=%s", cause(error), place(error))
                self._faults.count("host_died", error)
            except BaseExceptionGroup as error:
                # libp2p failed while it was ended: a stop must not look like a fall for that.
                stop, rest = error.split(trio.Cancelled)
                if stop is None or not isinstance(rest, Exception):
                    raise
                log.info("host_ended_badly error=%s at=%s", cause(rest), place(rest))
                self._faults.count("host_ended_badly", rest)
                raise stop from None
            await self._died()
            if trio.current_time() - began > REBUILD_S_MAX:
                pause_s = REBUILD_FIRST_S
            await trio.sleep(pause_s)
            pause_s = min(REBUILD_S_MAX, pause_s * 2)

    @asynccontextmanager
    async def _live(self, life: "Life") -> AsyncIterator[None]:
        async with life.run(self._addresses()):
            self.now = life
            self._changed()
            self._alive.set()
            try:
                yield
            finally:
                self.now = None
                self._changed()
                self._alive = trio.Event()

    # ── what is asked of it ──────────────────────────────────────────────────────────────────

    def require(self) -> "Life":
        """Raises Starting between two."""
        if self.now is None:
            raise Starting
        return self.now

    async def wait(self) -> "Life":
        """The one that runs, or the next."""
        while self.now is None:
            await self._alive.wait()
        return self.now

    @property
    def peer_count(self) -> int:
        return self.now.peer_count if self.now is not None else 0

    def peers_by_place(self, own: Collection[IPAddress]) -> tuple[int, int, int]:
        """How many are on this machine, whose addresses `own` are, in its networks, elsewhere."""
        if self.now is None:
            return 0, 0, 0
        host = self.now.host
        peers = host.peers()
        near = [dev for dev in peers if host.near(dev)]
        here = sum(all(ip.is_loopback or ip in own for ip in host.ips(dev)) for dev in near)
        return here, len(near) - here, len(peers) - len(near)

    def connected(self, dev: DeviceKey) -> bool:
        return self.now is not None and self.now.host.connected(dev)

    def directly(self, dev: DeviceKey) -> bool:
        """Whether one of its connections has no relay in it."""
        return self.now is not None and self.now.host.directly(dev)

    def near(self, dev: DeviceKey) -> bool:
        """Whether it is on this machine or an attached network."""
        return self.now is not None and self.now.host.near(dev)

    def ips(self, dev: DeviceKey) -> AbstractSet[IPAddress]:
        """Where its connections come from."""
        return self.now.host.ips(dev) if self.now is not None else set()

    def reached(self) -> list[tuple[DeviceKey, Address]]:
        """Those whom this node dialled, with the address that answered."""
        if self.now is None:
            return []
        host = self.now.host
        return [(dev, at) for dev in host.peers() if (at := host.reached_at(dev)) is not None]

    def release(self, dev: DeviceKey) -> None:
        """Closes a connection made for a question, if there are others enough."""
        if self.now is not None:
            self.now.release(dev)

    async def reserve(self, dev: DeviceKey) -> int:
        """A place at a relay, until when in unix time. Raises LinkError or PeerError."""
        return await self.require().reserve(dev)
