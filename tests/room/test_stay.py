"""Coming in, going, coming back; and that each verb is answered exactly once."""

import math
from dataclasses import replace

import pytest

from p2phouse.errors import UserError
from p2phouse.hall import invitation
from p2phouse.hall.card import make_card, make_genesis
from p2phouse.hall.directory import NoSuchRoom
from p2phouse.record import envelope, limits
from p2phouse.record.types import Access
from p2phouse.room import frames, messages
from p2phouse.room.frames import ByeReason
from p2phouse.room.messages import Event, EventKind, OpenRoomLink, PublishCard, Remember
from p2phouse.room.room import NobodyThere
from p2phouse.room.stay import (
    AlreadyInARoom,
    JoinFailed,
    NobodyAnswered,
    NotInARoom,
    OwnLink,
    UnknownKind,
)
from p2phouse.vocabulary import RoomId
from tests.room.table import ADDR, Person, Table, kinds, of


def list_room(table: Table, host: Person, *, seq: int = 1, **change: object) -> RoomId:
    """The host's card comes in."""
    genesis = make_genesis(host.me, title="Tea", access=Access.OPEN, now=table.now, entropy=bytes)
    genesis = envelope.sign(replace(genesis.record, **change), host.me.device_key)  # type: ignore[arg-type]
    card = make_card(
        host.me, genesis, seq=seq, speakers=1, listeners=0, addrs=(ADDR,), ttl_s=600, now=table.now
    )
    table.tell(host.dev, messages.CardHeard(card.data))
    host.genesis = genesis
    return RoomId(genesis.id)


@pytest.fixture
def ann() -> Person:
    return Table(seed=3).person()


@pytest.fixture
def table(ann: Person) -> Table:
    """A node that knows of ann's room."""
    table = Table()
    list_room(table, ann)
    return table


def let_us_in(table: Table, host: Person) -> None:
    table.up(host, outbound=True)
    table.frame(host, host.greeting(table.here.room, host.genesis))


# ── coming in ────────────────────────────────────────────────────────────────────────────────


def test_opening_a_room_answers_with_its_facts_and_publishes_a_card():
    table = Table()
    ticket = table.ask(messages.Open("  Morning   coffee "))
    facts = table.answer(ticket).facts
    assert facts["title"] == "Morning coffee"
    assert facts["people"] == 1
    assert facts["muted"] is True
    link = invitation.read(str(facts["link"]))
    assert (link.room.hex(), link.dev) == (facts["room"], table.me.dev)
    assert len(of(PublishCard, table.said)) == 1
    assert {EventKind.JOINED, EventKind.ROOM_SEEN} <= set(kinds(table.said))


@pytest.mark.parametrize("how", ["title", "id", "device"])
def test_joining_calls_the_host_and_is_answered_when_it_greets(table: Table, ann: Person, how: str):
    actions: dict[str, messages.VerbAction] = {
        "title": messages.Join("tea"),
        "id": messages.Join(table.rooms.directory.live(table.now)[0].room.hex()[:8]),
        "device": messages.JoinAt(ann.dev),
    }
    ticket = table.ask(actions[how])
    assert [call.dev for call in of(OpenRoomLink, table.said)] == [ann.dev]
    assert not table.answers(ticket)
    let_us_in(table, ann)
    assert table.answer(ticket).facts["people"] == 2
    assert EventKind.JOINED in kinds(table.said)


def test_joining_the_room_one_is_in_answers_at_once(table: Table, ann: Person):
    table.ask(messages.Join("tea"))
    let_us_in(table, ann)
    link = str(table.rooms.facts()["link"])
    for text in ("tea", link):
        assert table.answer(table.ask(messages.Join(text))).facts["title"] == "Tea"


def test_a_host_that_does_not_answer_fails_the_join_with_its_reason(table: Table, ann: Person):
    ticket = table.ask(messages.Join("tea"))
    table.tell(ann.dev, messages.RoomLinkDown(table.here.room, "no route there"))
    error = table.answer(ticket).error
    assert isinstance(error, JoinFailed)
    assert "no route there" in str(error)
    assert table.rooms.membership is None
    assert EventKind.LEFT not in kinds(table.said), "one who was not let in cannot leave"


