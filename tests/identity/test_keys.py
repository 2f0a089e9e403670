import base64
import hashlib
import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from libp2p.crypto.ed25519 import Ed25519PrivateKey
from libp2p.peer.id import ID
from nacl.signing import SigningKey

from p2phouse.identity.keyfile import FileExposed, FileNotWritten, FileUnreadable, read_private
from p2phouse.identity.keys import (
    FILE_NAME,
    IdentityDamaged,
    Me,
    NameUnusable,
    device_of_peer_id,
    key_tag,
    load_or_create,
    make_identity,
    of_seed,
    peer_id,
)
from p2phouse.record import cbor, envelope
from p2phouse.record.types import Identity
from p2phouse.vocabulary import DeviceKey, Now

UNIX = 1_800_000_000
DAY_S = 86_400
KEYS = st.binary(min_size=32, max_size=32)


def at(unix: float) -> Now:
    return Now(0.0, unix)


def entropy_of(seed: int):
    """A source of secrets that gives the same in every run."""
    return random.Random(seed).randbytes


def secrets(me: Me) -> list[bytes]:
    return [bytes(me.root_key), bytes(me.device_key), bytes(me.seal_key), bytes(me.olm_key)]


def test_the_first_run_makes_somebody_new_and_the_next_finds_the_same_person(tmp_path):
    made = load_or_create(tmp_path, now=at(UNIX), entropy=entropy_of(1))
    found = load_or_create(tmp_path, now=at(UNIX + 5 * DAY_S), entropy=entropy_of(2))
    assert secrets(found) == secrets(made)
    assert found.record == made.record
    assert len(set(secrets(made))) == 4
    again = read_private(tmp_path / FILE_NAME)
    load_or_create(tmp_path, now=at(UNIX + 6 * DAY_S), entropy=entropy_of(3))
    assert read_private(tmp_path / FILE_NAME) == again


def test_the_root_key_signs_the_list_of_devices_and_the_device_is_on_it(tmp_path):
    me = load_or_create(tmp_path, now=at(UNIX), entropy=entropy_of(1), name="Zoë")
    record = envelope.read(me.record.data, Identity).record
    envelope.check_time(record, UNIX)
    assert record.uid == me.uid == bytes(me.root_key.verify_key)
    assert record.name == me.name == "Zoë"
    assert (record.created, record.exp) == (UNIX, UNIX + 90 * DAY_S)
    (device,) = record.devices
    assert device.dev == me.dev == bytes(me.device_key.verify_key)
    assert device.xpk == bytes(me.seal_key.public_key)
    assert device.olm == bytes(me.olm_key.public_key)


def test_nobody_new_is_anybody_else():
    first, second = (make_identity(now=at(UNIX), entropy=entropy_of(seed)) for seed in (1, 2))
    assert not set(secrets(first)) & set(secrets(second))


def test_a_record_is_renewed_in_its_last_30_days(tmp_path):
    made = load_or_create(tmp_path, now=at(UNIX), entropy=entropy_of(1))
    kept = load_or_create(tmp_path, now=at(UNIX + 60 * DAY_S), entropy=entropy_of(2))
    assert kept.record == made.record
    late = UNIX + 60 * DAY_S + 1
    renewed = load_or_create(tmp_path, now=at(late), entropy=entropy_of(3))
    assert secrets(renewed) == secrets(made)
    assert renewed.record.record.seq == made.record.record.seq + 1
    assert renewed.record.record.exp == late + 90 * DAY_S
    assert load_or_create(tmp_path, now=at(late), entropy=entropy_of(4)).record == renewed.record
    long_gone = load_or_create(tmp_path, now=at(late + 400 * DAY_S), entropy=entropy_of(5))
    assert long_gone.record.record.seq == made.record.record.seq + 2
    assert secrets(long_gone) == secrets(made)


def test_a_record_made_under_a_clock_that_ran_ahead_is_made_again(tmp_path):
    ahead = load_or_create(tmp_path, now=at(UNIX + 121), entropy=entropy_of(1))
    kept = load_or_create(tmp_path, now=at(UNIX + 1), entropy=entropy_of(2))
    assert kept.record == ahead.record, "within what clocks may differ"
    right = load_or_create(tmp_path, now=at(UNIX), entropy=entropy_of(2))
    envelope.check_time(right.record.record, UNIX)
    assert right.record.record.seq == ahead.record.record.seq + 1


