"""Whose turn it is to shake hands: a few of each network at a time, the others in line. Pure.

Those in flight alone are bounded. On a good path one is through in some milliseconds, and who is
through is counted no more.
"""

from collections import deque
from collections.abc import Iterator
from typing import Final

from p2phouse.link.peer import Peer

SHAKING_MAX: Final = 8  # of one network
STALL_S: Final = 1.0  # one that got no further for so long makes room when others wait


class Turns:
    def __init__(self) -> None:
        self._shaking: dict[int, list[Peer]] = {}  # by network
        self._lines: dict[int, deque[Peer]] = {}

    def __bool__(self) -> bool:
        """Whether any handshake is in flight."""
        return bool(self._shaking)

    def __iter__(self) -> Iterator[Peer]:
        """Those in flight, as they are now."""
        return iter([peer for shaking in self._shaking.values() for peer in shaking])

    @property
    def lines(self) -> tuple[int, ...]:
        """The networks of which somebody waits."""
        return tuple(self._lines)

    def has_room(self, network: int) -> bool:
        return len(self._shaking.get(network, ())) < SHAKING_MAX

    def stalled(self, now_s: float, network: int) -> Peer | None:
        """Who of a full network has stood still for so long that another may have its place."""
        peer = min(self._shaking[network], key=lambda each: each.moved_s)
        return None if now_s < peer.moved_s + STALL_S else peer

    def begin(self, peer: Peer) -> None:
        self._shaking.setdefault(peer.network, []).append(peer)

    def wait(self, peer: Peer) -> None:
        """In line, once."""
        line = self._lines.setdefault(peer.network, deque())
        if peer not in line:
            line.append(peer)

    def call(self, network: int) -> list[Peer]:
        """As many as there is room for, of those who have waited longest; they wait no more."""
        free = SHAKING_MAX - len(self._shaking.get(network, ()))
        called = list(self._lines.get(network, ()))[:free]
        for peer in called:
            _take(self._lines, peer)
        return called

    def leave(self, peer: Peer) -> None:
        """Wherever it is."""
        _take(self._shaking, peer)
        _take(self._lines, peer)


def _take(groups: dict[int, list[Peer]] | dict[int, deque[Peer]], peer: Peer) -> None:
    group = groups.get(peer.network)
    if group is not None and peer in group:
        group.remove(peer)
        if not group:
            del groups[peer.network]
