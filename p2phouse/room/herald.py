"""The hub and its standby tell their listeners what happens, and the stage what listeners say.

Neither can forge a word, for all of it is signed. What one of them keeps back the other tells:
somebody is there as long as one of both says so, and a digest in a beat (room/beats.py) shows what
of the log was kept back by both.
"""

import math
from collections.abc import Generator, Iterator
from typing import Final

from p2phouse.errors import PeerError
from p2phouse.identity.keys import Me
from p2phouse.record import cbor
from p2phouse.record.cbor import Value
from p2phouse.record.envelope import Signed
from p2phouse.record.types import Soft, SoftKind, Speak
from p2phouse.room import flood, frames, graph, news, soft, voices
from p2phouse.room.authority import Authority
from p2phouse.room.frames import FrameKind
from p2phouse.room.messages import Event, EventKind, Output, SendRoomFrame
from p2phouse.room.negotiation import Negotiation
from p2phouse.room.news import News, Tray
from p2phouse.room.state import Member, Membership
from p2phouse.room.wiring import Wiring
from p2phouse.vocabulary import DeviceKey, Now

TOLD_MAX: Final = 96  # people known by NEWS alone: a full stage, its seats, and who raised a hand
INTRODUCED_MAX: Final = 32  # listeners of whom new listeners are told
WELCOME_BYTES_MAX: Final = 14_000  # a frame of it; with its head 16 KiB


