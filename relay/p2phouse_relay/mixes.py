"""`GET /r/{room}/listen.webm`: a room as one voice over plain HTTP, for whoever has only a player.

One mix of a room serves all who read it: a header, then clusters from now on. The mixer is a
process that lives while anybody listens; voices go on to it as to one more media process, so
nobody waits for it. If it dies, the next one goes on. A stream ends when its room does. Who reads
too slowly misses what is old.
"""

import logging
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from itertools import chain
from typing import Final
from urllib.parse import unquote_plus

import trio

from p2phouse.channel import CloseGuestRoom, Down, GuestRole, GuestSlots, Mixed, Up
from p2phouse.drive import clock
from p2phouse.guest import webm
from p2phouse.guest.across import Pairs
from p2phouse.guest.exchange import CORS, Headers, Reply, Request, later, said
from p2phouse.guest.http import OF_ONE_SOURCE_MAX, holder_of
from p2phouse.guest.resources import Guests
from p2phouse.guest.shards import MIXER, To
from p2phouse.media import MediaFailed, MediaProcess

log = logging.getLogger(__name__)

FILE: Final = "listen.webm"
ROOMS_MAX: Final = 32  # mixed at one time, with 1 to 2 % of a core each (bench room_mix)
UNREAD_MAX: Final = 20  # clusters, 2 s: what is older is not live any more
IDLE_S: Final = 30.0  # without a mix the mixer ends
FAILED_S: Final = 60.0  # a mixer that will not live is not tried again for so long

HEADERS: Final[Headers] = (
    ("content-type", "audio/webm"),
    ("cache-control", "no-store"),
    ("accept-ranges", "none"),
    ("x-content-type-options", "nosniff"),
    ("cross-origin-resource-policy", "cross-origin"),
)
PREFLIGHT: Final[Headers] = (
    ("access-control-allow-methods", "GET, HEAD, OPTIONS"),
    ("access-control-allow-headers", "authorization"),
    ("access-control-max-age", "86400"),
)


class Listener:
    """One reader of a mix: a Stream (guest/exchange.py)."""

    def __init__(
        self, room: int, name: str, holder: str, leave: Callable[["Listener"], None]
    ) -> None:
        """holder: by whom places are counted (guest/http.py)."""
        self.room = room
        self.holder = holder
        self.name = name  # of the room
        self._leave = leave
        self._first = webm.header()
        self._unread: deque[bytes] = deque()
        self._news = trio.Event()
        self._is_over = False

    def offer(self, cluster: bytes) -> None:
        """The next; what was not read for so long that it is late is left out."""
        # Security: who does not read takes no memory for it.
        # Test: test_mixes.py::test_who_reads_slowly_misses_what_is_old_and_holds_up_nobody
        if len(self._unread) >= UNREAD_MAX:
            self._unread.clear()
        self._unread.append(cluster)
        self._news.set()

    def end(self) -> None:
        self._is_over = True
        self._news.set()

    async def next(self) -> bytes:
        while not self._first and not self._unread:
            if self._is_over:
                return b""
            self._news = trio.Event()
            await self._news.wait()
        data = self._first + b"".join(self._unread)
        self._first = b""
        self._unread.clear()
        return data

    def close(self) -> None:
        self._leave(self)


