"""Ports, as control sees them: it opens those of HTTP, and asks whether media's are free."""

import errno
import socket
import ssl
from typing import Final

import trio

from p2phouse.errors import UserError
from p2phouse.guest.http import Listener

BACKLOG: Final = 1_024  # a room that many come to at once


class HttpPortUnusable(UserError):
    """TCP port {port} of {address} cannot be used: {reason}. Choose another with --http-port, or in
    relay.toml."""


class UdpPortUnusable(UserError):
    """UDP port {port} of {address} cannot be used: {reason}. Choose another with --udp-port, or in
    relay.toml."""


class AddressUnusable(UserError):
    """{address} is no address of this machine. Choose one of its own with --address."""


async def open_tcp(address: str, port: int) -> list[Listener]:
    """Raises HttpPortUnusable."""
    try:
        return list(await trio.open_tcp_listeners(port, host=address, backlog=BACKLOG))
    except OSError as error:
        raise HttpPortUnusable(port=port, address=address, reason=error.strerror) from error


def over_tls(listener: Listener, context: ssl.SSLContext) -> Listener:
    assert isinstance(listener, trio.SocketListener)
    return trio.SSLListener(listener, context, https_compatible=True)


def socket_of(listener: Listener) -> trio.socket.SocketType:
    tcp = listener.transport_listener if isinstance(listener, trio.SSLListener) else listener
    assert isinstance(tcp, trio.SocketListener)
    return tcp.socket


def check_udp(address: str, port: int) -> None:
    """Media binds the port itself; asked here first, so that its owner reads why it cannot.

    Raises AddressUnusable, UdpPortUnusable.
    """
    try:
        kind, *_, where = socket.getaddrinfo(
            address, port, type=socket.SOCK_DGRAM, flags=socket.AI_NUMERICHOST
        )[0]
        with socket.socket(kind, socket.SOCK_DGRAM) as trial:
            trial.bind(where)
    except socket.gaierror as error:
        raise AddressUnusable(address=address) from error
    except OSError as error:
        if error.errno == errno.EADDRNOTAVAIL:
            raise AddressUnusable(address=address) from error
        raise UdpPortUnusable(port=port, address=address, reason=error.strerror) from error
