"""Room links as net/room_links.py makes them: which stream carries a link, who greets, who hears
of an end. Kept to its rules one by one, because it is their corners that a core falls into.
"""

from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from p2phouse.record.cbor import Value
from p2phouse.room import messages
from p2phouse.room.frames import FrameKind
from p2phouse.vocabulary import DeviceKey, RoomId

if TYPE_CHECKING:
    from tests.sim.world import Node, World

DIAL_S_MAX = 4.0
HOLD_S = 2.0  # room_links.HOLD_S
DRAIN_S = 0.01  # frames still read from a link that was just closed
RESEND_S = 0.5  # TCP brings after an outage what it could not bring before
Key = tuple[DeviceKey, RoomId]
Deliver = Callable[["Streams"], None]


@dataclass(eq=False, slots=True)
class Stream:
    """One libp2p stream: frames arrive in order, late but whole, for as long as it lives."""

    opener: "Node"
    other: "Node"
    room: RoomId
    open: bool = True
    adopted: bool = False  # the other end has made a link of it
    queues: dict[DeviceKey, deque[Deliver]] = field(default_factory=lambda: defaultdict(deque))
    last_s: dict[DeviceKey, float] = field(default_factory=dict)

    def beyond(self, node: "Node") -> "Node":
        return self.other if node is self.opener else self.opener


