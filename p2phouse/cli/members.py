"""Who is in the room."""

from collections.abc import Iterator
from typing import Any

import typer

from p2phouse.cli.asking import Home, answer
from p2phouse.cli.carrying import carried
from p2phouse.command import Json

commands = typer.Typer()


@commands.command()
def members(home: Home = None, json: Json = False) -> None:
    """List who is in the room."""

    def show(facts: dict[str, Any]) -> None:
        if facts.get("waiting"):
            print(facts["waiting_text"])
        elif not facts["members"]:
            print("You are not in a room.")
        for member in facts["members"]:
            kind = "relay " if member.get("relay") else ""
            who = kind + (member["name"] or member["key_tag"])
            you = " (you)" if member["you"] else ""
            path = f"  {member['rtt_ms']:.1f} ms" if member.get("rtt_ms") else ""
            notes = "".join(f"  {note}" for note in _notes(member))
            print(f"{who + you:<28} {_voice(member):<9} {member['link']}{path}{notes}")
        if facts["members"]:
            more = facts["people"] - sum(not each.get("relay") for each in facts["members"])
            for line in (*([f"and {more} more"] if more > 0 else ()), *carried(facts)):
                print(line)

    answer(home, json, show, "members")


def _voice(member: dict[str, Any]) -> str:
    if member.get("relay"):
        return "carries"
    if not member.get("on_stage", True):
        return "listening"
    return "muted" if member["muted"] else "speaking"


def _notes(member: dict[str, Any]) -> Iterator[str]:
    """What else there is to know of a member, most of the time nothing."""
    if member.get("tunnelled"):
        yield "through HTTPS, because UDP is blocked: higher delay"
    if member.get("level") in ("creator", "host", "moderator"):
        yield member["level"]
    if member.get("invited"):
        yield "asked to the stage"
    if member.get("hand"):
        yield f"hand up: {member['hand']['topic']}".removesuffix(": ")
    if member.get("blocked"):
        yield "blocked by you"
    if member.get("forged"):
        yield "FORGED: somebody spoke in this name"
    if member.get("silence"):
        yield f"{member['silence']['text']} {member['silence']['remedy']}"
