"""How fast and how wide one voice may come to whoever sends it on to many. Pure.

Each packet costs as much as all who hear it, and whoever carries a crowd does so on one loop for
all its rooms: no one voice may take that loop.
"""

from math import inf
from typing import Final

# Frames of 10 ms by a fast clock, and what comes at once when Wi-Fi was away for a second.
PACKETS_PER_S_MAX: Final = 120
PACKETS_AT_ONCE_MAX: Final = 120
# 384 kb/s: the most that programs for music send is 320, and 50 headers. A voice needs a tenth.
BYTES_PER_S_MAX: Final = 48_000


class Pace:
    __slots__ = ("_bytes", "_left", "_left_s")

    def __init__(self) -> None:
        self._left, self._bytes = float(PACKETS_AT_ONCE_MAX), float(BYTES_PER_S_MAX)
        self._left_s = -inf

    def allow(self, now_s: float, size: int) -> bool:
        """Whether a packet more of so many bytes is within bounds; it counts then."""
        since_s, self._left_s = now_s - self._left_s, now_s
        self._left = min(PACKETS_AT_ONCE_MAX, self._left + since_s * PACKETS_PER_S_MAX)
        self._bytes = min(BYTES_PER_S_MAX, self._bytes + since_s * BYTES_PER_S_MAX)
        if self._left < 1 or self._bytes < size:
            return False
        self._left -= 1
        self._bytes -= size
        return True
