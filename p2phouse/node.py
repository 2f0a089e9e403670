"""A node: joins identity, network, the core of rooms, the media process and the API.

It decides nothing. What the network hears becomes an input of the core, what the core returns is
handed to the network, the media process or whoever asked.
"""

import fcntl
import importlib
import logging
import os
import random
from collections.abc import AsyncIterator, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from functools import partial
from pathlib import Path

import trio

from p2phouse import channel
from p2phouse.api import listening, serve
from p2phouse.beside import Beside
from p2phouse.config import (
    Config,
    HomeUnusable,
    NamedRelay,
    RuntimeUnsafe,
    api_socket,
    home_label,
    make_private,
)
from p2phouse.drive import clock
from p2phouse.errors import P2PHouseError, UserError
from p2phouse.identity.keyfile import remove_leftovers
from p2phouse.identity.keys import Me, load_or_create
from p2phouse.media import MediaProcess
from p2phouse.memory import Memory
from p2phouse.net import events as net
from p2phouse.net.network import Network
from p2phouse.people.blocks import blocks
from p2phouse.people.following import following
from p2phouse.people.relays import RelayBook
from p2phouse.relays import Relays
from p2phouse.room import messages
from p2phouse.room.carrying import HAND_OVER_S
from p2phouse.room.messages import Event, VerbAction
from p2phouse.room.room import Rooms
from p2phouse.shell import Kept, Shell
from p2phouse.verbs.members import pulse
from p2phouse.verbs.table import table
from p2phouse.vocabulary import DeviceKey, UserKey, key_short
from p2phouse.web.opening import Opening, PageOff
from p2phouse.willing import Willing

log = logging.getLogger(__name__)

STOP_S_MAX = 7.0  # a hand-over, a card's turn in gossip and the last words on room links


class HomeInUse(UserError):
    """Another node runs with the home {path}. Stop it, or choose another with --home DIR."""


