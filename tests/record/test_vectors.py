"""The published vectors, and what they say checked once more by other means than ours."""

import base64
import hmac
import json
from hashlib import sha256
from pathlib import Path
from urllib.parse import parse_qs

import cbor2
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from nacl.public import PrivateKey, SealedBox
from nacl.signing import SigningKey, VerifyKey

from p2phouse.errors import PeerError
from p2phouse.hall import invitation, relay_ask
from p2phouse.hall.card import read_card
from p2phouse.net import hello
from p2phouse.record import cbor, envelope
from p2phouse.record.types import RECORDS, Soft
from p2phouse.room import frames, lobby
from p2phouse.room.beats import read_beat
from p2phouse.vocabulary import DeviceKey, Now, RoomId
from tests.record import make_vectors, samples

PATH = Path(__file__).parents[1] / "vectors" / "records.json"
VECTORS = json.loads(PATH.read_text())
VOICE = VECTORS["voice"]


def unhex(text: str) -> bytes:
    return bytes.fromhex(text)


def test_the_file_is_what_the_shipped_code_makes():
    """If the protocol was meant to change: python -m tests.record.make_vectors > the file."""
    assert PATH.read_text() == make_vectors.text()


@pytest.mark.parametrize("vector", VECTORS["records"], ids=lambda vector: vector["name"])
def test_a_record_is_what_its_vector_says(vector):
    cls = RECORDS[vector["type"]]
    assert vector["name"] == cls.NAME
    read = envelope.read(unhex(vector["envelope"]), cls)
    assert read.id.hex() == vector["id"]
    assert list(vector["fields"]) == [name for name in cls.__annotations__ if name.islower()]

    # By hand: another CBOR library, bare Ed25519, bare SHA-256.
    version, number, body, signature = cbor2.loads(unhex(vector["envelope"]))
    assert (version, number, body.hex()) == (1, vector["type"], vector["body"])
    signed = b"p2phouse/1/" + vector["name"].encode() + b"\0" + body
    assert signed.hex() == vector["signed"]
    key = SigningKey(unhex(vector["seed"]))
    VerifyKey(bytes(key.verify_key)).verify(signed, signature)
    assert key.sign(signed).signature == signature
    assert sha256(signed).hexdigest() == vector["id"]
    values = cbor2.loads(body)
    assert values[0] == 1
    assert values[1 + list(vector["fields"]).index(cls.SIGNER)] == bytes(key.verify_key)


@pytest.mark.parametrize("vector", VECTORS["refused records"], ids=lambda v: v["because"])
def test_a_record_that_only_looks_right_is_refused(vector):
    with pytest.raises(PeerError):
        envelope.read(unhex(vector["envelope"]), Soft)


def test_the_profile_accepts_and_refuses_what_the_vectors_say():
    for vector in VECTORS["cbor"]["accepted"]:
        value = cbor.decode(unhex(vector["data"]), size_max=64)
        assert make_vectors.diagnostic(value) == vector["says"]
    for vector in VECTORS["cbor"]["refused"]:
        with pytest.raises(PeerError):
            cbor.decode(unhex(vector["data"]), size_max=256)


def test_hello_goes_there_and_back():
    vector = VECTORS["hello"]
    request, reply = unhex(vector["request"]), unhex(vector["reply"])
    assert request == unhex(vector["nonce"]) + bytes(448)
    assert hello.check(reply, request[:64]).dev.hex() == VECTORS["keys"][1]["public"]


def test_questions_to_relays_and_replies_read_as_written():
    told = {each["name"]: unhex(each["data"]) for each in VECTORS["questions to relays"]}
    for data in told.values():
        assert int.from_bytes(data[:4], "big") == len(data) - 4
    read = {name: data[4:] for name, data in told.items()}
    relay = DeviceKey(samples.DEV)
    assert relay_ask.read_ask(read["what are you?"]) == relay_ask.AskPolicy()
    assert relay_ask.read_policy(read["a policy"], relay).record == samples.POLICY
    carry = relay_ask.read_ask(read["carry this room"])
    assert isinstance(carry, relay_ask.AskCarry)
    assert carry.grant is not None
    assert carry.grant.record == samples.RELAY_GRANT
    assert relay_ask.read_said(read["it is carried"]).verdict is relay_ask.Verdict.CARRIED
    assert relay_ask.read_said(read["full, ask another"]).another == "relay.example.org:17472"


