"""Greetings: who is let in, who greets when, and who is told of whom."""

import copy

import pytest

from p2phouse.channel import CloseLink
from p2phouse.identity.keys import make_identity
from p2phouse.record import envelope, limits
from p2phouse.record.types import Beat
from p2phouse.room import frames, messages
from p2phouse.room.frames import ByeReason, FrameKind, FrameRefused
from p2phouse.room.greetings import RELAY_DEVICES_MAX
from p2phouse.room.messages import (
    CloseRoomLink,
    EventKind,
    OpenRoomLink,
    SendRoomFrame,
)
from p2phouse.vocabulary import RoomId, UserKey
from tests.room.company.people import (
    BEAT,
    BYE,
    DIGEST,
    GREETING,
    SOFT,
    again,
    byes,
    fill,
    join_by_link,
    room_of,
    strangers,
    table_mute,
    told,
)
from tests.room.table import ADDR, Person, Table, down, frame_kinds, kinds, of

# ── greeting ─────────────────────────────────────────────────────────────────────────────────


def test_who_opened_the_link_greets_first(table: Table, ann: Person):
    table.ask_for(ann)
    assert frame_kinds(table.up(ann, outbound=True)) == [GREETING]


def test_who_did_not_waits_for_the_greeting_and_then_answers_it(table: Table, ann: Person):
    assert not table.up(ann)
    outputs = table.greet(ann)
    assert frame_kinds(outputs) == [GREETING, SOFT, SOFT, DIGEST, BEAT, FrameKind.CHAT]
    assert EventKind.MEMBER_JOINED in kinds(outputs)


def test_an_answered_greeting_is_not_answered_again(table: Table, ann: Person):
    table.ask_for(ann)
    table.up(ann, outbound=True)
    assert GREETING not in frame_kinds(table.greet(ann))


def test_a_greeting_said_twice_brings_no_second_answer_and_no_second_member(
    table: Table, ann: Person
):
    table.let_in(ann)
    outputs = table.greet(ann)
    assert not frame_kinds(outputs)
    assert not kinds(outputs)


def test_a_link_announced_twice_is_greeted_twice_but_never_in_circles(table: Table, ann: Person):
    """net/room_links.py says so of a link that stands when we ask for it: see RoomOpen."""
    table.let_in(ann)
    assert frame_kinds(table.up(ann, outbound=True)) == [GREETING]
    assert not frame_kinds(table.greet(ann))


def test_a_new_stream_of_theirs_under_a_standing_link_is_answered_again(table: Table, ann: Person):
    table.let_in(ann)
    table.up(ann)
    assert frame_kinds(table.greet(ann)) == [GREETING, SOFT, SOFT, DIGEST, BEAT]
    assert table.here.count == 2


def test_nothing_is_said_on_a_new_link_before_its_greeting(table: Table, ann: Person):
    table.let_in(ann)
    table.up(ann)
    assert not frame_kinds([*table_mute(table)])
    table.greet(ann)
    assert SOFT in frame_kinds([*table_mute(table)])


def test_a_frame_from_somebody_who_has_not_greeted_is_passed_over(table: Table, ann: Person):
    table.up(ann)
    assert not table.frame(ann, ann.voice_frame(table.here.room))
    assert not table.frame(ann, ann.mute_frame(table.here.room, False))
    assert table.here.count == 1


def test_a_greeting_on_a_link_that_is_not_open_lets_nobody_in(table: Table, ann: Person):
    assert not table.greet(ann)
    assert table.here.count == 1


def test_kinds_of_a_later_version_are_passed_over(table: Table, ann: Person):
    table.let_in(ann)
    for kind in (99, 1_000):
        assert not table.frame(ann, [kind, b"news", 7])


def test_a_frame_that_breaks_the_protocol_is_refused_and_changes_nothing(table: Table, ann: Person):
    table.let_in(ann)
    before = copy.deepcopy(table.here)
    bob = table.person("bob")
    room = table.here.room
    for frame in (bob.voice_frame(room), bob.mute_frame(room, False), bob.greeting(room, None)):
        with pytest.raises(FrameRefused):
            table.frame(ann, frame)
    assert table.here == before


