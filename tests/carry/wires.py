"""Carriers with lossy links between them, in virtual time: each ticks each 20 ms at its own phase.

What a node sends goes through real RTCP and comes after the delay of its link, or not at all.
"""

import heapq
import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar

from p2phouse.carry.carrier import Ask, Carrier, CarrierOutput
from p2phouse.carry.control import LinkControl
from p2phouse.carry.table import compile_table
from p2phouse.shape.plan import Neighbour, Part, Plan, Shape, Standpoint, Voice, plan
from p2phouse.vocabulary import FRAME_S, HERE, LinkNumber, RecordId, Ssrc
from p2phouse.voice.packet import PT_OPUS, Packet, build, parse, timestamp_of


@dataclass(frozen=True, slots=True)
class Conditions:
    delay_s: tuple[float, float] = (0.005, 0.040)  # of a link: least and greatest, one way
    jitter_s: float = 0.005
    loss: float = 0.0


class Net:
    """The heap of what will happen, and all links."""

    def __init__(self, seed: int, conditions: Conditions) -> None:
        self.rng = random.Random(seed)
        self.conditions = conditions
        self.now = 100.0
        self.nodes: dict[str, Node] = {}
        # What a node that cheats does to a voice's packet: how much later it sends it, if at all.
        self.cheat: Callable[[Node, bytes], float | None] = lambda sender, packet: 0.0
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._count = itertools.count()

    def at(self, when: float, do: Callable[[], None]) -> None:
        heapq.heappush(self._events, (when, next(self._count), do))

    def run(self, until_s: float) -> None:
        while self._events and self._events[0][0] <= until_s:
            self.now, _, do = heapq.heappop(self._events)
            do()
        self.now = until_s

    def add(self, *names: str) -> None:
        for name in names:
            self.nodes[name] = Node(self, name)

    def connect(self, a: str, b: str) -> None:
        """A link, numbered by each end in its own order."""
        ends = self.nodes[a], self.nodes[b]
        delay_s = self.rng.uniform(*self.conditions.delay_s)
        for near, far in (ends, ends[::-1]):
            near.link_to(far, delay_s)

    def carry(self, sender: "Node", to: "Node", delay_s: float, data: bytes, kind: str) -> None:
        if not sender.alive or self.rng.random() < self.conditions.loss:
            return
        held_s = self.cheat(sender, data) if kind == "voice" else 0.0
        if held_s is None:
            return
        late_s = delay_s + held_s + self.rng.expovariate(1 / max(1e-9, self.conditions.jitter_s))
        self.at(self.now + late_s, lambda: to.receive(sender.name, data, kind))


@dataclass
class Heard:
    """One packet that came to an ear, the first of its seq."""

    at: float
    seq: int