def test_a_new_name_is_taken_on_and_kept(tmp_path):
    made = load_or_create(tmp_path, now=at(UNIX), entropy=entropy_of(1), name="Zoë")
    assert load_or_create(tmp_path, now=at(UNIX), entropy=entropy_of(2)).name == "Zoë"
    same = load_or_create(tmp_path, now=at(UNIX), entropy=entropy_of(2), name=" Zoe\u0308 ")
    assert same.record == made.record
    renamed = load_or_create(tmp_path, now=at(UNIX), entropy=entropy_of(3), name="Ana")
    assert renamed.name == "Ana"
    assert renamed.record.record.seq == made.record.record.seq + 1
    assert secrets(renamed) == secrets(made)
    assert load_or_create(tmp_path, now=at(UNIX), entropy=entropy_of(4)).record == renamed.record


@pytest.mark.parametrize("name", ["x" * 41, "a\x00b", "ab\u202ecd"])
def test_a_name_that_others_would_refuse_is_refused_before_anything_is_written(tmp_path, name):
    with pytest.raises(NameUnusable, match="40 characters"):
        load_or_create(tmp_path, now=at(UNIX), entropy=entropy_of(1), name=name)
    assert list(tmp_path.iterdir()) == []
    made = load_or_create(tmp_path, now=at(UNIX), entropy=entropy_of(1), name="x" * 40)
    with pytest.raises(NameUnusable):
        load_or_create(tmp_path, now=at(UNIX), entropy=entropy_of(1), name=name)
    assert load_or_create(tmp_path, now=at(UNIX), entropy=entropy_of(2)).record == made.record


# ── the file ─────────────────────────────────────────────────────────────────────────────────


def damaged(data: bytes) -> dict[str, bytes]:
    """Ways in which a file goes bad, each with what is left of it."""
    value = cbor.decode(data, size_max=4_096)
    assert isinstance(value, list)
    other = make_identity(now=at(UNIX), entropy=entropy_of(9))
    swapped = bytearray(data)
    swapped[-1] ^= 1
    return {
        "empty": b"",
        "cut short": data[:-1],
        "something else": b"Dear diary",
        "a part missing": cbor.encode(value[:-1]),
        "another kind of part": cbor.encode([*value[:4], "seed", value[5]]),
        "a later version": cbor.encode([2, *value[1:]]),
        "a root seed too short": cbor.encode([1, bytes(31), *value[2:]]),
        "a device seed too short": cbor.encode([*value[:2], bytes(31), *value[3:]]),
        "a seal seed too short": cbor.encode([*value[:3], bytes(31), *value[4:]]),
        "a signature with a flipped bit": bytes(swapped),
        "the record of somebody else": cbor.encode([*value[:5], other.record.data]),
        "the root of somebody else": cbor.encode([1, bytes(other.root_key), *value[2:]]),
        "the device of somebody else": cbor.encode([*value[:2], bytes(32), *value[3:]]),
        "the seal key of somebody else": cbor.encode([*value[:3], bytes(32), *value[4:]]),
        "the olm key of somebody else": cbor.encode([*value[:4], bytes(32), value[5]]),
    }


@pytest.mark.parametrize("what", damaged(cbor.encode([1, b"", b"", b"", b"", b""])))
def test_a_damaged_file_is_left_as_it_is_and_nobody_new_is_made(tmp_path, what):
    load_or_create(tmp_path, now=at(UNIX), entropy=entropy_of(1))
    path = tmp_path / FILE_NAME
    bad = damaged(read_private(path))[what]
    path.write_bytes(bad)
    for _ in range(2):
        with pytest.raises(IdentityDamaged, match="left as it is") as caught:
            load_or_create(tmp_path, now=at(UNIX), entropy=entropy_of(2), name="Ana")
        assert str(path) in str(caught.value)
    assert path.read_bytes() == bad


def test_a_file_that_others_may_read_is_refused_and_left(tmp_path):
    load_or_create(tmp_path, now=at(UNIX), entropy=entropy_of(1))
    (tmp_path / FILE_NAME).chmod(0o644)
    with pytest.raises(FileExposed):
        load_or_create(tmp_path, now=at(UNIX), entropy=entropy_of(2))


