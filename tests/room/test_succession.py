"""Who is there to run a room, when it closes, and who may lead its people on."""

from dataclasses import replace

import pytest

from p2phouse.errors import PeerError
from p2phouse.hall.card import make_card, make_genesis
from p2phouse.identity.keys import key_tag
from p2phouse.record import envelope, limits
from p2phouse.record.cbor import Value
from p2phouse.record.envelope import Signed
from p2phouse.record.types import Access, Act, Genesis
from p2phouse.room import frames, messages
from p2phouse.room.attendance import MISSED_S, GoesOn, LeadsNobody, NotYours
from p2phouse.room.frames import ByeReason, FrameKind
from p2phouse.room.log import EntryLog
from p2phouse.room.messages import CloseRoomLink, Decide, Event, EventKind, SendRoomFrame
from p2phouse.room.rules import Level, Role
from p2phouse.room.succession import OFFERS_MAX, PUT_OUT_MAX, NoSuccessor
from p2phouse.vocabulary import RoomId, UserKey
from tests.room.table import ADDR, Person, Table, frame_kinds, kinds, of

OFFERED = EventKind.SUCCESSOR_OFFERED


@pytest.fixture
def ann() -> Person:
    return Table(seed=3).person("Ann")


@pytest.fixture
def table(ann: Person) -> Table:
    """A node that is in ann's room with bob."""
    table = Table()
    genesis = make_genesis(ann.me, title="Tea", access=Access.OPEN, now=table.now, entropy=bytes)
    ann.genesis = genesis
    link = {"dev": ann.dev, "room": RoomId(genesis.id)}
    table.tell(ann.dev, messages.CardHeard(_card(ann, genesis, table)))
    table.ask(messages.Join(link["room"].hex()))
    table.up(ann, outbound=True)
    table.frame(ann, ann.greeting(table.here.room, genesis))
    return table


@pytest.fixture
def bob(table: Table) -> Person:
    bob = table.person("Bob")
    table.let_in(bob)
    return bob


def _card(person: Person, genesis: Signed[Genesis], table: Table, *, ttl_s: int = 600) -> bytes:
    return make_card(
        person.me,
        genesis,
        seq=1,
        speakers=1,
        listeners=0,
        addrs=(ADDR,),
        ttl_s=ttl_s,
        now=table.now,
    ).data


def successor(
    table: Table,
    person: Person,
    *,
    nonce: int = 0,
    access: Access = Access.OPEN,
    continues: RoomId | None = None,
) -> Signed[Genesis]:
    return make_genesis(
        person.me,
        title="Tea",
        access=access,
        now=table.now,
        entropy=lambda size: nonce.to_bytes(size),
        continues=continues or table.here.room,
    )


def offer_frame(genesis: Signed[Genesis]) -> list[Value]:
    return [int(FrameKind.SUCCESSOR), genesis.data, [ADDR]]


def go(table: Table, person: Person) -> None:
    table.frame(person, frames.bye(ByeReason.LEAVING))


def abandon(table: Table, host: Person) -> None:
    """The host goes, and is missed."""
    go(table, host)
    table.wait(MISSED_S + 0.1)


def offered(table: Table) -> object:
    return table.rooms.facts()["successor"]


# ── who is there ─────────────────────────────────────────────────────────────────────────────


def test_half_a_minute_without_a_seat_is_told_and_ten_are_the_end(table: Table, ann: Person):
    table.wait(15)
    go(table, ann)
    table.wait(29)
    assert table.rooms.facts()["attended"] is True
    assert table.rooms.facts()["closes_in_s"] is None
    table.wait(1.5)
    facts = table.rooms.facts()
    assert facts["attended"] is False
    assert facts["closes_in_s"] in range(565, 571)
    table.wait(568)
    assert table.rooms.membership is not None
    table.wait(2)
    assert table.rooms.membership is None
    (left,) = [each for each in of(Event, table.said) if each.kind is EventKind.LEFT]
    assert left.text == "nobody who runs the room came back, so it closed after ten minutes"
    assert kinds(table.said).count(EventKind.UNATTENDED) == 1


