"""Whether anybody who runs the room is in it, and when it closes because nobody is.

A room outlives its host: nobody takes a seat that is empty, and who returns to his has it back. But
a room that nobody runs has nobody against those who spoil it, so it closes, after a while and with
a word, and its people may go on in another that one of them opens (room/succession.py). The same
happens at the end of a room's life. Each node finds this out alone, by whom it sees.
"""

import math
from collections.abc import Callable, Iterator
from typing import Final

from p2phouse.errors import UserError
from p2phouse.identity.keys import Me
from p2phouse.room.messages import Event, EventKind, Output
from p2phouse.room.rules import Role
from p2phouse.room.state import Membership
from p2phouse.vocabulary import Now, UserKey

ABSENT_S: Final = 30.0  # a laptop that changes its network is back within it
MISSED_S: Final = 10.0  # two notice the same loss up to three pings of 5 s apart
CLOSES_S: Final = 600.0  # since nobody who runs the room was seen last
END_NOTICE_S: Final = 600.0  # before the end of a room's life
OUT: Final = (Role.BAN, Role.REMOVE)
CLOSED: Final = "nobody who runs the room came back, so it closed after ten minutes"


class GoesOn(UserError):
    """This room goes on by itself: somebody who runs it is here.
    To talk elsewhere, open a room of your own."""


class NotYours(UserError):
    """This room ends soon. One of those who run it can open the next; you will be offered it."""


class LeadsNobody(UserError):
    """You were put out of this room, so others do not follow you to the next one.
    To talk elsewhere, open a room of your own."""


class Attendance:
    """See the module. The room is given with each call."""

    def __init__(self, me: Me, *, mono_of: Callable[[float], float]) -> None:
        """mono_of: when a tick finds unix time past the one that it is given."""
        self._me = me
        self._mono_of = mono_of

    # ── who is here ──────────────────────────────────────────────────────────────────────────

    def is_run(self, membership: Membership) -> bool:
        """Whether somebody who holds a seat now is here, ourselves included."""
        seat_of = membership.log.state.seat_of
        people = [self._me.uid, *(member.uid for member in membership.members.values())]
        return any(seat_of(uid) is not None for uid in people)

    def settle(self, now: Now, membership: Membership) -> Iterator[Output]:
        """After each input and tick."""
        if not membership.joined or membership.genesis is None:
            return
        if self.is_run(membership):
            membership.absent_since = math.inf
            if membership.unattended:
                membership.unattended = False
                yield Event(EventKind.ATTENDED, membership.room, None)
        else:
            membership.absent_since = min(membership.absent_since, now.mono)
        if not membership.unattended and membership.absent_since + ABSENT_S <= now.mono:
            membership.unattended = True
            yield Event(EventKind.UNATTENDED, membership.room, None)
        if membership.absent_since + CLOSES_S <= now.mono:
            membership.over = membership.over or CLOSED
        if not membership.end_told and self._ends_soon(now, membership):
            membership.end_told = True
            yield Event(EventKind.ROOM_CHANGED, membership.room, None, membership.title)

    def deadline(self, membership: Membership) -> float:
        if not membership.joined or membership.genesis is None:
            return math.inf
        waits_s = CLOSES_S if membership.unattended else ABSENT_S
        times = [membership.absent_since + waits_s]
        if not membership.end_told:
            times.append(self._mono_of(membership.genesis.record.exp - END_NOTICE_S))
        return min(times)

    # ── what follows ─────────────────────────────────────────────────────────────────────────

    def _ends_soon(self, now: Now, membership: Membership) -> bool:
        assert membership.genesis is not None
        return membership.genesis.record.exp - END_NOTICE_S <= now.unix

    def closes_in_s(self, now: Now, membership: Membership) -> int | None:
        """None while there is no end to be seen."""
        assert membership.genesis is not None
        times = []
        if membership.unattended:
            times.append(membership.absent_since + CLOSES_S - now.mono)
        if self._ends_soon(now, membership):
            times.append(membership.genesis.record.exp - now.unix)
        return max(0, math.ceil(min(times))) if times else None

    def may_offer(self, now: Now, membership: Membership, uid: UserKey) -> bool:
        """Whether that person may open the room in which this one goes on, as far as we see.

        Whoever opens it has waited for ABSENT_S, but may have missed the seats before we did.
        """
        # Security: who was put out may be back to listen; people are not led away by him.
        if membership.log.state.role_of(uid) in OUT:
            return False
        if not self.is_run(membership):
            # Security: not while a host changes its network, or people could be led away then.
            return membership.absent_since + MISSED_S <= now.mono
        has_seat = membership.log.state.seat_of(uid) is not None
        return has_seat and self._ends_soon(now, membership)

    def refuse_continuing(self, now: Now, membership: Membership) -> None:
        """Raises LeadsNobody, GoesOn or NotYours if we may not."""
        if membership.log.state.role_of(self._me.uid) in OUT:
            raise LeadsNobody
        if membership.unattended:
            return
        if not self._ends_soon(now, membership):
            raise GoesOn
        if self.is_run(membership) and not self.may_offer(now, membership, self._me.uid):
            raise NotYours
