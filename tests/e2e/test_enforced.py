"""Rules that hold against a node that does not keep them, and keys that are never used twice.

Six nodes, each in a network namespace of its own. How often somebody is killed is P2PHOUSE_KILLS:
P2PHOUSE_KILLS=100 make e2e ARGS="-k killed -s".
"""

import os
import signal
import time

import numpy as np
import pytest

from p2phouse.hearing import measure
from tests.e2e.nodes import Ear, gather, heard, read_sound, until

KILLS = int(os.environ.get("P2PHOUSE_KILLS", "4"))
NAMES = ("ana", "ben", "carla", "dan", "eve")


@pytest.fixture
def five(lan, make_node):
    return [
        make_node(name, namespace=lan.host(number)) for number, name in enumerate(NAMES, start=1)
    ]


def test_a_node_that_ignores_its_mute_is_heard_by_nobody(lan, make_node, five, clips, tmp_path):
    ana, ben, *_ = five
    mallory = make_node("mallory", namespace=lan.host(6), cheats=True)
    gather([*five, mallory])
    assert heard(mallory, ben, clips[0], tmp_path / "before.wav").delay_ms_p50 is not None
    ana.asked("role", who="mallory", role="muted")
    (peer,) = [id_ for id_, other in ana.others().items() if other["name"] == "mallory"]
    for node in five[1:]:
        until(lambda node=node: node.others()[peer]["role"] == "muted", "the mute")
    ears = [Ear(node, tmp_path / f"{node.home.name}.wav") for node in five]
    sealed = len(mallory.witnessed("sealed"))
    said = mallory.asked("say", path=str(clips[0]))
    assert len(mallory.witnessed("sealed")) > sealed + 100, "it spoke all the same"
    for ear in ears:
        sound, from_s = ear.stop()
        hearing = measure(
            sent=read_sound(clips[0]), spoken_s=said["began_mono_s"], heard=sound, played_s=from_s
        )
        assert hearing.delay_ms_p50 is None
        assert not np.any(sound), "nothing at all, not even a click"


def kill_in_speech(node, clip, *, media_alone):
    """media_alone: control lives on and starts another."""
    before = len(node.witnessed("sealed"))
    asking = node.begin("say", path=str(clip))
    until(lambda: len(node.witnessed("sealed")) >= before + 10, "speech")
    if media_alone:
        status = node.asked("status")
        os.kill(status["media_pid"], signal.SIGKILL)
        until(
            lambda: node.asked("status")["media_restarts"] > status["media_restarts"],
            "a new media process",
        )
    else:
        node.kill()
        node.start()
    with pytest.raises(Exception, match="ended"):
        list(asking)


@pytest.mark.nightly
def test_no_key_seals_two_frames_under_one_counter_however_often_the_speaker_is_killed(
    lan, make_node, clips
):
    ana = make_node("ana", namespace=lan.host(1), cheats=False)
    ben = make_node("ben", namespace=lan.host(2), cheats=False)
    gather([ana, ben])
    for turn in range(KILLS):
        kill_in_speech(ben, clips[turn % len(clips)], media_alone=turn % 4 > 0)
        for node in (ana, ben):
            until(lambda node=node: node.is_connected_to(1), "a link again")
    for node, how in ((ben, "sealed"), (ana, "opened")):
        seen = [(each.key, each.counter) for each in node.witnessed(how)]
        assert len({key for key, _ in seen}) >= KILLS, "a key for each life"
        assert len(set(seen)) == len(seen)


PARTITION_S = 60.0


def standing(node):
    """What a node shows of the room: equal everywhere once all have heard the same."""
    facts = node.asked("members")
    people = sorted((each["name"], each["role"], each["level"]) for each in facts["members"])
    return facts["title"], facts["locked"], people


@pytest.mark.nightly
def test_a_room_in_two_halves_for_a_minute_is_one_room_again(lan, make_node, five, clips, tmp_path):
    ana, ben, carla, dan, eve = five
    fay = make_node("fay", namespace=lan.host(6))
    everybody = [*five, fay]
    gather(everybody)
    ana.asked("grant", who="dan", seat="moderator")
    until(lambda: dan.me()["level"] == "moderator", "the grant")
    lan.part(4, 5, 6)
    parted = time.monotonic()
    ana.asked("title", title="Green tea")
    ana.asked("role", who="fay", role="muted")
    dan.asked("lock")
    dan.asked("role", who="ben", role="listener")
    for half in ((ana, ben, carla), (dan, eve, fay)):
        for node in half:
            until(lambda node=node: len(node.others()) == 2, "the other half lost", within_s=50)
    assert heard(ana, carla, clips[0], tmp_path / "half.wav").delay_ms_p50 is not None
    assert standing(ana) != standing(dan)
    time.sleep(max(0.0, parted + PARTITION_S - time.monotonic()))  # the minute itself
    lan.heal(4, 5, 6)
    healed = time.monotonic()
    until(lambda: len({str(standing(node)) for node in everybody}) == 1, "one state", within_s=60)
    one_state_s = time.monotonic() - healed
    title, locked, people = standing(eve)
    assert (title, locked) == ("Green tea", True)
    assert ("fay", "muted", "speaker") in people
    assert ("ben", "listener", "listener") in people
    for node in everybody:
        until(lambda node=node: node.is_connected_to(5), "a link to everybody", within_s=60)
    print(
        f"one state after {one_state_s:.1f} s, all linked after {time.monotonic() - healed:.1f} s"
    )
    assert heard(eve, ana, clips[1], tmp_path / "whole.wav").delay_ms_p50 is not None
