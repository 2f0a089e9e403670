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
import socket as stdlib_socket
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import nacl.signing
import trio

from p2phouse.config import LanMode, NamedRelay
from p2phouse.errors import LinkError
from p2phouse.net import relay_asks, room_links, signalling, well_known
from p2phouse.net.acquaintances import Acquaintances
from p2phouse.net.addresses import Address, Interface, Way, pack, unpack_all, unpack_ways
from p2phouse.net.cards import Cards, Judge, judge
from p2phouse.net.dht import Dht
from p2phouse.net.doctor import Observed
from p2phouse.net.events import CardHeard, DialFailed, HostRebuilt, NetEvent, RoomClosed
from p2phouse.net.examination import Examination
from p2phouse.net.faults import Faults
from p2phouse.net.ground import Ground
from p2phouse.net.hall_exchange import HallExchange
from p2phouse.net.hello import HelloAnswerer
from p2phouse.net.hello import ask as ask_hello
from p2phouse.net.lives import Lives, Starting
from p2phouse.net.meeting import Meeting
from p2phouse.net.named_relays import NamedRelays
from p2phouse.net.nat import Nat
from p2phouse.net.nearby import Nearby
from p2phouse.net.ports import PORT_DEFAULT
from p2phouse.net.presence import Presence
from p2phouse.net.ways import Ways
from p2phouse.record.cbor import Value
from p2phouse.record.limits import ADDRS_MAX
from p2phouse.record.types import Hello
from p2phouse.vocabulary import DeviceKey, Entropy, Now, RoomId

if TYPE_CHECKING:
    from trio_typing import TaskStatus  # trio's own types are hidden behind its stubs

    from p2phouse.net.life import Life

log = logging.getLogger(__name__)

EVENTS_MAX: Final = 256  # then the network waits for node.py, and peers wait for the network
SIGNAL_S: Final = 15.0
FLUSH_S: Final = 2.0
MOVED_S: Final = 60.0  # three pings missed, in each connection, and a few new ones
LOOK_S: Final = 5.0  # at our own addresses; costs 0.7 ms


Chore = Callable[[], Awaitable[None]]


