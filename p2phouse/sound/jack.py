"""What the mouth or the ear is plugged into: opened and closed off the loop, one at a time.

Opening reads a whole file or waits for a device, so a newer wish can overtake it: the newest
counts, and what an older one brings is closed unused. The former is closed before the next is
opened: two would claim one device, or write one file.
"""

import asyncio
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from p2phouse.errors import UserError


class Plug(Protocol):
    def close(self) -> None:
        """Frees what it holds; may block. Raises UserError if something was lost."""


PlugT = TypeVar("PlugT", bound=Plug)

Told = Callable[[UserError | None], None]
"""Told once a plug is closed, and what went wrong with it."""


class Jack(Generic[PlugT]):
    """`plug` is what is plugged in now. Everything but the opening itself runs on the loop."""

    def __init__(self) -> None:
        self.plug: PlugT | None = None
        self._wish = 0
        self._opening = asyncio.Lock()
        self._closing: set[asyncio.Future[None]] = set()

    async def change(self, opener: Callable[[Callable[[], bool]], PlugT]) -> None:
        """Plugs in what `opener` opens in a thread, unless a newer change or `pull` comes first.

        opener: is given a function that says whether it is still wanted.
        Raises what the opener raises, if that is still of interest.
        """
        self.pull()
        wish = self._wish
        async with self._opening:
            await self.closed()
            if wish != self._wish:
                return
            opened = asyncio.ensure_future(asyncio.to_thread(opener, lambda: wish == self._wish))
            try:
                plug = await asyncio.shield(opened)
            except asyncio.CancelledError:
                # Security: the thread runs on and may open a microphone. It must not stay open.
                opened.add_done_callback(self._close_unused)
                raise
            except UserError:
                if wish == self._wish:
                    raise
                return
            if wish == self._wish:
                self.plug = plug
            else:
                self._close(plug)

    def pull(self, told: Told = lambda error: None) -> None:
        """Unplugs at once and closes in a thread; `told` is called when that is done."""
        self._wish += 1
        plug, self.plug = self.plug, None
        if plug is not None:
            self._close(plug, told)

    async def closed(self) -> None:
        """Waits until everything pulled is closed."""
        while self._closing:
            await asyncio.wait(self._closing)

    def _close(self, plug: PlugT, told: Told = lambda error: None) -> None:
        closing = asyncio.get_running_loop().run_in_executor(None, plug.close)
        self._closing.add(closing)

        def done(closing: "asyncio.Future[None]") -> None:
            self._closing.discard(closing)
            error = None if closing.cancelled() else closing.exception()
            assert error is None or isinstance(error, UserError), error
            told(error)

        closing.add_done_callback(done)

    def _close_unused(self, opened: "asyncio.Future[PlugT]") -> None:
        if not opened.cancelled() and opened.exception() is None:
            self._close(opened.result())
