"""Multiaddrs of TCP over IP: read, written, ranked."""

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multiaddr import Multiaddr

from p2phouse.net.addresses import (
    Address,
    Circuit,
    Interface,
    discreet,
    interfaces,
    pack,
    rank,
    unpack,
    unpack_all,
    unpack_way,
    unpack_ways,
)
from p2phouse.record.limits import ADDR_BYTES_MAX
from p2phouse.vocabulary import DeviceKey

LAN = ip_network("192.168.1.0/24")

addresses = st.builds(
    Address,
    ip=st.ip_addresses().filter(lambda ip: not (ip.is_unspecified or ip.is_multicast)),
    port=st.integers(1, 65_535),
)


def address(text, port=4_000):
    return Address(ip_address(text), port)


@given(addresses)
def test_what_is_packed_is_read_back_the_same(given):
    assert unpack(pack(given)) == given


@given(addresses)
def test_an_address_is_packed_as_the_multiaddr_library_packs_it(given):
    assert pack(given) == Multiaddr(str(given)).to_bytes()


@given(st.binary(max_size=80))
def test_any_bytes_are_an_address_or_nothing(data):
    found = unpack(data)
    assert found is None or pack(found) == data


@pytest.mark.parametrize(
    "text",
    [
        "/ip4/192.168.1.2/udp/4000",
        "/ip4/192.168.1.2/tcp/0",
        "/ip4/0.0.0.0/tcp/4000",
        "/ip4/224.0.0.251/tcp/4000",
        "/ip4/192.168.1.2/tcp/4000/ws",
        "/dns4/house.example/tcp/4000",
    ],
)
def test_what_nobody_can_be_dialled_at_is_passed_over(text):
    assert unpack(Multiaddr(text).to_bytes()) is None


def test_of_many_those_that_can_be_dialled_stay_in_order_and_once():
    first, second = address("10.0.0.2"), address("10.0.0.1")
    told = [pack(first), b"junk", pack(second), pack(first)]
    assert unpack_all(told) == [first, second]


def test_this_machine_comes_before_an_attached_network_before_the_rest():
    loopback, near = address("127.0.0.1"), address("192.168.1.9")
    far, far_six = address("203.0.113.5"), address("2001:db8::5")
    assert rank([far_six, far, near, loopback, near], [LAN]) == [loopback, near, far, far_six]


def test_this_machine_has_a_loopback_interface_and_it_comes_first():
    assert interfaces()[0].ip.is_loopback


@pytest.mark.parametrize(
    ("ip", "is_private"),
    [
        ("192.168.1.2", True),
        ("169.254.7.7", True),
        ("127.0.0.1", False),
        ("8.8.8.8", False),
        ("fd00::2", True),
        ("2a05:8:1::10", False),
        ("::1", False),
    ],
)
def test_a_lan_is_what_was_set_aside_for_it_but_not_loopback(ip, is_private):
    assert Interface.of(ip, 24).is_private is is_private


def test_of_several_addresses_in_a_network_of_ipv6_the_outward_one_is_told():
    lasting, daily = Interface.of("2a05:8:1::10", 64), Interface.of("2a05:8:1::dead", 64)
    other, four = Interface.of("fd00::2", 64), Interface.of("192.168.1.10", 24)
    found = [four, lasting, daily, other]
    assert discreet(found, [four.ip, daily.ip]) == [four, daily, other]
    assert discreet(found, [four.ip]) == found


@given(addresses, st.binary(min_size=32, max_size=32))
def test_a_circuit_is_packed_as_the_multiaddr_library_packs_it_and_fits_a_record(relay, dev):
    from p2phouse.identity.keys import peer_id

    circuit = Circuit(relay, DeviceKey(dev))
    data = pack(circuit)
    assert data == Multiaddr(f"{relay}/p2p/{peer_id(DeviceKey(dev))}/p2p-circuit").to_bytes()
    assert unpack_way(data) == circuit
    assert len(data) <= ADDR_BYTES_MAX
    assert unpack(data) is None, "who dials directly does not take the relay for the node"


@given(st.binary(max_size=80))
def test_any_bytes_are_a_way_or_nothing(data):
    way = unpack_way(data)
    assert way is None or pack(way) == data


def test_a_circuit_of_a_relay_that_nobody_can_dial_is_passed_over():
    data = pack(Circuit(address("224.0.0.1"), DeviceKey(bytes(32))))
    assert unpack_ways([data, pack(address("10.0.0.1"))]) == [address("10.0.0.1")]
