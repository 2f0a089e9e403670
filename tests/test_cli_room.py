"""The commands that run a room, typed at two real nodes that are in it: words, JSON, exit codes."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest

from p2phouse.config import api_socket
from tests import promised
from tests.e2e.nodes import ProcessNode, gather, until
from tests.typed import said, told, two_nodes, typed

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def nodes():
    with two_nodes() as made:
        yield made


@pytest.fixture(scope="module")
def room(nodes):
    """Ana's, with Ben in it. Tests leave it as they found it."""
    return gather(nodes)


@pytest.fixture
def other_room(nodes):
    """One that a test may end."""
    for node in nodes:
        if node.asked("status")["room"] is not None:
            node.asked("leave")
    return gather(nodes, "Talk")


def is_told(node, level=None, role=None):
    """Whether the node knows itself to be that."""
    me = node.me()
    return (level is None or me["level"] == level) and (role is None or me["role"] == role)


def test_a_seat_is_given_and_taken_back(nodes, room):
    ana, ben = nodes
    assert said(ana, "grant", "ben") == "ben is moderator now.\n"
    until(lambda: is_told(ben, level="moderator"), "ben's seat")
    assert said(ana, "why", "ben").splitlines()[0] == "ben: moderator, speaker"
    assert "grant moderator by" in said(ben, "why")
    code, facts = told(ana, "grant", "ben", "--host")
    assert (code, len(facts["entries"])) == (0, 1)
    until(lambda: is_told(ben, level="host"), "ben's better seat")
    assert said(ana, "revoke", "ben") == "ben runs this room no more.\n"
    until(lambda: is_told(ben, level="speaker"), "ben's seats being gone")
    code, facts = told(ana, "revoke", "ben")
    assert (code, facts["error"][:23]) == (2, "That person has no seat")
    said(ana, "grant", "ben")
    code, facts = told(ana, "revoke", "ben")
    assert (code, len(facts["entries"])) == (0, 1)


def test_a_role_is_given_to_one_and_to_all(nodes, room):
    ana, ben = nodes
    assert said(ana, "role", "ben", "muted") == "ben: muted.\n"
    until(lambda: is_told(ben, role="muted"), "the mute")
    code, facts = told(ana, "role", "ben", "speaker")
    assert (code, len(facts["entries"])) == (0, 1)
    until(lambda: is_told(ben, role="speaker"), "the mute's end")
    assert said(ana, "role", "--all", "listener") == (
        "Everybody without a role of their own: listener.\n"
    )
    assert is_told(ben, role="speaker")
    code, why = told(ben, "why")
    assert (code, why["role"], why["entries"][-1]["act"]) == (0, "speaker", "role")
    said(ana, "role", "--all", "speaker")


def test_title_and_lock_are_seen_by_others(nodes, room):
    ana, ben = nodes
    assert said(ana, "title", "Coffee") == "The room is “Coffee” now.\n"
    assert said(ana, "lock") == "Nobody new comes in.\n"
    until(lambda: ben.asked("status")["locked"], "the lock")
    until(lambda: ben.asked("status")["title"] == "Coffee", "the title")
    assert said(ana, "unlock") == "People can come in again.\n"
    until(lambda: not ben.asked("status")["locked"], "the lock's end")
    for words in (["title", "Tea"], ["lock"], ["unlock"]):
        code, facts = told(ana, *words)
        assert (code, len(facts["entries"])) == (0, 1)


