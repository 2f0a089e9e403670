"""A world of many nodes on one event heap: shipped cores, simulated wires.

Each node runs the shipped `Rooms` core and takes what it says as node.py does; streams.py stands
for libp2p, media.py for the media process. Time is an argument, so a seed replays a world exactly.
`check` runs after everything that a core does.
"""

import copy
import heapq
import itertools
import os
import random
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import ClassVar

from p2phouse.errors import PeerError
from p2phouse.identity.keys import make_identity
from p2phouse.record import limits
from p2phouse.record.cbor import Value
from p2phouse.room import epochs, messages
from p2phouse.room.door import KNOCK_S_MAX
from p2phouse.room.messages import Event, EventKind, Output
from p2phouse.room.room import Rooms
from p2phouse.room.state import Membership
from p2phouse.room.stay import JOIN_S_MAX
from p2phouse.vocabulary import DeviceKey, Now
from tests.sim.media import Link, Media
from tests.sim.streams import Streams

UNIX_START = 1_800_000_000.0
MEET_S = 0.3  # a node that starts is found, dialled and told the cards of the others
ANSWER_S = 8.0  # net/signalling.py
BUSY_S_MAX = 0.05  # what a control loop may be held up by; mostly far less
SPARE = 32  # of the stage, whom a full door takes in all the same
PINGS_S = 12.0  # three without an answer: the connection is given up


def seeds() -> range:
    """P2PHOUSE_SEEDS=300 runs the first 300, P2PHOUSE_SEEDS=57-57 that one; else twenty."""
    first, _, last = os.environ.get("P2PHOUSE_SEEDS", "20").partition("-")
    return range(int(first), int(last) + 1) if last else range(int(first))


SEEDS = seeds()


@dataclass(frozen=True, slots=True)
class Wire:
    """Conditions between any two nodes. loss: of datagrams; streams only come later for it."""

    delay_s: float = 0.005
    jitter_s: float = 0.002
    loss: float = 0.0


LAN = Wire()
GOOD_WIFI = Wire(delay_s=0.008, jitter_s=0.006, loss=0.005)
WEAK_4G = Wire(delay_s=0.06, jitter_s=0.04, loss=0.03)
HOTEL = Wire(delay_s=0.03, jitter_s=0.1, loss=0.10)


