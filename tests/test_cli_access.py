"""The commands of doors and lobbies, typed at two real nodes: words, JSON, exit codes."""

import json
import os
import subprocess
import sys
from contextlib import contextmanager

import pytest

from tests import promised
from tests.e2e.nodes import until
from tests.typed import said, told, two_nodes, typed

pytestmark = [pytest.mark.slow, pytest.mark.nightly]


@pytest.fixture(scope="module")
def nodes():
    with two_nodes() as made:
        yield made


@pytest.fixture(scope="module")
def room(nodes):
    """The link to Ana's, which is closed and on no list."""
    ana, _ = nodes
    shown = said(ana, "open", "Tea", "--access", "closed")
    assert "p2phouse lobby" in shown
    facts = told(ana, "status")[1]
    assert (facts["access"], facts["keys"]) == ("closed", "current")
    return facts["link"]


@contextmanager
def knocking(node, room):
    """A `join` that waits to be let in."""
    waiting = subprocess.Popen(
        [sys.executable, "-m", "p2phouse", "join", room, "--json", "--home", str(node.home)],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"P2PHOUSE_RUNTIME_DIR": str(node.runtime)},
    )
    with waiting:
        try:
            until(lambda: node.asked("status").get("waiting"), "waiting")
            yield waiting
        finally:
            waiting.kill()


def test_a_link_lets_in_without_waiting(nodes, room):
    ana, ben = nodes
    assert said(ana, "invite-link", "--hours", "2").startswith("p2phouse join 'p2ph:")
    code, facts = told(ana, "invite-link", "--once", verb="invite_link")
    assert (code, facts["once"]) == (0, True)
    assert said(ben, "join", facts["link"]).startswith("You are in “Tea”, muted, with 1 other(s).")
    assert ben.me()["role"] == "speaker"
    assert told(ben, "invite-link", verb="invite_link")[0] == 2
    assert told(ben, "access", "open")[0] == 2
    said(ben, "leave")


def test_a_room_is_opened_to_everybody_and_closed_again(nodes, room):
    ana, ben = nodes
    assert said(ana, "access", "open") == "The room is open now.\n"
    until(lambda: typed(ben, "join", room).returncode == 0, "ben coming in")
    code, facts = told(ana, "access", "closed")
    assert code == 0
    assert facts["entries"]
    until(lambda: ben.asked("status")["access"] == "closed", "ben seeing it")
    assert len(ana.others()) == 1, "who is in stays"
    code, facts = told(ana, "access", "king")
    assert (code, facts["yours"]) == (2, True)
    assert said(ana, "role", "ben", "ban") == "ben: ban.\n"
    until(lambda: ben.asked("status")["room"] is None, "ben being out")


def test_who_waits_is_let_in(nodes, room):
    ana, ben = nodes
    said(ana, "end")
    told(ana, "open", "Talk", "--access", "closed")
    with knocking(ben, ana.asked("status")["link"]) as waiting:
        until(lambda: "ben" in said(ana, "lobby"), "ana hearing the knock")
        assert said(ana, "admit", "ben") == "ben may come in.\n"
        out, _ = waiting.communicate(timeout=30)
        assert waiting.returncode == 0
        promised.check_result("join", json.loads(out))
    until(lambda: len(ana.others()) == 1, "ben being in")
    code, facts = told(ana, "admit", "zoe")
    assert (code, facts["yours"]) == (2, True)


def test_who_waits_is_listed_and_may_be_refused(nodes):
    ana, ben = nodes
    for node in nodes:
        said(node, "leave")
    room = told(ana, "open", "Quiet", "--access", "closed")[1]["link"]
    assert said(ana, "lobby") == "Nobody waits.\n"
    with knocking(ben, room) as waiting:
        until(lambda: "ben" in said(ana, "lobby"), "ana hearing the knock")
        code, facts = told(ana, "lobby")
        assert (code, [each["name"] for each in facts["people"]]) == (0, ["ben"])
        assert "waiting" in said(ben, "status")
        assert "wait" in said(ben, "members")
        assert typed(ben, "unmute").returncode == 2
        assert said(ana, "refuse", "ben") == "ben was turned away.\n"
        out, _ = waiting.communicate(timeout=30)
        assert waiting.returncode == 1
        assert "did not let you in" in json.loads(out)["error"]
    assert ben.asked("status")["room"] is None
    assert ana.others() == {}


def test_people_are_followed_and_unfollowed(nodes):
    ana, ben = nodes
    uid = ben.asked("id")["uid"]
    assert said(ana, "following") == "You follow nobody. p2phouse follow WHO\n"
    assert said(ana, "follow", uid, "--name", "Ben from work").startswith(
        "You follow Ben from work"
    )
    assert "Ben from work" in said(ana, "following")
    code, facts = told(ana, "following")
    assert (code, [each["uid"] for each in facts["people"]]) == (0, [uid])
    code, facts = told(ana, "follow", "nobody at all")
    assert (code, facts["yours"]) == (2, True)
    assert said(ana, "unfollow", "ben from work") == "You follow Ben from work no more.\n"
    assert told(ana, "unfollow", "ben from work")[0] == 2


def test_a_link_is_shown_as_a_code_for_a_camera(nodes):
    ana, _ = nodes
    for node in nodes:
        if node.asked("status")["room"] is not None:
            node.asked("leave")
    assert typed(ana, "link").returncode == 2
    told(ana, "open", "Codes", "--access", "closed")
    link = ana.asked("status")["link"]
    plain, drawn = said(ana, "link"), said(ana, "link", "--qr")
    assert plain == f"p2phouse join '{link}'\n"
    assert drawn.startswith(plain)
    assert drawn.count("\x1b[0m\n") > 20
    assert said(ana, "invite-link", "--once", "--qr").count("\x1b[0m\n") > 20
