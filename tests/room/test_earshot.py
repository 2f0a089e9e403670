"""Blocking a person and turning one up or down: heard by nobody but oneself."""

import pytest

from p2phouse import channel
from p2phouse.channel import SetGain, SetKeys
from p2phouse.record.types import ChatKind, SoftKind
from p2phouse.room import messages
from p2phouse.room.frames import FrameKind
from p2phouse.room.messages import EventKind, Output, SetBlocked, SetLoudness, ToMedia
from p2phouse.room.state import ssrc_of
from tests.room.table import Person, Table, commands, kinds, of
from tests.room.test_chat_exchange import say, shown, word


@pytest.fixture
def table() -> Table:
    table = Table()
    table.open()
    return table


@pytest.fixture
def ann(table: Table) -> Person:
    person = table.person("ann")
    table.let_in(person)
    return person


def block(table: Table, person: Person, blocked: bool = True) -> list[Output]:
    ticket = table.ask(SetBlocked(person.me.uid, blocked))
    assert table.answer(ticket).error is None
    return table.said


def speak(table: Table, person: Person, sid: bytes = b"\1" * 16) -> list[Output]:
    return table.frame(person, person.voice_frame(table.here.room, sid=sid))


def gains(outputs: list[Output]) -> list[tuple[int, int]]:
    return [(gain.ssrc, gain.permille) for gain in commands(outputs) if isinstance(gain, SetGain)]


def voice(table: Table, person: Person, sid: bytes = b"\1" * 16) -> int:
    return ssrc_of(person.speak(table.here.room, sid=sid))


def test_who_is_blocked_is_silent_at_once_and_heard_again_after(table: Table, ann: Person):
    speak(table, ann)
    block(table, ann)
    assert gains(table.said) == [(voice(table, ann), 0)]
    block(table, ann, False)
    assert gains(table.said) == [(voice(table, ann), 0), (voice(table, ann), 1_000)]


def test_a_voice_that_comes_later_is_silent_before_it_can_be_heard(table: Table, ann: Person):
    block(table, ann)
    speak(table, ann)
    for sid in (b"\2" * 16, b"\3" * 16):
        outputs = commands(speak(table, ann, sid))
        muted = outputs.index(SetGain(voice(table, ann, sid), 0))  # type: ignore[arg-type]
        opened = next(at for at, each in enumerate(outputs) if isinstance(each, SetKeys))
        # Security: not one frame of a blocked person is played.
        assert muted < opened


def test_a_new_media_process_is_told_first_of_all_whom_not_to_play(table: Table, ann: Person):
    speak(table, ann)
    block(table, ann)
    outputs = table.tell(table.me.dev, messages.MediaGone())
    first = next(each for each in outputs if isinstance(each, ToMedia))
    assert first.message == SetGain(voice(table, ann), 0)  # type: ignore[arg-type]


def test_a_person_who_comes_back_or_is_met_in_another_room_is_blocked_there_too(
    table: Table, ann: Person
):
    block(table, ann)
    table.ask(messages.Leave())
    table.open()
    table.let_in(ann)
    assert (voice(table, ann), 0) in gains(speak(table, ann))


def test_a_person_is_as_loud_as_one_likes_until_one_leaves(table: Table, ann: Person):
    speak(table, ann)
    ssrc = voice(table, ann)
    for percent in (150, 0, 200):
        table.ask(SetLoudness(ann.me.uid, percent))
    assert gains(table.said) == [(ssrc, 1_500), (ssrc, 0), (ssrc, 2_000)]
    other = voice(table, ann, b"\2" * 16)
    assert gains(speak(table, ann, b"\2" * 16)) == [(other, 2_000), (ssrc, 1_000)]
    table.ask(messages.Leave())
    table.open()
    table.let_in(ann)
    assert gains(speak(table, ann)) == []


def test_a_block_counts_for_more_than_a_gain(table: Table, ann: Person):
    speak(table, ann)
    block(table, ann)
    before = len(gains(table.said))
    table.ask(SetLoudness(ann.me.uid, 200))
    assert gains(table.said)[before:] == []
    block(table, ann, False)
    assert gains(table.said)[before:] == [(voice(table, ann), 2_000)]


def test_nothing_is_shown_of_what_a_blocked_person_writes_and_does(table: Table, ann: Person):
    bob = table.person("bob")
    table.let_in(bob)
    say(table, ann, word(ann, table, "before"))
    block(table, ann)
    assert shown(table) == []
    outputs = say(table, ann, word(ann, table, "look at me"))
    for kind, value in ((SoftKind.HAND, "me!"), (SoftKind.REACTION, "!"), (SoftKind.TYPING, True)):
        outputs += table.frame(ann, ann.soft_frame(table.here.room, kind, value))
    outputs += table.media(channel.VoiceState(ssrc_of(ann.speak(table.here.room)), FLOWING, ""))
    assert kinds(outputs) == []
    facts = table.rooms.member_facts(table.here.members[ann.dev])
    assert (facts["blocked"], facts["hand"], facts["typing"]) == (True, None, False)
    say(table, bob, word(bob, table, "hello"))
    assert shown(table) == ["hello"]
    assert EventKind.CHAT in kinds(table.said)
    block(table, ann, False)
    assert shown(table) == ["before", "look at me", "hello"]


FLOWING = channel.VoiceCondition.FLOWING


def outward(outputs: list[Output]) -> list[Output]:
    """What others could learn of."""
    inward = (ToMedia, messages.Answer, messages.Event, messages.Remember)
    return [each for each in outputs if not isinstance(each, inward)]


def evening(*, blocks: bool) -> list[Output]:
    """Some time in a room with Ann, who talks, writes, raises her hand, and comes back."""
    table = Table()
    ann, bob, cid = (table.person(name) for name in ("ann", "bob", "cid"))
    table.open()
    table.said.clear()
    for person in (ann, bob, cid):
        table.let_in(person)
    table.connect(ann)
    if blocks:
        block(table, ann)
    else:
        table.tell(table.me.dev, messages.Verb(999, SetLoudness(ann.me.uid, 100)))
    speak(table, ann)
    say(table, ann, word(ann, table, "listen to me", n=1))
    table.wait(1)
    for kind, value in ((SoftKind.HAND, "me!"), (SoftKind.REACTION, "!"), (SoftKind.TYPING, True)):
        table.frame(ann, ann.soft_frame(table.here.room, kind, value))
    say(table, bob, have=b"")
    say(table, ann, have=b"")
    table.ask(messages.Write(ChatKind.TEXT, "good evening"))
    table.down(ann)
    table.wait(3)
    table.let_in(ann)
    speak(table, ann, b"\2" * 16)
    table.tell(table.me.dev, messages.MediaGone())
    table.key_voice()
    table.wait(130)
    table.ask(messages.Leave())
    assert any(
        isinstance(each, messages.SendRoomFrame) and each.frame[0] == FrameKind.CHAT
        for each in of(messages.SendRoomFrame, table.said)
    )
    return table.said


def test_nothing_that_goes_out_tells_anybody_who_is_blocked():
    with_block, without = evening(blocks=True), evening(blocks=False)
    assert gains(with_block)
    assert not gains(without)
    # Security: a block is private; neither the blocked person nor anybody else may find it out.
    assert outward(with_block) == outward(without)
    assert len(outward(without)) > 30
