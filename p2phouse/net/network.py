"""The network as node.py sees it: peers by device key, rooms by id, typed events, no libp2p.

libp2p lives and dies inside `run`: when its host falls, it is built again under the same identity,
peers are dialled again and an event says so. Everything else (hello, browsing, wishes to dial)
outlives it. Starting takes the second that importing libp2p takes, in a thread.
"""

import importlib
import ipaddress
import logging
import math
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import nacl.signing
import trio

from p2phouse.errors import LinkError, UserError
from p2phouse.net import ports, room_links, signalling
from p2phouse.net.addresses import Address, interfaces, pack, unpack_all
from p2phouse.net.dialer import Dialer
from p2phouse.net.events import CardHeard, DialFailed, HostRebuilt, NetEvent, RoomClosed, Trouble
from p2phouse.net.faults import Faults
from p2phouse.net.hall_exchange import HallExchange
from p2phouse.net.hello import HelloAnswerer
from p2phouse.net.hello import ask as ask_hello
from p2phouse.net.lan import Lan
from p2phouse.net.machine import Machine
from p2phouse.net.meeting import Meeting
from p2phouse.net.presence import Presence
from p2phouse.net.wire import Wire
from p2phouse.record.cbor import Value
from p2phouse.record.types import Hello
from p2phouse.vocabulary import DeviceKey, Entropy, Now, RoomId

if TYPE_CHECKING:
    from trio_typing import TaskStatus  # trio's own types are hidden behind its stubs

    from p2phouse.net.life import Life

log = logging.getLogger(__name__)

EVENTS_MAX: Final = 256  # then the network waits for node.py, and peers wait for the network
ADDRS_TOLD_MAX: Final = 4
REBUILD_FIRST_S: Final = 0.1
REBUILD_S_MAX: Final = 10.0
LanMode = Literal["off", "loopback", "on"]


Chore = Callable[[], Awaitable[None]]


class Unexpected(UserError):
    """Looking for nodes nearby failed ({reason}); p2phouse join HOST:PORT still works."""


class Starting(LinkError):
    """The network of this node is starting; try again in a moment."""


