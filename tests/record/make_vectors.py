"""Prints tests/vectors/records.json: what a second implementation of docs/protocol.md must give.

    python -m tests.record.make_vectors > tests/vectors/records.json

Everything is made from fixed seeds by the shipped code, so a change of the protocol shows as a
change of this file and of nothing else.
"""

import json
import sys
from dataclasses import fields, is_dataclass, replace
from hashlib import sha256
from typing import Any

from nacl.public import PrivateKey
from nacl.signing import SigningKey

from p2phouse.hall import invitation, relay_ask
from p2phouse.hall.invitation import Invitation
from p2phouse.hall.relay_ask import Ask, AskCarry, AskPolicy, Reply, Said, Shown, Verdict
from p2phouse.identity.keys import key_tag, peer_id
from p2phouse.net import hello
from p2phouse.record import cbor, envelope
from p2phouse.record.cbor import Value
from p2phouse.record.schema import pack
from p2phouse.record.types import Act, Record
from p2phouse.room import epochs, frames, keys, lobby
from p2phouse.room.frames import ByeReason, FrameKind
from p2phouse.room.lobby import LobbyState
from p2phouse.room.state import ssrc_of
from p2phouse.vocabulary import DeviceKey, RecordId, RoomId, VoiceId
from p2phouse.voice import packet, seal
from p2phouse.voice.packet import Packet
from tests.record import forgery, samples
from tests.record.cbor_cases import ACCEPTED, REFUSED
from tests.record.samples import CHAT, SOFT, SPEAK, key_of, seed, signed

ROOM = RoomId(samples.ROOM)
DEV = DeviceKey(samples.DEV)

Json = dict[str, Any]


def vectors() -> Json:
    """All of it, as the file holds it. Bytes are hexadecimal."""
    return {
        "about": "Test vectors of docs/protocol.md. Bytes are hexadecimal; `says` is CBOR "
        "diagnostic notation (RFC 8949 §8).",
        "cbor": {
            "accepted": [
                {"data": text, "says": diagnostic(value)} for text, value in ACCEPTED.items()
            ],
            "refused": [{"data": text, "because": why} for why, text in REFUSED.items()],
        },
        "keys": [
            _key("root", samples.ROOT_KEY),
            _key("device", samples.DEVICE_KEY),
            _key("other device", samples.OTHER_KEY),
        ],
        "records": [_record(record) for record in samples.RECORDS],
        "refused records": _refused(),
        "hello": _hello(),
        "room frames": _frames(),
        "questions to relays": _relay_frames(),
        "card of a moderator": _granted_card(),
        "join link": {
            "room": ROOM.hex(),
            "dev": DEV.hex(),
            "addrs": [samples.LAN_ADDRESS.hex(), samples.IP6_ADDRESS.hex()],
            "link": invitation.write(
                Invitation(ROOM, DEV, (samples.LAN_ADDRESS, samples.IP6_ADDRESS))
            ),
        },
        "join link with an invite": {
            "invite": signed(samples.INVITE).data.hex(),
            "link": invitation.write(
                Invitation(ROOM, DEV, (samples.LAN_ADDRESS,), signed(samples.INVITE).data)
            ),
        },
        "voice": _voice(),
        "sealed room": _sealed(),
    }


def diagnostic(value: Value) -> str:
    """The value as people read CBOR."""
    match value:
        case None | bool():
            return {None: "null", True: "true", False: "false"}[value]
        case bytes():
            return f"h'{value.hex()}'"
        case str():
            return json.dumps(value, ensure_ascii=False)
        case list():
            return f"[{', '.join(map(diagnostic, value))}]"
        case dict():
            return f"{{{', '.join(f'{diagnostic(k)}: {diagnostic(v)}' for k, v in value.items())}}}"
    return str(value)


def _key(name: str, key: SigningKey) -> Json:
    public = bytes(key.verify_key)
    return {
        "name": name,
        "seed": bytes(key).hex(),
        "public": public.hex(),
        "peer_id": peer_id(public),
        "key_tag": key_tag(public),
    }