def test_far_more_frames_than_a_person_needs_are_refused(table: Table, ann: Person):
    table.let_in(ann)
    for _ in range(570):
        table.frame(ann, ann.mute_frame(table.here.room, False))
    with pytest.raises(FrameRefused, match="more frames"):
        again(60, lambda _: table.frame(ann, ann.mute_frame(table.here.room, False)))
    table.wait(10)
    table.frame(ann, ann.mute_frame(table.here.room, False))


# ── who is told of whom ──────────────────────────────────────────────────────────────────────


def test_a_newcomer_is_told_of_everybody_and_everybody_it_tells_of_is_called(
    table: Table, ann: Person
):
    bob, carl = table.person("bob"), table.person("carl")
    table.let_in(bob)
    table.up(ann)
    outputs = table.greet(ann, members=[bob.dev, carl.dev, table.me.dev])
    assert told(outputs) == {bob.dev}
    assert [opened.dev for opened in of(OpenRoomLink, outputs)] == [carl.dev]


def test_who_was_let_in_while_a_greeting_was_on_its_way_is_told_afterwards(
    table: Table, ann: Person
):
    bob = table.person("bob")
    table.ask_for(ann)
    assert told(table.up(ann, outbound=True)) == set()
    table.let_in(bob)
    assert told(table.greet(ann)) == {bob.dev}


def test_a_member_told_of_is_called_again_until_half_a_minute_is_over(table: Table, ann: Person):
    bob = table.person("bob")
    table.up(ann)
    table.greet(ann, members=[bob.dev])
    calls = 0
    for _ in range(60):
        table.down(bob)
        calls += len(of(OpenRoomLink, table.wait(1.0)))
    assert 3 <= calls <= 5


def test_one_member_has_us_call_at_most_31_strangers_whatever_it_tells(table: Table, ann: Person):
    table.up(ann)
    calls = of(OpenRoomLink, table.greet(ann, members=strangers(32)))
    for _ in range(29):
        calls += of(OpenRoomLink, table.greet(ann, members=strangers(32)))
        for opened in calls:
            table.tell(opened.dev, messages.RoomLinkDown(opened.room, "refused"))
        calls += of(OpenRoomLink, table.wait(0.5))
    assert len({opened.dev for opened in calls}) == 31
    assert len(calls) <= 31 * 5


def test_who_tells_of_many_does_not_hide_those_others_tell_of(table: Table, ann: Person):
    bob, cem = table.person("bob"), table.person("cem")
    for person in (ann, bob):
        table.let_in(person)
    table.greet(ann, members=strangers(32))
    assert len(of(OpenRoomLink, table.wait(0.8))) == 31
    (call,) = of(OpenRoomLink, table.greet(bob, members=[cem.dev]))
    assert call.dev == cem.dev
    assert len(table.here.sought) == 31
    assert not of(OpenRoomLink, table.greet(ann, members=strangers(1)))


def test_a_stranger_who_refuses_is_not_called_again_on_the_same_word(table: Table, ann: Person):
    (victim,) = strangers(1)
    table.up(ann)
    table.greet(ann, members=[victim])
    table.tell(victim, messages.RoomLinkUp(table.here.room, outbound=True))
    bye = frames.bye(ByeReason.NOT_HERE)
    table.tell(victim, messages.RoomFrame(table.here.room, bye))
    assert not of(OpenRoomLink, table.greet(ann, members=[victim]))
    assert not of(OpenRoomLink, table.wait(25))


def test_a_full_room_calls_nobody_and_turns_the_ninth_away(table: Table, ann: Person):
    people = fill(table, limits.MESH_MEMBERS_MAX - 2)
    last = table.person("last")
    table.up(last)
    table.greet(last, members=strangers(3))
    assert table.here.count == limits.MESH_MEMBERS_MAX
    table.up(ann)
    outputs = table.greet(ann)
    assert byes(outputs) == [ByeReason.NEEDS_CARRIER]
    assert of(CloseRoomLink, outputs)
    assert table.here.count == limits.MESH_MEMBERS_MAX
    assert not of(OpenRoomLink, table.greet(people[0], members=strangers(3)))


