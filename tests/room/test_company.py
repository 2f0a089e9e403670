"""Greetings and farewells: who is let in, who greets when, and what a broken link means."""

import copy
import itertools
from collections.abc import Callable
from dataclasses import replace

import pytest

from p2phouse.channel import CloseLink, Heard, LinkStatus, OpenLink, SetKeys, SetTable, Silent
from p2phouse.hall import invitation
from p2phouse.hall.card import make_genesis
from p2phouse.record import envelope, limits
from p2phouse.record.cbor import Value
from p2phouse.record.envelope import Signed
from p2phouse.record.types import Access, Beat, Genesis
from p2phouse.room import frames, messages
from p2phouse.room.frames import ByeReason, FrameKind, FrameRefused
from p2phouse.room.messages import (
    CloseRoomLink,
    EventKind,
    OpenRoomLink,
    Remember,
    SendRoomFrame,
)
from p2phouse.vocabulary import DeviceKey, RoomId, UserKey
from tests.room.table import ADDR, Person, Table, commands, down, frame_kinds, kinds, of

GREETING, SPEAK, SOFT, BYE = FrameKind.GREETING, FrameKind.SPEAK, FrameKind.SOFT, FrameKind.BYE
DIGEST, BEAT = FrameKind.DIGEST, FrameKind.BEAT


@pytest.fixture
def table() -> Table:
    table = Table()
    table.open()
    return table


@pytest.fixture
def ann(table: Table) -> Person:
    return table.person()


def told(outputs: list[messages.Output]) -> set[Value]:
    """The devices that the last greeting sent named as members."""
    greeting = [frame.frame for frame in of(SendRoomFrame, outputs) if frame.frame[0] == GREETING]
    return {item[0] for item in greeting[-1][4]}  # type: ignore[index, union-attr]  # as sent


def byes(outputs: list[messages.Output]) -> list[ByeReason]:
    said = [frame.frame for frame in of(SendRoomFrame, outputs)]
    return [frames.read_bye(frame) for frame in said if frame[0] == BYE]


def again(times: int, act: Callable[[int], object]) -> None:
    for number in range(times):
        act(number)


def fill(table: Table, count: int) -> list[Person]:
    people = [table.person(f"p{number}") for number in range(count)]
    for person in people:
        table.let_in(person)
    return people


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


def table_mute(table: Table) -> list[messages.Output]:
    before = len(table.said)
    table.ask(messages.SetMuted(muted=not table.here.muted))
    return table.said[before:]


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


NUMBERS = itertools.count(10_000)


def strangers(count: int) -> list[DeviceKey]:
    """Devices that nobody has heard of."""
    return [DeviceKey(next(NUMBERS).to_bytes(32, "big")) for _ in range(count)]


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


def room_of(host: Person, **change: object) -> Signed[Genesis]:
    table = Table(seed=9)
    genesis = make_genesis(
        host.me, title="Tea", access=Access.OPEN, now=table.now, entropy=table.rng.randbytes
    )
    return envelope.sign(replace(genesis.record, **change), host.me.device_key)  # type: ignore[arg-type]


def join_by_link(table: Table, host: Person, genesis: Signed[Genesis]) -> int:
    link = invitation.Invitation(RoomId(genesis.id), host.dev, host.addrs)
    return table.ask(messages.Join(invitation.write(link)))


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


# ── ends ─────────────────────────────────────────────────────────────────────────────────────


def test_a_bye_ends_the_membership_at_once(table: Table, ann: Person):
    table.let_in(ann)
    link = table.connect(ann)
    outputs = table.frame(ann, frames.bye(ByeReason.LEAVING))
    assert EventKind.MEMBER_LEFT in kinds(outputs)
    assert CloseLink(link) in down(CloseLink, outputs)
    assert not of(OpenRoomLink, table.wait(400))


def test_who_says_bye_closes_the_link_and_who_does_not_may_not_keep_it(table: Table, ann: Person):
    """We might close the next one, which a person who comes back at once has opened already."""
    table.let_in(ann)
    assert not of(CloseRoomLink, table.frame(ann, frames.bye(ByeReason.LEAVING)))
    assert not of(CloseRoomLink, table.wait(3))
    assert of(CloseRoomLink, table.wait(3)) == [CloseRoomLink(ann.dev, table.here.room)]


def test_who_leaves_and_comes_back_at_once_is_let_in(table: Table, ann: Person):
    table.let_in(ann)
    table.frame(ann, frames.bye(ByeReason.LEAVING))
    table.up(ann)
    outputs = table.greet(ann, ts=table.unix + 1)
    assert frame_kinds(outputs) == [GREETING, SOFT, SOFT, DIGEST, BEAT]
    assert not of(CloseRoomLink, table.wait(30))


