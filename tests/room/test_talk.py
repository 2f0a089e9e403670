"""Our voice and ear: no microphone opens by itself, and each `say` ends as it began."""

import pytest

from p2phouse.channel import (
    EndVoice,
    NewVoice,
    SetInput,
    SetOutput,
    SetVoice,
    Stats,
    VoiceCondition,
    VoiceKey,
    VoiceState,
)
from p2phouse.record import envelope
from p2phouse.record.types import Speak
from p2phouse.room import messages
from p2phouse.room.frames import FrameKind, FrameRefused
from p2phouse.room.messages import Event, EventKind, SendRoomFrame
from p2phouse.room.stay import LeftMeanwhile, NotInARoom
from p2phouse.room.talk import SoundFailed, SoundRestarted, StillSpeaking
from p2phouse.vocabulary import Ssrc
from tests.room.table import Person, Table, commands, down, kinds, of

MIC, FILE = "device", "file:x.wav"


@pytest.fixture
def table() -> Table:
    table = Table(mouth=MIC)
    table.open()
    return table


@pytest.fixture
def ann(table: Table) -> Person:
    person = table.person()
    table.let_in(person)
    return person


def do(table: Table, action: messages.VerbAction) -> list[messages.Output]:
    before = len(table.said)
    table.ask(action)
    return table.said[before:]


def inputs(outputs: list[messages.Output]) -> list[str]:
    return [message.spec for message in down(SetInput, outputs)]


def sound(table: Table, condition: VoiceCondition, text: str = "") -> list[messages.Output]:
    return table.media(VoiceState(Ssrc(0), condition, text))


def mutes(outputs: list[messages.Output]) -> list[bool]:
    """What media is told of our mute."""
    return [message.muted for message in down(SetVoice, outputs)]


def stats(*, captured_s: float = -1e-6, played_s: float = -1e-6) -> Stats:
    return Stats(int(captured_s * 1e6), int(played_s * 1e6), 0, (), ())


# ── the voice ────────────────────────────────────────────────────────────────────────────────


def test_a_room_begins_with_a_voice_and_an_ear_and_no_mouth():
    table = Table(mouth=MIC)
    outputs = do(table, messages.Open("Tea"))
    assert len(down(NewVoice, outputs)) == 1
    assert [message.spec for message in down(SetOutput, outputs)] == ["null"]
    assert not inputs(outputs)
    assert mutes(table.key_voice()) == [True]


def test_a_voice_is_signed_once_media_made_it_and_told_to_all(table: Table, ann: Person):
    table.tell(table.me.dev, messages.MediaGone())
    outputs = table.key_voice()
    (frame,) = of(SendRoomFrame, outputs)
    kind, data = frame.frame
    assert (frame.dev, kind) == (ann.dev, FrameKind.SPEAK)
    assert isinstance(data, bytes)
    speak = envelope.read(data, Speak)
    assert speak.record.sid == table.here.voice.sid
    (set_voice,) = down(SetVoice, outputs)
    assert set_voice.ssrc == int.from_bytes(speak.id[:4])
    assert EventKind.VOICE_READY in kinds(outputs)


def test_a_key_for_an_old_voice_and_a_second_key_are_passed_over(table: Table):
    old = table.here.voice.sid
    assert not table.media(VoiceKey(old, b"k" * 32))
    table.tell(table.me.dev, messages.MediaGone())
    assert not table.media(VoiceKey(old, b"k" * 32))
    assert down(SetVoice, table.key_voice())


def test_a_voice_takes_a_slot_that_nobody_has(table: Table):
    for seed in range(30):
        table = Table(seed=seed)
        table.ask(messages.Open("Tea"))
        taken = set()
        for slot in range(7):
            person = table.person()
            table.let_in(person, speaks=[person.speak(table.here.room, slot * 2)])
            taken.add(slot * 2)
        table.key_voice()
        assert table.here.voice.speak is not None
        assert table.here.voice.speak.record.slot not in taken


def clashing(table: Table, person: Person, *, lower: bool) -> list[messages.Output]:
    """The person signs a voice in our slot, with a lower or higher id than ours."""
    own = table.here.voice.speak
    assert own is not None
    for number in range(10_000):
        sid = number.to_bytes(16, "big")
        speak = person.speak(table.here.room, own.record.slot, sid)
        if (speak.id < own.id) == lower:
            return table.frame(person, [FrameKind.SPEAK, speak.data])
    raise AssertionError("no such id")