def test_a_host_who_is_back_within_half_a_minute_was_never_missed(table: Table, ann: Person):
    go(table, ann)
    table.wait(20)
    table.up(ann)
    table.greet(ann, ts=table.unix)
    table.wait(20)
    assert table.rooms.facts()["attended"] is True
    assert not {EventKind.UNATTENDED, EventKind.ATTENDED} & set(kinds(table.said))


def test_the_ten_minutes_begin_anew_after_every_return(table: Table, ann: Person):
    go(table, ann)
    table.wait(500)
    table.up(ann)
    table.greet(ann, ts=table.unix)
    assert kinds(table.said).count(EventKind.ATTENDED) == 1
    assert table.rooms.facts()["closes_in_s"] is None
    go(table, ann)
    table.wait(599)
    assert table.rooms.membership is not None


def test_one_s_own_seat_is_a_seat():
    own = Table(seed=4)
    own.open()
    own.wait(1_000)
    assert own.rooms.membership is not None
    assert own.rooms.facts()["attended"] is True


# ── the end of a life ────────────────────────────────────────────────────────────────────────


def test_ten_minutes_before_its_end_a_room_says_so_and_who_runs_it_may_go_on():
    own = Table(seed=4)
    room = own.open()
    own.unix += limits.ROOM_LIFE_S_MAX - 620
    own.wait(10)
    assert own.rooms.facts()["closes_in_s"] is None
    assert isinstance(own.answer(own.ask(messages.Continue())).error, GoesOn)
    own.said.clear()
    own.wait(12)
    assert EventKind.ROOM_CHANGED in kinds(own.said)
    assert own.rooms.facts()["closes_in_s"] in range(595, 601)
    guest = own.person("guest")
    own.let_in(guest)
    own.said.clear()
    answer = own.answer(own.ask(messages.Continue()))
    assert answer.error is None
    assert own.here.genesis is not None
    assert own.here.genesis.record.continues == room
    assert own.rooms.facts()["closes_in_s"] is None


def test_near_the_end_guests_are_sent_to_those_who_run_the_room(table: Table, ann: Person):
    table.unix += limits.ROOM_LIFE_S_MAX - 300
    table.wait(1)
    assert table.rooms.facts()["closes_in_s"] in range(290, 301)
    assert isinstance(table.answer(table.ask(messages.Continue())).error, NotYours)
    table.frame(ann, offer_frame(successor(table, ann)))
    assert offered(table) is not None


def test_near_the_end_a_guest_s_offer_counts_for_nothing_while_somebody_runs_the_room(
    table: Table, bob: Person
):
    table.unix += limits.ROOM_LIFE_S_MAX - 300
    table.wait(1)
    table.frame(bob, offer_frame(successor(table, bob)))
    assert offered(table) is None


# ── offers ───────────────────────────────────────────────────────────────────────────────────


def test_an_offer_is_told_with_its_opener_s_name(table: Table, ann: Person, bob: Person):
    abandon(table, ann)
    genesis = successor(table, bob)
    said = table.frame(bob, offer_frame(genesis))
    assert kinds(said) == [OFFERED]
    assert offered(table) == {"title": "Tea", "by": "Bob", "room": genesis.id.hex()}
    assert not kinds(table.frame(bob, offer_frame(genesis))), "it was said"


def test_in_a_room_that_somebody_runs_no_offer_counts(table: Table, bob: Person):
    assert not table.frame(bob, offer_frame(successor(table, bob)))
    assert offered(table) is None


def test_while_a_host_is_away_for_a_moment_nobody_leads_its_people_off(
    table: Table, ann: Person, bob: Person
):
    go(table, ann)
    table.wait(MISSED_S - 0.1)
    assert not table.frame(bob, offer_frame(successor(table, bob)))
    assert offered(table) is None
    table.wait(0.2)
    table.frame(bob, offer_frame(successor(table, bob)))
    assert offered(table) is not None