@pytest.mark.parametrize(
    "words",
    [
        ["grant", "ana"],
        ["revoke", "ana"],
        ["role", "ana", "muted"],
        ["role", "--all", "muted"],
        ["title", "Mine"],
        ["lock"],
        ["unlock"],
        ["end"],
    ],
    ids=" ".join,
)
def test_who_has_no_seat_is_told_so(nodes, room, words):
    ben = nodes[1]
    done = typed(ben, *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "p2phouse: You do not run this room. Ask its host or a moderator.\n"
    code, facts = told(ben, *words)
    assert (code, facts["yours"]) == (2, True)
    assert facts["error"].startswith("You do not run this room.")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["grant", "zoe"], "Nobody here is called “zoe”"),
        (["why", "zoe"], "Nobody here is called “zoe”"),
        (["role", "ben", "king"], "role must be one of speaker"),
        (["role", "ben"], "role must be one of speaker"),
        (["role", "--all", "ban"], "nobody can be made ban"),
        (["title", " "], "a title has 1 to"),
        (["grant", "ben", "--king"], "No such option"),
    ],
    ids=lambda each: " ".join(each) if isinstance(each, list) else "",
)
def test_a_mistake_is_one_sentence_and_exit_code_two(nodes, room, words, says):
    done = typed(nodes[0], *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1
    code, facts = told(nodes[0], *words)
    assert (code, facts["yours"]) == (2, True)


def test_events_are_printed_as_they_happen_until_ctrl_c(nodes, room):
    ana, _ = nodes
    words = [sys.executable, "-m", "p2phouse", "events", "--json", "--home", str(ana.home)]
    printing = subprocess.Popen(
        words,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"P2PHOUSE_RUNTIME_DIR": str(ana.runtime)},
    )
    assert printing.stdout is not None
    lines = iter(printing.stdout)
    muting = threading.Thread(target=keep_muting, args=(ana, printing))
    muting.start()
    events = [json.loads(next(lines)) for _ in range(2)]
    printing.send_signal(signal.SIGINT)
    rest = list(lines)
    assert printing.wait(20) == 0
    printing.stdout.close()
    muting.join()
    for event in [*events, *map(json.loads, rest)]:
        promised.check_event("events", event)
    assert {event["event"] for event in events} <= {"member_muted", "member_unmuted"}


def keep_muting(node, while_runs):
    """Something happens again and again: when the command listens nobody is told."""
    while while_runs.poll() is None:
        node.asked("unmute")
        node.asked("mute")


def test_how_the_node_is_and_who_it_is(nodes, room):
    ana, _ = nodes
    assert "ana, in “Tea”" in said(ana, "status")
    assert told(ana, "status")[1]["room"] == room
    refused = typed(ana, "id", "rename", "Anna")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "You keep your name" in refused.stderr


def test_a_node_that_dies_before_it_answers_is_exit_code_one(tmp_path):
    folder = Path(tempfile.mkdtemp(prefix="p2ph-"))
    node = ProcessNode(tmp_path / "ana", folder)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(api_socket(node.home, node.runtime)))
        listener.listen()

        def die() -> None:
            for _ in range(2):
                with listener.accept()[0] as connection:
                    connection.recv(1_000)

        dying = threading.Thread(target=die)
        dying.start()
        done = typed(node, "lock")
        assert (done.returncode, done.stdout) == (1, "")
        assert "p2phouse up" in done.stderr
        code, facts = told(node, "lock")
        assert (code, facts["yours"]) == (1, False)
        dying.join()
    shutil.rmtree(folder)


def test_who_is_banned_is_out_and_stays_out(nodes, other_room):
    ana, ben = nodes
    said(ana, "role", "ben", "ban")
    until(lambda: ben.asked("status")["room"] is None, "ben being out")
    assert typed(ben, "join", other_room).returncode != 0
    assert ana.asked("members")["people"] == 1


def test_a_room_ends_for_everybody(nodes, other_room):
    ana, ben = nodes
    assert said(ana, "end") == "The room is over.\n"
    for node in nodes:
        until(lambda node=node: node.asked("status")["room"] is None, "the end")
    assert typed(ben, "join", other_room).returncode != 0
    assert "p2phouse join ROOM" in typed(ana, "lock").stderr
    ana.asked("open", title="Coffee")
    code, facts = told(ana, "end")
    assert (code, len(facts["entries"])) == (0, 1)
    assert said(ana, "id", "rename", "Anna") == "You are Anna now.\n"
