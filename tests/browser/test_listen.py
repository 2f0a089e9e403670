"""Somebody without p2phouse opens a link: what the page shows, and that the room is heard.

The relay and its sound are real; who speaks is aiortc. What is hard to bring about (a full relay, a
network without UDP) is put between the page and the relay.
"""

import os
import re
import signal
from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import pytest

from tests.browser.listening import LISTENS, TONE_HZ, comes_to, page_of, speaking
from tests.browser.screens import violations
from tests.guest.test_sdp import offer, section
from tests.relay.process import ProcessRelay, asked, relay

pytestmark = [pytest.mark.browser]

SPEAK = offer(section(direction="sendonly"))


@pytest.fixture(scope="module")
def its() -> Iterator[ProcessRelay]:
    with relay() as made:
        yield made


# Of what the page's ears are given, the frequency that is loudest.
LOUDEST_HZ = """async () => {
  const context = new AudioContext();
  const analyser = new AnalyserNode(context, {fftSize: 8192});
  for (const ear of document.querySelectorAll("audio")) {
    if (!ear.paused) context.createMediaStreamSource(ear.srcObject).connect(analyser);
  }
  await new Promise((done) => setTimeout(done, 1000));
  const bins = new Float32Array(analyser.frequencyBinCount);
  analyser.getFloatFrequencyData(bins);
  const loudest = bins.indexOf(Math.max(...bins));
  return bins[loudest] > -60 ? loudest * context.sampleRate / 8192 : 0;
}"""
OF_ALL_EARS = "(what) => [...document.querySelectorAll('audio')].map((ear) => ear[what])"


def test_one_tap_and_the_room_is_heard(browser, its):
    with speaking(its, "tea", "ana"), page_of(browser, its, "tea") as page:
        page.wait_for_selector(".chip >> text=Live now · 1 person")
        page.get_by_role("button", name="Listen now").click()
        page.wait_for_selector(LISTENS)
        page.wait_for_selector("[role=status] >> text=You are listening")
        page.wait_for_selector(".seat[data-state=speaking] >> text=ana")
        assert page.evaluate(LOUDEST_HZ) == pytest.approx(TONE_HZ, abs=10)
        assert page.evaluate(OF_ALL_EARS, "paused") == [False] * 4 + [True]  # and the mix
        page.wait_for_selector(".chip >> text=Live now · 2 people")
        page.get_by_label("Volume").fill("35")
        assert page.evaluate(OF_ALL_EARS, "volume") == [0.35] * 5
        page.get_by_role("button", name="Stop listening").click()
        page.wait_for_selector("#listen")
        comes_to(its, "tea", 1)


def test_of_two_who_speak_each_face_lights_for_its_own_voice(browser, its):
    with (
        speaking(its, "duet", "ana"),
        speaking(its, "duet", "ben", loud=0),
        page_of(browser, its, "duet") as page,
    ):
        page.click("#listen")
        page.wait_for_selector(".seat[data-state=speaking] >> text=ana")
        page.wait_for_timeout(1_000)  # ben would have lit by then
        assert page.locator(".seat[data-state=speaking]").count() == 1


def test_a_page_that_is_closed_leaves_the_room(browser, its):
    with page_of(browser, its, "short") as page:
        page.click("#listen")
        page.wait_for_selector(LISTENS)
        comes_to(its, "short", 1)
        page.goto("about:blank")
        comes_to(its, "short", 0)


@pytest.mark.nightly
def test_the_sound_comes_back_by_itself(browser):
    """The relay's process with the sound dies, and with it every line."""
    with relay() as its, page_of(browser, its, "tea", route=lambda each: each.continue_()) as page:
        page.click("#listen")
        page.wait_for_selector(LISTENS)
        os.kill(its.facts["media_pids"][0], signal.SIGKILL)
        page.wait_for_selector(".banner", timeout=60_000)
        page.wait_for_selector(LISTENS, timeout=60_000)
        page.wait_for_selector(".banner", state="detached")
        assert its.now("tea")["people"] == 1


@pytest.mark.nightly
def test_a_line_that_is_cut_off_for_some_seconds_is_found_again_and_not_made_anew(browser):
    """The relay's process with the sound stands still: what a walk between two Wi-Fis is like."""
    with relay() as its, page_of(browser, its, "tea", route=lambda each: each.continue_()) as page:
        asked_for: list[tuple[str, int]] = []
        page.click("#listen")
        page.wait_for_selector(LISTENS)
        page.on("response", lambda its: asked_for.append((its.request.method, its.status)))
        (media,) = its.facts["media_pids"]
        os.kill(media, signal.SIGSTOP)
        page.wait_for_selector(".banner >> text=Finding the room again", timeout=30_000)
        os.kill(media, signal.SIGCONT)
        page.wait_for_selector(LISTENS, timeout=30_000)
        assert ("PATCH", 200) in asked_for
        assert ("POST", 201) not in asked_for


# ── what can go wrong ────────────────────────────────────────────────────────────────────────


def answers(status: int, **headers: str) -> Callable[[Any], None]:
    return lambda route: route.fulfill(status=status, headers=headers, body="no")


def without_udp(route: Any) -> None:  # noqa: ANN401 - playwright
    """The answer leads to a port where nobody is: what a network that drops UDP looks like."""
    if route.request.method != "POST":
        route.continue_()
        return
    answer = route.fetch()
    text = re.sub(r"udp (\d+) (\S+) \d+ typ", r"udp \1 \2 9 typ", answer.text())
    route.fulfill(response=answer, body=text)


