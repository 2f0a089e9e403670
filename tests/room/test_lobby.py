"""A closed or social room: who waits at its door, what is told there, and who lets people in."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2phouse.channel import OpenLink
from p2phouse.errors import PeerError
from p2phouse.hall import invitation
from p2phouse.identity.keys import key_tag
from p2phouse.record import envelope, limits
from p2phouse.record.cbor import Value
from p2phouse.record.types import Access, Act
from p2phouse.room import frames, lobby, messages
from p2phouse.room.admission import NobodyWaits, NoPlaceLeft, PutOutFromAbove, SeveralWait
from p2phouse.room.authority import SeveralCalled
from p2phouse.room.frames import ByeReason, FrameKind, FrameRefused
from p2phouse.room.invites import MayNotLetIn
from p2phouse.room.lobby import LobbyState
from p2phouse.room.log import SeatFull
from p2phouse.room.messages import (
    CloseRoomLink,
    Event,
    EventKind,
    OpenRoomLink,
    Output,
    SendRoomFrame,
)
from p2phouse.room.pace import Pace
from p2phouse.vocabulary import RoomId
from tests.record import samples
from tests.room.table import ADDR, Person, Table, down, frame_kinds, kinds, of

GREETING, BYE, LOBBY = FrameKind.GREETING, FrameKind.BYE, FrameKind.LOBBY
ENTRY = FrameKind.ENTRY


@pytest.fixture
def table() -> Table:
    table = Table()
    table.open(access=Access.CLOSED)
    return table


@pytest.fixture
def ann(table: Table) -> Person:
    return table.person()


def knock(table: Table, person: Person) -> list[Output]:
    """The person opens a room link and greets, not knowing what kind of room it is."""
    table.up(person)
    return table.frame(person, person.greeting(table.here.room, None))


def to(person: Person, outputs: list[Output]) -> list[list[Value]]:
    return [sent.frame for sent in of(SendRoomFrame, outputs) if sent.dev == person.dev]


def states(person: Person, outputs: list[Output]) -> list[Value]:
    return [frame[1] for frame in to(person, outputs) if frame[0] == LOBBY and len(frame) == 2]


def let_in(table: Table, person: Person) -> None:
    """By hand, as the one who runs the room."""
    knock(table, person)
    answer = table.answer(table.ask(messages.Admit(key_tag(person.me.uid))))
    assert answer.error is None
    assert person.dev in table.here.members


def seat(table: Table, person: Person, value: str = "moderator") -> None:
    table.ask(messages.Decide(Act.GRANT, key_tag(person.me.uid), value))


def relayed(person: Person, table: Table, state: LobbyState = LobbyState.WAITING) -> list[Value]:
    """That this person waits, as another member says."""
    join = person.join(table.here.room).data
    return [LOBBY, join, person.me.record.data, None, int(state)]


# ── who knocks ───────────────────────────────────────────────────────────────────────────────


def test_who_comes_to_a_closed_room_waits_and_is_told_so_and_no_more(table: Table, ann: Person):
    outputs = knock(table, ann)
    assert to(ann, outputs) == [[LOBBY, LobbyState.WAITING]]
    assert EventKind.LOBBY_CHANGED in kinds(outputs)
    assert table.here.count == 1
    assert not of(CloseRoomLink, outputs)


@pytest.mark.parametrize("access", [Access.OPEN, Access.LAN])
def test_who_comes_to_an_open_room_is_in(access: Access, ann: Person):
    table = Table()
    table.open(access=access)
    knock(table, ann)
    assert ann.dev in table.here.members


def test_who_waits_learns_nothing_of_what_happens_inside(table: Table, ann: Person):
    """Neither members nor addresses, entries, voices or what is soft; for as long as it lasts."""
    knock(table, ann)
    for person in (table.person("bob"), table.person("cleo")):
        let_in(table, person)
        table.frame(person, person.voice_frame(table.here.room))
    table.ask(messages.SetMuted(muted=False))
    table.ask(messages.Decide(Act.TITLE, value="Secret"))
    outputs = table.wait(300)
    assert to(ann, table.said) == [[LOBBY, LobbyState.WAITING]]
    assert GREETING in frame_kinds(outputs)  # to the others all was told


def test_what_somebody_says_who_waits_changes_nothing(table: Table, ann: Person):
    bob = table.person("bob")
    let_in(table, bob)
    knock(table, ann)
    entries = table.here.log.digest
    table.frame(ann, ann.voice_frame(table.here.room))
    table.frame(ann, ann.mute_frame(table.here.room, muted=False))
    assert not table.frame(ann, [ENTRY, [], []])
    assert not table.frame(ann, [FrameKind.DIGEST, bytes(32)])
    assert not table.frame(ann, [FrameKind.SKETCH, bytes(4_096)])
    offered = messages.OfferHeard(ann.offer(table.me.dev, table.here.room))
    assert not down(OpenLink, table.tell(ann.dev, offered))
    assert table.here.log.digest == entries
    assert list(table.here.members) == [bob.dev]


def test_who_waits_takes_nobody_s_place(table: Table):
    people = [table.person(f"p{number}") for number in range(9)]
    knock(table, people[8])
    for person in people[:7]:
        let_in(table, person)
    assert table.here.count == limits.MESH_MEMBERS_MAX


def test_who_waits_and_leaves_is_gone(table: Table, ann: Person):
    knock(table, ann)
    assert table.rooms.facts()["lobby_count"] == 1
    table.frame(ann, frames.bye(ByeReason.LEAVING))
    assert table.rooms.facts()["lobby_count"] == 0
    knock(table, ann)
    outputs = table.down(ann)
    assert table.rooms.facts()["lobby_count"] == 0
    assert EventKind.LOBBY_CHANGED in kinds(outputs)


def test_the_same_greeting_again_keeps_the_place_and_another_join_ends_the_link(
    table: Table, ann: Person
):
    knock(table, ann)
    table.frame(ann, ann.greeting(table.here.room, None))
    assert len(table.rooms.waiting) == 1
    with pytest.raises(FrameRefused):
        table.frame(ann, ann.greeting(table.here.room, None, ts=table.unix + 5))


# ── let in ───────────────────────────────────────────────────────────────────────────────────


def test_who_is_let_in_is_greeted_and_is_a_listener_at_least(table: Table, ann: Person):
    knock(table, ann)
    table.said.clear()
    answer = table.answer(table.ask(messages.Admit("ANN")))
    assert answer.error is None
    assert len(answer.facts["entries"]) == 1  # type: ignore[arg-type]
    assert to(ann, table.said)[0][0] == GREETING
    assert EventKind.MEMBER_JOINED in kinds(table.said)
    assert table.rooms.facts()["lobby_count"] == 0
    assert table.here.log.state.role_of(ann.me.uid).value == "speaker"  # type: ignore[union-attr]


def test_who_is_let_in_where_all_listen_is_a_listener(table: Table, ann: Person):
    table.ask(messages.Decide(Act.ROLE, "", "listener"))
    let_in(table, ann)
    assert table.here.log.state.role_of(ann.me.uid).value == "listener"  # type: ignore[union-attr]


def test_who_was_let_in_comes_back_without_knocking(table: Table, ann: Person):
    let_in(table, ann)
    table.frame(ann, frames.bye(ByeReason.LEAVING))
    table.down(ann)
    knock(table, ann)
    assert ann.dev in table.here.members


def test_who_was_removed_knocks_again_and_comes_in_by_hand(table: Table, ann: Person):
    let_in(table, ann)
    table.ask(messages.Decide(Act.ROLE, "ann", "remove"))
    table.down(ann)
    assert to(ann, knock(table, ann))[-1] == [BYE, ByeReason.PUT_OUT]
    table.wait(61)
    assert states(ann, knock(table, ann)) == [LobbyState.WAITING]
    assert table.answer(table.ask(messages.Admit("ann"))).error is None
    assert ann.dev in table.here.members


def test_who_was_banned_is_not_heard_knocking(table: Table, ann: Person):
    let_in(table, ann)
    table.ask(messages.Decide(Act.ROLE, "ann", "ban"))
    table.down(ann)
    table.wait(3_600)
    assert to(ann, knock(table, ann)) == [[BYE, ByeReason.PUT_OUT]]


def test_whom_somebody_above_removed_a_moderator_cannot_let_in():
    """The creator removes; the moderator at this node may not undo it."""
    host = Table(seed=5)
    host.open(access=Access.CLOSED)
    table = Table()
    moderator = Person(table.me)
    let_in(host, moderator)
    seat(host, moderator)
    bob = host.person("bob")
    let_in(host, bob)
    host.ask(messages.Decide(Act.ROLE, "bob", "remove"))
    join(table, Person(host.me), host)
    give_log(table, host)
    table.wait(100)
    knock(table, bob)
    answer = table.answer(table.ask(messages.Admit("bob")))
    assert isinstance(answer.error, PutOutFromAbove)


def test_nobody_can_be_let_in_who_does_not_wait_or_whose_name_two_have(table: Table):
    assert isinstance(table.answer(table.ask(messages.Admit("ann"))).error, NobodyWaits)
    assert isinstance(table.answer(table.ask(messages.Admit(""))).error, NobodyWaits)
    knock(table, table.person("ann"))
    knock(table, table.person("Ann"))
    assert isinstance(table.answer(table.ask(messages.Admit("ann"))).error, SeveralWait)


def test_into_a_full_room_nobody_is_let(table: Table, ann: Person):
    knock(table, ann)
    for number in range(7):
        let_in(table, table.person(f"p{number}"))
    entries = len(table.here.log)
    assert isinstance(table.answer(table.ask(messages.Admit("ann"))).error, NoPlaceLeft)
    assert len(table.here.log) == entries


# ── refused ──────────────────────────────────────────────────────────────────────────────────


def test_who_is_refused_is_told_and_for_a_minute_nobody_hears_him(table: Table, ann: Person):
    knock(table, ann)
    table.said.clear()
    assert table.answer(table.ask(messages.Refuse("ann"))).error is None
    assert to(ann, table.said) == [[BYE, ByeReason.REFUSED]]
    outputs = knock(table, ann)
    assert to(ann, outputs) == [[BYE, ByeReason.REFUSED]]
    assert EventKind.LOBBY_CHANGED not in kinds(outputs)
    table.wait(60)
    assert states(ann, knock(table, ann)) == [LobbyState.WAITING]


def test_256_who_were_refused_are_remembered():
    place = lobby.Lobby()
    people = [table_uid.to_bytes(32) for table_uid in range(limits.LOBBY_REFUSED_MAX + 1)]
    for uid in people:
        place.refuse(0.0, uid)  # type: ignore[arg-type]
    assert [place.is_refused(1.0, uid) for uid in people] == [True] * 256 + [False]  # type: ignore[arg-type]


def test_after_ten_minutes_the_wait_is_over(table: Table, ann: Person):
    knock(table, ann)
    outputs = table.wait(limits.LOBBY_S_MAX - 1)
    assert not to(ann, outputs)
    outputs = table.wait(1.1)
    assert states(ann, outputs) == [LobbyState.OVER]
    assert CloseRoomLink(ann.dev, table.here.room) in of(CloseRoomLink, outputs)
    assert not table.rooms.waiting


def test_sixteen_wait_at_a_door_and_no_more(table: Table):
    people = [table.person(f"p{number}") for number in range(limits.LOBBY_WAITING_MAX + 1)]
    said = [states(person, knock(table, person)) for person in people]
    assert said == [[LobbyState.WAITING]] * 16 + [[]]
    assert len(table.rooms.waiting) == limits.LOBBY_WAITING_MAX
    assert states(people[16], table.wait(3.1)) == [LobbyState.FULL]
    assert states(people[0], table.wait(3.1)) == []


def test_eight_more_may_show_an_invite(table: Table):
    link = table.answer(table.ask(messages.MakeInvite(1, once=False))).facts["link"]
    invite = invitation.read(str(link)).invite
    crowd = [table.person(f"p{number}") for number in range(16 + limits.LOBBY_SHOWING_MAX)]
    for person in crowd:
        knock(table, person)
    ann = table.person("ann")
    assert states(ann, knock(table, ann)) == [LobbyState.FULL]
    table.wait(3.1)
    assert not states(ann, knock(table, ann))
    assert table.rooms.facts()["lobby_count"] == 16
    table.frame(ann, lobby.shown(invite))
    assert ann.dev in table.here.members


def test_in_a_social_room_a_crowd_at_the_door_keeps_out_nobody_whom_its_host_follows(ann: Person):
    table = Table(seed=1)
    table.tell(table.me.dev, messages.Following(frozenset({ann.me.uid})))
    table.open(access=Access.SOCIAL)
    for number in range(16):
        knock(table, table.person(f"p{number}"))
    knock(table, ann)
    assert ann.dev in table.here.members


def test_an_invite_at_a_listener_s_crowded_door_is_told_to_who_may_take_it(inside):
    table, host = inside
    link = host.answer(host.ask(messages.MakeInvite(1, once=False))).facts["link"]
    for number in range(16):
        knock(table, table.person(f"p{number}"))
    ann = table.person("ann")
    assert not to(ann, knock(table, ann))
    outputs = table.frame(ann, lobby.shown(invitation.read(str(link)).invite))
    assert states(ann, outputs) == [LobbyState.WAITING]
    assert [frame[0] for frame in to(Person(host.me), outputs)] == [LOBBY]
    assert not states(ann, table.wait(10))


def test_who_knocks_faster_than_a_crowd_is_on_nobody_s_list(table: Table):
    """Even if places become free all the time; and who has an invite comes in all the same."""
    link = table.answer(table.ask(messages.MakeInvite(1, once=False))).facts["link"]
    heard = 0
    for number in range(40):
        person = table.person(f"p{number}")
        heard += states(person, knock(table, person)) == [LobbyState.WAITING]
        table.down(person)
    assert heard == 32
    ann = table.person("ann")
    assert not states(ann, knock(table, ann))
    table.frame(ann, lobby.shown(invitation.read(str(link)).invite))
    assert ann.dev in table.here.members


# ── those who run the room ───────────────────────────────────────────────────────────────────


def join(table: Table, host: Person, at: Table) -> None:
    """The node on the table comes into the other table's room, where the log lets it in."""
    host.addrs = (ADDR,)
    link = at.rooms.facts()["link"]
    table.ask(messages.Join(str(link)))
    table.up(host, outbound=True)
    table.frame(host, host.greeting(at.here.room, at.here.genesis))
    assert table.here.joined


