"""Listeners of whom this node has not heard, asked for at those who carry the room.

On the stage of a split room one knows of the audience who has said something (room/herald.py) and
of the rest only how many they are. Whoever runs the room may want to name one of these: then hub
and standby, who are linked with all, are asked who is called so. What the person wanted waits
until both have answered, and is done with what is known then.
"""

import math
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import Final

from p2phouse.identity.keys import Me, key_tag, peer_id
from p2phouse.record.cbor import Value
from p2phouse.room import graph, news
from p2phouse.room.frames import FrameKind, FrameRefused
from p2phouse.room.herald import WELCOME_BYTES_MAX, Herald, present_of
from p2phouse.room.messages import (
    Decide,
    Invite,
    Listeners,
    LowerHand,
    Output,
    SendRoomFrame,
    VerbAction,
)
from p2phouse.room.state import Member, Membership
from p2phouse.vocabulary import DeviceKey, Now

ANSWERED_S_MAX: Final = 2.0  # a carrier that answers no sooner is about to be replaced
WAITING_MAX: Final = 16  # of what our person wants; nobody types so fast
TEXT_BYTES_MAX: Final = 256  # a name of forty characters, or a PeerId


@dataclass(slots=True)
class Wanted:
    """What our person asked of the node, until we know whom it is about."""

    ticket: int
    action: VerbAction
    membership: Membership
    unanswered: set[DeviceKey]
    until: float


class Inquiry:
    """See the module. The room is given with each call."""

    def __init__(self, me: Me, herald: Herald) -> None:
        self._me = me
        self._herald = herald
        self._wanted: dict[int, Wanted] = {}  # by the number of the question
        self._last = 0

    # ── asking ───────────────────────────────────────────────────────────────────────────────

    def begin(
        self, now: Now, membership: Membership, ticket: int, action: VerbAction
    ) -> Generator[Output, None, bool]:
        """Whether hub or standby may know whom the action is about, and have been asked."""
        text = _named_in(action)
        if text is None or len(text.encode()) > TEXT_BYTES_MAX or len(self._wanted) >= WAITING_MAX:
            return False
        if not membership.is_split or membership.is_carrier:
            return False  # we are linked with everybody
        if membership.log.state.seat_of(self._me.uid) is None:
            return False  # we would get no answer
        carriers = [membership.hub, membership.standby]
        asked = {dev for dev in carriers if dev is not None and membership.is_up(dev)}
        if not asked:
            return False
        self._last += 1
        until = now.mono + ANSWERED_S_MAX
        self._wanted[self._last] = Wanted(ticket, action, membership, asked, until)
        for dev in asked:
            yield SendRoomFrame(dev, membership.room, [int(FrameKind.SEEK), self._last, text])
        return True

    def answered(
        self, now: Now, membership: Membership, sender: DeviceKey, frame: list[Value]
    ) -> Iterator[Output]:
        """A carrier tells of those it found. Raises PeerError."""
        match frame[1:]:
            case [int(number), list(present)] if (
                _is_number(number) and len(present) <= news.ITEMS_MAX
            ):
                pass
            case _:
                raise FrameRefused(reason="an answer of another shape")
        items = [news.as_present(item) for item in present]
        wanted = self._wanted.get(number)
        # Security: who was not asked brings nobody in.
        # Test: test_inquiry.py::test_who_was_not_asked_brings_nobody_in
        if wanted is None or wanted.membership is not membership:
            return
        if sender not in wanted.unanswered or not membership.carries(sender):
            return
        wanted.unanswered.discard(sender)
        yield from self._herald.found(now, membership, sender, items)

    def take_done(self, now: Now, membership: Membership | None) -> list[Wanted]:
        """What can be done now, or cannot: all whom we asked have answered, or have not in time."""
        done = {
            number: wanted
            for number, wanted in self._wanted.items()
            if wanted.until <= now.mono
            or wanted.membership is not membership
            or not any(membership.is_up(dev) for dev in wanted.unanswered)
        }
        for number in done:
            del self._wanted[number]
        return list(done.values())

    @property
    def deadline(self) -> float:
        return min((wanted.until for wanted in self._wanted.values()), default=math.inf)

    # ── answering ────────────────────────────────────────────────────────────────────────────

    def asked(
        self, now: Now, membership: Membership, member: Member, frame: list[Value]
    ) -> Iterator[Output]:
        """Somebody who runs the room asks for a listener of ours. Raises PeerError."""
        match frame[1:]:
            case [int(number), str(text)] if (
                _is_number(number) and len(text.encode()) <= TEXT_BYTES_MAX
            ):
                pass
            case _:
                raise FrameRefused(reason="a question of another shape")
        # Security: nobody else needs the names of those who have said nothing.
        # Test: test_inquiry.py::test_who_does_not_run_the_room_is_told_of_nobody
        if membership.log.state.seat_of(member.uid) is None:
            return
        if not membership.is_carrier or not membership.pace_of(member.dev).seeks.take(now.mono):
            return
        present: list[Value] = []
        size = 0
        for found in called(membership, text):
            item = present_of(found)
            size += news.size_of(item)
            if size > WELCOME_BYTES_MAX or len(present) == news.ITEMS_MAX:
                break
            present.append(item)
        answer: list[Value] = [int(FrameKind.FOUND), number, present]
        yield SendRoomFrame(member.dev, membership.room, answer)


def called(membership: Membership, text: str) -> list[Member]:
    """Of those known to us who only listen: who has that name, key tag or PeerId, then whose name
    begins so; for an empty text all, the last to come first."""
    wanted = text.casefold()
    listeners = [
        member
        for member in membership.members.values()
        if not graph.is_of_stage(membership, member)
    ]
    listeners.sort(key=lambda member: -member.join.record.ts)
    exact, begin = [], []
    for member in listeners:
        name = member.name.casefold()
        if wanted and wanted in (name, key_tag(member.uid), peer_id(member.dev).casefold()):
            exact.append(member)
        elif name.startswith(wanted):
            begin.append(member)
    return exact + begin


def _is_number(number: int) -> bool:
    return not isinstance(number, bool) and 0 <= number < 2**32


def _named_in(action: VerbAction) -> str | None:
    """Whom the action is about, if it is about a person who may be a listener."""
    match action:
        case Decide(_, who) | Invite(who) | LowerHand(who) if who:
            return who
        case Listeners(text):
            return text
    return None