class Herald:
    """See the module. The room is given with each call."""

    def __init__(
        self, me: Me, authority: Authority, wiring: Wiring, negotiation: Negotiation
    ) -> None:
        self._me = me
        self._negotiation = negotiation
        self._authority = authority
        self._wiring = wiring

    # ── telling ──────────────────────────────────────────────────────────────────────────────

    def said(
        self,
        now: Now,
        membership: Membership,
        member: Member,
        frame: list[Value],
        before: soft.SoftState,
    ) -> None:
        """A member has said something to all, on its link to us."""
        if not membership.news.is_open or frame[0] not in news.RELAYED:
            return
        is_fleeting, kind = False, -1
        if frame[0] == FrameKind.SOFT:
            if member.soft is before:
                # Security: nobody has read it. Heard before, or too much of it.
                # Test: test_news.py::test_a_word_that_nobody_read_ends_no_hub
                return
            kind = _kind_of(frame)
            is_fleeting = kind in (SoftKind.REACTION, SoftKind.TYPING)
            if _is_told_again(kind, before, member.soft):
                return
        is_listener = not graph.is_of_stage(membership, member)
        # Security: what one listener says costs each other its share of NEWS.
        if is_listener and not membership.pace_of(member.dev).relayed.take(now.mono):
            return
        trays = [membership.news.audience]
        if is_listener or frame[0] == FrameKind.SPEAK or kind == SoftKind.ON_STAGE:
            trays.append(membership.news.stage)  # who has just come up is not linked there yet
        self._introduce(membership, member, trays, is_listener=is_listener)
        key = (member.dev, frame[0], kind)  # a newer word of the same kind takes its place
        for tray in trays:
            if is_fleeting:
                tray.fleeting.append((member.dev, frame))
            else:
                tray.say(key, (member.dev, frame))
        membership.news.soon(now.mono)

    def _introduce(
        self, membership: Membership, member: Member, trays: list[Tray], *, is_listener: bool
    ) -> None:
        introduced = membership.news.introduced
        if introduced.get(member.dev) == member.join.id:
            return
        introduced.pop(member.dev, None)
        introduced[member.dev] = member.join.id
        for tray in trays if is_listener else (membership.news.audience, membership.news.stage):
            tray.present[member.dev] = present_of(member)
        spare = [
            dev
            for dev in introduced
            if dev not in membership.members
            or not graph.is_of_stage(membership, membership.members[dev])
        ]
        for dev in spare[: max(0, len(spare) - INTRODUCED_MAX)]:
            del introduced[dev]

    def part(self, now: Now, membership: Membership, member: Member) -> None:
        """Somebody is gone."""
        book = membership.news
        book.introduced.pop(member.dev, None)
        if book.is_open:
            for tray in (book.audience, book.stage):
                tray.present.pop(member.dev, None)
                tray.gone[news.prefix_of(member.join)] = None
            book.soon(now.mono)

    def see(self, membership: Membership, dev: DeviceKey) -> None:
        """A room link has come up: is its other end a listener of ours?"""
        member = membership.members[dev]
        membership.links[dev].is_audience = graph.is_audience(membership, member)

    def linked(self, now: Now, membership: Membership, dev: DeviceKey) -> Iterator[Output]:
        """If we carry the room, its other end is told who is there."""
        if membership.is_audience(dev):
            yield from self._welcome(membership, dev)
        membership.news.soon(now.mono)  # for the count

    def _welcome(self, membership: Membership, dev: DeviceKey) -> Iterator[Output]:
        stage = [each for each in self._shown(membership) if each.dev != dev]
        present: list[list[Value]] = []
        said: list[news.Word] = []
        size = 0
        for member in stage:
            words = [present_of(member), *_words(member)]
            more = sum(map(news.size_of, words))
            if size + more > WELCOME_BYTES_MAX or len(said) + 4 > news.ITEMS_MAX:
                yield self._frame(membership, dev, present=present, said=said)
                present, said, size = [], [], 0
            present.append(words[0])
            said += [(member.dev, word) for word in words[1:]]
            size += more
        here = [news.prefix_of(member.join) for member in stage]
        yield self._frame(membership, dev, present=present, said=said, here=here)

    def _shown(self, membership: Membership) -> list[Member]:
        """The stage, and the listeners whom others know of: the carriers first, for what a
        listener needs most."""
        introduced = membership.news.introduced
        found = [
            member
            for member in membership.members.values()
            if graph.is_of_stage(membership, member) or member.dev in introduced
        ]
        found.sort(key=lambda member: not membership.carries(member.dev))
        return found[: news.HERE_MAX]

    def _frame(self, membership: Membership, dev: DeviceKey, **told: object) -> SendRoomFrame:
        on_stage = len(voices.standing(membership, self._me.uid))
        frame = news.frame_of(membership.count, on_stage, **told)  # type: ignore[arg-type]
        return SendRoomFrame(dev, membership.room, frame)

    def settle(self, now: Now, membership: Membership) -> Iterator[Output]:
        """After each input and tick."""
        book = membership.news
        is_open = membership.is_split and membership.is_carrier and membership.joined
        if is_open is not book.is_open:
            membership.news = book = news.NewsBook(
                is_open=is_open, here=book.here, counts=book.counts
            )
            if is_open:
                yield from self._begin(now, membership)
        if not is_open:
            return
        for dev in sorted(book.unwelcomed):
            if membership.is_audience(dev):
                yield from self._welcome(membership, dev)
        book.unwelcomed.clear()
        if now.mono < min(book.due, book.sent_at + news.LIFE_SIGN_S):
            return
        book.sent_at, book.due = now.mono, math.inf
        for tray, devs in (
            (book.audience, flood.audience(membership)),
            (book.stage, flood.stage(membership)),
        ):
            present, said, gone = tray.take()
            if tray:
                membership.news.soon(now.mono)
            for dev in devs:
                yield self._frame(membership, dev, present=present, said=said, gone=gone)

    def _begin(self, now: Now, membership: Membership) -> Iterator[Output]:
        """We carry the room since just now, or it has listeners since."""
        book = membership.news
        for dev in flood.linked(membership):
            self.see(membership, dev)
        for member in membership.members.values():
            if graph.is_of_stage(membership, member):
                book.introduced[member.dev] = member.join.id
        for dev in flood.audience(membership):
            yield from self._welcome(membership, dev)
        membership.news.soon(now.mono)

    def deadline(self, membership: Membership) -> float:
        book = membership.news
        if not book.is_open:
            return math.inf
        return min(book.due, book.sent_at + news.LIFE_SIGN_S)

    # ── being told ───────────────────────────────────────────────────────────────────────────

    def heard(
        self, now: Now, membership: Membership, sender: DeviceKey, told: News
    ) -> Iterator[Output]:
        """Who is there and who is not. What they say is for who called this."""
        book = membership.news
        book.counts[sender] = (told.people, told.on_stage)
        here = book.here.setdefault(sender, set())
        if told.here is not None:
            here.clear()
            here |= told.here
        for item in told.present:
            yield from self._meet(now, membership, item, here)
        here -= set(told.gone)
        for dev in [each for each in membership.news.here if not membership.carries(each)]:
            self.unlinked(membership, dev)  # it carries no more, and tells no more
        yield from self._forget(membership)

    def found(
        self, now: Now, membership: Membership, sender: DeviceKey, present: list[list[Value]]
    ) -> Iterator[Output]:
        """Listeners of whom the sender tells because we asked."""
        here = membership.news.here.setdefault(sender, set())
        for item in present:
            yield from self._meet(now, membership, item, here)

    def _meet(
        self, now: Now, membership: Membership, item: list[Value], here: set[bytes]
    ) -> Iterator[Output]:
        known = next((m for m in membership.members.values() if m.join.data == item[0]), None)
        if known is not None:
            self._name(here, news.prefix_of(known.join))
            if known.is_told:
                known.addrs = frames.as_addresses(item[2])
            return
        try:
            told = news.read_present(item, membership.room)
        except PeerError:
            return  # and whoever told us gains nothing by it
        dev = DeviceKey(told.join.record.dev)
        member = Member(dev, told.join, told.identity, told.addrs, outbound=False, is_told=True)
        if dev == self._me.dev or not self._may_come(now, membership, member):
            return
        if not (dev in membership.members or (yield from self._make_room(membership))):
            return
        if dev in membership.members:  # in a new process
            yield from self._negotiation.close(membership.members[dev])
        self._name(here, news.prefix_of(told.join))
        membership.members[dev] = member
        membership.meet(member.uid)
        yield from self._wiring.rewire(membership)
        yield Event(EventKind.MEMBER_JOINED, membership.room, dev, member.name)

    def _name(self, here: set[bytes], prefix: bytes) -> None:
        if len(here) < news.HERE_MAX:
            here.add(prefix)

    def _may_come(self, now: Now, membership: Membership, member: Member) -> bool:
        known = membership.members.get(member.dev)
        if known is not None and (
            not known.is_told or known.join.record.ts >= member.join.record.ts
        ):
            return False
        # Security: who was put out is nobody here, whatever a hub tells.
        if self._authority.is_out(now, membership, member.uid):
            return False
        return membership.is_let_in(member.uid)

    def _make_room(self, membership: Membership) -> Generator[Output, None, bool]:
        """Whether one more is remembered; perhaps for a listener who said nothing that lasts."""
        told = [each for each in membership.members.values() if each.is_told]
        if len(told) < TOLD_MAX:
            return True
        for each in told:
            if not graph.is_of_stage(membership, each) and each.soft.hand is None:
                yield from self._drop(membership, each)
                return True
        return False

    def _drop(self, membership: Membership, member: Member) -> Iterator[Output]:
        del membership.members[member.dev]
        yield from self._wiring.rewire(membership)
        yield from self._negotiation.close(member)
        yield Event(EventKind.MEMBER_LEFT, membership.room, member.dev, member.name)

    def _forget(self, membership: Membership) -> Iterator[Output]:
        """Those of whom nobody tells any more."""
        named = set().union(*membership.news.here.values())
        for member in list(membership.members.values()):
            if member.is_told and news.prefix_of(member.join) not in named:
                yield from self._drop(membership, member)

    def unlinked(self, membership: Membership, dev: DeviceKey) -> None:
        """A link has ended: that end's word counts no more, unless it was the last we had."""
        book = membership.news
        if len(book.counts) > 1:
            book.counts.pop(dev, None)
        if dev in book.here and len(book.here) > 1:
            named = book.here.pop(dev)
            if membership.carries(dev):
                # It is about to be back, and names nobody twice: they are there still.
                for prefix in named:
                    self._name(next(iter(book.here.values())), prefix)