def test_a_card_of_somebody_who_was_put_out_is_no_offer():
    own = Table(seed=4)
    own.open()
    mod, eve = own.person("mod"), own.person("eve")
    for person in (mod, eve):
        own.let_in(person)
    own.ask(Decide(Act.ROLE, "eve", "remove"))
    own.unix += limits.ROOM_LIFE_S_MAX - 300
    own.wait(1)
    for person in (mod, eve):
        own.here.log.write(own.me, Act.GRANT, person.me.uid, "moderator")
        own.tell(mod.dev, messages.CardHeard(_card(person, successor(own, person), own)))
    assert [each.dev for each in own.here.successors.values()] == [mod.dev]
    own.ask(messages.Continue())
    assert mod.me.uid in own.here.continued
    assert eve.me.uid not in own.here.continued


def test_who_was_removed_and_came_back_to_listen_leads_nobody_away(table: Table, ann: Person):
    """Neither as another hears it nor by one's own hand, which would end in no room at all."""
    eve = table.person("Eve")
    table.let_in(eve)
    assert table.here.genesis is not None
    log = EntryLog(table.here.genesis)
    written = [*log.write(ann.me, Act.ROLE, eve.me.uid, "remove")]
    written += log.write(ann.me, Act.ROLE, table.me.uid, "remove")
    table.here.log.take([each.data for each in written], [ann.me.record.data])
    table.wait(1)
    table.down(ann)
    table.wait(45)
    assert table.here.unattended
    outputs = table.frame(eve, offer_frame(successor(table, eve)))
    assert OFFERED not in kinds(outputs)
    assert isinstance(table.answer(table.ask(messages.Continue())).error, LeadsNobody)
    assert table.rooms.facts()["title"] == "Tea"


def test_a_stranger_s_card_in_the_name_of_somebody_who_was_here_is_no_offer(
    table: Table, ann: Person, bob: Person
):
    """A genesis names a person; only that person's identity says whose devices are meant."""
    table.down(ann)
    table.wait(45)
    mallory = table.person("Mallory")
    for name in (ann, bob):
        record = replace(successor(table, mallory).record, uid=name.me.uid, idrec=name.me.record.id)
        forged = envelope.sign(record, mallory.me.device_key)
        outputs = table.tell(mallory.dev, messages.CardHeard(_card(mallory, forged, table)))
        assert OFFERED not in kinds(outputs)
    assert table.rooms.facts()["successor"] is None


def test_one_device_makes_one_offer_and_eight_are_kept(table: Table, ann: Person, bob: Person):
    abandon(table, ann)
    first = successor(table, bob, nonce=1)
    table.frame(bob, offer_frame(first))
    table.frame(bob, offer_frame(successor(table, bob, nonce=2)))
    assert set(table.here.successors) == {RoomId(first.id)}
    for number in range(OFFERS_MAX + 2):
        person = table.person(f"p{number}")
        table.let_in(person)
        table.frame(person, offer_frame(successor(table, person)))
        go(table, person)
    assert len(table.here.successors) == OFFERS_MAX == 8


def test_a_room_of_another_kind_continues_nothing(table: Table, ann: Person, bob: Person):
    abandon(table, ann)
    assert not table.frame(bob, offer_frame(successor(table, bob, access=Access.LAN)))
    assert offered(table) is None


def test_an_offer_in_another_s_name_or_of_another_room_ends_the_link(
    table: Table, ann: Person, bob: Person
):
    abandon(table, ann)
    of_ann = successor(table, ann)
    elsewhere = successor(table, bob, continues=RoomId(bytes(32)))
    plain = make_genesis(bob.me, title="Tea", access=Access.OPEN, now=table.now, entropy=bytes)
    wrong: list[list[Value]] = [
        offer_frame(of_ann),
        offer_frame(elsewhere),
        offer_frame(plain),
        [11, 5, [ADDR]],
        [11, of_ann.data],
        [11, successor(table, bob).data, [ADDR] * 5],
    ]
    for frame in wrong:
        with pytest.raises(PeerError):
            table.frame(bob, frame)
    assert offered(table) is None


