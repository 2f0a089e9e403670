"""Cards kept for everybody: which are taken, which of two stays, which leaves first."""

import pytest

from p2phouse.errors import PeerError
from p2phouse.hall.card import make_genesis, read_card
from p2phouse.hall.grant import CardRefused
from p2phouse.hall.shelf import Shelf, best, distance, key_of, read_value
from p2phouse.record import limits
from p2phouse.record.envelope import BadSignature, Expired
from p2phouse.record.types import Access
from p2phouse.vocabulary import RoomId
from tests.hall.rooms import at, card, person, room

ANA, BEN = person(1), person(2)
TEA, JAM = room(ANA, nonce=1), room(ANA, nonce=2)
OWN = b"somebody"


def key(genesis):
    return key_of(RoomId(genesis.id))


def test_a_card_is_kept_under_its_room_s_key():
    shelf = Shelf(OWN)
    shelf.keep(key(TEA), card(ANA, TEA).data, at(0))
    assert shelf.get(key(TEA), at(1)) == card(ANA, TEA).data
    assert shelf.get(key(JAM), at(1)) is None


@pytest.mark.parametrize(
    "wrong",
    [
        key(JAM),
        f"/p2phouse/{TEA.id.hex().upper()}",
        f"/p2phouse/{TEA.id.hex()}0",
        f"/p2phouse/{TEA.id.hex()[:-2]}",
        f"/pk/{TEA.id.hex()}",
        TEA.id.hex(),
        "/p2phouse/",
        "",
    ],
)
def test_a_card_under_any_other_key_is_refused(wrong):
    with pytest.raises(CardRefused):
        read_value(wrong, card(ANA, TEA).data, at(0))


def test_a_card_that_nobody_seated_or_signed_is_refused():
    with pytest.raises(CardRefused):
        read_value(key(TEA), card(BEN, TEA).data, at(0))
    data = bytearray(card(ANA, TEA).data)
    data[-1] ^= 1
    with pytest.raises(BadSignature):
        read_value(key(TEA), bytes(data), at(0))


@pytest.mark.parametrize("access", [Access.LAN, Access.CLOSED])
def test_lan_and_closed_rooms_are_not_for_everybody(access):
    hidden = make_genesis(
        ANA, title="Hut", access=access, now=at(0), entropy=lambda size: b"7" * size
    )
    with pytest.raises(CardRefused):
        read_value(key(hidden), card(ANA, hidden).data, at(0))


def test_a_card_that_ran_out_is_neither_taken_nor_given():
    shelf = Shelf(OWN)
    shelf.keep(key(TEA), card(ANA, TEA).data, at(0))
    assert shelf.get(key(TEA), at(599)) is not None
    assert shelf.get(key(TEA), at(600)) is None
    with pytest.raises(Expired):
        shelf.keep(key(TEA), card(ANA, TEA).data, at(600 + limits.CLOCK_SKEW_S_MAX + 1))


def test_an_older_card_does_not_replace_a_newer_one_and_a_tombstone_does():
    shelf = Shelf(OWN)
    old, new, end = card(ANA, TEA, seq=1), card(ANA, TEA, seq=2), card(ANA, TEA, seq=3, ttl_s=0)
    for each, kept in ((new, new), (old, new), (end, end), (new, end)):
        shelf.keep(key(TEA), each.data, at(0))
        assert shelf.get(key(TEA), at(0)) == kept.data


def test_the_best_of_several_is_the_same_in_every_order():
    cards = [
        read_card(each.data, at(0))
        for each in (
            card(ANA, TEA, seq=1),
            card(ANA, TEA, seq=3),
            card(ANA, TEA, seq=3, ttl_s=0),
            card(ANA, TEA, seq=2),
        )
    ]
    assert best(cards) == best(cards[::-1]) == cards[2]


def test_2000_cards_are_kept_and_no_more():
    shelf = Shelf(OWN)
    one = read_card(card(ANA, TEA).data, at(0))
    for number in range(1_999):
        shelf._cards[key_of(RoomId(number.to_bytes(32)))] = one  # to sign them takes 3 s
    shelf.keep(key(TEA), card(ANA, TEA).data, at(0))
    assert len(shelf) == limits.DHT_CARDS_MAX == 2_000
    more = room(BEN)
    shelf.keep(key(more), card(BEN, more).data, at(0))
    assert len(shelf) == 2_000


def test_of_too_many_cards_the_one_furthest_from_us_leaves():
    shelf = Shelf(OWN, room_max=8)
    rooms = [room(ANA, nonce=number) for number in range(24)]
    for genesis in rooms:
        shelf.keep(key(genesis), card(ANA, genesis).data, at(0))
    kept = {each for each in map(key, rooms) if shelf.get(each, at(0)) is not None}
    nearest = sorted(map(key, rooms), key=lambda each: distance(OWN, each.encode()))[:8]
    assert len(shelf) == 8
    assert kept == set(nearest)


def test_cards_that_ran_out_leave_before_any_that_has_not():
    shelf = Shelf(OWN, room_max=1)
    shelf.keep(key(TEA), card(ANA, TEA).data, at(0))
    shelf.keep(key(JAM), card(ANA, JAM, now=at(600)).data, at(600))
    assert shelf.get(key(JAM), at(600)) is not None


@pytest.mark.parametrize("value", [b"", b"junk", b"\xff" * 1_280, b"\x80" * 2_000])
def test_what_is_no_card_is_refused(value):
    with pytest.raises(PeerError):
        read_value(key(TEA), value, at(0))


def test_a_card_of_1280_bytes_is_taken_and_a_longer_value_is_not():
    padded = card(ANA, TEA).data + b"\0" * 1_280
    with pytest.raises(PeerError):
        read_value(key(TEA), padded, at(0))
