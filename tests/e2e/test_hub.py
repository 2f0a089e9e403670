"""Nine real nodes: one of them carries the voices of all, and may be killed or leave."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from p2phouse.hearing import measure
from tests.e2e.nodes import Ear, ProcessNode, heard, read_sound, until, wait_for_reports

COUNT = 9
ALIKE_MIN = 0.7  # STOI of speech through a room in which nothing is missing: 0.95


def linked(node: ProcessNode) -> set[str]:
    """Names of those to whom the node has a media link."""
    return {each["name"] for each in node.others().values() if each["link"] == "connected"}


def settles(holds, what: str, within_s: float = 60.0) -> None:
    """As `until`, but looks seldom: to ask nine nodes takes a good part of the machine."""

    def seldom() -> bool:
        time.sleep(0.5)
        return bool(holds())

    until(seldom, what, within_s)


def is_star(nodes: list[ProcessNode]) -> bool:
    """Two have links to everybody, the others to these two alone."""
    counts = sorted(len(linked(node)) for node in nodes)
    return counts == [2] * (len(nodes) - 2) + [len(nodes) - 1] * 2


def gather_nine(make_node) -> list[ProcessNode]:
    nodes = [make_node(f"node{number}", "--loopback") for number in range(COUNT)]
    room = nodes[0].asked("open", title="Tea")["room"]
    for node in nodes[1:]:
        until(lambda node=node: node.sees(room), "seeing the room")
        node.asked("join", room=room)
    settles(lambda: all(len(node.others()) == COUNT - 1 for node in nodes), "all nine")
    settles(lambda: is_star(nodes), "links with hub and standby alone")
    return nodes


def hub_of(nodes: list[ProcessNode]) -> ProcessNode:
    return next(node for node in nodes if (node.asked("status")["hub"] or {}).get("me"))


def heard_while(
    happens: Callable[[], None],
    speaker: ProcessNode,
    listener: ProcessNode,
    clip: Path,
    out: Path,
) -> float:
    """STOI of what the speaker says while it happens."""
    ear = Ear(listener, out)
    asking = speaker.begin("say", path=str(clip))
    until(lambda: not speaker.me()["muted"], "speaking")
    wait_for_reports(listener, 2)
    happens()
    list(asking)
    wait_for_reports(listener, 1)  # the end is played
    sound, from_s = ear.stop()
    hearing = measure(
        sent=read_sound(clip),
        spoken_s=asking.result["began_mono_s"],
        heard=sound,
        played_s=from_s,
    )
    assert hearing.stoi is not None
    return hearing.stoi


@pytest.mark.nightly
def test_nine_hear_one_another_through_one_of_them_and_while_it_is_killed(
    make_node, clips, tmp_path
):
    nodes = gather_nine(make_node)
    hub = hub_of(nodes)
    speaker, listener = [node for node in nodes if len(linked(node)) == 2][:2]
    calm = heard(speaker, listener, clips[0], tmp_path / "calm.wav")
    assert calm.stoi is not None
    assert calm.stoi > ALIKE_MIN

    def kill() -> None:
        os.kill(hub.facts["media_pid"], signal.SIGKILL)
        hub.kill()

    assert heard_while(kill, speaker, listener, clips[0], tmp_path / "killed.wav") > ALIKE_MIN
    rest = [node for node in nodes if node is not hub]
    settles(lambda: is_star(rest), "another standby")


@pytest.mark.nightly
def test_a_hub_that_stops_in_good_order_is_followed_before_it_is_gone(make_node, clips, tmp_path):
    nodes = gather_nine(make_node)
    hub = hub_of(nodes)
    speaker, listener = [node for node in nodes if len(linked(node)) == 2][:2]

    def leave() -> None:
        assert hub.stop() == 0

    assert heard_while(leave, speaker, listener, clips[0], tmp_path / "left.wav") > ALIKE_MIN
    assert hub_of([node for node in nodes if node is not hub]) is not hub
