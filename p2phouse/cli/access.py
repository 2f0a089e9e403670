"""Who may come in: access, the lobby, and invites."""

from typing import Annotated, Any

import typer

from p2phouse.cli.asking import Home, Who, answer, done
from p2phouse.command import YOUR_MISTAKE, Json, fail

commands = typer.Typer()


@commands.command()
def access(
    value: Annotated[str, typer.Argument(metavar="WHO", help="open, social or closed.")],
    home: Home = None,
    json: Json = False,
) -> None:
    """Say who may come into the room from now on."""
    answer(home, json, done(f"The room is {value} now."), "access", value=value)


@commands.command()
def lobby(home: Home = None, json: Json = False) -> None:
    """List who waits to be let in."""

    def show(facts: dict[str, Any]) -> None:
        if not facts["people"]:
            print("Nobody waits.")
        for each in facts["people"]:
            print(f"{each['name']:<28} {each['key_tag']}  waits {each['waits_s']} s")

    answer(home, json, show, "lobby")


@commands.command()
def admit(who: Who, home: Home = None, json: Json = False) -> None:
    """Let in somebody who waits."""
    answer(home, json, done(f"{who} may come in."), "admit", who=who)


@commands.command()
def refuse(who: Who, home: Home = None, json: Json = False) -> None:
    """Turn away somebody who waits."""
    answer(home, json, done(f"{who} was turned away."), "refuse", who=who)


Qr = Annotated[bool, typer.Option("--qr", help="Show it as a QR code as well.")]


@commands.command()
def link(
    guests: Annotated[
        bool, typer.Option("--guests", help="That of a relay's page, to listen in any browser.")
    ] = False,
    qr: Qr = False,
    home: Home = None,
    json: Json = False,
) -> None:
    """Print the link that leads to the room."""

    def show_page(facts: dict[str, Any]) -> None:
        if not facts["link"]:
            fail("No relay that you know carries your room for browsers.", YOUR_MISTAKE)
        print(facts["link"])
        _show_code(facts["link"], qr=qr)

    if guests:
        answer(home, json, show_page, "guest_link")
        return

    def show(facts: dict[str, Any]) -> None:
        if facts["room"] is None or "link" not in facts:
            fail("You are not in a room.", YOUR_MISTAKE)
        _show_link(facts["link"], qr=qr)

    answer(home, json, show, "status")


def _show_link(link: str, *, qr: bool) -> None:
    print(f"p2phouse join '{link}'")
    _show_code(link, qr=qr)


def _show_code(link: str, *, qr: bool) -> None:
    if qr:
        from p2phouse.qr import terminal

        print(terminal(link), end="")


@commands.command()
def invite_link(
    hours: Annotated[int, typer.Option("--hours", min=1, max=24, help="For how long.")] = 24,
    once: Annotated[bool, typer.Option("--once", help="For one person.")] = False,
    qr: Qr = False,
    home: Home = None,
    json: Json = False,
) -> None:
    """Make a link that lets people in without waiting."""

    def show(facts: dict[str, Any]) -> None:
        _show_link(facts["link"], qr=qr)
        if facts["once"]:
            print("lets one person in, for as long as your node is in the room.")

    answer(home, json, show, "invite_link", hours=hours, once=once)
