"""Chat, blocking and reporting, typed at two real nodes: words, JSON, and what the other reads."""

import json
import os
import subprocess
import sys

import pytest

from p2phouse.room import report
from tests.e2e.nodes import gather, until
from tests.typed import said, two_nodes, typed

pytestmark = [pytest.mark.slow, pytest.mark.nightly]


@pytest.fixture(scope="module")
def nodes():
    with two_nodes() as made:
        gather(made)
        yield made


def texts(node) -> list[str]:
    return [each["text"] for each in node.asked("messages")["messages"]]


def reads(node, text: str) -> None:
    until(lambda: text in texts(node), f"reading {text!r}")


def test_what_one_writes_the_other_reads_and_may_take_back(nodes):
    ana, ben = nodes
    assert said(ben, "chat", "Guten Morgen, Café!") == ""
    reads(ana, "Guten Morgen, Café!")
    line = said(ana, "chat").splitlines()[-1]
    assert line.endswith("ben: Guten Morgen, Café!")
    assert "taken back" in said(ana, "unsay", line.split()[0])  # Ana opened the room
    until(lambda: texts(ben)[-1] == "", "the delete")
    assert said(ben, "chat").splitlines()[-1].endswith("ben: (deleted)")
    done = typed(ben, "unsay", "abcdef")
    assert done.returncode == 2
    assert "No message" in done.stderr


def test_the_chat_can_be_followed(nodes):
    ana, ben = nodes
    follow = subprocess.Popen(
        [sys.executable, "-m", "p2phouse", "chat", "--follow", "--json", "--home", str(ana.home)],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"P2PHOUSE_RUNTIME_DIR": str(ana.runtime)},
    )
    with follow:
        assert follow.stdout is not None
        ben.asked("chat", text="first")
        reads(ana, "first")
        seen: list[str] = []
        while "second" not in seen:
            seen.append(json.loads(follow.stdout.readline())["text"])
            if "first" in seen and "second" not in texts(ben):
                ben.asked("chat", text="second")
        assert seen.count("first") == seen.count("second") == 1
        follow.terminate()


def test_pins_slow_mode_and_the_switch(nodes):
    ana, ben = nodes
    assert said(ana, "pin", "https://p2phouse.example/rules") == "It is pinned.\n"
    until(lambda: ben.asked("messages")["pins"], "the pin")
    pinned = said(ben, "chat").splitlines()[0]
    assert pinned.endswith("[pinned] ana: https://p2phouse.example/rules")
    assert typed(ben, "unpin", pinned.split()[0]).returncode == 2
    assert said(ana, "unpin", pinned.split()[0])
    assert "do not run" in typed(ben, "mods", "hello").stderr
    assert "slow mode" in said(ana, "chat-mode", "3600")
    until(lambda: ben.asked("members")["chat"] == 3_600, "slow mode")
    assert typed(ben, "chat", "quickly").returncode == 2  # he wrote just now
    assert said(ana, "chat-mode", "off") == "The chat is off now.\n"
    until(lambda: ben.asked("members")["chat"] == "off", "the switch")
    assert "switched off" in typed(ben, "chat", "anyway").stderr
    assert said(ana, "chat-mode", "on") == "The chat is on now.\n"
    until(lambda: ben.asked("members")["chat"] == "on", "the switch")


def test_who_is_blocked_is_not_read_and_notices_nothing(nodes):
    ana, ben = nodes
    ben.asked("chat", text="before the block")
    reads(ana, "before the block")
    before = ben.asked("members")["members"]
    assert "any more" in said(ana, "block", "ben")
    ben.asked("chat", text="after the block")
    reads(ben, "after the block")
    ana.asked("chat", text="nice day")
    reads(ben, "nice day")
    assert "after the block" not in texts(ana)
    assert [(m["role"], m["link"]) for m in ben.asked("members")["members"]] == [
        (m["role"], m["link"]) for m in before
    ]
    assert said(ana, "blocked").split()[1] == "ben"
    ana.kill()
    ana.start()
    until(lambda: ana.others(), "Ana being back")
    assert all(other["blocked"] for other in ana.others().values())
    assert "again" in said(ana, "unblock", "ben")
    assert "after the block" in texts(ana)
    assert said(ana, "gain", "ben", "150") == "ben is at 150 %.\n"


def test_a_node_whose_list_of_blocked_people_is_damaged_says_so_and_does_not_start(tmp_path):
    file = tmp_path / "blocked.cbor"
    file.write_bytes(b"half a li")
    file.chmod(0o600)
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "p2phouse",
            "up",
            "--loopback",
            "--no-page",
            "--home",
            str(tmp_path),
        ],
        capture_output=True,
        text=True,
        env=os.environ | {"P2PHOUSE_RUNTIME_DIR": str(tmp_path / "run")},
        timeout=60,
    )
    # Security: started without the list it would let everybody be heard again.
    assert done.returncode == 2
    assert "blocked.cbor is damaged" in done.stderr
    assert file.read_bytes() == b"half a li"


def test_a_report_is_kept_and_told_to_who_runs_the_room(nodes):
    ana, ben = nodes
    out = said(ben, "report", "ana", "she whistles")
    assert "nobody was told" in out  # Ana runs the room alone, and it is about her
    out = said(ana, "report", "ben", "he sings")
    file = out.split(" is in ")[1].strip()
    with open(file, "rb") as kept:
        bundle = report.read(kept.read())
    assert bundle.report.record.text == "he sings"
    assert bundle.about_name == "ben"
    assert "Nothing was reported" in said(ana, "reports")
    checked = [sys.executable, "-m", "p2phouse", "check-report", file]
    done = subprocess.run(checked, capture_output=True, text=True)
    assert done.stdout.startswith("Every signature holds.\nana reports ben: he sings\n")
    with open(file, "r+b") as kept:
        kept.seek(-1, 2)
        last = kept.read(1)
        kept.seek(-1, 2)
        kept.write(bytes([last[0] ^ 1]))
    done = subprocess.run(checked, capture_output=True, text=True)
    assert done.returncode == 1
    assert "p2phouse: " in done.stderr
