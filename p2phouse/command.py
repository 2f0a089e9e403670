"""How a command line ends, ours and the relay's: one sentence for an error, and an exit code.

0 it is done, 1 it failed, 2 your mistake; 130 you stopped it.
"""

import json as jsonlib
import sys
from typing import Annotated, Final, NoReturn

import typer

from p2phouse.errors import P2PHouseError, UserError

FAILED: Final = 1
YOUR_MISTAKE: Final = 2
STOPPED: Final = 130

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def program(name: str, about: str) -> typer.Typer:
    """One without commands yet."""
    return typer.Typer(
        name=name,
        help=about,
        no_args_is_help=True,
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )


def run(app: typer.Typer) -> NoReturn:
    """Does what was typed, and ends the process."""
    name = str(app.info.name)
    try:
        app(standalone_mode=False)
    except UserError as error:
        fail(str(error), YOUR_MISTAKE, name)
    except P2PHouseError as error:
        fail(str(error), FAILED, name)
    except typer.Exit as leaving:
        sys.exit(leaving.exit_code)
    except (typer.Abort, KeyboardInterrupt):
        sys.exit(STOPPED)
    except Exception as error:
        # Broad: typer carries a click of its own, whose complaints about arguments have no class
        # that we could name; they are known by how they format. All else is a bug and goes on.
        text = getattr(error, "format_message", None)
        if text is None:
            raise
        fail(f"{text().rstrip('.')}. See {name} --help.", YOUR_MISTAKE, name)
    sys.exit(0)


def fail(text: str, code: int, name: str = "p2phouse") -> NoReturn:
    if "--json" in sys.argv:
        print(jsonlib.dumps({"error": text, "yours": code == YOUR_MISTAKE}))
    else:
        print(f"{name}: {text}", file=sys.stderr)
    sys.exit(code)
