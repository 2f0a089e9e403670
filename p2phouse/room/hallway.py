"""The hallway as seen from a room: the cards that come in, and the one we send out.

The device that made a room publishes its card. When it is not there, of those whom it seated the
one with the lowest device key does: each sees by itself whose turn it is. A room in which none of
them is goes on but is listed no more: who wants to come then needs a join link of somebody inside.
"""

import random
from collections.abc import Iterator
from typing import Final

from p2phouse.errors import PeerError
from p2phouse.hall import grant
from p2phouse.hall.advert import Advert
from p2phouse.hall.card import RoomCard
from p2phouse.hall.directory import Directory
from p2phouse.identity.keys import Me
from p2phouse.record.envelope import Signed
from p2phouse.record.types import Card, Identity
from p2phouse.room.messages import Event, EventKind, Output, PublishCard
from p2phouse.room.state import Membership
from p2phouse.vocabulary import DeviceKey, Now, RoomId

LATE_S: Final = 0.001  # a float of unix seconds is coarser than one of the monotonic clock


class Hallway:
    """Keeps the directory and our advert in step. `see` the time before anything else."""

    def __init__(self, me: Me, *, rng: random.Random) -> None:
        self.directory = Directory()
        self.own_addrs: tuple[bytes, ...] = ()
        self._me = me
        self._advert = Advert(me, rng=rng)
        self._last_proof = b""  # that we could publish a card
        self.ghosts: set[RoomId] = set()  # listed, but at the last try nobody was there
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
        self.ghosts.discard(card.room)  # somebody has said anew that it goes on
        return card, [self._seen(card)]

    def tried(self, now: Now, room: RoomId, *, vain: bool) -> Iterator[Output]:
        """How it went to join a room: in vain if nobody in it answered."""
        card = self.directory.get(room, now)
        if card is None or vain is (room in self.ghosts):
            return
        (self.ghosts.add if vain else self.ghosts.discard)(room)
        yield Event(EventKind.ROOM_GHOST, room, card.publisher, card.genesis.record.title)

    # ── our own room ─────────────────────────────────────────────────────────────────────────

    def told_addresses(self, now: Now, addrs: tuple[bytes, ...]) -> None:
        self.own_addrs = addrs
        self._advert.changed(now)

    def changed(self, now: Now, membership: Membership) -> None:
        """People or seats came or went, or we have just come in: is it for us to list the room?"""
        is_ours = self._publisher(membership) == self._me.dev
        if is_ours and not self._advert.is_on:
            self._advert.begin(now)
        elif is_ours:
            self._advert.changed(now)
        elif self._advert.is_on:
            self._advert.stop()

    def _publisher(self, membership: Membership) -> DeviceKey | None:
        """Whose cards list the room now, as far as we see; None if nobody's do."""
        assert membership.genesis is not None
        # Security: a closed room is told to nobody.
        if membership.is_unlisted:
            return None
        creator = DeviceKey(membership.genesis.record.dev)
        people = [(self._me.dev, self._me.record)]
        people += [(member.dev, member.identity) for member in membership.members.values()]
        able = [dev for dev, identity in people if _proof(membership, dev, identity) is not None]
        return min(able, key=lambda dev: (dev != creator, dev), default=None)

    def publish(self, now: Now, membership: Membership | None) -> Iterator[Output]:
        """Our card, if it is due; one that is out is taken back from a room that was closed."""
        if membership is not None and membership.is_unlisted:
            if self._advert.has_card(now):
                yield from self.end(now, membership)
            return
        if self._advert.due > now.mono:
            return
        proof = self._own_proof(membership)
        if proof is None:
            self._advert.stop()  # since just now we have no seat
            return
        card = self._advert.card(now, membership, self.own_addrs, proof)
        yield from self._send(membership, card)

    def end(self, now: Now, membership: Membership) -> Iterator[Output]:
        """We leave: takes our card off the list. Those of others stay."""
        proof = self._own_proof(membership)
        if proof is None:
            proof = self._last_proof
        yield from self._send(membership, self._advert.end(now, membership, proof))

    def _own_proof(self, membership: Membership | None) -> bytes | None:
        if membership is None or membership.genesis is None:
            return b""
        proof = _proof(membership, self._me.dev, self._me.record)
        if proof is not None:
            self._last_proof = proof
        return proof

    def _send(self, membership: Membership | None, card: Signed[Card] | None) -> Iterator[Output]:
        if card is None or membership is None or membership.genesis is None:
            return
        own = RoomCard(card, membership.genesis)
        self.directory.keep(own)
        yield PublishCard(card.data)
        yield self._seen(own)

    # ── time ─────────────────────────────────────────────────────────────────────────────────

    def tick(self, now: Now) -> Iterator[Output]:
        for card in self.directory.expire(now):
            title = card.genesis.record.title
            self.ghosts.discard(card.room)
            yield Event(EventKind.ROOM_GONE, card.room, card.publisher, title)

    @property
    def deadline(self) -> float:
        return min(self.mono_of(self.directory.deadline_unix), self._advert.due)

    def live_cards(self, now: Now) -> list[bytes]:
        """For a hall exchange: own card first, then the others, newest first."""
        cards = self.directory.live(now)
        cards.sort(key=lambda card: card.publisher != self._me.dev)
        return [card.card.data for card in cards]

    def _seen(self, card: RoomCard) -> Event:
        is_listed = self.directory.get(card.room, self.now) is not None
        kind = EventKind.ROOM_SEEN if is_listed else EventKind.ROOM_GONE
        return Event(kind, card.room, card.publisher, card.genesis.record.title)


def _proof(membership: Membership, dev: DeviceKey, identity: Signed[Identity]) -> bytes | None:
    """What a card of that device would show; None if nobody would believe it."""
    genesis = membership.genesis
    assert genesis is not None
    if dev == genesis.record.dev:
        return b""
    for seat in membership.log.state.seats:
        if seat.uid == identity.record.uid and seat.is_standing and seat.grant is not None:
            proof = grant.prove(genesis, seat.grant, identity, dev)
            if proof is not None:
                return proof
    return None
