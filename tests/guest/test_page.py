"""The listen page's words and files, as far as they can be judged without a browser."""

import re

import pytest

from p2phouse.guest.page import SHARED, SHARED_FILES, STATIC

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
