"""Offers and answers: one stream each, the signed offer in, the signed answer out, closed.

Only between the two ends and never flooded, because an offer holds a node's network addresses.
"""

from collections.abc import Awaitable, Callable
from typing import Final

import trio

from p2phouse.net.events import NetEvent, OfferHeard
from p2phouse.net.wire import FIRST_BYTE_S, TooSlow, Wire, WireBroken

PROTOCOL: Final = "/p2phouse/signal/1"
OFFER_BYTES_MAX: Final = 2_048
ANSWER_S: Final = 8.0  # the answerer gathers candidates and signs: 0.2 s, more on a busy machine


class NoAnswer(WireBroken):
    """That node did not answer the offer."""


async def ask(wire: Wire, offer: bytes, *, answer_s: float = ANSWER_S) -> bytes:
    """Sends an offer and returns the answer, unchecked. Raises LinkError or PeerError."""
    try:
        await wire.send(offer)
        return await wire.receive(size_max=OFFER_BYTES_MAX, wait_s=answer_s)
    except (TooSlow, WireBroken) as error:
        raise NoAnswer from error
    finally:
        await wire.reset()


async def answer(
    wire: Wire,
    emit: Callable[[NetEvent], Awaitable[None]],
    *,
    first_byte_s: float = FIRST_BYTE_S,
    answer_s: float = ANSWER_S,
) -> None:
    """Serves one inbound offer. Raises PeerError; an offer nobody answers is closed in silence."""
    offer = await wire.receive(size_max=OFFER_BYTES_MAX, wait_s=first_byte_s)
    outbox, replies = trio.open_memory_channel[bytes](1)

    def reply(data: bytes) -> None:
        try:
            outbox.send_nowait(data)
        except (trio.WouldBlock, trio.BrokenResourceError):
            return  # answered twice, or too late: the offerer has given up

    await emit(OfferHeard(wire.dev, offer, reply))
    with replies, trio.move_on_after(answer_s) as waiting:
        data = await replies.receive()
    if waiting.cancelled_caught:
        await wire.reset()
        return
    await wire.send(data)
