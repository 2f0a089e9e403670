"""From the audience to the stage and back, at two real nodes: heard there, and nowhere else."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from p2phouse.ask import NodeSaid
from p2phouse.vocabulary import SAMPLE_RATE_HZ
from tests.e2e.nodes import Ear, heard, read_sound, until, wait_for_reports, write_clip


def typed(node, *words):
    done = subprocess.run(
        [sys.executable, "-m", "p2phouse", *words, "--home", str(node.home), "--json"],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        env=os.environ | {"P2PHOUSE_RUNTIME_DIR": str(node.runtime)},
        timeout=60,
    )
    return json.loads(done.stdout)


def test_a_hand_goes_up_its_owner_comes_to_the_stage_is_heard_and_goes_back(
    make_node, clips, tmp_path
):
    ana, ben = make_node("ana", "--loopback"), make_node("ben", "--loopback")
    room = ana.asked("open", title="Tea", stage="invited")["room"]
    until(lambda: ben.sees(room), "seeing the room")
    ben.asked("join", room=room)
    for node in (ana, ben):
        until(lambda node=node: node.is_connected_to(1), "a link")
    until(lambda: ben.asked("status")["stage"] == "invited", "the log")
    until(lambda: not ben.me()["on_stage"], "the audience")
    with pytest.raises(NodeSaid, match="listener"):
        ben.asked("say", path=str(clips[0]))

    # Invited without a hand: it waits for the answer.
    assert "error" not in typed(ana, "stage", "ben")
    until(lambda: ben.me()["invited"], "the invitation")
    with pytest.raises(NodeSaid, match="accept"):
        ben.asked("unmute")
    assert "error" not in typed(ben, "decline")
    assert "error" not in typed(ana, "audience", "ben")
    until(lambda: ben.me()["role"] == "listener", "the audience")

    # With a hand up it is at once on stage, muted.
    assert "error" not in typed(ben, "hand", "one question")
    until(lambda: bens(ana)["hand"] == {"topic": "one question", "place": 1}, "the hand")
    assert "error" not in typed(ana, "stage", "ben")
    until(lambda: ben.me()["on_stage"], "the stage")
    assert ben.me()["muted"]
    until(lambda: bens(ana)["on_stage"] and bens(ana)["hand"] is None, "ana seeing it")
    ben.asked("hand", topic="and another")
    short = write_clip(tmp_path / "short.wav", read_sound(clips[0])[: SAMPLE_RATE_HZ * 5 // 2])
    assert heard(ben, ana, short, tmp_path / "stage.wav").delay_ms_p50 is not None
    assert ben.me()["hand"] is not None, "less than three seconds of speech"
    ben.asked("say", path=str(clips[0]))
    until(lambda: ben.me()["hand"] is None, "the hand of who has spoken going down")

    # Sent down in the middle of a word.
    ear = Ear(ana, tmp_path / "audience.wav")
    asking = ben.begin("say", path=str(clips[0]))
    until(lambda: not bens(ana)["muted"], "ben speaking")
    wait_for_reports(ana, 2)
    ana.asked("audience", who="ben")
    with pytest.raises(NodeSaid, match="no speaker any more"):
        list(asking)
    wait_for_reports(ana, 2)  # what was cut has faded
    sound, _ = ear.stop()
    assert np.any(sound), "he was heard until then"
    assert not np.any(sound[-4_800:]), "the last tenth of a second is silent"
    assert not bens(ana)["on_stage"]
    with pytest.raises(NodeSaid, match="listener"):
        ben.asked("unmute")


def bens(node):
    return next(other for other in node.others().values() if other["name"] == "ben")
