"""The chat of the room we are in: what our person writes, what others do, and what either missed.

A record floods over the room links. Who comes to a link asks the other end what it has missed, one
end at a time, so that the second has little to add to what the first told. Nobody waits for this:
what is shown is a function of what is there (room/chat.py).
"""

import math
from collections.abc import Iterable, Iterator
from typing import Final

from p2phouse.identity.keys import Me, key_tag
from p2phouse.record import envelope
from p2phouse.record.cbor import Value
from p2phouse.record.envelope import Signed
from p2phouse.record.types import Chat, Identity
from p2phouse.room import chat, flood, frames
from p2phouse.room.chat_pen import Pen
from p2phouse.room.chat_view import Message, mode_of
from p2phouse.room.earshot import Earshot
from p2phouse.room.frames import FrameKind
from p2phouse.room.messages import Answer, Event, EventKind, Output, SendRoomFrame, Write
from p2phouse.room.rules import RoomState
from p2phouse.room.state import Membership
from p2phouse.vocabulary import DeviceKey, Now

BATCH_BYTES_MAX: Final = 14_000  # with its head a frame of 16 KiB
BATCHES_MAX: Final = 16  # 220 kB an answer; the next question brings the rest
ANSWER_S_MAX: Final = 2.0  # then the next is asked, and this one may still answer
ASK_AGAIN_S: Final = 60.0  # what a rule or a limit kept from us once, we may have now
ASKED_MAX: Final = 8  # at one time: each question has up to 12 kB
PASS_ON_S: Final = 0.5  # its author's link brings it sooner
PASSING_MAX: Final = 500
TOLD_BYTES_MAX: Final = 100_000  # of texts, and of the moderators' channel: an answer has 256 KiB


