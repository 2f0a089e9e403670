"""The stage: who comes to it and when, who is asked, and what everybody refuses."""

import pytest

from p2phouse.channel import EndVoice, NewVoice, SetInput
from p2phouse.record import limits
from p2phouse.record.types import Act, SoftKind
from p2phouse.room import messages
from p2phouse.room.frames import FrameKind
from p2phouse.room.messages import EventKind
from p2phouse.room.stage import NotInvited, NotOnStage, QueueFull, StageFull
from p2phouse.room.talk import InAudience
from tests.room.hosted import Hosted, add, rows
from tests.room.table import Table, down, frame_kinds, kinds
from tests.room.test_soft import facts, say, told

SID = [bytes([number]) * 16 for number in range(20)]


def sid(number: int) -> bytes:
    return number.to_bytes(16)


# ── who stands there ─────────────────────────────────────────────────────────────────────────


def test_who_comes_to_a_room_where_everybody_may_speak_is_on_stage_muted():
    hosted = Hosted(invited=False)
    assert hosted.me["on_stage"]
    assert hosted.signed
    assert hosted.table.here.muted
    assert not [each for each in down(SetInput, hosted.table.said) if each.spec != "none"]


def test_who_comes_to_a_room_of_the_invited_has_no_voice_and_cannot_unmute():
    hosted = Hosted()
    assert not hosted.me["on_stage"]
    assert not hosted.me["invited"]
    assert not hosted.signed
    assert hosted.table.rooms.facts()["stage"] == "invited"
    assert hosted.refused(messages.SetMuted(muted=False)) is not None
    assert not frame_kinds(hosted.table.key_voice())


def test_the_one_who_opens_a_room_of_the_invited_is_on_stage_and_those_who_come_are_not():
    table = Table()
    table.ask(messages.Open("Tea", stage="invited"))
    table.key_voice()
    bob = table.person("bob")
    table.let_in(bob, speaks=[bob.speak(table.here.room, 3)])
    table.connect(bob)
    assert facts(table, None)["on_stage"]
    assert not facts(table, bob)["on_stage"]
    assert table.rooms.facts()["on_stage"] == 1
    assert not rows(table)


def test_an_invitation_waits_for_the_answer_and_opens_nothing():
    hosted = Hosted()
    outputs = hosted.invite()
    assert EventKind.INVITED in kinds(outputs)
    assert (SoftKind.ON_STAGE, None) in told(outputs)
    assert hosted.me["invited"]
    assert not hosted.signed
    assert isinstance(hosted.refused(messages.SetMuted(muted=False)), InAudience)
    assert isinstance(hosted.refused(messages.Say("file:x.wav")), InAudience)
    outputs = hosted.do(messages.Accept())
    assert hosted.me["on_stage"]
    assert not hosted.me["invited"]
    assert FrameKind.SPEAK in frame_kinds(outputs)
    assert (SoftKind.ON_STAGE, True) in told(outputs)
    assert hosted.table.here.muted
    assert not down(SetInput, outputs)


def test_a_hand_that_was_up_is_the_answer_and_goes_down():
    hosted = Hosted()
    hosted.do(messages.Hand("me"))
    outputs = hosted.invite()
    assert EventKind.INVITED not in kinds(outputs)
    assert hosted.me["on_stage"]
    assert hosted.signed
    assert hosted.table.here.muted
    assert hosted.me["hand"] is None
    assert (SoftKind.HAND, False) in told(outputs)
    assert not down(SetInput, outputs)


def test_a_seat_brings_its_holder_on_stage_and_the_default_everybody():
    hosted = Hosted()
    hosted.decide(Act.GRANT, hosted.uid, "moderator")
    assert hosted.me["on_stage"]
    other = Hosted()
    other.decide(Act.ROLE, None, "speaker")
    assert other.me["on_stage"]
    assert other.table.here.muted


