"""The page of a room of nodes for somebody with only a browser: what it shows, and what it says.

What the room is like a test says (guest_room.py); the way from there to the page is the real one.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import product
from typing import Any

import pytest

from p2phouse.guest.facts import Reaction, SealedRoom
from tests.browser.chromium import chromium
from tests.browser.guest_room import FERRY, INVITE, GuestRoom, guest_room, seat, word
from tests.browser.listening import LISTENS
from tests.browser.screens import violations

pytestmark = [pytest.mark.browser]

LAN = "lan.example"  # a name that is no secure context, as an address on a LAN is none


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium(f"--host-resolver-rules=MAP {LAN} 127.0.0.1") as its:
        yield its


@pytest.fixture(scope="module")
def its() -> Iterator[GuestRoom]:
    with guest_room() as made:
        yield made


@contextmanager
def page_of(
    browser: Any,  # noqa: ANN401 - playwright
    its: GuestRoom,
    *,
    width: int = 1280,
    scheme: str = "light",
    host: str = "127.0.0.1",
    **options: Any,  # noqa: ANN401 - playwright
) -> Iterator[Any]:
    size = {"width": width, "height": 780}
    context = browser.new_context(viewport=size, color_scheme=scheme, **options)
    page = context.new_page()
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(f"http://{host}:{its.relay.http_port}/r/{its.name}")
    page.wait_for_selector("main h1")
    yield page
    context.close()
    assert complaints == []


def test_who_comes_sees_the_room_as_its_members_do(browser, its):
    its.show(FERRY)
    with page_of(browser, its) as page:
        page.wait_for_selector("h1 >> text=Night ferry")
        assert page.title().startswith("Night ferry")
        page.wait_for_selector(".chip >> text=Live now · 42 people")
        page.wait_for_selector("text=hosted by Ana")
        states = page.eval_on_selector_all(".seat", "all => all.map((its) => its.dataset.state)")
        assert states == ["quiet", "quiet", "quiet", "muted", "muted-by"]
        page.wait_for_selector("text=37 listen")
        page.wait_for_selector("text=Wen, Rosa want to speak")
        assert page.get_attribute(".pins a", "href") == "https://songs.example.org/sheet"
        page.wait_for_selector("text=Radio Libre carries it, can listen too")
        its.show(replace(FERRY, stage=FERRY.stage[:1], listeners=41, hands=()))
        page.wait_for_selector(".seat:only-child >> text=Ana")
        page.wait_for_selector("text=41 listen")


def test_what_is_written_comes_as_it_is_written_and_the_list_stays_at_its_end(browser, its):
    many = tuple(word(number, "Zoé", f"word {number}") for number in range(40))
    its.show(replace(FERRY, chat=many))
    last = "document.querySelector('.messages').lastElementChild.getBoundingClientRect().bottom"
    end = "document.querySelector('.messages').getBoundingClientRect().bottom"
    with page_of(browser, its) as page:
        page.wait_for_selector(".message >> text=word 39")
        hostile = word(40, "Mallory", "<img src=x onerror=alert(1)> last")
        its.show(replace(FERRY, chat=(*many, hostile)))
        page.wait_for_selector(".message >> text=<img src=x onerror=alert(1)> last")
        assert page.evaluate(f"{last} <= {end} + 1")
        page.evaluate("document.querySelector('.messages').scrollTop = 0")
        page.wait_for_timeout(50)
        its.show(replace(FERRY, chat=(*many, hostile, word(41, "Ana", "behind it"))))
        page.get_by_role("button", name="1 new").click()
        assert page.evaluate(f"{last} <= {end} + 1")


# All that ever rises and where, however soon it is gone again: by whom, what, and how it moves.
RISEN = """() => {
  window.risen = [];
  const known = new WeakSet();
  new MutationObserver(() => document.querySelectorAll(".rising i").forEach((each) => {
    if (known.has(each)) return;
    known.add(each);
    const seat = each.closest(".seat");
    const who = seat ? seat.querySelector("b > span").textContent : "";
    risen.push([who, each.textContent, getComputedStyle(each).animationName].join(" "));
  })).observe(document.body, {childList: true, subtree: true});
}"""


def test_reactions_rise_once_each_over_who_sent_them(browser, its):
    before = Reaction(7, FERRY.stage[0].tag, "👏")
    its.show(replace(FERRY, reactions=(before,)))
    with page_of(browser, its, reduced_motion="reduce") as page:
        page.wait_for_selector(".stage")
        page.evaluate(RISEN)
        mine = Reaction(8, FERRY.stage[1].tag, "❤️")
        theirs = Reaction(9, "nobody", "🎉")
        its.show(replace(FERRY, reactions=(before, mine, theirs)))
        page.wait_for_function("() => risen.some((each) => each.includes('🎉'))")
        page.wait_for_function("() => risen.some((each) => each.includes('❤️'))")
        risen = page.evaluate("() => risen")
        # What somebody sent in the half second before we came may be told as new to us.
        assert sorted(set(risen) - {"Ana 👏 none"}) == [" 🎉 none", "Vera ❤️ none"]
        assert len(set(risen)) == len(risen)


def test_a_sealed_room_says_how_to_come_in_and_nothing_of_itself(browser, its):
    its.show(SealedRoom(INVITE))
    with page_of(browser, its) as page:
        page.wait_for_selector("h1 >> text=This room is sealed")
        assert page.inner_text("#invite") == INVITE
        page.get_by_role("img", name="The link as a QR code").wait_for()
        assert page.locator("#listen").count() == 0
        assert "Night ferry" not in page.content()


def test_who_listens_is_a_guest_and_a_telephone_shows_of_what(browser, its):
    its.show(FERRY)
    with page_of(browser, its) as page:
        page.click("#listen")
        page.wait_for_selector(LISTENS)
        page.wait_for_selector("text=1 guest via Radio Libre")
        assert page.evaluate("navigator.mediaSession.metadata.title") == FERRY.title
        assert page.evaluate("navigator.mediaSession.metadata.artist") == "Radio Libre"
        its.end()
        page.wait_for_selector(".banner >> text=The room has ended.")
        page.wait_for_selector("h1 >> text=Night ferry")
        assert page.locator(".controls").count() == 0


@pytest.mark.nightly
def test_who_listened_to_a_room_that_ended_hears_it_when_it_is_back(browser, its):
    its.show(FERRY)
    with page_of(browser, its) as page:
        page.click("#listen")
        page.wait_for_selector(LISTENS)
        its.end()
        page.wait_for_selector(".banner >> text=The room has ended.")
        its.show(FERRY)
        page.wait_for_selector(LISTENS, timeout=30_000)
        assert its.listeners() == 1


def test_where_the_browser_holds_the_sound_back_one_button_lets_it_go(browser, its):
    its.show(FERRY)
    with page_of(browser, its) as page:
        page.evaluate("""() => {
          window.plays = HTMLMediaElement.prototype.play;
          HTMLMediaElement.prototype.play = () =>
            Promise.reject(new DOMException("", "NotAllowedError"));
        }""")
        page.click("#listen")
        page.wait_for_selector("text=Your browser is holding the sound back.")
        page.evaluate("() => { HTMLMediaElement.prototype.play = window.plays; }")
        page.get_by_role("button", name="Let me hear").click()
        page.wait_for_selector(LISTENS)


def test_a_full_relay_is_asked_again_until_it_has_a_place(browser, its):
    its.show(FERRY)
    with page_of(browser, its) as page:
        full = {"status": 503, "headers": {"retry-after": "1"}, "body": "full"}
        page.route("**/whep/**", lambda each: each.fulfill(**full))
        page.click("#listen")
        page.wait_for_selector(".banner >> text=We keep asking.")
        page.unroute("**/whep/**")
        page.wait_for_selector(LISTENS)


@pytest.mark.nightly
def test_a_page_that_hears_nothing_of_its_relay_says_so_until_it_does(browser, its):
    its.show(FERRY)
    with page_of(browser, its) as page:
        page.route("**/r/*/n*", lambda each: each.abort())
        page.reload()
        page.wait_for_selector("text=The relay does not answer.")
        page.unroute("**/r/*/n*")
        page.wait_for_selector("h1 >> text=Night ferry")
        assert page.get_by_text("The relay does not answer.").count() == 0


def test_on_a_page_that_is_not_secure_all_of_it_works(browser, its):
    its.show(FERRY)
    with page_of(browser, its, host=LAN) as page:
        assert page.evaluate("isSecureContext") is False
        page.wait_for_selector(".seat svg rect")  # faces are drawn
        page.click("#listen")
        page.wait_for_selector(LISTENS)
        page.click(".take summary")
        assert page.inner_text("#invite") == INVITE
        assert page.get_by_role("button", name="Copy the link").count() == 0


def test_chromium_would_install_it_under_its_title(browser, its):
    its.show(FERRY)
    with page_of(browser, its) as page:
        page.wait_for_selector("link[rel=manifest]", state="attached")
        devtools = page.context.new_cdp_session(page)
        found = devtools.send("Page.getInstallabilityErrors")["installabilityErrors"]
        assert [each for each in found if each["errorId"] != "in-incognito"] == []
        manifest = devtools.send("Page.getAppManifest")
        assert manifest["errors"] == []
        assert f'"short_name": "{FERRY.title}"' in manifest["data"]


# ── what it looks like ───────────────────────────────────────────────────────────────────────

CROWD = replace(
    FERRY,
    stage=tuple(seat(f"Person {at}", muted="self" if at % 2 else "") for at in range(16)),
    hands=tuple(FERRY.hands) * 3,
)
STATES = {
    "live": (FERRY, "text=hosted by Ana"),
    "crowd": (CROWD, ".stage.many"),
    "silent": (replace(FERRY, stage=(), chat=(), pins=(), hands=()), ".audience-line"),
    "no-chat": (replace(FERRY, chat=None), ".talk"),
    "sealed": (SealedRoom(INVITE), "#invite"),
    "sealed-alone": (SealedRoom(), "main h1"),
}


@pytest.mark.nightly
@pytest.mark.parametrize(
    ("width", "scheme"), list(product((360, 768, 1280), ("light", "dark"))), ids=str
)
def test_every_state_looks_right_at_every_width(browser, its, width, scheme):
    found = []
    locale = "fr" if scheme == "light" else "en"
    for name, (facts, selector) in STATES.items():
        its.show(facts)
        with page_of(browser, its, width=width, scheme=scheme, locale="en") as page:
            page.wait_for_selector(selector)
            if locale == "fr":
                page.get_by_role("button", name="Français").click()
            look(page, f"{name}-{width}-{scheme}")
            found += violations(page, name)
            if name == "live":
                page.click("#listen")
                page.wait_for_selector(LISTENS)
                page.click(".take summary")
                look(page, f"listening-{width}-{scheme}")
                found += violations(page, "listening")
                its.end()
                page.wait_for_selector(".banner")
                look(page, f"over-{width}-{scheme}")
                found += violations(page, "over")
    assert found == []


def look(page: Any, name: str) -> None:  # noqa: ANN401 - playwright
    """A picture for who wants to look: P2PHOUSE_SHOTS names the folder."""
    if folder := os.environ.get("P2PHOUSE_SHOTS"):
        page.screenshot(path=f"{folder}/{name}.png", full_page=True)
