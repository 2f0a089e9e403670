"""The one core of the control process: the rooms this node knows and the one it is in.

It joins hall (which rooms exist), room (who is in ours) and shape (who carries what). node.py
drives it with real sockets, tests/sim with a simulated world: the same wiring in both.
A node is in one room at a time.
"""

import math
import random
from collections.abc import Iterator
from typing import Final

from p2phouse import channel
from p2phouse.channel import LinkState, LocalDescription, Stats, VoiceKey, VoiceState
from p2phouse.errors import P2PHouseError, PeerError, UserError
from p2phouse.hall import invitation
from p2phouse.hall.advert import Advert
from p2phouse.hall.card import RoomCard, make_genesis
from p2phouse.hall.directory import Directory
from p2phouse.hall.invitation import Invitation
from p2phouse.identity.keys import Me
from p2phouse.record import envelope
from p2phouse.record.cbor import Value
from p2phouse.record.envelope import Signed
from p2phouse.record.types import Access, Genesis, Join
from p2phouse.room import messages
from p2phouse.room.company import Company
from p2phouse.room.messages import (
    Answer,
    Event,
    EventKind,
    Input,
    Output,
    PublishCard,
    Remember,
)
from p2phouse.room.negotiation import Negotiation
from p2phouse.room.state import Membership
from p2phouse.room.talk import Talk
from p2phouse.room.wiring import Wiring
from p2phouse.vocabulary import DeviceKey, Entropy, Now, RoomId

JOIN_S_MAX: Final = 12.0  # a dial takes up to 4 s an address, two at once, then a greeting


class NotInARoom(UserError):
    """You are not in a room. Join one with `p2phouse join ROOM`, or open one."""


class AlreadyInARoom(UserError):
    """You are in "{title}". Leave it first: p2phouse leave."""


class JoinFailed(P2PHouseError):
    """Could not join: {reason}. Does the room still go on? `p2phouse rooms` lists what does."""


