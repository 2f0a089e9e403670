"""One connection of many streams: writes no cancellation can tear, a peer that takes none."""

import pytest
import trio
import trio.testing
from libp2p.stream_muxer.exceptions import MuxedStreamError

from p2phouse.net.host import peer_id_of
from p2phouse.net.muxer import FRAME_BYTES_MAX, UNREAD_BYTES_MAX, WRITE_S, StrictYamux
from p2phouse.vocabulary import DeviceKey

BEN = peer_id_of(DeviceKey(bytes(32)))


class Connection:
    """A secured connection whose other end is the test."""

    is_initiator = True

    def __init__(self, *, write_s=0.0):
        self.written = []
        self.is_closed = False
        self._write_s = write_s
        self._to_us, self._incoming = trio.open_memory_channel[bytes](1_000)
        self._rest = b""

    async def write(self, data):
        await trio.sleep(self._write_s)
        self.written.append(data)

    async def read(self, n):
        while len(self._rest) < n:
            try:
                self._rest += await self._incoming.receive()
            except (trio.EndOfChannel, trio.ClosedResourceError):
                return b""
        data, self._rest = self._rest[:n], self._rest[n:]
        return data

    def send(self, kind, flags, stream, body=b"", *, length=None):
        """A yamux frame from the other end."""
        size = len(body) if length is None else length
        head = bytes([0, kind]) + flags.to_bytes(2, "big") + stream.to_bytes(4, "big")
        self._to_us.send_nowait(head + size.to_bytes(4, "big") + body)

    async def close(self):
        self.is_closed = True
        self._to_us.close()


@pytest.fixture
def flooded():
    return []


@pytest.fixture
def run(nursery, flooded):
    def run(connection):
        muxer = StrictYamux(connection, BEN, flooded=lambda: flooded.append(1))
        nursery.start_soon(muxer.start)
        return muxer

    return run


async def test_a_write_that_was_begun_is_finished_whatever_is_cancelled(run, autojump_clock):
    connection = Connection(write_s=1.0)
    muxer = run(connection)
    with trio.move_on_after(0.5):
        await muxer.open_stream()
    await trio.sleep(2)
    assert len(connection.written) == 1, "else a hole in the numbers would garble all that follows"
    assert not connection.is_closed


async def test_a_connection_that_takes_no_byte_for_five_seconds_is_cut(run, autojump_clock):
    connection = Connection(write_s=float("inf"))
    muxer = run(connection)
    with pytest.raises(MuxedStreamError):
        await muxer.open_stream()
    assert trio.current_time() == pytest.approx(WRITE_S, abs=0.1)
    assert connection.is_closed


async def test_whoever_waits_to_read_is_woken_when_the_connection_is_cut(autojump_clock):
    # Its own reading task may be gone already: libp2p's service has died.
    muxer = StrictYamux(Connection(), BEN, flooded=lambda: None)
    stream = await muxer.open_stream()

    async def cut():
        await trio.sleep(1)
        await muxer.cut()

    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(cut)
            with pytest.raises(Exception, match=r"(?i)shut|closed|removed|reset|eof"):
                await stream.read(1)
    assert trio.current_time() < 1.5


DATA, WINDOW_UPDATE = 0, 1
SYN = 1


@pytest.mark.parametrize(
    ("length", "is_cut"), [(FRAME_BYTES_MAX, False), (FRAME_BYTES_MAX + 1, True)]
)
async def test_a_frame_of_sixty_four_kilobytes_passes_and_one_byte_more_ends_it(
    run, flooded, autojump_clock, length, is_cut
):
    connection = Connection()
    run(connection)
    connection.send(WINDOW_UPDATE, SYN, 2)
    connection.send(DATA, 0, 2, bytes(length))
    await trio.sleep(1)
    assert connection.is_closed is is_cut
    assert bool(flooded) is is_cut


async def test_half_a_megabyte_may_lie_unread_and_not_a_byte_more(run, flooded, autojump_clock):
    connection = Connection()
    run(connection)
    for stream in range(2, 18, 2):  # over many streams, each within its window
        connection.send(WINDOW_UPDATE, SYN, stream)
        connection.send(DATA, 0, stream, bytes(UNREAD_BYTES_MAX // 8))
    await trio.sleep(1)
    assert not connection.is_closed
    connection.send(DATA, 0, 2, b"x")
    await trio.sleep(1)
    assert connection.is_closed
    assert flooded == [1]


async def test_a_peer_is_never_told_that_it_may_send_more_than_may_lie_unread(run, autojump_clock):
    connection = Connection()
    muxer = run(connection)
    await trio.testing.wait_all_tasks_blocked()
    connection.send(WINDOW_UPDATE, SYN, 2)
    stream = await muxer.accept_stream()
    for _ in range(200):
        connection.send(DATA, 0, 2, bytes(32 * 1024))
        await stream.read(32 * 1024)
    granted = [
        int.from_bytes(frame[8:12], "big")
        for frame in connection.written
        if frame[1] == WINDOW_UPDATE and frame[2:4] == b"\0\0"
    ]
    assert 256 * 1024 + sum(granted) - 200 * 32 * 1024 <= UNREAD_BYTES_MAX
