"""The commands of the stage and its audience, typed at two real nodes: words, JSON, exit codes."""

import pytest

from tests.e2e.nodes import until
from tests.typed import said, told, two_nodes, typed

pytestmark = [pytest.mark.slow, pytest.mark.nightly]


@pytest.fixture(scope="module")
def nodes():
    with two_nodes() as made:
        yield made


@pytest.fixture(scope="module")
def room(nodes):
    """Ana's, where who comes listens, with Ben in it."""
    ana, ben = nodes
    made = told(ana, "open", "Tea", "--invited")[1]["room"]
    until(lambda: ben.sees(made), "seeing the room")
    assert said(ben, "join", made[:8]).startswith("You are in “Tea”, muted, with 1 other(s).")
    for node in nodes:
        until(lambda node=node: node.is_connected_to(1), "a link")
    return made


def ben_of(ana):
    (ben,) = ana.others().values()
    return ben


def test_a_hand_is_raised_seen_and_lowered(nodes, room):
    ana, ben = nodes
    assert said(ana, "hands") == "No hand is up.\n"
    assert said(ben, "hand", "the price of tea") == "Your hand is up.\n"
    until(lambda: ben_of(ana)["hand"] is not None, "the hand")
    assert said(ana, "hands").split() == ["1", "ben", "the", "price", "of", "tea"]
    assert "listening connected" in said(ana, "members").splitlines()[1]
    assert "hand up: the price of tea" in said(ana, "members").splitlines()[1]
    assert "  creator" in said(ana, "members").splitlines()[0]
    assert said(ben, "hand", "--down") == "Your hand is down.\n"
    until(lambda: ben_of(ana)["hand"] is None, "the hand's end")
    assert told(ben, "hand")[0] == 0
    until(lambda: ben_of(ana)["hand"] is not None, "the hand again")
    assert said(ana, "lower-hand", "ben") == "Asked to lower it.\n"
    until(lambda: ben.me()["hand"] is None, "ben's own hand")
    assert told(ana, "lower-hand", verb="lower_hand")[0] == 0


def test_a_person_is_asked_to_the_stage_comes_steps_down_and_is_moved(nodes, room):
    ana, ben = nodes
    code, refused = told(ben, "accept")
    assert (code, refused["yours"]) == (2, True)
    assert said(ana, "stage", "ben") == "ben may come to the stage.\n"
    until(lambda: ben.me()["invited"], "the invitation")
    assert said(ben, "decline") == "You stay in the audience.\n"
    assert said(ben, "accept").startswith("You are on stage, muted.")
    until(lambda: ben_of(ana)["on_stage"], "ben on stage")
    assert said(ben, "step-down") == "You are in the audience.\n"
    until(lambda: not ben_of(ana)["on_stage"], "ben stepping down")
    assert told(ben, "accept")[0] == 0
    until(lambda: ben_of(ana)["on_stage"], "ben back on stage")
    code, facts = told(ana, "audience", "ben")
    assert (code, len(facts["entries"])) == (0, 1)
    until(lambda: not ben.me()["on_stage"], "ben in the audience")
    assert typed(ben, "unmute").returncode == 2


def test_everybody_is_asked_to_mute_or_muted(nodes, room):
    ana, ben = nodes
    told(ana, "role", "ben", "speaker")
    until(lambda: ben.me()["invited"] or ben.me()["on_stage"], "ben may speak")
    told(ben, "accept")
    ben.asked("unmute")
    assert said(ana, "mute-all") == "Everybody is asked to mute.\n"
    until(lambda: ben.me()["muted"], "ben muting as asked")
    assert said(ana, "mute-all", "--lock") == "Everybody below you is muted.\n"
    until(lambda: ben.me()["role"] == "muted", "the lock")
    assert typed(ben, "unmute").returncode == 2
    assert said(ana, "unmute-all") == "They may unmute.\n"
    until(lambda: ben.me()["role"] == "speaker", "the lock's end")
    assert ben.me()["muted"], "nobody's microphone is opened by another"
    for words in (["mute-all", "--lock"], ["unmute-all"], ["mute-all"]):
        assert told(ana, *words)[0] == 0
    for words in (["mute-all"], ["unmute-all"], ["stage", "ana"], ["audience", "ana"]):
        code, facts = told(ben, *words, verb="none")
        assert (code, facts["yours"]) == (2, True), words


def test_a_reaction_is_shown(nodes, room):
    ana, ben = nodes
    assert said(ben, "react", "👏") == "👏\n"
    until(lambda: "reaction" in ana.log, "the reaction")
    code, facts = told(ben, "react", "a word that is too long")
    assert (code, facts["yours"]) == (2, True)


def test_outside_a_room_there_is_no_stage(nodes, room):
    ben = nodes[1]
    said(ben, "leave")
    for command in ("hand", "accept", "decline", "step-down", "mute-all", "unmute-all"):
        done = typed(ben, command)
        assert (done.returncode, done.stdout) == (2, "")
        assert "p2phouse join ROOM" in done.stderr
    assert said(ben, "hands") == "No hand is up.\n"