def test_a_join_that_nobody_answers_ends_by_itself(table: Table):
    ticket = table.ask(messages.Join("tea"))
    table.wait(12.1)
    assert isinstance(table.answer(ticket).error, JoinFailed)
    assert table.rooms.membership is None


@pytest.mark.parametrize("reason", [ByeReason.FULL, ByeReason.NOT_HERE, ByeReason.LOCAL_ONLY])
def test_a_bye_instead_of_a_greeting_fails_the_join_in_its_words(
    table: Table, ann: Person, reason: ByeReason
):
    ticket = table.ask(messages.Join("tea"))
    table.up(ann, outbound=True)
    table.frame(ann, frames.bye(reason))
    assert frames.BYE_TEXTS[reason] in str(table.answer(ticket).error)


def test_leaving_while_on_the_way_in_answers_both_verbs(table: Table):
    joining = table.ask(messages.Join("tea"))
    leaving = table.ask(messages.Leave())
    assert isinstance(table.answer(joining).error, JoinFailed)
    assert table.answer(leaving).error is None
    assert table.rooms.membership is None
    assert not of(OpenRoomLink, table.wait(60))


def test_media_that_dies_while_on_the_way_in_delays_nothing(table: Table, ann: Person):
    ticket = table.ask(messages.Join("tea"))
    table.key_voice()
    table.tell(table.me.dev, messages.MediaGone())
    let_us_in(table, ann)
    assert table.answer(ticket).error is None
    assert EventKind.VOICE_READY in kinds(table.key_voice())


def test_nobody_is_in_two_rooms(table: Table, ann: Person):
    bob = table.person("bob")
    list_room(table, bob)
    table.open()
    link = invitation.write(invitation.Invitation(RoomId(b"\7" * 32), bob.dev, (ADDR,)))
    for action in (messages.Open("Other"), messages.JoinAt(bob.dev), messages.Join(link)):
        error = table.answer(table.ask(action)).error
        assert isinstance(error, AlreadyInARoom)
        assert '"Tea"' in str(error)


def test_what_cannot_be_found_or_read_is_said_at_once(table: Table):
    bob = table.person("bob")
    assert isinstance(table.answer(table.ask(messages.Join("coffee"))).error, NoSuchRoom)
    assert isinstance(table.answer(table.ask(messages.JoinAt(bob.dev))).error, NobodyThere)
    assert isinstance(table.answer(table.ask(messages.Join("p2ph:rubbish"))).error, UserError)
    assert isinstance(table.answer(table.ask(messages.Open("  "))).error, UserError)
    assert table.rooms.membership is None


def test_a_listed_room_of_an_unknown_kind_is_not_entered():
    table = Table()
    bob = table.person("bob")
    list_room(table, bob, exposure="relay")
    assert isinstance(table.answer(table.ask(messages.Join("tea"))).error, UnknownKind)


def test_ones_own_link_leads_nowhere_when_one_has_left():
    table = Table()
    table.open()
    link = str(table.rooms.facts()["link"])
    table.ask(messages.Leave())
    assert isinstance(table.answer(table.ask(messages.Join(link))).error, OwnLink)


def test_ones_own_room_that_others_still_list_is_entered_again():
    """Its node was killed and has forgotten it; a neighbour told it its own card."""
    table = Table()
    table.open()
    (card,) = of(PublishCard, table.said)
    table.restart()
    table.said.clear()
    table.tell(table.person().dev, messages.CardHeard(card.data))
    ticket = table.ask(messages.Join("tea"))
    assert table.answer(ticket).facts["people"] == 1
    assert len(of(PublishCard, table.said)) == 1


# ── ghosts ───────────────────────────────────────────────────────────────────────────────────


def joins_in_vain(table: Table) -> RoomId:
    ticket = table.ask(messages.Join("tea"))
    room = table.here.room
    table.wait(12.1)
    assert isinstance(table.answer(ticket).error, NobodyAnswered)
    return room


