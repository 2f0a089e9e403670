"""The room's chat: writing, reading, taking back, pins, and the moderators' own channel."""

from typing import TYPE_CHECKING, Annotated, Literal, TypedDict

from p2phouse.api import Call, Facts
from p2phouse.record import limits
from p2phouse.record.types import Act, ChatKind
from p2phouse.room.messages import Decide, Write
from p2phouse.verbs.declaration import Between, verb
from p2phouse.verbs.facts import ChatMode, Entries, KeyTag, Uid

if TYPE_CHECKING:
    from p2phouse.node import Node

TYPED_CHARS_MAX = 2_000  # before white space is collapsed
Words = Annotated[
    str, "one line of at most 500 characters and 720 bytes", Between(1, TYPED_CHARS_MAX)
]
MessageId = Annotated[str, "its id, or at least four digits of its beginning", Between(1, 64)]


class Written(TypedDict):
    id: Annotated[str, "of the record, 64 hexadecimal digits"]


class Message(TypedDict):
    id: Annotated[str, "of the record, 64 hexadecimal digits"]
    n: Annotated[int, "rises with what one device writes"]
    by: Annotated[KeyTag, "of its author"]
    by_uid: Annotated[Uid, "of its author"]
    name: Annotated[str, "of its author, or empty"]
    text: Annotated[str, "empty once it is deleted"]
    at_s: Annotated[int, "seconds since 1970 by its author's clock"]
    mine: Annotated[bool, "whether we wrote it"]
    deleted: Annotated[bool, "whether somebody took it back"]


class Chat(TypedDict):
    messages: Annotated[list[Message], "in their order, the last of them; none of blocked people"]
    pins: Annotated[list[Message], "three at most"]
    mods: Annotated[list[Message], "the moderators' channel; empty for whom it is not"]
    mode: ChatMode


@verb(page=True, result=Written)
async def chat(node: "Node", call: Call, text: Words) -> Facts:
    """Writes to everybody in the room."""
    return await node.act(Write(ChatKind.TEXT, text))


@verb(page=True, result=Chat)
async def messages(
    node: "Node",
    call: Call,
    since: Annotated[int, "seconds since 1970: what is older is left out", Between(0, 2**40)] = 0,
) -> Facts:
    """What is shown of the room's chat."""
    return node.rooms.chat(since)


@verb(page=True, result=Written)
async def unsay(node: "Node", call: Call, message: MessageId) -> Facts:
    """Takes a message back: ours, or as one who runs the room that of somebody below."""
    return await node.act(Write(ChatKind.DELETE, ref=message))


@verb(page=True, result=Written)
async def pin(
    node: "Node",
    call: Call,
    text: Annotated[str, "a link or one line of at most 200 characters", Between(1, 1_000)],
) -> Facts:
    """Pins a text for everybody; the last three pins are shown."""
    return await node.act(Write(ChatKind.PIN, text))


@verb(page=True, result=Written)
async def unpin(node: "Node", call: Call, message: MessageId) -> Facts:
    """Takes a pin off."""
    return await node.act(Write(ChatKind.UNPIN, ref=message))


@verb(page=True, result=Written)
async def mods(node: "Node", call: Call, text: Words) -> Facts:
    """Writes to those who run the room alone."""
    return await node.act(Write(ChatKind.MODS, text))


@verb(page=True, result=Entries)
async def chat_mode(
    node: "Node",
    call: Call,
    mode: Annotated[
        Literal["on", "off"] | Annotated[int, Between(1, limits.SLOW_MODE_S_MAX)],
        "a number: slow mode, of one message a person in so many seconds",
    ],
) -> Facts:
    """Switches the chat on, off or to slow mode; those who run the room may always write."""
    value: bool | int = mode == "on" if isinstance(mode, str) else mode
    return await node.act(Decide(Act.CHAT, value=value))