def test_who_declines_stays_in_the_audience_and_may_still_come():
    hosted = Hosted()
    hosted.invite()
    assert (SoftKind.ON_STAGE, False) in told(hosted.do(messages.Decline()))
    assert not hosted.me["invited"]
    assert not hosted.signed
    assert isinstance(hosted.refused(messages.Decline()), NotInvited)
    hosted.do(messages.Accept())
    assert hosted.me["on_stage"]


def test_who_steps_down_closes_the_microphone_first_and_comes_back_with_another_voice():
    hosted = Hosted(invited=False)
    hosted.do(messages.SetMuted(muted=False))
    old = hosted.table.here.voice.sid
    outputs = hosted.do(messages.StepDown())
    commands = [type(each) for each in down(object, outputs)]  # type: ignore[type-var]
    assert commands.index(SetInput) < commands.index(EndVoice)
    assert down(EndVoice, outputs) == [EndVoice(old)]
    assert down(SetInput, outputs) == [SetInput("none")]
    assert (SoftKind.ON_STAGE, False) in told(outputs)
    assert hosted.table.here.muted
    assert not hosted.signed
    assert not hosted.table.key_voice(), "the next voice waits for the stage"
    assert isinstance(hosted.refused(messages.StepDown()), NotOnStage)
    hosted.do(messages.Accept())
    assert hosted.signed
    assert hosted.table.here.voice.sid != old
    assert hosted.table.here.muted


def test_who_stepped_down_and_is_invited_anew_is_asked_again():
    hosted = Hosted()
    hosted.invite()
    hosted.do(messages.Accept())
    hosted.do(messages.StepDown())
    assert EventKind.INVITED in kinds(hosted.invite())


def test_nobody_accepts_what_was_not_offered():
    hosted = Hosted()
    assert isinstance(hosted.refused(messages.Accept()), NotInvited)
    assert isinstance(hosted.refused(messages.Decline()), NotInvited)


def test_to_the_audience_goes_the_voice_the_microphone_and_the_hand():
    hosted = Hosted(invited=False)
    hosted.do(messages.SetMuted(muted=False))
    hosted.do(messages.Hand("more"))
    old = hosted.table.here.voice.sid
    outputs = hosted.decide(Act.ROLE, hosted.uid, "listener")
    assert down(EndVoice, outputs) == [EndVoice(old)]
    assert len(down(NewVoice, outputs)) == 1
    assert down(SetInput, outputs)[0] == SetInput("none")
    assert hosted.table.here.muted
    assert not hosted.me["on_stage"]
    assert hosted.me["hand"] is None
    assert isinstance(hosted.refused(messages.Accept()), NotInvited)


def test_the_muted_keep_their_place_and_their_voice():
    hosted = Hosted(invited=False)
    hosted.do(messages.SetMuted(muted=False))
    outputs = hosted.decide(Act.ROLE, hosted.uid, "muted")
    assert not down(EndVoice, outputs)
    assert down(SetInput, outputs) == [SetInput("none")]
    assert hosted.me["on_stage"]
    assert hosted.signed
    assert hosted.refused(messages.SetMuted(muted=False)) is not None
    outputs = hosted.decide(Act.ROLE, hosted.uid, "speaker")
    assert EventKind.INVITED not in kinds(outputs)
    assert hosted.table.here.muted
    hosted.do(messages.SetMuted(muted=False))


def test_media_that_dies_in_the_audience_signs_no_voice_and_on_stage_a_muted_one():
    hosted = Hosted()
    hosted.table.tell(hosted.table.me.dev, messages.MediaGone())
    assert not frame_kinds(hosted.table.key_voice())
    hosted.invite()
    hosted.do(messages.Accept())
    hosted.table.tell(hosted.table.me.dev, messages.MediaGone())
    assert frame_kinds(hosted.table.key_voice()) == [FrameKind.SPEAK]
    assert hosted.table.here.muted


