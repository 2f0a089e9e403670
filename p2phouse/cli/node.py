"""The node and its page: `up` runs one; who it is; `demo` runs three."""

import json as jsonlib
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from p2phouse import __version__
from p2phouse.cli.asking import Home, answer
from p2phouse.command import Json

commands = typer.Typer()
who_app = typer.Typer(help="Who you are to others.", no_args_is_help=True)
commands.add_typer(who_app, name="id")


@commands.command()
def up(
    home: Home = None,
    port: Annotated[
        int | None,
        typer.Option(min=0, max=65_535, help="TCP and UDP port; 0 or none picks a free one."),
    ] = None,
    audio: Annotated[
        str | None,
        typer.Option(
            metavar="SOUND",
            help="device, device:NAME, file:PATH, tone, silence or none, instead of the page.",
        ),
    ] = None,
    name: Annotated[str, typer.Option(metavar="NAME", help="First name that people see.")] = "",
    no_lan: Annotated[
        bool, typer.Option("--no-lan", help="Neither look for nor be seen by this network.")
    ] = False,
    loopback: Annotated[
        bool, typer.Option("--loopback", help="Meet only nodes of this machine.")
    ] = False,
    relay: Annotated[
        list[str] | None,
        typer.Option(
            metavar="HOST:PORT",
            help="Keep in touch with this node and be reached through it; up to four times.",
        ),
    ] = None,
    relay_only: Annotated[
        bool,
        typer.Option("--relay-only", help="Show your network address to those relays alone."),
    ] = False,
    no_page: Annotated[
        bool, typer.Option("--no-page", help="Neither serve nor open the page.")
    ] = False,
    log: Annotated[
        str, typer.Option(metavar="LEVEL", help="debug, info, warning or error.")
    ] = "warning",
    tied: Annotated[
        bool, typer.Option("--tied", help="End as well when standard input does.")
    ] = False,
    json: Json = False,
) -> None:
    """Run a node until Ctrl-C."""
    from p2phouse.run import Settings, run_node

    run_node(
        Settings(
            home=home,
            port=port or None,
            audio=audio,
            name=name,
            lan="off" if no_lan else "loopback" if loopback else "on",
            log=log,
            json=json,
            tied=tied,
            page=not no_page,
            relays=tuple(relay or ()),
            relay_only=relay_only,
        )
    )


@commands.command()
def page(home: Home = None, json: Json = False) -> None:
    """Open the page of your node in a browser."""
    from p2phouse.browser import show as show_in_browser

    def show(facts: dict[str, Any]) -> None:
        if show_in_browser(Path(facts["file"])):
            print("The page opens in your browser.")
        else:
            print("No browser could be started here. Open this file in one within a minute:")
            print(f"    {facts['file']}")

    answer(home, json, show, "page")


@commands.command()
def status(home: Home = None, json: Json = False) -> None:
    """Show how your node is."""

    def show(facts: dict[str, Any]) -> None:
        where = f"in “{facts['title']}”" if facts["room"] else "in no room"
        if facts.get("waiting"):
            where = f"waiting to be let into “{facts['title']}”"
        print(f"p2phouse {facts['version']}, {facts['name'] or facts['key_tag']}, {where}")
        print(f"port {facts['port']}, microphone: {facts['mouth']}")
        if facts["media_pid"] is None or facts["media_restarts"]:
            state = "starting" if facts["media_pid"] is None else "running"
            print(f"sound: {state}, started anew {facts['media_restarts']} time(s)")

    answer(home, json, show, "status")


@commands.command()
def events(home: Home = None, json: Json = False) -> None:
    """Print what happens as it does, until Ctrl-C."""

    def tell(event: dict[str, Any]) -> None:
        shown = f"{event['event']} {event['text']}".rstrip()
        print(jsonlib.dumps(event) if json else shown, flush=True)

    answer(home, json, tell, "events", tell=tell)


@commands.command()
def demo(
    once: Annotated[bool, typer.Option("--once", help="End after everybody has spoken.")] = False,
    json: Json = False,
    spread: Annotated[
        float, typer.Option(min=0, max=30, help="Start the nodes this many seconds apart at most.")
    ] = 0.0,
    seed: Annotated[int | None, typer.Option(help="Order and pauses of the start.")] = None,
    keep: Annotated[
        Path | None, typer.Option(help="Keep what each node heard in this folder.")
    ] = None,
    log: Annotated[str, typer.Option(help="Of the nodes: debug, info, …")] = "warning",
) -> None:
    """Three nodes on this machine find one another, open a room and talk."""
    from p2phouse.demo import run_demo

    sys.exit(run_demo(once=once, json=json, spread_s=spread, seed=seed, keep=keep, log=log))


@who_app.command("show")
def id_show(home: Home = None, json: Json = False) -> None:
    """Show your key tag, PeerId and listen addresses."""

    def show(facts: dict[str, Any]) -> None:
        print(f"key tag   {facts['key_tag']}")
        print(f"PeerId    {facts['peer_id']}")
        for addr in facts["addrs"]:
            print(f"listening {addr}")

    answer(home, json, show, "id")


@who_app.command("rename")
def id_rename(
    name: Annotated[str, typer.Argument(metavar="NAME", help="First name that people see.")],
    home: Home = None,
    json: Json = False,
) -> None:
    """Take on another name, from the next room on."""
    answer(home, json, lambda facts: print(f"You are {facts['name']} now."), "rename", name=name)


@commands.command()
def version(json: Json = False) -> None:
    """Print the version."""
    print(jsonlib.dumps({"version": __version__}) if json else f"p2phouse {__version__}")
