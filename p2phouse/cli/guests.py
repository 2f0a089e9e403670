"""Guests of your room who have only a browser, on your own network."""

from typing import Annotated, Any

import typer

from p2phouse.cli.asking import Home, answer
from p2phouse.command import Json

commands = typer.Typer()


@commands.command()
def guests(
    choice: Annotated[str, typer.Argument(metavar="on|off", help="Nothing: say it.")] = "",
    home: Home = None,
    json: Json = False,
) -> None:
    """Let people of your network listen to your room in a browser."""
    answer(home, json, show, "guests", choice=choice)


def show(facts: dict[str, Any]) -> None:
    if facts["text"]:
        print(f"Nobody can listen here in a browser. {facts['text']}")
        return
    if not facts["page"]:
        print("Nobody listens here in a browser. Let them: p2phouse guests on")
        return
    from p2phouse.qr import terminal

    print("Whoever is on your network listens in a browser:")
    print(terminal(facts["page"]))
    print(f"    {facts['page']}")
