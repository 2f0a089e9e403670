"""A room that one of its six members carries: real nodes, each in a namespace of its own.

Two of them, who never carry, cannot reach each other by UDP, so the room has to be carried. One of
the two speaks without a pause; what the others open, and when, they write down (witness.py).
"""

import contextlib
import itertools
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tests.e2e.conftest import Lan
from tests.e2e.nodes import ProcessNode, until, write_clip
from tests.e2e.witness import Seen
from tests.voice.speech import CLIPS, librivox

NAMES = ("speaker", "ana", "ben", "carla", "dan", "eve")
REACHED = ("connected", "carried")
NEVER_CARRY = ("speaker", "eve")
SPEECH_S = 300
SPEECH_LEFT_S = 90.0  # with less of it left he begins anew before anything is measured
SETTLES_S_MAX = 45.0
EPHEMERAL = "32768-65535"  # ports of media; hello and mDNS have others


def babble(path: Path, seconds: int = SPEECH_S) -> Path:
    """Speech of several people at once, so that it never pauses and each 20 ms has its packet."""
    clips = [librivox(clip) for clip in CLIPS]
    size = min(map(len, clips))
    mixed = sum(np.roll(clip[:size], n * size // 7) for n, clip in enumerate(clips * 2))
    sound = np.tile(mixed / (2 * len(clips)), seconds * 48_000 // size + 1)[: seconds * 48_000]
    return write_clip(path, sound.astype(np.float32))


@dataclass(frozen=True, slots=True)
class Carried:
    """Who carries, as one node sees it."""

    hub: str
    standby: str


@dataclass
class HubRoom:
    lan: Lan
    nodes: dict[str, ProcessNode]
    clip: Path
    room: str = ""
    down: set[str] = field(default_factory=set)  # who does not run now, or is out of reach
    _seen: dict[str, dict[str, list[Seen]]] = field(default_factory=dict)
    _read: dict[str, int] = field(default_factory=dict)  # bytes of what it wrote down
    _saying: Any = None
    _said_at: float = -SPEECH_S

    @property
    def up(self) -> list[str]:
        return [name for name in self.nodes if name not in self.down]

    @property
    def speaker(self) -> ProcessNode:
        return self.nodes["speaker"]

    def carried(self, name: str) -> Carried | None:
        """None while this node is of another mind, or knows of nobody to stand by."""
        facts = self.nodes[name].asked("status")
        hub, standby = facts.get("hub"), facts.get("standby")
        if not hub or not standby:
            return None
        return Carried(hub["name"], standby["name"])

    def settled(self, unlike: str = "") -> Carried:
        """Waits until all who run name the same two, and hears them for a while. unlike: who must
        not carry any more."""
        found: Carried | None = None

        def agree() -> bool:
            nonlocal found
            views = {self.carried(name) for name in self.up}
            found = views.pop()
            if views or found is None or found.hub == unlike:
                return False
            return {found.hub, found.standby} <= set(self.up)

        until(agree, f"one hub and one standby among {self.up}", SETTLES_S_MAX)
        self.talk()
        self.hear(100)
        assert found is not None
        return found

    def gather(self) -> str:
        """Ana opens a room and all others join it; a machine that is slow today may have made a
        hub of her at once."""
        host = self.nodes["ana"]
        room: str = host.asked("open", title="Carried")["room"]
        for node in self.nodes.values():
            if node is not host:
                until(lambda node=node: node.sees(room), "seeing the room")
                node.asked("join", room=room)

        def is_reached(node: ProcessNode) -> bool:
            links = [other["link"] for other in node.others().values()]
            return len(links) == len(self.nodes) - 1 and {*links} <= {*REACHED}

        for node in self.nodes.values():
            until(lambda node=node: is_reached(node), "a way to everybody", SETTLES_S_MAX)
        return room

    def talk(self, *, anew: bool = False) -> None:
        """The speaker has more to say."""
        if anew or time.monotonic() - self._said_at > SPEECH_S - SPEECH_LEFT_S:
            self.hush()
            self._said_at = time.monotonic()
            self._saying = self.speaker.begin("say", path=str(self.clip))

    def hush(self) -> None:
        if self._saying is not None:
            self._saying.stop()
            for _ in self._saying:
                pass
            self._saying = None

    def whole(self) -> Carried:
        """Waits until all are there, in one room with one hub and one standby, and heard."""

        def is_reached(node: ProcessNode) -> bool:
            others = node.others().values()
            names = {other["name"] for other in others if other["link"] in REACHED}
            return names == {*self.up} - {node.home.name}

        for name in self.up:
            node = self.nodes[name]
            until(lambda node=node: is_reached(node), f"{name} reaching everybody", SETTLES_S_MAX)
        return self.settled()

    @contextlib.contextmanager
    def without(self, *names: str) -> Iterator[None]:
        """These are out of the others' reach meanwhile."""
        self.down |= {*names}
        try:
            yield
        finally:
            self.down -= {*names}

    def number(self, name: str) -> int:
        """Of its host in the LAN."""
        return NAMES.index(name) + 1

    # ── what is heard ────────────────────────────────────────────────────────────────────────

    @property
    def listeners(self) -> list[str]:
        return [name for name in self.up if name != "speaker"]

    def packets(self, name: str, how: str = "opened") -> list[Seen]:
        """Those that it has opened so far, or sealed; only what is new is read, for the file grows
        all day."""
        seen = self._seen.setdefault(name, {"opened": [], "sealed": []})
        path = self.nodes[name].witness_path
        if path.exists():
            with path.open("rb") as file:
                file.seek(self._read.get(name, 0))
                whole = file.read().rpartition(b"\n")[0]
            if whole:
                self._read[name] = self._read.get(name, 0) + len(whole) + 1
                fields = (line.split() for line in whole.decode().splitlines())
                for at, kind, key, n in fields:
                    seen[kind].append(Seen(float(at), kind, key, int(n)))
        return seen[how]

    def hear(self, packets: int, within_s: float = SETTLES_S_MAX) -> None:
        """Until each listener has opened so many more."""
        wanted = {name: len(self.packets(name)) + packets for name in self.listeners}
        for name, count in wanted.items():
            until(lambda n=name, c=count: len(self.packets(n)) >= c, f"{name} hears", within_s)

    def gap_ms(self, name: str, since: float, until_unix: float) -> float:
        """The longest time between two packets, from the last before `since` on; to the
        end if none came after it."""
        times = [seen.unix for seen in self.packets(name) if seen.unix <= until_unix]
        first = max((t for t in times if t <= since), default=since)
        times = [first, *(t for t in times if t > since), until_unix]
        return 1_000 * max(b - a for a, b in itertools.pairwise(times))

    def spacings_ms(self, name: str, since: float, until_unix: float) -> list[float]:
        times = [seen.unix for seen in self.packets(name) if since <= seen.unix <= until_unix]
        return [1_000 * (b - a) for a, b in itertools.pairwise(times)]

    def missing(self, name: str, since: float, until_unix: float) -> int:
        """Frames between the first and the last of that time that it never opened. Those that the
        speaker's own machine gave no time to were said to nobody."""
        seen = [each for each in self.packets(name) if each.key == self.packets(name)[-1].key]
        counters = {each.counter for each in seen if since <= each.unix <= until_unix}
        ever = {each.counter for each in seen}
        return sum(
            each.counter not in ever
            for each in self.packets("speaker", "sealed")
            if each.key == seen[-1].key and min(counters) <= each.counter <= max(counters)
        )

    def unopened(self, name: str, since: float, until_unix: float) -> int:
        """Packets that left the speaker in that time and that it never opened."""
        sent = [e for e in self.packets("speaker", "sealed") if since <= e.unix <= until_unix]
        opened = {(each.key, each.counter) for each in self.packets(name)}
        return sum((each.key, each.counter) not in opened for each in sent)

    # ── what happens to them ─────────────────────────────────────────────────────────────────

    def kill(self, *names: str) -> float:
        """kill -9 of both processes of each; when."""
        pids = [pid for name in names for pid in self.nodes[name].pids]
        at = time.time()
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        for name in names:
            self.nodes[name].kill()
            self.down.add(name)
        return at

    def revive(self) -> None:
        """Whoever is down comes back."""
        for name in sorted(self.down):
            node = self.nodes[name]
            node.start()
            until(lambda node=node: node.sees(self.room), "seeing the room")
            node.asked("join", room=self.room)
            self.down.discard(name)

    def hand_over(self, hub: str) -> float:
        """Its owner wants to carry no more; when that was said."""
        at = time.time()
        self.nodes[hub].asked("carry", choice="never")
        return at


@contextlib.contextmanager
def hub_room(lan: Lan, make_node, folder: Path) -> Iterator[HubRoom]:
    """Six nodes in a room that one of them carries, while the first speaks."""
    nodes = {
        name: make_node(name, namespace=lan.host(number), cheats=False)
        for number, name in enumerate(NAMES, start=1)
    }
    made = HubRoom(lan, nodes, babble(folder / "babble.wav"))
    for name, node in nodes.items():
        node.asked("carry", choice="never" if name in NEVER_CARRY else "auto")
    made.room = made.gather()
    first, last = 1, len(NAMES)
    lan.deafen(first, to=last, ports=EPHEMERAL)
    lan.deafen(last, to=first, ports=EPHEMERAL)
    try:
        yield made
    finally:
        made.hush()
