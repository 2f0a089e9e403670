"""The page as the node's microphone and loudspeaker: frames of sound over a local WebSocket.

The page (web/static/sound.js) records and plays; this is the other end of its one socket. It is no
web server: it gives out no file and knows no verb. docs/page-sound.md is its protocol. Any program
of this machine, and any web page open in a browser on it, can reach the port: what is asked of
whoever knocks stands in `_refusal` and `_knows_token`, and everything is bounded.
"""

import asyncio
import base64
import hmac
import logging
import socket
import time
from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from typing import Any, Final

import numpy as np
from websockets.asyncio.server import Server, ServerConnection, broadcast, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from p2phouse.errors import UserError
from p2phouse.sound.files import to_float, to_samples
from p2phouse.sound.lag import BENT_SAMPLES_MAX, Lag
from p2phouse.sound.ring import Ring, Sound, bend
from p2phouse.vocabulary import FRAME_SAMPLES, Frame

log = logging.getLogger(__name__)

PATH: Final = "/sound"
FRAME_BYTES: Final = 2 * FRAME_SAMPLES  # s16le, mono, 48 kHz
PIECE_BYTES: Final = FRAME_BYTES // 2  # 10 ms: a browser hears in such bursts, and ticks wait less
READY: Final = '{"ready":true}'
MESSAGE_BYTES_MAX: Final = 4_096
KNOCKS_MAX: Final = 8  # not let in yet; one of our pages needs one, for some milliseconds
REQUEST_S_MAX: Final = 2.0
TOKEN_S_MAX: Final = 2.0
CLOSING_S_MAX: Final = 0.5  # a frozen page does not hold up the end of the process
HELD_SAMPLES_MAX: Final = 10 * FRAME_SAMPLES  # 200 ms
UNSENT_BYTES_MAX: Final = 10 * (FRAME_BYTES + 4)  # 200 ms, with the head of each message
START_SAMPLES: Final = 2 * FRAME_SAMPLES  # held before the first is spoken, until its lag is known
SILENT_TICKS_MAX: Final = 5  # 100 ms: it is no jitter, the page pauses
AWAITED_TICKS: Final = 100  # 2 s without a page: sound.js tries again after 0.5 and 1 s

BAD_MESSAGE: Final = 4400
BAD_TOKEN: Final = 4401
REPLACED: Final = 4409

# Security: at level debug websockets logs each message, and the first is the token.
# Test: test_page.py::test_the_token_is_in_no_log
_websockets_log: Final = logging.Logger("p2phouse.sound.page.websockets", logging.CRITICAL + 1)


class PageClosed(UserError):
    """The page with the microphone was closed. Open it again: p2phouse page."""


