"""Soft state: hands, reactions, typing and mutes, as they are told, heard, and run out."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2phouse import channel
from p2phouse.errors import PeerError
from p2phouse.record import envelope, limits
from p2phouse.record.types import Soft, SoftKind
from p2phouse.room import messages, soft
from p2phouse.room.frames import FrameKind, FrameRefused
from p2phouse.room.messages import Event, EventKind, SendRoomFrame
from p2phouse.room.signs import TooFast
from p2phouse.room.soft import Hand, SoftState
from p2phouse.vocabulary import DeviceKey, Now
from tests.record.forgery import enclose, message_of
from tests.room.table import UNIX, Person, Table, kinds, of

NOW = Now(100.0, UNIX)


@pytest.fixture
def table() -> Table:
    table = Table()
    table.open()
    return table


@pytest.fixture
def ann(table: Table) -> Person:
    person = table.person()
    table.let_in(person)
    return person


def say(table: Table, person: Person, kind: int, val: object, **told: int) -> list[messages.Output]:
    return table.frame(person, person.soft_frame(table.here.room, kind, val, **told))


def told(outputs: list[messages.Output]) -> list[tuple[SoftKind, object]]:
    """The soft state that members were sent."""
    records = [
        envelope.read(frame.frame[1], Soft).record  # type: ignore[arg-type]  # bytes, by its kind
        for frame in of(SendRoomFrame, outputs)
        if frame.frame[0] == FrameKind.SOFT
    ]
    return [(SoftKind(record.kind), record.val) for record in records]


def texts(outputs: list[messages.Output], kind: EventKind) -> list[str]:
    return [event.text for event in of(Event, outputs) if event.kind is kind]


def facts(table: Table, person: Person | None) -> dict[str, object]:
    return table.rooms.member_facts(None if person is None else table.here.members[person.dev])


# ── what is heard ────────────────────────────────────────────────────────────────────────────


def test_of_one_kind_the_highest_number_counts_whatever_was_said_of_others(table, ann):
    assert kinds(say(table, ann, SoftKind.OWN_MUTE, False, seq=9)) == [EventKind.MEMBER_UNMUTED]
    assert texts(say(table, ann, SoftKind.HAND, "tea", seq=5), EventKind.HAND_RAISED) == ["tea"]
    assert not say(table, ann, SoftKind.HAND, False, seq=5)
    assert not say(table, ann, SoftKind.OWN_MUTE, True, seq=8)
    assert kinds(say(table, ann, SoftKind.HAND, False, seq=6)) == [EventKind.HAND_LOWERED]


def test_a_hand_lasts_for_15_s_after_it_was_last_told_and_no_longer(table, ann):
    say(table, ann, SoftKind.HAND, "tea")
    table.wait(limits.SOFT_TTL_S - 0.1)
    assert facts(table, ann)["hand"] == {"topic": "tea", "place": 1}
    say(table, ann, SoftKind.HAND, "tea")
    assert not texts(table.wait(limits.SOFT_TTL_S - 0.1), EventKind.HAND_LOWERED)
    assert texts(table.wait(0.2), EventKind.HAND_LOWERED) == ["ann"]
    assert facts(table, ann)["hand"] is None


def test_typing_runs_out_like_a_hand(table, ann):
    say(table, ann, SoftKind.TYPING, True)
    assert facts(table, ann)["typing"]
    assert texts(table.wait(limits.SOFT_TTL_S + 0.1), EventKind.TYPING) == ["ann"]
    assert not facts(table, ann)["typing"]


def test_a_mute_of_which_nothing_more_is_told_stands(table, ann):
    say(table, ann, SoftKind.OWN_MUTE, False)
    table.wait(90)
    assert not table.here.members[ann.dev].muted


@pytest.mark.parametrize("kind", list(SoftKind))
@pytest.mark.parametrize("val", [True, None, 7, "x" * 64])
def test_a_value_that_means_nothing_breaks_no_link(table, ann, kind, val):
    say(table, ann, kind, val)
    table.wait(16)
    assert ann.dev in table.here.members


def test_a_kind_of_a_later_version_is_passed_over(table, ann):
    assert not say(table, ann, len(SoftKind), True)
    assert not say(table, ann, 255, True)


def test_a_topic_has_64_code_points_and_no_more(table, ann):
    longest = "x" * limits.TOPIC_CODE_POINTS_MAX
    assert texts(say(table, ann, SoftKind.HAND, longest), EventKind.HAND_RAISED) == [longest]
    record = Soft(table.here.room, ann.dev, 99, SoftKind.HAND, longest + "x", int(UNIX))
    signature = ann.me.device_key.sign(message_of(record)).signature
    with pytest.raises(PeerError):
        table.frame(ann, [FrameKind.SOFT, enclose(record, signature)])


def test_a_reaction_has_8_code_points_and_no_more(table, ann):
    longest = "🎉" * limits.REACTION_CODE_POINTS_MAX
    assert texts(say(table, ann, SoftKind.REACTION, longest), EventKind.REACTION) == [longest]
    table.wait(2)
    assert not say(table, ann, SoftKind.REACTION, longest + "🎉")
    assert not say(table, ann, SoftKind.REACTION, "")


# ── too much of it ───────────────────────────────────────────────────────────────────────────


def test_reactions_beyond_one_a_second_are_dropped_and_the_link_stays(table, ann):
    heard = [say(table, ann, SoftKind.REACTION, "🎉") for _ in range(10)]
    assert sum(bool(each) for each in heard) == 4
    table.wait(1.0)
    assert say(table, ann, SoftKind.REACTION, "🎉")
    assert ann.dev in table.here.members


def test_more_soft_state_than_anybody_needs_is_dropped_until_it_is_absurd(table, ann):
    changes = [say(table, ann, SoftKind.OWN_MUTE, bool(n % 2)) for n in range(60)]
    assert sum(bool(each) for each in changes) == 32
    with pytest.raises(FrameRefused, match="far more frames"):
        [say(table, ann, SoftKind.OWN_MUTE, bool(n % 2)) for n in range(600)]


def test_what_was_dropped_of_a_mute_is_mended_by_the_next_word(table, ann):
    for n in range(41):
        say(table, ann, SoftKind.OWN_MUTE, bool(n % 2))
    table.wait(5)
    say(table, ann, SoftKind.OWN_MUTE, False)
    assert not table.here.members[ann.dev].muted


def test_no_member_can_make_us_keep_more_than_its_last_words(table, ann):
    before = table.here.members[ann.dev].soft
    for seq in range(1, 200):
        table.wait(0.3)
        say(table, ann, SoftKind.HAND, f"topic {seq}", seq=seq)
    after = table.here.members[ann.dev].soft
    assert len(after.seqs) == len(before.seqs) == len(SoftKind)


# ── what is told ─────────────────────────────────────────────────────────────────────────────


def test_a_member_hears_at_the_greeting_what_lasts(table):
    table.ask(messages.Hand("tea"))
    table.ask(messages.Typing(on=True))
    person = table.person()
    table.up(person)
    assert told(table.greet(person)) == [
        (SoftKind.OWN_MUTE, True),
        (SoftKind.ON_STAGE, True),
        (SoftKind.HAND, "tea"),
        (SoftKind.TYPING, True),
    ]


def test_a_hand_is_told_again_each_5_s_with_the_time_at_which_it_was_raised(table, ann):
    before = len(table.said)
    table.ask(messages.Hand("tea"))
    table.wait(16)
    records = [
        envelope.read(frame.frame[1], Soft).record  # type: ignore[arg-type]  # bytes, by its kind
        for frame in of(SendRoomFrame, table.said[before:])
        if frame.frame[0] == FrameKind.SOFT
    ]
    hands = [record for record in records if record.kind == SoftKind.HAND]
    assert len(hands) == 4
    assert {record.ts for record in hands} == {int(UNIX)}
    assert sorted({record.seq for record in hands}) == [record.seq for record in hands]


def test_a_mute_is_told_once_more_and_then_only_an_open_microphone(table, ann):
    table.wait(30)
    table.ask(messages.SetMuted(muted=False))
    again = told(table.wait(11))
    assert again.count((SoftKind.OWN_MUTE, False)) == 2
    table.ask(messages.SetMuted(muted=True))
    assert told(table.wait(11)).count((SoftKind.OWN_MUTE, True)) == 1


def test_who_plays_with_the_key_is_told_of_at_the_pace_that_others_take_and_truly(table, ann):
    before = len(table.said)
    for n in range(101):
        table.ask(messages.SetMuted(muted=bool(n % 2)))
    sent = told(table.said[before:])
    assert len(sent) <= 16
    assert told(table.wait(1.1))[0] == (SoftKind.OWN_MUTE, False)


def test_typing_ends_by_itself_unless_there_is_another_key(table, ann):
    table.ask(messages.Typing(on=True))
    table.wait(6)
    table.ask(messages.Typing(on=True))
    assert (SoftKind.TYPING, False) not in told(table.wait(9))
    assert (SoftKind.TYPING, False) in told(table.wait(1.1))


def test_we_react_once_a_second(table, ann):
    table.wait(10)
    table.ask(messages.React("🎉"))
    assert isinstance(table.answer(table.ask(messages.React("🎉"))).error, TooFast)
    table.wait(1.0)
    assert table.answer(table.ask(messages.React("🎉"))).error is None


def test_a_reaction_is_told_once_and_forgotten(table, ann):
    before = len(table.said)
    table.ask(messages.React("🎉"))
    table.wait(20)
    assert told(table.said[before:]).count((SoftKind.REACTION, "🎉")) == 1


# ── the queue ────────────────────────────────────────────────────────────────────────────────


def dev(number: int) -> DeviceKey:
    return DeviceKey(number.to_bytes(32, "big"))


def test_hands_stand_in_the_order_of_their_raising_then_of_their_device():
    hands = [
        (dev(3), Hand("", 5, 5.0)),
        (dev(2), Hand("", 7, 7.0)),
        (dev(1), Hand("", 7, 7.0)),
        (dev(9), None),
    ]
    assert soft.places(hands) == {dev(3): 1, dev(1): 2, dev(2): 3}


def test_the_queue_has_20_places_and_no_more():
    hands = [(dev(number), Hand("", number, float(number))) for number in range(21)]
    places = soft.places(hands)
    assert len(places) == limits.HANDS_MAX == 20
    assert dev(20) not in places
    assert places[dev(19)] == 20


def hear(state: SoftState, seq: int, ts: int, at: Now = NOW, topic: str = "") -> Hand:
    told = state.hear(at, Soft(bytes(32), bytes(32), seq, SoftKind.HAND, topic, ts))
    assert told is not None
    assert told.hand is not None
    return told.hand


def test_a_hand_that_is_told_again_keeps_its_place_and_may_change_its_topic():
    state = SoftState().hear(NOW, Soft(bytes(32), bytes(32), 1, SoftKind.HAND, "a", int(UNIX)))
    assert state is not None
    assert hear(state, 2, int(UNIX), Now(109.0, UNIX + 9), "b") == Hand("b", int(UNIX), UNIX)


def test_a_hand_from_a_clock_far_ahead_stands_where_it_was_first_heard():
    within = int(UNIX) + limits.CLOCK_SKEW_S_MAX
    assert hear(SoftState(), 1, within).raised == within
    assert hear(SoftState(), 1, within + 1).raised == UNIX


def test_what_a_later_word_repeats_is_no_event(table, ann):
    say(table, ann, SoftKind.HAND, "tea")
    assert not say(table, ann, SoftKind.HAND, "tea")


SAYINGS = st.sampled_from(
    [
        (SoftKind.HAND, "a"),
        (SoftKind.HAND, "b"),
        (SoftKind.HAND, False),
        (SoftKind.TYPING, True),
        (SoftKind.TYPING, False),
        (SoftKind.OWN_MUTE, True),
        (SoftKind.OWN_MUTE, False),
        (SoftKind.ON_STAGE, True),
        (SoftKind.ON_STAGE, False),
        (SoftKind.ON_STAGE, None),
        (SoftKind.OWN_MUTE, "later version"),
        (200, True),
    ]
)


@given(st.lists(SAYINGS, max_size=12), st.randoms(use_true_random=False))
def test_in_whatever_order_and_however_often_words_come_the_last_of_each_kind_counts(said, rng):
    records = [
        Soft(bytes(32), bytes(32), seq, kind, val, int(UNIX))
        for seq, (kind, val) in enumerate(said)
    ]
    mixed = rng.sample(records * 2, 2 * len(records))

    def heard(records: list[Soft]) -> SoftState:
        state = SoftState()
        for record in records:
            state = state.hear(NOW, record) or state
        return state

    in_order, in_disorder = heard(records), heard(mixed)
    last = {record.kind: record.val for record in records}
    for state in (in_order, in_disorder):
        if isinstance(last.get(SoftKind.OWN_MUTE), bool):
            assert state.muted == last[SoftKind.OWN_MUTE]
        if SoftKind.ON_STAGE in last:
            assert state.on_stage is last[SoftKind.ON_STAGE]
        if SoftKind.HAND in last:
            topic = last[SoftKind.HAND]
            assert (state.hand and state.hand.topic) == (topic or None)
        if SoftKind.TYPING in last:
            assert state.typing is last[SoftKind.TYPING]


def test_a_state_that_nobody_told_anything_has_no_deadline():
    assert SoftState().deadline == math.inf
    assert replace(SoftState(), typing=True, typing_until=3.0).lapse(3.0).deadline == math.inf


# ── our own hand ─────────────────────────────────────────────────────────────────────────────


def levels(table: Table, dbov: int) -> channel.Levels:
    assert table.here.voice.ssrc is not None
    return channel.Levels((channel.Level(table.here.voice.ssrc, dbov),))


def test_who_has_spoken_for_3_s_on_stage_with_a_hand_up_wants_it_no_more(table, ann):
    assert not table.rooms.wants_levels
    table.ask(messages.Hand("one thing"))
    assert table.rooms.wants_levels
    for _ in range(40):
        table.media(levels(table, 20))  # muted: somebody tests the microphone
    table.ask(messages.SetMuted(muted=False))
    for _ in range(40):
        table.media(levels(table, 60))  # a quiet room
    for _ in range(29):
        table.media(levels(table, 20))
    assert facts(table, None)["hand"] == {"topic": "one thing", "place": 1}
    table.media(levels(table, 20))
    assert facts(table, None)["hand"] is None
    assert not table.rooms.wants_levels


def test_a_hand_can_get_another_topic_and_keeps_its_place(table, ann):
    table.ask(messages.Hand("a"))
    table.wait(2)
    say(table, ann, SoftKind.HAND, "mine", ts=int(UNIX) + 1)
    table.ask(messages.Hand("b"))
    assert facts(table, None)["hand"] == {"topic": "b", "place": 1}
    assert facts(table, ann)["hand"] == {"topic": "mine", "place": 2}
    table.ask(messages.LowerHand())
    assert facts(table, None)["hand"] is None
    assert facts(table, ann)["hand"] == {"topic": "mine", "place": 1}
