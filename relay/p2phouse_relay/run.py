"""`p2phouse-relay up`: a relay in the foreground, its log, its signals, its first words."""

import json as jsonlib
import logging
import os
import resource
import signal
import sys
import time
from dataclasses import dataclass, replace
from ipaddress import ip_address
from pathlib import Path

import trio

from p2phouse.config import LanMode
from p2phouse.errors import P2PHouseError, UserError
from p2phouse.guest.terms import Terms
from p2phouse.identity.keys import peer_id
from p2phouse.record import limits
from p2phouse.record.types import Admits
from p2phouse_relay import policy
from p2phouse_relay.beside import beside
from p2phouse_relay.carrying import Carrying
from p2phouse_relay.daemon import Among, Relay, RelayConfig, running
from p2phouse_relay.policy import Charter
from p2phouse_relay.settings import FILE_NAME, read_settings, relay_home

HTTP_PORT = 8478
UDP_PORT = 8478

FILES = 4_096  # CONNECTIONS_MAX of the front, as many links of nodes, and what is left for itself
STOP_S_MAX = 10.0  # a hand-over takes a second; where nobody else can carry there is none
DEV_CHARTER = Charter(
    name="Dev", admits=Admits.EVERYBODY, rooms=32, rooms_each=32, listeners=500, kbps=500_000
)

# A trial on one machine: many rooms and guests, nobody asked for anything, all from one address.
DEV_TERMS = Terms(rooms=None, rooms_max=32, guests_max=10_000, waiting_max=10_000)


class OnlyInTrial(UserError):
    """{option} is for a trial with --dev; of a relay for others it stands in {path}."""


class BadLogLevel(UserError):
    """--log {given} is not understood. Use debug, info, warning or error."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What the command line was given, before any of it is understood."""

    dev: bool
    home: str | None
    http_port: int | None
    udp_port: int | None
    address: str | None
    log: str
    json: bool
    tied: bool
    port: int | None = None
    processes: int | None = None
    together_above: int | None = None
    beside: str = ""
    name: str = ""
    near: bool = False


def run_relay(settings: Settings) -> None:
    """Until Ctrl-C or SIGTERM. Raises P2PHouseError."""
    began = time.monotonic()
    _start_log(settings.log)
    config = _config(settings)
    _allow_files()
    try:
        trio.run(_run, config, settings, began)
    except* P2PHouseError as group:
        raise _first(group) from None


def _config(settings: Settings) -> RelayConfig:
    if settings.beside:
        return beside(
            settings.beside,
            name=settings.name,
            address=settings.address or "127.0.0.1",
            home=relay_home(settings.home) if settings.home is not None else None,
            near=settings.near,
            port=settings.port,
        )
    if settings.dev:
        address = settings.address or "127.0.0.1"
        kept = relay_home(settings.home) if settings.home is not None else None
        return RelayConfig(
            name="Dev",
            addresses=(address,),
            bind=address,
            http_port=HTTP_PORT if settings.http_port is None else settings.http_port,
            udp_port=UDP_PORT if settings.udp_port is None else settings.udp_port,
            terms=DEV_TERMS,
            processes=settings.processes or 1,
            together_above=settings.together_above,
            home=kept,
            among=Among(DEV_CHARTER, settings.port, _lan(address), kept),
        )
    home = relay_home(settings.home)
    for option, value in (
        ("--http-port", settings.http_port),
        ("--udp-port", settings.udp_port),
        ("--address", settings.address),
        ("--processes", settings.processes),
        ("--together-above", settings.together_above),
    ):
        if value is not None:
            raise OnlyInTrial(option=option, path=home / FILE_NAME)
    its = read_settings(home)
    return RelayConfig(
        name=its.name,
        addresses=its.addresses,
        bind=its.bind,
        http_port=its.http_port,
        udp_port=its.udp_port,
        terms=its.terms,
        page=its.page,
        processes=its.processes,
        tls=its.tls,
        is_proxied=its.tls is None,
        home=home,
        admin_port=its.admin_port,
        among=Among(
            _charter(home, its.name, its.contact),
            settings.port,
            _lan(its.addresses[0]),
            home,
        ),
    )


