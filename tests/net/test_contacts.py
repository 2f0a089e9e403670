"""Where peers can be dialled, and what of it is of use to whom."""

from ipaddress import ip_address, ip_network

import pytest

from p2phouse.net.addresses import Address
from p2phouse.net.contacts import ADDRESSES_EACH_MAX, CONTACTS_MAX, Contacts, reachable
from p2phouse.vocabulary import DeviceKey

HOME = [ip_network("192.168.1.0/24"), ip_network("127.0.0.0/8")]
BEN = DeviceKey(b"b" * 32)


def at(ip, port=17_472):
    return Address(ip_address(ip), port)


PUBLIC, NEAR, ELSEWHERE, INDOORS = map(at, ("5.9.1.2", "192.168.1.7", "10.0.0.1", "127.0.0.1"))


@pytest.mark.parametrize(("near", "useful"), [(True, [PUBLIC, NEAR, INDOORS]), (False, [PUBLIC])])
def test_of_private_addresses_those_of_our_own_networks_are_told_and_dialled_by_near_ones(
    near, useful
):
    # Security: strangers name whom we dial; one of a network that is not ours is a neighbour of
    # whoever routes it, or a machine that we would knock on for them.
    assert reachable([PUBLIC, NEAR, ELSEWHERE, INDOORS], HOME, near=near) == useful


def test_hearsay_stands_behind_what_was_proved_and_never_displaces_it():
    contacts = Contacts()
    contacts.prove(BEN, [PUBLIC])
    for number in range(CONTACTS_MAX + 1):
        contacts.tell(DeviceKey(number.to_bytes(32, "big")), [NEAR])
    contacts.tell(BEN, [NEAR, PUBLIC])
    assert contacts.proved(BEN) == (PUBLIC,)
    assert contacts.addresses(BEN) == [PUBLIC, NEAR]
    assert contacts.addresses(DeviceKey(bytes(32))) == [], "named longest ago"


def test_of_a_peer_s_addresses_the_last_heard_are_kept():
    contacts = Contacts()
    for port in range(1, ADDRESSES_EACH_MAX + 2):
        contacts.prove(BEN, [at("5.9.1.2", port)])
    assert contacts.proved(BEN)[0].port == ADDRESSES_EACH_MAX + 1
    assert len(contacts.proved(BEN)) == ADDRESSES_EACH_MAX
