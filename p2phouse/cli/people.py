"""What you do about a person for yourself: block, turn down, report."""

import json as jsonlib
from pathlib import Path
from typing import Annotated, Any

import typer

from p2phouse.cli.asking import Home, Who, answer, done
from p2phouse.command import Json

commands = typer.Typer()


@commands.command()
def block(who: Who, home: Home = None, json: Json = False) -> None:
    """Neither hear nor read a person any more. Nobody learns of it."""
    answer(home, json, done(f"You neither hear nor read {who} any more."), "block", who=who)


@commands.command()
def unblock(
    who: Annotated[str, typer.Argument(metavar="WHO", help="Name or key tag of `blocked`.")],
    home: Home = None,
    json: Json = False,
) -> None:
    """Hear and read a person again."""
    answer(home, json, done(f"You hear and read {who} again."), "unblock", who=who)


@commands.command()
def blocked(home: Home = None, json: Json = False) -> None:
    """List whom you have blocked."""

    def show(facts: dict[str, Any]) -> None:
        if not facts["people"]:
            print("You have blocked nobody.")
        for person in facts["people"]:
            print(f"{person['key_tag']}  {person['name']}")

    answer(home, json, show, "blocked")


@commands.command()
def gain(
    who: Who,
    percent: Annotated[int, typer.Argument(metavar="PERCENT", help="0 to 200; 100 is as sent.")],
    home: Home = None,
    json: Json = False,
) -> None:
    """Make a person louder or quieter to you, until you leave the room."""
    answer(home, json, done(f"{who} is at {percent} %."), "gain", who=who, percent=percent)


@commands.command()
def report(
    who: Who,
    text: Annotated[str, typer.Argument(help="What happened, in one line.")],
    home: Home = None,
    json: Json = False,
) -> None:
    """Report a person to those who run the room, with what that person wrote."""

    from p2phouse.config import home_of
    from p2phouse.verbs.people import REPORTS_FOLDER

    def show(facts: dict[str, Any]) -> None:
        told = ", ".join(facts["told"])
        print(f"Told: {told}." if told else "Nobody who runs the room is here; nobody was told.")
        file = home_of(home) / REPORTS_FOLDER / facts["file"]
        print(f"The report, which anybody can check, is in {file}")

    answer(home, json, show, "report", who=who, text=text)


@commands.command("check-report")
def check_report(
    file: Annotated[Path, typer.Argument(help="A report that somebody kept.")], json: Json = False
) -> None:
    """Say whether a report's signatures hold, and what it says. Needs no node."""
    from p2phouse.verbs.people import read_report, told

    facts = told(read_report(file))
    if json:
        print(jsonlib.dumps(facts))
    else:
        print("Every signature holds.")
        _show(facts)


def _show(report: dict[str, Any]) -> None:
    by = report["by_name"] or report["by"]
    about = report["about_name"] or report["about"]
    print(f"{by} reports {about}: {report['text']}")
    for word in report["evidence"]:
        print(f"    “{word['text']}”")


@commands.command()
def reports(home: Home = None, json: Json = False) -> None:
    """List what was reported to you as one who runs the room."""

    def show(facts: dict[str, Any]) -> None:
        if not facts["reports"]:
            print("Nothing was reported to you.")
        for each in facts["reports"]:
            _show(each)

    answer(home, json, show, "reports")
