"""Control's end of the media process: starts it, talks to it, starts a new one when it dies.

The child inherits one end of a socketpair. When control ends, however it ends, that end closes
and the child closes the microphone and exits (engine.py).
"""

import logging
import math
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress

import trio

from p2phouse import channel
from p2phouse.errors import P2PHouseError

log = logging.getLogger(__name__)

QUEUE_MESSAGES = 1_024  # commands that media has not read; full pushes back on control
RESTARTS_MAX = 5  # in RESTART_WINDOW_S: then something is wrong that a restart does not mend
RESTART_WINDOW_S = 30.0
READ_BYTES = 64 * 1024
WRITE_BYTES = 64 * 1024


class MediaFailed(P2PHouseError):
    """The sound process ended {count} times within {seconds:.0f} s, last with status {status}.
    Start the node with --log debug and read what it says before it ends."""


class MediaProcess:
    """`send` queues a command for the running child; `heard` is called with what it says."""

    def __init__(
        self,
        heard: Callable[[channel.Up], Awaitable[None]],
        gone: Callable[[], Awaitable[None]],
        *,
        module: str = "p2phouse.engine",
        arguments: tuple[str, ...] = (),
        pass_fds: tuple[int, ...] = (),
    ) -> None:
        """gone: awaited once a child has died, before the next one starts; what is sent from then
        on is the next one's. module: what it runs. pass_fds: what each child inherits besides."""
        self._heard = heard
        self._gone = gone
        self._module = module
        self._arguments = arguments
        self._pass_fds = pass_fds
        self._queue, self._commands = trio.open_memory_channel[channel.Down](QUEUE_MESSAGES)
        self._process: trio.Process | None = None
        self.started = trio.Event()  # the running child has said Started
        self.restarts = 0

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None else None

    async def send(self, message: channel.Down) -> None:
        try:
            self._queue.send_nowait(message)  # without a turn of the loop while there is room
        except trio.WouldBlock:
            await self._queue.send(message)

    async def run(self) -> None:
        """Keeps a media process alive until cancelled. Raises MediaFailed if none will live."""
        deaths: deque[float] = deque(maxlen=RESTARTS_MAX)
        while True:
            status = await self._run_child()
            self.started = trio.Event()
            self.restarts += 1
            log.warning("media_gone status=%s", status)
            deaths.append(trio.current_time())
            since = trio.current_time() - deaths[0] if len(deaths) == RESTARTS_MAX else math.inf
            if since < RESTART_WINDOW_S:
                raise MediaFailed(count=RESTARTS_MAX, seconds=RESTART_WINDOW_S, status=status)
            self._forget_commands()
            await self._gone()

    async def _run_child(self) -> int:
        ours, theirs = socket.socketpair()
        command = [sys.executable, "-m", self._module, str(theirs.fileno()), *self._arguments]
        with theirs:
            process = await trio.lowlevel.open_process(
                command, stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno(), *self._pass_fds]
            )
        self._process = process
        ours.setblocking(False)
        stream = trio.SocketStream(trio.socket.from_stdlib_socket(ours))
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._write, stream)
                await self._read(stream)
                nursery.cancel_scope.cancel()
        finally:
            with trio.CancelScope(shield=True):
                await stream.aclose()
                await _end(process)
        assert process.returncode is not None
        return process.returncode

    async def _write(self, stream: trio.SocketStream) -> None:
        async for message in self._commands:
            data = channel.encode(message)
            with suppress(trio.WouldBlock):  # what waits already goes along: a crowd comes at once
                while len(data) < WRITE_BYTES:
                    data += channel.encode(self._commands.receive_nowait())
            try:
                await stream.send_all(data)
            except trio.BrokenResourceError:
                return  # the reader sees the end and ends this child

    async def _read(self, stream: trio.SocketStream) -> None:
        """Until the child ends or says what is no message."""
        reader = channel.FrameReader("up")
        while True:
            try:
                data = await stream.receive_some(READ_BYTES)
                messages = reader.feed(data)
            except (trio.BrokenResourceError, channel.ChannelBroken) as error:
                log.error("media_channel_broken error=%s", error)
                return
            if not data:
                return
            for message in messages:
                if isinstance(message, channel.Started):
                    self.started.set()
                await self._heard(message)  # type: ignore[arg-type]  # a reader of "up" gives Up

    def _forget_commands(self) -> None:
        """What the dead child did not read means nothing to the next."""
        while True:
            try:
                self._commands.receive_nowait()
            except trio.WouldBlock:
                return


async def _end(process: trio.Process) -> None:
    """Its socket is closed: it has a second to leave by itself, as it does when control dies."""
    with trio.move_on_after(1.0):
        await process.wait()
        return
    process.kill()
    await process.wait()
