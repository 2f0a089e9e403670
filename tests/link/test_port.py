import pytest

from p2phouse.link import syscalls
from p2phouse.link.port import CHUNK, Port


def test_a_taken_port_is_said():
    port = Port("127.0.0.1", 0)
    with pytest.raises(OSError, match="in use"):
        Port("127.0.0.1", port.number)
    port.close()
    assert CHUNK <= syscalls.MESSAGES_MAX
