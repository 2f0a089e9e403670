"""A class in a room of its own network, without the internet: one of their laptops carries all."""

import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from p2phouse.hearing import measure
from tests.e2e.nodes import Ear, ProcessNode, read_sound, until, wait_for_reports
from tests.e2e.test_hub import ALIKE_MIN, hub_of, is_star, linked

COUNT = 12
CORES_MIN = 4
AT_ONCE = 4  # nodes that start beside one another


def start_all(nodes: list[ProcessNode]) -> None:
    with ThreadPoolExecutor(AT_ONCE) as starting:
        list(starting.map(ProcessNode.start, nodes))


def all_hear(speaker, listeners, clip, folder):
    """What each of them hears while the speaker says the clip."""
    ears = [Ear(node, folder / f"{node.home.name}.wav") for node in listeners]
    said = speaker.asked("say", path=str(clip))
    for node in listeners:
        wait_for_reports(node, 1)
    found = {}
    for node, ear in zip(listeners, ears, strict=True):
        sound, from_s = ear.stop()
        found[node.home.name] = measure(
            sent=read_sound(clip), spoken_s=said["began_mono_s"], heard=sound, played_s=from_s
        )
    return found


@pytest.mark.nightly
@pytest.mark.skipif(
    (os.cpu_count() or 1) < CORES_MIN,
    reason="twelve nodes are 24 processes: on two cores their pings come too late",
)
def test_twelve_without_internet_hear_on_when_the_laptop_that_carries_them_leaves(
    lan, make_node, clips, tmp_path
):
    nodes = [
        make_node(f"node{number}", namespace=lan.host(number), start=False)
        for number in range(1, COUNT + 1)
    ]
    start_all(nodes)
    room = nodes[0].asked("open", title="Tea")["room"]
    for already, node in enumerate(nodes[1:], start=1):
        until(lambda node=node: node.sees(room), "seeing the room")
        node.asked("join", room=room)
        # One after another, as people come: each join of the mesh costs everybody a handshake.
        until(
            lambda node=node, already=already: len(node.others()) == already,
            "meeting those who are there",
        )
    until(lambda: all(len(node.others()) == COUNT - 1 for node in nodes), "all twelve", 60)
    until(lambda: is_star(nodes), "links with hub and standby alone", 60)
    hub = hub_of(nodes)
    speaker = next(node for node in nodes if len(linked(node)) == 2)
    hub.kill()  # the lid is closed
    rest = [node for node in nodes if node is not hub]
    until(lambda: is_star(rest), "another who carries them", 60)
    listeners = [node for node in rest if node is not speaker]
    for name, hearing in all_hear(speaker, listeners, clips[0], tmp_path).items():
        assert hearing.stoi is not None, f"{name} hears nothing"
        assert hearing.stoi > ALIKE_MIN, name
