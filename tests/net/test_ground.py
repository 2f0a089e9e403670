"""Where a node stands, and what it does when networks come and go."""

import socket
from ipaddress import ip_address

import pytest

from p2phouse.net.addresses import Address, Interface, IPAddress
from p2phouse.net.ground import ADDRESSES_MAX, Ground, is_public

LOOPBACK = Interface.of("127.0.0.1", 8)
WIFI = Interface.of("127.0.0.2", 24)  # any of 127/8 can be bound, so they play the networks here
CABLE = Interface.of("127.0.0.3", 24)


class Machine:
    """One whose networks the test plugs in and out."""

    def __init__(self, *plugged):
        self.plugged = list(plugged)
        self.out: list[IPAddress] = []
        self.bound = []

    def stand(self, lan="on"):
        ground = Ground(lan, find=lambda: list(self.plugged), ways_out=lambda: self.out)
        self.bound += ground.claim(0)
        return ground

    def look(self, ground):
        changed, claimed = ground.look()
        self.bound += [bound for _, bound in claimed]
        return changed, [address for address, _ in claimed]


@pytest.fixture
def machine():
    machine = Machine(LOOPBACK, WIFI)
    yield machine
    for each in machine.bound:
        each.close()


def test_a_node_stands_on_every_address_with_one_port(machine):
    ground = machine.stand()
    assert ground.addresses == [Address(LOOPBACK.ip, ground.port), Address(WIFI.ip, ground.port)]
    assert list(ground.networks) == [LOOPBACK.network, WIFI.network]
    assert {each.getsockname()[1] for each in machine.bound} == {ground.port}


def test_when_nothing_changed_nothing_happens(machine):
    ground = machine.stand()
    assert machine.look(ground) == (False, [])


def test_a_network_plugged_in_later_is_stood_on_too(machine):
    ground = machine.stand()
    machine.plugged.append(CABLE)
    new = Address(CABLE.ip, ground.port)
    assert machine.look(ground) == (True, [new])
    assert new in ground.addresses
    assert machine.look(ground) == (False, [])


def test_a_network_that_went_is_told_to_nobody_and_its_return_costs_nothing(machine):
    ground = machine.stand()
    machine.plugged.remove(WIFI)
    assert machine.look(ground) == (True, [])
    assert ground.addresses == [Address(LOOPBACK.ip, ground.port)]
    assert list(ground.networks) == [LOOPBACK.network]
    machine.plugged.append(WIFI)
    assert machine.look(ground) == (True, [])
    assert Address(WIFI.ip, ground.port) in ground.addresses


def test_a_port_taken_on_a_new_network_is_tried_again_later(machine):
    ground = machine.stand()
    machine.plugged.append(CABLE)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind((str(CABLE.ip), ground.port))
        assert machine.look(ground) == (False, [])
    assert machine.look(ground) == (True, [Address(CABLE.ip, ground.port)])


def test_the_address_that_leads_out_comes_before_those_of_bridges(machine):
    bridges = [Interface.of(f"127.0.1.{number}", 24) for number in range(1, 6)]
    machine.plugged = [LOOPBACK, *bridges, WIFI]
    machine.out = [WIFI.ip]
    ground = machine.stand()
    ips = [address.ip for address in ground.addresses]
    assert all(ips.index(WIFI.ip) < ips.index(bridge.ip) for bridge in bridges)


def test_of_too_many_addresses_sixteen_are_stood_on(machine):
    machine.plugged = [LOOPBACK, *(Interface.of(f"127.0.2.{n}", 24) for n in range(1, 40))]
    ground = machine.stand()
    assert len(ground.addresses) == ADDRESSES_MAX
    assert machine.look(ground) == (False, [])


def test_those_that_lead_out_by_either_family_come_first(machine):
    machine.plugged = [LOOPBACK, WIFI, CABLE]
    machine.out = [CABLE.ip, WIFI.ip]
    ground = machine.stand()
    assert [each.ip for each in ground.addresses] == [CABLE.ip, WIFI.ip, LOOPBACK.ip]
    assert ground.has_way_out


@pytest.mark.parametrize(
    ("ips", "came_by_6", "public"),
    [
        (["127.0.0.1", "192.168.1.2"], False, False),
        (["127.0.0.1", "5.9.1.2"], False, True),
        (["192.168.1.2", "2a05:8:1::10"], False, False),
        (["2a05:9:1::2"], True, True),
        (["fd00::2"], True, False),
    ],
)
def test_a_global_address_of_ipv6_is_public_once_somebody_has_come_to_it(ips, came_by_6, public):
    assert is_public([ip_address(ip) for ip in ips], came_by_6=came_by_6) is public


def test_a_node_that_stays_on_loopback_stands_nowhere_else():
    outside = Interface.of("192.0.2.7", 24)
    machine = Machine(LOOPBACK, outside)
    ground = machine.stand("loopback")
    assert [address.ip for address in ground.addresses] == [ip_address("127.0.0.1")]
    for each in machine.bound:
        each.close()
