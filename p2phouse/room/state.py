"""Who is in the room we are in: members, their voices, and how far each connection has come."""

import math
from collections import OrderedDict
from collections.abc import Collection
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Final

from p2phouse.record import limits
from p2phouse.record.envelope import Signed
from p2phouse.record.types import Access, Chat, Genesis, Identity, Join, Speak
from p2phouse.room import epochs, keys
from p2phouse.room.beats import BeatBook
from p2phouse.room.chat import Chats
from p2phouse.room.chat_view import View
from p2phouse.room.custody import Custody
from p2phouse.room.epochs import Live
from p2phouse.room.lobby import Lobby, LobbyState
from p2phouse.room.log import EntryLog
from p2phouse.room.news import NewsBook
from p2phouse.room.pace import Pace
from p2phouse.room.report import Bundle
from p2phouse.room.rules import ON_STAGE, Role
from p2phouse.room.soft import OwnSoft, SoftState
from p2phouse.shape.plan import IN_A_MESH, Standpoint
from p2phouse.vocabulary import (
    DeviceKey,
    LinkNumber,
    Now,
    RecordId,
    RoomId,
    Ssrc,
    UserKey,
    VoiceId,
)

if TYPE_CHECKING:
    from p2phouse.room.carrying import Carried

NEWCOMER_S: Final = 12.0  # within it one has met everybody
VISITORS_MAX: Final = 64  # who came by our link, and move on to the hub within ten seconds
PACES_MAX: Final = 64  # beside those of the members: of who came and went


def ssrc_of(speak: Signed[Speak]) -> Ssrc:
    """The first four bytes of the id: nobody chooses an SSRC, so nobody can take another's."""
    return Ssrc(int.from_bytes(speak.id[:4], "big"))


@dataclass(slots=True)
class Asking:
    """Whom we ask for chat that we have missed, one after the other."""

    queue: dict[DeviceKey, None] = field(default_factory=dict)  # in their order
    asked: DeviceKey | None = None
    until: float = math.inf  # it has answered by then; nobody asked: then some are asked again
    turn: int = 0  # whom then
    passing: dict[RecordId, tuple[Signed[Chat], DeviceKey]] = field(default_factory=dict)
    pass_at: float = math.inf  # to be passed on, each with who told us, and when
    refused: bool = False  # something that a newer log might allow
    shown: set[RecordId] = field(default_factory=set)  # what the person knows of
    pins: set[RecordId] = field(default_factory=set)


class Stage(Enum):
    """How far a room link has come."""

    OPENING = "opening"  # we asked the network for it
    GREETED = "greeted"  # it is open and our greeting is out; theirs is due
    AWAITED = "awaited"  # they opened it: their greeting is due, then ours
    LOBBY = "lobby"  # they wait at our door: no greeting of ours before they are let in
    KNOCKED = "knocked"  # we wait at theirs
    UP = "up"  # both have greeted
    OVER = "over"  # they said bye, and close it


@dataclass(slots=True)
class RoomLink:
    stage: Stage
    until: float  # it must have come further by then; once up, something must have been heard
    is_new: bool = False  # no greeting was heard on it yet: it may bring another join
    told: frozenset[DeviceKey] = frozenset()  # the members that our greeting on it named
    is_near: bool = True  # both ends are on one network
    is_audience: bool = False  # we carry the room, and the other end hears NEWS
    is_bare: bool = False  # our greeting on it told who we are, and nothing of the room


@dataclass(slots=True)
class Member:
    """Another person's node in our room."""

    dev: DeviceKey
    join: Signed[Join]
    identity: Signed[Identity]
    addrs: tuple[bytes, ...]
    outbound: bool  # we opened the room link; the opener offers
    knows: frozenset[DeviceKey] = frozenset()  # the members that its last greeting named
    speak: Signed[Speak] | None = None
    ended_speak: RecordId | None = None  # of the voice with which it left the stage
    forged_speak: RecordId | None = None  # of the voice that somebody else has spoken with
    digest: bytes | None = None  # of its log, as it told last
    soft: SoftState = field(default_factory=SoftState)

    link: LinkNumber | None = None
    link_up: bool = False
    silent: bool = False
    is_tunnelled: bool = False  # the link goes through the relay's HTTPS, because UDP is blocked
    offer: bytes | None = None  # nonce of our offer that waits for its answer
    answering: bytes | None = None  # nonce of their offer that waits for our description
    remote: tuple[str, str, bytes, tuple[str, ...]] | None = None  # of the offer we answer
    cands: tuple[str, ...] = ()  # where its end of a link was, as it said last
    retries: int = 0
    retry_at: float = math.inf  # offer again
    is_told: bool = False  # the hub tells of it: there is no room link
    signs: dict[int, bytes] = field(default_factory=dict)  # its last word of each lasting kind
    spare_since: float = math.inf  # its room link could be closed
    unwanted_since: float = math.inf  # its media link could be closed
    redial_at: float = math.inf  # open the room link again
    give_up_at: float = math.inf
    missed_until: float = -math.inf  # another member has lost it

    @property
    def name(self) -> str:
        return self.identity.record.name

    @property
    def uid(self) -> UserKey:
        return UserKey(self.identity.record.uid)

    @property
    def muted(self) -> bool:
        return self.soft.muted

    @property
    def ssrc(self) -> Ssrc | None:
        return None if self.speak is None else ssrc_of(self.speak)

    @property
    def is_forged(self) -> bool:
        """Whether somebody else speaks as this member; a new voice begins with a clean name."""
        return self.speak is not None and self.speak.id == self.forged_speak

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
class Sought:
    """Somebody we want a room link to, dialled again and again until `give_up_at`."""

    addrs: tuple[bytes, ...]
    teller: DeviceKey | None  # on whose word; None if we met them ourselves
    redial_at: float
    give_up_at: float
    tries: int = 0
    is_spare: bool = False  # of a crowd: somebody who carries it may tell us of them
    is_refused: bool = (
        False  # it wants no link; kept, so that its teller cannot have it called again
    )


