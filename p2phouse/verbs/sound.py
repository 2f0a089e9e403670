"""Mouth and ear: whether we are heard, and sound from and to files."""

from functools import partial
from typing import TYPE_CHECKING, Annotated, Final, Literal, NotRequired, TypedDict

import trio

from p2phouse.api import EVENTS_QUEUED_MAX, Call, Facts, beside
from p2phouse.errors import UserError
from p2phouse.room import messages
from p2phouse.room.messages import Event, EventKind
from p2phouse.room.talk import StillSpeaking
from p2phouse.verbs.declaration import FilePath, verb
from p2phouse.verbs.facts import Mouth, PeerIdText, Silence

if TYPE_CHECKING:
    from p2phouse.node import Node

FILE_WHOLE_S: Final = 10.0  # a slow disk takes what was heard; milliseconds elsewhere


class StillListening(UserError):
    """What is heard is being written to a file already. Stop that first, with Ctrl-C there."""


class Muting(TypedDict):
    muted: Annotated[bool, "whether we are"]
    mouth: Mouth


class Said(TypedDict):
    began_mono_s: NotRequired[
        Annotated[float, "when the first sample was spoken, on this machine's monotonic clock"]
    ]


class Listening(TypedDict):
    event: Literal["listening"]
    out: FilePath


class Heard(TypedDict):
    out: FilePath
    trouble: Annotated[str, "one sentence if it could not go on, else empty"]
    began_mono_s: NotRequired[
        Annotated[float, "when the first sample was heard, on this machine's monotonic clock"]
    ]


@verb(page=True, result=Muting)
async def mute(node: "Node", call: Call) -> Facts:
    """Our voice is not sent from now on."""
    return await node.act(messages.SetMuted(muted=True))


@verb(page=True, result=Muting)
async def unmute(node: "Node", call: Call) -> Facts:
    """Our voice is sent; the microphone opens if the node was started with one."""
    return await node.act(messages.SetMuted(muted=False))


class Explained(Silence):
    who: Annotated[str, "name, or key tag"]
    peer_id: PeerIdText
    you: Annotated[bool, "true for ourselves"]


class SoundCheck(TypedDict):
    causes: Annotated[list[Explained], "ourselves first, of each the worst first"]


@verb(page=True, result=SoundCheck)
async def sound_check(node: "Node", call: Call) -> Facts:
    """Why somebody in the room is not heard, or we are not, and what helps."""
    membership = node.rooms.membership
    return {"causes": node.rooms.silence.check(membership) if membership is not None else []}


@verb(page=True)
async def page_sound(
    node: "Node",
    call: Call,
    state: Annotated[
        Literal["running", "blocked"], "blocked: the browser plays nothing until it is clicked"
    ],
) -> Facts:
    """The page says whether its browser lets it play."""
    return await node.act(messages.PageSound(blocked=state == "blocked"))


@verb(result=Said)
async def say(node: "Node", call: Call, path: FilePath) -> Facts:
    """Speaks a sound file to its end or until the asker stops, then is as muted as before."""
    if node.rooms.talk.is_saying:
        raise StillSpeaking  # before there is anything that this asker could stop

    async def stop() -> None:
        await call.stopped.wait()
        await node.act(messages.StopSaying())

    return await beside(stop, partial(node.act, messages.Say("file:" + path)))


@verb(result=Heard, tells=(Listening,))
async def listen(node: "Node", call: Call, out: FilePath) -> Facts:
    """Writes what is heard to a WAV file until the asker stops or we leave the room."""
    if node.listening:
        raise StillListening
    before = node.config.ear
    node.listening = True
    try:
        return await _listen(node, call, out, before)
    finally:
        node.listening = False


async def _listen(node: "Node", call: Call, path: str, before: str) -> Facts:
    async with node.events(EVENTS_QUEUED_MAX) as events:
        await node.act(messages.SetEar("file:" + path))
        await call.tell({"event": "listening", "out": path})
        over = trio.CancelScope()

        async def until_stopped() -> None:
            await call.stopped.wait()
            over.cancel()

        async def until_over() -> str:
            with over:
                return await _until_over(events)
            return ""

        try:
            trouble = await beside(until_stopped, until_over)
        finally:
            heard_from = node.rooms.talk.heard_from_mono
            with trio.CancelScope(shield=True):
                if node.rooms.room is not None:
                    await node.act(messages.SetEar(before))
        if heard_from is not None and not trouble:
            with trio.move_on_after(FILE_WHOLE_S):
                await _until(events, EventKind.OUTPUT_ENDED)
    facts: Facts = {"out": path, "trouble": trouble}
    if heard_from is not None:
        facts["began_mono_s"] = heard_from
    return facts


async def _until_over(events: trio.MemoryReceiveChannel[Event]) -> str:
    """Until the room is left or the ear fails; why it failed."""
    async for event in events:
        if event.kind is EventKind.LEFT:
            return ""
        if event.kind is EventKind.SOUND_TROUBLE:
            return event.text
    return ""


async def _until(events: trio.MemoryReceiveChannel[Event], kind: EventKind) -> None:
    async for event in events:
        if event.kind is kind:
            return
