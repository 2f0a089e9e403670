"""The page through whole media processes: what it says is heard elsewhere, and it hears others."""

import asyncio
import time

import numpy as np
import pytest

from p2phouse import channel
from p2phouse.channel import VoiceCondition
from p2phouse.hearing import measure
from p2phouse.sound.files import load, to_float
from p2phouse.vocabulary import FRAME_S
from tests.e2e.nodes import write_clip
from tests.engine.test_media import (  # noqa: F401  # fixtures
    cpu_ticks,
    pair,
    select_nothing,
    voice_of,
)
from tests.sound.local_page import ORIGIN, TOKEN, frame_of, knock, let_in, message, secrets, word
from tests.voice.speech import frames_of, librivox


def open_page(child) -> int:
    child.say(channel.SetPage(TOKEN, ORIGIN))
    port = child.next(channel.PageReady).port
    assert isinstance(port, int)
    return port


def loss_pct(voice: channel.VoiceStats) -> float:
    return 100 * voice.concealed / max(1, voice.played + voice.concealed + voice.recovered)


def test_what_the_page_says_is_heard_by_another_node(pair, tmp_path):  # noqa: F811
    ana, ben = pair
    port = open_page(ana)
    said = librivox("0890")[: 48_000 * 5]
    heard = tmp_path / "heard.wav"
    ben.say(channel.SetOutput(f"file:{heard}"))
    ben.next(channel.VoiceState, condition=VoiceCondition.OUTPUT_STARTED)
    age_us = ben.latest_stats().played_age_us
    played_s = ben.stats_at - age_us / 1e6

    async def speak() -> float:
        async with let_in(port) as page:
            ana.say(channel.SetInput("page"))
            await asyncio.to_thread(
                ana.next, channel.VoiceState, condition=VoiceCondition.INPUT_STARTED
            )
            began = time.monotonic()
            for n, frame in enumerate(frames_of(said)):
                await asyncio.sleep(began + (n + 1) * FRAME_S - time.monotonic())
                await page.send(message(frame))
            return began

    spoken_s = asyncio.run(speak())
    # The page is gone, and so is the voice.
    failed = ana.next(channel.VoiceState, condition=VoiceCondition.INPUT_FAILED)
    assert failed.text.endswith("Open it again: p2phouse page.")
    stats = [ben.latest_stats() for _ in range(2)][-1]  # the first was said meanwhile
    ben.say(channel.SetOutput("none"))
    ben.next(channel.VoiceState, condition=VoiceCondition.OUTPUT_ENDED)
    hearing = measure(
        sent=said,
        spoken_s=spoken_s,
        heard=to_float(load(str(heard))),
        played_s=played_s,
    )
    assert hearing.is_heard(concealed_pct=loss_pct(voice_of(stats, ana))), hearing


def test_what_another_node_says_is_heard_in_the_page(pair, tmp_path):  # noqa: F811
    ana, ben = pair
    port = open_page(ana)
    said = librivox("0890")[: 48_000 * 5]
    clip = write_clip(tmp_path / "said.wav", said)

    async def hear() -> tuple[float, list[np.ndarray]]:
        async with let_in(port) as page:
            ana.say(channel.SetOutput("page"))
            frames = [frame_of(await page.recv())]
            began = time.monotonic()
            ben.say(channel.SetInput(f"file:{clip}"))
            while len(frames) < 50 * 7:
                frames.append(frame_of(await page.recv()))
            return began, frames

    played_s, frames = asyncio.run(hear())
    ben.next(channel.VoiceState, condition=VoiceCondition.INPUT_ENDED)
    stats = [ana.latest_stats() for _ in range(2)][-1]
    hearing = measure(
        sent=to_float(load(str(clip))),
        spoken_s=played_s,
        heard=np.concatenate(frames),
        played_s=played_s,
    )
    assert hearing.is_heard(concealed_pct=loss_pct(voice_of(stats, ben))), hearing


def test_a_page_without_a_mouth_costs_no_ticks(make_child):
    child = make_child()
    port = open_page(child)

    async def wait() -> int:
        async with let_in(port):
            before = cpu_ticks(child.process.pid)
            await asyncio.to_thread(select_nothing, child, 2.0)
            return int(cpu_ticks(child.process.pid) - before)

    assert asyncio.run(wait()) <= 1  # of 10 ms; ticking it would be two or more


def test_a_page_that_speaks_before_it_is_unmuted_is_heard_by_nobody(pair):  # noqa: F811
    ana, ben = pair
    port = open_page(ana)

    async def speak() -> None:
        async with let_in(port) as page:
            for frame in frames_of(librivox("0930"))[:50]:
                await page.send(message(frame))
                await asyncio.sleep(0)

    asyncio.run(speak())
    stats = [ben.latest_stats() for _ in range(2)][-1]
    assert voice_of(stats, ana).played == 0
    assert stats.links[0].received == 0


def test_a_new_page_takes_over_with_its_token_and_origin(make_child):
    child = make_child()
    port, newer = open_page(child), secrets()
    child.say(channel.SetPage(newer, "http://127.0.0.1:6666"))
    assert child.next(channel.PageReady).port == port

    async def knock_with(token: bytes) -> int | None:
        async with knock(port, "http://127.0.0.1:6666") as client:
            await client.send(word(token))
            try:
                await asyncio.wait_for(client.wait_closed(), 0.5)
            except TimeoutError:
                return None
            return client.close_code

    assert asyncio.run(knock_with(TOKEN)) == 4401
    assert asyncio.run(knock_with(newer)) is None


def test_the_process_ends_with_control_though_a_page_is_open(make_child):
    child = make_child()
    port = open_page(child)

    async def stay() -> int:
        async with let_in(port) as page:
            child.say(channel.SetInput("page"), channel.SetOutput("page"))
            assert isinstance(await page.recv(), bytes)
            status = await asyncio.to_thread(child.end)
            await asyncio.wait_for(page.wait_closed(), 10)
            return int(status)

    assert asyncio.run(stay()) == 0


@pytest.mark.parametrize("spec", ["page:", "page:1"])
def test_there_is_but_one_page(make_child, spec):
    child = make_child()
    child.say(channel.SetInput(spec))
    assert child.next(channel.VoiceState, condition=VoiceCondition.INPUT_FAILED)
    child.say(channel.SetOutput(spec))
    assert child.next(channel.VoiceState, condition=VoiceCondition.OUTPUT_FAILED)
