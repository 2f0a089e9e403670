import asyncio
import re
import subprocess
import sys

import numpy as np
import pytest

from p2phouse.sound.files import to_float
from p2phouse.sound.mouth import Mouth
from p2phouse.vocabulary import FRAME_S, FRAME_SAMPLES, Frame
from tests.sound.places import Opening, Told
from tests.sound.sounds import encode, sine


def frames_until_the_end(mouth: Mouth, *, from_s: float = 100.0) -> list[Frame]:
    frames: list[Frame] = []
    while (frame := mouth.frame(from_s + len(frames) * FRAME_S)) is not None:
        frames.append(frame)
    return frames


def test_a_file_is_spoken_from_its_first_sample_to_its_last(tmp_path):
    async def speak() -> None:
        path = encode(tmp_path / "a.wav", "pcm_s16le", sine(seconds=0.5))
        told = Told()
        mouth = Mouth(told)
        await mouth.set(f"file:{path}")
        assert mouth.is_open
        assert told == []  # nothing is spoken before the first tick
        spoken = np.concatenate(frames_until_the_end(mouth))
        assert len(spoken) == 24_000
        assert np.allclose(spoken, sine(seconds=0.5), atol=1e-4)
        assert told == [("INPUT_STARTED", ""), ("INPUT_ENDED", "")]
        assert not mouth.is_open
        assert mouth.frame(101.0) is None
        assert len(told) == 2

    asyncio.run(speak())


def test_the_first_sample_was_spoken_20_ms_before_its_tick(tmp_path):
    async def speak() -> None:
        path = encode(tmp_path / "a.wav", "pcm_s16le", sine(seconds=0.1))
        began: list[float | None] = []
        mouth = Mouth(lambda condition, text: began.append(mouth.began_s))
        await mouth.set(f"file:{path}")
        assert mouth.began_s is None
        mouth.frame(100.0)
        assert mouth.began_s == pytest.approx(100.0 - FRAME_S)
        frames_until_the_end(mouth)
        assert began == [pytest.approx(99.98)] * 2  # still known while the end is told
        assert mouth.began_s is None

    asyncio.run(speak())


def test_a_file_keeps_clock_time_through_skipped_ticks(tmp_path):
    async def speak() -> None:
        sound = (np.arange(10 * FRAME_SAMPLES) % 32_768).astype(np.int16)
        path = encode(tmp_path / "a.wav", "pcm_s16le", to_float(sound))
        mouth = Mouth(Told())
        await mouth.set(f"file:{path}")
        mouth.skip(4)  # it has not begun: its beginning is not lost
        first = mouth.frame(100.0)
        mouth.skip(4)
        sixth = mouth.frame(100.1)
        assert first is not None
        assert sixth is not None
        assert np.array_equal(first, to_float(sound[:FRAME_SAMPLES]))
        assert np.array_equal(sixth, to_float(sound[5 * FRAME_SAMPLES : 6 * FRAME_SAMPLES]))
        mouth.skip(100)
        assert mouth.frame(102.0) is None
        assert not mouth.is_open

    asyncio.run(speak())


def test_a_tone_goes_on_without_a_seam_and_silence_is_silent():
    async def speak() -> None:
        mouth = Mouth(Told())
        await mouth.set("tone")
        frames = [mouth.frame(100.0 + n * FRAME_S) for n in range(20)]
        spoken = np.concatenate([frame for frame in frames if frame is not None])
        assert int(np.argmax(np.abs(np.fft.rfft(spoken)))) == 160  # 400 Hz in 0.4 s
        assert float(np.abs(np.diff(spoken)).max()) < 0.014  # 0.25 at 400 Hz moves 0.013 a sample
        await mouth.set("silence")
        silent = mouth.frame(100.0)
        assert silent is not None
        assert not silent.any()

    asyncio.run(speak())


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        ("file:/nowhere/a.wav", r"/nowhere/a.wav could not be read \(No such file.*Check"),
        ("gramophone", 'no input "gramophone". Use file:PATH, tone'),
        ("tone:440", 'no input "tone:440"'),
        ("device:", 'no input "device:"'),
        ("null", 'no input "null"'),
        ("", 'no input ""'),
    ],
)
def test_what_cannot_be_opened_is_one_sentence_and_a_closed_mouth(spec, sentence):
    async def speak() -> None:
        told = Told()
        mouth = Mouth(told)
        await mouth.set("tone")
        await mouth.set(spec)
        assert not mouth.is_open
        assert mouth.frame(100.0) is None
        ((condition, text),) = told
        assert condition == "INPUT_FAILED"
        assert re.search(sentence, text)
        assert len(text) <= 400

    asyncio.run(speak())


