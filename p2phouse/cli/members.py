"""Who is in the room."""

from typing import Any

import typer

from p2phouse.cli.asking import Home, Json, answer

commands = typer.Typer()


@commands.command()
def members(home: Home = None, json: Json = False) -> None:
    """List who is in the room."""

    def show(facts: dict[str, Any]) -> None:
        if not facts["members"]:
            print("You are not in a room.")
        for member in facts["members"]:
            who = member["name"] or member["key_tag"]
            you = " (you)" if member["you"] else ""
            voice = "muted" if member["muted"] else "speaking"
            path = f"  {member['rtt_ms']:.1f} ms" if member.get("rtt_ms") else ""
            print(f"{who + you:<28} {voice:<9} {member['link']}{path}")

    answer(home, json, show, "members")