def test_of_two_voices_in_one_slot_the_higher_id_makes_a_new_one(table: Table, ann: Person):
    old = table.here.voice.sid
    outputs = clashing(table, ann, lower=True)
    assert down(EndVoice, outputs) == [EndVoice(old)]
    (new,) = down(NewVoice, outputs)
    assert new.sid != old
    table.key_voice()
    own, theirs = table.here.voice.speak, table.here.members[ann.dev].speak
    assert own is not None
    assert theirs is not None
    assert own.record.slot != theirs.record.slot


def test_of_two_voices_in_one_slot_the_lower_id_stays(table: Table, ann: Person):
    assert not down(EndVoice, clashing(table, ann, lower=False))


def test_a_new_voice_after_a_clash_speaks_on_unmuted(table: Table, ann: Person):
    do(table, messages.SetMuted(muted=False))
    assert not inputs(clashing(table, ann, lower=True))
    assert mutes(table.key_voice()) == [False]


def test_new_voices_without_end_are_refused(table: Table, ann: Person):
    """Each could take our slot and have us make a new voice."""
    frames = [
        ann.voice_frame(table.here.room, sid=number.to_bytes(16, "big")) for number in range(40)
    ]
    with pytest.raises(FrameRefused, match="new voices"):
        [table.frame(ann, frame) for frame in frames]


def test_the_same_voice_told_again_costs_nothing(table: Table, ann: Person):
    frame = ann.voice_frame(table.here.room)
    table.frame(ann, frame)
    assert not [table.frame(ann, frame) for _ in range(30)][-1]


# ── mute ─────────────────────────────────────────────────────────────────────────────────────


def test_only_an_unmute_opens_the_microphone_and_only_once(table: Table):
    assert not inputs(do(table, messages.SetMuted(muted=True)))
    assert inputs(do(table, messages.SetMuted(muted=False))) == [MIC]
    assert not inputs(do(table, messages.SetMuted(muted=True)))
    assert not inputs(do(table, messages.SetMuted(muted=False)))


def test_a_mute_is_told_to_media_and_to_all(table: Table, ann: Person):
    outputs = do(table, messages.SetMuted(muted=False))
    assert mutes(outputs) == [False]
    assert [frame.dev for frame in of(SendRoomFrame, outputs)] == [ann.dev]
    assert kinds(outputs) == [EventKind.MEMBER_UNMUTED]
    assert not of(SendRoomFrame, do(table, messages.SetMuted(muted=False)))


def test_another_persons_mute_is_heard_in_order(table: Table, ann: Person):
    room = table.here.room
    assert kinds(table.frame(ann, ann.mute_frame(room, False, seq=5))) == [EventKind.MEMBER_UNMUTED]
    assert not table.frame(ann, ann.mute_frame(room, True, seq=5))
    assert not table.frame(ann, ann.mute_frame(room, True, seq=4))
    assert kinds(table.frame(ann, ann.mute_frame(room, True, seq=6))) == [EventKind.MEMBER_MUTED]


def test_our_mutes_are_numbered_upwards_even_if_the_clock_steps_back(table: Table, ann: Person):
    from p2phouse.record.types import Soft

    def seq(outputs: list[messages.Output]) -> int:
        (frame,) = of(SendRoomFrame, outputs)
        assert isinstance(frame.frame[1], bytes)
        return envelope.read(frame.frame[1], Soft).record.seq

    first = seq(do(table, messages.SetMuted(muted=False)))
    table.unix -= 3_600
    assert seq(do(table, messages.SetMuted(muted=True))) > first


def test_everybody_joins_muted_and_says_so(table: Table, ann: Person):
    do(table, messages.SetMuted(muted=False))
    do(table, messages.Leave())
    outputs = do(table, messages.Open("Again"))
    assert table.here.muted
    assert not inputs(outputs)


# ── saying ───────────────────────────────────────────────────────────────────────────────────


