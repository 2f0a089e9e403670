"""One port number for hello (UDP) and libp2p (TCP), on every address of this machine we use.

libp2p binds with SO_REUSEPORT, so a second node of the same person would get the same TCP port
without an error. The UDP sockets are bound exclusively and first: who holds them holds the number.
"""

import errno
import ipaddress
import logging
import socket
from collections.abc import Sequence
from typing import Final

from p2phouse.errors import UserError
from p2phouse.net.addresses import IPAddress

log = logging.getLogger(__name__)

PORT_DEFAULT: Final = 17_472  # below 32,768, where systems give out ports of their own accord
FREE_PORT_TRIES: Final = 32  # each finds one number free everywhere, or a clash of 1 in thousands


class PortInUse(UserError):
    """Port {port} is taken by another program or another node of yours.
    Start with --port 0 to use any free one."""


class PortForbidden(UserError):
    """This system does not let you use port {port} ({reason}). Choose one above 1,023."""


class NoFreePort(UserError):
    """No port is free for both UDP and TCP. Close a few programs and start again."""


def claim(ips: Sequence[IPAddress], port: int | None) -> tuple[int, list[socket.socket]]:
    """Binds UDP on each address to one number that TCP can have too.

    port: None for our usual one, or any free one if that is taken; 0 for any free one; else that
    one and no other. Returns the number and the sockets, which the caller closes.
    Raises PortInUse, PortForbidden, NoFreePort.
    """
    if port:
        return port, _bind(ips, port)
    if port is None:
        try:
            return PORT_DEFAULT, _bind(ips, PORT_DEFAULT)
        except UserError:
            log.info("port_taken port=%d", PORT_DEFAULT)
    for _ in range(FREE_PORT_TRIES):
        with socket.socket(_family(ips[0]), socket.SOCK_DGRAM) as probe:
            probe.bind((str(ips[0]), 0))
            free = probe.getsockname()[1]
        try:
            return free, _bind(ips, free)
        except PortInUse:
            continue
    raise NoFreePort


def is_ready(ip: IPAddress) -> bool:
    """Whether it can be bound: one of IPv6 is tried out by the system for a second or two first."""
    with socket.socket(_family(ip), socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((str(ip), 0))
        except OSError as error:
            if error.errno != errno.EADDRNOTAVAIL:
                raise
            return False
    return True


def _bind(ips: Sequence[IPAddress], port: int) -> list[socket.socket]:
    bound: list[socket.socket] = []
    try:
        for ip in ips:
            bound.append(socket.socket(_family(ip), socket.SOCK_DGRAM | socket.SOCK_NONBLOCK))
            bound[-1].bind((str(ip), port))
            _probe_tcp(ip, port)
    except OSError as error:
        for each in bound:
            each.close()
        if error.errno in (errno.EACCES, errno.EPERM):
            raise PortForbidden(port=port, reason=error.strerror) from error
        if error.errno == errno.EADDRINUSE:
            raise PortInUse(port=port) from error
        raise
    return bound


def _probe_tcp(ip: IPAddress, port: int) -> None:
    """Raises OSError if a TCP listener holds the number, whether it shares it or not."""
    with socket.socket(_family(ip), socket.SOCK_STREAM) as probe:
        # Without this, connections of our last run in TIME_WAIT would count as a listener.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((str(ip), port))


def _family(ip: IPAddress) -> socket.AddressFamily:
    return socket.AF_INET if isinstance(ip, ipaddress.IPv4Address) else socket.AF_INET6
