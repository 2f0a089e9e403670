"""Browsing on loopback: who answers hello is found, and who only announces is not."""

import contextlib
import gc
import os
import random
import socket as stdlib_socket
import time
from contextlib import asynccontextmanager
from functools import partial
from ipaddress import IPv4Network, ip_address
from itertools import pairwise

import nacl.signing
import pytest
import trio
from zeroconf import ServiceBrowser, ServiceInfo, Zeroconf
from zeroconf._dns import DNSPointer
from zeroconf._protocol.outgoing import DNSOutgoing
from zeroconf.const import _CLASS_IN, _FLAGS_AA, _FLAGS_QR_RESPONSE, _TYPE_PTR

from p2phouse.net.faults import Faults
from p2phouse.net.hello import HelloAnswerer
from p2phouse.net.lan import (
    ADDRESSES_TRIED_MAX,
    SERVICE,
    BadAnnouncement,
    Lan,
    NoMulticast,
    open_zeroconf,
    read_addresses,
    read_port,
)
from p2phouse.record import envelope
from p2phouse.record.types import Hello
from p2phouse.vocabulary import DeviceKey, Now
from tests.net.test_hello import answer_wrongly, answering

LOOPBACK = ip_address("127.0.0.1")
NETWORK = IPv4Network("127.0.0.0/8")


def key(number):
    return nacl.signing.SigningKey((0x1A5 + number).to_bytes(32, "big"))


def dev(number):
    return DeviceKey(bytes(key(number).verify_key))


def sockets():
    """Those that this process has open."""
    found = set()
    for number in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):  # of the listing itself
            found.add(os.readlink(f"/proc/self/fd/{number}"))
    return {name for name in found if name.startswith("socket:")}


class Node:
    """One that browses: whom it found, what troubled it."""

    def __init__(self, *, ips=(LOOPBACK,), port=9):
        self.found = []
        self.troubles = []
        self.faults = Faults()
        self.here: set[DeviceKey] = set()
        self.lan = Lan(
            ips=list(ips),
            port=port,
            networks=[NETWORK],
            connected=self.here.__contains__,
            found=self._find,
            trouble=self._trouble,
            rng=random.Random(1),
            entropy=os.urandom,
            faults=self.faults,
            ask_again_s=0.5,
        )

    async def _find(self, dev, addresses):
        self.found.append((dev, addresses))

    async def _trouble(self, error):
        self.troubles.append(str(error))

    async def until(self, condition):
        with trio.fail_after(15):
            while not condition():  # noqa: ASYNC110 - lists and counters have no event
                await trio.sleep(0.02)

    async def finds(self, dev):
        await self.until(lambda: dev in [found for found, _ in self.found])


@asynccontextmanager
async def running(node):
    async with trio.open_nursery() as nursery:
        nursery.start_soon(node.lan.run)
        yield
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def speaking():
    """Somebody else's mDNS on this machine."""
    zeroconf = await trio.to_thread.run_sync(partial(Zeroconf, interfaces=["127.0.0.1"]))
    try:
        yield zeroconf
    finally:
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(zeroconf.close)


@asynccontextmanager
async def announced(*ports, services=()):
    """Somebody else's announcements of our service: of ports here, or of other things."""
    wellformed = [({"p": str(port)}, "127.0.0.1") for port in ports]
    async with speaking() as zeroconf, trio.open_nursery() as nursery:
        for properties, address in [*services, *wellformed]:
            info = ServiceInfo(
                SERVICE,
                f"{os.urandom(8).hex()}.{SERVICE}",
                port=9,
                properties=properties,
                server=f"{os.urandom(8).hex()}.local.",
                addresses=[stdlib_socket.inet_aton(address)],
            )
            register = partial(zeroconf.register_service, info, cooperating_responders=True)
            nursery.start_soon(trio.to_thread.run_sync, register)
        yield


def answerer(number):
    return HelloAnswerer(
        key(number),
        addrs=list,
        clock=lambda: Now(time.monotonic(), time.time()),
        faults=Faults(),
    )


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")  # as below
async def test_where_ipv6_has_no_multicast_nodes_are_found_by_ipv4():
    gone = ip_address("2001:db8::77")  # of no machine
    node = Node(ips=(LOOPBACK, gone))
    async with answering(answerer(1).serve_udp) as port, announced(port), running(node):
        await node.finds(dev(1))
    with pytest.raises(NoMulticast):
        await open_zeroconf([gone])


