"""Who carries what: from the members and their links to the rows of the forwarding table.

In a mesh each member sends its own voice to every other. In a hub's room each sends it to the hub,
which forwards it, and to the standby, which would. While a room goes from one to the other both
ways are open: a voice then has two sources, and nothing is lost on the way.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Final

from p2phouse.channel import TableRow
from p2phouse.vocabulary import HERE, DeviceKey, LinkNumber, RecordId, Ssrc

LOUDEST: Final = 3  # voices that a hub forwards at a time (design.md §8)


class Shape(Enum):
    MESH = "mesh"
    HUB = "hub"


class Part(Enum):
    """What somebody does in a room that a hub carries."""

    MEMBER = "member"
    HUB = "hub"
    STANDBY = "standby"


def part_of(dev: DeviceKey, *, hub: DeviceKey | None, standby: DeviceKey | None) -> Part:
    if dev == hub:
        return Part.HUB
    return Part.STANDBY if dev == standby else Part.MEMBER


@dataclass(frozen=True, slots=True)
class Voice:
    """A signed voice. Of two that claim one SSRC the lower id has it, on every node alike."""

    ssrc: Ssrc
    id: RecordId
    pinned: bool = False  # of somebody who runs the room: heard however many are louder


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A member: its link, None while it has none that is connected, and its voice if it has one.

    A voice counts without a link too: whose an SSRC is must not depend on who is connected to whom.
    yields: it was the hub, and forwards until nobody needs that any more. silent: nothing comes on
    its link, which is up.
    """

    link: LinkNumber | None
    voice: Voice | None
    part: Part = Part.MEMBER
    yields: bool = False
    silent: bool = False


@dataclass(frozen=True, slots=True)
class Standpoint:
    """Ours in the room. overlap: links from before the room changed its shape are used still."""

    shape: Shape = Shape.MESH
    part: Part = Part.MEMBER
    yields: bool = False
    overlap: bool = False


IN_A_MESH: Final = Standpoint()


@dataclass(frozen=True, slots=True)
class Plan:
    """The rows, and what media needs beside them (channel.SetTable)."""

    rows: tuple[TableRow, ...]
    heard: frozenset[RecordId]  # the voices of others that have rows
    guarded: LinkNumber | None = None
    hurried: tuple[LinkNumber, ...] = ()
    loudest: int = 0
    leaning: LinkNumber | None = None


@dataclass(frozen=True, slots=True)
class _Links:
    """The links that are up, by what their other ends do."""

    all: tuple[LinkNumber, ...]
    hub: tuple[LinkNumber, ...]
    standby: tuple[LinkNumber, ...]
    former: tuple[LinkNumber, ...]

    @staticmethod
    def of(near: Sequence[Neighbour]) -> "_Links":
        def those(part: Part) -> tuple[LinkNumber, ...]:
            return tuple(each.link for each in near if each.link is not None and each.part is part)

        linked = [each for each in near if each.link is not None]
        return _Links(
            tuple(each.link for each in linked if each.link is not None),
            those(Part.HUB),
            those(Part.STANDBY),
            tuple(each.link for each in linked if each.link is not None and each.yields),
        )


def plan(
    own: Voice | None,
    neighbours: Iterable[Neighbour],
    here: Standpoint = IN_A_MESH,
    *,
    deaf: bool = False,
) -> Plan:
    """A pure function of the set of neighbours: the same members and links give the same rows.

    deaf: nothing goes to an ear here, for there is none.
    """
    members = list(neighbours)
    holders = _holders([own, *(member.voice for member in members)])
    near = sorted(members, key=lambda each: (each.link is None, each.link or 0, _id(each)))
    links = _Links.of(near)
    rows: list[TableRow] = []
    heard: list[RecordId] = []
    lent: set[LinkNumber] = set()  # links that bring what their own ends do not say
    if own is not None and links.all and holders[own.ssrc] == own.id:
        rows.append(_own_row(own, links, here))
    for member in near:
        voice = member.voice
        # Security: one SSRC, one ingress: nobody speaks as another.
        if voice is not None and holders.get(voice.ssrc) == voice.id:
            del holders[voice.ssrc]
            row = _row(voice, member, links, here)
            if row is not None:
                if deaf:
                    row = replace(row, sinks=tuple(sink for sink in row.sinks if sink != HERE))
                rows.append(row)
                heard.append(voice.id)
                lent |= {row.ingress} - {member.link}
    in_hub = here.shape is Shape.HUB
    # What comes from the standby because no link to the hub is up comes only if it is asked for.
    leans = here.part is Part.MEMBER and not here.yields and not links.hub
    leans = leans and any(row.ingress in links.standby for row in rows)
    leans |= here.part is Part.HUB and not lent.isdisjoint(links.standby)
    return Plan(
        tuple(rows),
        frozenset(heard),
        guarded=next(iter(links.hub), None) if in_hub and here.part is Part.STANDBY else None,
        hurried=links.standby if in_hub and here.part is Part.HUB else (),
        loudest=LOUDEST if in_hub and here.part is not Part.MEMBER else 0,
        leaning=next(iter(links.standby), None) if in_hub and leans else None,
    )


