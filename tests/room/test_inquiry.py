"""Listeners who have said nothing: who runs the room names them, and hub and standby know them."""

from typing import Any

import pytest

from p2phouse.errors import PeerError
from p2phouse.identity.keys import key_tag, peer_id
from p2phouse.record.cbor import Value
from p2phouse.record.types import Act
from p2phouse.room import messages, news
from p2phouse.room.authority import NobodyCalled
from p2phouse.room.frames import FrameKind
from p2phouse.room.messages import Decide, Invite, Listeners, SendRoomFrame
from tests.room.company.people import fill
from tests.room.table import Person, Table, of
from tests.room.test_news import carry, names, present, tell


@pytest.fixture
def table() -> Table:
    table = Table()
    table.open()
    return table


@pytest.fixture
def carriers(table: Table) -> list[Person]:
    """Hub and standby of a room of twenty that is ours."""
    people = [table.person("hub"), table.person("standby")]
    for person in people:
        table.let_in(person)
    carry(table, *people)
    for person in people:
        tell(table, person)
    return people


def seeks(table: Table) -> list[SendRoomFrame]:
    return [each for each in of(SendRoomFrame, table.said) if each.frame[0] == FrameKind.SEEK]


def find(table: Table, carrier: Person, *people: Person, n: Value = None) -> list[messages.Output]:
    """The carrier answers the last question."""
    number = seeks(table)[-1].frame[1] if n is None else n
    found: list[Value] = [present(table, person) for person in people]
    return table.frame(carrier, [int(FrameKind.FOUND), number, found])


def decided(table: Table) -> list[tuple[Act, bytes | None]]:
    return [(each.record.act, each.record.sub) for each in table.here.log]


# ── who asks ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "action", [Invite("Ann"), Decide(Act.ROLE, "ann", "ban"), Decide(Act.GRANT, "ann", "moderator")]
)
def test_what_is_decided_about_a_silent_listener_waits_until_the_carriers_found_her(
    table: Table, carriers: list[Person], action: messages.VerbAction
):
    ann = table.person("ann")
    ticket = table.ask(action)
    assert {each.dev for each in seeks(table)} == {each.dev for each in carriers}
    assert not table.answers(ticket)
    find(table, carriers[0], ann)
    assert not table.answers(ticket), "the standby may know somebody else of that name"
    find(table, carriers[1], ann)
    assert table.answer(ticket).error is None
    assert ann.me.uid in [sub for _, sub in decided(table)]


def test_a_carrier_that_does_not_answer_holds_nothing_up(table: Table, carriers: list[Person]):
    ann = table.person("ann")
    ticket = table.ask(Invite("ann"))
    find(table, carriers[1], ann)
    table.wait(1.9)
    assert not table.answers(ticket)
    table.wait(0.2)
    assert table.answer(ticket).error is None


def test_a_carrier_whose_link_ends_is_waited_for_no_more(table: Table, carriers: list[Person]):
    ticket = table.ask(Invite("ann"))
    find(table, carriers[1], table.person("ann"))
    table.down(carriers[0])
    assert table.answer(ticket).error is None


def test_who_is_nowhere_is_said_to_be_nowhere(table: Table, carriers: list[Person]):
    ticket = table.ask(Invite("ann"))
    for carrier in carriers:
        find(table, carrier)
    assert isinstance(table.answer(ticket).error, NobodyCalled)


def test_two_of_one_name_are_told_apart_by_their_tags(table: Table, carriers: list[Person]):
    anns = [table.person("ann"), table.person("Ann")]
    ticket = table.ask(Invite("ann"))
    for carrier, ann in zip(carriers, anns, strict=True):
        find(table, carrier, ann)
    text = str(table.answer(ticket).error)
    assert all(key_tag(ann.me.uid) in text for ann in anns)
    assert table.answer(table.ask(Invite(key_tag(anns[1].me.uid)))).error is None


def test_who_begins_with_the_name_is_not_taken_for_who_has_it(table: Table, carriers: list[Person]):
    ticket = table.ask(Decide(Act.ROLE, "ann", "ban"))
    for carrier in carriers:
        find(table, carrier, table.person("annabel"))
    assert isinstance(table.answer(ticket).error, NobodyCalled)


def test_the_audience_is_listed_by_who_runs_the_room(table: Table, carriers: list[Person]):
    ann, bob = table.person("ann"), table.person("bob")
    ticket = table.ask(Listeners())
    find(table, carriers[0], ann)
    find(table, carriers[1], bob, ann)
    facts: dict[str, Any] = table.answer(ticket).facts
    assert {each["name"] for each in facts["listeners"]} == {"ann", "bob"}
    assert {each["peer_id"] for each in facts["listeners"]} == {peer_id(ann.dev), peer_id(bob.dev)}
    assert facts["people"] == 20


def test_who_was_found_and_is_gone_is_there_no_more(table: Table, carriers: list[Person]):
    ann = table.person("ann")
    table.ask(Listeners())
    for carrier in carriers:
        find(table, carrier, ann)
    prefix = table.here.members[ann.dev].join.id[: news.PREFIX_BYTES]
    for carrier in carriers:
        assert "ann" in names(table)
        tell(table, carrier, gone=[prefix])
    assert "ann" not in names(table)


