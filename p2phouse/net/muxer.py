"""yamux with the limits that py-libp2p 0.8.1 states and does not keep.

As shipped it logs that a peer exceeds its window and stores the bytes all the same, and a task
cancelled while it writes leaves a hole in the numbers of the noise messages, after which the whole
connection is garbage. Importing this module imports libp2p.
"""

from collections.abc import Callable
from typing import Final

import trio
from libp2p.abc import ISecureConn
from libp2p.io.exceptions import ConnectionClosedError
from libp2p.peer.id import ID
from libp2p.stream_muxer.yamux import yamux
from libp2p.stream_muxer.yamux.yamux import Yamux

from p2phouse.net.wire import shielded

FRAME_BYTES_MAX: Final = 64 * 1024  # what every implementation keeps to
UNREAD_BYTES_MAX: Final = (
    512 * 1024
)  # in one connection; our streams carry frames of 64 KiB at most
WRITE_S: Final = 5.0  # a connection that takes no byte for so long is dead

# The window may not grow beyond the first offer: 16 MiB a stream is a server's.
yamux.MAX_WINDOW_SIZE = yamux.DEFAULT_WINDOW_SIZE


class StrictYamux(Yamux):  # type: ignore[misc]  # libp2p has no types that hold
    """One connection's streams, bounded in memory and safe to be cancelled in."""

    def __init__(self, conn: ISecureConn, peer_id: ID, *, flooded: Callable[[], None]) -> None:
        """flooded: told when the peer sent more than it may; the connection ends then."""
        super().__init__(conn, peer_id, is_initiator=conn.is_initiator, on_close=_nothing)
        self._flooded = flooded

    async def _write_frame(self, data: bytes) -> None:
        if self.event_shutting_down.is_set():
            raise ConnectionClosedError("it is closing")  # libp2p would write into the void
        with shielded(WRITE_S) as writing:
            await super()._write_frame(data)
        if writing.cancelled_caught:
            # Half a message may be out, so nothing may follow it.
            await self.cut()
            raise ConnectionClosedError("it takes no bytes")

    async def _read_data_body(self, length: int) -> bytes:
        unread = sum(map(len, self.stream_buffers.values()))
        if length > FRAME_BYTES_MAX or unread + length > UNREAD_BYTES_MAX:
            # Security: else a peer fills our memory through one stream that nobody reads.
            self._flooded()
            raise trio.TooSlowError  # the one exception upon which libp2p ends the connection
        body: bytes = await super()._read_data_body(length)
        return body

    async def _measure_rtt_loop(self) -> None:
        """Nothing: the windows do not grow, and `keepalive.py` pings less and better."""

    async def cut(self) -> None:
        """Closes the socket: whoever is stuck writing to it or reading from it ends at once.

        libp2p wakes readers only in a close that was not cancelled, nor will ever be called again.
        """
        self.event_shutting_down.set()
        for event in self.stream_events.values():
            event.set()
        with shielded(1.0):
            await self.secured_conn.close()


async def _nothing() -> None:
    return
