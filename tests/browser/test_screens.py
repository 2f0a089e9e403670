"""Every screen of a room, in any state a node can tell of: what it shows, what a hand on it asks.

The node is a stand-in (stand_in.py), so that no state has to be brought about by other people.
"""

from itertools import product
from typing import Any

import pytest

from tests.browser.screens import RUNS, asked, listened_to, run_by, seat, tab, violations
from tests.browser.stand_in import person, said

pytestmark = [pytest.mark.browser]


# ── the stage ────────────────────────────────────────────────────────────────────────────────


def test_stage_and_audience_are_apart_and_those_who_run_the_room_come_first(browser, node):
    run_by(node)
    with tab(browser, node) as page:
        page.wait_for_selector("text=muted by Vera")
        names = "all => all.map(each => each.querySelector('b').innerText)"
        assert page.eval_on_selector_all(".stage > li", names) == ["You", "Vera", "Ben", "Zoe"]
        assert page.eval_on_selector_all(".audience > li", names) == ["Wen", "Emre"]
        labels = "all => all.map(each => each.querySelector('button').getAttribute('aria-label'))"
        you, vera = page.eval_on_selector_all(".stage > li", labels)[:2]
        assert "host" in you
        assert "moderator" in vera
        assert "muted" in vera


def test_h_raises_a_hand_with_a_topic_and_lowers_it_again(browser, node):
    listened_to(node)
    with tab(browser, node) as page:
        page.wait_for_selector("#hand")
        page.keyboard.press("h")
        page.get_by_label("What would you like to say?").fill("hear me")
        page.keyboard.press("Enter")
        page.wait_for_selector("dialog", state="detached")
        assert asked(page, node, "hand") == {"topic": "hear me"}
        node.change("ana", hand={"topic": "hear me", "place": 2})
        page.wait_for_selector("#hand >> text=Lower hand · 2nd")
        page.keyboard.press("h")
        assert asked(page, node, "lower_hand") == {}


def test_who_is_invited_may_come_up_or_not_and_is_told_of_arriving_muted(browser, node):
    listened_to(node, invited=True)
    with tab(browser, node) as page:
        page.wait_for_selector(".banner >> text=You arrive muted.")
        page.get_by_role("button", name="Not now").click()
        asked(page, node, "decline")
        page.locator(".banner").get_by_role("button", name="Come up").click()
        asked(page, node, "accept")
        node.change("ana", invited=False, on_stage=True, role="speaker")
        page.wait_for_selector("#mic[aria-pressed=false]")
        page.wait_for_selector("[role=status] >> text=You are on stage, muted")


def test_who_is_muted_by_a_moderator_sees_by_whom_and_cannot_unmute(browser, node):
    run_by(node)
    with tab(browser, node) as page:
        page.wait_for_selector("#mic[aria-pressed=false]")
        node.change("ana", role="muted")
        page.wait_for_selector("#mic >> text=Muted by Vera")
        page.wait_for_selector("[role=alert] >> text=Vera muted you.")
        page.click("#mic")
        page.keyboard.press("m")
        page.wait_for_timeout(200)
        assert node.asked_of("unmute") == []


def test_hands_stand_in_their_order_and_may_be_invited_from_there(browser, node):
    run_by(node)
    node.change("emre", hand={"topic": "", "place": 2})
    with tab(browser, node) as page:
        page.get_by_role("tab", name="Hands").click()
        rows = page.locator(".hands li")
        assert "Wen" in rows.nth(0).inner_text()
        assert "“A song”" in rows.nth(0).inner_text()
        assert "Emre" in rows.nth(1).inner_text()
        page.get_by_role("button", name="Invite Wen to stage").click()
        assert asked(page, node, "invite") == {"who": "12D3wen"}
        page.get_by_role("button", name="Not now, Emre").click()
        assert asked(page, node, "lower_hand") == {"who": "12D3emre"}
        page.get_by_role("button", name="Lower all").click()
        page.wait_for_timeout(100)
        assert asked(page, node, "lower_hand") == {"who": "*"}