def test_a_say_unmutes_speaks_and_mutes_again(table: Table):
    ticket = table.ask(messages.Say(FILE))
    assert mutes(table.said) == [True, False]
    assert inputs(table.said) == [FILE]
    assert not table.answers(ticket)
    outputs = sound(table, VoiceCondition.INPUT_ENDED)
    assert mutes(outputs) == [True]
    assert inputs(outputs) == ["none"]
    assert table.answer(ticket).error is None


def test_a_say_beside_an_open_microphone_gives_it_back_open(table: Table):
    do(table, messages.SetMuted(muted=False))
    do(table, messages.Say(FILE))
    outputs = sound(table, VoiceCondition.INPUT_ENDED)
    assert inputs(outputs) == [MIC]
    assert not mutes(outputs)


def test_a_say_beside_a_muted_microphone_gives_it_back_muted(table: Table):
    do(table, messages.SetMuted(muted=False))
    do(table, messages.SetMuted(muted=True))
    do(table, messages.Say(FILE))
    outputs = sound(table, VoiceCondition.INPUT_ENDED)
    assert inputs(outputs) == [MIC]
    assert mutes(outputs) == [True]


def test_who_unmutes_during_a_say_is_unmuted_after_it(table: Table):
    do(table, messages.Say(FILE))
    assert not inputs(do(table, messages.SetMuted(muted=False))), "the file is not cut short"
    outputs = sound(table, VoiceCondition.INPUT_ENDED)
    assert inputs(outputs) == [MIC]
    assert not table.here.muted


def test_who_mutes_during_a_say_is_silent_at_once_and_stays_so(table: Table):
    do(table, messages.SetMuted(muted=False))
    do(table, messages.Say(FILE))
    assert mutes(do(table, messages.SetMuted(muted=True))) == [True]
    sound(table, VoiceCondition.INPUT_ENDED)
    assert table.here.muted


def test_a_second_say_is_refused_and_the_first_goes_on(table: Table):
    first = table.ask(messages.Say(FILE))
    second = table.ask(messages.Say("file:y.wav"))
    assert isinstance(table.answer(second).error, StillSpeaking)
    assert not table.answers(first)
    sound(table, VoiceCondition.INPUT_ENDED)
    assert table.answer(first).error is None


def test_a_say_that_cannot_be_read_says_why_and_mutes_again(table: Table):
    ticket = table.ask(messages.Say(FILE))
    sound(table, VoiceCondition.INPUT_FAILED, "There is no such file.")
    error = table.answer(ticket).error
    assert isinstance(error, SoundFailed)
    assert str(error) == "There is no such file."
    assert table.here.muted


def test_a_stop_ends_a_say_and_both_are_answered_once(table: Table):
    said = table.ask(messages.Say(FILE))
    stopped = table.ask(messages.StopSaying())
    sound(table, VoiceCondition.INPUT_ENDED)
    assert table.answer(said).error is None
    assert table.answer(stopped).error is None
    assert table.here.muted


def test_a_stop_with_nothing_said_does_nothing(table: Table):
    do(table, messages.SetMuted(muted=False))
    before = len(table.said)
    ticket = table.ask(messages.StopSaying())
    assert table.answer(ticket).error is None
    assert len(table.said) == before + 1
    assert not table.here.muted


def test_leaving_answers_a_say_once_and_closes_the_mouth(table: Table):
    do(table, messages.SetMuted(muted=False))
    said = table.ask(messages.Say(FILE))
    outputs = do(table, messages.Leave())
    assert isinstance(table.answer(said).error, LeftMeanwhile)
    assert set(inputs(outputs)) == {"none"}, "the microphone was opened on the way out"
    assert down(SetOutput, outputs)[-1].spec == "none"
    sound(table, VoiceCondition.INPUT_ENDED)
    assert len(table.answers(said)) == 1


def test_media_that_dies_amid_a_say_answers_it_and_opens_no_microphone(table: Table):
    do(table, messages.SetMuted(muted=False))
    said = table.ask(messages.Say(FILE))
    outputs = table.tell(table.me.dev, messages.MediaGone())
    assert isinstance(table.answer(said).error, SoundRestarted)
    assert set(inputs(outputs)) <= {"none"}
    assert table.here.muted
    assert mutes(table.key_voice()) == [True]
    assert inputs(do(table, messages.SetMuted(muted=False))) == [MIC]


