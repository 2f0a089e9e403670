"""Who is in a room, who comes in by policy, and whom another network keeps out."""

import pytest

from p2phouse.identity.keys import key_tag
from p2phouse.record import limits
from p2phouse.record.types import Access, Act
from p2phouse.room import messages
from p2phouse.room.frames import ByeReason, FrameKind, FrameRefused
from p2phouse.room.lobby import LobbyState
from p2phouse.room.log import SeatFull
from p2phouse.room.messages import (
    CloseRoomLink,
    Event,
    EventKind,
    OpenRoomLink,
)
from p2phouse.room.pace import Pace
from tests.room.door.knocking import (
    BYE,
    GREETING,
    give_log,
    join,
    knock,
    let_in,
    seat,
    states,
    to,
)
from tests.room.table import ADDR, Person, Table, of

# ── access that changes, and whom one does not know yet ─────────────────────────────────────────


def test_who_is_in_an_open_room_stays_when_it_is_closed_and_others_wait(ann: Person):
    table = Table(seed=1)
    table.open()
    table.let_in(ann)
    bob = table.person("bob")
    answer = table.answer(table.ask(messages.SetAccess(Access.CLOSED)))
    assert len(answer.facts["entries"]) == 2  # type: ignore[arg-type]  # ann stays; closed
    assert table.here.log.state.may_speak(ann.me.uid)
    assert states(bob, knock(table, bob)) == [LobbyState.WAITING]
    table.wait(100)
    assert ann.dev in table.here.members


def test_who_waits_comes_in_when_the_room_is_opened(table: Table, ann: Person):
    knock(table, ann)
    table.ask(messages.SetAccess(Access.OPEN))
    assert ann.dev in table.here.members


def test_what_one_s_seat_has_no_space_for_as_a_whole_is_not_begun(ann: Person):
    """Half of it would count in our log, and be neither told nor heeded."""
    table = Table(seed=1)
    table.open()
    for person in (ann, table.person("bob")):
        table.let_in(person)
    seat(table, ann)
    while len(table.here.log) < limits.ENTRIES_PER_SEAT_MAX - 1:
        table.here.log.write(table.me, Act.TITLE, None, f"Tea {len(table.here.log)}")
    before = table.here.log.digest
    for action in (
        messages.Decide(Act.ROLE, key_tag(ann.me.uid), "ban"),
        messages.SetAccess(Access.CLOSED),
    ):
        assert isinstance(table.answer(table.ask(action)).error, SeatFull)
        assert table.here.log.digest == before
    assert table.answer(table.ask(messages.Decide(Act.LOCK, value=True))).error is None


def test_whom_a_change_of_access_does_not_name_is_in_no_more(ann: Person):
    """It was made by somebody who did not see ann."""
    table = Table(seed=1)
    table.open()
    table.let_in(ann)
    table.wait(60)
    table.ask(messages.Decide(Act.ACCESS, value=2))
    assert ann.dev not in table.here.members
    assert [BYE, ByeReason.REFUSED] in to(ann, table.said)


def test_somebody_new_takes_whom_he_was_sent_to_for_members_until_he_has_the_log(inside):
    table, host = inside
    host_there = Person(host.me)
    bob = host.person("bob")
    table.frame(host_there, host_there.greeting(table.here.room, None, members=[bob.dev]))
    assert OpenRoomLink(bob.dev, table.here.room, (ADDR,)) in of(OpenRoomLink, table.said)
    (bare,) = to(bob, table.up(bob, outbound=True))
    assert bare[3:] == [[], [], [], []]  # who we are, and nothing else
    table.frame(bob, bob.greeting(table.here.room, table.here.genesis))
    assert bob.dev in table.here.members
    table.wait(100)  # and the log still does not say that anybody let bob in
    assert bob.dev not in table.here.members


def test_who_calls_us_waits_even_if_we_are_new(inside):
    table, _ = inside
    ann = table.person()
    assert states(ann, knock(table, ann)) == [LobbyState.WAITING]


def test_whom_we_call_on_a_member_s_word_is_called_again_until_the_log_lets_him_in(inside):
    table, host = inside
    table.wait(20)
    bob, host_there = host.person("bob"), Person(host.me)
    table.frame(host_there, host_there.greeting(table.here.room, None, members=[bob.dev]))
    table.up(bob, outbound=True)
    outputs = table.frame(bob, bob.greeting(table.here.room, table.here.genesis))
    assert of(CloseRoomLink, outputs)
    assert bob.dev not in table.here.members
    let_in(host, bob)
    give_log(table, host)
    assert of(OpenRoomLink, table.wait(3))
    table.up(bob, outbound=True)
    outputs = table.frame(bob, bob.greeting(table.here.room, table.here.genesis))
    assert bob.dev in table.here.members
    greeting = [frame for frame in to(bob, outputs) if frame[0] == GREETING]
    assert len(greeting) == 1
    assert greeting[0][5] == [table.here.genesis.data]  # all of it, now


# ── policy ──────────────────────────────────────────────────────────────────────────────────────