# ── a person ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("words", "confirms", "verb", "values"),
    [
        ("Move to audience", False, "audience", {}),
        ("Mute for everyone", True, "role", {"role": "muted"}),
        ("Remove from the room", True, "role", {"role": "remove"}),
        ("Ban from the room", True, "role", {"role": "ban"}),
        ("Make moderator", True, "grant", {"seat": "moderator"}),
        ("Make co-host", True, "grant", {"seat": "host"}),
        ("Take the seat away", True, "revoke", {}),
    ],
)
def test_what_one_may_do_about_a_person_is_done_at_the_second_tap(
    browser, node, words, confirms, verb, values
):
    run_by(node)
    with tab(browser, node) as page:
        seat(page, "ben").locator("button").click()
        page.locator("dialog").get_by_role("button", name=words).click()
        if confirms:
            assert node.asked_of(verb) == []
            page.locator("dialog .confirm").get_by_role("button", name=words).click()
        assert asked(page, node, verb) == {"who": "12D3ben", **values}


def test_what_one_may_not_do_is_not_offered(browser, node):
    run_by(node)
    node.change("ben", may=["mute"])
    with tab(browser, node) as page:
        seat(page, "ben").locator("button").click()
        page.locator("dialog").get_by_role("button", name="Mute for everyone").wait_for()
        for words in ("Ban", "Remove", "Make moderator", "Move to audience"):
            assert page.locator("dialog").get_by_role("button", name=words).count() == 0


def test_a_person_sheet_starts_at_the_name_and_gives_the_focus_back(browser, node):
    run_by(node)
    with tab(browser, node) as page:
        face = seat(page, "ben").locator("button")
        face.focus()
        page.keyboard.press("Enter")
        page.wait_for_selector("dialog h3:focus")
        page.keyboard.press("Escape")
        page.wait_for_selector("dialog", state="detached")
        page.wait_for_function(
            "document.activeElement.closest('[data-peer]')?.dataset.peer === '12D3ben'"
        )


def test_volume_follow_block_and_report_are_asked_of_the_node(browser, node):
    run_by(node)
    node.answers["report"] = {"file": "/x.cbor", "told": ["Vera"]}
    with tab(browser, node) as page:
        seat(page, "ben").locator("button").click()
        page.get_by_label("Volume for you").fill("150")
        assert asked(page, node, "gain") == {"who": "12D3ben", "percent": 150}
        page.get_by_role("button", name="Follow").click()
        assert asked(page, node, "follow") == {"who": "12D3ben"}
        page.get_by_role("button", name="Report to the moderators").click()
        page.get_by_label("What happened?").fill("shouts")
        page.get_by_role("button", name="Send the report").click()
        assert asked(page, node, "report") == {"who": "12D3ben", "text": "shouts"}
        page.wait_for_selector("text=Sent to Vera.")
        page.get_by_role("button", name="Block for me only").click()
        assert asked(page, node, "block") == {"who": person("ben")["uid"]}


def test_silence_and_forged_speech_are_told_with_their_cause_and_remedy(browser, node):
    run_by(node)
    silence = {"cause": "no_packets", "text": "t", "remedy": "r"}
    node.change("ben", silence=silence)
    node.change("vera", forged=True)
    with tab(browser, node) as page:
        assert seat(page, "ben").get_attribute("data-state") == "silence"
        assert seat(page, "vera").get_attribute("data-state") == "forged"
        seat(page, "ben").locator("button").click()
        page.wait_for_selector("dialog >> text=Nothing comes from them, though they are unmuted.")
        page.wait_for_selector("dialog >> text=Ask them in the chat")


def test_a_cause_that_the_page_does_not_know_is_told_in_the_words_of_the_node(browser, node):
    run_by(node)
    node.change("ben", silence={"cause": "moon", "text": "The moon.", "remedy": "Wait."})
    with tab(browser, node) as page:
        seat(page, "ben").locator("button").click()
        page.wait_for_selector("dialog >> text=The moon.")


# ── what is written ──────────────────────────────────────────────────────────────────────────