async def test_whoever_answers_hello_is_found_where_it_answered_whatever_else_is_announced():
    node = Node()
    false = [
        ({}, "127.0.0.1"),
        ({"p": "no number"}, "127.0.0.1"),
        ({"p": "65536"}, "127.0.0.1"),
        ({"p": "9"}, "203.0.113.5"),
        ({"p": "9"}, "127.0.0.1"),
    ]
    answers = answering(answerer(1).serve_udp)
    async with answers as port, running(node), announced(port, services=false):
        await node.finds(dev(1))
        await node.until(lambda: node.faults.counters["lan_silent"] >= 1)
    found = dict(node.found)[dev(1)]
    assert [(address.ip, address.port) for address in found] == [(LOOPBACK, port)]
    assert node.faults.counters["lan_announcement"] >= 3
    assert node.faults.counters["lan_far_address"] >= 1


async def test_a_node_announces_that_somebody_is_here_and_not_who():
    async with answering(answerer(1).serve_udp) as port:
        ana, ben = Node(port=port), Node()
        heard = []
        async with speaking() as zeroconf, running(ana), running(ben):
            await ben.finds(dev(1))

            def note(name, **unused):
                heard.append(zeroconf.get_service_info(SERVICE, name))

            browser = ServiceBrowser(zeroconf, SERVICE, handlers=[note])
            ports = {str(port).encode()}
            await ben.until(lambda: ports <= {info.properties.get(b"p") for info in heard if info})
            browser.cancel()
    (info,) = [info for info in heard if info and info.properties.get(b"p") in ports]
    assert set(info.properties) == {b"id", b"p"}
    assert stdlib_socket.gethostname() not in repr(info)
    assert dev(1).hex()[:8] not in repr(info)


async def test_a_name_that_zeroconf_cannot_read_ends_nothing():
    node = Node()
    async with answering(answerer(1).serve_udp) as port, running(node), speaking() as zeroconf:
        for name in ("x._evil._udp.local.", f"{'x' * 60}.{'y' * 60}.{SERVICE}", "local."):
            packet = DNSOutgoing(_FLAGS_QR_RESPONSE | _FLAGS_AA)
            packet.add_answer_at_time(DNSPointer(SERVICE, _TYPE_PTR, _CLASS_IN, 4_500, name), 0)
            zeroconf.send(packet)
        await node.until(lambda: node.faults.counters["lan_announcement"])
        async with announced(port):
            await node.finds(dev(1))


@pytest.mark.slow
async def test_a_node_of_another_version_is_one_sentence():
    def make_answer(nonce):
        return envelope.sign(Hello(nonce, (7, 9), dev(1), ()), key(1)).data

    node = Node()
    wrong = partial(answer_wrongly, make_answer=make_answer)
    async with answering(wrong) as port, running(node), announced(port):
        await node.until(lambda: node.troubles)
    assert node.troubles[0].startswith("That node speaks version 7 to 9 of the protocol")


@pytest.mark.slow
async def test_who_was_silent_is_asked_ever_less_often():
    node = Node()
    asked = []

    async def count(socket):
        with socket:
            while True:
                await socket.recvfrom(600)
                asked.append(trio.current_time())

    async with answering(count) as port, running(node), announced(port):
        await trio.sleep(8)
    # Each round asks three times, half a second apart.
    pauses = [after - before for before, after in pairwise(asked) if after - before > 0.6]
    assert pauses[1] > pauses[0] + 0.5


def info(*addresses):
    return ServiceInfo(
        SERVICE,
        f"x.{SERVICE}",
        addresses=[stdlib_socket.inet_aton(address) for address in addresses],
    )


def test_of_many_addresses_a_few_are_asked_and_no_strange_ones():
    many = [f"127.0.0.{number}" for number in range(1, 40)]
    assert len(read_addresses(info(*many))) == ADDRESSES_TRIED_MAX
    assert read_addresses(info("224.0.0.1", "0.0.0.0", "127.0.0.9")) == [ip_address("127.0.0.9")]


@pytest.mark.parametrize(("text", "port"), [(b"1", 1), (b"65535", 65_535)])
def test_a_port_at_each_end_is_read(text, port):
    assert read_port({b"p": text}) == port


@pytest.mark.parametrize("text", [None, b"", b"0", b"65536", b"-1", b"1e3", b"000001", b"\xb2"])
def test_what_is_no_port_is_refused(text):
    with pytest.raises(BadAnnouncement):
        read_port({b"p": text})


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")  # zeroconf's, when it fails
async def test_without_multicast_there_is_one_sentence():
    async def sentence():
        try:
            await Node(ips=[ip_address("203.0.113.1")]).lan.run()
        except NoMulticast as error:
            return str(error)

    gc.disable()  # it would close them some time
    try:
        before = sockets()
        assert "p2phouse join HOST:PORT" in await sentence()
        assert sockets() == before, "each network that does not want us costs a socket"
    finally:
        gc.enable()
