"""Carrying the voices of others when a room grows: whether we do, and how much."""

from typing import TYPE_CHECKING, Annotated, Any, Literal, TypedDict

from p2phouse.api import Call, Facts
from p2phouse.choices import CARRY_KBPS_LEAST, CARRY_KBPS_MOST, CARRY_KBPS_USUAL
from p2phouse.errors import UserError
from p2phouse.verbs.declaration import Between, verb

if TYPE_CHECKING:
    from p2phouse.node import Node


class CapOutOfRange(UserError):
    """{kbps} kb/s is no limit for carrying. Choose {least:,} to {most:,}; {usual:,} is usual."""


class Carrying(TypedDict):
    carry: Annotated[
        Literal["auto", "never"],
        "auto: we carry a room of ours that grows, while on mains and not metered",
    ]
    cap_kbps: Annotated[int, "most that we send for others"]
    links: Annotated[int, "how many others we would feed with that"]
    on_mains: Annotated[bool, "false while this machine runs on battery"]
    metered: Annotated[bool, "whether its owner said that what is sent costs money"]
    willing: Annotated[bool, "whether we would carry now, all this considered"]


@verb(page=True, result=Carrying)
async def carry(
    node: "Node",
    call: Call,
    choice: Annotated[Literal["", "auto", "never"], "empty keeps what was chosen"] = "",
    cap_kbps: Annotated[
        int, "most that we send for others; 0 keeps what was chosen", Between(0, CARRY_KBPS_MOST)
    ] = 0,
    metered: Annotated[
        Literal["", "yes", "no"], "whether what is sent costs money; empty keeps what was chosen"
    ] = "",
) -> Facts:
    """Chooses whether we carry the voices of others when a room of ours grows, or says it."""
    chosen: dict[str, Any] = {}
    if choice:
        chosen["carry"] = choice
    if metered:
        chosen["metered"] = metered == "yes"
    if cap_kbps:
        if cap_kbps < CARRY_KBPS_LEAST:
            raise CapOutOfRange(
                kbps=cap_kbps,
                least=CARRY_KBPS_LEAST,
                most=CARRY_KBPS_MOST,
                usual=CARRY_KBPS_USUAL,
            )
        chosen["carry_kbps"] = cap_kbps
    await node.willing.choose(**chosen)
    offer = node.willing.offer
    return {
        "carry": node.willing.choices.carry,
        "cap_kbps": node.willing.choices.carry_kbps,
        "links": offer.cap,
        "on_mains": offer.on_mains,
        "metered": offer.metered,
        "willing": offer.willing and offer.on_mains and not offer.metered,
    }
