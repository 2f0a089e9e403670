"""Whether our log is all there is: held against the beats of those who run the room.

It is confirmed while its digest is that of a young beat of a seat, and at least two members have
told us theirs. Whoever keeps an entry from us can neither make such a beat nor let the true ones
through, so it shows within a minute. What does not agree is asked for.
"""

import math
import random
from collections.abc import Iterator
from typing import Final

from p2phouse.identity.keys import Me
from p2phouse.record import envelope
from p2phouse.record.cbor import Value
from p2phouse.record.envelope import Signed
from p2phouse.record.types import Beat
from p2phouse.room import flood
from p2phouse.room.beats import BEAT_SOON_S, level_of, read_beat
from p2phouse.room.frames import FrameKind, FrameRefused
from p2phouse.room.messages import Event, EventKind, Output, SendRoomFrame
from p2phouse.room.state import Membership
from p2phouse.vocabulary import DeviceKey, Now

EXCHANGED_MIN: Final = 2  # members whose digest we must have heard; in a smaller room all
LASTS_S: Final = 15.0  # a beat follows a change within 5 s, entries come before it or soon after
ASK_S: Final = 5.0  # as often as digests are told
ASKED_AT_ONCE: Final = 2


class Confirmation:
    """See the module. The room is given with each call."""

    def __init__(self, me: Me, *, rng: random.Random) -> None:
        self._me = me
        self._rng = rng

    # ── beating ──────────────────────────────────────────────────────────────────────────────

    def begin(self, now: Now, membership: Membership) -> None:
        """We were let in."""
        membership.beats.due = now.mono + BEAT_SOON_S
        membership.ask_at = now.mono + ASK_S

    def greet(self, now: Now, membership: Membership, dev: DeviceKey) -> Iterator[Output]:
        """Somebody came: from us, if we have a seat, he knows at once what there is to know."""
        if self._may_beat(membership):
            yield self._send(membership, dev, self._beat(now, membership), self._me.record.data)

    def changed(self, now: Now, membership: Membership) -> Iterator[Output]:
        """The log is another than before."""
        membership.beats.changed(now)
        yield from self.judge(now, membership)

    def _may_beat(self, membership: Membership) -> bool:
        if membership.genesis is None or not membership.joined:
            return False
        return level_of(self._me.record.record, self._me.dev, membership.log.state) is not None

    def _beat(self, now: Now, membership: Membership) -> Signed[Beat]:
        log = membership.log
        beat = Beat(
            room=membership.room,
            dev=self._me.dev,
            count=len(log),
            digest=log.digest,
            en=live.n if (live := membership.live) is not None else 0,
            ts=int(now.unix),
        )
        return envelope.sign(beat, self._me.device_key)

    def _send(
        self, membership: Membership, dev: DeviceKey, beat: Signed[Beat], identity: bytes
    ) -> SendRoomFrame:
        return SendRoomFrame(dev, membership.room, [int(FrameKind.BEAT), beat.data, identity])

    # ── hearing ──────────────────────────────────────────────────────────────────────────────

    def heard(
        self, now: Now, membership: Membership, sender: DeviceKey, frame: list[Value]
    ) -> Iterator[Output]:
        """A beat, from its maker or passed on. Raises PeerError before anything has changed."""
        if len(frame) != 3:
            raise FrameRefused(reason=f"a beat in a frame of {len(frame)} fields")
        book, state = membership.beats, membership.log.state
        held = book.copy_of(frame[1])
        if held is not None and held.beat.record.dev != sender:
            return
        beat, identity = read_beat(frame[1], frame[2], room=membership.room)
        dev = DeviceKey(beat.record.dev)
        if dev == self._me.dev:
            return
        # Security: of one device no more than it honestly needs is kept or goes on.
        if not membership.pace_of(dev).beats.take(now.mono):
            return
        if not book.take(now, beat, identity, state, direct=dev == sender):
            return
        if held is None and level_of(identity.record, dev, state) is not None:
            for other in flood.onward(membership, self._me.dev):
                if other not in (sender, dev):
                    yield self._send(membership, other, beat, identity.data)
            told: list[Value] = [int(FrameKind.BEAT), beat.data, identity.data]
            membership.news.tell(now.mono, (FrameKind.BEAT, dev), told)
        yield from self.judge(now, membership)

    # ── judging ──────────────────────────────────────────────────────────────────────────────

    def judge(self, now: Now, membership: Membership) -> Iterator[Output]:
        """Confirms the log, or takes that back."""
        if membership.genesis is None or not membership.joined:
            return
        agreed_until = self._agrees_until(now, membership)
        if agreed_until is not None:
            membership.agreed_until = agreed_until
            if not membership.confirmed:
                membership.confirmed = True
                yield Event(EventKind.CONFIRMED, membership.room, self._me.dev)
        elif membership.confirmed and membership.agreed_until <= now.mono:
            membership.confirmed = False
            yield Event(EventKind.UNCONFIRMED, membership.room, self._me.dev)

    def _agrees_until(self, now: Now, membership: Membership) -> float | None:
        """None: it does not. Else how long that is good for if nothing more is heard."""
        members = membership.members.values()
        told = sum(member.digest is not None for member in members)
        if told < min(EXCHANGED_MIN, len(members)):
            return None
        counting = membership.beats.counting(now, membership.log.state)
        if not counting:
            return now.mono + LASTS_S if self._runs_it_alone(membership) else None
        digest = membership.log.digest
        until = [each.until for each in counting if each.beat.record.digest == digest]
        return min(max(until), now.mono + LASTS_S) if until else None

    def _runs_it_alone(self, membership: Membership) -> bool:
        """Whether no seat but ours is here that we could hear."""
        seat_of = membership.log.state.seat_of
        if not self._may_beat(membership):
            return False
        return all(seat_of(member.uid) is None for member in membership.members.values())

    def _ask(self, now: Now, membership: Membership) -> Iterator[Output]:
        """What others hold beyond what we do: first of those who agree with the beat."""
        counting = membership.beats.counting(now, membership.log.state)
        if not counting or self._agrees_until(now, membership) is not None:
            return
        stage = flood.stage(membership)
        wanted = {each.beat.record.digest for each in counting}
        members = [member for member in membership.members.values() if member.dev in stage]
        self._rng.shuffle(members)
        members.sort(key=lambda member: member.digest not in wanted)
        sketch: list[Value] = [int(FrameKind.SKETCH), membership.log.sketch]
        for member in members[:ASKED_AT_ONCE]:
            yield SendRoomFrame(member.dev, membership.room, sketch)

    # ── time ─────────────────────────────────────────────────────────────────────────────────

    def tick(self, now: Now, membership: Membership) -> Iterator[Output]:
        book = membership.beats
        if book.due <= now.mono:
            book.due = math.inf  # without a seat, until the log changes
            if self._may_beat(membership):
                beat = self._beat(now, membership)
                book.sent(now, beat, self._rng)
                for dev in flood.linked(membership):
                    yield self._send(membership, dev, beat, self._me.record.data)
        if membership.ask_at <= now.mono:
            membership.ask_at = now.mono + ASK_S
            yield from self._ask(now, membership)
        yield from self.judge(now, membership)

    def deadline(self, membership: Membership) -> float:
        """When `tick` is wanted: to beat, to ask, and when what agreed is too old."""
        until = membership.agreed_until if membership.confirmed else math.inf
        return min(membership.beats.due, membership.ask_at, until)