class Node:
    def __init__(self, world: "World", name: str, skew_s: float, *, serves: bool = False) -> None:
        """serves: it is a relay, without a person."""
        self.world = world
        self.name = name
        self.skew_s = skew_s
        self.is_honest = True
        self.serves = serves
        self.entropy = world.rng.randbytes
        self.me = make_identity(now=self.now, entropy=self.entropy, name=name)
        self.dev = self.me.dev
        self.island = 0  # nodes of one island reach one another
        self.cut_off: set[DeviceKey] = set()  # those it cannot reach all the same
        self.loses_permille = 0  # of what it sends, as the others tell it
        self.no_datagrams: set[DeviceKey] = set()  # those to whom streams alone get through
        self.remembered: list[object] | None = None
        self.invites: list[Value] = []
        self.sids: list[bytes] = []  # of all its media processes
        self.last_link = 0
        self.carry: messages.Carry | None = None
        self.start()

    @property
    def measures(self) -> bool:
        """Whether its media process tells how far away others are."""
        return self.world.is_carried

    def offer(self, *, willing: bool = True, cap: int = 30) -> None:
        """Its person lets it carry others, or does not."""
        self.world.is_carried = True
        self.carry = messages.Carry(willing=willing, on_mains=True, metered=False, cap=cap)
        self.receive(self.dev, self.carry)

    def start(self) -> None:
        """A new process, whose core knows nothing but the keys."""
        self.alive = True
        self.last_link = 0
        self._free_at = 0.0  # when its core has taken what came so far
        self.media = self.world.media_kind(self, self.world)
        self.rooms = Rooms(
            self.me,
            rng=random.Random(self.world.rng.random()),
            entropy=self.entropy,
            mouth="none" if self.serves else "device",
            serves=self.serves,
        )
        self.events: list[Event] = []
        self.answers: dict[int, messages.Answer] = {}
        self.asked: dict[int, tuple[float, messages.VerbAction]] = {}  # not answered yet
        self.sent: Counter[type] = Counter()
        self.streams = Streams(self, self.world)
        self.replies: dict[DeviceKey, Callable[[bytes], None]] = {}
        if self.carry is not None:
            self.receive(self.dev, self.carry)
        self.receive(self.dev, messages.OwnAddresses((b"\x04\x0a\x00\x00\x01\x06\x00\x01",)))

    @property
    def now(self) -> Now:
        time = self.world.time
        return Now(time, UNIX_START + time + self.skew_s)

    @property
    def company(self) -> set[str]:
        """Names of the other members as this node sees them."""
        membership = self.rooms.membership
        return {member.name for member in membership.members.values()} if membership else set()

    @property
    def is_inside(self) -> bool:
        membership = self.rooms.membership
        return self.alive and membership is not None and membership.joined

    def hears(self, other: "Node") -> bool:
        """Would a packet of the other's voice reach this node's ear and open there?"""
        alive = self.alive and other.alive and self.world.reaches(self, other)
        return alive and self.media.plays(other.media)

    # ── acting ───────────────────────────────────────────────────────────────────────────────

    def act(self, action: messages.VerbAction) -> int:
        ticket = next(self.world.numbers)
        self.asked[ticket] = (self.world.time, action)
        self.receive(self.dev, messages.Verb(ticket, action))
        return ticket

    def hear(self, sender: DeviceKey, message: messages.Input) -> None:
        """Puts it into the inbox; the core is often busy when something comes."""
        busy_s = self.world.busy_s_max * self.world.rng.random() ** 4
        self._free_at = max(self.world.time + busy_s, self._free_at + 1e-6)
        rooms = self.rooms

        def take() -> None:
            if self.rooms is rooms:
                self.receive(sender, message)

        self.world.after(self._free_at - self.world.time, take)

    def receive(self, sender: DeviceKey, message: messages.Input) -> None:
        """As node.py and drive.py do it."""
        if not self.alive:
            return
        if isinstance(message, messages.MediaGone):
            self.media.is_known = True
        self.world.carry(self)
        before = None if self.world.is_honest(sender) else _snapshot(self.rooms.membership)
        try:
            outputs = self.rooms.receive(self.now, sender, message)
        except PeerError as error:
            outputs = self._drop(sender, error, before)
        self.perform(outputs)

    def _drop(self, sender: DeviceKey, error: PeerError, before: Membership | None) -> list[Output]:
        assert not self.world.is_honest(sender), f"an honest node was accused: {error}"
        assert _snapshot(self.rooms.membership) == before, f"half done, then refused: {error}"
        room = self.rooms.room
        if room is None or sender == self.dev:
            return []
        self.streams.close(sender, room)
        return self.rooms.receive(self.now, sender, messages.RoomLinkDown(room, str(error)))

    def perform(self, outputs: list[Output]) -> None:
        for output in outputs:
            self.sent[type(output)] += 1
            self._perform(output)
        self.world.check(self)
        self.world.wake(self)

    def _perform(self, output: Output) -> None:
        match output:
            case messages.OpenRoomLink(dev, room, _):
                self.streams.open(dev, room)
            case messages.CloseRoomLink(dev, room):
                self.streams.close(dev, room)
            case messages.SendRoomFrame(dev, room, frame):
                self.streams.send(dev, room, frame)
            case messages.SendOffer(dev, offer, data):
                self.world.signal(self, dev, offer, data)
            case messages.SendAnswer(dev, _, data):
                reply = self.replies.pop(dev, None)
                if reply is not None:
                    reply(data)
            case messages.PublishCard(data):
                self.world.gossip(self, data)
            case messages.ToMedia(message):
                self.media.perform(message)
            case messages.KeepInvites(state):
                self.invites = state
            case messages.Remember(state):
                self.remembered = state  # type: ignore[assignment]  # opaque here
            case messages.Answer(ticket):
                assert ticket in self.asked, "a verb answered that was not asked, or asked once"
                del self.asked[ticket]
                self.answers[ticket] = output
            case Event():
                self.events.append(output)


_ANSWERED_LATER = (
    messages.Join,
    messages.JoinAt,
    messages.Move,
    messages.Continue,
    messages.Say,
    messages.HandOver,
    # Whom they name may have to be asked for.
    messages.Listeners,
    messages.Invite,
    messages.Decide,
    messages.LowerHand,
)


def _snapshot(membership: Membership | None) -> Membership | None:
    """What a core believes, as it is now."""
    if membership is None:
        return None
    return replace(
        membership,
        voice=replace(membership.voice),
        members={dev: replace(member) for dev, member in membership.members.items()},
        links={dev: replace(link) for dev, link in membership.links.items()},
        sought={dev: replace(sought) for dev, sought in membership.sought.items()},
        full_for=set(membership.full_for),
        successors=dict(membership.successors),
        lobby=replace(
            membership.lobby,
            people={dev: copy.copy(who) for dev, who in membership.lobby.people.items()},
            refused_until=dict(membership.lobby.refused_until),
        ),
    )


