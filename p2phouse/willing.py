"""Whether this node carries the voices of others: what its owner chose, and what it lives on now.

The core is told at the start and whenever that changes; it decides what follows from it.
"""

import logging
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

import trio

from p2phouse.choices import Choices, ChoicesFile
from p2phouse.power import on_mains
from p2phouse.room.messages import Carry

log = logging.getLogger(__name__)

# A plug is pulled: at most this long the room is carried on battery, which is no harm to anybody.
POWER_CHECK_S: Final = 10.0

# What one who is fed costs: three voices (the loudest; of others only those of who runs the room
# come on top) of 32 kb/s and 58 bytes of headers each 20 ms.
FED_BPS: Final = 3 * 55_200


def links_fed(kbps: int) -> int:
    """How many others may be fed with that much."""
    return kbps * 1_000 // FED_BPS


class Willing:
    """`run` tells of every change; `choose` makes one."""

    def __init__(
        self,
        home: Path,
        tell: Callable[[Carry], Awaitable[None]],
        *,
        has_mains: Callable[[], bool] = on_mains,
        check_s: float = POWER_CHECK_S,
    ) -> None:
        self.choices = Choices()
        self.known = False  # whether `choices` are the owner's yet
        self.on_mains = False
        self._file = ChoicesFile(home)
        self._tell = tell
        self._has_mains = has_mains
        self._check_s = check_s

    @property
    def offer(self) -> Carry:
        """As the core is told."""
        choices = self.choices
        return Carry(
            willing=choices.carry == "auto",
            on_mains=self.on_mains,
            metered=choices.metered,
            cap=links_fed(choices.carry_kbps),
        )

    @property
    def relays(self) -> bool:
        """Whether this node may pass on what others' nodes say: for nobody before that is known."""
        return self.known and self.offer.willing and not self.choices.metered

    async def begin(self) -> None:
        """Reads what was chosen. Raises UserError: who said never must not carry by a slip."""
        self.choices = await trio.to_thread.run_sync(self._file.read)
        self.known = True
        self.on_mains = await trio.to_thread.run_sync(self._has_mains)
        await self._tell(self.offer)

    async def run(self) -> None:
        """After `begin`, until cancelled."""
        while True:
            await trio.sleep(self._check_s)
            before = self.on_mains
            self.on_mains = await trio.to_thread.run_sync(self._has_mains)
            if self.on_mains != before:
                log.info("power on_mains=%s", self.on_mains)
                await self._tell(self.offer)

    async def choose(self, **chosen: Any) -> None:  # noqa: ANN401 - fields of Choices
        """It is in the file before it counts. Raises UserError."""
        if chosen:
            self.choices = await trio.to_thread.run_sync(partial(self._file.change, **chosen))
            await self._tell(self.offer)
