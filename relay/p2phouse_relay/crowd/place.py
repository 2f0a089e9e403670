"""Where a crowd may go: to a relay on this machine, and nowhere else.

A load generator that goes wherever it is sent is a weapon. Names are not looked up: what a name
leads to can change between the look and the visit.
"""

import socket
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import urlsplit

import ifaddr

from p2phouse.errors import UserError


class NotOurs(UserError):
    """{place} is not on this machine, and a rehearsal goes to no other: it would be an attack on
    whoever is there. Run it on the relay's own machine, with --relay http://127.0.0.1:PORT."""


class NoPlainHttp(UserError):
    """--relay {given} is no address of the form http://127.0.0.1:PORT. A relay that speaks TLS is
    rehearsed without --relay: a trial relay is then started beside it."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where the relay answers HTTP. is_loopback: guests can then come from many networks."""

    host: str
    port: int

    @property
    def is_loopback(self) -> bool:
        return ip_address(self.host).is_loopback

    @property
    def address(self) -> tuple[str, int]:
        return self.host, self.port


def relay_at(url: str) -> Place:
    """Raises NoPlainHttp, NotOurs."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
        host = "127.0.0.1" if host == "localhost" else str(ip_address(host))
    except ValueError as error:
        raise NoPlainHttp(given=url) from error
    if parts.scheme != "http" or port is None or parts.path not in ("", "/") or parts.query:
        raise NoPlainHttp(given=url)
    if not is_ours(host):
        raise NotOurs(place=host)
    return Place(host, port)


def is_ours(host: str) -> bool:
    """Whether an address is one of this machine."""
    address = ip_address(host)
    if address.is_loopback:
        return True
    own = (ip.ip for adapter in ifaddr.get_adapters() for ip in adapter.ips)
    texts = (ip if isinstance(ip, str) else ip[0].partition("%")[0] for ip in own)
    return address in map(ip_address, texts)


def source(place: Place, number: int) -> str | None:
    """From where the n-th guest comes: on loopback each from a network (/24) of its own, as people
    do; else the system chooses, and the relay sees one household."""
    if not place.is_loopback or ":" in place.host:
        return None
    return f"127.{64 + number // 250 % 128}.{1 + number % 250}.1"


def udp_socket(place: Place, number: int) -> socket.socket:
    """Raises OSError."""
    return _bound(place, number, socket.SOCK_DGRAM)


def tcp_socket(place: Place, number: int) -> socket.socket:
    """Raises OSError."""
    return _bound(place, number, socket.SOCK_STREAM)


def _bound(place: Place, number: int, kind: socket.SocketKind) -> socket.socket:
    family = socket.AF_INET6 if ":" in place.host else socket.AF_INET
    sock = socket.socket(family, kind)
    sock.setblocking(False)
    host = source(place, number)
    if host is not None:
        sock.bind((host, 0))
    return sock
