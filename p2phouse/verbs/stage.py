"""The stage and its audience: hands, invitations, stepping up and down, muting everybody."""

from typing import TYPE_CHECKING, Annotated, Final, TypedDict

from p2phouse.api import BadRequest, Call, Facts
from p2phouse.record import limits
from p2phouse.record.schema import is_plain_text, one_line
from p2phouse.record.types import Act
from p2phouse.room import messages
from p2phouse.room.messages import Decide
from p2phouse.verbs.declaration import Between, Who, verb
from p2phouse.verbs.facts import Asked, Entries, KeyTag, PeerIdText, Uid

if TYPE_CHECKING:
    from p2phouse.node import Node

TYPED_CHARS_MAX: Final = 200  # before white space is collapsed


class Listener(TypedDict):
    name: Annotated[str, "as the person wrote it, or empty"]
    uid: Uid
    key_tag: KeyTag
    peer_id: PeerIdText


class Audience(TypedDict):
    listeners: Annotated[
        list[Listener], "who has that very name first, then who came last; at most 64"
    ]
    people: Annotated[int, "in the room, the stage included"]


@verb(page=True)
async def hand(
    node: "Node",
    call: Call,
    topic: Annotated[
        str, "what it is about, one line of at most 64 characters", Between(0, 200)
    ] = "",
) -> Facts:
    """Raises our hand, or gives it another topic; whoever then makes us a speaker has us on stage,
    muted."""
    text = _plain(topic, "a topic", limits.TOPIC_CODE_POINTS_MAX)
    return await node.act(messages.Hand(text))


@verb(page=True)
async def lower_hand(
    node: "Node",
    call: Call,
    who: Annotated[str, "empty: ours; `*`: everybody's; else whose", Between(0, 200)] = "",
) -> Facts:
    """Lowers our hand; a moderator may also ask another, or all, to lower theirs."""
    return await node.act(messages.LowerHand(who))


@verb(page=True, result=Entries)
async def invite(node: "Node", call: Call, who: Who) -> Facts:
    """Asks a person to the stage; whose hand is up comes at once, muted."""
    return await node.act(messages.Invite(who))


@verb(page=True)
async def accept(node: "Node", call: Call) -> Facts:
    """Comes to the stage, muted: invited, or back after stepping down."""
    return await node.act(messages.Accept())


@verb(page=True)
async def decline(node: "Node", call: Call) -> Facts:
    """Stays in the audience though invited; `accept` goes on being possible."""
    return await node.act(messages.Decline())


@verb(page=True)
async def step_down(node: "Node", call: Call) -> Facts:
    """Leaves the stage for the audience: the microphone closes, the voice ends."""
    return await node.act(messages.StepDown())


@verb(page=True, result=Entries)
async def audience(node: "Node", call: Call, who: Who) -> Facts:
    """Moves a person to the audience, whose voice everybody then drops."""
    return await node.act(Decide(Act.ROLE, who, "listener"))


@verb(page=True, result=Audience)
async def listeners(
    node: "Node",
    call: Call,
    who: Annotated[
        str, "a name or its beginning, a key tag or a PeerId; empty: anybody", Between(0, 200)
    ] = "",
) -> Facts:
    """Who is in the audience. Of who has said nothing a node on the stage knows nothing, so whoever
    runs the room asks those who carry it; others are told of whom their node knows."""
    return await node.act(messages.Listeners(who))


@verb(page=True, result=Asked)
async def mute_all(
    node: "Node",
    call: Call,
    lock: Annotated[
        bool, "enforced by everybody's node until `unmute_all`; else a request"
    ] = False,
) -> Facts:
    """Mutes everybody below us. Without `lock` they are asked, and may unmute."""
    return await node.act(messages.MuteAll(lock))


@verb(page=True, result=Entries)
async def unmute_all(node: "Node", call: Call) -> Facts:
    """Lets everybody whom a moderator muted speak again; each unmutes by hand."""
    return await node.act(messages.UnmuteAll())


@verb(page=True)
async def react(
    node: "Node", call: Call, emoji: Annotated[str, "at most 8 code points", Between(1, 200)]
) -> Facts:
    """Shows everybody a reaction, at most one a second."""
    text = _plain(emoji, "a reaction", limits.REACTION_CODE_POINTS_MAX)
    if not text:
        raise BadRequest(reason="a reaction is missing")
    return await node.act(messages.React(text))


@verb(page=True)
async def typing(
    node: "Node", call: Call, on: Annotated[bool, "say it again with every key: it ends after 10 s"]
) -> Facts:
    """Shows others that we are writing."""
    return await node.act(messages.Typing(on))


def _plain(text: str, what: str, most: int) -> str:
    text = one_line(text)
    if len(text) > most or not is_plain_text(text):
        raise BadRequest(reason=f"{what} has at most {most} characters, all of one line")
    return text
