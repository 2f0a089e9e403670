"""Finds nodes on the LAN by DNS-SD: says that somebody is here, not who.

The record carries a random id that changes each hour and the port of hello, so a listener in a
café learns that p2phouse runs and no more. zeroconf (RFC 6762, RFC 6763) blocks and has a thread of
its own: all of it runs in worker threads, and its callbacks cross by `run_sync_soon` into a
bounded queue.
"""

import contextlib
import ipaddress
import logging
import random
import traceback
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import trio
from zeroconf import Error as ZeroconfError
from zeroconf import IPVersion, ServiceBrowser, ServiceInfo, ServiceStateChange, Zeroconf

from p2phouse.errors import PeerError, UserError
from p2phouse.net import hello
from p2phouse.net.addresses import Address, IPAddress, IPNetwork, is_attached, unpack_all
from p2phouse.net.faults import Faults
from p2phouse.net.quiet import quieten
from p2phouse.vocabulary import DeviceKey, Entropy

log = logging.getLogger(__name__)

SERVICE: Final = "_p2phouse._udp.local."
ID_BYTES: Final = 8
ROTATE_S: Final = 3_600.0
ASK_AGAIN_S: Final = 30.0  # a connection lost long ago, or a node that was out of reach:
ASK_AGAIN_S_MAX: Final = 960.0  # the pause doubles with each silence, so false names cost little
SERVICES_MAX: Final = 256
QUEUE_MAX: Final = 256
RESOLVE_MS: Final = 1_500
ASKED_AT_ONCE: Final = 8
ADDRESSES_TRIED_MAX: Final = 4

Found = Callable[[DeviceKey, Sequence[Address]], Awaitable[None]]
Tell = Callable[[UserError], Awaitable[None]]


class NoMulticast(UserError):
    """This system lets p2phouse neither announce itself nor look around in the local network
    ({reason}). Rooms still open by address: p2phouse join HOST:PORT."""


class BadAnnouncement(PeerError):
    """Something in the local network announces itself as p2phouse and is not: {reason}."""


def read_port(properties: dict[bytes, bytes | None]) -> int:
    """The port of hello that a TXT record names. Raises BadAnnouncement."""
    text = properties.get(b"p") or b""
    if not (text.isdigit() and len(text) <= 5 and 0 < int(text) < 65_536):
        raise BadAnnouncement(reason="no port in its TXT record")
    return int(text)


def read_addresses(info: ServiceInfo) -> list[IPAddress]:
    """The addresses to ask, few of them: a record may list any number of anybody's."""
    texts = info.parsed_addresses(IPVersion.All)
    ips = [ipaddress.ip_address(text.partition("%")[0]) for text in texts[:16]]
    usable = [ip for ip in ips if not (ip.is_multicast or ip.is_unspecified)]
    return sorted(set(usable), key=lambda ip: ip.version)[:ADDRESSES_TRIED_MAX]


async def open_zeroconf(ips: Sequence[IPAddress]) -> Zeroconf:
    """Raises NoMulticast."""
    versions = {ip.version for ip in ips}
    of = {4: IPVersion.V4Only, 6: IPVersion.V6Only}
    version = IPVersion.All if len(versions) > 1 else of[versions.pop()]
    opened = partial(Zeroconf, interfaces=[str(ip) for ip in ips], ip_version=version)
    try:
        return await trio.to_thread.run_sync(opened)
    except (OSError, RuntimeError) as error:  # RuntimeError: an address of IPv6 has just gone
        # zeroconf leaves its socket to whoever holds the error, and this one is kept for long.
        traceback.clear_frames(error.__traceback__)
        raise NoMulticast(reason=getattr(error, "strerror", None) or str(error)) from error


@dataclass(slots=True)
class _Service:
    """What we know of a name: who answered under it, or how often nobody did."""

    dev: DeviceKey | None = None
    silences: int = 0
    again_at: float = 0.0


