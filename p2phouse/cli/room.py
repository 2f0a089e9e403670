"""Rooms: which there are, and the ways in and out."""

from typing import Annotated, Any

import typer

from p2phouse.cli import guests
from p2phouse.cli.asking import Home, answer
from p2phouse.cli.carrying import carried
from p2phouse.cli.relays import settle
from p2phouse.command import YOUR_MISTAKE, Json, fail

commands = typer.Typer()


@commands.command()
def rooms(home: Home = None, json: Json = False) -> None:
    """List the rooms that your node can see."""

    def show(facts: dict[str, Any]) -> None:
        if not facts["rooms"]:
            print('No rooms yet. Open one: p2phouse open "Morning coffee"')
        for room in facts["rooms"]:
            here = "nobody answers" if room["ghost"] else f"{room['people']:>2} here"
            print(
                f"{room['room'][:8]}  {room['title']:<40}  {here}"
                f"  host {room['host']}  {age(room['age_s'])}  {room['access']}"
            )

    answer(home, json, show, "rooms")


@commands.command()
def room(home: Home = None, json: Json = False) -> None:
    """Show the room you are in: how many are there, and who carries it."""

    def show(facts: dict[str, Any]) -> None:
        if facts["room"] is None:
            fail("You are not in a room.", YOUR_MISTAKE)
        print(f"“{facts['title']}”")
        if facts.get("waiting"):
            print(facts["waiting_text"])
            return
        print(f"{facts['access']}, {facts['people']} here, {facts['on_stage']} on stage")
        for via in facts["guests"]:
            print(f"+ {via['count']} guests via {via['name']}, which counts them alone")
        print(f"you: {facts['level']}, {'muted' if facts['muted'] else 'unmuted'}")
        for line in carried(facts):
            print(line)

    answer(home, json, show, "status")


@commands.command("open")
def open_(
    title: str,
    invited: Annotated[
        bool, typer.Option("--invited", help="Who comes listens; you ask people to the stage.")
    ] = False,
    access: Annotated[
        str, typer.Option("--access", metavar="WHO", help="open, social, closed or lan.")
    ] = "open",
    lan: Annotated[bool, typer.Option("--lan", help="The same as --access lan.")] = False,
    speakers: Annotated[
        int, typer.Option("--speakers", min=1, max=16, help="Places on the stage.")
    ] = 16,
    relay: Annotated[
        str, typer.Option("--relay", metavar="HOST", help="Have this relay carry the room.")
    ] = "",
    grant: Annotated[
        str, typer.Option("--grant", metavar="TEXT", help="A relay grant, as you were given.")
    ] = "",
    with_guests: Annotated[
        bool, typer.Option("--guests", help="People of your network listen in a browser.")
    ] = False,
    home: Home = None,
    json: Json = False,
) -> None:
    """Open a room and be in it, muted."""

    def show(facts: dict[str, Any]) -> None:
        print(f"“{facts['title']}” is open; you are in it, muted. Others join with")
        print(f"    p2phouse join '{facts['link']}'")
        if facts["access"] == "closed":
            print("and wait until you let them in: p2phouse lobby. At once: p2phouse invite-link")
        else:
            print(f"or, on this network, p2phouse join {facts['room'][:8]}")
        print(facts["exposure"])
        if "guests_here" in facts:
            guests.show(facts["guests_here"])
        if "relay" in facts:
            settle(facts["relay"], home, relay, grant)

    stage = "invited" if invited else "everyone"
    how: dict[str, Any] = {"access": access, "lan": lan, "stage": stage, "speakers": speakers}
    if with_guests:
        how["guests"] = True
    if relay:
        how |= {"relay": relay, "grant": grant}
    answer(home, json, show, "open", title=title, **how)


@commands.command()
def join(
    room: Annotated[str, typer.Argument(help="Id, title, p2ph: link or HOST:PORT.")],
    home: Home = None,
    json: Json = False,
) -> None:
    """Join a room, muted."""

    def show(facts: dict[str, Any]) -> None:
        people = facts["people"]
        print(f"You are in “{facts['title']}”, muted, with {people - 1} other(s).")
        print(f"{facts['exposure']} p2phouse unmute to speak.")

    answer(home, json, show, "join", room=room)


@commands.command()
def leave(home: Home = None, json: Json = False) -> None:
    """Leave the room."""
    answer(home, json, lambda _: print("You left the room."), "leave")


@commands.command("continue")
def continue_(home: Home = None, json: Json = False) -> None:
    """Open the room in which yours goes on when it closes, and be in it, muted."""

    def show(facts: dict[str, Any]) -> None:
        print(f"“{facts['title']}” goes on here; you are in it, muted. The others are offered to")
        print("move; those who are elsewhere join with")
        print(f"    p2phouse join '{facts['link']}'")

    answer(home, json, show, "continue_room")


@commands.command()
def move(home: Home = None, json: Json = False) -> None:
    """Go on in the room that somebody opened to continue yours, muted."""

    def show(facts: dict[str, Any]) -> None:
        print(f"You went on to “{facts['title']}”, muted, with {facts['people'] - 1} other(s).")

    answer(home, json, show, "move")


def age(seconds: int) -> str:
    return f"{seconds // 60} min" if seconds >= 60 else f"{seconds} s"
