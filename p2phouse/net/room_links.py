"""Room links: one stream a peer and room, over which members tell one another what is so.

A frame is a CBOR array `[kind, …]`. The first frame each way is the greeting (kind 0), whose
signed join names the room, so an inbound stream becomes a link only once its greeting was read.
Of two streams for one link exactly one survives, at both ends the same one: see `_adopt`.
"""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

import trio

from p2phouse.errors import LinkError, PeerError
from p2phouse.net.events import NetEvent, RoomClosed, RoomFrame, RoomOpen
from p2phouse.net.rates import TokenBucket
from p2phouse.net.wire import FIRST_BYTE_S, Wire
from p2phouse.record import cbor, envelope
from p2phouse.record.cbor import Value
from p2phouse.record.types import Join
from p2phouse.vocabulary import DeviceKey, RoomId, key_short

log = logging.getLogger(__name__)

PROTOCOL: Final = "/p2phouse/room/1"
FRAME_BYTES_MAX: Final = 16 * 1024
QUEUE_FRAMES: Final = 64  # 1 MiB at the very most; a room of 8 sends a few frames a second
LINKS_MAX: Final = 128  # as many as there may be connections (host.py)
LINKS_PER_PEER_MAX: Final = 4  # a person is in one room, a hub may be in a few
FRAMES_A_SECOND: Final = 50.0  # of one link; what comes faster waits in the connection
FRAMES_BURST: Final = 200.0
HOLD_S: Final = 2.0  # the other end has chosen by then: one round trip and a stall of its loop
DRAIN_S: Final = 2.0  # to get a last word out before a link is closed
GREETING: Final = 0
BYE: Final = 5
ONLY_NEAR: Final = 3  # the reason in a bye: the room is only for its own network


class BadFrame(PeerError):
    """A room link carried something else than a frame: {reason}."""


class BadGreeting(PeerError):
    """A room link began wrongly: {reason}."""


class TooFar(LinkError):
    """That room is only for people on its own network, and that node is on another."""


@dataclass(eq=False, slots=True)
class _Link:
    """One stream of a room link and the frames waiting to go out on it."""

    dev: DeviceKey
    room: RoomId
    wire: Wire
    opener: DeviceKey
    outbox: trio.MemorySendChannel[bytes]
    waiting: trio.MemoryReceiveChannel[bytes]
    rate: TokenBucket = field(default_factory=lambda: TokenBucket(FRAMES_A_SECOND, FRAMES_BURST))
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    failure: LinkError | PeerError | None = None

    def __str__(self) -> str:
        return f"peer={key_short(self.dev)} room={key_short(self.room)}"


