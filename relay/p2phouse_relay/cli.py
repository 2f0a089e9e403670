"""The relay's command line: `p2phouse-relay up` is the relay.

Imports only what `--help` needs. Exit codes as of p2phouse: 0 fine, 1 it failed, 2 your mistake.
"""

import json as jsonlib
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from p2phouse import __version__
from p2phouse.command import FAILED, Json, program, run

Home = Annotated[str | None, typer.Option("--home", metavar="DIR", help="Folder of the relay.")]
What = Annotated[str, typer.Argument(metavar="WHAT", help="A room's name, a uid or a PeerId.")]
Reason = Annotated[str, typer.Option(metavar="TEXT", help="Why; whom it concerns reads it.")]

app = program(
    "p2phouse-relay", "A volunteer relay: carries rooms for people who cannot reach one another."
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
    processes: Annotated[
        int | None,
        typer.Option(
            min=1, max=32, metavar="N", help="For sound, each with a UDP port and a core."
        ),
    ] = None,
    together_above: Annotated[
        int | None,
        typer.Option(
            min=0, max=1_000, metavar="N", help="Per mille of a core: above it voices go together."
        ),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(min=0, max=65_535, help="Port for nodes, TCP and UDP; 0 picks a free one."),
    ] = None,
    beside: Annotated[
        str, typer.Option(metavar="UID", help="For guests of this person's node, which starts it.")
    ] = "",
    name: Annotated[str, typer.Option(metavar="NAME", help="With --beside: whose it is.")] = "",
    near: Annotated[
        bool, typer.Option("--near", help="With --beside: for rooms of one network alone.")
    ] = False,
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
            port=port,
            processes=processes,
            together_above=together_above,
            beside=beside,
            name=name,
            near=near,
        )
    )


@app.command()
def init(
    name: Annotated[
        str,
        typer.Option(metavar="NAME", prompt="Name people see", help="How people see the relay."),
    ],
    domain: Annotated[
        str,
        typer.Option(metavar="NAME", prompt="Domain (HTTPS)", help="Where browsers find it."),
    ],
    address: Annotated[
        str,
        typer.Option(metavar="IP", prompt="Public IP address", help="Where voices find it."),
    ],
    contact: Annotated[
        str,
        typer.Option(metavar="MAIL", prompt="Whom to write to", help="Whom people write to."),
    ],
    home: Home = None,
    json: Json = False,
) -> None:
    """Make a relay's home: its key, and relay.toml for you to read and change."""
    from p2phouse_relay.home import make_home

    path = make_home(home, name=name, domain=domain, address=address, contact=contact)
    _say(json, {"settings": str(path)}, f"Made {path}. Read it, then: p2phouse-relay check")


@app.command()
def grant(
    person: Annotated[
        str, typer.Option("--person", metavar="UID", help="All rooms that this person opens.")
    ] = "",
    room: Annotated[str, typer.Option("--room", metavar="ID", help="This room.")] = "",
    listeners: Annotated[int, typer.Option(min=1, max=4_096, help="In one room at most.")] = 200,
    kbps: Annotated[int, typer.Option(min=1, help="Sent at most, in kb/s.")] = 50_000,
    days: Annotated[int, typer.Option(min=1, max=365, help="How long it holds.")] = 30,
    any_relay: Annotated[
        bool, typer.Option("--any-relay", help="Also for others that have your key on their list.")
    ] = False,
    home: Home = None,
    json: Json = False,
) -> None:
    """Sign a relay grant with this relay's key: for who then opens a room with --grant."""
    from p2phouse_relay.granting import sign

    text = sign(
        home,
        person=person,
        room=room,
        listeners=listeners,
        kbps=kbps,
        days=days,
        any_relay=any_relay,
    )
    _say(json, {"grant": text}, text)


@app.command()
def check(home: Home = None, json: Json = False) -> None:
    """See what stands between this machine and those who want to come."""
    from p2phouse_relay.check import Verdict, judge, look
    from p2phouse_relay.home import is_running
    from p2phouse_relay.settings import read_settings, relay_home

    where = relay_home(home)
    settings = read_settings(where)
    findings = judge(settings, look(settings, is_running=is_running(where)))
    rows = [
        {"about": each.about, "verdict": each.verdict.value, "said": each.said, "fix": each.fix}
        for each in findings
    ]
    _say(json, {"findings": rows}, *(line for each in findings for line in each.lines()))
    if any(each.verdict is Verdict.BAD for each in findings):
        sys.exit(FAILED)


