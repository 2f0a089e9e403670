from dataclasses import replace
from itertools import product

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from nacl.signing import SigningKey

from p2phouse.errors import PeerError
from p2phouse.record import cbor, envelope
from p2phouse.record.cbor import Malformed
from p2phouse.record.envelope import BadSignature
from p2phouse.record.types import RECORDS, RecordType
from tests.record import forgery, samples
from tests.record.forgery import Signer, body_of, enclose, message_of
from tests.record.samples import DEVICE_KEY, HELLO, OTHER_KEY, SOFT, signed

SAMPLES = samples.RECORDS


def named(record):
    return record.NAME


def openssl_accepts(key, message, signature):
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def test_there_is_a_sample_of_every_record():
    assert {record.TYPE for record in SAMPLES} == set(RECORDS)
    assert len({cls.NAME for cls in RECORDS.values()}) == len(RECORDS)
    for number, cls in RECORDS.items():
        assert RecordType(number) == cls.TYPE
        assert cls.SIGNER in cls.__annotations__


@pytest.mark.parametrize("record", SAMPLES, ids=named)
def test_what_is_signed_is_read_back_with_its_id_and_bytes(record):
    sent = signed(record)
    read = envelope.read(sent.data, type(record))
    assert read == sent
    assert read.record == record
    assert read.id == forgery.id_of(record)
    assert len(sent.data) <= record.SIZE_MAX


@pytest.mark.parametrize(("sent", "expected"), list(product(SAMPLES, SAMPLES)))
def test_a_record_passes_for_no_other_type(sent, expected):
    if type(sent) is type(expected):
        return
    with pytest.raises(Malformed):
        envelope.read(signed(sent).data, type(expected))


@pytest.mark.parametrize("record", SAMPLES, ids=named)
@pytest.mark.parametrize("other", SAMPLES, ids=named)
def test_a_signature_holds_for_the_name_it_was_made_for(record, other):
    key = samples.key_of(record)
    context = f"p2phouse/1/{other.NAME}\0".encode()
    data = enclose(record, key.sign(message_of(record, context=context)).signature)
    if other is record:
        assert envelope.read(data, type(record)).record == record
        return
    with pytest.raises(BadSignature):
        envelope.read(data, type(record))


@pytest.mark.parametrize("context", [b"", b"soft\0", b"p2phouse/1/soft", b"p2phouse/2/soft\0"])
def test_a_signature_without_the_whole_context_is_refused(context):
    data = enclose(SOFT, DEVICE_KEY.sign(message_of(SOFT, context=context)).signature)
    with pytest.raises(BadSignature):
        envelope.read(data, type(SOFT))


@pytest.mark.parametrize("record", SAMPLES, ids=named)
def test_a_record_is_signed_by_the_key_it_names_and_nobody_else(record):
    data = enclose(record, OTHER_KEY.sign(message_of(record)).signature)
    with pytest.raises(BadSignature):
        envelope.read(data, type(record))


@pytest.mark.parametrize("record", SAMPLES, ids=named)
def test_every_flipped_bit_is_noticed(record):
    data = signed(record).data
    for bit in range(8 * len(data)):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises((Malformed, BadSignature)):
            envelope.read(bytes(changed), type(record))


@pytest.mark.parametrize("version", [0, 2, True, None, "1", [1]])
def test_an_envelope_of_another_version_is_refused(version):
    signature = DEVICE_KEY.sign(message_of(SOFT)).signature
    assert envelope.read(enclose(SOFT, signature), type(SOFT))
    with pytest.raises(Malformed):
        envelope.read(enclose(SOFT, signature, version=version), type(SOFT))


@pytest.mark.parametrize("version", [0, 2, True, None, "1", [1]])
def test_a_body_of_another_version_is_refused_though_its_signature_holds(version):
    signature = DEVICE_KEY.sign(message_of(SOFT, version=version)).signature
    data = enclose(SOFT, signature, body=body_of(SOFT, version))
    with pytest.raises(Malformed):
        envelope.read(data, type(SOFT))


def test_true_does_not_pass_for_the_type_number_1():
    record = samples.IDENTITY
    signature = samples.ROOT_KEY.sign(message_of(record)).signature
    with pytest.raises(Malformed):
        envelope.read(enclose(record, signature, number=True), type(record))


@pytest.mark.parametrize(
    "value",
    [
        [],
        {},
        1,
        b"",
        [1, 8, b"", bytes(64), 0],
        [1, 8, b""],
        [1, 8, b"", bytes(63)],
        [1, 8, b"", bytes(65)],
        [1, 8, "", bytes(64)],
        [1, 8, b"", "s" * 64],
        [1, 8, b"", bytes(64)],
        [1, 8, b"\x80", bytes(64)],
        [1, 8, b"\x01", bytes(64)],
        [1, 8, b"\xa0", bytes(64)],
    ],
)
def test_anything_that_is_no_envelope_is_malformed(value):
    with pytest.raises(Malformed):
        envelope.read(cbor.encode(value), type(SOFT))


