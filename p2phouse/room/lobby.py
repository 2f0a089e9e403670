"""The lobby: who knocks at a social or closed room and waits until somebody lets him in.

No member: whoever waits has no place in the room, is told nobody's name or address, and hears
nothing but how the waiting goes. Bounded, because anybody with the room's id may knock.
docs/protocol.md §4 (*Lobby*) is normative.
"""

from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final

from p2phouse.record import envelope, limits
from p2phouse.record.cbor import Value
from p2phouse.record.envelope import Signed
from p2phouse.record.types import Identity, Invite, Join
from p2phouse.room.frames import FrameKind, FrameRefused, Greeting, lists_device
from p2phouse.room.pace import Allowance
from p2phouse.vocabulary import DeviceKey, RecordId, RoomId, UserKey

REFUSED_S: Final = 60.0  # who was refused knocks in vain for so long
SHOWING_S: Final = 3.0  # an invite follows the greeting on the same stream


class LobbyState(IntEnum):
    """How a knock stands, as the one who knocked is told. From REFUSED on it is over."""

    WAITING = 0
    NOBODY_HERE = 1  # nobody is in the room who may let somebody in
    ISSUER_AWAY = 2  # the invite is good, and only its maker can take it, who is not there
    REFUSED = 3
    FULL = 4
    OVER = 5
    INVITE_FORGED = 6
    INVITE_EXPIRED = 7
    INVITE_VOID = 8
    INVITE_USED = 9


STATE_TEXTS: Final = {
    LobbyState.WAITING: "waiting to be let in",
    LobbyState.NOBODY_HERE: "waiting: nobody who may let you in is in the room now",
    LobbyState.ISSUER_AWAY: "waiting: whoever made your invite is not in the room now",
    LobbyState.REFUSED: "whoever runs the room did not let you in",
    LobbyState.FULL: "too many people wait to be let in already",
    LobbyState.OVER: f"nobody let you in within {limits.LOBBY_S_MAX // 60} minutes",
    LobbyState.INVITE_FORGED: "the invite is not for this room, or somebody changed it",
    LobbyState.INVITE_EXPIRED: "the invite has run out",
    LobbyState.INVITE_VOID: "whoever made the invite runs the room no more",
    LobbyState.INVITE_USED: "somebody has used the invite already",
}


def is_final(state: LobbyState) -> bool:
    return state >= LobbyState.REFUSED


@dataclass(slots=True)
class Waiting:
    """Somebody in the lobby: at our own door, or at the door of the member `via`."""

    dev: DeviceKey
    join: Signed[Join]
    identity: Signed[Identity]
    since: float  # monotonic
    via: DeviceKey | None = None
    greeting: Greeting | None = None  # at our own door: what comes true once he is let in
    is_brief: bool = False  # one too many: nobody is told, and only what he shows lets him in
    invite: Signed[Invite] | None = None
    state: LobbyState | None = None  # what he was told last
    told: set[RecordId] = field(default_factory=set)  # joins of those who run the room and know

    @property
    def uid(self) -> UserKey:
        return UserKey(self.identity.record.uid)

    @property
    def name(self) -> str:
        return self.identity.record.name


@dataclass(slots=True)
class Lobby:
    """Everybody who waits, as far as this node knows."""

    people: dict[DeviceKey, Waiting] = field(default_factory=dict)
    refused_until: dict[UserKey, float] = field(default_factory=dict)
    knocks: Allowance = field(
        # Security: keys are free. A crowd knocks in a minute; more is a flood.
        default_factory=lambda: Allowance(2 * limits.LOBBY_WAITING_MAX, 2.0),
        compare=False,
    )

    def has_space(self, via: DeviceKey | None) -> bool:
        # Security: each door by itself, or one lying member could fill everybody's.
        return len(self.at(via)) < limits.LOBBY_WAITING_MAX

    @property
    def has_brief_space(self) -> bool:
        most = limits.LOBBY_WAITING_MAX + limits.LOBBY_SHOWING_MAX
        return len(self.at(None)) < most

    @property
    def known(self) -> list[Waiting]:
        """Those of whom a person is told."""
        return [waiting for waiting in self.people.values() if not waiting.is_brief]

    def at_our_door(self, dev: DeviceKey) -> Waiting | None:
        waiting = self.people.get(dev)
        return waiting if waiting is not None and waiting.via is None else None

    def at(self, via: DeviceKey | None) -> list[Waiting]:
        """Those at the door of a member, or at our own (None)."""
        return [waiting for waiting in self.people.values() if waiting.via == via]

    def is_refused(self, now_mono: float, uid: UserKey) -> bool:
        self.refused_until = {
            who: until for who, until in self.refused_until.items() if now_mono < until
        }
        return uid in self.refused_until

    def refuse(self, now_mono: float, uid: UserKey) -> None:
        if len(self.refused_until) < limits.LOBBY_REFUSED_MAX:
            self.refused_until[uid] = now_mono + REFUSED_S


# ── frames ───────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Told:
    """To who knocked: how it stands."""

    state: LobbyState


@dataclass(frozen=True, slots=True)
class Shown:
    """From who knocked: his invite, still unread."""

    invite: bytes


@dataclass(frozen=True, slots=True)
class Relayed:
    """Between members: this one waits at my door; or, with a final state, does so no more."""

    join: Signed[Join]
    identity: Signed[Identity]
    invite: bytes | None
    state: LobbyState


def told(state: LobbyState) -> list[Value]:
    return [int(FrameKind.LOBBY), int(state)]


def shown(invite: bytes) -> list[Value]:
    return [int(FrameKind.LOBBY), invite]


def relayed(waiting: Waiting, state: LobbyState) -> list[Value]:
    invite = waiting.invite.data if waiting.invite is not None else None
    return [int(FrameKind.LOBBY), waiting.join.data, waiting.identity.data, invite, int(state)]


def read(frame: list[Value], room: RoomId) -> Told | Shown | Relayed:
    """Raises PeerError."""
    match frame[1:]:
        case [bytes(invite)] if len(invite) <= Invite.SIZE_MAX:
            return Shown(invite)
        case [int(state)] if state is not True and state is not False and state >= 0:
            return Told(_state(state))
        case [bytes(join_data), bytes(identity_data), invite, int(state)] if (
            state is not True and state is not False and state >= 0
        ):
            if invite is not None and not isinstance(invite, bytes):
                raise FrameRefused(reason="something else where an invite belongs")
            join = envelope.read(join_data, Join)
            identity = envelope.read(identity_data, Identity)
            # Security: a member can bring to the door only whoever knocked at its own.
            if (
                join.record.room != room
                or identity.id != join.record.idrec
                or not lists_device(identity.record, DeviceKey(join.record.dev))
            ):
                raise FrameRefused(reason="a knock that nobody made")
            return Relayed(join, identity, invite, _state(state))
    raise FrameRefused(reason="a lobby frame of another shape")


def _state(number: int) -> LobbyState:
    """A later version may refuse for other reasons; of what it waits for we need not know."""
    return LobbyState(number) if number in set(LobbyState) else LobbyState.REFUSED