def test_who_was_not_asked_brings_nobody_in(table: Table, carriers: list[Person]):
    eve, ann = table.person("eve"), table.person("ann")
    table.let_in(eve)
    table.frame(carriers[0], [int(FrameKind.FOUND), 1, [present(table, ann)]])
    ticket = table.ask(Invite("ann"))
    find(table, eve, ann)
    find(table, carriers[0], ann, n=2)
    assert "ann" not in names(table)
    find(table, carriers[0])
    find(table, carriers[0], ann)  # an answer is given once
    assert "ann" not in names(table)
    assert not table.answers(ticket)


def test_who_carries_the_room_no_more_brings_nobody_in(table: Table, carriers: list[Person]):
    eve, ann = table.person("eve"), table.person("ann")
    table.let_in(eve)
    ticket = table.ask(Invite("ann"))
    carry(table, carriers[0], eve)
    find(table, carriers[1], ann)
    assert "ann" not in names(table)
    find(table, carriers[0])
    assert not table.answers(ticket)
    table.wait(2.1)
    assert isinstance(table.answer(ticket).error, NobodyCalled)


def test_of_more_than_sixteen_questions_at_once_the_rest_are_answered_from_what_is_known(
    table: Table, carriers: list[Person]
):
    tickets = [table.ask(Invite(f"ann{number}")) for number in range(17)]
    assert [bool(table.answers(ticket)) for ticket in tickets] == [False] * 16 + [True]


def test_where_everybody_is_linked_nobody_is_asked(table: Table):
    table.let_in(table.person("bob"))
    assert isinstance(table.answer(table.ask(Invite("ann"))).error, NobodyCalled)
    facts: dict[str, Any] = table.answer(table.ask(Listeners("BO"))).facts
    assert [each["name"] for each in facts["listeners"]] == ["bob"]
    assert not seeks(table)


def test_who_leaves_meanwhile_is_answered(table: Table, carriers: list[Person]):
    ticket = table.ask(Invite("ann"))
    table.ask(messages.Leave())
    assert table.answer(ticket).error is not None


# ── who answers ──────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def crowd(table: Table) -> list[Person]:
    """We carry a room of twelve in which the second runs it beside us, and ten listen."""
    table.here.can_grow = True
    moderator, *audience = fill(table, 11)
    table.ask(Decide(Act.GRANT, "p0", "moderator"))
    carry(table, None)
    table.wait(1.5)
    return [moderator, *audience]


def found(table: Table, outputs: list[messages.Output], to: Person) -> list[str] | None:
    """Names in the answer, or None if there is none."""
    frames = [
        each.frame
        for each in of(SendRoomFrame, outputs)
        if each.dev == to.dev and each.frame[0] == FrameKind.FOUND
    ]
    if not frames:
        return None
    ((_, number, items),) = frames
    assert number == 7
    told = [news.read_present(news.as_present(item), table.here.room) for item in items]  # type: ignore[union-attr]
    return [each.identity.record.name for each in told]


def seek(table: Table, person: Person, text: Value, n: Value = 7) -> list[messages.Output]:
    return table.frame(person, [int(FrameKind.SEEK), n, text])


def test_a_carrier_tells_who_runs_the_room_of_its_listeners(table: Table, crowd: list[Person]):
    moderator = crowd[0]
    assert found(table, seek(table, moderator, "P4"), moderator) == ["p4"]
    assert found(table, seek(table, moderator, "nobody"), moderator) == []
    tag = key_tag(crowd[6].me.uid)
    assert found(table, seek(table, moderator, tag), moderator) == ["p6"]
    assert found(table, seek(table, moderator, peer_id(crowd[7].dev)), moderator) == ["p7"]
    everybody = found(table, seek(table, moderator, ""), moderator)
    assert everybody is not None
    assert set(everybody) == {f"p{number}" for number in range(1, 11)}


def test_who_has_the_very_name_comes_before_those_who_begin_so(table: Table, crowd: list[Person]):
    told = found(table, seek(table, crowd[0], "p1"), crowd[0])
    assert told is not None
    assert (told[0], set(told)) == ("p1", {"p1", "p10"})


def test_who_does_not_run_the_room_is_told_of_nobody(table: Table, crowd: list[Person]):
    speaker = crowd[1]
    table.frame(speaker, speaker.voice_frame(table.here.room))
    for person in (speaker, crowd[5]):
        assert found(table, seek(table, person, ""), person) is None


def test_a_carrier_is_not_asked_without_end(table: Table, crowd: list[Person]):
    answers = [found(table, seek(table, crowd[0], "p4"), crowd[0]) for _ in range(40)]
    assert answers.count(["p4"]) == 16


def test_who_does_not_carry_the_room_answers_nobody(table: Table):
    moderator = fill(table, 7)[0]
    table.ask(Decide(Act.GRANT, "p0", "moderator"))
    assert found(table, seek(table, moderator, ""), moderator) is None


@pytest.mark.parametrize(
    "fields", [[], [7], [7, b"ann"], [-1, "ann"], [True, "ann"], [2**32, "a"], [7, "x" * 257]]
)
def test_questions_of_another_shape_are_refused(
    table: Table, crowd: list[Person], fields: list[Value]
):
    with pytest.raises(PeerError):
        table.frame(crowd[0], [int(FrameKind.SEEK), *fields])


@pytest.mark.parametrize(
    "fields", [[], [7], [7, None], [True, []], [7, [[b"join"]]], [7, [[b"", b"", []]] * 65]]
)
def test_answers_of_another_shape_are_refused(
    table: Table, carriers: list[Person], fields: list[Value]
):
    with pytest.raises(PeerError):
        table.frame(carriers[0], [int(FrameKind.FOUND), *fields])
