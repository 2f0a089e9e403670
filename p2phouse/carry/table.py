"""Which links each voice goes to, and which links may bring it: one immutable value per epoch.

Mesh, hub, relay and tree differ only in the rows. A table that two links could write one voice
through does not come into being, so nothing after this has to ask.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from p2phouse.channel import TableRow
from p2phouse.errors import P2PHouseError
from p2phouse.vocabulary import HERE, LinkNumber, Ssrc

NO_EPOCH: Final = -1  # of the empty table: whatever control sends first is newer


class TableRefused(P2PHouseError):
    """A forwarding table contradicts itself: {reason}."""


@dataclass(frozen=True, slots=True)
class Way:
    """Where one voice goes from here, HERE being our own ear; to the warm links only while they
    pull or we push."""

    sinks: tuple[LinkNumber, ...]
    warm: tuple[LinkNumber, ...] = ()

    @property
    def is_for_our_ear(self) -> bool:
        """Whether it goes nowhere else."""
        return not self.warm and all(link == HERE for link in self.sinks)


@dataclass(frozen=True, slots=True)
class Table:
    """Made by compile_table alone, so its rows hold what is checked there."""

    epoch: int
    rows: tuple[TableRow, ...]
    ways: Mapping[tuple[LinkNumber, Ssrc], Way]
    guarded: LinkNumber | None = None
    hurried: frozenset[LinkNumber] = frozenset()
    loudest: int = 0
    leaning: LinkNumber | None = None

    @staticmethod
    def empty() -> "Table":
        return Table(NO_EPOCH, (), MappingProxyType({}))

    def way(self, ingress: LinkNumber, ssrc: Ssrc) -> Way | None:
        """Where a packet goes; None: this link may not bring this voice."""
        return self.ways.get((ingress, ssrc))


def compile_table(
    epoch: int,
    rows: Sequence[TableRow],
    guarded: LinkNumber | None = None,
    hurried: Sequence[LinkNumber] = (),
    loudest: int = 0,
    leaning: LinkNumber | None = None,
) -> Table:
    """The table of these rows. Raises TableRefused."""
    if HERE in (guarded, leaning, *hurried):
        raise TableRefused(reason="we cannot stand by for ourselves")
    ways: dict[tuple[LinkNumber, Ssrc], Way] = {}
    voices: set[Ssrc] = set()
    for row in rows:
        _check(row)
        # Security: one voice, one row. With two, two links could speak in one name.
        # Test: test_table.py::test_a_table_with_two_rows_for_one_voice_is_refused
        if row.ssrc in voices:
            raise TableRefused(reason=f"two rows for voice {row.ssrc:08x}")
        voices.add(row.ssrc)
        way = Way(row.sinks, row.warm)
        # Security: its ingress and its standbys may bring a voice, and no other link.
        # Test: test_table.py::test_ingress_and_standbys_may_bring_a_voice_and_nobody_else
        ways[row.ingress, row.ssrc] = way
        for standby in row.standbys:
            # Security: for whom we stand by is passed on what the speaker's own link brings. What
            # the hub brings they have, and with a seq forged far ahead it would have us refuse all
            # that follows.
            # Test: test_forwarder.py::test_a_hub_forges_nothing_into_what_its_standby_sends
            # Nor does anything go back: who follows us, or we him, gets the voice and may bring it.
            is_spare = bool(row.warm) or standby in row.sinks
            ears = tuple(link for link in row.sinks if link == HERE)
            ways[standby, row.ssrc] = Way(ears) if is_spare else way
    return Table(
        epoch, tuple(rows), MappingProxyType(ways), guarded, frozenset(hurried), loudest, leaning
    )


def _check(row: TableRow) -> None:
    """What one row must not say."""
    sources = (row.ingress, *row.standbys)
    if row.ingress in row.standbys:
        raise TableRefused(reason=f"link {row.ingress} is its own standby")
    if len(set(sources)) < len(sources):
        raise TableRefused(reason=f"one link stands by twice for voice {row.ssrc:08x}")
    # Security: our own voice comes from here; no link may bring it instead of us.
    if row.standbys and HERE in sources:
        raise TableRefused(reason=f"our own voice {row.ssrc:08x} has a standby")
    if HERE in row.warm:
        raise TableRefused(reason=f"our own ear stands by for voice {row.ssrc:08x}")
    targets = (*row.sinks, *row.warm)
    if len(set(targets)) < len(targets):
        raise TableRefused(reason=f"voice {row.ssrc:08x} goes twice to one link")
    if row.ingress in targets:
        raise TableRefused(reason=f"voice {row.ssrc:08x} goes back to where it comes from")