def give_log(table: Table, host: Table) -> None:
    entries = [each.data for each in host.here.log]
    proofs = [each.data for each in host.here.log.identities_of(host.here.log)]
    table.frame(Person(host.me), [ENTRY, list(entries), list(proofs)])


@pytest.fixture
def inside() -> tuple[Table, Table]:
    """A listener's node in a closed room, and that of its creator."""
    host = Table(seed=5)
    host.open(access=Access.CLOSED)
    table = Table()
    let_in(host, Person(table.me))
    join(table, Person(host.me), host)
    give_log(table, host)
    return table, host


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


# ── waiting ──────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def waiting() -> tuple[Table, Person, int]:
    """Our node at the door of a closed room, its host, and the ticket of the join."""
    host = Table(seed=5)
    host.open(access=Access.CLOSED)
    table = Table()
    ticket = table.ask(messages.Join(str(host.rooms.facts()["link"])))
    door = Person(host.me, genesis=host.here.genesis)
    table.up(door, outbound=True)
    table.frame(door, [LOBBY, LobbyState.WAITING])
    return table, door, ticket


def test_who_waits_is_told_so_and_does_not_give_up_soon(waiting):
    table, door, ticket = waiting
    assert EventKind.LOBBY_WAITING in kinds(table.said)
    facts = table.rooms.facts()
    assert facts["waiting"] == "lobby"
    assert facts["waiting_text"] == "waiting to be let in"
    table.wait(limits.LOBBY_S_MAX)
    assert not table.answers(ticket)
    table.frame(door, door.greeting(table.here.room, door.genesis))
    assert table.answer(ticket).error is None
    assert EventKind.ADMITTED in kinds(table.said)
    assert "waiting" not in table.rooms.facts()


