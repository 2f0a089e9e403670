import socket

import pytest

from p2phouse.link import syscalls
from p2phouse.link.port import CHUNK, Port


def test_a_taken_port_is_said():
    port = Port("127.0.0.1", 0)
    with pytest.raises(OSError, match="in use"):
        Port("127.0.0.1", port.number)
    port.close()
    assert CHUNK <= syscalls.MESSAGES_MAX


@pytest.mark.parametrize(
    ("host", "level", "option"),
    [
        ("127.0.0.1", socket.IPPROTO_IP, socket.IP_TTL),
        ("::1", socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS),
    ],
)
def test_what_has_to_stay_near_is_passed_on_by_no_router(host, level, option):
    near, far = Port(host, 0, stays_near=True), Port(host, 0)
    assert near.socket.getsockopt(level, option) == 1
    assert far.socket.getsockopt(level, option) > 1
    near.close()
    far.close()