def test_in_a_social_room_whom_its_host_follows_comes_in_at_once(ann: Person):
    table = Table(seed=1)
    table.tell(table.me.dev, messages.Following(frozenset({ann.me.uid})))
    table.open(access=Access.SOCIAL)
    knock(table, ann)
    assert ann.dev in table.here.members
    bob = table.person("bob")
    assert states(bob, knock(table, bob)) == [LobbyState.WAITING]
    table.tell(table.me.dev, messages.Following(frozenset({bob.me.uid})))
    assert bob.dev in table.here.members  # whoever is followed from now on


def test_in_a_closed_room_following_lets_nobody_in(table: Table, ann: Person):
    table.tell(table.me.dev, messages.Following(frozenset({ann.me.uid})))
    assert states(ann, knock(table, ann)) == [LobbyState.WAITING]


def test_whom_a_listener_follows_waits(inside):
    table, host = inside
    host.ask(messages.SetAccess(Access.SOCIAL))
    give_log(table, host)
    ann = table.person()
    table.tell(table.me.dev, messages.Following(frozenset({ann.me.uid})))
    assert states(ann, knock(table, ann)) == [LobbyState.WAITING]


def test_who_was_removed_comes_back_by_hand_alone(ann: Person):
    table = Table(seed=1)
    table.tell(table.me.dev, messages.Following(frozenset({ann.me.uid})))
    table.open(access=Access.SOCIAL)
    knock(table, ann)
    table.ask(messages.Decide(Act.ROLE, "ann", "remove"))
    table.down(ann)
    table.wait(61)
    assert states(ann, knock(table, ann)) == [LobbyState.WAITING]


def test_policy_leaves_half_of_a_seat():
    table = Table(seed=1)
    people = [table.person("ann"), table.person("bob")]
    table.tell(table.me.dev, messages.Following(frozenset(each.me.uid for each in people)))
    table.open(access=Access.SOCIAL)
    for number in range(limits.ADMITTED_BY_SEAT_MAX - 1):
        table.here.log.write(table.me, Act.TITLE, None, f"Tea {number}")
    knock(table, people[0])
    assert people[0].dev in table.here.members  # the 256th entry
    assert states(people[1], knock(table, people[1])) == [LobbyState.WAITING]
    assert table.answer(table.ask(messages.Admit("bob"))).error is None  # by hand all the same


def test_a_room_that_is_full_writes_no_admissions(ann: Person):
    table = Table(seed=1)
    table.open(access=Access.SOCIAL)
    knock(table, ann)
    for number in range(7):
        let_in(table, table.person(f"p{number}"))
    entries = len(table.here.log)
    table.tell(table.me.dev, messages.Following(frozenset({ann.me.uid})))
    assert len(table.here.log) == entries


def test_the_pace_of_one_device_binds_it_in_the_lobby_as_well(table: Table, ann: Person):
    knock(table, ann)
    for _ in range(Pace().frames.burst + Pace().spare_frames.burst - 1):  # the greeting was one
        table.frame(ann, [FrameKind.DIGEST, bytes(32)])
    with pytest.raises(FrameRefused):
        table.frame(ann, [FrameKind.DIGEST, bytes(32)])


# ── rooms for one network ───────────────────────────────────────────────────────────────────────


def test_into_a_room_for_its_own_network_nobody_comes_from_another(ann: Person):
    table = Table(seed=1)
    table.open(access=Access.LAN)
    bob = table.person("bob")
    table.up(ann, near=False)
    outputs = table.frame(ann, ann.greeting(table.here.room, None))
    assert to(ann, outputs) == [[BYE, ByeReason.LOCAL_ONLY]]
    assert ann.dev not in table.here.members
    table.up(bob)
    table.frame(bob, bob.greeting(table.here.room, None))
    assert bob.dev in table.here.members


def test_nobody_far_is_told_of_a_room_for_its_own_network(ann: Person):
    """Not even by whom a member sends us to."""
    table = Table(seed=1)
    table.open(access=Access.LAN)
    table.ask_for(ann)
    assert to(ann, table.up(ann, outbound=True, near=False)) == [[BYE, ByeReason.LOCAL_ONLY]]


def test_who_comes_by_a_link_from_another_network_is_told_why_not(ann: Person):
    host = Table(seed=5)
    host.open(access=Access.LAN)
    table = Table(seed=1)
    ticket = table.ask(messages.Join(str(host.rooms.facts()["link"])))
    there = Person(host.me, genesis=host.here.genesis)
    table.up(there, outbound=True, near=False)
    table.frame(there, there.greeting(table.here.room, there.genesis))
    assert "its own network" in str(table.answer(ticket).error)


def test_into_any_other_room_one_comes_from_anywhere(ann: Person):
    table = Table(seed=1)
    table.open()
    table.up(ann, near=False)
    table.frame(ann, ann.greeting(table.here.room, None))
    assert ann.dev in table.here.members


def test_who_is_in_a_room_that_is_closed_without_a_word_of_him_leaves():
    """Whoever closed it did not see this node, which hears of it when a partition heals."""
    host = Table(seed=5)
    host.open()
    table = Table(seed=1)
    join(table, Person(host.me), host)
    table.wait(50)
    host.ask(messages.Decide(Act.ACCESS, value=2))
    give_log(table, host)
    assert table.rooms.membership is None
    (left,) = [event for event in of(Event, table.said) if event.kind is EventKind.LEFT]
    assert left.text == "the room was closed to those who were not let in"
