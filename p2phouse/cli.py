"""The command line: `p2phouse up` is a node, every other command asks the node that runs.

Imports only what `--help` needs; a command imports the rest itself (libp2p alone takes a second).
Exit codes: 0 fine, 1 it failed, 2 your mistake.
"""

import contextlib
import json as jsonlib
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, Final, NoReturn

import typer

from p2phouse import __version__
from p2phouse.errors import P2PHouseError, UserError

FAILED: Final = 1
YOUR_MISTAKE: Final = 2

app = typer.Typer(
    name="p2phouse",
    help="Live audio rooms with no company in the middle.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
id_app = typer.Typer(help="Who you are to others.", no_args_is_help=True)
app.add_typer(id_app, name="id")

Home = Annotated[
    str | None, typer.Option("--home", metavar="DIR", help="Folder of the node (or P2PHOUSE_HOME).")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


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
        text = getattr(error, "format_message", None)  # click's own complaints about arguments
        if text is None:
            raise
        _fail(f"{text().rstrip('.')}. See p2phouse --help.", YOUR_MISTAKE)
    sys.exit(0)


def _fail(text: str, code: int) -> NoReturn:
    if "--json" in sys.argv:
        print(jsonlib.dumps({"error": text, "yours": code == YOUR_MISTAKE}))
    else:
        print(f"p2phouse: {text}", file=sys.stderr)
    sys.exit(code)


# ── the node ─────────────────────────────────────────────────────────────────────────────────


@app.command()
def up(
    home: Home = None,
    port: Annotated[
        int | None,
        typer.Option(min=0, max=65_535, help="TCP and UDP port; 0 or none picks a free one."),
    ] = None,
    audio: Annotated[
        str | None,
        typer.Option(
            metavar="SOUND",
            help="device, device:NAME, file:PATH, tone, silence or none, instead of the page.",
        ),
    ] = None,
    name: Annotated[str, typer.Option(metavar="NAME", help="First name that people see.")] = "",
    no_lan: Annotated[
        bool, typer.Option("--no-lan", help="Neither look for nor be seen by this network.")
    ] = False,
    loopback: Annotated[
        bool, typer.Option("--loopback", help="Meet only nodes of this machine.")
    ] = False,
    no_page: Annotated[
        bool, typer.Option("--no-page", help="Neither serve nor open the page.")
    ] = False,
    log: Annotated[
        str, typer.Option(metavar="LEVEL", help="debug, info, warning or error.")
    ] = "warning",
    tied: Annotated[
        bool, typer.Option("--tied", help="End as well when standard input does.")
    ] = False,
    json: Json = False,
) -> None:
    """Run a node until Ctrl-C."""
    from p2phouse.run import Settings, run_node

    run_node(
        Settings(
            home=home,
            port=port or None,
            audio=audio,
            name=name,
            lan="off" if no_lan else "loopback" if loopback else "on",
            log=log,
            json=json,
            tied=tied,
            page=not no_page,
        )
    )


@app.command()
def page(home: Home = None, json: Json = False) -> None:
    """Open the page of your node in a browser."""
    from p2phouse.browser import show as show_in_browser

    def show(facts: dict[str, Any]) -> None:
        if show_in_browser(Path(facts["file"])):
            print("The page opens in your browser.")
        else:
            print("No browser could be started here. Open this file in one within a minute:")
            print(f"    {facts['file']}")

    _answer(home, json, show, "page")


@app.command()
def demo(
    once: Annotated[bool, typer.Option("--once", help="End after everybody has spoken.")] = False,
    json: Json = False,
    spread: Annotated[
        float, typer.Option(min=0, max=30, help="Start the nodes this many seconds apart at most.")
    ] = 0.0,
    seed: Annotated[int | None, typer.Option(help="Order and pauses of the start.")] = None,
    keep: Annotated[
        Path | None, typer.Option(help="Keep what each node heard in this folder.")
    ] = None,
    log: Annotated[str, typer.Option(help="Of the nodes: debug, info, …")] = "warning",
) -> None:
    """Three nodes on this machine find one another, open a room and talk."""
    from p2phouse.demo import run_demo

    sys.exit(run_demo(once=once, json=json, spread_s=spread, seed=seed, keep=keep, log=log))


# ── asking the node ──────────────────────────────────────────────────────────────────────────


@app.command()
def rooms(home: Home = None, json: Json = False) -> None:
    """List the rooms that your node can see."""

    def show(facts: dict[str, Any]) -> None:
        if not facts["rooms"]:
            print('No rooms yet. Open one: p2phouse open "Morning coffee"')
        for room in facts["rooms"]:
            print(
                f"{room['room'][:8]}  {room['title']:<40}  {room['people']:>2} here"
                f"  host {room['host']}  {_age(room['age_s'])}  {room['access']}"
            )

    _answer(home, json, show, "rooms")


@app.command("open")
def open_(
    title: str,
    lan: Annotated[bool, typer.Option("--lan", help="Only for people on this network.")] = False,
    home: Home = None,
    json: Json = False,
) -> None:
    """Open a room and be in it, muted."""

    def show(facts: dict[str, Any]) -> None:
        print(f"“{facts['title']}” is open; you are in it, muted. Others join with")
        print(f"    p2phouse join '{facts['link']}'")
        print(f"or, on this network, p2phouse join {facts['room'][:8]}")
        print("People here can see your network address.")

    _answer(home, json, show, "open", title=title, lan=lan)


@app.command()
def join(
    room: Annotated[str, typer.Argument(help="Id, title, p2ph: link or HOST:PORT.")],
    home: Home = None,
    json: Json = False,
) -> None:
    """Join a room, muted."""

    def show(facts: dict[str, Any]) -> None:
        people = facts["people"]
        print(f"You are in “{facts['title']}”, muted, with {people - 1} other(s).")
        print("People here can see your network address. p2phouse unmute to speak.")

    _answer(home, json, show, "join", room=room)


@app.command()
def leave(home: Home = None, json: Json = False) -> None:
    """Leave the room."""
    _answer(home, json, lambda _: print("You left the room."), "leave")


@app.command()
def mute(home: Home = None, json: Json = False) -> None:
    """Stop sending your voice."""
    _answer(home, json, lambda _: print("You are muted."), "mute")


@app.command()
def unmute(home: Home = None, json: Json = False) -> None:
    """Send your voice; opens the microphone if the node has one."""

    def show(facts: dict[str, Any]) -> None:
        if facts["mouth"] == "none":
            print("You are unmuted, but this node has no microphone: p2phouse up --audio device")
        elif facts["mouth"] == "page":
            print("You are unmuted. Your microphone is in the page: p2phouse page")
        else:
            print("You are heard.")

    _answer(home, json, show, "unmute")


@app.command()
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

    _answer(home, json, show, "members")


Who = Annotated[str, typer.Argument(metavar="WHO", help="Name, key tag or PeerId.")]


def _done(text: str) -> Callable[[dict[str, Any]], None]:
    return lambda _: print(text)


@app.command()
def grant(
    who: Who,
    host: Annotated[bool, typer.Option("--host", help="Host instead of moderator.")] = False,
    home: Home = None,
    json: Json = False,
) -> None:
    """Make a person moderator of the room."""
    seat = "host" if host else "moderator"
    _answer(home, json, _done(f"{who} is {seat} now."), "grant", who=who, seat=seat)


@app.command()
def revoke(who: Who, home: Home = None, json: Json = False) -> None:
    """Take all seats of a person back."""
    _answer(home, json, _done(f"{who} runs this room no more."), "revoke", who=who)


@app.command()
def role(
    who: Annotated[str, typer.Argument(metavar="WHO", help="Name, key tag or PeerId.")],
    role: Annotated[
        str, typer.Argument(metavar="ROLE", help="speaker, muted, listener, remove or ban.")
    ] = "",
    everybody: Annotated[
        bool, typer.Option("--all", help="For all who have no role of their own: --all ROLE.")
    ] = False,
    home: Home = None,
    json: Json = False,
) -> None:
    """Say what a person is in the room."""
    if everybody:
        who, role = "", who
    shown = f"{who or 'Everybody without a role of their own'}: {role}."
    _answer(home, json, _done(shown), "role", who=who, role=role)


@app.command()
def title(title: str, home: Home = None, json: Json = False) -> None:
    """Give the room another title."""
    _answer(home, json, _done(f"The room is “{title}” now."), "title", title=title)


@app.command()
def lock(home: Home = None, json: Json = False) -> None:
    """Let nobody new into the room."""
    _answer(home, json, _done("Nobody new comes in."), "lock")


@app.command()
def unlock(home: Home = None, json: Json = False) -> None:
    """Let people in again."""
    _answer(home, json, _done("People can come in again."), "unlock")


@app.command()
def end(home: Home = None, json: Json = False) -> None:
    """End the room for everybody."""
    _answer(home, json, _done("The room is over."), "end")


@app.command()
def why(
    who: Annotated[str, typer.Argument(metavar="WHO", help="Nobody means you.")] = "",
    home: Home = None,
    json: Json = False,
) -> None:
    """Say who made a person what that is in the room."""

    def show(facts: dict[str, Any]) -> None:
        print(f"{who or 'You'}: {facts['level']}, {facts['role'] or 'not let in'}")
        for entry in facts["entries"]:
            print(f"    {entry['act']} {entry['value'] or ''} by {entry['by']}")

    _answer(home, json, show, "why", who=who)


@app.command()
def say(file: Path, home: Home = None, json: Json = False) -> None:
    """Speak a sound file into the room, then be as muted as before."""
    shown = f"You said {file.name}."
    _long(home, json, lambda _: print(shown), "say", path=str(file.absolute()))


@app.command()
def listen(
    out: Annotated[Path, typer.Option("--out", help="WAV file for what you hear.")],
    home: Home = None,
    json: Json = False,
) -> None:
    """Write what you hear to a file, until Ctrl-C or the end of the room."""

    def show(facts: dict[str, Any]) -> None:
        if facts["trouble"]:
            _fail(facts["trouble"], FAILED)
        print(f"What was heard is in {facts['out']}.")

    _long(home, json, show, "listen", out=str(out.absolute()))


@id_app.command("show")
def id_show(home: Home = None, json: Json = False) -> None:
    """Show your key tag, PeerId and listen addresses."""

    def show(facts: dict[str, Any]) -> None:
        print(f"key tag   {facts['key_tag']}")
        print(f"PeerId    {facts['peer_id']}")
        for addr in facts["addrs"]:
            print(f"listening {addr}")

    _answer(home, json, show, "id")


@app.command()
def version(json: Json = False) -> None:
    """Print the version."""
    print(jsonlib.dumps({"version": __version__}) if json else f"p2phouse {__version__}")


def _answer(
    home: str | None,
    json: bool,
    show: Callable[[dict[str, Any]], object],
    verb: str,
    **arguments: Any,  # noqa: ANN401 - JSON
) -> None:
    _long(home, json, show, verb, **arguments)


def _long(
    home: str | None,
    json: bool,
    show: Callable[[dict[str, Any]], object],
    verb: str,
    **arguments: Any,  # noqa: ANN401 - JSON
) -> None:
    """Asks, shows progress on a terminal, and lets Ctrl-C ask the node to stop kindly."""
    from p2phouse.ask import ask
    from p2phouse.config import api_socket, home_of, runtime_of

    where = home_of(home)
    asking = ask(api_socket(where, runtime_of()), where, verb, **arguments)
    with _interrupts(asking.stop):
        for event in asking:
            if sys.stderr.isatty() and not json:
                print(_progress(event), file=sys.stderr)
    if json:
        print(jsonlib.dumps(asking.result))
    else:
        show(asking.result)


@contextlib.contextmanager
def _interrupts(stop: Callable[[], None]) -> Iterator[None]:
    """The first Ctrl-C (or SIGTERM) stops kindly, the second as usual."""

    def handle(number: int, _frame: object) -> None:
        signal.signal(number, signal.default_int_handler)
        stop()

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _progress(event: dict[str, Any]) -> str:
    if event["event"] == "listening":
        return "Listening; Ctrl-C ends it."
    return str(event.get("text") or event["event"])


def _age(seconds: int) -> str:
    return f"{seconds // 60} min" if seconds >= 60 else f"{seconds} s"
