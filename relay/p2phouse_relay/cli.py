"""The relay's command line: `p2phouse-relay up` is the relay.

Imports only what `--help` needs. Exit codes as of p2phouse: 0 fine, 1 it failed, 2 your mistake.
"""

import json as jsonlib
import sys
from typing import Annotated, Final, NoReturn

import typer

from p2phouse import __version__
from p2phouse.errors import P2PHouseError, UserError

FAILED: Final = 1
YOUR_MISTAKE: Final = 2

Home = Annotated[str | None, typer.Option("--home", metavar="DIR", help="Folder of the relay.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]

app = typer.Typer(
    name="p2phouse-relay",
    help="A volunteer relay: carries rooms for people who cannot reach one another.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def relay() -> None:
    """With one command alone typer would make it the whole program."""


@app.command()
def up(
    dev: Annotated[
        bool, typer.Option("--dev", help="A trial on this machine: no TLS, no tokens, any room.")
    ] = False,
    home: Home = None,
    http_port: Annotated[
        int | None, typer.Option(min=0, max=65_535, help="TCP port; 0 picks a free one.")
    ] = None,
    udp_port: Annotated[
        int | None, typer.Option(min=0, max=65_535, help="UDP port; 0 picks a free one.")
    ] = None,
    address: Annotated[
        str | None, typer.Option(metavar="IP", help="This machine's address to be reached at.")
    ] = None,
    log: Annotated[
        str, typer.Option(metavar="LEVEL", help="debug, info, warning or error.")
    ] = "warning",
    tied: Annotated[
        bool, typer.Option("--tied", help="End as well when standard input does.")
    ] = False,
    json: Json = False,
) -> None:
    """Run a relay until Ctrl-C."""
    from p2phouse_relay.run import Settings, run_relay

    run_relay(
        Settings(
            dev=dev,
            home=home,
            http_port=http_port,
            udp_port=udp_port,
            address=address,
            log=log,
            json=json,
            tied=tied,
        )
    )


@app.command()
def version(json: Json = False) -> None:
    """Print the version."""
    print(jsonlib.dumps({"version": __version__}) if json else f"p2phouse-relay {__version__}")


def main() -> NoReturn:
    """Entry point. Turns errors into one sentence and an exit code."""
    try:
        app(standalone_mode=False)
    except UserError as error:
        _fail(str(error), YOUR_MISTAKE)
    except P2PHouseError as error:
        _fail(str(error), FAILED)
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
        _fail(f"{text().rstrip('.')}. See p2phouse-relay --help.", YOUR_MISTAKE)
    sys.exit(0)


def _fail(text: str, code: int) -> NoReturn:
    if "--json" in sys.argv:
        print(jsonlib.dumps({"error": text, "yours": code == YOUR_MISTAKE}))
    else:
        print(f"p2phouse-relay: {text}", file=sys.stderr)
    sys.exit(code)
