"""A member that breaks the protocol in every way a generator finds: it takes what it has heard,
changes it, and says it again, in its own name and that of others.
"""

import random
from collections import deque

from p2phouse.record import cbor
from p2phouse.record.cbor import Value
from p2phouse.room import messages
from p2phouse.room.messages import EventKind, Input
from p2phouse.vocabulary import DeviceKey, RoomId
from tests.sim.world import Node, World

HEARD_MAX = 200


class Liar:
    """Makes a liar of a node, whose core goes on beside the lies. It listens from the beginning."""

    def __init__(self, world: World, node: Node, *, each_s: float = 0.03) -> None:
        node.is_honest = False
        self.node = node
        self.lies = 0
        self._world = world
        self._each_s = each_s
        self._rng = random.Random(world.rng.random())
        self._heard: deque[Value] = deque(maxlen=HEARD_MAX)
        self._listen()

    def begin(self) -> None:
        self._world.after(self._each_s, self._lie)

    @property
    def honest(self) -> list[Node]:
        return [node for node in self._world.nodes.values() if node.is_honest]

    def _listen(self) -> None:
        """Keeps what comes in and what its own core would say."""
        node = self.node
        receive, send = node.receive, node.streams.send

        def heard(sender: DeviceKey, message: Input) -> None:
            match message:
                case messages.RoomFrame(_, frame):
                    self._heard.append(frame)
                case messages.OfferHeard(data) | messages.OfferAnswered(data):
                    self._heard.append(data)
                case messages.CardHeard(data):
                    self._heard.append(data)
            receive(sender, message)

        def sent(dev: DeviceKey, room: RoomId, frame: list[Value]) -> None:
            self._heard.append(frame)
            send(dev, room, frame)

        node.receive, node.streams.send = heard, sent  # type: ignore[method-assign]

    def _lie(self) -> None:
        if not self.node.alive:
            return
        self._world.after(self._each_s, self._lie)
        room = self.node.rooms.room
        if not self._heard or room is None:
            return
        self.lies += 1
        victim = self._rng.choice(self.honest)
        thing = self._rng.choice(self._heard)
        if self._rng.random() < 0.8:
            thing = self._changed(thing)
        how = self._rng.randrange(12)
        if how == 0:
            self.node.streams.close(victim.dev, room)
        elif how == 1:
            self.node.streams.open(victim.dev, room)
        elif isinstance(thing, list):
            # What is no frame for net/room_links.py never gets as far as a core.
            if thing and isinstance(thing[0], int):
                self.node.streams.send(victim.dev, room, thing)
        elif isinstance(thing, bytes):
            self._send_bytes(victim, thing, how)

    def _send_bytes(self, victim: Node, data: bytes, how: int) -> None:
        if how < 4:
            self._world.gossip(self.node, data)
        elif how < 8:
            self._world.signal(self.node, victim.dev, self._rng.randbytes(16), data)
        elif (reply := self.node.replies.pop(victim.dev, None)) is not None:
            reply(data)

    # ── changing ─────────────────────────────────────────────────────────────────────────────

    def _changed(self, value: Value) -> Value:
        rng = self._rng
        for _ in range(rng.randrange(1, 4)):
            value = self._once(value)
        return value

    def _once(self, value: Value) -> Value:
        rng = self._rng
        match value:
            case list() if value and rng.random() < 0.8:
                at = rng.randrange(len(value))
                how = rng.randrange(8)
                if how == 0:
                    return value[:at] + value[at + 1 :]
                if how == 1:
                    return [*value, value[at]]
                if how == 2:
                    return [*value[:at], *[value[at]] * 20, *value[at:]]
                return [*value[:at], self._once(value[at]), *value[at + 1 :]]
            case bytes() if value and rng.random() < 0.7:
                return self._bytes(value)
            case int() if rng.random() < 0.7:
                return rng.choice([value + 1, -1 - value, value ^ 1, 0, 2**63, True])
        atoms: list[Value] = [None, True, 0, 5, b"", rng.randbytes(32), "x" * 300, [], [[[]]]]
        return rng.choice([*atoms, rng.choice(self._heard)])

    def _bytes(self, data: bytes) -> bytes:
        """A byte changed at random, or inside of the record that the bytes are."""
        rng = self._rng
        try:
            value = cbor.decode(data, size_max=16_384)
            if rng.random() < 0.5:
                return cbor.encode(self._once(value))
        except Exception:
            # Broad: whatever cannot be read or written again is changed byte by byte.
            pass
        at = rng.randrange(len(data))
        return data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :]


TROUBLE = (
    EventKind.MEMBER_LOST,
    EventKind.MEMBER_LEFT,
    EventKind.MEMBER_SILENT,
    EventKind.LINK_FAILED,
)


def trouble_between(nodes: list[Node]) -> list[str]:
    """What honest nodes saw happen to one another."""
    devs = {node.dev: node.name for node in nodes}
    return [
        f"{node.name} saw {event.kind.name} of {devs[event.dev]}"
        for node in nodes
        for event in node.events
        if event.kind in TROUBLE and event.dev in devs
    ]