def test_who_waits_gives_up_in_the_end(waiting):
    table, _, ticket = waiting
    table.wait(limits.LOBBY_S_MAX + 20)
    assert table.answer(ticket).error is not None
    assert table.rooms.membership is None


def test_who_waits_may_leave(waiting):
    table, door, ticket = waiting
    table.ask(messages.Leave())
    assert [BYE, ByeReason.LEAVING] in to(door, table.said)
    assert table.answer(ticket).error is not None


def test_who_waits_hears_of_a_change_once(waiting):
    table, door, _ = waiting
    for state in (LobbyState.WAITING, LobbyState.NOBODY_HERE, LobbyState.NOBODY_HERE):
        table.frame(door, [LOBBY, state])
    assert kinds(table.said).count(EventKind.LOBBY_WAITING) == 2
    assert "nobody who may let you in" in str(table.rooms.facts()["waiting_text"])


@pytest.mark.parametrize("state", [state for state in LobbyState if lobby.is_final(state)])
def test_who_is_refused_is_told_why(waiting, state):
    table, door, ticket = waiting
    table.frame(door, [LOBBY, state])
    error = str(table.answer(ticket).error)
    assert lobby.STATE_TEXTS[state] in error
    assert "Ask somebody who is in the room" in error
    assert table.rooms.membership is None


