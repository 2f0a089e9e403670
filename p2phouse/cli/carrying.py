"""Carrying the voices of others when a room grows."""

from typing import Annotated, Any

import typer

from p2phouse.cli.asking import Home, Json, answer

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
