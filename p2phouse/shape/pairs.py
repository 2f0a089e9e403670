"""Who could not meet whom, and has not met him since.

Both must have said so, in their bids. Nobody tries while neither is hub nor standby, so a pair
would count as failed for good: two in a small room, which is carried for nothing else, try again
now and then (`retry`), and their bids say when they have met.
"""

from typing import Final

from p2phouse.shape import measure
from p2phouse.shape.measure import View
from p2phouse.vocabulary import DeviceKey

PAIRS_MAX: Final = 64
RETRY_EACH_S: Final = 60.0
RETRY_S: Final = 12.0  # a link takes at most so long (link/ice.py)


class Pairs:
    def __init__(self) -> None:
        self._apart: set[frozenset[DeviceKey]] = set()

    def __bool__(self) -> bool:
        return bool(self._apart)

    def see(self, view: View) -> None:
        """Members or their bids are other than before."""
        for pair in measure.failing_pairs(view):
            if len(self._apart) < PAIRS_MAX:
                self._apart.add(pair)
        met = measure.meeting_pairs(view)
        self._apart = {pair for pair in self._apart if pair <= view.members and pair not in met}

    def of(self, dev: DeviceKey) -> frozenset[DeviceKey]:
        """With whom it has failed to meet."""
        return frozenset(other for pair in self._apart if dev in pair for other in pair - {dev})


def retry(now: float, since: float) -> tuple[bool, float]:
    """Whether the two of a pair try now, and when that changes. since: when the claim came that
    counts; both go by it, so they try at a time."""
    began = since + (now - since) // RETRY_EACH_S * RETRY_EACH_S
    if now >= began + RETRY_EACH_S:
        began += RETRY_EACH_S  # floats round
    if began > since and now < began + RETRY_S:
        return True, began + RETRY_S
    return False, began + RETRY_EACH_S
