"""Farewells, and what a broken link means."""

import pytest

from p2phouse.channel import CloseLink, Heard, LinkStatus, OpenLink, SetKeys, SetTable, Silent
from p2phouse.record import limits
from p2phouse.room import frames, messages
from p2phouse.room.frames import ByeReason
from p2phouse.room.messages import (
    CloseRoomLink,
    EventKind,
    OpenRoomLink,
    Remember,
    SendRoomFrame,
)
from p2phouse.vocabulary import RoomId
from tests.room.company.people import (
    BEAT,
    DIGEST,
    GREETING,
    SOFT,
    byes,
    fill,
    join_by_link,
    room_of,
    told,
)
from tests.room.table import Person, Table, commands, down, frame_kinds, kinds, of

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
