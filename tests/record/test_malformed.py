"""Invariant: decode and read return what encodes to the same bytes, or raise PeerError."""

import pytest

from p2phouse.errors import PeerError
from p2phouse.record import cbor, envelope
from p2phouse.record.schema import pack
from tests.record import samples
from tests.record.mutants import changed, mutant, reshaped, survives
from tests.record.samples import key_of, signed

pytestmark = pytest.mark.slow  # a minute or two in all

ENVELOPES = [signed(record).data for record in samples.RECORDS]
BODIES = [cbor.encode([1, *pack(record)]) for record in samples.RECORDS]
MAPS = [cbor.encode({0: [], 10: b"a", 100: {"a": None, "ab": True}, "": -(2**33)})]


def test_mutants_of_cbor_are_decoded_or_refused():
    corpus = [*ENVELOPES, *BODIES, *MAPS * 4]

    def decode(data):
        assert cbor.encode(cbor.decode(data, size_max=2_048)) == data

    def make(rng):
        return mutant(rng, corpus) if rng.random() < 0.8 else reshaped(rng, rng.choice(corpus))

    survives(decode, make, errors=PeerError, accepted_min=20_000)


@pytest.mark.parametrize("record", samples.RECORDS, ids=lambda record: record.NAME)
def test_mutants_of_a_record_are_read_or_refused(record):
    cls, key = type(record), key_of(record)
    data = signed(record).data
    context = envelope.CONTEXT + record.NAME.encode() + b"\0"

    def decode(data):
        read = envelope.read(data, cls)
        assert read.data == data
        assert envelope.sign(read.record, key).id == read.id

    def signed_change(rng):
        """A changed body under a true signature: gets past the envelope, into every field."""
        body = cbor.encode(changed(rng, [1, *pack(record)]))
        return cbor.encode([1, int(record.TYPE), body, key.sign(context + body).signature])

    def make(rng):
        chance = rng.random()
        if chance < 0.5:
            return mutant(rng, [data])
        return reshaped(rng, data) if chance < 0.7 else signed_change(rng)

    survives(decode, make, errors=PeerError, accepted_min=1_000)
