"""The relay's control: joins the core of guests, the media processes, the page and the front.

It decides nothing. What is asked over HTTP becomes an input of `Guests`, what that returns is sent
to media, and what media says goes back into it. Why one process answers HTTP: docs/adr/0018.
"""

import itertools
import logging
import os
import random
import ssl
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import trio
from nacl.signing import SigningKey

from p2phouse import channel
from p2phouse.config import HomeUnusable, LanMode, RuntimeUnsafe, make_private, runtime_of
from p2phouse.drive import clock
from p2phouse.errors import P2PHouseError
from p2phouse.guest.exchange import Reply, Request
from p2phouse.guest.http import Front, Listener
from p2phouse.guest.page import Page
from p2phouse.guest.resources import Guests
from p2phouse.guest.shards import MIXER, NODES, To
from p2phouse.guest.terms import Terms
from p2phouse.identity.keys import load_or_create, make_identity
from p2phouse.link.near import keep_near
from p2phouse.link.tunnel import PATH as TUNNEL_PATH
from p2phouse.net.network import Network
from p2phouse.vocabulary import LinkNumber
from p2phouse_relay.admin import Admin, Counts, new_token, say_where
from p2phouse_relay.carrying import Carrying, Showing
from p2phouse_relay.certificate import Certificate
from p2phouse_relay.denials import DenialsDamaged, DenialWatch, keys_of
from p2phouse_relay.members import Members
from p2phouse_relay.meter import Meter
from p2phouse_relay.mixes import Mixes
from p2phouse_relay.others import Others
from p2phouse_relay.policy import Charter
from p2phouse_relay.ports import check_udp, open_tcp, over_tls, socket_of
from p2phouse_relay.settings import Tls
from p2phouse_relay.shards import MediaProcesses
from p2phouse_relay.sharing import share
from p2phouse_relay.tunnels import Tunnels

log = logging.getLogger(__name__)

READY_S_MAX = 20.0  # a start of Python on a small machine that does something else as well
TICK_S = 1.0

WELL_KNOWN = "/.well-known/p2phouse"
POLICY = (("content-type", "application/cbor"), ("cache-control", "no-cache"))
NOT_FOUND = Reply(404, (("content-type", "text/plain; charset=utf-8"),), b"nothing is here\n")


class MediaSilent(P2PHouseError):
    """The process that carries sound did not begin within {seconds:.0f} s. Start the relay with
    --log debug and read what it says."""


@dataclass(frozen=True, slots=True)
class Among:
    """How a relay is among nodes. port: of libp2p and hello; None for the usual one or any that is
    free. home: where its key is; a trial without one has a new key each time."""

    charter: Charter
    port: int | None = None
    lan: LanMode = "off"
    home: Path | None = None


@dataclass(frozen=True, slots=True)
class RelayConfig:
    """What a relay is told when it starts.

    addresses: where guests reach it, the best first. bind: where its sockets are, which behind a
    router of one's own is another address. udp_port, http_port: 0 picks a free one. processes: for
    sound, each with a port of its own, udp_port and those that follow.
    """

    name: str
    addresses: tuple[str, ...]
    bind: str
    http_port: int
    udp_port: int
    terms: Terms
    page: str = ""  # where guests find it, https://NAME; empty: at the first address
    processes: int = 1
    tls: Tls | None = None
    is_proxied: bool = False  # TLS is spoken by a reverse proxy of this machine; HTTP on loopback
    home: Path | None = None  # where the commands find a relay that runs; none in trial
    admin_port: int = 0
    media_module: str = "p2phouse_relay.media"
    together_above: int | None = None  # as of Media; None: as it is there
    among: Among | None = None  # nodes, whose rooms it carries; None: guests alone
    stay_near: bool = False  # nothing that is said of or in a room is passed on by any router

    @property
    def binds(self) -> tuple[str, ...]:
        """Everywhere is IPv6 as well if it is reached there."""
        is_six = any(":" in each for each in self.addresses)
        return ("0.0.0.0", "::") if self.bind == "0.0.0.0" and is_six else (self.bind,)


