"""Whom you follow."""

from typing import Annotated, Any

import typer

from p2phouse.cli.asking import Home, answer
from p2phouse.command import Json

commands = typer.Typer()


@commands.command()
def follow(
    who: Annotated[
        str, typer.Argument(metavar="WHO", help="Name, key tag, PeerId or a person's whole key.")
    ],
    name: Annotated[str, typer.Option("--name", help="What you call that person.")] = "",
    home: Home = None,
    json: Json = False,
) -> None:
    """Follow a person: listed first, and let into social rooms that you run."""

    def show(facts: dict[str, Any]) -> None:
        print(f"You follow {facts['name'] or facts['key_tag']}. Nobody is told.")

    answer(home, json, show, "follow", who=who, name=name)


@commands.command()
def unfollow(
    who: Annotated[str, typer.Argument(metavar="WHO", help="Name or key tag.")],
    home: Home = None,
    json: Json = False,
) -> None:
    """Follow a person no more."""

    def show(facts: dict[str, Any]) -> None:
        print(f"You follow {facts['name'] or facts['key_tag']} no more.")

    answer(home, json, show, "unfollow", who=who)


@commands.command()
def following(home: Home = None, json: Json = False) -> None:
    """List whom you follow."""

    def show(facts: dict[str, Any]) -> None:
        if not facts["people"]:
            print("You follow nobody. p2phouse follow WHO")
        for each in facts["people"]:
            print(f"{each['name']:<28} {each['key_tag']}")

    answer(home, json, show, "following")
