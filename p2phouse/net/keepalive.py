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
from p2phouse.net.wire import Wire
from p2phouse.vocabulary import DeviceKey, key_short

log = logging.getLogger(__name__)

PROTOCOL: Final = "/p2phouse/ping/1"
NONCE_BYTES: Final = 8
IN_ROOM_S: Final = 5.0
ELSEWHERE_S: Final = 15.0
MISSES_MAX: Final = 3  # Wi-Fi roaming takes 2-5 s, so one or two may miss in a healthy link
IDLE_S: Final = 4 * ELSEWHERE_S  # the other end pings at least each 15 s while it lives


class WrongEcho(PeerError):
    """A ping came back changed."""


async def echo(wire: Wire) -> None:
    """Serves one inbound ping stream to its end. Raises PeerError."""
    while True:
        nonce = await wire.receive(size_max=NONCE_BYTES, wait_s=IDLE_S)
        await wire.send(nonce)


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
        while True:
            limit_s = interval_s(in_room())
            if misses == 0:
                await trio.sleep(limit_s * rng.uniform(0.9, 1.1))
            try:
                wire = wire or await open_wire()
                await _ping(wire, rng, limit_s)
                misses = 0
            except (LinkError, PeerError) as error:
                misses += 1
                log.info("ping_missed peer=%s misses=%d error=%s", key_short(dev), misses, error)
                if wire is not None:
                    await wire.reset()
                    wire = None
                if misses >= MISSES_MAX:
                    return
                await trio.sleep(rng.uniform(0.0, 0.5))  # a refusal comes at once
    finally:
        if wire is not None:
            await wire.reset()


async def _ping(wire: Wire, rng: random.Random, limit_s: float) -> None:
    nonce = rng.randbytes(NONCE_BYTES)  # tells echoes apart; the connection is authenticated
    await wire.send(nonce)
    if await wire.receive(size_max=NONCE_BYTES, wait_s=limit_s) != nonce:
        raise WrongEcho
