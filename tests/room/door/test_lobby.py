"""A closed or social room: who waits at its door, what is told there, and how the wait ends."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2phouse.channel import OpenLink
from p2phouse.errors import PeerError
from p2phouse.hall import invitation
from p2phouse.record import envelope, limits
from p2phouse.record.types import Access, Act
from p2phouse.room import frames, lobby, messages
from p2phouse.room.admission import NobodyWaits, NoPlaceLeft, PutOutFromAbove, SeveralWait
from p2phouse.room.frames import ByeReason, FrameKind, FrameRefused
from p2phouse.room.lobby import LobbyState
from p2phouse.room.messages import (
    CloseRoomLink,
    EventKind,
)
from p2phouse.vocabulary import RoomId
from tests.record import samples
from tests.room.door.knocking import (
    BYE,
    ENTRY,
    GREETING,
    LOBBY,
    give_log,
    join,
    knock,
    let_in,
    seat,
    states,
    to,
)
from tests.room.table import Person, Table, down, frame_kinds, kinds, of

# ── who knocks ──────────────────────────────────────────────────────────────────────────────────


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


# ── let in ──────────────────────────────────────────────────────────────────────────────────────


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


# ── refused ─────────────────────────────────────────────────────────────────────────────────────


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


# ── waiting ─────────────────────────────────────────────────────────────────────────────────────


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
