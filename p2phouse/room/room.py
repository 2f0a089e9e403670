"""The one core of the control process: the rooms this node knows and the one it is in.

It joins hall (which rooms exist), room (who is in ours) and shape (who carries what). node.py
drives it with real sockets, tests/sim with a simulated world: the same wiring in both.
A node is in one room at a time.
"""

import math
import random
from collections.abc import Iterable, Iterator
from contextlib import suppress

from p2phouse import channel
from p2phouse.channel import LinkState, LocalDescription, Stats, VoiceKey, VoiceState
from p2phouse.errors import P2PHouseError, UserError
from p2phouse.hall import invitation
from p2phouse.hall.card import RoomCard, make_genesis
from p2phouse.hall.directory import Directory
from p2phouse.hall.invitation import Invitation
from p2phouse.identity.keys import Me, key_tag
from p2phouse.record.envelope import Signed
from p2phouse.record.types import Act, Entry
from p2phouse.room import messages, stage_view
from p2phouse.room.admission import Admission, NobodyWaits, SeveralWait
from p2phouse.room.attendance import Attendance
from p2phouse.room.authority import Authority, NobodyCalled, SeveralCalled
from p2phouse.room.carrying import Carrying
from p2phouse.room.carrying_view import CarryingView
from p2phouse.room.chat_exchange import ChatExchange
from p2phouse.room.company import Company
from p2phouse.room.confirmation import Confirmation
from p2phouse.room.door import Door
from p2phouse.room.earshot import Earshot
from p2phouse.room.graph import Graph
from p2phouse.room.greetings import Greetings
from p2phouse.room.hallway import Hallway
from p2phouse.room.herald import Herald
from p2phouse.room.inquiry import Inquiry
from p2phouse.room.invites import Invites
from p2phouse.room.keeper import Keeper
from p2phouse.room.lobby import Waiting
from p2phouse.room.messages import Answer, Input, Output
from p2phouse.room.negotiation import Negotiation
from p2phouse.room.parting import Parting
from p2phouse.room.report import Bundle
from p2phouse.room.reporting import Reporting
from p2phouse.room.rules import Role
from p2phouse.room.search import Search
from p2phouse.room.signs import Signs
from p2phouse.room.silence import Silence
from p2phouse.room.stage import Place
from p2phouse.room.state import Member, Membership
from p2phouse.room.stay import Stay
from p2phouse.room.succession import Successors
from p2phouse.room.talk import Talk
from p2phouse.room.wiring import Wiring
from p2phouse.vocabulary import DeviceKey, Entropy, Now, RoomId, UserKey


class NobodyThere(UserError):
    """That node answers but has no room open. Ask for the room's link instead."""


class NoGuestsHere(UserError):
    """Guests speak in open rooms that a relay carries. Give it one: p2phouse relays use HOST."""


