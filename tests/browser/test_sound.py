"""sound.js in a real browser: a fake microphone that speaks, a node that listens, and back."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from p2phouse import channel
from p2phouse.channel import VoiceCondition
from p2phouse.hearing import measure
from p2phouse.sound.files import load, to_float
from p2phouse.vocabulary import LinkNumber
from tests.browser.chromium import STATIC, chromium, served
from tests.e2e.nodes import write_clip
from tests.engine.child import MediaChild, connect
from tests.sound.local_page import TOKEN, word
from tests.voice.speech import librivox

pytestmark = [pytest.mark.browser]
HERE = Path(__file__).parent
GRANTED = "--use-fake-ui-for-media-stream"


@pytest.fixture
def pair() -> Iterator[tuple[MediaChild, MediaChild]]:
    ana, ben = MediaChild("ana"), MediaChild("ben")
    try:
        connect(ana, ben)
        for child in (ana, ben):
            child.speak()
        ana.mesh(LinkNumber(1), ben)
        ben.mesh(LinkNumber(1), ana)
        yield ana, ben
    finally:
        for child in (ana, ben):
            child.end()


@pytest.fixture
def site(tmp_path) -> Iterator[str]:
    folder = tmp_path / "site"
    folder.mkdir()
    files = [HERE / "sound.html", STATIC / "sound.js", STATIC / "worklet.js"]
    with served(folder, *files) as origin:
        yield origin


@contextmanager
def tab(browser, origin: str, port: int, token: str = word()) -> Iterator[Any]:
    """A page that is loaded and has joined the node's sound; it may not complain of anything."""
    page = browser.new_page()
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(f"{origin}/sound.html#port={port}&token={token}")
    page.wait_for_function("window.loaded")
    page.evaluate("join()")
    yield page
    assert complaints == []


def until(page, claim: str) -> None:
    """Waits for a claim about the page's last state."""
    page.wait_for_function(f"(() => {{ const state = states.at(-1) ?? {{}}; return {claim}; }})()")


def open_page(child: MediaChild, origin: str) -> int:
    child.say(channel.SetPage(TOKEN, origin))
    port: int = child.next(channel.PageReady).port
    return port


def unix_s(page_ms: float) -> float:
    """A time of the page on our monotonic clock: one machine, so its wall clock is ours."""
    return page_ms / 1_000 - time.time() + time.monotonic()


@pytest.mark.realtime
def test_a_person_clicks_speaks_and_is_heard(pair, site, tmp_path):
    ana, ben = pair
    said = np.concatenate([librivox("0890"), np.zeros(48_000, np.float32)])
    clip = write_clip(tmp_path / "said.wav", said, rate=48_000)
    heard = tmp_path / "heard.wav"
    port = open_page(ana, site)
    ben.say(channel.SetOutput(f"file:{heard}"))
    ben.next(channel.VoiceState, condition=VoiceCondition.OUTPUT_STARTED)
    age_us = ben.latest_stats().played_age_us
    played_s = ben.stats_at - age_us / 1e6
    file = f"--use-file-for-fake-audio-capture={clip}%noloop"
    with chromium(GRANTED, file) as browser, tab(browser, site, port) as page:
        until(page, 'state.socket === "open"')
        ana.say(channel.SetInput("page"), channel.SetOutput("page"))
        ana.next(channel.VoiceState, condition=VoiceCondition.INPUT_STARTED)
        page.click("#speak")
        page.wait_for_function("window.opened === true")
        spoken_s = time.monotonic()
        page.wait_for_function("sound.level() < 40")  # the meter moves
        page.wait_for_timeout(1_000 * len(said) / 48_000)
        assert page.evaluate("states.at(-1).causes") == []
        page.evaluate("sound.closeMicrophone()")
        assert page.evaluate("sound.level()") == 127
        assert page.evaluate("states.at(-1).microphone") == "closed"
    stats = [ben.latest_stats() for _ in range(2)][-1]
    ben.say(channel.SetOutput("none"))
    ben.next(channel.VoiceState, condition=VoiceCondition.OUTPUT_ENDED)
    voice = next(one for one in stats.voices if one.ssrc == ana.ssrc)
    hearing = measure(
        sent=to_float(load(str(clip))),
        spoken_s=spoken_s,
        heard=to_float(load(str(heard))),
        played_s=played_s,
    )
    lost = voice.concealed / (voice.played + voice.concealed)
    assert hearing.is_heard(concealed_pct=100 * lost), hearing


@pytest.mark.realtime
def test_a_person_hears_in_the_page_what_another_node_says(pair, site, tmp_path):
    ana, ben = pair
    clip = write_clip(tmp_path / "said.wav", librivox("0890"), rate=48_000)
    port = open_page(ana, site)
    with chromium(GRANTED) as browser, tab(browser, site, port) as page:
        until(page, 'state.socket === "open"')
        page.click("body")  # a browser keeps a page quiet until it is touched
        until(page, 'state.output === "running" && state.causes.length === 0')
        ana.say(channel.SetOutput("page"))
        page.wait_for_function("window.heardAt !== null")
        ben.say(channel.SetInput(f"file:{clip}"))
        ben.next(channel.VoiceState, condition=VoiceCondition.INPUT_STARTED)
        age_us = ben.latest_stats().captured_age_us
        spoken_s = ben.stats_at - age_us / 1e6
        ben.next(channel.VoiceState, condition=VoiceCondition.INPUT_ENDED)
        page.wait_for_timeout(500)
        played_s = unix_s(page.evaluate("window.heardAt"))
        heard = np.array(json.loads(page.evaluate("JSON.stringify(window.heard)")), np.float32)
    hearing = measure(
        sent=to_float(load(str(clip))), spoken_s=spoken_s, heard=heard, played_s=played_s
    )
    assert hearing.is_heard(concealed_pct=0.0), hearing