def test_a_card_is_an_offer_if_its_opener_was_here(table: Table, ann: Person, bob: Person):
    eve = table.person("Eve")
    abandon(table, ann)
    go(table, bob)
    table.tell(bob.dev, messages.CardHeard(_card(eve, successor(table, eve), table)))
    assert offered(table) is None
    stone = _card(bob, successor(table, bob, nonce=3), table, ttl_s=0)
    table.tell(eve.dev, messages.CardHeard(stone))
    assert offered(table) is None
    genesis = successor(table, bob)
    said = table.tell(eve.dev, messages.CardHeard(_card(bob, genesis, table)))
    assert OFFERED in kinds(said)
    named = {"title": "Tea", "by": key_tag(bob.me.uid), "room": genesis.id.hex()}
    assert offered(table) == named


# ── going on ─────────────────────────────────────────────────────────────────────────────────


def test_who_continues_tells_all_says_goodbye_and_is_in_the_new_room(
    table: Table, ann: Person, bob: Person
):
    abandon(table, ann)
    table.wait(31)
    old = table.here.room
    table.said.clear()
    answer = table.answer(table.ask(messages.Continue()))
    told = [each for each in of(SendRoomFrame, table.said) if each.dev == bob.dev]
    assert [each.frame[0] for each in told] == [FrameKind.SUCCESSOR, FrameKind.BYE]
    assert told[1].frame == frames.bye(ByeReason.MOVED)
    genesis = envelope.read(bytes(told[0].frame[1]), Genesis)  # type: ignore[arg-type]  # as sent
    assert genesis.record.continues == old
    assert told[0].frame[2] == [ADDR]
    assert CloseRoomLink(bob.dev, old) in table.said
    assert table.here.room == RoomId(genesis.id)
    assert answer.facts["room"] == genesis.id.hex()
    assert answer.facts["level"] == "creator"
    assert {ann.me.uid, bob.me.uid} <= table.here.continued


def test_the_title_goes_on_as_far_as_it_fits():
    own = Table(seed=4)
    own.open()
    own.unix += limits.ROOM_LIFE_S_MAX - 300
    own.wait(1)
    own.ask(Decide(Act.TITLE, value="中" * 80))
    assert own.answer(own.ask(messages.Continue())).facts["title"] == "中" * 26


def test_who_moves_leaves_the_old_room_and_calls_the_opener(table: Table, ann: Person, bob: Person):
    assert isinstance(table.answer(table.ask(messages.Move())).error, NoSuccessor)
    abandon(table, ann)
    genesis = successor(table, bob)
    table.frame(bob, offer_frame(genesis))
    table.said.clear()
    ticket = table.ask(messages.Move())
    assert frame_kinds(table.said) == [FrameKind.BYE]
    (call,) = of(messages.OpenRoomLink, table.said)
    assert (call.dev, call.room, call.addrs) == (bob.dev, RoomId(genesis.id), (ADDR,))
    assert not table.answers(ticket)
    table.up(bob, outbound=True)
    table.frame(bob, bob.greeting(table.here.room, genesis))
    assert table.answer(ticket).facts["room"] == genesis.id.hex()
    assert table.here.muted


