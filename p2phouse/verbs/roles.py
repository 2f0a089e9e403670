"""Running the room: seats, roles, title, lock and end, each an entry of the room's log."""

import secrets
from typing import TYPE_CHECKING, Annotated, Literal, TypedDict
from urllib.parse import quote

from p2phouse.api import BadRequest, Call, Facts
from p2phouse.drive import clock
from p2phouse.guest import tokens
from p2phouse.hall import invitation
from p2phouse.identity.keys import key_tag, peer_id
from p2phouse.record import limits
from p2phouse.record.schema import is_plain_text, one_line
from p2phouse.record.types import Act
from p2phouse.room import rules
from p2phouse.room.messages import Decide, NameVoice
from p2phouse.room.stay import standing
from p2phouse.verbs.declaration import Between, Who, verb
from p2phouse.verbs.facts import Entries, KeyTag, LevelName, RoleName

if TYPE_CHECKING:
    from p2phouse.node import Node


class Deciding(TypedDict):
    """An entry of the log that decided."""

    id: Annotated[str, "of the entry, 64 hexadecimal digits"]
    act: Literal["grant", "revoke", "role"]
    value: str | None
    by: Annotated[KeyTag, "of who wrote it"]


class Why(TypedDict):
    key_tag: KeyTag
    role: RoleName
    level: LevelName
    entries: Annotated[list[Deciding], "those that made the person what it is"]


@verb(page=True, result=Entries)
async def grant(node: "Node", call: Call, who: Who, seat: Literal["host", "moderator"]) -> Facts:
    """Gives a person a seat from which to run the room."""
    return await node.act(Decide(Act.GRANT, who, seat))


@verb(page=True, result=Entries)
async def revoke(node: "Node", call: Call, who: Who) -> Facts:
    """Takes all seats of a person back. What was done from them so far goes on counting."""
    return await node.act(Decide(Act.REVOKE, who))


@verb(page=True, result=Entries)
async def role(
    node: "Node",
    call: Call,
    who: Annotated[str, "as in `grant`; empty for all who have no role of their own"],
    role: Annotated[
        Literal["speaker", "muted", "listener", "remove", "ban"],
        "`remove` may come back after a minute, to listen; for all: one of the first three",
    ],
) -> Facts:
    """Says what a person is in the room; every member's node sees to it."""
    if role not in (rules.ROLES if who else rules.DEFAULTS):
        raise BadRequest(reason=f"nobody can be made {role}")
    return await node.act(Decide(Act.ROLE, who, role))


@verb(page=True, result=Entries)
async def title(node: "Node", call: Call, title: Annotated[str, "at most 80 characters"]) -> Facts:
    """Gives the room another title."""
    text = one_line(title)
    if not text or len(text) > limits.TITLE_CODE_POINTS_MAX or not is_plain_text(text):
        raise BadRequest(reason=f"a title has 1 to {limits.TITLE_CODE_POINTS_MAX} characters")
    return await node.act(Decide(Act.TITLE, value=text))


@verb(page=True, result=Entries)
async def lock(node: "Node", call: Call) -> Facts:
    """Lets nobody in who was not in the room, but those whom its log names."""
    return await node.act(Decide(Act.LOCK, value=True))


@verb(page=True, result=Entries)
async def unlock(node: "Node", call: Call) -> Facts:
    """Lets people in again."""
    return await node.act(Decide(Act.LOCK, value=False))


@verb(page=True, result=Entries)
async def end(node: "Node", call: Call) -> Facts:
    """Ends the room for everybody."""
    return await node.act(Decide(Act.END))


class GuestToken(TypedDict):
    token: Annotated[str, "of whoever is to speak by a relay, with an encoder that speaks WHIP"]
    key_tag: KeyTag
    path: Annotated[str, "of the address that the encoder is given, at the relay; ends with a name"]


@verb(page=True, result=GuestToken)
async def guest_token(
    node: "Node",
    call: Call,
    name: Annotated[str, "under which the guest speaks, before the relay’s", Between(1, 40)],
) -> Facts:
    """Lets somebody without a node speak in our room through its relay, by a token."""
    seed = secrets.token_bytes(tokens.SEED_BYTES)
    uid = tokens.person_of(seed, clock())
    await node.act(NameVoice(uid))
    room = node.rooms.room
    assert room is not None
    path = f"/whip/{invitation.room_text(room)}/{quote(name, safe='')}"
    return {"token": tokens.write(seed), "key_tag": key_tag(uid), "path": path}


@verb(page=True, result=Why)
async def why(
    node: "Node", call: Call, who: Annotated[str, "as in `grant`; empty for ourselves"] = ""
) -> Facts:
    """Says which entries of the log made a person what it is in the room."""
    uid, membership = node.rooms.person(who or peer_id(node.me.dev)), node.rooms.membership
    assert membership is not None
    deciding = membership.log.state.why(uid)
    return {
        "key_tag": key_tag(uid),
        **standing(membership, uid),
        "entries": [
            {
                "id": each.id.hex(),
                "act": each.record.act.name.lower(),
                "value": each.record.val,
                "by": key_tag(each.record.uid),
            }
            for each in deciding
        ],
    }
