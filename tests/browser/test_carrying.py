"""Who carries a room and at what cost, and what the doctor says: as a person sees and sets it."""

from typing import Any

import pytest

from tests.browser.screens import LISTENS, asked, run_by, tab, violations
from tests.browser.stand_in import Refused, person

pytestmark = [pytest.mark.browser]
LISTENER = LISTENS | {"link": "carried"}


def carrier(name, **facts):
    return {"peer_id": f"12D3{name}", "name": name.title(), "me": False} | facts


def carry(node, hub, standby=None, **facts):
    """From now on that member carries the room."""
    assert node.room is not None
    node.room |= {"shape": "hub", "shape_why": "people", "carried_why": "nearest"}
    node.room |= {"hub": hub, "standby": standby, "carried_text": "now carried"} | facts
    node.happen("carried_by", text="now carried")


def crowd(node, people, listed, **room):
    """Ana runs a room of that many, of whom the node lists so many."""
    listeners = [
        person(f"l{at}", **LISTENER) | {"peer_id": f"12D3l{at}", "name": f"L{at}"}
        for at in range(listed - 3)
    ]
    node.enter(
        person("ana", level="creator"), person("ben"), person("vera"), *listeners, title="Choir"
    )
    assert node.room is not None
    node.room |= {"people": people, "stage": "invited"} | room


def test_who_carries_the_room_and_why_is_said_once_and_stands_in_the_room(browser, node):
    run_by(node)
    with tab(browser, node) as page:
        page.wait_for_selector(".badges >> text=Direct between all 6")
        carry(node, carrier("ben"), carrier("vera"))
        page.wait_for_selector(".banner.good >> text=Ben’s laptop now carries the room")
        chip = page.locator(".chip", has_text="Carried by Ben")
        assert "too many people here" in chip.get_attribute("title")
        chip.click()
        page.wait_for_selector("#said-direct:focus >> text=Ben is nearest to most people here.")
        page.wait_for_selector("#said-direct >> text=If Ben’s laptop stops, Vera takes over")
        page.wait_for_selector(".hidden[role=status] >> text=Ben’s laptop now carries the room")


@pytest.mark.nightly  # six seconds
def test_a_good_word_leaves_by_itself(browser, node):
    run_by(node)
    with tab(browser, node) as page:
        page.wait_for_selector(".badges >> text=Direct between all 6")
        carry(node, carrier("ben"))
        page.wait_for_selector(".banner.good")
        page.wait_for_selector(".banner.good", state="detached", timeout=10_000)


def test_a_reason_that_the_page_does_not_know_is_told_in_the_words_of_the_node(browser, node):
    run_by(node)
    carry(node, carrier("ben"), shape_why="moon", carried_why="moon", carried_text="Full moon.")
    with tab(browser, node) as page:
        assert page.locator(".chip", has_text="By Ben").get_attribute("title") == "Full moon."


def test_in_a_network_without_udp_it_is_said_that_sound_goes_round(browser, node):
    run_by(node)
    relay = {"peer_id": "12D3relay", "name": "Relay", "relay": True, "tunnelled": True}
    node.members.append(person("relay") | {"link": "connected"} | relay)
    carry(node, carrier("relay"))
    with tab(browser, node) as page:
        page.locator(".chip", has_text="Carried by Relay").click()
        page.wait_for_selector("#said-direct >> text=sound goes through HTTPS")


def test_a_carrier_that_left_and_a_room_that_is_direct_again_are_said_in_french(browser, node):
    run_by(node)
    carry(node, carrier("emre"))
    with tab(browser, node, locale="fr") as page:
        page.wait_for_selector(".badges >> text=Porté par Emre")
        node.members = [each for each in node.members if each["name"] != "Emre"]
        carry(node, carrier("vera"))
        page.wait_for_selector(".banner >> text=L’ordinateur d’Emre est parti, celui de Vera")
        assert node.room is not None
        node.room |= {"shape": "mesh", "hub": None, "standby": None}
        node.happen("carried_by")
        page.wait_for_selector(".banner >> text=Les voix vont de nouveau droit")


def test_who_carries_sees_how_many_and_how_much_and_can_stop(browser, node):
    crowd(node, 13, 13)
    carry(node, carrier("ana", me=True), carrying={"people": 12, "kbps": 1_240})
    with tab(browser, node) as page:
        switch = page.get_by_role("switch", name="You carry this room: 12 people, 1.2 Mb/s")
        assert switch.is_checked()
        switch.click()
        asked(page, node, "carry", choice="never")


def test_a_room_that_needs_a_relay_says_what_oneself_can_do(browser, node):
    run_by(node, needs_relay=True)
    answer = node.answers["carry"]
    assert isinstance(answer, dict)
    node.answers["carry"] = answer | {"carry": "never"}
    with tab(browser, node) as page:
        page.wait_for_selector(".banner >> text=This room needs a relay.")
        page.wait_for_selector(".banner >> text=Nobody here can carry 6 people.")
        page.get_by_role("button", name="Carry it from here").click()
        asked(page, node, "carry", choice="auto")
        node.answers["carry"] = answer | {"on_mains": False}
        node.happen("needs_relay")
        page.wait_for_selector(".banner >> text=Plug this machine in")


@pytest.mark.parametrize(("width", "shown"), [(360, 20), (1280, 36)])
def test_of_a_large_audience_there_are_faces_and_a_count(browser, node, width, shown):
    crowd(node, 203, 150)
    carry(node, carrier("ben"))
    with tab(browser, node, width) as page:
        page.wait_for_selector("#audience-title >> text=200")
        assert page.locator(".audience > li").count() == shown
        page.wait_for_selector(f"text=and {200 - shown} more")
        assert page.locator(".audience [data-state=connecting]").count() == 0


