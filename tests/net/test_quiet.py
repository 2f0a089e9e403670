"""What libraries log is counted, and none of it is told."""

import logging

import pytest

from p2phouse.net.quiet import quieten

SECRET = "/ip4/192.168.7.7/tcp/4001/p2p/12D3KooWExample"


class Lines(logging.Handler):
    """What a person's log would show: whatever reaches the root."""

    def __init__(self):
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []

    def emit(self, record):
        self.lines.append(self.format(record))


@pytest.fixture
def lines():
    root, handler = logging.getLogger(), Lines()
    before = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield handler.lines
    root.setLevel(before)
    root.removeHandler(handler)


def test_a_librarys_lines_are_counted_by_place_without_their_text(lines):
    quieten("chatty", logging.ERROR)
    for _ in range(100):
        logging.getLogger("chatty.deep.inside").error("failed to reach %s", SECRET)
        logging.getLogger("chatty").warning("ordinary %s", SECRET)
    assert len(lines) == 3
    assert all("chatty.deep.inside:" in line for line in lines)
    assert SECRET not in "".join(lines)


def test_to_quieten_twice_is_to_quieten_once(lines):
    quieten("gossiping", logging.WARNING)
    quieten("gossiping", logging.WARNING)
    logging.getLogger("gossiping").warning(SECRET)
    assert len(lines) == 1
