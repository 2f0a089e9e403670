"""What a person is told of the ground they stand on."""

import os
import time
from dataclasses import replace
from ipaddress import ip_address
from typing import Any

import nacl.signing
import pytest
import trio

from p2phouse.net.addresses import Address, Interface
from p2phouse.net.doctor import Observed, diagnose
from p2phouse.net.examination import clock_difference, reflect, shares_network
from p2phouse.net.faults import Faults
from p2phouse.net.hello import HelloAnswerer
from p2phouse.record import cbor
from p2phouse.vocabulary import DeviceKey
from tests.needed import need_ipv6
from tests.net.conftest import clock

HOME = Observed(
    lan="on",
    interfaces=[Interface.of("192.168.1.10", 24)],
    has_way_out=True,
    port=17_472,
    any_port=True,
    heard=2,
    unanswered=0,
    lan_trouble="",
    apart=[],
    here_peers=0,
    near_peers=2,
    far_peers=1,
    known_peers=3,
    in_table=3,
    is_public=False,
    was_reached=False,
    relays=1,
    relays_named=1,
    relays_found=1,
    relay_only=False,
    carries=True,
    places=0,
    circuits=0,
    asked_port=40_000,
    reflections=[Address(ip_address("5.8.1.2"), 40_000)],
    clock_s=1.0,
)

# What `--relay-only` makes of the same home: the node stands on loopback alone and asks no router.
HIDDEN: dict[str, Any] = {
    "relay_only": True,
    "lan": "off",
    "interfaces": [],
    "heard": 0,
    "near_peers": 0,
    "asked_port": 0,
    "reflections": [],
}

# As `--loopback` has it, with one other node on the machine.
INDOORS: dict[str, Any] = {
    "lan": "loopback",
    "interfaces": [],
    "heard": 1,
    "unanswered": 1,  # it announces where it stands in the local network
    "here_peers": 1,
    "near_peers": 0,
    "far_peers": 0,
    "relays": 0,
    "relays_named": 0,
    "relays_found": 0,
    "asked_port": 0,
    "reflections": [],
}
ALONE: dict[str, Any] = {
    "heard": 0,
    "near_peers": 0,
    "far_peers": 0,
    "known_peers": 0,
    "relays": 0,
    "relays_named": 0,
    "relays_found": 0,
    "reflections": [],
}
AWAY: dict[str, Any] = ALONE | {"relays_named": 1}  # the relay that was named


def outside(*ports):
    return [port and Address(ip_address("5.8.1.2"), port) for port in ports]


def told(what, **seen):
    """The finding about it, None if there is none."""
    found = [each for each in diagnose(replace(HOME, **seen)) if each.what == what]
    assert len(found) <= 1
    return found[0] if found else None


def test_at_home_with_friends_nothing_is_wrong():
    assert not [each for each in diagnose(HOME) if each.ok is False]


def test_each_thing_is_spoken_of_once_and_what_is_bad_has_a_remedy():
    for seen in (
        HOME,
        replace(HOME, **HIDDEN),
        replace(HOME, **INDOORS),
        replace(HOME, **AWAY),
        replace(HOME, apart=["Ben"], clock_s=9_999, reflections=[None]),
    ):
        findings = diagnose(seen)
        assert len({each.what for each in findings}) == len(findings)
        assert all(each.text.endswith(".") for each in findings)
        assert all(each.next for each in findings if each.ok is False)


