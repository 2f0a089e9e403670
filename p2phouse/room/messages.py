"""What goes into the core of rooms and what comes out of it. No behaviour here.

Inputs come from the network (through node.py), from the media process (channel.Up as it is) and
from the person (a Verb with a ticket that its Answer carries back).
"""

from dataclasses import dataclass, field
from enum import IntEnum

from p2phouse import channel
from p2phouse.errors import P2PHouseError
from p2phouse.record import limits
from p2phouse.record.cbor import Value
from p2phouse.record.types import Access, Act, ChatKind
from p2phouse.vocabulary import DeviceKey, RoomId, UserKey

# ── inputs from the network; the sender is the peer that the noise handshake proved ──────────


@dataclass(frozen=True, slots=True)
class CardHeard:
    data: bytes


@dataclass(frozen=True, slots=True)
class OwnAddresses:
    """Where others may dial us now: binary multiaddrs, at most four."""

    addrs: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class RoomLinkUp:
    """A room stream to the sender is open. outbound: we opened it. near: the sender is on a network
    that this machine is attached to."""

    room: RoomId
    outbound: bool
    near: bool = True


@dataclass(frozen=True, slots=True)
class RoomFrame:
    room: RoomId
    frame: list[Value]


@dataclass(frozen=True, slots=True)
class RoomLinkDown:
    """The room stream ended or could not be opened."""

    room: RoomId
    reason: str


@dataclass(frozen=True, slots=True)
class OfferHeard:
    data: bytes


@dataclass(frozen=True, slots=True)
class OfferAnswered:
    data: bytes


@dataclass(frozen=True, slots=True)
class OfferFailed:
    """`offer`: the offer's nonce. The peer did not answer it."""

    offer: bytes
    reason: str


@dataclass(frozen=True, slots=True)
class MediaGone:
    """The media process died; a new one is starting. Every link and voice in it is gone."""


@dataclass(frozen=True, slots=True)
class Resume:
    """What Remember kept before this node was killed."""

    state: list[Value]


@dataclass(frozen=True, slots=True)
class Invites:
    """What KeepInvites kept before this node ended."""

    state: list[Value]


@dataclass(frozen=True, slots=True)
class Following:
    """Whom the owner of this node follows, all of them."""

    people: frozenset[UserKey]


@dataclass(frozen=True, slots=True)
class Carry:
    """Whether this node may carry the voices of others now, as its owner chose and its power
    allows. cap: how many others it would feed at most."""

    willing: bool
    on_mains: bool
    metered: bool
    cap: int


@dataclass(frozen=True, slots=True)
class Guests:
    """So many people with only a browser listen to the room through us, who are a relay."""

    count: int


# ── inputs from the person ───────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Open:
    """stage: "everyone" may speak, or who is "invited". speakers_max: slots of the stage."""

    title: str
    access: Access = Access.OPEN
    stage: str = "everyone"
    speakers_max: int = limits.SPEAKERS_MAX


@dataclass(frozen=True, slots=True)
class Join:
    """Join a room whose card is known, or one named by a link.

    text: the room's id or the start of it, its title, or a `p2ph:` link.
    """

    text: str


@dataclass(frozen=True, slots=True)
class JoinAt:
    """Join the room that the device at a typed address has open."""

    dev: DeviceKey


@dataclass(frozen=True, slots=True)
class Leave:
    pass


@dataclass(frozen=True, slots=True)
class HandOver:
    """Before Leave: if we carry the room, somebody else does first. Answered once that is so."""


@dataclass(frozen=True, slots=True)
class SetMuted:
    muted: bool


@dataclass(frozen=True, slots=True)
class Say:
    """Speak this input to its end, then be muted again if we were; `spec` as in SetInput."""

    spec: str


@dataclass(frozen=True, slots=True)
class StopSaying:
    pass


@dataclass(frozen=True, slots=True)
class SetEar:
    """Where what is heard goes; `spec` as in SetOutput."""

    spec: str


