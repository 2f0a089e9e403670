"""A page at a stand-in of a node: the rooms it shows, and what tests ask of it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.browser.chromium import axe
from tests.browser.stand_in import StandIn, person, said

GRANTED = "--use-fake-ui-for-media-stream"
RUNS = ["title", "lock", "unlock", "end", "mute_all", "unmute_all", "hand", "step_down", "react"]
RUNS += ["chat", "mods", "pin", "unsay", "chat_mode", "invite_link", "lobby", "access"]
ACTS = ["invite", "audience", "mute", "unmute", "remove", "ban", "revoke", "lower_hand"]
ACTS += ["grant_moderator", "grant_host"]
LISTENS = {"on_stage": False, "role": "listener"}


@contextmanager
def tab(browser, node, width=1280, scheme="light", locale="en", **options) -> Iterator[Any]:
    """The page, arrived; it may not complain of anything."""
    size = {"width": width, "height": 780}
    context = browser.new_context(viewport=size, color_scheme=scheme, locale=locale, **options)
    page = context.new_page()
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda told: complaints.extend([told.text] * (told.type == "error")))
    page.goto(node.address())
    page.wait_for_selector("main h1")
    yield page
    context.close()
    assert complaints == []


def run_by(node: StandIn, **room) -> None:
    """Ana runs a room with people in every state."""
    node.enter(
        person("ana", level="creator"),
        person("vera", level="moderator", may=ACTS),
        person("ben", muted=False, may=ACTS),
        person("zoe", role="muted", may=ACTS),
        person("wen", **LISTENS, hand={"topic": "A song", "place": 1}, may=ACTS),
        person("emre", **LISTENS, may=ACTS),
        **{"title": "Night ferry", "may": RUNS, "stage": "invited"} | room,
    )
    by = {"id": "1", "act": "role", "value": "muted", "by": person("vera")["key_tag"]}
    node.answers["why"] = {"entries": [by]}
    node.answers["qr"] = {"size": 21, "rows": ["10" * 10 + "1"] * 21}
    node.answers["lobby"] = {"people": [{**person("rosa"), "waits_s": 70}]}
    node.chat = {
        "messages": [
            said(1, "ben", "Which one is it?"),
            said(2, "ana", "The second.", mine=True),
            said(3, "wen", "", deleted=True),
            said(4, "emre", "Look: https://songs.example.org/a"),
        ],
        "pins": [{"id": "p1", "text": "Song sheet https://songs.example.org/sheet"}],
        "mods": [said(5, "vera", "Shall we let Rosa in?")],
        "mode": "on",
    }


def listened_to(node: StandIn, **facts) -> None:
    """Ana listens to a room that Ben runs."""
    node.enter(
        person("ana", **LISTENS | facts),
        person("ben", level="creator", muted=False),
        title="Night ferry",
        may=["hand", "react", "chat", "accept", "decline"],
        stage="invited",
    )


def seat(page, name):
    return page.locator(f'[data-peer="12D3{name}"]')


def asked(page, node, verb, **values):
    """The last question with that verb, and with these values if any; waits for one."""
    page.wait_for_timeout(50)  # what a click asks may come after what was asked before
    for _ in range(200):
        found = [each for each in node.asked_of(verb) if not values or each == values]
        if found:
            return found[-1]
        page.wait_for_timeout(25)  # no event comes from the node's side
    raise AssertionError(f"nobody asked {verb} {values}")


def violations(page, what: str) -> list[Any]:
    found = [
        (what, each["id"], [its["html"] for its in each["nodes"]])
        for each in axe().run(page).response["violations"]
    ]
    if page.evaluate("document.documentElement.scrollWidth > innerWidth"):
        found.append((what, "wider", []))
    return found