class ChatExchange:
    """See the module. The room is given with each call."""

    def __init__(self, me: Me, earshot: Earshot) -> None:
        self._me = me
        self._earshot = earshot
        self._pen = Pen(me)

    # ── writing ──────────────────────────────────────────────────────────────────────────────

    def write(
        self, now: Now, membership: Membership, ticket: int, action: Write
    ) -> Iterator[Output]:
        """What the person writes or takes back. Raises UserError."""
        signed = self._pen.write(now, membership, action)
        yield Answer(ticket, {"id": signed.id.hex()})
        for dev in flood.linked(membership):
            yield from self._send(membership, dev, [signed])
        yield from self._tell_changes(membership)

    # ── hearing ──────────────────────────────────────────────────────────────────────────────

    def heard(
        self, now: Now, membership: Membership, sender: DeviceKey, frame: list[Value]
    ) -> Iterator[Output]:
        """Records, or a question for them. Raises PeerError before anything changed."""
        records, identities, have = frames.read_chat(frame)
        unknown = [data for data in dict.fromkeys(records) if not membership.chats.holds(data)]
        pace = membership.pace_of(sender).chats
        # Security: what is more than anybody writes is passed over, before it costs a signature
        # check; an honest neighbour of a flood is not to be blamed for what it passes on.
        if membership.is_audience(sender):
            pace = membership.pace_of(sender).relayed_chats
        unknown = [data for data in unknown if pace.take(now.mono)]
        shown = [envelope.read(data, Identity) for data in identities] if unknown else []
        proofs: dict[bytes, Signed[Identity]] = {each.id: each for each in shown}
        arrived = [chat.read(data, membership.chats.genesis) for data in unknown]
        known = [signed for signed in arrived if signed is not None]
        new = [signed for signed in known if self._take(membership, sender, signed, proofs)]
        if new:
            self._keep_to_pass_on(now, membership, new, sender)
            yield from self._tell_changes(membership)
        if have is not None and membership.pace_of(sender).histories.take(now.mono):
            yield from self._answer(membership, sender, have)
        if have is None and membership.asking.asked == sender:
            yield from self._ask_next(now, membership)

    def _take(
        self,
        membership: Membership,
        sender: DeviceKey,
        signed: Signed[Chat],
        proofs: dict[bytes, Signed[Identity]],
    ) -> bool:
        chats, state, record = membership.chats, membership.log.state, signed.record
        identity = proofs.get(record.idrec)
        if identity is None:
            return False
        is_ours = self._may_have(membership, self._me.dev, signed)
        # Security: what those who run the room say among themselves comes from them alone.
        if not is_ours or not self._may_have(membership, sender, signed):
            membership.asking.refused = True
            return False
        if not chat.is_allowed(record, chats.get(record.ref), state):
            membership.asking.refused = True  # by our log; another may be ahead of it
            return False
        return chats.add(signed, identity, state)

    # ── passing on ───────────────────────────────────────────────────────────────────────────

    def _keep_to_pass_on(
        self, now: Now, membership: Membership, records: list[Signed[Chat]], sender: DeviceKey
    ) -> None:
        """For a moment, so that a flood goes on in few frames."""
        asking = membership.asking
        if not asking.passing:
            asking.pass_at = now.mono + PASS_ON_S
        for signed in records:
            asking.passing[signed.id] = (signed, sender)
            if len(asking.passing) > PASSING_MAX:
                del asking.passing[next(iter(asking.passing))]  # it will be asked for

    def _pass_on(self, now: Now, membership: Membership) -> Iterator[Output]:
        """To those who may not have it: neither its teller nor whom its author has told."""
        passing, membership.asking.passing = membership.asking.passing, {}
        membership.asking.pass_at = math.inf
        for dev in flood.onward(membership, self._me.dev):
            yield from self._send(
                membership,
                dev,
                [
                    signed
                    for signed, teller in passing.values()
                    if dev not in (teller, signed.record.dev)
                    and not _has_heard(membership, dev, signed, teller)
                    and membership.chats.holds(signed.data)
                ],
            )
        for signed, _ in passing.values():
            if membership.chats.holds(signed.data) and not membership.chats.is_for_mods(signed):
                proof = membership.chats.identity_of(signed.record).data
                told: list[Value] = [int(FrameKind.CHAT), [signed.data], [proof], None]
                membership.news.tell(now.mono, signed.id, told)

    def _may_have(self, membership: Membership, dev: DeviceKey, signed: Signed[Chat]) -> bool:
        """Whether the device's person may have the record."""
        # Security: who carries a sealed room without being in it reads nothing that is said there.
        # Test: tests/sim/test_relay.py::test_a_relay_of_a_closed_room_reads_nothing
        if membership.is_sealed and dev in membership.relays:
            return False
        if not membership.chats.is_for_mods(signed):
            return True
        uid = self._me.uid if dev == self._me.dev else membership.members[dev].uid
        return membership.log.state.runs(uid)

    def _send(
        self, membership: Membership, dev: DeviceKey, records: Iterable[Signed[Chat]]
    ) -> Iterator[Output]:
        """The records that the device's person may have, each with its author's identity."""
        batch: list[Value] = []
        proofs: dict[bytes, Value] = {}
        size, sent = 0, 0
        for signed in records:
            if not self._may_have(membership, dev, signed):
                continue
            identity = membership.chats.identity_of(signed.record)
            more = len(signed.data) + (0 if identity.id in proofs else len(identity.data))
            is_full = size + more > BATCH_BYTES_MAX or len(batch) == frames.CHATS_TOLD_MAX
            if batch and is_full:
                yield _frame(membership, dev, batch, [*proofs.values()])
                batch, proofs, size, sent = [], {}, 0, sent + 1
                more = len(signed.data) + len(identity.data)
                if sent == BATCHES_MAX:
                    return
            batch.append(signed.data)
            proofs[identity.id] = identity.data
            size += more
        if batch:
            yield _frame(membership, dev, batch, [*proofs.values()])

    # ── what was missed ──────────────────────────────────────────────────────────────────────

    def linked(self, now: Now, membership: Membership, dev: DeviceKey) -> Iterator[Output]:
        """A link has come up: one of both may have missed what the other holds."""
        if not membership.is_audience(dev):
            membership.asking.queue[dev] = None
            yield from self._ask_next(now, membership, if_free=True)

    def _ask_all(self, now: Now, membership: Membership) -> Iterator[Output]:
        asking, linked = membership.asking, flood.stage(membership)
        first = asking.turn % max(1, len(linked))  # others than the last time
        asking.turn += ASKED_MAX
        asking.queue |= dict.fromkeys([*linked[first:], *linked[:first]][:ASKED_MAX])
        yield from self._ask_next(now, membership, if_free=True)

    def _ask_next(
        self, now: Now, membership: Membership, *, if_free: bool = False
    ) -> Iterator[Output]:
        asking = membership.asking
        if if_free and asking.asked is not None:
            return
        asking.asked = None
        linked = set(flood.stage(membership))
        while asking.queue and asking.asked is None:
            dev = next(iter(asking.queue))
            del asking.queue[dev]
            if dev in linked:
                asking.asked = dev
                asking.until = now.mono + ANSWER_S_MAX
                mods = membership.log.state.runs(membership.members[dev].uid)
                have = membership.chats.have(mods=mods)
                yield _frame(membership, dev, [], [], have)
        if asking.asked is None:
            asking.until = now.mono + ASK_AGAIN_S

    def _answer(self, membership: Membership, dev: DeviceKey, have: bytes) -> Iterator[Output]:
        """At least an empty frame, for the asker waits to ask the next."""
        mods = membership.log.state.runs(membership.members[dev].uid)
        missing = membership.chats.missing(have, membership.log.state, mods=mods)
        answer = list(self._send(membership, dev, missing))
        yield from answer or [_frame(membership, dev, [], [])]

    def tick(self, now: Now, membership: Membership) -> Iterator[Output]:
        if membership.asking.pass_at <= now.mono:
            yield from self._pass_on(now, membership)
        if membership.asking.until > now.mono:
            return
        if membership.asking.asked is None:
            yield from self._ask_all(now, membership)
        else:
            yield from self._ask_next(now, membership)

    def deadline(self, membership: Membership) -> float:
        return min(membership.asking.until, membership.asking.pass_at)

    def facts(self, membership: Membership, since: int) -> dict[str, object]:
        """As the API tells it. since: what has an older time is left out."""
        view, blocked = membership.view, self._earshot.blocked
        runs = membership.log.state.runs(self._me.uid)
        told: dict[str, object] = {}
        for name, words in (("messages", view.messages), ("pins", view.pins), ("mods", view.mods)):
            hidden = name == "mods" and not runs
            recent = [each for each in words if each.signed.record.ts >= since or name == "pins"]
            visible = [each for each in recent if each.uid not in blocked and not hidden]
            told[name] = [self._fact(each) for each in _last(visible)]
        return {**told, "mode": mode_of(membership.log.state)}

    def _fact(self, message: Message) -> dict[str, object]:
        record = message.signed.record
        return {
            "id": message.signed.id.hex(),
            "n": record.n,
            "by": key_tag(record.uid),
            "by_uid": record.uid.hex(),
            "name": message.name,
            "text": message.text,
            "at_s": record.ts,
            "mine": record.uid == self._me.uid,
            "deleted": message.deleted,
        }

    # ── what is shown ────────────────────────────────────────────────────────────────────────

    def log_changed(self, now: Now, membership: Membership, before: RoomState) -> Iterator[Output]:
        """Other people may write, others are read: what is there is judged anew."""
        asking, state = membership.asking, membership.log.state
        membership.forget_view()
        yield from self._tell_changes(membership)
        if before.chat != state.chat:
            yield Event(EventKind.ROOM_CHANGED, membership.room, None, state.title)
        is_on_again = before.chat is False and state.chat is not False
        is_seated_now = state.runs(self._me.uid) and not before.runs(self._me.uid)
        if asking.refused or is_on_again or is_seated_now:
            asking.refused = False
            yield from self._ask_all(now, membership)

    def _tell_changes(self, membership: Membership) -> Iterator[Output]:
        """Events for what has changed in what is shown."""
        membership.forget_view()
        view, asking = membership.view, membership.asking
        runs = membership.log.state.runs(self._me.uid)
        words = (*view.messages, *(view.mods if runs else ()))
        present = {each.signed.id for each in words if not each.deleted}
        new = [each for each in words if each.signed.id in present - asking.shown]
        new = [each for each in new if each.uid not in self._earshot.blocked]
        room = membership.room
        if len(new) == 1:
            (one,) = new
            yield Event(EventKind.CHAT, room, DeviceKey(one.signed.record.dev), one.text)
        elif new:
            yield Event(EventKind.CHAT, room)
        if asking.shown - present:
            yield Event(EventKind.CHAT_DELETED, room)
        pins = {each.signed.id for each in view.pins}
        if pins != asking.pins:
            yield Event(EventKind.PINS_CHANGED, room)
        asking.shown, asking.pins = present, pins


def _has_heard(
    membership: Membership, dev: DeviceKey, signed: Signed[Chat], teller: DeviceKey
) -> bool:
    """Whether its author, who told us, has told that member as well."""
    if teller != signed.record.dev:
        return False
    if membership.is_audience(teller):
        return membership.carries(dev)  # a listener tells these two, whomever it knew before
    return teller in membership.members[dev].knows


def _frame(
    membership: Membership,
    dev: DeviceKey,
    records: list[Value],
    identities: list[Value],
    have: bytes | None = None,
) -> SendRoomFrame:
    frame: list[Value] = [int(FrameKind.CHAT), records, identities, have]
    return SendRoomFrame(dev, membership.room, frame)


def _last(messages: list[Message]) -> list[Message]:
    """The last of them, as many as an answer of the API has room for."""
    left, first = TOLD_BYTES_MAX, len(messages)
    while first > 0 and left > 0:
        first -= 1
        left -= 450 + 6 * len(messages[first].text)  # JSON may write a character as six
    return messages[first:]
