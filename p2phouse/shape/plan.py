"""Who carries what: from the members and their links to the rows of the forwarding table.

So far one shape: the full mesh, in which each member sends its own voice to every other.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from p2phouse.channel import TableRow
from p2phouse.vocabulary import HERE, LinkNumber, Ssrc

MESH_MEMBERS_MAX = 8  # above, NAT and uplink end a mesh: pairs grow as n², uplinks as n


class Shape(Enum):
    MESH = "mesh"


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A member with a connected link; `ssrc` is of its voice, None while it has none."""

    link: LinkNumber
    ssrc: Ssrc | None


@dataclass(frozen=True, slots=True)
class Plan:
    shape: Shape
    rows: tuple[TableRow, ...]


def plan(own: Ssrc | None, neighbours: Iterable[Neighbour]) -> Plan:
    """A pure function of what is known: the same members and links give the same rows."""
    near = sorted(neighbours, key=lambda neighbour: neighbour.link)
    rows: list[TableRow] = []
    if own is not None and near:
        rows.append(TableRow(HERE, own, None, tuple(neighbour.link for neighbour in near)))
    taken = {own}
    for neighbour in near:
        # Security: one SSRC, one ingress; the first link keeps it, nobody speaks as another.
        if neighbour.ssrc is not None and neighbour.ssrc not in taken:
            taken.add(neighbour.ssrc)
            rows.append(TableRow(neighbour.link, neighbour.ssrc, None, (HERE,)))
    return Plan(Shape.MESH, tuple(rows))