@pytest.mark.parametrize("record", SAMPLES, ids=named)
def test_an_envelope_past_its_type_s_size_is_refused_unread(record):
    assert record.SIZE_MAX == type(record).SIZE_MAX
    with pytest.raises(Malformed, match=f"at most {record.SIZE_MAX} "):
        envelope.read(bytes(record.SIZE_MAX + 1), type(record))
    with pytest.raises(Malformed, match="after the value"):
        envelope.read(bytes(record.SIZE_MAX), type(record))


def test_signing_again_makes_no_new_record():
    signer = Signer(DEVICE_KEY)
    message = message_of(SOFT)
    first = envelope.read(enclose(SOFT, signer.sign(message, nonce=b"a")), type(SOFT))
    second = envelope.read(enclose(SOFT, signer.sign(message, nonce=b"b")), type(SOFT))
    assert first.data != second.data
    assert first.id == second.id == signed(SOFT).id


# ── libsodium's verdict is the protocol: what other libraries would accept ───────────────────


@pytest.mark.parametrize("key", forgery.SMALL_ORDER, ids=lambda key: key.hex())
def test_a_key_of_small_order_signs_nothing_though_openssl_accepts_it(key):
    accepted_by_openssl = 0
    for number, point in product(range(16), forgery.SMALL_ORDER):
        record = replace(HELLO, dev=key, nonce=bytes([number]) * 64)
        signature = point + bytes(32)  # S = 0 needs no secret
        accepted_by_openssl += openssl_accepts(key, message_of(record), signature)
        with pytest.raises(BadSignature):
            envelope.read(enclose(record, signature), type(record))
    # Those in canonical form; else this test would try nothing.
    is_canonical = int.from_bytes(key, "little") & (1 << 255) - 1 < 2**255 - 19
    assert accepted_by_openssl or not is_canonical


def test_a_signature_whose_r_is_the_neutral_point_is_refused_though_openssl_accepts_it():
    signature = Signer(DEVICE_KEY).sign_without_nonce(message_of(SOFT))
    assert openssl_accepts(SOFT.dev, message_of(SOFT), signature)
    with pytest.raises(BadSignature):
        envelope.read(enclose(SOFT, signature), type(SOFT))


@pytest.mark.parametrize("point", forgery.SMALL_ORDER, ids=lambda key: key.hex())
def test_a_signature_with_any_r_of_small_order_is_refused(point):
    honest = signed(SOFT).data[-64:]
    with pytest.raises(BadSignature):
        envelope.read(enclose(SOFT, point + honest[32:]), type(SOFT))


def test_a_signature_with_s_plus_the_group_s_order_is_refused():
    honest = DEVICE_KEY.sign(message_of(SOFT)).signature
    assert envelope.read(enclose(SOFT, honest), type(SOFT))
    with pytest.raises(BadSignature):
        envelope.read(enclose(SOFT, forgery.plus_order(honest)), type(SOFT))


def test_a_signature_with_a_small_part_added_to_r_is_refused():
    signer = Signer(DEVICE_KEY)
    assert envelope.read(enclose(SOFT, signer.sign(message_of(SOFT), nonce=b"n")), type(SOFT))
    bent = signer.sign(message_of(SOFT), nonce=b"n", torsion=forgery.ORDER_8_POINT)
    with pytest.raises(BadSignature):
        envelope.read(enclose(SOFT, bent), type(SOFT))


# ── what we sign ourselves ───────────────────────────────────────────────────────────────────


def test_a_record_is_not_signed_with_another_key_than_it_names():
    with pytest.raises(AssertionError):
        envelope.sign(SOFT, OTHER_KEY)


def test_a_record_is_signed_up_to_the_size_of_its_type_and_no_further():
    empty = len(signed(replace(samples.CARD, grant=bytes(256))).data) - 256
    longest = replace(samples.CARD, grant=bytes(samples.CARD.SIZE_MAX - empty))
    sent = signed(longest)
    assert len(sent.data) == samples.CARD.SIZE_MAX
    assert envelope.read(sent.data, type(longest)).record == longest
    with pytest.raises(AssertionError, match="1281 bytes"):
        signed(replace(longest, grant=longest.grant + b"x"))


