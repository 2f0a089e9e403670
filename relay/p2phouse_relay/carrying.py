"""The rooms that this relay carries: it comes into each as a member without voice or ear, and goes.

One network and one media process for all of them, and for each a core of rooms of its own. What is
asked on /p2phouse/relay/1 is judged by `admission`; what comes of the network or of media goes to
the core of the room that it is about. Nothing of a room is kept once it is left.
"""

import itertools
import logging
import math
import os
import random
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

import trio

from p2phouse import channel
from p2phouse.drive import clock
from p2phouse.errors import P2PHouseError, PeerError
from p2phouse.guest.facts import NodeRoom, SealedRoom
from p2phouse.guest.view import Reactions, seen
from p2phouse.hall import invitation, relay_ask
from p2phouse.hall.invitation import Invitation
from p2phouse.hall.relay_ask import AskCarry, AskPolicy, Said, Shown, Verdict
from p2phouse.identity.keys import Me
from p2phouse.net import events as net
from p2phouse.net.network import Network
from p2phouse.record import envelope
from p2phouse.record.types import Offer
from p2phouse.room import frames, messages
from p2phouse.room.frames import ByeReason, FrameKind
from p2phouse.room.room import Rooms
from p2phouse.room.state import Membership
from p2phouse.shell import Kept, Shell
from p2phouse.vocabulary import DeviceKey, RoomId, key_short
from p2phouse_relay import policy
from p2phouse_relay.admission import Admission
from p2phouse_relay.numbers import RoomNumbers
from p2phouse_relay.policy import Charter
from p2phouse_relay.quota import Ledger
from p2phouse_relay.traffic import Traffic

log = logging.getLogger(__name__)

LOOK_S: Final = 1.0
NAMED_S: Final = 30.0  # a host writes the entry at once; it is a relay's leave to be there
COME_IN_S_MAX: Final = 60.0  # whoever asked writes the entry that lets us in at once
ALONE_S: Final = 60.0  # people whose network is gone come back within that
JOIN_AGAIN_S: Final = 2.0
JOIN_TRIES: Final = 5
DRAIN_S: Final = 120.0
HAND_OVER_AGAIN_S: Final = 1.0
SHOW_S_MAX: Final = 1.0  # guests are told so often how the room is, be there news of it or not
SHOW_S_MIN: Final = 0.2  # and no more often, however much happens there
COUNT_S: Final = 5.0  # a crowd that comes and goes costs each member a word so often at most
EVENTS_MAX: Final = 64  # that are looked at together

Showing = NodeRoom | SealedRoom | None
"""A room as guests are shown it; None if they are to be shown nothing (any more)."""


@dataclass(eq=False, slots=True)
class Stay:
    """In one room."""

    room: RoomId
    shell: Shell
    numbers: RoomNumbers
    scope: trio.CancelScope
    began: float
    until: float  # by trio's clock, which does not leap; then a relay grant is over, or the room
    seen_at: float = math.inf  # when somebody was there last
    goes: bool = False
    guests: int = 0  # as the room was told
    counted_at: float = -math.inf
    offered: messages.Carry | None = None
    over: trio.Event = field(default_factory=trio.Event)


