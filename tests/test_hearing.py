import sys
from pathlib import Path

import numpy as np
import pytest

from p2phouse import hearing
from p2phouse.hearing import Hearing, StoiMissing, measure
from p2phouse.sound.files import load, to_float
from p2phouse.vocabulary import FRAME_SAMPLES, SAMPLE_RATE_HZ
from p2phouse.voice.opus import DTX_BYTES_MAX, Decoder, Encoder
from tests.voice.speech import CLIPS, frames_of, librivox

CLIPS_FOLDER = Path(hearing.__file__).parent / "clips"


def silence(seconds: float) -> np.ndarray:
    return np.zeros(round(seconds * SAMPLE_RATE_HZ), np.float32)


def through_opus(
    sound: np.ndarray, *, lost: tuple[int, ...] = (), repeated: int = -1, left_out: int = -1
) -> np.ndarray:
    """What a listener's decoder makes of it; `lost` frames are concealed."""
    encoder, decoder = Encoder(), Decoder()
    heard = []
    for n, frame in enumerate(frames_of(sound)):
        packet = encoder.encode(frame)
        gone = n in lost or len(packet) <= DTX_BYTES_MAX
        played = decoder.conceal() if gone else decoder.decode(packet)
        if n != left_out:
            heard.append(played)
        if n == repeated:
            heard.append(decoder.conceal())
    return np.concatenate(heard)


def hear(
    sent: np.ndarray, heard: np.ndarray, *, delay_s: float = 0.05, clocks_apart_s: float = 0.0
) -> Hearing:
    """Measures `heard`, which came `delay_s` late in the middle of a longer recording."""
    recording = np.concatenate([silence(1.0), heard, silence(1.0)])
    # The recording's first sample was played a second before the sound arrived.
    played_s = 100.0 + delay_s - 1.0 + clocks_apart_s
    return measure(sent=sent, spoken_s=100.0, heard=recording, played_s=played_s)


@pytest.mark.parametrize("clip", CLIPS)
def test_speech_through_opus_is_heard_with_its_delay_and_that_of_the_codec(clip):
    sent = librivox(clip)
    got = hear(sent, through_opus(sent), delay_s=0.1)
    assert got.delay_ms_p50 == pytest.approx(100 + 6.5, abs=0.2)
    assert got.delay_ms_p99 == pytest.approx(100 + 6.5, abs=0.2)
    assert got.stoi > 0.97
    assert got.is_heard(concealed_pct=0.0)


@pytest.mark.parametrize("path", sorted(CLIPS_FOLDER.glob("*.wav")), ids=lambda path: path.stem)
def test_the_clips_of_the_demo_are_heard_and_never_taken_for_one_another(path):
    sent = to_float(load(str(path)))
    assert hear(sent, through_opus(sent)).stoi > 0.97
    for other in set(CLIPS_FOLDER.glob("*.wav")) - {path}:
        got = hear(sent, through_opus(to_float(load(str(other)))))
        assert not got.is_heard(concealed_pct=0.0)
        assert got.stoi < 0.5


@pytest.mark.parametrize("delay_s", [0.0, 0.02, 0.31, 0.9])
def test_any_delay_is_measured_to_the_millisecond(delay_s):
    sent = librivox()
    got = hear(sent, sent, delay_s=delay_s)
    assert got.delay_ms_p50 == pytest.approx(delay_s * 1_000, abs=0.1)
    assert got.stoi > 0.999


@pytest.mark.parametrize("apart_s", [-1.0, 0.9])
def test_clocks_a_second_apart_cost_the_delay_but_not_the_hearing(apart_s):
    sent = librivox()
    got = hear(sent, through_opus(sent), clocks_apart_s=apart_s)
    assert got.delay_ms_p50 == pytest.approx(1_000 * apart_s + 56.5, abs=0.2)
    assert got.stoi > 0.97


@pytest.mark.parametrize("frame", [40, 83, 120])
def test_a_playout_that_grows_by_a_frame_is_still_heard_and_the_delay_shows_it(frame):
    sent = librivox("0890")
    got = hear(sent, through_opus(sent, repeated=frame))
    assert got.delay_ms_p99 == pytest.approx(76.5, abs=0.2)
    assert got.stoi > 0.93
    assert got.is_heard(concealed_pct=0.4)


@pytest.mark.parametrize("frame", [40, 83, 120])
def test_a_playout_that_shrinks_by_a_frame_is_still_heard(frame):
    sent = librivox("0890")
    got = hear(sent, through_opus(sent, left_out=frame))
    assert got.delay_ms_p99 == pytest.approx(56.5, abs=0.2)
    assert got.stoi > 0.93


def test_who_repeats_himself_is_not_mistaken_for_late():
    phrase = librivox("0870")[: round(0.7 * SAMPLE_RATE_HZ)]
    sent = np.concatenate([np.tile(phrase, 5), librivox("0930")])
    got = hear(sent, through_opus(sent, lost=(18, 19, 20, 77, 101, 140)))
    assert got.delay_ms_p50 == pytest.approx(56.5, abs=0.5)
    assert got.delay_ms_p99 == pytest.approx(56.5, abs=0.5)