def test_media_that_dies_outside_of_a_room_harms_nothing():
    table = Table(mouth=MIC)
    assert not commands(table.tell(table.me.dev, messages.MediaGone()))
    table.open()


def test_when_a_say_began_is_what_media_measured(table: Table):
    ticket = table.ask(messages.Say(FILE))
    table.media(stats(captured_s=3_600.0))  # of a microphone that was open before
    sound(table, VoiceCondition.INPUT_STARTED)
    began = table.mono - 0.02
    table.wait(0.5)
    table.media(stats(captured_s=0.51))  # 10 ms of the message's way taken off
    sound(table, VoiceCondition.INPUT_ENDED)
    facts = table.answer(ticket).facts
    assert facts["began_mono_s"] == pytest.approx(began)


def test_trouble_with_a_device_is_told(table: Table):
    for condition in (VoiceCondition.INPUT_FAILED, VoiceCondition.OUTPUT_FAILED):
        outputs = sound(table, condition, "The device is gone.")
        assert kinds(outputs) == [EventKind.SOUND_TROUBLE, EventKind.SILENCE_EXPLAINED]


@pytest.mark.parametrize(
    "action",
    [
        messages.SetMuted(muted=False),
        messages.Say(FILE),
        messages.StopSaying(),
        messages.SetEar("file:out.wav"),
        messages.Leave(),
    ],
)
def test_outside_of_a_room_nothing_can_be_said_or_heard(action: messages.VerbAction):
    table = Table()
    ticket = table.ask(action)
    assert isinstance(table.answer(ticket).error, NotInARoom)
    assert not commands(table.said)


# ── hearing ──────────────────────────────────────────────────────────────────────────────────


def test_what_is_heard_goes_where_asked_and_its_beginning_is_known(table: Table):
    outputs = do(table, messages.SetEar("file:out.wav"))
    assert down(SetOutput, outputs) == [SetOutput("file:out.wav")]
    table.media(stats(played_s=3_600.0))  # of the output before
    assert table.rooms.talk.heard_from_mono is None
    sound(table, VoiceCondition.OUTPUT_STARTED)
    began = table.mono
    table.wait(1.0)
    table.media(stats(played_s=1.01))
    assert table.rooms.talk.heard_from_mono == pytest.approx(began - 0.01)


def test_a_recording_ends_with_its_room(table: Table):
    do(table, messages.SetEar("file:out.wav"))
    do(table, messages.Leave())
    outputs = do(table, messages.Open("Again"))
    assert [message.spec for message in down(SetOutput, outputs)] == ["null"]


def test_media_that_dies_writes_no_second_recording_over_the_first(table: Table):
    do(table, messages.SetEar("file:out.wav"))
    outputs = table.tell(table.me.dev, messages.MediaGone())
    assert [message.spec for message in down(SetOutput, outputs)] == ["null"]
    assert EventKind.SOUND_TROUBLE in kinds(outputs)


def test_a_microphone_that_fails_mutes_us_and_the_next_unmute_opens_it_again(
    table: Table, ann: Person
):
    do(table, messages.SetMuted(muted=False))
    outputs = sound(table, VoiceCondition.INPUT_FAILED, "The device is gone.")
    assert kinds(outputs) == [
        EventKind.MEMBER_MUTED,
        EventKind.SOUND_TROUBLE,
        EventKind.SILENCE_EXPLAINED,
    ]
    assert mutes(outputs) == [True]
    assert inputs(do(table, messages.SetMuted(muted=False))) == [MIC]


def test_the_first_sound_of_a_members_voice_is_told(table: Table, ann: Person):
    table.frame(ann, ann.voice_frame(table.here.room))
    ssrc = table.here.members[ann.dev].ssrc
    assert ssrc is not None
    outputs = table.media(VoiceState(ssrc, VoiceCondition.FLOWING, ""))
    assert [event.dev for event in of(Event, outputs)] == [ann.dev]
    assert kinds(outputs) == [EventKind.VOICE_HEARD]
    assert not table.media(VoiceState(Ssrc(ssrc ^ 1), VoiceCondition.FLOWING, ""))


def test_whether_an_unmute_has_a_microphone_to_open_is_answered(table: Table):
    ticket = table.ask(messages.SetMuted(muted=False))
    assert table.answer(ticket).facts == {"muted": False, "mouth": MIC}
