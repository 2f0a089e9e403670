"""Guests of our room who have only a browser, on our own network."""

from typing import TYPE_CHECKING, Annotated, Literal, TypedDict

from p2phouse.api import Call, Facts
from p2phouse.qr import matrix
from p2phouse.verbs.declaration import verb

if TYPE_CHECKING:
    from p2phouse.node import Node


class Guests(TypedDict):
    page: Annotated[str, "where they listen, http://…; empty: none can"]
    code: Annotated[list[str], "that as a QR code, a character a module: 1 is dark"]
    text: Annotated[str, "why none can although it was asked for; or empty"]


@verb(page=True, result=Guests)
async def guests(
    node: "Node",
    call: Call,
    choice: Annotated[Literal["", "on", "off"], "empty leaves it as it is"] = "",
) -> Facts:
    """Lets people of our network listen to the room that we opened in a browser, or no more."""
    if choice == "on":
        await node.beside.open()
    elif choice == "off":
        await node.beside.close()
    return told(node)


def told(node: "Node", text: str = "") -> Facts:
    page = node.beside.page
    return {"page": page, "code": matrix(page) if page else [], "text": text}
