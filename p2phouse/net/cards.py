"""What gossip and the hall exchange ask of a card before it goes on: whole, in time, and for whom.

Whether it is news and what its room looks like is the hall's business, not the network's. Pure.
"""

import hashlib
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Final

from p2phouse.errors import PeerError
from p2phouse.hall.card import is_provably_bad, read_card
from p2phouse.record.envelope import Expired
from p2phouse.record.limits import CARD_TTL_S_MAX, CLOCK_SKEW_S_MAX
from p2phouse.record.types import Access
from p2phouse.vocabulary import Now, RoomId

REMEMBERED_MAX: Final = 4_096  # 5 cards a second during a card's whole life
REMEMBERED_S: Final = CARD_TTL_S_MAX + 2 * CLOCK_SKEW_S_MAX  # after that its own time refuses it
OWN_ROOMS_MAX: Final = 64
HEARD_KEPT: Final = 32  # to see by them whether our clock is wrong


class Verdict(Enum):
    """What to do with a card."""

    TELL = "for everybody"
    TELL_NEAR = "a lan room's: for this machine and the networks attached to it"
    LATE = "of use to nobody, and nobody's fault"
    FORGED = "no honest peer passes it on"


@dataclass(frozen=True, slots=True)
class Judgement:
    """until_unix: when it becomes LATE."""

    verdict: Verdict
    room: RoomId | None = None
    until_unix: float = 0.0


Judge = Callable[[bytes, Now], Judgement]


def judge(data: bytes, now: Now) -> Judgement:
    """Two signatures to verify, 0.2 ms."""
    try:
        card = read_card(data, now)
    except Expired:
        return Judgement(Verdict.LATE)
    except PeerError:
        return Judgement(Verdict.FORGED if is_provably_bad(data) else Verdict.LATE)
    near_only = card.genesis.record.access == Access.LAN
    verdict = Verdict.TELL_NEAR if near_only else Verdict.TELL
    return Judgement(verdict, card.room, card.expires_unix + CLOCK_SKEW_S_MAX)


class Cards:
    """Judges each card once, and remembers what was passed on and which rooms are for near ones."""

    def __init__(self, *, judge: Judge, clock: Callable[[], Now]) -> None:
        self._judge = judge
        self._clock = clock
        self.heard: deque[tuple[bytes, float]] = deque(maxlen=HEARD_KEPT)  # others', and when
        self._judged: OrderedDict[bytes, Judgement] = OrderedDict()
        self._passed_at: OrderedDict[bytes, float] = OrderedDict()
        self._near_rooms: OrderedDict[RoomId | None, None] = OrderedDict()
        self._own_near_rooms: OrderedDict[RoomId | None, None] = OrderedDict()

    def hear(self, data: bytes) -> Verdict:
        """As `verdict`, of a card that others told; its time may show that our clock is wrong."""
        is_new = hashlib.sha256(data).digest() not in self._judged
        verdict = self.verdict(data)
        if is_new and verdict is not Verdict.FORGED:
            self.heard.append((data, self._clock().unix))
        return verdict

    def verdict(self, data: bytes, *, own: bool = False) -> Verdict:
        """own: the card is of a room of ours, which no flood of others' rooms makes us forget."""
        now = self._clock()
        digest = hashlib.sha256(data).digest()
        judgement = self._judged.get(digest)
        if judgement is not None and judgement.verdict is not Verdict.FORGED:
            judgement = judgement if now.unix <= judgement.until_unix else Judgement(Verdict.LATE)
        if judgement is None:
            judgement = self._judge(data, now)
        if judgement.verdict is not Verdict.LATE:  # one from the future is late now and not then
            _remember(self._judged, digest, judgement, REMEMBERED_MAX)
        if judgement.verdict is Verdict.TELL_NEAR:
            rooms, most = (
                (self._own_near_rooms, OWN_ROOMS_MAX) if own else (self._near_rooms, REMEMBERED_MAX)
            )
            _remember(rooms, judgement.room, None, most)
        return judgement.verdict

    def is_near_only(self, room: RoomId) -> bool:
        """Whether a card was seen that says so."""
        return room in self._own_near_rooms or room in self._near_rooms

    def was_passed_on(self, data: bytes) -> bool:
        """Whether these very bytes went on before: libp2p forgets that after two minutes."""
        passed_at = self._passed_at.get(hashlib.sha256(data).digest())
        return passed_at is not None and self._clock().mono - passed_at < REMEMBERED_S

    def pass_on(self, data: bytes) -> None:
        digest = hashlib.sha256(data).digest()
        _remember(self._passed_at, digest, self._clock().mono, REMEMBERED_MAX)


def _remember(memory: OrderedDict, key: object, value: object, most: int) -> None:  # type: ignore[type-arg]  # any of the four above
    memory[key] = value
    memory.move_to_end(key)
    while len(memory) > most:
        memory.popitem(last=False)