def device_under(root: bytes, table: Table) -> Person:
    """One more device of whoever has that root key."""
    seeds = iter([root])

    def entropy(size: int) -> bytes:
        return next(seeds, None) or table.rng.randbytes(size)

    return Person(make_identity(now=table.now, entropy=entropy))


def test_a_relay_comes_in_with_few_devices_full_or_not(table: Table, ann: Person):
    """Security: its root key makes as many as somebody likes, and none counts as a person."""
    root = ann.me.root_key.encode()
    table.ask(messages.NameRelay(ann.me.uid))
    for is_full in (False, True):
        if is_full:
            fill(table, limits.MESH_MEMBERS_MAX - table.here.count)
        for _ in range(4):
            device = device_under(root, table)
            table.up(device)
            outputs = table.greet(device)
            inside = sum(member.uid == ann.me.uid for member in table.here.members.values())
            assert (BYE in frame_kinds(outputs)) is (device.dev not in table.here.members)
        assert inside == RELAY_DEVICES_MAX
    assert table.here.count == limits.MESH_MEMBERS_MAX


def test_a_member_of_a_full_room_may_come_back_in_a_new_process(table: Table):
    people = fill(table, limits.MESH_MEMBERS_MAX - 1)
    table.up(people[2])
    outputs = table.greet(people[2], ts=table.unix + 5)
    assert BYE not in frame_kinds(outputs)
    assert table.here.count == limits.MESH_MEMBERS_MAX


# ── a new process ────────────────────────────────────────────────────────────────────────────


def test_another_join_on_a_new_link_is_the_same_device_in_a_new_process(table: Table, ann: Person):
    table.let_in(ann)
    table.frame(ann, ann.voice_frame(table.here.room))
    link = table.connect(ann)
    table.up(ann)
    outputs = table.greet(ann, ts=table.unix + 5)
    assert down(CloseLink, outputs) == [CloseLink(link)]
    assert table.here.members[ann.dev].speak is None
    assert table.here.members[ann.dev].muted


def test_another_join_on_the_same_link_is_refused(table: Table, ann: Person):
    table.let_in(ann)
    link = table.connect(ann)
    with pytest.raises(FrameRefused, match="another join"):
        table.greet(ann, ts=table.unix + 5)
    assert table.here.members[ann.dev].link == link


def test_what_a_device_used_up_it_has_not_back_in_a_new_process(table: Table, ann: Person):
    table.let_in(ann)

    def come_and_speak(number: int) -> None:
        table.up(ann)
        table.greet(ann, ts=table.unix + number)
        sid = number.to_bytes(16, "big")
        table.frame(ann, ann.voice_frame(table.here.room, sid=sid))

    with pytest.raises(FrameRefused, match=r"new voices|comes and goes"):
        again(100, come_and_speak)


def test_who_comes_and_goes_without_end_is_refused_and_who_is_killed_often_is_not(
    table: Table, ann: Person
):
    def come_and_go(number: int) -> None:
        table.up(ann)
        table.greet(ann, ts=table.unix + number)
        table.frame(ann, frames.bye(ByeReason.LEAVING))

    for number in range(60):
        come_and_go(number)
        table.wait(6)
    with pytest.raises(FrameRefused, match="comes and goes"):
        again(60, come_and_go)


def test_what_others_did_long_ago_is_forgotten(table: Table):
    """A stranger with many keys must not fill our memory."""
    for number in range(100):
        person = table.person(f"p{number}")
        table.let_in(person)
        table.frame(person, frames.bye(ByeReason.LEAVING))
    assert len(table.here.paces) <= 64


