"""The command line: `p2phouse up` is a node, every other command asks the node that runs.

Imports only what `--help` needs; a command imports the rest itself (libp2p alone takes a second).
Each module has the commands of one subject. Exit codes: 0 fine, 1 it failed, 2 your mistake.
"""

from typing import NoReturn

from p2phouse.cli import (
    access,
    carrying,
    chat,
    doctor,
    following,
    guests,
    members,
    node,
    people,
    relays,
    roles,
    room,
    sound,
    stage,
)
from p2phouse.command import program, run

app = program("p2phouse", "Live audio rooms with no company in the middle.")
for subject in (node, room, sound, members, carrying, relays, guests, roles, access):
    app.add_typer(subject.commands)
for subject in (following, stage, chat, people, doctor):
    app.add_typer(subject.commands)


def main() -> NoReturn:
    """Entry point."""
    run(app)
