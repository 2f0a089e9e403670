"""The two ends of a circuit: a connection to a node over a relay that both are connected to.

circuit relay v2 on our own wires: py-libp2p's own lets a peer reserve in another's name, dials by
itself and counts circuits by peer. What runs over the circuit is an ordinary connection, with its
own noise handshake between the two ends; the relay sees who talks to whom, and how much.
Spec: https://github.com/libp2p/specs/blob/master/relay/circuit-v2.md
"""

from typing import Final

import multiaddr
from libp2p.abc import IRawConnection
from libp2p.connection_types import ConnectionType
from libp2p.io.exceptions import ConnectionClosedError
from libp2p.network.connection.swarm_connection import SwarmConn

from p2phouse.errors import LinkError
from p2phouse.identity.keys import PEER_ID_PREFIX
from p2phouse.net.addresses import Circuit, pack, unpack_way
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
from p2phouse.net.wire import Framing, Wire, WireBroken, WireEnded
from p2phouse.vocabulary import DeviceKey

HOP: Final = "/libp2p/circuit/relay/0.2.0/hop"
STOP: Final = "/libp2p/circuit/relay/0.2.0/stop"
ANSWER_S: Final = 8.0  # the relay asks the other end first, which may be busy


class RelayRefused(LinkError):
    """The relay does not help: {reason}."""


_REASONS: Final[dict[int, str]] = {
    Status.RESERVATION_REFUSED: "it has no place left",
    Status.RESOURCE_LIMIT_EXCEEDED: "it carries as much as it may",
    Status.PERMISSION_DENIED: "it is no relay",
    Status.CONNECTION_FAILED: "the other node does not answer it",
    Status.NO_RESERVATION: "the other node is not there",
}


async def reserve(wire: Wire) -> int:
    """Asks a relay to let others reach us through it; until when, in unix time. Ends the wire.

    Raises LinkError or PeerError.
    """
    try:
        return (await _ask(wire, Message(Kind.RESERVE))).expire_unix
    finally:
        await wire.reset()


async def ask_for_circuit(wire: Wire, dev: DeviceKey) -> None:
    """From then on the wire leads to `dev`. Raises LinkError or PeerError."""
    await _ask(wire, Message(Kind.CONNECT, peer=PEER_ID_PREFIX + dev))


async def _ask(wire: Wire, question: Message) -> Message:
    await wire.send_varint(write_hop(question))
    answer = read_hop(
        await wire.receive(size_max=MESSAGE_BYTES_MAX, wait_s=ANSWER_S, framing=Framing.VARINT)
    )
    if answer.kind is not Kind.STATUS or answer.status is None:
        raise BadCircuitMessage
    if answer.status != Status.OK:
        raise RelayRefused(reason=_REASONS.get(answer.status, f"status {answer.status}"))
    return answer


async def answer(wire: Wire, *, has_place: bool) -> bool:
    """A relay says that somebody wants to come through it: whether they may. has_place: it holds
    one for us. Raises PeerError."""
    # Security: or any peer could put itself between us and others, and wear us out with calls; and
    # a relay's own word comes from it straight, never through another who could delay or drop it.
    # Test: test_circuit_relay.py::test_nobody_calls_us_but_a_relay_with_a_place_for_us_and_straight
    if not has_place or wire.relayed:
        await refuse(wire)
        return False
    await accept(wire)
    return True


async def accept(wire: Wire) -> None:
    """Reads a relay's announcement of somebody and says that they may come. Raises PeerError."""
    announced = read_stop(await wire.receive(size_max=MESSAGE_BYTES_MAX, framing=Framing.VARINT))
    if announced.kind is not Kind.CONNECT:
        raise BadCircuitMessage
    device_in(announced.peer)  # whoever it is proves that itself, in its handshake
    await wire.send_varint(write_stop(Message(Kind.STATUS, status=Status.OK)))


async def refuse(wire: Wire) -> None:
    await wire.send_varint(write_stop(Message(Kind.STATUS, status=Status.PERMISSION_DENIED)))


def circuit_of(connection: SwarmConn) -> Circuit | None:
    """The circuit that a connection runs over, if it does; told by its `CircuitConnection`."""
    for address in connection.muxed_conn.get_transport_addresses():
        way = unpack_way(address.to_bytes())
        if isinstance(way, Circuit):
            return way
    return None


class CircuitConnection(IRawConnection):  # type: ignore[misc]  # libp2p's types do not hold
    """A wire through a relay in the place of a socket.

    Security: it has no remote address. The relay's would make whoever is at the other end count as
    near when only the relay is, and cards of lan rooms would leave the house.
    """

    def __init__(self, wire: Wire, circuit: Circuit, *, initiator: bool) -> None:
        self.is_initiator = initiator
        self._wire = wire
        self._circuit = circuit
        self._unread = b""

    async def read(self, n: int | None = None) -> bytes:
        if not self._unread:
            try:
                self._unread = await self._wire.read()
            except WireEnded:
                return b""
            except WireBroken as error:
                raise ConnectionClosedError(str(error)) from error
        size = len(self._unread) if n is None else n
        data, self._unread = self._unread[:size], self._unread[size:]
        return data

    async def write(self, data: bytes) -> None:
        try:
            await self._wire.write(data)
        except WireBroken as error:
            raise ConnectionClosedError(str(error)) from error

    async def close(self) -> None:
        await self._wire.reset()

    def get_remote_address(self) -> None:
        return None

    def get_transport_addresses(self) -> list[multiaddr.Multiaddr]:
        return [multiaddr.Multiaddr(pack(self._circuit))]

    def get_connection_type(self) -> ConnectionType:
        return ConnectionType.RELAYED
