"""A room's card: the signed advertisement by which a room is found, and the genesis inside it.

A card carries the whole signed genesis, so whoever holds a card can check everything it says
without asking anyone. Who may publish one is in hall/grant.py.
"""

import ipaddress
from dataclasses import dataclass
from typing import Final

from p2phouse.errors import PeerError, UserError
from p2phouse.hall.grant import CardRefused, check_author
from p2phouse.identity.keys import Me
from p2phouse.record import envelope, limits
from p2phouse.record.envelope import Signed
from p2phouse.record.schema import is_plain_text, one_line
from p2phouse.record.types import Access, Card, Genesis
from p2phouse.vocabulary import DeviceKey, Entropy, Now, RoomId

CARD_REST_BYTES: Final = 160  # envelope, numbers and heads at their longest
_IP4: Final = 0x04  # multicodec numbers of a multiaddr's first part
_IP6: Final = 0x29
_CIRCUIT: Final = b"\xa2\x02"  # its last part, /p2p-circuit


class TitleTooLong(UserError):
    """A title has {limit} bytes at most; this one takes {length}. English letters take one each,
    most others two to four. Choose a shorter one."""


class TitleNotPlain(UserError):
    """A title holds neither control characters nor ones that turn the direction of text.
    Leave them out."""


class TitleEmpty(UserError):
    """A room needs a title. Give it one: p2phouse open "Morning coffee"."""


@dataclass(frozen=True, slots=True)
class RoomCard:
    """A card that was checked, with its genesis read."""

    card: Signed[Card]
    genesis: Signed[Genesis]

    @property
    def room(self) -> RoomId:
        return RoomId(self.genesis.id)

    @property
    def publisher(self) -> DeviceKey:
        return DeviceKey(self.card.record.dev)

    @property
    def is_tombstone(self) -> bool:
        """A card with no time to live takes the room off the list."""
        return self.card.record.ttl == 0

    @property
    def expires_unix(self) -> float:
        record = self.card.record
        return min(record.created + record.ttl, self.genesis.record.exp)


def make_genesis(
    me: Me,
    *,
    title: str,
    access: Access,
    now: Now,
    entropy: Entropy,
    continues: RoomId | None = None,
    speakers_max: int = limits.SPEAKERS_MAX,
) -> Signed[Genesis]:
    """A new room, signed. Raises TitleEmpty, TitleTooLong or TitleNotPlain.

    continues: the room whose people shall go on talking here.
    """
    title = one_line(title)
    if not title:
        raise TitleEmpty
    if not is_plain_text(title):
        raise TitleNotPlain
    if (length := len(title.encode())) > limits.TITLE_BYTES_MAX:
        raise TitleTooLong(limit=limits.TITLE_BYTES_MAX, length=length)
    created = int(now.unix)
    genesis = Genesis(
        uid=me.uid,
        dev=me.dev,
        idrec=me.record.id,
        nonce=entropy(16),
        title=title,
        access=access,
        langs=(),
        created=created,
        exp=created + limits.ROOM_LIFE_S_MAX,
        relay=(),
        maxspk=speakers_max,
        exposure="direct",
        continues=continues,
    )
    return envelope.sign(genesis, me.device_key)


def make_card(
    me: Me,
    genesis: Signed[Genesis],
    *,
    seq: int,
    speakers: int,
    listeners: int,
    addrs: tuple[bytes, ...],
    ttl_s: int,
    now: Now,
    grant: bytes = b"",
) -> Signed[Card]:
    """The room's present card; a ttl of 0 takes the room off the list.

    addrs: of these only addresses of local networks and circuits are told, for cards travel
    further than their room: a public address is for join links alone, and a circuit shows that of
    a relay. Of those as many as there is space for.
    grant: what proves that we may publish it (hall/grant.py).
    """
    local = tuple(addr for addr in addrs if is_local_address(addr) or is_circuit(addr))
    space = Card.SIZE_MAX - CARD_REST_BYTES - len(genesis.data) - len(grant)
    while sum(2 + len(addr) for addr in local[: limits.CARD_ADDRS_MAX]) > space:
        local = local[:-1]
    card = Card(
        genesis=genesis.data,
        grant=grant,
        dev=me.dev,
        seq=seq,
        created=int(now.unix),
        ttl=ttl_s,
        nspk=speakers,
        nlis=listeners,
        at=local[: limits.CARD_ADDRS_MAX],
    )
    return envelope.sign(card, me.device_key)


def is_local_address(addr: bytes) -> bool:
    """Whether a binary multiaddr begins with a private, link-local or loopback IP address."""
    size = {_IP4: 4, _IP6: 16}.get(addr[0]) if addr else None
    if size is None or len(addr) <= size:
        return False
    return ipaddress.ip_address(addr[1 : 1 + size]).is_private


def is_circuit(addr: bytes) -> bool:
    """Whether a binary multiaddr ends in /p2p-circuit: it leads to a relay's machine, not ours."""
    return addr.endswith(_CIRCUIT)


def is_provably_bad(data: bytes) -> bool:
    """True only for what no honest peer forwards: wrong size, CBOR, shape, signature or author.

    Lateness is no proof: an honest peer may hold a card that has just expired.
    """
    try:
        _read_signed(data)
    except PeerError:
        return True
    return False


def read_card(data: bytes, now: Now) -> RoomCard:
    """The card, checked whole. Raises PeerError, of which Expired is nobody's fault."""
    card = _read_signed(data)
    envelope.check_time(card.card.record, now.unix)
    envelope.check_time(card.genesis.record, now.unix)
    return card


def _read_signed(data: bytes) -> RoomCard:
    card = envelope.read(data, Card)
    genesis = envelope.read(card.record.genesis, Genesis)
    check_author(card.record, genesis)
    # Security: a closed room is known to those alone whom somebody in it tells.
    if genesis.record.access == Access.CLOSED:
        raise CardRefused(reason="a closed room is not advertised")
    return RoomCard(card, genesis)
