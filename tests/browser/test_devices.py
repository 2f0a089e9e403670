"""Microphones that come and go, the echo check, and a browser that holds the sound back."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from tests.browser.chromium import chromium
from tests.browser.people import open_room, tab, wait_live
from tests.browser.stand_in import person, stand_in
from tests.e2e.nodes import until
from tests.voice.speech import librivox

pytestmark = [pytest.mark.browser]
GRANTED = "--use-fake-ui-for-media-stream"

# The microphone hears what the loudspeaker plays, a fifth as loud and 180 ms later.
LOUD_ROOM = """
    const connect = AudioNode.prototype.connect;
    const air = {};
    AudioNode.prototype.connect = function (to, ...rest) {
        if (to instanceof AudioDestinationNode) {
            air.way ??= new DelayNode(to.context, {delayTime: 0.18});
            air.loss ??= new GainNode(to.context, {gain: 0.2});
            air.end ??= to.context.createMediaStreamDestination();
            connect.call(air.way, air.loss);
            connect.call(air.loss, air.end);
            connect.call(this, air.way);
        }
        return connect.call(this, to, ...rest);
    };
    navigator.mediaDevices.getUserMedia = async () => {
        const context = (await import("/sound.js")).audio().context;
        connect.call(new ConstantSourceNode(context), context.destination);
        air.end ??= context.createMediaStreamDestination();
        return air.end.stream.clone();
    };
"""


def echo_in(page, sound: np.ndarray) -> bool:
    judge = "async (sound) => (await import('/echo.js')).hasEcho(Float32Array.from(sound))"
    return bool(page.evaluate(judge, [round(float(each), 5) for each in sound]))


def test_an_echo_is_chirps_that_come_back_each_after_the_same_while():
    rng = np.random.default_rng(7)
    with stand_in() as node, chromium(GRANTED) as browser:
        page = browser.new_page()
        page.goto(node.address())
        chirp = page.evaluate("async () => [...(await import('/echo.js')).chirp()]")
        sound = np.array(chirp, np.float32)
        noise = rng.normal(0, 0.005, 110_400).astype(np.float32)
        assert not echo_in(page, noise)
        assert not echo_in(page, librivox("0890")[:110_400])

        def room(late_s: list[float], gain: float = 0.1) -> np.ndarray:
            heard = noise.copy()
            for at_s, late in zip((0.3, 0.9, 1.5), late_s, strict=True):
                at = int((at_s + late) * 48_000)
                heard[at : at + len(sound)] += gain * sound
            return heard

        assert echo_in(page, room([0.18, 0.18, 0.18]))
        assert echo_in(page, room([0.35, 0.35, 0.35], gain=0.05))  # wireless headphones on a table
        assert not echo_in(page, room([0.05, 0.25, 0.45]))  # never after the same while


def sound_place(browser, node, *scripts):
    """The page's place for sound; what the browser's microphone was asked for is counted."""
    node.me["mouth"] = "page"
    page = browser.new_context(locale="en").new_page()
    for script in scripts:
        page.add_init_script(script)
    page.goto(node.address())
    page.get_by_role("button", name="Sound").first.click()
    return page


COUNT = """
    window.asked = 0;
    const media = navigator.mediaDevices;
    const ask = media.getUserMedia.bind(media);
    media.getUserMedia = (wish) => { window.asked += 1; return ask(wish); };
"""


def test_the_echo_check_hears_a_loud_room_and_not_a_quiet_one():
    with stand_in() as node, chromium(GRANTED) as browser:
        page = sound_place(browser, node, LOUD_ROOM)
        page.get_by_role("button", name="Check my echo").click()
        page.wait_for_selector("text=Echo heard: use headphones.")
        page = sound_place(browser, node, COUNT)
        assert page.evaluate("asked") == 0
        page.get_by_role("button", name="Check my echo").click()
        page.wait_for_selector("text=No echo: others will not hear themselves")
        assert page.evaluate("asked") == 1


# As a browser does until a page is touched; one that a test drives counts as touched.
HELD_BACK = """
    window.AudioContext = class extends AudioContext {
        constructor(...options) {
            super(...options);
            addEventListener("pointerdown", () => {
                window.touched = true;
                this.dispatchEvent(new Event("statechange"));
            });
        }
        get state() { return window.touched ? super.state : "suspended"; }
    };
