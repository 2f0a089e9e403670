"""Options of `p2phouse up` that are refused before a node begins."""

from dataclasses import replace

import pytest

from p2phouse.config import NamedRelay
from p2phouse.identity.keys import peer_id
from p2phouse.people.relays import RelayBook
from p2phouse.run import (
    RELAYS_MAX,
    BadRelay,
    NoRelay,
    Settings,
    _relays,
    known_relays,
    run_node,
)
from p2phouse.vocabulary import DeviceKey
from tests.people.test_relays import relay

PLAIN = Settings(
    home="/nonexistent/home",
    port=None,
    audio=None,
    name="",
    lan="off",
    log="warning",
    json=False,
    tied=False,
    page=False,
)


@pytest.mark.parametrize(
    "relays",
    [
        ("example.org",),
        ("example.org:",),
        (":17472",),
        ("example.org:0",),
        ("example.org:65536",),
        ("example.org:port",),
        ("nobody@example.org:17472",),
        tuple(f"5.9.1.{n}:17472" for n in range(RELAYS_MAX + 1)),
    ],
)
def test_a_relay_that_is_no_address_is_named(relays):
    with pytest.raises(BadRelay, match=relays[0].replace(".", r"\.")):
        run_node(replace(PLAIN, relays=relays))


def test_to_show_one_s_address_to_relays_alone_takes_a_relay():
    with pytest.raises(NoRelay, match="--relay HOST:PORT"):
        run_node(replace(PLAIN, relay_only=True))


def test_the_key_of_a_relay_may_stand_before_its_address():
    dev = DeviceKey(bytes(range(32)))
    given = (f"{peer_id(dev)}@[2001:db8::1]:17472", "example.org:17473")
    assert _relays(given) == (
        NamedRelay("2001:db8::1", 17_472, dev),
        NamedRelay("example.org", 17_473),
    )


def test_relays_that_were_kept_are_the_ones_that_relay_only_shows_itself_to(tmp_path):
    assert known_relays(tmp_path) == ()
    kept = relay(7)
    RelayBook(tmp_path).put(kept)
    assert known_relays(tmp_path) == (NamedRelay("7.example", 17_472, kept.dev),)
