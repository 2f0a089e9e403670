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


def longest_pause(times: list[float]) -> tuple[float, float]:
    """From one to the next."""
    return max(itertools.pairwise(times), key=lambda pause: pause[1] - pause[0])


@dataclass
class Listener:
    child: MediaChild
    opened: Path
    sealed: Path  # by who speaks to it

    @property
    def packets(self) -> list[witness.Seen]:
        return [seen for seen in witness.read(self.opened) if seen.how == "opened"]

    def gap_since(self, unix: float) -> tuple[float, float]:
        """The longest time between two packets that were opened one after the other, the last
        before then included."""
        times = [seen.unix for seen in self.packets]
        after = [
            max([t for t in times if t <= unix], default=unix),
            *(t for t in times if t > unix),
        ]
        return longest_pause(after)

    def gap_ms_since(self, unix: float) -> float:
        began, ended = self.gap_since(unix)
        return 1_000 * (ended - began)

    def missing_since(self, unix: float) -> int:
        """How many frames between the first and the last since then were never opened. What the
        speaker's own process had no time for was said to nobody."""
        counters = {seen.counter for seen in self.packets if seen.unix >= unix}
        said = {seen.counter for seen in witness.read(self.sealed)}
        return len(said.intersection(range(min(counters), max(counters))) - counters)


class Stage:
    """One voice by way of a hub to all listeners; the standby gets it too and keeps it."""

    def __init__(self, make_child, folder: Path, listeners: int = 2):
        self.sealed = folder / "speaker.sealed"
        self.speaker = make_child("speaker", opened=self.sealed)
        self.hub, self.standby = make_child("hub"), make_child("standby")
        self.listeners = []
        for n in range(listeners):
            path = folder / f"listener{n}.opened"
            child = make_child(f"listener{n}", opened=path)
            self.listeners.append(Listener(child, path, self.sealed))
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

    def speaker_paused_ms_since(self, unix: float) -> float:
        """How long its own machine kept it from speaking."""
        times = [seen.unix for seen in witness.read(self.sealed) if seen.unix >= unix]
        began, ended = longest_pause(times)
        return 1_000 * (ended - began)

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
