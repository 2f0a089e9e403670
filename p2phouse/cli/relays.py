"""The relays that your node knows."""

import sys
from typing import Annotated, Any

import typer

from p2phouse.cli.asking import Home, answer
from p2phouse.command import Json

commands = typer.Typer()
relays = typer.Typer(help="The relays that your node knows.", no_args_is_help=True)
commands.add_typer(relays, name="relays")

Host = Annotated[
    str, typer.Argument(metavar="HOST", help="HOST, HOST:PORT or https://HOST, or a known name.")
]


@relays.command("add")
def add(
    relay: Host,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask: you have read it.")] = False,
    home: Home = None,
    json: Json = False,
) -> None:
    """Show what a relay says of itself and, if you agree, keep it."""
    if not yes and not json:
        answer(home, json, show, "relay_look", relay=relay)
        typer.confirm("Keep it?", abort=True)
    answer(home, json, lambda facts: print(f"Kept. {use_of(facts)}"), "relay_add", relay=relay)


@relays.command("list")
def list_(home: Home = None, json: Json = False) -> None:
    """List the relays that your node knows."""

    def told(facts: dict[str, Any]) -> None:
        if not facts["relays"]:
            print("You know no relay. p2phouse relays add HOST")
        for relay in facts["relays"]:
            print(f"{relay['name']:<28} {relay['at']:<28} {admits(relay)}")

    answer(home, json, told, "relays")


@relays.command("remove")
def remove(relay: Host, home: Home = None, json: Json = False) -> None:
    """Forget a relay."""

    def told(facts: dict[str, Any]) -> None:
        print(f"{facts['name']} is off the list. Your node stays in touch with it until it ends.")

    answer(home, json, told, "relay_remove", relay=relay)


@relays.command("use")
def use(
    relay: Host,
    grant: Annotated[str, typer.Option("--grant", help="A relay grant, as you were given.")] = "",
    home: Home = None,
    json: Json = False,
) -> None:
    """Have a relay carry the room that you opened and are in."""
    give(home, json, relay, grant)


def show(relay: dict[str, Any]) -> None:
    """The policy, line by line, and what it means for a person's privacy."""
    print(f"{relay['name']}, {relay['at']}, {relay['key_tag']}")
    for what in ("who", "where", "logs", "rules", "price", "contact"):
        if relay[what]:
            print(f"  {what + ':':<9} {relay[what]}")
    print(f"  {'carries:':<9} {admits(relay)}")
    print(
        f"  {'up to:':<9} {relay['rooms_each']} of your rooms, {relay['listeners']} listeners each"
    )
    print("It sees your network address, and who sends when. It opens no voice of a sealed room.")


def admits(relay: dict[str, Any]) -> str:
    everybody = relay["admits"] == "everybody"
    return "anybody's rooms" if everybody else "rooms of whom it knows, or with a relay grant"


def use_of(relay: dict[str, Any]) -> str:
    return f"Have it carry a room: p2phouse open TITLE --relay {relay['at']}"


def give(home: str | None, json: bool, relay: str, grant: str) -> None:
    def told(facts: dict[str, Any]) -> None:
        settle(facts, home, relay, grant)

    answer(home, json, told, "relay_use", relay=relay, grant=grant)


def settle(facts: dict[str, Any], home: str | None, relay: str, grant: str) -> None:
    """Says what came of it, and asks whether a relay that was named instead is to have the room."""
    print(given(facts, relay))
    if facts["carried"]:
        answer(home, False, show_page, "guest_link")
    another = facts["another"]
    if facts["carried"] or not another or not sys.stdin.isatty():
        return
    answer(home, False, show, "relay_look", relay=another)
    if typer.confirm("Have this one carry the room?"):
        give(home, False, another, grant)


def show_page(facts: dict[str, Any]) -> None:
    if facts["link"]:
        print("Anybody can then listen in a browser (p2phouse link --guests --qr):")
        print(f"    {facts['link']}")


def given(facts: dict[str, Any], relay: str) -> str:
    text, by = facts["text"].rstrip("."), facts["by"]
    if facts["carried"]:
        if not by:
            return f"{relay} comes to carry the room."
        return f"{by} comes to carry the room, which {relay} named in its place ({text})."
    also = f" Nor does {by}, which it named." if by else ""
    another = f" It names another: {facts['another']}" if facts["another"] and not by else ""
    return f"{relay} does not carry the room: {text}.{also}{another}"
