"""A guest's Opus becomes the voice of a member, which others open, prove and play."""

import os

import pytest

from p2phouse.guest.mouth import GuestMouth
from p2phouse.vocabulary import FRAME_S, Ssrc, VoiceId
from p2phouse.voice.incoming import IncomingVoice
from p2phouse.voice.opus import Encoder, duration_us
from p2phouse.voice.packet import PT_OPUS, parse
from p2phouse.voice.plain import Plain
from p2phouse.voice.seal import SealKey
from tests.voice.speech import tone

SSRC, KID, BASE = Ssrc(77), 0x73, bytes(range(16))


class Line:
    """A guest's encoder, the mouth at the relay, and somebody who hears what comes out."""

    def __init__(self) -> None:
        self.mouth = GuestMouth(100.0, VoiceId(bytes(16)), entropy=os.urandom)
        self.mouth.set(SSRC, KID, BASE, muted=False)
        self.ear = IncomingVoice(SSRC)
        self.ear.set_keys([SealKey(KID, BASE)])
        self.ear.set_akey(self.mouth.akey)
        self.encoder = Encoder(dtx=False, constant=False)
        self.frames = 0
        self.sent: list[bytes] = []

    @property
    def now_s(self) -> float:
        return 100.0 + self.frames * FRAME_S

    def goes_on(self, packet: Plain | None) -> int:
        """20 ms; how many frames the ear was brought."""
        came = [] if packet is None else list(self.mouth.receive(self.now_s, packet))
        came += self.mouth.tick(self.now_s)
        self.sent += came
        taken = sum(self.ear.receive(self.now_s, data) for data in came)
        self.ear.pull(self.now_s)
        self.frames += 1
        return taken

    def packet(self, *, stamp: int | None = None) -> Plain:
        stamp = 5_000 + self.frames * 960 if stamp is None else stamp
        opus = self.encoder.encode(tone(self.frames))
        return Plain(PT_OPUS, False, self.frames, stamp % 2**32, Ssrc(5), 20, opus)


def test_what_a_guest_says_is_a_voice_that_is_proved():
    line = Line()
    assert sum(line.goes_on(line.packet()) for _ in range(400)) == 400
    assert not line.ear.doubted
    assert not line.ear.forged
    assert line.ear.level == 20
    assert line.ear.stats.concealed == 0


def test_while_a_guest_pauses_what_it_said_is_proved_and_time_goes_on():
    line = Line()
    for _ in range(100):
        line.goes_on(line.packet())
    for _ in range(300):
        line.goes_on(None)
    assert not line.ear.doubted
    before = len(line.sent)
    for _ in range(100):
        line.goes_on(None)
    assert len(line.sent) == before, "a voice that rests costs nothing"
    assert sum(line.goes_on(line.packet()) for _ in range(200)) == 200
    assert not line.ear.forged
    assert not line.ear.doubted


def test_a_sender_whose_time_leaps_is_heard_on():
    line = Line()
    for leap in (0, 900_000_000, -900_000_000):
        taken = [
            line.goes_on(line.packet(stamp=5_000 + leap + line.frames * 960)) for _ in range(100)
        ]
        assert sum(taken) >= 99


def test_who_is_muted_says_nothing():
    """Security: by the room, or by the member itself."""
    line = Line()
    line.goes_on(line.packet())
    line.mouth.set(SSRC, KID, BASE, muted=True)
    del line.sent[:]
    for _ in range(50):
        line.goes_on(line.packet())
    assert [parse(data).payload_type for data in line.sent if parse(data).payload_type == 111] == []


def test_what_is_no_frame_of_20_ms_or_too_long_is_left_out():
    line = Line()
    for opus in (b"", b"\x00" * 40, b"\x08" + bytes(700), b"\x18" + bytes(50), b"\x0b"):
        packet = line.packet()._replace(payload=opus)
        assert line.goes_on(packet) == 0
    assert line.mouth.refused == 5


@pytest.mark.parametrize(
    ("packet", "us"),
    [
        (b"", 0),
        (b"\x00a", 10_000),  # SILK of 10 ms
        (b"\x08a", 20_000),
        (b"\x18a", 60_000),
        (b"\x68a", 20_000),  # hybrid
        (b"\xf8a", 20_000),  # CELT
        (b"\xe0a", 2_500),
        (b"\xf1a", 20_000),  # two of 10 ms
        (b"\xfb\x03", 60_000),
        (b"\xfb", 0),
    ],
)
def test_how_long_a_packet_of_opus_is(packet: bytes, us: int):
    assert duration_us(packet) == us
