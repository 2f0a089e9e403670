"""Relays in the page: each agreed to once by its policy, and whom a new room is given to."""

from typing import Any

import pytest

from tests.browser.screens import asked, tab, violations
from tests.browser.stand_in import Refused, person

pytestmark = [pytest.mark.browser]


def relay(name: str, **facts: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    said: dict[str, Any] = {
        "who": "the choir",
        "where": "Saint-Malo",
        "logs": "no names",
        "rules": "",
        "price": "",
    }
    said |= {"contact": "a@a.example", "admits": "listed", "rooms_each": 2, "listeners": 200}
    return {"at": f"{name}.example:17472", "name": name.title(), **said} | facts


@pytest.mark.parametrize(
    ("locale", "width"), [("en", 1280), pytest.param("fr", 320, marks=pytest.mark.nightly)]
)
def test_a_relay_is_kept_once_its_policy_was_agreed_to_and_removed(browser, node, locale, width):
    node.answers |= {"relays": {"relays": []}, "relay_look": relay("choir")}
    node.me["mouth"] = "page"
    with tab(browser, node, width, locale=locale) as page:
        page.locator(".place:visible").nth(1).click()
        card = page.locator("section", has=page.locator("#relays-title"))
        card.locator("input").fill(" https://choir.example ")
        card.locator("form button").click()
        card.locator(".policy >> text=Saint-Malo").wait_for()
        assert asked(page, node, "relay_look") == {"relay": "https://choir.example"}
        assert node.asked_of("relay_add") == [], "not before the person has agreed"
        assert violations(page, "policy of a relay") == []
        node.answers["relays"] = {"relays": [relay("choir")]}
        card.locator(".button.go").click()
        card.locator("li >> text=choir.example:17472").wait_for()
        assert len(node.asked_of("relay_add")) == 1
        node.answers["relays"] = {"relays": []}
        card.locator("li button").click()
        card.locator("li").wait_for(state="detached")
        assert asked(page, node, "relay_remove") == {"relay": "choir.example:17472"}
        node.answers["relay_look"] = Refused(text="The certificate of choir.example has run out.")
        card.locator("input").fill("https://choir.example")
        card.locator("form button").click()
        card.locator("[role=alert] >> text=has run out").wait_for()


def test_a_room_is_given_to_a_relay_that_one_knows_and_a_refusal_is_said_in_the_room(browser, node):
    node.answers["relays"] = {"relays": [relay("choir")]}
    with tab(browser, node) as page:
        page.locator(".head .go").click()
        dialog = page.locator("dialog")
        dialog.locator("input").first.fill("Tea")
        dialog.locator("select").select_option("choir.example:17472")
        dialog.get_by_text("This network only").click()
        dialog.locator("select").wait_for(state="detached")
        dialog.get_by_text("Anyone").click()
        refused = {"carried": False, "by": "", "text": "it is full", "another": "b.example:1"}
        node.answers["open"] = {"relay": refused}
        node.enter(person("ana", level="creator"))
        dialog.locator(".button.go").click()
        page.wait_for_selector(
            ".banner >> text=choir.example:17472 does not carry the room: it is full."
            " It names another: b.example:1."
        )
        assert asked(page, node, "open")["relay"] == "choir.example:17472"
