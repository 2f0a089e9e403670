"""What we tell the room about carrying it: whether we would, and how well we reach the others.

A bid is flooded each 30 s and when it has changed. In small rooms nobody needs it, and nobody says
anything unless two cannot meet or a machine cannot keep up; from five people on the next may be the
ninth, and then it must be known who carries.
"""

import math
from collections import deque
from dataclasses import dataclass, field
from typing import Final

from p2phouse.channel import Stats
from p2phouse.identity.keys import Me
from p2phouse.record import envelope, limits
from p2phouse.record.envelope import Signed
from p2phouse.record.types import Bid, BidFlag, BidRow
from p2phouse.room.messages import Carry
from p2phouse.room.state import Membership
from p2phouse.shape import measure
from p2phouse.shape.measure import FORWARDING_VERSION, LOST_PERMILLE
from p2phouse.vocabulary import DeviceKey, Now

PEOPLE_MIN: Final = 5
BID_S: Final = 30.0
BID_S_MIN: Final = 5.0
FIRST_S_MIN: Final = 2.0  # the first bids bring what is measured as soon as it is
SOON_S: Final = 0.5  # a link that comes and goes floods nobody
FIRST_BIDS: Final = 3
SAMPLES: Final = 30  # one a second
LINKLESS_S: Final = 3.0  # two who have not met by then cannot, or not now
GOOD_PERMILLE: Final = 10
NEAR_MS: Final = 10  # a round trip that has changed by less is as it was
STRAINED_FOR: Final = 5  # seconds in a row; a busy moment is over by then
STRAINED_S: Final = 300.0  # then nobody counts on us: as hub we would soon be strained again
LOOK_S: Final = 1.0  # as often as there is something new to measure
U16: Final = 65_535

NOBODY: Final = Carry(willing=False, on_mains=False, metered=False, cap=0)
Offered = tuple[Carry, bool, bool]
"""What our person lets us do, whether we are about to leave, and whether we hear neither hub nor
standby."""


@dataclass(slots=True)
class Measured:
    """Of one member, over the last half minute."""

    rtts: deque[int] = field(default_factory=lambda: deque(maxlen=SAMPLES))  # ms
    loss: int = 0
    served: int = 0
    wanted_at: float = math.inf  # since when there should be a link, and is none


