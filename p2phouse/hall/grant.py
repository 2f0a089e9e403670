"""How a card proves that its author may put the room on the list.

The device that made the room needs no proof. Somebody whom it seated shows the grant, which names
a person, and that person's identity, which lists the device. Whether the seat was taken back later
cannot be seen from a card: only who is in the room knows.
"""

from typing import Final

from p2phouse.errors import PeerError
from p2phouse.record import cbor, envelope
from p2phouse.record.cbor import Malformed
from p2phouse.record.envelope import Signed
from p2phouse.record.types import Act, Card, Entry, Genesis, Identity
from p2phouse.vocabulary import DeviceKey

SEATS: Final = ("host", "moderator")
# Of a card of 1,280 bytes; 180 are for the rest of it, with an address or more.
PROVED_BYTES_MAX: Final = 1_100


class CardRefused(PeerError):
    """A card says what it may not say: {reason}."""


def prove(
    genesis: Signed[Genesis], grant: Signed[Entry], identity: Signed[Identity], dev: DeviceKey
) -> bytes | None:
    """What the card of that device says in `grant`; None if no card of it would be believed."""
    if not _seats(grant.record, genesis, identity.record, dev):
        return None
    proof = cbor.encode([grant.data, identity.data])
    return proof if len(genesis.data) + len(proof) <= PROVED_BYTES_MAX else None


def check_author(card: Card, genesis: Signed[Genesis]) -> None:
    """Raises PeerError if its author may not advertise the room."""
    dev = DeviceKey(card.dev)
    if not card.grant:
        # Security: a card nobody seated would let any key put words on another's room.
        if dev != genesis.record.dev:
            raise CardRefused(reason="its author has no seat in the room")
        return
    match cbor.decode(card.grant, size_max=len(card.grant)):
        case [bytes(grant_data), bytes(identity_data)]:
            grant = envelope.read(grant_data, Entry)
            identity = envelope.read(identity_data, Identity)
        case _:
            raise Malformed(reason="something else where a grant and an identity belong")
    if not _seats(grant.record, genesis, identity.record, dev):
        raise CardRefused(reason="what it shows does not seat its author in the room")


def _seats(grant: Entry, genesis: Signed[Genesis], identity: Identity, dev: DeviceKey) -> bool:
    """Whether the device that made the room gave a seat to the person whose device this is."""
    creation = genesis.record
    is_grant = grant.act is Act.GRANT and grant.val in SEATS and not grant.over and not grant.pin
    # Security: of this room, by its creator's own seat and device. Grants that hosts gave would
    # need the hosts' own grants too, for which a card has no space.
    is_of_creator = (
        grant.room == genesis.id
        and grant.auth == genesis.id
        and (grant.uid, grant.dev) == (creation.uid, creation.dev)
    )
    # Security: the grant names a person and the card a device; the root key joins them.
    lists = any(each.dev == dev and each.exp >= creation.created for each in identity.devices)
    is_theirs = identity.uid == grant.sub != creation.uid and identity.exp >= creation.created
    return is_grant and is_of_creator and is_theirs and lists
