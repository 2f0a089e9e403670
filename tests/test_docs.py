"""What the code can do and say stands in docs/, and nothing that it cannot.

A change of the protocol, the API or the command line is not whole without its words.
"""

import ast
import inspect
import re
from dataclasses import fields
from pathlib import Path
from typing import get_args, get_type_hints, is_typeddict

import pytest
import typer

from p2phouse import cli
from p2phouse.cli import app
from p2phouse.hall.directory import ROOMS_PER_KEY_MAX
from p2phouse.net import gossip, hall_exchange, hello, kad, keepalive, lan, room_links, signalling
from p2phouse.net.hello import VERSIONS, VersionsApart
from p2phouse.record import limits
from p2phouse.record.schema import _FORBIDDEN
from p2phouse.record.types import RECORDS, RecordType
from p2phouse.room.frames import ByeReason, FrameKind
from p2phouse.room.messages import EventKind
from p2phouse.verbs.table import SUBJECTS, VERBS
from p2phouse.voice import packet

DOCS = Path(__file__).parents[1] / "docs"
PROTOCOL = (DOCS / "protocol.md").read_text()
API = (DOCS / "api.md").read_text()
CLI = (DOCS / "cli.md").read_text()


def section(page: str, heading: str) -> str:
    """What stands under a heading, up to the next of its level or a higher one."""
    level = heading.index(" ")
    start = re.search(rf"^{re.escape(heading)}\b.*$", page, re.MULTILINE)
    assert start, f"no heading {heading!r}"
    rest = page[start.end() :]
    end = re.search(rf"^#{{1,{level}}} ", rest, re.MULTILINE)
    return rest[: end.start()] if end else rest


def rows(text: str) -> list[list[str]]:
    """The cells of every row of every table, heads and rules left out."""
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in lines]
    return [row for row in cells if not set(row[0]) <= {"-"}]


def headings(page: str, prefix: str) -> list[str]:
    return re.findall(rf"^{re.escape(prefix)}(.+)$", page, re.MULTILINE)


# ── the protocol ─────────────────────────────────────────────────────────────────────────────


def test_every_record_type_has_its_number_name_signer_and_size():
    table = {row[0]: row for row in rows(section(PROTOCOL, "### 2.2"))[1:]}
    assert list(table) == [str(int(number)) for number in RecordType]
    for number in RecordType:
        row = table[str(int(number))]
        assert row[1] == number.name.lower()
        cls = RECORDS.get(number)
        if cls is None:
            assert row[2] == "reserved"
            continue
        names = [field.name for field in fields(cls)]  # type: ignore[arg-type]  # all are dataclasses
        assert row[1:] == [
            cls.NAME,
            f"`p2phouse/1/{cls.NAME}` 00",
            str(1 + names.index(cls.SIGNER)),
            f"{cls.SIZE_MAX:,}",
        ]


@pytest.mark.parametrize("cls", RECORDS.values(), ids=lambda cls: cls.NAME)
def test_every_record_s_fields_stand_in_its_order(cls):
    found = re.search(rf"^{cls.NAME} = \[1, (.*?)\]$", PROTOCOL, re.MULTILINE | re.DOTALL)
    assert found, f"no CDDL of {cls.NAME}"
    outermost = re.sub(r"\[[^\]]*\]", "[]", found[1])
    assert re.findall(r"(\w+):", outermost) == [field.name for field in fields(cls)]


def test_every_limit_stands_with_its_value():
    table = {row[0]: row[1] for row in rows(section(PROTOCOL, "## 7"))[1:]}
    known = {name: value for name, value in vars(limits).items() if name.isupper()}
    assert table == {f"`{name.lower()}`": f"{value:,}" for name, value in known.items()}
    assert f"at most {ROOMS_PER_KEY_MAX} of one `dev`" in PROTOCOL


def test_every_room_frame_and_bye_stands_with_its_number():
    part = section(PROTOCOL, "## 4")
    frames = {row[0]: row for row in rows(part) if row[0].isdigit()}
    assert list(frames) == [str(int(kind)) for kind in FrameKind]
    for kind in FrameKind:
        cells = " ".join(frames[str(int(kind))][1:])
        assert f"`[{int(kind)}, " in cells
        assert kind.name.lower() in cells
    byes = re.findall(r"(\d) [a-z]", frames[str(int(FrameKind.BYE))][-1])
    assert byes == [str(int(reason)) for reason in ByeReason]


def test_every_character_that_text_may_not_hold_is_named():
    part = section(PROTOCOL, "## 1")
    named = set()
    for first, last in re.findall(r"U\+([0-9A-F]{4})(?:\s+to\s+U\+([0-9A-F]{4}))?", part):
        named |= {chr(code) for code in range(int(first, 16), int(last or first, 16) + 1)}
    assert named == _FORBIDDEN


@pytest.mark.parametrize(
    "name",
    [
        gossip.TOPIC,
        *gossip.PROTOCOLS[:1],
        hall_exchange.PROTOCOL,
        keepalive.PROTOCOL,
        kad.PROTOCOL,
        room_links.PROTOCOL,
        signalling.PROTOCOL,
        lan.SERVICE,
    ],
)
def test_every_name_on_the_network_stands_there(name):
    assert name in section(PROTOCOL, "## 3") + section(PROTOCOL, "## 4")


def test_the_header_of_a_packet_is_drawn_with_its_numbers():
    part = section(PROTOCOL, "## 5")
    assert f"exactly {packet.HEADER_BYTES} bytes" in part
    assert f"1 to {packet.PAYLOAD_BYTES_MAX} bytes" in part
    assert f"{packet.PT_OPUS}: sealed Opus" in part
    assert f"{packet.PT_AUDIT}: an audit" in part


