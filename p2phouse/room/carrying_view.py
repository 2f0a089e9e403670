"""How our room is carried, as a person is told: by whom and why, and what it costs us.

Decides nothing: shape/election.py does, and room/carrying.py acts on it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Final

from p2phouse.channel import Stats
from p2phouse.identity.keys import Me, key_tag, peer_id
from p2phouse.room.messages import Event, EventKind, Output
from p2phouse.room.state import Member, Membership
from p2phouse.shape import measure
from p2phouse.vocabulary import DeviceKey, LinkNumber, Now, RoomId

# A packet of 20 ms: 80 bytes of Opus at 32 kb/s, and 58 of SFrame, RTP, SRTP, UDP and IP.
PACKET_BITS: Final = 1_104


class WhyThem(Enum):
    """Why that member carries the room and no other."""

    NOBODY = ""
    NAMED = "named"
    NEAREST = "nearest"
    ONLY_ONE = "only_one"
    TOOK_OVER = "took_over"


REASONS: Final = {
    WhyThem.NOBODY: "",
    WhyThem.NAMED: "the relay that the host named",
    WhyThem.NEAREST: "nearest to most of the room",
    WhyThem.ONLY_ONE: "nobody else here can",
    WhyThem.TOOK_OVER: "the one who carried it before stopped",
}


@dataclass(slots=True)
class Told:
    """Of one room: what our person knows of."""

    room: RoomId
    hub: DeviceKey | None = None
    standby: DeviceKey | None = None
    why: WhyThem = WhyThem.NOBODY
    needs_relay: bool = False


class CarryingView:
    """One for the node; the room is given with each call."""

    def __init__(self, me: Me) -> None:
        self._me = me
        self._told: Told | None = None
        self._sent: dict[LinkNumber, int] = {}
        self._sent_at = 0.0
        self._kbps = 0

    def stats(self, now: Now, stats: Stats) -> None:
        """What our links have carried by now; media tells it once a second."""
        sent = {each.link: each.sent for each in stats.links}
        packets = sum(max(0, count - self._sent.get(link, count)) for link, count in sent.items())
        # Reports that come late come two at once: those have no time between them to divide by.
        seconds = max(0.5, now.mono - self._sent_at)
        self._kbps = round(packets * PACKET_BITS / seconds / 1_000)
        self._sent, self._sent_at = sent, now.mono

    def settle(self, membership: Membership | None) -> Iterator[Output]:
        """Says it whenever somebody else carries the room, or nobody can."""
        if membership is None or not membership.joined:
            self._told = None
            return
        told = self._told
        if told is None or told.room != membership.room:
            told = self._told = Told(membership.room)
        if told.hub != membership.hub:
            told.why = self._reason(membership, told)
            text = self._sentence(membership, told.why)
            yield Event(EventKind.CARRIED_BY, membership.room, membership.hub, text)
        told.hub, told.standby = membership.hub, membership.standby
        needs_relay = _needs_relay(membership)
        if needs_relay and not told.needs_relay:
            yield Event(EventKind.NEEDS_RELAY, membership.room)
        told.needs_relay = needs_relay

    def _reason(self, membership: Membership, told: Told) -> WhyThem:
        if membership.hub is None:
            return WhyThem.NOBODY
        if membership.hub in membership.relays:
            return WhyThem.NAMED
        carried = membership.carried
        view = carried.election.view if carried is not None else None
        if told.hub is not None and membership.hub == told.standby:
            before = membership.members.get(told.hub)
            bid = view.bids.get(told.hub) if view is not None else None
            is_gone = told.hub != self._me.dev and (before is None or not before.is_heard)
            # A hub that gives the room away claims that itself; of a silent one the standby does.
            claim = carried.election.claim if carried is not None else None
            took_it = claim is not None and claim.record.dev == membership.hub
            if took_it or is_gone or (bid is not None and not measure.would_carry(bid)):
                return WhyThem.TOOK_OVER
        if view is not None and measure.rank(view) == [membership.hub]:
            return WhyThem.ONLY_ONE
        return WhyThem.NEAREST

    def _sentence(self, membership: Membership, why: WhyThem) -> str:
        if membership.hub is None:
            return ""
        who = "you" if membership.hub == self._me.dev else self._name(membership, membership.hub)
        return f"now carried by {who}: {REASONS[why]}".removesuffix(": ")

    def _name(self, membership: Membership, dev: DeviceKey) -> str:
        if dev == self._me.dev:
            return self._me.name or key_tag(self._me.uid)
        member = membership.members.get(dev)
        if member is None:
            return "somebody"
        kind = "relay " if dev in membership.relays else ""
        return kind + (member.name or key_tag(member.uid))

    # ── facts, as the API tells them ─────────────────────────────────────────────────────────

    def facts(self, membership: Membership) -> dict[str, object]:
        """Of a room that we are in."""
        told = self._told
        why = told.why if told is not None and told.room == membership.room else WhyThem.NOBODY
        reason = membership.carried.election.why if membership.carried is not None else None
        is_mesh = membership.hub is None
        return {
            "shape": "mesh" if is_mesh else "hub",
            "shape_why": "" if reason is None else reason.value,
            "hub": self._carrier(membership, membership.hub),
            "standby": self._carrier(membership, membership.standby),
            "carried_text": self._sentence(membership, why),
            "carried_why": why.value,
            "carrying": self._load(membership),
            "needs_relay": _needs_relay(membership),
        }

    def _carrier(self, membership: Membership, dev: DeviceKey | None) -> dict[str, object] | None:
        if dev is None:
            return None
        return {
            "peer_id": peer_id(dev),
            "name": self._name(membership, dev),
            "me": dev == self._me.dev,
        }

    def _load(self, membership: Membership) -> dict[str, object] | None:
        if membership.hub != self._me.dev:
            return None
        people = sum(
            each.link_up and each.dev not in membership.relays
            for each in membership.members.values()
        )
        return {"people": people, "kbps": self._kbps}


def link_fact(membership: Membership, member: Member) -> str:
    """How that member is linked with us, as the API tells it."""
    if member.link_up:
        return "silent" if member.silent else "connected"
    if membership.hub is None or membership.wants(member.dev):
        return "connecting"
    carriers = [membership.members.get(dev) for dev in (membership.hub, membership.standby) if dev]
    return "carried" if any(each is not None and each.is_heard for each in carriers) else "silent"


def _needs_relay(membership: Membership) -> bool:
    return membership.carried is not None and membership.carried.needs_relay