def test_no_crowd_of_strangers_has_a_member_s_pace_forgotten(table: Table, ann: Person):
    """Else an accomplice who makes up devices could have another begin afresh again and again."""
    bob = table.person("bob")
    table.let_in(ann)
    table.let_in(bob)
    room = table.here.room
    for number in range(16):
        table.frame(ann, ann.voice_frame(room, sid=number.to_bytes(16)))
    for number in range(70):
        eve = table.person(f"eve{number}")
        beat = Beat(room, eve.dev, 0, bytes(32), 0, int(table.unix))
        data = envelope.sign(beat, eve.me.device_key).data
        table.frame(bob, [BEAT, data, eve.me.record.data])
        table.wait(0.02)
    with pytest.raises(FrameRefused):
        table.frame(ann, ann.voice_frame(room, sid=bytes(16)))


def test_a_room_in_which_a_crowd_comes_and_goes_forgets_who_went_first():
    table = Table()
    table.open()
    here = table.here
    people = [UserKey(number.to_bytes(32)) for number in range(limits.MET_MAX + 1)]
    for uid in people:
        here.meet(uid)
    assert len(here.met) == limits.MET_MAX
    assert people[0] not in here.met
    assert people[-1] in here.met


# ── the genesis ──────────────────────────────────────────────────────────────────────────────


def test_one_who_joins_by_link_learns_the_genesis_from_the_greeting():
    table = Table()
    ann = table.person()
    genesis = room_of(ann)
    ticket = join_by_link(table, ann, genesis)
    table.up(ann, outbound=True)
    assert not table.answers(ticket)
    table.frame(ann, ann.greeting(table.here.room, genesis))
    assert table.answer(ticket).facts["title"] == "Tea"


def test_a_greeting_without_genesis_leads_nobody_in_who_has_none():
    """Else a stranger who knows of the link could have us in a room we know nothing of."""
    table = Table()
    ann, eve = table.person(), table.person("eve")
    ticket = join_by_link(table, ann, room_of(ann))
    table.up(eve)
    outputs = table.frame(eve, eve.greeting(table.here.room, None))
    assert byes(outputs) == [ByeReason.NOT_HERE]
    assert not table.answers(ticket)


def test_a_room_of_an_unknown_kind_is_not_entered():
    """Our address would be told in it against its host's will."""
    table = Table()
    ann = table.person()
    genesis = room_of(ann, exposure="relay")
    ticket = join_by_link(table, ann, genesis)
    table.up(ann, outbound=True)
    table.frame(ann, ann.greeting(table.here.room, genesis))
    assert table.rooms.membership is None
    assert table.answer(ticket).error is not None


# ── what would be easy to lose ───────────────────────────────────────────────────────────────


def test_our_greeting_carries_the_genesis_our_voice_our_addresses_and_our_members(
    table: Table, ann: Person
):
    bob = table.person("bob")
    table.let_in(bob)
    table.up(ann)
    (greeting, *_) = of(SendRoomFrame, table.greet(ann))
    read = frames.read_greeting(greeting.frame, sender=table.me.dev, room=table.here.room)
    assert read.genesis == table.here.genesis
    assert read.speaks == (table.here.voice.speak,)
    assert read.members == ((bob.dev, bob.addrs),)
    assert read.addrs == (ADDR,)
    assert read.join == table.here.join


def test_who_was_told_of_everybody_in_the_greeting_is_not_told_again(table: Table, ann: Person):
    table.let_in(table.person("bob"))
    table.ask_for(ann)
    table.up(ann, outbound=True)
    assert frame_kinds(table.greet(ann)) == [SOFT, SOFT, DIGEST, BEAT]


def test_a_new_process_may_come_on_a_stream_that_we_had_asked_for(table: Table, ann: Person):
    table.let_in(ann)
    table.up(ann, outbound=True)
    table.greet(ann, ts=table.unix + 5)
    assert table.here.members[ann.dev].join.record.ts == int(table.unix) + 5


