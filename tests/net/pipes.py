"""Streams in memory that behave as libp2p's do, for whatever only needs a wire."""

import trio
from libp2p.network.stream.exceptions import StreamEOF, StreamReset
from trio.testing import memory_stream_pair

from p2phouse.net.wire import Wire
from p2phouse.vocabulary import DeviceKey

ANA, BEN = (DeviceKey(bytes([number]) * 32) for number in (1, 2))


class Stream:
    """One end; what the wire asks of a NetStream."""

    def __init__(self, pipe):
        self._pipe = pipe
        self.is_reset = False
        self.taken = 0  # bytes read from it

    async def read(self, n):
        try:
            data = await self._pipe.receive_some(n)
        except trio.ClosedResourceError:
            raise StreamReset from None
        if not data:
            raise StreamEOF
        self.taken += len(data)
        return bytes(data)

    async def write(self, data):
        try:
            await self._pipe.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise StreamReset from None

    async def close_write(self):
        await self._pipe.send_eof()

    async def reset(self):
        self.is_reset = True
        await self._pipe.aclose()


def wire_pair(*, near=True):
    """Ana's end and Ben's end: each names the other."""
    one, other = memory_stream_pair()
    return Wire(Stream(one), BEN, near=near), Wire(Stream(other), ANA, near=near)


def raw_pair():
    """A wire and the bare stream at its other end, to write anything on."""
    one, other = memory_stream_pair()
    return Wire(Stream(one), BEN, near=True), Stream(other)
