"""The one loop that runs a core: waits for its deadline or for a message, performs what it says.

A core decides and does no I/O; this loop is where its decisions meet trio. If you are writing a
second one, stop: add an output instead.
"""

import logging
import time
from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

import trio

from p2phouse.errors import PeerError
from p2phouse.vocabulary import DeviceKey, Now, key_short

log = logging.getLogger(__name__)

MessageT_contra = TypeVar("MessageT_contra", contravariant=True)
MessageT = TypeVar("MessageT")
OutputT = TypeVar("OutputT")


class Core(Protocol[MessageT_contra, OutputT]):
    """A pure machine: inputs return their outputs, so none can be forgotten."""

    @property
    def deadline(self) -> float:
        """When `tick` wants to be called, in seconds of `Now.mono`; inf if never."""

    def receive(self, now: Now, sender: DeviceKey, message: MessageT_contra) -> list[OutputT]: ...

    def tick(self, now: Now) -> list[OutputT]:
        """After tick(now), deadline > now.mono."""


def clock() -> Now:
    """Both kinds of time, read once."""
    return Now(time.monotonic(), time.time())


async def drive(
    core: Core[MessageT, OutputT],
    inbox: trio.MemoryReceiveChannel[tuple[DeviceKey, MessageT]],
    perform: Callable[[OutputT], Awaitable[None]],
    drop: Callable[[DeviceKey, PeerError], Awaitable[None]],
) -> None:
    """Runs `core` until the inbox closes.

    perform: hands off to a bounded queue and returns, so that a slow peer never holds up a core.
    drop: called with the peer whose message broke the protocol.
    """
    while True:
        # trio's clock and time.monotonic() differ by a constant that only trio knows.
        wait_s = core.deadline - time.monotonic()
        received = None
        with trio.move_on_after(max(0.0, wait_s)):
            try:
                received = await inbox.receive()
            except trio.EndOfChannel:
                return
        now = clock()
        if received is None:
            outputs = core.tick(now)
        else:
            sender, message = received
            try:
                outputs = core.receive(now, sender, message)
            except PeerError as error:
                log.warning("peer_error from=%s error=%s", key_short(sender), error)
                await drop(sender, error)
                continue
        for output in outputs:
            await perform(output)
