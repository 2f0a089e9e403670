"""Soft state: what lasts only while a member is there and says so. Pure, and of one member.

Of one device and kind the highest seq counts. A hand and typing run out after limits.SOFT_TTL_S
unless they are told again. Own mute and on stage stand until the member says otherwise or is gone,
so a lost word makes neither flap. room/signs.py tells ours, room/stage.py heeds that of others.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Final

from p2phouse.record import limits
from p2phouse.record.types import Soft, SoftKind
from p2phouse.vocabulary import DeviceKey, Now, UserKey

KINDS: Final = len(SoftKind)
NEVER: Final = (-1,) * KINDS
UID_DIGITS: Final = 16  # names one person of a room in 16 bytes of text
TYPING_S: Final = 10.0  # nobody types for longer without a key; the page says so at each


@dataclass(frozen=True, slots=True)
class Hand:
    """ts: when it was raised, by the clock of who raised it; the same however often it is told.

    raised: that, but never later than it was first heard by more than two clocks may differ.
    """

    topic: str
    ts: int
    raised: float


@dataclass(frozen=True, slots=True)
class SoftState:
    """What a member says of itself. on_stage None: invited, and not answered yet."""

    muted: bool = True
    on_stage: bool | None = False
    hand: Hand | None = None
    typing: bool = False
    guests: int = 0  # of a relay, by its own word
    hand_until: float = math.inf
    typing_until: float = math.inf
    seqs: tuple[int, ...] = NEVER

    def hear(self, now: Now, soft: Soft) -> "SoftState | None":
        """With what the record says; None if a later one of its kind was heard, or none is known.

        A value that means nothing to us is passed over: a later version may mean something by it.
        """
        if soft.kind >= KINDS or soft.seq <= self.seqs[soft.kind]:
            return None
        kind, until = SoftKind(soft.kind), now.mono + limits.SOFT_TTL_S
        seqs = (*self.seqs[:kind], soft.seq, *self.seqs[kind + 1 :])
        told = replace(self, seqs=seqs)
        match kind, soft.val:
            case SoftKind.HAND, str(topic):
                return replace(told, hand=self._hand(now, topic, soft.ts), hand_until=until)
            case SoftKind.HAND, False:
                return replace(told, hand=None, hand_until=math.inf)
            case SoftKind.TYPING, bool(typing):
                return replace(told, typing=typing, typing_until=until if typing else math.inf)
            case SoftKind.OWN_MUTE, bool(muted):
                return replace(told, muted=muted)
            case SoftKind.ON_STAGE, bool() | None:
                return replace(told, on_stage=soft.val)
            case SoftKind.GUESTS, int(count) if count is not True and count is not False:
                return replace(told, guests=min(count, limits.GUESTS_TOLD_MAX))
        return told

    def _hand(self, now: Now, topic: str, ts: int) -> Hand:
        if self.hand is not None and self.hand.ts == ts:
            return replace(self.hand, topic=topic)
        # As said, so that all see one queue; but a clock that is wrong does not wait for ever.
        is_ahead = ts > now.unix + limits.CLOCK_SKEW_S_MAX
        return Hand(topic, ts, now.unix if is_ahead else float(ts))

    def lapse(self, now_mono: float) -> "SoftState":
        """Without what nobody has told for too long."""
        state = self
        if state.hand_until <= now_mono:
            state = replace(state, hand=None, hand_until=math.inf)
        if state.typing_until <= now_mono:
            state = replace(state, typing=False, typing_until=math.inf)
        return state

    @property
    def deadline(self) -> float:
        return min(self.hand_until, self.typing_until)


@dataclass(slots=True)
class OwnSoft:
    """The same of ourselves; whether we are muted the membership itself knows."""

    on_stage: bool | None = False
    hand: Hand | None = None
    typing: bool = False
    guests: int = 0
    typing_until: float = math.inf
    spoken_s: float = 0.0  # on stage, since the hand went up
    untold: set[SoftKind] = field(default_factory=set)  # changed since they were last told twice
    refresh_at: float = math.inf
    arrive_at: float = math.inf  # when we have met whoever may stand on the stage


def places(hands: Iterable[tuple[DeviceKey, Hand | None]]) -> dict[DeviceKey, int]:
    """The queue: who raised a hand first is 1, of two at once the lower device id; at most 20."""
    raised = [(hand.raised, dev) for dev, hand in hands if hand is not None]
    ordered = sorted(raised)[: limits.HANDS_MAX]
    return {dev: place for place, (_, dev) in enumerate(ordered, 1)}


def names(val: object, uid: UserKey) -> bool:
    """Whether the value of a moderator's word means that person."""
    return val is None or val == uid.hex()[:UID_DIGITS]


def name_of(uid: UserKey) -> str:
    return uid.hex()[:UID_DIGITS]
