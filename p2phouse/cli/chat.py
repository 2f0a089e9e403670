"""The room's chat."""

import json as jsonlib
import time
from collections.abc import Iterator
from typing import Annotated, Any

import typer

from p2phouse.cli.asking import Home, answer, done
from p2phouse.command import Json

commands = typer.Typer()

MessageId = Annotated[str, typer.Argument(metavar="ID", help="Of `p2phouse chat`, or its start.")]


@commands.command()
def chat(
    text: Annotated[str, typer.Argument(help="What to write; nothing: show the chat.")] = "",
    follow: Annotated[
        bool, typer.Option("--follow", help="Go on showing what is written, until Ctrl-C.")
    ] = False,
    home: Home = None,
    json: Json = False,
) -> None:
    """Write to everybody in the room, or read what was written."""
    if text:
        answer(home, json, lambda _: None, "chat", text=text)
        return
    if not follow:
        answer(home, json, _show, "messages", since=0)
        return
    seen: set[str] = set()

    def show_new(facts: dict[str, Any]) -> None:
        for heading, message in _all(facts):
            if message["id"] not in seen:
                seen.add(message["id"])
                print(jsonlib.dumps(message) if json else _line(message, heading), flush=True)

    def tell(event: dict[str, Any]) -> None:
        if event["event"] in ("chat", "pins_changed"):
            answer(home, False, show_new, "messages", since=0)

    answer(home, False, show_new, "messages", since=0)
    answer(home, json, _show, "events", tell=tell)


def _show(facts: dict[str, Any]) -> None:
    for heading, message in _all(facts):
        print(_line(message, heading))
    if facts["mode"] == "off":
        print("The chat is off; those who run the room can switch it on.")
    elif not facts["messages"]:
        print("Nothing was written yet.")


def _all(facts: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for heading, part in (("pinned", "pins"), ("moderators", "mods"), ("", "messages")):
        for message in facts[part]:
            yield heading, message


def _line(message: dict[str, Any], heading: str) -> str:
    at = time.strftime("%H:%M", time.localtime(message["at_s"]))
    who = message["name"] or message["by"]
    text = "(deleted)" if message["deleted"] else message["text"]
    return f"{message['id'][:8]}  {at}  {f'[{heading}] ' if heading else ''}{who}: {text}"


@commands.command()
def unsay(message: MessageId, home: Home = None, json: Json = False) -> None:
    """Take a message back: yours, or as moderator that of somebody below you."""
    answer(home, json, done("It is taken back."), "unsay", message=message)


@commands.command()
def pin(text: str, home: Home = None, json: Json = False) -> None:
    """Pin a link or a line for everybody; the last three are shown."""
    answer(home, json, done("It is pinned."), "pin", text=text)


@commands.command()
def unpin(message: MessageId, home: Home = None, json: Json = False) -> None:
    """Take a pin off."""
    answer(home, json, done("It is pinned no more."), "unpin", message=message)


@commands.command()
def mods(text: str, home: Home = None, json: Json = False) -> None:
    """Write to those who run the room alone."""
    answer(home, json, lambda _: None, "mods", text=text)


@commands.command("chat-mode")
def chat_mode(
    mode: Annotated[str, typer.Argument(help="on, off, or seconds of slow mode.")],
    home: Home = None,
    json: Json = False,
) -> None:
    """Switch the chat on, off, or to slow mode."""
    asked = int(mode) if mode.isascii() and mode.isdigit() and len(mode) < 6 else mode
    answer(home, json, done(f"The chat is {_said(asked)} now."), "chat_mode", mode=asked)


def _said(mode: str | int) -> str:
    return f"in slow mode, one message a person in {mode} s," if isinstance(mode, int) else mode
