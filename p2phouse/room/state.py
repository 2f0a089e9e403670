"""Who is in the room we are in: members, their voices, and how far each connection has come."""

import math
from dataclasses import dataclass, field

from p2phouse.record.envelope import Signed
from p2phouse.record.types import Genesis, Identity, Join, Speak
from p2phouse.vocabulary import DeviceKey, LinkNumber, RoomId, Ssrc, VoiceId


def ssrc_of(speak: Signed[Speak]) -> Ssrc:
    """The first four bytes of the id: nobody chooses an SSRC, so nobody can take another's."""
    return Ssrc(int.from_bytes(speak.id[:4], "big"))


@dataclass(slots=True)
class Member:
    """Another person's node in our room."""

    dev: DeviceKey
    join: Signed[Join]
    identity: Signed[Identity]
    addrs: tuple[bytes, ...]
    outbound: bool  # we opened the room link; the opener offers
    room_link: bool = True
    speak: Signed[Speak] | None = None
    muted: bool = True
    soft_seq: int = -1

    link: LinkNumber | None = None
    link_up: bool = False
    silent: bool = False
    offer: bytes | None = None  # nonce of our offer that waits for its answer
    answering: bytes | None = None  # nonce of their offer that waits for our description
    remote: tuple[str, str, bytes, tuple[str, ...]] | None = None  # of the offer we answer
    retries: int = 0
    retry_at: float = math.inf  # offer again
    redial_at: float = math.inf  # open the room link again
    give_up_at: float = math.inf

    @property
    def name(self) -> str:
        return self.identity.record.name

    @property
    def ssrc(self) -> Ssrc | None:
        return None if self.speak is None else ssrc_of(self.speak)

    @property
    def is_heard(self) -> bool:
        """Media from this member arrives, or keepalives say it would."""
        return self.link_up and not self.silent


@dataclass(slots=True)
class OwnVoice:
    """Our voice in the room, from NewVoice until the room or the media process ends."""

    sid: VoiceId
    akey: bytes | None = None
    speak: Signed[Speak] | None = None

    @property
    def ssrc(self) -> Ssrc | None:
        return None if self.speak is None else ssrc_of(self.speak)


@dataclass(slots=True)
class Lost:
    """A member whose every link ended without a bye; we look for it until `give_up_at`."""

    addrs: tuple[bytes, ...]
    redial_at: float
    give_up_at: float
    tries: int = 0


@dataclass(slots=True)
class Membership:
    """The room this node is in, or is trying to enter (`joined` false)."""

    room: RoomId
    join: Signed[Join]
    genesis: Signed[Genesis] | None
    voice: OwnVoice
    joined: bool
    muted: bool = True
    ticket: int | None = None  # the verb that waits to be answered
    give_up_at: float = math.inf
    members: dict[DeviceKey, Member] = field(default_factory=dict)
    dialling: set[DeviceKey] = field(default_factory=set)  # room links we open
    awaited: set[DeviceKey] = field(default_factory=set)  # whose greeting comes next
    lost: dict[DeviceKey, Lost] = field(default_factory=dict)
    changed: bool = False  # members came or went since this was last acted upon
    refusal: str = ""  # why the last member would not have us

    @property
    def count(self) -> int:
        """People in the room, ourselves included."""
        return 1 + len(self.members)

    def by_link(self, link: LinkNumber) -> Member | None:
        return next((member for member in self.members.values() if member.link == link), None)

    def by_ssrc(self, ssrc: Ssrc) -> Member | None:
        return next((member for member in self.members.values() if member.ssrc == ssrc), None)

    def slots_taken(self) -> set[int]:
        return {member.speak.record.slot for member in self.members.values() if member.speak}