def test_a_link_asked_for_before_a_bye_is_closed_when_it_comes(table: Table, ann: Person):
    table.ask_for(ann)
    table.frame(ann, frames.bye(ByeReason.NOT_HERE))
    outputs = table.up(ann, outbound=True)
    assert of(CloseRoomLink, outputs)
    assert not frame_kinds(outputs)


def test_a_broken_link_without_sound_loses_the_member_who_is_looked_for_five_minutes(
    table: Table, ann: Person
):
    table.let_in(ann)
    assert EventKind.MEMBER_LOST in kinds(table.down(ann))
    assert not of(OpenRoomLink, table.wait(0.05)), "whose end noticed nothing yet may refuse us"
    calls = of(OpenRoomLink, table.wait(0.2))
    assert [call.dev for call in calls] == [ann.dev]
    while of(OpenRoomLink, calls):
        table.down(ann)
        calls = of(OpenRoomLink, table.wait(20.0))
    assert 295 < table.mono - 100.0 < 345


def test_who_was_here_is_called_each_few_seconds_so_that_a_healed_network_is_soon_one_room(
    table: Table, ann: Person
):
    table.let_in(ann)
    table.down(ann)
    table.wait(30.0)
    for _ in range(5):
        table.down(ann)
        assert of(OpenRoomLink, table.wait(5.0))


def test_a_broken_link_with_sound_has_half_a_minute_to_come_back(table: Table, ann: Person):
    table.let_in(ann)
    table.connect(ann)
    assert not kinds(table.down(ann))
    early = table.wait(29)
    assert of(OpenRoomLink, early)
    assert not kinds(early)
    late = table.wait(2)
    assert EventKind.MEMBER_LOST in kinds(late)
    assert of(CloseRoomLink, late), "the call that was on its way"


def test_a_link_that_comes_back_in_time_loses_nobody(table: Table, ann: Person):
    table.let_in(ann)
    link = table.connect(ann)
    table.down(ann)
    table.wait(20)
    table.up(ann)
    table.greet(ann)
    assert EventKind.MEMBER_LOST not in kinds(table.wait(60))
    assert table.here.members[ann.dev].link == link


def test_a_redial_that_fails_is_tried_again(table: Table, ann: Person):
    table.let_in(ann)
    table.connect(ann)
    table.down(ann)
    calls = 0
    for _ in range(28):
        calls += len(of(OpenRoomLink, table.wait(1.0)))
        table.down(ann)
    assert 4 <= calls <= 8
    assert table.here.count == 2


@pytest.mark.parametrize("first", ["sound", "room link"])
def test_a_member_is_lost_when_the_second_of_its_two_links_ends(
    table: Table, ann: Person, first: str
):
    table.let_in(ann)
    link = table.connect(ann)
    ends = [lambda: table.media(Silent(link)), lambda: table.down(ann)]
    if first != "sound":
        ends.reverse()
    assert EventKind.MEMBER_LOST not in kinds(ends[0]())
    assert EventKind.MEMBER_LOST in kinds(ends[1]())


def test_sound_that_is_lost_with_the_room_link_down_loses_the_member(table: Table, ann: Person):
    table.let_in(ann)
    link = table.connect(ann)
    table.down(ann)
    assert EventKind.MEMBER_LOST in kinds(table.link(link, LinkStatus.LOST))


def test_silence_is_told_once_and_so_is_its_end(table: Table, ann: Person):
    table.let_in(ann)
    link = table.connect(ann)
    assert kinds(table.media(Silent(link))) == [EventKind.MEMBER_SILENT]
    assert not kinds(table.media(Silent(link)))
    assert kinds(table.media(Heard(link))) == [EventKind.MEMBER_HEARD]
    assert not kinds(table.media(Heard(link)))
    assert not kinds(table.media(Silent(link + 1)))  # type: ignore[arg-type]  # none of ours


def test_a_link_down_that_we_closed_ourselves_means_nothing(table: Table, ann: Person):
    assert not table.down(ann)


def test_a_link_that_never_comes_up_is_given_up(table: Table, ann: Person):
    table.ask_for(ann)
    assert of(CloseRoomLink, table.wait(20))
    assert of(OpenRoomLink, table.wait(2)), "not tried again"


