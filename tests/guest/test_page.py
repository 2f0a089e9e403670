"""The listen page's words and files, as far as they can be judged without a browser."""

import json
import re
from dataclasses import replace

import pytest

from p2phouse.guest.exchange import Reply, Request
from p2phouse.guest.page import SHARED, SHARED_FILES, STATIC, Page
from p2phouse.guest.resources import RoomTerms
from tests.guest.test_resources import ANYBODY, Relay

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
    text = SCRIPTS["listen.js"]
    said = set(re.findall(r'\bt\("(\w+)"', text))
    troubles = re.search(r"const TROUBLES = \{(.*?)\n\};", text, re.DOTALL)
    assert troubles
    for state in re.findall(r"^  (\w+): \{", troubles[1], re.MULTILINE):
        said |= {state, f"{state}Said"}
    assert said == set(WORDS)


@pytest.mark.parametrize("name", SHARED_FILES)
def test_files_of_the_owner_s_page_need_nothing_that_guests_are_not_given(name):
    needed = re.findall(r'from "/([\w./-]+)"', (SHARED / name).read_text())
    assert set(needed) <= {*SHARED_FILES, *SCRIPTS}


def test_nothing_of_the_page_is_fetched_from_elsewhere():
    for path in STATIC.glob("*"):
        assert not re.search(r"https?://", path.read_text()), path.name


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


def test_who_is_in_a_room_is_told_to_those_who_have_its_token():
    relay = Relay(replace(ANYBODY, rooms={"tea": RoomTerms(speak="s", listen="l")}))
    relay.join("/whip/tea/ana", authorization="Bearer s")
    page = Page(relay.guests, relay="Dev")
    for given in ({}, {"authorization": "Bearer s"}):
        told = get(page, "/r/tea/now", **given).body.decode()
        assert "ana" not in told
        assert (json.loads(told)["allowed"], json.loads(told)["people"]) == (False, 0)
    told = get(page, "/r/tea/now", authorization="Bearer l").body.decode()
    assert [each["name"] for each in json.loads(told)["speakers"]] == ["ana"]


@pytest.mark.parametrize("path", ["/r/tea", "/r/tea/now", "/listen.js"])
def test_a_browser_is_told_to_run_and_to_ask_nothing_of_others(path):
    rules = dict(get(Page(Relay().guests, relay="Dev"), path).headers)["content-security-policy"]
    told = dict(each.strip().split(" ", 1) for each in rules.split(";"))
    nobody, us = "'none'", "'self'"
    assert (told["default-src"], told["script-src"], told["connect-src"]) == (nobody, us, us)
    assert (told["frame-ancestors"], told["base-uri"], told["form-action"]) == (nobody,) * 3


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
