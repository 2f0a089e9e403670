"""What we tell of ourselves by soft state, to every member: at the greeting and at each change.

Every REFRESH_S we tell again what is not as it was when we came, and once more what has changed
since. That mends what a link lost or a receiver left out by its rate limit; who sits in the
audience and wants nothing costs nothing.
"""

import math
from collections.abc import Iterator
from typing import Final

from p2phouse.errors import UserError
from p2phouse.identity.keys import Me
from p2phouse.record import envelope
from p2phouse.record.cbor import Value
from p2phouse.record.types import Soft, SoftKind
from p2phouse.room.frames import FrameKind
from p2phouse.room.messages import Output, SendRoomFrame
from p2phouse.room.pace import Allowance
from p2phouse.room.state import Membership
from p2phouse.vocabulary import DeviceKey, Now

REFRESH_S: Final = 5.0
CATCH_UP_S: Final = 1.0  # when a change that came too fast after others is told
LASTING: Final = (SoftKind.OWN_MUTE, SoftKind.ON_STAGE, SoftKind.HAND, SoftKind.TYPING)
GREETED: Final = (*LASTING, SoftKind.GUESTS)  # a count is told again as it changes, not each 5 s


class TooFast(UserError):
    """That was too many at once. Wait a second, then try again."""


class Signs:
    """One for the node; the room is given with each call."""

    def __init__(self, me: Me) -> None:
        self._me = me
        self._last_seq = 0
        # Half of what receivers take (state.Pace): nothing that we say is left out by them.
        self._pace = Allowance(16, 0.5)
        self._reactions = Allowance(1, 1.0)

    # ── telling ──────────────────────────────────────────────────────────────────────────────

    def changed(self, now: Now, membership: Membership, kind: SoftKind) -> Iterator[Output]:
        """One of the lasting kinds is not as it was."""
        own = membership.own
        own.untold.add(kind)
        if self._pace.take(now.mono):
            own.refresh_at = min(own.refresh_at, now.mono + REFRESH_S)
            yield from self._tell(now, membership, kind)
        else:  # somebody plays with the key: how it ends is told
            own.refresh_at = min(own.refresh_at, now.mono + CATCH_UP_S)

    def ask(self, now: Now, membership: Membership, kind: SoftKind, val: Value) -> Iterator[Output]:
        """Says once what lasts not at all. Raises TooFast."""
        pace = self._reactions if kind is SoftKind.REACTION else self._pace
        if not pace.take(now.mono):
            raise TooFast
        frame = self._frame(now, membership, kind, val, int(now.unix))
        for dev in membership.listening():
            yield SendRoomFrame(dev, membership.room, frame)

    def greet(self, now: Now, membership: Membership, dev: DeviceKey) -> Iterator[Output]:
        """What a member is told after our first greeting on a link."""
        for kind in GREETED:
            if kind in (SoftKind.OWN_MUTE, SoftKind.ON_STAGE) or self._lasts(membership, kind):
                yield SendRoomFrame(dev, membership.room, self._now(now, membership, kind))

    def count_guests(self, now: Now, membership: Membership, count: int) -> Iterator[Output]:
        """How many listen through us, who are a relay."""
        membership.own.guests = count
        yield from self._tell(now, membership, SoftKind.GUESTS)

    def _tell(self, now: Now, membership: Membership, kind: SoftKind) -> Iterator[Output]:
        frame = self._now(now, membership, kind)
        for dev in membership.listening():
            yield SendRoomFrame(dev, membership.room, frame)

    def _now(self, now: Now, membership: Membership, kind: SoftKind) -> list[Value]:
        own, ts = membership.own, int(now.unix)
        val: Value
        match kind:
            case SoftKind.HAND if own.hand is not None:
                val, ts = own.hand.topic, own.hand.ts
            case SoftKind.TYPING:
                val = own.typing
            case SoftKind.OWN_MUTE:
                val = membership.muted
            case SoftKind.ON_STAGE:
                val = own.on_stage
            case SoftKind.GUESTS:
                val = own.guests
            case _:
                val = False
        return self._frame(now, membership, kind, val, ts)

    def _frame(
        self, now: Now, membership: Membership, kind: SoftKind, val: Value, ts: int
    ) -> list[Value]:
        self._last_seq = max(self._last_seq + 1, int(now.unix * 1_000))
        soft = Soft(
            room=membership.room,
            dev=self._me.dev,
            seq=self._last_seq,
            kind=kind,
            val=val,  # type: ignore[arg-type]  # each caller has one that records may hold
            ts=ts,
        )
        return [int(FrameKind.SOFT), envelope.sign(soft, self._me.device_key).data]

    def _lasts(self, membership: Membership, kind: SoftKind) -> bool:
        """Whether it is not as it was when we came."""
        own = membership.own
        match kind:
            case SoftKind.HAND:
                return own.hand is not None
            case SoftKind.TYPING:
                return own.typing
            case SoftKind.OWN_MUTE:
                return not membership.muted
            case SoftKind.GUESTS:
                return own.guests > 0
            case _:
                return own.on_stage is not False

    # ── time ─────────────────────────────────────────────────────────────────────────────────

    def tick(self, now: Now, membership: Membership) -> Iterator[Output]:
        own = membership.own
        if own.refresh_at > now.mono:
            return
        due = [k for k in LASTING if k in own.untold or self._lasts(membership, k)]
        own.untold.clear()
        own.refresh_at = now.mono + REFRESH_S if due else math.inf
        for kind in due:
            yield from self._tell(now, membership, kind)

    def deadline(self, membership: Membership) -> float:
        return membership.own.refresh_at
