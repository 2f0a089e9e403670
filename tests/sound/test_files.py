import os
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2phouse.errors import UserError
from p2phouse.sound.files import (
    FileSource,
    NotSound,
    SoundTooLong,
    SoundUnreadable,
    load,
    load_pieces,
    to_float,
    to_samples,
)
from p2phouse.vocabulary import FRAME_SAMPLES, SAMPLE_RATE_HZ
from tests.sound.sounds import encode, sine
from tests.voice.speech import CLIPS, LIBRIVOX, librivox

RATES = (8_000, 44_100, 48_000, 96_000)
SHIPPED = sorted((Path(__file__).parents[2] / "p2phouse" / "clips").glob("*.wav"))


def assert_sounds_like_the_sine(path: Path, *, within: float, of: float = 1.0) -> None:
    heard = to_float(load(str(path)))
    assert len(heard) == SAMPLE_RATE_HZ
    inside = slice(2_400, -2_400)  # the ends of a filter differ
    assert np.allclose(heard[inside], of * sine()[inside], atol=within)


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize(
    ("codec", "within"),
    [
        ("pcm_u8", 6e-3),
        ("pcm_s16le", 5e-5),
        ("pcm_s24le", 5e-5),
        ("pcm_s32le", 5e-5),
        ("pcm_f32le", 5e-5),
        ("pcm_f64le", 5e-5),
    ],
)
def test_a_wav_file_of_any_width_and_rate_sounds_the_same(tmp_path, codec, within, rate):
    path = encode(tmp_path / "a.wav", codec, sine(rate=rate), rate=rate)
    assert_sounds_like_the_sine(path, within=within)


@pytest.mark.parametrize(
    ("codec", "name", "within"),
    [
        ("flac", "a.flac", 5e-5),
        ("libmp3lame", "a.mp3", 0.02),
        ("libopus", "a.ogg", 0.02),
        ("libopus", "a.webm", 0.02),
        ("pcm_s16be", "a.aiff", 5e-5),
        ("pcm_s16be", "a.au", 5e-5),
        ("pcm_alaw", "a.wav", 0.02),
    ],
)
def test_other_kinds_of_sound_files_are_read_too(tmp_path, codec, name, within):
    assert_sounds_like_the_sine(encode(tmp_path / name, codec, sine()), within=within)


def test_the_sound_of_an_mp4_file_is_read(tmp_path):
    heard = to_float(load(str(encode(tmp_path / "a.m4a", "aac", sine()))))
    spectrum = np.abs(np.fft.rfft(heard[4_800:43_200]))
    assert int(np.argmax(spectrum)) == round(400 * 38_400 / SAMPLE_RATE_HZ)


def test_the_name_of_a_file_says_nothing_about_what_is_in_it(tmp_path):
    path = encode(tmp_path / "a.txt", "flac", sine(), kind="flac")
    assert_sounds_like_the_sine(path, within=5e-5)


@pytest.mark.parametrize("codec", ["pcm_s16le", "pcm_f32le", "flac"])
def test_channels_are_averaged(tmp_path, codec):
    name = "a.flac" if codec == "flac" else "a.wav"
    path = encode(tmp_path / name, codec, np.stack([sine(), np.zeros(SAMPLE_RATE_HZ)]))
    assert_sounds_like_the_sine(path, within=1e-4, of=0.5)


def test_resampling_in_pieces_is_resampling_of_the_whole():
    speech = librivox()  # resampled from 16 kHz at one go
    assert LIBRIVOX.exists()
    path = LIBRIVOX / f"sense_and_sensibility_01_austen_64kb-{CLIPS[1]}.wav"
    heard = to_float(load(str(path)))
    assert len(heard) == len(speech)
    assert np.allclose(heard, speech, atol=5e-5)


