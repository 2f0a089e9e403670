"""The cards that a node keeps for everybody, as the distributed table of rooms has it do.

One card a room, under a key that says which. Which of two stays is decided as the directory does;
when the shelf is full, the card leaves whose key lies furthest from us, for the others are kept by
more nodes that are nearer to them. Pure.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final

from p2phouse.hall.card import RoomCard, read_card
from p2phouse.hall.directory import freshness, rank
from p2phouse.hall.grant import CardRefused
from p2phouse.record import limits
from p2phouse.record.types import Access
from p2phouse.vocabulary import DeviceKey, Now, RoomId

NAMESPACE: Final = "p2phouse"
_KEY: Final = re.compile(rf"/{NAMESPACE}/([0-9a-f]{{64}})")


def key_of(room: RoomId) -> str:
    """Under which key a room's card is put and sought."""
    return f"/{NAMESPACE}/{room.hex()}"


def room_of(key: str) -> RoomId:
    """Raises CardRefused for a key that names no room."""
    match = _KEY.fullmatch(key)
    if match is None:
        raise CardRefused(reason="its key names no room")
    return RoomId(bytes.fromhex(match[1]))


def read_value(key: str, value: bytes, now: Now) -> RoomCard:
    """The card under that key, checked whole. Raises PeerError, Expired among them."""
    room = room_of(key)
    card = read_card(value, now)
    # Security: else whoever has one room of its own could answer for all.
    if card.room != room:
        raise CardRefused(reason="it is of another room than its key")
    # Security: a lan room is told on its own network alone (closed ones have no card at all).
    if card.genesis.record.access == Access.LAN:
        raise CardRefused(reason="a lan room is not for everybody")
    return card


def best(cards: Sequence[RoomCard]) -> RoomCard:
    """Of several cards of a room the one that counts; of equal ones the last."""
    newest: dict[DeviceKey, RoomCard] = {}
    for card in cards:
        known = newest.get(card.publisher)
        if known is None or rank(card) >= rank(known):
            newest[card.publisher] = card
    # A tombstone takes back its own device's cards and nobody else's.
    return max(newest.values(), key=lambda card: (not card.is_tombstone, freshness(card)))


@dataclass(slots=True)
class Shelf:
    """own: what our place among the keys is derived from, a PeerId's bytes."""

    own: bytes
    room_max: int = limits.DHT_CARDS_MAX
    _cards: dict[str, RoomCard] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self._cards)

    def keep(self, key: str, value: bytes, now: Now) -> None:
        """Takes in a card if it counts for more than the one that is there. Raises PeerError."""
        card = read_value(key, value, now)
        known = self._cards.get(key)
        if known is not None and best([known, card]) is known:
            return
        self._cards[key] = card
        if len(self._cards) > self.room_max:
            self.expire(now)
        if len(self._cards) > self.room_max:
            # Security: a flood of rooms drives out what is far from us, which we keep for few;
            # to drive out one room it must make keys near to it, for each of the nodes there.
            del self._cards[max(self._cards, key=self._distance)]

    def get(self, key: str, now: Now) -> bytes | None:
        """A card that nobody would refuse; None if there is none."""
        card = self._cards.get(key)
        if card is None or not _counts(card, now):
            return None
        return card.card.data

    def expire(self, now: Now) -> None:
        for key in [key for key, card in self._cards.items() if not _counts(card, now)]:
            del self._cards[key]

    def _distance(self, key: str) -> int:
        return distance(self.own, key.encode())


def distance(one: bytes, other: bytes) -> int:
    """How far apart two names lie in the table: Kademlia's XOR of their SHA-256."""
    return int.from_bytes(sha256(one).digest()) ^ int.from_bytes(sha256(other).digest())


def _counts(card: RoomCard, now: Now) -> bool:
    """A live card while it lives, a tombstone while others may hold what it takes back."""
    if card.is_tombstone:
        return now.unix < card.card.record.created + limits.CARD_TTL_S_MAX
    return now.unix < card.expires_unix
