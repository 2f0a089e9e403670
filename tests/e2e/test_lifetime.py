"""Real nodes whose host goes for good: what they say, and where they go on."""

import os
import subprocess
import sys

import pytest

from p2phouse.ask import NodeSaid
from tests.e2e.nodes import gather, heard, until

pytestmark = [pytest.mark.slow, pytest.mark.nightly]  # half a minute without a host, in real time


def test_people_whose_host_is_gone_go_on_in_a_room_of_one_of_them(make_node, clips, tmp_path):
    ana, ben, cleo = (make_node(name, "--loopback") for name in ("ana", "ben", "cleo"))
    old = gather([ana, ben, cleo])
    for node in (ana, ben, cleo):
        until(lambda node=node: node.asked("status")["confirmed"], "a beat that agrees")
    with pytest.raises(NodeSaid, match="goes on by itself"):
        ben.asked("continue_room")
    ana.asked("leave")
    for node in (ben, cleo):
        until(lambda node=node: not node.asked("status")["attended"], "missing the host", 40)
        assert 500 < node.asked("status")["closes_in_s"] <= 571
    facts = ben.asked("continue_room")
    assert facts["title"] == "Tea"
    assert facts["room"] != old
    until(lambda: cleo.asked("status")["successor"] is not None, "the offer", 5)
    offered = cleo.asked("status")["successor"]
    assert (offered["room"], offered["title"]) == (facts["room"], "Tea")
    done = subprocess.run(
        [sys.executable, "-m", "p2phouse", "move", "--home", str(cleo.home)],
        capture_output=True,
        text=True,
        timeout=60,
        env=os.environ | {"P2PHOUSE_RUNTIME_DIR": str(cleo.runtime)},
    )
    assert done.stdout == "You went on to “Tea”, muted, with 1 other(s).\n", done.stderr
    until(lambda: ben.is_connected_to(1) and cleo.is_connected_to(1), "a link")
    assert heard(ben, cleo, clips[0], tmp_path / "heard.wav").delay_ms_p50 is not None
    until(lambda: ana.sees(facts["room"]), "the new room on the list")