def test_a_home_without_a_folder_or_with_a_folder_for_its_file_is_one_sentence(tmp_path):
    with pytest.raises(FileNotWritten):
        load_or_create(tmp_path / "nowhere", now=at(UNIX), entropy=entropy_of(1))
    (tmp_path / FILE_NAME).mkdir(mode=0o700)
    with pytest.raises(FileUnreadable):
        load_or_create(tmp_path, now=at(UNIX), entropy=entropy_of(1))


def test_printing_an_identity_shows_no_secret():
    me = make_identity(now=at(UNIX), entropy=entropy_of(1))
    for text in (repr(me), str(me), f"{me}"):
        for secret in secrets(me):
            for shown in (repr(secret), repr(secret)[2:-1], secret.hex(), str(list(secret))):
                assert shown not in text
            assert base64.b64encode(secret).decode() not in text
    assert repr(me.dev)[2:-1] in repr(me)


# ── PeerId and key tag ───────────────────────────────────────────────────────────────────────


@given(KEYS)
def test_a_peer_id_is_the_one_that_libp2p_gives_the_same_key(seed):
    theirs = ID.from_pubkey(Ed25519PrivateKey.from_bytes(seed).get_public_key())
    dev = DeviceKey(bytes(SigningKey(seed).verify_key))
    assert peer_id(dev) == theirs.to_base58() == theirs.to_string()
    assert device_of_peer_id(theirs.to_base58()) == dev


@given(KEYS)
def test_any_32_bytes_survive_the_way_into_a_peer_id_and_back(key):
    assert device_of_peer_id(peer_id(DeviceKey(key))) == key
    assert ID.from_base58(peer_id(DeviceKey(key))).to_bytes() == (
        bytes.fromhex("002408011220") + key
    )


KEY = bytes(range(32))
RSA = ID(b"\x12\x20" + hashlib.sha256(b"an RSA key").digest()).to_base58()
SECP256K1 = ID(bytes.fromhex("00250802122102") + KEY).to_base58()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1" + peer_id(KEY),
        peer_id(KEY)[1:],
        peer_id(KEY)[:-1],
        peer_id(KEY) + "1",
        peer_id(KEY) + " ",
        peer_id(KEY).replace("D", "0"),
        peer_id(KEY).replace("D", "l"),
        peer_id(KEY).replace("D", "é"),
        ID(bytes.fromhex("002408011220") + KEY[:31]).to_base58(),
        ID(bytes.fromhex("002408011220") + KEY + b"\0").to_base58(),
        ID(bytes.fromhex("002408021220") + KEY).to_base58(),
        RSA,
        SECP256K1,
        "1" * 52,
        "z" * 60,
        "z" * 61,
        "z" * 100_000,
    ],
)
def test_no_other_text_is_taken_for_a_peer_id(text):
    with pytest.raises(ValueError):
        device_of_peer_id(text)


def test_a_key_tag_is_forty_bits_that_a_person_can_read_out():
    digest = hashlib.sha256(KEY).digest()
    tag = key_tag(KEY)
    assert base64.b32decode(tag.replace("-", "").upper()) == digest[:5]
    assert len(tag) == 9
    assert tag == tag.lower()
    assert tag[4] == "-"
    assert key_tag(bytes(32)) != tag


def test_a_me_is_a_value_that_takes_another_name_and_keeps_its_keys(tmp_path):
    me = load_or_create(tmp_path, now=at(UNIX), entropy=entropy_of(1), name="Ana")
    assert replace(me) == me
    renamed = load_or_create(tmp_path, now=at(UNIX), entropy=entropy_of(1), name="Anna")
    assert replace(renamed, record=me.record) == me
    me.record = renamed.record  # between rooms, as the verb `rename` does
    assert me.name == "Anna"


def test_whoever_has_a_seed_is_the_same_person_and_nobody_else():
    people = {
        make_identity(now=Now(0.0, UNIX), entropy=of_seed(bytes([seed]) * 32), name=name).uid
        for seed in (1, 2)
        for name in ("Ana", "Zoé")
    }
    assert len(people) == 2
    me = make_identity(now=Now(0.0, UNIX), entropy=of_seed(bytes(32)))
    keys = {bytes(me.root_key), bytes(me.device_key), bytes(me.seal_key), bytes(me.olm_key)}
    assert len(keys) == 4
