"""Rooms: which there are, and the ways in and out."""

import re
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Annotated, Final, Literal, NotRequired, TypedDict

import trio

from p2phouse.api import EVENTS_QUEUED_MAX, Call, Facts, beside
from p2phouse.drive import clock
from p2phouse.errors import P2PHouseError
from p2phouse.hall.card import RoomCard
from p2phouse.identity.keys import key_tag
from p2phouse.record import limits
from p2phouse.record.types import Access
from p2phouse.relays import LanRoom
from p2phouse.room import messages
from p2phouse.room.stay import NobodyAnswered
from p2phouse.verbs.declaration import Between, verb
from p2phouse.verbs.facts import ACCESSES, AccessName, KeyTag, Room, RoomIdText, Uid
from p2phouse.verbs.finding import another_way, look_up
from p2phouse.verbs.guests import Guests, told
from p2phouse.verbs.relays import Given, give
from p2phouse.vocabulary import DeviceKey

if TYPE_CHECKING:
    from p2phouse.node import Node

# HOST:PORT; a title such as "Tea 10:30" has a space, and a name of a host has none.
TYPED_ADDRESS: Final = re.compile(r"(?!p2ph:)([^\s]+):([0-9]{1,5})")
ROOMS_TOLD_MAX: Final = 200  # 40 kB; who floods the list must not make an answer too long
CARDS_WAIT_S: Final = 3.0  # after a typed address answered: hall exchange takes two round trips


class Seen(TypedDict):
    room: RoomIdText
    title: str
    host: Annotated[KeyTag, "of who opened it"]
    host_uid: Annotated[Uid, "of who opened it"]
    followed: Annotated[bool, "whether you follow whoever opened it"]
    access: AccessName
    people: Annotated[int, "how many are in it, as its card says"]
    age_s: int
    ghost: Annotated[bool, "at the last try to join it nobody in it answered"]


class Hallway(TypedDict):
    rooms: Annotated[
        list[Seen], "ghosts last, those of people you follow first, newest cards first"
    ]


class Calling(TypedDict):
    event: Literal["calling"]
    text: Annotated[str, "who is being asked, and for what"]


@verb(page=True, result=Hallway)
async def rooms(node: "Node", call: Call) -> Facts:
    """The rooms this node can see now."""
    now = clock()
    followed = node.rooms.following
    live = node.rooms.directory.live(now)
    ghosts = node.rooms.ghosts
    live.sort(key=lambda card: (card.room in ghosts, card.genesis.record.uid not in followed))
    return {"rooms": [_seen(node, card, now.unix) for card in live[:ROOMS_TOLD_MAX]]}


def _seen(node: "Node", card: RoomCard, now_unix: float) -> Facts:
    genesis = card.genesis.record
    return {
        "room": card.room.hex(),
        "title": genesis.title,
        "host": key_tag(genesis.uid),
        "host_uid": genesis.uid.hex(),
        "followed": genesis.uid in node.rooms.following,
        "access": genesis.access.name.lower(),
        "people": card.card.record.nspk + card.card.record.nlis,
        "age_s": max(0, int(now_unix - genesis.created)),
        "ghost": card.room in node.rooms.ghosts,
    }


class Knocking(TypedDict):
    event: Literal["knocking"]
    text: Annotated[str, "what we wait for"]


class Opened(Room):
    relay: NotRequired[Annotated[Given, "what the relay said that was to carry it"]]
    guests_here: NotRequired[Annotated[Guests, "of our network, if they were asked for"]]


@verb("open", page=True, result=Opened)
async def open_room(
    node: "Node",
    call: Call,
    title: Annotated[str, "at most 80 bytes"],
    stage: Annotated[
        Literal["everyone", "invited"], "who may speak: who comes, or who is asked to the stage"
    ] = "everyone",
    access: Annotated[AccessName, "who may come in"] = "open",
    lan: Annotated[bool, "the same as `access` lan"] = False,
    speakers: Annotated[
        int, "places on the stage", Between(1, limits.SPEAKERS_MAX)
    ] = limits.SPEAKERS_MAX,
    relay: Annotated[str, "of whom it is to be carried, as of relay_use; empty: nobody"] = "",
    grant: Annotated[str, "a relay grant, or empty"] = "",
    guests: Annotated[bool, "whether people of our network may listen in a browser"] = False,
) -> Facts:
    """Opens a room and is in it, muted. A relay that does not carry it leaves it as it is, and so
    do guests who cannot come."""
    who = ACCESSES["lan" if lan else access]
    if relay and who is Access.LAN:
        raise LanRoom
    opened = await node.act(messages.Open(title, who, stage, speakers))
    if guests:
        try:
            await node.beside.open()
            opened["guests_here"] = told(node)
        except P2PHouseError as error:
            opened["guests_here"] = told(node, str(error))
    if not relay:
        return opened
    try:
        given = await give(node, relay, grant)
    except P2PHouseError as error:
        given = {"carried": False, "by": "", "text": str(error), "another": ""}
    return {**opened, "relay": given}


@verb(page=True, result=Room, tells=(Calling, Knocking))
async def join(
    node: "Node",
    call: Call,
    room: Annotated[str, "id or the beginning of it, title, `p2ph:` link, or HOST:PORT of a node"],
) -> Facts:
    """Enters a room, muted. Waits for as long as it takes to be let in, ten minutes at most."""
    typed = TYPED_ADDRESS.fullmatch(room)
    if typed and not any(
        card.genesis.record.title == room for card in node.rooms.directory.live(clock())
    ):
        return await _join_at(node, call, typed[1], int(typed[2]))
    await look_up(node, call, room)
    try:
        return await _enter(node, call, messages.Join(room))
    except NobodyAnswered:
        other = await another_way(node, call, room)
        if other is None:
            raise
        return await _enter(node, call, other)


async def _enter(node: "Node", call: Call, way: messages.Join | messages.JoinAt) -> Facts:
    """Comes in; who must knock is told so, and may stop waiting."""
    async with node.events(EVENTS_QUEUED_MAX) as events:

        async def tell_of_waiting() -> None:
            async for event in events:
                if event.kind is messages.EventKind.LOBBY_WAITING:
                    await call.tell({"event": "knocking", "text": event.text})

        async def beside_it() -> None:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(tell_of_waiting)
                await call.stopped.wait()
                membership = node.rooms.membership
                if membership is not None and membership.waits is not None:
                    with suppress(P2PHouseError):
                        await node.act(messages.Leave())

        return await beside(beside_it, partial(node.act, way))


async def _join_at(node: "Node", call: Call, host: str, port: int) -> Facts:
    await call.tell({"event": "calling", "text": f"asking {host}:{port} who it is"})
    found = await node.network.hello(host, port)
    dev = DeviceKey(found.dev)
    node.network.dial(dev, found.addrs)
    async with node.events(EVENTS_QUEUED_MAX) as events:
        with trio.move_on_after(CARDS_WAIT_S):
            while not node.rooms.directory.of(dev, clock()):
                await events.receive()
    return await _enter(node, call, messages.JoinAt(dev))


@verb(page=True)
async def leave(node: "Node", call: Call) -> Facts:
    """Leaves the room, and takes our card of it off the list."""
    await node.act(messages.HandOver())
    return await node.act(messages.Leave())


@verb(page=True, result=Room)
async def continue_room(node: "Node", call: Call) -> Facts:
    """Opens the room in which this one goes on; goes there, muted, if somebody has."""
    return await node.act(messages.Continue())


@verb(page=True, result=Room)
async def move(node: "Node", call: Call) -> Facts:
    """Leaves this room for the one in which it goes on, muted."""
    return await node.act(messages.Move())
