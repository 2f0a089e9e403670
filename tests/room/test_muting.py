"""Hands lowered and people muted, one or all: by who runs the room, and by nobody else."""

import pytest

from p2phouse.record.types import Act, SoftKind
from p2phouse.room import messages
from p2phouse.room.log import MayNot, NoSeat
from p2phouse.room.messages import Decide, EventKind
from tests.room.hosted import Hosted, add, rows
from tests.room.table import Table, kinds
from tests.room.test_soft import say, texts, told


def test_a_moderator_lowers_a_hand_and_all_hands():
    hosted = Hosted()
    hosted.do(messages.Hand("a"))
    name = hosted.uid.hex()[:16]
    assert kinds(say(hosted.table, hosted.host, SoftKind.LOWER_HANDS, "0" * 16)) == []
    assert kinds(say(hosted.table, hosted.host, SoftKind.LOWER_HANDS, name)) == [
        EventKind.HAND_LOWERED
    ]
    hosted.do(messages.Hand("a"))
    assert kinds(say(hosted.table, hosted.host, SoftKind.LOWER_HANDS, None)) == [
        EventKind.HAND_LOWERED
    ]


def test_nobody_else_lowers_a_hand_or_mutes_anybody():
    hosted = Hosted(invited=False)
    bob = add(hosted, 3)
    hosted.do(messages.Hand("a"))
    hosted.do(messages.SetMuted(muted=False))
    for kind in (SoftKind.LOWER_HANDS, SoftKind.PLEASE_MUTE):
        assert not say(hosted.table, bob, kind, None)
    hosted.decide(Act.GRANT, hosted.uid, "host")
    hosted.decide(Act.GRANT, bob.me.uid, "moderator")
    for kind in (SoftKind.LOWER_HANDS, SoftKind.PLEASE_MUTE):
        assert not say(hosted.table, bob, kind, None), "a moderator has no say over a host"
    assert not hosted.table.here.muted


def test_who_is_asked_to_mute_does_and_is_told_by_whom_and_may_unmute():
    hosted = Hosted(invited=False)
    hosted.do(messages.SetMuted(muted=False))
    outputs = say(hosted.table, hosted.host, SoftKind.PLEASE_MUTE, None)
    assert texts(outputs, EventKind.PLEASE_MUTE) == ["ann"]
    assert hosted.table.here.muted
    hosted.do(messages.SetMuted(muted=False))
    assert not hosted.table.here.muted


def test_only_who_runs_the_room_asks_others():
    hosted = Hosted(invited=False)
    actions: list[messages.VerbAction] = [
        messages.LowerHand("*"),
        messages.LowerHand("ann"),
        messages.MuteAll(),
        messages.MuteAll(lock=True),
        messages.UnmuteAll(),
    ]
    for action in actions:
        assert isinstance(hosted.refused(action), NoSeat)
    hosted.decide(Act.GRANT, hosted.uid, "moderator")
    assert isinstance(hosted.refused(messages.LowerHand("ann")), MayNot)
    assert (SoftKind.LOWER_HANDS, None) in told(hosted.do(messages.LowerHand("*")))


# ── everybody muted ──────────────────────────────────────────────────────────────────────────


@pytest.fixture
def run() -> Table:
    """A room of our own, with a moderator and two others who speak."""
    table = Table()
    table.open()
    for slot, name in enumerate(("mod", "bob", "cleo")):
        person = table.person(name)
        free = [n for n in range(16) if n != table.here.voice.speak.record.slot]  # type: ignore[union-attr]
        table.let_in(person, speaks=[person.speak(table.here.room, free[slot])])
        table.connect(person)
    table.ask(Decide(Act.GRANT, "mod", "moderator"))
    return table


def roles(table: Table) -> dict[str, str]:
    state = table.here.log.state
    found = {m.name: state.role_of(m.uid) for m in table.here.members.values()}
    return {name: role.value for name, role in found.items() if role}


def test_mute_all_with_a_lock_mutes_everybody_below_and_who_comes_later_until_it_is_lifted(run):
    run.ask(Decide(Act.ROLE, "bob", "speaker"))
    run.ask(messages.MuteAll(lock=True))
    assert roles(run) == {"mod": "muted", "bob": "muted", "cleo": "muted"}
    late = run.person("late")
    run.let_in(late)
    assert roles(run)["late"] == "muted"
    assert not rows(run)
    assert run.here.may_speak(run.me.uid)
    run.ask(messages.UnmuteAll())
    assert set(roles(run).values()) == {"speaker"}
    assert len(rows(run)) == 3


def test_mute_all_leaves_the_audience_where_it_is(run):
    run.ask(Decide(Act.ROLE, "bob", "listener"))
    run.ask(messages.MuteAll(lock=True))
    assert roles(run)["bob"] == "listener"
    run.ask(messages.UnmuteAll())
    assert roles(run)["bob"] == "listener"


def test_a_request_to_mute_writes_nothing_and_reaches_all(run):
    before = len(run.here.log)
    ticket = run.ask(messages.MuteAll())
    assert run.answer(ticket).facts == {}
    assert len(run.here.log) == before
    assert told(run.said[-8:]).count((SoftKind.PLEASE_MUTE, None)) == 3


def test_a_moderator_mutes_neither_hosts_nor_equals():
    hosted = Hosted(invited=False)
    bob, cleo = add(hosted, 3, "bob"), add(hosted, 4, "cleo")
    hosted.decide(Act.GRANT, hosted.uid, "moderator")
    hosted.decide(Act.GRANT, bob.me.uid, "moderator")
    hosted.do(messages.MuteAll(lock=True))
    state = hosted.table.here.log.state
    assert [state.may_speak(each.me.uid) for each in (bob, cleo)] == [True, False]
    assert state.may_speak(hosted.host.me.uid)
