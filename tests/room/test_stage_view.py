"""The stage as it is told: its guests, what one may do there, and whose turn it is."""

from p2phouse.record import limits
from p2phouse.record.types import Act, SoftKind
from p2phouse.room import messages, stage_view
from p2phouse.room.messages import EventKind
from tests.room.hosted import Hosted, add
from tests.room.table import UNIX, Table, kinds
from tests.room.test_soft import facts, say, texts


def guests(table: Table) -> list[dict[str, object]]:
    told = table.rooms.facts()["guests"]
    assert isinstance(told, list)
    return told


def test_only_a_relay_of_the_room_is_believed_how_many_guests_listen():
    """Security: nor is anybody in a sealed room, where there are none."""
    hosted = Hosted()
    table = hosted.table
    ben = table.person("ben")
    table.let_in(ben)
    assert EventKind.GUESTS_CHANGED not in kinds(say(table, ben, SoftKind.GUESTS, 12))
    assert guests(table) == []
    hosted.decide(Act.ROLE, ben.me.uid, "relay")
    outputs = say(table, ben, SoftKind.GUESTS, 13)
    assert texts(outputs, EventKind.GUESTS_CHANGED) == ["13"]
    (via,) = guests(table)
    assert (via["name"], via["count"]) == ("ben", 13)
    for nonsense in (True, "13", None):
        assert say(table, ben, SoftKind.GUESTS, nonsense) == []
    say(table, ben, SoftKind.GUESTS, 2**40)
    (via,) = guests(table)
    assert via["count"] == limits.GUESTS_TOLD_MAX
    say(table, ben, SoftKind.GUESTS, 0)
    assert guests(table) == []


def test_the_lists_of_what_one_may_do_follow_the_log():
    hosted = Hosted()
    bob = add(hosted, None)
    may = hosted.table.rooms.facts()["may"]
    assert {"hand", "react", "typing"} <= set(may)  # type: ignore[call-overload]
    running = {"title", "mute_all", "lower_hand", "accept", "step_down", "invite_link", "access"}
    assert not running & set(may)  # type: ignore[call-overload]
    assert facts(hosted.table, bob)["may"] == []
    hosted.invite()
    assert {"accept", "decline"} <= set(hosted.table.rooms.facts()["may"])  # type: ignore[call-overload]
    hosted.do(messages.Accept())
    assert {"step_down", "unmute"} <= set(hosted.table.rooms.facts()["may"])  # type: ignore[call-overload]
    hosted.decide(Act.GRANT, hosted.uid, "moderator")
    may = hosted.table.rooms.facts()["may"]
    assert {"title", "lock", "unlock", "mute_all", "unmute_all", "invite_link", "lobby"} <= set(may)  # type: ignore[call-overload]
    assert not {"end", "access"} & set(may)  # type: ignore[call-overload]
    say(hosted.table, bob, SoftKind.HAND, "")
    assert facts(hosted.table, bob)["may"] == ["ban", "invite", "lower_hand", "remove"]
    assert facts(hosted.table, hosted.host)["may"] == []
    hosted.decide(Act.ROLE, bob.me.uid, "speaker")
    assert {"audience", "mute"} <= set(facts(hosted.table, bob)["may"])  # type: ignore[call-overload]
    hosted.decide(Act.ROLE, bob.me.uid, "muted")
    assert "unmute" in facts(hosted.table, bob)["may"]  # type: ignore[operator]


def test_the_queue_is_the_same_for_whoever_asks():
    hosted = Hosted()
    bob = add(hosted, None)
    hosted.table.wait(1)
    hosted.do(messages.Hand())
    say(hosted.table, bob, SoftKind.HAND, "", ts=int(UNIX))
    assert stage_view.queue(hosted.table.here, hosted.table.me.dev) == {
        bob.dev: 1,
        hosted.table.me.dev: 2,
    }
