"""Where this node stands: its addresses, the networks they belong to and the port it holds on them.

Networks come and go under a node. A new address is claimed on the port that is held already; one
that went is told to nobody any more, but its sockets stay, for mostly it comes back.
"""

import errno
import logging
import socket
from collections.abc import Callable, Sequence
from typing import Final

from p2phouse.config import LanMode
from p2phouse.errors import UserError
from p2phouse.net import ports
from p2phouse.net.addresses import Address, Interface, IPAddress, IPNetwork, interfaces

log = logging.getLogger(__name__)

ADDRESSES_MAX: Final = 16  # a socket or two each; machines with many containers have dozens


def way_out() -> IPAddress | None:
    """The address from which this machine reaches the wide world; None if it does not.

    Sends nothing: connecting a UDP socket only asks the routing table.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # RFC 5737: nobody's
        except OSError as error:
            if error.errno not in (errno.ENETUNREACH, errno.EHOSTUNREACH):
                log.info("no_way_out error=%s", error.strerror)
            return None
        return Interface.of(probe.getsockname()[0], 32).ip


class Ground:
    """Claims the port on every address; `look` notices what has changed since."""

    def __init__(
        self,
        lan: LanMode,
        *,
        find: Callable[[], list[Interface]] = interfaces,
        way_out: Callable[[], IPAddress | None] = way_out,
    ) -> None:
        """lan: "loopback" stands on this machine's inner addresses alone."""
        self._lan = lan
        self._find = find
        self._way_out = way_out
        self._held: set[IPAddress] = set()
        self._standing: list[Interface] = []
        self.networks: Sequence[IPNetwork] = ()
        self.has_way_out = False
        self.port = 0

    @property
    def addresses(self) -> list[Address]:
        """Loopback first, then the one that leads out, which is most likely to be reached."""
        return [Address(interface.ip, self.port) for interface in self._standing]

    @property
    def is_public(self) -> bool:
        """Whether this machine stands on the internet itself, with no router in between."""
        return any(interface.ip.is_global for interface in self._standing)

    @property
    def interfaces(self) -> list[Interface]:
        return list(self._standing)

    def claim(self, port: int | None) -> list[socket.socket]:
        """Binds hello's sockets. Raises PortInUse, PortForbidden or NoFreePort; see `ports`."""
        found = self._looked_for()
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
        out = self._way_out()
        self.has_way_out = out is not None
        usable = [
            interface
            for interface in self._find()
            if self._lan != "loopback" or interface.ip.is_loopback
        ]
        usable.sort(key=lambda interface: (not interface.ip.is_loopback, interface.ip != out))
        return usable[:ADDRESSES_MAX]

    def _stand(self, found: list[Interface]) -> None:
        self._standing = found
        self.networks = tuple(interface.network for interface in found)
