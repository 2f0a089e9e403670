"""Invariant: a card or a join link is read whole or refused by PeerError or UserError."""

from dataclasses import replace

import pytest

from p2phouse.errors import PeerError, UserError
from p2phouse.hall import invitation
from p2phouse.hall.card import is_provably_bad, make_genesis, read_card
from p2phouse.hall.directory import Directory
from p2phouse.hall.invitation import Invitation
from p2phouse.record import envelope
from p2phouse.record.types import Access
from p2phouse.vocabulary import DeviceKey, RoomId
from tests.hall.rooms import at, card, person, room
from tests.hall.test_grant import entry, shown
from tests.record.mutants import mutant, reshaped, survives
from tests.record.samples import IP6_ADDRESS, LAN_ADDRESS

pytestmark = pytest.mark.slow  # half a minute in all

ANA, BEN = person(1), person(2)
TEA = room(ANA)
LAN_ROOM = make_genesis(ANA, title="Lan", access=Access.LAN, now=at(0), entropy=bytes)


def test_mutants_of_cards_are_taken_in_or_refused():
    cards = [
        card(ANA, TEA, seq=1),
        card(ANA, LAN_ROOM, seq=2),
        card(BEN, room(BEN), seq=3),
        card(ANA, TEA, seq=4, ttl_s=0),
        shown(entry()),
    ]
    corpus = [each.data for each in cards]
    directory = Directory()

    def decode(data):
        read = read_card(data, at(1))
        assert not is_provably_bad(data)
        assert envelope.sign(read.card.record, key_of[read.publisher]).id == read.card.id
        directory.receive(at(1), data)

    key_of = {me.dev: me.device_key for me in (ANA, BEN)}

    def inside_out(rng):
        """Another genesis under a true signature: gets as far as the genesis."""
        record = rng.choice(cards).record
        genesis = mutant(rng, [record.genesis, TEA.data])[:512] or b"\0"
        return envelope.sign(replace(record, genesis=genesis), key_of[DeviceKey(record.dev)]).data

    def make(rng):
        chance = rng.random()
        if chance < 0.5:
            return mutant(rng, corpus)
        return reshaped(rng, rng.choice(corpus)) if chance < 0.7 else inside_out(rng)

    survives(decode, make, errors=PeerError, accepted_min=1_000)
    assert len(directory.live(at(1))) <= len(cards)


LINKS = [
    invitation.write(Invitation(RoomId(TEA.id), ANA.dev, addrs)).encode()
    for addrs in ((LAN_ADDRESS,), (LAN_ADDRESS, IP6_ADDRESS), (IP6_ADDRESS,) * 4)
]
WORDS = [
    "/dns4/a.b", "/ip6zone/%25", "/p2p/12D3KooW", "/unix//a", "/http-path/%2F", "/quic-v1", "&a=",
    "/onion3/aaaa:1", "/garlic64/", "/memory/1", "/certhash/u", "%", "%00", "&d=", "?", "=", "1",
    "é", "\u202e", "\ud800", "𝟙", "/ip4/1.2.3.4", "/tcp/99999999999999999999", "//", "/ip6/::%1",
]  # fmt: skip


def test_mutants_of_join_links_are_read_or_refused():
    def decode(data):
        read = invitation.read(data.decode(errors="surrogateescape"))
        assert len(read.room) == len(read.dev) == 32
        assert len(read.addrs) <= 4
        assert all(len(addr) <= 64 for addr in read.addrs)

    def make(rng):
        if rng.random() < 0.5:
            return mutant(rng, LINKS)
        text = rng.choice(LINKS).decode()
        at = rng.randrange(len(text) + 1)
        word = rng.choice(WORDS) * rng.choice((1, 1, 1, 2, 50))
        cut = at + rng.choice((0, 0, 1, 5, 40))
        return (text[:at] + word + text[cut:]).encode(errors="surrogatepass")

    survives(decode, make, errors=UserError, accepted_min=1_000)
