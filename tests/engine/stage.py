"""A speaker, a hub, its standby and listeners, as media processes that tests tell what to do.

The tables are what control would write: nobody here elects anybody.
"""

import itertools
from dataclasses import dataclass
from pathlib import Path

from p2phouse.channel import SetKeys, TableRow
from p2phouse.vocabulary import HERE, LinkNumber
from tests.e2e import witness
from tests.engine.child import MediaChild, connect

TO_HUB, TO_STANDBY = LinkNumber(1), LinkNumber(2)  # at the speaker and the listeners
BETWEEN = LinkNumber(9)  # hub and standby, at either
SPEAKER = LinkNumber(1)  # at hub and standby; listeners from 2 on


@dataclass
class Listener:
    child: MediaChild
    opened: Path

    @property
    def packets(self) -> list[witness.Seen]:
        return [seen for seen in witness.read(self.opened) if seen.how == "opened"]

    def gap_ms_since(self, unix: float) -> float:
        """The longest time between two packets that were opened one after the other, the last
        before then included."""
        times = [seen.unix for seen in self.packets]
        after = [
            max([t for t in times if t <= unix], default=unix),
            *(t for t in times if t > unix),
        ]
        return 1_000 * max(b - a for a, b in itertools.pairwise(after))

    def missing_since(self, unix: float) -> int:
        """How many frames between the first and the last since then were never opened."""
        counters = {seen.counter for seen in self.packets if seen.unix >= unix}
        return max(counters) - min(counters) + 1 - len(counters)


class Stage:
    """One voice by way of a hub to all listeners; the standby gets it too and keeps it."""

    def __init__(self, make_child, folder: Path, listeners: int = 2):
        self.speaker = make_child("speaker")
        self.hub, self.standby = make_child("hub"), make_child("standby")
        self.listeners = []
        for n in range(listeners):
            path = folder / f"listener{n}.opened"
            self.listeners.append(Listener(make_child(f"listener{n}", opened=path), path))
        connect(self.hub, self.standby, BETWEEN, BETWEEN)
        ends = [self.speaker, *(listener.child for listener in self.listeners)]
        for number, child in enumerate(ends, SPEAKER):
            connect(child, self.hub, TO_HUB, number)
            connect(child, self.standby, TO_STANDBY, number)
        self.members = tuple(LinkNumber(n) for n in range(2, 2 + listeners))
        self.speaker.speak(sealed=True)
        self.voice = self.speaker.ssrc
        self.speaker.set_table(TableRow(HERE, self.voice, (), (TO_HUB, TO_STANDBY)))
        for listener in self.listeners:
            listener.child.say(SetKeys((self.speaker.key,)))
        self.carry_by_hub()

    def carry_by_hub(self) -> None:
        voice, members = self.voice, self.members
        for listener in self.listeners:
            listener.child.set_table(TableRow(TO_HUB, voice, (TO_STANDBY,), (HERE,)))
        self.standby.set_table(
            TableRow(SPEAKER, voice, (BETWEEN,), (HERE,), warm=members), guarded=BETWEEN
        )
        self.hub.set_table(
            TableRow(SPEAKER, voice, (), (*members, HERE), warm=(BETWEEN,)), hurried=(BETWEEN,)
        )
