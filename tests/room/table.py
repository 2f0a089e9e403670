"""A core on a table: time moves when told to, people are keys, and all that it says is kept."""

import random
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TypeVar

from p2phouse import channel
from p2phouse.identity.keys import Me, make_identity
from p2phouse.record import envelope
from p2phouse.record.cbor import Value
from p2phouse.record.envelope import Signed
from p2phouse.record.types import Access, Genesis, Join, Offer, Soft, SoftKind, Speak
from p2phouse.room import frames, messages
from p2phouse.room.messages import Answer, Event, EventKind, Input, Output, SendRoomFrame
from p2phouse.room.room import Rooms
from p2phouse.room.state import Member, Membership
from p2phouse.vocabulary import DeviceKey, LinkNumber, Now, RoomId

UNIX = 1_800_000_000.0
ADDR = b"\x04\x0a\x00\x00\x01\x06\x00\x01"
OutputT = TypeVar("OutputT", bound=Output)
DownT = TypeVar("DownT", bound=channel.Down)


@dataclass
class Person:
    """Somebody else, who signs whatever the test wants."""

    me: Me
    addrs: tuple[bytes, ...] = (ADDR,)
    genesis: Signed[Genesis] | None = None  # of the room that this person opened
    _soft_seq: int = 0

    @property
    def dev(self) -> DeviceKey:
        return self.me.dev

    def join(self, room: RoomId, ts: float = UNIX) -> Signed[Join]:
        record = Join(room, self.dev, self.me.record.id, None, int(ts))
        return envelope.sign(record, self.me.device_key)

    def speak(self, room: RoomId, slot: int = 3, sid: bytes = b"\1" * 16) -> Signed[Speak]:
        record = Speak(room, self.dev, sid, slot, int(UNIX), bytes(32))
        return envelope.sign(record, self.me.device_key)

    def voice_frame(self, room: RoomId, slot: int = 3, sid: bytes = b"\1" * 16) -> list[Value]:
        return [frames.FrameKind.SPEAK, self.speak(room, slot, sid).data]

    def mute_frame(self, room: RoomId, muted: bool, seq: int | None = None) -> list[Value]:
        self._soft_seq = self._soft_seq + 1 if seq is None else seq
        soft = Soft(room, self.dev, self._soft_seq, SoftKind.OWN_MUTE, muted, int(UNIX))
        return [frames.FrameKind.SOFT, envelope.sign(soft, self.me.device_key).data]

    def soft_frame(
        self, room: RoomId, kind: int, val: object, *, seq: int | None = None, ts: int = int(UNIX)
    ) -> list[Value]:
        self._soft_seq = self._soft_seq + 1 if seq is None else seq
        soft = Soft(room, self.dev, self._soft_seq, kind, val, ts)  # type: ignore[arg-type]
        return [frames.FrameKind.SOFT, envelope.sign(soft, self.me.device_key).data]

    def greeting(
        self,
        room: RoomId,
        genesis: Signed[Genesis] | None,
        *,
        ts: float = UNIX,
        members: Iterable[DeviceKey] = (),
        speaks: Iterable[Signed[Speak]] = (),
    ) -> list[Value]:
        return [
            frames.FrameKind.GREETING,
            self.join(room, ts).data,
            self.me.record.data,
            list(self.addrs),
            [[dev, [ADDR]] for dev in members],
            [genesis.data] if genesis is not None else [],
            [speak.data for speak in speaks],
        ]

    def offer(
        self,
        to: DeviceKey,
        room: RoomId,
        *,
        answer: bytes | None = None,
        n: bytes = b"n" * 16,
        ts: float = UNIX,
    ) -> bytes:
        record = Offer(
            room, self.dev, to, n, answer, "ufrag", "p" * 22, bytes(32), ("cand",), int(ts)
        )
        return envelope.sign(record, self.me.device_key).data


