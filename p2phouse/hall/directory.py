"""The rooms this node knows to exist: the newest card of each, until it expires.

Last writer wins by (room, dev, seq); a tombstone wins at equal seq and stays until no older card
could come back. Bounded: rooms over the caps are refused, never traded for ones already known.
"""

import math
from collections import Counter
from dataclasses import dataclass, field

from p2phouse.errors import UserError
from p2phouse.hall.card import RoomCard, read_card
from p2phouse.record import limits
from p2phouse.vocabulary import DeviceKey, Now, RoomId

ROOMS_PER_KEY_MAX = 10  # a person opens few rooms; a flooder must make keys


class NoSuchRoom(UserError):
    """No room here is called "{text}". `p2phouse rooms` lists those this node can see."""


class SeveralRooms(UserError):
    """ "{text}" fits {count} rooms. Use more of the id; `p2phouse rooms` shows it."""


@dataclass(slots=True)
class Directory:
    """LWW map of cards. Ask `deadline`, call `expire` then."""

    _cards: dict[RoomId, RoomCard] = field(default_factory=dict)
    _of: Counter[DeviceKey] = field(default_factory=Counter)  # cards held of each publisher
    refused: int = 0  # cards turned away: a cap was reached, or they say what they may not
    # When to look for cards that ran out, in unix seconds: never after the first of them does.
    deadline_unix: float = math.inf

    def receive(self, now: Now, data: bytes) -> RoomCard | None:
        """Takes a card in; returns it if it changed what we know. Raises PeerError."""
        card = read_card(data, now)
        known = self._cards.get(card.room)
        if known is None and not self._has_space(card.publisher):
            self.refused += 1
            return None
        if known is not None and _rank(card) <= _rank(known):
            return None
        self.keep(card)
        return card

    def keep(self, card: RoomCard) -> None:
        """Takes in our own room's card: no cap and no wrong clock hides it from ourselves."""
        if card.room not in self._cards:
            self._of[card.publisher] += 1
        self._cards[card.room] = card
        self.deadline_unix = min(self.deadline_unix, _forgotten_unix(card))

    def _has_space(self, publisher: DeviceKey) -> bool:
        is_full = len(self._cards) >= limits.ROOMS_CACHED_MAX
        return not is_full and self._of[publisher] < ROOMS_PER_KEY_MAX

    def expire(self, now: Now) -> list[RoomCard]:
        """Drops what has run out; returns the rooms that thereby left the list."""
        if now.unix < self.deadline_unix:
            return []
        over = [card for card in self._cards.values() if _forgotten_unix(card) <= now.unix]
        for card in over:
            del self._cards[card.room]
            self._of -= Counter([card.publisher])  # which also drops what comes to nothing
        left = map(_forgotten_unix, self._cards.values())
        self.deadline_unix = min(left, default=math.inf)
        return [card for card in over if not card.is_tombstone]

    def live(self, now: Now) -> list[RoomCard]:
        """Rooms to show, newest card first."""
        cards = [
            card
            for card in self._cards.values()
            if not card.is_tombstone and card.expires_unix > now.unix
        ]
        return sorted(cards, key=lambda card: (-card.card.record.seq, card.room))

    def of(self, publisher: DeviceKey, now: Now) -> list[RoomCard]:
        return [card for card in self.live(now) if card.publisher == publisher]

    def get(self, room: RoomId, now: Now) -> RoomCard | None:
        card = self._cards.get(room)
        if card is None or card.is_tombstone or card.expires_unix <= now.unix:
            return None
        return card

    def find(self, text: str, now: Now) -> RoomCard:
        """The one live room whose id starts with `text` or whose title is `text`.

        Raises NoSuchRoom or SeveralRooms.
        """
        wanted = text.strip().casefold()
        live = self.live(now)
        by_title = [card for card in live if card.genesis.record.title.casefold() == wanted]
        by_id = [card for card in live if len(wanted) >= 4 and card.room.hex().startswith(wanted)]
        found = by_title or by_id
        if not found:
            raise NoSuchRoom(text=text)
        if len(found) > 1:
            raise SeveralRooms(text=text, count=len(found))
        return found[0]


def _rank(card: RoomCard) -> tuple[int, bool, bytes]:
    # The id settles two cards of one seq alike on every node.
    return (card.card.record.seq, card.is_tombstone, card.card.id)


def _forgotten_unix(card: RoomCard) -> float:
    if card.is_tombstone:
        # A card made just before the tombstone may travel until its own time is over.
        return card.card.record.created + limits.CARD_TTL_S_MAX + limits.CLOCK_SKEW_S_MAX
    return card.expires_unix
