"""The stage: who stands on it, who is asked to, and the hands of those who want to.

The log says who may (R11: speaker, or muted, which keeps its place); a person stands there only
once it wants to. Who comes with that role, has it from a seat or from the room's default, or had a
hand up, has said so already; everybody else is invited, and answers. On the stage one has a voice,
muted: nothing here opens a microphone.
"""

import math
from collections.abc import Iterator
from typing import Final

from p2phouse import channel
from p2phouse.errors import UserError
from p2phouse.identity.keys import Me
from p2phouse.record import limits
from p2phouse.record.cbor import Value
from p2phouse.record.envelope import Signed
from p2phouse.record.types import Act, Entry, Soft, SoftKind
from p2phouse.room import frames, muting, soft, voices
from p2phouse.room.log import MayNot, NoSeat
from p2phouse.room.messages import (
    Accept,
    Decline,
    Event,
    EventKind,
    Hand,
    LowerHand,
    Output,
    React,
    StageAction,
    StepDown,
    Typing,
)
from p2phouse.room.rules import ON_STAGE, RoomState
from p2phouse.room.signs import Signs
from p2phouse.room.state import Member, Membership
from p2phouse.room.talk import Talk
from p2phouse.room.wiring import Wiring
from p2phouse.vocabulary import DeviceKey, Now, UserKey

LASTING: Final = (SoftKind.OWN_MUTE, SoftKind.ON_STAGE, SoftKind.HAND, SoftKind.GUESTS)
SPEECH_DBOV: Final = -50  # louder than this somebody speaks; a quiet room is at about -60
LEVEL_S: Final = 0.1  # media tells levels at 10 Hz
MEET_S: Final = 3.0  # everybody whom the first member named has greeted us by then
LOWER_AFTER_S: Final = 3.0  # who has spoken for so long wants it no more


class StageFull(UserError):
    """The stage of this room is full ({limit}). Somebody must step down first."""


class QueueFull(UserError):
    """{limit} hands are up already. Wait until some are lowered."""


class NotInvited(UserError):
    """Nobody has invited you to the stage. Raise your hand: p2phouse hand."""


class NotOnStage(UserError):
    """You are not on the stage."""