def test_the_chat_is_read_written_deleted_and_pinned(browser, node):
    run_by(node)
    with tab(browser, node) as page:
        page.wait_for_selector(".message >> text=Which one is it?")
        assert page.locator(".message").nth(2).inner_text().endswith("Deleted")
        page.get_by_label("Message the room").fill("Hello")
        page.keyboard.press("Enter")
        assert asked(page, node, "chat") == {"text": "Hello"}
        assert node.asked_of("typing")[0] == {"on": True}
        row = page.locator(".message", has_text="The second.")
        row.get_by_role("button", name="What to do").click()
        row.get_by_role("button", name="Delete").click()
        assert asked(page, node, "unsay") == {"message": f"{2:064x}"}
        row = page.locator(".message", has_text="Look:")
        row.get_by_role("button", name="What to do").click()
        row.get_by_role("button", name="Pin").click()
        assert asked(page, node, "pin") == {"text": "Look: https://songs.example.org/a"}
        page.get_by_role("button", name="Unpin").click()
        assert asked(page, node, "unpin") == {"message": "p1"}
        page.get_by_text("Moderators", exact=True).click()
        page.wait_for_selector("text=Shall we let Rosa in?")
        page.get_by_label("Message the moderators").fill("Yes")
        page.keyboard.press("Enter")
        assert asked(page, node, "mods") == {"text": "Yes"}


def test_what_others_write_stays_text_and_only_plain_web_links_are_links(browser, node):
    run_by(node)
    assert node.chat is not None
    node.chat["messages"] = [said(1, "ben", "<b>x</b> https://e.example javascript:alert(1)")]
    node.chat["pins"] = [
        {"id": "a", "text": "javascript:alert(1)"},
        {"id": "b", "text": "data:text/html,<script>alert(1)</script>"},
        {"id": "c", "text": "https://user:word@evil.example/"},
        {"id": "d", "text": "Fine <i>one</i> https://songs.example.org/?a=1&b=<x>"},
    ]
    with tab(browser, node) as page:
        page.wait_for_selector(".message >> text=<b>x</b>")
        links = page.locator("main a, aside a")
        assert links.count() == 1
        assert links.get_attribute("href") == "https://songs.example.org/?a=1&b="
        assert links.get_attribute("rel") == "noopener noreferrer"
        assert links.get_attribute("target") == "_blank"
        assert page.locator(".message img, .message b b, .pins i").count() == 0


def test_slow_mode_and_a_chat_that_is_off_say_so(browser, node):
    run_by(node)
    assert node.chat is not None
    node.chat["mode"] = 30
    with tab(browser, node) as page:
        page.wait_for_selector("text=One message each 30 s")
        node.chat = {**node.chat, "mode": "off", "closed": "The chat is off. Wait for a moderator."}
        node.happen("chat")
        page.wait_for_selector("text=The chat is off. Wait for a moderator.")
        assert page.get_by_label("Message the room").count() == 0


def test_reactions_rise_over_the_face_and_are_sent(browser, node):
    run_by(node)
    with tab(browser, node) as page:
        page.wait_for_selector("#act-react")
        node.happen("reaction", "ben", "<b>!!!!!!!!!")
        seat(page, "ben").locator(".rising i").wait_for()
        assert seat(page, "ben").locator(".rising").inner_text() == "<b>!!!!!"
        page.click("#act-react")
        page.wait_for_selector(".picker button:focus")
        page.keyboard.press("Enter")
        assert asked(page, node, "react") == {"emoji": "👏"}
        page.wait_for_selector("#act-react:focus")
        seat(page, "ana").locator(".rising i").wait_for()


# ── running the room ─────────────────────────────────────────────────────────────────────────


def test_a_room_is_run_from_its_tab(browser, node):
    run_by(node)
    with tab(browser, node) as page:
        page.get_by_role("tab", name="Room").click()
        page.get_by_role("switch", name="Let nobody new in").click()
        asked(page, node, "lock")
        page.get_by_role("button", name="Change the title").click()
        page.get_by_label("What is it about?").fill("Day ferry")
        page.get_by_role("button", name="Save").click()
        assert asked(page, node, "title") == {"title": "Day ferry"}
        page.get_by_role("button", name="Let everyone unmute").click()
        asked(page, node, "unmute_all")
        page.get_by_text("Invited", exact=True).click()
        assert asked(page, node, "access") == {"value": "closed"}
        page.get_by_text("Slow", exact=True).click()
        assert asked(page, node, "chat_mode") == {"mode": 10}
        page.get_by_role("button", name="Mute all").first.click()
        page.get_by_role("button", name="Mute and hold").click()
        assert asked(page, node, "mute_all") == {"lock": True}
        page.get_by_role("button", name="End the room").click()
        assert node.asked_of("end") == []
        page.get_by_role("button", name="End it for everybody").click()
        asked(page, node, "end")


