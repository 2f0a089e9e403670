"""The node itself: how it is, who it is, its page, and everything that happens to it."""

import os
from functools import partial
from typing import TYPE_CHECKING, Annotated, TypedDict

import trio
from multiaddr import Multiaddr

from p2phouse import __version__
from p2phouse.api import EVENTS_QUEUED_MAX, Call, Facts, beside
from p2phouse.drive import clock
from p2phouse.errors import UserError
from p2phouse.identity.keys import key_tag, load_or_create, peer_id
from p2phouse.verbs.declaration import verb
from p2phouse.verbs.facts import Happened, Identity, Mouth, Room, told

if TYPE_CHECKING:
    from p2phouse.node import Node


class NameFixed(UserError):
    """You keep your name for as long as you are in a room. Leave it, then choose another."""


class Status(Identity, Room):
    version: Annotated[str, "of p2phouse"]
    mouth: Mouth
    media_pid: Annotated[int | None, "process id of the media process; null while none runs"]
    media_restarts: Annotated[int, "how often it had to be started again"]
    counters: Annotated[dict[str, int], "bad input so far, by kind"]


class Renamed(TypedDict):
    name: Annotated[str, "what people see from the next room on"]


class PageFile(TypedDict):
    file: Annotated[str, "path of a file; gone once a page has opened by it, or after a minute"]


@verb(page=True, result=Status)
async def status(node: "Node", call: Call) -> Facts:
    """How the node is."""
    return {
        "version": __version__,
        **identity(node),
        "media_pid": node.media.pid,
        "media_restarts": node.media.restarts,
        "counters": dict(node.network.counters),
        "mouth": node.rooms.talk.mouth,
        **node.rooms.facts(),
    }


@verb("id", page=True, result=Identity)
async def show_id(node: "Node", call: Call) -> Facts:
    """Who this node is to others."""
    return identity(node)


def identity(node: "Node") -> Facts:
    return {
        "name": node.me.name,
        "uid": node.me.uid.hex(),
        "key_tag": key_tag(node.me.uid),
        "peer_id": peer_id(node.me.dev),
        "addrs": [str(Multiaddr(addr)) for addr in node.network.addrs],
        "port": node.network.port,
    }


@verb(page=True, result=Renamed)
async def rename(
    node: "Node", call: Call, name: Annotated[str, "at most 40 characters; empty keeps the name"]
) -> Facts:
    """Takes on another name, for the next room and the next start."""
    if node.rooms.room is not None:
        raise NameFixed  # our join names the record that says who we are
    renamed = await trio.to_thread.run_sync(
        partial(load_or_create, node.config.home, now=clock(), entropy=os.urandom, name=name)
    )
    if node.rooms.room is None:
        node.me.record = renamed.record
    return {"name": node.me.name}


@verb(result=PageFile)
async def page(node: "Node", call: Call) -> Facts:
    """Makes the file that leads a browser of this machine to the page, once."""
    return {"file": str(node.new_page_file())}


@verb(tells=(Happened,))
async def events(node: "Node", call: Call) -> Facts:
    """Tells every change of state as it happens, until the asker stops."""
    async with node.events(EVENTS_QUEUED_MAX) as happening:
        over = trio.CancelScope()

        async def until_stopped() -> None:
            await call.stopped.wait()
            over.cancel()

        async def tell_all() -> Facts:
            with over:
                async for event in happening:
                    await call.tell(told(event))
            return {}

        return await beside(until_stopped, tell_all)
