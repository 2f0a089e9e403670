"""Running the room: seats, roles, title, lock and end."""

from typing import Annotated, Any

import typer

from p2phouse.cli.asking import Home, Who, answer, done
from p2phouse.command import Json

commands = typer.Typer()


@commands.command()
def grant(
    who: Who,
    host: Annotated[bool, typer.Option("--host", help="Host instead of moderator.")] = False,
    home: Home = None,
    json: Json = False,
) -> None:
    """Make a person moderator of the room."""
    seat = "host" if host else "moderator"
    answer(home, json, done(f"{who} is {seat} now."), "grant", who=who, seat=seat)


@commands.command()
def revoke(who: Who, home: Home = None, json: Json = False) -> None:
    """Take all seats of a person back."""
    answer(home, json, done(f"{who} runs this room no more."), "revoke", who=who)


@commands.command()
def role(
    who: Annotated[str, typer.Argument(metavar="WHO", help="Name, key tag or PeerId.")],
    role: Annotated[
        str, typer.Argument(metavar="ROLE", help="speaker, muted, listener, remove or ban.")
    ] = "",
    everybody: Annotated[
        bool, typer.Option("--all", help="For all who have no role of their own: --all ROLE.")
    ] = False,
    home: Home = None,
    json: Json = False,
) -> None:
    """Say what a person is in the room."""
    if everybody:
        who, role = "", who
    shown = f"{who or 'Everybody without a role of their own'}: {role}."
    answer(home, json, done(shown), "role", who=who, role=role)


@commands.command()
def title(title: str, home: Home = None, json: Json = False) -> None:
    """Give the room another title."""
    answer(home, json, done(f"The room is “{title}” now."), "title", title=title)


@commands.command()
def lock(home: Home = None, json: Json = False) -> None:
    """Let nobody new into the room."""
    answer(home, json, done("Nobody new comes in."), "lock")


@commands.command()
def unlock(home: Home = None, json: Json = False) -> None:
    """Let people in again."""
    answer(home, json, done("People can come in again."), "unlock")


@commands.command()
def end(home: Home = None, json: Json = False) -> None:
    """End the room for everybody."""
    answer(home, json, done("The room is over."), "end")


@commands.command("guest-token")
def guest_token(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Under which the guest speaks.")],
    home: Home = None,
    json: Json = False,
) -> None:
    """Let somebody speak in your open room with an encoder, through its relay."""

    def show(facts: dict[str, Any]) -> None:
        print(f"{name} may speak here through the room's relay, as {facts['key_tag']}. In OBS or")
        print("another program that speaks WHIP, after the address of the relay's page:")
        print(f"    {facts['path']}")
        print(f"    Bearer Token: {facts['token']}")
        print("Whoever has the token is that person here; mute or remove it like anybody.")

    answer(home, json, show, "guest_token", name=name)


@commands.command()
def why(
    who: Annotated[str, typer.Argument(metavar="WHO", help="Nobody means you.")] = "",
    home: Home = None,
    json: Json = False,
) -> None:
    """Say who made a person what that is in the room."""

    def show(facts: dict[str, Any]) -> None:
        print(f"{who or 'You'}: {facts['level']}, {facts['role'] or 'not let in'}")
        for entry in facts["entries"]:
            print(f"    {entry['act']} {entry['value'] or ''} by {entry['by']}")

    answer(home, json, show, "why", who=who)