class Page:
    """The socket's one page, if any: what it said lies in `said`, `play` lets it hear."""

    def __init__(
        self, died: Callable[[Exception], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        """died: told of a bug that ended the care for a page; there is no half-life."""
        self._died = died
        self.clock = clock
        self.said = Ring(HELD_SAMPLES_MAX)
        self.said_s = 0.0  # when the last of it came, and how many samples that were
        self.said_last = 0
        self.bad_messages = 0  # what was neither token nor frame
        self.unread_frames = 0  # left out, for the page did not read
        self.connection: ServerConnection | None = None  # of the page that was let in
        self._token = b""
        self._origin = ""
        self._server: Server | None = None
        self._starting = asyncio.Lock()
        self._knocking: dict[ServerConnection, None] = {}  # in the order of their coming
        self._closing: set[asyncio.Task[None]] = set()

    async def open(self, token: bytes, origin: str) -> int | None:
        """Lets in the page of this origin that knows the token, and no other from now on.

        Returns the port, the same each time; None if this machine has no 127.0.0.1.
        """
        self._token = base64.urlsafe_b64encode(token).rstrip(b"=")
        self._origin = origin
        self._replace(None, BAD_TOKEN)
        async with self._starting:
            if self._server is None:
                try:
                    self._server = await self._serve()
                except OSError as error:
                    log.error("page_socket_refused error=%s", error.strerror)
                    return None
        return self._port

    async def close(self) -> None:
        if self._server is not None:
            for connection in list(self._knocking):
                connection.transport.abort()
            self._server.close()
            await self._server.wait_closed()

    def play(self, frame: Frame) -> None:
        """Sends a frame to the page; to nobody without one. A page that does not read misses
        frames: what comes late would only be delay."""
        page = self.connection
        if page is None:
            return
        if page.transport.get_write_buffer_size() > UNSENT_BYTES_MAX - FRAME_BYTES:
            self.unread_frames += 1
            return
        broadcast([page], to_samples(frame).astype("<i2", copy=False).tobytes())

    def hear(self, sound: Sound) -> None:
        """Takes what the page says, until somebody takes it from `said`."""
        self.said.put(sound)
        self.said_s, self.said_last = self.clock(), len(sound)

    # ── who comes in ─────────────────────────────────────────────────────────────────────────

    async def _serve(self) -> Server:
        return await serve(
            self._welcome,
            "127.0.0.1",
            0,
            process_request=self._refusal,
            create_connection=partial(_Connection, self),  # type: ignore[arg-type]  # a factory
            compression=None,
            server_header=None,
            open_timeout=REQUEST_S_MAX,
            ping_interval=None,  # an idle page costs nothing; of a dead one the system tells us
            close_timeout=CLOSING_S_MAX,
            max_size=MESSAGE_BYTES_MAX,
            logger=_websockets_log,
        )

    @property
    def _port(self) -> int:
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    def knocks(self, connection: ServerConnection) -> None:
        """Of too many the oldest gives way, so that silence holds no place."""
        if len(self._knocking) >= KNOCKS_MAX:
            oldest = next(iter(self._knocking))
            del self._knocking[oldest]
            oldest.transport.abort()
        self._knocking[connection] = None

    def leaves(self, connection: ServerConnection) -> None:
        self._knocking.pop(connection, None)
        if self.connection is connection:
            self.connection = None
            log.info("page_gone")

    def _refusal(self, connection: ServerConnection, request: Request) -> Response | None:
        """What is wrong with the request, before anything is answered.

        Security: a name of the attacker's that leads to 127.0.0.1 shows in Host (DNS rebinding);
        another web page in this browser shows in Origin, which no page can forge or leave out.
        Test: test_page.py::test_only_our_page_s_requests_are_answered
        """
        hosts = request.headers.get_all("Host")
        origins = request.headers.get_all("Origin")
        if len(hosts) != 1:
            return connection.respond(HTTPStatus.BAD_REQUEST, "One Host is needed.\n")
        if hosts[0] not in (f"127.0.0.1:{self._port}", f"localhost:{self._port}"):
            return connection.respond(HTTPStatus.MISDIRECTED_REQUEST, "Not this host.\n")
        if origins != [self._origin]:
            return connection.respond(HTTPStatus.FORBIDDEN, "Not this origin.\n")
        if request.path != PATH:
            return connection.respond(HTTPStatus.NOT_FOUND, "Only sound is here.\n")
        return None

    async def _welcome(self, connection: ServerConnection) -> None:
        try:
            if not await self._knows_token(connection):
                log.warning("page_refused code=%d", BAD_TOKEN)
                await connection.close(BAD_TOKEN, "not the token")
                return
            await connection.send(READY)
            self._knocking.pop(connection, None)
            self._replace(connection, REPLACED)
            log.info("page_here")
            await self._listen(connection)
        except ConnectionClosed:
            pass
        except Exception as bug:  # websockets would log it and go on without us
            self._died(bug)

    async def _knows_token(self, connection: ServerConnection) -> bool:
        try:
            async with asyncio.timeout(TOKEN_S_MAX):
                word = await connection.recv()
        except TimeoutError:
            return False
        # Security: in constant time, for a guess must not tell how much of it was right.
        return isinstance(word, str) and hmac.compare_digest(word.encode(), self._token)

    def _replace(self, connection: ServerConnection | None, code: int) -> None:
        """One page has the sound: the newest. The former is told why with `code`."""
        former, self.connection = self.connection, connection
        if former is not None:  # what it sends after our close is not read any more
            closing = asyncio.ensure_future(former.close(code))
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)

    async def _listen(self, connection: ServerConnection) -> None:
        async for message in connection:
            if not isinstance(message, bytes) or len(message) not in (PIECE_BYTES, FRAME_BYTES):
                self.bad_messages += 1
                log.warning("page_refused code=%d", BAD_MESSAGE)
                await connection.close(BAD_MESSAGE, "not a frame")
                return
            self.hear(to_float(np.frombuffer(message, "<i2")))


class _Connection(ServerConnection):
    """Tells the page's socket when somebody comes and goes, from the first byte on."""

    def __init__(self, page: Page, *arguments: Any, **options: Any) -> None:  # noqa: ANN401  # not ours
        super().__init__(*arguments, **options)
        self._page = page

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # The system's own buffer would hold seconds of sound for a page that does not read.
        transport.get_extra_info("socket").setsockopt(
            socket.SOL_SOCKET, socket.SO_SNDBUF, UNSENT_BYTES_MAX
        )
        super().connection_made(transport)
        self._page.knocks(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._page.leaves(self)
        super().connection_lost(exc)


# ── the page as mouth and ear ────────────────────────────────────────────────────────────────


class PageMicrophone:
    """Frames of what the page sends; silence while it sends none.

    Security: this opens nothing. The browser's microphone is opened by a click in the page. Sound
    from before this was made is not taken: it was said while muted.
    """

    def __init__(self, page: Page) -> None:
        self._page = page
        self._ring = page.said
        self._ring.drop(len(self._ring))
        self._lag = Lag()
        self._flows = False
        self._silent_ticks = 0
        self._from: ServerConnection | None = None
        self._awaited_ticks = 0

    def next_frame(self) -> Frame | None:
        """Raises PageClosed if the page is gone, or another one came in its place: that one's
        microphone is closed, and a person who is not heard must see that they are muted."""
        page = self._page.connection
        if self._from is None:
            self._from = page
        if page is None or page is not self._from:
            self._awaited_ticks += 1
            if self._from is not None or self._awaited_ticks > AWAITED_TICKS:
                raise PageClosed
            return np.zeros(FRAME_SAMPLES, np.float32)
        if not self._flows:
            if len(self._ring) < START_SAMPLES:
                return np.zeros(FRAME_SAMPLES, np.float32)
            self._lag, self._flows = Lag(), True
        sound = self._taken()
        self._silent_ticks = 0 if sound is not None else self._silent_ticks + 1
        self._flows = self._silent_ticks <= SILENT_TICKS_MAX
        return np.zeros(FRAME_SAMPLES, np.float32) if sound is None else bend(sound, FRAME_SAMPLES)

    def _taken(self) -> Sound | None:
        page, ring = self._page, self._ring
        surplus = self._lag.surplus(len(ring), page.said_last, page.clock() - page.said_s)
        if surplus > BENT_SAMPLES_MAX:
            ring.drop(surplus)
            self._lag.took(surplus, ticks=0)
            surplus = 0
        sound = ring.take(FRAME_SAMPLES + surplus)
        self._lag.took(0 if sound is None else len(sound))
        return sound

    def skip(self, ticks: int) -> None:
        held = len(self._ring)
        self._ring.drop(ticks * FRAME_SAMPLES)
        self._lag.took(held - len(self._ring), ticks)

    def close(self) -> None:
        pass


class PageLoudspeaker:
    """Plays frames in the page; to nobody while there is none."""

    def __init__(self, page: Page) -> None:
        self._page = page

    def play(self, frame: Frame) -> None:
        self._page.play(frame)

    def skip(self, ticks: int) -> None:
        pass  # the page played silence meanwhile

    def close(self) -> None:
        pass