"""


def test_a_browser_that_holds_the_sound_back_is_told_to_the_node():
    with stand_in() as node, chromium(GRANTED) as browser:
        node.me["mouth"] = "page"
        node.enter(person("ana"), person("ben"))
        node.pulse = {"sound": {"port": node.opening.port, "ready": True}}  # nothing listens there
        page = browser.new_context(locale="en").new_page()
        page.add_init_script(HELD_BACK)
        page.goto(node.address())
        until(lambda: node.asked_of("page_sound"), "the node being told")
        assert node.asked_of("page_sound")[-1] == {"state": "blocked"}
        page.click("h1")
        until(
            lambda: node.asked_of("page_sound")[-1] == {"state": "running"}, "the node being told"
        )


# ── with a real node ─────────────────────────────────────────────────────────────────────────

OPENED = """
    const media = navigator.mediaDevices;
    const ask = media.getUserMedia.bind(media);
    media.getUserMedia = async (wish) => {
        window.wish = wish;
        window.opened = await ask(wish);
        return window.opened;
    };
"""
TRACK = "opened.getAudioTracks()[0]"


@pytest.fixture
def lucie(make):
    return make("lucie", page=True)


@pytest.fixture
def page(lucie) -> Iterator[Any]:
    with chromium(GRANTED) as browser, tab(browser, lucie) as its:
        its.add_init_script(OPENED)
        its.reload()
        its.wait_for_selector("main h1")
        open_room(its)
        yield its


def test_a_lost_headset_mutes_and_another_microphone_is_one_tap_away(lucie, page):
    page.click("#mic")
    wait_live(page, True)
    page.evaluate(f"{TRACK}.stop(); {TRACK}.dispatchEvent(new Event('ended'))")
    wait_live(page, False)
    until(lambda: lucie.me()["muted"], "muted")
    page.wait_for_selector("[role=alert] >> text=You are silent: headset lost.")
    page.locator(".banner").get_by_role("button", name="Use").click()
    page.wait_for_selector("[role=alert]", state="detached")
    assert lucie.me()["muted"]
    page.click("#mic")
    wait_live(page, True)
    chosen = page.evaluate("wish.audio.deviceId.exact")
    assert chosen
    assert page.evaluate(f"{TRACK}.getSettings().deviceId") == chosen


def test_a_microphone_that_stays_muted_is_let_go_and_comes_back_with_the_voice(lucie, page):
    page.clock.install()
    page.click("#mic")
    wait_live(page, True)
    page.click("#mic")
    wait_live(page, False)
    page.clock.run_for(20_000)
    assert page.evaluate(f"{TRACK}.readyState") == "live"  # a held Space is heard at once
    page.clock.run_for(15_000)
    page.wait_for_function(f"{TRACK}.readyState === 'ended'")
    page.click("#mic")
    wait_live(page, True)
    assert page.evaluate(f"{TRACK}.readyState") == "live"


def test_another_microphone_is_heard_at_once_by_who_is_live(lucie, page):
    page.click("#mic")
    wait_live(page, True)
    page.locator(".crumb").click()
    page.get_by_role("button", name="Sound").locator("visible=true").click()
    choice = page.get_by_role("combobox", name="Microphone")
    other = choice.locator("option").nth(2)
    choice.select_option(index=2)
    page.wait_for_function("wish.audio.deviceId !== undefined")
    assert page.evaluate("wish.audio.deviceId.exact") == other.get_attribute("value")
    assert not lucie.me()["muted"]
    page.get_by_role("switch", name="Reduce noise").click()
    page.wait_for_function("wish.audio.noiseSuppression === false")
    assert not lucie.me()["muted"]