def test_no_microphone_opens_without_a_click(pair, site):
    ana, _ = pair
    port = open_page(ana, site)
    with chromium(GRANTED) as browser, tab(browser, site, port) as page:
        page.evaluate(
            "void (navigator.mediaDevices.getUserMedia = async () => { window.asked = true; })"
        )
        until(page, 'state.socket === "open"')
        ana.say(channel.SetInput("page"), channel.SetOutput("page"))
        ana.next(channel.VoiceState, condition=VoiceCondition.INPUT_STARTED)
        page.click("body")
        port_again = open_page(ana, site)  # the page is turned out; nothing opens by itself
        assert port_again == port
        until(page, 'state.socket === "refused"')
        assert page.evaluate("window.asked") is None
        assert page.evaluate("states.every((state) => state.microphone === 'closed')")


def test_silence_has_a_cause(pair, site):
    ana, _ = pair
    port = open_page(ana, site)
    # No --use-fake-ui: who is not asked, as in a headless browser, has refused.
    with chromium("--deny-permission-prompts") as browser, tab(browser, site, port) as page:
        until(page, 'state.socket === "open"')
        page.click("#speak")
        page.wait_for_function("window.opened === false")
        assert page.evaluate("states.at(-1).causes") == ["permission refused"]
        page.evaluate("""
            void (navigator.mediaDevices.getUserMedia =
                async () => { throw new DOMException("", "NotFoundError"); });
        """)
        page.click("#speak")
        until(page, 'state.causes.includes("no microphone")')


def test_a_wrong_token_is_not_tried_again(pair, site):
    ana, _ = pair
    port = open_page(ana, site)
    with chromium(GRANTED) as browser, tab(browser, site, port, word(bytes(32))) as page:
        until(page, 'state.socket === "refused" && state.causes.includes("socket lost")')
        page.wait_for_timeout(1_500)
        assert page.evaluate("states.filter((state) => state.socket === 'refused').length") == 1


def test_a_broken_socket_is_opened_again_and_a_second_tab_keeps_the_sound(pair, site):
    ana, _ = pair
    port = open_page(ana, site)
    sockets = """
        window.sockets = [];
        window.WebSocket = class extends WebSocket {
            constructor(...given) { super(...given); sockets.push(this); }
        };
    """
    with chromium(GRANTED) as browser, tab(browser, site, port) as page:
        page.evaluate(f"(() => {{ {sockets} sound.close(); join(); }})()")
        until(page, 'state.socket === "open"')
        page.click("#speak")
        until(page, 'state.microphone === "open"')
        page.evaluate("sockets.at(-1).close()")
        until(page, 'state.socket === "open" && sockets.length === 2')
        told = page.evaluate("states.map((state) => state.socket)")
        assert told[-2:] == ["lost", "open"]
        assert page.evaluate("states.at(-1).microphone") == "closed"  # coming back is muted
        with tab(browser, site, port) as second:
            until(second, 'state.socket === "open"')
            until(page, 'state.socket === "replaced" && state.causes.includes("socket lost")')
            page.wait_for_timeout(1_500)
            assert page.evaluate("sockets.length") == 2
            assert second.evaluate("states.at(-1).socket") == "open"


def test_a_microphone_that_opens_after_it_was_given_up_is_closed_again(pair, site):
    ana, _ = pair
    port = open_page(ana, site)
    with chromium(GRANTED) as browser, tab(browser, site, port) as page:
        until(page, 'state.socket === "open"')
        page.evaluate("""(() => {
            const ask = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
            navigator.mediaDevices.getUserMedia = async (wish) => {
                window.media = await ask(wish);
                await new Promise((goOn) => { window.goOn = goOn; });
                return window.media;
            };
        })()""")
        page.click("#speak")
        page.wait_for_function("window.goOn !== undefined")
        page.evaluate("sound.closeMicrophone()")
        page.evaluate("goOn()")
        page.wait_for_function("window.opened === false")
        assert page.evaluate("media.getTracks().every((track) => track.readyState === 'ended')")
        assert page.evaluate("states.at(-1).microphone") == "closed"
        assert page.evaluate("states.at(-1).causes") == []


def test_a_lost_microphone_and_a_lost_node_are_told_and_the_microphone_stays_closed(pair, site):
    ana, _ = pair
    port = open_page(ana, site)
    with chromium(GRANTED) as browser, tab(browser, site, port, TOKEN.hex()) as page:
        until(page, 'state.socket === "open"')
        page.evaluate("""
            const ask = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
            void (navigator.mediaDevices.getUserMedia = async (wish) => {
                const media = await ask(wish);
                window.track = media.getAudioTracks()[0];
                return media;
            });
        """)
        page.click("#speak")
        page.wait_for_function("window.opened === true")
        page.evaluate("track.dispatchEvent(new Event('ended'))")  # as when it is unplugged
        until(page, 'state.microphone === "closed" && state.causes.includes("device lost")')
        page.click("#speak")
        until(page, 'state.microphone === "open" && state.causes.length === 0')
        ana.end()
        until(page, 'state.socket === "lost" && state.microphone === "closed"')
        assert page.evaluate("track.readyState") == "ended"