@dataclass
class Node:
    net: Net
    name: str
    alive: bool = True
    epoch: int = 0
    links: dict[str, LinkNumber] = field(default_factory=dict)
    heard: dict[Ssrc, list[Heard]] = field(default_factory=dict)
    told: list[tuple[float, CarrierOutput]] = field(default_factory=list)
    sent: dict[str, list[tuple[Ssrc, int]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.carrier = Carrier(self._hear)
        self._names: dict[LinkNumber, str] = {}
        self._controls: dict[LinkNumber, LinkControl] = {}
        self._ways: dict[LinkNumber, tuple[Node, float]] = {}
        self._voice: Ssrc | None = None
        self._said = self._ticks = 0
        self._seen: set[tuple[Ssrc, int]] = set()
        phase_s = self.net.rng.uniform(0, FRAME_S)
        self.net.at(self.net.now + phase_s, self._tick)

    def link_to(self, far: "Node", delay_s: float) -> None:
        number = LinkNumber(len(self.links) + 1)
        self.links[far.name] = number
        self._names[number] = far.name
        self._ways[number] = far, delay_s
        control = self._controls[number] = LinkControl(self.net.rng.randbytes)
        sent = self.sent.setdefault(far.name, [])

        def send(packet: bytes) -> None:
            parsed = parse(packet)
            sent.append((parsed.ssrc, parsed.seq))
            control.sent_voice(self.net.now, packet)
            self.net.carry(self, far, delay_s, packet, "voice")

        self.carrier.add(self.net.now, number, send)

    def set_plan(self, made: Plan) -> None:
        self.epoch += 1
        table = compile_table(
            self.epoch, made.rows, made.guarded, made.hurried, made.loudest, made.leaning
        )
        assert self.carrier.set_table(self.net.now, table)

    def talk(self, ssrc: Ssrc | None) -> None:
        self._voice = ssrc

    def kill(self) -> None:
        self.alive = False

    def freeze(self, seconds: float) -> None:
        """SIGSTOP, and SIGCONT later: what lies in the socket by then is lost to us."""
        self.alive = False

        def go_on() -> None:
            self.alive = True
            self._tick()

        self.net.at(self.net.now + seconds, go_on)

    def receive(self, sender: str, data: bytes, kind: str) -> None:
        if not self.alive:
            return
        number, now = self.links[sender], self.net.now
        control = self._controls[number]
        if kind == "voice":
            self._do(self.carrier.hear_voice(now, number))
            if self.carrier.receive(number, data):
                control.received_voice(now, data)
        else:
            self._do(self.carrier.hear_control(now, number, control.receive(now, data)))

    def _hear(self, ssrc: Ssrc, packet: bytes) -> None:
        seq = parse(packet).seq
        if (ssrc, seq) not in self._seen:
            self._seen.add((ssrc, seq))
            self.heard.setdefault(ssrc, []).append(Heard(self.net.now, seq))

    def _tick(self) -> None:
        if not self.alive:
            return
        now = self.net.now
        if self._voice is not None:
            self._said += 1
            packet = Packet(
                PT_OPUS, False, self._said % 65_536, timestamp_of(self._said), self._voice,
                30 + self._said * 7 % 20, True, b"sealed %d" % self._said,
            )  # fmt: skip
            self.carrier.receive(HERE, build(packet))
        loud = self.carrier.loud(own=self._voice is not None)
        for number, control in self._controls.items():
            for data in control.tick(
                now,
                quiet=number not in loud,
                epoch=self.epoch,
                is_standby=number in self.carrier.hurried,
                carries=number in self.carrier.carried,
            ):
                self._send(number, data)
            if self._ticks % 50 == 0:
                self.carrier.set_jitter(number, control.jitter_us / 1e6)
        self._ticks += 1
        self._do(self.carrier.tick(now))
        self.net.at(now + FRAME_S, self._tick)

    def _do(self, outputs) -> None:
        for output in outputs:
            self.told.append((self.net.now, output))
            if isinstance(output, Ask):
                control = self._controls[output.link]
                data = control.request(output.kind, self.epoch, altogether=output.altogether)
                self._send(output.link, data)

    def _send(self, number: LinkNumber, data: bytes) -> None:
        far, delay_s = self._ways[number]
        self.net.carry(self, far, delay_s, data, "control")

    # ── what tests look at ───────────────────────────────────────────────────────────────────

    def gap_ms(self, ssrc: Ssrc, since: float) -> float:
        """The longest time between two packets heard, from the last before `since` on; to now if
        none came after it."""
        times = [heard.at for heard in self.heard[ssrc]]
        first = max(at for at in times if at <= since)
        times = [first, *(at for at in times if at > since), self.net.now]
        return 1_000 * max(b - a for a, b in itertools.pairwise(times))

    def missing(self, ssrc: Ssrc, first: int, last: int) -> list[int]:
        seqs = {heard.seq for heard in self.heard[ssrc]}
        return [seq for seq in range(first, last + 1) if seq not in seqs]


class HubRoom:
    """A hub, its standby and four members; three of all have a voice. Its tables are the plan's."""

    MEMBERS = ("m1", "m2", "m3", "m4")
    VOICES: ClassVar = {
        "m1": Ssrc(0x11111111),
        "hub": Ssrc(0x22222222),
        "standby": Ssrc(0x33333333),
    }

    def __init__(self, seed: int, conditions: Conditions) -> None:
        self.net = net = Net(seed, conditions)
        net.add("hub", "standby", *self.MEMBERS)
        net.connect("hub", "standby")
        for member in self.MEMBERS:
            net.connect(member, "hub")
            net.connect(member, "standby")
        self.carry("hub", "standby")
        net.run(101.0)

    def __getitem__(self, name: str) -> Node:
        return self.net.nodes[name]

    @property
    def now(self) -> float:
        return self.net.now

    @property
    def listeners(self) -> list[Node]:
        return [self[name] for name in self.MEMBERS[1:]]

    def run(self, seconds: float) -> None:
        self.net.run(self.net.now + seconds)

    def carry(self, hub: str, standby: str | None, former: str | None = None) -> None:
        """All who live adopt at once."""
        for name, node in self.net.nodes.items():
            if node.alive:
                self.adopt(name, hub, standby, former)

    def adopt(self, name: str, hub: str, standby: str | None, former: str | None = None) -> None:
        """This node hears who carries from now on; former: who did, and yields."""

        def part(of: str) -> Part:
            return {hub: Part.HUB, standby: Part.STANDBY}.get(of, Part.MEMBER)

        def voice(of: str) -> Voice | None:
            ssrc = self.VOICES.get(of)
            return None if ssrc is None else Voice(ssrc, RecordId(ssrc.to_bytes(4)))

        node = self[name]
        others = [
            Neighbour(node.links.get(other), voice(other), part(other), yields=other == former)
            for other in self.net.nodes
            if other != name
        ]
        here = Standpoint(Shape.HUB, part(name), yields=name == former)
        node.set_plan(plan(voice(name), others, here))