@pytest.mark.parametrize(
    ("what", "ok", "words", "seen"),
    [
        ("network", False, "on no network", {"interfaces": []}),
        ("network", None, "as you asked", INDOORS),
        ("multicast", True, "heard in the local network: 2", {}),
        ("multicast", None, "either nobody is there, or", {"heard": 0}),
        ("multicast", None, "not looked for, as you asked", {"lan": "off"}),
        ("multicast", None, "no local network", {"interfaces": [Interface.of("5.8.1.2", 24)]}),
        ("multicast", False, "no multicast here", {"lan_trouble": "There is no multicast here."}),
        ("isolation", False, "or a firewall does: Ben is in it", {"apart": ["Ben"]}),
        ("isolation", False, "Ben, Eva are in it too", {"apart": ["Ben", "Eva"]}),
        ("isolation", False, "keeps its devices apart", {"unanswered": 2, "near_peers": 0}),
        ("isolation", True, "reached in this network", {"unanswered": 2}),
        ("internet", True, "outside this network: 1", {}),
        ("internet", None, "no way out", {"far_peers": 0, "has_way_out": False}),
        ("internet", None, "no node out there", {"far_peers": 0}),
        ("meeting", True, "Connected to 3", {}),
        ("meeting", True, "Connected to 2", {"far_peers": 0, "has_way_out": False}),
        ("meeting", None, "2 node(s) nearby, and to none outside", {"far_peers": 0}),
        ("meeting", False, "known from before", {"far_peers": 0, "near_peers": 0}),
        ("meeting", False, "as a relay does not answer", AWAY),
        ("meeting", None, "as a relay does not answer", AWAY | {"has_way_out": False}),
        ("meeting", None, "has no beginning", ALONE),
        ("meeting", True, "1 node(s) of this machine", INDOORS),
        ("meeting", None, "No other node", INDOORS | {"here_peers": 0}),
        ("nat", True, "usual kind", {}),
        ("nat", True, "usual kind", {"reflections": outside(41_000, 41_000)}),
        ("nat", None, "cannot tell", {"reflections": outside(41_000)}),
        ("nat", False, "another port", {"reflections": outside(41_000, 42_000)}),
        ("nat", None, "unknown", {"reflections": []}),
        ("nat", True, "No router", {"is_public": True}),
        ("nat", None, "Only your relays", HIDDEN),
        ("nat", None, "as you asked", INDOORS),
        ("udp", True, "lets sound", {}),
        ("udp", True, "lets sound", {"reflections": outside(None, 40_000)}),
        ("udp", False, "blocks UDP", {"reflections": [None]}),
        ("reachable", True, "through 1 relay", {}),
        ("reachable", True, "Nodes outside", {"relays": 0, "was_reached": True}),
        ("reachable", False, "leads nobody to this one", {"relays": 0}),
        ("reachable", False, "as a relay does not answer", AWAY),
        ("reachable", None, "nobody is known to reach", ALONE),
        ("reachable", None, "Only this machine", INDOORS),
        ("reachable", None, "nobody from outside has come", {"is_public": True}),
        ("reachable", True, "Anybody", {"is_public": True, "was_reached": True}),
        ("relaying", None, "no public address", {}),
        ("relaying", None, "as you chose", {"carries": False}),
        ("relaying", None, "do not see it", HIDDEN),
        ("relaying", None, "do not see it", INDOORS),
        ("relaying", True, "helps 4 other", {"is_public": True, "places": 4}),
        ("clock", True, "agrees", {}),
        ("clock", True, "agrees", {"clock_s": 120.0}),
        ("clock", False, "2 minutes slow", {"clock_s": 121.0}),
        ("clock", False, "60 minutes fast", {"clock_s": -3_600.0}),
        ("clock", None, "nobody to compare", {"clock_s": None}),
        ("port", None, "was taken", {"port": 40_001}),
    ],
)
def test_what_is_said(what, ok, words, seen):
    finding = told(what, **seen)
    assert finding is not None
    assert finding.ok is ok, finding.text
    assert words in finding.text


def test_who_hides_behind_relays_is_told_nothing_of_networks_that_it_keeps_from():
    for what in ("network", "isolation", "port"):
        assert told(what, **HIDDEN, port=40_001) is None
    assert not [each for each in diagnose(replace(HOME, **HIDDEN)) if each.ok is False]


