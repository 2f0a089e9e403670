"""Who is in the room with us: greetings and farewells.

A greeting is the first word on a link that we opened, or the one answer to the first on a link that
they opened. One that comes later tells of members and gets no answer: so two nodes never greet in
circles.
"""

import contextlib
import math
from collections.abc import Generator, Iterable, Iterator
from typing import Final

from p2phouse.errors import PeerError
from p2phouse.identity.keys import Me
from p2phouse.record import limits
from p2phouse.record.cbor import Value
from p2phouse.record.envelope import Signed
from p2phouse.record.types import Access, Entry, Genesis, Speak
from p2phouse.room import frames, herald, lobby, news
from p2phouse.room.admission import Admission
from p2phouse.room.authority import Authority
from p2phouse.room.carrying import Carrying
from p2phouse.room.chat_exchange import ChatExchange
from p2phouse.room.confirmation import Confirmation
from p2phouse.room.door import Door
from p2phouse.room.frames import ByeReason, FrameKind, FrameRefused, Greeting
from p2phouse.room.graph import Graph
from p2phouse.room.hallway import Hallway
from p2phouse.room.herald import Herald
from p2phouse.room.inquiry import Inquiry
from p2phouse.room.keeper import Keeper
from p2phouse.room.lobby import Waiting
from p2phouse.room.messages import (
    CloseRoomLink,
    Event,
    EventKind,
    Output,
    RoomLinkUp,
    SendRoomFrame,
)
from p2phouse.room.negotiation import Negotiation
from p2phouse.room.parting import Parting
from p2phouse.room.reporting import Reporting
from p2phouse.room.rules import RoomState
from p2phouse.room.search import OPEN_S_MAX, Search
from p2phouse.room.stage import Place
from p2phouse.room.state import NEWCOMER_S, Member, Membership, RoomLink, Stage
from p2phouse.room.succession import Successors
from p2phouse.room.talk import Talk
from p2phouse.room.wiring import Wiring
from p2phouse.vocabulary import DeviceKey, Now, RoomId, UserKey

BYE_S: Final = 5.0  # who says bye closes the link within 2 s; who does not may not keep it
JUDGED_AFTER_S: Final = 3.0  # everybody has answered by then
RETELL_S: Final = 60.0  # two who could not reach each other when they were told try again
DOUBT_S: Final = 0.8 * RETELL_S  # somebody new has all of the log by then
NO_PLACE: Final = (ByeReason.FULL, ByeReason.NEEDS_CARRIER)
OURS: Final = (Stage.GREETED, Stage.KNOCKED)  # links that we opened, and where theirs is due
UNHEARD_S_MAX: Final = 3 * RETELL_S  # nobody is silent for so long on a link that stands


