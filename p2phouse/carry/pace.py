"""How fast one voice may come to whoever sends it on to many. Pure.

Each packet costs as much as all who hear it, and whoever carries a crowd does so on one loop for
all its rooms: no one voice may take that loop.
"""

from math import inf
from typing import Final

# Frames of 10 ms by a fast clock, and what comes at once when Wi-Fi was away for a second.
PACKETS_PER_S_MAX: Final = 120
PACKETS_AT_ONCE_MAX: Final = 120


class Pace:
    __slots__ = ("_left", "_left_s")

    def __init__(self) -> None:
        self._left, self._left_s = float(PACKETS_AT_ONCE_MAX), -inf

    def allow(self, now_s: float) -> bool:
        """Whether a packet more is within bounds; it counts then."""
        earned = (now_s - self._left_s) * PACKETS_PER_S_MAX
        self._left, self._left_s = min(PACKETS_AT_ONCE_MAX, self._left + earned), now_s
        if self._left < 1:
            return False
        self._left -= 1
        return True
