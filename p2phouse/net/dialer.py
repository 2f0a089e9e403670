"""Connects to peers: which addresses, in which order, how often, and never twice at once.

libp2p's own dialling tries one address per transport and takes up to two minutes to fail. Here two
addresses are tried at a time, each for 4 s, best first, and circuits beside them a moment later; a
peer to be kept is tried again with a pause that grows from 1 s to 60 s.
"""

import logging
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

import trio

from p2phouse.errors import LinkError
from p2phouse.net.addresses import Address, Circuit, IPNetwork, Way, rank
from p2phouse.vocabulary import DeviceKey, key_short

log = logging.getLogger(__name__)

ADDRESS_S: Final = 4.0  # two lost SYNs (1 s, 2 s) and the handshake
AT_ONCE: Final = 2
HEAD_START_S: Final = 0.25  # of the better address, as in RFC 8305 §5; else both often connect
# Of every direct address: a circuit costs a volunteer, and an answer from afar takes 0.3 s.
DIRECT_HEAD_START_S: Final = 0.8
CIRCUIT_S: Final = 12.0  # the relay is dialled first, then it calls the other end
ADDRESSES_MAX: Final = 8
WISHES_MAX: Final = 256  # more peers than libp2p may hold connections to
PAUSE_FIRST_S: Final = 1.0
PAUSE_S_MAX: Final = 60.0


class NoAddress(LinkError):
    """No address of that node is known."""


class NobodyThere(LinkError):
    """None of its addresses answered ({reason})."""


def pause_s(failures: int, rng: random.Random) -> float:
    """How long to wait after that many failures in a row: doubling, ± 25 %."""
    return min(PAUSE_S_MAX, PAUSE_FIRST_S * 2.0 ** (failures - 1)) * rng.uniform(0.75, 1.25)


@dataclass(slots=True)
class _Outcome:
    """How the next round ends, for whoever waits for it."""

    error: LinkError | None = None
    known: trio.Event = field(default_factory=trio.Event)


@dataclass(slots=True)
class _Wish:
    addresses: list[Way]
    tries: float  # rounds left; inf for a peer to be kept
    changed: trio.Event = field(default_factory=trio.Event)
    outcome: _Outcome = field(default_factory=_Outcome)

    def settle(self, error: LinkError | None) -> None:
        self.outcome.error = error
        self.outcome.known.set()
        self.outcome = _Outcome()


class Dialer:
    """Pursues each wished-for peer in a task of its own."""

    def __init__(
        self,
        *,
        connect: Callable[[DeviceKey, Way], Awaitable[None]],
        connected: Callable[[DeviceKey], bool],
        failed: Callable[[DeviceKey, str], Awaitable[None]],
        rng: random.Random,
        networks: Callable[[], Sequence[IPNetwork]],
    ) -> None:
        """connect: raises LinkError. failed: told of each round in which no address answered."""
        self._connect = connect
        self._connected = connected
        self._failed = failed
        self._rng = rng
        self._networks = networks
        self._wishes: dict[DeviceKey, _Wish] = {}
        self._new: list[tuple[DeviceKey, _Wish]] = []
        self._wake = trio.Event()

    def want(self, dev: DeviceKey, addresses: Sequence[Way], *, tries: float = 1) -> None:
        """Connects to `dev` in the background; a second wish for it adds its addresses.

        tries: rounds before giving up; inf keeps the peer connected until `forget`.
        """
        wish = self._wishes.get(dev)
        if wish is not None:
            known = dict.fromkeys([*addresses, *wish.addresses])
            wish.addresses = list(known)[:ADDRESSES_MAX]
            wish.tries = max(wish.tries, tries)
            wish.changed.set()
            return
        if len(self._wishes) >= WISHES_MAX:
            log.warning("dial_refused peer=%s wishes=%d", key_short(dev), WISHES_MAX)
            return
        wish = self._wishes[dev] = _Wish(list(dict.fromkeys(addresses))[:ADDRESSES_MAX], tries)
        self._new.append((dev, wish))
        self._wake.set()

    async def reach(self, dev: DeviceKey, addresses: Sequence[Way]) -> None:
        """Returns once the peer is connected. Raises LinkError if the next round fails."""
        if self._connected(dev):
            return
        self.want(dev, addresses)
        wish = self._wishes.get(dev)
        if wish is None:
            raise NoAddress
        outcome = wish.outcome
        await outcome.known.wait()
        if outcome.error is not None:
            raise outcome.error

    def forget(self, dev: DeviceKey) -> None:
        """Gives the peer up; a round under way ends by itself."""
        wish = self._wishes.pop(dev, None)
        if wish is not None:
            wish.tries = 0
            wish.changed.set()
            wish.settle(NoAddress())

    def connected(self, dev: DeviceKey) -> None:
        """A connection stands, by whichever side; nobody need wait for our own any more."""
        wish = self._wishes.get(dev)
        if wish is not None:
            wish.settle(None)

    def disconnected(self, dev: DeviceKey) -> None:
        """Whoever keeps the peer dials it again."""
        wish = self._wishes.get(dev)
        if wish is not None:
            wish.changed.set()

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            while True:
                for dev, wish in self._new:
                    nursery.start_soon(self._pursue, dev, wish)
                self._new.clear()
                self._wake = trio.Event()
                await self._wake.wait()

    async def _pursue(self, dev: DeviceKey, wish: _Wish) -> None:
        failures = 0
        while wish.tries > 0:
            wish.changed = trio.Event()
            if self._connected(dev):
                failures = 0
                wish.settle(None)
                if wish.tries < float("inf"):
                    break
                await wish.changed.wait()
                continue
            try:
                await self._round(dev, wish)
            except LinkError as error:
                failures += 1
                wish.tries -= 1
                log.info("dial_failed peer=%s round=%d error=%s", key_short(dev), failures, error)
                wish.settle(error)
                await self._failed(dev, str(error))
                if wish.tries > 0:
                    # New addresses end the pause: they are news that the peer is about.
                    with trio.move_on_after(pause_s(failures, self._rng)):
                        await wish.changed.wait()
        if self._wishes.get(dev) is wish:
            del self._wishes[dev]
            wish.settle(None if self._connected(dev) else NoAddress())

    async def _round(self, dev: DeviceKey, wish: _Wish) -> None:
        """Tries every address once. Raises NoAddress or NobodyThere."""
        if not wish.addresses:
            raise NoAddress
        waiting: list[Way] = [
            *rank([each for each in wish.addresses if isinstance(each, Address)], self._networks())
        ]
        circuits: list[Way] = [each for each in wish.addresses if isinstance(each, Circuit)]
        reasons: list[str] = []

        async def try_all(ways: list[Way], limit_s: float, delay_s: float) -> None:
            await trio.sleep(delay_s)
            while ways:
                way = ways.pop(0)
                with trio.move_on_after(limit_s) as timer:
                    try:
                        await self._connect(dev, way)
                    except LinkError as error:
                        reasons.append(str(error.facts.get("reason", error)))
                        continue
                if not timer.cancelled_caught:
                    nursery.cancel_scope.cancel()
                    return
                reasons.append(f"silent for {limit_s:.0f} s")

        async with trio.open_nursery() as nursery:
            direct = bool(waiting)
            for order in range(AT_ONCE):
                nursery.start_soon(try_all, waiting, ADDRESS_S, order * HEAD_START_S)
            nursery.start_soon(try_all, circuits, CIRCUIT_S, DIRECT_HEAD_START_S * direct)
        if not self._connected(dev):
            raise NobodyThere(reason=reasons[0] if reasons else "it hung up")