def _own_row(own: Voice, links: _Links, here: Standpoint) -> TableRow:
    wide = here.shape is Shape.MESH or here.part is Part.HUB or here.yields or here.overlap
    sinks = links.all
    if not wide:
        fed = {*links.hub, *links.standby, *links.former}
        sinks = tuple(link for link in links.all if link in fed)
    warm: tuple[LinkNumber, ...] = ()
    if here.part is Part.STANDBY:
        warm = tuple(link for link in links.all if link not in sinks)
    return TableRow(HERE, own.ssrc, (), sinks, warm, own.pinned and here.shape is Shape.HUB)


def _row(voice: Voice, of: Neighbour, links: _Links, here: Standpoint) -> TableRow | None:
    """The row of another's voice; None if no link brings it."""
    sources = _sources(of, links, here)
    if not sources:
        return None
    ingress, *standbys = sources
    lenders = _lenders(of, links, here)
    others = tuple(link for link in links.all if link not in (of.link, ingress, *lenders))
    sinks: tuple[LinkNumber, ...] = (HERE,)
    warm: tuple[LinkNumber, ...] = ()
    if here.yields or (here.shape is Shape.HUB and here.part is Part.HUB):
        # To the standby too, and to who carries the room from now on: it may not have a link to
        # everybody yet.
        sinks = (HERE, *others)
    elif here.shape is Shape.HUB and here.part is Part.STANDBY and ingress == of.link:
        warm = others  # the hub too, for whom it does not hear
    pinned = voice.pinned and here.shape is Shape.HUB
    return TableRow(ingress, voice.ssrc, tuple(standbys), sinks, warm, pinned)


def _lenders(of: Neighbour, links: _Links, here: Standpoint) -> tuple[LinkNumber, ...]:
    """Who brings a hub the voice of whom it does not hear, and is not sent it back. Not while there
    is a former hub: a standby that is new has no link yet to whom the hub may hear after all."""
    is_hub = here.shape is Shape.HUB and here.part is Part.HUB and not links.former
    return links.standby if is_hub and (of.link is None or of.silent) else ()


def _sources(of: Neighbour, links: _Links, here: Standpoint) -> list[LinkNumber]:
    """The links that may bring the voice, the best first."""
    direct = () if of.link is None else (of.link,)
    wanted: tuple[LinkNumber, ...]
    if here.shape is Shape.MESH:
        wanted = (*direct, *links.former)
    elif here.part is Part.HUB:
        wanted = (*direct, *links.former, *_lenders(of, links, here))
    elif here.part is Part.STANDBY or here.yields:
        wanted = (*direct, *links.hub, *links.former)
    elif here.overlap:
        wanted = (*links.hub, *direct, *links.former, *links.standby)
    else:
        wanted = (*links.hub, *links.former, *links.standby)
    return list(dict.fromkeys(wanted))


def _id(member: Neighbour) -> bytes:
    return b"" if member.voice is None else member.voice.id


def _holders(claims: Iterable[Voice | None]) -> dict[Ssrc, RecordId]:
    """Whose each SSRC is."""
    holders: dict[Ssrc, RecordId] = {}
    for claim in claims:
        if claim is not None:
            holders[claim.ssrc] = min(claim.id, holders.get(claim.ssrc, claim.id))
    return holders
