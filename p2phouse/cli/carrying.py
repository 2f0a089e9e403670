"""Carrying the voices of others when a room grows; and how a room is carried, in words."""

from collections.abc import Iterator
from typing import Annotated, Any

import typer

from p2phouse.cli.asking import Home, answer
from p2phouse.command import Json

commands = typer.Typer()


@commands.command()
def carry(
    choice: Annotated[
        str, typer.Argument(metavar="CHOICE", help="auto or never; nothing: say how it is.")
    ] = "",
    cap: Annotated[
        float | None, typer.Option("--cap", metavar="MBPS", help="Send at most so many Mb/s.")
    ] = None,
    metered: Annotated[
        bool | None,
        typer.Option("--metered/--unmetered", help="What is sent from here costs money, or not."),
    ] = None,
    home: Home = None,
    json: Json = False,
) -> None:
    """Carry the voices of others when a room of yours grows, or never."""
    values: dict[str, Any] = {"choice": choice}
    if cap is not None:
        values["cap_kbps"] = max(1, round(cap * 1_000))  # 0 would keep the old one
    if metered is not None:
        values["metered"] = "yes" if metered else "no"
    answer(home, json, lambda facts: print(_said(facts)), "carry", **values)


def _said(facts: dict[str, Any]) -> str:
    if facts["carry"] == "never":
        return "You never carry the voices of others."
    most = f"{facts['links']} people, {facts['cap_kbps'] / 1_000:g} Mb/s"
    if facts["willing"]:
        return f"You carry a room of yours that outgrows its links: at most {most}."
    reason = "your network is metered" if facts["metered"] else "you are on battery"
    return f"You carry at most {most}, but not now: {reason}."


def carried(facts: dict[str, Any]) -> Iterator[str]:
    """How the voices of the room travel, and why: a line or a few."""
    hub, standby = facts.get("hub"), facts.get("standby")
    if hub is not None:
        yield facts.get("carried_text") or f"carried by {'you' if hub['me'] else hub['name']}"
        if standby is not None:
            who = "you take" if standby["me"] else f"{standby['name']} takes"
            yield f"{who} over at once if {'your node' if hub['me'] else hub['name']} stops"
    elif facts["people"] > 1:
        yield "direct: each sends its voice to everybody"
    if facts.get("carrying"):
        load = facts["carrying"]
        cost = f"{load['people']} people, {load['kbps'] / 1_000:.1f} Mb/s"
        yield f"you carry this room: {cost} (p2phouse carry never: no more)"
    if facts.get("needs_relay"):
        is_pair = facts.get("shape_why") == "pair"
        whom = "two who cannot meet" if is_pair else f"{facts['people']} people"
        yield f"This room needs a relay: nobody here can carry {whom}."
        yield "Who has a good connection may: plug the machine in, then p2phouse carry auto"
