"""The relays that a person named: who they are, and what follows if they alone may know us.

Each is asked who it is until it says so, and kept in touch with then. With `alone` nobody else sees
our network address: what may be dialled, greeted or linked with is decided here, `network.py` asks.
"""

import ipaddress
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Final

import trio

from p2phouse.config import NamedRelay
from p2phouse.errors import LinkError, UserError
from p2phouse.net.addresses import Address, Circuit, Way, unpack_all
from p2phouse.net.hello import resolve
from p2phouse.record.types import Hello
from p2phouse.vocabulary import DeviceKey

log = logging.getLogger(__name__)

AGAIN_S: Final = 5.0
AGAIN_S_MAX: Final = 300.0


class RelaysAlone(UserError):
    """You chose that only your relays see your network address, and {host}:{port} is none of them.
    Join by a link or from the list of rooms, or start with --relay {host}:{port}."""


class NotThroughRelay(LinkError):
    """it is not reached through your relays, and nobody else may see your network address"""


class NamedRelays:
    """`run` finds them; `devs` grows as they say who they are."""

    def __init__(
        self,
        own: DeviceKey,
        relays: Sequence[NamedRelay],
        *,
        alone: bool,
        hello: Callable[[str, int], Awaitable[Hello]],
        keep: Callable[[DeviceKey, Sequence[Address]], None],
    ) -> None:
        """hello: asks who listens there, raises UserError. keep: keeps in touch with one found."""
        self.alone = alone
        self.devs: set[DeviceKey] = set()
        self._own = own
        self._relays = list(relays)
        self._hello = hello
        self._keep = keep
        self._addresses: set[Address] = set()

    @property
    def count(self) -> int:
        """How many the person named, found or not."""
        return len(self._relays)

    async def run(self) -> None:
        """Until each has said who it is."""
        async with trio.open_nursery() as nursery:
            for named in self._relays:
                nursery.start_soon(self._find, named)

    def add(self, dev: DeviceKey, addresses: Sequence[Address]) -> None:
        """One more that the person named, and that has just said who it is."""
        # Security: whom the node may show itself to was said when it was started.
        if not self.alone and dev != self._own:
            self.devs.add(dev)
            self._keep(dev, addresses)

    # ── what nobody else may know ────────────────────────────────────────────────────────────

    def may_link(self, dev: DeviceKey) -> bool:
        """Whether the peer may learn our network address, as the other end of a link does."""
        return not self.alone or dev in self.devs

    def check_typed(self, host: str, port: int) -> None:
        """Whether an address that the person typed may be asked. Raises RelaysAlone."""
        if self.alone and not any((host, port) == (each.host, each.port) for each in self._relays):
            raise RelaysAlone(host=host, port=port)

    def check(self, way: Way) -> None:
        """Whether a way may be taken. Raises NotThroughRelay."""
        if not self.alone:
            return
        # Security: addresses come from anybody, also those said to be a relay's. Only what the
        # person named is ever dialled.
        if isinstance(way, Address) and not (way in self._addresses or way.ip.is_loopback):
            raise NotThroughRelay
        if isinstance(way, Circuit) and way.through not in self.devs:
            raise NotThroughRelay

    def told_at(self, circuit: Circuit) -> list[Address]:
        """Where a circuit's relay is, so far as it is not known better."""
        # Security: records of strangers say where that relay is; theirs would push out the address
        # that the person gave.
        return [] if circuit.through in self.devs else [circuit.relay]

    # ── finding them ─────────────────────────────────────────────────────────────────────────

    async def _find(self, named: NamedRelay) -> None:
        again_s = AGAIN_S
        while True:
            try:
                dev, addresses = await self._greet(named)
            except UserError as error:
                log.info("named_relay_away error=%s", type(error).__name__)
                await trio.sleep(again_s)
                again_s = min(AGAIN_S_MAX, again_s * 2)
                continue
            if dev != self._own:
                self.devs.add(dev)
                self._keep(dev, addresses)
            return

    async def _greet(self, named: NamedRelay) -> tuple[DeviceKey, list[Address]]:
        """Who the relay is and where. Raises UserError."""
        if named.dev is not None:
            found = await resolve(named.host, named.port)
            told = [Address(ipaddress.ip_address(ip), port) for *_, (ip, port) in found]
        else:
            answer = await self._hello(named.host, named.port)
            named, told = replace(named, dev=DeviceKey(answer.dev)), unpack_all(answer.addrs)
        assert named.dev is not None
        if self.alone:
            del told[1:]  # the one that answered: the rest is what it says of itself
            self._addresses.update(told)
        return named.dev, told
