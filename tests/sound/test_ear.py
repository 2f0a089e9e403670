import asyncio
import re

import numpy as np
import pytest

from p2phouse.sound.ear import Ear
from p2phouse.sound.files import to_samples
from p2phouse.vocabulary import FRAME_S, FRAME_SAMPLES
from tests.sound.places import Opening, Told
from tests.sound.sounds import read_wav
from tests.voice.speech import noise


def level(value: float) -> np.ndarray:
    return np.full(FRAME_SAMPLES, value, np.float32)


def test_what_is_heard_is_in_the_file_once_its_end_is_told(tmp_path):
    async def hear() -> None:
        told = Told()
        ear = Ear(told)
        await ear.set(f"file:{tmp_path}/a.wav")
        assert ear.is_open
        assert told == []
        for n in range(60):
            ear.play(100.0 + n * FRAME_S, noise(n))
        ear.close()
        assert not ear.is_open
        assert told == [("OUTPUT_STARTED", "")]
        await ear.set("none")
        assert told == [("OUTPUT_STARTED", ""), ("OUTPUT_ENDED", "")]
        expected = to_samples(np.concatenate([noise(n) for n in range(60)]))
        assert np.array_equal(read_wav(tmp_path / "a.wav"), expected)

    asyncio.run(hear())


def test_a_file_keeps_clock_time_through_skipped_ticks(tmp_path):
    async def hear() -> None:
        ear = Ear(Told())
        await ear.set(f"file:{tmp_path}/a.wav")
        ear.skip(7)  # it has not begun
        ear.play(100.0, level(0.25))
        ear.skip(2)
        ear.play(100.06, level(0.5))
        await ear.set("none")
        heard = read_wav(tmp_path / "a.wav").reshape(-1, FRAME_SAMPLES)
        assert [int(frame[0]) for frame in heard] == [8_192, 0, 0, 16_384]

    asyncio.run(hear())


def test_the_first_sample_is_heard_at_the_tick_that_plays_it():
    async def hear() -> None:
        ear = Ear(Told())
        await ear.set("null")
        assert ear.began_s is None
        ear.play(100.0, level(0.0))
        ear.play(100.02, level(0.0))
        assert ear.began_s == 100.0
        await ear.set("null")
        assert ear.began_s is None

    asyncio.run(hear())


def test_a_file_is_whole_before_the_same_file_is_begun_anew(tmp_path):
    async def hear() -> None:
        told = Told()
        ear = Ear(told)
        for _ in range(2):
            await ear.set(f"file:{tmp_path}/a.wav")
            ear.play(100.0, level(0.5))
        await ear.set("none")
        assert len(read_wav(tmp_path / "a.wav")) == FRAME_SAMPLES
        assert told.conditions == ["OUTPUT_STARTED", "OUTPUT_ENDED"] * 2

    asyncio.run(hear())


def test_a_file_is_whole_after_the_loop_has_ended(tmp_path):
    async def hear() -> None:
        ear = Ear(Told())
        await ear.set(f"file:{tmp_path}/a.wav")
        for n in range(40):
            ear.play(100.0, noise(n))
        ear.close()

    asyncio.run(hear())
    assert len(read_wav(tmp_path / "a.wav")) == 40 * FRAME_SAMPLES


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        ("file:/nowhere/a.wav", r"could not be written \(No such file.*Choose another"),
        ("tone", 'no output "tone". Use file:PATH, device'),
        ("device:", 'no output "device:"'),
        ("x" * 4_096, 'no output "…x'),
    ],
)
def test_what_cannot_be_opened_is_one_sentence_and_a_closed_ear(spec, sentence):
    async def hear() -> None:
        told = Told()
        ear = Ear(told)
        await ear.set("null")
        await ear.set(spec)
        assert not ear.is_open
        ear.play(100.0, level(0.1))
        ((condition, text),) = told
        assert condition == "OUTPUT_FAILED"
        assert re.search(sentence, text)
        assert len(text) <= 400

    asyncio.run(hear())


def test_an_output_that_breaks_is_said_once_and_closed():
    async def hear() -> None:
        opening, told = Opening(), Told()
        ear = Ear(told, opening.sink)
        await ear.set("speaker")
        ear.play(100.0, level(0.1))
        opening.places["speaker"].breaks = True
        opening.places["speaker"].breaks_at_close = True
        ear.play(100.02, level(0.1))
        ear.play(100.04, level(0.1))
        assert not ear.is_open
        assert ear.began_s is None
        await ear.set("none")
        assert told[1:] == [("OUTPUT_FAILED", "The speaker broke. Mend it.")]
        assert opening.diary == ["open speaker", "close speaker"]

    asyncio.run(hear())


def test_what_is_lost_at_the_very_end_is_a_failure_not_an_end():
    async def hear() -> None:
        opening, told = Opening(), Told()
        ear = Ear(told, opening.sink)
        await ear.set("disk")
        ear.play(100.0, level(0.1))
        opening.places["disk"].breaks_at_close = True
        await ear.set("none")
        assert told[1:] == [("OUTPUT_FAILED", "The disk broke. Mend it.")]

    asyncio.run(hear())


def test_the_newest_wish_counts_while_an_older_one_is_still_opening():
    async def hear() -> None:
        opening, told = Opening("slow"), Told()
        ear = Ear(told, opening.sink)
        older = asyncio.ensure_future(ear.set("slow"))
        await asyncio.to_thread(opening.started["slow"].wait)
        newest = asyncio.ensure_future(ear.set("b"))
        await asyncio.sleep(0)
        opening.gates["slow"].set()
        await asyncio.gather(older, newest)
        ear.play(100.0, level(0.5))
        assert opening.diary == ["open slow", "close slow", "open b"]
        assert opening.places["b"].heard == [0.5]
        assert opening.places["slow"].heard == []

    asyncio.run(hear())
