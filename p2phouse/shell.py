"""A core of rooms in its surroundings: a network, a media process, and whoever asks it something.

It decides nothing: what the network hears becomes an input of the core, and what the core returns
is handed to the network, to media or to whoever asked. A node has one; a relay one for each room
that it carries, over one network.
"""

import itertools
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import trio

from p2phouse import channel
from p2phouse.drive import clock, drive
from p2phouse.errors import LinkError, P2PHouseError, PeerError
from p2phouse.net import events as net
from p2phouse.net.network import Network
from p2phouse.room import messages
from p2phouse.room.messages import Answer, Event, Input, Output, VerbAction
from p2phouse.room.room import Rooms
from p2phouse.vocabulary import DeviceKey, key_short

log = logging.getLogger(__name__)

INBOX_MESSAGES = 1_024  # full pushes back on the network, whose own queues then drop links
REPLIES_MAX = 256  # keys are free: without a bound a stranger fills memory with offers

Kept = messages.Remember | messages.KeepInvites


class SoundThroughRelays(LinkError):
    """Only your relays may see your network address, and this person is none: you hear them when
    one of your relays carries the room."""


class RoomOver(P2PHouseError):
    """The room has ended here."""


class Shell:
    """`run` drives the core; `tell` and `hear` give it something, `act` asks it."""

    def __init__(
        self,
        rooms: Rooms,
        network: Network,
        to_media: Callable[[channel.Down], Awaitable[None]],
        keep: Callable[[Kept], Awaitable[None]],
    ) -> None:
        """keep: what the core wants remembered."""
        self.rooms = rooms
        self._network = network
        self._to_media = to_media
        self._keep = keep
        self._to_core, self._inbox = trio.open_memory_channel[tuple[DeviceKey, Input]](
            INBOX_MESSAGES
        )
        self._tickets = itertools.count(1)
        self._waiting: dict[int, trio.MemorySendChannel[Answer]] = {}
        self._replies: dict[DeviceKey, Callable[[bytes], None]] = {}
        self._listeners: set[trio.MemorySendChannel[Event]] = set()
        self._nursery: trio.Nursery

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Until cancelled."""
        try:
            async with trio.open_nursery() as self._nursery:
                task_status.started()
                await drive(self.rooms, self._inbox, self._perform, self._drop)
        finally:
            # Whoever has yet to tell or to be answered waits no longer; one network serves others.
            self._inbox.close()
            for waiting in self._waiting.values():
                waiting.close()

    # ── for whoever asks ─────────────────────────────────────────────────────────────────────

    async def act(self, action: VerbAction) -> dict[str, object]:
        """Gives the core a verb and waits for its answer. Raises what it answered, or RoomOver."""
        ticket = next(self._tickets)
        send, receive = trio.open_memory_channel[Answer](1)
        self._waiting[ticket] = send
        try:
            await self._to_core.send((self.rooms.me.dev, messages.Verb(ticket, action)))
            result = await receive.receive()
        except (trio.BrokenResourceError, trio.EndOfChannel):
            raise RoomOver from None
        finally:
            self._waiting.pop(ticket, None)
        if result.error is not None:
            raise result.error
        return result.facts

    @asynccontextmanager
    async def events(self, most: int) -> AsyncIterator[trio.MemoryReceiveChannel[Event]]:
        """Every event from now on; of more than `most` unread ones the newest are lost."""
        send, receive = trio.open_memory_channel[Event](most)
        self._listeners.add(send)
        try:
            yield receive
        finally:
            self._listeners.discard(send)

    async def leave(self) -> None:
        """Out of the room at once, without the inbox: the last that this core says."""
        me = self.rooms.me.dev
        for output in self.rooms.receive(clock(), me, messages.Verb(0, messages.Leave())):
            if isinstance(output, messages.PublishCard):
                await self._network.publish_card(output.data)  # not in a task: those end with us
            else:
                await self._perform(output)

    # ── inwards ──────────────────────────────────────────────────────────────────────────────

    async def tell(self, message: Input, sender: DeviceKey | None = None) -> None:
        """sender: None for ourselves, and what is ours. Once `run` has ended it is lost."""
        with suppress(trio.BrokenResourceError):
            await self._to_core.send((sender or self.rooms.me.dev, message))

    async def hear(self, event: net.NetEvent) -> None:
        """What of an event concerns rooms."""
        match event:
            case net.CardHeard(data, dev):
                await self.tell(messages.CardHeard(data), dev)
            case net.RoomOpen(dev, room, outbound, near):
                await self.tell(messages.RoomLinkUp(room, outbound, near), dev)
            case net.RoomFrame(dev, room, frame):
                await self.tell(messages.RoomFrame(room, frame), dev)
            case net.RoomClosed(dev, room, reason):
                await self.tell(messages.RoomLinkDown(room, reason), dev)
            case net.OfferHeard(dev, _, _) if not self._network.may_link(dev):
                # Security: an answer, or a check of its candidates, would show where we are.
                log.info("offer_passed_over dev=%s", key_short(dev))
            case net.OfferHeard(dev, data, reply):
                self._replies.pop(dev, None)
                self._replies[dev] = reply
                if len(self._replies) > REPLIES_MAX:  # offers that the core left unanswered
                    del self._replies[next(iter(self._replies))]
                await self.tell(messages.OfferHeard(data), dev)

    # ── outwards ─────────────────────────────────────────────────────────────────────────────

    async def _perform(self, output: Output) -> None:
        match output:
            case messages.ToMedia(message):
                await self._to_media(message)
            case messages.OpenRoomLink(dev, room, addrs):
                self._network.open_room(dev, room, addrs)
            case messages.CloseRoomLink(dev, room):
                self._network.close_room(dev, room)
            case messages.SendRoomFrame(dev, room, frame):
                self._network.send_room(dev, room, frame)
            case messages.SendOffer(dev, offer, data):
                self._nursery.start_soon(self._signal, dev, offer, data)
            case messages.SendAnswer(dev, _, data):
                reply = self._replies.pop(dev, None)
                if reply is not None:
                    reply(data)
            case messages.PublishCard(data):
                self._nursery.start_soon(self._network.publish_card, data)
            case messages.Remember() | messages.KeepInvites():
                await self._keep(output)
            case Answer(ticket):
                waiting = self._waiting.get(ticket)
                if waiting is not None:
                    waiting.send_nowait(output)
            case Event():
                self.announce(output)

    def announce(self, event: Event) -> None:
        log.info(
            "%s room=%s dev=%s %s",
            event.kind.name.lower(),
            key_short(event.room) if event.room else "-",
            key_short(event.dev) if event.dev else "-",
            # Titles and names are people's words: the API tells them, the log does not.
            f"reason={event.text!r}" if event.kind in _TECHNICAL else "",
        )
        for listener in self._listeners:
            try:
                listener.send_nowait(event)
            except trio.WouldBlock:
                log.warning("event_listener_slow")

    async def _signal(self, dev: DeviceKey, offer: bytes, data: bytes) -> None:
        try:
            if not self._network.may_link(dev):
                raise SoundThroughRelays
            answer = await self._network.signal(dev, data)
        except P2PHouseError as error:
            if isinstance(error, SoundThroughRelays):
                kind = messages.EventKind.LINK_FAILED
                self.announce(Event(kind, self.rooms.room, dev, str(error)))
            await self.tell(messages.OfferFailed(offer, str(error)), dev)
        else:
            await self.tell(messages.OfferAnswered(answer), dev)

    async def _drop(self, dev: DeviceKey, error: PeerError) -> None:
        """A peer broke the protocol: its room link ends, the room goes on."""
        room = self.rooms.room
        if room is None or dev == self.rooms.me.dev:
            return
        self._network.close_room(dev, room)
        # The network says nothing of a close of ours, so the core hears of it here.
        down = messages.RoomLinkDown(room, str(error))
        for output in self.rooms.receive(clock(), dev, down):
            await self._perform(output)


_TECHNICAL = (
    messages.EventKind.LINK_FAILED,
    messages.EventKind.SOUND_TROUBLE,
    messages.EventKind.LEFT,
)
