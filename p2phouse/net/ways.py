"""How a peer is reached: the ways that were told are taken, and others found if they lead nowhere.

`dialer.py` knows when and how often; here stands what a way asks for: the relay of a circuit is
reached first, and whoever hides behind relays takes no way but theirs.
"""

import random
from collections.abc import Awaitable, Callable, Sequence

from p2phouse.errors import LinkError, PeerError
from p2phouse.net.addresses import Address, IPNetwork, Way, unpack_all, unpack_ways
from p2phouse.net.dialer import Dialer
from p2phouse.net.door import is_near
from p2phouse.net.lives import Lives
from p2phouse.net.named_relays import NamedRelays
from p2phouse.net.wire import Wire
from p2phouse.vocabulary import DeviceKey, RoomId


class NoWay(LinkError):
    """The relay on the way to that node passes nothing on."""


class Ways:
    """`dialer` takes them; `open` takes those to somebody in a room."""

    def __init__(
        self,
        own: DeviceKey,
        *,
        lives: Lives,
        named: NamedRelays,
        near_only: Callable[[RoomId], bool],
        networks: Callable[[], Sequence[IPNetwork]],
        whereabouts: Callable[[DeviceKey], Awaitable[list[Address]]],
        failed: Callable[[DeviceKey, str], Awaitable[None]],
        rng: random.Random,
    ) -> None:
        """near_only: whether a room is for attached networks alone. whereabouts: where others say
        that a peer listens. failed: told when a wish to dial ends without a connection."""
        self._own = own
        self._lives = lives
        self._named = named
        self._near_only = near_only
        self._networks = networks
        self._whereabouts = whereabouts
        self.dialer = Dialer(
            connect=self._take,
            connected=lives.connected,
            failed=failed,
            rng=rng,
            networks=networks,
        )

    async def open(
        self, dev: DeviceKey, room: RoomId, addrs: Sequence[bytes], protocol: str
    ) -> Wire:
        """A wire to somebody in the room, who is dialled first if needed. Raises LinkError."""
        ways: Sequence[Way] = unpack_ways(addrs)
        if self._near_only(room):
            ways = [each for each in unpack_all(addrs) if is_near(each.ip, self._networks())]
        try:
            await self.dialer.reach(dev, ways)
        except LinkError:
            # Security: a lan room's people are where they say, or out of our reach.
            found = [] if self._near_only(room) else await self._whereabouts(dev)
            if not found:
                raise
            await self.dialer.reach(dev, found)
        return await self._lives.require().host.open(dev, protocol)

    async def _take(self, dev: DeviceKey, way: Way) -> None:
        life = await self._lives.wait()
        self._named.check(way)
        if isinstance(way, Address):
            await life.host.dial(dev, way)
            return
        if way.through in (self._own, dev):
            raise NoWay
        await self.dialer.reach(way.through, self._named.told_at(way))
        try:
            await self._lives.require().host.dial_through(dev, way)
        except PeerError as error:
            raise NoWay from error
