"""The command line: `p2phouse up` is a node, every other command asks the node that runs.

Imports only what `--help` needs; a command imports the rest itself (libp2p alone takes a second).
Each module has the commands of one subject. Exit codes: 0 fine, 1 it failed, 2 your mistake.
"""

import sys
from typing import NoReturn

import typer

from p2phouse.cli import (
    access,
    carrying,
    chat,
    doctor,
    following,
    members,
    node,
    people,
    relays,
    roles,
    room,
    sound,
    stage,
)
from p2phouse.cli.asking import FAILED, YOUR_MISTAKE, fail
from p2phouse.errors import P2PHouseError, UserError

app = typer.Typer(
    name="p2phouse",
    help="Live audio rooms with no company in the middle.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for subject in (node, room, sound, members, carrying, relays, roles, access):
    app.add_typer(subject.commands)
for subject in (following, stage, chat, people, doctor):
    app.add_typer(subject.commands)


def main() -> NoReturn:
    """Entry point. Turns errors into one sentence and an exit code."""
    try:
        app(standalone_mode=False)
    except UserError as error:
        fail(str(error), YOUR_MISTAKE)
    except P2PHouseError as error:
        fail(str(error), FAILED)
    except typer.Exit as leaving:
        sys.exit(leaving.exit_code)
    except (typer.Abort, KeyboardInterrupt):
        sys.exit(130)
    except Exception as error:
        # Broad: typer carries a click of its own, whose complaints about arguments have no class
        # that we could name; they are known by how they format. All else is a bug and goes on.
        text = getattr(error, "format_message", None)
        if text is None:
            raise
        fail(f"{text().rstrip('.')}. See p2phouse --help.", YOUR_MISTAKE)
    sys.exit(0)