def _plain(value: object) -> object:
    """A field as JSON: bytes as hexadecimal, a part with its own fields as an object."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    return int(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _record(record: Record) -> Json:
    sent = signed(record)
    body = cbor.encode([1, *pack(record)])
    return {
        "name": record.NAME,
        "type": int(record.TYPE),
        "seed": bytes(key_of(record)).hex(),
        "fields": _plain(record),
        "body": body.hex(),
        "says": diagnostic(cbor.decode(body, size_max=len(body))),
        "signed": (envelope.CONTEXT + record.NAME.encode() + b"\0" + body).hex(),
        "envelope": sent.data.hex(),
        "id": sent.id.hex(),
    }


def _refused() -> list[Json]:
    """Envelopes around the sample of soft that look right and must be refused."""
    signer = forgery.Signer(samples.DEVICE_KEY)
    message = forgery.message_of(SOFT)
    honest = samples.DEVICE_KEY.sign(message).signature
    as_speak = forgery.message_of(SOFT, context=b"p2phouse/1/speak\0")
    version_true = forgery.message_of(SOFT, version=True)
    bent = signer.sign(message, nonce=b"n", torsion=forgery.ORDER_8_POINT)
    cases = {
        "S + L": forgery.enclose(SOFT, forgery.plus_order(honest)),
        "R is the neutral point": forgery.enclose(SOFT, signer.sign_without_nonce(message)),
        "R has a part of order 8": forgery.enclose(SOFT, bent),
        "signed as a speak": forgery.enclose(SOFT, _sign(samples.DEVICE_KEY, as_speak)),
        "signed by another device": forgery.enclose(SOFT, _sign(samples.OTHER_KEY, message)),
        "envelope version 2": forgery.enclose(SOFT, honest, version=2),
        "envelope version true": forgery.enclose(SOFT, honest, version=True),
        "body version true": forgery.enclose(
            SOFT, _sign(samples.DEVICE_KEY, version_true), body=forgery.body_of(SOFT, True)
        ),
    }
    return [{"name": "soft", "because": why, "envelope": data.hex()} for why, data in cases.items()]


def _sign(key: SigningKey, message: bytes) -> bytes:
    return bytes(key.sign(message).signature)


def _hello() -> Json:
    nonce, request = hello.request(lambda size: (seed("a") + seed("b"))[:size])
    answer = hello.reply(request, samples.DEVICE_KEY, DEV, (samples.LAN_ADDRESS,))
    return {"nonce": nonce.hex(), "request": request.hex(), "reply": answer.hex()}


def _frames() -> list[Json]:
    soft, speak = signed(SOFT).data, signed(SPEAK).data
    greeting: list[Value] = [
        int(FrameKind.GREETING),
        signed(samples.JOIN).data,
        signed(samples.IDENTITY).data,
        [samples.LAN_ADDRESS],
        [[samples.OTHER, [samples.IP6_ADDRESS]]],
        [samples.SIGNED_GENESIS.data],
        [speak],
    ]
    frame: dict[str, list[Value]] = {
        "greeting": greeting,
        "greeting of somebody who joins by link": [*greeting[:4], [], [], []],
        "speak": [int(FrameKind.SPEAK), speak],
        "soft": [int(FrameKind.SOFT), soft],
        "chat": [int(FrameKind.CHAT), [signed(CHAT).data], [signed(samples.IDENTITY).data], None],
        "chat: which records I have": [int(FrameKind.CHAT), [], [], signed(CHAT).id[:8]],
        "beat": [int(FrameKind.BEAT), signed(samples.BEAT).data, signed(samples.IDENTITY).data],
        "digest of an empty log": [int(FrameKind.DIGEST), sha256(b"").digest()],
        "lobby: waiting": lobby.told(LobbyState.WAITING),
        "lobby: an invite": lobby.shown(signed(samples.INVITE).data),
        "lobby: somebody waits at my door": [
            int(FrameKind.LOBBY),
            signed(samples.JOIN).data,
            signed(samples.IDENTITY).data,
            signed(samples.INVITE).data,
            int(LobbyState.WAITING),
        ],
        "successor": [int(FrameKind.SUCCESSOR), _successor(), [samples.LAN_ADDRESS]],
        "bye: the room is full": frames.bye(ByeReason.FULL),
    }
    return [
        {"name": name, "data": (len(body).to_bytes(4, "big") + body).hex()}
        for name, body in ((name, cbor.encode(value)) for name, value in frame.items())
    ]


def _relay_frames() -> list[Json]:
    genesis, grant = samples.SIGNED_GENESIS, signed(samples.RELAY_GRANT)
    carry = AskCarry(genesis, (samples.LAN_ADDRESS,), grant)  # type: ignore[arg-type]  # it is one
    shown = Shown(signed(samples.POLICY), signed(samples.IDENTITY))  # type: ignore[arg-type]  # it is one
    frame: dict[str, Ask | Reply] = {
        "what are you?": AskPolicy(),
        "a policy": shown,
        "carry this room": carry,
        "it is carried": Said(Verdict.CARRIED, "", 200, 20_000, genesis.record.exp),
        "full, ask another": Said(Verdict.FULL, "relay.example.org:17472"),
    }
    return [
        {"name": name, "data": (len(body).to_bytes(4, "big") + body).hex()}
        for name, body in ((name, relay_ask.write(value)) for name, value in frame.items())
    ]


def _successor() -> bytes:
    """The genesis of a room that continues the sample's."""
    genesis = replace(
        samples.GENESIS, nonce=seed("successor")[:16], created=samples.UNIX, continues=ROOM
    )
    return envelope.sign(genesis, samples.DEVICE_KEY).data


