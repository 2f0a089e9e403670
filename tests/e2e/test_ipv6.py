"""Nodes in networks of IPv6: found, called and heard without a word of IPv4."""

import pytest

from p2phouse.hearing import STOI_HEARD_MIN
from tests.e2e.nat import Speaks
from tests.e2e.nodes import gather, heard, until
from tests.e2e.test_nat import PORT, circuits, findings, in_one_room

pytestmark = pytest.mark.nightly


@pytest.fixture
def via(internet, make_node):
    """A public node that has IPv6 alone, and the options that tell another about it."""
    machine = internet.public(Speaks.SIX)
    node = make_node("relay", namespace=machine)
    node.via = ("--relay", f"[{internet.public_ip(machine, 6)}]:{PORT}")
    return node


def hear_each_other(ana, ben, clips, tmp_path):
    for speaker, listener, clip in ((ana, ben, clips[0]), (ben, ana, clips[1])):
        quality = heard(speaker, listener, clip, tmp_path / "heard.wav")
        print(f"{speaker.home.name} to {listener.home.name}: {quality}")
        assert quality.stoi >= STOI_HEARD_MIN


@pytest.mark.parametrize("access", ["open", "lan"])
def test_on_a_network_of_ipv6_alone_nodes_find_and_hear_each_other(
    internet, make_node, clips, tmp_path, access
):
    home = internet.home(speaks=Speaks.SIX)
    ana, ben = (make_node(name, namespace=internet.laptop(home)) for name in ("ana", "ben"))
    gather([ana, ben], access=access)
    hear_each_other(ana, ben, clips, tmp_path)
    assert findings(ben)["network"]["ok"] is True


@pytest.mark.parametrize(
    ("ana_speaks", "ben_speaks"),
    [(Speaks.SIX, Speaks.SIX), (Speaks.BOTH, Speaks.SIX)],
    ids=lambda each: each.name,
)
def test_behind_routers_that_let_in_what_answers_alone_two_talk_directly(
    internet, make_node, via, clips, tmp_path, ana_speaks, ben_speaks
):
    ana, ben = (
        make_node(name, *via.via, namespace=internet.laptop(internet.home(speaks=speaks)))
        for name, speaks in (("ana", ana_speaks), ("ben", ben_speaks))
    )
    for node in (ana, ben):
        until(lambda node=node: circuits(node), "a place at the relay")
        # Its address is one of the whole internet, and nobody comes to it all the same.
        assert findings(node)["relaying"]["ok"] is None
    in_one_room(ana, ben)
    for node in (ana, ben):
        until(lambda node=node: node.is_connected_to(1), "a direct link")
    via.stop()
    hear_each_other(ana, ben, clips, tmp_path)


def test_a_household_of_both_hears_one_that_has_ipv4_alone(internet, make_node, clips, tmp_path):
    machine = internet.public(Speaks.BOTH)
    make_node("relay", namespace=machine)
    options = ("--relay", f"{internet.public_ip(machine)}:{PORT}")
    ana, ben = (
        make_node(name, *options, namespace=internet.laptop(internet.home(speaks=speaks)))
        for name, speaks in (("ana", Speaks.BOTH), ("ben", Speaks.FOUR))
    )
    for node in (ana, ben):
        until(lambda node=node: circuits(node), "a place at the relay")
    in_one_room(ana, ben)
    for node in (ana, ben):
        until(lambda node=node: node.is_connected_to(1), "a direct link")
    hear_each_other(ana, ben, clips, tmp_path)
