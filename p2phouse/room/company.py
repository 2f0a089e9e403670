"""Who is in the room with us: what its members say, what is decided of them, and farewells.

How two of them meet is in room/greetings.py, how they lose each other in room/parting.py.
"""

import contextlib
import math
from collections.abc import Iterator
from typing import Final

from p2phouse.errors import PeerError
from p2phouse.identity.keys import Me
from p2phouse.record.cbor import Value
from p2phouse.record.envelope import Signed
from p2phouse.record.types import Entry
from p2phouse.room import frames, herald, news
from p2phouse.room.admission import Admission
from p2phouse.room.authority import Authority
from p2phouse.room.carrying import Carrying
from p2phouse.room.chat_exchange import ChatExchange
from p2phouse.room.confirmation import Confirmation
from p2phouse.room.door import Door
from p2phouse.room.frames import ByeReason, FrameKind, FrameRefused
from p2phouse.room.graph import Graph
from p2phouse.room.greetings import RETELL_S, UNHEARD_S_MAX, Greetings, check_voices
from p2phouse.room.herald import Herald
from p2phouse.room.inquiry import Inquiry
from p2phouse.room.keeper import Keeper
from p2phouse.room.messages import (
    CloseRoomLink,
    EventKind,
    Output,
    SendRoomFrame,
)
from p2phouse.room.negotiation import Negotiation
from p2phouse.room.parting import Parting
from p2phouse.room.reporting import Reporting
from p2phouse.room.rules import RoomState
from p2phouse.room.search import Search
from p2phouse.room.stage import Place
from p2phouse.room.state import NEWCOMER_S, Member, Membership, RoomLink, Stage
from p2phouse.room.succession import Successors
from p2phouse.room.talk import Talk
from p2phouse.vocabulary import DeviceKey, Now, RoomId

BYE_S: Final = 5.0  # who says bye closes the link within 2 s; who does not may not keep it
JUDGED_AFTER_S: Final = 3.0  # everybody has answered by then
DOUBT_S: Final = 0.8 * RETELL_S  # somebody new has all of the log by then
NO_PLACE: Final = (ByeReason.FULL, ByeReason.NEEDS_CARRIER)


class Company:
    """The members of the room that is given with each call."""

    def __init__(
        self,
        me: Me,
        negotiation: Negotiation,
        talk: Talk,
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
        greetings: Greetings,
        parting: Parting,
    ) -> None:
        self._me = me
        self._negotiation = negotiation
        self._talk = talk
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
        self._greetings = greetings
        self._parting = parting

    # ── what is said ─────────────────────────────────────────────────────────────────────────

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
                yield from self._greetings.greeted(now, membership, sender, frame)
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
                check_voices(now, membership, member, [speak])
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

    # ── what follows ─────────────────────────────────────────────────────────────────────────

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
            yield from self._greetings.welcome(now, membership, waiting)
        yield from self._door.tell(membership)

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
                    yield self._greetings.greet(membership, dev)
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
