"""Which links have fallen silent, and pulling voices from a standby meanwhile.

Repair, not agreement: it acts at once on what this node hears, does nothing that could not be
done twice, and tells control afterwards. A limit counts the link, never one voice: a person who
pauses is not a path that broke. What the other side makes of a pull stands in feeding.py.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import inf
from typing import Final

from p2phouse.carry.table import Table
from p2phouse.channel import Heard, Silent
from p2phouse.vocabulary import FRAME_S, LinkNumber, Ssrc

# Keepalives come each 200 ms: one may be lost and the next be 150 ms late. With a tick of 20 ms on
# top the end of a peer is noticed in less than 600 ms, as liveness by media demands. Two lost in a
# row are a false alarm: at a loss of 1 % each half hour of quiet, and taken back 50 ms later.
SILENCE_S: Final = 0.550
# With a standby at hand a false alarm costs some duplicates, not a gap. Three packets are missing
# then; at a loss of 1 % that happens by chance each five hours of talk.
TALKING_SILENCE_S: Final = 0.060
JITTERS: Final = 4  # a frame and four times the jitter of RFC 3550 pass before talk is missed
TALKING_SILENCE_S_MAX: Final = 0.120  # Security: whoever makes jitter must not hide for longer
QUIET_SILENCE_S: Final = 0.600  # nobody misses a word meanwhile, so haste gains nothing
WARNED_SILENCE_S: Final = 0.250  # the standby has said that it hears nothing: one keepalive and 50
WARNED_S: Final = 1.0  # for how long after a push
PULL_S: Final = 0.200  # a pull may be lost, and lapses by itself:
PULL_HOLD_S: Final = 1.5  # seven may be lost
PUSH_EACH_S: Final = 5.0  # what a push has not shown by then has another reason than silence
UNFED_S: Final = 0.500  # our table may be so much earlier than that of who carries us
LEFT_S: Final = 0.500  # a release that was on its way when we had its taker carry us again has come
BRISK_S: Final = 0.050  # a link quiet for no longer than this brings a keepalive each 20 ms

LOOK_S: Final = 0.100  # at least so often, to tell a stall of ours from a silence of theirs
STALL_S: Final = 0.100  # later than this is a stall, not a busy moment
GRACE_S: Final = 0.100  # to read what has lain in the sockets


@dataclass(frozen=True, slots=True)
class Pull:
    """Ask this link for the voices that it stands by for; again and again until Release."""

    link: LinkNumber


@dataclass(frozen=True, slots=True)
class Release:
    """This link need bring them no more; altogether: nor any that it carried to us before."""

    link: LinkNumber
    altogether: bool = False


@dataclass(frozen=True, slots=True)
class Push:
    """Bring everybody whom we stand by for all that we have, for a moment."""


RepairOutput = Pull | Release | Push | Silent | Heard


class _Path:
    """What was heard of one link."""

    __slots__ = (
        "heard_s",
        "is_silent",
        "jitter_s",
        "pace_s",
        "said_s",
        "talking",
        "unfed_s",
        "warned_s",
    )

    def __init__(self, now_s: float) -> None:
        self.heard_s = now_s
        self.talking = False
        self.is_silent = False
        self.jitter_s = 0.0
        self.said_s = -inf  # when a voice or a keepalive came last, which reports are not
        self.pace_s = inf  # between the last two of these
        self.unfed_s = inf  # since when it lives and says that it carries nothing to us
        self.warned_s = -inf  # when its standby last said that it hears nothing


class Repair:
    """Tell it what comes; call `tick` at `deadline`, or more often."""

    def __init__(self) -> None:
        self._paths: dict[LinkNumber, _Path] = {}
        self._standbys: dict[LinkNumber, frozenset[LinkNumber]] = {}  # by ingress
        self._leaning: LinkNumber | None = None  # pulled for as long as the table says so
        self._ingresses: dict[Ssrc, LinkNumber] = {}
        self._guarded: LinkNumber | None = None
        self._guarded_gone = False  # it was removed, and nothing was pushed for that yet
        self._gone: set[LinkNumber] = set()  # ingresses of the table that were removed
        self._pulled: dict[LinkNumber, float] = {}  # standby: when it is to be pulled again
        self._asked: dict[LinkNumber, float] = {}  # who was pulled at all, and when last
        # Of hubs that moved: the new ingress, and the old ones that it takes over from.
        self._former: dict[LinkNumber, frozenset[LinkNumber]] = {}
        self._left: dict[LinkNumber, float] = {}  # whom we have released altogether, and when last
        self._failing: frozenset[LinkNumber] = frozenset()
        self._pushed_s = -inf
        self._tabled_s = -inf
        self._ticked_s = -inf

    @property
    def deadline(self) -> float:
        """When to call tick(); inf if there are no links."""
        return min([self._due_s(), *self._pulled.values()])

    @property
    def talking(self) -> frozenset[LinkNumber]:
        """The links at whose other end somebody talks."""
        return frozenset(
            k for k, path in self._paths.items() if path.talking and not path.is_silent
        )

    def add(self, now_s: float, link: LinkNumber) -> None:
        """A link is up. It counts as heard, in quiet: its other end may be up a little later."""
        if not self._paths:
            self._ticked_s = now_s  # nobody had to tick before
        self._paths[link] = _Path(now_s)

    def remove(self, link: LinkNumber) -> None:
        """A link is gone, if it ever was here. Until the next table its standby steps in."""
        if self._paths.pop(link, None) is not None:
            if link in self._standbys:
                self._gone.add(link)
            self._guarded_gone |= link == self._guarded
        for kept in (self._pulled, self._asked, self._former, self._left):
            kept.pop(link, None)

    def set_table(self, table: Table) -> None:
        """Who stands by for whom from now on; what follows comes out of the next tick."""
        standbys: dict[LinkNumber, set[LinkNumber]] = {}
        former: dict[LinkNumber, set[LinkNumber]] = {}
        for row in table.rows:
            if not row.standbys:
                continue
            standbys.setdefault(row.ingress, set()).update(row.standbys)
            owed = {self._ingresses.get(row.ssrc), *self._former.get(row.ingress, ())}
            former.setdefault(row.ingress, set()).update(owed.intersection(row.standbys))
        self._standbys = {ingress: frozenset(links) for ingress, links in standbys.items()}
        self._former = {ingress: frozenset(links) for ingress, links in former.items()}
        self._ingresses = {row.ssrc: row.ingress for row in table.rows}
        self._gone &= self._standbys.keys()
        if self._guarded != table.guarded:
            self._guarded, self._pushed_s = table.guarded, -inf
            self._guarded_gone = False
        # Who has become our forwarder is not told that it need bring nothing: it stops by itself
        # what it brought as a standby, and the word could reach it when it already carries us.
        self._leaning = table.leaning
        for link in (self._pulled.keys() & set(self._ingresses.values())) - {self._leaning}:
            del self._pulled[link]
        self._tabled_s = self._ticked_s

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
            path.pace_s, path.said_s = now_s - path.said_s, now_s
        if not path.is_silent:
            return ()
        path.is_silent = False
        return [*self._pull(now_s), Heard(link)]

    def carried(self, now_s: float, link: LinkNumber, *, feeds: bool) -> Sequence[RepairOutput]:
        """The other end has shown that it carries voices to us under its table, or has said that
        it does not. Only who carried us before is then released: make before break."""
        path = self._paths.get(link)
        if path is None:
            return ()
        if not feeds:
            path.unfed_s = min(path.unfed_s, now_s)
            return ()
        path.unfed_s = inf
        former = self._former.pop(link, frozenset())
        # Not while another voice still waits for its new way, nor who must bring us his own.
        needed = {*self._ingresses.values()}.union(*self._former.values())
        released = sorted(former.difference(needed).intersection(self._paths))
        self._left |= dict.fromkeys(released, now_s)
        return [Release(each, altogether=True) for each in released]

    def brought(self, now_s: float, link: LinkNumber) -> Sequence[RepairOutput]:
        """A voice came on a link for the first time under this table. If we had pulled there it
        proves nothing; a keepalive will tell, or the old way ends by itself."""
        if now_s < self._asked.get(link, -inf) + PULL_HOLD_S:
            return ()
        return self.carried(now_s, link, feeds=True)

    def pushed(self, now_s: float, link: LinkNumber) -> None:
        """A standby has lost the hub: we look at our own link to the hub more closely."""
        for ingress, standbys in self._standbys.items():
            if link in standbys and ingress in self._paths:
                self._paths[ingress].warned_s = now_s

    def set_failing(self, links: frozenset[LinkNumber]) -> None:
        """The ingresses that live but do not bring all that their standbys have (compare.py)."""
        self._failing = links

    def set_jitter(self, link: LinkNumber, jitter_s: float) -> None:
        """How unevenly voices come on a link, as last measured."""
        if link in self._paths:
            self._paths[link].jitter_s = jitter_s

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
            if not path.is_silent and now_s >= path.heard_s + self._limit_s(now_s, link, path)
        ]
        for link in silent:
            self._paths[link].is_silent = True
        return [
            *self._push(now_s, silent),
            *self._pull(now_s),
            *(Silent(link) for link in silent),
        ]

    def _due_s(self) -> float:
        """When tick() has to judge or at least to look."""
        dues = [
            path.heard_s + self._limit_s(self._ticked_s, link, path)
            for link, path in self._paths.items()
            if not path.is_silent
        ]
        return min([self._ticked_s + LOOK_S, *dues]) if self._paths else inf

    def _limit_s(self, now_s: float, link: LinkNumber, path: _Path) -> float:
        talking_s = min(
            max(TALKING_SILENCE_S, FRAME_S + JITTERS * path.jitter_s), TALKING_SILENCE_S_MAX
        )
        if link == self._guarded:
            # Its keepalives come each 20 ms in quiet too, once it knows that we stand by for it.
            is_brisk = path.talking or path.pace_s <= BRISK_S
            return talking_s if is_brisk else QUIET_SILENCE_S
        if link not in self._standbys:
            return SILENCE_S
        if path.talking:
            return talking_s
        return WARNED_SILENCE_S if now_s < path.warned_s + WARNED_S else QUIET_SILENCE_S

    def _push(self, now_s: float, silent: list[LinkNumber]) -> list[RepairOutput]:
        """Silence of the hub that we stand by for is repaired before anybody asks."""
        is_lost = self._guarded in silent or self._guarded_gone
        self._guarded_gone = False
        if not is_lost or now_s < self._pushed_s + PUSH_EACH_S:
            return []
        self._pushed_s = now_s
        return [Push()]

    def _pull(self, now_s: float) -> list[RepairOutput]:
        """Pulls every standby of a silent ingress when it is due; releases all others."""
        wanted = {
            standby
            for ingress, standbys in self._standbys.items()
            for standby in self._missed(now_s, ingress, standbys)
            if standby in self._paths
        }
        # Who carries us again is told so, lest it take what we said before for the last word.
        wanted |= {
            ingress
            for ingress in self._left.keys() & set(self._ingresses.values())
            if now_s < self._left[ingress] + LEFT_S
        }
        # Who has no link to the hub takes everything from the standby. That it brings something
        # ends nothing: it does so because it is pulled.
        if self._leaning in self._paths:
            wanted.add(self._leaning)
        outputs: list[RepairOutput] = []
        for standby in sorted(wanted):
            if now_s >= self._pulled.get(standby, -inf):
                self._pulled[standby] = now_s + PULL_S
                self._asked[standby] = now_s
                outputs.append(Pull(standby))
        for standby in sorted(self._pulled.keys() - wanted):
            del self._pulled[standby]
            outputs.append(Release(standby))
        return outputs

    def _missed(
        self, now_s: float, ingress: LinkNumber, standbys: frozenset[LinkNumber]
    ) -> Iterable[LinkNumber]:
        """Whom to pull since this ingress does not bring what its rows promise."""
        if ingress in self._gone:
            return standbys
        path = self._paths.get(ingress)
        if path is None:
            return ()
        if path.is_silent or ingress in self._failing:
            return standbys
        if now_s >= max(path.unfed_s, self._tabled_s) + UNFED_S:
            # It lives and carries nothing to us: it has not adopted us yet, or was told too much.
            return (ingress, *standbys)
        return ()
