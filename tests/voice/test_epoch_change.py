"""A voice goes on while the secret of its room changes: nothing is lost, and nothing shows."""

import random

import numpy as np
import pytest

from p2phouse.room import keys
from p2phouse.vocabulary import FRAME_SAMPLES, DeviceKey, RoomId, Ssrc, VoiceId
from p2phouse.voice.incoming import IncomingVoice
from p2phouse.voice.outgoing import OutgoingVoice
from p2phouse.voice.packet import parse
from p2phouse.voice.seal import KeyMissing, SealKey

ROOM, DEV, SID = RoomId(bytes(32)), DeviceKey(b"d" * 32), VoiceId(b"s" * 16)
SSRC = Ssrc(77)
SECRETS = {15: b"a" * 32, 16: b"b" * 32, 17: b"c" * 32}


def key(n: int) -> SealKey:
    base = keys.sender_base(SECRETS[n], room=ROOM, epoch=n, dev=DEV, sid=SID)
    return SealKey(keys.key_id(epoch=n, slot=3), base)


def speech(rng: np.random.Generator, quiet: bool = False) -> np.ndarray:
    noise = rng.standard_normal(FRAME_SAMPLES).astype(np.float32)
    return noise * np.float32(0.0 if quiet else 0.1)


def test_a_change_of_epoch_loses_no_frame_and_no_length_tells_of_speech():
    rng = np.random.default_rng(1)
    voice = OutgoingVoice(SID, entropy=random.Random(1).randbytes)
    heard = IncomingVoice(SSRC)
    sizes = set()
    for n in (15, 16, 17):
        voice.set(SSRC, key(n), muted=False, sealed=True)
        heard.set_keys([key(n), key(max(15, n - 1))] if n > 15 else [key(n)])
        for tick in range(30):
            packet = voice.next_packet(speech(rng, quiet=tick % 3 == 0))
            assert packet is not None, "a gap where nobody speaks tells that nobody speaks"
            assert heard.receive(tick / 50, packet)
            sizes.add(len(parse(packet).payload))
    # The first eight counters stand in the first byte of the seal, those after it in one more.
    assert max(sizes) - min(sizes) == len(sizes) - 1 == 1


def test_who_lacks_the_new_epoch_hears_the_old_one_and_knows_what_is_missing():
    rng = np.random.default_rng(1)
    voice = OutgoingVoice(SID, entropy=random.Random(1).randbytes)
    heard = IncomingVoice(SSRC)
    heard.set_keys([key(15)])
    voice.set(SSRC, key(15), muted=False, sealed=True)
    packet = voice.next_packet(speech(rng))
    assert packet is not None
    assert heard.receive(0.0, packet)
    voice.set(SSRC, key(16), muted=False, sealed=True)
    packet = voice.next_packet(speech(rng))
    assert packet is not None
    with pytest.raises(KeyMissing):
        heard.receive(0.02, packet)
    assert heard.key_missing
    heard.set_keys([key(16), key(15)])
    packet = voice.next_packet(speech(rng))
    assert packet is not None
    assert heard.receive(0.04, packet)
    assert not heard.key_missing
