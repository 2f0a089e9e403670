"""Whom we hold room links with, in a room that somebody carries and that has outgrown the mesh.

The *stage* there is whoever speaks, has a seat, or is hub or standby: linked with all of the stage.
Everybody else is a *listener*, linked with hub and standby alone. Each node judges by what
it sees, and a link that its end does without is closed only after a while, so that two who see
different things for a moment do not call each other in circles.
"""

import math
from collections.abc import Iterable, Iterator
from hashlib import sha256
from typing import Final

from p2phouse.identity.keys import Me
from p2phouse.record import limits
from p2phouse.room.hallway import Hallway
from p2phouse.room.messages import CloseRoomLink, Output
from p2phouse.room.search import Search
from p2phouse.room.state import Member, Membership, Stage
from p2phouse.vocabulary import DeviceKey, Now

LOOK_S: Final = 1.0
SPARE_S: Final = 10.0  # by then both ends see the same stage
SOON_S: Final = 0.01  # with the next tick: this one has called already whom it calls
CALL_S: Final = 4.0  # who comes to the stage calls those on it; then they do
ADDRESSES_MAX: Final = 64  # of whom greetings have named, to be called should all be gone
ORPHAN_CALLS: Final = 3  # of the stage, by a listener that has lost its hub and standby
ORPHAN_S: Final = 20.0  # then the hallway may know somebody
AGAIN_S: Final = 15.0


Told = tuple[DeviceKey, tuple[bytes, ...]]


