"""Who may come in: access, the lobby, and invites."""

from typing import TYPE_CHECKING, Annotated, Literal, TypedDict

import trio

from p2phouse.api import Call, Facts
from p2phouse.drive import clock
from p2phouse.identity.keys import key_tag, peer_id
from p2phouse.qr import matrix
from p2phouse.room import messages
from p2phouse.room.lobby import Waiting
from p2phouse.verbs.declaration import Between, Who, verb
from p2phouse.verbs.facts import ACCESSES, Entries, KeyTag, PeerIdText, Uid

if TYPE_CHECKING:
    from p2phouse.node import Node

Knocker = Annotated[Who, "a name, key tag or PeerId of `lobby`"]


class Knock(TypedDict):
    name: Annotated[str, "as the person wrote it, or empty"]
    uid: Uid
    key_tag: KeyTag
    peer_id: PeerIdText
    waits_s: Annotated[int, "for how long"]
    invited: Annotated[bool, "has an invite that only its maker can take"]
    followed: Annotated[bool, "whether you follow that person"]


class Lobby(TypedDict):
    people: Annotated[list[Knock], "those who wait, the longest first"]


class InviteLink(TypedDict):
    link: Annotated[str, "lets in whoever joins by it"]
    expires: Annotated[int, "until when, in unix seconds"]
    once: Annotated[bool, "whether only the first"]


class Qr(TypedDict):
    size: Annotated[int, "modules a side, with the white border"]
    rows: Annotated[list[str], "from the top; 1 is a dark module, 0 a light one"]


@verb(page=True, result=Qr)
async def qr(node: "Node", call: Call, text: Annotated[str, "a link", Between(1, 1_024)]) -> Facts:
    """Draws a link as a QR code."""
    rows = await trio.to_thread.run_sync(matrix, text)
    return {"size": len(rows), "rows": rows}


@verb(page=True, result=Entries)
async def access(
    node: "Node",
    call: Call,
    value: Annotated[Literal["open", "social", "closed"], "who may come in"],
) -> Facts:
    """Says who may come in from now on. Who is in the room stays."""
    return await node.act(messages.SetAccess(ACCESSES[value]))


@verb(page=True, result=Lobby)
async def lobby(node: "Node", call: Call) -> Facts:
    """Who waits to be let in."""
    waiting = node.rooms.waiting
    people = sorted(waiting, key=lambda each: each.since)
    return {"people": [_knock(node, each) for each in people]}


def _knock(node: "Node", waiting: Waiting) -> Facts:
    return {
        "name": waiting.name,
        "uid": waiting.uid.hex(),
        "key_tag": key_tag(waiting.uid),
        "peer_id": peer_id(waiting.dev),
        "waits_s": max(0, int(clock().mono - waiting.since)),
        "invited": waiting.invite is not None,
        "followed": waiting.uid in node.rooms.following,
    }


@verb(page=True, result=Entries)
async def admit(node: "Node", call: Call, who: Knocker) -> Facts:
    """Lets in somebody who waits."""
    return await node.act(messages.Admit(who))


@verb(page=True)
async def refuse(node: "Node", call: Call, who: Knocker) -> Facts:
    """Turns away somebody who waits; for a minute nobody hears that person knock again."""
    return await node.act(messages.Refuse(who))


@verb(page=True, result=InviteLink)
async def invite_link(
    node: "Node",
    call: Call,
    hours: Annotated[int, "for how long, but not longer than the room", Between(1, 24)] = 24,
    once: Annotated[bool, "for one person; this node must be in the room then"] = False,
) -> Facts:
    """Makes a link that lets people in without waiting."""
    return await node.act(messages.MakeInvite(hours, once))
