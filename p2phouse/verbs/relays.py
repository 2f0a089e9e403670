"""The relays that this node knows, and the room that one of them carries."""

import base64
import binascii
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Literal, TypedDict

from p2phouse.api import Call, Facts
from p2phouse.drive import clock
from p2phouse.errors import PeerError, UserError
from p2phouse.hall.relay_ask import Said, Verdict
from p2phouse.identity.keys import key_tag, peer_id
from p2phouse.people.relays import KnownRelay
from p2phouse.record.envelope import Signed
from p2phouse.record.types import RelayGrant
from p2phouse.relays import SAYINGS, page_of, read_grant
from p2phouse.verbs.declaration import Between, verb
from p2phouse.verbs.facts import KeyTag, PeerIdText

if TYPE_CHECKING:
    from p2phouse.node import Node

RelayText = Annotated[
    str, "HOST, HOST:PORT or https://HOST of a relay, or its name if it is known", Between(1, 200)
]


class GrantUnreadable(UserError):
    """That is no whole relay grant, or it is over. Ask whoever gave it to you for it again."""


class Relay(TypedDict):
    """As its signed policy says."""

    at: Annotated[str, "HOST:PORT, as it was typed"]
    name: str
    key_tag: KeyTag
    peer_id: PeerIdText
    who: Annotated[str, "runs it"]
    where: Annotated[str, "it stands, and whose law holds"]
    logs: Annotated[str, "what is kept, and how long"]
    rules: str
    price: str
    contact: Annotated[str, "whom to write to"]
    page: Annotated[str, "where people with only a browser find its rooms; or empty"]
    admits: Annotated[
        Literal["everybody", "listed"], "listed: whom it knows, or who has a relay grant"
    ]
    rooms: Annotated[int, "that it carries at most"]
    rooms_each: Annotated[int, "of one person or relay grant"]
    listeners: Annotated[int, "in one room, at most"]
    kbps: Annotated[int, "that it sends at most, for all rooms together"]
    others: Annotated[list[str], "relays that it names in its place"]


class RelayList(TypedDict):
    relays: Annotated[list[Relay], "in the order in which they were added"]


class Given(TypedDict):
    carried: Annotated[bool, "whether a relay comes to carry the room"]
    by: Annotated[str, "HOST:PORT of whoever said so, if another was asked in its place; or empty"]
    text: Annotated[str, "what it says"]
    another: Annotated[str, "a relay that it names in its place, or empty"]


class GuestLink(TypedDict):
    link: Annotated[str, "of a relay's page; empty if we know of none that carries the room"]


@verb(page=True, result=RelayList)
async def relays(node: "Node", call: Call) -> Facts:
    """The relays that this node knows."""
    return {"relays": [_facts(each) for each in await node.relays.known()]}


@verb(page=True, result=Relay)
async def relay_look(node: "Node", call: Call, relay: RelayText) -> Facts:
    """Asks a relay what it is and keeps nothing of it."""
    return _facts(await node.relays.look(relay))


@verb(page=True, result=Relay)
async def relay_add(node: "Node", call: Call, relay: RelayText) -> Facts:
    """Asks a relay what it is and keeps it: as one to give rooms to, and to be reached through."""
    found = await node.relays.look(relay)
    await node.relays.add(found)
    node.network.name_relay(found.dev, found.policy.record.at)
    return _facts(found)


@verb(page=True, result=Relay)
async def relay_remove(node: "Node", call: Call, relay: RelayText) -> Facts:
    """Forgets a relay; the node keeps in touch with it until it is started anew."""
    return _facts(await node.relays.remove(relay))


@verb(page=True, result=Given)
async def relay_use(
    node: "Node",
    call: Call,
    relay: RelayText,
    grant: Annotated[str, "a relay grant as its operator gave it, or empty"] = "",
) -> Facts:
    """Has a relay carry the room that we opened and are in.

    If it names another in its place that the person has added, that one is asked too.
    """
    return await give(node, relay, grant)


@verb(page=True, result=GuestLink)
async def guest_link(node: "Node", call: Call) -> Facts:
    """Where whoever has only a browser listens to the room that we are in."""
    return {"link": await node.relays.guest_link()}


async def give(node: "Node", relay: str, grant: str) -> Facts:
    """Raises P2PHouseError."""
    proof = read_text(grant)
    return told(await node.relays.give_to_one(await node.relays.find(relay), proof))


def told(answers: Sequence[tuple[KnownRelay, Said]]) -> Facts:
    """Of the relays that were asked, each in place of the one before."""
    last, said = answers[-1]
    return {
        "carried": said.verdict is Verdict.CARRIED,
        "by": last.at if len(answers) > 1 else "",
        "text": "; ".join(SAYINGS[said.verdict] for _, said in answers),
        "another": said.another,
    }


def read_text(text: str) -> Signed[RelayGrant] | None:
    """Raises GrantUnreadable."""
    if not text:
        return None
    try:
        data = base64.urlsafe_b64decode(text.strip() + "=" * (-len(text.strip()) % 4))
        return read_grant(data, clock())
    except (PeerError, binascii.Error, ValueError) as error:
        raise GrantUnreadable from error


def _facts(relay: KnownRelay) -> Facts:
    policy = relay.policy.record
    return {
        "at": relay.at,
        "name": policy.name,
        "key_tag": key_tag(policy.uid),
        "peer_id": peer_id(relay.dev),
        "who": policy.who,
        "where": policy.where,
        "logs": policy.logs,
        "rules": policy.rules,
        "price": policy.price,
        "contact": policy.contact,
        "page": page_of(relay),
        "admits": policy.admits.name.lower(),
        "rooms": policy.rooms,
        "rooms_each": policy.rooms_each,
        "listeners": policy.listeners,
        "kbps": policy.kbps,
        "others": list(policy.others),
    }