class Node:
    """`run` is the node; the rest is what its verbs read."""

    def __init__(self, config: Config) -> None:
        self.config = config
        arguments: tuple[str, ...] = (
            "--log",
            logging.getLevelName(logging.getLogger().getEffectiveLevel()),
        )
        if config.lan == "loopback":
            arguments += ("--loopback",)
        self.media = MediaProcess(self._from_media, self._media_gone, arguments=arguments)
        self.listening = False  # a `listen` has the ear
        self.reports = 0  # Stats heard: who wants fresh figures waits for the next
        self.levels: dict[int, int] = {}
        self._reflectors: tuple[channel.Reflector, ...] = ()  # that media was told
        self.following = following(config.home)
        self.blocks = blocks(config.home)
        self.willing = Willing(config.home, self._offer_to_carry)
        self.opening: Opening | None = None  # of the page; None without one
        self.sound_port: int | None = None  # where the page finds mouth and ear
        self.me: Me
        self.rooms: Rooms
        self.network: Network
        self._memory: Memory
        self.relays: Relays
        self.beside: Beside
        self._shell: Shell
        self._has_shell = trio.Event()  # media may speak before the network is there
        self._nursery: trio.Nursery
        self._stop = trio.Event()
        self._over = trio.Event()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Until cancelled. Raises UserError for what the person can mend."""
        make_private(self.config.home, HomeUnusable)
        make_private(self.config.runtime, RuntimeUnsafe)
        with _locked(self.config.home):
            now = clock()
            remove_leftovers(self.config.home, before_unix=now.unix)
            self.me = load_or_create(
                self.config.home, now=now, entropy=os.urandom, name=self.config.name
            )
            self._memory = Memory(self.config.home)
            self.rooms = Rooms(
                self.me,
                rng=random.Random(),
                entropy=os.urandom,
                ear=self.config.ear,
                mouth=self.config.mouth,
                blocked=self.blocks.read(),
            )
            if self.config.page:
                self.opening = Opening(
                    self.config.runtime, home_label(self.config.home), os.urandom
                )
            await self._introduce_page()
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                nursery.start_soon(self.media.run)  # first: it starts while libp2p is imported
                try:
                    await self._run_control(nursery, task_status)
                finally:
                    self._over.set()
                    if self.opening is not None:
                        self.opening.close()

    async def _run_control(self, nursery: trio.Nursery, task_status: trio.TaskStatus[None]) -> None:
        await trio.lowlevel.checkpoint()
        self.network = Network(
            device_key=self.me.device_key,
            port=self.config.port,
            lan=self.config.lan,
            runtime_dir=self.config.runtime,
            rng=random.Random(),
            entropy=os.urandom,
            clock=clock,
            cards=lambda: self.rooms.live_cards(clock()),
            relays=await self._named_relays(),
            relay_only=self.config.relay_only,
            carries=lambda: self.willing.relays,
        )
        self._shell = Shell(self.rooms, self.network, self.media.send, self._keep)
        await nursery.start(self._shell.run)
        self._has_shell.set()
        self.relays = Relays(self.config.home, self.rooms, self.network, self.act)
        self.beside = Beside(
            self.config, self.me, self.rooms, self.relays, lambda: self.network.addrs
        )
        await nursery.start(self.network.run)
        nursery.start_soon(self._from_network)
        nursery.start_soon(self._watch_addresses)
        nursery.start_soon(self._memory.run)
        nursery.start_soon(self.relays.run)
        nursery.start_soon(self.beside.run)
        await self.media.started.wait()
        self.network.meet_again(self._memory.peers)
        await self._shell.tell(messages.Invites(self._memory.invites))
        await self._begin_to_follow()
        await self.willing.begin()
        nursery.start_soon(self.willing.run)
        if self._memory.room is not None:
            await self._shell.tell(messages.Resume(self._memory.room))
        async with listening(api_socket(self.config.home, self.config.runtime)) as listener:
            log.info("ready dev=%s port=%d", key_short(self.me.dev), self.network.port)
            task_status.started()
            async with trio.open_nursery() as serving:
                serving.start_soon(serve, listener, table(self))
                if self.opening is not None:
                    serving.start_soon(self._serve_page, self.opening)
                await self._stop.wait()
                serving.cancel_scope.cancel()
        await self._say_goodbye()
        nursery.cancel_scope.cancel()

    async def _named_relays(self) -> tuple[NamedRelay, ...]:
        """Those of the command line, and those that the owner has added."""
        try:
            known = await trio.to_thread.run_sync(RelayBook(self.config.home).read)
        except UserError as error:
            log.warning("relays_unreadable error=%s", error)  # each verb about them says so
            known = []
        named = {(each.host, each.port): each for each in self.config.relays}
        added = [NamedRelay(each.host, each.port, each.dev) for each in known]
        # Security: who wants to be seen by the relays of the command line alone said so there.
        if not self.config.relay_only:
            named = {(each.host, each.port): each for each in added} | named
        return tuple(named.values())

    async def stop(self) -> None:
        """A clean end leaves the room, so that others need not find out by silence."""
        self._stop.set()
        with trio.move_on_after(STOP_S_MAX):
            await self._over.wait()

    async def _say_goodbye(self) -> None:
        with trio.move_on_after(HAND_OVER_S):
            await self.beside.close()  # it hands over first, since it carries
        with trio.move_on_after(HAND_OVER_S), suppress(P2PHouseError):  # in no room
            await self.act(messages.HandOver())
        await self._shell.leave()
        await self.network.flush()

    # ── the page ─────────────────────────────────────────────────────────────────────────────

    async def _serve_page(self, opening: Opening) -> None:
        """Now that all else is ready: the web server takes a third of a second to import."""
        server = await trio.to_thread.run_sync(importlib.import_module, "p2phouse.web.server")
        await server.run(opening, table(self), partial(pulse, self))

    async def _introduce_page(self) -> None:
        """The first that a media process hears: an input or output may be the page."""
        self.sound_port = None
        if self.opening is not None:
            await self.media.send(channel.SetPage(self.opening.token, self.opening.origin))

    def new_page_file(self) -> Path:
        """A file that leads a browser to the page, for a minute. Raises PageOff."""
        if self.opening is None:
            raise PageOff
        path = self.opening.write_file()
        self._nursery.start_soon(self.opening.expire, path)
        return path

    # ── what the verbs use ───────────────────────────────────────────────────────────────────

    async def act(self, action: VerbAction) -> dict[str, object]:
        """Gives the core a verb and waits for its answer. Raises what it answered."""
        return await self._shell.act(action)

    def events(self, most: int) -> AbstractAsyncContextManager[trio.MemoryReceiveChannel[Event]]:
        """Every event from now on; of more than `most` unread ones the newest are lost."""
        return self._shell.events(most)

    async def follow(self, people: Iterable[UserKey]) -> None:
        """From now on, these and nobody else."""
        await self._shell.tell(messages.Following(frozenset(people)))

    async def _offer_to_carry(self, offer: messages.Carry) -> None:
        await self._shell.tell(offer)

    async def _begin_to_follow(self) -> None:
        try:
            await self.follow(await trio.to_thread.run_sync(self.following.read))
        except UserError as error:
            log.warning("following_unreadable error=%s", error)  # each verb about it says so

    async def hear_card(self, data: bytes, dev: DeviceKey) -> None:
        """A card that was looked for; what is asked of the core next knows it."""
        await self._shell.tell(messages.CardHeard(data), dev)

    # ── inwards ──────────────────────────────────────────────────────────────────────────────

    async def _from_media(self, message: channel.Up) -> None:
        if isinstance(message, channel.Levels):
            self.levels = {level.ssrc: level.dbov for level in message.levels}
            if not self.rooms.wants_levels:
                return
        if isinstance(message, channel.PageReady):
            self.sound_port = message.port
            return
        await self._has_shell.wait()
        await self._shell.tell(message)
        match message:
            case channel.Stats():
                self.reports += 1
            case channel.VoiceState(_, channel.VoiceCondition.OUTPUT_ENDED):
                kind = messages.EventKind.OUTPUT_ENDED
                self._shell.announce(Event(kind, self.rooms.room, self.me.dev))

    async def _media_gone(self) -> None:
        await self._introduce_page()
        await self.media.send(channel.SetReflectors(self._reflectors))
        await self._shell.tell(messages.MediaGone())

    async def _from_network(self) -> None:
        async for event in self.network.events:
            match event:
                case net.PeerUp(dev, addrs) | net.Found(dev, addrs):
                    self._memory.met(dev, addrs)
                case net.Trouble(text):
                    log.warning("trouble text=%r", text)
                case _:
                    await self._shell.hear(event)

    async def _watch_addresses(self) -> None:
        """Networks come and go under a node: cards and greetings name the present ones."""
        known: tuple[bytes, ...] | None = None
        while True:
            changed = self.network.addrs_changed  # first: what changes while we tell counts
            addrs = tuple(self.network.addrs)
            if addrs != known:
                known = addrs
                await self._shell.tell(messages.OwnAddresses(addrs))
            asked = tuple(
                channel.Reflector(str(each.ip), each.port) for each in self.network.reflectors
            )
            if asked != self._reflectors:
                self._reflectors = asked
                await self.media.send(channel.SetReflectors(asked))
            await changed.wait()

    # ── outwards ─────────────────────────────────────────────────────────────────────────────

    async def _keep(self, kept: Kept) -> None:
        match kept:
            case messages.Remember(state):
                self._memory.remember_room(state)
            case messages.KeepInvites(state):
                await self._memory.keep_invites(state)


@asynccontextmanager
async def running(config: Config) -> AsyncIterator[Node]:
    """A node for as long as the block runs."""
    node = Node(config)
    async with trio.open_nursery() as nursery:
        await nursery.start(node.run)
        yield node
        await node.stop()
        nursery.cancel_scope.cancel()


class _locked:
    """Holds the home for this process; the system frees it however the process ends."""

    def __init__(self, home: Path) -> None:
        self._home = home

    def __enter__(self) -> None:
        try:
            self._file = os.open(self._home / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise HomeUnusable(path=self._home, reason=error.strerror) from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._file)
            raise HomeInUse(path=self._home) from error

    def __exit__(self, *_: object) -> None:
        os.close(self._file)
