"""Nodes of one machine meet through sockets in the run-time directory, without any network.

Each node binds a Unix datagram socket there; who starts sends the same hello request to every
socket it sees, and is asked back. Sockets whose process is gone are removed by whoever notices.
"""

import contextlib
import errno
import logging
import os
import socket as stdlib_socket
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Final

import trio

from p2phouse.errors import PeerError, UserError
from p2phouse.net import hello
from p2phouse.net.addresses import Address, unpack_all
from p2phouse.net.faults import Faults
from p2phouse.net.hello import HelloAnswerer
from p2phouse.vocabulary import DeviceKey, Entropy

log = logging.getLogger(__name__)

PREFIX: Final = "hello-"
SUFFIX: Final = ".sock"
SOCKETS_MAX: Final = 64  # asked in one directory; more nodes than one machine carries
ASK_AGAIN_S: Final = 30.0
PATH_BYTES_MAX: Final = 107  # sun_path of unix(7), less its final zero

Found = Callable[[DeviceKey, Sequence[Address]], Awaitable[None]]
Tell = Callable[[UserError], Awaitable[None]]


class PathTooLong(UserError):
    """Nodes of this machine cannot meet: the path {path} is longer than sockets allow.
    Choose a shorter run-time directory (XDG_RUNTIME_DIR)."""


class RuntimeDirUnusable(UserError):
    """Nodes of this machine cannot meet in {path} ({reason})."""


class Machine:
    """Asks and answers on this node's own socket."""

    def __init__(
        self,
        runtime_dir: Path,
        *,
        answerer: HelloAnswerer,
        addrs: Callable[[], list[bytes]],
        found: Found,
        trouble: Tell,
        entropy: Entropy,
        faults: Faults,
        ask_again_s: float = ASK_AGAIN_S,
    ) -> None:
        """addrs: where nodes of this machine may dial, loopback first."""
        self._dir = runtime_dir
        self._answerer = answerer
        self._addrs = addrs
        self._found = found
        self._trouble = trouble
        self._faults = faults
        self._ask_again_s = ask_again_s
        self._path = runtime_dir / f"{PREFIX}{os.getpid()}-{entropy(4).hex()}{SUFFIX}"
        # One nonce for the life of the socket: replies come out of order and from many.
        self._nonce, self._request = hello.request(entropy)
        self._asked: set[str] = set()

    async def run(self) -> None:
        """Meets the others until cancelled. Raises PathTooLong or RuntimeDirUnusable."""
        if len(os.fsencode(self._path)) > PATH_BYTES_MAX:
            raise PathTooLong(path=self._path)
        plain = stdlib_socket.socket(stdlib_socket.AF_UNIX, stdlib_socket.SOCK_DGRAM)
        with trio.socket.from_stdlib_socket(plain) as socket:
            try:
                # Both at once, so that it is never seen with other rights.
                plain.bind(str(self._path))
                self._path.chmod(0o600)
            except OSError as error:
                raise RuntimeDirUnusable(path=self._dir, reason=error.strerror) from error
            try:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._listen, socket)
                    while True:
                        self._asked.clear()
                        await self._ask_all(socket)
                        await trio.sleep(self._ask_again_s)
            finally:
                with contextlib.suppress(OSError):
                    self._path.unlink()

    async def _ask_all(self, socket: trio.socket.SocketType) -> None:
        try:
            paths = sorted(self._dir.glob(f"{PREFIX}*{SUFFIX}"))
        except OSError as error:
            self._faults.count("runtime_dir", error.strerror or "")
            return
        for path in paths[:SOCKETS_MAX]:
            if path != self._path:
                await self._ask(socket, str(path))

    async def _ask(self, socket: trio.socket.SocketType, path: str) -> None:
        self._asked.add(path)
        try:
            # Never wait for somebody else's full socket: it is asked again later.
            with trio.move_on_after(0.5):
                await socket.sendto(self._request, path)
        except OSError as error:
            if error.errno == errno.ECONNREFUSED:
                log.info("stale_socket_removed")
                with contextlib.suppress(OSError):
                    os.unlink(path)

    async def _listen(self, socket: trio.socket.SocketType) -> None:
        while True:
            try:
                datagram, source = await socket.recvfrom(hello.REQUEST_BYTES + 1)
            except OSError as error:
                self._faults.count("hello_socket", error.strerror or "")
                await trio.sleep(0.05)
                continue
            await self._receive(socket, datagram, source if isinstance(source, str) else "")

    async def _receive(self, socket: trio.socket.SocketType, datagram: bytes, source: str) -> None:
        """A reply to us, or a question; both end in knowing the other."""
        with contextlib.suppress(PeerError):
            heard = hello.check(datagram, self._nonce)
            try:
                hello.check_versions(heard)
            except hello.VersionsApart as error:
                await self._trouble(error)
            else:
                await self._found(DeviceKey(heard.dev), unpack_all(heard.addrs))
            return
        answer = self._answerer.answer(datagram, source, addrs=self._addrs())
        # Security: answers go only to sockets of this directory, whatever path the asker bound.
        if answer is None or not self._is_ours(source):
            return
        with contextlib.suppress(OSError), trio.move_on_after(0.5):
            await socket.sendto(answer, source)
        if source not in self._asked and len(self._asked) < SOCKETS_MAX:
            await self._ask(socket, source)

    def _is_ours(self, source: str) -> bool:
        path = Path(source)
        return path.parent == self._dir and path.name.startswith(PREFIX)
