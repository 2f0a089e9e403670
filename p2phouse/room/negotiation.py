"""How two members get from a room link to a media link: offer, answer, connect, try again.

Who opened the room link offers; if both did, the offer of the lower device id counts. A link
that fails is offered anew by the one who offered, with a growing pause.

In a room that somebody carries, links are wanted with the hub and its standby alone. A link that is
wanted no more lives on until the new ones are up.
"""

import math
import random
from collections.abc import Iterator

from p2phouse.channel import (
    CloseLink,
    ConnectLink,
    LinkRole,
    LinkState,
    LinkStatus,
    LocalDescription,
    OpenLink,
)
from p2phouse.identity.keys import Me
from p2phouse.record import envelope, limits
from p2phouse.record.types import Access, Offer
from p2phouse.room.frames import FrameRefused
from p2phouse.room.messages import Event, EventKind, Output, SendAnswer, SendOffer, ToMedia
from p2phouse.room.state import Member, Membership
from p2phouse.vocabulary import DeviceKey, Entropy, LinkNumber, Now, RoomId

NONCE_BYTES = 16
RETRY_FIRST_S = 0.5
RETRY_MAX_S = 8.0  # doubling from 0.5 s: five tries in 16 s, then one each 8 s
OFFER_AWAITED_S = 10.0  # the opener offers within a second; then we do
SWITCH_AWAITED_S = 3.0  # the same, when it is another with whom a link is wanted
CLAIM_AWAITED_S = 2.0  # by then somebody has said that he carries the room
UNWANTED_S = 5.0  # what was on its way has come by then, and the other end wants it no more
UNWANTED_S_MAX = 30.0  # though there be no new link
UNHEARD_S_MAX = 45.0  # 15 s for the answer, 10 s each for path and handshake: media forgot the link


