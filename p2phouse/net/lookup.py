"""A search in the distributed table of rooms: the nearest peers known are asked for nearer ones.

libp2p's own search waits for the slowest of each round, forgets what it has found when its time is
over, and follows whatever a peer invents. Here each answer counts at once, a silent peer holds
nobody up, and who names peers that are not there is believed no more.
"""

import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Final

import trio

from p2phouse.errors import LinkError, PeerError
from p2phouse.hall.shelf import distance
from p2phouse.identity.keys import PEER_ID_PREFIX
from p2phouse.vocabulary import DeviceKey, key_short

log = logging.getLogger(__name__)

NEAREST: Final = 8  # keep a card; refreshed each 4 min, of which one must live on
AT_ONCE: Final = 4
QUERY_S: Final = 2.0  # dial, handshake, question and answer, from anywhere on earth
ASKED_MAX: Final = 40
CANDIDATES_MAX: Final = 128
TOLD_MAX: Final = 20  # of one answer; Kademlia's k
LIES_MAX: Final = 3  # one in five may have gone since the teller saw it


@dataclass(frozen=True, slots=True)
class Reply:
    """closer: whom the peer knows near to the target; value: what it keeps under the key."""

    closer: tuple[DeviceKey, ...]
    value: bytes | None = None


class Shortlist:
    """Whom to ask next, and who has answered. Pure."""

    def __init__(self, target: bytes, known: Iterable[DeviceKey], *, own: DeviceKey) -> None:
        self._target = target
        self._own = own
        self._candidates: dict[DeviceKey, int] = {}  # not asked yet, with their distances
        self._asked: set[DeviceKey] = set()
        self._answered: dict[DeviceKey, int] = {}
        self._running: dict[DeviceKey, int] = {}
        self._tellers: dict[DeviceKey, DeviceKey] = {}
        self._lies: Counter[DeviceKey] = Counter()
        for dev in known:
            self._add(dev)

    def next(self) -> DeviceKey | None:
        """The nearest that could still be of the nearest; None if there is none now."""
        while self._candidates and len(self._asked) < ASKED_MAX:
            dev = min(self._candidates, key=self._candidates.__getitem__)
            away = self._candidates.pop(dev)
            if self._is_doubted(dev):
                continue
            nearer = [*self._answered.values(), *self._running.values()]
            if sum(other < away for other in nearer) >= NEAREST:
                self._candidates[dev] = away  # unless one of the nearer ones fails us
                return None
            self._asked.add(dev)
            self._running[dev] = away
            return dev
        return None

    def answered(self, dev: DeviceKey, closer: Iterable[DeviceKey]) -> None:
        self._running.pop(dev, None)
        self._answered[dev] = self._away(dev)
        if (teller := self._tellers.get(dev)) is not None:
            self._lies[teller] -= 1
        for told in list(closer)[:TOLD_MAX]:
            self._add(told, dev)

    def failed(self, dev: DeviceKey) -> None:
        self._running.pop(dev, None)
        if (teller := self._tellers.get(dev)) is not None:
            self._lies[teller] += 1

    @property
    def nearest(self) -> list[DeviceKey]:
        """Of those that answered, nearest first."""
        return sorted(self._answered, key=self._answered.__getitem__)[:NEAREST]

    def _add(self, dev: DeviceKey, teller: DeviceKey | None = None) -> None:
        if dev == self._own or dev in self._asked or dev in self._candidates:
            return
        self._candidates[dev] = self._away(dev)
        if teller is not None:
            self._tellers.setdefault(dev, teller)
        if len(self._candidates) > CANDIDATES_MAX:
            del self._candidates[max(self._candidates, key=self._candidates.__getitem__)]

    def _is_doubted(self, dev: DeviceKey) -> bool:
        # Security: keys can be made up as near as one likes; each costs us a dial and a wait.
        return self._lies[self._tellers.get(dev, self._own)] >= LIES_MAX

    def _away(self, dev: DeviceKey) -> int:
        return distance(self._target, PEER_ID_PREFIX + dev)


async def search(
    shortlist: Shortlist,
    ask: Callable[[DeviceKey], Awaitable[Reply]],
    *,
    spawn: Callable[[Callable[[], Awaitable[None]]], None],
    heard: Callable[[DeviceKey, Reply], None] = lambda dev, reply: None,
    query_s: float = QUERY_S,
) -> None:
    """Until nobody nearer is left to ask; the caller bounds the time.

    ask: raises LinkError or PeerError. spawn: runs a question, which may take longer to end than
    we wait for it: a stream that is being opened cannot be cut short.
    """
    outbox, outcomes = trio.open_memory_channel[tuple[DeviceKey, Reply | None]](ASKED_MAX)
    until: dict[DeviceKey, float] = {}

    async def query(dev: DeviceKey) -> None:
        reply: Reply | None = None
        with trio.move_on_after(query_s):
            try:
                reply = await ask(dev)
            except (LinkError, PeerError) as error:
                log.debug("query_failed peer=%s error=%s", key_short(dev), error)
        try:
            outbox.send_nowait((dev, reply))
        except trio.BrokenResourceError:
            return  # the search is over

    def ask_some() -> None:
        while len(until) < AT_ONCE and (dev := shortlist.next()) is not None:
            until[dev] = trio.current_time() + query_s

            async def run(dev: DeviceKey = dev) -> None:
                await query(dev)

            spawn(run)

    with outcomes:
        ask_some()
        while until:
            with trio.move_on_at(min(until.values())):
                dev, reply = await outcomes.receive()
                if reply is not None:
                    shortlist.answered(dev, reply.closer)
                    heard(dev, reply)
                elif dev in until:
                    shortlist.failed(dev)
                until.pop(dev, None)
            now = trio.current_time()
            for dev in [dev for dev, end in until.items() if end <= now]:
                del until[dev]
                shortlist.failed(dev)
            ask_some()