def test_a_lost_device_is_said_once_and_closed():
    async def speak() -> None:
        opening, told = Opening(), Told()
        mouth = Mouth(told, opening.source)
        await mouth.set("mic")
        mouth.frame(100.0)
        opening.places["mic"].breaks = True
        assert mouth.frame(100.02) is None
        assert mouth.frame(100.04) is None
        assert told[1:] == [("INPUT_FAILED", "The mic broke. Mend it.")]
        assert not mouth.is_open
        await mouth.set("none")
        assert opening.diary == ["open mic", "close mic"]

    asyncio.run(speak())


# ── one after the other ──────────────────────────────────────────────────────────────────────


def test_the_former_input_is_closed_before_the_next_is_opened():
    async def speak() -> None:
        opening, told = Opening(), Told()
        mouth = Mouth(told, opening.source)
        for spec in ("a", "b", "none"):
            await mouth.set(spec)
            mouth.frame(100.0)
        assert opening.diary == ["open a", "close a", "open b", "close b"]
        # An end that somebody asked for is no news: it would end the next file's `say`.
        assert told.conditions == ["INPUT_STARTED", "INPUT_STARTED"]

    asyncio.run(speak())


def test_a_device_that_closes_slowly_is_waited_for():
    async def speak() -> None:
        opening = Opening()
        mouth = Mouth(Told(), opening.source)
        await mouth.set("a")
        opening.places["a"].may_close.clear()
        replacing = asyncio.ensure_future(mouth.set("b"))
        await asyncio.sleep(0.05)  # long enough for a wrong one to open; a right one has no hurry
        opening.places["a"].may_close.set()
        await replacing
        assert opening.diary == ["open a", "close a", "open b"]

    asyncio.run(speak())


def test_a_wish_overtaken_before_its_turn_opens_nothing():
    async def speak() -> None:
        opening = Opening("slow")
        mouth = Mouth(Told(), opening.source)
        wishes = [asyncio.ensure_future(mouth.set("slow"))]
        await asyncio.to_thread(opening.started["slow"].wait)
        for spec in ("b", "c"):
            wishes.append(asyncio.ensure_future(mouth.set(spec)))
            await asyncio.sleep(0)
        opening.gates["slow"].set()
        await asyncio.gather(*wishes)
        assert opening.diary == ["open slow", "close slow", "open c"]

    asyncio.run(speak())


def test_no_frame_comes_from_an_input_that_is_being_replaced():
    async def speak() -> None:
        opening = Opening("slow")
        mouth = Mouth(Told(), opening.source)
        await mouth.set("a")
        replacing = asyncio.ensure_future(mouth.set("slow"))
        await asyncio.to_thread(opening.started["slow"].wait)
        assert not mouth.is_open  # and the loop runs on while the next is opened
        assert mouth.frame(100.0) is None
        opening.gates["slow"].set()
        await replacing
        assert mouth.is_open

    asyncio.run(speak())


@pytest.mark.parametrize("newer", ["b", "none", "bad"])
def test_the_newest_wish_counts_while_an_older_one_is_still_loading(newer):
    async def speak() -> None:
        opening, told = Opening("slow"), Told()
        mouth = Mouth(told, opening.source)
        older = asyncio.ensure_future(mouth.set("slow"))
        await asyncio.to_thread(opening.started["slow"].wait)
        newest = asyncio.ensure_future(mouth.set(newer))
        await asyncio.sleep(0)
        opening.gates["slow"].set()
        await asyncio.gather(older, newest)
        await mouth.set("none") if newer == "none" else None
        assert mouth.is_open == (newer == "b")
        assert opening.diary[:2] == ["open slow", "close slow"]
        assert told.conditions == (["INPUT_FAILED"] if newer == "bad" else [])

    asyncio.run(speak())