def test_a_greeting_reads_as_written():
    room, dev = RoomId(unhex(VOICE["room"])), DeviceKey(unhex(VOICE["dev"]))
    for vector in VECTORS["room frames"]:
        data = unhex(vector["data"])
        assert int.from_bytes(data[:4], "big") == len(data) - 4
        frame = cbor.decode(data[4:], size_max=16_384)
        assert isinstance(frame, list)
        if vector["name"].startswith("greeting"):
            greeting = frames.read_greeting(frame, sender=dev, room=room)
            assert greeting.join.record.dev == dev
            assert (greeting.genesis is None) == ("by link" in vector["name"])


def test_beats_and_successors_read_as_written():
    room, dev = RoomId(unhex(VOICE["room"])), DeviceKey(unhex(VOICE["dev"]))
    told = {each["name"]: unhex(each["data"])[4:] for each in VECTORS["room frames"]}
    kind, beat_data, identity_data = cbor2.loads(told["beat"])
    beat, identity = read_beat(beat_data, identity_data, room=room)
    assert (kind, beat.record.dev) == (4, dev)
    assert dev in [device.dev for device in identity.record.devices]
    frame = cbor.decode(told["successor"], size_max=16_384)
    assert isinstance(frame, list)
    genesis, addrs = frames.read_successor(frame, sender=dev, room=room)
    assert genesis.record.continues == room
    assert len(addrs) == 1


def test_the_card_of_a_moderator_proves_its_author_by_hand_too():
    vector = VECTORS["card of a moderator"]
    card = read_card(unhex(vector["envelope"]), Now(0.0, 1_800_000_000.0))
    other = SigningKey(unhex(vector["device seed"])).verify_key
    assert card.publisher == bytes(other)
    body = cbor2.loads(cbor2.loads(unhex(vector["envelope"]))[2])
    assert body[2].hex() == vector["grant"]
    entry, identity = map(cbor2.loads, cbor2.loads(body[2]))
    entry_body, identity_body = cbor2.loads(entry[2]), cbor2.loads(identity[2])
    root = SigningKey(unhex(vector["root seed"])).verify_key
    root.verify(b"p2phouse/1/identity\0" + identity[2], identity[3])
    VerifyKey(unhex(VOICE["dev"])).verify(b"p2phouse/1/entry\0" + entry[2], entry[3])
    assert entry_body[8] == identity_body[1] == bytes(root)
    assert identity_body[4][0][0] == bytes(other)


def test_the_join_link_reads_as_written():
    vector = VECTORS["join link"]
    read = invitation.read(vector["link"])
    assert (read.room.hex(), read.dev.hex()) == (vector["room"], vector["dev"])
    assert [addr.hex() for addr in read.addrs] == vector["addrs"]


def test_a_link_with_an_invite_reads_as_written():
    vector = VECTORS["join link with an invite"]
    assert invitation.read(vector["link"]).invite.hex() == vector["invite"]
    (text,) = parse_qs(vector["link"].partition("?")[2])["i"]
    assert base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).hex() == vector["invite"]


def test_lobby_frames_read_as_written():
    room = RoomId(unhex(VOICE["room"]))
    told = {each["name"]: unhex(each["data"])[4:] for each in VECTORS["room frames"]}
    read = [
        lobby.read(cbor2.loads(told[f"lobby: {name}"]), room)
        for name in ("waiting", "an invite", "somebody waits at my door")
    ]
    invite = unhex(VECTORS["join link with an invite"]["invite"])
    assert read[:2] == [lobby.Told(lobby.LobbyState.WAITING), lobby.Shown(invite)]
    assert isinstance(read[2], lobby.Relayed)
    assert read[2].invite == invite


def expand(secret: bytes, info: bytes, size: int) -> str:
    """HKDF-Expand of RFC 5869 for one block."""
    return hmac.digest(secret, info + b"\x01", "sha256")[:size].hex()


