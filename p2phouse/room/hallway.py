"""The hallway as seen from a room: the cards that come in, and the one we send out.

Only the device that made a room publishes its card. When that device leaves, the room goes on but
is listed no more: who wants to come then needs a join link of somebody inside.
"""

import random
from collections.abc import Iterator
from typing import Final

from p2phouse.errors import PeerError
from p2phouse.hall.advert import Advert
from p2phouse.hall.card import RoomCard
from p2phouse.hall.directory import Directory
from p2phouse.identity.keys import Me
from p2phouse.record.envelope import Signed
from p2phouse.record.types import Card
from p2phouse.room.messages import Event, EventKind, Output, PublishCard
from p2phouse.room.state import Membership
from p2phouse.vocabulary import Now

LATE_S: Final = 0.001  # a float of unix seconds is coarser than one of the monotonic clock


class Hallway:
    """Keeps the directory and our advert in step. `see` the time before anything else."""

    def __init__(self, me: Me, *, rng: random.Random) -> None:
        self.directory = Directory()
        self.own_addrs: tuple[bytes, ...] = ()
        self._me = me
        self._advert = Advert(me, rng=rng)
        self.now = Now(0.0, 0.0)  # as last seen

    def see(self, now: Now) -> None:
        """Unix time may step: what is due by it is due by what it is now."""
        self.now = now

    def mono_of(self, unix: float) -> float:
        """When a tick finds unix time past `unix`."""
        return unix - (self.now.unix - self.now.mono) + LATE_S

    def heard(self, now: Now, data: bytes) -> tuple[RoomCard | None, list[Output]]:
        """Takes a card in; returned if it is news. Raises nothing.

        Who told us did not write it, and it may have run out on its way: nobody is to blame.
        """
        try:
            card = self.directory.receive(now, data)
        except PeerError:
            self.directory.refused += 1
            return None, []
        if card is None:
            return None, []
        if card.publisher == self._me.dev:
            self._advert.saw(card.card.record.seq)
        return card, [_seen(card)]

    # ── our own room ─────────────────────────────────────────────────────────────────────────

    def told_addresses(self, now: Now, addrs: tuple[bytes, ...]) -> None:
        self.own_addrs = addrs
        self._advert.changed(now)

    def begin(self, now: Now) -> None:
        """We are in a room that this device made: from now on it is listed."""
        self._advert.begin(now)

    def changed(self, now: Now) -> None:
        self._advert.changed(now)

    def publish(self, now: Now, membership: Membership | None) -> Iterator[Output]:
        """Our card, if it is due."""
        if self._advert.due <= now.mono:
            yield from self._send(membership, self._advert.card(now, membership, self.own_addrs))

    def end(self, now: Now, membership: Membership) -> Iterator[Output]:
        """We leave: takes the room off the list, if it was ours."""
        yield from self._send(membership, self._advert.end(now, membership))

    def _send(self, membership: Membership | None, card: Signed[Card] | None) -> Iterator[Output]:
        if card is None or membership is None or membership.genesis is None:
            return
        own = RoomCard(card, membership.genesis)
        self.directory.keep(own)
        yield PublishCard(card.data)
        yield _seen(own)

    # ── time ─────────────────────────────────────────────────────────────────────────────────

    def tick(self, now: Now) -> Iterator[Output]:
        for card in self.directory.expire(now):
            title = card.genesis.record.title
            yield Event(EventKind.ROOM_GONE, card.room, card.publisher, title)

    @property
    def deadline(self) -> float:
        return min(self.mono_of(self.directory.deadline_unix), self._advert.due)

    def live_cards(self, now: Now) -> list[bytes]:
        """For a hall exchange: own card first, then the others, newest first."""
        cards = self.directory.live(now)
        cards.sort(key=lambda card: card.publisher != self._me.dev)
        return [card.card.data for card in cards]


def _seen(card: RoomCard) -> Event:
    kind = EventKind.ROOM_GONE if card.is_tombstone else EventKind.ROOM_SEEN
    return Event(kind, card.room, card.publisher, card.genesis.record.title)
