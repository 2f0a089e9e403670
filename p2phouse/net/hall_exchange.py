"""What gossip cannot tell: on a new connection each side says which live cards it holds.

The dialler opens the stream and speaks first, so a connection costs one exchange and not two.
One frame each way: a CBOR array of signed cards, own first.
"""

import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from p2phouse.errors import PeerError
from p2phouse.net.cards import Cards, Verdict
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
FRAME_S: Final = 15.0  # 48 kB at 26 kb/s


class BadHall(PeerError):
    """The cards of a peer came in no readable list: {reason}."""


class HallExchange:
    """Both sides of the exchange."""

    def __init__(
        self,
        *,
        held: Callable[[], Sequence[bytes]],
        cards: Cards,
        heard: Callable[[bytes, DeviceKey], Awaitable[None]],
        faults: Faults,
        first_byte_s: float = FIRST_BYTE_S,
    ) -> None:
        """held: live cards, own first."""
        self._held = held
        self._cards = cards
        self._heard = heard
        self._faults = faults
        self._first_byte_s = first_byte_s

    async def ask(self, wire: Wire) -> None:
        """The dialler's side. Raises LinkError or PeerError."""
        try:
            await wire.send(self._told(near=wire.near))
            await self._hear(wire)
        finally:
            await wire.reset()

    async def answer(self, wire: Wire) -> None:
        """The other side. Raises LinkError or PeerError."""
        await self._hear(wire)
        await wire.send(self._told(near=wire.near))

    def _told(self, *, near: bool) -> bytes:
        told: list[cbor.Value] = []
        room = CARDS_BYTES_MAX
        for card in self._held():
            # Security: a lan room's cards stay on networks attached to this machine.
            if not near and self._cards.verdict(card) is Verdict.TELL_NEAR:
                continue
            if len(told) == CARDS_MAX or len(card) > room:
                break
            told.append(card)
            room -= len(card)
        return cbor.encode(told)

    async def _hear(self, wire: Wire) -> None:
        data = await wire.receive(
            size_max=FRAME_BYTES_MAX, wait_s=self._first_byte_s, frame_s=FRAME_S
        )
        for card in _read(data):
            verdict = self._cards.hear(card)
            # The teller is not its author, but it must check before it tells, as in gossip.
            if verdict is Verdict.FORGED:
                raise BadHall(reason="a card with a fault that is provable")
            if verdict is Verdict.LATE or (verdict is Verdict.TELL_NEAR and not wire.near):
                self._faults.count("hall_useless", dev=wire.dev)
                continue
            await self._heard(card, wire.dev)


def _read(data: bytes) -> list[bytes]:
    """The cards of a frame, none of them checked. Raises PeerError."""
    cards = cbor.decode(data, size_max=FRAME_BYTES_MAX)
    if not isinstance(cards, list) or len(cards) > CARDS_MAX:
        raise BadHall(reason=f"no array of at most {CARDS_MAX}")
    whole = [card for card in cards if isinstance(card, bytes) and len(card) <= Card.SIZE_MAX]
    if len(whole) != len(cards):
        raise BadHall(reason="something else than a card")
    if sum(map(len, whole)) > CARDS_BYTES_MAX:
        raise BadHall(reason=f"more than {CARDS_BYTES_MAX} bytes")
    return whole