def test_a_room_in_which_nobody_answers_is_a_ghost_until_its_card_is_refreshed(
    table: Table, ann: Person
):
    room = joins_in_vain(table)
    assert table.rooms.ghosts == {room}
    assert EventKind.ROOM_GHOST in kinds(table.said)
    (listed,) = table.rooms.directory.live(table.now)
    table.tell(ann.dev, messages.CardHeard(listed.card.data))  # by somebody who holds it still
    assert table.rooms.ghosts == {room}
    newer = make_card(
        ann.me,
        listed.genesis,
        seq=2,
        speakers=1,
        listeners=0,
        addrs=(),
        ttl_s=600,
        now=table.now,
    )
    table.tell(ann.dev, messages.CardHeard(newer.data))
    assert not table.rooms.ghosts


def test_a_ghost_that_answers_after_all_is_none(table: Table, ann: Person):
    joins_in_vain(table)
    ticket = table.ask(messages.Join("tea"))
    let_us_in(table, ann)
    assert table.answer(ticket).error is None
    assert not table.rooms.ghosts
    assert kinds(table.said).count(EventKind.ROOM_GHOST) == 2, "it was one, and is none"


@pytest.mark.parametrize(
    ("reason", "is_ghost"),
    [(ByeReason.NOT_HERE, True), (ByeReason.FULL, False), (ByeReason.LOCKED, False)],
)
def test_who_answers_that_it_left_leaves_a_ghost_and_who_refuses_does_not(
    table: Table, ann: Person, reason: ByeReason, is_ghost: bool
):
    table.ask(messages.Join("tea"))
    table.up(ann, outbound=True)
    table.frame(ann, frames.bye(reason))
    assert bool(table.rooms.ghosts) is is_ghost


def test_a_ghost_stays_one_when_the_person_gives_up_the_next_try(table: Table):
    room = joins_in_vain(table)
    table.ask(messages.Join("tea"))
    table.ask(messages.Leave())
    assert table.rooms.ghosts == {room}


def test_a_ghost_leaves_the_list_with_its_card(table: Table):
    joins_in_vain(table)
    table.wait(700)
    assert not table.rooms.directory.live(table.now)
    assert not table.rooms.ghosts


# ── going ────────────────────────────────────────────────────────────────────────────────────


def test_a_host_who_leaves_takes_the_room_off_the_list_and_a_guest_does_not(
    table: Table, ann: Person
):
    table.ask(messages.Join("tea"))
    let_us_in(table, ann)
    ticket = table.ask(messages.Leave())
    assert table.answer(ticket).error is None
    assert not of(PublishCard, table.said)
    table.open()
    table.ask(messages.Leave())
    assert len(of(PublishCard, table.said)) == 2
    assert EventKind.ROOM_GONE in kinds(table.said)
    assert [card.publisher for card in table.rooms.directory.live(table.now)] == [ann.dev]


def test_the_rest_goes_on_when_the_host_leaves(table: Table, ann: Person):
    table.ask(messages.Join("tea"))
    let_us_in(table, ann)
    bob = table.person("bob")
    table.up(bob)
    table.frame(bob, bob.greeting(table.here.room, None))
    table.frame(ann, frames.bye(ByeReason.LEAVING))
    assert set(table.here.members) == {bob.dev}
    assert str(table.rooms.facts()["link"]).startswith("p2ph:")
    table.wait(1_000)
    assert not of(PublishCard, table.said), "only who made the room may list it"


def test_after_twelve_hours_the_room_ends(table: Table):
    table.open()  # it is ours, so it does not end for want of somebody who runs it
    said = table.ask(messages.Say("tone"))
    table.unix += limits.ROOM_LIFE_S_MAX - 100
    table.wait(90)
    assert table.rooms.membership is not None
    table.wait(11)
    assert table.rooms.membership is None
    assert kinds(table.said).count(EventKind.LEFT) == 1
    assert table.answer(said).error is not None


