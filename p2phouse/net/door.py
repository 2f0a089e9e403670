"""Who may come in: how many handshakes at once and how often, and who leaves when the node is full.

A handshake costs 10 ms of CPU and proves a key that cost nothing to make, so before it only the
address counts, and an address far away counts by its neighbourhood. Pure: the host closes sockets.
"""

import ipaddress
import math
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from p2phouse.net.addresses import IPAddress, IPNetwork, is_attached
from p2phouse.net.rates import Buckets, TokenBucket

HANDSHAKES_FAR_MAX: Final = 8  # at once from one neighbourhood; a school's come one after another
HANDSHAKES_NEAR_MAX: Final = 64  # at once from one address on our networks or this machine
HANDSHAKES_MAX: Final = 96
GIVES_WAY_S: Final = 1.0  # an honest handshake takes 10-100 ms, on a busy machine some more
ARRIVALS_FAR_A_SECOND: Final = 1.0
ARRIVALS_FAR_BURST: Final = 16.0
ARRIVALS_NEAR_A_SECOND: Final = 8.0
ARRIVALS_NEAR_BURST: Final = 128.0
ARRIVALS_A_SECOND: Final = 20.0  # far ones altogether: 20 % of a core
ARRIVALS_BURST: Final = 128.0
CROWDS_MAX: Final = 1_024


def is_near(ip: IPAddress, networks: Iterable[IPNetwork]) -> bool:
    """Whether `ip` is this machine or lies on a network it is attached to."""
    return ip.is_loopback or is_attached(ip, networks)


def crowd_of(ip: IPAddress, networks: Iterable[IPNetwork]) -> Hashable:
    """What shares one allowance: an address nearby alone, one far away with its neighbourhood.

    A /24 (IPv4) or /48 (IPv6) may be one customer's, so its addresses are free to whoever has it.
    """
    if is_near(ip, networks):
        return ip
    return ipaddress.ip_network(f"{ip}/{24 if ip.version == 4 else 48}", strict=False)


@dataclass(eq=False, slots=True)
class Handshake:
    """One that is under way. give_way: ends it, called when its place is needed."""

    crowd: Hashable
    since: float
    give_way: Callable[[], None]


class Door:
    """Admits handshakes. Of too many the oldest gives way, so that silence holds no place."""

    def __init__(self, networks: Callable[[], Sequence[IPNetwork]]) -> None:
        self._networks = networks
        self._under_way: dict[Handshake, None] = {}  # in the order of their coming
        self._near = Buckets(ARRIVALS_NEAR_A_SECOND, ARRIVALS_NEAR_BURST, CROWDS_MAX)
        self._far = Buckets(ARRIVALS_FAR_A_SECOND, ARRIVALS_FAR_BURST, CROWDS_MAX)
        # Security: neighbourhoods are many, so there is a bucket for all of them together.
        self._all_far = TokenBucket(ARRIVALS_A_SECOND, ARRIVALS_BURST)

    def enter(
        self, now_mono: float, ip: IPAddress, give_way: Callable[[], None]
    ) -> Handshake | None:
        """A place for a handshake, to be left by `leave`; None if there is none."""
        near = is_near(ip, self._networks())
        crowd = crowd_of(ip, self._networks())
        own = [each for each in self._under_way if each.crowd == crowd]
        most = HANDSHAKES_NEAR_MAX if near else HANDSHAKES_FAR_MAX
        if len(own) >= most and not self._frees(now_mono, own[0]):
            return None
        if len(self._under_way) >= HANDSHAKES_MAX and not self._frees(
            now_mono, next(iter(self._under_way))
        ):
            return None
        if near:
            may = self._near.take(crowd, now_mono)
        else:
            may = self._far.take(crowd, now_mono) and self._all_far.take(now_mono)
        if not may:
            return None
        handshake = Handshake(crowd, now_mono, give_way)
        self._under_way[handshake] = None
        return handshake

    def leave(self, handshake: Handshake) -> None:
        """The handshake has ended, well or not."""
        self._under_way.pop(handshake, None)

    def _frees(self, now_mono: float, oldest: Handshake) -> bool:
        if now_mono - oldest.since < GIVES_WAY_S:
            return False
        self.leave(oldest)
        oldest.give_way()
        return True


ItemT = TypeVar("ItemT")


def to_close(connections: Sequence[tuple[ItemT, Hashable, float]]) -> ItemT | None:
    """Which of these (connection, crowd, since) leaves when there are too many; None if none may.

    The youngest of the biggest crowd: whoever comes in numbers crowds out itself, and those who
    were here stay.
    """
    sizes: dict[Hashable, int] = {}
    for _, crowd, _ in connections:
        sizes[crowd] = sizes.get(crowd, 0) + 1
    leaves: ItemT | None = None
    worst = (0, -math.inf)
    for item, crowd, since in connections:
        if (sizes[crowd], since) > worst:
            leaves, worst = item, (sizes[crowd], since)
    return leaves