TROUBLES = {
    "full": (answers(503, **{"retry-after": "30"}), "no place left", "n’a plus de place"),
    "asks": (answers(401), "by invitation", "sur invitation"),
    "over": (answers(404), "The room has ended.", "Le salon est fermé."),
    "unreachable": (lambda each: each.abort(), "does not answer", "ne répond pas"),
    "blocked": (without_udp, "lets no sound through", "ne laisse pas passer"),
}


LONG = "blocked"  # ICE gives up twice; the next test waits for that once


@pytest.mark.parametrize(
    "trouble",
    [pytest.param(each, marks=pytest.mark.nightly if each == LONG else ()) for each in TROUBLES],
)
def test_what_goes_wrong_is_said_in_words_and_looks_right(browser, its, trouble):
    route, *words = TROUBLES[trouble]
    found = []
    for at, (width, locale) in enumerate(((360, "fr"), (1280, "en"))):
        scheme = ("light", "dark")[at]
        with page_of(
            browser, its, "tea", width=width, locale=locale, scheme=scheme, route=route
        ) as page:
            page.click("#listen")
            word = words[locale == "fr"]
            page.wait_for_selector(f".banner >> text={word}", timeout=20_000)
            kept(page, f"{trouble}-{width}-{scheme}-{locale}")
            found += violations(page, f"{trouble} {width}")
    assert found == []


def test_who_is_told_that_no_sound_comes_through_may_try_again(browser, its):
    with page_of(browser, its, "tea", route=without_udp) as page:
        page.click("#listen")
        page.wait_for_selector("[role=alert] >> text=lets no sound through", timeout=20_000)
        page.unroute("**/whep/**")
        page.get_by_role("button", name="Try again").click()
        page.wait_for_selector(LISTENS)


@pytest.mark.nightly
def test_where_no_voice_arrives_one_hears_a_mix_of_them(browser, its):
    with (
        speaking(its, "tea", "ana"),
        page_of(browser, its, "tea", route=without_udp) as page,
    ):
        page.unroute("**/listen.webm")
        page.click("#listen")
        page.wait_for_selector(f"{LISTENS} >> text=all of them as one", timeout=20_000)
        heard = page.evaluate(LOUDEST_HZ.replace("ear.srcObject", "ear.captureStream()"))
        assert heard == pytest.approx(TONE_HZ, abs=10)
        page.get_by_role("button", name="Stop listening").click()
        page.wait_for_selector("#listen")
        assert page.evaluate(OF_ALL_EARS, "paused") == [True] * 5


def test_a_room_that_is_not_there_says_so(browser, its):
    with page_of(browser, its, "tea", route=lambda each: each.continue_()) as page:
        page.route("**/r/tea/n*", answers(404))
        page.reload()
        page.wait_for_selector("h1 >> text=The room has ended.")
        assert page.locator("#listen").count() == 0


# ── what it looks like ───────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("width", "scheme", "locale"), list(product((360, 1280), ("light", "dark"), ("en", "fr")))
)
def test_the_page_before_and_while_one_listens_looks_right(browser, its, width, scheme, locale):
    found = []
    for name in ("Ana", "Vera", "Fatou"):
        asked("POST", f"{its.http}/whip/night/{name}", SPEAK, content_type="application/sdp")
    with page_of(browser, its, "night", width=width, scheme=scheme, locale=locale) as page:
        page.wait_for_selector(".stage")
        kept(page, f"idle-{width}-{scheme}-{locale}")
        found += violations(page, "idle")
        page.click("#listen")
        page.wait_for_selector(LISTENS)
        kept(page, f"listening-{width}-{scheme}-{locale}")
        found += violations(page, "listening")
    assert found == []


def test_the_language_can_be_changed_and_is_kept(browser, its):
    with page_of(browser, its, "tea") as page:
        page.get_by_role("button", name="Français").click()
        page.wait_for_selector("text=Écouter maintenant")
        assert page.get_attribute("html", "lang") == "fr"
        page.reload()
        page.wait_for_selector("text=Écouter maintenant")


def test_the_page_can_be_installed_under_the_name_of_its_room(browser, its):
    with page_of(browser, its, "tea") as page:
        href = page.get_attribute("link[rel=manifest]", "href")
        manifest = page.evaluate(f"fetch('{href}').then((answer) => answer.json())")
        assert (manifest["short_name"], manifest["start_url"]) == ("tea", "/r/tea")
        assert (
            page.evaluate(f"fetch('{manifest['icons'][0]['src']}').then((its) => its.status)")
            == 200
        )


def kept(page: Any, name: str) -> None:  # noqa: ANN401 - playwright
    """A picture for who wants to look: P2PHOUSE_SHOTS names the folder."""
    if folder := os.environ.get("P2PHOUSE_SHOTS"):
        page.screenshot(path=f"{folder}/{name}.png")


def test_where_a_relay_has_no_place_its_page_goes_on_at_another_that_has_the_room(browser, its):
    asked_at: list[str] = []

    def full(route: Any) -> None:  # noqa: ANN401 - playwright
        if "/whep/tea" in route.request.url:
            route.fulfill(status=307, headers={"location": "http://127.0.0.1:9/whep/tea"})
        else:
            asked_at.append(route.request.url)
            route.continue_()

    there = f"{its.http}/r/song?sent-on"
    with page_of(browser, its, "tea", route=full) as page:
        page.route(
            "**/r/tea/elsewhere",
            lambda each: each.fulfill(status=307, headers={"location": there}),
        )
        page.get_by_role("button", name="Listen now").click()
        page.wait_for_url(there)
        page.wait_for_selector(f"#listen, {LISTENS}")
        if page.locator("#listen").is_visible():
            page.locator("#listen").click()
        page.wait_for_selector(LISTENS)
    assert asked_at[0] == f"{its.http}/whep/song?sent-on", "who was sent on says so"
