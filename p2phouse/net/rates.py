"""Token buckets and a pace: how much of something a sender may do, in a burst and over time."""

from collections import OrderedDict
from collections.abc import Hashable
from typing import Final

# Sums of fractions fall short of 1 by a rounding, which no wait would ever make up for.
_WHOLE: Final = 1.0 - 1e-6


class TokenBucket:
    """`rate` tokens a second, at most `burst` saved up."""

    def __init__(self, rate: float, burst: float) -> None:
        self._rate = rate
        self._burst = burst
        self._tokens = burst
        self._at = float("-inf")

    def take(self, now_mono: float) -> bool:
        """Takes one token if there is one."""
        self._fill(now_mono)
        if self._tokens < _WHOLE:
            return False
        self._tokens = max(0.0, self._tokens - 1.0)
        return True

    def wait_s(self, now_mono: float) -> float:
        """Seconds until a token is there; 0 if one is."""
        self._fill(now_mono)
        return 0.0 if self._tokens >= _WHOLE else (1.0 - self._tokens) / self._rate

    def _fill(self, now_mono: float) -> None:
        elapsed = max(0.0, now_mono - self._at)
        self._tokens = min(self._burst, self._tokens + elapsed * self._rate)
        self._at = now_mono


class Buckets:
    """A bucket each for the last `sources_max` sources.

    A source forgotten starts with a full bucket; whoever can invent sources is held by a bucket
    for all of them together, which the caller keeps beside this.
    """

    def __init__(self, rate: float, burst: float, sources_max: int) -> None:
        self._rate = rate
        self._burst = burst
        self._sources_max = sources_max
        self._buckets: OrderedDict[Hashable, TokenBucket] = OrderedDict()

    def take(self, source: Hashable, now_mono: float) -> bool:
        """Takes one of the source's tokens if there is one."""
        return self._of(source).take(now_mono)

    def wait_s(self, source: Hashable, now_mono: float) -> float:
        """Seconds until the source has a token; 0 if it has one."""
        return self._of(source).wait_s(now_mono)

    def _of(self, source: Hashable) -> TokenBucket:
        bucket = self._buckets.get(source)
        if bucket is None:
            bucket = self._buckets[source] = TokenBucket(self._rate, self._burst)
            if len(self._buckets) > self._sources_max:
                self._buckets.popitem(last=False)
        self._buckets.move_to_end(source)
        return bucket


class Pace:
    """So many bytes a second, and `burst` of them at once."""

    def __init__(self, rate: float, burst: float) -> None:
        self._rate = rate
        self._burst = burst
        self._left = burst
        self._at = float("-inf")

    def wait_s(self, now_mono: float, size: int) -> float:
        """Spends `size` bytes; how long to wait before they may go."""
        self._left = min(self._burst, self._left + max(0.0, now_mono - self._at) * self._rate)
        self._at = now_mono
        self._left -= size
        return max(0.0, -self._left / self._rate)