def test_the_rate_may_change_on_the_way(tmp_path):
    first = encode(tmp_path / "1.mp3", "libmp3lame", sine(rate=44_100), rate=44_100)
    second = encode(tmp_path / "2.mp3", "libmp3lame", sine(rate=24_000), rate=24_000)
    both = tmp_path / "both.mp3"
    both.write_bytes(first.read_bytes() + second.read_bytes())
    heard = to_float(load(str(both)))
    assert abs(len(heard) - 2 * SAMPLE_RATE_HZ) < 0.15 * SAMPLE_RATE_HZ  # MP3 pads
    for piece in (heard[10_000:34_000], heard[60_000:84_000]):
        assert int(np.argmax(np.abs(np.fft.rfft(piece)))) == 200


# ── odd and broken files ─────────────────────────────────────────────────────────────────────


def wav_of(data: bytes, *, claimed: int | None = None, bits: int = 32, code: int = 3) -> bytes:
    """A WAV file of 48 kHz mono floats (code 3), whatever length its header claims."""
    size = len(data) if claimed is None else claimed
    width = bits // 8
    form = struct.pack("<HHIIHH", code, 1, SAMPLE_RATE_HZ, SAMPLE_RATE_HZ * width, width, bits)
    return (
        struct.pack("<4sI4s4sI", b"RIFF", 36 + size, b"WAVE", b"fmt ", len(form))
        + form
        + struct.pack("<4sI", b"data", size)
        + data
    )


@pytest.mark.parametrize("rate", [SAMPLE_RATE_HZ, 24_000])
def test_what_is_no_number_is_silence_and_spoils_nothing_after_it(tmp_path, rate):
    sound = sine(rate=rate)
    sound[rate // 10] = np.nan
    sound[rate // 10 + 1] = np.inf
    path = encode(tmp_path / "a.wav", "pcm_f32le", np.zeros(1), rate=rate)
    header = path.read_bytes()[:-4]
    path.write_bytes(header[:-4] + struct.pack("<I", 4 * rate) + sound.tobytes())
    heard = to_float(load(str(path)))
    assert len(heard) == SAMPLE_RATE_HZ
    at = SAMPLE_RATE_HZ // 10
    for around in (slice(2_400, at - 100), slice(at + 100, SAMPLE_RATE_HZ - 2_400)):
        assert np.allclose(heard[around], sine()[around], atol=0.02)


def test_what_is_too_loud_is_clipped(tmp_path):
    path = tmp_path / "a.wav"
    path.write_bytes(wav_of(np.array([0.5, 4.0, -4.0] * 400, "<f4").tobytes()))
    heard = to_float(load(str(path)))
    assert np.allclose(heard[:3], [0.5, 1.0, -1.0], atol=1e-4)


@pytest.mark.parametrize(
    ("codec", "name"), [("pcm_s16le", "a.wav"), ("libmp3lame", "a.mp3"), ("flac", "a.flac")]
)
def test_a_file_cut_short_is_spoken_as_far_as_it_goes(tmp_path, codec, name):
    path = encode(tmp_path / name, codec, sine(seconds=2.0))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    heard = to_float(load(str(path)))
    assert SAMPLE_RATE_HZ * 0.6 < len(heard) < SAMPLE_RATE_HZ * 1.4
    inside = slice(2_400, 24_000)
    assert np.allclose(heard[inside], sine()[inside], atol=0.02)


def test_damage_in_the_middle_does_not_end_a_file(tmp_path):
    path = encode(tmp_path / "a.flac", "flac", sine(seconds=4.0))
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 200] = os.urandom(200)
    path.write_bytes(data)
    heard = to_float(load(str(path)))
    assert len(heard) > 3.5 * SAMPLE_RATE_HZ
    assert int(np.argmax(np.abs(np.fft.rfft(heard[-48_000:])))) == 400


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"hello\n" * 1_000,
        b"RIFF",
        bytes(5_000),
        wav_of(b""),
        wav_of(b"", claimed=4_000),
        wav_of(bytes(8_000), bits=64, code=1),
    ],
)
def test_what_holds_no_sound_is_refused_with_advice(tmp_path, content):
    path = tmp_path / "a.wav"
    path.write_bytes(content)
    with pytest.raises(NotSound, match=r"a\.wav holds no sound .* Use a WAV"):
        load(str(path))


