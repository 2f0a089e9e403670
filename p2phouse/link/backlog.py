"""Sound that was read from a port and waits for its turn. Pure.

A packet is passed on as it is read, as long as that is quicker than they come. When it is not, each
would wait longer than the one before, for seconds, in a buffer of the system. Whoever cannot send
them all sends as many either way: so of what waits here too long only each voice's newest stays,
and keeps the voice's place in the line.
"""

from collections import deque
from math import inf
from typing import Final

from p2phouse.link.peer import Peer

# What comes at once, since somebody's Wi-Fi was away, is all passed on if that takes no longer.
WAIT_S_MAX: Final = 0.040
LOOK_EACH_S: Final = 0.010  # it costs a look at each


class Backlog:
    """`put` what is read, `take` what is next."""

    def __init__(self) -> None:
        self._packets: deque[tuple[float, Peer, bytes]] = deque()
        self._looked_s = -inf
        self._taken = self._dropped = 0

    def __len__(self) -> int:
        return len(self._packets)

    def count(self) -> tuple[int, int]:
        """How many were taken since it was last asked, and how many never were."""
        counts = self._taken, self._dropped
        self._taken = self._dropped = 0
        return counts

    def put(self, now_s: float, peer: Peer, data: bytes) -> None:
        self._packets.append((now_s, peer, data))

    def take(self, now_s: float) -> tuple[Peer, bytes] | None:
        """The next; None if nothing waits."""
        packets = self._packets
        if not packets:
            return None
        if now_s > packets[0][0] + WAIT_S_MAX and now_s >= self._looked_s + LOOK_EACH_S:
            self._looked_s = now_s
            self._drop()
        _, peer, data = self._packets.popleft()
        self._taken += 1
        return peer, data

    def _drop(self) -> None:
        """All but the newest of each voice.

        Security: all names that never opened count as one, or one who floods has everybody wait.
        Test: test_backlog.py::test_under_ever_new_names_one_keeps_one_place
        """
        newest: dict[tuple[int, bytes], tuple[float, Peer, bytes]] = {}
        for each in self._packets:
            _, peer, data = each
            ssrc = data[8:12]
            newest[peer.number, ssrc if ssrc in peer.ssrcs else b""] = each
        self._dropped += len(self._packets) - len(newest)
        self._packets = deque(newest.values())