def test_a_sleep_far_past_the_end_of_ones_own_room_ends_it_too():
    table = Table()
    table.open()
    table.unix += 3 * 86_400
    table.wait(300)
    assert table.rooms.membership is None
    assert not table.rooms.directory.live(table.now)


# ── coming back ──────────────────────────────────────────────────────────────────────────────


def state_of(table: Table) -> list[object]:
    remembered = of(Remember, table.said)[-1].state
    assert remembered is not None
    return list(remembered)


def test_a_killed_process_comes_back_into_its_room_muted_and_looks_for_the_others(
    table: Table, ann: Person
):
    table.ask(messages.Join("tea"))
    let_us_in(table, ann)
    table.ask(messages.SetMuted(muted=False))
    state, room, sid = state_of(table), table.here.room, table.here.voice.sid
    table.restart()
    table.said.clear()
    table.tell(table.me.dev, messages.Resume(state))  # type: ignore[arg-type]  # as it was kept
    assert table.here.room == room
    assert table.here.muted
    assert table.here.voice.sid != sid
    assert [call.dev for call in of(OpenRoomLink, table.wait(0.2))] == [ann.dev]
    assert state_of(table) == state, "killed again at once, it still knows whom to look for"


@pytest.mark.parametrize("state", [[], [5], [b"rubbish", []], [b"", [], 1]])
def test_a_damaged_memory_leads_nowhere(state: list[object]):
    table = Table()
    table.tell(table.me.dev, messages.Resume(state))  # type: ignore[arg-type]  # as a file may be
    assert table.rooms.membership is None


def test_a_memory_with_damaged_members_leads_into_the_room_all_the_same(table: Table, ann: Person):
    table.ask(messages.Join("tea"))
    let_us_in(table, ann)
    state = state_of(table)
    state[1] = [[b"short", []], 5, [bytes(32)], [ann.dev, [ADDR, 7]]]
    table.restart()
    table.tell(table.me.dev, messages.Resume(state))  # type: ignore[arg-type]  # as a file may be
    assert [call.addrs for call in of(OpenRoomLink, table.wait(0.2))] == [(ADDR,)]


def test_a_room_that_is_over_is_not_come_back_to(table: Table, ann: Person):
    table.ask(messages.Join("tea"))
    let_us_in(table, ann)
    state = state_of(table)
    table.restart()
    table.unix += limits.ROOM_LIFE_S_MAX + 300
    outputs = table.tell(table.me.dev, messages.Resume(state))  # type: ignore[arg-type]
    assert outputs == [Remember(None)]


# ── cards ────────────────────────────────────────────────────────────────────────────────────


def test_a_card_of_our_room_from_a_host_who_is_not_with_us_has_us_call_it(
    table: Table, ann: Person
):
    """Two halves of a room that lost each other for longer than anybody is looked for."""
    table.ask(messages.Join("tea"))
    let_us_in(table, ann)
    table.frame(ann, frames.bye(ByeReason.LEAVING))
    table.down(ann)
    table.said.clear()
    list_room(table, ann, seq=2)
    assert [call.dev for call in of(OpenRoomLink, table.said)] == [ann.dev]


def test_a_card_that_comes_before_the_end_of_its_hosts_link_has_us_call_it_afterwards(
    table: Table, ann: Person
):
    table.ask(messages.Join("tea"))
    let_us_in(table, ann)
    table.frame(ann, frames.bye(ByeReason.LEAVING))
    list_room(table, ann, seq=2)
    table.down(ann)
    assert [call.dev for call in of(OpenRoomLink, table.wait(2))] == [ann.dev]


@pytest.mark.parametrize("ahead_s", [-3_600, 3_600, 86_400 * 365])
def test_a_card_from_another_time_is_passed_over_and_nobody_blamed(ann: Person, ahead_s: float):
    table = Table()
    genesis = make_genesis(ann.me, title="Tea", access=Access.OPEN, now=table.now, entropy=bytes)
    card = make_card(
        ann.me, genesis, seq=1, speakers=1, listeners=0, addrs=(), ttl_s=600, now=table.now
    )
    table.unix += ahead_s  # by our clock
    assert not table.tell(ann.dev, messages.CardHeard(card.data))
    assert not table.rooms.directory.live(table.now)