def test_a_film_without_sound_is_refused(tmp_path):
    import av

    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as film:
        track = film.add_stream("mpeg4", rate=25)
        track.width = track.height = 32
        for _ in range(3):
            frame = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")
            film.mux(track.encode(frame))
        film.mux(track.encode(None))
    with pytest.raises(NotSound):
        load(str(path))


def test_a_play_list_that_names_another_file_is_refused(tmp_path, monkeypatch):
    # Security: see FORMATS in files.py.
    monkeypatch.chdir(tmp_path)  # FFmpeg would look for the other file here
    encode(tmp_path / "secret.wav", "pcm_s16le", sine())
    lists = {
        "a.m3u8": "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nsecret.wav\n#EXT-X-ENDLIST\n",
        "a.ffconcat": "ffconcat version 1.0\nfile secret.wav\n",
        "a.wav": "ffconcat version 1.0\nfile secret.wav\n",
    }
    for name, text in lists.items():
        (tmp_path / name).write_text(text)
        with pytest.raises(NotSound):
            load(str(tmp_path / name))


def test_a_title_in_no_known_encoding_is_no_reason_not_to_play(tmp_path):
    path = encode(tmp_path / "a.m4a", "aac", sine())
    data = path.read_bytes()
    assert b"Lavf" in data
    path.write_bytes(data.replace(b"Lavf", b"\xff\xfe\x80\x81"))
    assert len(load(str(path))) >= SAMPLE_RATE_HZ


def test_an_address_is_no_path():
    with pytest.raises(SoundUnreadable, match="No such file"):
        load("http://127.0.0.1:9/a.wav")


