"""The keys of a sealed room: made by one who runs it, handed to whom it admits, asked for.

The *keeper* is the first of those present who run the room. Whoever comes after it in that order
waits a second for each before it, so a keeper that sleeps holds up nobody for long. What is
decided about epochs themselves stands in room/epochs.py; this module knows members and links.
"""

import math
from collections.abc import Iterator
from typing import Final

from p2phouse.channel import VoiceCondition, VoiceState
from p2phouse.identity.keys import Me
from p2phouse.record import limits
from p2phouse.record.cbor import Value
from p2phouse.record.envelope import Signed
from p2phouse.record.types import Epoch
from p2phouse.room import epochs, flood, frames, keys
from p2phouse.room.custody import Custody
from p2phouse.room.epochs import Known
from p2phouse.room.handing import Handing
from p2phouse.room.messages import Event, EventKind, Output
from p2phouse.room.rules import Level
from p2phouse.room.state import Member, Membership
from p2phouse.room.wiring import Wiring
from p2phouse.vocabulary import DeviceKey, Entropy, Now

BATCH_S: Final = 60.0  # those who come or leave within a minute share one new epoch
REKEY_S: Final = 3_600.0  # a secret that was lost unnoticed is good for an hour at most
STAGGER_S: Final = 1.0  # a keeper acts within a round trip; the next waits for longer than that
GRACE_S: Final = 2.0  # who has just come is given the secret by then
PAUSE_S: Final = 0.25  # between two epochs of ours: a flood of removals does not flood the room
GIVEN_AT_ONCE: Final = limits.ROOM_MEMBERS_MAX  # 3 ms, and a frame of 4 kB
GIVE_S: Final = 0.1
FIRST_ASK_S: Final = 0.3  # what is on its way comes by then
ASK_S: Final = 1.0
ASK_S_MAX: Final = 5.0