@pytest.mark.parametrize(
    "record",
    [
        replace(SOFT, val="Zoe\u0308"),
        replace(SOFT, seq=-1),
        replace(samples.GENESIS, title="two\nlines"),
        replace(samples.OFFER, cands=("x",) * 9),
    ],
)
def test_a_record_that_others_would_refuse_gets_no_signature(record):
    with pytest.raises(AssertionError, match="refuse"):
        envelope.sign(record, samples.key_of(record))


# ── time ─────────────────────────────────────────────────────────────────────────────────────

NOW = samples.UNIX
DAY_S = 86_400
SKEW_S = 120
IDENTITY, GENESIS, CARD = samples.IDENTITY, samples.GENESIS, samples.CARD

IN_TIME = [
    replace(IDENTITY, created=NOW + SKEW_S, exp=NOW + SKEW_S + 90 * DAY_S),
    replace(IDENTITY, created=NOW - DAY_S, exp=NOW - SKEW_S),
    replace(GENESIS, created=NOW + SKEW_S, exp=NOW + SKEW_S + 43_200),
    replace(GENESIS, created=NOW - 43_200 - SKEW_S, exp=NOW - SKEW_S),
    replace(CARD, created=NOW + SKEW_S, ttl=600),
    replace(CARD, created=NOW - 600 - SKEW_S, ttl=600),
    replace(CARD, created=NOW + SKEW_S, ttl=0),
    replace(CARD, created=NOW - 600 - SKEW_S, ttl=0),
    replace(samples.OFFER, ts=NOW + SKEW_S),
    replace(samples.OFFER, ts=NOW - SKEW_S),
    replace(samples.JOIN, ts=NOW + SKEW_S),
    replace(samples.JOIN, ts=NOW - 43_200 - SKEW_S),
    replace(SOFT, ts=NOW + SKEW_S),
    replace(SOFT, ts=NOW - 43_200 - SKEW_S),
    replace(samples.SPEAK, created=NOW + SKEW_S),
    replace(samples.SPEAK, created=NOW - 43_200 - SKEW_S),
    HELLO,
    samples.ENTRY,
]

OUT_OF_TIME = [
    (replace(IDENTITY, created=NOW + SKEW_S + 1, exp=NOW + DAY_S), "future"),
    (replace(IDENTITY, created=NOW - DAY_S, exp=NOW - SKEW_S - 1), "over"),
    (replace(IDENTITY, created=NOW, exp=NOW + 90 * DAY_S + 1), "longer"),
    (replace(IDENTITY, created=NOW, exp=NOW - 1), "longer"),
    (replace(GENESIS, created=NOW + SKEW_S + 1, exp=NOW + DAY_S // 2), "future"),
    (replace(GENESIS, created=NOW - 43_000, exp=NOW - SKEW_S - 1), "over"),
    (replace(GENESIS, created=NOW, exp=NOW + 43_201), "longer"),
    (replace(CARD, created=NOW + SKEW_S + 1), "future"),
    (replace(CARD, created=NOW - 600 - SKEW_S - 1, ttl=600), "over"),
    (replace(CARD, created=NOW - 100 - SKEW_S - 1, ttl=100), "over"),
    (replace(CARD, created=NOW + SKEW_S + 1, ttl=0), "future"),
    (replace(CARD, created=NOW - 600 - SKEW_S - 1, ttl=0), "over"),
    (replace(samples.OFFER, ts=NOW + SKEW_S + 1), "future"),
    (replace(samples.OFFER, ts=NOW - SKEW_S - 1), "over"),
    (replace(samples.JOIN, ts=NOW + SKEW_S + 1), "future"),
    (replace(samples.JOIN, ts=NOW - 43_200 - SKEW_S - 1), "over"),
    (replace(SOFT, ts=NOW + SKEW_S + 1), "future"),
    (replace(SOFT, ts=NOW - 43_200 - SKEW_S - 1), "over"),
    (replace(samples.SPEAK, created=NOW + SKEW_S + 1), "future"),
    (replace(samples.SPEAK, created=NOW - 43_200 - SKEW_S - 1), "over"),
]


@pytest.mark.parametrize("record", IN_TIME, ids=named)
def test_a_record_counts_until_its_time_and_the_clocks_difference_are_over(record):
    envelope.check_time(record, float(NOW))


@pytest.mark.parametrize(("record", "reason"), OUT_OF_TIME, ids=lambda it: getattr(it, "NAME", it))
def test_a_record_one_second_past_its_time_is_refused(record, reason):
    with pytest.raises(PeerError, match=reason):
        envelope.check_time(record, float(NOW))


def test_samples_are_signed_with_the_keys_they_name():
    for record in SAMPLES:
        key = samples.key_of(record)
        assert isinstance(key, SigningKey)
        assert getattr(record, record.SIGNER) == bytes(key.verify_key)
