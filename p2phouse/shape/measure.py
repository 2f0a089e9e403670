"""How well each member would carry the room, from what the others have measured.

Integers only, medians over those who report: the same view gives the same order on every machine,
and a third of liars cannot move anybody far. Nobody's word about itself makes it better than others
say, but for its age, of which forty milliseconds are all there is to gain.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from hashlib import sha256
from typing import Final

from p2phouse.record import limits
from p2phouse.record.types import Bid, BidFlag, BidRow
from p2phouse.vocabulary import DeviceKey, RoomId

FORWARDING_VERSION: Final = 1  # of docs/protocol.md
LOST_PERMILLE: Final = 1_000  # of a row: no link, though one is wanted
UNTRIED_MS: Final = 100  # too few have measured it
LOST_MS: Final = 40  # for each member that it does not reach, as both say
DOUBT_MS: Final = 10  # somebody says so alone
STRAINED_MS: Final = 100  # it says itself that it cannot keep up
AGE_MS: Final = 40  # of who has just come; 8 less with each doubling of its minutes
ROOM_MS: Final = (0, 15, 40)  # capacity of twice the need, of 1.25 times, of less
STEP_MS: Final = 5
CAPACITY_FIRST: Final = 8  # links that anybody may be trusted with
CAPACITY_S: Final = 10  # each so many seconds of good service double that
DOUBLINGS_MAX: Final = 8
SPEAKER_VOTES: Final = 3
# Of the 50 ticks of a second: whose sound has a hole each fifth of a second sends holes to all.
SKIPPED_STRAINED: Final = 5
# A hotel's Wi-Fi loses 100; an uplink that is asked for 1.25 times what it has loses 200.
LOSS_STRAINED_PERMILLE: Final = 200


class Why(Enum):
    """Why a room is no mesh."""

    PEOPLE = "people"
    PAIR = "pair"
    RELAY = "relay"
    STRAIN = "strain"


@dataclass(frozen=True, slots=True)
class View:
    """What one member knows of the room. members: all of them, itself included.

    heard: those whose media link is up and not silent. speakers: who stands on the stage.
    listens: the owner of the view is a listener, and leaves it to the stage who carries the room.
    relays: those of the members whom a host named to carry the room; they are no people.
    """

    room: RoomId
    members: frozenset[DeviceKey]
    bids: Mapping[DeviceKey, Bid] = field(default_factory=dict)
    heard: frozenset[DeviceKey] = frozenset()
    speakers: frozenset[DeviceKey] = frozenset()
    listens: bool = False
    relays: frozenset[DeviceKey] = frozenset()

    @property
    def people(self) -> int:
        return len(self.members - self.relays)

    @property
    def need(self) -> int:
        """Links that a hub feeds."""
        return len(self.members) - 1


def would_carry(bid: Bid) -> bool:
    """Whether the bidder lets itself be used, by its own word."""
    wanted = BidFlag.CARRIES | BidFlag.MAINS
    refused = BidFlag.METERED | BidFlag.DRAINING
    is_willing = bid.flags & wanted == wanted and not bid.flags & refused
    return is_willing and bid.version == FORWARDING_VERSION


def is_eligible(view: View, dev: DeviceKey) -> bool:
    bid = view.bids.get(dev)
    if dev not in view.members or bid is None or not would_carry(bid) or bid.cap < view.need:
        return False
    reports = dict(_reports(view, dev))
    return 5 * len(_lost(view, dev, reports)) <= len(reports)  # four of five reach it


def can_grow(view: View) -> bool:
    """Whether somebody would carry one person more."""
    bids = ((dev, bid) for dev, bid in view.bids.items() if dev in view.members)
    return any(would_carry(bid) and bid.cap > view.need for _, bid in bids)


def is_tried(view: View, dev: DeviceKey) -> bool:
    """Whether enough members have measured it."""
    measured = sum(row.loss < LOST_PERMILLE for _, row in _reports(view, dev))
    return measured >= reporters_due(len(view.members))


def is_strain(skipped_ticks: int, losses: Sequence[int]) -> bool:
    """Whether, by one second of it, a machine cannot keep up with what it does for others.

    losses: in permille, of what it sent on each link, as the other ends tell.
    """
    # Security: at least two say so, and half of all, or one that lies would move a hub.
    lost = sorted(losses)[(len(losses) - 1) // 2] if len(losses) > 1 else 0
    return skipped_ticks >= SKIPPED_STRAINED or lost >= LOSS_STRAINED_PERMILLE


def is_favoured(view: View, dev: DeviceKey) -> bool:
    """Whether it goes before all members: a relay that a host named, unless it cannot keep up."""
    return dev in view.relays and not is_strained(view, dev)


def is_strained(view: View, dev: DeviceKey) -> bool:
    """Whether it cannot keep up, by its own word."""
    bid = view.bids.get(dev)
    return bid is not None and bool(bid.flags & BidFlag.STRAINED)


def is_doubted(view: View, hub: DeviceKey, standby: DeviceKey | None, by: DeviceKey) -> bool:
    """Whether others on the stage say what `by` finds: that they hear neither of the two."""
    carriers = (hub, standby)
    if not view.members - {by, *carriers}:
        return False  # nobody is left to be carried
    bids = [view.bids[dev] for dev in view.speakers & view.bids.keys() - {by, *carriers}]
    if not bids:
        return not view.members & {*carriers}  # nobody else could say so: until both are gone
    agree = sum(bool(bid.flags & BidFlag.DESERTED) for bid in bids)
    return agree >= -(-len(bids) // 3)


def deserted(view: View) -> frozenset[DeviceKey]:
    """Who says that it hears neither hub nor standby."""
    bids = ((dev, bid) for dev, bid in view.bids.items() if dev in view.members)
    return frozenset(dev for dev, bid in bids if bid.flags & BidFlag.DESERTED)


def reporters_due(members: int) -> int:
    return min(members - 1, max(2, -(-members // 3)))


def cost(view: View, dev: DeviceKey) -> int:
    """In ms of delay or what is worth as much; lower is better."""
    reports = dict(_reports(view, dev))
    measured = {by: row for by, row in reports.items() if row.loss < LOST_PERMILLE}
    votes = [
        row
        for by, row in measured.items()
        for _ in range(SPEAKER_VOTES if by in view.speakers else 1)
    ]
    bid = view.bids.get(dev)
    lost = _lost(view, dev, reports)
    total = (
        _median(row.rtt_p50 for row in votes)
        + _median(row.rtt_p90 for row in votes) // 2
        + _median(row.loss for row in votes)
        + LOST_MS * len(lost)
        + (DOUBT_MS if len(measured) + len(lost) < len(reports) else 0)
        + (UNTRIED_MS if len(measured) < reporters_due(len(view.members)) else 0)
        + (STRAINED_MS if is_strained(view, dev) else 0)
        + _age_ms(bid.uptime_min if bid is not None else 0)
        + _room_ms(capacity(view, dev), view.need)
    )
    return min(limits.COST_MAX, (total + STEP_MS // 2) // STEP_MS * STEP_MS)


def capacity(view: View, dev: DeviceKey) -> int:
    """Links that it has shown to feed well; what it says itself is only an upper bound."""
    bid = view.bids.get(dev)
    if bid is None:
        return 0
    served = _median(row.served for _, row in _reports(view, dev))
    return min(bid.cap, CAPACITY_FIRST << min(DOUBLINGS_MAX, served // CAPACITY_S))


def tie(room: RoomId, dev: DeviceKey) -> bytes:
    """Of two equally good the higher goes first; it is another one in each room."""
    return sha256(room + dev).digest()


def rank(view: View, *, but: Iterable[DeviceKey | None] = ()) -> list[DeviceKey]:
    """Those who may carry, the best first: relays before all others, for a host named them."""
    fit = [dev for dev in view.bids if is_eligible(view, dev)]
    excluded = frozenset(but)
    fit = [dev for dev in fit if dev not in excluded]
    fit.sort(key=lambda dev: tie(view.room, dev), reverse=True)
    fit.sort(key=lambda dev: (not is_favoured(view, dev), cost(view, dev)))
    return fit


def failing_pairs(view: View) -> frozenset[frozenset[DeviceKey]]:
    """Members who cannot meet, as both of them say: one liar makes no hub needed."""
    lost = {
        (by, DeviceKey(row.dev))
        for by, bid in view.bids.items()
        for row in bid.rows
        if row.loss == LOST_PERMILLE and by in view.members and row.dev in view.members
    }
    return frozenset(frozenset(pair) for pair in lost if pair[::-1] in lost)


def meeting_pairs(view: View) -> frozenset[frozenset[DeviceKey]]:
    """Members who have a link, or had one since they last had none, as both of them say."""
    met = {
        (by, DeviceKey(row.dev))
        for by, bid in view.bids.items()
        for row in bid.rows
        if row.loss < LOST_PERMILLE
    }
    return frozenset(frozenset(pair) for pair in met if pair[::-1] in met)


def unreached(view: View, dev: DeviceKey) -> list[DeviceKey]:
    """Who has no link with it, as both say."""
    return _lost(view, dev, dict(_reports(view, dev)))


def why_no_mesh(view: View) -> Why | None:
    if view.people > limits.MESH_MEMBERS_MAX:
        return Why.PEOPLE
    if failing_pairs(view):
        return Why.PAIR
    if any(is_strained(view, dev) for dev in view.members) and len(view.members) > 2:
        return Why.STRAIN
    favoured = (dev for dev in view.relays if is_favoured(view, dev))
    return Why.RELAY if any(is_eligible(view, dev) for dev in favoured) else None


def _reports(view: View, dev: DeviceKey) -> list[tuple[DeviceKey, BidRow]]:
    """What other members say of it; of what one says twice the first."""
    found = []
    for by, bid in view.bids.items():
        if by == dev or by not in view.members:
            continue
        row = next((row for row in bid.rows if row.dev == dev), None)
        if row is not None:
            found.append((by, row))
    return found


def _lost(view: View, dev: DeviceKey, reports: Mapping[DeviceKey, BidRow]) -> list[DeviceKey]:
    """Those of them whom it does not reach either."""
    own = view.bids.get(dev)
    mine = {row.dev for row in own.rows if row.loss == LOST_PERMILLE} if own is not None else set()
    return [by for by, row in reports.items() if row.loss == LOST_PERMILLE and by in mine]


def _median(values: Iterable[int]) -> int:
    ordered = sorted(values)
    return ordered[(len(ordered) - 1) // 2] if ordered else 0


def _age_ms(uptime_min: int) -> int:
    return max(0, AGE_MS - 8 * ((1 + uptime_min).bit_length() - 1))


def _room_ms(links: int, need: int) -> int:
    if links >= 2 * need:
        return ROOM_MS[0]
    return ROOM_MS[1] if 4 * links >= 5 * need else ROOM_MS[2]
