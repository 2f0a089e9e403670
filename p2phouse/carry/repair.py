"""Which links have fallen silent, and pulling voices from a standby meanwhile.

Repair, not agreement: it acts at once on what this node hears, does nothing that could not be
done twice, and tells control afterwards. A limit counts the link, never one voice: a person who
pauses is not a path that broke.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from typing import Final

from p2phouse.carry.table import Table
from p2phouse.channel import Heard, Silent
from p2phouse.vocabulary import LinkNumber

# Keepalives come each 200 ms: one may be lost and the next be 150 ms late. With a tick of 20 ms on
# top the end of a peer is noticed in less than 600 ms, as liveness by media demands. Two lost in a
# row are a false alarm: at a loss of 1 % each half hour of quiet, and taken back 50 ms later.
SILENCE_S: Final = 0.550
# With a standby at hand a false alarm costs some duplicates, not a gap. Three packets are missing
# then; at a loss of 1 % that happens by chance each five hours of talk.
TALKING_SILENCE_S: Final = 0.060
QUIET_SILENCE_S: Final = 0.600  # nobody misses a word meanwhile, so haste gains nothing
PULL_S: Final = 0.200  # a pull may be lost, and lapses by itself after 1.5 s (protocol.md §6)

LOOK_S: Final = 0.100  # at least so often, to tell a stall of ours from a silence of theirs
STALL_S: Final = 0.100  # later than this is a stall, not a busy moment
GRACE_S: Final = 0.100  # to read what has lain in the sockets


@dataclass(frozen=True, slots=True)
class Pull:
    """Ask this link for the voices that it stands by for; again and again until Release."""

    link: LinkNumber


@dataclass(frozen=True, slots=True)
class Release:
    """This link need bring them no more."""

    link: LinkNumber


RepairOutput = Pull | Release | Silent | Heard


class _Path:
    """What was heard of one link."""

    __slots__ = ("heard_s", "is_silent", "talking")

    def __init__(self, now_s: float) -> None:
        self.heard_s = now_s
        self.talking = False
        self.is_silent = False


class Repair:
    """Tell it what comes; call `tick` at `deadline`, or more often."""

    def __init__(self) -> None:
        self._paths: dict[LinkNumber, _Path] = {}
        self._standbys: dict[LinkNumber, frozenset[LinkNumber]] = {}  # by ingress
        self._gone: set[LinkNumber] = set()  # ingresses of the table that were removed
        self._pulled: dict[LinkNumber, float] = {}  # standby: when it is to be pulled again
        self._ticked_s = -inf

    @property
    def deadline(self) -> float:
        """When to call tick(); inf if there are no links."""
        return min([self._due_s(), *self._pulled.values()])

    def add(self, now_s: float, link: LinkNumber) -> None:
        """A link is up. It counts as heard, in quiet: its other end may be up a little later."""
        if not self._paths:
            self._ticked_s = now_s  # nobody had to tick before
        self._paths[link] = _Path(now_s)

    def remove(self, link: LinkNumber) -> None:
        """A link is gone, if it ever was here. Until the next table its standby steps in."""
        if self._paths.pop(link, None) is not None and link in self._standbys:
            self._gone.add(link)
        self._pulled.pop(link, None)

    def set_table(self, table: Table) -> None:
        """Who stands by for whom from now on; what follows comes out of the next tick."""
        standbys: dict[LinkNumber, set[LinkNumber]] = {}
        for row in table.rows:
            if row.standby is not None:
                standbys.setdefault(row.ingress, set()).add(row.standby)
        self._standbys = {ingress: frozenset(links) for ingress, links in standbys.items()}
        self._gone &= self._standbys.keys()

    def heard(self, now_s: float, link: LinkNumber, talking: bool | None) -> Sequence[RepairOutput]:
        """Something came on a link.

        talking: a voice, or a keepalive that is not quiet; None if it says nothing of that.
        """
        path = self._paths.get(link)
        if path is None:
            return ()
        path.heard_s = now_s
        if talking is not None:
            path.talking = talking
        if not path.is_silent:
            return ()
        path.is_silent = False
        return [*self._pull(now_s), Heard(link)]

    def tick(self, now_s: float) -> list[RepairOutput]:
        """What is due: first it is repaired, then told."""
        # Our own stalls are not the network's: the time in which we did not listen counts for
        # nobody, and what lies in the sockets is read first.
        late_s = now_s - self._due_s()
        if late_s > STALL_S:
            for path in self._paths.values():
                path.heard_s = min(now_s, path.heard_s + late_s + GRACE_S)
        self._ticked_s = now_s
        silent = [
            link
            for link, path in self._paths.items()
            if not path.is_silent and now_s >= path.heard_s + self._limit_s(link, path)
        ]
        for link in silent:
            self._paths[link].is_silent = True
        return [*self._pull(now_s), *(Silent(link) for link in silent)]

    def _due_s(self) -> float:
        """When tick() has to judge or at least to look."""
        dues = [
            path.heard_s + self._limit_s(link, path)
            for link, path in self._paths.items()
            if not path.is_silent
        ]
        return min([self._ticked_s + LOOK_S, *dues]) if self._paths else inf

    def _limit_s(self, link: LinkNumber, path: _Path) -> float:
        if link not in self._standbys:
            return SILENCE_S
        return TALKING_SILENCE_S if path.talking else QUIET_SILENCE_S

    def _pull(self, now_s: float) -> list[RepairOutput]:
        """Pulls every standby of a silent ingress when it is due; releases all others."""
        wanted = {
            standby
            for ingress, standbys in self._standbys.items()
            if ingress in self._gone or self._is_silent(ingress)
            for standby in standbys
            if standby in self._paths
        }
        outputs: list[RepairOutput] = []
        for standby in sorted(wanted):
            if now_s >= self._pulled.get(standby, -inf):
                self._pulled[standby] = now_s + PULL_S
                outputs.append(Pull(standby))
        for standby in sorted(self._pulled.keys() - wanted):
            del self._pulled[standby]
            outputs.append(Release(standby))
        return outputs

    def _is_silent(self, link: LinkNumber) -> bool:
        path = self._paths.get(link)
        return path is not None and path.is_silent
