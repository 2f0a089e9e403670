"""A class in a room of its own network, without the internet: one of their laptops carries all."""

import pytest

from tests.e2e.crowds import Talk, agreed, come, crowd, misheard, settles
from tests.e2e.nodes import until, wait_for_reports
from tests.e2e.test_hub import ALIKE_MIN, is_star, linked

COUNT = 12


@pytest.mark.nightly
def test_twelve_without_internet_hear_on_when_the_laptop_that_carries_them_leaves(
    lan, make_node, clips, tmp_path
):
    nodes = crowd(lan, make_node, COUNT)
    room = nodes[0].asked("open", title="Tea")["room"]
    for already, node in enumerate(nodes[1:], start=1):
        come([node], room)
        # One after another, as people come: each join of the mesh costs everybody a handshake.
        until(
            lambda node=node, already=already: len(node.others()) == already,
            "meeting those who are there",
        )
    settles(lambda: all(len(node.others()) == COUNT - 1 for node in nodes), "all twelve")
    settles(lambda: is_star(nodes), "links with hub and standby alone")
    name, _ = agreed(nodes)
    hub = next(node for node in nodes if node.home.name == name)
    speaker = next(node for node in nodes if len(linked(node)) == 2)
    rest = [node for node in nodes if node is not hub]
    listeners = [node for node in rest if node is not speaker]
    talk = Talk(speaker, listeners, clips[0], tmp_path)
    wait_for_reports(listeners[0], 2)
    hub.crash()  # in the middle of a word
    assert not misheard(talk.end(), ALIKE_MIN)
    settles(lambda: is_star(rest), "another who carries them")
    assert agreed(rest)[0] != name
    assert not misheard(Talk(speaker, listeners, clips[1], tmp_path).end(), ALIKE_MIN)
