"""Who carries our room: what the election is told, and what follows from what it says.

The election itself is shape/election.py; who links with whom follows from `wanted` in
room/negotiation.py, and who forwards what from `standpoint` in room/wiring.py.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from p2phouse import channel
from p2phouse.channel import Stats
from p2phouse.identity.keys import Me
from p2phouse.record import envelope
from p2phouse.record.cbor import Value
from p2phouse.record.envelope import Signed
from p2phouse.record.types import Bid, Claim
from p2phouse.room import flood, frames
from p2phouse.room.bidding import BID_S, BID_S_MIN, NOBODY, PEOPLE_MIN, Bidding
from p2phouse.room.frames import FrameKind, FrameRefused
from p2phouse.room.messages import Answer, Output, SendRoomFrame
from p2phouse.room.state import Membership
from p2phouse.room.wiring import Wiring
from p2phouse.shape import measure
from p2phouse.shape.election import (
    NEWCOMER_S,
    Adopted,
    ClaimHeard,
    Election,
    MakeClaim,
    PullsHeard,
    ReleasedBy,
    Seen,
    State,
    TellAgain,
)
from p2phouse.shape.election import Event as ElectionEvent
from p2phouse.shape.measure import View
from p2phouse.shape.plan import IN_A_MESH, Part, Shape, Standpoint, part_of
from p2phouse.vocabulary import DeviceKey, Now

BIDS_MAX: Final = 64  # kept of a room: its members, and some whom we have not met yet
SLEPT_S: Final = 1.0  # less others bridge without a word
HAND_OVER_S: Final = 3.0  # a claim, the others' answers, and their releases
AT_FIRST: Final[tuple[object, ...]] = (
    None,
    None,
    None,
    IN_A_MESH,
    False,
    NOBODY.cap,
    frozenset(),
)  # as a membership begins


@dataclass(slots=True)
class Carried:
    """Of one room."""

    election: Election
    bidding: Bidding
    bids: dict[DeviceKey, Signed[Bid]] = field(default_factory=dict)
    drains: bool = False  # we are about to leave
    handing: int | None = None  # the verb that waits for somebody else to carry
    hand_until: float = math.inf
    told: tuple[object, ...] = AT_FIRST  # what was written into the membership last
    needs_relay: bool = False  # somebody should carry the room, and nobody may
    ahead_s: float = math.inf  # of the clock before monotonic time


class Carrying:
    """See the module. The room is given with each call."""

    def __init__(self, me: Me, wiring: Wiring) -> None:
        self._me = me
        self._wiring = wiring
        self._began: float | None = None
        self.offer = NOBODY  # what our person lets us do

    # ── what comes ───────────────────────────────────────────────────────────────────────────

    def frame(
        self, now: Now, membership: Membership, sender: DeviceKey, frame: list[Value]
    ) -> Iterator[Output]:
        """A claim or a bid. Raises PeerError before anything has changed."""
        data = frames.only_field(frame)
        if not isinstance(data, bytes):
            raise FrameRefused(reason="something else where bytes belong")
        carried = self._of(now, membership)
        if frame[0] == FrameKind.BID:
            yield from self._heard_bid(now, membership, carried, sender, data)
        else:
            yield from self._heard_claim(now, membership, carried, sender, data)

    def _heard_bid(
        self, now: Now, membership: Membership, carried: Carried, sender: DeviceKey, data: bytes
    ) -> Iterator[Output]:
        if any(each.data == data for each in carried.bids.values()):
            return
        if not membership.pace_of(sender).bids.take(now.mono):
            return
        bid = envelope.read(data, Bid)
        if bid.record.room != membership.room:
            raise FrameRefused(reason="a bid of another room")
        dev = DeviceKey(bid.record.dev)
        known = carried.bids.get(dev)
        if dev == self._me.dev or (known is not None and known.record.seq >= bid.record.seq):
            return
        carried.bids[dev] = bid
        if len(carried.bids) > BIDS_MAX:
            # Security: nobody's made-up devices push out the bid of a member.
            spare = (each for each in carried.bids if each not in membership.members)
            del carried.bids[next(spare, dev)]
        # Security: who floods gets no help, or its neighbours would be taken for the flood.
        # Test: test_carrying.py::test_a_flood_of_bids_is_not_passed_on
        is_member = dev in membership.members
        if not is_member or not membership.pace_of(dev).own_bids.take(now.mono):
            return
        for other in flood.onward(membership, self._me.dev):
            if other not in (sender, dev):
                yield SendRoomFrame(other, membership.room, _bid_frame(bid))

    def _heard_claim(
        self, now: Now, membership: Membership, carried: Carried, sender: DeviceKey, data: bytes
    ) -> Iterator[Output]:
        held = carried.election.claim
        if held is not None and held.data == data:
            return
        if not membership.pace_of(sender).claims.take(now.mono):
            return
        claim = envelope.read(data, Claim)
        if claim.record.room != membership.room:
            raise FrameRefused(reason="a claim of another room")
        age_s = _age_s(now, membership)
        yield from self._do(now, membership, carried, ClaimHeard(claim, sender, age_s), sender)

    def linked(self, membership: Membership, dev: DeviceKey) -> Iterator[Output]:
        """A room link has come up: its other end hears what we hold."""
        carried = membership.carried
        if carried is None:
            return
        if carried.election.claim is not None:
            yield SendRoomFrame(dev, membership.room, _claim_frame(carried.election.claim))
        own = carried.bidding.last
        if membership.is_audience(dev):
            return  # listeners do not choose who carries
        for bid in [*carried.bids.values(), *([own] if own is not None else [])]:
            if bid.record.dev in membership.members or bid is own:
                yield SendRoomFrame(dev, membership.room, _bid_frame(bid))

    def stats(self, now: Now, membership: Membership, stats: Stats) -> None:
        self._of(now, membership).bidding.heard(now, membership, stats)

    def media(
        self, now: Now, membership: Membership, told: channel.Pulls | channel.Released
    ) -> Iterator[Output]:
        carried = self._of(now, membership)
        match told:
            case channel.Pulls(count, of):
                yield from self._do(now, membership, carried, PullsHeard(count, of))
            case channel.Released(link):
                member = membership.by_link(link)
                if member is not None:
                    yield from self._do(now, membership, carried, ReleasedBy(member.dev))

    # ── leaving ──────────────────────────────────────────────────────────────────────────────

    def hand_over(self, now: Now, membership: Membership, ticket: int) -> Iterator[Output]:
        """If others hear one another through us, they are given another hub before we leave."""
        carried = self._of(now, membership)
        yield from self.gone(membership)
        if carried.election.hub != self._me.dev or not membership.members:
            yield Answer(ticket)
            return
        carried.drains, carried.handing = True, ticket
        carried.hand_until = now.mono + HAND_OVER_S

    def gone(self, membership: Membership) -> Iterator[Output]:
        """Whoever waits for the hand-over need not any more."""
        carried = membership.carried
        if carried is not None and carried.handing is not None:
            yield Answer(carried.handing)
            carried.handing, carried.hand_until = None, math.inf

    def _end_of_hand_over(self, now: Now, carried: Carried) -> bool:
        election, me = carried.election, self._me.dev
        is_needed = election.hub == me or election.former(now.mono) == me
        return carried.drains and (not is_needed or carried.hand_until <= now.mono)

    # ── what follows ─────────────────────────────────────────────────────────────────────────

    def settle(self, now: Now, membership: Membership) -> Iterator[Output]:
        """After whatever happened: the election sees it, and media and others what it says."""
        if not membership.joined:
            return
        carried = self._of(now, membership)
        carried.bidding.see(now, membership)
        self._see_sleep(now, carried)
        if self._end_of_hand_over(now, carried):
            carried.drains = False  # who does not leave after all may carry again
            yield from self.gone(membership)
        yield from self._bid(now, membership, carried)
        view = self._view(membership, carried)
        if view != carried.election.view:
            yield from self._do(now, membership, carried, Seen(view))
        elif carried.election.deadline <= now.mono:
            yield from self._do(now, membership, carried, None)
        yield from self._apply(now, membership, carried)

    def _see_sleep(self, now: Now, carried: Carried) -> None:
        """A machine that sleeps: its clock goes on meanwhile, and monotonic time does not."""
        ahead_s = now.unix - now.mono
        if ahead_s - carried.ahead_s > SLEPT_S:
            carried.election.woke(now.mono, ahead_s - carried.ahead_s)
        carried.ahead_s = ahead_s

    def _of(self, now: Now, membership: Membership) -> Carried:
        if membership.carried is None:
            if self._began is None:
                self._began = now.mono
            view = View(membership.room, frozenset([self._me.dev]))
            election = Election(self._me.dev, view, now.mono)
            membership.carried = Carried(election, Bidding(self._began))
        return membership.carried

    def _view(self, membership: Membership, carried: Carried) -> View:
        bids = {dev: each.record for dev, each in carried.bids.items() if dev in membership.members}
        if carried.bidding.last is not None:
            bids[self._me.dev] = carried.bidding.last.record
        members = membership.members.values()
        return View(
            membership.room,
            frozenset([self._me.dev, *membership.members]),
            bids,
            frozenset(member.dev for member in members if member.is_heard),
            frozenset(member.dev for member in members if member.speak is not None),
            relays=membership.relays,
            listens=membership.is_listener,
        )

    def _do(
        self,
        now: Now,
        membership: Membership,
        carried: Carried,
        event: ElectionEvent,
        sender: DeviceKey | None = None,
    ) -> Iterator[Output]:
        """Hands it to the election, and does what that says."""
        for said in carried.election.handle(event, now.mono):
            match said:
                case MakeClaim():
                    claim = self._sign(now, membership, said)
                    age_s = _age_s(now, membership)
                    heard = ClaimHeard(claim, self._me.dev, age_s)
                    yield from self._do(now, membership, carried, heard)
                case TellAgain():
                    is_hub = carried.election.hub == self._me.dev
                    to = flood.stage(membership)
                    if not is_hub:
                        to = flood.onward(membership, self._me.dev)
                    yield from self._tell(membership, carried, to)
                case Adopted():
                    to = flood.linked(membership)
                    if sender is not None:
                        to = flood.onward(membership, self._me.dev)
                    # What media does comes before what others are told: a hub that forwards a
                    # little too early does no harm.
                    yield from self._apply(now, membership, carried)
                    yield from self._tell(membership, carried, to)
        carried.needs_relay = carried.election.needs_relay

    def _sign(self, now: Now, membership: Membership, said: MakeClaim) -> Signed[Claim]:
        record = Claim(
            room=membership.room,
            dev=self._me.dev,
            epoch=said.epoch,
            cost=said.cost,
            hub=said.hub,
            standby=said.standby,
            ts=int(now.unix),
        )
        return envelope.sign(record, self._me.device_key)

    def _tell(
        self, membership: Membership, carried: Carried, to: list[DeviceKey]
    ) -> Iterator[Output]:
        if carried.election.claim is not None:
            for dev in to:
                yield SendRoomFrame(dev, membership.room, _claim_frame(carried.election.claim))

    def _bid(self, now: Now, membership: Membership, carried: Carried) -> Iterator[Output]:
        bidding = carried.bidding
        is_asked = membership.count >= PEOPLE_MIN or membership.hub is not None
        is_asked = is_asked or bool(carried.bids)
        bidding.due = bidding.next_lost(now)
        if membership.serves:
            # Whoever sees the bid thinks that the relay may claim at once; in its first seconds
            # it may not.
            known_at = membership.since + NEWCOMER_S
            if self._me.dev not in membership.relays or now.mono < known_at:
                bidding.due = min(bidding.due, max(known_at, now.mono + BID_S_MIN))
                return
            is_asked = True
        # In a room of few somebody else may carry what our uplink does not.
        is_asked = is_asked or bool(bidding.lost(now)) or bidding.is_strained(now)
        is_alone = not membership.members
        if membership.is_listener or is_alone or not is_asked:
            return
        is_deserted = carried.election.state(now.mono) is State.SUSPECT
        offered = (self.offer, carried.drains, is_deserted)
        at = bidding.look_at(now, offered)
        if now.mono < at:
            bidding.due = min(bidding.due, at)
            return
        bid = bidding.make(now, self._me, membership, offered)
        bidding.looked(now, offered)
        at = bidding.said_at if bidding.is_news(bid) else bidding.said_at + BID_S
        if now.mono < at:
            bidding.due = min(bidding.due, at)
            return
        signed = bidding.said(now, self._me, bid)
        bidding.due = min(bidding.due, now.mono + BID_S)
        for dev in flood.stage(membership):
            yield SendRoomFrame(dev, membership.room, _bid_frame(signed))

    def _apply(self, now: Now, membership: Membership, carried: Carried) -> Iterator[Output]:
        """What follows for our links and our table."""
        election, me = carried.election, self._me.dev
        hub, standby, former = election.hub, election.standby, election.former(now.mono)
        standpoint = IN_A_MESH
        if hub is not None or former is not None:
            standpoint = Standpoint(
                Shape.MESH if hub is None else Shape.HUB,
                part_of(me, hub=hub, standby=standby),
                yields=former == me,
                overlap=election.overlaps(now.mono),
            )
        grows = hub is not None or measure.can_grow(election.view)
        retried = election.retried(now.mono)
        told = (hub, standby, former, standpoint, grows, self.offer.cap, retried)
        if told == carried.told:
            return
        carried.told = told
        membership.hub, membership.standby, membership.former = hub, standby, former
        membership.standpoint, membership.can_grow = standpoint, grows
        membership.feeds_max = self.offer.cap
        membership.wanted = None
        if hub is not None and standpoint.part is Part.MEMBER and not standpoint.yields:
            membership.wanted = frozenset({hub, standby, former, *retried} - {None, me})  # type: ignore[arg-type]  # None is taken out
        yield from self._wiring.rewire(membership)

    def deadline(self, membership: Membership | None) -> float:
        carried = None if membership is None else membership.carried
        if carried is None:
            return math.inf
        return min(carried.election.deadline, carried.bidding.due, carried.hand_until)


def _age_s(now: Now, membership: Membership) -> float:
    genesis = membership.genesis
    return 0.0 if genesis is None else now.unix - genesis.record.created


def _claim_frame(claim: Signed[Claim]) -> list[Value]:
    return [int(FrameKind.CLAIM), claim.data]


def _bid_frame(bid: Signed[Bid]) -> list[Value]:
    return [int(FrameKind.BID), bid.data]
