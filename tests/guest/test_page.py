"""The listen page's words and files, as far as they can be judged without a browser."""

import json
import re
from dataclasses import replace
from typing import Any

import pytest

from p2phouse.channel import GuestSlots
from p2phouse.guest import page as page_module
from p2phouse.guest.exchange import Reply, Request
from p2phouse.guest.facts import Hand, NodeRoom, Pin, Reaction, Said, SealedRoom, Seat
from p2phouse.guest.page import SHARED, SHARED_FILES, STATIC, Page
from p2phouse.guest.terms import RoomTerms
from p2phouse.vocabulary import LinkNumber
from tests.guest.test_resources import ANYBODY, LISTEN, SPEAK, Relay

SCRIPTS = {path.name: path.read_text() for path in STATIC.glob("*.js")}
ENTRY = re.compile(r'^  (\w+): \["((?:[^"\\]|\\.)*)",\s*"((?:[^"\\]|\\.)*)"\],$', re.MULTILINE)
WORDS = {key: (english, french) for key, english, french in ENTRY.findall(SCRIPTS["dictionary.js"])}


def test_every_word_has_both_languages_and_the_same_values_in_them():
    assert len(WORDS) == len(re.findall(r"^  \w+:", SCRIPTS["dictionary.js"], re.MULTILINE))
    for key, both in WORDS.items():
        english, french = (set(re.findall(r"\{(\w+)\}", text)) for text in both)
        assert english == french, key
        assert both[0].count(" | ") == both[1].count(" | "), key
        assert "'" not in "".join(both), f"{key}: ’ is the apostrophe"


def test_every_word_that_is_said_is_there_and_no_other():
    text = "\n".join([*SCRIPTS.values(), (SHARED / "flow.js").read_text()])
    said = set(re.findall(r'\bt\("(\w+)"', text))
    troubles = re.search(r"const TROUBLES = \{(.*?)\n\};", text, re.DOTALL)
    assert troubles
    for state in re.findall(r"^  (\w+): \{", troubles[1], re.MULTILINE):
        said |= {state, f"{state}Said"}
    assert said <= WORDS.keys()
    said |= set(re.findall(r'"(\w+)"', text)) | {"host", "moderator"}  # chosen, or of a role
    assert said >= WORDS.keys()


@pytest.mark.parametrize("name", SHARED_FILES)
def test_files_of_the_owner_s_page_need_nothing_that_guests_are_not_given(name):
    needed = re.findall(r'from "/([\w./-]+)"', (SHARED / name).read_text())
    assert set(needed) <= {*SHARED_FILES, *SCRIPTS}


def test_nothing_of_the_page_is_fetched_from_elsewhere():
    for path in [*STATIC.glob("*.js"), *STATIC.glob("*.html"), *STATIC.glob("*.css")]:
        assert not re.search(r"https?://\w", path.read_text()), path.name


def test_scripts_need_nothing_that_is_not_served():
    for text in SCRIPTS.values():
        assert set(re.findall(r'from "/([\w./-]+)"', text)) <= {*SHARED_FILES, *SCRIPTS}
    page = (STATIC / "listen.html").read_text()
    served = {*SHARED_FILES, *(path.name for path in STATIC.glob("*"))}
    assert set(re.findall(r'(?:src|href)="/([\w.-]+)"', page)) <= served


def test_no_word_of_the_inside_is_on_the_page():
    for key, both in WORDS.items():
        for word in ("SFU", "hub", "peer", "ICE", "epoch", "session", "stream"):
            assert not re.search(rf"\b{word}\b", " ".join(both)), key


def get(page: Page, path: str, **headers: str) -> Reply:
    reply = page.reply(Request("GET", path, headers, b"", "198.51.100.7"))
    assert reply is not None
    return reply


def test_rooms_of_invented_names_take_no_memory(monkeypatch):
    """Security: in a trial anybody may invent as many as they like."""
    monkeypatch.setattr(page_module, "WRITTEN_MAX", 3)
    page = Page(Relay().guests, relay="Dev")
    for number in range(10):
        assert get(page, f"/r/room{number}/now").status == 200
    assert len(page._written) == 3


