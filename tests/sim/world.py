"""A world of many nodes on one event heap: shipped cores, simulated wires.

Each node runs the shipped `Rooms` core; its packets take the rows that `shape.plan` wrote. What is
simulated: delays, partitions, crashes, and the work of libp2p, ICE and Opus. Time is an argument,
so a seed replays a world exactly. `check` runs after every event.
"""

import heapq
import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from p2phouse import channel
from p2phouse.channel import LinkRole, LinkStatus
from p2phouse.identity.keys import make_identity
from p2phouse.room import messages
from p2phouse.room.messages import Event, EventKind, Output
from p2phouse.room.room import Rooms
from p2phouse.vocabulary import DeviceKey, LinkNumber, Now, RoomId

UNIX_START = 1_800_000_000.0
GATHER_S = 0.02  # ICE gathering on a LAN
CONNECT_ROUND_TRIPS = 4  # a STUN check, then three flights of DTLS
CONNECT_S_MAX = 8.0
DIAL_S_MAX = 4.0
SIGNAL_S_MAX = 5.0
SILENCE_S = 0.6  # carry/repair.py reports a silent link
CONSENT_S = 3.5  # consent runs out after 3 to 4 s (RFC 7675, at 1 s)


@dataclass(frozen=True, slots=True)
class Wire:
    """Conditions between any two nodes."""

    delay_s: float = 0.005
    jitter_s: float = 0.002


LAN = Wire()
GOOD_WIFI = Wire(delay_s=0.008, jitter_s=0.006)
WEAK_4G = Wire(delay_s=0.06, jitter_s=0.04)


@dataclass(slots=True)
class Link:
    number: LinkNumber
    ufrag: str
    offerer: bool
    remote: str | None = None  # ufrag of the other end, once told
    up: bool = False
    silent: bool = False


@dataclass(slots=True)
class Media:
    """A media process reduced to what control sees of it."""

    alive: bool = True
    links: dict[LinkNumber, Link] = field(default_factory=dict)
    rows: tuple[channel.TableRow, ...] = ()
    epoch: int = -1
    keys: dict[int, channel.VoiceKeyRow] = field(default_factory=dict)
    voice: channel.SetVoice | None = None
    sid: bytes | None = None
    input: str = "none"
    sids: list[bytes] = field(default_factory=list)


class Node:
    def __init__(self, world: "World", name: str, skew_s: float) -> None:
        self.world = world
        self.name = name
        self.skew_s = skew_s
        self.entropy = world.rng.randbytes
        self.me = make_identity(now=self.now, entropy=self.entropy, name=name)
        self.alive = True
        self.remembered: list[object] | None = None
        self.start()

    def start(self) -> None:
        self.alive = True
        self.media = Media()
        self.rooms = Rooms(
            self.me, rng=random.Random(self.world.rng.random()), entropy=self.entropy
        )
        self.events: list[Event] = []
        self.answers: dict[int, messages.Answer] = {}
        self.streams: dict[DeviceKey, tuple[RoomId, int]] = {}  # peer -> room and stream number
        self.receive(self.dev, messages.OwnAddresses((b"\x04\x0a\x00\x00\x01\x06\x00\x01",)))

    @property
    def dev(self) -> DeviceKey:
        return self.me.dev

    @property
    def now(self) -> Now:
        time = self.world.time
        return Now(time, UNIX_START + time + self.skew_s)

    @property
    def company(self) -> set[str]:
        """Names of the other members as this node sees them."""
        membership = self.rooms.membership
        return {member.name for member in membership.members.values()} if membership else set()

    def hears(self, other: "Node") -> bool:
        """Would a packet of the other's voice reach this node's ear and open there?"""
        voice = other.media.voice
        if not (self.alive and other.alive and voice and self.world.reachable(self, other)):
            return False
        way = self.world.way(other, self)
        sent = any(
            row.ssrc == voice.ssrc and way and way[0] in row.sinks for row in other.media.rows
        )
        taken = any(
            row.ssrc == voice.ssrc and way and row.ingress == way[1] for row in self.media.rows
        )
        key = self.media.keys.get(voice.ssrc)
        return sent and taken and key is not None and key.base == voice.base

    # ── acting ───────────────────────────────────────────────────────────────────────────────

    def act(self, action: messages.VerbAction) -> int:
        ticket = next(self.world.numbers)
        self.receive(self.dev, messages.Verb(ticket, action))
        return ticket

    def receive(self, sender: DeviceKey, message: messages.Input) -> None:
        if not self.alive:
            return
        self.perform(self.rooms.receive(self.now, sender, message))

    def perform(self, outputs: list[Output]) -> None:
        for output in outputs:
            self.world.perform(self, output)
        self.world.wake(self)


