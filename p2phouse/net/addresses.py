"""Network addresses as the records carry them: binary multiaddrs of TCP over IPv4 or IPv6.

A multiaddr is a run of (protocol code, value); we write and read exactly /ip4|ip6/A/tcp/N, alone or
followed by /p2p/RELAY/p2p-circuit, and pass over every other kind, so that a record made by a later
version does no harm.
Spec: https://github.com/multiformats/multiaddr, protocols.csv (ip4 4, ip6 41, tcp 6, p2p 421,
p2p-circuit 290).
"""

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import ifaddr

from p2phouse.identity.keys import PEER_ID_PREFIX
from p2phouse.vocabulary import DeviceKey

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network

ADDR_BYTES_MAX: Final = 64
_IP4, _TCP, _IP6 = b"\x04", b"\x06", b"\x29"
_P2P: Final = b"\xa5\x03\x26" + PEER_ID_PREFIX  # code 421 and 38 bytes of value
_CIRCUIT: Final = b"\xa2\x02"
_CIRCUIT_BYTES: Final = len(_P2P) + 32 + len(_CIRCUIT)


@dataclass(frozen=True, slots=True)
class Address:
    """Where a node listens for libp2p, and on the same number for hello."""

    ip: IPAddress
    port: int

    def __str__(self) -> str:
        return f"/ip{self.ip.version}/{self.ip}/tcp/{self.port}"


@dataclass(frozen=True, slots=True)
class Circuit:
    """A node that is reached through a relay: `through` answers at `relay` and passes bytes on."""

    relay: Address
    through: DeviceKey


Way = Address | Circuit


@dataclass(frozen=True, slots=True)
class Interface:
    """One address of this machine and the network it is attached to."""

    ip: IPAddress
    network: IPNetwork

    @classmethod
    def of(cls, ip: str, prefix: int) -> "Interface":
        whole = ipaddress.ip_interface(f"{ip}/{prefix}")
        return cls(whole.ip, whole.network)

    @property
    def is_private(self) -> bool:
        """A LAN: what RFC 1918, RFC 3927 or RFC 4193 set aside, loopback excepted."""
        return (self.ip.is_private or self.ip.is_link_local) and not self.ip.is_loopback


def pack(way: Way) -> bytes:
    if isinstance(way, Circuit):
        return pack(way.relay) + _P2P + way.through + _CIRCUIT
    code = _IP4 if way.ip.version == 4 else _IP6
    return code + way.ip.packed + _TCP + way.port.to_bytes(2, "big")


def unpack(data: bytes) -> Address | None:
    """None for any multiaddr but TCP over IP, and for addresses nobody can be dialled at."""
    for code, size in ((_IP4, 4), (_IP6, 16)):
        if len(data) == size + 4 and data[:1] == code and data[size + 1 : size + 2] == _TCP:
            ip = ipaddress.ip_address(data[1 : size + 1])
            port = int.from_bytes(data[-2:], "big")
            if port == 0 or ip.is_unspecified or ip.is_multicast:
                return None
            return Address(ip, port)
    return None


def unpack_way(data: bytes) -> Way | None:
    """As `unpack`, and circuits through a relay whose address is one."""
    tail = data[-_CIRCUIT_BYTES:]
    if not (tail.startswith(_P2P) and tail.endswith(_CIRCUIT)):
        return unpack(data)
    relay = unpack(data[:-_CIRCUIT_BYTES])
    return None if relay is None else Circuit(relay, DeviceKey(tail[len(_P2P) : len(_P2P) + 32]))


def unpack_all(addrs: Iterable[bytes]) -> list[Address]:
    """Those we can dial directly, in order, each once."""
    return list(dict.fromkeys(address for address in map(unpack, addrs) if address is not None))


def unpack_ways(addrs: Iterable[bytes]) -> list[Way]:
    """All that lead to a node, in order, each once."""
    return list(dict.fromkeys(way for way in map(unpack_way, addrs) if way is not None))


def interfaces() -> list[Interface]:
    """The addresses of this machine that others can be told, loopback and IPv4 first.

    Of IPv6 neither link-local ones, which mean nothing without their interface, nor loopback: that
    of IPv4 is on every machine.
    """
    found = {
        Interface.of(ip.ip if isinstance(ip.ip, str) else ip.ip[0], ip.network_prefix)
        for adapter in ifaddr.get_adapters()
        for ip in adapter.ips
    }
    told = [each for each in found if each.ip.version == 4 or is_unicast6(each.ip)]
    return sorted(told, key=lambda each: (not each.ip.is_loopback, each.ip.version, each.ip.packed))


def discreet(found: Iterable[Interface], outward: Sequence[IPAddress]) -> list[Interface]:
    """Of several addresses of IPv6 in one network that alone by which the system goes out.

    Security: mostly it is one for a day (RFC 8981), which the system made so that nobody knows the
    machine again; told beside it, the lasting one would undo that.
    Test: test_addresses.py::test_of_several_addresses_in_a_network_of_ipv6_the_outward_one_is_told
    """
    return [
        each
        for each in found
        if each.ip.version == 4
        or each.ip in outward
        or not any(ip.version == 6 and ip in each.network for ip in outward)
    ]


def is_unicast6(ip: IPAddress) -> bool:
    """Global, or of a local network by RFC 4193."""
    return ip.is_global or (ip.is_private and not (ip.is_link_local or ip.is_loopback))


def is_attached(ip: IPAddress, networks: Iterable[IPNetwork]) -> bool:
    """Whether `ip` lies on one of these networks, without a router between."""
    return any(ip.version == network.version and ip in network for network in networks)


def rank(addresses: Iterable[Address], networks: Sequence[IPNetwork]) -> list[Address]:
    """Best first: this machine, an attached network, anything else; IPv4 before IPv6."""

    def key(address: Address) -> tuple[bool, bool, int]:
        local = address.ip.is_loopback
        return (not local, not is_attached(address.ip, networks), address.ip.version)

    return sorted(dict.fromkeys(addresses), key=key)
