"""Invariant: what is asked of a relay, and its reply, is read as it was written or refused."""

from dataclasses import replace

import pytest

from p2phouse.errors import PeerError
from p2phouse.hall import relay_ask
from p2phouse.hall.relay_ask import AskCarry, AskPolicy, Said, Shown, Verdict
from p2phouse.record import cbor, envelope
from p2phouse.vocabulary import DeviceKey
from tests.record import samples
from tests.record.mutants import mutant, reshaped, survives
from tests.record.samples import signed

GENESIS, GRANT = samples.SIGNED_GENESIS, signed(samples.RELAY_GRANT)
POLICY, IDENTITY = signed(samples.POLICY), signed(samples.IDENTITY)
RELAY = DeviceKey(samples.DEV)
ASKS = [
    AskPolicy(),
    AskCarry(GENESIS, ()),
    AskCarry(GENESIS, (samples.LAN_ADDRESS,) * 4, GRANT),  # type: ignore[arg-type]  # it is one
]
SAID = [Said(Verdict.CARRIED, "", 300, 20_000, 2**40), Said(Verdict.FULL, "relay.example:17472")]


@pytest.mark.parametrize("asked", ASKS, ids=lambda asked: type(asked).__name__)
def test_a_question_is_read_as_it_was_written(asked):
    assert relay_ask.read_ask(relay_ask.write(asked)) == asked


def test_replies_are_read_as_they_were_written():
    shown = Shown(POLICY, IDENTITY)  # type: ignore[arg-type]  # it is one
    assert relay_ask.read_policy(relay_ask.write(shown), RELAY) == POLICY
    for said in SAID:
        assert relay_ask.read_said(relay_ask.write(said)) == said


def test_the_policy_of_another_relay_is_refused():
    """Security: a relay shows what it has signed itself."""
    data = relay_ask.write(Shown(POLICY, IDENTITY))  # type: ignore[arg-type]  # it is one
    with pytest.raises(PeerError, match="another relay"):
        relay_ask.read_policy(data, DeviceKey(samples.OTHER))


def test_a_relay_cannot_have_somebody_else_named_for_it():
    """Security: whoever is named a relay has no voice any more."""
    other = replace(samples.POLICY, uid=samples.OTHER)
    shown = Shown(envelope.sign(other, samples.DEVICE_KEY), IDENTITY)  # type: ignore[arg-type]
    with pytest.raises(PeerError, match="another person"):
        relay_ask.read_policy(relay_ask.write(shown), RELAY)
    (device,) = samples.IDENTITY.devices
    elsewhere = replace(samples.IDENTITY, devices=(replace(device, dev=samples.OTHER),))
    shown = Shown(POLICY, envelope.sign(elsewhere, samples.ROOT_KEY))  # type: ignore[arg-type]
    with pytest.raises(PeerError, match="another person"):
        relay_ask.read_policy(relay_ask.write(shown), RELAY)


@pytest.mark.parametrize(
    "frame",
    [
        [],
        [1],
        [2, 0],
        [True, 0],
        [1, False],
        [1, 0, b""],
        [1, 2],
        [1, 1, GENESIS.data, []],
        [1, 1, b"", [], b""],
        [1, 1, POLICY.data, [], b""],
        [1, 1, GENESIS.data, [], POLICY.data],
        [1, 1, GENESIS.data, [b""], b""],
        [1, 1, GENESIS.data, [samples.LAN_ADDRESS] * 5, b""],
        {},
    ],
)
def test_what_is_no_question_is_refused(frame):
    with pytest.raises(PeerError):
        relay_ask.read_ask(cbor.encode(frame))


@pytest.mark.parametrize(
    "frame",
    [
        [1, 0],
        [1, 0, GRANT.data],
        [1, 0, POLICY.data],
        [1, 0, POLICY.data, GRANT.data],
        [1, 0, IDENTITY.data, POLICY.data],
        [1, 1],
        [1, 1, max(Verdict) + 1, "", 0, 0, 0],
        [1, 1, 0, "x" * 81, 0, 0, 0],
        [1, 1, 0, "a\nb", 0, 0, 0],
        [1, 1, 0, "", 4_097, 0, 0],
        [1, 1, 0, "", 0, -1, 0],
        [1, 1, 0, "", 0, 0, 0, 0],
    ],
)
def test_what_is_no_reply_is_refused(frame):
    for read in (relay_ask.read_said, lambda data: relay_ask.read_policy(data, RELAY)):
        with pytest.raises(PeerError):
            read(cbor.encode(frame))


@pytest.mark.slow
def test_mutants_of_questions_and_replies_are_read_or_refused():
    corpus = [relay_ask.write(each) for each in [*ASKS, Shown(POLICY, IDENTITY), *SAID]]  # type: ignore[arg-type]

    def read(data):
        survived = []
        for reader in (
            relay_ask.read_ask,
            relay_ask.read_said,
            lambda data: relay_ask.read_policy(data, RELAY),
        ):
            try:
                survived.append(reader(data))
            except PeerError:
                continue
        if not survived:
            raise relay_ask.AskUnreadable(reason="by any of them")

    def make(rng):
        if rng.random() < 0.7:
            return mutant(rng, corpus)
        return reshaped(rng, rng.choice(corpus))

    survives(read, make, errors=PeerError, accepted_min=1_000)
