"""Join links: `p2ph:ROOM?d=PEER&a=ADDRESS…&i=INVITE`, all that a node needs to reach a room.

ROOM is the room's id in lower-case base32, PEER the PeerId of a member, each ADDRESS a multiaddr
of that member, INVITE a signed invite (room/invites.py) if it is one. But for that a link proves
nothing: the handshake proves the member, the genesis the room.
"""

import base64
from dataclasses import dataclass
from urllib.parse import parse_qs, quote

from multiaddr import Multiaddr

from p2phouse.errors import UserError
from p2phouse.identity.keys import device_of_peer_id, peer_id
from p2phouse.record import limits
from p2phouse.record.types import Invite
from p2phouse.vocabulary import DeviceKey, RoomId

SCHEME = "p2ph:"
LINK_CHARS_MAX = 1_024
ROOM_BYTES = 32


class LinkUnreadable(UserError):
    """That is not a whole join link ({reason}). Copy it again, from p2ph: to its end."""


@dataclass(frozen=True, slots=True)
class Invitation:
    room: RoomId
    dev: DeviceKey
    addrs: tuple[bytes, ...]
    invite: bytes = b""  # a signed invite, if the link is one


def room_text(room: RoomId) -> str:
    """The room's id as links write it: 52 characters of a-z and 2-7."""
    return base64.b32encode(room).decode().rstrip("=").lower()


def room_of(text: str) -> RoomId:
    """Raises LinkUnreadable."""
    try:
        room = base64.b32decode(text.upper() + "=" * (-len(text) % 8))
    except ValueError as error:  # binascii.Error among them
        raise LinkUnreadable(reason="the room's id is damaged") from error
    if len(room) != ROOM_BYTES:
        raise LinkUnreadable(reason="the room's id has the wrong length")
    return RoomId(room)


def write(invitation: Invitation) -> str:
    room = room_text(invitation.room)
    shown = base64.urlsafe_b64encode(invitation.invite).decode().rstrip("=")
    proof = f"&i={shown}" if shown else ""
    addrs = [f"&a={quote(str(Multiaddr(addr)), safe='/')}" for addr in invitation.addrs]
    while True:
        link = f"{SCHEME}{room}?d={peer_id(invitation.dev)}{''.join(addrs)}{proof}"
        if len(link) <= LINK_CHARS_MAX:
            return link
        addrs.pop()  # the last is the least likely to help


def read(text: str) -> Invitation:
    """Raises LinkUnreadable."""
    text = text.strip()
    if len(text) > LINK_CHARS_MAX:
        raise LinkUnreadable(reason=f"longer than {LINK_CHARS_MAX} characters")
    named, _, query = text.removeprefix(SCHEME).partition("?")
    fields = parse_qs(query)
    room = room_of(named)
    try:
        (peer_text,) = fields["d"]
        dev = device_of_peer_id(peer_text)
    except (KeyError, ValueError) as error:
        raise LinkUnreadable(reason="the member's PeerId is damaged") from error
    try:
        addrs = tuple(bytes(Multiaddr(addr).to_bytes()) for addr in fields.get("a", []))
    except Exception as error:
        # Broad: what multiaddr raises depends on the protocol whose value it could not read.
        raise LinkUnreadable(reason="an address is damaged") from error
    if len(addrs) > limits.ADDRS_MAX:
        raise LinkUnreadable(reason="it has too many addresses")
    if any(len(addr) > limits.ADDR_BYTES_MAX for addr in addrs):
        raise LinkUnreadable(reason="an address in it is too long")
    return Invitation(room, dev, addrs, _invite(fields.get("i", [])))


def _invite(texts: list[str]) -> bytes:
    """Unread: whether it lets anybody in is for those in the room to say."""
    if len(texts) > 1:
        raise LinkUnreadable(reason="it has several invites")
    text = "".join(texts)
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except ValueError as error:
        raise LinkUnreadable(reason="the invite in it is damaged") from error
    if len(data) > Invite.SIZE_MAX:
        raise LinkUnreadable(reason="the invite in it is too long")
    return data