def test_a_link_that_comes_up_after_we_gave_it_up_is_closed(table: Table, ann: Person):
    outputs = table.up(ann, outbound=True)
    assert of(CloseRoomLink, outputs)
    assert not of(SendRoomFrame, outputs)


def test_people_lost_beyond_number_are_not_all_looked_for(table: Table):
    """A stranger with many keys could come and vanish with each."""
    for number in range(60):
        person = table.person(f"p{number}")
        table.let_in(person)
        table.down(person)
    assert len(table.here.sought) == 32
    (remembered,) = of(Remember, table.said)[-1:]
    assert remembered.state is not None
    assert len(remembered.state[1]) <= 32  # type: ignore[arg-type]


def test_a_leaver_says_bye_to_all_and_closes_everything(table: Table, ann: Person):
    bob = table.person("bob")
    table.let_in(ann)
    table.ask_for(bob)
    link = table.connect(ann)
    before = len(table.said)
    table.ask(messages.Leave())
    outputs = table.said[before:]
    assert byes(outputs) == [ByeReason.LEAVING]
    assert {closed.dev for closed in of(CloseRoomLink, outputs)} == {ann.dev, bob.dev}
    assert down(SetTable, outputs)[-1].rows == ()
    assert down(SetKeys, outputs)[-1].keys == ()
    order = [type(message) for message in commands(outputs)]
    assert order.index(SetTable) < order.index(CloseLink)
    assert CloseLink(link) in down(CloseLink, outputs)
    assert of(Remember, outputs) == [Remember(None)]


def test_who_calls_for_a_room_we_are_not_in_is_told_so(table: Table, ann: Person):
    other = RoomId(b"\7" * 32)
    up = messages.RoomLinkUp(other, outbound=False)
    assert not table.tell(ann.dev, up)
    outputs = table.tell(ann.dev, messages.RoomFrame(other, ann.greeting(other, None)))
    assert [frame.frame for frame in of(SendRoomFrame, outputs)] == [frames.bye(ByeReason.NOT_HERE)]
    assert of(CloseRoomLink, outputs) == [CloseRoomLink(ann.dev, other)]


def test_in_a_lan_room_only_local_addresses_are_called():
    table = Table()
    table.open(lan=True)
    ann = table.person()
    public = b"\x04\x08\x08\x08\x08\x06\x00\x01"
    table.up(ann)
    bob = table.person("bob")
    greeting = ann.greeting(table.here.room, table.here.genesis)
    greeting[4] = [[bob.dev, [public, ann.addrs[0]]]]
    (opened,) = of(OpenRoomLink, table.frame(ann, greeting))
    assert opened.addrs == ann.addrs


def test_no_open_link_is_made_twice(table: Table, ann: Person):
    table.let_in(ann)
    bob = table.person("bob")
    table.up(bob)
    outputs = table.greet(bob, members=[ann.dev])
    assert not of(OpenRoomLink, outputs)
    assert not down(OpenLink, outputs)


def test_who_is_told_of_while_we_call_it_already_is_called_again_if_that_fails(table: Table):
    """We joined by the link of somebody out of reach, and somebody else let us in."""
    table = Table()
    ann, bob = table.person(), table.person("bob")
    genesis = room_of(ann)
    join_by_link(table, ann, genesis)
    table.up(bob)
    table.frame(bob, bob.greeting(table.here.room, genesis, members=[ann.dev]))
    table.down(ann)
    assert [call.dev for call in of(OpenRoomLink, table.wait(2))] == [ann.dev]


def test_members_are_told_of_one_another_again_each_minute(table: Table, ann: Person):
    """Two who could not reach each other at first may have lost patience."""
    bob = table.person("bob")
    table.let_in(ann)
    table.let_in(bob)
    outputs = table.wait(73)
    greetings = [frame for frame in of(SendRoomFrame, outputs) if frame.frame[0] == GREETING]
    assert [frame.dev for frame in greetings] == [ann.dev, bob.dev]
    assert told(outputs) == {ann.dev}


def test_a_link_on_which_nothing_is_heard_for_three_minutes_is_no_link(table: Table, ann: Person):
    """Each member greets all others each minute, so even the end of this one went unheard."""
    table.let_in(ann)
    table.wait(150)
    table.greet(ann)
    assert not of(CloseRoomLink, table.wait(150))
    outputs = table.wait(40)
    assert of(CloseRoomLink, outputs) == [CloseRoomLink(ann.dev, table.here.room)]
    assert EventKind.MEMBER_LOST in kinds(outputs)


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