class Place:
    """Our own place, in the audience or on the stage, and what others say of theirs."""

    def __init__(self, me: Me, talk: Talk, wiring: Wiring, signs: Signs) -> None:
        self._me = me
        self._talk = talk
        self._wiring = wiring
        self._signs = signs

    # ── what the log says ────────────────────────────────────────────────────────────────────

    def arrive(self, now: Now, membership: Membership) -> Iterator[Output]:
        """We were let in. Who has the role comes, or comes back, to the stage, muted.

        Where there may be fewer places than people we first meet them all: else we might sign in a
        slot that is taken, and with a lower id drive out who has stood there all the time.
        """
        if membership.serves:
            return
        people = max(membership.people, membership.count + len(membership.sought))
        if people > membership.log.state.speakers_max:
            membership.own.arrive_at = now.mono + MEET_S
        else:
            yield from self._come(now, membership)

    def _come(self, now: Now, membership: Membership) -> Iterator[Output]:
        may = membership.may_stand(self._me.uid) and membership.own.on_stage is False
        if may and voices.free_slots(membership):
            yield from self._step_up(now, membership)

    def obey(self, now: Now, membership: Membership, before: RoomState) -> Iterator[Output]:
        """What follows for the stage from a log that has changed."""
        state, uid, own = membership.log.state, self._me.uid, membership.own
        may, might = state.role_of(uid) in ON_STAGE, before.role_of(uid) in ON_STAGE
        decided, earlier = state.winners.get((Act.ROLE, uid)), before.winners.get((Act.ROLE, uid))
        is_new = decided is not None and (earlier is None or earlier.id != decided.id)
        is_asked = is_new and state.may_speak(uid)
        if membership.serves:
            may = might = False
        if not may:
            yield from self._leave_stage(now, membership, on_stage=False)
            if might:
                # A hand that was up there would bring its owner back unasked.
                yield from self._lower(now, membership)
        elif not own.on_stage and (not might or is_asked) and membership.joined:
            yield from self._asked(now, membership, before, is_asked=is_asked)
        for member in membership.members.values():
            was, is_ = (
                before.role_of(member.uid) in ON_STAGE,
                membership.may_stand(member.uid),
            )
            if was != is_ and member.speak is not None:
                yield Event(EventKind.STAGE_CHANGED, membership.room, member.dev, member.name)

    def _asked(
        self, now: Now, membership: Membership, before: RoomState, *, is_asked: bool
    ) -> Iterator[Output]:
        """We may speak now, or are asked again."""
        own = membership.own
        was_let_in = before.role_of(self._me.uid) is not None  # else it is our admission
        wants = own.hand is not None or not was_let_in or not is_asked
        if wants and voices.free_slots(membership):
            yield from self._step_up(now, membership)
        elif is_asked:
            yield from self._invited(now, membership)

    def _invited(self, now: Now, membership: Membership) -> Iterator[Output]:
        membership.own.on_stage = None
        yield from self._signs.changed(now, membership, SoftKind.ON_STAGE)
        yield Event(EventKind.INVITED, membership.room, self._me.dev)

    # ── our place ────────────────────────────────────────────────────────────────────────────

    def _step_up(self, now: Now, membership: Membership) -> Iterator[Output]:
        membership.own.on_stage = True
        yield from self._talk.sign_voice(now, membership)
        yield from self._signs.changed(now, membership, SoftKind.ON_STAGE)
        yield from self._lower(now, membership)
        yield Event(EventKind.STAGE_CHANGED, membership.room, self._me.dev)

    def _leave_stage(
        self, now: Now, membership: Membership, *, on_stage: bool | None
    ) -> Iterator[Output]:
        """Off the stage, or to be asked no more: without a voice, the microphone closed."""
        own = membership.own
        was, own.on_stage = own.on_stage, on_stage
        if was is on_stage:
            return
        if was:
            # Security: first the microphone, then the voice; the next one begins muted.
            yield from self._talk.silence(now, membership)
            yield from self._talk.renew(membership)
            yield from self._wiring.rewire(membership)
        yield from self._signs.changed(now, membership, SoftKind.ON_STAGE)
        yield Event(EventKind.STAGE_CHANGED, membership.room, self._me.dev)

    def keep_place(self, now: Now, membership: Membership) -> Iterator[Output]:
        """Two voices have one slot: ours gives way, perhaps. If somebody else's took the last one
        while ours had none, we wait to be called."""
        yield from self._talk.give_way(membership)
        own = membership.own
        if own.on_stage and membership.voice.speak is None and not voices.free_slots(membership):
            yield from self._leave_stage(now, membership, on_stage=None)

    def count_guests(self, now: Now, membership: Membership, count: int) -> Iterator[Output]:
        """So many listen through us with only a browser."""
        if membership.serves and count != membership.own.guests:
            yield from self._signs.count_guests(now, membership, count)

    # ── the person's word ────────────────────────────────────────────────────────────────────

    def act(self, now: Now, membership: Membership, action: StageAction) -> Iterator[Output]:
        """Raises UserError, before anything has changed."""
        own = membership.own
        match action:
            case Hand(topic):
                yield from self._raise(now, membership, topic)
            case LowerHand():
                yield from self._lower(now, membership)
            case Accept():
                if own.on_stage:
                    return
                if not membership.may_stand(self._me.uid):
                    raise NotInvited
                if not voices.free_slots(membership):
                    raise StageFull(limit=membership.log.state.speakers_max)
                yield from self._step_up(now, membership)
            case Decline():
                if own.on_stage is not None:
                    raise NotInvited
                yield from self._leave_stage(now, membership, on_stage=False)
            case StepDown():
                if not own.on_stage:
                    raise NotOnStage
                yield from self._leave_stage(now, membership, on_stage=False)
            case React(emoji):
                yield from self._signs.ask(now, membership, SoftKind.REACTION, emoji)
                yield Event(EventKind.REACTION, membership.room, self._me.dev, emoji)
            case Typing(on):
                yield from self._type(now, membership, on)

    def refuse_full(self, membership: Membership) -> None:
        """Raises StageFull if nobody may be invited."""
        most = membership.log.state.speakers_max
        if len(voices.standing(membership, self._me.uid)) >= most:
            raise StageFull(limit=most)

    def _raise(self, now: Now, membership: Membership, topic: str) -> Iterator[Output]:
        own = membership.own
        others = sum(member.soft.hand is not None for member in membership.members.values())
        if own.hand is None and others >= limits.HANDS_MAX:
            raise QueueFull(limit=limits.HANDS_MAX)
        ts = int(now.unix) if own.hand is None else own.hand.ts
        hand = soft.Hand(topic, ts, float(ts))
        if hand == own.hand:
            return
        own.hand, own.spoken_s = hand, 0.0
        yield from self._signs.changed(now, membership, SoftKind.HAND)
        yield Event(EventKind.HAND_RAISED, membership.room, self._me.dev, topic)

    def _lower(self, now: Now, membership: Membership) -> Iterator[Output]:
        if membership.own.hand is not None:
            membership.own.hand = None
            yield from self._signs.changed(now, membership, SoftKind.HAND)
            yield Event(EventKind.HAND_LOWERED, membership.room, self._me.dev)

    def _type(self, now: Now, membership: Membership, on: bool) -> Iterator[Output]:
        own = membership.own
        own.typing_until = now.mono + soft.TYPING_S if on else math.inf
        if own.typing != on:
            own.typing = on
            yield from self._signs.changed(now, membership, SoftKind.TYPING)

    def heard_levels(
        self, now: Now, membership: Membership, levels: channel.Levels
    ) -> Iterator[Output]:
        """Who has raised a hand and then speaks lowers it. `levels` comes while a hand is up."""
        own, ssrc = membership.own, membership.voice.ssrc
        if own.hand is None or membership.muted:
            return
        if any(level.ssrc == ssrc and -level.dbov > SPEECH_DBOV for level in levels.levels):
            own.spoken_s += LEVEL_S
            if own.spoken_s >= LOWER_AFTER_S:
                yield from self._lower(now, membership)

    # ── moderators ───────────────────────────────────────────────────────────────────────────

    def lower_of(
        self, now: Now, membership: Membership, subject: UserKey | None
    ) -> Iterator[Output]:
        """Asks somebody, or all, to lower the hand. Raises UserError."""
        self._must_run(membership, subject)
        name = None if subject is None else soft.name_of(subject)
        yield from self._signs.ask(now, membership, SoftKind.LOWER_HANDS, name)
        if subject is None:
            yield from self._lower(now, membership)

    def please_mute(self, now: Now, membership: Membership) -> Iterator[Output]:
        """Asks everybody to mute; each may unmute again. Raises UserError."""
        self._must_run(membership, None)
        yield from self._signs.ask(now, membership, SoftKind.PLEASE_MUTE, None)

    def _must_run(self, membership: Membership, subject: UserKey | None) -> None:
        state = membership.log.state
        if state.seat_of(self._me.uid) is None:
            raise NoSeat
        if not state.may(self._me.uid, Act.ROLE, subject):
            raise MayNot

    def lock_mute(self, membership: Membership, *, muted: bool) -> tuple[Signed[Entry], ...]:
        """Mutes everybody below us by entries, or lifts that. Raises UserError."""
        self._must_run(membership, None)
        return muting.write(membership, self._me, muted=muted)

    # ── what others say ──────────────────────────────────────────────────────────────────────

    def greet(self, now: Now, membership: Membership, dev: DeviceKey) -> Iterator[Output]:
        yield from self._signs.greet(now, membership, dev)

    def heard(
        self, now: Now, membership: Membership, member: Member, frame: list[Value]
    ) -> Iterator[Output]:
        """A soft record. Raises PeerError before anything has changed."""
        pace = membership.pace_of(member.dev)
        if not pace.softs.take(now.mono):
            return  # what lasts of it is told again
        data = frames.only_field(frame)
        record = frames.read_soft(data, sender=member.dev, room=membership.room).record
        before, state = member.soft, member.soft.hear(now, record)
        if state is None:
            return
        member.soft = state
        if record.kind in LASTING:
            member.signs[record.kind] = data  # type: ignore[assignment]  # bytes, as it was read
        yield from self._tell_changes(membership, member, before)
        match SoftKind(record.kind), record.val:
            case SoftKind.ON_STAGE, False | None if member.speak is not None:
                # On one link a word of the stage keeps its order with voices.
                member.ended_speak, member.speak = member.speak.id, None
                yield from self._wiring.rewire(membership)
                yield Event(EventKind.STAGE_CHANGED, membership.room, member.dev, member.name)
            case SoftKind.REACTION, str(emoji) if 0 < len(emoji) <= limits.REACTION_CODE_POINTS_MAX:
                if pace.reactions.take(now.mono):
                    yield Event(EventKind.REACTION, membership.room, member.dev, emoji)
            case SoftKind.LOWER_HANDS | SoftKind.PLEASE_MUTE, _:
                yield from self._bidden(now, membership, member, record)

    def _tell_changes(
        self, membership: Membership, member: Member, before: soft.SoftState
    ) -> Iterator[Output]:
        after, room = member.soft, membership.room
        if before.muted != after.muted:
            kind = EventKind.MEMBER_MUTED if after.muted else EventKind.MEMBER_UNMUTED
            yield Event(kind, room, member.dev, member.name)
        if before.hand != after.hand:
            if after.hand is not None:
                yield Event(EventKind.HAND_RAISED, room, member.dev, after.hand.topic)
            else:
                yield Event(EventKind.HAND_LOWERED, room, member.dev, member.name)
        if before.typing != after.typing:
            yield Event(EventKind.TYPING, room, member.dev, member.name)
        if before.guests != after.guests and membership.is_relay(member.uid):
            yield Event(EventKind.GUESTS_CHANGED, room, member.dev, str(after.guests))
        if after.on_stage is None and before.on_stage is not None:
            yield Event(EventKind.INVITED, room, member.dev, member.name)

    def _bidden(
        self, now: Now, membership: Membership, member: Member, record: Soft
    ) -> Iterator[Output]:
        """A moderator asks something of us, perhaps."""
        if not soft.names(record.val, self._me.uid):
            return
        # Security: only who could also have decided it by an entry is listened to.
        if not membership.log.state.may(member.uid, Act.ROLE, self._me.uid):
            return
        if record.kind == SoftKind.LOWER_HANDS:
            yield from self._lower(now, membership)
        elif not membership.muted:
            yield from self._talk.set_muted(now, membership, muted=True)
            yield Event(EventKind.PLEASE_MUTE, membership.room, member.dev, member.name)

    # ── time ─────────────────────────────────────────────────────────────────────────────────

    def tick(self, now: Now, membership: Membership) -> Iterator[Output]:
        if membership.own.typing_until <= now.mono:
            yield from self._type(now, membership, on=False)
        if membership.own.arrive_at <= now.mono:
            membership.own.arrive_at = math.inf
            yield from self._come(now, membership)
        yield from self._signs.tick(now, membership)
        for member in membership.members.values():
            if member.soft.deadline <= now.mono:
                before, member.soft = member.soft, member.soft.lapse(now.mono)
                yield from self._tell_changes(membership, member, before)

    def deadline(self, membership: Membership) -> float:
        own = membership.own
        times = [self._signs.deadline(membership), own.typing_until, own.arrive_at]
        times += [member.soft.deadline for member in membership.members.values()]
        return min(times)
