"""`p2phouse up`: one node in the foreground, its log, its signals, its first words."""

import json as jsonlib
import logging
import os
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from p2phouse.browser import show
from p2phouse.config import Config, LanMode, NamedRelay, home_of, runtime_of
from p2phouse.errors import P2PHouseError, UserError

if TYPE_CHECKING:
    from p2phouse.node import Node


RELAYS_MAX = 4


class BadAudio(UserError):
    """--audio {given} is not understood. Use device, device:NAME, file:PATH, tone,
    silence or none."""


class BadLogLevel(UserError):
    """--log {given} is not understood. Use debug, info, warning or error."""


class BadRelay(UserError):
    """--relay {given} is not understood. Use HOST:PORT, as the `p2phouse id show` of that node
    prints them, or PEERID@HOST:PORT where UDP is blocked; at most {most} of them."""


class NoRelay(UserError):
    """--relay-only needs a relay: nobody else would ever see your node. Add --relay HOST:PORT, or
    first keep one: p2phouse relays add HOST."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What the command line was given, before any of it is understood."""

    home: str | None
    port: int | None
    audio: str | None
    name: str
    lan: LanMode
    log: str
    json: bool
    tied: bool
    page: bool
    relays: tuple[str, ...] = ()
    relay_only: bool = False


def run_node(settings: Settings) -> None:
    """Until Ctrl-C or SIGTERM. Raises P2PHouseError."""
    began = time.monotonic()
    _start_log(settings.log)
    home = home_of(settings.home)
    relays = _relays(settings.relays)
    if settings.relay_only and not relays:
        relays = known_relays(home)
        if not relays:
            raise NoRelay
    mouth, ear = _audio(settings.audio, page=settings.page)
    config = Config(
        home=home,
        runtime=runtime_of(),
        port=settings.port,
        lan=settings.lan,
        mouth=mouth,
        ear=ear,
        name=settings.name,
        page=settings.page,
        relays=relays,
        relay_only=settings.relay_only,
    )
    try:
        trio.run(_run, config, settings, began)
    except* P2PHouseError as group:
        raise _first(group) from None


def _first(group: BaseExceptionGroup[P2PHouseError]) -> P2PHouseError:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, P2PHouseError)
    return error


def _audio(given: str | None, *, page: bool) -> tuple[str, str]:
    """mouth, ear. Page and device are an ear too: a file or tone speaks, it does not listen."""
    if given is None:
        return ("page", "page") if page else ("none", "null")
    kind, _, rest = given.partition(":")
    if kind == "device":
        return given, given
    if given in ("tone", "silence", "none") or (kind == "file" and rest):
        return given, "null"
    raise BadAudio(given=given)


def _relays(given: tuple[str, ...]) -> tuple[NamedRelay, ...]:
    from p2phouse.identity.keys import device_of_peer_id

    found = []
    for text in given:
        peer, at, address = text.rpartition("@")
        host, _, port = address.rpartition(":")
        good = host and port.isdigit() and 0 < int(port) < 65_536 and len(given) <= RELAYS_MAX
        try:
            dev = device_of_peer_id(peer) if at else None
        except ValueError:
            good = False
        if not good:
            raise BadRelay(given=text, most=RELAYS_MAX)
        found.append(NamedRelay(host.strip("[]"), int(port), dev))
    return tuple(found)


def known_relays(home: Path) -> tuple[NamedRelay, ...]:
    """Those that the owner has added, by the keys that they had then. Raises UserError."""
    from p2phouse.people.relays import RelayBook

    known = RelayBook(home).read()[:RELAYS_MAX]
    return tuple(NamedRelay(each.host, each.port, each.dev) for each in known)


def _start_log(level: str) -> None:
    number = logging.getLevelNamesMapping().get(level.upper())
    if number is None or level.lower() not in ("debug", "info", "warning", "error"):
        raise BadLogLevel(given=level)
    logging.basicConfig(
        level=number, stream=sys.stderr, format="%(asctime)s %(levelname).1s %(name)s %(message)s"
    )


async def _run(config: Config, settings: Settings, began: float) -> None:
    from p2phouse.identity.keys import key_tag
    from p2phouse.node import running

    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with running(config) as node, trio.open_nursery() as nursery:
            if settings.tied:
                nursery.start_soon(_end_with_input, nursery.cancel_scope)
            seconds = time.monotonic() - began
            facts = {
                "ready_s": round(seconds, 3),
                "home": str(config.home),
                "key_tag": key_tag(node.me.uid),
                "port": node.network.port,
                "media_pid": node.media.pid,
            }
            if settings.json:
                print(jsonlib.dumps(facts), flush=True)
            else:
                _say_ready(facts, config)
                if config.page:
                    nursery.start_soon(_show_page, node)
            async for _ in signals:
                break
            nursery.cancel_scope.cancel()


async def _show_page(node: "Node") -> None:
    """Opens the page for a person at a terminal; a program that started us wants none."""
    if sys.stdout.isatty():
        file = node.new_page_file()
        if await trio.to_thread.run_sync(show, file, abandon_on_cancel=True):
            return
        print("No browser could be started here.", end=" ")
    print("Your page: p2phouse page", flush=True)


async def _end_with_input(scope: trio.CancelScope) -> None:
    """Ends the node with whoever holds our standard input, however that one ended."""
    async with trio.lowlevel.FdStream(os.dup(sys.stdin.fileno())) as standard_input:
        while await standard_input.receive_some():
            pass
    scope.cancel()


def _say_ready(facts: dict[str, object], config: Config) -> None:
    print(f"ready in {facts['ready_s']} s · you are {facts['key_tag']} · port {facts['port']}")
    if config.relay_only:
        print("Only your relays see your network address. Sound comes and goes through them alone:")
        print("you hear a room when one of them is in it and carries it.")
    elif config.lan == "on":
        print("Nodes on this network can see that one is here (--no-lan turns that off).")
    print("In another terminal: p2phouse rooms · p2phouse open TITLE · p2phouse join ROOM")
    print("Stop: Ctrl-C", flush=True)
