"""What the operator of a relay allows: which rooms there are, who may be in them, and how many."""

import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from p2phouse.channel import GuestRole
from p2phouse.guest.exchange import Request

# Not 52 of base32: that is the id of a room of nodes, which nobody makes by coming.
ROOM_NAME: Final = re.compile(r"(?![a-z2-7]{52}$)[A-Za-z0-9_-]{1,64}")


@dataclass(frozen=True, slots=True)
class RoomTerms:
    """The Bearer tokens a room asks of who speaks and of who listens; None: it asks for none.

    also_at: other relays (https://…) that have the same room under the same name and tokens.
    """

    speak: str | None = field(default=None, repr=False)
    listen: str | None = field(default=None, repr=False)
    also_at: tuple[str, ...] = ()

    def are_met(self, request: Request, role: GuestRole) -> bool | None:
        """Whether the token is shown; None if the room asks for none."""
        wanted = self.speak if role is GuestRole.SPEAKER else self.listen
        if wanted is None:
            return None
        kind, _, given = request.headers.get("authorization", "").partition(" ")
        # Security: constant time, so that nobody can guess a token byte by byte.
        return kind.lower() == "bearer" and hmac.compare_digest(
            given.strip().encode(), wanted.encode()
        )


@dataclass(frozen=True, slots=True)
class Terms:
    """rooms: None makes a room of any name when somebody comes.

    waiting_max: guests of one network (/24, /48) whose media has not come yet and who showed no
    token. They are the cheap way to make us work; a school that listens is not among them.
    """

    rooms: Mapping[str, RoomTerms] | None
    rooms_max: int
    guests_max: int
    waiting_max: int
    ice_servers: tuple[str, ...] = ()

    def allow(self, name: str) -> bool:
        """Whether there is a room of that name, or may be."""
        if self.rooms is None:
            return ROOM_NAME.fullmatch(name) is not None
        return name in self.rooms

    def of(self, name: str) -> RoomTerms:
        return (self.rooms or {}).get(name, RoomTerms())
