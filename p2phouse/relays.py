"""Relays as this node uses them: asked what they are, asked to carry our rooms, and asked again.

A relay stores nothing: one that was started anew knows of no room. Whoever opened a room and gave
it to a relay therefore asks again while that is not in it.
"""

import logging
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import trio

from p2phouse.errors import P2PHouseError, PeerError, UserError
from p2phouse.hall import relay_ask
from p2phouse.hall.invitation import room_text
from p2phouse.hall.relay_ask import AskCarry, AskPolicy, Said, Verdict
from p2phouse.net.addresses import unpack_all
from p2phouse.net.network import Network
from p2phouse.people.relays import KnownRelay, NoSuchRelay, RelayBook, find
from p2phouse.record import envelope
from p2phouse.record.envelope import Signed
from p2phouse.record.types import Policy, RelayGrant
from p2phouse.room import messages
from p2phouse.room.room import Rooms
from p2phouse.vocabulary import DeviceKey, Now, UserKey, key_short

log = logging.getLogger(__name__)

PORT: Final = 17_472
WEB_ADDRESS: Final = re.compile(r"https?://([A-Za-z0-9.-]{1,253}|\[[0-9a-f:]+\])(:[0-9]{1,5})?")
HTTPS: Final = "https://"
HTTPS_PORT: Final = 443
OTHERS_MAX: Final = 3  # that are asked one after the other, each named by the one before
LOOK_S: Final = 2.0
AGAIN_S: Final = 5.0
AGAIN_S_MAX: Final = 120.0

SAYINGS: Final = {
    Verdict.CARRIED: "it carries the room",
    Verdict.DRAINING: "it is about to be stopped and takes no more rooms",
    Verdict.FULL: "it is full",
    Verdict.NOT_LISTED: "it carries rooms of whom it knows, or with a relay grant",
    Verdict.GRANT_UNFIT: "that relay grant does not count there, or not for this room",
    Verdict.DENIED: "it refuses you",
    Verdict.ROOM_UNFIT: "it cannot carry such a room",
    Verdict.TOO_MANY: "it carries as many of your rooms as it may",
    Verdict.SPENT: "it has sent nearly as much this month as it may, in all or for you",
    Verdict.NOT_THE_HOST: "only whoever opened a room gives it to a relay",
}


class BadRelayAddress(UserError):
    """{given} is no address of a relay. Use HOST, HOST:PORT or https://HOST."""


class CardDamaged(UserError):
    """What {host} shows of itself by HTTPS is damaged ({reason}). Tell who runs it; until then its
    address without https:// may do."""


class NotYours(UserError):
    """Only whoever opened the room gives it to a relay, on the device that opened it."""


class LanRoom(UserError):
    """This room stays on its own network, and no relay carries it. Open one with --access open."""


