"""Who is brought voices that we stand by for, and who wants no more of those that we carry.

The other side of repair.py: there a node notices that its forwarder is silent and pulls; here the
standby is pulled, or pushes by itself, and a former hub is released. Each pull lapses, so that a
node which is gone costs nobody anything.
"""

from math import inf
from typing import Final

from p2phouse.carry.repair import PULL_HOLD_S
from p2phouse.carry.table import Table
from p2phouse.channel import Pulls, Released
from p2phouse.vocabulary import LinkNumber

PULL_COUNTS_S: Final = 0.400  # for how long a pull is a voice against the hub: two of them
PUSH_S: Final = 0.500  # until then whoever misses something has pulled
# Whoever releases us was brought the newest packet by the next hub. One that was said before it may
# still be on its way to us, or lie in our socket, and the next hub did not carry that one.
LINGER_S: Final = 0.250

FeedingOutput = Pulls | Released


class Feeding:
    """Tell it what other ends ask; `fed` and `released` say which links the forwarder serves."""

    def __init__(self) -> None:
        self._up: set[LinkNumber] = set()
        self._warm: frozenset[LinkNumber] = frozenset()
        self._guarded: LinkNumber | None = None
        # Kept whatever the table says: a member may adopt a new hub, and pull, before we do.
        self._pulled: dict[LinkNumber, float] = {}
        self._push_ends = -inf
        self._released: frozenset[LinkNumber] = frozenset()
        self._leaving: dict[LinkNumber, float] = {}  # who has released us, and when that holds
        self._left: dict[LinkNumber, float] = {}  # the same, from a table that is no more
        self._counted: list[LinkNumber] = []  # as told last
        self._told = (0, 0)

    @property
    def released(self) -> frozenset[LinkNumber]:
        """The links that want nothing of what the present table says they are sent."""
        return self._released

    @property
    def warm(self) -> frozenset[LinkNumber]:
        """The links that we stand by for and that are up; not that of the hub, which is none of
        those that miss it."""
        return (self._warm & self._up) - {self._guarded}

    @property
    def deadline(self) -> float:
        """When to call tick(), at the latest; inf if nobody is fed."""
        counting = [self._pulled[k] + PULL_COUNTS_S for k in self._counted if k in self._pulled]
        lapsing = [at + PULL_HOLD_S for at in self._pulled.values()]
        ends = [self._push_ends] if self._push_ends > -inf else []
        leaving = [*self._leaving.values(), *self._left.values()]
        return min([*counting, *lapsing, *ends, *leaving], default=inf)

    def add(self, link: LinkNumber) -> None:
        self._up.add(link)

    def remove(self, link: LinkNumber) -> None:
        self._up.discard(link)
        for kept in (self._pulled, self._leaving, self._left):
            kept.pop(link, None)
        self._released -= {link}

    def set_table(self, table: Table) -> None:
        """Whom we stand by for from now on. Nobody has released us from a new table yet."""
        self._warm = frozenset(link for row in table.rows for link in row.warm)
        self._guarded = table.guarded
        self._released = frozenset()
        # What they said holds for control all the same, and no sooner: it would have us stop.
        self._left |= self._leaving
        self._leaving.clear()

    def pull(self, now_s: float, link: LinkNumber) -> None:
        """The other end misses something: it is brought all we have, whatever it said before."""
        if link in self._up:
            self._pulled[link] = now_s
            self._leaving.pop(link, None)
            self._left.pop(link, None)
            self._released -= {link}

    def release(self, now_s: float, link: LinkNumber, *, altogether: bool) -> None:
        """The other end misses nothing any more; altogether: it is carried by somebody else."""
        self._pulled.pop(link, None)
        if altogether and link not in self._released and link in self._up:
            self._leaving.setdefault(link, now_s + LINGER_S)

    def push(self, now_s: float) -> None:
        """For a moment everybody whom we stand by for is brought everything."""
        self._push_ends = now_s + PUSH_S

    def fed(self, now_s: float) -> frozenset[LinkNumber]:
        """The warm links that are sent voices now."""
        if now_s < self._push_ends:
            return self._warm
        return frozenset(
            link for link, at in self._pulled.items() if now_s < at + PULL_HOLD_S
        ).intersection(self._warm)

    def tick(self, now_s: float) -> list[FeedingOutput]:
        """Lets go of what has lapsed, and tells who is released and how many pull."""
        if now_s >= self._push_ends:
            self._push_ends = -inf
        for link in [k for k, at in self._pulled.items() if now_s >= at + PULL_HOLD_S]:
            del self._pulled[link]
        self._released |= frozenset(k for k, at in self._leaving.items() if now_s >= at)
        outputs: list[FeedingOutput] = []
        for leaving in (self._left, self._leaving):
            for link in [k for k, at in leaving.items() if now_s >= at]:
                del leaving[link]
                outputs.append(Released(link))
        warm = self.warm
        self._counted = [k for k in warm if now_s < self._pulled.get(k, -inf) + PULL_COUNTS_S]
        told = (len(self._counted), len(warm))
        if told == self._told or (not told[0] and not self._told[0]):
            return outputs
        self._told = told
        return [*outputs, Pulls(*told)]