class Network:
    """See the module. All calls but `hello`, `publish_card` and `signal` return at once."""

    def __init__(
        self,
        *,
        device_key: nacl.signing.SigningKey,
        port: int | None,
        lan: LanMode,
        runtime_dir: Path,
        rng: random.Random,
        entropy: Entropy,
        clock: Callable[[], Now],
        cards: Callable[[], list[bytes]],
        check_card: Callable[[bytes], bool],
    ) -> None:
        """port: None for the usual one or any free one, 0 for any free one, else that one.

        lan: "on" advertises and browses on private networks, "loopback" on this machine only and
        listens nowhere else, "off" not at all. runtime_dir: where nodes of this machine meet.
        cards: live cards to tell a new peer, own first. check_card: False only for provable faults.
        """
        self.dev = DeviceKey(bytes(device_key.verify_key))
        self.faults = Faults()
        self.events: trio.MemoryReceiveChannel[NetEvent]
        self._outbox, self.events = trio.open_memory_channel[NetEvent](EVENTS_MAX)
        self._device_key = device_key
        self._port_asked = port
        self._lan: LanMode = lan
        self._runtime_dir = runtime_dir
        self._rng = rng
        self._entropy = entropy
        self._clock = clock
        self._check_card = check_card
        self._addresses: list[Address] = []
        self._life: Life | None = None
        self._alive = trio.Event()
        self._presence = Presence(self._emit)
        self._protected: set[DeviceKey] = set()
        self._chores, self._chores_todo = trio.open_memory_channel[Chore](EVENTS_MAX)
        self._rooms = room_links.RoomLinks(self.dev, emit=self._emit)
        self._hall = HallExchange(
            cards=cards, check_card=check_card, heard=self._card_heard, faults=self.faults
        )
        self._dialer = Dialer(
            connect=self._connect, connected=self._connected, failed=self._dial_failed, rng=rng
        )
        self._meeting = Meeting(
            self.dev,
            connected=self._connected,
            connected_count=lambda: self._life.peer_count if self._life else 0,
            want=lambda dev, addresses, tries: self._dialer.want(dev, addresses, tries=tries),
            emit=self._emit,
        )

    # ── what node.py reads ───────────────────────────────────────────────────────────────────

    @property
    def port(self) -> int:
        """The number of libp2p's TCP port and hello's UDP port; 0 until `run` has started."""
        return self._addresses[0].port if self._addresses else 0

    @property
    def addrs(self) -> list[bytes]:
        """Where others may dial this node: at most four multiaddrs, loopback only if alone."""
        far = [address for address in self._addresses if not address.ip.is_loopback]
        return [pack(address) for address in (far or self._addresses)[:ADDRS_TOLD_MAX]]

    @property
    def counters(self) -> Counter[str]:
        """Bad input so far, by name."""
        return self.faults.counters

    # ── what node.py asks for ────────────────────────────────────────────────────────────────

    def dial(self, dev: DeviceKey, addrs: Sequence[bytes], *, keep: bool = False) -> None:
        """Connects in the background; the result is a PeerUp or a DialFailed.

        keep: dial again whenever the connection is lost, until `forget`.
        """
        if dev == self.dev:
            return
        if self._connected(dev):
            self._presence.remind(dev)
            if not keep:
                return
        self._dialer.want(dev, unpack_all(addrs), tries=math.inf if keep else 1)

    def forget(self, dev: DeviceKey) -> None:
        """The peer is kept and protected no longer."""
        self._dialer.forget(dev)
        self._protected.discard(dev)
        if self._life is not None:
            self._life.host.unprotect(dev)

    def protect(self, dev: DeviceKey) -> None:
        """The peer's connection is not given up for another's when there are too many."""
        self._protected.add(dev)
        if self._life is not None:
            self._life.host.protect(dev)

    async def hello(self, host: str, port: int) -> Hello:
        """Asks who listens at a typed address; its `addrs` begin with the one that answered.

        Raises NoSuchHost, NobodyAnswers or VersionsApart.
        """
        answer, ip = await ask_hello(host, port, entropy=self._entropy)
        typed = pack(Address(ipaddress.ip_address(ip), port))
        told = [typed, *(addr for addr in answer.addrs if addr != typed)]
        return replace(answer, addrs=tuple(told[:ADDRS_TOLD_MAX]))

    async def publish_card(self, data: bytes) -> None:
        """Gossips a card; waits while the node's three a second are spent or the host restarts."""
        while self._life is None:
            await self._alive.wait()
        await self._life.gossip.publish(data)

    async def wait_for_mesh(self, dev: DeviceKey) -> None:
        """Until the peer is a neighbour in gossip, for tests; before, cards reach nobody."""
        await self._require_life().gossip.wait_for_mesh(dev)

    def open_room(self, dev: DeviceKey, room: RoomId, addrs: Sequence[bytes]) -> None:
        """Opens a room link in the background, dialling first if needed.

        The result is RoomOpen, upon which the node greets, or RoomClosed.
        """
        addresses = unpack_all(addrs)

        async def connect() -> Wire:
            await self._dialer.reach(dev, addresses)
            return await self._require_life().host.open(dev, room_links.PROTOCOL)

        if self._life is not None:
            self._life.start(dev, partial(self._rooms.open, dev, room, connect))
        else:
            self._do(partial(self._emit, RoomClosed(dev, room, str(Starting()))))

    def send_room(self, dev: DeviceKey, room: RoomId, frame: bytes | list[Value]) -> None:
        """Queues a frame for the link; a peer that lets 64 pile up loses the link."""
        self._rooms.send(dev, room, frame)

    def close_room(self, dev: DeviceKey, room: RoomId) -> None:
        """Closes the link when what is queued is out, within 2 s. No RoomClosed follows."""
        self._rooms.close(dev, room)

    async def signal(self, dev: DeviceKey, offer: bytes) -> bytes:
        """Sends an offer to a connected peer and returns its answer, unchecked, within 15 s.

        Raises LinkError or PeerError.
        """
        wire = await self._require_life().host.open(dev, signalling.PROTOCOL)
        return await signalling.ask(wire, offer)

    # ── life ─────────────────────────────────────────────────────────────────────────────────

    async def run(self, *, task_status: "TaskStatus[None]" = trio.TASK_STATUS_IGNORED) -> None:
        """Serves until cancelled; started() once peers can connect.

        Raises PortInUse, PortForbidden or NoFreePort.
        """
        # In a thread, as it takes a second; nothing of libp2p may be imported before.
        life = await trio.to_thread.run_sync(importlib.import_module, "p2phouse.net.life")
        ips = [
            interface.ip
            for interface in interfaces()
            if self._lan != "loopback" or interface.ip.is_loopback
        ]
        port, sockets = ports.claim(ips, self._port_asked)
        self._addresses = [Address(ip, port) for ip in ips]
        answerer = HelloAnswerer(
            self._device_key, addrs=lambda: self.addrs, clock=self._clock, faults=self.faults
        )
        async with trio.open_nursery() as nursery:
            for socket in map(trio.socket.from_stdlib_socket, sockets):
                nursery.start_soon(answerer.serve_udp, socket)
            nursery.start_soon(self._beside, self._new_machine(answerer).run)
            if (lan := self._new_lan()) is not None:
                nursery.start_soon(self._beside, lan.run)
            nursery.start_soon(self._presence.run)
            nursery.start_soon(self._dialer.run)
            nursery.start_soon(self._do_chores)
            await self._lives(life.Life, task_status)

    def _new_machine(self, answerer: HelloAnswerer) -> Machine:
        return Machine(
            self._runtime_dir,
            answerer=answerer,
            addrs=lambda: [pack(address) for address in self._addresses[:ADDRS_TOLD_MAX]],
            found=partial(self._meeting.found, where="machine"),
            entropy=self._entropy,
            faults=self.faults,
        )

    def _new_lan(self) -> Lan | None:
        """None if the person asked for none, or there is no local network to look around in."""
        nearby = [
            interface
            for interface in interfaces()
            if (self._lan == "on" and interface.is_private)
            or (self._lan == "loopback" and interface.ip.is_loopback)
        ]
        if not nearby:
            log.info("lan_off mode=%s", self._lan)
            return None
        return Lan(
            ips=[interface.ip for interface in nearby],
            port=self.port,
            networks=[interface.network for interface in nearby],
            connected=self._connected,
            found=partial(self._meeting.found, where="lan"),
            rng=self._rng,
            entropy=self._entropy,
            faults=self.faults,
        )

    async def _beside(self, work: Chore) -> None:
        """Runs what the network can do without; a person hears of its failure, nothing ends."""
        try:
            await work()
        except Exception as error:
            # Broad: zeroconf has errors of its own, and none of them may end a conversation.
            while isinstance(error, ExceptionGroup):
                error = error.exceptions[0]
            log.warning("trouble error=%r", error)
            known = isinstance(error, UserError)
            await self._emit(Trouble(str(error) if known else str(Unexpected(reason=repr(error)))))

    async def _lives(self, new_life: type["Life"], task_status: "TaskStatus[None]") -> None:
        """One libp2p host after another, for as long as the network runs."""
        pause_s = REBUILD_FIRST_S
        born = False
        while True:
            began = trio.current_time()
            try:
                async with self._one_life(new_life):
                    if born:
                        await self._emit(HostRebuilt())
                    else:
                        task_status.started()
                    born = True
                    await trio.sleep_forever()
            except Exception as error:
                # Whatever fells libp2p, the node outlives it: this is the top of its task.
                if not born:
                    raise
                log.error("host_died error=%r", error)
                self.faults.count("host_died", repr(error))
            await self._rooms.abandon("the network of this node restarted")
            self._presence.clear()
            if trio.current_time() - began > REBUILD_S_MAX:
                pause_s = REBUILD_FIRST_S
            await trio.sleep(pause_s)
            pause_s = min(REBUILD_S_MAX, pause_s * 2)

    @asynccontextmanager
    async def _one_life(self, new_life: type["Life"]) -> AsyncIterator[None]:
        life = new_life(
            self._device_key,
            clock=self._clock,
            rng=self._rng,
            faults=self.faults,
            rooms=self._rooms,
            hall=self._hall,
            check_card=self._check_card,
            emit=self._emit,
            heard=self._card_heard,
            peer_up=self._peer_up,
            peer_down=self._peer_down,
        )
        async with life.run(self._addresses):
            for dev in self._protected:
                life.host.protect(dev)
            self._life = life
            self._alive.set()
            try:
                yield
            finally:
                self._life = None
                self._alive = trio.Event()

    async def _do_chores(self) -> None:
        async with trio.open_nursery() as nursery:
            async for chore in self._chores_todo:
                nursery.start_soon(chore)

    def _do(self, chore: Chore) -> None:
        """Has something done by a task that outlives the host."""
        try:
            self._chores.send_nowait(chore)
        except trio.WouldBlock:
            self.faults.count("chores_dropped")

    # ── what the parts report ────────────────────────────────────────────────────────────────

    def _peer_up(self, dev: DeviceKey, dialled: Address | None) -> None:
        self._presence.up(dev, (pack(dialled),) if dialled else ())
        self._dialer.connected(dev)

    def _peer_down(self, dev: DeviceKey) -> None:
        self._presence.down(dev)
        self._dialer.disconnected(dev)
        self._do(partial(self._meeting.lost, dev))

    def _connected(self, dev: DeviceKey) -> bool:
        return self._life is not None and self._life.host.connected(dev)

    async def _connect(self, dev: DeviceKey, address: Address) -> None:
        await self._require_life().host.dial(dev, address)

    async def _dial_failed(self, dev: DeviceKey, reason: str) -> None:
        await self._emit(DialFailed(dev, reason))

    async def _card_heard(self, data: bytes, teller: DeviceKey) -> None:
        await self._emit(CardHeard(data, teller))

    async def _emit(self, event: NetEvent) -> None:
        await self._outbox.send(event)

    def _require_life(self) -> "Life":
        if self._life is None:
            raise Starting
        return self._life
