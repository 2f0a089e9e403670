"""Who carries what: from the members and their links to the rows of the forwarding table.

So far one shape: the full mesh, in which each member sends its own voice to every other.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from p2phouse.channel import TableRow
from p2phouse.vocabulary import HERE, LinkNumber, RecordId, Ssrc


class Shape(Enum):
    MESH = "mesh"


@dataclass(frozen=True, slots=True)
class Claim:
    """A signed voice. Of two that claim one SSRC the lower id has it, on every node alike."""

    ssrc: Ssrc
    id: RecordId


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A member: its link, None while it has none that is connected, and its voice if it has one.

    A voice counts without a link too: whose an SSRC is must not depend on who is connected to whom.
    """

    link: LinkNumber | None
    voice: Claim | None


@dataclass(frozen=True, slots=True)
class Plan:
    shape: Shape
    rows: tuple[TableRow, ...]


def plan(own: Claim | None, neighbours: Iterable[Neighbour]) -> Plan:
    """A pure function of the set of neighbours: the same members and links give the same rows."""
    members = list(neighbours)
    holders = _holders([own, *(member.voice for member in members)])
    near = [(member.link, member.voice) for member in members if member.link is not None]
    near.sort(key=lambda linked: linked[0])
    rows: list[TableRow] = []
    if own is not None and near and holders[own.ssrc] == own.id:
        rows.append(TableRow(HERE, own.ssrc, None, tuple(link for link, _ in near)))
    for link, voice in near:
        # Security: one SSRC, one ingress: nobody speaks as another.
        if voice is not None and holders.get(voice.ssrc) == voice.id:
            del holders[voice.ssrc]
            rows.append(TableRow(link, voice.ssrc, None, (HERE,)))
    return Plan(Shape.MESH, tuple(rows))


def _holders(claims: Iterable[Claim | None]) -> dict[Ssrc, RecordId]:
    """Whose each SSRC is."""
    holders: dict[Ssrc, RecordId] = {}
    for claim in claims:
        if claim is not None:
            holders[claim.ssrc] = min(claim.id, holders.get(claim.ssrc, claim.id))
    return holders