@dataclass
class Table:
    """The core under test and the clock it is given."""

    seed: int = 0
    mouth: str = "device"
    ear: str = "null"
    serves: bool = False  # it is a relay
    mono: float = 100.0
    unix: float = UNIX
    said: list[Output] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)
        self.me = make_identity(now=self.now, entropy=self.rng.randbytes, name="me")
        self.restart()
        self._tickets = 0

    def restart(self) -> None:
        """A new process under the same keys."""
        self.rooms = Rooms(
            self.me,
            rng=random.Random(self.seed + 1),
            entropy=self.rng.randbytes,
            mouth=self.mouth,
            ear=self.ear,
            serves=self.serves,
        )
        self.tell(self.me.dev, messages.OwnAddresses((ADDR,)))

    # ── time and people ──────────────────────────────────────────────────────────────────────

    @property
    def now(self) -> Now:
        return Now(self.mono, self.unix)

    def wait(self, seconds: float) -> list[Output]:
        """Lets time pass, with a tick whenever the core wants one; returns what it said."""
        end = self.mono + seconds
        said: list[Output] = []
        while self.rooms.deadline <= end:
            self._go_to(max(self.mono, self.rooms.deadline))
            outputs = self.rooms.tick(self.now)
            assert self.rooms.deadline > self.mono, "a core that spins"
            said += outputs
        self._go_to(end)
        self.said += said
        return said

    def _go_to(self, mono: float) -> None:
        self.unix += mono - self.mono
        self.mono = mono

    def person(self, name: str = "ann", *, above: DeviceKey | None = None) -> Person:
        """Somebody new. above: with a device id above this one; else any."""
        while True:
            me = make_identity(now=self.now, entropy=self.rng.randbytes, name=name)
            if above is None or me.dev > above:
                return Person(me)

    def person_below(self, dev: DeviceKey, name: str = "ann") -> Person:
        while True:
            person = self.person(name)
            if person.dev < dev:
                return person

    # ── telling and asking ───────────────────────────────────────────────────────────────────

    def tell(self, sender: DeviceKey, message: Input) -> list[Output]:
        outputs = self.rooms.receive(self.now, sender, message)
        self.said += outputs
        return outputs

    def media(self, message: channel.Up) -> list[Output]:
        return self.tell(self.me.dev, message)

    def ask(self, action: messages.VerbAction) -> int:
        self._tickets += 1
        self.tell(self.me.dev, messages.Verb(self._tickets, action))
        return self._tickets

    def answers(self, ticket: int) -> list[Answer]:
        return [answer for answer in of(Answer, self.said) if answer.ticket == ticket]

    def answer(self, ticket: int) -> Answer:
        (answer,) = self.answers(ticket)
        return answer

    # ── a room ───────────────────────────────────────────────────────────────────────────────

    def open(self, *, lan: bool = False, access: Access = Access.OPEN) -> RoomId:
        self.ask(messages.Open("Tea", Access.LAN if lan else access))
        self.key_voice()
        return self.here.room

    @property
    def here(self) -> Membership:
        assert self.rooms.membership is not None
        return self.rooms.membership

    def key_voice(self) -> list[Output]:
        """Media made the voice that it was last asked for."""
        return self.media(channel.VoiceKey(self.here.voice.sid, bytes(32)))

    def up(self, person: Person, *, outbound: bool = False, near: bool = True) -> list[Output]:
        return self.tell(person.dev, messages.RoomLinkUp(self.here.room, outbound, near))

    def ask_for(self, person: Person) -> None:
        """Somebody tells us of the person and goes; we ask for a room link to the person."""
        teller = self.person("teller")
        self.let_in(teller, members=[person.dev])
        self.frame(teller, frames.bye(frames.ByeReason.LEAVING))
        self.down(teller)

    def down(self, person: Person) -> list[Output]:
        return self.tell(person.dev, messages.RoomLinkDown(self.here.room, "broken"))

    def frame(self, person: Person, frame: list[Value]) -> list[Output]:
        return self.tell(person.dev, messages.RoomFrame(self.here.room, frame))

    def greet(self, person: Person, **told: object) -> list[Output]:
        greeting = person.greeting(self.here.room, self.here.genesis, **told)  # type: ignore[arg-type]
        return self.frame(person, greeting)

    def let_in(self, person: Person, **told: object) -> Member:
        """The person opens a room link and greets."""
        self.up(person)
        self.greet(person, **told)
        return self.here.members[person.dev]

    def connect(self, person: Person) -> LinkNumber:
        """A media link that the person offered comes up."""
        (opened,) = down(
            channel.OpenLink,
            self.tell(person.dev, messages.OfferHeard(person.offer(self.me.dev, self.here.room))),
        )
        self.describe(opened.link)
        self.link(opened.link, channel.LinkStatus.CONNECTED)
        return opened.link

    def call(self, person: Person) -> LinkNumber:
        """We open a room link to the person and offer a media link, which comes up."""
        self.ask_for(person)
        self.up(person, outbound=True)
        (opened,) = down(channel.OpenLink, self.greet(person))
        (offer,) = of(messages.SendOffer, self.describe(opened.link))
        answer = person.offer(self.me.dev, self.here.room, answer=offer.offer, n=b"a" * 16)
        self.tell(person.dev, messages.OfferAnswered(answer))
        self.link(opened.link, channel.LinkStatus.CONNECTED)
        return opened.link

    def describe(self, link: LinkNumber) -> list[Output]:
        return self.media(channel.LocalDescription(link, "mine", "q" * 22, bytes(32), ()))

    def link(self, link: LinkNumber, status: channel.LinkStatus) -> list[Output]:
        return self.media(channel.LinkState(link, status, "so it is"))


def of(kind: type[OutputT], outputs: Iterable[Output]) -> list[OutputT]:
    return [output for output in outputs if isinstance(output, kind)]


def commands(outputs: Iterable[Output]) -> list[channel.Down]:
    """All that media is told."""
    return [output.message for output in of(messages.ToMedia, outputs)]


def down(kind: type[DownT], outputs: Iterable[Output]) -> list[DownT]:
    """What media is told, of one kind."""
    return [message for message in commands(outputs) if isinstance(message, kind)]


def kinds(outputs: Iterable[Output]) -> list[EventKind]:
    return [event.kind for event in of(Event, outputs)]


def frame_kinds(outputs: Iterable[Output]) -> list[Value]:
    """Kinds of the frames sent."""
    return [frame.frame[0] for frame in of(SendRoomFrame, outputs)]