def test_who_waits_at_the_door_is_let_in_or_refused_by_name(browser, node):
    run_by(node, lobby_count=1, access="closed", sealed=True)
    with tab(browser, node) as page:
        page.get_by_role("tab", name="Hands").click()
        page.get_by_role("button", name="Let Rosa in").click()
        assert asked(page, node, "admit") == {"who": "12D3rosa"}
        page.wait_for_selector("[role=status] >> text=Rosa waits at the door")
        page.get_by_role("button", name="Refuse Rosa").click()
        assert asked(page, node, "refuse") == {"who": "12D3rosa"}


def test_who_knocks_waits_and_then_is_in_muted(browser, node):
    node.room, node.members = {"room": "cd" * 32, "title": "Night ferry", "waiting": "lobby"}, []
    with tab(browser, node) as page:
        page.wait_for_selector("text=Waiting at the door.")
        assert page.locator("#mic").count() == 0
        run_by(node, room="cd" * 32)
        page.wait_for_selector("#mic[aria-pressed=false]")
        page.wait_for_selector("[role=status] >> text=You were let in, muted.")


def test_an_invitation_says_how_long_it_leads_in_and_shows_a_code(browser, node):
    run_by(node, access="closed", sealed=True)
    node.answers["invite_link"] = {"link": "p2ph:BBBB", "expires": 1_795_100_000, "once": True}
    with tab(browser, node) as page:
        page.get_by_role("button", name="Share").click()
        page.wait_for_selector("#invite >> text=p2ph:AAAA")
        page.locator("dialog svg.qr").wait_for()
        page.get_by_text("1 hour").click()
        page.get_by_role("switch", name="For one person only").check()
        page.get_by_role("button", name="Make an invitation").click()
        assert asked(page, node, "invite_link") == {"hours": 1, "once": True}
        page.wait_for_selector("#invite >> text=p2ph:BBBB")
        page.wait_for_selector("text=Leads one person in")
        assert node.asked_of("qr")[-1] == {"text": "p2ph:BBBB"}


def test_the_link_of_a_relay_s_page_is_there_to_give_to_who_has_only_a_browser(browser, node):
    run_by(node)
    node.answers["guest_link"] = {"link": "https://relay.example/r/abc"}
    with tab(browser, node) as page:
        page.get_by_role("button", name="Share").click()
        page.wait_for_selector("#invite >> text=p2ph:AAAA")
        page.get_by_text("With a browser").click()
        page.wait_for_selector("#invite >> text=https://relay.example/r/abc")
        page.wait_for_selector("text=can hear it")
        assert asked(page, node, "qr", text="https://relay.example/r/abc")
        assert violations(page, "guest link") == []


def test_one_of_a_crowd_is_found_by_name_and_invited(browser, node):
    run_by(node, people=400)
    far = {each: person("zora")[each] for each in ("name", "uid", "key_tag", "peer_id")}
    node.answers["listeners"] = {"listeners": [far], "people": 400}
    with tab(browser, node) as page:
        page.get_by_role("button", name="more").click()
        page.get_by_label("Name, or the beginning of it").fill("Zo")
        page.get_by_role("button", name="Look").click()
        assert asked(page, node, "listeners", who="Zo")
        page.get_by_role("button", name="Invite Zora to stage").click()
        assert asked(page, node, "invite", who="12D3zora")
        page.wait_for_selector(".found >> text=invited")
        assert violations(page, "listeners") == []


# ── what is said once, or while it lasts ─────────────────────────────────────────────────────


def test_who_sees_the_address_is_said_once_for_each_kind_of_room(browser, node):
    run_by(node)
    with tab(browser, node) as page:
        page.wait_for_selector("text=People here can see your network address.")
        page.get_by_role("button", name="Got it").click()
        page.wait_for_selector(".banner", state="detached")
        run_by(node, room="ee" * 32)
        page.wait_for_selector(".banner >> text=You are in, muted.")
        assert page.locator(".banner >> text=network address").count() == 0
        run_by(node, room="ef" * 32, access="closed", sealed=True)
        page.wait_for_selector(".banner >> text=People here can see your network address.")


