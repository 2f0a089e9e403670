"""Every verb by its name: what the command line, the page and other programs can ask of a node."""

from functools import partial
from typing import TYPE_CHECKING, Final

from p2phouse.api import Verb
from p2phouse.verbs import (
    access,
    carrying,
    chat,
    doctor,
    following,
    guests,
    home,
    members,
    people,
    relays,
    roles,
    room,
    sound,
    stage,
)
from p2phouse.verbs.declaration import Declared

if TYPE_CHECKING:
    from p2phouse.node import Node

SUBJECTS: Final = (
    home,
    room,
    sound,
    members,
    carrying,
    relays,
    guests,
    roles,
    access,
    following,
    stage,
    chat,
    people,
    doctor,
)

VERBS: Final = {
    each.name: each
    for subject in SUBJECTS
    for each in vars(subject).values()
    if isinstance(each, Declared)
}


def table(node: "Node") -> dict[str, Verb]:
    """Every verb, bound to the node that it acts upon."""
    return {name: Verb(partial(each, node), page=each.page) for name, each in VERBS.items()}