class Carrying:
    """`run` is the relay among nodes; `answer` what it says to those who ask."""

    def __init__(
        self,
        me: Me,
        charter: Charter,
        new_network: Callable[["Carrying"], Network],
        *,
        to_media: Callable[[channel.Down], Awaitable[None]],
        links: Iterator[int],
        show: Callable[[str, Showing, int], Awaitable[int]],
        traffic: Traffic | None = None,
    ) -> None:
        """new_network: one whose questions `answer` answers. Not before `run`. to_media: to the
        relay's process, whose links are counted by `links`. show: a room by its name in paths, as
        guests are to see it, with the number by which media knows it; how many of them listen.
        traffic: of this month."""
        self.me = me
        self.charter = charter
        self.ledger = Ledger(charter.rooms, charter.kbps, traffic or Traffic())
        self.admission = Admission(charter, me.dev, self.ledger)
        self.stays: dict[RoomId, Stay] = {}
        self.network: Network
        self._new_network = new_network
        self._to_media = to_media
        self._links = links
        self._show = show
        self._rooms = itertools.count(1)
        self._refused = 0
        self._nursery: trio.Nursery

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Until cancelled."""
        self.network = self._new_network(self)
        async with trio.open_nursery() as self._nursery:
            await self._nursery.start(self.network.run)
            self._nursery.start_soon(self._from_network)
            self._nursery.start_soon(self._watch_addresses)
            self._nursery.start_soon(self._watch_rooms)
            log.info("relay_ready dev=%s port=%d", key_short(self.me.dev), self.network.port)
            task_status.started()

    # ── what others ask ──────────────────────────────────────────────────────────────────────

    def policy_card(self) -> bytes:
        """What this relay is, signed now."""
        at = tuple(self.network.addrs)
        return policy.card(self.charter, self.me, at=at, now=clock()).data

    async def answer(self, dev: DeviceKey, data: bytes) -> bytes:
        """One question. Raises PeerError if it cannot be read."""
        match relay_ask.read_ask(data):
            case AskPolicy():
                at = tuple(self.network.addrs)
                signed = policy.card(self.charter, self.me, at=at, now=clock())
                return relay_ask.write(Shown(signed, self.me.record))
            case AskCarry() as ask:
                return relay_ask.write(self._asked(dev, ask))

    def _asked(self, dev: DeviceKey, ask: AskCarry) -> Said:
        now = clock()
        said = self.admission.decide(now, dev, ask)
        room = RoomId(ask.genesis.id)
        log.info(
            "asked room=%s by=%s verdict=%s", key_short(room), key_short(dev), said.verdict.name
        )
        self._refused += said.verdict is not Verdict.CARRIED
        if said.verdict is Verdict.CARRIED:
            until = trio.current_time() + said.until - now.unix
            if room in self.stays:
                self.stays[room].until = until
            else:
                self._nursery.start_soon(self._stay, Invitation(room, dev, ask.at), until)
        return said

    def way_to(self, name: str) -> str | None:
        """A link into the room of that name in paths; None if it is not carried here."""
        for room, stay in self.stays.items():
            here = stay.shell.rooms.membership
            if invitation.room_text(room) == name and here is not None and here.joined:
                return stay.shell.rooms.link
        return None

    def counts(self) -> dict[str, int]:
        """For whoever runs the relay: numbers alone."""
        rooms = [stay.shell.rooms.membership for stay in self.stays.values()]
        return {
            "node_rooms": len(self.stays),
            "node_people": sum(each.people for each in rooms if each is not None),
            "node_kbps": self.ledger.kbps,
            "node_refused": self._refused,
        }

    # ── in a room ────────────────────────────────────────────────────────────────────────────

    async def _stay(self, way: Invitation, until: float) -> None:
        """From coming in to having left, whatever happens there."""
        room = way.room
        if room in self.stays:
            return
        core = Rooms(self.me, rng=random.Random(), entropy=os.urandom, ear="none", serves=True)

        def is_public() -> bool:
            here = core.membership
            return here is not None and here.is_relay(self.me.uid) and not here.is_sealed

        numbers = RoomNumbers(next(self._rooms), self._links, is_public)

        async def to_media(message: channel.Down) -> None:
            told = numbers.down(message)
            if told is not None:
                await self._to_media(told)

        shell = Shell(core, self.network, to_media, _forget)
        stay = Stay(room, shell, numbers, trio.CancelScope(), trio.current_time(), until)
        self.stays[room] = stay
        try:
            with stay.scope:
                async with trio.open_nursery() as nursery:
                    await nursery.start(shell.run)
                    await shell.tell(messages.OwnAddresses(tuple(self.network.addrs)))
                    await self._offer(stay)
                    nursery.start_soon(self._show_on, stay)
                    await self._come_in(stay, way)
                    await trio.sleep_forever()
        except* Exception as group:
            # Broad: it is the top of its task, and what one room runs into ends no other.
            # Test: test_carrying.py::test_what_one_room_runs_into_ends_no_other
            log.error("stay_failed room=%s error=%r", key_short(room), group.exceptions[0])
        finally:
            self.stays.pop(room, None)
            self.ledger.drop(room)
            with trio.CancelScope(shield=True):
                await self._show(invitation.room_text(room), None, numbers.room)
                for closing in numbers.close_all():
                    await self._to_media(closing)
            stay.over.set()
            log.info("left room=%s", key_short(room))

    async def _come_in(self, stay: Stay, way: Invitation) -> None:
        link = invitation.write(way)
        for tried in range(JOIN_TRIES):
            try:
                await stay.shell.act(messages.Join(link))
            except P2PHouseError as error:
                log.info("join_failed room=%s error=%s", key_short(stay.room), error)
                if tried == JOIN_TRIES - 1:
                    stay.scope.cancel()
                    return
                await trio.sleep(JOIN_AGAIN_S)
            else:
                stay.seen_at = trio.current_time()
                return

    async def _show_on(self, stay: Stay) -> None:
        """For as long as the room is carried here: at once when something happens in it."""
        name, core, reactions = invitation.room_text(stay.room), stay.shell.rooms, Reactions()
        async with stay.shell.events(EVENTS_MAX) as events:
            while True:
                heard = []
                with trio.move_on_after(SHOW_S_MAX):
                    heard.append(await events.receive())
                if heard:
                    await trio.sleep(SHOW_S_MIN)  # what follows at once is shown with it
                with suppress(trio.WouldBlock):
                    while True:
                        heard.append(events.receive_nowait())
                now_s, membership = trio.current_time(), core.membership
                for event in heard:
                    reactions.hear(now_s, membership, event)
                is_ours = membership is not None and membership.is_relay(self.me.uid)
                shown = seen(core, reactions.shown(now_s)) if is_ours else None
                count = await self._show(name, shown, stay.numbers.room)
                if count != stay.guests and now_s >= stay.counted_at + COUNT_S:
                    stay.guests, stay.counted_at = count, now_s
                    await stay.shell.tell(messages.Guests(count))

    async def _watch_rooms(self) -> None:
        while True:
            await trio.sleep(LOOK_S)
            self.ledger.sent(clock(), LOOK_S)
            for stay in list(self.stays.values()):
                await self._look_at(stay)

    async def _look_at(self, stay: Stay) -> None:
        membership = stay.shell.rooms.membership
        now = trio.current_time()
        if membership is None or not membership.joined:
            was_in = math.isfinite(stay.seen_at)
            if was_in or now - stay.began > COME_IN_S_MAX:
                await self._leave(stay)
            return
        if membership.members:
            stay.seen_at = now
        is_named = membership.is_relay(self.me.uid)
        genesis = membership.genesis
        if now - stay.seen_at > ALONE_S:
            await self._go(stay, "empty")
        elif not is_named and now - stay.began > NAMED_S:
            await self._go(stay, "unnamed")
        elif stay.until <= now:
            await self._go(stay, "over")
        elif genesis is not None and self.admission.denies(genesis.record):
            await self._go(stay, "denied")
        else:
            await self._measure(stay, membership)

    async def _go(self, stay: Stay, reason: str) -> None:
        """Out of a room that goes on, if anybody is in it, by somebody else."""
        if not stay.goes:
            stay.goes = True
            log.info("leaving room=%s reason=%s", key_short(stay.room), reason)
            self._nursery.start_soon(self._hand_over, stay)

    async def _measure(self, stay: Stay, membership: Membership) -> None:
        carrying = stay.shell.rooms.facts().get("carrying")
        kbps = carrying["kbps"] if isinstance(carrying, dict) else 0
        listeners = membership.people - membership.on_stage_count
        self.ledger.measured(stay.room, listeners=listeners, kbps=kbps)
        await self._offer(stay)

    async def _offer(self, stay: Stay) -> None:
        """What the room may use of us, when that has changed by enough to be worth a bid."""
        membership = stay.shell.rooms.membership
        links = len(membership.members) if membership is not None else 0
        cap = self.ledger.links_for(stay.room, links)
        if not _is_other(cap, stay.offered, links):
            return
        stay.offered = messages.Carry(willing=True, on_mains=True, metered=False, cap=cap)
        await stay.shell.tell(stay.offered)

    # ── going ────────────────────────────────────────────────────────────────────────────────

    async def _leave(self, stay: Stay) -> None:
        if stay.shell.rooms.membership is not None:
            await stay.shell.leave()
        stay.scope.cancel()

    async def drain(self, *, most_s: float = DRAIN_S) -> None:
        """Takes no room more, hands over those that it has, and returns once it has none."""
        self.admission.drains = True
        with trio.move_on_after(most_s):
            async with trio.open_nursery() as nursery:
                for stay in list(self.stays.values()):
                    nursery.start_soon(self._hand_over, stay)
        for stay in list(self.stays.values()):
            await self._leave(stay)
            await stay.over.wait()
        await self.network.flush()

    async def _hand_over(self, stay: Stay) -> None:
        """Somebody else carries the room before we leave it, as soon as there is somebody."""
        while stay.room in self.stays:
            try:
                await stay.shell.act(messages.HandOver())
            except P2PHouseError:
                break  # in no room
            membership = stay.shell.rooms.membership
            if membership is None or membership.hub != self.me.dev or not membership.members:
                break
            await trio.sleep(HAND_OVER_AGAIN_S)
        await self._leave(stay)

    # ── from media and the network ───────────────────────────────────────────────────────────

    async def heard(self, message: channel.Up) -> None:
        """What the relay's media says; most of it is about guests."""
        if isinstance(message, channel.Load):
            self.admission.load_permille = message.core_permille
            return
        for stay in list(self.stays.values()):
            told = stay.numbers.up(message)
            if told is not None:
                await stay.shell.tell(told)

    async def media_gone(self) -> None:
        """It died; the next one knows of no link."""
        for stay in list(self.stays.values()):
            stay.numbers.close_all()
            await stay.shell.tell(messages.MediaGone())

    async def _from_network(self) -> None:
        async for event in self.network.events:
            match event:
                case net.RoomOpen(dev, room) | net.RoomFrame(dev, room) | net.RoomClosed(dev, room):
                    await self._hear(event, dev, room)
                case net.OfferHeard(_, data):
                    try:
                        room = RoomId(envelope.read(data, Offer).record.room)
                    except PeerError as error:
                        log.info("offer_unreadable error=%s", error)
                        continue
                    if room in self.stays:
                        await self.stays[room].shell.hear(event)
                case net.Trouble(text):
                    log.warning("trouble text=%r", text)

    async def _hear(
        self, event: net.RoomOpen | net.RoomFrame | net.RoomClosed, dev: DeviceKey, room: RoomId
    ) -> None:
        stay = self.stays.get(room)
        if stay is not None:
            await stay.shell.hear(event)
        elif isinstance(event, net.RoomFrame):
            if event.frame and event.frame[0] == FrameKind.GREETING:
                self.network.send_room(dev, room, frames.bye(ByeReason.NOT_HERE))
            self.network.close_room(dev, room)

    async def _watch_addresses(self) -> None:
        known: tuple[bytes, ...] | None = None
        while True:
            changed = self.network.addrs_changed
            addrs = tuple(self.network.addrs)
            if addrs != known:
                known = addrs
                for stay in list(self.stays.values()):
                    await stay.shell.tell(messages.OwnAddresses(addrs))
            await changed.wait()


def _is_other(cap: int, before: messages.Carry | None, links: int) -> bool:
    """Whether the number is worth a bid: one more or less is not, but where it lets nobody in."""
    if before is None or (cap > links) != (before.cap > links):
        return True
    return abs(cap - before.cap) * 4 > before.cap


async def _forget(kept: Kept) -> None:
    """A relay stores nothing that it was not asked to."""
