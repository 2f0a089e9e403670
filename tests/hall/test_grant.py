"""Who but its creator may put a room on the list, and how a card proves it."""

from dataclasses import replace

import pytest

from p2phouse.errors import PeerError
from p2phouse.hall.card import is_provably_bad, make_card, read_card
from p2phouse.hall.grant import PROVED_BYTES_MAX, CardRefused, prove
from p2phouse.identity.keys import Me, make_identity
from p2phouse.record import cbor, envelope
from p2phouse.record.envelope import Signed
from p2phouse.record.types import Act, Card, Entry, Genesis, Identity
from p2phouse.vocabulary import RoomId
from tests.hall.rooms import UNIX, at, card, person, room
from tests.record.samples import IP6_ADDRESS, LAN_ADDRESS

ANA, BEN, CLEO = person(1), person(2), person(3)
TEA = room(ANA, "Tea")


def entry(author: Me = ANA, *, genesis: Signed[Genesis] = TEA, **changed: object) -> Signed[Entry]:
    grant = Entry(
        room=genesis.id,
        uid=author.uid,
        dev=author.dev,
        idrec=author.record.id,
        auth=genesis.id,
        prev=None,
        act=Act.GRANT,
        sub=BEN.uid,
        val="moderator",
        over=(),
        pin=None,
    )
    return envelope.sign(replace(grant, **changed), author.device_key)  # type: ignore[arg-type]


def shown(
    grant: Signed[Entry], identity: Signed[Identity] = BEN.record, *, by: Me = BEN
) -> Signed[Card]:
    """A card with that in it, whatever it proves."""
    proof = cbor.encode([grant.data, identity.data])
    return make_card(
        by,
        TEA,
        seq=1,
        speakers=1,
        listeners=0,
        addrs=(LAN_ADDRESS,),
        ttl_s=600,
        now=at(0),
        grant=proof,
    )


def refused(forged: Signed[Card]) -> None:
    with pytest.raises(PeerError):
        read_card(forged.data, at(0))
    assert is_provably_bad(forged.data)


@pytest.mark.parametrize("seat", ["host", "moderator"])
def test_whom_the_creator_seated_may_list_the_room(seat):
    sent = shown(entry(val=seat))
    read = read_card(sent.data, at(0))
    assert (read.publisher, read.room) == (BEN.dev, RoomId(TEA.id))
    assert not is_provably_bad(sent.data)
    proof = prove(TEA, entry(val=seat), BEN.record, BEN.dev)
    assert proof == sent.record.grant


FORGED: dict[str, dict[str, object]] = {
    "of another room": {"room": room(ANA, nonce=9).id},
    "from a seat that a grant made": {"auth": bytes(32)},
    "a role": {"act": Act.ROLE, "val": "speaker"},
    "a revoke": {"act": Act.REVOKE, "val": None},
    "of a seat that is none": {"val": "speaker"},
    "of the creator": {"sub": ANA.uid},
    "of somebody else": {"sub": CLEO.uid},
    "of nobody": {"sub": None},
    "with entries that it replaces": {"over": (bytes(32),)},
    "with a pin": {"pin": bytes(32)},
}


@pytest.mark.parametrize("how", FORGED)
def test_a_grant_that_seats_nobody_lists_no_room(how):
    grant = entry(ANA, genesis=TEA, **FORGED[how])
    refused(shown(grant))
    assert prove(TEA, grant, BEN.record, BEN.dev) is None


def test_a_grant_by_anybody_but_the_creator_s_own_device_lists_no_room():
    refused(shown(entry(CLEO)))
    refused(shown(entry(CLEO, uid=ANA.uid)))
    refused(shown(entry(BEN)))
    other_device = make_identity(now=at(0), entropy=bytes)
    refused(shown(entry(other_device, uid=ANA.uid)))


def test_a_grant_is_of_use_to_nobody_but_whom_it_seats():
    refused(shown(entry(), by=CLEO))
    refused(shown(entry(), CLEO.record, by=CLEO))
    stolen = envelope.sign(
        replace(CLEO.record.record, devices=BEN.record.record.devices), CLEO.root_key
    )
    refused(shown(entry(), stolen))


def test_the_creator_seats_no_other_device_of_his_own():
    """R1: no grant is about the creator."""
    both = envelope.sign(
        replace(ANA.record.record, devices=BEN.record.record.devices), ANA.root_key
    )
    refused(shown(entry(sub=ANA.uid), both))


def test_an_identity_that_had_run_out_when_the_room_began_proves_nothing():
    honest = BEN.record.record
    (device,) = honest.devices
    for exp in (int(UNIX) - 1, int(UNIX)):
        for aged in (
            replace(honest, created=int(UNIX) - 9, exp=exp),
            replace(honest, devices=(replace(device, exp=exp),)),
        ):
            sent = shown(entry(), envelope.sign(aged, BEN.root_key))
            if exp < UNIX:
                refused(sent)
            else:
                assert read_card(sent.data, at(0)).publisher == BEN.dev


@pytest.mark.parametrize(
    "proof",
    [b"grant", b"\x80", cbor.encode([b"", b""]), cbor.encode([1, 2]), cbor.encode([b"a"] * 3)],
)
def test_what_is_no_proof_is_provably_bad(proof):
    refused(envelope.sign(replace(shown(entry()).record, grant=proof), BEN.device_key))


def test_the_parts_of_a_proof_are_signed():
    grant, identity = entry().data, BEN.record.data
    both: list[list[cbor.Value]] = [
        [grant[:-1] + bytes([grant[-1] ^ 1]), identity],
        [grant, identity[:-1] + bytes([identity[-1] ^ 1])],
    ]
    for bent in both:
        forged = replace(shown(entry()).record, grant=cbor.encode(bent))
        refused(envelope.sign(forged, BEN.device_key))


def test_the_creator_s_card_with_a_grant_beside_it_is_refused():
    honest = card(ANA, TEA).record
    proof = shown(entry()).record.grant
    with pytest.raises(CardRefused):
        read_card(envelope.sign(replace(honest, grant=proof), ANA.device_key).data, at(0))


def test_the_longest_proof_fits_into_a_card_with_an_address():
    long = make_identity(now=at(0), entropy=bytes, name="𝟙" * 40)
    genesis = room(ANA, "中" * 26)
    grant = entry(genesis=genesis, sub=long.uid, prev=bytes(32))
    proof = prove(genesis, grant, long.record, long.dev)
    assert proof is not None
    sent = make_card(
        long,
        genesis,
        seq=2**53,
        speakers=10_000_000,
        listeners=10_000_000,
        addrs=(LAN_ADDRESS, *(IP6_ADDRESS,) * 3),
        ttl_s=600,
        now=at(0),
        grant=proof,
    )
    assert len(sent.data) <= Card.SIZE_MAX
    assert LAN_ADDRESS in sent.record.at
    assert read_card(sent.data, at(0)).publisher == long.dev


def test_who_has_so_many_devices_that_a_card_cannot_hold_the_proof_publishes_none():
    (device,) = BEN.record.record.devices
    sizes = []
    for count in range(1, 9):
        devices = (device, *[replace(device, dev=bytes([n]) * 32) for n in range(1, count)])
        many = envelope.sign(replace(BEN.record.record, devices=devices), BEN.root_key)
        proof = prove(TEA, entry(), many, BEN.dev)
        if proof is None:
            break
        sizes.append(len(TEA.data) + len(proof))
    assert 2 <= len(sizes) < 8
    assert max(sizes) <= PROVED_BYTES_MAX