class Company:
    """The members of the room that is given with each call."""

    def __init__(
        self,
        me: Me,
        hallway: Hallway,
        negotiation: Negotiation,
        talk: Talk,
        wiring: Wiring,
        search: Search,
        authority: Authority,
        confirmation: Confirmation,
        successors: Successors,
        keeper: Keeper,
        place: Place,
        chat: ChatExchange,
        reporting: Reporting,
        door: Door,
        admission: Admission,
        carrying: Carrying,
        graph: Graph,
        herald: Herald,
        inquiry: Inquiry,
        parting: Parting,
    ) -> None:
        self._me = me
        self._hallway = hallway
        self._negotiation = negotiation
        self._talk = talk
        self._wiring = wiring
        self._search = search
        self._authority = authority
        self._confirmation = confirmation
        self._successors = successors
        self._keeper = keeper
        self._place = place
        self._chat = chat
        self._reporting = reporting
        self._door = door
        self._admission = admission
        self._carrying = carrying
        self._graph = graph
        self._herald = herald
        self._inquiry = inquiry
        self._parting = parting

    # ── arriving ─────────────────────────────────────────────────────────────────────────────

    def link_up(
        self,
        now: Now,
        membership: Membership | None,
        sender: DeviceKey,
        opened: RoomLinkUp,
    ) -> Iterator[Output]:
        """A room link is ready. Who opened it greets; who did not waits for the greeting."""
        room, outbound, near = opened.room, opened.outbound, opened.near
        if membership is None or membership.room != room:
            if outbound:
                yield CloseRoomLink(sender, room)
            return
        link = membership.links.get(sender)
        if outbound and (link is None or link.stage is Stage.OVER):
            yield CloseRoomLink(sender, room)  # we wanted it once, and do no more
            return
        until = now.mono + OPEN_S_MAX
        if not outbound:
            membership.links[sender] = RoomLink(Stage.AWAITED, until, is_new=True, is_near=near)
            return
        if link is not None and link.stage is Stage.UP:
            # The stream under it changed: who is there now greets by itself.
            link.is_new, link.is_near = True, near
        else:
            link = RoomLink(Stage.GREETED, until, is_new=True, is_near=near)
            membership.links[sender] = link
        if membership.genesis is not None and _is_too_far(link, membership.genesis.record):
            yield from self._turn_away(membership, sender, ByeReason.LOCAL_ONLY)
            return
        # Security: in a sealed room whoever we call proves to be let in before we tell of it.
        is_bare = membership.joined and membership.is_sealed and sender not in membership.members
        yield self._greet(membership, sender, is_bare=is_bare)
        if membership.invite and not membership.joined:
            yield SendRoomFrame(sender, room, lobby.shown(membership.invite))

    def _greet(
        self, membership: Membership, to: DeviceKey, *, is_bare: bool = False
    ) -> SendRoomFrame:
        """is_bare: only who we are, nothing of the room."""
        others = _to_be_named(membership, to)
        speak, genesis = membership.voice.speak, membership.genesis
        if is_bare:
            others, speak, genesis = [], None, None
        membership.links[to].told = frozenset() if is_bare else frozenset(membership.members)
        membership.links[to].is_bare = is_bare
        entries: list[Value] = [genesis.data] if genesis else []
        speaks: list[Value] = [speak.data] if speak else []
        told: list[Value] = [[member.dev, list(member.addrs)] for member in others]
        greeting: list[Value] = [
            int(FrameKind.GREETING),
            membership.join.data,
            self._me.record.data,
            [] if is_bare else list(self._hallway.own_addrs),
            told,
            entries,
            speaks,
        ]
        return SendRoomFrame(to, membership.room, greeting)

    def frame(
        self,
        now: Now,
        membership: Membership | None,
        sender: DeviceKey,
        room: RoomId,
        frame: list[Value],
    ) -> Iterator[Output]:
        """Anything that a room link brings. Raises PeerError, before anything has changed."""
        kind = frame[0] if frame and frame[0] is not True else None  # which is 1 to Python
        if membership is None or membership.room != room:
            if kind == FrameKind.GREETING:
                yield SendRoomFrame(sender, room, frames.bye(ByeReason.NOT_HERE))
            yield CloseRoomLink(sender, room)
            return
        if not membership.pace_of(sender).frames.take(now.mono):
            # Security: an honest neighbour passes on what others flood it with. Of that some is
            # not heard, and asked for later; only a flood of its own ends the link.
            if not membership.pace_of(sender).spare_frames.take(now.mono):
                raise FrameRefused(reason="far more frames than anybody needs")
            return
        member = membership.members.get(sender)
        match kind:
            case FrameKind.GREETING:
                yield from self._greeted(now, membership, sender, frame)
            case FrameKind.BYE:
                yield from self._bye(now, membership, sender, frames.read_bye(frame))
            case FrameKind.LOBBY:
                yield from self._door.heard(now, membership, sender, frame)
            case _ if kind is None or member is None or member.is_told:
                pass  # on its way when we lost or left each other: nobody's fault
            case FrameKind.NEWS:
                yield from self._news(now, membership, sender, frame)
            case _:
                before = member.soft
                yield from self._said(now, membership, member, sender, frame)
                self._herald.said(now, membership, member, frame, before)
        link = membership.links.get(sender)
        if link is not None and link.stage is Stage.UP:
            link.until = now.mono + UNHEARD_S_MAX

    def _news(
        self, now: Now, membership: Membership, sender: DeviceKey, frame: list[Value]
    ) -> Iterator[Output]:
        """Hub or standby tells what others have said. Raises PeerError."""
        # Security: nobody else is listened to, and these not without end.
        if not membership.carries(sender) or not membership.pace_of(sender).news.take(now.mono):
            return
        told = news.read(frame)
        yield from self._herald.heard(now, membership, sender, told)
        for dev, inner in told.said:
            author = membership.members.get(sender if dev is None else dev)
            if author is None or not inner:
                continue
            # A word that breaks the protocol is its author's fault or the teller's: it counts
            # for nothing, as what raises has changed nothing.
            with contextlib.suppress(PeerError):
                yield from list(self._said(now, membership, author, sender, inner))

    def _said(
        self,
        now: Now,
        membership: Membership,
        member: Member,
        sender: DeviceKey,
        frame: list[Value],
    ) -> Iterator[Output]:
        """A member's word, which the sender has brought. Raises PeerError."""
        room = membership.room
        match frame[0]:
            case FrameKind.SPEAK:
                data = frames.only_field(frame)
                speak = frames.read_speak(data, sender=member.dev, room=room)
                if sender != member.dev and not herald.is_latest(member, speak):
                    return
                _check_voices(now, membership, member, [speak])
                yield from self._talk.heard_speak(membership, member, speak)
            case FrameKind.SOFT:
                yield from self._place.heard(now, membership, member, frame)
            case FrameKind.ENTRY:
                before = membership.log.state
                new = self._authority.take(membership, frame)
                yield from self.decided(now, membership, new, before, sender)
            case FrameKind.EPOCH:
                yield from self._keeper.frame(now, membership, sender, frame)
            case FrameKind.DIGEST:
                yield from self._authority.heard_digest(now, membership, sender, frame)
                yield from self._confirmation.judge(now, membership)
            case FrameKind.SKETCH:
                yield from self._authority.heard_sketch(now, membership, sender, frame)
            case FrameKind.BEAT:
                yield from self._confirmation.heard(now, membership, sender, frame)
            case FrameKind.SUCCESSOR:
                yield from self._successors.heard(now, membership, member, frame)
            case FrameKind.CHAT:
                yield from self._chat.heard(now, membership, sender, frame)
            case FrameKind.REPORT:
                yield from self._reporting.heard(now, membership, member, frame)
            case FrameKind.CLAIM | FrameKind.BID:
                yield from self._carrying.frame(now, membership, sender, frame)
            case FrameKind.LOST:
                join = frames.read_exactly(frame, frames.DIGEST_BYTES)
                yield from self._parting.missed(now, membership, join)
            case FrameKind.SEEK:
                yield from self._inquiry.asked(now, membership, member, frame)
            case FrameKind.FOUND:
                yield from self._inquiry.answered(now, membership, sender, frame)
            case _:
                pass  # kinds that a later version adds

    def _greeted(
        self, now: Now, membership: Membership, sender: DeviceKey, frame: list[Value]
    ) -> Iterator[Output]:
        link = membership.links.get(sender)
        if link is None or link.stage in (Stage.OPENING, Stage.OVER):
            return  # on a link that we have closed, or they
        greeting = frames.read_greeting(frame, sender=sender, room=membership.room)
        member = membership.members.get(sender)
        known = member or membership.lobby.at_our_door(sender)
        is_same = known is not None and known.join.id == greeting.join.id
        if not is_same and not link.is_new:
            # Security: another process comes on a link of its own; else one peer could have
            # everybody close and open media links as fast as it signs.
            raise FrameRefused(reason="another join on the same link")
        if not is_same and not membership.pace_of(sender).joins.take(now.mono):
            raise FrameRefused(reason="it comes and goes without end")
        _check_voices(now, membership, member, greeting.speaks)
        genesis = membership.genesis or greeting.genesis
        if genesis is None or not is_understood(genesis.record):
            yield from self._turn_away(membership, sender, ByeReason.NOT_HERE)
            return
        if _is_too_far(link, genesis.record):
            membership.refusal = frames.BYE_TEXTS[ByeReason.LOCAL_ONLY]
            membership.answered = True
            yield from self._turn_away(membership, sender, ByeReason.LOCAL_ONLY)
            return
        membership.genesis = genesis
        uid = UserKey(greeting.identity.record.uid)
        if self._authority.is_out(now, membership, uid):
            yield from self._turn_away(membership, sender, ByeReason.PUT_OUT)
            return
        if member is None and self._authority.is_shut_out(now, membership, uid):
            yield from self._turn_away(membership, sender, ByeReason.LOCKED)
            return
        if member is None and not membership.has_place(outbound=link.stage in OURS):
            yield from self._turn_away(membership, sender, no_place(membership))
            return
        if self._admission.must_wait(now, membership, uid, outbound=link.stage in OURS):
            if link.stage in OURS:  # called on somebody's word, before our log knows of him
                yield CloseRoomLink(sender, membership.room)
                yield from self._parting.link_down(
                    now, membership, sender, "not let in, as far as we know"
                )
            else:
                yield from self._door.knock(now, membership, link, greeting)
            return
        yield from self._take_in(now, membership, link, greeting)

    def _take_in(
        self, now: Now, membership: Membership, link: RoomLink, greeting: Greeting
    ) -> Iterator[Output]:
        """Somebody who may be here has greeted."""
        sender = DeviceKey(greeting.join.record.dev)
        member = membership.members.get(sender)
        stage, link.stage, link.is_new = link.stage, Stage.UP, False
        if stage is Stage.AWAITED:
            yield self._greet(membership, sender)
        outbound = member.outbound if member and stage is Stage.UP else stage in OURS
        member = yield from self._admit(membership, greeting, outbound=outbound)
        if stage is not Stage.UP:
            self._herald.see(membership, sender)
            yield from self._place.greet(now, membership, sender)
            yield from self._authority.compare(membership, sender)
            yield from self._confirmation.greet(now, membership, sender)
            yield from self._chat.linked(now, membership, sender)
            yield from self._carrying.linked(membership, sender)
            # After it, or the other end would not know whose news these are.
            yield from self._herald.linked(now, membership, sender)
        if link.is_bare or membership.members.keys() - link.told - {sender}:
            # Admitted while our greeting was on its way: of any two members each of us knows,
            # the later is told of the earlier, so no two stay strangers.
            yield self._greet(membership, sender)
        member.knows = frozenset(dev for dev, _ in greeting.members)
        yield from self._graph.told(now, membership, sender, greeting.members)
        for speak in greeting.speaks:
            yield from self._talk.heard_speak(membership, member, speak)
        if stage is not Stage.UP:
            yield from self._negotiation.met(now, membership, member)

    def _turn_away(
        self, membership: Membership, sender: DeviceKey, reason: ByeReason
    ) -> Iterator[Output]:
        del membership.links[sender]
        self._search.found(membership, sender)
        yield SendRoomFrame(sender, membership.room, frames.bye(reason))
        yield CloseRoomLink(sender, membership.room)

    def _admit(
        self, membership: Membership, greeting: Greeting, *, outbound: bool
    ) -> Generator[Output, None, Member]:
        sender = DeviceKey(greeting.join.record.dev)
        self._search.found(membership, sender)
        member = membership.members.get(sender)
        if member is not None and member.join.id != greeting.join.id:
            # The same device in a new process: its old link and voice are gone for good.
            yield from self._negotiation.close(member)
            member = None
        if member is None:
            member = Member(sender, greeting.join, greeting.identity, greeting.addrs, outbound)
            membership.members[sender] = member
            membership.meet(member.uid)
            self._admission.invites.met(membership, member.identity)
            membership.changed = True
            yield from self._wiring.rewire(membership)
            yield Event(EventKind.MEMBER_JOINED, membership.room, sender, member.name)
        member.addrs = greeting.addrs
        member.outbound, member.is_told = outbound, False
        member.redial_at = member.give_up_at = math.inf
        return member

    # ── what is decided ──────────────────────────────────────────────────────────────────────

    def decided(
        self,
        now: Now,
        membership: Membership,
        new: tuple[Signed[Entry], ...],
        before: RoomState,
        sender: DeviceKey | None,
    ) -> Iterator[Output]:
        """Entries came into the log, from a member or from us."""
        if not new:
            return
        yield from self._authority.pass_on(now, membership, new, sender)
        yield from self._authority.obey(now, membership, before)
        yield from self._confirmation.changed(now, membership)
        yield from self._place.obey(now, membership, before)
        yield from self._chat.log_changed(now, membership, before)
        yield from self._part_with_strangers(now, membership)

    def _part_with_strangers(self, now: Now, membership: Membership) -> Iterator[Output]:
        """Whom the log does not let in is in no more: the room was closed to him, or he never was
        let in and somebody brought us together before we had the log."""
        if now.mono - membership.since < DOUBT_S:
            return
        for member in list(membership.members.values()):
            if not membership.is_let_in(member.uid):
                yield from self._parting.part(now, membership, member, ByeReason.REFUSED)
        if not membership.is_let_in(self._me.uid):
            membership.over = "the room was closed to those who were not let in"

    # ── the lobby ────────────────────────────────────────────────────────────────────────────

    def settle(self, now: Now, membership: Membership) -> Iterator[Output]:
        """Who was put out goes. Who waits at the door is let in, or told how it stands."""
        if not membership.joined:
            return
        for member in self._authority.put_out(now, membership):
            yield from self._parting.part(now, membership, member, ByeReason.PUT_OUT)
        yield from self._graph.settle(now, membership)
        yield from self._herald.settle(now, membership)
        if not membership.lobby.people:
            return
        yield from self._door.tidy(membership)
        before = membership.log.state
        written = yield from self._admission.by_policy(now, membership)
        yield from self.decided(now, membership, written, before, None)
        for waiting in self._admission.let_in(membership):
            yield from self._welcome(now, membership, waiting)
        yield from self._door.tell(membership)

    def _welcome(self, now: Now, membership: Membership, waiting: Waiting) -> Iterator[Output]:
        assert waiting.greeting is not None
        del membership.lobby.people[waiting.dev]
        yield from self._door.gone(membership, waiting)
        if not membership.has_place(outbound=False):
            yield from self._turn_away(membership, waiting.dev, no_place(membership))
            return
        link = membership.links[waiting.dev]
        link.stage, link.until = Stage.AWAITED, now.mono + UNHEARD_S_MAX
        yield from self._take_in(now, membership, link, waiting.greeting)

    # ── leaving ──────────────────────────────────────────────────────────────────────────────

    def leave(self, membership: Membership, reason: ByeReason) -> Iterator[Output]:
        """We go: farewell to everybody."""
        for dev in membership.links:
            if membership.is_linked(dev):
                yield SendRoomFrame(dev, membership.room, frames.bye(reason))
            yield CloseRoomLink(dev, membership.room)
        for member in membership.members.values():
            yield from self._negotiation.close(member)

    def _bye(
        self, now: Now, membership: Membership, sender: DeviceKey, reason: ByeReason
    ) -> Iterator[Output]:
        if sender in membership.links:
            # They close it. We might close the next one, which they may have opened already.
            membership.links[sender] = RoomLink(Stage.OVER, until=now.mono + BYE_S)
        membership.refusal = frames.BYE_TEXTS[reason]
        membership.answered |= reason is not ByeReason.NOT_HERE
        if reason is ByeReason.PUT_OUT and self._authority.has_gone_by(membership):
            membership.over = frames.BYE_TEXTS[reason]
        if reason not in NO_PLACE:  # in a full room a place may become free
            self._search.refused(membership, sender)
        member = membership.members.get(sender)
        if member is not None:
            self._successors.moved(membership, member, reason)
            yield from self._parting.remove(now, membership, member, EventKind.MEMBER_LEFT)
        elif reason in NO_PLACE and now.mono - membership.since < NEWCOMER_S:
            membership.full_for.add(sender)
            membership.judged_at = min(membership.judged_at, now.mono + JUDGED_AFTER_S)

    def has_no_place(self, membership: Membership) -> bool:
        """Whether those who find the room full outnumber those who let us in.

        Two who come last at once, through different members, are each let in by some and turned
        away by others. The one with fewer friends goes, and the other is let in by all.
        """
        members = membership.members.values()
        # Security: only whom half of the members know has a say, or one liar among them could
        # have friends outside turn every newcomer away.
        turned_away = [
            dev
            for dev in membership.full_for - membership.members.keys()
            if 2 * sum(dev in member.knows for member in members) >= len(members)
        ]
        membership.judged_at = math.inf
        return len(turned_away) >= len(members)

    # ── time ─────────────────────────────────────────────────────────────────────────────────

    def tick(self, now: Now, membership: Membership) -> Iterator[Output]:
        yield from self._authority.tick(now, membership)
        yield from self._chat.tick(now, membership)
        yield from self._door.tick(now, membership)
        if membership.retell_at <= now.mono:
            yield from self._part_with_strangers(now, membership)
            membership.retell_at = now.mono + self._search.about(RETELL_S)
            for dev, link in membership.links.items():
                if link.stage is Stage.UP and not link.is_audience:
                    yield self._greet(membership, dev)
        for dev, link in list(membership.links.items()):
            if link.until <= now.mono:
                yield CloseRoomLink(dev, membership.room)
                yield from self._parting.link_down(
                    now, membership, dev, "it did not answer in time"
                )
        for member in list(membership.members.values()):
            if member.give_up_at <= now.mono:
                yield from self._parting.lose(now, membership, member)
            elif member.redial_at <= now.mono:
                member.redial_at = math.inf  # until we know how this one went
                yield from self._search.dial(now, membership, member.dev, member.addrs)

    def deadline(self, membership: Membership) -> float:
        times = [
            membership.retell_at,
            membership.compare_at,
            membership.look_at,
            self._herald.deadline(membership),
            self._chat.deadline(membership),
            *(link.until for link in membership.links.values()),
        ]
        for member in membership.members.values():
            times += [member.redial_at, member.give_up_at]
        return min(times, default=math.inf)


