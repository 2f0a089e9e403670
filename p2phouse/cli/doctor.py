"""What works between this machine and others."""

from typing import Any

import typer

from p2phouse.cli.asking import Home, answer
from p2phouse.command import Json

commands = typer.Typer()
MARKS = {True: "good", False: "BAD", None: "-"}


@commands.command()
def doctor(home: Home = None, json: Json = False) -> None:
    """Look at the network, the routers, the clock and the sound of this machine."""

    def show(facts: dict[str, Any]) -> None:
        for found in facts["findings"]:
            print(f"{MARKS[found['ok']]:<5} {found['what']:<10} {found['text']}")
            if found["next"] and found["ok"] is not True:
                print(f"{'':<16} {found['next']}")

    answer(home, json, show, "doctor")