class World:
    """See the module."""

    media_kind: ClassVar[type[Media]] = Media

    def __init__(self, seed: int, wire: Wire = LAN, *, busy_s_max: float = BUSY_S_MAX) -> None:
        self.seed = seed
        self.busy_s_max = busy_s_max
        self.rng = random.Random(seed)
        self.wire = wire
        self.time = 0.0
        self.spoken: dict[tuple[int, int], tuple[float, bytes]] = {}  # of all voices, when
        self.is_talking = False  # packets are sent, and not only keepalives
        self.is_carried = False  # somebody may be elected to carry
        self.carriers: tuple[Node, ...] = ()  # hub and standby of a room of more than eight
        self.numbers = itertools.count(1)
        self.nodes: dict[DeviceKey, Node] = {}
        self.ends: dict[str, tuple[Media, Link]] = {}  # of media links, by ufrag
        self._heap: list[tuple[float, int, Callable[[], object]]] = []
        self._wakes: dict[DeviceKey, float] = {}
        self._apart: dict[tuple[DeviceKey, DeviceKey], int] = {}

    def __repr__(self) -> str:
        return f"World(seed={self.seed})"

    # ── building and running ─────────────────────────────────────────────────────────────────

    def join(self, *names: str, skew_s: float = 0.0, serve: bool = False) -> list[Node]:
        """New nodes on the network; each finds all others a little later. serve: as relays."""
        made = [Node(self, name, self.rng.uniform(-skew_s, skew_s), serves=serve) for name in names]
        self.nodes |= {node.dev: node for node in made}
        for node in made:
            self._meet_all(node)
        return made

    def after(self, delay_s: float, act: Callable[[], object]) -> None:
        heapq.heappush(self._heap, (self.time + delay_s, next(self.numbers), act))

    def run_for(self, seconds: float) -> None:
        self._run(self.time + seconds, lambda: False)

    def run_until(self, reached: Callable[[], bool], *, within_s: float = 30.0) -> None:
        end = self.time + within_s
        self._run(end, reached)
        assert reached(), f"not reached within {within_s} s; {self}"

    def _run(self, end: float, reached: Callable[[], bool]) -> None:
        try:
            while not reached() and self._heap and self._heap[0][0] <= end:
                self.time, _, act = heapq.heappop(self._heap)
                act()
        except Exception as error:
            error.add_note(f"{self} at {self.time:.3f} s; replay with {self.replay}")
            raise
        if not reached():
            self.time = end

    @property
    def replay(self) -> str:
        return f"P2PHOUSE_SEEDS={self.seed}-{self.seed}"

    def wake(self, node: Node) -> None:
        """Has the node's core ticked at its deadline."""
        deadline = node.rooms.deadline
        if self._wakes.get(node.dev) == deadline:
            return
        self._wakes[node.dev] = deadline
        if deadline == float("inf"):
            return
        rooms = node.rooms

        def tick() -> None:
            if node.alive and node.rooms is rooms and self._wakes.get(node.dev) == deadline:
                del self._wakes[node.dev]
                outputs = rooms.tick(node.now)
                assert rooms.deadline > self.time, "a core that spins"
                node.perform(outputs)

        self.after(max(0.0, deadline - self.time), tick)

    def is_honest(self, dev: DeviceKey) -> bool:
        return dev not in self.nodes or self.nodes[dev].is_honest

    def carry(self, node: Node) -> None:
        """As if the living among `carriers` had been elected, at once and by all."""
        membership = node.rooms.membership
        if membership is None or not self.carriers:
            return
        near = [each for each in self.carriers if each is node or self.reaches(node, each)]
        carriers = [each for each in near if each.is_inside][:2]
        alive = [each.dev for each in carriers]
        membership.can_grow = bool(alive)
        people = [each.rooms.membership for each in (*carriers, node)]
        is_crowd = any(here and here.count > limits.MESH_MEMBERS_MAX for here in people)
        if not is_crowd or not alive or (node.dev not in alive and not membership.members):
            membership.hub = membership.standby = membership.wanted = None
            return
        membership.hub, membership.standby = alive[0], alive[1] if alive[1:] else None
        membership.wanted = None if node.dev in alive else frozenset(alive)

    # ── trouble ──────────────────────────────────────────────────────────────────────────────

    def crash(self, node: Node) -> None:
        """kill -9 of control, and with it media: TCP ends at once, UDP falls silent."""
        node.alive = node.media.alive = False
        node.streams.die()

    def cut_power(self, node: Node) -> None:
        """The machine is gone: nothing is said any more, not even by its system."""
        node.alive = node.media.alive = False
        node.streams.fall_mute()
        for other in self.nodes.values():
            dead = other.streams.with_peer(node)
            self.after(PINGS_S, lambda o=other.streams, d=dead: o.give_up(d, "no answer to pings"))  # type: ignore[misc]

    def crash_media(self, node: Node) -> None:
        node.media.alive = False
        node.media = self.media_kind(node, self, is_known=False)
        node.hear(node.dev, messages.MediaGone())

    def rebuild_host(self, node: Node) -> None:
        """libp2p under one node dies and is built anew; its sound does not notice."""
        node.streams.abandon()

    def restart(self, node: Node) -> None:
        remembered = node.remembered
        node.start()
        self._meet_all(node)
        node.receive(node.dev, messages.Invites(node.invites))
        if remembered is not None:
            node.receive(node.dev, messages.Resume(remembered))  # type: ignore[arg-type]  # as kept

    def split(self, *groups: list[Node]) -> None:
        for number, group in enumerate(groups):
            for node in group:
                node.island = number
        self._notice()

    def cut(self, a: Node, b: Node) -> None:
        """These two alone reach each other no more."""
        a.cut_off.add(b.dev)
        b.cut_off.add(a.dev)
        self._notice()

    def cut_sound(self, a: Node, b: Node) -> None:
        """Between these two streams get through, and datagrams no more."""
        a.no_datagrams.add(b.dev)
        b.no_datagrams.add(a.dev)

    def _notice(self) -> None:
        for a, b in itertools.permutations(self.nodes.values(), 2):
            if self.reaches(a, b):
                self._apart.pop((a.dev, b.dev), None)
            elif (a.dev, b.dev) not in self._apart:
                since = self._apart[a.dev, b.dev] = next(self.numbers)
                self.after(PINGS_S, lambda a=a, b=b, since=since: self._give_up(a, b, since))  # type: ignore[misc]

    def _give_up(self, a: Node, b: Node, since: int) -> None:
        if self._apart.get((a.dev, b.dev)) == since:
            a.streams.give_up(a.streams.with_peer(b), "no answer to pings")

    def heal(self) -> None:
        self._apart.clear()
        for node in self.nodes.values():
            node.island = 0
            node.cut_off.clear()
            node.no_datagrams.clear()
        for node in self.nodes.values():
            self._meet_all(node)

    # ── wires ────────────────────────────────────────────────────────────────────────────────

    def reaches(self, a: Node, b: Node) -> bool:
        """Whether the network between two machines is whole."""
        return a.island == b.island and b.dev not in a.cut_off

    def connected(self, a: Node, b: Node) -> bool:
        return a.alive and b.alive and self.reaches(a, b)

    def passes(self, a: Node, b: Node) -> bool:
        """Whether one datagram gets from one node to the other."""
        return self.carries_sound(a, b) and self.rng.random() >= self.wire.loss

    def carries_sound(self, a: Node, b: Node) -> bool:
        return self.reaches(a, b) and b.dev not in a.no_datagrams

    def apart_s(self, a: Node, b: Node) -> float:
        """How long a packet is under way between the two, as they measure it."""
        return self.wire.delay_s

    def way_s(self, a: Node, b: Node) -> float:
        """How long one datagram is under way between the two."""
        return self.apart_s(a, b) + self.rng.uniform(0, self.wire.jitter_s)

    def delay_s(self) -> float:
        return self.wire.delay_s + self.rng.uniform(0, self.wire.jitter_s)

    def round_trip_s(self) -> float:
        return self.delay_s() + self.delay_s()

    def _meet_all(self, node: Node) -> None:
        """On each new connection both tell the cards that they hold (net/hall_exchange.py)."""
        for other in list(self.nodes.values()):
            if other is not node:
                wait_s = self.rng.uniform(0, MEET_S)
                self.after(wait_s, lambda o=other: self._meet(node, o))  # type: ignore[misc]

    def _meet(self, a: Node, b: Node) -> None:
        if self.connected(a, b):
            for one, other in ((a, b), (b, a)):
                for data in one.rooms.live_cards(one.now):
                    self._tell(one, other, messages.CardHeard(data))

    def gossip(self, node: Node, data: bytes) -> None:
        for other in list(self.nodes.values()):
            if other is not node:
                self._tell(node, other, messages.CardHeard(data))

    def _tell(self, a: Node, b: Node, message: messages.Input) -> None:
        def arrive() -> None:
            if self.connected(a, b):
                b.hear(a.dev, message)

        self.after(self.delay_s(), arrive)

    def signal(self, node: Node, dev: DeviceKey, offer: bytes, data: bytes) -> None:
        """Offer in, answer out, on a stream of its own: in no order with what a room link says."""
        other = self.nodes.get(dev)
        rooms = node.rooms
        open_ = [True]

        def answered(answer: bytes) -> None:
            def arrive() -> None:
                if open_[0] and node.rooms is rooms and self.reaches(node, other):  # type: ignore[arg-type]
                    open_[0] = False
                    node.hear(dev, messages.OfferAnswered(answer))

            self.after(self.delay_s(), arrive)

        def hear() -> None:
            if other is not None and self.connected(node, other):
                other.replies[node.dev] = answered
                other.hear(node.dev, messages.OfferHeard(data))

        def fail() -> None:
            if open_[0] and node.rooms is rooms:
                open_[0] = False
                node.hear(dev, messages.OfferFailed(offer, "no answer"))

        self.after(self.delay_s(), hear)
        is_there = other is not None and self.connected(node, other)
        self.after(ANSWER_S if is_there else self.round_trip_s(), fail)

    # ── what must always hold ────────────────────────────────────────────────────────────────

    def check(self, node: Node) -> None:
        membership = node.rooms.membership
        media = node.media
        forwards = membership is not None and (
            membership.hub == node.dev or membership.former == node.dev
        )
        for row in media.table.rows:
            if row.ingress != 0:
                assert forwards or row.sinks in ((0,), ()), "who carries nobody forwards nothing"
            else:
                assert 0 not in row.sinks, "somebody hears himself"
        for asked_s, action in node.asked.values():
            assert isinstance(action, _ANSWERED_LATER)
            if not isinstance(action, messages.Say):
                waits = membership is not None and membership.waits is not None
                most = JOIN_S_MAX + KNOCK_S_MAX if waits else JOIN_S_MAX
                assert self.time - asked_s <= most, "a join without an answer"
        if membership is None:
            assert not media.is_known or media.voice is None, "a voice outside of a room"
            assert (media.input, media.output) in (("none", "none"), ("none", "null"))
            assert not node.asked, "a verb forgotten on leaving"
            return
        may_grow = self.carriers or self.is_carried
        most = membership.places if may_grow else limits.MESH_MEMBERS_MAX
        assert membership.linked_count <= most + SPARE, f"a room of {membership.linked_count}"
        assert len(membership.links) <= most + 64
        assert len(membership.sought) <= 64
        if not media.is_known:
            return
        if node.serves:
            check_relay(membership, media)
        if membership.is_sealed:
            check_sealed(membership, media)
        if membership.muted and media.voice is not None:
            assert media.voice.muted, "muted, yet media is not"
        if not membership.own.on_stage:
            assert media.voice is None, "a voice in the audience"
            assert (membership.muted, media.input) == (True, "none"), "a microphone in the audience"
        open_links = [member.link for member in membership.members.values() if member.link]
        assert sorted(open_links) == sorted(media.links), "links that nobody knows"