def test_the_keys_of_a_voice_follow_from_the_room_by_bare_hmac():
    room, secret, base = unhex(VOICE["room"]), unhex(VOICE["open_secret"]), VOICE["sender_base"]
    extracted = hmac.digest(bytes(32), room, "sha256")
    assert expand(extracted, b"p2phouse/1/open", 32) == VOICE["open_secret"]
    tail = unhex(VOICE["dev"]) + unhex(VOICE["sid"])
    info = b"p2phouse/1/sframe-base\0" + room
    assert expand(secret, info + bytes(4) + tail, 16) == base
    epoch_19 = expand(secret, info + bytes([0, 0, 0, 19]) + tail, 16)
    assert epoch_19 == VOICE["sender_base of epoch 19"]
    assert VOICE["kid"] == VOICE["slot"]
    assert VOICE["kid of epoch 19"] == 3 << 4 | VOICE["slot"]
    # RFC 9605 §4.4.2, suite 4.
    extracted = hmac.digest(bytes(32), unhex(base), "sha256")
    label = VOICE["kid"].to_bytes(8, "big") + b"\x00\x04"
    assert expand(extracted, b"SFrame 1.0 Secret key " + label, 16) == VOICE["sframe_key"]
    assert expand(extracted, b"SFrame 1.0 Secret salt " + label, 12) == VOICE["sframe_salt"]


def test_a_packet_is_sealed_and_headed_as_written_by_bare_aes():
    counter, data = VOICE["counter"], unhex(VOICE["packet"])
    nonce = int.from_bytes(unhex(VOICE["sframe_salt"]), "big") ^ counter
    assert nonce.to_bytes(12, "big").hex() == VOICE["nonce"]
    header = bytes([VOICE["kid"] << 4 | 0x09]) + counter.to_bytes(2, "big")
    aead = AESGCM(unhex(VOICE["sframe_key"]))
    ciphertext = aead.encrypt(unhex(VOICE["nonce"]), unhex(VOICE["opus"]), header)
    assert (header + ciphertext).hex() == VOICE["payload"]
    assert data[20:].hex() == VOICE["payload"]
    assert data[0] == 0x90
    assert data[1] == 0x80 | 111
    assert int.from_bytes(data[2:4], "big") == VOICE["seq"]
    assert int.from_bytes(data[4:8], "big") == VOICE["timestamp"] == 960 * counter
    assert int.from_bytes(data[8:12], "big") == VOICE["ssrc"]
    assert data[12:20].hex() == "bede0001109e0000"
    speak = next(each for each in VECTORS["records"] if each["name"] == "speak")
    assert int(speak["id"][:8], 16) == VOICE["ssrc"]


SEALED = VECTORS["sealed room"]


def test_a_sealed_room_s_keys_are_the_published_ones_of_the_design():
    """These values stood in the design before there was any code."""
    assert SEALED["dev"].startswith("03a107bf")
    assert SEALED["dev"].endswith("5531b8")
    assert SEALED["sender_base"] == "10b77af0507a9226f5205a795f0a7b28"
    assert SEALED["kid"] == 0x73
    assert SEALED["payload"] == (
        "8973012ca2a9ff5773b1086a4cbab9324a33d21ed11ca2af2c9b1dca1997cf3027b4bc99"
    )
    assert SEALED["secret of epoch 8"] == (
        "fd03f7d4f15606622dccf6acc97facca235ecaa2d114176957326658081d7145"
    )


def test_a_sealed_room_s_keys_box_and_ids_follow_by_other_means():
    secret, room = unhex(SEALED["secret"]), unhex(SEALED["room"])
    place = room + (7).to_bytes(4) + unhex(SEALED["dev"]) + unhex(SEALED["sid"])
    base = expand(secret, b"p2phouse/1/sframe-base\0" + place, 16)
    assert base == SEALED["sender_base"]
    after = expand(secret, b"p2phouse/1/epoch-next\0" + room + (8).to_bytes(4), 32)
    assert after == SEALED["secret of epoch 8"]
    assert sha256(secret).hexdigest() == SEALED["commit"]
    opener = SealedBox(PrivateKey(unhex(SEALED["x25519 secret"])))
    assert opener.decrypt(unhex(SEALED["box"])) == secret
    ids = b"".join(map(unhex, SEALED["257 removals"]))
    assert SEALED["rm of 257 removals"] == [sha256(ids).hexdigest()]
    (record,) = [each for each in VECTORS["records"] if each["name"] == "epoch"]
    _, room, _, by, n, ratchet, parent, rm, commit, _ = cbor2.loads(unhex(record["body"]))
    body = cbor2.dumps([room, by, n, ratchet, parent, rm, commit])
    id_ = sha256(b"p2phouse/1/epoch-id\0" + body).hexdigest()
    assert id_ == SEALED["id of the sample record's epoch"]