def test_a_path_that_cannot_be_read_is_named_with_the_reason(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    for path, reason in {
        "nowhere.wav": "No such file",
        "": "it is a folder",
        "pipe": "it is no ordinary file",
        "loop": "symbolic links",
        "a\0b": "no NUL",
    }.items():
        with pytest.raises(SoundUnreadable, match=reason):
            load(f"{tmp_path}/{path}")
    with pytest.raises(SoundUnreadable, match="it is no ordinary file"):
        load("/dev/zero")


def test_a_file_of_somebody_else_is_named_with_the_reason(tmp_path):
    path = encode(tmp_path / "a.wav", "pcm_s16le", sine())
    path.chmod(0)
    is_root = os.geteuid() == 0
    if is_root:
        os.seteuid(65_534)  # root may read everything
    try:
        with pytest.raises(SoundUnreadable, match="Permission denied"):
            load(str(path))
    finally:
        if is_root:
            os.seteuid(0)


def test_a_very_long_path_does_not_crowd_out_the_advice(tmp_path):
    with pytest.raises(SoundUnreadable) as raised:
        load(f"{tmp_path}/{'x' * 3_000}/end.wav")
    text = str(raised.value)
    assert len(text) < 400
    assert "/end.wav could not be read (File name too long). Check" in text


def test_a_file_longer_than_an_hour_is_refused(tmp_path):
    path = encode(tmp_path / "a.wav", "pcm_s16le", sine(seconds=1.0))
    (whole,) = load_pieces(str(path), samples_max=SAMPLE_RATE_HZ)
    assert len(whole) == SAMPLE_RATE_HZ
    with pytest.raises(SoundTooLong, match="Cut it"):
        load_pieces(str(path), samples_max=SAMPLE_RATE_HZ - 1)


def test_a_header_that_claims_an_odd_rate_cannot_fill_the_memory(tmp_path):
    path = encode(tmp_path / "a.wav", "pcm_s16le", sine())
    data = bytearray(path.read_bytes())
    for rate in (1, 999, 2**31 - 1):
        data[24:28] = struct.pack("<I", rate)
        path.write_bytes(data)
        with pytest.raises(NotSound):
            load(str(path))


def test_reading_stops_when_the_file_is_no_longer_wanted(tmp_path):
    path = encode(tmp_path / "a.wav", "pcm_s16le", sine(seconds=20.0))
    asked: list[None] = []

    def is_wanted() -> bool:
        asked.append(None)
        return len(asked) < 3

    load_pieces(str(path), is_wanted)
    assert len(asked) == 3


@settings(max_examples=150, derandomize=True)
@given(
    st.sampled_from(["pcm_s16le", "flac", "libmp3lame", "libopus", "aac"]),
    st.lists(st.tuples(st.floats(0, 1), st.binary(min_size=1, max_size=8)), max_size=12),
    st.floats(0.05, 1),
)
def test_a_damaged_file_gives_sound_or_a_sentence(tmp_path_factory, codec, damage, part):
    names = {"pcm_s16le": "wav", "libmp3lame": "mp3", "libopus": "ogg", "aac": "m4a"}
    folder = tmp_path_factory.getbasetemp()
    whole = folder / f"whole.{names.get(codec, codec)}"
    if not whole.exists():
        encode(whole, codec, sine(seconds=0.5))
    data = bytearray(whole.read_bytes())
    for where, what in damage:
        at = int(where * (len(data) - len(what)))
        data[at : at + len(what)] = what
    path = folder / f"damaged{whole.suffix}"
    path.write_bytes(data[: int(part * len(data))])
    try:
        pieces = load_pieces(str(path), samples_max=60 * SAMPLE_RATE_HZ)
    except UserError:
        pass
    else:
        assert 0 < sum(map(len, pieces)) <= 60 * SAMPLE_RATE_HZ


# ── frames ───────────────────────────────────────────────────────────────────────────────────


def test_a_file_is_given_frame_by_frame_and_the_last_is_filled_up():
    samples = np.arange(2 * FRAME_SAMPLES + 100, dtype=np.int16)
    source = FileSource([samples])
    frames = [source.next_frame() for _ in range(3)]
    assert source.next_frame() is None
    assert all(f is not None and f.shape == (FRAME_SAMPLES,) for f in frames)
    spoken = np.concatenate([f for f in frames if f is not None])
    assert np.array_equal(to_samples(spoken)[: len(samples)], samples)
    assert not spoken[len(samples) :].any()


def test_broken_numbers_become_samples_all_the_same():
    broken = np.array([np.nan, np.inf, -np.inf, 3.0], np.float32)
    assert to_samples(broken).tolist() == [0, 32_767, -32_768, 32_767]


def test_a_long_file_is_one_sound_for_all_its_pieces(tmp_path):
    sound = (np.arange(25 * SAMPLE_RATE_HZ + 100) % 30_011).astype(np.int16)
    path = encode(tmp_path / "a.wav", "pcm_s16le", to_float(sound))
    assert len(load_pieces(str(path))) == 3
    assert np.array_equal(load(str(path)), sound)
    source = FileSource(load_pieces(str(path)))
    frames = []
    while (frame := source.next_frame()) is not None:
        frames.append(frame)
    assert np.array_equal(to_samples(np.concatenate(frames))[: len(sound)], sound)
    assert len(frames) == 1 + 25 * 50
    skipping = FileSource(load_pieces(str(path)))
    skipping.skip(1_100)
    late = skipping.next_frame()
    assert late is not None
    assert np.array_equal(late, frames[1_100])


def test_samples_survive_the_way_through_floats():
    every = np.arange(-32_768, 32_768).astype(np.int16)
    assert np.array_equal(to_samples(to_float(every)), every)


# ── what ships ───────────────────────────────────────────────────────────────────────────────


def test_three_short_clips_ship():
    assert len(SHIPPED) == 3
    for path in SHIPPED:
        assert path.stat().st_size < 250_000
        samples = load(str(path))
        assert 4.0 <= len(samples) / SAMPLE_RATE_HZ <= 6.0
        assert 3_000 < np.abs(samples).max() < 32_767