def test_a_link_has_time_to_be_greeted_on(table: Table, ann: Person):
    table.up(ann)
    assert not of(CloseRoomLink, table.wait(15))
    table.greet(ann)
    assert not of(CloseRoomLink, table.wait(15))


@pytest.mark.parametrize("inside", [False, True])
def test_links_for_a_room_we_are_not_in_are_closed_if_they_are_ours(inside: bool):
    table = Table()
    ann = table.person()
    if inside:
        table.open()
    other = RoomId(b"\7" * 32)
    assert not table.tell(ann.dev, messages.RoomLinkUp(other, outbound=False))
    outputs = table.tell(ann.dev, messages.RoomLinkUp(other, outbound=True))
    assert outputs == [CloseRoomLink(ann.dev, other)]
    assert not table.tell(ann.dev, messages.RoomLinkDown(other, "broken"))


@pytest.mark.parametrize("inside", [False, True])
def test_frames_for_a_room_we_are_not_in_are_answered_only_if_they_greet(inside: bool):
    table = Table()
    ann = table.person()
    if inside:
        table.open()
    other = RoomId(b"\7" * 32)
    close = CloseRoomLink(ann.dev, other)
    outputs = table.tell(ann.dev, messages.RoomFrame(other, ann.greeting(other, None)))
    assert outputs == [SendRoomFrame(ann.dev, other, frames.bye(ByeReason.NOT_HERE)), close]
    assert table.tell(ann.dev, messages.RoomFrame(other, ann.mute_frame(other, True))) == [close]


def test_a_frame_that_says_true_or_nothing_for_its_kind_is_passed_over(table: Table, ann: Person):
    table.let_in(ann)
    speak = ann.voice_frame(table.here.room)
    for frame in ([True, speak[1]], []):
        assert not table.frame(ann, frame)
    assert table.here.members[ann.dev].speak is None


def test_new_voices_without_end_are_refused_in_greetings_too(table: Table, ann: Person):
    table.let_in(ann)
    room = table.here.room
    speaks = [ann.speak(room, sid=number.to_bytes(16, "big")) for number in range(40)]
    with pytest.raises(FrameRefused, match="new voices"):
        again(40, lambda number: table.greet(ann, speaks=[speaks[number]]))


def test_ourselves_and_those_who_are_here_count_for_nobody_told_of(table: Table, ann: Person):
    bob = table.person("bob")
    table.let_in(bob)
    table.up(ann)
    table.greet(ann, members=[table.me.dev, bob.dev])
    outputs = table.greet(ann, members=strangers(6))
    assert len(of(OpenRoomLink, outputs)) == 6


def test_who_came_counts_no_longer_for_those_told_of(table: Table, ann: Person):
    bob = table.person("bob")
    table.up(ann)
    table.greet(ann, members=[bob.dev, *strangers(30)])
    table.wait(0.8)
    assert not of(OpenRoomLink, table.greet(ann, members=strangers(1)))
    table.up(bob, outbound=True)
    table.greet(bob)
    assert len(of(OpenRoomLink, table.greet(ann, members=strangers(1)))) == 1


def test_who_is_on_the_way_to_us_is_not_called(table: Table, ann: Person):
    table.let_in(ann)
    table.down(ann)
    table.up(ann)
    assert not of(OpenRoomLink, table.wait(1))


def test_in_an_open_room_public_addresses_are_called_too(table: Table, ann: Person):
    public = b"\x04\x08\x08\x08\x08\x06\x00\x01"
    bob = table.person("bob")
    table.up(ann)
    greeting = ann.greeting(table.here.room, table.here.genesis)
    greeting[4] = [[bob.dev, [public]]]
    (opened,) = of(OpenRoomLink, table.frame(ann, greeting))
    assert opened.addrs == (public,)


def test_nobody_is_told_anything_before_the_greeting(table: Table, ann: Person):
    table.let_in(table.person("bob"))
    for _ in range(10):
        table.up(ann)
        table.wait(8)
    assert ann.dev not in [frame.dev for frame in of(SendRoomFrame, table.said)]