class NobodyThere(UserError):
    """That node answers but has no room open. Ask for the room's link instead."""


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
    ) -> None:
        """ear, mouth: the SetOutput and SetInput specs to use in a room until told otherwise."""
        self.me = me
        self._entropy = entropy
        self.directory = Directory()
        self.membership: Membership | None = None
        self._advert = Advert(me, rng=rng)
        self._wiring = Wiring()
        self.talk = Talk(me, self._wiring, entropy=entropy, ear=ear, mouth=mouth)
        self._negotiation = Negotiation(me, rng=rng, entropy=entropy)
        self._company = Company(me, self._negotiation, self.talk, self._wiring, rng=rng)
        self._unix_ahead = 0.0  # of the monotonic clock, as last seen

    # ── the core's three members ─────────────────────────────────────────────────────────────

    def receive(self, now: Now, sender: DeviceKey, message: Input) -> list[Output]:
        """Raises PeerError if the sender broke the protocol; nothing has changed then."""
        self._unix_ahead = now.unix - now.mono
        outputs = list(self._dispatch(now, sender, message))
        return outputs + list(self._settle(now))

    def tick(self, now: Now) -> list[Output]:
        self._unix_ahead = now.unix - now.mono
        return list(self._tick(now)) + list(self._settle(now))

    @property
    def deadline(self) -> float:
        times = [self.directory.deadline_unix - self._unix_ahead, self._advert.due]
        membership = self.membership
        if membership is not None:
            times += [membership.give_up_at, self._company.deadline(membership)]
            times.append(self._negotiation.deadline(membership))
            if membership.genesis is not None:
                times.append(membership.genesis.record.exp - self._unix_ahead)
        return min(times)

    # ── what is known ────────────────────────────────────────────────────────────────────────

    @property
    def room(self) -> RoomId | None:
        return self.membership.room if self.membership is not None else None

    def live_cards(self, now: Now) -> list[bytes]:
        """For a hall exchange: own card first, then the others, newest first."""
        cards = self.directory.live(now)
        cards.sort(key=lambda card: card.publisher != self.me.dev)
        return [card.card.data for card in cards]

    def facts(self) -> dict[str, object]:
        """The room we are in, as the API tells it."""
        membership = self.membership
        if membership is None or membership.genesis is None:
            return {"room": None}
        link = Invitation(membership.room, self.me.dev, self._company.own_addrs)
        return {
            "room": membership.room.hex(),
            "title": membership.genesis.record.title,
            "link": invitation.write(link),
            "muted": membership.muted,
            "people": membership.count,
        }

    # ── dispatch ─────────────────────────────────────────────────────────────────────────────

    def _dispatch(self, now: Now, sender: DeviceKey, message: Input) -> Iterator[Output]:
        membership = self.membership
        match message:
            case messages.CardHeard(data):
                yield from self._card_heard(now, data)
            case messages.OwnAddresses(addrs):
                self._company.own_addrs = addrs
                self._advert.changed(now)
            case messages.Verb(ticket, action):
                try:
                    yield from self._verb(now, ticket, action)
                except P2PHouseError as error:
                    yield Answer(ticket, error=error)
            case messages.Resume(state):
                yield from self._resume(now, state)
            case messages.RoomLinkUp(room, outbound):
                yield from self._company.link_up(membership, sender, room, outbound=outbound)
            case messages.RoomFrame(room, frame):
                yield from self._company.frame(now, membership, sender, room, frame)
            case messages.RoomLinkDown(room, reason):
                if membership is not None and membership.room == room:
                    yield from self._company.link_down(now, membership, sender, reason)
            case messages.MediaGone():
                yield from self._media_gone(now)
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
            case messages.OfferAnswered(data):
                yield from self._negotiation.answered(now, membership, sender, data)
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
                    yield from self._company.media_changed(now, membership, member)
            case VoiceState():
                yield from self.talk.voice_state(now, membership, message)
            case Stats():
                self.talk.keep_stats(now, message)
            case channel.Silent(link):
                yield from self._company.silence(now, membership, link, silent=True)
            case channel.Heard(link):
                yield from self._company.silence(now, membership, link, silent=False)

    def _settle(self, now: Now) -> Iterator[Output]:
        """Draws the consequences of what has just changed."""
        membership = self.membership
        if membership is not None and not membership.joined:
            if membership.members:
                yield from self._joined(now, membership)
            elif not membership.dialling and not membership.awaited:
                yield from self._leave(now, membership.refusal or "nobody there answered")
        if membership is not None and membership.changed and membership is self.membership:
            membership.changed = False
            self._advert.changed(now)
            yield self._remember(now, membership)
        if self._advert.due <= now.mono:
            yield from self._publish(now)

    # ── the hallway ──────────────────────────────────────────────────────────────────────────

    def _card_heard(self, now: Now, data: bytes) -> Iterator[Output]:
        card = self.directory.receive(now, data)
        if card is None:
            return
        kind = EventKind.ROOM_GONE if card.is_tombstone else EventKind.ROOM_SEEN
        yield Event(kind, card.room, card.publisher, card.genesis.record.title)

    def _publish(self, now: Now) -> Iterator[Output]:
        card = self._advert.card(now, self.membership, self._company.own_addrs)
        if card is not None:
            yield PublishCard(card.data)
            yield from self._card_heard(now, card.data)

    # ── verbs ────────────────────────────────────────────────────────────────────────────────

    def _verb(self, now: Now, ticket: int, action: messages.VerbAction) -> Iterator[Output]:
        match action:
            case messages.Open(title, lan):
                self._refuse_second_room()
                access = Access.LAN if lan else Access.OPEN
                genesis = make_genesis(
                    self.me, title=title, access=access, now=now, entropy=self._entropy
                )
                yield from self._enter(now, RoomId(genesis.id), genesis, ticket)
                assert self.membership is not None
                yield from self._joined(now, self.membership)
            case messages.Join(text):
                yield from self._join(now, ticket, text)
            case messages.JoinAt(dev):
                self._refuse_second_room()
                rooms = self.directory.of(dev, now)
                if not rooms:
                    raise NobodyThere
                yield from self._join_card(now, ticket, rooms[0])
            case messages.Leave():
                self._here()
                yield from self._leave(now, "")
                yield Answer(ticket)
            case messages.SetMuted(muted):
                yield from self.talk.set_muted(now, self._here(), muted)
                yield Answer(ticket, {"muted": muted})
            case messages.Say(spec):
                yield from self.talk.say(now, self._here(), ticket, spec)
            case messages.StopSaying():
                yield from self.talk.said(now, self._here(), None)
                yield Answer(ticket)
            case messages.SetEar(spec):
                self._here()
                yield from self.talk.hear_to(spec)
                yield Answer(ticket)

    def _here(self) -> Membership:
        if self.membership is None or not self.membership.joined:
            raise NotInARoom
        return self.membership

    def _refuse_second_room(self) -> None:
        if self.membership is not None:
            genesis = self.membership.genesis
            raise AlreadyInARoom(title=genesis.record.title if genesis else "a room")

    def _join(self, now: Now, ticket: int, text: str) -> Iterator[Output]:
        if text.startswith(invitation.SCHEME):
            link = invitation.read(text)
            self._refuse_second_room()
            known = self.directory.get(link.room, now)
            yield from self._enter(now, link.room, known.genesis if known else None, ticket)
            assert self.membership is not None
            yield from self._company.dial(self.membership, link.dev, link.addrs)
            return
        card = self.directory.find(text, now)
        if self.membership is not None and self.room == card.room and self.membership.joined:
            yield Answer(ticket, self.facts())
            return
        self._refuse_second_room()
        yield from self._join_card(now, ticket, card)

    def _join_card(self, now: Now, ticket: int, card: RoomCard) -> Iterator[Output]:
        yield from self._enter(now, card.room, card.genesis, ticket)
        assert self.membership is not None
        yield from self._company.dial(self.membership, card.publisher, card.card.record.at)

    # ── entering and leaving ─────────────────────────────────────────────────────────────────

    def _enter(
        self, now: Now, room: RoomId, genesis: Signed[Genesis] | None, ticket: int | None
    ) -> Iterator[Output]:
        join = Join(
            room=room, dev=self.me.dev, idrec=self.me.record.id, beat=None, ts=int(now.unix)
        )
        self.membership = Membership(
            room,
            envelope.sign(join, self.me.device_key),
            genesis,
            self.talk.new_voice(),
            joined=False,
            ticket=ticket,
            give_up_at=now.mono + JOIN_S_MAX,
        )
        yield from self.talk.begin(self.membership)

    def _joined(self, now: Now, membership: Membership) -> Iterator[Output]:
        membership.joined = True
        membership.give_up_at = math.inf
        assert membership.genesis is not None
        if membership.genesis.record.dev == self.me.dev:
            self._advert.begin(now)
        yield self._remember(now, membership)
        yield from self.talk.sign_voice(now, membership)
        title = membership.genesis.record.title
        yield Event(EventKind.JOINED, membership.room, self.me.dev, title)
        if membership.ticket is not None:
            yield Answer(membership.ticket, self.facts())
            membership.ticket = None

    def _leave(self, now: Now, why: str) -> Iterator[Output]:
        membership = self.membership
        assert membership is not None
        yield from self.talk.end(now, membership, NotInARoom())
        if membership.joined:
            card = self._advert.end(now, membership)
            if card is not None:
                yield PublishCard(card.data)
                yield from self._card_heard(now, card.data)
        yield from self._company.leave(membership)
        self.membership = None
        yield from self._wiring.rewire(None)
        if membership.ticket is not None:
            yield Answer(membership.ticket, error=JoinFailed(reason=why))
        if membership.joined:
            yield Event(EventKind.LEFT, membership.room, self.me.dev, why)
        yield Remember(None)

    def _remember(self, now: Now, membership: Membership) -> Remember:
        """Where to come back to after a crash: the room, and whoever was or is sought in it."""
        assert membership.genesis is not None
        others: dict[DeviceKey, tuple[bytes, ...]] = {
            dev: lost.addrs for dev, lost in membership.lost.items()
        }
        others |= {dev: member.addrs for dev, member in membership.members.items()}
        told: list[Value] = [[dev, list(addrs)] for dev, addrs in others.items()]
        return Remember([membership.genesis.data, told])

    def _resume(self, now: Now, state: list[Value]) -> Iterator[Output]:
        """Back into the room of a process that was killed: same identity, new voice, muted."""
        match state:
            case [bytes(data), list(others)] if self.membership is None:
                pass
            case _:
                return
        try:
            genesis = envelope.read(data, Genesis)
            envelope.check_time(genesis.record, now.unix)
        except PeerError:
            yield Remember(None)  # over, or damaged: nothing to come back to
            return
        yield from self._enter(now, RoomId(genesis.id), genesis, None)
        assert self.membership is not None
        for other in others:
            match other:
                case [bytes(dev), list(addrs)]:
                    known = tuple(addr for addr in addrs if isinstance(addr, bytes))
                    self._company.seek(now, self.membership, DeviceKey(dev), known)
        yield from self._joined(now, self.membership)

    # ── trouble and time ─────────────────────────────────────────────────────────────────────

    def _media_gone(self, now: Now) -> Iterator[Output]:
        """Media died: a new voice, muted, and a new link to everybody, offered by us."""
        membership = self.membership
        yield Event(EventKind.MEDIA_RESTARTED, self.room, self.me.dev)
        yield from self.talk.media_gone(now, membership)
        if membership is None:
            return
        for member in membership.members.values():
            member.link = None  # media knows none of the old numbers
            yield from self._negotiation.offer(membership, member)
        yield from self._wiring.rewire(membership)

    def _tick(self, now: Now) -> Iterator[Output]:
        for card in self.directory.expire(now):
            title = card.genesis.record.title
            yield Event(EventKind.ROOM_GONE, card.room, card.publisher, title)
        membership = self.membership
        if membership is None:
            return
        if membership.give_up_at <= now.mono:
            yield from self._leave(now, membership.refusal or "nobody there answered in time")
        elif membership.genesis and membership.genesis.record.exp <= now.unix:
            yield from self._leave(now, "the room reached the end of its twelve hours")
        else:
            yield from self._negotiation.tick(now, membership)
            yield from self._company.tick(now, membership)
