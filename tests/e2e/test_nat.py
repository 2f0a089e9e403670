"""Nodes behind routers of all kinds: whom they reach, and what they are told when they cannot."""

import pytest

from p2phouse.hearing import STOI_HEARD_MIN
from tests.e2e.nat import Router
from tests.e2e.nodes import heard, until

PORT = 17_472


def circuits(node):
    return [addr for addr in node.asked("id")["addrs"] if addr.endswith("p2p-circuit")]


@pytest.fixture
def via(internet, make_node):
    """A public node, and the options that tell another about it."""
    machine = internet.public()
    node = make_node("relay", namespace=machine)
    node.via = ("--relay", f"{internet.public_ip(machine)}:{PORT}")
    return node


@pytest.fixture
def behind(internet, make_node, via):
    """Starts a node in a home of its own; it is ready once others can call it."""

    def make(name, home=None, *options):
        home = home or internet.home()
        node = make_node(name, *via.via, *options, namespace=internet.laptop(home))
        until(lambda: circuits(node), "a place at the relay")
        return node

    return make


def why_silent(node):
    """What the node says of itself: why nobody is heard, or hears it."""
    return (node.me()["silence"] or {}).get("cause")


def in_one_room(host, *others):
    room = host.asked("open", title="Tea")["room"]
    for node in others:
        until(lambda node=node: node.sees(room), "seeing the room")
        node.asked("join", room=room)
    everybody = (host, *others)
    for node in everybody:
        until(
            lambda node=node: len(node.others()) == len(others),
            "meeting everybody in the room",
        )
    return room


def test_two_behind_routers_find_each_other_through_a_public_node_and_talk_directly(
    behind, via, clips, tmp_path
):
    ana, ben = behind("ana"), behind("ben")
    in_one_room(ana, ben)
    for node in (ana, ben):
        until(lambda node=node: node.is_connected_to(1), "a direct link")
    assert heard(ana, ben, clips[0], tmp_path / "heard.wav").stoi >= STOI_HEARD_MIN
    # Nobody in the middle: the relay may go, and the talk goes on.
    via.stop()
    assert heard(ben, ana, clips[1], tmp_path / "heard.wav").stoi >= STOI_HEARD_MIN


@pytest.mark.nightly
def test_a_symmetric_router_and_a_usual_one_do_not_meet_and_are_told(internet, behind):
    ana, ben = behind("ana"), behind("ben", internet.home(Router.SYMMETRIC))
    in_one_room(ana, ben)
    for node in (ana, ben):
        told = until(lambda node=node: why_silent(node) == "link_down", "being told why", 8)
        assert told < 8  # after three seconds, and what a busy machine adds
        assert "connected" not in [other["link"] for other in node.others().values()]