@app.command()
def rehearse(
    listeners: Annotated[
        int, typer.Option(min=1, max=5_000, metavar="N", help="Try up to so many.")
    ] = 1_000,
    voices: Annotated[int, typer.Option(min=1, max=4, help="How many speak.")] = 1,
    seconds: Annotated[
        float, typer.Option(min=1, max=300, metavar="S", help="How long each step is measured.")
    ] = 5.0,
    relay: Annotated[
        str | None,
        typer.Option(metavar="URL", help="One of this machine that runs; else one is started."),
    ] = None,
    room: Annotated[str, typer.Option(metavar="NAME", help="With --relay: its room.")] = (
        "rehearsal"
    ),
    token: Annotated[str, typer.Option(metavar="T", help="With --relay: to speak there.")] = "",
    processes: Annotated[
        int | None,
        typer.Option(min=1, max=32, metavar="N", help="For sound; as relay.toml says if missing."),
    ] = None,
    price: Annotated[
        float | None, typer.Option(min=0, metavar="MONEY", help="Of this machine, a month.")
    ] = None,
    home: Home = None,
    json: Json = False,
) -> None:
    """Try how many listeners this machine carries, with as many of our own."""
    from p2phouse_relay import rehearse as rehearsal
    from p2phouse_relay.settings import relay_home

    where = relay_home(home)
    if not json:
        print(rehearsal.HEAD)
    report = rehearsal.rehearse(
        processes=processes or rehearsal.processes_of(where),
        listeners=listeners,
        voices=voices,
        seconds=seconds,
        relay=relay,
        room=room,
        token=token,
        say=lambda step: None if json else print(rehearsal.line(step), flush=True),
    )
    if not json:
        for sentence in rehearsal.sentences(report, price):
            print(sentence)
    kept = rehearsal.keep(where, report) if where.is_dir() else None
    if json:
        told = rehearsal.as_json(report, price)
        print(jsonlib.dumps({**told, "kept": None if kept is None else str(kept)}))
    elif kept is not None:
        print(f"Written to {kept}: unless relay.toml says how many, that is how many are let in.")


@app.command()
def status(home: Home = None, json: Json = False) -> None:
    """Show how the relay is that runs."""
    from p2phouse_relay.home import status
    from p2phouse_relay.telling import lines

    facts = status(home)
    _say(json, facts, *lines(facts))


@app.command()
def drain(home: Home = None, json: Json = False) -> None:
    """Take nobody in any more; the relay ends when the last guest has left."""
    from p2phouse_relay.home import ask
    from p2phouse_relay.settings import relay_home

    facts = ask(relay_home(home), "POST", "/drain")
    left = facts["speakers"] + facts["listeners"]
    said = f"Nobody more is let in; {left} guest(s) are still here. p2phouse-relay status tells."
    _say(json, facts, said)


@app.command()
def deny(
    what: What,
    reason: Reason,
    days: Annotated[
        float | None, typer.Option(min=0.01, max=3_650, help="For so long; for good if missing.")
    ] = None,
    home: Home = None,
    json: Json = False,
) -> None:
    """Do not carry a room: who is in it is out at once."""
    from p2phouse_relay.home import deny

    deny(home, what, reason=reason, days=days)
    _say(json, {}, f"{what} is not carried any more.")


@app.command()
def takedown(
    what: What,
    reason: Reason,
    notice: Annotated[
        Path, typer.Option(metavar="FILE", help="The notice that asks for it; a copy is kept.")
    ],
    home: Home = None,
    json: Json = False,
) -> None:
    """Do not carry a room because a notice asks for it, and keep the notice."""
    from p2phouse_relay.home import deny

    deny(home, what, reason=reason, notice=notice)
    _say(json, {}, f"{what} is not carried any more, and the notice is kept.")


@app.command()
def allow(what: What, home: Home = None, json: Json = False) -> None:
    """Carry again what was denied."""
    from p2phouse_relay.home import allow

    allow(home, what)
    _say(json, {}, f"{what} may be carried again.")


@app.command()
def denied(home: Home = None, json: Json = False) -> None:
    """List what is not carried, why and until when."""
    from p2phouse_relay.home import denials_now

    rows = denials_now(home)
    told = [
        f"{each['what']}  until {each['until'] or 'further notice'}: {each['reason']}"
        for each in rows
    ]
    _say(json, {"denied": rows}, *(told or ["Nothing is denied."]))


@app.command()
def transparency(
    month: Annotated[str, typer.Option(metavar="YYYY-MM", help="Which month to account for.")],
    home: Home = None,
    json: Json = False,
) -> None:
    """Count what was denied and lifted in a month, for a report that anybody may read."""
    from p2phouse_relay.home import month_account

    facts = month_account(home, month)
    _say(
        json,
        facts,
        f"{month}: {facts['denied']} denied, {facts['on_notice']} of them on a notice,",
        f"{facts['lifted']} lifted, {facts['standing']} standing at its end",
    )


@app.command()
def backup(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="Where to; it may not be there yet.")
    ],
    home: Home = None,
    json: Json = False,
) -> None:
    """Keep the key, the settings and what is denied in one file, for yourself alone."""
    from p2phouse_relay.home import backup

    backup(home, file)
    _say(json, {}, f"Kept in {file}. It holds the relay's key: guard it as such.")


@app.command()
def restore(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Made by backup.")],
    home: Home = None,
    json: Json = False,
) -> None:
    """Make a home of what backup kept; never over one that is there."""
    from p2phouse_relay.home import restore

    path = restore(home, file)
    _say(json, {}, f"Restored to {path}. Then: p2phouse-relay check")


@app.command()
def version(json: Json = False) -> None:
    """Print the version."""
    _say(json, {"version": __version__}, f"p2phouse-relay {__version__}")


def _say(json: bool, facts: Mapping[str, object], *lines: str) -> None:
    print(jsonlib.dumps(facts) if json else "\n".join(lines))


def main() -> NoReturn:
    """Entry point."""
    run(app)