class Keeper:
    """One for the node; the room is given with each call."""

    def __init__(self, me: Me, wiring: Wiring, *, entropy: Entropy) -> None:
        self._me = me
        self._wiring = wiring
        self._entropy = entropy
        self._hands = Handing(me, entropy=entropy)

    # ── what members say ─────────────────────────────────────────────────────────────────────

    def frame(
        self, now: Now, membership: Membership, sender: DeviceKey, frame: list[Value]
    ) -> Iterator[Output]:
        """Epochs, or a question for them. Raises PeerError before anything has changed."""
        records, identities = frames.read_epochs(frame, room=membership.room)
        for signed in records:
            epochs.read_outline(signed.record)
        custody = membership.custody
        if not membership.is_sealed:
            return
        if not records and not identities:
            yield from self._asked(now, membership, membership.members[sender])
        for identity in identities:
            self._hands.learn(membership, identity)
        # Security: what came in one frame goes on in one, or a peer could have us say many times
        # as much as others hear of anybody.
        passing: dict[DeviceKey, list[Signed[Epoch]]] = {}
        for signed in records:
            yield from self._take(now, membership, custody, sender, signed, passing)
        for dev, told in passing.items():
            yield from self._hands.send(membership, dev, told)

    def _take(
        self,
        now: Now,
        membership: Membership,
        custody: Custody,
        sender: DeviceKey,
        signed: Signed[Epoch],
        passing: dict[DeviceKey, list[Signed[Epoch]]],
    ) -> Iterator[Output]:
        signer = DeviceKey(signed.record.dev)
        # Security: of strangers nothing is remembered; each we know has its own few places.
        if self._hands.identity(membership, signer) is None:
            return
        known = self._hands.known(membership).take(now, signed, self._open)
        if known is None or custody.best is None:
            return
        best = custody.best
        # Of two parts of a room only one may have a keeper: so the others tell it of theirs.
        is_behind = best.outline.rank < known.outline.rank and sender not in best.boxed
        if is_behind and membership.pace_of(sender).keys.take(now.mono):
            yield from self._answer(now, membership, best, membership.members[sender])
        if not self._hands.counts(membership, signer):
            return
        is_first = len(known.records) == 1 and known.records.get(signer) is signed
        given = {box.dev for box in signed.record.boxes}
        onward = flood.onward(membership, self._me.dev) if is_first else []
        for member in self._hands.here(membership):
            if member.dev != sender and (member.dev in onward or member.dev in given):
                passing.setdefault(member.dev, []).append(signed)

    def _open(self, box: bytes) -> bytes | None:
        return keys.open_box(self._me.seal_key, box)

    def _asked(self, now: Now, membership: Membership, member: Member) -> Iterator[Output]:
        """A member has no secret, or not the one that it hears of."""
        best = membership.custody.best
        # Security: a frame of four bytes has us seal and send; not as fast as a peer asks.
        if best is not None and membership.pace_of(member.dev).keys.take(now.mono):
            best.boxed.discard(member.dev)
            yield from self._answer(now, membership, best, member)

    def _answer(
        self, now: Now, membership: Membership, best: Known, member: Member
    ) -> Iterator[Output]:
        is_on_stage = membership.log.state.level(self._me.uid) <= Level.SPEAKER
        if (is_on_stage or membership.is_carrier) and self._hands.may_give(
            membership, member, best
        ):
            yield from self._hands.give(now, membership, best, [member])

    def voice_state(self, now: Now, membership: Membership, state: VoiceState) -> Iterator[Output]:
        """A member's voice is under a secret that we lack: it will give it to us."""
        custody = membership.custody
        member = next((m for m in membership.members.values() if m.ssrc == state.ssrc), None)
        if state.condition is not VoiceCondition.KEY_MISSING or member is None:
            return
        if membership.is_sealed and custody.ask_voice_at <= now.mono:
            custody.ask_voice_at = now.mono + ASK_S
            yield from self._hands.send(membership, member.dev, [])

    # ── what follows ─────────────────────────────────────────────────────────────────────────

    def settle(self, now: Now, membership: Membership) -> Iterator[Output]:
        """Draws the consequences of what has just changed, or of time that has passed."""
        custody = membership.custody
        custody.deadline = math.inf
        if not membership.joined or membership.serves:
            return  # Security: a relay asks for no secret, and is given none
        if membership.is_sealed:
            known = self._hands.known(membership)
            self._see_who_is_here(now, membership)
            self._choose(now, membership)
            yield from self._make(now, membership)
            yield from self._hand_on(now, membership)
            yield from self._ask(now, membership)
            custody.deadline = min(custody.deadline, known.deadline)
        else:
            custody.was_open = True
        yield from self._tell(membership)

    def _see_who_is_here(self, now: Now, membership: Membership) -> None:
        custody, known = membership.custody, self._hands.known(membership)
        here = {
            member.dev: member.join.id
            for member in membership.members.values()
            if epochs.is_admitted(membership.log.state, member.uid)
        }
        for member in membership.members.values():
            if member.dev not in custody.identities:
                self._hands.learn(membership, member.identity)
        for dev, join in custody.present.items():
            if here.get(dev) != join:
                known.forget_device(dev)
        if custody.present.keys() - here.keys():
            custody.left_at = min(custody.left_at, now.mono)
        if here.keys() - custody.present.keys():
            custody.joined_at = min(custody.joined_at, now.mono)
        custody.present = here

    def _choose(self, now: Now, membership: Membership) -> None:
        custody, known = membership.custody, self._hands.known(membership)
        removed = self._hands.removals(membership)

        def counts(dev: DeviceKey) -> bool:
            return self._hands.counts(membership, dev)

        known.step(now, removed, counts)
        best = known.best
        if best is not None and best is not custody.best:
            custody.joined_at = math.inf if best.since >= custody.joined_at else custody.joined_at
            if not best.outline.ratchet:
                custody.left_at = math.inf if best.since >= custody.left_at else custody.left_at
                custody.random_at = best.since
        custody.best = best
        greatest = known.greatest(removed, counts)
        custody.is_covered = greatest is not None
        if best is not None and best is greatest:
            custody.lacking_at = custody.ask_at = math.inf
        elif math.isinf(custody.lacking_at):
            custody.lacking_at, custody.asked = now.mono, 0
            custody.ask_at = now.mono + FIRST_ASK_S

    # ── making ───────────────────────────────────────────────────────────────────────────────

    def _make(self, now: Now, membership: Membership) -> Iterator[Output]:
        custody, known = membership.custody, self._hands.known(membership)
        rank = self._rank(membership)
        if rank is None:
            return
        self._look_for_stuck(now, membership)
        random_at, ratchet_at = self._due(now, membership, rank)
        made = None
        if random_at <= now.mono:
            removed = self._hands.removals(membership)
            made = known.make(
                removed, lambda dev: self._hands.counts(membership, dev), self._entropy
            )
        elif ratchet_at <= now.mono:
            made = known.ratchet()
        if made is not None:
            custody.not_before = now.mono + PAUSE_S
            custody.stuck_at = math.inf
            yield from self._hands.publish(now, membership, *made)
            self._choose(now, membership)
            random_at, ratchet_at = self._due(now, membership, rank)
        later = [at for at in (random_at, ratchet_at) if at > now.mono]
        custody.deadline = min(custody.deadline, *later, math.inf)

    def _due(self, now: Now, membership: Membership, rank: int) -> tuple[float, float]:
        """When to make an epoch of chance, and when one by ratchet."""
        custody, best = membership.custody, membership.custody.best
        times = [custody.stuck_at]
        if not custody.is_covered:
            # In its first seconds a node that was given none yet waits for what the others hold;
            # who saw the room while it was open knows that there is none.
            has_had_none = math.isinf(custody.random_at) and not custody.was_open
            is_new = has_had_none and membership.is_new(now) and bool(custody.present)
            times.append(custody.lacking_at + (GRACE_S if is_new else 0.0))
        elif best is None:
            times.append(custody.lacking_at + GRACE_S)
        else:
            times.append(custody.random_at + REKEY_S)
            times.append(max(custody.left_at, custody.random_at + BATCH_S))
        ratchet = max(custody.joined_at, best.since + BATCH_S) if best is not None else math.inf
        wait = rank * STAGGER_S
        return (
            max(min(times) + wait, custody.not_before),
            max(ratchet + wait, custody.not_before),
        )

    def _look_for_stuck(self, now: Now, membership: Membership) -> None:
        """Somebody admitted may not be given the secret there is: an entry in its rm names him."""
        custody, best = membership.custody, membership.custody.best
        stuck = best is not None and any(
            member.dev not in best.boxed and not self._hands.may_give(membership, member, best)
            for member in self._hands.here(membership)
        )
        custody.stuck_at = min(custody.stuck_at, now.mono) if stuck else math.inf

    # ── handing on ───────────────────────────────────────────────────────────────────────────

    def _hand_on(self, now: Now, membership: Membership) -> Iterator[Output]:
        custody, best = membership.custody, membership.custody.best
        is_keeper = self._rank(membership) == 0
        if best is None or not (is_keeper or membership.is_carrier):
            return
        lacking = [
            member
            for member in self._hands.here(membership)
            if member.dev not in best.boxed
            and (is_keeper or membership.is_audience(member.dev))
            and self._hands.may_give(membership, member, best)
        ]
        if not lacking:
            return
        if custody.give_at > now.mono:
            custody.deadline = min(custody.deadline, custody.give_at)
            return
        # Of a crowd some at a time: to seal for all at once would hold up everything else.
        yield from self._hands.give(now, membership, best, lacking[:GIVEN_AT_ONCE])
        if len(lacking) > GIVEN_AT_ONCE:
            custody.give_at = now.mono + GIVE_S
            custody.deadline = min(custody.deadline, custody.give_at)

    # ── asking ───────────────────────────────────────────────────────────────────────────────

    def _ask(self, now: Now, membership: Membership) -> Iterator[Output]:
        custody = membership.custody
        if custody.ask_at <= now.mono:
            others = self._who_may_know(membership)
            if others:
                asked = others[custody.asked % len(others)]
                yield from self._hands.send(membership, asked, [])
            custody.asked += 1
            custody.ask_at = now.mono + min(ASK_S * custody.asked, ASK_S_MAX)
        custody.deadline = min(custody.deadline, custody.ask_at)

    def _who_may_know(self, membership: Membership) -> list[DeviceKey]:
        """The keepers in their order, then whoever else is on stage."""
        state = membership.log.state
        first = [dev for dev in self._keepers(membership) if dev != self._me.dev]
        stage = [
            member.dev
            for member in self._hands.here(membership)
            if state.level(member.uid) <= Level.SPEAKER and member.dev not in first
        ]
        return first + sorted(stage)

    # ── telling ──────────────────────────────────────────────────────────────────────────────

    def _tell(self, membership: Membership) -> Iterator[Output]:
        """Media, and the person, if what is sent or heard under has changed."""
        custody = membership.custody
        live = membership.live
        if (live, membership.heard_under) == custody.told:
            return
        told, custody.told = custody.told, (live, membership.heard_under)
        if told is None and custody.epochs is None:
            return  # the key of an open room: known from the beginning
        yield from self._wiring.rewire(membership)
        yield from self._wiring.tell_voice(membership)
        if told is None or told[0] != live:
            text = "waiting" if live is None else str(live.n)
            yield Event(EventKind.EPOCH_CHANGED, membership.room, None, text)

    # ── people ───────────────────────────────────────────────────────────────────────────────

    def _keepers(self, membership: Membership) -> list[DeviceKey]:
        """Those here who run the room: the creator, hosts, moderators, the lower id first."""
        state = membership.log.state
        people = [(self._me.dev, self._me.uid)]
        people += [(member.dev, member.uid) for member in self._hands.here(membership)]
        seated = [(state.level(uid), dev) for dev, uid in people if epochs.runs_room(state, uid)]
        return [dev for _, dev in sorted(seated)]

    def _rank(self, membership: Membership) -> int | None:
        keepers = self._keepers(membership)
        return keepers.index(self._me.dev) if self._me.dev in keepers else None


def facts(membership: Membership) -> dict[str, object]:
    """The state of the room's keys, as the API tells it."""
    live = membership.live
    if not membership.is_sealed:
        return {"sealed": False, "epoch": None, "keys": "public"}
    keys = "current" if live else "waiting"
    return {"sealed": True, "epoch": live and live.n, "keys": keys}
