"""Nodes behind routers of all kinds: whom they reach, and what they are told when they cannot."""

import pytest

from tests.e2e.nodes import until

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


def test_two_behind_routers_find_a_room_and_each_other_through_a_public_node(
    internet, make_node, via
):
    ana, ben = (
        make_node(name, *via.via, namespace=internet.laptop(internet.home()))
        for name in ("ana", "ben")
    )
    for node in (ana, ben):
        until(lambda node=node: circuits(node), "a place at the relay")
    room = ana.asked("open", title="Tea")["room"]
    until(lambda: ben.sees(room), "seeing the room")
    ben.asked("join", room=room)
    until(lambda: len(ben.others()) == 1 and len(ana.others()) == 1, "meeting in the room")