def test_who_moved_before_is_called_too_and_eight_of_them_at_most(
    table: Table, ann: Person, bob: Person
):
    abandon(table, ann)
    genesis = successor(table, bob)
    table.frame(bob, offer_frame(genesis))
    table.frame(bob, frames.bye(ByeReason.MOVED))
    movers = [table.person(f"p{number}") for number in range(OFFERS_MAX)]
    for person in movers:
        table.let_in(person)
        table.frame(person, frames.bye(ByeReason.MOVED))
    stays, leaves = table.person("stays"), table.person("leaves")
    table.let_in(stays)
    table.let_in(leaves)
    go(table, leaves)
    table.said.clear()
    table.ask(messages.Move())
    called = [call.dev for call in of(messages.OpenRoomLink, table.said)]
    assert called == [bob.dev, *(person.dev for person in movers)]


def test_128_who_were_put_out_stay_out_and_no_more():
    own = Table(seed=4)
    own.open()
    people = [UserKey(bytes([number]) * 32) for number in range(PUT_OUT_MAX + 1)]
    for uid in people:
        own.here.log.write(own.me, Act.ROLE, uid, "ban")
    own.unix += limits.ROOM_LIFE_S_MAX - 300
    own.wait(1)
    own.ask(messages.Continue())
    state = own.here.log.state
    assert [uid for uid in people if state.role_of(uid) is Role.BAN] == people[:PUT_OUT_MAX]
    assert PUT_OUT_MAX == 128


def test_of_several_the_lowest_id_is_moved_to(table: Table, ann: Person, bob: Person):
    abandon(table, ann)
    rooms = []
    for number in range(4):
        person = table.person(f"p{number}")
        table.let_in(person)
        genesis = successor(table, person)
        rooms.append(genesis.id)
        table.frame(person, offer_frame(genesis))
        go(table, person)
    assert offered(table) is not None
    table.ask(messages.Move())
    assert table.here.room == RoomId(min(rooms))


def test_who_went_to_one_is_offered_the_other_of_a_lower_id_alone(
    table: Table, ann: Person, bob: Person
):
    abandon(table, ann)
    old = table.here.room
    made = sorted((successor(table, bob, nonce=number) for number in range(3)), key=lambda g: g.id)
    table.frame(bob, offer_frame(made[1]))
    table.ask(messages.Move())
    table.up(bob, outbound=True)
    table.frame(bob, bob.greeting(table.here.room, made[1]))
    carl, eve = table.person("Carl"), table.person("Eve")
    for person, continues in ((ann, RoomId(bytes(32))), (eve, old)):
        for number in range(20):  # ids below ours and above
            genesis = successor(table, person, nonce=number, continues=continues)
            table.tell(carl.dev, messages.CardHeard(_card(person, genesis, table)))
    assert offered(table) is None, "another room's, or a stranger's"
    for genesis, is_offered in ((made[2], False), (made[0], True)):
        table.tell(carl.dev, messages.CardHeard(_card(bob, genesis, table)))
        assert (offered(table) is not None) is is_offered


def test_people_are_in_the_new_room_what_they_were_in_the_old_one():
    own = Table(seed=4)
    own.open()
    people = [own.person(name) for name in ("mod", "loud", "bad", "gone", "plain")]
    for person in people:
        own.let_in(person)
    for act, who, value in (
        (Act.ROLE, "", "listener"),
        (Act.GRANT, "mod", "moderator"),
        (Act.ROLE, "loud", "muted"),
        (Act.ROLE, "bad", "ban"),
        (Act.ROLE, "gone", "remove"),
    ):
        assert own.answer(own.ask(Decide(act, who, value))).error is None
    own.unix += limits.ROOM_LIFE_S_MAX - 300
    own.wait(1)
    assert own.answer(own.ask(messages.Continue())).error is None
    state = own.here.log.state
    assert state.level(own.me.uid) is Level.CREATOR
    assert state.level(people[0].me.uid) is Level.MODERATOR
    roles = {person.me.name: state.role_of(person.me.uid) for person in people}
    assert roles == {
        "mod": Role.SPEAKER,
        "loud": Role.MUTED,
        "bad": Role.BAN,
        "gone": Role.REMOVE,
        "plain": Role.LISTENER,
    }
    assert state.role_of(own.person("stranger").me.uid) is Role.LISTENER
