"""One port number for hello and libp2p, or one sentence."""

import errno
import socket
from contextlib import ExitStack, contextmanager
from ipaddress import ip_address

import pytest

from p2phouse.net import ports

LOOPBACK = ip_address("127.0.0.1")


@contextmanager
def claimed(ips, port):
    number, sockets = ports.claim(ips, port)
    with ExitStack() as stack:
        for each in sockets:
            stack.enter_context(each)
        yield number


@contextmanager
def taken(kind, port=0, *, share=False):
    with socket.socket(socket.AF_INET, kind) as other:
        if share:
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", port))
        if kind == socket.SOCK_STREAM:
            other.listen()
        yield other.getsockname()[1]


def test_any_free_port_is_free_for_both():
    with claimed([LOOPBACK], 0) as port:
        assert 0 < port < 65_536
        with taken(socket.SOCK_STREAM, port) as same:
            assert same == port


def test_two_nodes_get_two_ports():
    with claimed([LOOPBACK], 0) as one, claimed([LOOPBACK], 0) as other:
        assert one != other


@pytest.mark.parametrize("kind", [socket.SOCK_DGRAM, socket.SOCK_STREAM])
def test_a_port_of_another_program_is_one_sentence(kind):
    with taken(kind) as port, pytest.raises(ports.PortInUse) as raised:
        ports.claim([LOOPBACK], port)
    assert str(raised.value) == (
        f"Port {port} is taken by another program or another node of yours. "
        "Start with --port 0 to use any free one."
    )


def test_a_second_node_does_not_share_a_port_that_allows_sharing():
    with taken(socket.SOCK_STREAM, share=True) as port, pytest.raises(ports.PortInUse):
        ports.claim([LOOPBACK], port)


def test_the_usual_port_when_taken_becomes_any_free_one():
    with claimed([LOOPBACK], None) as first, claimed([LOOPBACK], None) as second:
        assert first != second
        assert ports.PORT_DEFAULT in (first, ports.PORT_DEFAULT)


def test_after_a_failure_nothing_stays_bound():
    with taken(socket.SOCK_STREAM) as port, pytest.raises(ports.PortInUse):
        ports.claim([ip_address("127.0.0.2"), LOOPBACK], port)
    with claimed([ip_address("127.0.0.2"), LOOPBACK], port):
        pass


def test_an_address_that_is_not_ours_is_no_silent_success():
    with pytest.raises(OSError) as raised:
        ports.claim([ip_address("203.0.113.1")], 4_000)
    assert raised.value.errno == errno.EADDRNOTAVAIL
