"""Every command and option of the relay stands in its manual, and no other."""

import re

import pytest
import typer

from p2phouse_relay.cli import app
from tests.test_docs import DOCS, headings, section

MANUAL = (DOCS / "relay.md").read_text()


def commands() -> dict[str, set[str]]:
    """Every command by its full name, with its options."""
    group = typer.main.get_command(app)
    return {
        f"p2phouse-relay {name}": {
            each for one in command.params for each in one.opts if each.startswith("--")
        }
        for name, command in group.commands.items()  # type: ignore[attr-defined]  # it is a group
    }


def test_every_command_stands_in_the_manual_and_no_other():
    assert sorted(headings(MANUAL, "## p2phouse-relay ")) == sorted(
        name.removeprefix("p2phouse-relay ") for name in commands()
    )


@pytest.mark.parametrize("name", commands())
def test_every_option_of_a_command_stands_under_it_and_no_other(name):
    told = set(re.findall(r"`(--[\w-]+)`", section(MANUAL, f"## {name}")))
    assert told == commands()[name]


def test_links_lead_somewhere():
    for target in re.findall(r"\]\(([^)#:]+)\)", MANUAL):
        assert (DOCS / target).exists(), target