def test_a_room_without_a_host_says_when_it_closes_and_may_go_on_elsewhere(browser, node):
    run_by(node)
    with tab(browser, node) as page:
        page.wait_for_selector("#mic")
        assert node.room is not None
        node.room |= {"attended": False, "closes_in_s": 540, "may": ["continue_room", "move"]}
        node.happen("unattended")
        page.wait_for_selector(".banner >> text=The room closes in 9 min")
        page.wait_for_selector(".banner >> text=No host is here")
        page.get_by_role("button", name="Open a new one for everybody").click()
        asked(page, node, "continue_room")
        node.room |= {"successor": {"title": "Night ferry", "by": "Ben", "room": "ff" * 32}}
        node.happen("successor_offered")
        page.wait_for_selector(".banner >> text=Ben opened “Night ferry” for everybody.")
        page.get_by_role("button", name="Come along").click()
        asked(page, node, "move")


def test_before_its_twelve_hours_end_a_room_says_so_to_those_who_cannot_open_the_next(
    browser, node
):
    run_by(node)
    with tab(browser, node) as page:
        page.wait_for_selector("#mic")
        assert node.room is not None
        node.room |= {"attended": True, "closes_in_s": 300, "may": []}
        node.happen("room_changed")
        page.wait_for_selector(".banner >> text=nearly over")
        page.wait_for_selector(".banner >> text=The room closes in 5 min")
        assert page.get_by_role("button", name="Open a new one for everybody").count() == 0


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"access": "open"}, "Voices are signed, not secret."),
        ({"access": "lan"}, "This room has not left this network."),
        ({"access": "closed", "sealed": True}, "cannot listen unless they are in it."),
        ({"confirmed": False}, "What you know of this room does not yet agree"),
        ({"locked": True}, "Only those who were here"),
    ],
)
def test_the_room_tab_says_what_is_true_of_the_room(browser, node, facts, words):
    run_by(node, **facts)
    with tab(browser, node) as page:
        page.get_by_role("tab", name="Room").click()
        page.wait_for_selector(f".said >> text={words}")


def test_reports_are_read_by_those_who_run_the_room(browser, node):
    run_by(node, may=[*RUNS, "reports"])
    zoe = person("zoe")
    told = {"id": "r", "by": "aaaa-bbbb", "by_name": "Wen", "text": "<i>shouts</i>", "at_s": 1}
    about = {"about": zoe["key_tag"], "about_uid": zoe["uid"], "evidence": []}
    node.answers["reports"] = {"reports": [told | about]}
    with tab(browser, node) as page:
        page.get_by_role("tab", name="Room").click()
        page.wait_for_selector("text=Wen about Zoe")
        page.wait_for_selector("text=<i>shouts</i>")


def test_who_talks_while_muted_is_told_and_unmutes_from_there(browser, node):
    run_by(node)
    node.answers["unmute"] = {"muted": False, "mouth": "none"}
    node.change("ana", silence={"cause": "talking_while_muted", "text": "", "remedy": ""})
    with tab(browser, node) as page:
        page.wait_for_selector(".banner >> text=You are talking while muted.")
        page.get_by_role("button", name="Unmute").click()
        asked(page, node, "unmute")


def test_a_refusal_is_a_sentence_where_it_was_asked(browser, node):
    from tests.browser.stand_in import Refused

    run_by(node)
    node.answers["chat"] = Refused(text="Slow down: one message each 10 s.")
    node.answers["step_down"] = Refused(text="You are not on the stage.")
    with tab(browser, node) as page:
        page.get_by_label("Message the room").fill("Hello")
        page.keyboard.press("Enter")
        page.wait_for_selector(".writing [role=alert] >> text=Slow down")
        assert page.get_by_label("Message the room").input_value() == "Hello"
        page.click("#act-stepDown")
        page.wait_for_selector(".banner >> text=You are not on the stage.")


# ── by keyboard, by ear, at any width ────────────────────────────────────────────────────────


def test_tabs_turn_by_arrow_keys(browser, node):
    run_by(node)
    with tab(browser, node) as page:
        page.get_by_role("tab", name="Chat").focus()
        page.keyboard.press("ArrowRight")
        page.wait_for_selector("#tab-hands:focus[aria-selected=true]")
        page.keyboard.press("ArrowRight")
        page.wait_for_selector("[role=tab]:focus[aria-selected=true]:not(#tab-hands)")
        page.keyboard.press("ArrowRight")
        page.wait_for_selector("#tab-chat:focus[aria-selected=true]")