def _granted_card() -> Json:
    """By somebody whom the room's creator seated: what its `grant` holds."""
    root = SigningKey(seed("other root"))
    (device,) = samples.IDENTITY.devices
    identity = envelope.sign(
        replace(
            samples.IDENTITY,
            uid=bytes(root.verify_key),
            name="Ben",
            devices=(replace(device, dev=samples.OTHER),),
        ),
        root,
    )
    grant = envelope.sign(
        replace(
            samples.ENTRY,
            prev=None,
            act=Act.GRANT,
            sub=bytes(root.verify_key),
            val="moderator",
            over=(),
        ),
        samples.DEVICE_KEY,
    )
    proof = cbor.encode([grant.data, identity.data])
    card = replace(samples.CARD, grant=proof, dev=samples.OTHER)
    return {
        "root seed": bytes(root).hex(),
        "device seed": bytes(samples.OTHER_KEY).hex(),
        "identity": identity.data.hex(),
        "entry": grant.data.hex(),
        "grant": proof.hex(),
        "envelope": envelope.sign(card, samples.OTHER_KEY).data.hex(),
    }


def _voice() -> Json:
    """From the room to the bytes of a packet."""
    secret = keys.open_secret(ROOM)
    base = keys.sender_base(secret, room=ROOM, epoch=0, dev=DEV, sid=VoiceId(SPEAK.sid))
    kid = keys.key_id(epoch=0, slot=SPEAK.slot)
    key, salt = seal.derive(kid, base)
    counter, opus = 300, bytes(range(16))
    sealing = seal.SealKey(kid, base)
    nonce = sealing.nonce(counter)
    payload = seal.seal(sealing, counter, opus)
    ssrc = ssrc_of(signed(SPEAK))  # type: ignore[arg-type]  # it is a Speak
    data = packet.build(
        Packet(
            packet.PT_OPUS,
            True,
            0x1234,
            packet.timestamp_of(counter),
            ssrc,
            30,
            True,
            payload,
        )
    )
    return {
        "room": ROOM.hex(),
        "dev": DEV.hex(),
        "sid": SPEAK.sid.hex(),
        "epoch": 0,
        "slot": SPEAK.slot,
        "open_secret": secret.hex(),
        "sender_base": base.hex(),
        "sender_base of epoch 19": keys.sender_base(
            secret, room=ROOM, epoch=19, dev=DEV, sid=VoiceId(SPEAK.sid)
        ).hex(),
        "kid": kid,
        "kid of epoch 19": keys.key_id(epoch=19, slot=SPEAK.slot),
        "sframe_key": key.hex(),
        "sframe_salt": salt.hex(),
        "counter": counter,
        "nonce": nonce.hex(),
        "opus": opus.hex(),
        "payload": payload.hex(),
        "ssrc": ssrc,
        "seq": 0x1234,
        "timestamp": packet.timestamp_of(counter),
        "level": 30,
        "talking": True,
        "marker": True,
        "packet": data.hex(),
    }


def _sealed() -> Json:
    """From an epoch's secret to a sealed frame, to the next secret and into a box."""
    secret, room, opus = bytes(range(32)), RoomId(seed("room")), bytes(range(16))
    dev = DeviceKey(bytes(SigningKey(secret).verify_key))
    sid = VoiceId(bytes(range(16)))
    base = keys.sender_base(secret, room=room, epoch=7, dev=dev, sid=sid)
    kid = keys.key_id(epoch=7, slot=3)
    xpk = PrivateKey(seed("x25519 secret"))
    box = keys.seal(secret, bytes(xpk.public_key), lambda size: seed("box")[:size])
    assert box is not None
    removed = frozenset(RecordId(seed(f"removal {number}")) for number in range(257))
    return {
        "secret": secret.hex(),
        "commit": keys.commit(secret).hex(),
        "room": room.hex(),
        "epoch": 7,
        "dev": dev.hex(),
        "sid": sid.hex(),
        "slot": 3,
        "sender_base": base.hex(),
        "kid": kid,
        "counter": 300,
        "opus": opus.hex(),
        "payload": seal.seal(seal.SealKey(kid, base), 300, opus).hex(),
        "secret of epoch 8": keys.next_secret(secret, room=room, epoch=8).hex(),
        "id of the sample record's epoch": epochs.read_outline(samples.EPOCH).id.hex(),
        "x25519 secret": bytes(xpk).hex(),
        "x25519 public": bytes(xpk.public_key).hex(),
        "box": box.hex(),
        "257 removals": sorted(each.hex() for each in removed),
        "rm of 257 removals": [each.hex() for each in epochs.account_of(removed)],
    }


def text() -> str:
    return json.dumps(vectors(), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.stdout.write(text())
