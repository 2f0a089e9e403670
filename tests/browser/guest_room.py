"""A real relay in this process, whose rooms of nodes are what a test says they are.

Everything a page asks goes the whole way, HTTP and sound; only what carrying fills in from the
room's members (p2phouse_relay/carrying.py) the test fills in itself.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TypeVar

import trio

from p2phouse.guest.facts import Hand, NodeRoom, Pin, Said, SealedRoom, Seat, face_of
from p2phouse.vocabulary import LinkNumber, UserKey
from p2phouse_relay.daemon import Relay, RelayConfig, running
from p2phouse_relay.run import DEV_TERMS

T = TypeVar("T")
NAME = "3fqz7kyv2mbyxw4n5tq2hbrd6clgzjx2o7w5tq3v4n6yqk7ahnsa"
INVITE = f"p2ph:{NAME}?d=12D3KooWQm9&a=/ip4/192.0.2.7/tcp/17472"


def seat(name: str, **facts: str) -> Seat:
    tag = f"{name[:4].lower():x<4}-2j9d"
    plain = Seat(name, tag, face(name), "speaker", "", LinkNumber(0))
    return replace(plain, **facts)  # type: ignore[arg-type]


def face(name: str) -> str:
    return face_of(UserKey(name.lower().encode()))


def word(number: int, name: str, text: str) -> Said:
    its = seat(name)
    return Said(f"{number}", its.name, its.tag, its.face, text, 1_795_000_000 + 60 * number)


FERRY = NodeRoom(
    "Night ferry: songs we learned from our mothers",
    "open",
    stage=(
        seat("Ana", role="host"),
        seat("Vera", role="moderator"),
        seat("Fatou"),
        seat("Kofi", muted="self"),
        seat("Uma", muted="moderator"),
    ),
    listeners=37,
    hands=tuple(Hand(each, seat(each).tag, face(each)) for each in ("Wen", "Rosa")),
    chat=(
        word(1, "Zoé", "Listening from the kitchen. What’s the first one called?"),
        word(2, "Ana", "“Duérmete, luna.” My mother had four verses, her sister had six."),
        word(3, "Wen", "My grandmother sang the second one."),
        word(4, "Emre", "Ana, could you sing the refrain again, slowly?"),
    ),
    pins=(Pin("p1", "Song sheet, 12 pages https://songs.example.org/sheet"),),
    invite=INVITE,
)


class GuestRoom:
    """`name` is the room's in links. `show` says what is so from now on."""

    name = NAME

    def __init__(self, relay: Relay, token: trio.lowlevel.TrioToken) -> None:
        self.relay = relay
        self.http = f"http://127.0.0.1:{relay.http_port}"
        self._token = token

    def show(self, facts: NodeRoom | SealedRoom) -> None:
        self._do(lambda: self.relay.guests.carry(self.name, facts, 1))

    def end(self) -> None:
        self._do(lambda: self.relay.guests.drop(self.name))

    def listeners(self) -> int:
        room = self._do(lambda: self.relay.guests.room(self.name))
        return room.listeners if room is not None else 0

    def _do(self, what: Callable[[], T]) -> T:
        return trio.from_thread.run_sync(what, trio_token=self._token)


@contextmanager
def guest_room() -> Iterator[GuestRoom]:
    config = RelayConfig(
        name="Radio Libre",
        addresses=("127.0.0.1",),
        bind="127.0.0.1",
        http_port=0,
        udp_port=0,
        terms=DEV_TERMS,
    )
    ready, made = threading.Event(), list[GuestRoom]()
    over = trio.Event()

    async def serve() -> None:
        async with running(config) as relay:
            made.append(GuestRoom(relay, trio.lowlevel.current_trio_token()))
            ready.set()
            await over.wait()

    thread = threading.Thread(target=trio.run, args=(serve,))
    thread.start()
    try:
        assert ready.wait(60)
        yield made[0]
    finally:
        if made:
            made[0]._do(over.set)
        thread.join()
