"""The operator's file, and the card that others see of it."""

import pytest

from p2phouse.identity.keys import make_identity, peer_id
from p2phouse.record import envelope
from p2phouse.record.types import Admits, Policy
from p2phouse.vocabulary import Now
from p2phouse_relay import policy
from p2phouse_relay.policy import Charter, PolicyUnreadable

NOW = Now(0.0, 1_800_000_000.0)
ME = make_identity(now=NOW, entropy=lambda size: b"\x11" * size, name="relay")
WHOLE = f"""
name = "relay of the choir"
who = "Chœur de la Mer"
where = "Saint-Malo, France"
logs = "nothing"
rules = "choirs and their guests"
price = "nothing"
contact = "relay@choeur.example"
admits = "everybody"
rooms = 8
rooms_each = 1
listeners = 50
kbps = 9000
others = ["relay.example:17472"]
allow = ["{"ab" * 32}", "{peer_id(ME.dev)}"]
deny = ["{"cd" * 32}"]
"""


def test_a_whole_file_is_read():
    told = policy.read(WHOLE)
    assert told.admits is Admits.EVERYBODY
    assert (told.rooms, told.rooms_each, told.listeners, told.kbps) == (8, 1, 50, 9_000)
    assert told.allow == {b"\xab" * 32, ME.dev}
    assert told.deny == {b"\xcd" * 32}
    assert told.others == ("relay.example:17472",)


def test_without_a_word_only_who_is_listed_is_carried():
    assert policy.read("") == Charter()
    assert Charter().admits is Admits.LISTED


@pytest.mark.parametrize(
    ("line", "because"),
    [
        ("rooms = -1", "a number from 0"),
        ("rooms = true", "a number from 0"),
        ("kbps = 4294967296", "a number from 0"),
        ('admits = "friends"', "everybody, listed"),
        ('who = "a\\nb"', "one line"),
        (f'rules = "{"x" * 161}"', "at most 160"),
        ('allow = ["zoe"]', "neither a uid nor a PeerId"),
        ('deny = "zoe"', "a list"),
        ('others = ["a:1", "b:1", "c:1", "d:1"]', "at most 3"),
        ("room = 3", "room is not a setting"),
        ("rooms = ", "Invalid value"),
    ],
)
def test_what_the_file_gets_wrong_is_said(line, because):
    with pytest.raises(PolicyUnreadable, match=because):
        policy.read(line)


def test_the_card_says_what_the_file_says_under_the_relays_own_key():
    signed = policy.card(policy.read(WHOLE), ME, at=(b"\x04",) * 5, now=NOW)
    record = envelope.read(signed.data, Policy).record
    envelope.check_time(record, NOW.unix)
    assert (record.dev, record.uid) == (ME.dev, ME.uid)
    assert (record.name, record.rules) == ("relay of the choir", "choirs and their guests")
    assert (record.rooms, record.listeners) == (8, 50)
    assert len(record.at) == 4