FINDINGS = [
    {"what": "moon", "ok": False, "text": "The moon is full.", "next": "Wait a week."},
    {"what": "sun", "ok": True, "text": "The sun shines.", "next": "No need."},
    {"what": "stars", "ok": None, "text": "Nobody knows.", "next": "Look up."},
]


def test_the_doctor_says_what_is_wrong_first_and_what_helps(browser, node):
    node.me |= {"name": "Ana"}
    node.answers["doctor"] = {"findings": FINDINGS}
    with tab(browser, node) as page:
        page.get_by_role("button", name="Check my connection").click()
        page.wait_for_selector(".banner.warn >> text=The moon is full.")
        page.wait_for_selector(".banner.warn >> text=Wait a week.")
        looks = page.eval_on_selector_all(".checks li", "all => all.map(each => each.dataset.ok)")
        assert looks == ["false", "true", "null"]
        page.wait_for_selector(".checks >> text=Look up.")
        assert page.locator(".checks >> text=No need.").count() == 0
        node.answers["doctor"] = {"findings": FINDINGS[1:]}
        page.get_by_role("button", name="Check again").click()
        page.wait_for_selector(".banner.warn", state="detached")


def test_the_doctor_speaks_french_where_the_page_has_words_and_says_where_not(browser, node):
    node.me |= {"name": "Ana"}
    known = {"what": "isolation", "ok": False, "text": "This Wi-Fi keeps…", "next": "Use…"}
    node.answers["doctor"] = {"findings": [known, FINDINGS[0]]}
    with tab(browser, node, 768, locale="fr") as page:
        page.locator(".shelf-line button").click()
        page.wait_for_selector(
            ".banner.warn >> text=Ce Wi‑Fi isole les appareils, ou un pare-feu le fait."
        )
        page.wait_for_selector(".checks >> text=Prenez un autre Wi‑Fi")
        page.wait_for_selector(".checks [lang=en] >> text=The moon is full.")


def test_a_join_that_failed_leads_to_the_doctor(browser, node):
    node.me |= {"name": "Ana"}
    node.answers["join"] = Refused(text="Nobody answered at that address.")
    with tab(browser, node, 360) as page:
        page.get_by_role("button", name="Join by link").click()
        page.get_by_label("Link, room id").fill("p2ph:AAAA")
        page.keyboard.press("Enter")
        page.wait_for_selector("dialog [role=alert] >> text=Nobody answered")
        page.locator("dialog").get_by_role("button", name="Check my connection").click()
        page.wait_for_selector("h1 >> text=Doctor")


def test_whether_one_carries_others_is_chosen_under_doctor(browser, node):
    node.me |= {"name": "Ana"}
    with tab(browser, node, 360) as page:
        page.get_by_role("button", name="Sound").click()
        page.locator(".leads").click()
        page.wait_for_selector("text=up to 5 Mb/s, about 30 people")
        page.get_by_label("Limit").fill("3")
        asked(page, node, "carry", cap_kbps=10_000)
        page.get_by_role("switch", name="What I send here costs money").click()
        asked(page, node, "carry", metered="yes")
        page.get_by_role("switch", name="Carry the voices of others").click()
        asked(page, node, "carry", choice="never")


def test_a_room_in_which_nobody_answered_is_shown_grey_and_says_so(browser, node):
    node.me |= {"name": "Ana"}
    seen: dict[str, Any] = {"title": "Tea", "host": "aaaa-bbbb", "host_uid": "33" * 32}
    seen |= {"access": "open", "people": 3, "age_s": 70}
    node.rooms = [seen | {"room": f"{at}" * 64, "ghost": at == 1} for at in range(2)]
    with tab(browser, node) as page:
        page.wait_for_selector(".card.ghost >> text=Nobody answered")
        assert page.locator(".card.room").count() == 2
        assert page.locator(".card.ghost").count() == 1


@pytest.mark.parametrize(
    ("locale", "width", "scheme"),
    [
        ("fr", 360, "dark"),
        pytest.param("en", 1280, "light", marks=pytest.mark.nightly),
        pytest.param("fr", 768, "light", marks=pytest.mark.nightly),
        pytest.param("fr", 320, "light", marks=pytest.mark.nightly),
    ],
)
def test_what_is_carried_can_be_read_and_reached(browser, node, locale, width, scheme):
    node.answers["doctor"] = {"findings": FINDINGS}
    crowd(node, 203, 150, needs_relay=True)
    carry(node, carrier("ana", me=True), carrying={"people": 202, "kbps": 5_000})
    with tab(browser, node, width, scheme, locale, reduced_motion="reduce") as page:
        page.wait_for_selector(".banner.warn")
        wrong = violations(page, "carrying")
        assert node.room is not None
        node.room |= {"needs_relay": False}
        carry(node, carrier("ben"))
        page.wait_for_selector(".banner.good")
        wrong += violations(page, "toast")
        page.evaluate("document.querySelector('.crumb').click()")
        node.rooms = [
            {"room": "12" * 32, "title": "Tea", "host": "aaaa-bbbb", "host_uid": "33" * 32}
            | {"access": "open", "people": 3, "age_s": 70, "ghost": True}
        ]
        node.happen("room_seen")
        page.wait_for_selector(".ghost")
        wrong += violations(page, "hallway")
        page.locator(".shelf-line button").click()
        page.wait_for_selector(".checks")
        wrong += violations(page, "doctor")
    assert wrong == []