def test_an_unknown_state_is_a_refusal(waiting):
    table, door, ticket = waiting
    table.frame(door, [LOBBY, 99])
    assert table.answer(ticket).error is not None


def test_nobody_but_whom_we_called_has_us_wait(table: Table, ann: Person):
    table.up(ann)
    table.frame(ann, [LOBBY, LobbyState.REFUSED])
    table.frame(ann, ann.greeting(table.here.room, None))
    assert len(table.rooms.waiting) == 1


# ── access that changes, and whom one does not know yet ──────────────────────────────────────


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


# ── policy ───────────────────────────────────────────────────────────────────────────────────


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


# ── rooms for one network ────────────────────────────────────────────────────────────────────


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


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.binary(max_size=600),
    lambda inner: st.lists(inner, max_size=5),
    max_leaves=8,
)
JOIN = envelope.sign(samples.JOIN, samples.DEVICE_KEY).data
IDENTITY = envelope.sign(samples.IDENTITY, samples.ROOT_KEY).data


@given(
    st.lists(VALUES, max_size=5)
    | st.tuples(st.just(JOIN), st.just(IDENTITY), VALUES, VALUES).map(list)
    | st.tuples(VALUES).map(list)
)
def test_whatever_a_lobby_frame_holds_is_read_whole_or_refused(fields):
    """Invariant: a known shape whose records are whole, or a PeerError."""
    try:
        said = lobby.read([int(LOBBY), *fields], RoomId(samples.ROOM))
    except PeerError:
        return
    match said:
        case lobby.Told(state):
            assert isinstance(state, LobbyState)
            assert len(fields) == 1
        case lobby.Shown(invite):
            assert len(invite) <= 512
        case lobby.Relayed():
            assert said.join.data == JOIN
            assert isinstance(said.invite, bytes | None)
