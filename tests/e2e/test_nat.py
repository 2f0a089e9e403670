"""Nodes behind routers of all kinds: whom they reach, and what they are told when they cannot."""

import pytest

from p2phouse.ask import NodeSaid
from p2phouse.hearing import STOI_HEARD_MIN
from tests.e2e.nat import Router, nft, run
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


def findings(node):
    return {each["what"]: each for each in node.asked("doctor")["findings"]}


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
    for node in (ana, ben):
        found = findings(node)
        for what in ("network", "internet", "meeting", "udp", "nat", "reachable", "clock"):
            assert found[what]["ok"] is True, found[what]
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


@pytest.mark.nightly
def test_who_shows_the_address_to_a_relay_alone_sends_nothing_to_anybody_else(
    internet, behind, via
):
    home = internet.home()
    carla = behind("carla", home, "--relay-only")
    relay_ip = internet.public_ip(via.namespace)
    nft(
        carla.namespace,
        f"""
        table ip seen {{
          counter others {{ }}
          chain out {{
            type filter hook output priority filter;
            oifname "eth0" ip daddr != {relay_ip} counter name others
          }}
        }}
        """,
    )
    ana = behind("ana", home)  # in the same home: the nearest there is
    room = in_one_room(ana, carla)
    assert all(addr.endswith("p2p-circuit") for addr in carla.asked("id")["addrs"])
    until(lambda: why_silent(ana) == "link_down", "ana being told", 8)
    until(lambda: "link_failed" in carla.log, "carla being told")
    assert findings(carla)["relay_only"]["ok"] is False
    with pytest.raises(NodeSaid, match="none of them"):
        carla.asked("join", room=f"192.168.1.{home.laptops[ana.namespace]}:{PORT}")
    # A relay that is in the room may know where carla is.
    via.asked("join", room=room)
    until(lambda: via_link(carla, via) == "connected", "a link to the relay")
    counted = run("ip", "netns", "exec", carla.namespace, "nft", "list", "counters")
    assert "packets 0 bytes 0" in counted


def via_link(node, other):
    members = node.others()
    return members.get(other.asked("id")["peer_id"], {}).get("link")


@pytest.mark.nightly
def test_a_network_without_udp_is_named_as_such(internet, make_node, via):
    known = f"{via.asked('id')['peer_id']}@{via.via[1]}"  # hello is UDP as well
    namespace = internet.laptop(internet.home(udp=False))
    carla = make_node("carla", "--relay", known, namespace=namespace)
    until(lambda: circuits(carla), "a place at the relay")
    found = findings(carla)
    assert found["udp"]["ok"] is False
    assert found["reachable"]["ok"] is True


@pytest.mark.nightly
def test_a_symmetric_router_is_named_once_two_relays_can_be_asked(internet, make_node, via):
    machine = internet.public()
    make_node("other", namespace=machine)
    carla = make_node(
        "carla",
        *via.via,
        "--relay",
        f"{internet.public_ip(machine)}:{PORT}",
        namespace=internet.laptop(internet.home(Router.SYMMETRIC)),
    )
    until(lambda: len(circuits(carla)) == 2, "places at both relays")
    assert findings(carla)["nat"]["ok"] is False


@pytest.mark.nightly
def test_a_wifi_that_keeps_its_devices_apart_is_named(internet, behind):
    home = internet.home()
    internet.isolate(home)
    ana, ben = behind("ana", home), behind("ben", home)
    in_one_room(ana, ben)
    until(lambda: findings(ana).get("isolation", {}).get("ok") is False, "the doctor naming it")
    assert "keeps its devices apart" in findings(ana)["isolation"]["text"]


@pytest.mark.nightly
def test_without_multicast_a_room_is_found_by_a_typed_address(internet, make_node):
    home = internet.home()
    internet.mute_multicast(home)
    ana, carla = (make_node(name, namespace=internet.laptop(home)) for name in ("ana", "carla"))
    ana.asked("open", title="Tea")
    found = findings(carla)["multicast"]
    assert found["ok"] is None
    assert "multicast" in found["text"]
    carla.asked("join", room=f"192.168.1.10:{PORT}")
    until(lambda: carla.is_connected_to(1), "a link")


@pytest.mark.nightly
def test_a_house_whose_uplink_is_unplugged_goes_on_talking(internet, behind, clips, tmp_path):
    home = internet.home()
    ana, ben = behind("ana", home), behind("ben", home)
    in_one_room(ana, ben)
    until(lambda: ana.is_connected_to(1), "a link")
    internet.unplug_uplink(home)
    assert heard(ana, ben, clips[0], tmp_path / "heard.wav").stoi >= STOI_HEARD_MIN
    until(lambda: not circuits(ana), "the relay missed", 60)
    assert ana.is_connected_to(1)
    internet.plug_uplink(home)
    until(lambda: circuits(ana), "the relay held again", 90)


@pytest.mark.nightly
def test_a_laptop_that_is_carried_home_is_heard_there_again(internet, behind, clips, tmp_path):
    ana, ben = behind("ana"), behind("ben")
    in_one_room(ana, ben)
    until(lambda: ana.is_connected_to(1), "a link")
    internet.move(ben.namespace, internet.home())
    until(lambda: not ana.others() or not ana.is_connected_to(1), "ana missing ben", 30)
    for node in (ana, ben):
        until(lambda node=node: node.is_connected_to(1), "a link again", 120)
    assert heard(ben, ana, clips[0], tmp_path / "heard.wav").stoi >= STOI_HEARD_MIN


@pytest.mark.nightly
def test_two_who_cannot_meet_hear_each_other_through_a_member_that_both_can_reach(
    internet, behind, via, clips, tmp_path
):
    ana, ben = behind("ana"), behind("ben", internet.home(Router.SYMMETRIC))
    room = in_one_room(ana, ben)
    via.asked("join", room=room)
    until(lambda: (via.asked("status")["hub"] or {}).get("me"), "the public node carrying", 60)
    assert heard(ana, ben, clips[0], tmp_path / "heard.wav").stoi >= STOI_HEARD_MIN
    assert heard(ben, ana, clips[1], tmp_path / "heard.wav").stoi >= STOI_HEARD_MIN