@dataclass(frozen=True, slots=True)
class Successor:
    """A room that somebody has opened for us to go on in."""

    genesis: Signed[Genesis]
    dev: DeviceKey  # of a member: its opener
    addrs: tuple[bytes, ...]
    by: str  # who opened it

    @property
    def room(self) -> RoomId:
        return RoomId(self.genesis.id)


@dataclass(slots=True)
class Membership:
    """The room this node is in, or is trying to enter (`joined` false)."""

    room: RoomId
    join: Signed[Join]
    genesis: Signed[Genesis] | None
    voice: OwnVoice
    joined: bool
    relay: UserKey | None = None  # we, if we are a relay and no person
    muted: bool = True
    own: OwnSoft = field(default_factory=OwnSoft)
    ticket: int | None = None  # the verb that waits to be answered
    give_up_at: float = math.inf
    members: dict[DeviceKey, Member] = field(default_factory=dict)
    links: dict[DeviceKey, RoomLink] = field(default_factory=dict)
    sought: dict[DeviceKey, Sought] = field(default_factory=dict)
    retell_at: float = math.inf  # when to tell all members of one another again
    changed: bool = False  # members came or went since this was last acted upon
    refusal: str = ""  # why the last member would not have us
    answered: bool = False  # somebody who is in the room has spoken to us
    since: float = math.inf  # when we were let in
    full_for: set[DeviceKey] = field(default_factory=set)  # who say that there is no room for us
    judged_at: float = math.inf  # when to ask whether they are right

    over: str = ""  # why we must leave
    compare_at: float = math.inf  # when to tell others again which entries we hold
    removed_until: dict[UserKey, float] = field(default_factory=dict)
    met: dict[UserKey, None] = field(default_factory=dict)  # who was in here with us, in order

    beats: BeatBook = field(default_factory=BeatBook, compare=False)
    confirmed: bool = False  # our log is the whole one, by all that we hear
    agreed_until: float = math.inf  # until when what we heard last is good for that
    ask_at: float = math.inf  # when to ask for what beats say we lack

    caught_up: bool = False  # our log was once that of another member
    absent_since: float = math.inf  # nobody who runs the room has been here
    unattended: bool = False  # and for so long that it has been said
    end_told: bool = False  # that the room's life is nearly over
    successors: dict[RoomId, Successor] = field(default_factory=dict)
    moved: dict[DeviceKey, tuple[bytes, ...]] = field(default_factory=dict)  # who went to one
    continued: frozenset[UserKey] = frozenset()  # who was in the room that this one continues
    lobby: Lobby = field(default_factory=Lobby)  # who waits at the door
    waits: LobbyState | None = None  # how our own knock stands, while we wait to be let in
    invite: bytes = b""  # that we show at the door
    met_identities: dict[RecordId, Identity] = field(default_factory=dict, compare=False)

    hub: DeviceKey | None = None  # who forwards all voices; None: nobody, the room is a mesh
    standby: DeviceKey | None = None  # who would go on if the hub died
    wanted: frozenset[DeviceKey] | None = None  # who shall have media links to us; None: all
    can_grow: bool = False  # somebody would carry more people than a mesh holds
    feeds_max: int = 0  # whom we would feed as a hub; 0: nothing is said of that
    former: DeviceKey | None = None  # who was hub before, for as long as it may be needed
    standpoint: Standpoint = IN_A_MESH  # ours in what is carried
    carried: "Carried | None" = field(default=None, compare=False)
    is_listener: bool = False  # of a room whose stage alone is linked with all of the stage
    news: NewsBook = field(default_factory=NewsBook, compare=False)
    look_at: float = math.inf  # when to see again whom room links are wanted with
    looked_at: tuple[object, ...] = ()  # what it was about
    came_up_at: float = -math.inf  # when we came to the stage
    orphan_since: float = math.inf  # neither hub nor standby has a link to us
    hallway_at: float = -math.inf  # when the hallway may be asked again
    addresses: dict[DeviceKey, tuple[bytes, ...]] = field(default_factory=dict)  # as told

    paces: OrderedDict[DeviceKey, Pace] = field(default_factory=OrderedDict, compare=False)
    custody: Custody = field(default_factory=Custody, compare=False)
    _log: EntryLog | None = field(default=None, compare=False)
    asking: Asking = field(default_factory=Asking, compare=False)
    _chats: Chats | None = field(default=None, compare=False)
    _view: View | None = field(default=None, compare=False)
    reports: dict[RecordId, Bundle] = field(default_factory=dict, compare=False)

    def pace_of(self, dev: DeviceKey) -> Pace:
        """How the device went about it so far; that is not forgotten when it leaves and returns."""
        pace = self.paces.setdefault(dev, Pace())
        self.paces.move_to_end(dev)
        if len(self.paces) > PACES_MAX + len(self.members):
            # Security: never a member's, or a crowd of made-up devices could have it begin afresh.
            spare = (each for each in self.paces if each not in self.members and each != dev)
            del self.paces[next(spare)]
        return pace

    def meet(self, uid: UserKey) -> None:
        """Somebody has come in."""
        self.met.pop(uid, None)
        self.met[uid] = None
        # Security: keys are free, and an open room lets in whoever comes, for twelve hours.
        if len(self.met) > limits.MET_MAX:
            del self.met[next(iter(self.met))]

    @property
    def log(self) -> EntryLog:
        """What was decided in the room; not before we hold its genesis."""
        if self._log is None:
            assert self.genesis is not None
            self._log = EntryLog(self.genesis)
        return self._log

    @property
    def chats(self) -> Chats:
        """What was written in the room; not before we hold its genesis."""
        if self._chats is None:
            assert self.genesis is not None
            self._chats = Chats(self.genesis)
        return self._chats

    @property
    def view(self) -> View:
        """What is shown of it."""
        if self._view is None:
            self._view = View(self.chats, self.log.state)
        return self._view

    def forget_view(self) -> None:
        """Records or the log have changed."""
        self._view = None

    def is_new(self, now: Now) -> bool:
        """Whether we have been in the room for so short a time that we may not know everybody."""
        return now.mono - self.since < NEWCOMER_S

    @property
    def is_sealed(self) -> bool:
        """Whether voices here are under a secret that only those admitted are given."""
        return self.genesis is not None and epochs.is_sealed(self.log.state)

    @property
    def live(self) -> Live | None:
        """What we send under; None if there is nothing that we may send under."""
        if not self.is_sealed:
            return Live(0, keys.open_secret(self.room))
        known = self.custody.epochs
        return known.sending.live if known is not None and known.sending is not None else None

    @property
    def heard_under(self) -> tuple[Live, ...]:
        """What others may be sending under, at most two."""
        if not self.is_sealed:
            return (Live(0, keys.open_secret(self.room)),)
        known = self.custody.epochs
        return tuple(each.live for each in known.receiving) if known is not None else ()

    def may_speak(self, uid: UserKey) -> bool:
        """Whether that person's voice is carried."""
        return self.genesis is None or self.log.state.may_speak(uid)

    def is_let_in(self, uid: UserKey) -> bool:
        """Whether the room's log has that person in it (R12)."""
        return (
            not self.is_sealed
            or epochs.is_admitted(self.log.state, uid)
            or self.log.state.role_of(uid) is Role.RELAY
        )

    def is_relay(self, uid: UserKey) -> bool:
        """Whether a host has named it to carry the room: it is no person here."""
        return self.genesis is not None and uid in self.log.state.relays

    @property
    def relays(self) -> frozenset[DeviceKey]:
        """Those of the members, and we ourselves, that are relays of the room."""
        if self.genesis is None or not self.log.state.relays:
            return frozenset()
        found = {dev for dev, member in self.members.items() if self.is_relay(member.uid)}
        return frozenset(found | {self.own_dev} if self.relay in self.log.state.relays else found)

    @property
    def serves(self) -> bool:
        """Whether we are here to carry the room, without voice or ear."""
        return self.relay is not None

    @property
    def has_browsers(self) -> bool:
        """Whether a relay lets people listen who have only a browser."""
        return self.genesis is not None and bool(self.log.state.relays) and not self.is_sealed

    @property
    def is_unlisted(self) -> bool:
        """Whether the room is, or was made to be, known to nobody who was not told of it."""
        if self.genesis is None:
            return True
        return Access.CLOSED in (self.genesis.record.access, self.log.state.access)

    @property
    def count(self) -> int:
        """People whom we know in the room, ourselves included."""
        return self._own_count + len(self._people)

    @property
    def _own_count(self) -> int:
        return 0 if self.serves else 1

    @property
    def _people(self) -> Collection[Member]:
        """The members but for relays."""
        members = self.members.values()
        named = self.log.state.relays if self.genesis is not None else frozenset()
        return [each for each in members if each.uid not in named] if named else members

    @property
    def linked_count(self) -> int:
        """Of these, those with whom a room link stands or stood."""
        return self._own_count + sum(not member.is_told for member in self._people)

    def wants(self, dev: DeviceKey) -> bool:
        """Whether a media link to that member is wanted."""
        return self.wanted is None or dev in self.wanted

    @property
    def own_dev(self) -> DeviceKey:
        return DeviceKey(self.join.record.dev)

    def carries(self, dev: DeviceKey) -> bool:
        return dev in (self.hub, self.standby)

    @property
    def is_carrier(self) -> bool:
        """Whether we are hub or standby."""
        return self.carries(self.own_dev)

    @property
    def is_split(self) -> bool:
        """Whether the room has a stage and listeners, each with room links of its own kind."""
        return self.hub is not None and self.people > limits.MESH_MEMBERS_MAX

    @property
    def people(self) -> int:
        """How many are in the room; who has no link to all of them goes by what it is told."""
        counts = self.news.counts
        if self.is_carrier or not counts:
            return self.count
        return max(2, counts[self.hub if self.hub in counts else next(iter(counts))][0])

    def is_audience(self, dev: DeviceKey) -> bool:
        """Whether the device is a listener of ours, because we carry the room."""
        link = self.links.get(dev)
        return link is not None and link.is_audience

    def addrs_of(self, dev: DeviceKey) -> tuple[bytes, ...]:
        member = self.members.get(dev)
        return self.addresses.get(dev, ()) if member is None else member.addrs

    def is_up(self, dev: DeviceKey) -> bool:
        """Whether both ends of a room link to the device have greeted."""
        link = self.links.get(dev)
        return link is not None and link.stage is Stage.UP and dev in self.members

    @property
    def places(self) -> int:
        """How many people the room has room for, as far as we know."""
        if self.hub is None and not self.can_grow:
            return limits.MESH_MEMBERS_MAX
        if self.is_carrier:
            most = limits.ROOM_MEMBERS_MAX + limits.LISTENERS_MAX
            return min(most, 1 + self.feeds_max) if self.feeds_max else most
        return limits.ROOM_MEMBERS_MAX + (VISITORS_MAX if self.is_split else 0)

    def has_place(self, *, outbound: bool) -> bool:
        """Whether one more fits in. outbound: on a link that we opened."""
        # Who let us in and knows seven others besides is in a room that has outgrown the mesh,
        # whether or not we have heard yet who carries it.
        crowd = limits.MESH_MEMBERS_MAX - 1
        if outbound and any(len(each.knows) >= crowd for each in self.members.values()):
            return self.linked_count < limits.ROOM_MEMBERS_MAX
        return self.linked_count < self.places

    @property
    def on_stage_count(self) -> int:
        """Of these, who stands on its stage (room/voices.py says whose voice has a place)."""
        stands = [m for m in self.members.values() if m.speak and self.may_stand(m.uid)]
        return len(stands) + (self.own.on_stage is True)

    def may_stand(self, uid: UserKey) -> bool:
        """Whether the log lets that person have a place on the stage; the muted keep theirs."""
        return self.genesis is not None and self.log.state.role_of(uid) in ON_STAGE

    @property
    def title(self) -> str:
        """Empty for as long as we have no genesis."""
        return self.log.state.title if self.genesis is not None else ""

    def by_link(self, link: LinkNumber) -> Member | None:
        return next((member for member in self.members.values() if member.link == link), None)

    def is_linked(self, dev: DeviceKey) -> bool:
        """Whether a room link to the device is open, however far the greetings are."""
        link = self.links.get(dev)
        return link is not None and link.stage not in (Stage.OPENING, Stage.OVER)

    def hopes(self) -> bool:
        """Whether there is still somebody who may let us in."""
        return any(link.stage is not Stage.OVER for link in self.links.values())

    def listening(self) -> list[DeviceKey]:
        """Those whose link has carried our greeting, so that other frames may follow it."""
        said = (Stage.GREETED, Stage.UP)
        # Security: who was told nothing of the room yet is not told of voices either.
        return [dev for dev, link in self.links.items() if link.stage in said and not link.is_bare]
