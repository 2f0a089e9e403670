"""A room that somebody carries: more people than a mesh holds, media links with the hub alone."""

import pytest

from p2phouse.channel import CloseLink, LinkStatus, OpenLink, SetTable
from p2phouse.record import cbor, limits
from p2phouse.room import frames, messages
from p2phouse.room.frames import ByeReason, FrameKind
from p2phouse.room.messages import EventKind, OpenRoomLink, SendRoomFrame
from tests.room.company.people import byes, fill, strangers
from tests.room.table import ADDR, Person, Table, down, kinds, of
from tests.room.test_chat_exchange import say, sent, word, write


@pytest.fixture
def table() -> Table:
    table = Table()
    table.open()
    return table


@pytest.fixture
def ann(table: Table) -> Person:
    return table.person()


def carried_by(table: Table, *carriers: Person) -> None:
    """As room/carrying.py leaves it: the first is the hub, the second its standby."""
    devs = [person.dev for person in carriers]
    table.here.hub, table.here.standby = devs[0], devs[1] if devs[1:] else None
    table.here.wanted = frozenset(devs)
    table.wait(0.0)
    table.tell(table.me.dev, messages.OwnAddresses((ADDR,)))


def lost_frames(outputs: list[messages.Output]) -> list[SendRoomFrame]:
    return [each for each in of(SendRoomFrame, outputs) if each.frame[0] == FrameKind.LOST]


# ── places ───────────────────────────────────────────────────────────────────────────────────


def test_32_people_are_linked_with_one_another_and_no_more(table: Table, ann: Person):
    table.here.can_grow = True
    fill(table, limits.ROOM_MEMBERS_MAX - 1)
    assert table.here.count == limits.ROOM_MEMBERS_MAX == 32
    table.up(ann)
    assert byes(table.greet(ann)) == [ByeReason.FULL]
    assert table.here.count == 32


def test_the_stage_of_a_carried_room_takes_in_64_who_will_move_on_to_its_hub(
    table: Table, ann: Person
):
    (hub,) = fill(table, 1)
    carried_by(table, hub)
    fill(table, 32 + 64 - 2)
    table.up(ann)
    assert byes(table.greet(ann)) == [ByeReason.FULL]


def test_a_ninth_comes_in_if_somebody_would_carry_the_room(table: Table, ann: Person):
    fill(table, 7)
    table.here.can_grow = True
    table.let_in(ann)
    assert table.here.count == 9


def test_the_ninth_is_told_what_the_room_needs(table: Table, ann: Person):
    fill(table, 7)
    table.up(ann)
    (reason,) = byes(table.greet(ann))
    assert "needs a relay or somebody willing to carry it" in frames.BYE_TEXTS[reason]
    assert "full" in frames.BYE_TEXTS[reason]


def test_who_is_let_in_as_the_ninth_takes_the_other_eight_for_members(table: Table, ann: Person):
    """Before anybody has told it who carries the room."""
    others = [table.person(f"p{number}") for number in range(7)]
    table.ask_for(ann)
    table.up(ann, outbound=True)
    table.greet(ann, members=[other.dev for other in others])
    assert len(of(OpenRoomLink, table.wait(0.8))) == 7
    for other in others:
        table.up(other, outbound=True)
        assert not byes(table.greet(other))
    assert table.here.count == 9


def test_a_member_who_tells_of_a_crowd_lets_nobody_in_by_it(table: Table, ann: Person):
    people = fill(table, 7)
    table.greet(people[0], members=strangers(20))
    table.up(ann)
    assert byes(table.greet(ann)) == [ByeReason.NEEDS_CARRIER]


def test_a_greeting_with_31_members_of_four_long_addresses_fits_its_frame(table: Table):
    addrs = tuple(bytes([number]) * limits.ADDR_BYTES_MAX for number in range(limits.ADDRS_MAX))
    table.here.can_grow = True
    people = [table.person(f"p{number}") for number in range(31)]
    for person in people:
        person.addrs = addrs
        table.let_in(person)
    table.wait(75)
    greetings = [
        each.frame for each in of(SendRoomFrame, table.said) if each.frame[0] == FrameKind.GREETING
    ]
    assert max(len(frame[4]) for frame in greetings) == 30  # type: ignore[arg-type]
    longest = max(len(cbor.encode(frame)) for frame in greetings)
    assert 8_000 < longest <= limits.ROOM_FRAME_BYTES_MAX - 3_000, "an identity may be longer"