def test_a_card_that_is_none_is_passed_over_and_nobody_blamed(table: Table, ann: Person):
    assert not table.tell(ann.dev, messages.CardHeard(b"rubbish"))


def test_nothing_is_due_in_an_idle_node():
    assert Table().rooms.deadline == math.inf


def test_who_left_has_nothing_due_but_the_end_of_its_tombstone():
    table = Table()
    table.open()
    table.ask(messages.Leave())
    table.wait(2_000)
    assert table.rooms.deadline == math.inf
    assert isinstance(table.answer(table.ask(messages.Leave())).error, NotInARoom)


# ── the last place ───────────────────────────────────────────────────────────────────────────


def come_in(table: Table, host: Person, known: list[Person]) -> None:
    """Ann lets us in and names the others; each of them finds the room full."""
    table.ask(messages.Join("tea"))
    table.up(host, outbound=True)
    names = [person.dev for person in known]
    table.frame(host, host.greeting(table.here.room, host.genesis, members=names))


def turn_us_away(table: Table, person: Person) -> None:
    table.up(person, outbound=True)
    table.frame(person, frames.bye(ByeReason.FULL))


def test_a_newcomer_for_whom_most_have_no_place_leaves(table: Table, ann: Person):
    people = [table.person(f"p{number}") for number in range(3)]
    come_in(table, ann, people)
    for person in people:
        turn_us_away(table, person)
    table.wait(5)
    assert table.rooms.membership is None
    (left,) = [event for event in of(Event, table.said) if event.kind is EventKind.LEFT]
    assert "full" in left.text


def test_a_newcomer_for_whom_most_have_a_place_stays_and_asks_the_others_again(
    table: Table, ann: Person
):
    bob, carl = table.person("bob"), table.person("carl")
    come_in(table, ann, [bob, carl])
    table.up(carl, outbound=True)
    members = [ann.dev, bob.dev]
    table.frame(carl, carl.greeting(table.here.room, ann.genesis, members=members))
    turn_us_away(table, bob)
    assert bob.dev in [call.dev for call in of(OpenRoomLink, table.wait(25))]
    assert set(table.here.members) == {ann.dev, carl.dev}


def test_friends_of_one_liar_turn_nobody_away(table: Table, ann: Person):
    bob, eve = table.person("bob"), table.person("eve")
    friends = [table.person(f"p{number}") for number in range(6)]
    come_in(table, ann, [bob, eve])
    for person, knows in ((bob, [ann, eve]), (eve, [ann, bob, *friends])):
        table.up(person, outbound=True)
        members = [other.dev for other in knows]
        table.frame(person, person.greeting(table.here.room, ann.genesis, members=members))
    for friend in friends:
        turn_us_away(table, friend)
    table.wait(5)
    assert set(table.here.members) == {ann.dev, bob.dev, eve.dev}


def test_who_has_been_inside_for_a_while_is_not_turned_away_by_anybody(table: Table, ann: Person):
    bob = table.person("bob")
    come_in(table, ann, [])
    table.wait(30)
    table.frame(ann, ann.greeting(table.here.room, ann.genesis, members=[bob.dev]))
    turn_us_away(table, bob)
    table.wait(10)
    assert set(table.here.members) == {ann.dev}


def test_half_of_those_who_let_us_in_are_enough_to_know_who_turns_us_away(
    table: Table, ann: Person
):
    carl, bob, dave = (table.person(name) for name in ("carl", "bob", "dave"))
    come_in(table, ann, [bob, carl, dave])
    table.up(carl, outbound=True)
    table.frame(carl, carl.greeting(table.here.room, ann.genesis, members=[ann.dev]))
    for person in (bob, dave):
        turn_us_away(table, person)
    table.wait(5)
    assert table.rooms.membership is None
