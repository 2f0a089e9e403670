"""Whether a relay has a place for one guest more, and where else there is one. Pure.

A room stands at several relays only where who runs them says so; at others its name is another
room's. From nine tenths on whoever is new is sent on to such a relay; whoever is in stays.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from p2phouse.guest.exchange import Reply, Request, later, said

BUSY_PERMILLE: Final = 700  # of media's core: above that new handshakes delay the voices of others
NEARLY: Final = 0.9
SENT: Final = "sent-on"
UNKEPT: Final = ("cache-control", "no-store")  # a moment later there may be a place here


@dataclass(frozen=True, slots=True)
class Crowding:
    """Of one room. also_at: relays (https://…) that have it as well."""

    is_nearly_full: bool = False
    is_full: bool = False
    also_at: tuple[str, ...] = ()


@dataclass(slots=True)
class Capacity:
    """load_permille: of media's core. month_permille: of what may be sent in a month, 0 if anything
    may. sent_on: how many were told of another relay."""

    guests_max: int
    rooms_max: int
    load_permille: int = 0
    month_permille: int = 0
    draining: bool = False
    sent_on: int = 0

    def refusal(self, request: Request, *, guests: int, rooms: int, room: Crowding) -> Reply | None:
        """Why nobody more is let in now, and where or when to ask again.

        rooms: with that of the guest, which is `room`.
        """
        full = self._full(guests, rooms)
        if room.is_full:
            full = full or later(30, "the room has as many listeners here as it may")
        is_nearly = (
            guests >= NEARLY * self.guests_max
            or self.load_permille >= NEARLY * BUSY_PERMILLE
            or self.month_permille >= NEARLY * 1_000
            or room.is_nearly_full
        )
        if full is None and not is_nearly:
            return None
        return self.elsewhere(request, room.also_at, request.path) or full

    def elsewhere(self, request: Request, also_at: Sequence[str], path: str) -> Reply | None:
        """To that path at another relay, each in turn; None if there is none.

        Whoever was sent here is sent no further: two full relays would pass guests round for good.
        """
        asked = request.query.split("&") if request.query else []
        if not also_at or SENT in asked:
            return None
        # A token may stand in it, which is that relay's as well: its operator gave it both.
        query = "&".join([*asked, SENT])
        to = f"{also_at[self.sent_on % len(also_at)]}{path}?{query}"
        self.sent_on += 1
        # RFC 9725 §4.5: 307 keeps the method and the offer.
        return said(307, f"this relay is nearly full: {to}", ("location", to), UNKEPT)

    def _full(self, guests: int, rooms: int) -> Reply | None:
        if self.draining:
            return later(300, "the relay is closing and takes nobody in")
        if self.load_permille > BUSY_PERMILLE:
            return later(5, "the relay is busy")
        if guests >= self.guests_max:
            return later(30, "the relay is full")
        if self.month_permille >= 1_000:
            return later(3_600, "the relay has sent as much this month as it may")
        if rooms > self.rooms_max:
            return later(30, "the relay has as many rooms as it can carry")
        return None
