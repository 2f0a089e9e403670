"""Whom this person does not want to hear, and how loud the others are: nobody else's business.

A block acts here alone. Nothing that goes out depends on it: records of a blocked person are kept
and passed on, its voice is received, and only then is it neither played nor shown.
"""

from collections.abc import Iterable, Iterator
from typing import Final

from p2phouse.channel import SetGain
from p2phouse.room.messages import Event, EventKind, Output, ToMedia
from p2phouse.room.state import Member, Membership
from p2phouse.vocabulary import Ssrc, UserKey

PERCENT_MAX: Final = 200
PERMILLE_USUAL: Final = 1_000
HIDDEN: Final = {
    EventKind.VOICE_HEARD,
    EventKind.CHAT,
    EventKind.HAND_RAISED,
    EventKind.HAND_LOWERED,
    EventKind.REACTION,
    EventKind.TYPING,
}


class Earshot:
    """See the module. One for the node; gains last for one stay in a room, blocks for good."""

    def __init__(self, blocked: Iterable[UserKey] = ()) -> None:
        self.blocked = set(blocked)
        self._percents: dict[UserKey, int] = {}
        self._told: dict[Ssrc, int] = {}

    def percent_of(self, uid: UserKey) -> int:
        return self._percents.get(uid, 100)

    def set_percent(self, uid: UserKey, percent: int) -> None:
        self._percents[uid] = percent

    def set_blocked(self, uid: UserKey, blocked: bool) -> None:
        if blocked:
            self.blocked.add(uid)
        else:
            self.blocked.discard(uid)

    def media_gone(self) -> None:
        """The next process knows nothing of gains yet."""
        self._told.clear()

    def tell(self, membership: Membership | None) -> Iterator[Output]:
        """The gains that media has not been told yet. To be said before the tables and keys of the
        same moment, or 20 ms of a blocked person's new voice would be heard."""
        if membership is None:
            self._percents.clear()
        members = membership.members.values() if membership is not None else ()
        wanted = {
            member.ssrc: self._permille(member.uid) for member in members if member.ssrc is not None
        }
        for ssrc in [*wanted, *(ssrc for ssrc in self._told if ssrc not in wanted)]:
            permille = wanted.get(ssrc, PERMILLE_USUAL)
            if self._told.get(ssrc, PERMILLE_USUAL) != permille:
                yield ToMedia(SetGain(ssrc, permille))
        self._told = {
            ssrc: permille for ssrc, permille in wanted.items() if permille != PERMILLE_USUAL
        }

    def _permille(self, uid: UserKey) -> int:
        return 0 if uid in self.blocked else 10 * self.percent_of(uid)

    def facts(self, member: Member | None) -> dict[str, object]:
        """What of a member is told otherwise than it is; None: ourselves."""
        if member is None:
            return {}
        facts = {"blocked": member.uid in self.blocked, "gain_pct": self.percent_of(member.uid)}
        return facts | ({"hand": None, "typing": False} if facts["blocked"] else {})

    def shows(self, membership: Membership | None, output: Output) -> bool:
        """False for an event that tells what a blocked person does."""
        if membership is None or not isinstance(output, Event) or output.kind not in HIDDEN:
            return True
        member = membership.members.get(output.dev) if output.dev is not None else None
        return member is None or member.uid not in self.blocked