def test_who_meets_this_machine_alone_is_told_of_no_wifi():
    assert told("isolation", **INDOORS) is None
    assert not [each for each in diagnose(replace(HOME, **INDOORS)) if each.ok is False]


def test_of_what_is_as_usual_nothing_is_said():
    assert told("port") is None
    assert told("port", port=40_001, any_port=False) is None
    assert told("udp", reflections=[]) is None
    assert told("isolation", near_peers=0) is None
    assert told("isolation", near_peers=0, here_peers=1) is None, "one machine is no network"


# ── what is observed ─────────────────────────────────────────────────────────────────────────


OURS = DeviceKey(b"ours".ljust(32))


def card(created, dev=bytes(32)):
    body = cbor.encode([1, b"genesis", b"", dev, 1, created, 600, 1, 0, []])
    return cbor.encode([1, 4, body, bytes(64)])


@pytest.mark.parametrize(
    ("heard", "expected"),
    [
        ([], None),
        ([(b"noise", 1_000.0)], None),
        ([(card(900), 1_000.0), (card(100), 1_000.0)], 0.0),
        ([(card(900, OURS), 1_000.0)], None),  # from before a restart
        ([(card(4_600), 1_000.0)], 3_600.0),  # made in our future: we are slow
        ([(card(1_000), 9_000.0), (card(2_000), 9_000.0)], -7_000.0),  # all of them old
    ],
)
def test_cards_tell_whether_the_clock_is_wrong(heard, expected):
    assert clock_difference([], heard, OURS) == expected


def test_what_relays_say_of_the_time_comes_first():
    assert clock_difference([50.0, 60.0, 9_000.0], [(card(4_600), 1_000.0)], OURS) == 60.0


HERE = [Interface.of("192.168.1.10", 24)]
HOST = "1 1 udp 2130706431 192.168.1.11 4000 typ host"
OUTSIDE = "2 1 udp 1694498815 5.8.1.2 4000 typ srflx raddr 192.168.1.11 rport 4000"


@pytest.mark.parametrize(
    ("theirs", "ours", "together"),
    [
        ([HOST, OUTSIDE], "5.8.1.2", True),
        ([HOST, OUTSIDE], "5.8.2.2", False),  # the same numbers in another home
        ([HOST], "5.8.1.2", False),
        ([HOST.replace("192.168.1", "192.168.2"), OUTSIDE], "5.8.1.2", False),
        (["noise", ""], "5.8.1.2", False),
        ([HOST.replace("192.168.1.11", "name.local"), OUTSIDE], "5.8.1.2", False),
    ],
)
def test_who_is_on_our_network_is_known_by_the_router_and_the_network(theirs, ours, together):
    assert shares_network(theirs, [None, Address(ip_address(ours), 1)], HERE) is together


@pytest.mark.parametrize("ip", ["127.0.0.1", "::1"])
async def test_relays_are_asked_from_one_socket_and_silence_is_told_apart(ip):
    here = ip_address(ip)
    if here.version == 6:
        need_ipv6()
    family = trio.socket.AF_INET if here.version == 4 else trio.socket.AF_INET6
    served, silent = (trio.socket.socket(family, trio.socket.SOCK_DGRAM) for _ in range(2))
    for each in (served, silent):
        await each.bind((ip, 0))
    key = nacl.signing.SigningKey(bytes(32))
    answerer = HelloAnswerer(key, addrs=list, clock=clock, faults=Faults(), reflects=lambda: True)
    reflectors = [Address(here, each.getsockname()[1]) for each in (served, silent)]
    with silent:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(answerer.serve_udp, served)
            began = time.monotonic()
            port, found = await reflect(reflectors, os.urandom, wait_s=0.1)
            assert time.monotonic() - began < 3
            nursery.cancel_scope.cancel()
    assert found == [Address(here, port), None]


async def test_nobody_is_asked_if_there_is_nobody():
    assert await reflect([], os.urandom) == (0, [])