def test_who_is_in_a_room_is_told_to_those_who_have_its_token():
    relay = Relay(replace(ANYBODY, rooms={"tea": RoomTerms(speak="s", listen="l")}))
    relay.join("/whip/tea/ana", authorization="Bearer s")
    page = Page(relay.guests, relay="Dev")
    for given in ({}, {"authorization": "Bearer s"}):
        facts = told(page, "tea", **given)
        assert facts == {"room": "tea", "relay": "Dev", "allowed": False}
    facts = told(page, "tea", authorization="Bearer l")
    assert [each["name"] for each in facts["speakers"]] == ["ana"]


@pytest.mark.parametrize("path", ["/r/tea", "/r/tea/now", "/listen.js"])
def test_a_browser_is_told_to_run_and_to_ask_nothing_of_others(path):
    rules = dict(get(Page(Relay().guests, relay="Dev"), path).headers)["content-security-policy"]
    its = dict(each.strip().split(" ", 1) for each in rules.split(";"))
    nobody, us = "'none'", "'self'"
    assert (its["default-src"], its["script-src"], its["connect-src"]) == (nobody, us, us)
    assert (its["frame-ancestors"], its["base-uri"], its["form-action"]) == (nobody,) * 3


@pytest.mark.parametrize(
    "path", ["/../page.py", "/static/listen.js", "/vendor/../listen.js", "/%2e%2e/page.py", "//"]
)
def test_no_path_leads_to_a_file_that_is_not_the_page_s(path):
    page = Page(Relay().guests, relay="Dev")
    assert page.reply(Request("GET", path, {}, b"", "198.51.100.7")) is None


def test_the_page_of_a_room_that_is_elsewhere_as_well_leads_there():
    here = Relay(replace(ANYBODY, rooms={"tea": RoomTerms(also_at=("https://b.example",))}))
    page = Page(here.guests, relay="Dev")
    reply = page.reply(Request("GET", "/r/tea/elsewhere", {}, b"", "192.0.2.9"))
    assert reply is not None
    assert (reply.status, dict(reply.headers)["location"]) == (
        307,
        "https://b.example/r/tea?sent-on",
    )
    assert page.reply(Request("GET", "/r/song/elsewhere", {}, b"", "192.0.2.9")) is None


# ── rooms of nodes ───────────────────────────────────────────────────────────────────────────

ANA = Seat("Ana", "9l2n-r8jb", "0a" * 10, "host", "", LinkNumber(40))
BEN = Seat("Ben", "53kj-k7nk", "0b" * 10, "speaker", "moderator", LinkNumber(0))
FERRY = NodeRoom(
    "Night ferry",
    "open",
    stage=(ANA, BEN),
    listeners=37,
    hands=(Hand("Wen", "rd9u-4nuk", "0c" * 10),),
    chat=(Said("a1", "Zoé", "7bqt-2j9d", "0d" * 10, "Which one is it?", 1_795_000_000),),
    pins=(Pin("b2", "Song sheet https://songs.example.org/sheet"),),
    reactions=(Reaction(7, "9l2n-r8jb", "👏"),),
)


def told(page: Page, room: str, **headers: str) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads(get(page, f"/r/{room}/now", **headers).body)
    return facts


def test_a_room_of_nodes_is_told_as_its_members_see_it():
    relay = Relay()
    page = Page(relay.guests, relay="Radio Libre")
    relay.guests.carry("ferry", FERRY)
    relay.join("/whep/ferry")
    relay.says(GuestSlots(1, (LinkNumber(0), LinkNumber(40), LinkNumber(0), LinkNumber(0))))
    facts = told(page, "ferry")
    assert (facts["title"], facts["access"], facts["relay"]) == (FERRY.title, "open", "Radio Libre")
    assert (facts["people"], facts["guests"]) == (2 + 37 + 1, 1)
    ana, ben = facts["speakers"]
    assert (ana["name"], ana["role"], ana["via"]) == ("Ana", "host", False)
    assert ben["muted"] == "moderator"
    assert facts["slots"] == [None, 0, None, None]
    assert facts["hands"][0]["name"] == "Wen"
    assert facts["chat"][0]["text"] == "Which one is it?"
    assert (facts["pins"][0]["id"], facts["reactions"][0]["n"]) == ("b2", 7)


