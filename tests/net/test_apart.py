"""What takes nodes in processes of their own: stopped peers, and networks other than this one."""

import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

import pytest
import trio

from p2phouse.net.events import PeerDown, PeerUp, RoomOpen
from p2phouse.net.keepalive import ELSEWHERE_S, IN_ROOM_S
from tests.net.process import remote
from tests.net.test_network import ROOM, greeting


@pytest.fixture
def short_dir():
    """A run-time directory whose path sockets can have."""
    path = Path(tempfile.mkdtemp(prefix="p2ph-"))
    for name in ("west", "east"):
        (path / name).mkdir(mode=0o700)
    yield path
    shutil.rmtree(path)


@pytest.mark.slow
@pytest.mark.nightly
async def test_a_stopped_peer_is_noticed_by_our_own_ping(make_node, short_dir):
    async with make_node(1) as node, remote(2, short_dir) as peer:
        node.network.dial(peer.dev, peer.addrs)
        await node.next(PeerUp, dev=peer.dev)
        # A room link, so that the peer is watched as those in a room are.
        node.network.open_room(peer.dev, ROOM, [])
        await node.next(RoomOpen)
        node.network.send_room(peer.dev, ROOM, greeting(node))
        await trio.sleep(2 * IN_ROOM_S)  # a few pings go well
        assert PeerDown(peer.dev) not in node.heard
        peer.process.send_signal(signal.SIGSTOP)
        stopped = trio.current_time()
        await node.next(PeerDown, dev=peer.dev)
        assert 2 * IN_ROOM_S - 1 < trio.current_time() - stopped < ELSEWHERE_S + 4
        peer.process.send_signal(signal.SIGCONT)


def ip(*arguments):
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


class Namespaces:
    """Networks of the test's own; `alone` has loopback and nothing else."""

    def __init__(self):
        self._made = []

    def alone(self, name):
        namespace = f"p2ph-{os.getpid()}-{name}"
        ip("netns", "add", namespace)
        self._made.append(namespace)
        ip("-n", namespace, "link", "set", "lo", "up")
        return namespace

    def beyond_a_router(self):
        """Two namespaces on private networks of their own, and a third that routes between."""
        west, east, router = self.alone("west"), self.alone("east"), self.alone("router")
        for number, namespace in ((1, west), (2, east)):
            ip("-n", namespace, "link", "add", "eth0", "type", "veth",
               "peer", f"port{number}", "netns", router)  # fmt: skip
            ip("-n", namespace, "addr", "add", f"10.{number}.0.2/24", "dev", "eth0")
            ip("-n", namespace, "link", "set", "eth0", "up")
            ip("-n", router, "addr", "add", f"10.{number}.0.1/24", "dev", f"port{number}")
            ip("-n", router, "link", "set", f"port{number}", "up")
            ip("-n", namespace, "route", "add", "default", "via", f"10.{number}.0.1")
        ip("netns", "exec", router, "sysctl", "-qw", "net.ipv4.ip_forward=1")
        return west, east

    def remove(self):
        for namespace in self._made:
            subprocess.run(["ip", "netns", "del", namespace], check=False, capture_output=True)


@pytest.fixture
def namespaces():
    made = Namespaces()
    yield made
    made.remove()


@pytest.mark.e2e
@pytest.mark.parametrize("lan", ["on", "off", "loopback"])
async def test_on_a_machine_with_only_loopback_nodes_meet_and_talk(namespaces, short_dir, lan):
    alone = namespaces.alone("alone")
    ana = remote(1, short_dir, lan=lan, namespace=alone)
    ben = remote(2, short_dir, lan=lan, namespace=alone)
    async with ana as ana, ben as ben:
        await ana.next("Found", dev=ben.dev.hex(), where="machine")
        await ana.next("PeerUp", dev=ben.dev.hex())
        await ben.next("PeerUp", dev=ana.dev.hex())
        await ana.tell(hello=["127.0.0.1", ben.port])
        assert (await ana.next("hello"))["dev"] == ben.dev.hex()
        await ana.tell(mesh=ben.dev.hex())
        await ana.next("mesh")
        await ana.tell(hold="Tea", lan=False, publish=True)
        card = (await ana.next("held"))["card"]
        assert (await ben.next("CardHeard"))["card"] == card
        assert not [told for told in ana.told + ben.told if told["kind"] == "Trouble"]


@pytest.mark.e2e
async def test_cards_of_a_lan_room_do_not_pass_a_router(namespaces, short_dir):
    west, east = namespaces.beyond_a_router()
    ana = remote(1, short_dir / "west", namespace=west)
    ben = remote(2, short_dir / "east", namespace=east)
    async with ana as ana, ben as ben:
        # Told on the new connection:
        await ana.tell(hold="Kitchen", lan=True, publish=False)
        await ana.next("held")
        await ana.tell(hold="Square", lan=False, publish=False)
        square = (await ana.next("held"))["card"]
        await ben.tell(dial=ana.dev.hex(), addrs=[addr.hex() for addr in ana.addrs])
        await ben.next("PeerUp")
        assert (await ben.next("CardHeard"))["card"] == square
        # Told by gossip:
        await ana.tell(mesh=ben.dev.hex())
        await ana.next("mesh")
        await ana.tell(hold="Cellar", lan=True, publish=True)
        await ana.next("held")
        await ana.tell(hold="Market", lan=False, publish=True)
        market = (await ana.next("held"))["card"]
        assert (await ben.next("CardHeard"))["card"] == market
        # And it was Ana who kept them back, not only Ben who would not hear them.
        await ben.tell(counters=True)
        counters = await ben.next("counters")
        assert "gossip_useless" not in counters
        assert "hall_useless" not in counters


@pytest.mark.e2e
async def test_cards_of_a_lan_room_are_heard_on_its_own_network(namespaces, short_dir):
    alone = namespaces.alone("alone")
    ana = remote(1, short_dir, namespace=alone)
    ben = remote(2, short_dir, namespace=alone)
    async with ana as ana, ben as ben:
        await ana.next("PeerUp")
        await ana.tell(mesh=ben.dev.hex())
        await ana.next("mesh")
        await ana.tell(hold="Kitchen", lan=True, publish=True)
        card = (await ana.next("held"))["card"]
        assert (await ben.next("CardHeard"))["card"] == card
