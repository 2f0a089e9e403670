"""What works between this machine and others, in words: the doctor."""

from collections.abc import Iterator, Sequence
from ctypes.util import find_library
from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated, TypedDict

import trio

from p2phouse.api import Call, Facts
from p2phouse.identity.keys import key_tag
from p2phouse.net.addresses import Address
from p2phouse.net.doctor import Finding, diagnose
from p2phouse.net.examination import shares_network
from p2phouse.sound.devices import PortAudioMissing, SounddeviceMissing
from p2phouse.verbs.declaration import verb

if TYPE_CHECKING:
    from p2phouse.node import Node


class Found(TypedDict):
    what: Annotated[str, "a code, listed below"]
    ok: Annotated[bool | None, "null: nothing to judge, or no way to tell"]
    text: Annotated[str, "what is so, one sentence"]
    next: Annotated[str, "what to do, or empty"]


class Findings(TypedDict):
    findings: list[Found]


@verb(page=True, result=Findings)
async def doctor(node: "Node", call: Call) -> Facts:
    """Looks at the network, the routers, the clock and the sound of this machine."""
    seen = await node.network.examine(apart=lambda outside: _apart(node, outside))
    findings = [
        *diagnose(seen),
        *_tunnelled(node),
        *_relay_only(node),
        await trio.to_thread.run_sync(_sound, node),
    ]
    return {
        "findings": [
            {"what": each.what, "ok": each.ok, "text": each.text, "next": each.next}
            for each in findings
        ]
    }


def _apart(node: "Node", outside: Sequence[Address | None]) -> list[str]:
    """Who is in our room, behind our router, on our network, and without a link to us."""
    membership = node.rooms.membership
    interfaces = node.network.interfaces
    return [
        member.name or key_tag(member.uid)
        for member in (membership.members.values() if membership is not None else ())
        if not member.link_up and shares_network(member.cands, outside, interfaces)
    ]


def _tunnelled(node: "Node") -> Iterator[Finding]:
    membership = node.rooms.membership
    if membership is not None and any(each.is_tunnelled for each in membership.members.values()):
        yield Finding(
            "tunnel",
            True,
            "Sound goes through HTTPS to the relay of this room, because UDP is blocked: it is "
            "heard later than elsewhere.",
        )


def _relay_only(node: "Node") -> Iterator[Finding]:
    membership = node.rooms.membership
    if not node.config.relay_only or membership is None:
        return
    if any(member.link_up for member in membership.members.values()):
        yield Finding("relay_only", True, "Sound comes through one of your relays.")
    else:
        yield Finding(
            "relay_only",
            False,
            "None of your relays is in this room, so no sound reaches you without showing others "
            "where you are.",
            "Ask who runs your relay to join this room with it, or start without --relay-only.",
        )


def _sound(node: "Node") -> Finding:
    mouth = node.config.mouth
    explained = node.rooms.silence.of(node.me.dev)
    if explained:
        return Finding("sound", False, explained[0].text, explained[0].remedy)
    if mouth.startswith("device"):
        for missing, error in (
            (find_spec("sounddevice") is None, SounddeviceMissing()),
            (find_library("portaudio") is None, PortAudioMissing()),
        ):
            if missing:
                return Finding("sound", False, str(error), "Or use the page: p2phouse page.")
        return Finding("sound", True, "The sound devices of this machine are microphone and ear.")
    if mouth == "page":
        return Finding("sound", True, "The page is microphone and ear: p2phouse page opens it.")
    if mouth == "none":
        return Finding(
            "sound",
            None,
            "This node has no microphone.",
            "Start it without --no-page, or with --audio device.",
        )
    return Finding("sound", True, "This node speaks from a file or a tone, and has no ear.")