@dataclass(frozen=True, slots=True)
class Decide:
    """An entry for the room's log.

    who: a name, key tag or PeerId, if the act is about a person; empty: all without a role.
    """

    act: Act
    who: str = ""
    value: str | int | bool | None = None


@dataclass(frozen=True, slots=True)
class Continue:
    """Open a room that continues ours, for everybody to go on in."""


@dataclass(frozen=True, slots=True)
class Move:
    """Go on in the room that was opened to continue ours."""


@dataclass(frozen=True, slots=True)
class Hand:
    """Raises our hand, or gives it another topic. topic: plain text, one line."""

    topic: str = ""


@dataclass(frozen=True, slots=True)
class LowerHand:
    """who: empty for our own, `*` for all, else whose; of others only moderators may."""

    who: str = ""


@dataclass(frozen=True, slots=True)
class Invite:
    """To the stage."""

    who: str


@dataclass(frozen=True, slots=True)
class SetAccess:
    """Who may come in from now on; whoever is in stays."""

    access: Access


@dataclass(frozen=True, slots=True)
class Admit:
    """Lets in who waits under that name, key tag or PeerId."""

    who: str


@dataclass(frozen=True, slots=True)
class Accept:
    pass


@dataclass(frozen=True, slots=True)
class Decline:
    pass


@dataclass(frozen=True, slots=True)
class StepDown:
    pass


@dataclass(frozen=True, slots=True)
class MuteAll:
    """lock: enforced by everybody until UnmuteAll; else a request."""

    lock: bool = False


@dataclass(frozen=True, slots=True)
class UnmuteAll:
    pass


@dataclass(frozen=True, slots=True)
class React:
    emoji: str


@dataclass(frozen=True, slots=True)
class Typing:
    on: bool


@dataclass(frozen=True, slots=True)
class Listeners:
    """Who is in the audience under a name, key tag or PeerId, or a name that begins so; empty:
    anybody."""

    text: str = ""


StageAction = Hand | LowerHand | Accept | Decline | StepDown | React | Typing


@dataclass(frozen=True, slots=True)
class Write:
    """Into the room's chat. ref: id of what a delete or unpin takes back, or the start of it."""

    kind: ChatKind
    text: str = ""
    ref: str = ""


@dataclass(frozen=True, slots=True)
class SendReport:
    """To those who run the room, but for whom it is about."""

    bundle: bytes
    about: UserKey


@dataclass(frozen=True, slots=True)
class PageSound:
    """Whether the browser holds back what the page would play."""

    blocked: bool


@dataclass(frozen=True, slots=True)
class SetBlocked:
    """Neither hear nor read that person any more; nobody learns of it."""

    uid: UserKey
    blocked: bool


@dataclass(frozen=True, slots=True)
class SetLoudness:
    """How loud a person is to us while we are in this room."""

    uid: UserKey
    percent: int


@dataclass(frozen=True, slots=True)
class NameRelay:
    """That device's person, which need not be here yet, shall carry the room."""

    uid: UserKey


@dataclass(frozen=True, slots=True)
class NameVoice:
    """That person, who is to come as a guest of a relay, may speak in the room."""

    uid: UserKey


@dataclass(frozen=True, slots=True)
class Refuse:
    who: str


@dataclass(frozen=True, slots=True)
class MakeInvite:
    hours: int
    once: bool


VerbAction = (
    Open
    | Join
    | JoinAt
    | Leave
    | HandOver
    | SetMuted
    | Say
    | StopSaying
    | SetEar
    | Decide
    | Continue
    | Move
    | StageAction
    | Invite
    | Listeners
    | MuteAll
    | UnmuteAll
    | Write
    | SendReport
    | PageSound
    | SetBlocked
    | SetLoudness
    | SetAccess
    | Admit
    | NameRelay
    | NameVoice
    | Refuse
    | MakeInvite
)


@dataclass(frozen=True, slots=True)
class Verb:
    ticket: int
    action: VerbAction


Input = (
    CardHeard
    | OwnAddresses
    | Resume
    | Invites
    | Following
    | Carry
    | Guests
    | RoomLinkUp
    | RoomFrame
    | RoomLinkDown
    | OfferHeard
    | OfferAnswered
    | OfferFailed
    | MediaGone
    | channel.Up
    | Verb
)