def _check_voices(
    now: Now, membership: Membership, member: Member | None, speaks: Iterable[Signed[Speak]]
) -> None:
    """Raises FrameRefused if the sender of these makes new voices without end."""
    known = member.speak.id if member is not None and member.speak is not None else None
    for speak in speaks:
        voices = membership.pace_of(DeviceKey(speak.record.dev)).voices
        # Security: a voice that takes our slot has us make another; not as fast as a peer signs.
        if speak.id != known and not voices.take(now.mono):
            raise FrameRefused(reason="new voices without end")


def _to_be_named(membership: Membership, to: DeviceKey) -> list[Member]:
    """Of whom our greeting tells: of all; where there are listeners of hub and standby alone, who
    tell of the others."""
    others = [member for member in membership.members.values() if member.dev != to]
    if membership.is_split:
        others = [member for member in others if membership.carries(member.dev)]
    return others[: frames.MEMBERS_TOLD_MAX]


def no_place(membership: Membership) -> ByeReason:
    """Why somebody does not fit in."""
    is_mesh = membership.places == limits.MESH_MEMBERS_MAX
    return ByeReason.NEEDS_CARRIER if is_mesh else ByeReason.FULL


def _is_too_far(link: RoomLink, genesis: Genesis) -> bool:
    # Security: net asks the cards that it saw; somebody with a link may come to a room whose card
    # this machine never saw, or has forgotten.
    return genesis.access is Access.LAN and not link.is_near


def is_understood(genesis: Genesis) -> bool:
    """Whether this version knows such rooms. In others our voice would be public, or our address
    told, against the will of who opened them."""
    return genesis.exposure == "direct"
