"""What both ends of a tunnel agree on."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2phouse.link import ice, tunnel
from p2phouse.link.tunnel import Entrance, Newest

TOKEN = "0123456789abcdef" * 2


@pytest.mark.parametrize("host", ["audio.example.org", "localhost", "203.0.113.5", "2001:db8::5"])
def test_an_entrance_is_read_as_it_was_written_and_passed_over_by_who_knows_none(host):
    written = tunnel.write(Entrance(host, 443, TOKEN))
    assert len(written) <= ice.CANDIDATE_CHARS_MAX
    assert tunnel.read(written) == Entrance(host, 443, TOKEN)
    assert ice.read_candidates([written], may_use=lambda ip: True) == []
    assert TOKEN not in repr(tunnel.read(written))


def test_the_longest_name_fits_into_a_candidate():
    host = ".".join(["a" * 44, "b" * 45])
    assert len(host) == tunnel.HOST_CHARS_MAX
    written = tunnel.write(Entrance(host, 65_535, TOKEN))
    assert len(written) <= ice.CANDIDATE_CHARS_MAX
    assert tunnel.read(written) is not None
    assert tunnel.read(tunnel.write(Entrance(f"x{host}", 443, TOKEN))) is None


@pytest.mark.parametrize(
    "candidate",
    [
        "1 1 udp 2130706431 203.0.113.5 8478 typ host",
        f"tunnel 1 wss 1 audio.example.org 22 typ relay token {TOKEN}",
        f"tunnel 1 wss 1 audio.example.org 65536 typ relay token {TOKEN}",
        f"tunnel 1 wss 1 audio..org 443 typ relay token {TOKEN}",
        f"tunnel 1 wss 1 a@b.org 443 typ relay token {TOKEN}",
        f"tunnel 1 wss 1 example.org/x 443 typ relay token {TOKEN}",
        f"tunnel 1 wss 1 1:2 443 typ relay token {TOKEN}",
        f"tunnel 1 wss 1 audio.example.org 443 typ relay token {TOKEN[:-1]}",
        f"tunnel 1 wss 1 audio.example.org 443 typ relay token {TOKEN}\r",
        f"tunnel 1 wss 1 audio.example.org ٤٤٣ typ relay token {TOKEN}",
    ],
)
def test_what_is_no_entrance_of_a_tunnel_is_passed_over(candidate):
    assert tunnel.read(candidate) is None


@given(st.text() | st.from_regex(r"\S+ 1 wss \d+ \S+ \d+ typ relay token [0-9a-f]{32}"))
def test_any_text_is_an_entrance_that_can_be_written_or_none(text):
    found = tunnel.read(text)
    assert found is None or tunnel.read(tunnel.write(found)) == found


def test_what_waits_goes_in_order_and_the_late_not_at_all():
    waiting = Newest()
    for number in range(4):
        waiting.put(number * 0.05, b"%d" % number)
    assert waiting.take(0.17) == [b"2", b"3"]
    assert waiting.dropped == 2
    assert waiting.take(0.17) == []


def test_no_more_waits_than_what_is_worth_it():
    waiting = Newest()
    for number in range(10_000):
        waiting.put(0.0, b"%d" % number)
    assert waiting.take(0.0)[-1] == b"9999"
    assert waiting.dropped == 10_000 - tunnel.WAITING_MAX
