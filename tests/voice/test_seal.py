import hmac
import json
import random
from pathlib import Path

import pytest

from p2phouse.errors import PeerError
from p2phouse.voice.seal import (
    COUNTER_MAX,
    CounterReused,
    Forged,
    KeyMissing,
    SealKey,
    decode_header,
    derive,
    encode_header,
    open_sealed,
    seal,
)

VECTORS = json.loads((Path(__file__).parent.parent / "vectors" / "rfc9605.json").read_text())
BASE = bytes(range(16))


def keys_of(*keys: SealKey) -> dict[int, tuple[SealKey, ...]]:
    return {kid: tuple(k for k in keys if k.kid == kid) for kid in {k.kid for k in keys}}


def test_every_header_of_the_rfc_is_written_and_read():
    assert len(VECTORS["header"]) == 289
    for vector in VECTORS["header"]:
        encoded = bytes.fromhex(vector["encoded"])
        assert encode_header(vector["kid"], vector["ctr"]) == encoded
        assert decode_header(encoded) == (vector["kid"], vector["ctr"], len(encoded))
        assert decode_header(encoded + b"rest") == (vector["kid"], vector["ctr"], len(encoded))


def test_suite_4_of_the_rfc_seals_and_opens():
    (vector,) = VECTORS["sframe"]
    base, metadata = bytes.fromhex(vector["base_key"]), bytes.fromhex(vector["metadata"])
    derived, salt = derive(vector["kid"], base)
    assert derived.hex() == vector["sframe_key"]
    assert salt.hex() == vector["sframe_salt"]
    key = SealKey(vector["kid"], base)
    assert key.nonce(vector["ctr"]).hex() == vector["nonce"]
    sealed = seal(key, vector["ctr"], bytes.fromhex(vector["pt"]), metadata)
    assert sealed.hex() == vector["ct"]
    opened = open_sealed(keys_of(key), sealed, metadata)
    assert opened == (vector["kid"], vector["ctr"], bytes.fromhex(vector["pt"]))


def test_the_worked_example_of_the_protocol_comes_out_to_the_byte():
    # base(sender) = HKDF-Expand(E, label ‖ 00 ‖ room ‖ u32 n ‖ dev ‖ sid, 16), as in the protocol.
    base = bytes.fromhex("10b77af0507a9226f5205a795f0a7b28")
    sealed = seal(SealKey(0x73, base), 300, bytes(range(16)))
    assert (
        sealed.hex() == "8973012ca2a9ff5773b1086a4cbab9324a33d21ed11ca2af2c9b1dca1997cf3027b4bc99"
    )
    assert open_sealed(keys_of(SealKey(0x73, base)), sealed).plaintext == bytes(range(16))


@pytest.mark.parametrize(
    "header",
    [
        "8007",  # KID 7 in a byte of its own
        "9000ff",  # KID with a leading zero
        "0807",  # CTR 7 in a byte of its own
        "090012",  # CTR with a leading zero
        "",
        "80",
        "8973",
        "ffffffff",
    ],
)
def test_a_header_that_is_cut_or_not_in_its_shortest_form_is_refused(header: str):
    with pytest.raises(Forged):
        decode_header(bytes.fromhex(header))


def test_no_counter_is_sealed_twice_or_out_of_order():
    key = SealKey(3, BASE)
    seal(key, 5, b"frame")
    for counter in (5, 4, 0, -1, COUNTER_MAX + 1):
        with pytest.raises(CounterReused):
            seal(key, counter, b"another")
    seal(key, 6, b"next")
    seal(key, COUNTER_MAX, b"last")
    with pytest.raises(CounterReused):
        seal(key, COUNTER_MAX, b"never")


def test_every_flipped_bit_is_noticed():
    key = SealKey(0x73, BASE)
    sealed = seal(key, 300, b"twenty milliseconds")
    for bit in range(8 * len(sealed)):
        forged = bytearray(sealed)
        forged[bit // 8] ^= 1 << bit % 8
        with pytest.raises((Forged, KeyMissing)):
            open_sealed(keys_of(key), bytes(forged))


def test_of_two_keys_under_one_kid_the_one_that_fits_opens():
    old, new = SealKey(0x73, BASE), SealKey(0x73, bytes(16))
    keys = keys_of(SealKey(0x73, BASE), SealKey(0x73, bytes(16)))
    assert open_sealed(keys, seal(old, 1, b"old")).plaintext == b"old"
    assert open_sealed(keys, seal(new, 1, b"new")).plaintext == b"new"


def test_an_unknown_kid_is_a_missing_key_and_not_a_forgery():
    sealed = seal(SealKey(0x73, BASE), 1, b"frame")
    with pytest.raises(KeyMissing, match="115"):
        open_sealed({}, sealed)
    with pytest.raises(KeyMissing):
        open_sealed(keys_of(SealKey(0x83, BASE)), sealed)


def test_the_same_base_under_another_kid_is_another_key():
    sealed = bytearray(seal(SealKey(0x73, BASE), 300, b"frame"))
    sealed[1] = 0x74
    with pytest.raises(Forged):
        open_sealed(keys_of(SealKey(0x74, BASE)), bytes(sealed))


def test_a_hundred_thousand_malformed_frames_yield_nothing_but_peer_errors():
    """Invariant: whatever is not sealed with one of the keys raises PeerError, nothing else."""
    rng = random.Random(9605)
    key = SealKey(0x73, BASE)
    keys = keys_of(key, SealKey(2, BASE))
    good = seal(key, 300, b"x" * 60)
    for n in range(100_000):
        if n % 2:
            data = rng.randbytes(rng.randrange(60))
        else:
            changed = bytearray(good[: rng.randrange(len(good) + 1)] + rng.randbytes(n % 3))
            if changed:
                at = rng.randrange(len(changed))
                changed[at] ^= rng.randrange(1, 256)
            data = bytes(changed)
        with pytest.raises(PeerError):
            open_sealed(keys, data)


def test_derivation_agrees_with_hkdf_written_out():
    prk = hmac.new(b"\x00" * 32, BASE, "sha256").digest()  # no salt: a block of zeros
    info = b"SFrame 1.0 Secret key " + (7).to_bytes(8) + (4).to_bytes(2)
    assert derive(7, BASE)[0] == hmac.new(prk, info + b"\x01", "sha256").digest()[:16]