def test_who_comes_back_with_the_role_is_on_stage_at_once_muted():
    hosted = Hosted()
    hosted.invite()
    hosted.do(messages.Accept())
    hosted.do(messages.Leave())
    hosted.table.ask(messages.Join("Tea"))
    hosted.table.up(hosted.host, outbound=True)
    hosted.table.frame(
        hosted.host, hosted.host.greeting(hosted.table.here.room, hosted.log.genesis)
    )
    hosted.table.key_voice()
    hosted.tell_log()
    assert hosted.me["on_stage"]
    assert hosted.signed
    assert hosted.table.here.muted


# ── as others see it ─────────────────────────────────────────────────────────────────────────


def test_a_member_who_says_that_it_stepped_down_has_no_voice_until_it_signs_another():
    hosted = Hosted(invited=False)
    bob = add(hosted, 3)
    assert facts(hosted.table, bob)["on_stage"]
    assert len(rows(hosted.table)) == 2
    assert EventKind.STAGE_CHANGED in kinds(say(hosted.table, bob, SoftKind.ON_STAGE, False))
    assert not facts(hosted.table, bob)["on_stage"]
    assert len(rows(hosted.table)) == 1
    hosted.table.frame(bob, bob.voice_frame(hosted.table.here.room, 3, SID[2]))
    assert len(rows(hosted.table)) == 2


def test_an_invited_member_is_seen_as_such_for_as_long_as_the_log_says_so():
    hosted = Hosted()
    bob = add(hosted, None)
    say(hosted.table, bob, SoftKind.ON_STAGE, None)
    assert not facts(hosted.table, bob)["invited"], "it was not: its own word is not enough"
    hosted.decide(Act.ROLE, bob.me.uid, "speaker")
    assert facts(hosted.table, bob)["invited"]


def test_a_voice_signed_in_the_audience_counts_nowhere():
    hosted = Hosted()
    bob = add(hosted, 3)
    assert not facts(hosted.table, bob)["on_stage"]
    assert hosted.table.rooms.facts()["on_stage"] == 1
    assert len(rows(hosted.table)) == 1


def test_a_voice_signed_in_the_audience_takes_nobody_s_slot_and_ends_no_voice():
    """Who may not speak could else interrupt each speaker as often as it signs."""
    hosted = Hosted()
    hosted.decide(Act.ROLE, hosted.table.me.uid, "speaker")
    hosted.do(messages.Accept())
    own = hosted.table.here.voice.speak
    assert own is not None
    bob = hosted.table.person("bob")
    hosted.table.let_in(bob)
    room, slot = hosted.table.here.room, own.record.slot
    lower = next(each for n in range(999) if (each := bob.speak(room, slot, sid(n))).id < own.id)
    outputs = hosted.table.frame(bob, [FrameKind.SPEAK, lower.data])
    assert not down(EndVoice, outputs)
    assert hosted.table.here.voice.speak is own
    outputs = hosted.decide(Act.ROLE, bob.me.uid, "speaker")
    assert down(EndVoice, outputs)  # from now on the slot is bob's, for everybody
    hosted.table.key_voice()
    assert hosted.me["on_stage"]
    assert facts(hosted.table, bob)["on_stage"]


# ── the limit on speakers ────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("most", [1, 2, 3])
def test_a_stage_has_so_many_slots_and_who_comes_next_sits_in_the_audience(most: int):
    hosted = Hosted(invited=False, speakers_max=most)
    if most > 1:
        assert hosted.me["on_stage"]
        hosted.do(messages.StepDown())
    for slot in range(1, most):
        add(hosted, slot, f"bob{slot}")
    assert hosted.table.rooms.facts()["on_stage"] == most
    assert hosted.table.rooms.facts()["speakers_max"] == most
    assert isinstance(hosted.refused(messages.Accept()), StageFull)
    assert not hosted.signed
    assert len(rows(hosted.table)) == most


def test_who_comes_to_a_full_stage_sits_in_the_audience_and_gets_the_place_that_is_left():
    hosted = Hosted(invited=False, speakers_max=1)
    assert not hosted.me["on_stage"]
    assert not hosted.signed
    say(hosted.table, hosted.host, SoftKind.ON_STAGE, False)
    hosted.do(messages.Accept())
    assert hosted.signed
    speak = hosted.table.here.voice.speak
    assert speak is not None
    assert speak.record.slot == 0