def test_percentiles_are_of_delays_that_were():
    sent = librivox("0890")
    late = round(0.2 * SAMPLE_RATE_HZ)
    heard = np.concatenate([sent[:96_000], silence(0.2), sent[96_000:]])
    assert len(heard) == len(sent) + late
    got = hear(sent, heard)
    assert {got.delay_ms_p50, got.delay_ms_p99} == {250.0}
    early = hear(sent, np.concatenate([sent[:192_000], silence(0.2), sent[192_000:]]))
    assert (early.delay_ms_p50, early.delay_ms_p99) == (50.0, 250.0)


def test_loss_shows_in_the_score():
    sent = librivox("0890")
    few = tuple(range(0, 300, 20))
    many = tuple(n for n in range(300) if n % 5 < 2)
    some, much = hear(sent, through_opus(sent, lost=few)), hear(sent, through_opus(sent, lost=many))
    assert some.is_heard(concealed_pct=5.0)
    assert much.stoi < hearing.STOI_HEARD_MIN < some.stoi


def test_heard_needs_both_the_score_and_little_concealment():
    assert Hearing(60.0, 60.0, 0.85).is_heard(concealed_pct=5.0)
    assert not Hearing(60.0, 60.0, 0.849).is_heard(concealed_pct=0.0)
    assert not Hearing(60.0, 60.0, 0.99).is_heard(concealed_pct=5.1)
    assert not Hearing(None, None, 0.99).is_heard(concealed_pct=0.0)


# ── what is not it ───────────────────────────────────────────────────────────────────────────


def noise(seconds: float) -> np.ndarray:
    rng = np.random.default_rng(5)
    return (0.1 * rng.standard_normal(round(seconds * SAMPLE_RATE_HZ))).astype(np.float32)


@pytest.mark.parametrize(
    "heard",
    [silence(0.0), silence(5.0), noise(5.0), np.full(240_000, 0.5, np.float32), silence(0.001)],
    ids=["nothing", "silence", "noise", "direct current", "a few samples"],
)
def test_what_holds_no_voice_is_not_heard(heard):
    got = hear(librivox(), heard)
    assert (got.delay_ms_p50, got.delay_ms_p99) == (None, None)
    assert got.stoi < 0.2


@pytest.mark.parametrize("other", CLIPS[1:])
def test_another_speech_is_not_taken_for_what_was_sent(other):
    got = hear(librivox(CLIPS[0]), through_opus(librivox(other)))
    assert not got.is_heard(concealed_pct=0.0)
    assert got.delay_ms_p50 is None
    assert got.stoi < 0.5


def test_half_of_a_speech_is_not_heard():
    sent = librivox("0890")
    got = hear(sent, through_opus(sent[: len(sent) * 4 // 10]))
    assert not got.is_heard(concealed_pct=0.0)
    assert got.delay_ms_p50 is None
    assert 0.1 < got.stoi < 0.7


def test_what_came_before_or_after_changes_nothing():
    sent, others = librivox("0930"), [librivox("0890"), librivox("0920")]
    alone = hear(sent, through_opus(sent))
    recording = np.concatenate([others[0], through_opus(sent), others[1]])
    played_s = 100.05 - len(others[0]) / SAMPLE_RATE_HZ
    among = measure(sent=sent, spoken_s=100.0, heard=recording, played_s=played_s)
    assert among == alone


def test_loudness_does_not_matter():
    sent = librivox()
    got = hear(sent, 0.05 * through_opus(sent))
    assert got.stoi > 0.97
    assert got.delay_ms_p50 == pytest.approx(56.5, abs=0.2)


def test_pauses_of_the_sent_sound_are_left_out():
    # A pause has no delay and no words: what lies there is no fault of ours.
    sent = np.concatenate([librivox("0930")[: 3 * SAMPLE_RATE_HZ], silence(3.0)])
    heard = sent.copy()
    heard[3 * SAMPLE_RATE_HZ :] = noise(3.0)
    got = hear(sent, heard)
    assert (got.delay_ms_p50, got.delay_ms_p99) == (50.0, 50.0)
    assert got.stoi > 0.999


@pytest.mark.parametrize("sent", [silence(0.0), silence(3.0), noise(0.3)])
def test_of_nothing_nothing_is_heard(sent):
    assert hear(sent, librivox()) == Hearing(None, None, 0.0)


def test_a_single_half_second_is_measured():
    sent = librivox("0930")[FRAME_SAMPLES * 50 :][: SAMPLE_RATE_HZ // 2]
    got = hear(sent, sent)
    assert got.delay_ms_p50 == 50.0
    assert got.stoi > 0.99


def test_too_little_speech_for_a_score_is_no_score():
    sent = silence(0.5)
    sent[:4_800] = librivox("0930")[50_000:54_800]
    got = hear(sent, sent)
    assert got.delay_ms_p50 == 50.0
    assert got.stoi < 0.01


def test_without_pystoi_the_sentence_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pystoi", None)
    with pytest.raises(StoiMissing, match=r'pip install "p2phouse\[demo\]"'):
        hear(librivox(), librivox())
