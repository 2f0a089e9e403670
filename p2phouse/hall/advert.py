"""When our room's card is published: on a change, at most once a minute, and before it runs out."""

import math
import random
from typing import Final, Protocol

from p2phouse.hall.card import make_card
from p2phouse.identity.keys import Me
from p2phouse.record import limits
from p2phouse.record.envelope import Signed
from p2phouse.record.types import Card, Genesis
from p2phouse.vocabulary import Now

REFRESH_S: Final = 240.0  # ±20 %; a card lives 600 s, so one lost refresh is survived
CHANGE_S_MIN: Final = 60.0  # counts may change each second; gossip costs 10 ms of CPU a card


class Advertised(Protocol):
    """What the advert reads of the room we are in."""

    @property
    def genesis(self) -> Signed[Genesis] | None: ...
    @property
    def count(self) -> int: ...


class Advert:
    """`due` says when `card` must be asked for; it is inf while we publish none."""

    def __init__(self, me: Me, *, rng: random.Random) -> None:
        self._me = me
        self._rng = rng
        self._published_at = -math.inf
        self._last_seq = 0
        self.due = math.inf

    def begin(self, now: Now) -> None:
        """The room is ours to advertise, from now on."""
        self._published_at = -math.inf
        self.due = now.mono

    def saw(self, seq: int) -> None:
        """Others hold this card of ours: the next must be newer, even if our clock is not."""
        self._last_seq = max(self._last_seq, seq)

    def changed(self, now: Now) -> None:
        """People came or went, or our addresses changed."""
        if math.isfinite(self.due):
            self.due = min(self.due, max(now.mono, self._published_at + CHANGE_S_MIN))

    def card(
        self, now: Now, room: Advertised | None, addrs: tuple[bytes, ...]
    ) -> Signed[Card] | None:
        """The card to publish now; None if there is nothing to advertise any more."""
        if room is None or room.genesis is None:
            self.due = math.inf
            return None
        self._published_at = now.mono
        self.due = now.mono + REFRESH_S * self._rng.uniform(0.8, 1.2)
        return self._make(now, room, room.genesis, addrs, limits.CARD_TTL_S_MAX)

    def end(self, now: Now, room: Advertised) -> Signed[Card] | None:
        """The tombstone that takes our room off the list; None if it was not ours to publish."""
        if math.isinf(self.due) or room.genesis is None:
            return None
        self.due = math.inf
        return self._make(now, room, room.genesis, (), 0)

    def _make(
        self,
        now: Now,
        room: Advertised,
        genesis: Signed[Genesis],
        addrs: tuple[bytes, ...],
        ttl_s: int,
    ) -> Signed[Card]:
        # Milliseconds of our clock, but always more than the last: it grows over restarts too.
        self._last_seq = max(self._last_seq + 1, int(now.unix * 1_000))
        return make_card(
            self._me,
            genesis,
            seq=self._last_seq,
            speakers=room.count,
            listeners=0,
            addrs=addrs,
            ttl_s=ttl_s,
            now=now,
        )