@pytest.mark.parametrize("how", ["step down", "leave", "audience"])
def test_a_place_that_becomes_free_can_be_taken(how: str):
    hosted = Hosted(invited=False, speakers_max=2)
    hosted.do(messages.StepDown())
    bob = add(hosted, 1)
    assert isinstance(hosted.refused(messages.Accept()), StageFull)
    if how == "step down":
        say(hosted.table, bob, SoftKind.ON_STAGE, False)
    elif how == "leave":
        hosted.table.frame(bob, [FrameKind.BYE, 0])
    else:
        hosted.decide(Act.ROLE, bob.me.uid, "listener")
    hosted.do(messages.Accept())
    assert hosted.me["on_stage"]


@pytest.mark.parametrize("most", [2, 16])
def test_a_voice_in_the_last_slot_is_heard_and_one_past_it_refused_by_everybody(most: int):
    hosted = Hosted(invited=False, speakers_max=most)
    hosted.do(messages.StepDown())
    last = add(hosted, most - 1, "last")
    assert facts(hosted.table, last)["on_stage"]
    if most < limits.SPEAKERS_MAX:  # the record itself holds no slot past 15
        past = add(hosted, most, "past")
        assert not facts(hosted.table, past)["on_stage"]
    assert len(rows(hosted.table)) == 2


def test_of_two_voices_in_one_slot_everybody_hears_the_lower_id():
    hosted = Hosted(invited=False)
    hosted.do(messages.StepDown())
    bob, cleo = add(hosted, 7, "bob"), add(hosted, 7, "cleo")
    room = hosted.table.here.room
    first = min((bob, cleo), key=lambda each: each.speak(room, 7).id)
    assert facts(hosted.table, first)["on_stage"]
    assert sum(bool(facts(hosted.table, each)["on_stage"]) for each in (bob, cleo)) == 1
    assert len(rows(hosted.table)) == 2


def test_of_two_who_take_the_last_place_at_once_the_higher_id_goes_back_and_may_try_again():
    for number in range(200):
        hosted = Hosted(invited=False, speakers_max=2, seed=number)
        own = hosted.table.here.voice.speak
        assert own is not None
        bob = hosted.table.person("bob")
        hosted.table.let_in(bob)
        theirs = bob.speak(hosted.table.here.room, 1)
        if theirs.id < own.id:
            break
    outputs = hosted.table.frame(bob, [FrameKind.SPEAK, theirs.data])
    assert (SoftKind.ON_STAGE, None) in told(outputs)
    assert not hosted.signed
    assert hosted.me["invited"]
    assert not frame_kinds(hosted.table.key_voice())
    say(hosted.table, bob, SoftKind.ON_STAGE, False)
    hosted.do(messages.Accept())
    assert hosted.me["on_stage"]


def test_nobody_is_invited_to_a_full_stage():
    table = Table()
    table.ask(messages.Open("Tea", stage="invited", speakers_max=1))
    table.key_voice()
    table.let_in(table.person("bob"))
    error = table.answer(table.ask(messages.Invite("bob"))).error
    assert isinstance(error, StageFull)
    assert "full (1)" in str(error)


# ── hands ────────────────────────────────────────────────────────────────────────────────────


def test_the_twenty_first_hand_stays_down(monkeypatch: pytest.MonkeyPatch):
    """A room of this version has eight people: the queue is made shorter instead."""
    monkeypatch.setattr(limits, "HANDS_MAX", 2)
    hosted = Hosted()
    say(hosted.table, hosted.host, SoftKind.HAND, "")
    hosted.do(messages.Hand())
    hosted.do(messages.LowerHand())
    say(hosted.table, add(hosted, None), SoftKind.HAND, "")
    assert isinstance(hosted.refused(messages.Hand()), QueueFull)
