"""The middle of a circuit: passes bytes between two nodes that cannot reach each other.

For what people say to one another's nodes, never for their voices: libp2p carries no audio, and
the pace of a circuit is under that of one voice. Whoever asks is held to how many places, circuits
and bytes there are; only a node that reserved a place can be called. Spec: as in circuit.py.
"""

import logging
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

import trio

from p2phouse.errors import LinkError, PeerError
from p2phouse.identity.keys import PEER_ID_PREFIX
from p2phouse.net.circuit import STOP
from p2phouse.net.circuit_messages import (
    MESSAGE_BYTES_MAX,
    BadCircuitMessage,
    Kind,
    Message,
    Status,
    device_in,
    read_hop,
    read_stop,
    write_hop,
    write_stop,
)
from p2phouse.net.nat import RESERVATION_S
from p2phouse.net.rates import Pace
from p2phouse.net.wire import Framing, Wire
from p2phouse.vocabulary import DeviceKey, Now, key_short

log = logging.getLogger(__name__)

RESERVATIONS_MAX: Final = 32  # as many private peers as one volunteer was found to serve well
CIRCUITS_MAX: Final = 256
CIRCUITS_PER_PEER_MAX: Final = 32  # a room of 32 in which nobody can be reached
CIRCUIT_S_MAX: Final = 7_200
CIRCUIT_BYTES_MAX: Final = 16 * 1024 * 1024  # both directions; a room link says 200 bytes a second
PACE_BYTES_A_SECOND: Final = 4_000  # of one circuit, under the 5,000 of one voice
PACE_BURST_BYTES: Final = 512 * 1024  # the history of a long evening
ALL_BYTES_A_SECOND: Final = 64_000
ALL_BURST_BYTES: Final = 8 * 1024 * 1024
CALL_S: Final = 6.0  # for the other end to say yes


@dataclass(slots=True)
class _Budget:
    """What one circuit may yet pass on."""

    bytes_left: int = CIRCUIT_BYTES_MAX
    pace: Pace = field(default_factory=lambda: Pace(PACE_BYTES_A_SECOND, PACE_BURST_BYTES))