class Relay:
    """`run` is the relay; guests can come once `media.ready` is set."""

    def __init__(
        self, config: RelayConfig, listeners: list[Listener], certificate: Certificate | None = None
    ) -> None:
        """certificate: by which the listeners speak TLS.

        Raises DenialsDamaged, TrafficDamaged.
        """
        self.config = config
        self._certificate = certificate
        self.links = itertools.count(1)  # never used twice, whoever is at the other end
        charter = config.among.charter if config.among is not None else Charter()
        self.meter = Meter(config.home, charter)
        self.others = Others(charter.others)
        self.guests = Guests(config.terms, os.urandom, self.links)
        self.guests.reached_at(config.addresses)
        self.front = Front(self.answer, is_proxied=config.is_proxied)
        self.drained = trio.Event()
        self._drains = trio.Event()
        self.is_among = trio.Event()  # nodes, if it is to be
        self._denials: DenialWatch | None = None
        standing: dict[str, str] = {}
        if config.home is not None:
            self._denials = DenialWatch(config.home)
            standing = self._denials.changed(clock().unix) or {}
            self.guests.deny(standing)
        self._began_s = time.monotonic()
        self._not_sent_on = 0  # packets, between media processes
        self._http_octets = 0  # of those that the front has sent, counted in the month
        self.listeners = listeners
        self._page = Page(self.guests, relay=config.name)
        self.media = MediaProcesses(
            self._from_media,
            self._media_gone,
            count=config.processes,
            module=config.media_module,
            addresses=config.binds,
            udp_port=config.udp_port,
            stay_near=config.stay_near,
            together_above=config.together_above,
        )
        self.mixes = Mixes(self.guests, self._perform, self._from_media, self.media.pairs)
        self.tunnels = Tunnels(
            config.page,
            config.addresses,
            config.binds[0],
            lambda: self.media.ports[NODES],
            os.urandom,
        )
        self.carrying = self.members = None
        if config.among is not None:
            self.carrying = self._carrying(config.among)
            self.members = self._members(config.among, self.carrying)
        self._deny_keys(standing)

    def _carrying(self, among: Among) -> Carrying:
        """Raises UserError."""
        make_private(runtime_of(), RuntimeUnsafe)
        now, name = clock(), among.charter.name
        if among.home is None:
            me = make_identity(now=now, entropy=os.urandom, name=name)
        else:
            make_private(among.home, HomeUnusable)
            me = load_or_create(among.home, now=now, entropy=os.urandom, name=name)

        def new_network(carrying: Carrying) -> Network:
            return Network(
                device_key=me.device_key,
                port=among.port,
                lan=among.lan,
                runtime_dir=runtime_of(),
                rng=random.Random(),
                entropy=os.urandom,
                clock=clock,
                cards=list,
                answerer=carrying.answer,
            )

        async def to_media(message: channel.Down) -> None:
            if isinstance(message, channel.CloseLink):
                self.tunnels.forget(message.link)
            await self.media.send(To(NODES, message))

        return Carrying(
            me,
            replace(among.charter, page=self.config.page or self.http),
            new_network,
            to_media=to_media,
            links=self.links,
            show=self._show,
            traffic=self.meter.traffic,
        )

    def _members(self, among: Among, carrying: Carrying) -> Members:
        def new_network(device_key: SigningKey) -> Network:
            return Network(
                device_key=device_key,
                port=0,
                lan=among.lan,
                runtime_dir=runtime_of(),
                rng=random.Random(),
                entropy=os.urandom,
                clock=clock,
                cards=list,
                carries=lambda: False,
            )

        async def to_media(message: channel.Down) -> None:
            await self.media.send(To(NODES, message))

        async def hang_up(link: LinkNumber) -> None:
            await self._perform(self.guests.hang_up(clock(), link))

        return Members(
            among.charter.name,
            new_network=new_network,
            to_media=to_media,
            links=self.links,
            way_to=carrying.way_to,
            hang_up=hang_up,
        )

    async def _show(self, name: str, facts: Showing, number: int) -> int:
        """A room of nodes, to guests; how many of them listen."""
        if facts is None:
            await self._perform(self.guests.drop(name))
        else:
            await self._perform(self.guests.carry(name, facts, number))
        room = self.guests.room(name)
        return room.listeners if room is not None else 0

    @property
    def http_port(self) -> int:
        port: int = socket_of(self.listeners[0]).getsockname()[1]
        return port

    @property
    def http(self) -> str:
        """Where its HTTP is, by its address."""
        address = self.config.addresses[0]
        scheme = "http" if self.config.tls is None else "https"
        return f"{scheme}://{f'[{address}]' if ':' in address else address}:{self.http_port}"

    async def run(self) -> None:
        """Until cancelled. Raises MediaFailed."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.media.run)
            nursery.start_soon(self.mixes.run)
            nursery.start_soon(self.front.serve, self.listeners)
            nursery.start_soon(self._tick)
            nursery.start_soon(self._page.run)
            nursery.start_soon(self._drain)
            nursery.start_soon(self.meter.run)
            nursery.start_soon(self.others.run)
            if self.config.home is not None:
                nursery.start_soon(self._administer, self.config.home)
            if self._certificate is not None:
                nursery.start_soon(self._certificate.run)
            if self.carrying is not None:
                await nursery.start(self.carrying.run)
            if self.members is not None:
                await nursery.start(self.members.run)
            self.is_among.set()

    async def answer(self, request: Request) -> Reply:
        mix = await self.mixes.reply(request)
        if mix is not None:
            return mix
        page = self._page.reply(request)
        if page is not None:
            return page
        if request.path == WELL_KNOWN and self.carrying is not None:
            return Reply(200, POLICY, self.carrying.policy_card())
        if request.path == TUNNEL_PATH:
            return self.tunnels.answer(trio.current_time(), request)
        if request.path.startswith(("/whip/", "/whep/", "/guest/")):
            reply, outputs = self.guests.request(clock(), request)
            await self._perform(outputs)
            return reply
        return NOT_FOUND

    async def _tick(self) -> None:
        while True:
            await trio.sleep(TICK_S)
            octets, self._http_octets = self.front.octets - self._http_octets, self.front.octets
            self.meter.traffic.add(clock(), octets)
            self.guests.capacity.month_permille = self.meter.permille
            if self.carrying is not None:
                share(self.carrying, self.guests, self.others.pages)
            await self._perform(self.guests.tick(clock()))
            if self.members is not None:
                self.members.set(self.guests.voices())
            await self.mixes.tick()
            if self._denials is not None:
                await self._read_denials(self._denials)
            rooms = len(self.carrying.stays) if self.carrying is not None else 0
            if self.guests.capacity.draining and not self.guests.count + rooms:
                self.drained.set()

    async def _read_denials(self, watch: DenialWatch) -> None:
        """What the operator has denied or allowed since, and what has run out by itself."""
        now = clock()
        try:
            changed = watch.changed(now.unix)
        except DenialsDamaged as error:
            log.error("denials_not_read error=%s", error)
            return
        if changed is not None:
            log.info("denials standing=%d", len(changed))
            await self._perform(self.guests.deny(changed))
            self._deny_keys(changed)

    def _deny_keys(self, denied: Mapping[str, str]) -> None:
        """Whose rooms of nodes are not taken any more."""
        if self.carrying is not None and self.config.among is not None:
            keys = self.config.among.charter.deny | keys_of(denied)
            self.carrying.admission.charter = replace(self.carrying.charter, deny=keys)

    def counts(self) -> Counts:
        rooms = self.guests.rooms()
        octets, octets_max = self.meter.traffic.used()
        return Counts(
            is_ready=self.guests.is_ready,
            is_draining=self.guests.capacity.draining,
            rooms=len(rooms),
            speakers=sum(len(each.speakers) for each in rooms) + len(self.guests.voices()),
            listeners=sum(each.listeners for each in rooms),
            waiting=self.guests.waiting,
            speakers_joined=self.guests.joined[channel.GuestRole.SPEAKER],
            listeners_joined=self.guests.joined[channel.GuestRole.LISTENER],
            refused=self.guests.refused,
            sent_on=self.guests.capacity.sent_on,
            processes=self.guests.shards.facts(),
            not_sent_on=self._not_sent_on,
            media_restarts=self.media.restarts,
            connections=self.front.connections,
            up_s=time.monotonic() - self._began_s,
            month=self.meter.traffic.month,
            month_bytes=octets,
            month_bytes_max=octets_max,
            unkept=self.meter.unkept,
            tunnels=len(self.tunnels),
            certificate_days=self._certificate_days(),
            **(self.carrying.counts() if self.carrying is not None else {}),
        )

    def _certificate_days(self) -> float | None:
        certificate = self._certificate
        return None if certificate is None else certificate.facts.days(clock().unix)

    def drain(self) -> None:
        """Takes nobody in any more; `drained` once the last guest has left."""
        log.info("draining guests=%d", self.guests.count)
        self.guests.capacity.draining = True
        self._drains.set()

    async def _drain(self) -> None:
        await self._drains.wait()
        if self.carrying is not None:
            await self.carrying.drain()

    async def _administer(self, home: Path) -> None:
        """Serves status and metrics on loopback, and says where for as long as it does."""
        token = new_token(os.urandom)
        front = Front(Admin(self.counts, self.drain, token).answer)
        listeners = await open_tcp("127.0.0.1", self.config.admin_port)
        path = say_where(home, socket_of(listeners[0]).getsockname()[1], token)
        try:
            await front.serve(listeners)
        finally:
            path.unlink(missing_ok=True)

    async def _perform(self, outputs: Iterable[To]) -> None:
        for each in outputs:
            if each.shard == MIXER:
                await self.mixes.send(each.message)
            else:
                await self.media.send(each)

    async def _from_media(self, number: int, message: channel.Up) -> None:
        await self._perform(self.guests.heard(clock(), number, message))
        if self.members is not None and number == NODES:
            if isinstance(message, channel.LinkState):
                self.members.set(self.guests.voices())
            if await self.members.heard(message):
                return
        if self.carrying is not None and number == NODES:
            reached = self.tunnels.reached(trio.current_time(), message)
            await self.carrying.heard(reached)
        match message:
            case channel.Load():
                self._not_sent_on += message.not_sent_on
                self.meter.traffic.add(clock(), message.octets)
            case channel.LinkState():
                log.info("guest link=%d state=%s", message.link, message.status.name.lower())

    async def _media_gone(self, number: int) -> None:
        await self._perform(self.guests.gone(clock(), number))
        if self.members is not None:
            self.members.set(self.guests.voices())
        if self.carrying is not None and number == NODES:
            await self.carrying.media_gone()


@asynccontextmanager
async def running(config: RelayConfig) -> AsyncIterator[Relay]:
    """A relay that guests can come to. Raises UserError, MediaSilent, MediaFailed."""
    for number in range(config.processes):
        for address in config.binds:
            check_udp(address, config.udp_port and config.udp_port + number)
    certificate = Certificate(config.tls) if config.tls is not None else None
    context = None if certificate is None else certificate.context
    relay = Relay(config, await _listeners(config, context), certificate)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(relay.run)
        with trio.move_on_after(READY_S_MAX):
            await relay.media.ready.wait()
            await relay.is_among.wait()
        if not relay.media.ready.is_set():
            raise MediaSilent(seconds=READY_S_MAX)
        yield relay
        nursery.cancel_scope.cancel()


async def _listeners(config: RelayConfig, context: ssl.SSLContext | None) -> list[Listener]:
    """Raises HttpPortUnusable."""
    found: list[Listener] = []
    for address in ("127.0.0.1",) if config.is_proxied else config.binds:
        port = socket_of(found[0]).getsockname()[1] if found else config.http_port
        found += await open_tcp(address, port)
    if config.stay_near:
        # Security: what guests read goes by these as well. Accepted connections have it from them.
        # Test: test_beside.py::test_what_is_read_of_a_lan_room_is_passed_on_by_no_router
        for each in found:
            keep_near(socket_of(each))
    if context is None:
        return found
    return [over_tls(each, context) for each in found]
