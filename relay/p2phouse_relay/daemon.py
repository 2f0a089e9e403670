"""The relay's control: joins the core of guests, the media process, the page and the front.

It decides nothing. What is asked over HTTP becomes an input of `Guests`, what that returns is sent
to media, and what media says goes back into it. Why one process answers HTTP: docs/adr/0018.
"""

import errno
import logging
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import trio

from p2phouse import channel
from p2phouse.drive import clock
from p2phouse.errors import P2PHouseError, UserError
from p2phouse.guest.http import Front, Listener
from p2phouse.guest.page import Page
from p2phouse.guest.resources import Guests, Reply, Request, Terms
from p2phouse.media import MediaProcess

log = logging.getLogger(__name__)

READY_S_MAX = 20.0  # a start of Python on a small machine that does something else as well
TICK_S = 1.0
BACKLOG = 1_024  # a room that many come to at once

NOT_FOUND = Reply(404, (("content-type", "text/plain; charset=utf-8"),), b"nothing is here\n")


class HttpPortUnusable(UserError):
    """TCP port {port} of {address} cannot be used: {reason}. Choose another with --http-port."""


class UdpPortUnusable(UserError):
    """UDP port {port} of {address} cannot be used: {reason}. Choose another with --udp-port."""


class AddressUnusable(UserError):
    """{address} is no address of this machine. Choose one of its own with --address."""


class MediaSilent(P2PHouseError):
    """The process that carries sound did not begin within {seconds:.0f} s. Start the relay with
    --log debug and read what it says."""


@dataclass(frozen=True, slots=True)
class RelayConfig:
    """What a relay is told when it starts.

    addresses: where guests reach it, the best first. bind: where its sockets are, which behind a
    router of one's own is another address. udp_port, http_port: 0 picks a free one.
    """

    name: str
    addresses: tuple[str, ...]
    bind: str
    http_port: int
    udp_port: int
    terms: Terms
    media_module: str = "p2phouse_relay.media"


class Relay:
    """`run` is the relay; `ready` is set once guests can come."""

    def __init__(self, config: RelayConfig, listeners: list[Listener]) -> None:
        self.config = config
        self.guests = Guests(config.terms, os.urandom)
        self.guests.reached_at(config.addresses)
        self.front = Front(self.answer)
        self.ready = trio.Event()
        self.udp_port = 0
        self._listeners = listeners
        self._page = Page(self.guests, relay=config.name)
        level = logging.getLevelName(logging.getLogger().getEffectiveLevel())
        self.media = MediaProcess(
            self._from_media,
            self._media_gone,
            module=config.media_module,
            arguments=(
                "--address", config.bind, "--udp-port", str(config.udp_port), "--log", level,
            ),
        )  # fmt: skip

    @property
    def http_port(self) -> int:
        port: int = _socket(self._listeners[0]).getsockname()[1]
        return port

    async def run(self) -> None:
        """Until cancelled. Raises MediaFailed."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.media.run)
            nursery.start_soon(self.front.serve, self._listeners)
            nursery.start_soon(self._tick)

    async def answer(self, request: Request) -> Reply:
        page = self._page.reply(request)
        if page is not None:
            return page
        if request.path.startswith(("/whip/", "/whep/", "/guest/")):
            reply, commands = self.guests.request(clock(), request)
            await self._perform(commands)
            return reply
        return NOT_FOUND

    async def _tick(self) -> None:
        while True:
            await trio.sleep(TICK_S)
            await self._perform(self.guests.tick(clock()))

    async def _perform(self, commands: list[channel.Down]) -> None:
        for command in commands:
            await self.media.send(command)

    async def _from_media(self, message: channel.Up) -> None:
        await self._perform(self.guests.heard(clock(), message))
        match message:
            case channel.PortReady():
                log.info("media_ready udp_port=%d", message.port)
                self.udp_port = message.port
                self.ready.set()
            case channel.LinkState():
                log.info("guest link=%d state=%s", message.link, message.status.name.lower())

    async def _media_gone(self) -> None:
        self.guests.gone()


@asynccontextmanager
async def running(config: RelayConfig) -> AsyncIterator[Relay]:
    """A relay that guests can come to. Raises UserError, MediaSilent, MediaFailed."""
    check_udp(config.bind, config.udp_port)
    relay = Relay(config, await _listeners(config))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(relay.run)
        with trio.move_on_after(READY_S_MAX):
            await relay.ready.wait()
        if not relay.ready.is_set():
            raise MediaSilent(seconds=READY_S_MAX)
        yield relay
        nursery.cancel_scope.cancel()


async def _listeners(config: RelayConfig) -> list[Listener]:
    try:
        found = await trio.open_tcp_listeners(config.http_port, host=config.bind, backlog=BACKLOG)
    except OSError as error:
        raise HttpPortUnusable(
            port=config.http_port, address=config.bind, reason=error.strerror
        ) from error
    return list(found)


def _socket(listener: Listener) -> trio.socket.SocketType:
    tcp = listener.transport_listener if isinstance(listener, trio.SSLListener) else listener
    assert isinstance(tcp, trio.SocketListener)
    return tcp.socket


def check_udp(address: str, port: int) -> None:
    """Media binds the port itself; asked here first, so that its owner reads why it cannot."""
    try:
        kind, *_, where = socket.getaddrinfo(
            address, port, type=socket.SOCK_DGRAM, flags=socket.AI_NUMERICHOST
        )[0]
        with socket.socket(kind, socket.SOCK_DGRAM) as trial:
            trial.bind(where)
    except socket.gaierror as error:
        raise AddressUnusable(address=address) from error
    except OSError as error:
        if error.errno == errno.EADDRNOTAVAIL:
            raise AddressUnusable(address=address) from error
        raise UdpPortUnusable(port=port, address=address, reason=error.strerror) from error