class CircuitRelay:
    """Places and circuits of one life of the host."""

    def __init__(
        self,
        *,
        clock: Callable[[], Now],
        willing: Callable[[], bool],
        connected: Callable[[DeviceKey], bool],
        open_wire: Callable[[DeviceKey, str], Awaitable[Wire]],
        addrs: Callable[[], list[bytes]],
        circuit_s: float = CIRCUIT_S_MAX,
        circuit_bytes: int = CIRCUIT_BYTES_MAX,
        reservations_max: int = RESERVATIONS_MAX,
    ) -> None:
        """willing: whether this node may be a relay now. connected: without another relay between.
        addrs: where this node is reached, as binary multiaddrs."""
        self._clock = clock
        self._willing = willing
        self._connected = connected
        self._open_wire = open_wire
        self._addrs = addrs
        self._circuit_s = circuit_s
        self._circuit_bytes = circuit_bytes
        self._reservations_max = reservations_max
        self._reserved: dict[DeviceKey, float] = {}  # until when, in monotonic time
        self._ends: Counter[DeviceKey] = Counter()  # of circuits that stand or are being made
        self._circuits = 0
        self._all = Pace(ALL_BYTES_A_SECOND, ALL_BURST_BYTES)

    @property
    def reservations(self) -> int:
        return len(self._reserved)

    @property
    def circuits(self) -> int:
        return self._circuits

    def serves(self, dev: DeviceKey) -> bool:
        """Whether it holds a place, or is at an end of a circuit."""
        return self._reserved.get(dev, 0.0) > self._clock().mono or dev in self._ends

    def lost(self, dev: DeviceKey) -> None:
        """A place is held for as long as the connection stands."""
        self._reserved.pop(dev, None)

    async def serve(self, wire: Wire) -> None:
        """One question of a peer, and the circuit that may come of it. Raises PeerError."""
        data = await wire.receive(size_max=MESSAGE_BYTES_MAX, framing=Framing.VARINT)
        question = read_hop(data)
        # A chain of relays would hide from each who is at its ends.
        if wire.relayed or not self._willing():
            await self._answer(wire, Status.PERMISSION_DENIED)
        elif question.kind is Kind.RESERVE:
            await self._reserve(wire)
        elif question.kind is Kind.CONNECT:
            await self._connect(wire, question)
        else:
            raise BadCircuitMessage

    async def _reserve(self, wire: Wire) -> None:
        now = self._clock()
        for dev in [dev for dev, until in self._reserved.items() if until <= now.mono]:
            del self._reserved[dev]
        # Security: a place is for whom the handshake proved, whatever peer the message names.
        if wire.dev not in self._reserved and len(self._reserved) >= self._reservations_max:
            await self._answer(wire, Status.RESERVATION_REFUSED)
            return
        self._reserved[wire.dev] = now.mono + RESERVATION_S
        log.info("relay_reserved peer=%s places=%d", key_short(wire.dev), len(self._reserved))
        answer = Message(
            Kind.STATUS,
            status=Status.OK,
            expire_unix=int(now.unix) + RESERVATION_S,
            limit_s=int(self._circuit_s),
            limit_bytes=self._circuit_bytes,
        )
        await wire.send_varint(write_hop(answer, addrs=tuple(self._addrs())))

    async def _connect(self, wire: Wire, question: Message) -> None:
        dev = device_in(question.peer)
        refused = self._refusal(wire.dev, dev)
        if refused is not None:
            await self._answer(wire, refused)
            return
        self._count(wire.dev, dev, 1)
        try:
            await self._join(wire, dev)
        finally:
            self._count(wire.dev, dev, -1)

    def _refusal(self, asker: DeviceKey, dev: DeviceKey) -> Status | None:
        until = self._reserved.get(dev, 0.0)
        # Security: nobody is called who did not ask to be, nor somebody who went away.
        if until <= self._clock().mono or not self._connected(dev) or dev == asker:
            return Status.NO_RESERVATION
        busy = max(self._ends[asker], self._ends[dev])
        if busy >= CIRCUITS_PER_PEER_MAX or self._circuits >= CIRCUITS_MAX:
            return Status.RESOURCE_LIMIT_EXCEEDED
        return None

    def _count(self, one: DeviceKey, other: DeviceKey, change: int) -> None:
        self._circuits += change
        for dev in (one, other):
            self._ends[dev] += change
            if not self._ends[dev]:
                del self._ends[dev]

    async def _join(self, wire: Wire, dev: DeviceKey) -> None:
        """Calls the other end; if it comes, passes bytes until one of them ends it."""
        other: Wire | None = None
        try:
            with trio.fail_after(CALL_S):
                other = await self._open_wire(dev, STOP)
                await self._call(other, wire.dev)
        except (LinkError, PeerError, trio.TooSlowError) as error:
            log.info("circuit_failed peer=%s error=%s", key_short(dev), type(error).__name__)
            if other is not None:
                await other.reset()
            await self._answer(wire, Status.CONNECTION_FAILED)
            return
        try:
            await self._answer(wire, Status.OK)
            log.info("circuit_up from=%s to=%s", key_short(wire.dev), key_short(dev))
            await self._pass_both(wire, other)
        finally:
            await wire.reset()
            await other.reset()
            log.info("circuit_down from=%s to=%s", key_short(wire.dev), key_short(dev))

    async def _call(self, wire: Wire, asker: DeviceKey) -> None:
        """Raises LinkError or PeerError unless the other end says yes."""
        call = Message(
            Kind.CONNECT,
            peer=PEER_ID_PREFIX + asker,
            limit_s=int(self._circuit_s),
            limit_bytes=self._circuit_bytes,
        )
        await wire.send_varint(write_stop(call))
        data = await wire.receive(size_max=MESSAGE_BYTES_MAX, framing=Framing.VARINT)
        if read_stop(data).status != Status.OK:
            raise BadCircuitMessage

    async def _pass_both(self, one: Wire, other: Wire) -> None:
        budget = _Budget(self._circuit_bytes)
        with trio.move_on_after(self._circuit_s):
            async with trio.open_nursery() as nursery:

                async def pass_on(source: Wire, sink: Wire) -> None:
                    with suppress(LinkError):  # one end is gone, so the other is let go as well
                        await self._pass(source, sink, budget)
                    nursery.cancel_scope.cancel()

                nursery.start_soon(pass_on, one, other)
                nursery.start_soon(pass_on, other, one)

    async def _pass(self, source: Wire, sink: Wire, budget: _Budget) -> None:
        while True:
            data = await source.read()
            if not self._willing():
                return  # the owner changed their mind: it ends for those who talk now as well
            budget.bytes_left -= len(data)
            if budget.bytes_left < 0:
                log.info("circuit_spent from=%s", key_short(source.dev))
                return
            now = self._clock().mono
            wait_s = max(budget.pace.wait_s(now, len(data)), self._all.wait_s(now, len(data)))
            if wait_s:
                await trio.sleep(wait_s)
            await sink.write(data)

    async def _answer(self, wire: Wire, status: Status) -> None:
        message = Message(Kind.STATUS, status=status)
        if status is Status.OK:
            message = Message(
                Kind.STATUS,
                status=status,
                limit_s=int(self._circuit_s),
                limit_bytes=self._circuit_bytes,
            )
        await wire.send_varint(write_hop(message))