def test_people_lost_beyond_number_do_not_hide_those_told_of(table: Table, ann: Person):
    bob = table.person("bob")
    table.up(ann)
    table.greet(ann, members=[bob.dev])
    for number in range(40):
        person = table.person(f"p{number}")
        table.let_in(person)
        table.down(person)
    table.down(bob)
    assert bob.dev in [call.dev for call in of(OpenRoomLink, table.wait(1.5))]


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


def test_who_had_left_while_we_looked_for_it_is_called_when_a_member_tells_of_it(
    table: Table, ann: Person
):
    table.let_in(ann)
    table.down(ann)
    table.wait(0.2)
    table.up(ann, outbound=True)
    table.frame(ann, frames.bye(ByeReason.NOT_HERE))
    table.down(ann)
    assert not of(OpenRoomLink, table.wait(20))
    bob = table.person("bob")
    table.up(bob)
    outputs = table.greet(bob, members=[ann.dev])
    assert [call.dev for call in of(OpenRoomLink, outputs)] == [ann.dev]


def test_who_found_its_room_full_is_called_again(table: Table, ann: Person):
    table.ask_for(ann)
    table.up(ann, outbound=True)
    table.frame(ann, frames.bye(ByeReason.FULL))
    table.down(ann)
    assert of(OpenRoomLink, table.wait(5))


def test_a_greeting_after_a_bye_or_before_the_link_is_there_lets_nobody_in(
    table: Table, ann: Person
):
    table.ask_for(ann)
    assert not table.greet(ann)
    bob = table.person("bob")
    table.let_in(bob)
    table.frame(bob, frames.bye(ByeReason.LEAVING))
    assert not table.greet(bob)
    assert table.here.count == 1


def test_a_bye_of_a_stranger_means_nothing(table: Table, ann: Person):
    assert not table.frame(ann, frames.bye(ByeReason.LEAVING))
    assert not of(CloseRoomLink, table.wait(10))


def test_a_room_link_that_comes_back_leaves_the_sound_alone(table: Table, ann: Person):
    table.let_in(ann)
    table.connect(ann)
    table.down(ann)
    assert of(OpenRoomLink, table.wait(10))
    table.up(ann, outbound=True)
    assert not down(OpenLink, table.greet(ann))


def test_who_is_turned_away_from_a_full_room_is_not_looked_for(table: Table, ann: Person):
    table.let_in(ann)
    table.down(ann)
    fill(table, limits.MESH_MEMBERS_MAX - 1)
    table.up(ann)
    assert byes(table.greet(ann)) == [ByeReason.NEEDS_CARRIER]
    assert not of(OpenRoomLink, table.wait(50))


def test_a_member_is_called_where_it_was_last(table: Table, ann: Person):
    table.let_in(ann)
    ann.addrs = (b"\x04\x0a\x00\x00\x02\x06\x00\x01",)
    table.greet(ann)
    table.down(ann)
    (call,) = of(OpenRoomLink, table.wait(0.2))
    assert call.addrs == ann.addrs


def test_who_comes_and_who_goes_is_remembered_at_once(table: Table, ann: Person):
    table.up(ann)
    (remember,) = of(Remember, table.greet(ann))
    assert remember.state is not None
    assert remember.state[1] == [[ann.dev, list(ann.addrs)]]
    (forget,) = of(Remember, table.frame(ann, frames.bye(ByeReason.LEAVING)))
    assert forget.state is not None
    assert forget.state[1] == []


def test_who_opened_a_broken_link_calls_first_and_then_with_pauses(table: Table, ann: Person):
    table.call(ann)
    table.down(ann)
    assert not of(OpenRoomLink, table.wait(0.7))
    assert of(OpenRoomLink, table.wait(0.6))
    table.down(ann)
    assert not of(OpenRoomLink, table.wait(3))
    assert of(OpenRoomLink, table.wait(2))


def test_who_did_not_open_it_waits_to_be_called(table: Table, ann: Person):
    table.let_in(ann)
    table.connect(ann)
    table.down(ann)
    assert not of(OpenRoomLink, table.wait(3))
    assert of(OpenRoomLink, table.wait(2))


def test_a_new_media_link_beside_a_broken_room_link_loses_nobody(table: Table, ann: Person):
    table.let_in(ann)
    table.connect(ann)
    table.down(ann)
    table.connect(ann)
    assert table.here.count == 2


def test_nobody_is_told_anything_before_the_greeting(table: Table, ann: Person):
    table.let_in(table.person("bob"))
    for _ in range(10):
        table.up(ann)
        table.wait(8)
    assert ann.dev not in [frame.dev for frame in of(SendRoomFrame, table.said)]
