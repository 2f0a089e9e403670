"""One libp2p stream to a proved peer, read and written in frames: u32 length (big-endian), body.

The peer at the other end is the one that the noise handshake proved: `dev` is its device key.
"""

import struct
from collections.abc import Awaitable, Callable
from enum import Enum
from typing import TYPE_CHECKING, Final

import trio

from p2phouse.errors import LinkError, PeerError
from p2phouse.vocabulary import DeviceKey

if TYPE_CHECKING:  # importing libp2p takes a second
    from libp2p.network.stream.net_stream import NetStream

FIRST_BYTE_S: Final = 5.0  # a stream that says nothing costs memory and one of 32 places
FRAME_S: Final = 5.0  # 16 KiB in 5 s is 26 kb/s, slower than any link that carries a voice
SEND_S: Final = 5.0  # with a window of 256 KiB, only who reads nothing takes so long
LINGER_S: Final = 2.0  # for the peer to read the last word and end its side too
VARINT_BYTES_MAX: Final = 5  # 35 bits, more than any length we allow
_LENGTH: Final = struct.Struct("!I")
_READ_BYTES: Final = 16 * 1024
_HELD_BYTES_MAX: Final = 64 * 1024


class Framing(Enum):
    """How a frame says its length."""

    U32 = "four bytes, big-endian"
    VARINT = "as libp2p's own protocols do it: unsigned LEB128"


class WireBroken(LinkError):
    """The connection to that node broke: {reason}."""


class WireEnded(WireBroken):
    """That node closed the connection."""


class FrameTooLong(PeerError):
    """A frame of {size} bytes came where {limit} are allowed."""


class BadLength(PeerError):
    """A frame began with no readable length."""


class TooSlow(PeerError):
    """A frame did not come within {seconds} s."""


def shielded(seconds: float) -> trio.CancelScope:
    """A scope that no cancellation from outside enters and that ends by itself."""
    return trio.CancelScope(deadline=trio.current_time() + seconds, shield=True)


def varint(number: int) -> bytes:
    """Unsigned LEB128."""
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


class Wire:
    """Frames over a stream. One task may read and one may write.

    Whoever is cancelled in `receive` or `send` may have lost half a frame: reset the wire then.
    """

    def __init__(
        self, stream: "NetStream", dev: DeviceKey, *, near: bool, relayed: bool = False
    ) -> None:
        """near: whether the peer is on this machine or on a network attached to it; relayed:
        whether a relay stands between."""
        self.dev = dev
        self.near = near
        self.relayed = relayed
        self._stream = stream
        self._buffer = bytearray()

    async def receive(
        self,
        *,
        size_max: int,
        wait_s: float | None = FIRST_BYTE_S,
        frame_s: float = FRAME_S,
        framing: Framing = Framing.U32,
    ) -> bytes:
        """The next frame's body.

        wait_s: how long its first byte may take, None for ever; frame_s: how long the rest may.
        Raises WireEnded between frames, WireBroken, FrameTooLong before the body is read,
        BadLength, TooSlow.
        """
        if not self._buffer:
            with trio.move_on_after(wait_s if wait_s is not None else float("inf")) as waiting:
                await self._read_some()
            if waiting.cancelled_caught:
                raise TooSlow(seconds=wait_s)
        with trio.move_on_after(frame_s):
            size = await (self._u32() if framing is Framing.U32 else self._varint())
            # Security: the size is judged before a byte of the body is kept.
            if size > size_max:
                raise FrameTooLong(size=size, limit=size_max)
            return await self._read_exactly(size)
        raise TooSlow(seconds=frame_s)

    async def send(self, body: bytes) -> None:
        """Writes one frame. Raises WireBroken; the wire is good for nothing then."""
        await self.write(_LENGTH.pack(len(body)) + body)

    async def send_varint(self, body: bytes) -> None:
        """One frame in libp2p's own way. Raises WireBroken."""
        await self.write(varint(len(body)) + body)

    # ── without frames, when what they agreed upon is a circuit ──────────────────────────────

    async def read(self) -> bytes:
        """What has come, at least a byte of it. Raises WireEnded or WireBroken."""
        if not self._buffer:
            await self._read_some()
        data = bytes(self._buffer)
        self._buffer.clear()
        return data

    async def write(self, data: bytes) -> None:
        """Raises WireBroken; the wire is good for nothing then."""
        with trio.move_on_after(SEND_S) as writing:
            try:
                await self._stream.write(data)
            except Exception as error:
                # libp2p raises a dozen unrelated kinds here; each means the same to us.
                raise WireBroken(reason=type(error).__name__) from error
        if writing.cancelled_caught:
            raise WireBroken(reason="it does not read")

    # ── ends ─────────────────────────────────────────────────────────────────────────────────

    async def close(self) -> None:
        """Ends our direction; the peer may still send. Never raises."""
        await self._quietly(self._stream.close_write)

    async def finish(self) -> None:
        """Ends our direction and waits a moment for the peer to end its own. Never raises.

        Security: a stream whose end nobody waits for stays in the connection, where the peer may
        go on filling it.
        """
        await self.close()
        await self.wait_closed(seconds=LINGER_S)
        await self.reset()

    async def wait_closed(self, *, seconds: float) -> bool:
        """Waits for the peer to end the stream; False if it stands after that. Keeps what comes."""
        with trio.move_on_after(seconds):
            try:
                while len(self._buffer) < _HELD_BYTES_MAX:
                    await self._read_some()
            except WireBroken:
                return True
        return False

    async def reset(self) -> None:
        """Ends both directions at once. Never raises."""
        await self._quietly(self._stream.reset)

    async def _quietly(self, end: Callable[[], Awaitable[None]]) -> None:
        with shielded(1.0):
            try:
                await end()
            except Exception:
                return  # it is gone already, by any of libp2p's errors

    async def _u32(self) -> int:
        size: int = _LENGTH.unpack(await self._read_exactly(_LENGTH.size))[0]
        return size

    async def _varint(self) -> int:
        size = 0
        for position in range(VARINT_BYTES_MAX):
            byte = (await self._read_exactly(1))[0]
            size |= (byte & 0x7F) << (7 * position)
            if byte < 0x80:
                return size
        raise BadLength

    async def _read_exactly(self, size: int) -> bytes:
        while len(self._buffer) < size:
            await self._read_some()
        data = bytes(self._buffer[:size])
        del self._buffer[:size]
        return data

    async def _read_some(self) -> None:
        try:
            data = await self._stream.read(_READ_BYTES)
        except Exception as error:
            # As in `send`; StreamEOF is the clean end.
            if type(error).__name__ == "StreamEOF" and not self._buffer:
                raise WireEnded from error
            raise WireBroken(reason=type(error).__name__) from error
        if not data:
            raise WireEnded
        self._buffer += data
