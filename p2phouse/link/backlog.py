"""Sound that was read from a port and waits for its turn. Pure.

A packet is passed on as it is read, as long as that is quicker than they come. When it is not, each
would wait longer than the one before, for seconds, in a buffer of the system: late sound is worth
less than none, for it is late for as long as somebody speaks. So the port is read dry all the same,
and of what has waited too long here only the newest of each voice stay.
"""

from collections import Counter, deque
from math import inf
from typing import Final

from p2phouse.link.peer import Peer

# What came at once, because somebody's Wi-Fi was away, is all passed on if that takes no longer.
WAIT_S_MAX: Final = 0.060
KEPT: Final = 4  # of one voice: 80 ms of it
LOOK_EACH_S: Final = 0.010  # it costs a look at each


class Backlog:
    """`put` what is read, `take` what is next."""

    def __init__(self) -> None:
        self._packets: deque[tuple[float, Peer, bytes]] = deque()
        self._looked_s = -inf
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._packets)

    def put(self, now_s: float, peer: Peer, data: bytes) -> None:
        self._packets.append((now_s, peer, data))

    def take(self, now_s: float) -> tuple[Peer, bytes] | None:
        """The oldest that is not too old; None if nothing waits."""
        packets = self._packets
        if not packets:
            return None
        if now_s > packets[0][0] + WAIT_S_MAX and now_s >= self._looked_s + LOOK_EACH_S:
            self._looked_s = now_s
            self._drop()
        _, peer, data = self._packets.popleft()
        return peer, data

    def _drop(self) -> None:
        """Security: all but the newest of each voice, and all names that never opened count as one,
        or one who is late, or floods, has everybody wait.
        Test: test_backlog.py::test_under_ever_new_names_one_keeps_no_more_places_than_a_voice
        """
        kept: deque[tuple[float, Peer, bytes]] = deque()
        counts: Counter[tuple[int, bytes]] = Counter()
        for each in reversed(self._packets):
            _, peer, data = each
            ssrc = data[8:12]
            key = peer.number, ssrc if ssrc in peer.ssrcs else b""
            counts[key] += 1
            if counts[key] <= KEPT:
                kept.appendleft(each)
        self.dropped += len(self._packets) - len(kept)
        self._packets = kept
