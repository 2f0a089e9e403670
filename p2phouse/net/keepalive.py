"""Our own ping: a pulled cable is noticed in 15 s in a room and in 45 s elsewhere.

libp2p keeps a dead connection listed for more than 75 s. One long-lived stream per peer and
direction carries frames of 8 bytes that come back as they went; it also keeps NAT mappings open.
"""

import logging
import random
from collections.abc import Awaitable, Callable
from typing import Final

import trio

from p2phouse.errors import LinkError, PeerError
from p2phouse.net.wire import TooSlow, Wire
from p2phouse.vocabulary import DeviceKey, key_short

log = logging.getLogger(__name__)

PROTOCOL: Final = "/p2phouse/ping/1"
NONCE_BYTES: Final = 8
IN_ROOM_S: Final = 5.0
ELSEWHERE_S: Final = 15.0
MISSES_MAX: Final = 3
# Of the interval, so that in a room three misses take 10 s, more than Wi-Fi roaming (2-5 s), and
# with the wait for the next ping a dead peer is known after 10 to 15.5 s.
ANSWER_SHARE: Final = 2 / 3
IDLE_S: Final = 4 * ELSEWHERE_S  # the other end pings at least each 15 s while it lives
ECHO_PAUSE_S: Final = 0.1  # whoever pings for our CPU's sake gets 10 a second
LOOK_S: Final = 2.5
STRAY_MAX: Final = 2 * MISSES_MAX  # echoes of earlier pings


class WrongEcho(PeerError):
    """A ping came back changed."""


async def echo(wire: Wire) -> None:
    """Serves one inbound ping stream to its end. Raises PeerError."""
    while True:
        nonce = await wire.receive(size_max=NONCE_BYTES, wait_s=IDLE_S)
        await wire.send(nonce)
        await trio.sleep(ECHO_PAUSE_S)


async def keep_alive(
    dev: DeviceKey,
    *,
    open_wire: Callable[[], Awaitable[Wire]],
    in_room: Callable[[], bool],
    rng: random.Random,
    interval_s: Callable[[bool], float] = lambda room: IN_ROOM_S if room else ELSEWHERE_S,
) -> None:
    """Pings until three in a row were missed, then returns. A stall of ours counts as one miss."""
    wire: Wire | None = None
    misses = 0
    try:
        while misses < MISSES_MAX:
            if misses == 0:
                await _pause(lambda: interval_s(in_room()), jitter=rng.uniform(0.9, 1.1))
            try:
                wire = wire or await open_wire()
                await _ping(wire, rng, interval_s(in_room()) * ANSWER_SHARE)
                misses = 0
            except (LinkError, PeerError) as error:
                misses += 1
                log.info("ping_missed peer=%s misses=%d error=%s", key_short(dev), misses, error)
                # A slow echo may yet come on this stream, and a silent peer opens no other.
                if wire is not None and not isinstance(error, TooSlow):
                    await wire.reset()
                    wire = None
                    await trio.sleep(rng.uniform(0.0, 0.5))  # a refusal comes at once
    finally:
        if wire is not None:
            await wire.reset()


async def _pause(seconds: Callable[[], float], *, jitter: float) -> None:
    """Sleeps so long, looking now and then whether it shall be shorter: a room was joined."""
    began = trio.current_time()
    while (left_s := began + seconds() * jitter - trio.current_time()) > 0:  # noqa: ASYNC110 - joining a room has no event here, and 2.5 s are soon enough
        await trio.sleep(min(left_s, LOOK_S))


async def _ping(wire: Wire, rng: random.Random, limit_s: float) -> None:
    """Raises TooSlow, another PeerError or LinkError."""
    nonce = rng.randbytes(NONCE_BYTES)  # tells echoes apart; the connection is authenticated
    await wire.send(nonce)
    with trio.move_on_after(limit_s):
        for _ in range(STRAY_MAX):
            if await wire.receive(size_max=NONCE_BYTES, wait_s=None) == nonce:
                return
        raise WrongEcho
    raise TooSlow(seconds=limit_s)
