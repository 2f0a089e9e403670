import numpy as np
import pytest

from p2phouse.errors import PeerError
from p2phouse.vocabulary import FRAME_SAMPLES, Frame
from p2phouse.voice import opus
from p2phouse.voice.opus import DTX_BYTES_MAX, Decoder, Encoder, carries_fec
from tests.voice.speech import frames_of, librivox, noise

SILENCE = np.zeros(FRAME_SAMPLES, np.float32)


def encode_all(encoder: Encoder, frames: list[Frame]) -> list[bytes]:
    return [encoder.encode(frame) for frame in frames]


def test_speech_comes_back_312_samples_later():
    encoder, decoder, sound = Encoder(), Decoder(), librivox()
    heard = np.concatenate([decoder.decode(encoder.encode(f)) for f in frames_of(sound)])
    sent, span = sound[: len(heard)], 96_000
    likeness = [
        float(sent[24_000 : 24_000 + span] @ heard[24_000 + lag : 24_000 + lag + span])
        for lag in range(600)
    ]
    assert abs(int(np.argmax(likeness)) - opus.LOOKAHEAD_SAMPLES) <= 6
    assert np.corrcoef(sent[:-312], heard[312:])[0, 1] > 0.7


def test_speech_takes_about_32_kbit_a_second():
    packets = encode_all(Encoder(), frames_of(librivox()))
    bitrate = sum(map(len, packets)) * 8 * 50 / len(packets)
    assert 26_000 < bitrate < 38_000


def test_constant_bitrate_gives_every_packet_the_same_length_even_in_silence():
    frames = [*frames_of(librivox()), *[SILENCE] * 50]
    packets = encode_all(Encoder(constant=True, dtx=False), frames)
    assert len({len(packet) for packet in packets}) == 1


def test_silence_is_not_sent_but_for_a_rare_refresh():
    packets = encode_all(Encoder(), [SILENCE] * 200)
    sent = [packet for packet in packets[50:] if len(packet) > DTX_BYTES_MAX]
    assert len(sent) <= 10


def test_a_quiet_room_is_not_sent_either():
    # White noise at -60 dBFS: complexity 9 would send every frame of it.
    packets = encode_all(Encoder(), [noise(n, amplitude=0.001) for n in range(300)])
    sent = [packet for packet in packets if len(packet) > DTX_BYTES_MAX]
    assert len(sent) < 100


@pytest.mark.parametrize("declared_pct", [0, 1, 5, 10, 20])
def test_packets_repeat_their_forerunner_however_little_loss_is_declared(declared_pct: int):
    encoder = Encoder()
    encoder.set_loss(declared_pct)
    packets = encode_all(encoder, frames_of(librivox()))
    assert sum(map(carries_fec, packets)) > 0.7 * len(packets)


def test_padded_packets_of_constant_bitrate_also_show_their_fec():
    # At our own complexity none of this clip needs padding; another's encoder may pad.
    encoder = Encoder(constant=True, dtx=False, complexity=5)
    packets = encode_all(encoder, frames_of(librivox()))
    padded = [packet for packet in packets if packet[0] & 3 == 3]
    assert padded
    assert sum(map(carries_fec, packets)) > 0.7 * len(packets)


def test_a_packet_that_is_not_one_20_ms_mono_speech_frame_carries_no_fec():
    speech = next(p for p in encode_all(Encoder(), frames_of(librivox())) if carries_fec(p))
    config = speech[0] >> 3
    assert not carries_fec(b"")
    assert not carries_fec(speech[:1])
    assert not carries_fec(bytes([speech[0] | 0x04]) + speech[1:])  # stereo
    assert not carries_fec(bytes([speech[0] | 0x01]) + speech[1:])  # two frames
    assert not carries_fec(bytes([(config - 1) << 3]) + speech[1:])  # 10 ms
    assert not carries_fec(bytes([31 << 3]) + speech[1:])  # CELT


def test_recovering_a_lost_frame_is_nearer_to_it_than_concealing_it():
    frames = frames_of(librivox())
    packets = encode_all(Encoder(), frames)
    whole, recovering, concealing = Decoder(), Decoder(), Decoder()
    errors_recovered, errors_concealed = 0.0, 0.0
    for n in range(len(packets) - 1):
        truth = whole.decode(packets[n])
        if n % 5 == 4 and carries_fec(packets[n + 1]):
            errors_recovered += float(np.sum((recovering.recover(packets[n + 1]) - truth) ** 2))
            errors_concealed += float(np.sum((concealing.conceal() - truth) ** 2))
        else:
            recovering.decode(packets[n])
            concealing.decode(packets[n])
    assert errors_recovered < 0.5 * errors_concealed


def test_concealment_of_speech_fades_away():
    packets = encode_all(Encoder(), frames_of(librivox()))
    decoder = Decoder()
    spoken = [float(np.abs(decoder.decode(packet)).max()) for packet in packets[:60]]
    faded = [decoder.conceal() for _ in range(25)][-1]
    assert float(np.abs(faded).max()) < 0.1 * max(spoken)


@pytest.mark.parametrize(
    "packet",
    [b"", b"\xff\xff", bytes([0x48 | 3, 63]), bytes([(9 << 3) | 1]) + b"\x55" * 60, b"\x00\x01"],
)
def test_what_is_not_20_ms_of_opus_is_refused(packet: bytes):
    with pytest.raises(opus.NotOpus):
        Decoder().decode(packet)


def test_random_bytes_give_a_frame_or_a_peer_error():
    rng = np.random.default_rng(7)
    decoder = Decoder()
    for _ in range(3_000):
        packet = rng.bytes(int(rng.integers(0, 80)))
        carries_fec(packet)
        try:
            frame = decoder.decode(packet)
        except PeerError:
            continue
        assert frame.shape == (FRAME_SAMPLES,)


def test_without_any_libopus_the_error_says_what_to_do(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setattr("ctypes.util.find_library", lambda name: None)
    opus.library.cache_clear()
    try:
        with pytest.raises(opus.NoOpus, match="libopus0"):
            Encoder()
    finally:
        opus.library.cache_clear()


def test_a_system_library_is_taken_when_pyav_has_none(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setattr("ctypes.util.find_library", lambda name: "libopus.so.0")
    assert opus.find_library() == "libopus.so.0"


def test_the_library_names_itself():
    assert opus.version().startswith("libopus")
