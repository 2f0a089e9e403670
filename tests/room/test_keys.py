"""Keys of an open room, against HKDF spelt out and against values fixed for other programs."""

import hashlib
import hmac

from p2phouse.room import keys
from p2phouse.vocabulary import DeviceKey, RoomId, VoiceId

ROOM = RoomId(bytes(range(32)))
DEV = DeviceKey(bytes(range(32, 64)))
SID = VoiceId(bytes(range(64, 80)))


def mac(key: bytes, data: bytes) -> bytes:
    return hmac.new(key, data, hashlib.sha256).digest()


def test_the_secret_of_an_open_room_is_hkdf_of_its_id():
    extracted = mac(bytes(32), ROOM)  # RFC 5869: no salt is a salt of zeros
    assert keys.open_secret(ROOM) == mac(extracted, b"p2phouse/1/open\x01")
    assert keys.open_secret(ROOM).hex() == (
        "895690def51ce54201facd2000d95b962d2c7738408634b2474893ab189ad2d0"
    )


def test_a_senders_base_key_is_hkdf_expand_of_secret_and_place():
    info = b"p2phouse/1/sframe-base\0" + ROOM + b"\0\0\0\7" + DEV + SID
    base = keys.sender_base(bytes(32), room=ROOM, epoch=7, dev=DEV, sid=SID)
    assert base == mac(bytes(32), info + b"\1")[:16]
    assert base.hex() == "e24f703a4fa09efa9568141afd666d64"


def test_a_new_sid_an_epoch_a_device_and_a_room_each_give_another_key():
    def base(room: RoomId = ROOM, epoch: int = 0, dev: DeviceKey = DEV, sid: VoiceId = SID):
        return keys.sender_base(bytes(32), room=room, epoch=epoch, dev=dev, sid=sid)

    others = {
        base(),
        base(sid=VoiceId(bytes(16))),
        base(epoch=1),
        base(dev=DeviceKey(bytes(32))),
        base(room=RoomId(bytes(32))),
    }
    assert len(others) == 5


def test_a_key_id_holds_four_bits_of_the_epoch_and_the_slot():
    assert keys.key_id(epoch=0, slot=0) == 0x00
    assert keys.key_id(epoch=3, slot=15) == 0x3F
    assert keys.key_id(epoch=18, slot=4) == 0x24
