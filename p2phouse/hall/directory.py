"""The rooms this node knows to exist: the newest card of each publisher, until it expires.

Last writer wins by (room, dev, seq); a tombstone wins at equal seq and stays until no older card of
its device could come back. A room is listed once, by the freshest of its cards. Bounded: rooms over
the caps are refused, never traded for ones already known.
"""

import math
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from p2phouse.errors import UserError
from p2phouse.hall.card import RoomCard, read_card
from p2phouse.record import limits
from p2phouse.vocabulary import DeviceKey, Now, RoomId

ROOMS_PER_KEY_MAX = 10  # a person opens few rooms; a flooder must make keys
CARDS_PER_ROOM_MAX = 8  # one at a time; the others left it a while ago, and their cards run out


class NoSuchRoom(UserError):
    """No room here is called "{text}". `p2phouse rooms` lists those this node can see."""


class SeveralRooms(UserError):
    """ "{text}" fits {count} rooms. Use more of the id; `p2phouse rooms` shows it."""


@dataclass(slots=True)
class Directory:
    """LWW map of cards. Ask `deadline`, call `expire` then."""

    _cards: dict[RoomId, dict[DeviceKey, RoomCard]] = field(default_factory=dict)
    _of: Counter[DeviceKey] = field(default_factory=Counter)  # cards held of each publisher
    refused: int = 0  # cards turned away: a cap was reached, or they say what they may not
    # When to look for cards that ran out, in unix seconds: never after the first of them does.
    deadline_unix: float = math.inf

    def receive(self, now: Now, data: bytes) -> RoomCard | None:
        """Takes a card in; returns it if it changed what we know. Raises PeerError."""
        card = read_card(data, now)
        known = self._cards.get(card.room, {}).get(card.publisher)
        if known is None and not self._has_space(card):
            self.refused += 1
            return None
        if known is not None and rank(card) <= rank(known):
            return None
        self.keep(card)
        return card

    def keep(self, card: RoomCard) -> None:
        """Takes in our own room's card: no cap and no wrong clock hides it from ourselves."""
        of_room = self._cards.setdefault(card.room, {})
        if card.publisher not in of_room:
            self._of[card.publisher] += 1
        of_room[card.publisher] = card
        if len(of_room) > CARDS_PER_ROOM_MAX:
            # Security: only people whom the room's creator seated can drive one another out.
            self._drop(min(of_room.values(), key=freshness))
        self.deadline_unix = min(self.deadline_unix, _forgotten_unix(card))

    def _has_space(self, card: RoomCard) -> bool:
        is_full = card.room not in self._cards and len(self._cards) >= limits.ROOMS_CACHED_MAX
        return not is_full and self._of[card.publisher] < ROOMS_PER_KEY_MAX

    def _drop(self, card: RoomCard) -> None:
        of_room = self._cards[card.room]
        del of_room[card.publisher]
        if not of_room:
            del self._cards[card.room]
        self._of -= Counter([card.publisher])  # which also drops what comes to nothing

    def _all(self) -> Iterator[RoomCard]:
        return (card for of_room in self._cards.values() for card in of_room.values())

    def expire(self, now: Now) -> list[RoomCard]:
        """Drops what has run out; returns the rooms that thereby left the list."""
        if now.unix < self.deadline_unix:
            return []
        over = [card for card in self._all() if _forgotten_unix(card) <= now.unix]
        for card in over:
            self._drop(card)
        self.deadline_unix = min(map(_forgotten_unix, self._all()), default=math.inf)
        gone = {card.room: card for card in over if not card.is_tombstone}
        return [card for card in gone.values() if self.get(card.room, now) is None]

    def live(self, now: Now) -> list[RoomCard]:
        """Rooms to show, each by its freshest card; newest card first."""
        found = (self.get(room, now) for room in self._cards)
        return _newest_first(card for card in found if card is not None)

    def of(self, publisher: DeviceKey, now: Now) -> list[RoomCard]:
        """What that device lists, whoever else lists it too."""
        return _newest_first(
            card for card in self._all() if card.publisher == publisher and _is_live(card, now)
        )

    def get(self, room: RoomId, now: Now) -> RoomCard | None:
        """The freshest card of a room that is listed."""
        live = [card for card in self._cards.get(room, {}).values() if _is_live(card, now)]
        return max(live, key=freshness, default=None)

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


def _newest_first(cards: Iterable[RoomCard]) -> list[RoomCard]:
    return sorted(cards, key=lambda card: (-card.card.record.seq, card.room))


def _is_live(card: RoomCard, now: Now) -> bool:
    return not card.is_tombstone and card.expires_unix > now.unix


def freshness(card: RoomCard) -> tuple[int, int, bytes]:
    """Of cards of different devices the greater is the one to show."""
    # Of different devices seqs cannot be compared; when a card was made can, but for their clocks.
    record = card.card.record
    return (record.created, record.seq, card.card.id)


def rank(card: RoomCard) -> tuple[int, bool, bytes]:
    """Of cards of one device the greater is the last word."""
    # The id settles two cards of one seq alike on every node.
    return (card.card.record.seq, card.is_tombstone, card.card.id)


def _forgotten_unix(card: RoomCard) -> float:
    if card.is_tombstone:
        # A card made just before the tombstone may travel until its own time is over.
        return card.card.record.created + limits.CARD_TTL_S_MAX + limits.CLOCK_SKEW_S_MAX
    return card.expires_unix