class Mixes:
    """`reply` answers, `run` cares for the mixer, and `send` tells it. Call `tick` each second."""

    def __init__(
        self,
        guests: Guests,
        perform: Callable[[Iterable[To]], Awaitable[None]],
        heard: Callable[[int, Up], Awaitable[None]],
        pairs: Pairs,
    ) -> None:
        """perform: has processes do what `guests` gave. heard: what the mixer says of slots."""
        self._guests = guests
        self._perform = perform
        self._slots_heard = heard
        self._pairs = pairs
        self._listeners: dict[int, set[Listener]] = {}  # by the room's number
        self._left: list[Listener] = []
        self._of_holder: Counter[str] = Counter()
        self._wanted = trio.Event()
        self._mixer = self._new_mixer()
        self._life = trio.CancelScope()
        self._idle_s = self._failed_s = 0.0

    def _new_mixer(self) -> MediaProcess:
        level = logging.getLevelName(logging.getLogger().getEffectiveLevel())
        own = self._pairs.own(MIXER)
        return MediaProcess(
            self._heard,
            self._go_on,
            module="p2phouse_relay.mixer",
            arguments=(f"--across={own}", f"--log={level}"),
            pass_fds=(own,),
        )

    @property
    def pid(self) -> int | None:
        """Of the mixer, if there is one."""
        return self._mixer.pid

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self._wanted.wait()
            with trio.CancelScope() as self._life:
                try:
                    await self._mixer.run()
                except MediaFailed as error:
                    log.error("mixer_failed error=%s", error)
                    self._failed_s = clock().mono + FAILED_S
                    await self._give_up()
            self._mixer = self._new_mixer()
            if self._listeners:  # somebody came as it ended
                await self._go_on()
            else:
                self._wanted = trio.Event()

    # ── listeners ────────────────────────────────────────────────────────────────────────────

    async def reply(self, request: Request) -> Reply | None:
        """None if it asks for something else."""
        match request.path.split("/"):
            case ["", "r", name, last] if last == FILE:
                reply = await self._reply(_with_token(request), name)
                self._guests.refused += reply.status == 503
                return replace(reply, headers=(*CORS, *reply.headers))
        return None

    async def _reply(self, request: Request, name: str) -> Reply:
        if request.method == "OPTIONS":
            return Reply(204, PREFLIGHT)
        if request.method not in ("GET", "HEAD"):
            return said(405, "get it", ("allow", "GET, HEAD, OPTIONS"))
        if refusal := self._guests.refusal_to_tune_in(request, name):
            return refusal
        if clock().mono < self._failed_s or len(self._listeners) >= ROOMS_MAX:
            return later(30, "nothing more can be mixed here now")
        if request.method == "HEAD":
            return Reply(200, HEADERS)
        holder = holder_of(request.source)
        # Security: nobody has all places, not by a proxy either, whose connections are all its own.
        # Test: test_mixes.py::test_who_asks_again_and_again_leaves_places_for_others
        if self._of_holder[holder] >= OF_ONE_SOURCE_MAX:
            return later(30, "as many listen so from one address as may")
        room, outputs = self._guests.tune_in(name)
        self._guests.joined[GuestRole.LISTENER] += 1
        listener = Listener(room, name, holder, self._leave)
        self._of_holder[holder] += 1
        self._listeners.setdefault(room, set()).add(listener)
        self._idle_s = clock().mono + IDLE_S
        self._wanted.set()
        try:
            await self._perform(outputs)
        except BaseException:  # whoever asked took too long: nobody will close its stream
            listener.close()
            raise
        return Reply(200, HEADERS, stream=listener)

    def _leave(self, listener: Listener) -> None:
        """Its place is free with the next tick: a player that asks again at once finds the mix."""
        self._of_holder[listener.holder] -= 1
        if not self._of_holder[listener.holder]:
            del self._of_holder[listener.holder]
        listeners = self._listeners.get(listener.room, set())
        if listener in listeners:
            listeners.remove(listener)
            self._left.append(listener)

    # ── what ends ────────────────────────────────────────────────────────────────────────────

    async def tick(self) -> None:
        """Who left is gone; mixes that nobody hears any more end, and after a while the mixer."""
        left, self._left = self._left, []
        for listener in left:
            await self._perform(self._guests.tune_out(clock(), listener.room))
        if self._listeners:
            self._idle_s = clock().mono + IDLE_S
        elif self._wanted.is_set() and clock().mono > self._idle_s:
            self._life.cancel()

    async def send(self, message: Down) -> None:
        if isinstance(message, CloseGuestRoom):
            self._end(message.room)
        await self._mixer.send(message)

    async def _give_up(self) -> None:
        """Nobody mixes any more: streams end, and whoever comes later begins a mix anew."""
        for each in [*chain.from_iterable(self._listeners.values()), *self._left]:
            each.end()
            await self._perform(self._guests.tune_out(clock(), each.room))

    def _end(self, room: int) -> None:
        """The room is mixed no more, and streams of it end."""
        for listener in self._listeners.pop(room, set()):
            listener.end()
        self._left = [each for each in self._left if each.room != room]

    async def _heard(self, message: Up) -> None:
        match message:
            case Mixed(room, cluster):
                for listener in self._listeners.get(room, ()):
                    listener.offer(cluster)
            case GuestSlots():
                await self._slots_heard(MIXER, message)

    async def _go_on(self) -> None:
        """Another mixer is told what the one before it was."""
        outputs = self._guests.gone(clock(), MIXER)
        for listener in [*chain.from_iterable(self._listeners.values()), *self._left]:
            outputs += self._guests.tune_in(listener.name)[1]
        await self._perform(outputs)


def _with_token(request: Request) -> Request:
    """A player cannot be told headers: a token in its address counts as if it stood in one. It
    stays there for another relay to which the player may be sent."""
    headers = dict(request.headers)
    for each in request.query.split("&"):
        name, _, value = each.partition("=")
        if name == "token":
            headers.setdefault("authorization", f"Bearer {unquote_plus(value)}")
    return replace(request, headers=headers)
