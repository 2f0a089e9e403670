"""What becomes of a carried room whose hub, or the network under it, is in trouble.

Six real nodes on a LAN of their own, one of whom carries all voices, while another speaks without
a pause (hub.py). One room serves all tests: each leaves it as it found it, whole and with one hub.
"""

import contextlib
import os
import subprocess
import sys
import time

import pytest

from tests.e2e.conftest import Lan
from tests.e2e.hub import HubRoom, hub_room
from tests.e2e.nodes import making_nodes, until

AGAIN_MS_MAX = (
    2_000  # 60 to 300 are usual; the rest is a machine of two cores that does other things
)
CALM_MS_MAX = 500  # where nothing is to be repaired
AWAY_S = 20.0  # by then its libp2p connections are given up
HOUR_S = 3_600.0
UPLINK = "100kbit"  # two and a half voices; a hub feeds five
HAND_OVER_S = 30.0  # 8 are usual
STRANGER = 9  # number of a host that is nobody's


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trouble")
    with contextlib.ExitStack() as ending:
        lan = Lan(f"p2pt{os.getpid()}")
        ending.callback(lan.remove)
        make = ending.enter_context(making_nodes(folder))
        yield ending.enter_context(hub_room(lan, make, folder))


@pytest.fixture(autouse=True)
def talk(room: HubRoom) -> None:
    """The speaker begins anew, and has enough to say for one test."""
    room.talk(anew=True)


def unheard_ms(room: HubRoom, since: float) -> int:
    """The longest silence of anybody who listens, or all that one missed if that is more; after
    everybody has heard three seconds more."""
    room.hear(150, within_s=20)
    now = time.time()
    found = {
        name: round(max(room.gap_ms(name, since, now), 20 * room.unopened(name, since, now - 1)))
        for name in room.listeners
    }
    print(f"unheard, ms: {found}", file=sys.stderr)
    return max(found.values())


@pytest.mark.nightly
def test_a_hub_that_freezes_is_replaced_and_does_not_fight_when_it_wakes(room):
    before = room.whole()
    with room.without(before.hub):
        with room.nodes[before.hub].frozen():
            at = time.time()
            assert unheard_ms(room, at) <= AGAIN_MS_MAX
            assert room.settled(unlike=before.hub).hub == before.standby
            wait_until(at + AWAY_S)
        woke = time.time()
    assert room.whole().hub != before.hub, "it does not take it back"
    with room.without(before.hub):
        assert unheard_ms(room, woke) <= CALM_MS_MAX


@pytest.mark.nightly
def test_a_hub_whose_cable_is_pulled_is_replaced_and_is_back_when_it_is_plugged_in(room):
    before = room.whole()
    number = room.number(before.hub)
    with room.without(before.hub):
        at = time.time()
        room.lan.unplug(number)
        try:
            assert unheard_ms(room, at) <= AGAIN_MS_MAX
            assert room.settled(unlike=before.hub).hub == before.standby
            wait_until(at + AWAY_S)
        finally:
            room.lan.plug(number)
        plugged = time.time()
    assert room.whole().hub != before.hub, "it does not take it back"
    with room.without(before.hub):
        assert unheard_ms(room, plugged) <= CALM_MS_MAX


@pytest.mark.nightly
def test_halves_go_on_apart_and_are_one_room_with_one_hub_when_they_meet(room):
    before = room.whole()
    carriers = [name for name in room.nodes if name not in (before.hub, "speaker", "eve")]
    carriers.remove(before.standby)
    near, far = ["speaker", before.standby, carriers[0]], [before.hub, "eve", carriers[1]]
    numbers = [room.number(name) for name in near]
    at = time.time()
    with room.without(*far):
        room.lan.part(*numbers)
        try:
            assert unheard_ms(room, at) <= AGAIN_MS_MAX
            wait_until(at + AWAY_S)
            assert room.settled().hub in near
            views = {room.nodes[name].asked("status")["people"] for name in far}
            assert views == {len(far)}, "the other half sees itself alone"
        finally:
            room.lan.heal(*numbers)
        healed = time.time()
    room.whole()
    with room.without(*far):
        assert unheard_ms(room, healed) <= AGAIN_MS_MAX


