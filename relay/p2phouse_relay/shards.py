"""The relay's media processes: started, told and heard by number, each with a port of its own.

What comes in at one for listeners of another goes between them (p2phouse/guest/across.py) and not
through here. Each is begun anew by itself when it dies; the others do not notice.
"""

import logging
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

import trio

from p2phouse import channel
from p2phouse.guest.across import Pairs
from p2phouse.guest.shards import MIXER, To
from p2phouse.media import MediaProcess

log = logging.getLogger(__name__)


class MediaProcesses:
    """`run` keeps them alive; `ready` is set once each has had its port."""

    def __init__(
        self,
        heard: Callable[[int, channel.Up], Awaitable[None]],
        gone: Callable[[int], Awaitable[None]],
        *,
        count: int,
        module: str,
        addresses: Sequence[str],
        udp_port: int,
        stay_near: bool = False,
        together_above: int | None = None,
    ) -> None:
        """heard, gone: as MediaProcess has them, with the number of the process. udp_port: of the
        first, the others have those that follow; 0: any. stay_near: no router passes sound on.
        together_above: as of Media."""
        level = logging.getLevelName(logging.getLogger().getEffectiveLevel())
        self.pairs = pairs = Pairs((*range(count), MIXER))
        self.ports: dict[int, int] = {}
        self.ready = trio.Event()
        self._heard = heard
        self._processes = [
            MediaProcess(
                partial(self._hear, number),
                partial(gone, number),
                module=module,
                arguments=(
                    *[f"--address={each}" for each in addresses],
                    f"--udp-port={udp_port and udp_port + number}",
                    f"--log={level}",
                    *(("--near",) if stay_near else ()),
                    *(() if together_above is None else (f"--together-above={together_above}",)),
                    *pairs.arguments(number),
                ),
                pass_fds=pairs.fds(number),
            )
            for number in range(count)
        ]

    def __len__(self) -> int:
        return len(self._processes)

    async def run(self) -> None:
        """Until cancelled. Raises MediaFailed if one of them will not live."""
        try:
            async with trio.open_nursery() as nursery:
                for each in self._processes:
                    nursery.start_soon(each.run)
        finally:
            self.pairs.close()

    async def send(self, to: To) -> None:
        await self._processes[to.shard].send(to.message)

    @property
    def pids(self) -> list[int | None]:
        return [each.pid for each in self._processes]

    @property
    def restarts(self) -> int:
        """Of all of them."""
        return sum(each.restarts for each in self._processes)

    async def _hear(self, number: int, message: channel.Up) -> None:
        await self._heard(number, message)
        if isinstance(message, channel.PortReady):
            log.info("media_ready process=%d udp_port=%d", number, message.port)
            self.ports[number] = message.port
            if len(self.ports) == len(self._processes):
                self.ready.set()