def test_what_a_person_is_told_when_versions_do_not_meet_is_quoted():
    part = section(PROTOCOL, "## 8")
    assert VERSIONS == (1, 1)
    assert f"> {VersionsApart(theirs='2', ours='1', older='this machine')}" in part
    assert '"the other machine"' in part
    assert "older" in inspect.getsource(hello.check_versions)


@pytest.mark.parametrize("folder", ["room", "voice", "people", "verbs", "cli", "hall"])
def test_every_module_of_what_rooms_do_stands_on_the_map(folder):
    page = (DOCS / "architecture.md").read_text()
    for path in (DOCS.parent / "p2phouse" / folder).glob("[!_]*.py"):
        assert f"`{path.stem}`" in page or f"`{folder}/{path.stem}`" in page, path.name
        assert ast.get_docstring(ast.parse(path.read_text())), path.name


def test_no_part_is_left_lying_about():
    assert not list(DOCS.glob("*.part.md"))
    assert [line[:5] for line in headings(PROTOCOL, "## ")] == [
        f"{number} {word[:3]}"
        for number, word in enumerate(
            ["Encoding", "Records", "Finding", "Room", "Voices", "Link", "Limits", "Versions"], 1
        )
    ]


# ── the API ──────────────────────────────────────────────────────────────────────────────────


def test_every_verb_stands_in_the_api_and_no_other():
    assert sorted(headings(section(API, "## Verbs"), "### ")) == sorted(VERBS)


@pytest.mark.parametrize("name", VERBS)
def test_every_argument_of_a_verb_stands_under_it(name):
    part = section(API, f"### {name}")
    arguments = {each.name for each in VERBS[name].arguments}
    assert set(re.findall(r"^- `(\w+)`:", part, re.MULTILINE)) == arguments
    assert ("No arguments." in part) == (not arguments)
    assert "Result" in part


@pytest.mark.parametrize("name", VERBS)
def test_every_fact_that_a_verb_returns_stands_in_the_api(name):
    """Those of its own under it, those that many verbs return once for all."""
    known = section(API, f"### {name}") + section(API, "## Facts")
    missing = {fact for fact in facts_in(VERBS[name].result) if f"`{fact}`" not in known}
    assert missing == set()


def facts_in(shape) -> set[str]:
    """The names of all facts in a TypedDict and in those within it."""
    if is_typeddict(shape):
        inner = get_type_hints(shape)
        return set(inner).union(*map(facts_in, inner.values()))
    return set().union(*map(facts_in, get_args(shape)))


def test_every_event_stands_in_the_api_and_no_other():
    told = [row[0] for row in rows(section(API, "### events"))[1:]]
    assert sorted(told) == sorted(f"`{kind.name.lower()}`" for kind in EventKind)
    source = "".join(inspect.getsource(subject) for subject in SUBJECTS)
    progress = re.findall(r"call\.tell\(\{\"event\": \"(\w+)\"", source)
    for name in progress:
        assert f"Event: `{name}`" in API


# ── the command line ─────────────────────────────────────────────────────────────────────────


# What only a page can know (that somebody types into its field, what its browser blocks), or needs:
# a terminal draws its codes by itself.
OF_A_PAGE_ALONE = {"typing", "page_sound", "qr"}


def commands() -> dict[str, set[str]]:
    """Every command by its full name, with its options."""
    found: dict[str, set[str]] = {}

    def walk(command, path: str) -> None:
        if hasattr(command, "commands"):
            for name, inner in command.commands.items():
                walk(inner, f"{path} {name}")
        else:
            options = {
                each
                for parameter in command.params
                for each in (*parameter.opts, *parameter.secondary_opts)
            }
            found[path] = {each for each in options if each.startswith("--")} - {"--help"}

    walk(typer.main.get_command(app), "p2phouse")
    return found


def test_every_command_stands_in_the_manual_and_no_other():
    assert sorted(headings(CLI, "## ")) == sorted(commands())


@pytest.mark.parametrize("name", commands())
def test_every_option_of_a_command_stands_under_it_and_no_other(name):
    part = section(CLI, f"## {name}")
    assert set(re.findall(r"`(--[\w-]+)`", part)) == commands()[name]


def test_every_command_answers_in_json_too():
    assert {name for name, options in commands().items() if "--json" not in options} == set()


def test_every_verb_can_be_asked_from_the_command_line():
    modules = [ast.parse(path.read_text()) for path in Path(cli.__file__).parent.glob("*.py")]
    calls = [each for module in modules for each in ast.walk(module) if isinstance(each, ast.Call)]
    asking = [call for call in calls if ast.unparse(call.func) == "answer"]
    words = [word for call in asking for word in ast.walk(call.args[3])]
    asked = {word.value for word in words if isinstance(word, ast.Constant)}
    assert set(VERBS) - asked <= OF_A_PAGE_ALONE


@pytest.mark.parametrize("page", ["protocol.md", "api.md", "cli.md"])
def test_links_between_pages_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#:]+)\)", (DOCS / page).read_text()):
        assert (DOCS / target).exists(), target


def test_whatever_is_said_to_hold_a_promise_is_there():
    named = set(re.findall(r"`(tests/[\w./]+)`", (DOCS / "threat-model.md").read_text()))
    assert len(named) > 20
    assert {each for each in named if not (DOCS.parent / each).exists()} == set()