@pytest.mark.nightly
@pytest.mark.parametrize("wrong_s", [HOUR_S, -HOUR_S])
def test_a_hub_whose_clock_is_an_hour_wrong_stays_hub_and_everybody_hears(room, wrong_s):
    before = room.whole()
    at = time.time()
    room.nodes[before.hub].set_clock(wrong_s)
    try:
        wait_until(at + AWAY_S)
        assert unheard_ms(room, at) <= CALM_MS_MAX
        assert room.whole().hub == before.hub
    finally:
        back = time.time()
        room.nodes[before.hub].set_clock(0.0)
    assert room.whole().hub == before.hub
    assert unheard_ms(room, back) <= CALM_MS_MAX


@pytest.mark.nightly
def test_a_hub_whose_uplink_is_full_hands_over_or_is_heard(room):
    before = room.whole()
    namespace = room.nodes[before.hub].namespace
    shape = ("tc", "qdisc", "replace", "dev", "eth0", "root", "tbf", "rate", UPLINK)
    inside = ("ip", "netns", "exec", namespace)
    at = time.time()
    subprocess.run([*inside, *shape, "burst", "4kb", "latency", "300ms"], check=True)
    try:
        until(lambda: (room.carried("speaker") or before).hub != before.hub, "another", HAND_OVER_S)
        print(f"another hub after {time.time() - at:.0f} s", file=sys.stderr)
        room.settled(unlike=before.hub)
        assert unheard_ms(room, time.time()) <= CALM_MS_MAX
    finally:
        subprocess.run([*inside, "tc", "qdisc", "del", "dev", "eth0", "root"], check=True)
    room.whole()


GARBAGE = """
import random, socket, sys, time
rng, address = random.Random(1), sys.argv[1]
udp_ports, tcp_ports = ([int(port) for port in text.split(",")] for text in sys.argv[2:])
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for number in range(200):
    for _ in range(50):
        udp.sendto(rng.randbytes(rng.randint(1, 1400)), (address, rng.choice(udp_ports)))
    if number % 4 == 0:
        with socket.create_connection((address, rng.choice(tcp_ports)), 5) as tcp:
            tcp.sendall(rng.randbytes(1400))
    time.sleep(0.02)
"""


def test_a_hub_that_is_sent_garbage_forwards_on(room):
    """Ten thousand datagrams and fifty connections, to all its ports, from a member's machine, and
    as many from a stranger's."""
    before = room.whole()
    hub = room.nodes[before.hub].namespace
    address = f"10.77.0.{room.number(before.hub)}"
    ports = [",".join(map(str, ports_of(hub, kind))) for kind in ("-u", "-tl")]
    hosts = [room.nodes["eve"].namespace, room.lan.host(STRANGER)]
    at = time.time()
    sending = [
        subprocess.Popen(
            ["ip", "netns", "exec", host, sys.executable, "-c", GARBAGE, address, *ports]
        )
        for host in hosts
    ]
    assert [each.wait(60) for each in sending] == [0, 0]
    assert unheard_ms(room, at) <= CALM_MS_MAX
    assert room.whole().hub == before.hub


def ports_of(namespace: str, kind: str) -> set[int]:
    """Where somebody listens there, but for what only this machine reaches."""
    told = subprocess.run(
        ["ip", "netns", "exec", namespace, "ss", "-Hna", kind],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    ends = [line.split()[3] for line in told.splitlines()]
    found = {int(end.rpartition(":")[2]) for end in ends if not end.startswith("127.")}
    assert found
    return found


def wait_until(unix: float) -> None:
    time.sleep(max(0.0, unix - time.time()))  # what is tested is that nothing happens