class Network:
    """See the module. What is not `async` returns at once; its outcome is an event."""

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
        judge: Judge = judge,
        ground: Ground | None = None,
        relays: Sequence[NamedRelay] = (),
        carries: Callable[[], bool] = lambda: True,
        relay_only: bool = False,
        answerer: relay_asks.Answerer | None = None,
    ) -> None:
        """port: None for the usual one or any free one, 0 for any free one, else that one.

        lan: "on" advertises and browses on private networks, "loopback" on this machine only and
        listens nowhere else, "off" not at all. runtime_dir: where nodes of this machine meet.
        cards: live cards to tell a new peer, own first. judge, ground: as they are, but for tests.
        relays: nodes that the person named, to be kept in touch with and to be reached through.
        carries: whether the person lets this node be a circuit relay for others.
        relay_only: whether nobody but those relays may see our network address.
        answerer: of questions to a relay, if this is one.
        """
        self.dev = DeviceKey(bytes(device_key.verify_key))
        self.faults = Faults()
        self.events: trio.MemoryReceiveChannel[NetEvent]
        self._outbox, self.events = trio.open_memory_channel[NetEvent](EVENTS_MAX)
        self._device_key = device_key
        self._port_asked = port
        self.addrs_changed = trio.Event()  # `addrs`, `reflectors`; is set, another takes its place
        self._rng = rng
        self._entropy = entropy
        self._clock = clock
        # Security: who listens on the network shows where they are to whoever knocks.
        self._ground = ground or Ground("loopback" if relay_only else lan)
        self._moved_at = -math.inf
        self._lost: list[DeviceKey] = []  # with the last host
        self._presence = Presence(self._emit)
        self._lives = Lives(
            faults=self.faults,
            addresses=lambda: self._ground.addresses,
            changed=self._life_changed,
            reborn=self._reborn,
            died=self._died,
        )
        self._protected: set[DeviceKey] = set()
        self._chores, self._chores_todo = trio.open_memory_channel[Chore](EVENTS_MAX)
        self._cards = Cards(judge=judge, clock=clock)
        self._rooms = room_links.RoomLinks(
            self.dev, emit=self._emit, near_only=self._cards.is_near_only
        )
        self._hall = HallExchange(
            held=cards, cards=self._cards, heard=self._card_heard, faults=self.faults
        )
        self._named = NamedRelays(
            self.dev, relays, alone=relay_only, hello=self.hello, keep=self._keep_relay
        )
        self._ways = Ways(
            self.dev,
            lives=self._lives,
            named=self._named,
            near_only=self._cards.is_near_only,
            networks=lambda: self._ground.networks,
            whereabouts=lambda dev: self._dht.whereabouts(dev),
            failed=lambda dev, reason: self._emit(DialFailed(dev, reason)),
            rng=rng,
        )
        self._dialer = self._ways.dialer
        self._acquaintances = Acquaintances(
            reach=self._dialer.reach,
            connected=self._lives.connected,
            connected_count=lambda: self._lives.peer_count,
            rng=rng,
        )
        self._carries = carries
        self._answerer = answerer
        self.nat = Nat(
            clock=clock,
            rng=rng,
            peers=self._lives.reached,
            reserve=self._lives.reserve,
            named=self._named.devs,
            named_only=relay_only,
            changed=self._addrs_have_changed,
        )
        self._meeting = Meeting(
            self.dev,
            connected=self._lives.connected,
            connected_count=lambda: self._lives.peer_count,
            want=lambda dev, addresses, tries: self._dialer.want(dev, addresses, tries=tries),
            emit=self._emit,
        )
        self._nearby = Nearby(
            lan="off" if relay_only else lan,
            runtime_dir=runtime_dir,
            ground=self._ground,
            found=self._meeting.found,
            connected=self._lives.connected,
            emit=self._emit,
            rng=rng,
            entropy=entropy,
            faults=self.faults,
        )
        self._dht = Dht(
            self.dev,
            addresses=lambda: unpack_all(self.addrs),
            reach=self._dialer.reach,
            connected=self._lives.directly,
            release=self._lives.release,
            networks=lambda: self._ground.networks,
            clock=clock,
            rng=rng,
            faults=self.faults,
        )
        self._examination = Examination(
            self.dev,
            ground=self._ground,
            nearby=self._nearby,
            lives=self._lives,
            nat=self.nat,
            named=self._named,
            acquaintances=self._acquaintances,
            dht=self._dht,
            cards=self._cards,
            any_port=port is None,
            carries=carries,
            entropy=entropy,
        )

    # ── what node.py reads ───────────────────────────────────────────────────────────────────

    @property
    def port(self) -> int:
        """The number of libp2p's TCP port and hello's UDP port; 0 until `run` has started."""
        return self._ground.port

    @property
    def addrs(self) -> list[bytes]:
        """Where others may dial this node: at most four multiaddrs, loopback only if alone.

        Circuits stand last: direct ways are better, for everybody.
        """
        addresses = self._ground.addresses
        far = [address for address in addresses if not address.ip.is_loopback]
        circuits = self.nat.circuits
        # Security: of who is reached by relays alone no record names anything else.
        direct: list[Way] = [] if self._named.alone else [*(far or addresses)]
        told = [*direct[: ADDRS_MAX - len(circuits)], *circuits]
        return [pack(way) for way in told]

    @property
    def interfaces(self) -> list[Interface]:
        return self._ground.interfaces

    @property
    def reflectors(self) -> list[Address]:
        """Whom to ask where this node's datagrams seem to come from: our relays, if routers stand
        between us and the internet."""
        if self._ground.is_public or self._named.alone:
            return []
        return [way.relay for way in self.nat.circuits]

    @property
    def counters(self) -> Counter[str]:
        """Bad input so far, by name."""
        return self.faults.counters

    @property
    def _life(self) -> "Life | None":
        return self._lives.now

    def may_link(self, dev: DeviceKey) -> bool:
        """Whether the peer may learn our network address, as the other end of a link does."""
        return self._named.may_link(dev)

    # ── what node.py asks for ────────────────────────────────────────────────────────────────

    def dial(self, dev: DeviceKey, addrs: Sequence[bytes], *, keep: bool = False) -> None:
        """Connects in the background; the result is a PeerUp or a DialFailed.

        keep: dial again whenever the connection is lost, until `forget`.
        """
        if dev == self.dev:
            return
        if self._lives.connected(dev):
            self._presence.remind(dev)
            if not keep:
                return
        self._dialer.want(dev, unpack_ways(addrs), tries=math.inf if keep else 1)

    def forget(self, dev: DeviceKey) -> None:
        """The peer is kept and protected no longer."""
        self._dialer.forget(dev)
        self._protected.discard(dev)

    def protect(self, dev: DeviceKey) -> None:
        """The peer's connection is not given up for another's when there are too many.

        Those with a room link, and those we dialled, are protected anyway.
        """
        self._protected.add(dev)

    def meet_again(self, peers: Iterable[tuple[DeviceKey, Sequence[bytes]]]) -> None:
        """Dials peers of earlier runs, the first given first, until there is company enough."""
        for dev, addrs in reversed(list(peers)):
            if dev != self.dev:
                self._acquaintances.add(dev, unpack_ways(addrs))
        self._acquaintances.meet()

    async def hello(self, host: str, port: int) -> Hello:
        """Asks who listens at a typed address; its `addrs` begin with the one that answered.

        Raises NoSuchHost, NobodyAnswers or VersionsApart, or RelaysAlone.
        """
        self._named.check_typed(host, port)
        answer, ip = await ask_hello(host, port, entropy=self._entropy)
        typed = pack(Address(ipaddress.ip_address(ip), port))
        told = [typed, *(addr for addr in answer.addrs if addr != typed)]
        return replace(answer, addrs=tuple(told[:ADDRS_MAX]))

    async def well_known(self, host: str, port: int) -> bytes:
        """What a relay shows of itself by HTTPS at a typed name. Raises UserError."""
        self._named.check_typed(host, PORT_DEFAULT)
        return await well_known.fetch(host, port)

    async def publish_card(self, data: bytes) -> None:
        """Gossips a card; waits while the node's three a second are spent or the host restarts."""
        self._cards.verdict(data, own=True)
        await (await self._lives.wait()).gossip.publish(data)
        self._dht.publish(data)

    async def find_card(self, room: RoomId) -> bytes:
        """A room's card by its id, from nodes that keep it for everybody, within 10 s.

        Raises LinkError, which says why there is none.
        """
        return await self._dht.find(room)

    async def wait_for_mesh(self, dev: DeviceKey) -> None:
        """Until the peer is a neighbour in gossip, for tests; before, cards reach nobody."""
        await self._lives.require().gossip.wait_for_mesh(dev)

    def open_room(self, dev: DeviceKey, room: RoomId, addrs: Sequence[bytes]) -> None:
        """Opens a room link in the background, dialling first if needed.

        The result is RoomOpen, upon which the node greets, or RoomClosed.
        """
        connect = partial(self._ways.open, dev, room, list(addrs), room_links.PROTOCOL)
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

    async def flush(self) -> None:
        """Until the last words on closed room links and published cards are out; at most 2 s."""
        with trio.move_on_after(FLUSH_S):
            await self._rooms.flush()
            await self._dht.flush()
            if self._life is not None:
                await self._life.gossip.flush()

    async def signal(self, dev: DeviceKey, offer: bytes) -> bytes:
        """Sends an offer to a connected peer and returns its answer, unchecked, within 15 s.

        Raises LinkError or PeerError.
        """
        with trio.move_on_after(SIGNAL_S):
            wire = await self._lives.require().host.open(dev, signalling.PROTOCOL)
            return await signalling.ask(wire, offer)
        raise signalling.NoAnswer

    def name_relay(self, dev: DeviceKey, addrs: Sequence[bytes]) -> None:
        """Keeps in touch with a relay as with those that were named at the start."""
        self._named.add(dev, unpack_all(addrs))

    async def ask_relay(self, dev: DeviceKey, addrs: Sequence[bytes], question: bytes) -> bytes:
        """Asks a relay something and returns what it replies, unchecked, within 15 s.

        Raises LinkError or PeerError.
        """
        with trio.move_on_after(SIGNAL_S):
            await self._dialer.reach(dev, unpack_ways(addrs))
            life = self._lives.require()
            try:
                wire = await life.host.open(dev, relay_asks.PROTOCOL)
            except LinkError as error:  # a node that is no relay, most of the time
                raise relay_asks.NoReply from error
            return await relay_asks.ask(wire, question)
        raise relay_asks.NoReply

    # ── life ─────────────────────────────────────────────────────────────────────────────────

    async def run(self, *, task_status: "TaskStatus[None]" = trio.TASK_STATUS_IGNORED) -> None:
        """Serves until cancelled; started() once peers can connect.

        Raises PortInUse, PortForbidden or NoFreePort.
        """
        # In a thread, as it takes a second; nothing of libp2p may be imported before.
        life = await trio.to_thread.run_sync(importlib.import_module, "p2phouse.net.life")
        sockets = self._ground.claim(self._port_asked)
        answerer = HelloAnswerer(
            self._device_key,
            addrs=lambda: self.addrs,
            clock=self._clock,
            faults=self.faults,
            reflects=self._is_relay,
        )
        async with trio.open_nursery() as nursery:
            for socket in sockets:
                _serve_hello(nursery, answerer, socket)
            nursery.start_soon(self._presence.run)
            nursery.start_soon(self._meeting.run)
            nursery.start_soon(self._dialer.run)
            nursery.start_soon(self._acquaintances.run)
            nursery.start_soon(self._do_chores)
            nursery.start_soon(self._dht.run)
            await nursery.start(self._lives.run, partial(self._new_life, life.Life))
            # Only now, when whom we find can be dialled and can dial us.
            nursery.start_soon(self._nearby.run, answerer)
            nursery.start_soon(self.nat.run)
            nursery.start_soon(self._named.run)
            nursery.start_soon(self._watch_ground, nursery, answerer)
            task_status.started()

    async def _watch_ground(self, nursery: trio.Nursery, answerer: HelloAnswerer) -> None:
        """Wi-Fi found after the start, another network after a sleep: stand there too."""
        while True:
            await trio.sleep(LOOK_S)
            changed, claimed = self._ground.look()
            for address, socket in claimed:
                _serve_hello(nursery, answerer, socket)
                if self._life is not None:
                    try:
                        await self._life.host.listen([address])
                    except LinkError as error:
                        log.info("not_listening error=%s", error)
            if changed:
                log.info("addresses_changed count=%d", len(self._ground.addresses))
                self._moved_at = trio.current_time()
                self._nearby.moved()
                self._addrs_have_changed()

    def _life_changed(self) -> None:
        self._dht.kad = self._life.kad if self._life is not None else None

    async def _reborn(self) -> None:
        await self._emit(HostRebuilt())
        for dev in self._lost:
            self._peer_gone(dev)
        self._acquaintances.meet()

    async def _died(self) -> None:
        await self._rooms.abandon("the network of this node restarted")
        self.nat.forget()
        self._lost = self._presence.clear()

    def _new_life(self, life: type["Life"]) -> "Life":
        return life(
            self._device_key,
            clock=self._clock,
            rng=self._rng,
            faults=self.faults,
            networks=lambda: self._ground.networks,
            protected=lambda dev: dev in self._protected or dev in self._rooms.peers(),
            rooms=self._rooms,
            hall=self._hall,
            cards=self._cards,
            dht=self._dht,
            emit=self._emit,
            heard=self._card_heard,
            peer_up=self._peer_up,
            peer_down=self._peer_down,
            willing=self._is_relay,
            place_at=self.nat.place_at,
            addresses=lambda: self._ground.addresses,
            has_moved=lambda: trio.current_time() - self._moved_at < MOVED_S,
            answerer=self._answerer,
        )

    async def _do_chores(self) -> None:
        async for chore in self._chores_todo:
            await chore()

    def _do(self, chore: Chore) -> None:
        """Has something told by a task that outlives the host."""
        try:
            self._chores.send_nowait(chore)
        except trio.WouldBlock:
            self.faults.count("chores_dropped")

    # ── what the parts report ────────────────────────────────────────────────────────────────

    def _peer_up(self, dev: DeviceKey, dialled: Way | None) -> None:
        if dialled is None and self._lives.directly(dev) and not self._lives.near(dev):
            self._examination.was_reached = True
            self._ground.came_by_6 |= 6 in {ip.version for ip in self._lives.ips(dev)}
        if dialled is not None:
            self._acquaintances.add(dev, [dialled])
            self.nat.met()
        self._presence.up(dev, (pack(dialled),) if dialled else ())
        self._dialer.connected(dev)

    def _peer_down(self, dev: DeviceKey) -> None:
        self._presence.down(dev)
        self._peer_gone(dev)

    def _peer_gone(self, dev: DeviceKey) -> None:
        """Whoever keeps contact with the peer dials it again."""
        self.nat.lost(dev)
        self._dialer.disconnected(dev)
        self._meeting.lost(dev)

    async def examine(self, *, apart: Callable[[Sequence[Address | None]], list[str]]) -> Observed:
        """What there is to see of the ground we stand on, for `doctor.diagnose`.

        apart: names of people in our network that we cannot reach, given how we look from outside.
        """
        return await self._examination.look(self.reflectors, apart)

    # ── relays ───────────────────────────────────────────────────────────────────────────────

    def _addrs_have_changed(self) -> None:
        self.addrs_changed.set()
        self.addrs_changed = trio.Event()

    def _is_relay(self) -> bool:
        return self._carries() and self._ground.is_public

    def _keep_relay(self, dev: DeviceKey, addresses: Sequence[Address]) -> None:
        self.protect(dev)
        self._dialer.want(dev, addresses, tries=math.inf)
        self.nat.met()
        self._addrs_have_changed()  # a place held there already comes first now

    async def _card_heard(self, data: bytes, teller: DeviceKey) -> None:
        await self._emit(CardHeard(data, teller))

    async def _emit(self, event: NetEvent) -> None:
        await self._outbox.send(event)


def _serve_hello(
    nursery: trio.Nursery, answerer: HelloAnswerer, socket: stdlib_socket.socket
) -> None:
    nursery.start_soon(answerer.serve_udp, trio.socket.from_stdlib_socket(socket))
