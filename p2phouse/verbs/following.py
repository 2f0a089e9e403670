"""Whom the owner of this node follows. Nobody else is told."""

from functools import partial
from typing import TYPE_CHECKING, Annotated, TypedDict

import trio

from p2phouse.api import Call, Facts
from p2phouse.drive import clock
from p2phouse.errors import UserError
from p2phouse.identity.keys import key_tag
from p2phouse.record import limits
from p2phouse.record.schema import is_plain_text, one_line
from p2phouse.verbs.declaration import Between, verb
from p2phouse.verbs.facts import KeyTag, Uid
from p2phouse.vocabulary import UserKey

if TYPE_CHECKING:
    from p2phouse.node import Node

Somebody = Annotated[
    str,
    "a name, key tag or PeerId of `members` or `lobby`, key tag of a host of `rooms`, or a `uid`",
    Between(1, 200),
]
GivenName = Annotated[str, "what you call that person", Between(0, limits.NAME_CODE_POINTS_MAX)]


class NobodyKnown(UserError):
    """Nobody whom this node knows is called “{text}”. Use the key tag of somebody in your room or
    of the host of a listed one, or a person's whole key."""


class NotFollowed(UserError):
    """You do not follow “{text}”. `p2phouse following` lists whom you do."""


class NameNotPlain(UserError):
    """A name holds neither control characters nor ones that turn the direction of text.
    Leave them out."""


class YouYourself(UserError):
    """That is you. Follow somebody else."""


class Followed(TypedDict):
    uid: Uid
    key_tag: KeyTag
    name: Annotated[str, "what you call that person, or empty"]


class FollowedPeople(TypedDict):
    people: Annotated[list[Followed], "those whom you follow, the first first"]


@verb(page=True, result=Followed)
async def follow(node: "Node", call: Call, who: Somebody, name: GivenName = "") -> Facts:
    """Marks a person as one you follow: listed first, and let into social rooms that you run."""
    uid, known_as = _known(node, who)
    if uid == node.me.uid:
        raise YouYourself
    called = one_line(name) or known_as
    if not is_plain_text(called):
        raise NameNotPlain
    people = await trio.to_thread.run_sync(partial(node.following.put, uid, called))
    await node.follow(people)
    return _followed(uid, people[uid])


@verb(page=True, result=Followed)
async def unfollow(
    node: "Node",
    call: Call,
    who: Annotated[str, "a name, key tag or `uid` of `following`", Between(1, 200)],
) -> Facts:
    """Takes a person off that list. Who is in a room of yours stays in."""
    people = await trio.to_thread.run_sync(node.following.read)
    wanted = who.casefold()
    found = [
        uid for uid, name in people.items() if wanted in (name.casefold(), key_tag(uid), uid.hex())
    ]
    if len(found) != 1:
        raise NotFollowed(text=who)
    left = await trio.to_thread.run_sync(partial(node.following.take_off, found[0]))
    await node.follow(left)
    return _followed(found[0], people[found[0]])


@verb(page=True, result=FollowedPeople)
async def following(node: "Node", call: Call) -> Facts:
    """Whom you follow."""
    people = await trio.to_thread.run_sync(node.following.read)
    return {"people": [_followed(uid, name) for uid, name in people.items()]}


def _followed(uid: UserKey, name: str) -> Facts:
    return {"uid": uid.hex(), "key_tag": key_tag(uid), "name": name}


def _known(node: "Node", who: str) -> tuple[UserKey, str]:
    """The person meant, and the name that one goes by. Raises NobodyKnown, or SeveralCalled."""
    near = node.rooms.people_near(who)
    if near is not None:
        return near
    wanted = who.casefold()
    for card in node.rooms.directory.live(clock()):
        host = UserKey(card.genesis.record.uid)
        if wanted == key_tag(host):
            return host, ""
    if len(who) == 64 and set(wanted) <= set("0123456789abcdef"):
        return UserKey(bytes.fromhex(wanted)), ""
    raise NobodyKnown(text=who)
