"""Rooms that are not in the hallway, or whose host is gone: looked for in the table of rooms."""

import re
from typing import TYPE_CHECKING, Final

from p2phouse.api import Call
from p2phouse.drive import clock
from p2phouse.errors import LinkError, UserError
from p2phouse.hall import invitation
from p2phouse.hall.card import RoomCard, read_card
from p2phouse.hall.invitation import Invitation
from p2phouse.record.types import Access
from p2phouse.room import messages
from p2phouse.vocabulary import RoomId

if TYPE_CHECKING:
    from p2phouse.node import Node

WHOLE_ID: Final = re.compile(r"\s*([0-9a-fA-F]{64})\s*")


class RoomNotFound(UserError):
    """Nobody answered for that room: {reason}. Ask somebody who is in it for a join link."""


async def look_up(node: "Node", call: Call, text: str) -> None:
    """Has the hallway know the room whose whole id `text` is. Raises RoomNotFound."""
    whole = WHOLE_ID.fullmatch(text)
    if whole is None or node.rooms.room is not None:
        return
    room = RoomId(bytes.fromhex(whole[1]))
    if node.rooms.directory.get(room, clock()) is None:
        try:
            await _find(node, call, room)
        except LinkError as error:
            raise RoomNotFound(reason=error) from error


async def another_way(node: "Node", call: Call, text: str) -> messages.Join | None:
    """How else to reach a room in which nobody answered; None if the table knows no other way."""
    tried = _tried(node, text)
    # Security: to ask is to tell strangers the room's id, with which anybody may knock. Whoever was
    # given a link to a room that nobody lists must not be the one to spread it.
    if tried is None or tried.invite or not _is_for_all(node, tried.room):
        return None
    try:
        card = await _find(node, call, tried.room)
    except LinkError:
        return None
    addrs = card.card.record.at
    if card.publisher == tried.dev and set(addrs) <= set(tried.addrs):
        return None
    way = Invitation(tried.room, card.publisher, addrs)
    return messages.Join(invitation.write(way))


def _tried(node: "Node", text: str) -> Invitation | None:
    """Whom a join by `text` has called."""
    try:
        if text.startswith(invitation.SCHEME):
            return invitation.read(text)
        card = node.rooms.directory.find(text, clock())
        return Invitation(card.room, card.publisher, card.card.record.at)
    except UserError:
        return None


def _is_for_all(node: "Node", room: RoomId) -> bool:
    """Whether its card goes round among nodes that know nobody in it, so that its id does."""
    card = node.rooms.directory.get(room, clock())
    return card is not None and card.genesis.record.access in (Access.OPEN, Access.SOCIAL)


async def _find(node: "Node", call: Call, room: RoomId) -> RoomCard:
    """Raises LinkError, which says why there is no card."""
    await call.tell({"event": "calling", "text": "asking other nodes for that room"})
    data = await node.network.find_card(room)
    card = read_card(data, clock())
    await node.hear_card(data, card.publisher)
    return card