def _charter(home: Path, name: str, contact: str) -> Charter:
    """Raises PolicyUnreadable."""
    path = home / policy.FILE_NAME
    told = Charter()
    if path.exists():
        told = policy.read(path.read_text(errors="replace"))
    own = name[: limits.NAME_CODE_POINTS_MAX] if told.name == Charter().name else told.name
    return replace(told, name=own, contact=told.contact or contact)


def _lan(address: str) -> LanMode:
    """On a network a relay is found by its address, and by nobody else."""
    return "loopback" if ip_address(address).is_loopback else "off"


def _first(group: BaseExceptionGroup[P2PHouseError]) -> P2PHouseError:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, P2PHouseError)
    return error


def _allow_files() -> None:
    """As many as the front takes connections, or the system's most: usually a process may have
    1,024, which eight strangers fill who say nothing, and then nobody is answered."""
    few, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES if most == resource.RLIM_INFINITY else min(FILES, most)
    if few != resource.RLIM_INFINITY and few < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))


def _start_log(level: str) -> None:
    number = logging.getLevelNamesMapping().get(level.upper())
    if number is None or level.lower() not in ("debug", "info", "warning", "error"):
        raise BadLogLevel(given=level)
    logging.basicConfig(
        level=number, stream=sys.stderr, format="%(asctime)s %(levelname).1s %(name)s %(message)s"
    )


async def _run(config: RelayConfig, settings: Settings, began: float) -> None:
    # trio raises again what nobody has read by the end: the word to end is then of no use any more.
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, signal.SIG_IGN)
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:
            if settings.tied:
                nursery.start_soon(_end_with_input, nursery.cancel_scope)
            begun: list[Relay] = []
            nursery.start_soon(_wait_for, signals, nursery.cancel_scope, begun)
            async with running(config) as relay:
                begun.append(relay)
                facts = {
                    "ready_s": round(time.monotonic() - began, 3),
                    "http": relay.http,
                    "udp_ports": [port for _, port in sorted(relay.media.ports.items())],
                    "control_pid": os.getpid(),
                    "media_pids": relay.media.pids,
                }
                if relay.carrying is not None:
                    facts["port"] = relay.carrying.network.port
                    facts["peer_id"] = peer_id(relay.carrying.me.dev)
                if settings.json:
                    print(jsonlib.dumps(facts), flush=True)
                else:
                    _say_ready(facts, trial=settings.dev)
                await relay.drained.wait()
                nursery.cancel_scope.cancel()


async def _wait_for(signals: object, scope: trio.CancelScope, begun: list[Relay]) -> None:
    """The first signal hands over the rooms of nodes and ends the relay, the second ends it."""
    async with trio.open_nursery() as nursery:
        async for _ in signals:  # type: ignore[attr-defined]  # trio gives its iterator no public type
            if not begun or begun[0].carrying is None or begun[0].carrying.admission.drains:
                break
            nursery.start_soon(_hand_over, begun[0].carrying, scope)
        scope.cancel()


async def _hand_over(carrying: Carrying, scope: trio.CancelScope) -> None:
    await carrying.drain(most_s=STOP_S_MAX)
    scope.cancel()


async def _end_with_input(scope: trio.CancelScope) -> None:
    """Ends the relay with whoever holds our standard input, however that one ended."""
    async with trio.lowlevel.FdStream(os.dup(sys.stdin.fileno())) as standard_input:
        while await standard_input.receive_some():
            pass
    scope.cancel()


def _say_ready(facts: dict[str, object], *, trial: bool) -> None:
    http = facts["http"]
    among = f" · nodes: port {facts['port']}" if "port" in facts else ""
    ports = " ".join(map(str, facts["udp_ports"]))  # type: ignore[call-overload]  # they are a list
    print(f"ready in {facts['ready_s']} s · {http} · UDP port {ports}{among}")
    if not trial:
        print("In another terminal: p2phouse-relay status · drain. Stop: Ctrl-C", flush=True)
        return
    print("A trial: no TLS, no tokens, any room. Not for others than yourself.")
    print(f"speak:  POST an offer to {http}/whip/ROOM/NAME (WHIP)")
    print(f"listen: {http}/r/ROOM in a browser, or {http}/whep/ROOM (WHEP)")
    print("Stop: Ctrl-C", flush=True)