def check_relay(membership: Membership, media: Media) -> None:
    """It has no voice and no secret; what is sealed it carries without hearing it."""
    assert media.sid is None, "a relay with a voice"
    assert membership.custody.epochs is None, "a relay that was given a secret"
    if membership.genesis is None or membership.is_sealed:
        assert not media.keys, "a relay with a key"
        assert all(0 not in row.sinks for row in media.table.rows), "a relay with an ear"
    if membership.genesis is not None and membership.is_sealed:
        assert not len(membership.chats), "a relay that reads what is said in a sealed room"


def check_sealed(membership: Membership, media: Media) -> None:
    """Nothing is sent but under a secret that accounts for every removal this node knows of."""
    voice = media.voice
    if voice is None or voice.muted or voice.sid != membership.voice.sid:
        return
    known = membership.custody.epochs
    assert known is not None
    assert known.sending is not None, "unmuted, without a secret to speak under"
    assert voice.sealed, "a voice that anybody could open"
    removed = epochs.removals(membership.log.state)
    assert epochs.covers(known.sending.outline.rm, removed), "under a secret of who was put out"
    assert voice.kid >> 4 == known.sending.outline.n % 16


def heard_by_all(nodes: Iterable[Node]) -> bool:
    """Everybody's voice reaches everybody else."""
    nodes = list(nodes)
    return all(a.hears(b) for a in nodes for b in nodes if a is not b)


def agree(nodes: Iterable[Node]) -> bool:
    """Everybody sees everybody else in the room, and nobody beside."""
    names = {node.name for node in nodes}
    return all(node.company == names - {node.name} for node in nodes)


def kinds(node: Node) -> list[EventKind]:
    return [event.kind for event in node.events]
