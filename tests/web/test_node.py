"""A whole node and its page: how a browser gets there, names, what --no-page leaves out."""

import json
import os
import pty
import shutil
import stat
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from websockets.sync.client import connect
from websockets.typing import Origin

from p2phouse.ask import NodeSaid
from tests import promised
from tests.browser.people import PageNode
from tests.e2e.nodes import ProcessNode, until

pytestmark = pytest.mark.slow


@pytest.fixture
def folder():
    made = Path(tempfile.mkdtemp(prefix="p2ph-"))  # a socket's path may not be long
    yield made
    shutil.rmtree(made)


@pytest.fixture
def node(folder):
    made = PageNode(folder / "ana", folder / "run", "--loopback")
    made.start()
    yield made
    made.stop()


def p2phouse(node, *words):
    return subprocess.run(
        [sys.executable, "-m", "p2phouse", *words, "--home", str(node.home)],
        capture_output=True,
        text=True,
        env={k: v for k, v in os.environ.items() if k not in ("DISPLAY", "WAYLAND_DISPLAY")}
        | {"P2PHOUSE_RUNTIME_DIR": str(node.runtime)},
        timeout=60,
    )


def test_page_makes_a_file_that_only_we_may_read_and_says_where_it_is(node):
    said = p2phouse(node, "page")
    assert said.returncode == 0
    path = Path(said.stdout.splitlines()[-1].strip())
    assert path.parent == node.runtime
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    other = json.loads(p2phouse(node, "page", "--json").stdout)["file"]
    assert Path(other) != path
    node.stop()
    assert not list(node.runtime.glob("page-*.html"))


def test_a_page_is_told_what_the_document_promises(node):
    address = urlsplit(node.address())
    questions: list[dict[str, Any]] = [
        {"id": 1, "verb": "status"},
        {"id": 2, "verb": "open", "title": "Tea"},
        {"id": 3, "verb": "role", "who": "", "role": "king"},
        {"verb": "status"},
        {"id": 4, "verb": "members"},
    ]
    told = []
    with connect(
        f"ws://{address.netloc}/api", origin=Origin(f"http://{address.netloc}"), proxy=None
    ) as page:
        page.send(json.dumps({"token": address.fragment}))
        for question in questions:
            page.send(json.dumps(question))
            while "result" not in (message := json.loads(page.recv(20))) and (
                "error" not in message
            ):
                promised.check_page(message)
                told.append(message)
            promised.check_page(message, question["verb"])
            assert message["id"] == question.get("id")
            assert ("error" in message) == (question.get("id") in (3, None))
    assert any(message.get("event") == "joined" for message in told)
    assert any("sound" in message for message in told)


def test_a_name_is_taken_on_between_rooms_and_kept(node):
    assert node.asked("rename", name="Anna") == {"name": "Anna"}
    assert node.asked("id")["name"] == "Anna"
    node.asked("open", title="Tea")
    assert node.me()["name"] == "Anna"
    with pytest.raises(NodeSaid, match="Leave it"):
        node.asked("rename", name="Hanna")
    node.asked("leave")
    with pytest.raises(NodeSaid, match="40 characters"):
        node.asked("rename", name="x" * 41)
    node.stop()
    node.start()
    assert node.asked("id")["name"] == "Anna"


def test_without_a_page_there_is_none_to_open(folder):
    node = ProcessNode(folder / "ana", folder / "run", "--loopback")
    node.start()
    try:
        with pytest.raises(NodeSaid, match="without a page"):
            node.asked("page")
        assert node.asked("status")["mouth"] == "none"
    finally:
        node.stop()


def test_up_gives_a_browser_a_file_and_no_token(folder):
    browser = folder / "browser"
    browser.write_text(
        f"""#!/bin/sh
cp "$(echo "$1" | sed s,file://,,)" {folder}/page.html
printf "%s" "$*" > {folder}/given.new
mv {folder}/given.new {folder}/given
"""
    )
    browser.chmod(0o700)
    ours, theirs = pty.openpty()
    node = subprocess.Popen(
        [sys.executable, "-m", "p2phouse", "up", "--loopback", "--home", str(folder / "ana")],
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=subprocess.DEVNULL,
        env=os.environ | {"P2PHOUSE_RUNTIME_DIR": str(folder / "run"), "BROWSER": str(browser)},
    )
    try:
        until((folder / "given").exists, "the browser")
        given = (folder / "given").read_text()
        page = (folder / "page.html").read_text()
        assert given.startswith(f"file://{folder}/run/page-")
        token = page.split("/#")[1].split('"')[0]
        assert len(token) == 43
        assert token not in given
    finally:
        node.terminate()
        node.wait(10)
        os.close(ours)
        os.close(theirs)


def test_the_web_server_is_not_imported_before_a_page_is_served():
    code = (
        "import sys, p2phouse.node, p2phouse.run;"
        "print({'starlette', 'hypercorn'} & set(sys.modules))"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert loaded.stdout.strip() == "set()"
