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
    def people(self) -> int: ...
    @property
    def on_stage_count(self) -> int: ...


class Advert:
    """`due` says when `card` must be asked for; it is inf while we publish none."""

    def __init__(self, me: Me, *, rng: random.Random) -> None:
        self._me = me
        self._rng = rng
        self._published_at = -math.inf
        self._listed_until = -math.inf  # the room we are in, by a card of ours
        self._last_seq = 0
        self.due = math.inf

    @property
    def is_on(self) -> bool:
        return math.isfinite(self.due)

    def has_card(self, now: Now) -> bool:
        """Whether others may list the room by a card of ours."""
        return now.mono < self._listed_until

    def stop(self) -> None:
        """Somebody else in the room advertises it from now on. Our last card runs out by itself:
        to take it back would have the room blink."""
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
        if self.is_on:
            self.due = min(self.due, max(now.mono, self._published_at + CHANGE_S_MIN))

    def card(
        self, now: Now, room: Advertised | None, addrs: tuple[bytes, ...], grant: bytes = b""
    ) -> Signed[Card] | None:
        """The card to publish now; None if there is nothing to advertise any more."""
        if room is None or room.genesis is None:
            self.due = math.inf
            return None
        self._published_at = now.mono
        self._listed_until = now.mono + limits.CARD_TTL_S_MAX
        self.due = now.mono + REFRESH_S * self._rng.uniform(0.8, 1.2)
        return self._make(now, room, room.genesis, addrs, grant, limits.CARD_TTL_S_MAX)

    def end(self, now: Now, room: Advertised, grant: bytes = b"") -> Signed[Card] | None:
        """The tombstone that takes our card off the list; None if none of ours is on it."""
        is_listed = self.has_card(now)
        self._listed_until, self.due = -math.inf, math.inf
        if not is_listed or room.genesis is None:
            return None
        return self._make(now, room, room.genesis, (), grant, 0)

    def _make(
        self,
        now: Now,
        room: Advertised,
        genesis: Signed[Genesis],
        addrs: tuple[bytes, ...],
        grant: bytes,
        ttl_s: int,
    ) -> Signed[Card]:
        # Milliseconds of our clock, but always more than the last: it grows over restarts too.
        self._last_seq = max(self._last_seq + 1, int(now.unix * 1_000))
        return make_card(
            self._me,
            genesis,
            seq=self._last_seq,
            speakers=room.on_stage_count,
            listeners=room.people - room.on_stage_count,
            addrs=addrs,
            ttl_s=ttl_s,
            now=now,
            grant=grant,
        )
