"""What gossip cannot tell: on a new connection each side says which live cards it holds.

The dialler opens the stream and speaks first, so a connection costs one exchange and not two.
One frame each way: a CBOR array of signed cards, own first.
"""

import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from p2phouse.errors import PeerError
from p2phouse.net.faults import Faults
from p2phouse.net.wire import FIRST_BYTE_S, Wire
from p2phouse.record import cbor
from p2phouse.record.types import Card
from p2phouse.vocabulary import DeviceKey

log = logging.getLogger(__name__)

PROTOCOL: Final = "/p2phouse/hall/1"
CARDS_MAX: Final = 50
CARDS_BYTES_MAX: Final = 48 * 1024
FRAME_BYTES_MAX: Final = CARDS_BYTES_MAX + 3 * CARDS_MAX + 3  # a CBOR head of 3 bytes for each


class BadHall(PeerError):
    """The cards of a peer came in no readable list: {reason}."""


class HallExchange:
    """Both sides of the exchange."""

    def __init__(
        self,
        *,
        cards: Callable[[], Sequence[bytes]],
        check_card: Callable[[bytes], bool],
        heard: Callable[[bytes, DeviceKey], Awaitable[None]],
        faults: Faults,
        first_byte_s: float = FIRST_BYTE_S,
    ) -> None:
        self._cards = cards
        self._check_card = check_card
        self._heard = heard
        self._faults = faults
        self._first_byte_s = first_byte_s

    async def ask(self, wire: Wire) -> None:
        """The dialler's side. Raises LinkError or PeerError."""
        try:
            await wire.send(self._told())
            await self._hear(wire)
        finally:
            await wire.reset()

    async def answer(self, wire: Wire) -> None:
        """The other side. Raises LinkError or PeerError."""
        await self._hear(wire)
        await wire.send(self._told())
        await wire.close()

    def _told(self) -> bytes:
        told: list[cbor.Value] = []
        room = CARDS_BYTES_MAX
        for card in self._cards()[:CARDS_MAX]:
            if len(card) > room:
                break
            told.append(card)
            room -= len(card)
        return cbor.encode(told)

    async def _hear(self, wire: Wire) -> None:
        data = await wire.receive(size_max=FRAME_BYTES_MAX, wait_s=self._first_byte_s)
        cards = cbor.decode(data, size_max=FRAME_BYTES_MAX)
        if not isinstance(cards, list) or len(cards) > CARDS_MAX:
            raise BadHall(reason=f"no array of at most {CARDS_MAX}")
        for card in cards:
            if not isinstance(card, bytes) or len(card) > Card.SIZE_MAX:
                raise BadHall(reason="something else than a card")
            # The teller is not its author, but it must check before it tells, as in gossip.
            if not self._check_card(card):
                raise BadHall(reason="a card with a fault that is provable")
            await self._heard(card, wire.dev)
