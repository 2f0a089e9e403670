"""How others reach this node when they cannot dial it: places at relays, and circuits through them.

A relay is any node that we reached at a public address and that is willing; nobody is one by
office. Relays named by the person come first. Every node holds a place or two, also one that can be
dialled: somebody may be allowed to talk to relays alone.
"""

import logging
import random
from collections.abc import Awaitable, Callable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Final

import trio

from p2phouse.errors import LinkError, PeerError
from p2phouse.net.addresses import Address, Circuit
from p2phouse.vocabulary import DeviceKey, Now, key_short

log = logging.getLogger(__name__)

PLACES_MAX: Final = 2  # one relay may leave
RESERVATION_S: Final = 3_600  # what every relay of ours gives
LOOK_S: Final = 60.0
RENEW_S: Final = 900.0  # before a place ends
REFUSED_S: Final = 600.0  # whoever said no is asked again
SOON_S: Final = 0.3  # after somebody was met: others may come in the same moment


@dataclass(frozen=True, slots=True)
class _Place:
    relay: Address
    until_mono: float


class Nat:
    """`circuits` is where others reach this node; `run` keeps it so."""

    def __init__(
        self,
        *,
        clock: Callable[[], Now],
        rng: random.Random,
        peers: Callable[[], Sequence[tuple[DeviceKey, Address]]],
        reserve: Callable[[DeviceKey], Awaitable[int]],
        changed: Callable[[], None] = lambda: None,
        named: AbstractSet[DeviceKey] = frozenset(),
        named_only: bool = False,
        look_s: float = LOOK_S,
    ) -> None:
        """peers: those that this node reached by dialling, with the address that answered.

        reserve: asks one for a place, until when in unix time; raises LinkError or PeerError.
        changed: told when `circuits` did. named: relays that the person named, as they are found;
        named_only: no relay but those.
        """
        self._clock = clock
        self._rng = rng
        self._peers = peers
        self._reserve = reserve
        self._changed = changed
        self._named = named
        self._named_only = named_only
        self._look_s = look_s
        self._places: dict[DeviceKey, _Place] = {}
        self.refused: dict[DeviceKey, float] = {}  # until when, in monotonic time
        self._wake = trio.Event()
        self.clocks: dict[DeviceKey, float] = {}  # how far theirs are ahead of ours, in seconds

    @property
    def circuits(self) -> list[Circuit]:
        """Ways to this node, at most PLACES_MAX; those through named relays first."""
        held = sorted(self._places, key=lambda dev: dev not in self._named)
        return [Circuit(self._places[dev].relay, dev) for dev in held]

    def place_at(self, dev: DeviceKey) -> Circuit | None:
        """Ours at this relay. Security: only from there do we let a circuit come."""
        place = self._places.get(dev)
        return None if place is None else Circuit(place.relay, dev)

    def met(self) -> None:
        """Somebody was reached who may be a relay."""
        if len(self._places) < PLACES_MAX:
            self._wake.set()

    def lost(self, dev: DeviceKey) -> None:
        """The connection is gone, and the place with it."""
        if self._places.pop(dev, None) is not None:
            log.info("place_lost relay=%s", key_short(dev))
            self._changed()
            self._wake.set()

    def forget(self) -> None:
        """The host died: every place is gone."""
        if self._places:
            self._places.clear()
            self._changed()

    async def run(self) -> None:
        while True:
            with trio.move_on_after(self._look_s * self._rng.uniform(0.9, 1.1)):
                await self._wake.wait()
                await trio.sleep(SOON_S)
            self._wake = trio.Event()
            await self._look()

    async def _look(self) -> None:
        """Renews what ends soon, and fills what is free."""
        now = self._clock()
        at = dict(self._peers())
        for dev, place in list(self._places.items()):
            if place.until_mono - now.mono >= RENEW_S or await self._ask(dev, place.relay):
                continue
            if self._places.pop(dev, None) is not None:  # else it was lost while we asked
                self._changed()
        for dev in [dev for dev, until in self.refused.items() if until <= now.mono]:
            del self.refused[dev]
        for dev in sorted(at, key=lambda dev: (dev not in self._named, self._rng.random())):
            if len(self._places) >= PLACES_MAX:
                break
            if dev not in self._places and dev not in self.refused and self._may_be(dev, at[dev]):
                await self._ask(dev, at[dev])

    def _may_be(self, dev: DeviceKey, address: Address) -> bool:
        # An address of a private network would lead whoever reads it to another machine there.
        return dev in self._named or (address.ip.is_global and not self._named_only)

    async def _ask(self, dev: DeviceKey, relay: Address) -> bool:
        # By our own clock and from before we asked: the relay's may be hours off.
        until_mono = self._clock().mono + RESERVATION_S
        try:
            until_unix = await self._reserve(dev)
        except (LinkError, PeerError) as error:
            log.info("place_refused relay=%s error=%s", key_short(dev), error)
            self.refused[dev] = self._clock().mono + REFUSED_S
            return False
        log.info("place_held relay=%s", key_short(dev))
        self.clocks[dev] = until_unix - RESERVATION_S - self._clock().unix
        while len(self.clocks) > PLACES_MAX:
            del self.clocks[next(iter(self.clocks))]
        self._places[dev] = _Place(relay, until_mono)
        self._changed()
        return True
