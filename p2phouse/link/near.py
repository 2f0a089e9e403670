"""What a room for one network says stays in that network."""

import socket
from typing import Protocol


class Socket(Protocol):
    """The system's, or trio's."""

    @property
    def family(self) -> int: ...

    def setsockopt(self, level: int, option: int, value: int, /) -> None: ...


def keep_near(sock: Socket) -> None:
    """No router passes on what this socket sends, or one that it accepts: TTL 1."""
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, 1)
    else:
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 1)