# ── media links ──────────────────────────────────────────────────────────────────────────────


def test_in_a_carried_room_a_member_has_media_links_to_hub_and_standby_alone(table: Table):
    hub, standby, ann = (table.person(name) for name in ("hub", "standby", "ann"))
    for person in (hub, standby):
        table.call(person)
    carried_by(table, hub, standby)
    table.ask_for(ann)
    table.up(ann, outbound=True)
    assert not down(OpenLink, table.greet(ann))
    assert not down(OpenLink, table.wait(40))


def test_links_of_the_mesh_end_once_those_to_the_hub_are_up_and_then_without_a_word(table: Table):
    hub, standby, ann = (table.person(name) for name in ("hub", "standby", "ann"))
    links = {person.dev: table.call(person) for person in (hub, standby, ann)}
    carried_by(table, hub, standby)
    assert not down(CloseLink, table.wait(4.9))
    outputs = table.wait(0.2)
    assert down(CloseLink, outputs) == [CloseLink(links[ann.dev])]
    tables = down(SetTable, outputs)
    assert tables
    assert all(links[ann.dev] not in row.sinks for row in tables[-1].rows)
    assert EventKind.LINK_FAILED not in kinds(outputs)
    assert table.here.count == 4


def test_an_old_link_lives_on_while_the_hub_s_is_not_up(table: Table):
    hub, ann = table.person("hub"), table.person("ann")
    link = table.call(ann)
    table.let_in(hub)
    carried_by(table, hub)
    assert not down(CloseLink, table.wait(29))
    assert CloseLink(link) in down(CloseLink, table.wait(2))


def test_who_opened_the_room_link_offers_to_a_new_hub_at_once_and_the_other_3_s_later(
    table: Table,
):
    hub, other = table.person("hub"), table.person("other")
    carried_by(table, other)
    table.let_in(hub)
    assert not down(OpenLink, table.wait(20))
    carried_by(table, hub)
    assert not down(OpenLink, table.wait(2.9))
    assert down(OpenLink, table.wait(0.2))
    assert table.here.members[hub.dev].link is not None


def test_an_offer_of_whom_we_do_not_want_is_answered_and_its_link_closed_after_5_s(table: Table):
    """It may know already that one of us carries the room now."""
    hub, ann = table.person("hub"), table.person("ann")
    table.call(hub)
    carried_by(table, hub)
    table.let_in(ann)
    link = table.connect(ann)
    assert not down(CloseLink, table.wait(4.9))
    assert down(CloseLink, table.wait(0.2)) == [CloseLink(link)]


def test_a_link_that_is_not_wanted_ends_unnoticed(table: Table):
    hub, ann = table.person("hub"), table.person("ann")
    table.call(hub)
    link = table.call(ann)
    carried_by(table, hub)
    outputs = table.link(link, LinkStatus.LOST)
    assert EventKind.LINK_FAILED not in kinds(outputs)
    assert not down(OpenLink, table.wait(40))
    assert ann.dev in table.here.members


def test_in_a_crowd_nobody_offers_before_it_is_known_who_carries_it(table: Table, ann: Person):
    table.ask_for(ann)
    table.up(ann, outbound=True)
    greeted = table.greet(ann, members=strangers(8))
    assert not down(OpenLink, greeted + table.wait(1.9))
    assert down(OpenLink, table.wait(0.2)), "nobody has said so: a mesh"


def test_while_nobody_carries_a_crowd_seven_links_are_offered_and_no_more(table: Table):
    table.here.can_grow = True
    people = [table.person(f"p{number}") for number in range(12)]
    table.let_in(people[0], members=[person.dev for person in people[1:]])
    table.wait(0.8)
    for person in people[1:]:
        table.up(person, outbound=True)
        table.greet(person)
    assert len(down(OpenLink, table.wait(2.5))) == 7


def test_new_media_offers_to_those_alone_with_whom_links_are_wanted(table: Table):
    hub, ann = table.person("hub"), table.person("ann")
    table.call(hub)
    table.call(ann)
    carried_by(table, hub)
    before = table.here.members[ann.dev].link
    outputs = table.tell(table.me.dev, messages.MediaGone())
    assert len(down(OpenLink, outputs)) == 1
    assert CloseLink(before) in down(CloseLink, outputs)  # type: ignore[arg-type]
    assert table.here.members[ann.dev].link is None


