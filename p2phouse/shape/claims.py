"""Claims of who carries a room: of all that were heard the greatest counts.

A max-register: whoever has heard the same claims, in whatever order and however often, holds the
same one. There is no vote, and two hubs for a second are only packets that come twice.
"""

from dataclasses import dataclass
from typing import Final

from p2phouse.record import limits
from p2phouse.record.envelope import Signed
from p2phouse.record.types import Claim
from p2phouse.shape import measure
from p2phouse.shape.measure import View, is_tried, tie, would_carry
from p2phouse.vocabulary import DeviceKey, RoomId

EPOCHS_AHEAD: Final = 16  # more than a room has begun before anybody is a minute in it
COST_SLACK_MS: Final = 20  # views differ a little
Key = tuple[int, int, bytes, bytes]


def key(signed: Signed[Claim]) -> Key:
    """Of two claims the one with the greater key counts."""
    claim = signed.record
    hub = b"" if claim.hub is None else tie(RoomId(claim.room), DeviceKey(claim.hub))
    return claim.epoch, -claim.cost, hub, signed.id


@dataclass(slots=True)
class Register:
    """The greatest claim that was taken."""

    held: Signed[Claim] | None = None

    @property
    def epoch(self) -> int:
        return 0 if self.held is None else self.held.record.epoch

    def is_greater(self, signed: Signed[Claim]) -> bool:
        return self.held is None or key(signed) > key(self.held)

    def take(self, signed: Signed[Claim]) -> bool:
        """Whether it counts from now on."""
        if not self.is_greater(signed):
            return False
        self.held = signed
        return True

    def is_in_reach(self, claim: Claim, room_age_s: float) -> bool:
        """Whether a room of that age can have come so far.

        Security: or a liar would claim the last epoch there is, at once or one by one, and nobody
        could follow. Half as many again as by age, for a clock may be wrong.
        Test: test_election.py::test_nobody_uses_the_epochs_up_one_by_one
        """
        by_age = EPOCHS_AHEAD + max(0, int(room_age_s))
        return claim.epoch <= max(by_age, min(self.epoch + 1, by_age + by_age // 2))


def is_acceptable(view: View, claim: Claim, *, is_newcomer: bool) -> bool:
    """Whether the room could do as it says, as far as we know.

    Security: nobody is made a hub who does not carry, or by a cost that those who measured it
    would not know again.
    """
    if claim.hub is None:
        return view.people <= limits.MESH_MEMBERS_MAX
    hub = DeviceKey(claim.hub)
    if hub not in view.members:
        return is_newcomer  # we may not have met it yet
    bid = view.bids.get(hub)
    if bid is None:
        return True
    if not would_carry(bid):
        return False
    ours = measure.cost(view, hub)
    return not is_tried(view, hub) or claim.cost + COST_SLACK_MS + claim.cost // 4 >= ours
