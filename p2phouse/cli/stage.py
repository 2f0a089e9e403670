"""The stage and its audience: hands, invitations, stepping up and down, muting everybody."""

from typing import Annotated, Any

import typer

from p2phouse.cli.asking import Home, Who, answer, done
from p2phouse.command import Json

commands = typer.Typer()


@commands.command()
def hand(
    topic: Annotated[str, typer.Argument(help="What it is about, one line.")] = "",
    down: Annotated[bool, typer.Option("--down", help="Lower it.")] = False,
    home: Home = None,
    json: Json = False,
) -> None:
    """Raise your hand, with a topic if you like."""
    if down:
        answer(home, json, done("Your hand is down."), "lower_hand", who="")
        return
    answer(home, json, done("Your hand is up."), "hand", topic=topic)


@commands.command()
def hands(home: Home = None, json: Json = False) -> None:
    """List the hands that are up, in their order."""

    def show(facts: dict[str, Any]) -> None:
        raised = [member for member in facts["members"] if member.get("hand")]
        if not raised:
            print("No hand is up.")
        for member in sorted(raised, key=lambda each: each["hand"]["place"] or 99):
            who = "you" if member["you"] else member["name"] or member["key_tag"]
            print(f"{member['hand']['place'] or '…':>2}  {who:<28} {member['hand']['topic']}")

    answer(home, json, show, "members")


@commands.command()
def listeners(
    who: Annotated[
        str, typer.Argument(metavar="WHO", help="Name or its beginning, key tag or PeerId.")
    ] = "",
    home: Home = None,
    json: Json = False,
) -> None:
    """List who is in the audience, or of them who is called so."""

    def show(facts: dict[str, Any]) -> None:
        if not facts["listeners"]:
            print("Nobody in the audience is called so." if who else "Nobody is in the audience.")
        for person in facts["listeners"]:
            print(f"{person['name']:<28} {person['key_tag']}")

    answer(home, json, show, "listeners", who=who)


@commands.command("lower-hand")
def lower_hand(
    who: Annotated[str, typer.Argument(metavar="WHO", help="Nobody means everybody.")] = "*",
    home: Home = None,
    json: Json = False,
) -> None:
    """Ask a person, or everybody, to lower the hand."""
    answer(home, json, done("Asked to lower it."), "lower_hand", who=who)


@commands.command()
def stage(who: Who, home: Home = None, json: Json = False) -> None:
    """Ask a person to the stage."""
    answer(home, json, done(f"{who} may come to the stage."), "invite", who=who)


@commands.command()
def accept(home: Home = None, json: Json = False) -> None:
    """Come to the stage, muted."""
    answer(home, json, done("You are on stage, muted. p2phouse unmute to speak."), "accept")


@commands.command()
def decline(home: Home = None, json: Json = False) -> None:
    """Stay in the audience though you are invited."""
    answer(home, json, done("You stay in the audience."), "decline")


@commands.command("step-down")
def step_down(home: Home = None, json: Json = False) -> None:
    """Leave the stage for the audience."""
    answer(home, json, done("You are in the audience."), "step_down")


@commands.command()
def audience(who: Who, home: Home = None, json: Json = False) -> None:
    """Move a person from the stage to the audience."""
    answer(home, json, done(f"{who} is in the audience."), "audience", who=who)


@commands.command("mute-all")
def mute_all(
    lock: Annotated[
        bool, typer.Option("--lock", help="Nobody below you may unmute until unmute-all.")
    ] = False,
    home: Home = None,
    json: Json = False,
) -> None:
    """Ask everybody to mute, or mute them."""
    shown = "Everybody below you is muted." if lock else "Everybody is asked to mute."
    answer(home, json, done(shown), "mute_all", lock=lock)


@commands.command("unmute-all")
def unmute_all(home: Home = None, json: Json = False) -> None:
    """Let everybody whom you could mute speak again."""
    answer(home, json, done("They may unmute."), "unmute_all")


@commands.command()
def react(emoji: str, home: Home = None, json: Json = False) -> None:
    """Show everybody a reaction."""
    answer(home, json, done(f"{emoji}"), "react", emoji=emoji)