def is_latest(member: Member, speak: Signed[Speak]) -> bool:
    """Whether a voice that another has brought may be the member's last. Two bring it, and one of
    them may be late."""
    # Security: whoever has a link to the member hears from there which voice is the last.
    if not member.is_told or speak.id == member.ended_speak:
        return False
    return member.speak is None or speak.record.created >= member.speak.record.created


def present_of(member: Member) -> list[Value]:
    """Somebody who is there, as news tell of it."""
    return [member.join.data, member.identity.data, list(member.addrs)]


def _words(member: Member) -> list[list[Value]]:
    """What a member has said that still holds."""
    words: list[list[Value]] = []
    if member.speak is not None:
        words.append([int(FrameKind.SPEAK), member.speak.data])
    for kind, data in member.signs.items():
        if kind != SoftKind.HAND or member.soft.hand is not None:
            words.append([int(FrameKind.SOFT), data])
    return words


def _kind_of(frame: list[Value]) -> int:
    """Of a soft record whose signature was checked."""
    most = Soft.SIZE_MAX
    envelope = cbor.decode(frame[1], size_max=most)  # type: ignore[arg-type]  # it was read
    body = cbor.decode(envelope[2], size_max=most)  # type: ignore[index, arg-type]
    return int(body[4])  # type: ignore[index, arg-type]


def _is_told_again(kind: int, before: soft.SoftState, after: soft.SoftState) -> bool:
    """Whether it lasts, and stands as it stood."""
    match kind:
        case SoftKind.OWN_MUTE:
            return before.muted == after.muted
        case SoftKind.ON_STAGE:
            return before.on_stage == after.on_stage
        case SoftKind.GUESTS:
            return before.guests == after.guests
        case _:
            return False
