"""Where this node stands: its addresses, the networks they belong to and the port it holds on them.

Networks come and go under a node. A new address is claimed on the port that is held already; one
that went is told to nobody any more, but its sockets stay, for mostly it comes back.
"""

import errno
import logging
import socket
from collections.abc import Callable, Iterable, Sequence
from ipaddress import ip_address
from typing import Final

from p2phouse.config import LanMode
from p2phouse.errors import UserError
from p2phouse.net import ports
from p2phouse.net.addresses import Address, Interface, IPAddress, IPNetwork, discreet, interfaces

log = logging.getLogger(__name__)

ADDRESSES_MAX: Final = 16  # a socket or two each; machines with many containers have dozens


NOBODYS: Final = ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1"))
"""Of each family an address that is nobody's (RFC 5737, RFC 3849)."""


def ways_out() -> list[IPAddress]:
    """The addresses from which this machine reaches the wide world, IPv4 first; empty if it does
    not.

    Sends nothing: connecting a UDP socket only asks the routing table.
    """
    found: list[IPAddress] = []
    for family, nobody in NOBODYS:
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as probe:
                probe.connect((nobody, 9))
                found.append(ip_address(probe.getsockname()[0]))
        except OSError as error:
            unknown = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EAFNOSUPPORT)
            if error.errno not in unknown:
                log.info("no_way_out error=%s", error.strerror)
    return found


def is_public(ips: Iterable[IPAddress], *, came_by_6: bool) -> bool:
    """Routers at home pass IPv6 on as it is, and let in only what answers: a global address of it
    says nothing until somebody has come to it."""
    return any(ip.is_global and (ip.version == 4 or came_by_6) for ip in ips)


class Ground:
    """Claims the port on every address; `look` notices what has changed since."""

    def __init__(
        self,
        lan: LanMode,
        *,
        find: Callable[[], list[Interface]] = interfaces,
        ways_out: Callable[[], Sequence[IPAddress]] = ways_out,
    ) -> None:
        """lan: "loopback" stands on this machine's inner addresses alone."""
        self._lan = lan
        self._find = find
        self._ways_out = ways_out
        self._held: set[IPAddress] = set()
        self._standing: list[Interface] = []
        self.networks: Sequence[IPNetwork] = ()
        self.has_way_out = False
        self.port = 0
        self.came_by_6 = False  # somebody far away has come to us by IPv6

    @property
    def addresses(self) -> list[Address]:
        """Loopback first, then those that lead out, which are most likely to be reached."""
        return [Address(interface.ip, self.port) for interface in self._standing]

    @property
    def is_public(self) -> bool:
        """Whether this machine stands on the internet itself, with no router in between that lets
        nobody in."""
        return is_public([each.ip for each in self._standing], came_by_6=self.came_by_6)

    @property
    def interfaces(self) -> list[Interface]:
        return list(self._standing)

    def claim(self, port: int | None) -> list[socket.socket]:
        """Binds hello's sockets. Raises PortInUse, PortForbidden or NoFreePort; see `ports`."""
        found = [each for each in self._looked_for() if ports.is_ready(each.ip)]
        self.port, sockets = ports.claim([interface.ip for interface in found], port)
        self._held = {interface.ip for interface in found}
        self._stand(found)
        return sockets

    def look(self) -> tuple[bool, list[tuple[Address, socket.socket]]]:
        """Whether anything changed, and the addresses newly claimed with hello's sockets."""
        found = self._looked_for()
        claimed: list[tuple[Address, socket.socket]] = []
        for interface in [each for each in found if each.ip not in self._held]:
            try:
                _, (bound,) = ports.claim([interface.ip], self.port)
            except (UserError, OSError) as error:
                # Somebody else holds the number there, or the address is not ready: next time.
                log.info("address_not_claimed error=%s", type(error).__name__)
                found.remove(interface)
                continue
            self._held.add(interface.ip)
            claimed.append((Address(interface.ip, self.port), bound))
        changed = found != self._standing
        self._stand(found)
        return changed, claimed

    def _looked_for(self) -> list[Interface]:
        out = list(self._ways_out())
        self.has_way_out = bool(out)
        usable = [
            interface
            for interface in discreet(self._find(), out)
            if self._lan != "loopback" or interface.ip.is_loopback
        ]
        usable.sort(
            key=lambda each: (
                not each.ip.is_loopback,
                out.index(each.ip) if each.ip in out else len(out),
            )
        )
        return usable[:ADDRESSES_MAX]

    def _stand(self, found: list[Interface]) -> None:
        if {each.ip for each in found} != {each.ip for each in self._standing}:
            self.came_by_6 = False  # whoever came did so elsewhere
        self._standing = found
        self.networks = tuple(interface.network for interface in found)
