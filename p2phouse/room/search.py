"""Whom we look for: members whose links all broke, and people whom members told us of.

One of them may be behind a bad network, another may not exist at all: whoever tells us of members
has us open connections to addresses of his choice. Hence every bound below.
"""

import math
import random
from collections import Counter
from collections.abc import Iterator
from typing import Final

from p2phouse.hall.card import is_local_address
from p2phouse.record import limits
from p2phouse.record.types import Access
from p2phouse.room.messages import OpenRoomLink, Output
from p2phouse.room.state import Membership, RoomLink, Sought, Stage
from p2phouse.vocabulary import DeviceKey, Now

OPEN_S_MAX: Final = 20.0  # four addresses, two at once, 4 s each; the greeting within 5 s
REDIAL_FIRST_S: Final = 1.0
REDIAL_S_MAX: Final = 15.0
REDIAL_LOST_S_MAX: Final = 4.0  # who was here is back within seconds of its network's return
LOST_SOUGHT_S: Final = 300.0  # a laptop that changed network is back long before
LOST_MAX: Final = limits.ROOM_MEMBERS_MAX  # the longest sought goes first
# Security: one member has us dial at most so many strangers in half a minute, whatever it tells,
# and all of them together no more.
TOLD_SOUGHT_S: Final = 30.0  # dialled at once and after 1, 3, 7 and 15 s
LATER_S: Final = 0.7  # a claim follows a greeting at once
TOLD_MAX: Final = limits.ROOM_MEMBERS_MAX - 1


class Search:
    """The room to look for people in is given with each call."""

    def __init__(self, own: DeviceKey, *, rng: random.Random) -> None:
        self._own = own
        self._rng = rng

    # ── whom to look for ─────────────────────────────────────────────────────────────────────

    def lost(
        self, now: Now, membership: Membership, dev: DeviceKey, addrs: tuple[bytes, ...]
    ) -> None:
        """Somebody who was here: looked for almost at once and then with growing pauses."""
        membership.sought[dev] = Sought(
            addrs, None, redial_at=now.mono + self.pause(-3), give_up_at=now.mono + LOST_SOUGHT_S
        )
        lost = [who for who, sought in membership.sought.items() if sought.teller is None]
        if len(lost) > LOST_MAX:
            del membership.sought[min(lost, key=lambda who: membership.sought[who].give_up_at)]

    def told(
        self,
        now: Now,
        membership: Membership,
        teller: DeviceKey,
        dev: DeviceKey,
        addrs: tuple[bytes, ...],
        *,
        later: bool = False,
    ) -> Iterator[Output]:
        """Somebody who is here, or so a member says. later: in a crowd; then a moment later, for
        somebody who carries it may spare us the call."""
        known = dev == self._own or dev in membership.members or dev in membership.sought
        if (
            known
            or not membership.has_place(outbound=True)
            or not self._listens(membership, teller)
        ):
            return
        dial_at = now.mono + LATER_S if later else math.inf
        membership.sought[dev] = Sought(
            addrs, teller, dial_at, now.mono + TOLD_SOUGHT_S, is_spare=later
        )
        if not later:
            yield from self.dial(now, membership, dev, addrs)

    def _listens(self, membership: Membership, teller: DeviceKey) -> bool:
        """Whether one more is looked for on that member's word; it takes the place of one whom
        somebody has told of who has told of more."""
        told = Counter(each.teller for each in membership.sought.values() if each.teller)
        if told.total() < TOLD_MAX:
            return True
        # Security: nobody's word crowds out the others'.
        loudest, most = max(told.items(), key=lambda item: (item[1], item[0]))
        if most <= told[teller] + 1:
            return False
        spare = [dev for dev, each in membership.sought.items() if each.teller == loudest]
        del membership.sought[spare[-1]]
        return True

    # ── how it goes ──────────────────────────────────────────────────────────────────────────

    def dial(
        self, now: Now, membership: Membership, dev: DeviceKey, addrs: tuple[bytes, ...]
    ) -> Iterator[Output]:
        """Asks for a room link, unless there is one or one is on its way."""
        if dev == self._own or dev in membership.links:
            return
        genesis = membership.genesis
        if genesis is not None and genesis.record.access == Access.LAN:
            addrs = tuple(addr for addr in addrs if is_local_address(addr))
        membership.links[dev] = RoomLink(Stage.OPENING, until=now.mono + OPEN_S_MAX)
        yield OpenRoomLink(dev, membership.room, addrs)

    def found(self, membership: Membership, dev: DeviceKey) -> None:
        membership.sought.pop(dev, None)

    def failed(self, now: Now, membership: Membership, dev: DeviceKey) -> None:
        """A dial came to nothing, or the link ended before a greeting."""
        sought = membership.sought.get(dev)
        if sought is not None and not sought.is_refused:
            pause_s = self.pause(sought.tries)
            if sought.teller is None:
                pause_s = min(pause_s, self.about(REDIAL_LOST_S_MAX))
            sought.redial_at = now.mono + pause_s
            sought.tries += 1

    def refused(self, membership: Membership, dev: DeviceKey) -> None:
        """It is there and wants no link."""
        sought = membership.sought.get(dev)
        if sought is None:
            return
        if sought.teller is None:
            del membership.sought[dev]
        else:
            sought.is_refused = True

    def pause(self, tries: int) -> float:
        return self.about(min(REDIAL_S_MAX, REDIAL_FIRST_S * 2.0**tries))

    def about(self, seconds: float) -> float:
        """Give or take a fifth, so that nodes do not do everything at the same moment."""
        return seconds * self._rng.uniform(0.8, 1.2)

    # ── time ─────────────────────────────────────────────────────────────────────────────────

    def tick(self, now: Now, membership: Membership) -> Iterator[Output]:
        for dev, sought in list(membership.sought.items()):
            if sought.give_up_at <= now.mono:
                del membership.sought[dev]
            elif sought.redial_at <= now.mono:
                sought.redial_at = math.inf  # until we know how this one went
                yield from self.dial(now, membership, dev, sought.addrs)

    def deadline(self, membership: Membership) -> float:
        times = (min(who.redial_at, who.give_up_at) for who in membership.sought.values())
        return min(times, default=math.inf)
