"""How members are lost and parted with.

A member is held by two kinds of link, the room link and media. While one of them lives the member
stays; when none is left the member is lost, and looked for.
"""

import math
from collections.abc import Iterator
from typing import Final

from p2phouse.room import frames
from p2phouse.room.frames import ByeReason
from p2phouse.room.graph import Graph
from p2phouse.room.herald import Herald
from p2phouse.room.messages import CloseRoomLink, Event, EventKind, Output, SendRoomFrame
from p2phouse.room.negotiation import Negotiation
from p2phouse.room.search import Search
from p2phouse.room.state import Member, Membership, Stage
from p2phouse.room.wiring import Wiring
from p2phouse.shape.plan import Part
from p2phouse.vocabulary import DeviceKey, LinkNumber, Now

LINKLESS_S_MAX: Final = 30.0  # sound goes on while a libp2p host is rebuilt: 2 to 5 s
UNHELD_S: Final = 12.0  # as long as a libp2p host that is rebuilt may take to be back
MISSED_S: Final = 15.0  # whoever holds no media link to a dead machine misses its pings by then


class Parting:
    """See the module. The room is given with each call."""

    def __init__(
        self,
        negotiation: Negotiation,
        wiring: Wiring,
        search: Search,
        graph: Graph,
        herald: Herald,
    ) -> None:
        self._negotiation = negotiation
        self._wiring = wiring
        self._search = search
        self._graph = graph
        self._herald = herald

    def part(
        self, now: Now, membership: Membership, member: Member, reason: ByeReason
    ) -> Iterator[Output]:
        """We want the member here no more, and say so."""
        if member.dev in membership.links:
            yield SendRoomFrame(member.dev, membership.room, frames.bye(reason))
            yield CloseRoomLink(member.dev, membership.room)
            del membership.links[member.dev]
        yield from self.remove(now, membership, member, EventKind.MEMBER_LEFT)

    def link_down(
        self, now: Now, membership: Membership, sender: DeviceKey, reason: str
    ) -> Iterator[Output]:
        """A room link ended, or could not be opened."""
        link = membership.links.pop(sender, None)
        if link is None:
            return  # of a link that we had closed ourselves
        self._herald.unlinked(membership, sender)
        member = membership.members.get(sender)
        if member is None:
            membership.refusal = reason
            self._search.failed(now, membership, sender)
        elif member.is_told:
            member.redial_at = now.mono + self._search.pause(4)
        elif not self._graph.wants(membership, member) and link.stage is Stage.UP:
            self._graph.let_go(membership, member)  # its end saw so first
        elif link.stage is Stage.OPENING:
            member.redial_at = now.mono + self._search.pause(2)
        elif member.is_heard:
            # Sound goes on without it: the peer may be rebuilding its libp2p host.
            member.redial_at = now.mono + self._search.pause(0 if member.outbound else 2)
            member.give_up_at = min(member.give_up_at, now.mono + LINKLESS_S_MAX)
        elif not membership.wants(sender) and member.missed_until <= now.mono:
            # Nothing but this link held it, and it may be back at once.
            member.redial_at = now.mono + self._search.pause(0 if member.outbound else 1)
            member.give_up_at = min(member.give_up_at, now.mono + UNHELD_S)
        else:
            yield from self.lose(now, membership, member)

    def media_changed(self, now: Now, membership: Membership, member: Member) -> Iterator[Output]:
        """The member's media link failed or fell silent: was it the last that held the member?"""
        is_held = membership.is_linked(member.dev) or member.is_heard
        is_waited_for = member.is_told or math.isfinite(member.give_up_at)
        if not is_held and (membership.wants(member.dev) or not is_waited_for):
            yield from self.lose(now, membership, member)

    def silence(
        self, now: Now, membership: Membership, link: LinkNumber, *, silent: bool
    ) -> Iterator[Output]:
        member = membership.by_link(link)
        if member is None or member.silent == silent:
            return
        member.silent = silent
        kind = EventKind.MEMBER_SILENT if silent else EventKind.MEMBER_HEARD
        yield Event(kind, membership.room, member.dev, member.name)
        if membership.standpoint.part is Part.HUB and member.speak is not None:
            yield from self._wiring.rewire(membership)  # our standby may hear what we do not
        yield from self.media_changed(now, membership, member)

    def lose(self, now: Now, membership: Membership, member: Member) -> Iterator[Output]:
        """No link of any kind is left: out of the room, but looked for."""
        if membership.links.pop(member.dev, None) is not None:
            yield CloseRoomLink(member.dev, membership.room)
        if membership.hub is not None and membership.wants(member.dev):
            # Others had no media link that could tell them.
            for dev in membership.listening():
                yield SendRoomFrame(dev, membership.room, frames.lost(member.join.id))
        yield from self.remove(now, membership, member, EventKind.MEMBER_LOST)
        self._search.lost(now, membership, member.dev, member.addrs)

    def missed(self, now: Now, membership: Membership, join: bytes) -> Iterator[Output]:
        """Another member has lost this one, of whom we may have nothing but a room link."""
        for member in list(membership.members.values()):
            # Security: whom we know by news alone the news takes away again, and nobody else.
            # Test: test_crowd.py::test_a_listener_known_by_news_is_not_lost_on_anybodys_word
            if member.join.id != join or member.is_heard or member.is_told:
                continue
            # Security: whatever is said, a room link that stands holds a member.
            # Test: test_crowd.py::test_a_member_that_is_linked_is_not_lost_on_anybodys_word
            member.missed_until = now.mono + MISSED_S
            if not membership.is_linked(member.dev):
                yield from self.lose(now, membership, member)

    def remove(
        self, now: Now, membership: Membership, member: Member, kind: EventKind
    ) -> Iterator[Output]:
        del membership.members[member.dev]
        self._herald.part(now, membership, member)
        membership.changed = True
        yield from self._wiring.rewire(membership)
        yield from self._negotiation.close(member)
        yield Event(kind, membership.room, member.dev, member.name)