# ── outputs ──────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class OpenRoomLink:
    dev: DeviceKey
    room: RoomId
    addrs: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class CloseRoomLink:
    dev: DeviceKey
    room: RoomId


@dataclass(frozen=True, slots=True)
class SendRoomFrame:
    dev: DeviceKey
    room: RoomId
    frame: list[Value]


@dataclass(frozen=True, slots=True)
class SendOffer:
    dev: DeviceKey
    offer: bytes  # nonce of the offer, to name it when it fails
    data: bytes


@dataclass(frozen=True, slots=True)
class SendAnswer:
    dev: DeviceKey
    offer: bytes  # nonce of the offer it answers
    data: bytes


@dataclass(frozen=True, slots=True)
class PublishCard:
    data: bytes


@dataclass(frozen=True, slots=True)
class ToMedia:
    message: channel.Down


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a verb: facts for the person, or the error that explains."""

    ticket: int
    facts: dict[str, object] = field(default_factory=dict)
    error: P2PHouseError | None = None


@dataclass(frozen=True, slots=True)
class Remember:
    """The room to come back to after a crash, or None once we left it; node keeps it in a file."""

    state: list[Value] | None


@dataclass(frozen=True, slots=True)
class KeepInvites:
    """The single-use invites that nobody has used; node keeps them in a file, before it goes on."""

    state: list[Value]


class EventKind(IntEnum):
    ROOM_SEEN = 0
    ROOM_GONE = 1
    ROOM_GHOST = 75  # nobody answered at the last try, or somebody did after all
    JOINED = 2
    LEFT = 3
    MEMBER_JOINED = 4
    MEMBER_LEFT = 5
    MEMBER_LOST = 6
    MEMBER_SILENT = 7
    MEMBER_HEARD = 8
    MEMBER_MUTED = 9
    MEMBER_UNMUTED = 10
    LINK_CONNECTED = 11
    LINK_FAILED = 12
    VOICE_READY = 13
    INPUT_ENDED = 14
    SOUND_TROUBLE = 15
    MEDIA_RESTARTED = 16
    OUTPUT_ENDED = 17
    VOICE_HEARD = 18  # the first frame of a member's voice was played
    ROLE_CHANGED = 19
    ROOM_CHANGED = 20
    UNATTENDED = 21  # nobody who runs the room is in it
    ATTENDED = 22
    SUCCESSOR_OFFERED = 23
    CONFIRMED = 24
    UNCONFIRMED = 25
    EPOCH_CHANGED = 26  # what voices are sealed under
    HAND_RAISED = 40
    HAND_LOWERED = 41
    INVITED = 42
    STAGE_CHANGED = 43
    REACTION = 44
    TYPING = 45
    PLEASE_MUTE = 46
    GUESTS_CHANGED = 47  # so many listen through a relay with only a browser, by its word
    CHAT = 50
    CHAT_DELETED = 51
    PINS_CHANGED = 52
    REPORT_HEARD = 53
    SILENCE_EXPLAINED = 61  # why somebody, or we, are not heard; empty once it is over
    FORGED_SPEECH = 60  # somebody else spoke as this member, who is not heard any more
    LOBBY_CHANGED = 30  # somebody knocks, or waits no more
    LOBBY_WAITING = 31  # we wait to be let in
    ADMITTED = 32  # and are
    CARRIED_BY = 70  # who forwards the room's voices now, and why; empty: each sends its own
    NEEDS_RELAY = 71  # it grows, and nobody in it can carry it


@dataclass(frozen=True, slots=True)
class Event:
    """A change of state, as the log, the page, the CLI and the tests read it."""

    kind: EventKind
    room: RoomId | None = None
    dev: DeviceKey | None = None
    text: str = ""


Output = (
    OpenRoomLink
    | CloseRoomLink
    | SendRoomFrame
    | SendOffer
    | SendAnswer
    | PublishCard
    | ToMedia
    | Answer
    | Remember
    | KeepInvites
    | Event
)
