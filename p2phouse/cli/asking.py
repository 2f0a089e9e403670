"""What the commands share: asking the node that runs, and showing what it answers."""

import contextlib
import json as jsonlib
import signal
import sys
from collections.abc import Callable, Iterator
from typing import Annotated, Any

import typer

Home = Annotated[
    str | None, typer.Option("--home", metavar="DIR", help="Folder of the node (or P2PHOUSE_HOME).")
]
Who = Annotated[str, typer.Argument(metavar="WHO", help="Name, key tag or PeerId.")]


def done(text: str) -> Callable[[dict[str, Any]], None]:
    return lambda _: print(text)


def answer(
    home: str | None,
    json: bool,
    show: Callable[[dict[str, Any]], object],
    verb: str,
    *,
    tell: Callable[[dict[str, Any]], object] | None = None,
    **arguments: Any,  # noqa: ANN401 - JSON
) -> None:
    """Asks, shows progress on a terminal, and lets Ctrl-C ask the node to stop kindly.

    tell: what to do with events, if they are what was asked for.
    """
    from p2phouse.ask import ask
    from p2phouse.config import api_socket, home_of, runtime_of

    where = home_of(home)
    asking = ask(api_socket(where, runtime_of()), where, verb, **arguments)
    with _interrupts(asking.stop):
        for event in asking:
            if tell is not None:
                tell(event)
            elif sys.stderr.isatty() and not json:
                print(_progress(event), file=sys.stderr)
    if tell is not None:
        return
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
