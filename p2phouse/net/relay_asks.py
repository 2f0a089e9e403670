"""Questions to relays: one stream each, a frame in, a frame out. hall/relay_ask.py reads them."""

from collections.abc import Awaitable, Callable
from typing import Final

from p2phouse.net.wire import FIRST_BYTE_S, TooSlow, Wire, WireBroken
from p2phouse.record.limits import RELAY_ASK_BYTES_MAX, RELAY_REPLY_BYTES_MAX
from p2phouse.vocabulary import DeviceKey

PROTOCOL: Final = "/p2phouse/relay/1"
REPLY_S: Final = 8.0  # two signatures are checked and one made; more on a busy machine

Answerer = Callable[[DeviceKey, bytes], Awaitable[bytes]]


class NoReply(WireBroken):
    """That relay did not reply. Is it one? `p2phouse-relay up` runs a relay, `p2phouse up` does
    not."""


async def ask(wire: Wire, question: bytes) -> bytes:
    """Returns what the relay replies, unchecked. Raises LinkError or PeerError."""
    try:
        await wire.send(question)
        return await wire.receive(size_max=RELAY_REPLY_BYTES_MAX, wait_s=REPLY_S)
    except (TooSlow, WireBroken) as error:
        raise NoReply from error
    finally:
        await wire.reset()


async def answer(wire: Wire, answerer: Answerer) -> None:
    """Serves one question. Raises PeerError if it cannot be read."""
    question = await wire.receive(size_max=RELAY_ASK_BYTES_MAX, wait_s=FIRST_BYTE_S)
    await wire.send(await answerer(wire.dev, question))
