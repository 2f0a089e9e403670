"""Peers whose addresses are known from before: dialled at the start, and again when nobody is left.

With join links they are all the bootstrap there is. They are tried a few at a time, so that a start
is no storm, and only until there is company enough.
"""

import logging
import random
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Final

import trio

from p2phouse.errors import LinkError
from p2phouse.net.addresses import Way
from p2phouse.vocabulary import DeviceKey

log = logging.getLogger(__name__)

KNOWN_MAX: Final = 64
AT_ONCE: Final = 8
COMPANY_MAX: Final = 40  # as many as `meeting.py` keeps contact with
LONELY_FIRST_S: Final = 30.0
LONELY_S_MAX: Final = 480.0


class Acquaintances:
    """The latest met are tried first."""

    def __init__(
        self,
        *,
        reach: Callable[[DeviceKey, Sequence[Way]], Awaitable[None]],
        connected: Callable[[DeviceKey], bool],
        connected_count: Callable[[], int],
        rng: random.Random,
        lonely_first_s: float = LONELY_FIRST_S,
    ) -> None:
        """reach: raises LinkError."""
        self._reach = reach
        self._connected = connected
        self._connected_count = connected_count
        self._rng = rng
        self._lonely_first_s = lonely_first_s
        self._known: OrderedDict[DeviceKey, tuple[Way, ...]] = OrderedDict()
        self._wanted = trio.Event()

    @property
    def count(self) -> int:
        return len(self._known)

    def add(self, dev: DeviceKey, addresses: Iterable[Way]) -> None:
        """Met just now."""
        self._known[dev] = tuple(addresses)
        self._known.move_to_end(dev)
        while len(self._known) > KNOWN_MAX:
            self._known.popitem(last=False)

    def meet(self) -> None:
        """Tries them all now."""
        self._wanted.set()

    async def run(self) -> None:
        pause_s = self._lonely_first_s
        while True:
            with trio.move_on_after(pause_s * self._rng.uniform(0.75, 1.25)):
                await self._wanted.wait()
            if self._wanted.is_set() or not self._connected_count():
                self._wanted = trio.Event()
                await self._meet_all()
            pause_s = (
                self._lonely_first_s
                if self._connected_count()
                else min(LONELY_S_MAX, pause_s * 2.0)
            )

    async def _meet_all(self) -> None:
        waiting = list(reversed(self._known.items()))

        async def meet_some() -> None:
            while waiting and self._connected_count() < COMPANY_MAX:
                dev, addresses = waiting.pop(0)
                if self._connected(dev):
                    continue
                try:
                    await self._reach(dev, addresses)
                except LinkError as error:
                    log.debug("acquaintance_away error=%s", error)

        async with trio.open_nursery() as nursery:
            for _ in range(AT_ONCE):
                nursery.start_soon(meet_some)