def test_who_asks_again_is_told_only_of_what_has_changed():
    relay = Relay()
    page = Page(relay.guests, relay="Dev")
    relay.guests.carry("ferry", FERRY)
    tag = dict(get(page, "/r/ferry/now").headers)["etag"]
    assert get(page, "/r/ferry/now", **{"if-none-match": tag}).status == 304
    relay.guests.carry("ferry", replace(FERRY, listeners=38))
    after = get(page, "/r/ferry/now", **{"if-none-match": tag})
    assert (after.status, json.loads(after.body)["people"]) == (200, 40)
    relay.guests.drop("ferry")
    relay.guests.carry("tea", FERRY)
    assert dict(get(page, "/r/tea/now").headers)["etag"] != dict(after.headers)["etag"]


def test_the_news_of_a_room_are_for_whom_its_facts_are():
    relay = Relay(replace(ANYBODY, rooms={"tea": RoomTerms(listen="l")}))
    page = Page(relay.guests, relay="Dev")
    relay.guests.carry("ferry", FERRY)
    relay.guests.carry("shut", SealedRoom())
    followed = get(page, "/r/ferry/news")
    assert (followed.status, followed.stream is not None) == (200, True)
    assert get(page, "/r/tea/news", authorization="Bearer l").stream is not None
    for path, status in (("/r/tea/news", 401), ("/r/shut/news", 403), ("/r/none/news", 404)):
        refused = get(page, path)
        assert (refused.status, refused.stream) == (status, None)
    head = page.reply(Request("HEAD", "/r/ferry/news", {}, b"", "198.51.100.7"))
    assert head is not None
    assert (head.status, head.stream) == (200, None)


def test_a_title_stands_in_the_page_as_words_and_nothing_else():
    relay = Relay()
    page = Page(relay.guests, relay="Dev")
    relay.guests.carry("ferry", replace(FERRY, title='</title><script src="//x">'))
    text = get(page, "/r/ferry").body.decode()
    words = "&lt;/title&gt;&lt;script src=&quot;//x&quot;&gt;"
    assert text.count(words) == 2  # and for who shows what a link leads to
    assert "//x" not in text.replace(words, "")
    relay.guests.carry("ferry", SealedRoom("p2ph:abc"))
    assert "<title>p2phouse</title>" in get(page, "/r/ferry").body.decode()


def test_who_left_is_in_no_slot():
    relay = Relay()
    page = Page(relay.guests, relay="Dev")
    relay.join("/whip/tea/ana")
    ben = relay.join("/whip/tea/ben")
    relay.says(GuestSlots(1, (LinkNumber(2), LinkNumber(0), LinkNumber(1), LinkNumber(0))))
    assert told(page, "tea")["slots"] == [1, None, 0, None]
    relay.ask("DELETE", ben)
    assert told(page, "tea")["slots"] == [None, None, 0, None]


def test_of_a_sealed_room_a_guest_learns_the_way_in_and_nothing_else():
    relay = Relay()
    page = Page(relay.guests, relay="Radio Libre")
    relay.guests.carry("ferry", SealedRoom("p2ph:abc?d=12D3"))
    for path in ("/r/ferry", "/r/ferry/now"):
        assert get(page, path).status == 403
    facts = told(page, "ferry")
    assert facts.pop("code")
    assert facts == {
        "room": "ferry",
        "relay": "Radio Libre",
        "allowed": True,
        "access": "sealed",
        "invite": "p2ph:abc?d=12D3",
    }
    request = Request("GET", "/r/ferry/app.webmanifest", {}, b"", "198.51.100.7")
    assert page.reply(request) is None
    status, _, text = relay.ask("POST", "/whep/ferry", LISTEN)
    assert (status, "sealed" in text) == (403, True)
    assert relay.ask("POST", "/whip/ferry/ana", SPEAK)[0] == 403