def test_an_older_wish_that_fails_late_says_nothing():
    async def speak() -> None:
        opening, told = Opening("bad"), Told()
        mouth = Mouth(told, opening.source)
        older = asyncio.ensure_future(mouth.set("bad"))
        await asyncio.to_thread(opening.started["bad"].wait)
        newest = asyncio.ensure_future(mouth.set("b"))
        await asyncio.sleep(0)
        opening.gates["bad"].set()
        await asyncio.gather(older, newest)
        assert mouth.is_open
        assert told == []

    asyncio.run(speak())


def test_a_file_that_is_no_longer_wanted_is_not_read_on():
    async def speak() -> None:
        wanted: list[bool] = []
        asked, go_on = asyncio.Event(), asyncio.Event()
        loop = asyncio.get_running_loop()
        opening = Opening()

        def reader(spec: str, is_wanted):
            if spec == "long":
                wanted.append(is_wanted())
                loop.call_soon_threadsafe(asked.set)
                asyncio.run_coroutine_threadsafe(go_on.wait(), loop).result(30)
                wanted.append(is_wanted())
            return opening.source(spec, is_wanted)

        mouth = Mouth(Told(), reader)
        older = asyncio.ensure_future(mouth.set("long"))
        await asked.wait()
        newest = asyncio.ensure_future(mouth.set("b"))
        await asyncio.sleep(0)
        go_on.set()
        await asyncio.gather(older, newest)
        assert wanted == [True, False]

    asyncio.run(speak())


# ── the microphone ───────────────────────────────────────────────────────────────────────────


def test_a_microphone_that_opens_after_its_wish_was_given_up_is_closed_again():
    async def speak() -> None:
        opening = Opening("mic")
        mouth = Mouth(Told(), opening.source)
        wish = asyncio.ensure_future(mouth.set("mic"))
        await asyncio.to_thread(opening.started["mic"].wait)
        wish.cancel()
        await asyncio.gather(wish, return_exceptions=True)
        assert wish.cancelled()
        opening.gates["mic"].set()
        assert await asyncio.to_thread(opening.closed.wait, 30)
        assert opening.diary == ["open mic", "close mic"]
        assert not mouth.is_open

    asyncio.run(speak())


def test_a_microphone_that_opens_after_the_mouth_was_closed_is_closed_again():
    async def speak() -> None:
        opening = Opening("mic")
        mouth = Mouth(Told(), opening.source)
        wish = asyncio.ensure_future(mouth.set("mic"))
        await asyncio.to_thread(opening.started["mic"].wait)
        mouth.close()
        opening.gates["mic"].set()
        await wish
        await mouth.set("none")
        assert not mouth.is_open
        assert opening.diary == ["open mic", "close mic"]

    asyncio.run(speak())


EVERYTHING_BUT_A_DEVICE = """
import asyncio, sys, wave
from p2phouse.sound.ear import Ear
from p2phouse.sound.mouth import Mouth

with wave.open(sys.argv[1], "wb") as file:
    file.setnchannels(1), file.setsampwidth(2), file.setframerate(48_000)
    file.writeframes(bytes(96_000))

async def speak():
    mouth, ear = Mouth(lambda *_: None), Ear(lambda *_: None)
    for spec in ("tone", "silence", "file:" + sys.argv[1], "file:/nowhere", "nonsense", "none"):
        await mouth.set(spec)
        mouth.frame(0.0)
        mouth.skip(1)
    await ear.set("null")
    mouth.close()

asyncio.run(speak())
assert "sounddevice" not in sys.modules
"""


def test_no_microphone_opens_by_itself(tmp_path):
    # Security: no sound device of any kind is as much as looked at until one is named.
    command = [sys.executable, "-c", EVERYTHING_BUT_A_DEVICE, str(tmp_path / "a.wav")]
    subprocess.run(command, check=True, timeout=60)
