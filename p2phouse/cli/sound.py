"""Mouth and ear: mute, unmute, and sound from and to files."""

from pathlib import Path
from typing import Annotated, Any

import typer

from p2phouse.cli.asking import Home, answer
from p2phouse.command import FAILED, Json, fail

commands = typer.Typer()


@commands.command()
def mute(home: Home = None, json: Json = False) -> None:
    """Stop sending your voice."""
    answer(home, json, lambda _: print("You are muted."), "mute")


@commands.command()
def unmute(home: Home = None, json: Json = False) -> None:
    """Send your voice; opens the microphone if the node has one."""

    def show(facts: dict[str, Any]) -> None:
        if facts["mouth"] == "none":
            print("You are unmuted, but this node has no microphone: p2phouse up --audio device")
        elif facts["mouth"] == "page":
            print("You are unmuted. Your microphone is in the page: p2phouse page")
        else:
            print("You are heard.")

    answer(home, json, show, "unmute")


@commands.command("sound-check")
def sound_check(home: Home = None, json: Json = False) -> None:
    """Say why somebody in the room is not heard, or you are not, and what helps."""

    def show(facts: dict[str, Any]) -> None:
        for each in facts["causes"]:
            print(f"{'You' if each['you'] else each['who']}: {each['text']} {each['remedy']}")
        if not facts["causes"]:
            print("Nothing is known to be wrong.")

    answer(home, json, show, "sound_check")


@commands.command()
def say(file: Path, home: Home = None, json: Json = False) -> None:
    """Speak a sound file into the room, then be as muted as before."""
    shown = f"You said {file.name}."
    answer(home, json, lambda _: print(shown), "say", path=str(file.absolute()))


@commands.command()
def listen(
    out: Annotated[Path, typer.Option("--out", help="WAV file for what you hear.")],
    home: Home = None,
    json: Json = False,
) -> None:
    """Write what you hear to a file, until Ctrl-C or the end of the room."""

    def show(facts: dict[str, Any]) -> None:
        if facts["trouble"]:
            fail(facts["trouble"], FAILED)
        print(f"What was heard is in {facts['out']}.")

    answer(home, json, show, "listen", out=str(out.absolute()))