class Rooms:
    """See the module. `receive` and `tick` return what must happen, in order."""

    def __init__(
        self,
        me: Me,
        *,
        rng: random.Random,
        entropy: Entropy,
        ear: str = "null",
        mouth: str = "none",
        blocked: Iterable[UserKey] = (),
        serves: bool = False,
    ) -> None:
        """ear, mouth: the SetOutput and SetInput specs to use in a room until told otherwise.
        blocked: whom our person does not want to hear. serves: there is no person here, and the
        node is in the room to carry it."""
        self.me = me
        self._entropy = entropy
        self._hallway = Hallway(me, rng=rng)
        self._wiring = Wiring(me.uid)
        signs = Signs(me)
        self.talk = Talk(me, self._wiring, signs, entropy=entropy, ear=ear, mouth=mouth)
        self._place = Place(me, self.talk, self._wiring, signs)
        self._negotiation = Negotiation(me, rng=rng, entropy=entropy)
        self._search = Search(me.dev, rng=rng)
        self._authority = Authority(me, self.talk, self._wiring)
        confirmation = Confirmation(me, rng=rng)
        attendance = Attendance(me, mono_of=self._hallway.mono_of)
        self._successors = Successors(me, self._hallway, attendance, entropy)
        self._keeper = Keeper(me, self._wiring, entropy=entropy)
        self.earshot = Earshot(blocked)
        self.silence = Silence(me, self.talk, self.earshot)
        self._chat = ChatExchange(me, self.earshot)
        self._reporting = Reporting(me)
        self._carrying = Carrying(me, self._wiring)
        self._carrying_view = CarryingView(me)
        invites = Invites(me, entropy=entropy)
        door = Door(me, invites)
        self.admission = Admission(me, invites, door)
        graph = Graph(me, self._hallway, self._search)
        herald = Herald(me, self._authority, self._wiring, self._negotiation)
        self._inquiry = Inquiry(me, herald)
        self._parting = Parting(self._negotiation, self._wiring, self._search, graph, herald)
        self._greetings = Greetings(
            me,
            self._hallway,
            self._negotiation,
            self.talk,
            self._wiring,
            self._search,
            self._authority,
            confirmation,
            self._place,
            self._chat,
            door,
            self.admission,
            self._carrying,
            graph,
            herald,
            self._parting,
        )
        self._company = Company(
            me,
            self._negotiation,
            self.talk,
            self._search,
            self._authority,
            confirmation,
            self._successors,
            self._keeper,
            self._place,
            self._chat,
            self._reporting,
            door,
            self.admission,
            self._carrying,
            graph,
            herald,
            self._inquiry,
            self._greetings,
            self._parting,
        )
        self._stay = Stay(
            me,
            hallway=self._hallway,
            wiring=self._wiring,
            talk=self.talk,
            negotiation=self._negotiation,
            search=self._search,
            company=self._company,
            confirmation=confirmation,
            attendance=attendance,
            successors=self._successors,
            place=self._place,
            carrying=self._carrying,
            serves=serves,
        )

    # ── the core's three members ─────────────────────────────────────────────────────────────

    def receive(self, now: Now, sender: DeviceKey, message: Input) -> list[Output]:
        """Raises PeerError if the sender broke the protocol.

        Then nothing has changed but how much the sender may do at this pace; whoever drives this
        closes the sender's room link and says so by a RoomLinkDown.
        """
        self._hallway.see(now)
        outputs = list(self._dispatch(now, sender, message))
        return self._audible(outputs + list(self._settle(now)))

    def tick(self, now: Now) -> list[Output]:
        self._hallway.see(now)
        outputs = [*self._hallway.tick(now), *self._stay.tick(now), *self._settle(now)]
        return self._audible(outputs + list(self._stay.drop(now)))

    def _audible(self, outputs: list[Output]) -> list[Output]:
        """Security: first of all how loud each voice is, so that of a blocked person nothing is
        heard; and nothing is told of what such a person does."""
        gains = self.earshot.tell(self.membership)
        return [*gains, *(each for each in outputs if self.earshot.shows(self.membership, each))]

    @property
    def deadline(self) -> float:
        membership = self.membership
        keys_at = membership.custody.deadline if membership is not None else math.inf
        return min(
            self._hallway.deadline,
            self._stay.deadline,
            keys_at,
            self.silence.deadline,
            self._inquiry.deadline,
        )

    # ── what is known ────────────────────────────────────────────────────────────────────────

    @property
    def membership(self) -> Membership | None:
        return self._stay.membership

    @property
    def room(self) -> RoomId | None:
        return self.membership.room if self.membership is not None else None

    @property
    def directory(self) -> Directory:
        return self._hallway.directory

    @property
    def ghosts(self) -> set[RoomId]:
        """Rooms on the list in which nobody answered at the last try."""
        return self._hallway.ghosts

    def member_facts(self, member: Member | None) -> dict[str, object]:
        """Somebody in it, None for ourselves, as the API tells it."""
        here = self.membership
        if here is None or here.genesis is None:
            return {}  # nobody has let us in yet
        return stage_view.member_facts(here, self.me, member) | self.earshot.facts(member)

    @property
    def carry(self) -> messages.Carry:
        """What our person lets this node do for others."""
        return self._carrying.offer

    @property
    def wants_levels(self) -> bool:
        """Whether Levels mean something to us now; they are many."""
        return self.membership is not None and self.membership.own.hand is not None

    def live_cards(self, now: Now) -> list[bytes]:
        """For a hall exchange: own card first, then the others, newest first."""
        return self._hallway.live_cards(now)

    @property
    def following(self) -> frozenset[UserKey]:
        """Whom the owner of this node follows."""
        return self.admission.following

    def people_near(self, text: str) -> tuple[UserKey, str] | None:
        """Somebody in our room or its lobby, and the name; None if nobody. Raises SeveralCalled."""
        membership = self.membership
        if membership is None or not membership.joined:
            return None
        waiting = None
        with suppress(NobodyWaits, SeveralWait):
            waiting = self.admission.find(membership, text)
        try:
            uid = self._authority.find(membership, text)
        except NobodyCalled:
            return (waiting.uid, waiting.name) if waiting is not None else None
        # Security: who knocks under a member's name is not taken for that one.
        if waiting is not None and waiting.uid != uid:
            raise SeveralCalled(text=text, tags=f"{key_tag(uid)}, {key_tag(waiting.uid)}")
        names = (each.name for each in membership.members.values() if each.uid == uid)
        return uid, next(names, "")

    @property
    def waiting(self) -> list[Waiting]:
        """Who waits to be let into our room. Raises NotInARoom."""
        return self._stay.here.lobby.known

    def person(self, text: str) -> UserKey:
        """Somebody of our room, by name, key tag or PeerId. Raises UserError."""
        return self._authority.find(self._stay.here, text)

    def name_of(self, uid: UserKey) -> str:
        """As that person calls itself in our room; empty if nobody there knows."""
        here = self._stay.here
        names = {member.uid: member.name for member in here.members.values()}
        names = {each.uid: each.name for each in here.view.messages} | names
        return names.get(uid, "")

    def chat(self, since: int = 0) -> dict[str, object]:
        """What is shown of the room's chat, as the API tells it."""
        return self._chat.facts(self._stay.here, since)

    def prepare_report(self, now: Now, about: UserKey, text: str) -> bytes:
        """A signed bundle, to be kept and then sent. Raises UserError."""
        return self._reporting.prepare(now, self._stay.here, about, text)

    @property
    def reports(self) -> list[Bundle]:
        return self._reporting.known(self.membership)

    @property
    def link(self) -> str:
        """By which others come to our room through us. Raises NotInARoom."""
        return self._stay.link

    def facts(self) -> dict[str, object]:
        """The room we are in, as the API tells it."""
        facts = self._stay.facts()
        if self.membership is not None and facts["room"] is not None and "waiting" not in facts:
            facts |= self._carrying_view.facts(self.membership)
            facts["silence"] = self.silence.fact(self.me.dev)
        return facts

    # ── dispatch ─────────────────────────────────────────────────────────────────────────────

    def _dispatch(self, now: Now, sender: DeviceKey, message: Input) -> Iterator[Output]:
        membership = self.membership
        match message:
            case messages.CardHeard(data):
                yield from self._card_heard(now, data)
            case messages.OwnAddresses(addrs):
                self._hallway.told_addresses(now, addrs)
            case messages.Verb(ticket, action):
                yield from self._try(now, ticket, action)
            case messages.Following(people):
                self.admission.following = people
            case messages.Carry():
                self._carrying.offer = message
            case messages.Invites(state):
                self.admission.invites.remembered(state)
            case messages.Resume(state):
                yield from self._stay.resume(now, state)
            case messages.RoomLinkUp():
                yield from self._greetings.link_up(now, membership, sender, message)
            case messages.RoomFrame(room, frame):
                yield from self._company.frame(now, membership, sender, room, frame)
            case messages.RoomLinkDown(room, reason):
                if membership is not None and membership.room == room:
                    yield from self._parting.link_down(now, membership, sender, reason)
            case messages.MediaGone():
                self.earshot.media_gone()
                self.silence.media_gone()
                yield from self._stay.media_gone(now)
            case _:
                if membership is not None:
                    yield from self._in_room(now, membership, sender, message)

    def _in_room(
        self, now: Now, membership: Membership, sender: DeviceKey, message: Input
    ) -> Iterator[Output]:
        """What means nothing outside of a room."""
        match message:
            case messages.OfferHeard(data):
                yield from self._negotiation.heard_offer(now, membership, sender, data)
                yield from self._wiring.rewire(membership)
            case messages.Guests(count):
                yield from self._place.count_guests(now, membership, count)
            case messages.OfferAnswered(data):
                yield from self._negotiation.answered(membership, sender, data)
            case messages.OfferFailed(offer):
                member = membership.members.get(sender)
                if member is not None:
                    yield from self._negotiation.offer_failed(now, member, offer)
            case VoiceKey(sid, akey):
                if sid == membership.voice.sid:
                    yield from self.talk.keyed(now, membership, akey)
            case LocalDescription():
                yield from self._negotiation.described(now, membership, message)
            case LinkState(link):
                member = membership.by_link(link)
                yield from self._negotiation.link_state(now, membership, message)
                yield from self._wiring.rewire(membership)
                if member is not None:
                    yield from self._parting.media_changed(now, membership, member)
            case VoiceState():
                self.silence.voice_state(message)
                yield from self.talk.voice_state(now, membership, message)
                yield from self._keeper.voice_state(now, membership, message)
            case Stats():
                self.talk.keep_stats(now, message)
                self.silence.stats(now, message)
                self._carrying.stats(now, membership, message)
                self._carrying_view.stats(now, message)
            case channel.Pulls() | channel.Released():
                yield from self._carrying.media(now, membership, message)
            case channel.Levels():
                yield from self._place.heard_levels(now, membership, message)
            case channel.AuditFailed(ssrc):
                yield from self._wiring.audit_failed(membership, ssrc)
            case channel.Silent(link):
                yield from self._parting.silence(now, membership, link, silent=True)
            case channel.Heard(link):
                yield from self._parting.silence(now, membership, link, silent=False)

    def _card_heard(self, now: Now, data: bytes) -> Iterator[Output]:
        card, outputs = self._hallway.heard(now, data)
        yield from outputs
        membership = self.membership
        if card is None or membership is None or not membership.joined:
            return
        yield from self._successors.seen(now, membership, card)
        if card.room == membership.room and not card.is_tombstone:
            # Its host is in it, and not with us: a partition healed, or it came back.
            at = card.card.record.at
            yield from self._search.told(now, membership, card.publisher, card.publisher, at)

    def _settle(self, now: Now) -> Iterator[Output]:
        yield from self._sought(now)
        yield from self._stay.settle(now)
        if self.membership is not None:
            yield from self._keeper.settle(now, self.membership)
        yield from self._carrying_view.settle(self.membership)
        yield from self.silence.settle(now, self.membership)
        yield from self._hallway.publish(now, self.membership)

    # ── verbs ────────────────────────────────────────────────────────────────────────────────

    def _try(self, now: Now, ticket: int, action: messages.VerbAction) -> Iterator[Output]:
        try:
            yield from self._verb(now, ticket, action)
        except NobodyCalled as error:
            # It may be a listener of whom we have not heard.
            if not (yield from self._inquiry.begin(now, self._stay.here, ticket, action)):
                yield Answer(ticket, error=error)
        except P2PHouseError as error:
            yield Answer(ticket, error=error)

    def _sought(self, now: Now) -> Iterator[Output]:
        """What waited until somebody was found, or was not."""
        for wanted in self._inquiry.take_done(now, self.membership):
            try:
                match wanted.action:
                    case messages.Listeners(text):
                        facts = stage_view.listener_facts(self._stay.here, text)
                        yield Answer(wanted.ticket, facts)
                    case action:
                        yield from self._verb(now, wanted.ticket, action)
            except P2PHouseError as error:
                yield Answer(wanted.ticket, error=error)

    def _verb(self, now: Now, ticket: int, action: messages.VerbAction) -> Iterator[Output]:
        stay = self._stay
        match action:
            case messages.Open(title, access, stage, speakers_max):
                stay.refuse_second()
                genesis = make_genesis(
                    self.me,
                    title=title,
                    access=access,
                    now=now,
                    entropy=self._entropy,
                    speakers_max=speakers_max,
                )
                default = Role.LISTENER if stage == "invited" else Role.SPEAKER
                yield from stay.open(now, genesis, ticket, default=default)
            case messages.Join(text):
                yield from self._join(now, ticket, text)
            case messages.JoinAt(dev):
                stay.refuse_second()
                rooms = self.directory.of(dev, now)
                if not rooms:
                    raise NobodyThere
                yield from self._join_card(now, ticket, rooms[0])
            case messages.HandOver():
                yield from self._carrying.hand_over(now, stay.here, ticket)
            case messages.Leave():
                yield from stay.leave(now, "")
                yield Answer(ticket)
            case messages.Continue():
                yield from stay.continue_room(now, ticket)
            case messages.Move():
                yield from stay.move(now, ticket)
            case messages.SetMuted(muted):
                yield from self.talk.set_muted(now, stay.here, muted)
                yield Answer(ticket, {"muted": muted, "mouth": self.talk.mouth})
            case messages.Say(spec):
                yield from self.talk.say(now, stay.here, ticket, spec)
            case messages.StopSaying():
                yield from self.talk.said(now, stay.here, None)
                yield Answer(ticket)
            case messages.SetEar(spec):
                yield from self.talk.hear_to(stay.here, spec)
                yield Answer(ticket)
            case (
                messages.Decide()
                | messages.NameRelay()
                | messages.NameVoice()
                | messages.SetAccess()
                | messages.Admit()
                | messages.Invite()
                | messages.MuteAll(lock=True)
                | messages.UnmuteAll()
            ):
                before = stay.here.log.state
                written = self._write(stay.here, action)
                yield Answer(ticket, {"entries": [signed.id.hex() for signed in written]})
                yield from self._company.decided(now, stay.here, written, before, None)
            case messages.Refuse(who):
                yield from self.admission.refuse(now, stay.here, who)
                yield Answer(ticket)
            case messages.MakeInvite(hours, once):
                invite = yield from self.admission.invites.make(
                    now, stay.here, hours=hours, once=once
                )
                yield Answer(ticket, self._stay.link_facts(invite))
            case messages.Write():
                yield from self._chat.write(now, stay.here, ticket, action)
                if stay.here.own.typing:
                    yield from self._place.act(now, stay.here, messages.Typing(on=False))
            case messages.SendReport():
                yield from self._reporting.send(stay.here, ticket, action)
            case messages.PageSound(blocked):
                self.silence.page_sound(blocked=blocked)
                yield Answer(ticket)
            case messages.SetBlocked(uid, blocked):
                self.earshot.set_blocked(uid, blocked)
                yield Answer(ticket)
            case messages.SetLoudness(uid, percent):
                self.earshot.set_percent(uid, percent)
                yield Answer(ticket)
            case messages.Listeners(text):
                if not (yield from self._inquiry.begin(now, stay.here, ticket, action)):
                    yield Answer(ticket, stage_view.listener_facts(stay.here, text))
            case _:
                yield from self._on_stage(now, stay.here, action)
                yield Answer(ticket)

    def _write(
        self,
        membership: Membership,
        action: messages.Decide
        | messages.NameRelay
        | messages.NameVoice
        | messages.SetAccess
        | messages.Admit
        | messages.Invite
        | messages.MuteAll
        | messages.UnmuteAll,
    ) -> tuple[Signed[Entry], ...]:
        match action:
            case messages.Decide():
                return self._authority.write(membership, action)
            case messages.NameRelay(uid):
                return membership.log.write(self.me, Act.ROLE, uid, Role.RELAY.value)
            case messages.NameVoice(uid):
                if not membership.has_browsers:
                    raise NoGuestsHere
                return membership.log.write(self.me, Act.ROLE, uid, Role.SPEAKER.value)
            case messages.SetAccess(access):
                return self.admission.set_access(membership, access)
            case messages.Admit(who):
                return self.admission.admit(membership, who)
            case messages.Invite(who):
                self._place.refuse_full(membership)
                return self._authority.write(membership, messages.Decide(Act.ROLE, who, "speaker"))
            case messages.MuteAll() | messages.UnmuteAll():
                muted = isinstance(action, messages.MuteAll)
                return self._place.lock_mute(membership, muted=muted)

    def _on_stage(
        self, now: Now, membership: Membership, action: messages.StageAction | messages.MuteAll
    ) -> Iterator[Output]:
        match action:
            case messages.MuteAll():
                yield from self._place.please_mute(now, membership)
            case messages.LowerHand("*"):
                yield from self._place.lower_of(now, membership, None)
            case messages.LowerHand(who) if who:
                subject = self._authority.find(membership, who)
                yield from self._place.lower_of(now, membership, subject)
            case _:
                yield from self._place.act(now, membership, action)

    def _join(self, now: Now, ticket: int, text: str) -> Iterator[Output]:
        link, card = None, None
        if text.startswith(invitation.SCHEME):
            link = invitation.read(text)
            room = link.room
        else:
            card = self.directory.find(text, now)
            room = card.room
        membership = self.membership
        if membership is not None and membership.joined and membership.room == room:
            yield Answer(ticket, self.facts())
            return
        self._stay.refuse_second()
        if card is not None:
            yield from self._join_card(now, ticket, card)
        elif link is not None:
            known = self.directory.get(room, now)
            genesis = known.genesis if known is not None else None
            yield from self._stay.approach(now, genesis, link, ticket)

    def _join_card(self, now: Now, ticket: int, card: RoomCard) -> Iterator[Output]:
        way = Invitation(card.room, card.publisher, card.card.record.at)
        yield from self._stay.approach(now, card.genesis, way, ticket)