class Relays:
    """See the module. `run` asks again."""

    def __init__(
        self,
        home: Path,
        rooms: Rooms,
        network: Network,
        act: Callable[[messages.VerbAction], Awaitable[dict[str, object]]],
    ) -> None:
        self._book = RelayBook(home)
        self._rooms = rooms
        self._network = network
        self._act = act
        self._given: dict[UserKey, tuple[KnownRelay, Signed[RelayGrant] | None]] = {}

    async def known(self) -> list[KnownRelay]:
        """Raises UserError."""
        return await trio.to_thread.run_sync(self._book.read)

    async def look(self, text: str) -> KnownRelay:
        """Asks the relay there what it is. Raises P2PHouseError."""
        if text.startswith(HTTPS):
            shown = await self._shown(text.removeprefix(HTTPS).rstrip("/"))
            host, port, dev, addrs = shown.host, shown.port, shown.dev, await self._where(shown)
        else:
            host, port = address_of(text)
            found = await self._network.hello(host, port)
            dev, addrs = DeviceKey(found.dev), found.addrs
        data = await self._network.ask_relay(dev, addrs, relay_ask.write(AskPolicy()))
        return KnownRelay(host, port, relay_ask.read_policy(data, dev))

    async def _shown(self, text: str) -> KnownRelay:
        """By the card at its web address, whose certificate proves that the key is that name's.

        Not yet that it is a relay: only the relay itself proves whom a room's log is to name, and
        says what holds now.
        Raises P2PHouseError.
        """
        host, port = address_of(text, HTTPS_PORT)
        data = await self._network.well_known(host, port)
        try:
            card = envelope.read(data, Policy)
            at = unpack_all(card.record.at)
        except PeerError as error:
            raise CardDamaged(host=host, reason=str(error).rstrip(".")) from error
        return KnownRelay(host, at[0].port if at else PORT, card)

    async def add(self, relay: KnownRelay) -> None:
        """Raises UserError."""
        await trio.to_thread.run_sync(self._book.put, relay)

    async def remove(self, text: str) -> KnownRelay:
        """Raises UserError."""
        return await trio.to_thread.run_sync(self._book.take_off, text)

    async def find(self, text: str) -> KnownRelay:
        """One that is known, else whoever answers there. Raises P2PHouseError."""
        try:
            return find(await self.known(), text)
        except NoSuchRelay:
            return await self.look(text)

    async def give_to_one(
        self, relay: KnownRelay, grant: Signed[RelayGrant] | None
    ) -> list[tuple[KnownRelay, Said]]:
        """The relay, or one that it names in its place; what each said. Raises P2PHouseError.

        Security: only one that the person has added, so that no relay gives a room to whom nobody
        has agreed to.
        Test: test_relay_verbs.py::test_a_relay_that_nobody_added_is_named_and_no_more
        """
        told = [(relay, await self.give(relay, grant))]
        while (another := told[-1][1].another) and len(told) <= OTHERS_MAX:
            try:
                other = find(await self.known(), another)
                if any(other.dev == each.dev for each, _ in told):
                    break
                told.append((other, await self.give(other, grant)))
            except P2PHouseError as error:
                log.info("other_not_asked error=%s", type(error).__name__)
                break
        return told

    async def give(self, relay: KnownRelay, grant: Signed[RelayGrant] | None) -> Said:
        """Has the relay carry our room, and tells the room. Raises P2PHouseError."""
        here = self._rooms.membership
        genesis = here.genesis if here is not None else None
        if here is None or genesis is None or genesis.record.dev != self._network.dev:
            raise NotYours
        said = await self._ask(relay, grant)
        if said.verdict is Verdict.CARRIED:
            await self._act(messages.NameRelay(relay.uid))
            self._given[relay.uid] = (relay, grant)
        return said

    async def guest_link(self) -> str:
        """Where people with only a browser listen to the room that we are in; empty if nowhere, or
        if we know no relay that lets them. Raises UserError."""
        here = self._rooms.membership
        if here is None or not here.has_browsers:
            return ""
        known = [relay for relay, _ in self._given.values()] + await self.known()
        present = {member.uid for member in here.members.values()}
        named = [each for each in known if each.uid in here.log.state.relays and page_of(each)]
        named.sort(key=lambda relay: relay.uid not in present)
        return f"{page_of(named[0])}/r/{room_text(here.room)}" if named else ""

    def forget(self, uid: UserKey) -> None:
        """It is asked no more to come back."""
        self._given.pop(uid, None)

    async def _ask(self, relay: KnownRelay, grant: Signed[RelayGrant] | None) -> Said:
        here = self._rooms.membership
        if here is None or here.genesis is None:
            raise NotYours
        ask = AskCarry(here.genesis, tuple(self._network.addrs), grant)
        addrs = await self._where(relay)
        data = await self._network.ask_relay(relay.dev, addrs, relay_ask.write(ask))
        return relay_ask.read_said(data)

    async def _where(self, relay: KnownRelay) -> tuple[bytes, ...]:
        """Where it is now: as typed first, then as its policy said."""
        try:
            found = await self._network.hello(relay.host, relay.port)
        except UserError:
            return relay.policy.record.at
        if found.dev != relay.dev:
            return relay.policy.record.at
        return found.addrs

    async def run(self) -> None:
        """Until cancelled: asks again those that our room names and that are not in it."""
        again_at: dict[UserKey, float] = {}
        pauses: dict[UserKey, float] = {}
        while True:
            await trio.sleep(LOOK_S)
            now = trio.current_time()
            missing = self._missing()
            for uid in again_at.keys() - missing:
                del again_at[uid], pauses[uid]
            for uid in missing:
                if again_at.setdefault(uid, now + AGAIN_S) > now:
                    continue
                pauses[uid] = min(AGAIN_S_MAX, pauses.get(uid, AGAIN_S) * 1.5)
                again_at[uid] = now + pauses[uid]
                await self._ask_again(uid)

    def _missing(self) -> set[UserKey]:
        """Relays of a room of ours that are not in it."""
        here = self._rooms.membership
        if here is None or not here.joined or here.genesis is None:
            self._given.clear()
            return set()
        if here.genesis.record.dev != self._network.dev:
            return set()
        present = {member.uid for member in here.members.values()}
        return {uid for uid in here.log.state.relays if uid not in present}

    async def _ask_again(self, uid: UserKey) -> None:
        try:
            given = self._given.get(uid)
            if given is None:  # named before this node was started anew
                known = [each for each in await self.known() if each.uid == uid]
                given = (known[0], None) if known else None
            if given is None:
                return
            said = await self._ask(*given)
            log.info("asked_again relay=%s verdict=%s", key_short(given[0].dev), said.verdict.name)
        except P2PHouseError as error:
            log.info("relay_away relay=%s error=%s", key_short(uid), error)


def address_of(text: str, usual: int = PORT) -> tuple[str, int]:
    """HOST, HOST:PORT or [V6]:PORT. Raises BadRelayAddress."""
    host, colon, port = text.rpartition(":")
    if not colon or text.endswith("]"):
        host, port = text, str(usual)
    host = host.removeprefix("[").removesuffix("]")
    if not host or host.startswith(":") or not port.isdigit() or not 0 < int(port) < 65_536:
        raise BadRelayAddress(given=text)
    return host, int(port)


def page_of(relay: KnownRelay) -> str:
    """Its web address, or empty."""
    page = relay.policy.record.page
    # Security: a link of our page would run what a relay writes there instead of an address.
    # Test: test_relay_verbs.py::test_what_is_no_web_address_is_shown_to_nobody
    return page if WEB_ADDRESS.fullmatch(page) else ""


def read_grant(data: bytes, now: Now) -> Signed[RelayGrant]:
    """Raises PeerError."""
    grant = envelope.read(data, RelayGrant)
    envelope.check_time(grant.record, now.unix)
    return grant