class RoomLinks:
    """All room links of one life of the libp2p host.

    Outbound frames wait in a bounded queue per link. Whoever lets it fill, or reads nothing for
    five seconds, loses the link: control data is never dropped from the middle.
    """

    def __init__(
        self,
        own: DeviceKey,
        *,
        emit: Callable[[NetEvent], Awaitable[None]],
        near_only: Callable[[RoomId], bool],
        first_byte_s: float = FIRST_BYTE_S,
        hold_s: float = HOLD_S,
    ) -> None:
        """near_only: whether a room is a lan room, whose records stay on attached networks."""
        self._own = own
        self._near_only = near_only
        self._emit = emit
        self._first_byte_s = first_byte_s
        self._hold_s = hold_s
        self._links: dict[tuple[DeviceKey, RoomId], _Link] = {}
        # Links this node asked for and whose peer has not greeted yet: the node must greet.
        self._wanted: set[tuple[DeviceKey, RoomId]] = set()
        self._opening: set[tuple[DeviceKey, RoomId]] = set()
        self._closing: set[_Link] = set()  # by us: their last word is on its way
        self._closed = trio.lowlevel.ParkingLot()

    def peers(self) -> set[DeviceKey]:
        """Those with a room link: protected from trimming, pinged more often."""
        return {dev for dev, _ in self._links}

    # ── what the node asks for ───────────────────────────────────────────────────────────────

    async def open(
        self, dev: DeviceKey, room: RoomId, connect: Callable[[], Awaitable[Wire]]
    ) -> None:
        """Opens the link and serves it to its end. connect: raises LinkError.

        If the peer's stream for the same link came first, that one is used and nothing is opened.
        """
        key = (dev, room)
        self._wanted.add(key)
        if key in self._links:
            await self._emit(self._opened(self._links[key], outbound=True))
            return
        if key in self._opening:  # by an earlier call, whose outcome is this one's too
            return
        self._opening.add(key)
        try:
            wire = await self._connect(room, connect)
        except LinkError as error:
            if key not in self._links and key in self._wanted:
                self._wanted.discard(key)
                await self._emit(RoomClosed(dev, room, str(error)))
            return
        finally:
            self._opening.discard(key)
        if key not in self._wanted:  # closed meanwhile
            await wire.reset()
        elif key in self._links:
            await wire.reset()
            await self._emit(self._opened(self._links[key], outbound=True))
        else:
            await self._serve(self._new_link(dev, room, wire, opener=self._own), greeting=None)

    async def _connect(self, room: RoomId, connect: Callable[[], Awaitable[Wire]]) -> Wire:
        wire = await connect()
        # Security: records of a lan room go only to networks attached to this machine.
        if self._near_only(room) and not wire.near:
            await wire.reset()
            raise TooFar
        return wire

    def send(self, dev: DeviceKey, room: RoomId, frame: bytes | list[Value]) -> None:
        """Queues a frame; one for a link that is gone is dropped, as RoomClosed is on its way."""
        link = self._links.get((dev, room))
        if link is None:
            return
        data = frame if isinstance(frame, bytes) else cbor.encode(list(frame))
        assert len(data) <= FRAME_BYTES_MAX, "a frame of ours is too long"
        try:
            link.outbox.send_nowait(data)
        except trio.WouldBlock:
            log.warning("room_link_dropped %s reason=queue_full", link)
            link.scope.cancel()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return  # the link is ending; RoomClosed says so

    def close(self, dev: DeviceKey, room: RoomId) -> None:
        """Ends the link after what is queued has gone out. No RoomClosed follows."""
        self._wanted.discard((dev, room))
        link = self._links.pop((dev, room), None)
        if link is not None:
            log.info("room_link_closed %s reason=ours", link)
            link.outbox.close()
            link.scope.deadline = trio.current_time() + DRAIN_S
            self._closing.add(link)

    async def flush(self) -> None:
        """Until the last word is out on every link that was closed, or DRAIN_S has passed."""
        while self._closing:
            await self._closed.park()

    async def abandon(self, reason: str) -> None:
        """Announces the end of all links, when the host under them is gone."""
        while self._links:
            (dev, room), _ = self._links.popitem()
            await self._emit(RoomClosed(dev, room, reason))
        self._wanted.clear()

    # ── what comes from peers ────────────────────────────────────────────────────────────────

    async def accept(self, wire: Wire) -> None:
        """Serves an inbound stream to its end. Raises PeerError."""
        data = await wire.receive(size_max=FRAME_BYTES_MAX, wait_s=self._first_byte_s)
        frame = _read_frame(data)
        if frame[0] != GREETING:
            raise BadGreeting(reason="a frame of another kind came first")
        room = _room_of(frame, wire.dev)
        if self._near_only(room) and not wire.near:  # security: as in `_connect`
            await wire.send(cbor.encode([BYE, ONLY_NEAR]))
            return
        if (wire.dev, room) not in self._links and not self._has_space(wire.dev):
            await wire.reset()
            return
        if await self._adopt(wire, room):
            await self._serve(self._new_link(wire.dev, room, wire, opener=wire.dev), greeting=frame)
        else:
            await wire.reset()

    def _has_space(self, dev: DeviceKey) -> bool:
        own = sum(other == dev for other, _ in self._links)
        return len(self._links) < LINKS_MAX and own < LINKS_PER_PEER_MAX

    async def _adopt(self, wire: Wire, room: RoomId) -> bool:
        """Whether this inbound stream shall carry the link; the old stream is gone then.

        Both ends open at once: the stream opened by the lower device id stays, and the end that
        has it waits a moment with the other stream, which its opener closes on seeing ours. If
        nobody closes it, its opener knows nothing of ours (its process was killed and is back), so
        it is the one that lives. A second stream from the same opener always replaces its first.
        """
        old = self._links.get((wire.dev, room))
        if old is not None and old.opener == self._own and self._own < wire.dev:
            if await wire.wait_closed(seconds=self._hold_s):
                return False
            old = self._links.get((wire.dev, room))
        if old is not None:
            log.info("room_link_replaced %s", old)
            del self._links[wire.dev, room]  # so that its end goes unannounced
            old.scope.cancel()
        return True

    def _opened(self, link: _Link, *, outbound: bool) -> RoomOpen:
        return RoomOpen(link.dev, link.room, outbound, link.wire.near)

    def _new_link(self, dev: DeviceKey, room: RoomId, wire: Wire, *, opener: DeviceKey) -> _Link:
        outbox, waiting = trio.open_memory_channel[bytes](QUEUE_FRAMES)
        link = self._links[dev, room] = _Link(dev, room, wire, opener, outbox, waiting)
        return link

    async def _serve(self, link: _Link, *, greeting: list[Value] | None) -> None:
        """Runs a link until it ends. Raises PeerError if the peer broke the protocol.

        If libp2p's host dies, this is cancelled and the link stays listed until `abandon`.
        """
        key = (link.dev, link.room)
        log.info("room_link_up %s outbound=%s", link, link.opener == self._own)
        try:
            with link.scope:
                await self._emit(self._opened(link, outbound=key in self._wanted))
                if greeting is not None:
                    self._wanted.discard(key)
                    await self._emit(RoomFrame(link.dev, link.room, greeting))
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._until_failure, link, self._write)
                    nursery.start_soon(self._until_failure, link, self._read)
        finally:
            link.outbox.close()
            await link.wire.reset()
            self._closing.discard(link)
            self._closed.unpark_all()
        if self._links.get(key) is link:
            del self._links[key]
            self._wanted.discard(key)
            reason = _reason(link.failure)
            log.info("room_link_down %s reason=%r", link, reason)
            await self._emit(RoomClosed(link.dev, link.room, reason))
        if isinstance(link.failure, PeerError):
            raise link.failure

    async def _until_failure(self, link: _Link, work: Callable[[_Link], Awaitable[None]]) -> None:
        try:
            await work(link)
        except (LinkError, PeerError) as error:
            link.failure = link.failure or error
        link.scope.cancel()

    async def _read(self, link: _Link) -> None:
        while True:
            data = await link.wire.receive(size_max=FRAME_BYTES_MAX, wait_s=None)
            frame = _read_frame(data)
            # Security: a greeting that arrives later is held to the same as the first.
            if frame[0] == GREETING and _room_of(frame, link.dev) != link.room:
                raise BadGreeting(reason="a greeting for another room")
            self._wanted.discard((link.dev, link.room))
            await self._emit(RoomFrame(link.dev, link.room, frame))
            await trio.sleep(link.rate.wait_s(trio.current_time()))
            link.rate.take(trio.current_time())

    async def _write(self, link: _Link) -> None:
        async for data in link.waiting:
            await link.wire.send(data)
        await link.wire.close()  # the node closed the link and its last word is out


def _reason(failure: LinkError | PeerError | None) -> str:
    if failure is None:
        return "it does not read what it is sent"
    return str(failure)


def _read_frame(data: bytes) -> list[Value]:
    """Raises PeerError."""
    frame = cbor.decode(data, size_max=FRAME_BYTES_MAX)
    if not isinstance(frame, list) or not frame or type(frame[0]) is not int:  # a bool is an int
        raise BadFrame(reason="no array that begins with a number")
    return frame


def _room_of(greeting: list[Value], dev: DeviceKey) -> RoomId:
    """The room that a greeting's join names. Raises PeerError."""
    if len(greeting) < 2 or not isinstance(greeting[1], bytes):
        raise BadGreeting(reason="no join in it")
    join = envelope.read(greeting[1], Join).record
    # Security: a join is public to the room, so any member could send another's; the link belongs
    # to whom the noise handshake proved, or a member could speak in somebody else's place.
    if join.dev != dev:
        raise BadGreeting(reason="a join of another device")
    return RoomId(join.room)
