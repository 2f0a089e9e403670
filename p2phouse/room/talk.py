"""Our own mouth and ear in the room: the voice we sign, mute, what is said and where it is heard.

No microphone opens by itself: only a person's `unmute` names the input to media.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from p2phouse.channel import (
    EndVoice,
    NewVoice,
    SetInput,
    SetOutput,
    Stats,
    VoiceCondition,
    VoiceState,
)
from p2phouse.errors import P2PHouseError, UserError
from p2phouse.identity.keys import Me
from p2phouse.record import envelope
from p2phouse.record.cbor import Value
from p2phouse.record.envelope import Signed
from p2phouse.record.types import SoftKind, Speak
from p2phouse.room import voices
from p2phouse.room.frames import FrameKind
from p2phouse.room.messages import Answer, Event, EventKind, Output, SendRoomFrame, ToMedia
from p2phouse.room.signs import Signs
from p2phouse.room.state import Member, Membership, OwnVoice, ssrc_of
from p2phouse.room.wiring import Wiring
from p2phouse.vocabulary import FRAME_S, Entropy, Now, VoiceId

SID_BYTES = 16


class InAudience(UserError):
    """You are in the audience. Say yes to an invitation: p2phouse accept, or raise your hand."""


class StillSpeaking(UserError):
    """A file is being spoken already. Wait for its end, or stop it with Ctrl-C there."""


class MayNotSpeak(UserError):
    """You may not speak in this room now: you are {role}. `p2phouse why` says who decided it."""


class SoundFailed(UserError):
    """{text}"""


class SoundRestarted(UserError):
    """The sound process ended and was started anew, muted. Say it again."""


class RecordingCut(UserError):
    """The sound process ended. What was heard until then is in {path}."""


@dataclass(slots=True)
class _Saying:
    ticket: int
    muted_after: bool  # as before, unless the person decides otherwise meanwhile
    began_mono: float = math.inf  # when the input's first sample was captured, on our clock


class Talk:
    """One for the node; the room it talks in is given with each call."""

    def __init__(
        self, me: Me, wiring: Wiring, signs: Signs, *, entropy: Entropy, ear: str, mouth: str
    ) -> None:
        self._me = me
        self._wiring = wiring
        self._signs = signs
        self._entropy = entropy
        self._usual_ear = self._ear = ear
        self.mouth = mouth
        self._mouth_open = False
        self._saying: _Saying | None = None
        self._heard_from = math.inf
        self._ear_began = False
        self.stats: Stats | None = None

    @property
    def ear(self) -> str:
        """Where what is heard goes, as in SetOutput."""
        return self._ear

    @property
    def is_saying(self) -> bool:
        return self._saying is not None

    @property
    def heard_from_mono(self) -> float | None:
        """When the first sample of the running output was played, on our monotonic clock."""
        return self._heard_from if math.isfinite(self._heard_from) else None

    # ── the voice ────────────────────────────────────────────────────────────────────────────

    def new_voice(self) -> OwnVoice:
        return OwnVoice(VoiceId(self._entropy(SID_BYTES)))

    def begin(self, membership: Membership) -> Iterator[Output]:
        """In a room: a voice, and an ear. The mouth waits for an unmute. A relay has neither."""
        if membership.serves:
            return
        yield ToMedia(NewVoice(membership.voice.sid))
        yield from self.hear_to(membership, self._ear)

    def end(self, now: Now, membership: Membership, error: P2PHouseError) -> Iterator[Output]:
        """Out of the room: mouth and ear are closed."""
        if membership.serves:
            return
        self._mouth_open = False
        yield from self.said(now, membership, error)
        yield ToMedia(EndVoice(membership.voice.sid))
        yield ToMedia(SetInput("none"))
        yield ToMedia(SetOutput("none"))
        self._ear = self._usual_ear  # a recording ends with the room it is of

    def keyed(self, now: Now, membership: Membership, akey: bytes) -> Iterator[Output]:
        """Media made the voice. A second word on one voice would sign it twice: passed over."""
        if membership.voice.akey is not None:
            return
        membership.voice.akey = akey
        if membership.own.on_stage:
            yield from self.sign_voice(now, membership)

    def sign_voice(self, now: Now, membership: Membership) -> Iterator[Output]:
        """Signs our voice into the room, once we stand on its stage and media has made it.

        The record's id gives the SSRC, so no packet can come before it. On a stage that has become
        full nothing is signed.
        """
        akey = membership.voice.akey
        free = voices.free_slots(membership)
        if akey is None or not free:
            return
        # Any free one: people who join at once would all take the lowest.
        slot = free[int.from_bytes(self._entropy(2), "big") % len(free)]
        speak = envelope.sign(
            Speak(
                room=membership.room,
                dev=self._me.dev,
                sid=membership.voice.sid,
                slot=slot,
                created=int(now.unix),
                akey=akey,
            ),
            self._me.device_key,
        )
        membership.voice.speak = speak
        yield from self._wiring.tell_voice(membership)
        yield from self._wiring.rewire(membership)
        yield Event(EventKind.VOICE_READY, membership.room, self._me.dev)
        yield from _tell_all(membership, [int(FrameKind.SPEAK), speak.data])

    def heard_speak(
        self, membership: Membership, member: Member, speak: Signed[Speak]
    ) -> Iterator[Output]:
        """A member has a voice."""
        if member.speak is not None and member.speak.id == speak.id:
            return
        was, member.speak = member.speak, speak  # the latest counts: a room link keeps its order
        yield from self._wiring.rewire(membership)
        if was is None and membership.may_stand(member.uid):
            yield Event(EventKind.STAGE_CHANGED, membership.room, member.dev, member.name)

    def give_way(self, membership: Membership) -> Iterator[Output]:
        """Of two voices with one slot or one SSRC the lower id stays: another one instead of ours,
        if that is the other."""
        own = membership.voice.speak
        if own is None:
            return
        # Security: only of those who may stand on the stage, or anybody in the audience could
        # interrupt each speaker as often as he signs.
        others = [m.speak for m in membership.members.values() if membership.may_stand(m.uid)]
        if any(each and each.id < own.id and _clash(own, each) for each in others):
            yield from self.renew(membership)
            yield from self._wiring.rewire(membership)

    def renew(self, membership: Membership) -> Iterator[Output]:
        """Another voice instead of ours, to be signed when the stage is ours (again)."""
        yield ToMedia(EndVoice(membership.voice.sid))
        membership.voice = self.new_voice()
        yield ToMedia(NewVoice(membership.voice.sid))

    # ── mute ─────────────────────────────────────────────────────────────────────────────────

    def set_muted(self, now: Now, membership: Membership, muted: bool) -> Iterator[Output]:
        """What the person asks for. Raises MayNotSpeak."""
        if not muted:
            self._must_be_speaker(membership)
        if self._saying is not None:
            self._saying.muted_after = muted
        if not muted and not self._mouth_open:
            # Security: the microphone opens at a person's unmute, and nowhere else.
            self._mouth_open = True
            if self._saying is None:
                yield ToMedia(SetInput(self.mouth))
        yield from self._mute(now, membership, muted)

    def _must_be_speaker(self, membership: Membership) -> None:
        if not membership.may_speak(self._me.uid):
            role = membership.log.state.role_of(self._me.uid)
            raise MayNotSpeak(role=role.value if role is not None else "not let in yet")
        if not membership.own.on_stage:
            raise InAudience

    def silence(self, now: Now, membership: Membership) -> Iterator[Output]:
        """We may not speak any more: the microphone closes, and opens again by hand alone."""
        was_open, self._mouth_open = self._mouth_open, False
        if self._saying is not None:
            self._saying.muted_after = True
            yield from self.said(now, membership, MayNotSpeak(role="no speaker any more"))
        elif was_open:
            yield ToMedia(SetInput("none"))
        yield from self._mute(now, membership, muted=True)

    def _mute(self, now: Now, membership: Membership, muted: bool) -> Iterator[Output]:
        if membership.muted == muted:
            return
        membership.muted = muted
        yield from self._wiring.tell_voice(membership)
        yield from self._signs.changed(now, membership, SoftKind.OWN_MUTE)
        kind = EventKind.MEMBER_MUTED if muted else EventKind.MEMBER_UNMUTED
        yield Event(kind, membership.room, self._me.dev)

    # ── saying and hearing ───────────────────────────────────────────────────────────────────

    def say(self, now: Now, membership: Membership, ticket: int, spec: str) -> Iterator[Output]:
        """Speaks an input to its end. Raises StillSpeaking or MayNotSpeak."""
        self._must_be_speaker(membership)
        if self._saying is not None:
            raise StillSpeaking
        self._saying = _Saying(ticket, muted_after=membership.muted)
        yield ToMedia(SetInput(spec))
        yield from self._mute(now, membership, muted=False)

    def said(
        self, now: Now, membership: Membership, error: P2PHouseError | None
    ) -> Iterator[Output]:
        """Ends a `say`: back to the input and the mute that were there before."""
        saying, self._saying = self._saying, None
        if saying is None:
            return
        yield from self._mute(now, membership, saying.muted_after)
        yield ToMedia(SetInput(self.mouth if self._mouth_open else "none"))
        facts: dict[str, object] = {}
        if math.isfinite(saying.began_mono):
            facts["began_mono_s"] = saying.began_mono
        yield Answer(saying.ticket, facts, error)
        yield Event(EventKind.INPUT_ENDED, membership.room, self._me.dev)

    def hear_to(self, membership: Membership, spec: str) -> Iterator[Output]:
        """In this room, what is heard goes there."""
        self._ear = spec
        self._heard_from = math.inf
        self._ear_began = False
        yield ToMedia(SetOutput(spec))

    def voice_state(self, now: Now, membership: Membership, state: VoiceState) -> Iterator[Output]:
        match state.condition:
            case VoiceCondition.INPUT_STARTED if self._saying is not None:
                self._saying.began_mono = now.mono - FRAME_S
            case VoiceCondition.INPUT_ENDED if self._saying is not None:
                yield from self.said(now, membership, None)
            case VoiceCondition.INPUT_FAILED if self._saying is not None:
                yield from self.said(now, membership, SoundFailed(text=state.text))
            case VoiceCondition.OUTPUT_STARTED:
                self._ear_began = True
                self._heard_from = now.mono
            case VoiceCondition.INPUT_FAILED:
                # Nobody may believe to be heard whose microphone gives nothing.
                self._mouth_open = False
                yield from self._mute(now, membership, muted=True)
                yield Event(EventKind.SOUND_TROUBLE, membership.room, self._me.dev, state.text)
            case VoiceCondition.OUTPUT_FAILED:
                yield Event(EventKind.SOUND_TROUBLE, membership.room, self._me.dev, state.text)
            case VoiceCondition.FLOWING:
                for member in membership.members.values():
                    if member.ssrc == state.ssrc:
                        yield Event(EventKind.VOICE_HEARD, membership.room, member.dev, member.name)

    def keep_stats(self, now: Now, stats: Stats) -> None:
        """Ages become times of our clock; a message is never early, so the earliest is right.

        What was sent before the running input or output began is about another.
        """
        self.stats = stats
        saying = self._saying
        if saying is not None and math.isfinite(saying.began_mono) and stats.captured_age_us >= 0:
            began = now.mono - stats.captured_age_us / 1e6
            saying.began_mono = min(saying.began_mono, began)
        if self._ear_began and stats.played_age_us >= 0:
            self._heard_from = min(self._heard_from, now.mono - stats.played_age_us / 1e6)

    def media_gone(self, now: Now, membership: Membership | None) -> Iterator[Output]:
        """Media died: muted, with a new voice, in the process that starts now."""
        self.stats = None
        if membership is not None and membership.serves:
            return
        # Security: first of all, or the new process would open the microphone again.
        self._mouth_open = False
        if membership is None:
            return
        yield from self.said(now, membership, SoundRestarted())
        # Told even if it is so: what we said since the death may have reached the new process.
        yield ToMedia(SetInput("none"))
        yield from self._mute(now, membership, muted=True)
        if self._ear != self._usual_ear:
            # A new process would write over what the last one recorded.
            text = str(RecordingCut(path=self._ear.removeprefix("file:")))
            yield Event(EventKind.SOUND_TROUBLE, membership.room, self._me.dev, text)
            self._ear = self._usual_ear
        membership.voice = self.new_voice()
        yield from self.begin(membership)


def _clash(own: Signed[Speak], other: Signed[Speak]) -> bool:
    return own.record.slot == other.record.slot or ssrc_of(own) == ssrc_of(other)


def _tell_all(membership: Membership, frame: list[Value]) -> Iterator[Output]:
    for dev in membership.listening():
        yield SendRoomFrame(dev, membership.room, frame)
