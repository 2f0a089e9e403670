from dataclasses import replace

import pytest

from p2phouse.errors import PeerError
from p2phouse.hall.card import (
    TitleEmpty,
    TitleNotPlain,
    TitleTooLong,
    is_local_address,
    is_provably_bad,
    read_card,
)
from p2phouse.record import envelope
from p2phouse.record.cbor import Malformed
from p2phouse.record.envelope import BadSignature, Expired
from p2phouse.record.types import Card, Genesis
from p2phouse.vocabulary import RoomId
from tests.hall.rooms import UNIX, at, card, person, room
from tests.record.samples import IP6_ADDRESS, LAN_ADDRESS

ANA, BEN = person(1), person(2)
TEA = room(ANA)


def test_whoever_holds_a_card_holds_the_room_s_whole_genesis():
    sent = card(ANA, TEA, seq=5)
    read = read_card(sent.data, at(0))
    assert read.card == sent
    assert read.genesis == TEA
    assert read.room == RoomId(TEA.id)
    assert read.publisher == ANA.dev
    assert not read.is_tombstone
    assert read.expires_unix == UNIX + 600


def test_a_card_ends_with_its_room_if_that_is_earlier():
    late = at(43_200 - 60)
    read = read_card(card(ANA, TEA, now=late).data, late)
    assert read.expires_unix == UNIX + 43_200 == TEA.record.exp


def test_nobody_puts_a_card_on_another_s_room():
    for forged in (
        card(BEN, TEA).data,
        envelope.sign(
            replace(card(ANA, TEA).record, grant=TEA.data), ANA.device_key
        ).data,  # a genesis is no grant
    ):
        with pytest.raises(PeerError):
            read_card(forged, at(0))
        assert is_provably_bad(forged)


def test_the_genesis_inside_is_checked_like_the_card_around_it():
    bent = bytearray(TEA.data)
    bent[-1] ^= 1
    honest = card(ANA, TEA).record
    for genesis, error in (
        (bytes(bent), BadSignature),
        (b"genesis", Malformed),
        (card(ANA, TEA).data[:512], Malformed),
    ):
        data = envelope.sign(replace(honest, genesis=genesis), ANA.device_key).data
        with pytest.raises(error):
            read_card(data, at(0))
        assert is_provably_bad(data)


def test_lateness_is_no_proof_against_whoever_passes_a_card_on():
    data = card(ANA, TEA).data
    for after_s in (721, -121):
        with pytest.raises(Expired):
            read_card(data, at(after_s))
    assert not is_provably_bad(data)
    over = room(ANA, now=at(-43_200))
    with pytest.raises(Expired):
        read_card(card(ANA, over).data, at(121))


def test_a_tombstone_counts_as_long_as_the_cards_it_takes_back_and_no_longer():
    data = card(ANA, TEA, ttl_s=0).data
    assert read_card(data, at(720)).is_tombstone
    for after_s in (721, -121):
        with pytest.raises(Expired):
            read_card(data, at(after_s))


def test_what_is_no_card_at_all_is_provably_bad():
    for data in (b"", b"card", TEA.data, card(ANA, TEA).data + b"\0", bytes(Card.SIZE_MAX + 1)):
        assert is_provably_bad(data)


def test_a_card_tells_only_addresses_of_local_networks_and_four_at_most():
    public = bytes.fromhex("045db8d82206" + "4440")  # /ip4/93.184.216.34/tcp/17472
    sent = card(ANA, TEA, addrs=(public, LAN_ADDRESS, IP6_ADDRESS))
    assert sent.record.at == (LAN_ADDRESS, IP6_ADDRESS)
    assert len(card(ANA, TEA, addrs=(LAN_ADDRESS,) * 5).record.at) == 4


@pytest.mark.parametrize(
    ("text", "is_local"),
    [
        ("047f0000010604d2", True),  # 127.0.0.1
        ("040a0000010604d2", True),  # 10.0.0.1
        ("04ac1000010604d2", True),  # 172.16.0.1
        ("04c0a800010604d2", True),  # 192.168.0.1
        ("04a9fe00010604d2", True),  # 169.254.0.1
        ("0408080808" + "0604d2", False),
        ("04ac2000010604d2", False),  # 172.32.0.1
        ("29" + "fe80" + "00" * 13 + "01" + "0604d2", True),
        ("29" + "2001" + "4860" + "00" * 11 + "01" + "0604d2", False),
        ("", False),
        ("04", False),
        ("04c0a800", False),
        ("35" + "03" + "612e62" + "0604d2", False),  # /dns/a.b
    ],
)
def test_local_is_what_no_router_of_the_internet_carries(text, is_local):
    assert is_local_address(bytes.fromhex(text)) is is_local


# ── titles ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("typed", "title"),
    [
        ("Morning coffee", "Morning coffee"),
        ("  Morning \t coffee\n", "Morning coffee"),
        ("Cafe\u0301", "Café"),  # as macOS types it
        ("é" * 40, "é" * 40),
        ("中" * 26, "中" * 26),
    ],
)
def test_a_title_is_carried_as_everybody_will_read_it(typed, title):
    genesis = room(ANA, typed)
    assert genesis.record.title == title
    assert envelope.read(genesis.data, Genesis) == genesis
    assert read_card(card(ANA, genesis).data, at(0)).genesis == genesis


@pytest.mark.parametrize(
    ("typed", "error"),
    [
        ("", TitleEmpty),
        (" \n ", TitleEmpty),
        ("x" * 81, TitleTooLong),
        ("é" * 41, TitleTooLong),
        ("中" * 27, TitleTooLong),
        ("a\x00b", TitleNotPlain),
        ("ab\u202ecd", TitleNotPlain),
        ("a\x1b[31mb", TitleNotPlain),
    ],
)
def test_a_title_that_nobody_could_read_is_refused_with_a_sentence(typed, error):
    with pytest.raises(error):
        room(ANA, typed)


def test_a_title_too_long_is_told_in_bytes():
    with pytest.raises(TitleTooLong, match="80 bytes at most; this one takes 81"):
        room(ANA, "中" * 27)


def test_the_longest_title_still_fits_into_a_card():
    genesis = room(ANA, "x" * 80)
    longest = card(ANA, genesis, seq=2**53, addrs=(IP6_ADDRESS,) * 4)
    assert len(longest.data) <= Card.SIZE_MAX
    assert read_card(longest.data, at(0)).genesis == genesis


def test_two_rooms_of_one_title_are_two_rooms():
    assert room(ANA, nonce=1).id != room(ANA, nonce=2).id
    assert room(ANA).record.exp == UNIX + 43_200
