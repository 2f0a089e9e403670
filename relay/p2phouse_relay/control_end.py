"""What a process that control started holds of p2phouse/channel.py: nothing here waits."""

import socket
from typing import Final

from p2phouse import channel

UNREAD_BYTES_MAX: Final = 4 * 1024 * 1024  # of a thousand guests that come or go at once: 100 kB
# Of what is said at once: eighty who come, or 2 ms of work. Then sound that has come has its turn.
READ_BYTES: Final = 16 * 1024


class ControlEnd:
    """The socket to control: what it says, in messages, and what it has not read yet."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self.socket = sock
        self._frames = channel.FrameReader("down")
        self._unread = bytearray()

    def say(self, message: channel.Up) -> None:
        self._unread += channel.encode(message)

    @property
    def wants_to_write(self) -> bool:
        return bool(self._unread)

    def write(self) -> None:
        """What control reads now. Raises OSError."""
        try:
            sent = self.socket.send(self._unread)
        except BlockingIOError:
            sent = 0
        del self._unread[:sent]
        if len(self._unread) > UNREAD_BYTES_MAX:
            raise BrokenPipeError("control reads no more")

    def read(self) -> list[channel.Down] | None:
        """What it has said; None if it is gone. Raises OSError, ChannelBroken."""
        try:
            data = self.socket.recv(READ_BYTES)
        except BlockingIOError:
            return []
        return self._frames.feed(data) if data else None  # type: ignore[return-value]
