"""Who waits at one member's door: those who run the room hear of it, whichever door it is."""

from dataclasses import replace

import pytest

from p2phouse.identity.keys import key_tag
from p2phouse.record import envelope, limits
from p2phouse.record.types import Act
from p2phouse.room import frames, messages
from p2phouse.room.authority import SeveralCalled
from p2phouse.room.frames import ByeReason, FrameRefused
from p2phouse.room.invites import MayNotLetIn
from p2phouse.room.lobby import LobbyState
from tests.room.door.knocking import (
    BYE,
    ENTRY,
    GREETING,
    LOBBY,
    give_log,
    knock,
    let_in,
    relayed,
    states,
    to,
)
from tests.room.table import Person, Table


def test_a_knock_is_told_to_those_who_run_the_room_and_to_nobody_else(inside):
    table, host = inside
    bob = host.person("bob")
    let_in(host, bob)
    give_log(table, host)
    table.up(bob)
    table.frame(bob, bob.greeting(table.here.room, table.here.genesis))
    assert bob.dev in table.here.members
    ann = table.person()
    outputs = knock(table, ann)
    assert states(ann, outputs) == [LobbyState.WAITING]
    assert to(Person(host.me), outputs) == [relayed(ann, table)]
    assert not to(bob, outputs)
    later = to(Person(host.me), table.wait(4))
    assert LOBBY not in [frame[0] for frame in later]  # told once


def test_whoever_runs_the_room_lets_in_who_waits_at_another_door(inside):
    table, host = inside
    ann = table.person()
    knock(table, ann)
    me = Person(table.me)
    host.frame(me, relayed(ann, table))
    assert [each.name for each in host.rooms.waiting] == ["ann"]
    host.said.clear()
    assert host.answer(host.ask(messages.Admit("ann"))).error is None
    assert ann.dev not in host.here.members  # she is not here yet
    assert not host.rooms.waiting
    (entry,) = [frame for frame in to(me, host.said) if frame[0] == ENTRY]
    outputs = table.frame(Person(host.me), entry)
    assert GREETING in [frame[0] for frame in to(ann, outputs)]
    assert ann.dev in table.here.members


def test_whoever_runs_the_room_refuses_who_waits_at_another_door(inside):
    table, host = inside
    ann = table.person()
    knock(table, ann)
    host.frame(Person(table.me), relayed(ann, table))
    host.said.clear()
    assert host.answer(host.ask(messages.Refuse("ann"))).error is None
    (refusal,) = to(Person(table.me), host.said)
    outputs = table.frame(Person(host.me), refusal)
    assert to(ann, outputs) == [[BYE, ByeReason.REFUSED]]
    assert to(ann, knock(table, ann)) == [[BYE, ByeReason.REFUSED]]


def test_a_listener_turns_nobody_away_at_another_door(table: Table, ann: Person):
    bob = table.person("bob")
    let_in(table, bob)
    knock(table, ann)
    with pytest.raises(FrameRefused):
        table.frame(bob, relayed(ann, table, LobbyState.REFUSED))
    assert len(table.rooms.waiting) == 1


def test_who_knocks_at_two_doors_and_leaves_one_sets_no_members_against_each_other(
    table: Table, ann: Person
):
    """Else a stranger who has but the room's link could have a host cut off every listener."""
    bob = table.person("bob")
    let_in(table, bob)
    table.frame(bob, relayed(ann, table))
    knock(table, ann)
    outputs = table.frame(bob, relayed(ann, table, LobbyState.OVER))
    assert bob.dev in table.here.members
    assert not to(ann, outputs)
    assert [each.uid for each in table.rooms.waiting] == [ann.me.uid]


def test_a_name_means_nobody_while_a_member_and_who_waits_bear_it(table: Table, ann: Person):
    """A stranger who knocks under a member's name must not be followed in that one's place."""
    let_in(table, ann)
    other = table.person("ann")
    knock(table, other)
    with pytest.raises(SeveralCalled):
        table.rooms.people_near("ann")
    assert table.rooms.people_near(key_tag(ann.me.uid)) == (ann.me.uid, "ann")
    assert table.rooms.people_near(key_tag(other.me.uid)) == (other.me.uid, "ann")


def test_a_name_that_is_another_s_key_tag_or_peer_id_shields_and_harms_nobody(
    table: Table, ann: Person
):
    let_in(table, ann)
    let_in(table, table.person(key_tag(ann.me.uid).upper()))
    table.ask(messages.Decide(Act.ROLE, key_tag(ann.me.uid), "remove"))
    assert ann.dev not in table.here.members
    assert table.here.count == 2
    cleo = table.person("cleo")
    knock(table, cleo)
    knock(table, table.person(key_tag(cleo.me.uid)))
    assert table.answer(table.ask(messages.Admit(key_tag(cleo.me.uid)))).error is None
    assert cleo.dev in table.here.members


def test_a_listener_lets_nobody_in(inside):
    table, _ = inside
    knock(table, table.person())
    for action in (messages.Admit("ann"), messages.Refuse("ann")):
        assert isinstance(table.answer(table.ask(action)).error, MayNotLetIn)


def test_who_waits_is_told_when_nobody_is_there_who_may_let_him_in(inside):
    table, host = inside
    host_there = Person(host.me)
    table.frame(host_there, frames.bye(ByeReason.LEAVING))
    ann = table.person()
    assert states(ann, knock(table, ann)) == [LobbyState.NOBODY_HERE]


def test_who_waits_no_more_is_taken_off_everybody_s_list(inside):
    table, host = inside
    ann = table.person()
    knock(table, ann)
    host.frame(Person(table.me), relayed(ann, table))
    outputs = table.down(ann)
    (gone,) = to(Person(host.me), outputs)
    host.frame(Person(table.me), gone)
    assert not host.rooms.waiting


def test_who_waits_at_the_door_of_somebody_who_left_waits_no_more(inside):
    table, host = inside
    host.frame(Person(table.me), relayed(table.person(), table))
    assert host.rooms.waiting
    host.frame(Person(table.me), frames.bye(ByeReason.LEAVING))
    assert not host.rooms.waiting


def test_a_member_brings_sixteen_to_the_door_and_shuts_it_for_nobody(table: Table, ann: Person):
    """It makes up people; those who knock here are heard all the same."""
    bob = table.person("bob")
    let_in(table, bob)
    for number in range(limits.LOBBY_WAITING_MAX + 1):
        table.wait(1)
        table.frame(bob, relayed(table.person(f"p{number}"), table))
    assert len(table.rooms.waiting) == limits.LOBBY_WAITING_MAX
    assert states(ann, knock(table, ann)) == [LobbyState.WAITING]


def test_a_member_brings_nobody_who_did_not_knock(table: Table, ann: Person):
    bob = table.person("bob")
    let_in(table, bob)
    elsewhere = envelope.sign(
        replace(ann.join(table.here.room).record, room=bytes(32)), ann.me.device_key
    )
    whole = relayed(ann, table)
    for frame in (
        [LOBBY, elsewhere.data, ann.me.record.data, None, 0],
        [LOBBY, ann.join(table.here.room).data, bob.me.record.data, None, 0],
        [LOBBY, whole[1], whole[2], 5, 0],
        [LOBBY, whole[1], whole[2], None, True],
        [LOBBY, whole[1], whole[2], None, -1],
        [LOBBY],
        [LOBBY, True],
        [LOBBY, -1],
        [LOBBY, "x"],
        [LOBBY, bytes(513)],
    ):
        with pytest.raises(FrameRefused):
            table.frame(bob, frame)  # type: ignore[arg-type]
    assert not table.rooms.waiting