def test_what_happens_is_announced_and_leaving_is_not(browser, node):
    run_by(node)
    with tab(browser, node) as page:
        page.wait_for_selector("#mic")
        node.happen("member_joined", "ben", "Rosa")
        node.happen("hand_raised", "wen")
        node.happen("member_left", "zoe", "Zoe")
        page.wait_for_selector("[role=status] >> text=Rosa came in. Wen raised a hand")
        assert page.get_by_text("Zoe left").count() == 0


def test_who_is_asked_to_mute_may_unmute_again(browser, node):
    run_by(node)
    with tab(browser, node) as page:
        page.wait_for_selector("#mic")
        node.happen("please_mute", "ana")
        page.wait_for_selector(".banner >> text=You were asked to mute, and are muted.")
        page.get_by_role("button", name="Got it").click()
        page.wait_for_selector(".banner >> text=asked to mute", state="detached")


@pytest.mark.parametrize(
    ("locale", "width", "scheme"),
    [
        ("fr", 320, "light"),
        pytest.param("fr", 768, "dark", marks=pytest.mark.nightly),
        pytest.param("fr", 1280, "light", marks=pytest.mark.nightly),
        pytest.param("en", 1280, "dark", marks=pytest.mark.nightly),
    ],
)
def test_every_place_can_be_read_and_reached(browser, node, locale, width, scheme):
    node.me |= {"name": "", "mouth": "page"}
    node.rooms = [
        {"room": f"{at}" * 64, "title": "Tea", "host": "aaaa-bbbb", "host_uid": "33" * 32}
        | {"access": access, "people": at, "age_s": 70}
        for at, access in enumerate(("open", "social", "closed", "lan"))
    ]
    with tab(browser, node, width, scheme, locale, reduced_motion="reduce") as page:
        wrong = violations(page, "welcome")
        page.locator("form .plain").click()
        page.wait_for_selector(".cards")
        wrong += violations(page, "hallway")
        page.locator(".head .go").click()
        page.wait_for_selector("dialog")
        wrong += violations(page, "open")
        page.keyboard.press("Escape")
        page.wait_for_selector("dialog", state="detached")
        page.locator(".place:visible").nth(1).click()
        page.wait_for_selector(".settings")
        wrong += violations(page, "sound")
    assert wrong == []


def look(locale, width, scheme):
    """Two looks are tried each time, which have all that can differ; the others at night."""
    each_time = [("fr", 360, "dark"), ("en", 1280, "light")]
    marks = [] if (locale, width, scheme) in each_time else [pytest.mark.nightly]
    return pytest.param(locale, width, scheme, marks=marks)


@pytest.mark.parametrize(
    ("locale", "width", "scheme"),
    [look(*each) for each in product(["en", "fr"], [360, 768, 1280], ["light", "dark"])],
)
def test_every_state_of_a_room_can_be_read_and_reached(browser, node, locale, width, scheme):
    wrong: list[Any] = []

    def check(page, what) -> None:
        wrong.extend(violations(page, what))

    def close(page) -> None:
        page.keyboard.press("Escape")
        page.wait_for_selector("dialog", state="detached")

    run_by(node, lobby_count=1, confirmed=False, locked=True)
    node.change("vera", forged=True)
    node.change("ben", silence={"cause": "link_down", "text": "", "remedy": ""})
    with tab(browser, node, width, scheme, locale, reduced_motion="reduce") as page:
        page.wait_for_selector("#mic")
        check(page, "stage")
        for name in ("chat", "hands", "room"):
            if width < 1200:
                page.locator(".chip").first.click()
            page.click(f"#tab-{name}")
            check(page, name)
            if width < 1200:
                close(page)
        seat(page, "ben").locator("button").click()
        page.locator("dialog .act").nth(1).click()
        check(page, "person")
        close(page)
        page.locator(".foot .keyed").first.click()
        page.wait_for_selector("dialog svg.qr")
        check(page, "share")
        close(page)
        listened_to(node, invited=True)
        page.wait_for_selector(".banner.good")
        check(page, "invited")
        node.change("ana", invited=False)
        page.wait_for_selector("#hand")
        page.click("#hand")
        check(page, "hand")
        close(page)
        node.change("ana", role="muted", on_stage=True)
        page.wait_for_selector("#mic.forced")
        check(page, "muted")
        node.members, node.room = [], {"room": "cd" * 32, "title": "Tea", "waiting": "lobby"}
        node.happen("lobby_waiting")
        page.wait_for_selector(".door")
        check(page, "door")
    assert wrong == []