class Streams:
    """One node's end of all its room links, for one life of its process."""

    def __init__(self, node: "Node", world: "World") -> None:
        self._node = node
        self._world = world
        self.links: dict[Key, Stream] = {}
        self._wanted: set[Key] = set()
        self._draining: dict[Key, Stream] = {}
        self._held: list[Stream] = []  # read, and not yet adopted
        self.is_dead = False
        self.is_mute = False  # its machine is gone too: not even its system answers

    # ── what the core asks for ───────────────────────────────────────────────────────────────

    def open(self, dev: DeviceKey, room: RoomId) -> None:
        key = (dev, room)
        self._wanted.add(key)
        if key in self.links:
            self._emit(dev, messages.RoomLinkUp(room, outbound=True))
            return
        other = self._world.nodes.get(dev)
        if other is None or not self._world.connected(self._node, other):
            # Refused at once where a machine answers but no node listens; else after a while.
            answers = other is not None and self._world.reaches(self._node, other)
            wait_s = self._world.round_trip_s() if answers else DIAL_S_MAX
            self._after(wait_s, lambda: self._not_opened(key, "nobody answers there"))
            return
        self._after(self._world.round_trip_s(), lambda: self._opened(key, other))

    def _not_opened(self, key: Key, reason: str) -> None:
        if key not in self.links and key in self._wanted:
            self._wanted.discard(key)
            self._emit(key[0], messages.RoomLinkDown(key[1], reason))

    def _opened(self, key: Key, other: "Node") -> None:
        dev, room = key
        if not self._world.connected(self._node, other):
            self._not_opened(key, "the connection broke")
        elif key not in self._wanted:
            return  # closed meanwhile
        elif key in self.links:
            self._emit(dev, messages.RoomLinkUp(room, outbound=True))
        else:
            self.links[key] = Stream(self._node, other, room)
            self._emit(dev, messages.RoomLinkUp(room, outbound=True))

    def send(self, dev: DeviceKey, room: RoomId, frame: list[Value]) -> None:
        stream = self.links.get((dev, room))
        if stream is not None:
            self._carry(stream, lambda to: to.arrived(stream, frame))

    def close(self, dev: DeviceKey, room: RoomId) -> None:
        """Ends a link; unlike its other end, this one hears no more of it."""
        key = (dev, room)
        self._wanted.discard(key)
        stream = self.links.pop(key, None)
        if stream is not None:
            self._draining[key] = stream
            self._after(DRAIN_S, lambda: self._draining.pop(key, None))
            self._finish(stream, "closed by the peer")

    # ── what comes from peers ────────────────────────────────────────────────────────────────

    def arrived(self, stream: Stream, frame: list[Value]) -> None:
        key = (stream.beyond(self._node).dev, stream.room)
        if self.links.get(key) is stream:
            self._wanted.discard(key)
            self._emit(key[0], messages.RoomFrame(stream.room, frame))
        elif self._draining.get(key) is stream:
            self._emit(key[0], messages.RoomFrame(stream.room, frame))
        elif stream.other is self._node and not stream.adopted and stream.open:
            stream.adopted = True
            self._accept(key, stream, frame)

    def _accept(self, key: Key, stream: Stream, greeting: list[Value]) -> None:
        if not greeting or greeting[0] != FrameKind.GREETING:
            self._finish(stream, "a bad greeting")
            return
        old = self.links.get(key)
        if old is not None and old.opener is self._node and self._node.dev < key[0]:
            # Ours stays, unless its other end knows nothing of it.
            self._held.append(stream)
            self._after(HOLD_S, lambda: self._adopt(key, stream, greeting))
        else:
            self._adopt(key, stream, greeting)

    def _adopt(self, key: Key, stream: Stream, greeting: list[Value]) -> None:
        if stream in self._held:
            self._held.remove(stream)
        if not stream.open:
            return  # its opener has closed it on seeing ours
        old = self.links.get(key)
        self.links[key] = stream
        if old is not None:
            self._finish(old, "replaced")  # its end here goes unannounced
        self._emit(key[0], messages.RoomLinkUp(key[1], outbound=key in self._wanted))
        self._wanted.discard(key)
        self._emit(key[0], messages.RoomFrame(key[1], greeting))

    # ── ends ─────────────────────────────────────────────────────────────────────────────────

    def ended(self, stream: Stream, reason: str) -> None:
        key = (stream.beyond(self._node).dev, stream.room)
        if self.links.get(key) is stream:
            del self.links[key]
            self._wanted.discard(key)
            self._emit(key[0], messages.RoomLinkDown(key[1], reason))

    def with_peer(self, other: "Node") -> list[Stream]:
        return [stream for stream in self.links.values() if stream.beyond(self._node) is other]

    def give_up(self, streams: list[Stream], reason: str) -> None:
        """The connection under these is dead, as this end sees it."""
        for stream in streams:
            stream.open = False
            self.ended(stream, reason)

    def die(self) -> None:
        """The process is gone: its system ends all connections."""
        self.is_dead = True
        for stream in [*self.links.values(), *self._held]:
            self._finish(stream, "the peer is gone")
        self.links.clear()

    def fall_mute(self) -> None:
        """The machine is gone."""
        self.is_dead = self.is_mute = True

    def abandon(self) -> None:
        """The libp2p host under all links is gone and is built anew."""
        for key, stream in list(self.links.items()):
            del self.links[key]
            self._finish(stream, "the peer is gone")
            self._emit(key[0], messages.RoomLinkDown(key[1], "the network of this node restarted"))
        self._wanted.clear()

    def _finish(self, stream: Stream, reason: str) -> None:
        """Ends the stream; its other end hears of it after what was sent before."""

        def end(to: "Streams") -> None:
            stream.open = False
            to.ended(stream, reason)

        self._carry(stream, end)

    # ── carrying ─────────────────────────────────────────────────────────────────────────────

    def _carry(self, stream: Stream, deliver: Deliver) -> None:
        """Does something at the other end of a stream, in order, when the wire lets it through."""
        to = stream.beyond(self._node)
        streams = to.streams
        queue = stream.queues[to.dev]
        queue.append(deliver)
        at_s = max(self._world.time + self._world.delay_s(), stream.last_s.get(to.dev, 0.0) + 1e-6)
        stream.last_s[to.dev] = at_s

        def arrive() -> None:
            if streams.is_mute or not stream.open:
                return
            if not self._world.reaches(self._node, to):
                self._world.after(RESEND_S, arrive)
            elif streams.is_dead:
                self._after(self._world.delay_s(), lambda: self.ended(stream, "the peer is gone"))
            else:
                queue.popleft()(streams)

        self._world.after(at_s - self._world.time, arrive)

    def _after(self, delay_s: float, act: Callable[[], object]) -> None:
        def later() -> None:
            if not self.is_dead:
                act()

        self._world.after(delay_s, later)

    def _emit(self, dev: DeviceKey, message: messages.Input) -> None:
        if not self.is_dead:
            self._node.hear(dev, message)