class Lan:
    """Announces this node and asks every node announced for its hello."""

    def __init__(
        self,
        *,
        ips: Sequence[IPAddress],
        port: int,
        networks: Sequence[IPNetwork],
        connected: Callable[[DeviceKey], bool],
        found: Found,
        trouble: Tell,
        rng: random.Random,
        entropy: Entropy,
        faults: Faults,
        ask_again_s: float = ASK_AGAIN_S,
    ) -> None:
        """ips: our addresses to announce, one at least; networks: those they are attached to."""
        self._ips = list(ips)
        self._port = port
        self._networks = networks
        self._connected = connected
        self._found = found
        self._trouble = trouble
        self._rng = rng
        self._entropy = entropy
        self._faults = faults
        self._ask_again_s = ask_again_s
        self._services: OrderedDict[str, _Service] = OrderedDict()
        self._browser: ServiceBrowser | None = None
        self._own_names: set[str] = set()
        self._being_asked: set[str] = set()
        self._places = trio.Semaphore(ASKED_AT_ONCE)

    @property
    def heard(self) -> tuple[int, int]:
        """How many others announce themselves, and how many of those never answered."""
        silent = sum(each.dev is None and each.silences > 0 for each in self._services.values())
        return silent + sum(each.dev is not None for each in self._services.values()), silent

    async def run(self) -> None:
        """Announces and browses until cancelled. Raises NoMulticast."""
        quieten("zeroconf", logging.WARNING)
        zeroconf = await self._open()
        names, heard = trio.open_memory_channel[str](QUEUE_MAX)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._announce, zeroconf)
                await trio.to_thread.run_sync(
                    partial(self._browse, zeroconf, names, trio.lowlevel.current_trio_token())
                )
                nursery.start_soon(self._ask_again, names)
                async for name in heard:
                    if name not in self._own_names | self._being_asked:
                        await self._places.acquire()
                        self._being_asked.add(name)
                        nursery.start_soon(self._ask, zeroconf, name)
        finally:
            with trio.CancelScope(shield=True):
                # Says goodbye for all that was announced; 0.25 s.
                await trio.to_thread.run_sync(self._close, zeroconf)

    async def _open(self) -> Zeroconf:
        """By both versions of IP; by IPv4 alone where IPv6 has none of it. Raises NoMulticast."""
        four = [ip for ip in self._ips if ip.version == 4]
        try:
            return await open_zeroconf(self._ips)
        except NoMulticast:
            if not four or len(four) == len(self._ips):
                raise
            return await open_zeroconf(four)

    async def _announce(self, zeroconf: Zeroconf) -> None:
        """Registers under a new random name each hour and takes the old one back."""
        last: ServiceInfo | None = None
        while True:
            name = f"{self._entropy(ID_BYTES).hex()}.{SERVICE}"
            self._own_names.add(name)
            info = ServiceInfo(
                SERVICE,
                name,
                port=self._port,
                properties={"id": name.partition(".")[0], "p": str(self._port)},
                # Not the machine's name, which often is its owner's.
                server=f"{name.partition('.')[0]}.local.",
                addresses=[ip.packed for ip in self._ips],
            )
            # A random name needs no probing for others of that name: 0.46 s instead of 1.2 s.
            register = partial(zeroconf.register_service, info, cooperating_responders=True)
            await trio.to_thread.run_sync(register)
            log.info("lan_announced interfaces=%d port=%d", len(self._ips), self._port)
            if last is not None:
                await trio.to_thread.run_sync(zeroconf.unregister_service, last)
                self._own_names.discard(last.name)
            last = info
            await trio.sleep(ROTATE_S * self._rng.uniform(0.8, 1.2))

    def _browse(
        self,
        zeroconf: Zeroconf,
        names: trio.MemorySendChannel[str],
        token: trio.lowlevel.TrioToken,
    ) -> None:
        """Starts the browser; called in a worker thread, its callback in zeroconf's own."""

        def put(name: str) -> None:
            try:
                names.send_nowait(name)
            except trio.WouldBlock:
                # Whoever floods the LAN with names delays new ones until the next round.
                self._faults.count("lan_queue_full")
            except trio.BrokenResourceError:
                return

        def changed(name: str, state_change: ServiceStateChange, **unused: object) -> None:
            if state_change is ServiceStateChange.Removed:
                return
            with contextlib.suppress(trio.RunFinishedError):
                token.run_sync_soon(put, name)

        self._browser = ServiceBrowser(zeroconf, SERVICE, handlers=[changed])

    def _close(self, zeroconf: Zeroconf) -> None:
        if self._browser is not None:
            self._browser.cancel()  # or its thread goes on for as long as the process
        zeroconf.close()

    async def _ask_again(self, names: trio.MemorySendChannel[str]) -> None:
        while True:
            await trio.sleep(self._ask_again_s * self._rng.uniform(0.4, 0.6))
            now = trio.current_time()
            for name, service in list(self._services.items()):
                if service.again_at <= now and not self._has(service):
                    with contextlib.suppress(trio.WouldBlock):
                        names.send_nowait(name)

    def _has(self, service: _Service) -> bool:
        return service.dev is not None and self._connected(service.dev)

    async def _ask(self, zeroconf: Zeroconf, name: str) -> None:
        """Resolves one name and asks it for hello; whatever goes wrong is that name's fault."""
        try:
            service = self._services.get(name) or _Service()
            if self._has(service):
                return
            self._remember(name, service)
            resolve = partial(zeroconf.get_service_info, SERVICE, name, RESOLVE_MS)
            # Not abandoned when we end: zeroconf must not close under it.
            info = await trio.to_thread.run_sync(resolve)
            if info is not None:
                await self._ask_addresses(service, read_addresses(info), read_port(info.properties))
            else:
                self._services.pop(name, None)  # it said goodbye
        except (PeerError, ValueError, ZeroconfError) as error:
            # Security: names come from the network, and zeroconf raises on those it cannot read.
            self._faults.count("lan_announcement", error)
        except hello.VersionsApart as error:
            log.info("lan_versions_apart")
            await self._trouble(error)
        except UserError:
            self._faults.count("lan_silent")  # announced, but no hello: a firewall, or it left
        finally:
            self._being_asked.discard(name)
            self._places.release()

    async def _ask_addresses(self, service: _Service, ips: Sequence[IPAddress], port: int) -> None:
        for ip in ips:
            # Security: anybody may announce anything, so only neighbours are ever sent a packet.
            if not is_attached(ip, self._networks):
                self._faults.count("lan_far_address")
                continue
            with contextlib.suppress(hello.NobodyAnswers):
                heard, _ = await hello.ask(str(ip), port, entropy=self._entropy)
                service.dev = DeviceKey(heard.dev)
                service.silences = 0
                told = [
                    each for each in unpack_all(heard.addrs) if is_attached(each.ip, self._networks)
                ]
                addresses = list(dict.fromkeys([Address(ip, port), *told]))
                await self._found(service.dev, addresses)
                return
        service.silences += 1
        pause_s = min(ASK_AGAIN_S_MAX, self._ask_again_s * 2.0**service.silences)
        service.again_at = trio.current_time() + pause_s
        raise hello.NobodyAnswers(host="-", port=port)

    def _remember(self, name: str, service: _Service) -> None:
        self._services[name] = service
        self._services.move_to_end(name)
        while len(self._services) > SERVICES_MAX:
            self._services.popitem(last=False)