# ── who is there ─────────────────────────────────────────────────────────────────────────────


def test_whom_a_room_link_alone_held_is_called_for_12_s_and_then_lost(table: Table):
    hub, ann = table.person("hub"), table.person("ann")
    table.call(hub)
    carried_by(table, hub)
    table.let_in(ann)
    assert EventKind.MEMBER_LOST not in kinds(table.down(ann))
    outputs = table.wait(11.9)
    assert of(OpenRoomLink, outputs)
    assert EventKind.MEMBER_LOST not in kinds(outputs)
    assert EventKind.MEMBER_LOST in kinds(table.wait(0.2))


def test_such_a_member_is_back_when_its_host_is(table: Table):
    hub, ann = table.person("hub"), table.person("ann")
    table.call(hub)
    carried_by(table, hub)
    table.let_in(ann)
    table.down(ann)
    table.wait(4)
    table.up(ann)
    table.greet(ann)
    assert EventKind.MEMBER_LOST not in kinds(table.wait(60))


def test_whom_the_hub_has_lost_is_lost_at_once_if_our_link_to_it_is_down(table: Table):
    hub, ann = table.person("hub"), table.person("ann")
    table.call(hub)
    carried_by(table, hub)
    for lost_first in (True, False):
        join = table.let_in(ann).join.id
        said: list[messages.Output] = []
        if lost_first:
            said += table.frame(hub, frames.lost(join))
            table.wait(5)
        said += table.down(ann)
        if not lost_first:
            said += table.frame(hub, frames.lost(join))
        assert EventKind.MEMBER_LOST in kinds(said)
        table.wait(1)


def test_a_member_that_is_linked_is_not_lost_on_anybodys_word(table: Table):
    hub, ann = table.person("hub"), table.person("ann")
    table.call(hub)
    carried_by(table, hub)
    join = table.let_in(ann).join.id
    assert EventKind.MEMBER_LOST not in kinds(table.frame(hub, frames.lost(join)))
    assert EventKind.MEMBER_LOST not in kinds(table.wait(20))
    assert EventKind.MEMBER_LOST not in kinds(table.down(ann)), "the word is 20 s old"


def test_a_listener_known_by_news_is_not_lost_on_anybodys_word(table: Table):
    hub, ann = table.person("hub"), table.person("ann")
    table.call(hub)
    carried_by(table, hub)
    table.let_in(ann)
    member = table.here.members[ann.dev]
    member.is_told = True
    del table.here.links[ann.dev]
    assert EventKind.MEMBER_LOST not in kinds(table.frame(hub, frames.lost(member.join.id)))
    assert ann.dev in table.here.members


def test_the_hub_tells_the_others_whom_it_has_lost_and_a_mesh_does_not(table: Table):
    ann, bob = table.person("ann"), table.person("bob")
    table.let_in(bob)
    for is_hub in (False, True):
        table.let_in(ann)
        join = table.here.members[ann.dev].join.id
        if is_hub:
            table.here.hub = table.me.dev
        told = lost_frames(table.down(ann))
        assert [(each.dev, each.frame) for each in told] == (
            [(bob.dev, frames.lost(join))] if is_hub else []
        )
        table.wait(1)


# ── what is passed on ────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("count", "copies"), [(6, 6), (14, 5)], ids=["mesh", "crowd"])
def test_eight_pass_what_they_hear_on_to_all_and_more_to_hub_standby_and_three_others(
    table: Table, count: int, copies: int
):
    table.here.can_grow = True
    people, writer = fill(table, count), table.person("writer")
    table.let_in(writer)
    if count > 7:
        carried_by(table, *people[:2])
    table.wait(6)
    say(table, writer, word(writer, table))
    outputs = table.wait(0.6)
    passed = {person.me.name for person in people if sent(outputs, person)}
    assert len(passed) == copies
    if count > 7:
        assert {"p0", "p1"} <= passed
    before = len(table.said)
    write(table, "my own")
    assert all(sent(table.said[before:], person) for person in people), "ours goes to all"
