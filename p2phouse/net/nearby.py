"""Nodes on this machine and in the local network: this one is shown to them and looks for them.

The network can do without: whatever fails here is told to the person once, and ends nothing.
"""

import logging
import random
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Final

import trio

from p2phouse.config import LanMode
from p2phouse.errors import UserError
from p2phouse.net.addresses import Address, Interface, pack
from p2phouse.net.events import NetEvent, Trouble
from p2phouse.net.faults import Faults, cause, place
from p2phouse.net.ground import Ground
from p2phouse.net.hello import HelloAnswerer
from p2phouse.net.lan import Lan, NoMulticast
from p2phouse.net.machine import Machine
from p2phouse.net.meeting import Where
from p2phouse.record.limits import ADDRS_MAX
from p2phouse.vocabulary import DeviceKey, Entropy

log = logging.getLogger(__name__)

TROUBLES_TOLD_MAX: Final = 16  # sentences, each told once


class Unexpected(UserError):
    """Looking for nodes nearby failed ({reason}); p2phouse join HOST:PORT still works."""


class Nearby:
    """Looks around on `ground`, and says whom it found and what troubles it."""

    def __init__(
        self,
        *,
        lan: LanMode,
        runtime_dir: Path,
        ground: Ground,
        found: Callable[[DeviceKey, Sequence[Address], Where], Awaitable[None]],
        connected: Callable[[DeviceKey], bool],
        emit: Callable[[NetEvent], Awaitable[None]],
        rng: random.Random,
        entropy: Entropy,
        faults: Faults,
    ) -> None:
        """lan, runtime_dir: as `Network` has them."""
        self.lan = lan
        self.trouble = ""  # that keeps us from hearing the local network
        self._runtime_dir = runtime_dir
        self._ground = ground
        self._found = found
        self._connected = connected
        self._emit = emit
        self._rng = rng
        self._entropy = entropy
        self._faults = faults
        self._now: Lan | None = None
        self._moved = trio.Event()
        self._told: set[str] = set()

    @property
    def heard(self) -> tuple[int, int]:
        """How many nodes announce themselves in the local network, how many of them are silent."""
        return self._now.heard if self._now is not None else (0, 0)

    def moved(self) -> None:
        """The networks under this node have changed."""
        self._moved.set()
        self._moved = trio.Event()

    async def run(self, answerer: HelloAnswerer) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._beside, self._new_machine(answerer).run)
            nursery.start_soon(self._stay_on_lan)

    def _new_machine(self, answerer: HelloAnswerer) -> Machine:
        return Machine(
            self._runtime_dir,
            answerer=answerer,
            addrs=lambda: [pack(each) for each in self._ground.addresses[:ADDRS_MAX]],
            found=lambda dev, addresses: self._found(dev, addresses, "machine"),
            trouble=self._tell,
            entropy=self._entropy,
            faults=self._faults,
        )

    async def _stay_on_lan(self) -> None:
        """Announces and browses, anew whenever the networks have changed."""
        while True:
            moved = self._moved
            async with trio.open_nursery() as nursery:
                self.trouble = ""  # of another network
                nearby = [each for each in self._ground.interfaces if self._is_lan(each)]
                self._now = self._new_lan(nearby) if nearby else None
                if self._now is not None:
                    nursery.start_soon(self._beside, self._now.run)
                else:
                    log.info("lan_off mode=%s", self.lan)
                await moved.wait()
                nursery.cancel_scope.cancel()

    def _is_lan(self, interface: Interface) -> bool:
        if self.lan == "loopback":
            return interface.ip.is_loopback
        # A global address of IPv6 is of a home's network as well, unless the machine is a server.
        is_home6 = interface.ip.version == 6 and not self._ground.is_public
        return self.lan == "on" and (interface.is_private or is_home6)

    def _new_lan(self, nearby: Sequence[Interface]) -> Lan:
        return Lan(
            ips=[interface.ip for interface in nearby],
            port=self._ground.port,
            networks=[interface.network for interface in nearby],
            connected=self._connected,
            found=lambda dev, addresses: self._found(dev, addresses, "lan"),
            trouble=self._tell,
            rng=self._rng,
            entropy=self._entropy,
            faults=self._faults,
        )

    async def _beside(self, work: Callable[[], Awaitable[None]]) -> None:
        """Runs what the network can do without; a person hears of its failure, nothing ends."""
        try:
            await work()
        except Exception as error:
            # Broad: zeroconf has errors of its own, and none of them may end a conversation.
            while isinstance(error, ExceptionGroup):
                error = error.exceptions[0]
            log.warning("trouble error=%s at=%s", type(error).__name__, place(error))
            await self._tell(
                error if isinstance(error, UserError) else Unexpected(reason=cause(error))
            )

    async def _tell(self, error: UserError) -> None:
        """Tells the person once; strangers on a network may cause the same any number of times."""
        text = str(error)
        if isinstance(error, NoMulticast | Unexpected):
            self.trouble = text
        if text not in self._told and len(self._told) < TROUBLES_TOLD_MAX:
            self._told.add(text)
            await self._emit(Trouble(text))