class Negotiation:
    """Offers and answers of the room we are in. It owns the numbers of links."""

    def __init__(self, me: Me, *, rng: random.Random, entropy: Entropy) -> None:
        self._me = me
        self._rng = rng
        self._entropy = entropy
        self._last_link = 0
        self._wanted: frozenset[DeviceKey] | None = None  # as when we last looked

    # ── with whom ────────────────────────────────────────────────────────────────────────────

    def met(self, now: Now, membership: Membership, member: Member) -> Iterator[Output]:
        """A room link to the member has come up."""
        if member.link is not None or not membership.wants(member.dev):
            return
        if member.outbound and not _may_be_carried(membership):
            yield from self.offer(now, membership, member)
        else:
            wait_s = CLAIM_AWAITED_S if member.outbound else OFFER_AWAITED_S
            member.retry_at = now.mono + wait_s

    def settle(self, now: Now, membership: Membership) -> None:
        """Links may be wanted with others than before."""
        before, self._wanted = self._wanted, membership.wanted
        for member in membership.members.values():
            if not membership.wants(member.dev):
                member.unwanted_since = min(member.unwanted_since, now.mono)
                continue
            member.unwanted_since = math.inf
            is_new = before != membership.wanted and (before is None or member.dev not in before)
            if member.link is None and (is_new or math.isinf(member.retry_at)):
                wait_s = 0.0 if member.outbound else SWITCH_AWAITED_S
                member.retry_at = min(member.retry_at, now.mono + wait_s)

    def drop(self, now: Now, membership: Membership) -> Iterator[Output]:
        """Closes what is wanted no more. The table must do without it already."""
        for member in membership.members.values():
            if self._drop_at(membership, member) <= now.mono:
                yield from self.close(member)
                member.retry_at = math.inf

    def _drop_at(self, membership: Membership, member: Member) -> float:
        """Make before break: while a wanted link is not up, the old one may still be of use."""
        if member.link is None or math.isinf(member.unwanted_since):
            return math.inf
        is_up = all(
            other.link_up for other in membership.members.values() if membership.wants(other.dev)
        )
        return member.unwanted_since + (UNWANTED_S if is_up else UNWANTED_S_MAX)

    # ── how ──────────────────────────────────────────────────────────────────────────────────

    def anew(self, now: Now, membership: Membership) -> Iterator[Output]:
        """Media died: all links are gone, and offered by us."""
        for member in membership.members.values():
            if membership.wants(member.dev):
                yield from self.offer(now, membership, member)
            else:
                yield from self.close(member)

    def offer(self, now: Now, membership: Membership, member: Member) -> Iterator[Output]:
        """Begins a new link to the member as its offerer; an older one is closed."""
        yield from self.close(member)
        link = self._number(member)
        member.offer = self._entropy(NONCE_BYTES)
        member.retry_at = now.mono + UNHEARD_S_MAX
        yield ToMedia(OpenLink(link, LinkRole.OFFERER, _is_local(membership)))

    def heard_offer(
        self, now: Now, membership: Membership, sender: DeviceKey, data: bytes
    ) -> Iterator[Output]:
        offer = self._read(sender, data)
        if offer.answer is not None:
            raise FrameRefused(reason="an answer where an offer belongs")
        member = membership.members.get(sender)
        if member is None or offer.room != membership.room:
            # Its greeting comes on another stream and may be late: it will offer again. Or it was
            # on its way when we went from one room to the next: nobody's fault.
            return
        if not membership.pace_of(sender).offers.take(now.mono):
            raise FrameRefused(reason="offers without end")
        if member.offer is not None and self._me.dev < sender:
            return  # both offered: ours counts, theirs is left without an answer
        yield from self.close(member)
        link = self._number(member)
        member.offer = None
        member.answering = offer.n
        member.remote = (offer.ufrag, offer.pwd, offer.fp, offer.cands)
        member.cands = offer.cands
        member.retry_at = now.mono + UNHEARD_S_MAX
        yield ToMedia(OpenLink(link, LinkRole.ANSWERER, _is_local(membership)))

    def described(
        self, now: Now, membership: Membership, local: LocalDescription
    ) -> Iterator[Output]:
        """Media has gathered: sign what it says and send it, as an offer or as an answer."""
        member = membership.by_link(local.link)
        if member is None:
            return  # closed while it gathered
        if member.offer is not None:
            data = self._sign(now, membership.room, member, local, member.offer, None)
            yield SendOffer(member.dev, member.offer, data)
        elif member.answering is not None and member.remote is not None:
            nonce = self._entropy(NONCE_BYTES)
            data = self._sign(now, membership.room, member, local, nonce, member.answering)
            yield SendAnswer(member.dev, member.answering, data)
            is_relay = membership.is_relay(member.uid)
            yield ToMedia(ConnectLink(local.link, *member.remote, is_relay=is_relay))
            member.answering = member.remote = None

    def answered(self, membership: Membership, sender: DeviceKey, data: bytes) -> Iterator[Output]:
        answer = self._read(sender, data)
        # Security: without this, no answer awaited would equal no offer named.
        # Test: test_negotiation.py::test_an_offer_sent_as_an_answer_is_refused
        if answer.answer is None:
            raise FrameRefused(reason="an offer where an answer belongs")
        member = membership.members.get(sender)
        if answer.room != membership.room:
            return
        # Security: the answer must name our very offer, or an old one could be played again.
        if member is None or member.link is None or answer.answer != member.offer:
            return
        member.offer = None
        member.cands = answer.cands
        remote = (answer.ufrag, answer.pwd, answer.fp, answer.cands)
        is_relay = membership.is_relay(member.uid)
        yield ToMedia(ConnectLink(member.link, *remote, is_relay=is_relay))

    def offer_failed(self, now: Now, member: Member, offer: bytes) -> Iterator[Output]:
        if member.offer == offer:
            yield from self.close(member)
            self._retry_later(now, member)

    def link_state(self, now: Now, membership: Membership, state: LinkState) -> Iterator[Output]:
        member = membership.by_link(state.link)
        if member is None:
            return
        if state.status is LinkStatus.CONNECTED:
            member.link_up, member.silent = True, False
            member.is_tunnelled = state.is_tunnelled
            member.retries, member.retry_at = 0, math.inf
            yield Event(EventKind.LINK_CONNECTED, membership.room, member.dev)
            return
        yield from self.close(member)
        if membership.wants(member.dev):
            yield Event(EventKind.LINK_FAILED, membership.room, member.dev, state.reason)
            self._retry_later(now, member)
        else:
            member.retry_at = math.inf

    def tick(self, now: Now, membership: Membership) -> Iterator[Output]:
        for member in list(membership.members.values()):
            if member.retry_at > now.mono or not _may_offer(membership, member):
                continue
            if membership.hub is None and _links(membership) >= limits.MESH_MEMBERS_MAX - 1:
                member.retry_at = now.mono + CLAIM_AWAITED_S  # an uplink carries no more
            else:
                yield from self.offer(now, membership, member)

    def deadline(self, membership: Membership) -> float:
        members = membership.members.values()
        times = [who.retry_at for who in members if _may_offer(membership, who)]
        times += [self._drop_at(membership, who) for who in members]
        return min(times, default=math.inf)

    def close(self, member: Member) -> Iterator[Output]:
        """Forgets the member's link, if any. The table must already do without it, or soon will:
        a forwarder skips a sink it does not know."""
        if member.link is not None:
            yield ToMedia(CloseLink(member.link))
        member.link = None
        member.link_up = member.silent = member.is_tunnelled = False
        member.offer = member.answering = member.remote = None

    def _retry_later(self, now: Now, member: Member) -> None:
        # Only the opener offers; the other waits longer, in case the opener never learnt of it.
        pause = min(RETRY_MAX_S, RETRY_FIRST_S * 2**member.retries) * self._rng.uniform(0.8, 1.2)
        member.retries += 1
        member.retry_at = now.mono + (pause if member.outbound else pause + RETRY_MAX_S)

    def _number(self, member: Member) -> LinkNumber:
        self._last_link += 1
        member.link = LinkNumber(self._last_link)
        return member.link

    def _sign(
        self,
        now: Now,
        room: RoomId,
        member: Member,
        local: LocalDescription,
        nonce: bytes,
        answer: bytes | None,
    ) -> bytes:
        offer = Offer(
            room=room,
            dev=self._me.dev,
            to=member.dev,
            n=nonce,
            answer=answer,
            ufrag=local.ufrag,
            pwd=local.pwd,
            fp=local.fp,
            cands=local.cands,
            ts=int(now.unix),
        )
        return envelope.sign(offer, self._me.device_key).data

    def _read(self, sender: DeviceKey, data: bytes) -> Offer:
        offer = envelope.read(data, Offer).record
        # Security: the fingerprint inside binds DTLS to this device, this room and this pair. Its
        # `ts` binds nothing: it came over a stream that the handshake proved, so nobody but the
        # sender could play it again, and a boat's clock may be an hour wrong.
        if offer.dev != sender or offer.to != self._me.dev:
            raise FrameRefused(reason="an offer between other people")
        return offer


def _may_offer(membership: Membership, member: Member) -> bool:
    return membership.is_linked(member.dev) and membership.wants(member.dev)


def _links(membership: Membership) -> int:
    return sum(member.link is not None for member in membership.members.values())


def _may_be_carried(membership: Membership) -> bool:
    """Whether there are more people than a mesh holds, and nobody has told us yet who carries."""
    told = sum(each.teller is not None for each in membership.sought.values())
    return membership.hub is None and membership.count + told > limits.MESH_MEMBERS_MAX


def _is_local(membership: Membership) -> bool:
    return membership.genesis is not None and membership.genesis.record.access == Access.LAN