class Graph:
    """See the module. The room is given with each call."""

    def __init__(self, me: Me, hallway: Hallway, search: Search) -> None:
        self._me = me
        self._hallway = hallway
        self._search = search

    # ── who is what ──────────────────────────────────────────────────────────────────────────

    def is_of_stage(self, membership: Membership) -> bool:
        """Whether we are."""
        if membership.is_carrier or membership.serves or membership.own.on_stage is True:
            return True
        return membership.log.state.seat_of(self._me.uid) is not None

    def wants(self, membership: Membership, member: Member) -> bool:
        """Whether a room link to the member is wanted."""
        if not membership.is_split or membership.is_carrier or membership.carries(member.dev):
            return True
        if not is_of_stage(membership, member):
            return False
        if not membership.is_listener:
            return True
        if membership.lobby.people and membership.log.state.runs(member.uid):
            return True  # somebody waits at our door, and this one may let him in
        return math.isfinite(membership.orphan_since) and member.dev in self._first(membership)

    def _first(self, membership: Membership) -> list[DeviceKey]:
        """Those of the stage whom we call first: each listener others, or one would have them
        all."""
        stage = [dev for dev, each in membership.members.items() if is_of_stage(membership, each)]
        return sorted(stage, key=lambda dev: sha256(self._me.dev + dev).digest())[:ORPHAN_CALLS]

    def told(
        self, now: Now, membership: Membership, teller: DeviceKey, members: Iterable[Told]
    ) -> Iterator[Output]:
        """A member has named others in its greeting."""
        named = list(members)
        is_crowd = len(named) >= limits.MESH_MEMBERS_MAX - 1
        for dev, addrs in named:
            membership.addresses.pop(dev, None)
            membership.addresses[dev] = addrs
            if len(membership.addresses) > ADDRESSES_MAX:
                del membership.addresses[next(iter(membership.addresses))]
            # Of whom else we need to know the hub tells us.
            is_spared = is_crowd and membership.hub is not None and not membership.carries(dev)
            if not is_spared:
                later = is_crowd and membership.hub is None
                yield from self._search.told(now, membership, teller, dev, addrs, later=later)

    # ── what follows ─────────────────────────────────────────────────────────────────────────

    def settle(self, now: Now, membership: Membership) -> Iterator[Output]:
        """After each input and tick."""
        if not membership.joined or membership.genesis is None:
            return
        seen = (membership.hub, membership.standby, membership.own.on_stage, membership.is_split)
        if seen == membership.looked_at and now.mono < membership.look_at:
            return
        if membership.own.on_stage is True and True not in membership.looked_at[2:3]:
            membership.came_up_at = now.mono
        membership.looked_at = seen
        membership.is_listener = membership.is_split and not self.is_of_stage(membership)
        self._see_carriers(now, membership)
        is_told = False
        for member in list(membership.members.values()):
            is_told = is_told or member.is_told
            yield from self._look_at(now, membership, member)
        busy = is_told or membership.is_split
        membership.look_at = now.mono + LOOK_S if busy else math.inf

    def _see_carriers(self, now: Now, membership: Membership) -> None:
        if membership.hub is not None:
            self._spare_calls(now, membership)
        if not membership.is_split:
            membership.orphan_since = math.inf
            if membership.hub is None:
                membership.news.counts.clear()
                membership.news.here.clear()
            return
        carriers = [membership.hub, membership.standby]
        for dev in carriers:
            is_known = dev in membership.members or dev in membership.sought
            if dev is not None and dev != self._me.dev and not is_known:
                self._search.lost(now, membership, dev, membership.addrs_of(dev))
        if any(membership.is_up(dev) for dev in carriers if dev is not None):
            membership.orphan_since = math.inf
        elif not membership.is_carrier:
            membership.orphan_since = min(membership.orphan_since, now.mono)
            self._ask_the_hallway(now, membership)

    def _spare_calls(self, now: Now, membership: Membership) -> None:
        """Of those whom a crowd was told of we call hub and standby: they tell us of the others."""
        for dev, sought in list(membership.sought.items()):
            if sought.teller is None or dev in membership.links:
                continue
            if membership.carries(dev):
                sought.redial_at = min(sought.redial_at, now.mono)
            elif sought.is_spare or membership.is_split:
                del membership.sought[dev]

    def _ask_the_hallway(self, now: Now, membership: Membership) -> None:
        """All that we knew are gone: whoever lists the room is in it."""
        if now.mono < max(membership.orphan_since + ORPHAN_S, membership.hallway_at):
            return
        membership.hallway_at = now.mono + AGAIN_S
        card = self._hallway.directory.get(membership.room, now)
        if card is not None and card.publisher not in (self._me.dev, *membership.links):
            self._search.lost(now, membership, card.publisher, card.card.record.at)

    def _look_at(self, now: Now, membership: Membership, member: Member) -> Iterator[Output]:
        link = membership.links.get(member.dev)
        is_wanted = self.wants(membership, member)
        if link is not None and link.stage is Stage.UP:
            was_audience, link.is_audience = link.is_audience, is_audience(membership, member)
            if link.is_audience and not was_audience:
                membership.news.unwelcomed.add(member.dev)
        if is_wanted:
            member.spare_since = math.inf
            if member.is_told and link is None and math.isinf(member.redial_at):
                # Who has just come to the stage is the one who calls.
                soon = membership.carries(member.dev) or membership.came_up_at + LOOK_S > now.mono
                member.redial_at = now.mono + (SOON_S if soon else self._search.about(CALL_S))
        elif link is None:
            member.redial_at = math.inf
        elif link.stage is Stage.UP:
            member.spare_since = min(member.spare_since, now.mono)
            if member.spare_since + SPARE_S <= now.mono:
                yield CloseRoomLink(member.dev, membership.room)
                self.let_go(membership, member)

    def let_go(self, membership: Membership, member: Member) -> None:
        """Without a room link the member is one of whom the hub tells."""
        membership.links.pop(member.dev, None)
        member.is_told, member.digest = True, None
        member.redial_at = member.give_up_at = member.spare_since = math.inf


def is_of_stage(membership: Membership, member: Member) -> bool:
    if membership.carries(member.dev) or membership.log.state.seat_of(member.uid) is not None:
        return True
    if membership.is_relay(member.uid):
        return True
    stands = member.speak is not None or member.soft.on_stage is True
    return stands and membership.may_stand(member.uid)


def is_audience(membership: Membership, member: Member) -> bool:
    """Whether the member is a listener whom we, as hub or standby, tell of the room."""
    return membership.is_split and membership.is_carrier and not is_of_stage(membership, member)