@dataclass(slots=True)
class Bidding:
    """Ours in one room."""

    began: float
    measured: dict[DeviceKey, Measured] = field(default_factory=dict)
    due: float = math.inf
    last: Signed[Bid] | None = None
    said_at: float = -math.inf
    count: int = 0
    again_at: float = -math.inf  # when to look again for news
    skipped_ticks: int = 0  # of media, as it told last
    strained_for: int = 0  # seconds in a row
    strained_until: float = -math.inf
    offered: Offered = (NOBODY, False, False)  # what our person let us do when we looked last

    def heard(self, now: Now, membership: Membership, stats: Stats) -> None:
        """Once a second."""
        # A new media process counts from nought.
        skipped = max(0, stats.skipped_ticks - self.skipped_ticks)
        self.skipped_ticks = stats.skipped_ticks
        losses = [each.loss_permille for each in stats.links if each.rtt_us]
        is_strain = measure.is_strain(skipped, losses)
        self.strained_for = self.strained_for + 1 if is_strain else 0
        if self.strained_for >= STRAINED_FOR:
            self.strained_until = now.mono + STRAINED_S
        of_link = {each.link: each for each in stats.links}
        for member in membership.members.values():
            if member.link is None or not member.link_up:
                continue
            found = of_link.get(member.link)
            if found is None or not found.rtt_us:
                continue
            measured = self.measured.setdefault(member.dev, Measured())
            measured.rtts.append(min(U16, found.rtt_us // 1_000))
            measured.loss = min(LOST_PERMILLE - 1, found.loss_permille)
            if member.dev == membership.hub and member.is_heard and measured.loss <= GOOD_PERMILLE:
                measured.served = min(U16, measured.served + 1)

    def see(self, now: Now, membership: Membership) -> None:
        """Who is there, and with whom there should be a link and is none."""
        for dev in self.measured.keys() - membership.members.keys():
            del self.measured[dev]
        for member in membership.members.values():
            is_due = membership.wants(member.dev) and membership.is_up(member.dev)
            if member.link_up or not is_due:
                if member.dev in self.measured:
                    self.measured[member.dev].wanted_at = math.inf
                continue
            measured = self.measured.setdefault(member.dev, Measured())
            measured.wanted_at = min(measured.wanted_at, now.mono)

    def next_lost(self, now: Now) -> float:
        times = (each.wanted_at + LINKLESS_S for each in self.measured.values())
        return min((at for at in times if at > now.mono), default=math.inf)

    def lost(self, now: Now) -> set[DeviceKey]:
        return {
            dev for dev, each in self.measured.items() if each.wanted_at + LINKLESS_S <= now.mono
        }

    def is_strained(self, now: Now) -> bool:
        return now.mono < self.strained_until

    @property
    def _lost_said(self) -> set[DeviceKey]:
        """Whom our last bid says that we do not reach."""
        rows = () if self.last is None else self.last.record.rows
        return {_of(row) for row in rows if row.loss == LOST_PERMILLE}

    def make(self, now: Now, me: Me, membership: Membership, offered: Offered) -> Bid:
        carry, drains, is_deserted = offered
        lost = self.lost(now)
        for dev in lost:
            self.measured[dev].rtts.clear()  # what they were is no sign that the two meet
        rows = [_row(dev, each, is_lost=dev in lost) for dev, each in self.measured.items()]
        carriers = (membership.hub, membership.standby)
        rows = [row for row in rows if row.loss == LOST_PERMILLE or self.measured[_of(row)].rtts]
        rows.sort(key=lambda row: (row.loss != LOST_PERMILLE, row.dev not in carriers, row.rtt_p50))
        flags = BidFlag(0)
        if carry.willing:
            flags |= BidFlag.CARRIES
        if carry.on_mains:
            flags |= BidFlag.MAINS
        if carry.metered:
            flags |= BidFlag.METERED
        if drains:
            flags |= BidFlag.DRAINING
        if self.is_strained(now):
            flags |= BidFlag.STRAINED
        if is_deserted:
            flags |= BidFlag.DESERTED
        last_seq = -1 if self.last is None else self.last.record.seq
        return Bid(
            room=membership.room,
            dev=me.dev,
            seq=max(last_seq + 1, int(now.unix * 1_000)),
            flags=int(flags),
            version=FORWARDING_VERSION,
            uptime_min=max(0, int((now.mono - self.began) / 60)),
            cap=max(0, min(4_096, carry.cap)),
            rows=tuple(rows[: limits.BID_ROWS_MAX]),
            ts=int(now.unix),
        )

    def is_news(self, bid: Bid) -> bool:
        """Whether it says something else than what was said last."""
        last = None if self.last is None else self.last.record
        if last is None or (bid.flags, bid.cap) != (last.flags, last.cap):
            return True
        before = {row.dev: row for row in last.rows}
        if before.keys() != {row.dev for row in bid.rows}:
            return True
        return any(_is_other(row, before[row.dev]) for row in bid.rows)

    def look_at(self, now: Now, offered: Offered) -> float:
        """When to see whether there is news: not after each message, for a bid is work."""
        _, drains, is_deserted = offered
        _, drained, was_deserted = self.offered
        if drains and not drained:
            return -math.inf  # a farewell waits for nothing
        if is_deserted is not was_deserted or self._lost_said - self.lost(now):
            return self.said_at + SOON_S  # others count on that word
        next_at = self.said_at + (FIRST_S_MIN if self.count < FIRST_BIDS else BID_S_MIN)
        return next_at if offered != self.offered else max(next_at, self.again_at)

    def looked(self, now: Now, offered: Offered) -> None:
        self.offered = offered
        self.again_at = min(now.mono + LOOK_S, self.next_lost(now))

    def said(self, now: Now, me: Me, bid: Bid) -> Signed[Bid]:
        self.last = envelope.sign(bid, me.device_key)
        self.said_at, self.count = now.mono, self.count + 1
        return self.last


def _of(row: BidRow) -> DeviceKey:
    return DeviceKey(row.dev)


def _row(dev: DeviceKey, measured: Measured, *, is_lost: bool) -> BidRow:
    if is_lost:
        return BidRow(dev, 0, 0, LOST_PERMILLE, measured.served)
    rtts = sorted(measured.rtts) or [0]
    p50, p90 = rtts[len(rtts) // 2], rtts[len(rtts) * 9 // 10]
    return BidRow(dev, p50, p90, measured.loss, measured.served)


def _is_other(row: BidRow, before: BidRow) -> bool:
    if (row.loss == LOST_PERMILLE) != (before.loss == LOST_PERMILLE):
        return True
    return abs(row.rtt_p50 - before.rtt_p50) > max(NEAR_MS, before.rtt_p50 // 3)