class World:
    """See the module."""

    def __init__(self, seed: int, wire: Wire = LAN) -> None:
        self.seed = seed
        self.rng = random.Random(seed)
        self.wire = wire
        self.time = 0.0
        self.numbers = itertools.count(1)
        self.nodes: dict[DeviceKey, Node] = {}
        self.partition: dict[DeviceKey, int] = {}
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._wakes: dict[DeviceKey, float] = {}
        self._last: dict[tuple[DeviceKey, DeviceKey], float] = {}

    def __repr__(self) -> str:
        return f"World(seed={self.seed})"

    # ── building and running ─────────────────────────────────────────────────────────────────

    def join(self, *names: str, skew_s: float = 0.0) -> list[Node]:
        made = [Node(self, name, self.rng.uniform(-skew_s, skew_s)) for name in names]
        self.nodes |= {node.dev: node for node in made}
        return made

    def after(self, delay_s: float, act: Callable[[], None]) -> None:
        heapq.heappush(self._heap, (self.time + delay_s, next(self.numbers), act))

    def run_for(self, seconds: float) -> None:
        self._run(self.time + seconds, lambda: False)

    def run_until(self, reached: Callable[[], bool], *, within_s: float = 30.0) -> None:
        end = self.time + within_s
        self._run(end, reached)
        assert reached(), f"not reached within {within_s} s; {self}"

    def _run(self, end: float, reached: Callable[[], bool]) -> None:
        while not reached() and self._heap and self._heap[0][0] <= end:
            self.time, _, act = heapq.heappop(self._heap)
            act()
            self.check()
        if not reached():
            self.time = end

    def wake(self, node: Node) -> None:
        """Has the node's core ticked at its deadline."""
        deadline = node.rooms.deadline
        self._wakes[node.dev] = deadline
        if deadline == float("inf"):
            return

        def tick() -> None:
            if node.alive and self._wakes.get(node.dev) == deadline:
                outputs = node.rooms.tick(node.now)
                assert node.rooms.deadline > self.time, f"a core that spins; {self}"
                node.perform(outputs)

        self.after(max(0.0, deadline - self.time), tick)

    # ── trouble ──────────────────────────────────────────────────────────────────────────────

    def reachable(self, a: Node, b: Node) -> bool:
        same = self.partition.get(a.dev, 0) == self.partition.get(b.dev, 0)
        return a.alive and b.alive and same

    def crash(self, node: Node) -> None:
        """kill -9 of control, and with it media: TCP ends at once, UDP falls silent."""
        node.alive = False
        for dev in list(node.streams):
            self._end_stream(node, self.nodes[dev], "the peer is gone")
        self._silence(node)

    def crash_media(self, node: Node) -> None:
        node.media.alive = False
        self._silence(node)
        node.media = Media()
        node.receive(node.dev, messages.MediaGone())

    def restart(self, node: Node) -> None:
        remembered = node.remembered
        node.start()
        if remembered is not None:
            node.receive(node.dev, messages.Resume(remembered))  # type: ignore[arg-type]  # as kept

    def split(self, *groups: list[Node]) -> None:
        for number, group in enumerate(groups):
            for node in group:
                self.partition[node.dev] = number
        for node in list(self.nodes.values()):
            for dev in list(node.streams):
                if not self.reachable(node, self.nodes[dev]):
                    # A keep-alive notices after three missed answers.
                    self.after(12.0, lambda a=node, b=self.nodes[dev]: self._time_out(a, b))  # type: ignore[misc]
            self._silence(node, only_apart=True)

    def heal(self) -> None:
        self.partition.clear()

    def _time_out(self, a: Node, b: Node) -> None:
        if not self.reachable(a, b):
            self._end_stream(a, b, "no answer to pings")

    def _silence(self, node: Node, *, only_apart: bool = False) -> None:
        """The links of others to this node fall silent, then lose consent."""
        for link in list(node.media.links.values()):
            found = self._other_end(node, link)
            if found is None or (only_apart and self.reachable(node, found[0])):
                continue
            other, end = found
            self.after(SILENCE_S, lambda o=other, e=end: self._fall_silent(o, e))  # type: ignore[misc]
            self.after(CONSENT_S, lambda o=other, e=end: self._lose(o, e))  # type: ignore[misc]

    def _fall_silent(self, node: Node, link: Link) -> None:
        if node.media.links.get(link.number) is link and link.up and not self._alive(node, link):
            link.silent = True
            node.receive(node.dev, channel.Silent(link.number))

    def _lose(self, node: Node, link: Link) -> None:
        if node.media.links.get(link.number) is not link or not link.up:
            return
        if self._alive(node, link):
            if link.silent:
                link.silent = False
                node.receive(node.dev, channel.Heard(link.number))
            return
        link.up = False
        node.receive(node.dev, channel.LinkState(link.number, LinkStatus.LOST, "consent ran out"))

    def _alive(self, node: Node, link: Link) -> bool:
        found = self._other_end(node, link)
        return found is not None and self.reachable(node, found[0])

    # ── wires ────────────────────────────────────────────────────────────────────────────────

    def _delay(self, a: DeviceKey, b: DeviceKey) -> float:
        """One way, in order: TCP never overtakes itself."""
        delay = self.wire.delay_s + self.rng.uniform(0, self.wire.jitter_s)
        at = max(self.time + delay, self._last.get((a, b), 0.0) + 1e-6)
        self._last[a, b] = at
        return at - self.time

    def _deliver(self, node: Node, to: Node, message: messages.Input) -> None:
        def arrive() -> None:
            if self.reachable(node, to):
                to.receive(node.dev, message)

        self.after(self._delay(node.dev, to.dev), arrive)

    def way(self, a: Node, b: Node) -> tuple[LinkNumber, LinkNumber] | None:
        """The numbers of the connected link between two nodes, at either end."""
        for link in a.media.links.values():
            found = self._other_end(a, link) if link.up else None
            if found is not None and found[0] is b and found[1].up:
                return link.number, found[1].number
        return None

    def _other_end(self, node: Node, link: Link) -> tuple[Node, Link] | None:
        for other in self.nodes.values():
            for end in other.media.links.values():
                if end.ufrag == link.remote and end.remote == link.ufrag:
                    return other, end
        return None

    # ── what nodes want done ─────────────────────────────────────────────────────────────────

    def perform(self, node: Node, output: Output) -> None:
        match output:
            case messages.OpenRoomLink(dev, room, _):
                self._open_stream(node, dev, room)
            case messages.CloseRoomLink(dev, _):
                if dev in node.streams and dev in self.nodes:
                    self._end_stream(node, self.nodes[dev], "closed", both=False)
            case messages.SendRoomFrame(dev, room, frame):
                stream = node.streams.get(dev)
                if stream is not None and stream[0] == room:
                    self._send_frame(node, self.nodes[dev], room, stream[1], frame)
            case messages.SendOffer(dev, offer, data):
                self._signal(node, dev, offer, data)
            case messages.SendAnswer(dev, _, data):
                if dev in self.nodes:
                    self._deliver(node, self.nodes[dev], messages.OfferAnswered(data))
            case messages.PublishCard(data):
                for other in list(self.nodes.values()):
                    if other is not node and self.reachable(node, other):
                        self._deliver(node, other, messages.CardHeard(data))
            case messages.ToMedia(message):
                self._media(node, message)
            case messages.Remember(state):
                node.remembered = state  # type: ignore[assignment]  # opaque here
            case messages.Answer(ticket):
                assert ticket not in node.answers, f"a verb answered twice; {self}"
                node.answers[ticket] = output
            case Event():
                node.events.append(output)

    def _open_stream(self, node: Node, dev: DeviceKey, room: RoomId) -> None:
        other = self.nodes.get(dev)

        def opened() -> None:
            if not node.alive:
                return
            if other is None or not self.reachable(node, other):
                down = messages.RoomLinkDown(room, "nobody answers there")
                self.after(DIAL_S_MAX, lambda: node.receive(dev, down))
                return
            standing = node.streams.get(dev)
            both_opened = standing is not None and other.streams.get(node.dev) == standing
            if both_opened and node.dev > dev:
                return  # the stream of the lower device id stays
            number = next(self.numbers)
            node.streams[dev] = other.streams[node.dev] = (room, number)
            other.receive(node.dev, messages.RoomLinkUp(room, outbound=False))
            node.receive(dev, messages.RoomLinkUp(room, outbound=True))

        self.after(2 * self.wire.delay_s + self.rng.uniform(0, self.wire.jitter_s), opened)

    def _send_frame(
        self, node: Node, to: Node, room: RoomId, number: int, frame: list[object]
    ) -> None:
        def arrive() -> None:
            if to.alive and to.streams.get(node.dev) == (room, number):
                to.receive(node.dev, messages.RoomFrame(room, frame))  # type: ignore[arg-type]

        self.after(self._delay(node.dev, to.dev), arrive)

    def _end_stream(self, node: Node, other: Node, reason: str, *, both: bool = True) -> None:
        """The stream ends; `both`: the closing node learns of it too."""
        stream = node.streams.pop(other.dev, None)
        if stream is None:
            return

        def ended() -> None:
            if other.streams.get(node.dev) == stream:
                del other.streams[node.dev]
                other.receive(node.dev, messages.RoomLinkDown(stream[0], reason))

        self.after(self._delay(node.dev, other.dev), ended)
        if both:
            node.receive(other.dev, messages.RoomLinkDown(stream[0], reason))

    def _signal(self, node: Node, dev: DeviceKey, offer: bytes, data: bytes) -> None:
        other = self.nodes.get(dev)
        if other is not None and self.reachable(node, other):
            self._deliver(node, other, messages.OfferHeard(data))
        failed = messages.OfferFailed(offer, "no answer")
        self.after(SIGNAL_S_MAX, lambda: node.receive(dev, failed))

    # ── media ────────────────────────────────────────────────────────────────────────────────

    def _media(self, node: Node, message: channel.Down) -> None:
        media = node.media
        match message:
            case channel.OpenLink(number, role):
                ufrag = f"u{next(self.numbers)}"
                media.links[number] = Link(number, ufrag, role is LinkRole.OFFERER)
                told = channel.LocalDescription(number, ufrag, "p" * 22, bytes(32), ())
                self.after(GATHER_S, lambda: self._up(node, media, told))
            case channel.ConnectLink(number, ufrag):
                if number in media.links:
                    media.links[number].remote = ufrag
                    self._connect(node, media, media.links[number])
            case channel.CloseLink(number):
                self._close(node, number)
            case channel.SetTable(epoch, rows):
                assert epoch > media.epoch, f"an old table; {self}"
                media.epoch, media.rows = epoch, rows
            case channel.SetKeys(keys):
                media.keys = {row.ssrc: row for row in keys}
            case channel.NewVoice(sid):
                assert sid not in media.sids, f"a sid twice; {self}"
                media.sids.append(sid)
                media.sid, media.voice = sid, None
                told_key = channel.VoiceKey(sid, bytes(32))
                self.after(0.001, lambda: self._up(node, media, told_key))
            case channel.SetVoice(sid):
                if sid == media.sid:
                    media.voice = message
            case channel.EndVoice(sid):
                if sid == media.sid:
                    media.voice = None
            case channel.SetInput(spec):
                media.input = spec

    def _up(self, node: Node, media: Media, message: channel.Up) -> None:
        if node.media is media and media.alive:
            node.receive(node.dev, message)

    def _connect(self, node: Node, media: Media, link: Link) -> None:
        def connected() -> None:
            found = self._other_end(node, link)
            if found is None or not self.reachable(node, found[0]) or link.up:
                return
            for at, end in ((node, link), found):
                if at.media.links.get(end.number) is end and not end.up:
                    end.up = True
                    up = channel.LinkState(end.number, LinkStatus.CONNECTED, "")
                    self._up(at, at.media, up)

        def failed() -> None:
            if media.links.get(link.number) is link and not link.up:
                down = channel.LinkState(link.number, LinkStatus.FAILED, "no path")
                self._up(node, media, down)

        self.after(2 * CONNECT_ROUND_TRIPS * self.wire.delay_s, connected)
        self.after(CONNECT_S_MAX, failed)

    def _close(self, node: Node, number: LinkNumber) -> None:
        link = node.media.links.get(number)
        if link is None:
            return
        found = self._other_end(node, link)
        del node.media.links[number]
        if found is not None and found[1].up:
            other, end = found
            self.after(self.wire.delay_s, lambda: self._closed_there(other, end))

    def _closed_there(self, node: Node, link: Link) -> None:
        if node.media.links.get(link.number) is link and link.up:
            link.up = False
            lost = channel.LinkState(link.number, LinkStatus.LOST, "closed by the peer")
            self._up(node, node.media, lost)

    # ── what must always hold ────────────────────────────────────────────────────────────────

    def check(self) -> None:
        for node in self.nodes.values():
            rows = node.media.rows
            assert len({row.ssrc for row in rows}) == len(rows), f"two rows write one SSRC; {self}"
            for row in rows:
                assert row.ingress not in row.sinks, f"a packet goes back; {self}"
            membership = node.rooms.membership
            if membership is not None:
                assert membership.count <= 8, f"a mesh of {membership.count}; {self}"
                if membership.muted and node.media.voice is not None:
                    assert node.media.voice.muted, f"muted, yet media is not; {self}"


def heard_by_all(nodes: list[Node]) -> bool:
    """Everybody's voice reaches everybody else."""
    return all(a.hears(b) for a in nodes for b in nodes if a is not b)


def kinds(node: Node) -> list[EventKind]:
    return [event.kind for event in node.events]
