"""Who carries the room: claims by rank, one after the other, and the greatest counts.

Agreement, not repair: media pulls from the standby within a tenth of a second and asks nobody
(carry/repair.py); what is decided here follows some tenths later. A standby is chosen first and
promoted, so nobody untried becomes hub. No quorum and no coordinator: whoever is cut off goes on
with whom it hears, and the greater claim wins when they meet again.

| state | means | leaves when |
| --- | --- | --- |
| MESH | nobody is needed | the room outgrows it: SETTLING |
| SETTLING | somebody is, and nobody has claimed | a claim; our turn comes by rank: HUB |
| MEMBER | others carry | both fall silent: SUSPECT; a claim names us |
| STANDBY | we are next | the hub is gone, or half the members pull: HUB |
| HUB | we carry | a greater claim: YIELDING |
| YIELDING | we did, and some may need it still | all have released us, or time is up |
| SUSPECT | neither hub nor standby is heard | heard again; a claim; by rank, if others agree: HUB |
"""

import math
from collections import deque
from dataclasses import dataclass
from enum import Enum
from typing import Final

from p2phouse.record import limits
from p2phouse.record.envelope import Signed
from p2phouse.record.types import BidFlag, Claim
from p2phouse.shape import measure, pairs
from p2phouse.shape.claims import Register, is_acceptable
from p2phouse.shape.measure import View, Why
from p2phouse.shape.pairs import Pairs
from p2phouse.vocabulary import DeviceKey, RecordId

SETTLE_S: Final = 0.3  # those who see the reason at once have bid by then
RANK_S: Final = 0.2  # a claim is everywhere before the next in rank makes one
UNTRIED_S: Final = 10.0  # so long a mesh that needs a hub waits for one that was measured
NEWCOMER_S: Final = 3.0  # who has just come knows too little to claim
DWELL_S: Final = 10.0  # between two shapes
CALM_S: Final = 30.0  # small and whole for so long: a mesh again
CALM_MEMBERS: Final = 5
LEASE_S: Final = 1.0  # neither hub nor standby heard
CONNECT_S: Final = 12.0  # a first link to a new hub takes at most so long (link/ice.py)
PULLED_S: Final = 0.12  # the standby's own silence before pulls count
ALONE_S: Final = 3.0  # the standby alone hears nothing: the hub replaces it first
IDLE_STANDBY_S: Final = 5.0  # the hub is gone from the room, and the standby has not claimed
LOST_STANDBY_S: Final = 1.0
UNMET_S: Final = 3.0  # who is back after his Wi-Fi dropped out has links again by then
DESERTED_S: Final = 0.4  # his word and our ear agree for so long: no keepalive that came late
MAKE_WAY_S: Final = 10.0  # a new standby is linked with everybody by then, or somebody says so
REACH_S_MAX: Final = 320.0  # between two standbys for whom none has helped yet, doubling to that
YIELD_S: Final = 5.0
YIELD_TO_MESH_S: Final = 12.0  # until the links of the mesh are up
OVERLAP_S: Final = 5.0
REFRESH_S: Final = 60.0  # between two claims of a healthy room
BEST_S: Final = 300.0  # the standing one is taken at its best of that time
BETTER_MS: Final = 10
AGAIN_FAST_S: Final = 0.5
AGAIN_FAST_FOR_S: Final = 5.0
AGAIN_S: Final = 5.0
OUTBID_S: Final = 1.0
PONDER_S_MAX: Final = 5.0  # after a sleep: links are back by then, and what was claimed is heard
STALL_S: Final = 0.3  # a control loop is held up for 50 ms at most, unless its machine is
REFUSED_MAX: Final = 16


class State(Enum):
    MESH = "mesh"
    SETTLING = "settling"
    MEMBER = "member"
    STANDBY = "standby"
    HUB = "hub"
    YIELDING = "yielding"
    SUSPECT = "suspect"


# ── what happens ─────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Seen:
    """Members, bids or what is heard are other than before."""

    view: View


@dataclass(frozen=True, slots=True)
class ClaimHeard:
    """sender: who told us. room_age_s: by our clock, of the room it is about."""

    claim: Signed[Claim]
    sender: DeviceKey
    room_age_s: float = 0.0


@dataclass(frozen=True, slots=True)
class PullsHeard:
    """So many of the members have asked us within 0.4 s for what the hub should bring."""

    count: int
    of: int


@dataclass(frozen=True, slots=True)
class ReleasedBy:
    dev: DeviceKey


Event = Seen | ClaimHeard | PullsHeard | ReleasedBy | None


# ── what must be done ────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class MakeClaim:
    """Sign it, hand it in by ClaimHeard, and tell everybody."""

    epoch: int
    cost: int
    hub: DeviceKey | None
    standby: DeviceKey | None


@dataclass(frozen=True, slots=True)
class TellAgain:
    """Everybody, of the claim we hold."""


@dataclass(frozen=True, slots=True)
class Adopted:
    """Another claim counts; before: the hub until then."""

    claim: Signed[Claim]
    before: DeviceKey | None


Output = MakeClaim | TellAgain | Adopted


class Election:
    """One member's part in it. `handle` is given every event, or None at `deadline`."""

    def __init__(self, me: DeviceKey, view: View, now_mono: float) -> None:
        self._me = me
        self._since = now_mono
        self._woke_at = -math.inf
        self._ponders_until = -math.inf
        self._view = view
        self._register = Register()
        self._adopted_at = -math.inf
        self._former: DeviceKey | None = None
        self._former_until = -math.inf
        self._overlap_until = -math.inf
        self._released: set[DeviceKey] = set()
        self._pulls = (0, 0)  # holds until media says otherwise
        self._needed_at = math.inf  # since when the mesh is too small
        self._calm_at = math.inf  # since when it would do
        self._heard_once: set[DeviceKey] = set()  # of hub and standby, in this epoch
        self._unheard_at: dict[DeviceKey, float] = {}
        self._unmet_at = math.inf  # since when somebody and we do not meet, if we carry
        self._deserted_at = math.inf  # since when somebody hears nobody who carries, nor we him
        self._reach_again_at = -math.inf  # when another standby may be named for such a one
        self._reach_pause_s = MAKE_WAY_S
        self._doubted_at = math.inf  # since when others miss hub and standby as we do
        self._again_at = math.inf
        self._told_at = -math.inf
        self._outbid: tuple[float, int] | None = None  # from when, and which epoch
        self._refused: dict[RecordId, set[DeviceKey]] = {}  # claims, and who told us of them
        self._costs: deque[tuple[float, int]] = deque()  # of the hub, by time
        self._pairs = Pairs()
        self.deadline = math.inf

    # ── what is known ────────────────────────────────────────────────────────────────────────

    @property
    def view(self) -> View:
        return self._view

    @property
    def claim(self) -> Signed[Claim] | None:
        return self._register.held

    @property
    def hub(self) -> DeviceKey | None:
        held = self._register.held
        return None if held is None or held.record.hub is None else DeviceKey(held.record.hub)

    @property
    def standby(self) -> DeviceKey | None:
        held = self._register.held
        if held is None or held.record.hub is None or held.record.standby is None:
            return None
        return DeviceKey(held.record.standby)

    def former(self, now: float) -> DeviceKey | None:
        """Who was hub before this claim, while it may be needed."""
        return self._former if now < self._former_until else None

    def retried(self, now: float) -> frozenset[DeviceKey]:
        """With whom to try again now, since the room is carried for nothing but such a pair."""
        is_owed = self.hub is not None and self.why is Why.PAIR
        if not is_owed or self._view.people > CALM_MEMBERS or self._me in (self.hub, self.standby):
            return frozenset()
        is_time, _ = pairs.retry(now, self._adopted_at)
        return self._pairs.of(self._me) if is_time else frozenset()

    def overlaps(self, now: float) -> bool:
        """Whether the links of the shape before are to be used still."""
        return now < self._overlap_until

    def state(self, now: float) -> State:
        if self.hub == self._me:
            return State.HUB
        if self.former(now) == self._me:
            return State.YIELDING
        if self.hub is None:
            return State.SETTLING if self._needed_at < math.inf else State.MESH
        if now >= self._silent_at() + LEASE_S:
            return State.SUSPECT
        return State.STANDBY if self.standby == self._me else State.MEMBER

    @property
    def why(self) -> Why | None:
        """Why the room is no mesh, or should be none."""
        reason = measure.why_no_mesh(self._view)
        return Why.PAIR if reason is None and self._pairs else reason

    @property
    def needs_relay(self) -> bool:
        """Whether somebody should carry the room, and nobody may."""
        return self.hub is None and self.why is not None and not measure.rank(self._view)

    # ── the core ─────────────────────────────────────────────────────────────────────────────

    def handle(self, event: Event, now: float) -> list[Output]:
        # Our own stalls are not the others' silence: who is starved of its processor waits longer
        # with what it thinks of them, or a busy machine would elect without end.
        late_s = now - self.deadline
        if late_s > STALL_S:
            self._unheard_at = {dev: min(now, at + late_s) for dev, at in self._unheard_at.items()}
        if late_s > LEASE_S:
            self.woke(now, late_s)
        outputs: list[Output] = []
        match event:
            case Seen(view):
                self._see(view, now)
            case ClaimHeard():
                outputs += self._hear(event, now)
            case PullsHeard(count, of):
                self._pulls = (count, of)
            case ReleasedBy(dev):
                self._released.add(dev)
                owed = self._view.heard - {self.hub, self.standby}  # these hear the speakers
                if self._former == self._me and self._released >= owed:
                    self._former_until = now
        self.deadline = math.inf
        if isinstance(event, ClaimHeard) and event.sender == self._me and not outputs:
            # Our own claim, refused by ourselves: to judge now would make the same one for ever.
            self._wake(now + RANK_S)
            return outputs
        outputs += self._judge(now)
        return outputs

    def woke(self, now: float, slept_s: float) -> None:
        """We were away for so long, as a machine that slept, and others may have claimed: for as
        long again we claim nothing, or two who both mean the claim after the last would fight."""
        self._woke_at = now
        # Whom we heard before may be back before its link is.
        self._heard_once &= self._view.heard
        self._unheard_at.clear()
        for dev in (self.hub, self.standby):
            self._note_heard(dev, now)
        self._ponders_until = max(self._ponders_until, now + min(slept_s, PONDER_S_MAX))

    def _see(self, view: View, now: float) -> None:
        before, self._view = self._view, view
        if self._is_cut_off(before) and not self._is_cut_off(view):
            self.woke(now, NEWCOMER_S)
        self._pairs.see(view)
        for dev in (self.hub, self.standby):
            self._note_heard(dev, now)

    def _is_cut_off(self, view: View) -> bool:
        """Whether nobody is here, or nobody is heard, though we carry the room or stand by."""
        if len(view.members) == 1:
            return True
        stands_by = self.standby == self._me and len(view.members) > 2
        return not view.heard and (self.hub == self._me or stands_by)

    def _note_heard(self, dev: DeviceKey | None, now: float) -> None:
        if dev is None or dev == self._me:
            return
        if dev in self._view.heard:
            self._heard_once.add(dev)
            self._unheard_at.pop(dev, None)
        else:
            self._unheard_at.setdefault(dev, now)

    def _hear(self, heard: ClaimHeard, now: float) -> list[Output]:
        signed, held = heard.claim, self._register.held
        if not self._register.is_greater(signed):
            is_same = held is not None and held.id == signed.id
            if is_same or now < self._told_at + AGAIN_FAST_S:
                return []
            self._told_at = now
            return [TellAgain()]
        if not self._register.is_in_reach(signed.record, heard.room_age_s):
            # Or our clock is wrong, and all the others know better.
            return self._adopt(signed, now) if self._is_told_by_many(heard) else []
        is_newcomer = now < max(self._since, self._woke_at) + CONNECT_S
        is_newcomer |= self._is_cut_off(self._view)
        if is_acceptable(self._view, signed.record, is_newcomer=is_newcomer):
            return self._adopt(signed, now)
        return self._refuse(heard, now)

    def _refuse(self, heard: ClaimHeard, now: float) -> list[Output]:
        """What the room could not do by our view; unless so many see it otherwise."""
        signed = heard.claim
        if self._is_told_by_many(heard):
            return self._adopt(signed, now)
        # Who took it must be led back, or there would be two rooms in one.
        if self._outbid is None or signed.record.epoch > self._outbid[1]:
            self._outbid = (now, signed.record.epoch)
        return []

    def _is_told_by_many(self, heard: ClaimHeard) -> bool:
        """Whether more than a third of the members have told us of a claim that we did not take."""
        tellers = self._refused.setdefault(heard.claim.id, set())
        tellers.add(heard.sender)
        if len(self._refused) > REFUSED_MAX:
            del self._refused[next(iter(self._refused))]
        return len(tellers) > max(1, len(self._view.members) // 3)

    def _adopt(self, signed: Signed[Claim], now: float) -> list[Output]:
        if self._is_cut_off(self._view):
            self.woke(now, NEWCOMER_S)
        before, was_standby = self.hub, self.standby
        if not self._register.take(signed):
            return []
        self._outbid = None
        self._refused.clear()
        self._adopted_at = now
        self._calm_at = math.inf
        self._needed_at = math.inf
        if self.hub != before:
            self._costs.clear()
            self._unmet_at = self._deserted_at = math.inf
            self._released.clear()
            if before is not None:
                self._former = before
                self._former_until = now + (YIELD_S if self.hub is not None else YIELD_TO_MESH_S)
            if before is None or self.hub is None:
                self._overlap_until = now + (OVERLAP_S if before is None else YIELD_TO_MESH_S)
        for dev in (self.hub, self.standby):
            if dev is not None and dev not in (before, was_standby):
                self._heard_once.discard(dev)
                self._unheard_at.pop(dev, None)
            self._note_heard(dev, now)
        self._told_at = now
        self._again_at = now + AGAIN_FAST_S
        return [Adopted(signed, before)]

    # ── what follows ─────────────────────────────────────────────────────────────────────────

    def _judge(self, now: float) -> list[Output]:
        for until in (self._former_until, self._overlap_until):
            if until > now:
                self._wake(until)
        outputs = self._again(now)
        # Who is cut off carries nobody, and must not outbid a whole room.
        if self._is_cut_off(self._view) or not self._is_due(self._ponders_until, now):
            return outputs
        if self.hub is None:
            outputs += self._in_mesh(now)
        elif self.hub == self._me:
            outputs += self._as_hub(now)
        elif self.standby == self._me:
            outputs += self._as_standby(now)
        else:
            outputs += self._as_member(now)
        return outputs

    def _wake(self, at: float) -> None:
        self.deadline = min(self.deadline, at)

    def _is_due(self, at: float, now: float) -> bool:
        if now >= at:
            return True
        self._wake(at)
        return False

    def _again(self, now: float) -> list[Output]:
        if self.claim is None or not self._is_due(self._again_at, now):
            return []
        fast = self.hub == self._me and now < self._adopted_at + AGAIN_FAST_FOR_S
        self._again_at = now + (AGAIN_FAST_S if fast else AGAIN_S)
        self._wake(self._again_at)
        return [TellAgain()]

    def _in_mesh(self, now: float) -> list[Output]:
        if self.why is None:
            self._needed_at = math.inf
            return []
        self._needed_at = min(self._needed_at, now)
        ranks = measure.rank(self._view)
        if self._me not in ranks:
            return []
        relays = self._view.relays  # a host vouches for these
        tried = [dev for dev in ranks if dev in relays or measure.is_tried(self._view, dev)]
        order = tried + [dev for dev in ranks if dev not in tried]
        due = self._needed_at + SETTLE_S + RANK_S * order.index(self._me)
        if self._me not in tried:
            due += UNTRIED_S
        if not self._is_due(max(due, self._adopted_at + DWELL_S, self._since + NEWCOMER_S), now):
            return []
        return self._claim(self._me, self._next([self._me]), now)

    def _as_hub(self, now: float) -> list[Output]:
        if self._is_draining:
            return self._drain(now)
        if self._outbid is not None:
            at, epoch = self._outbid
            if self._is_due(at + OUTBID_S, now):
                self._outbid = None
                return self._claim(self._me, self.standby, now, above=epoch)
        if self._is_calm(now):
            return self._claim(None, None, now)
        standby = self.standby
        if self._standby_is_lost(standby, now):
            found = self._next([self._me, standby])
            return self._claim(self._me, found, now) if found != standby else []
        return self._make_way(now) or self._reach_out(now) or self._improve(now)

    def _reach_out(self, now: float) -> list[Output]:
        """To somebody on the stage who hears neither us nor our standby, and whom we do not hear:
        another standby, who may. The room stays where it is."""
        lost = measure.deserted(self._view) - self._view.heard - {self._me}
        self._deserted_at = min(self._deserted_at, now) if lost else math.inf
        # Security: whoever says so has us change our standby no oftener than this, and ever less
        # often, or he would keep us from all that waits for a room at rest.
        # Test: test_reaching.py::test_one_who_says_that_he_is_deserted_moves_nobody_but_the_standby
        due = max(self._deserted_at + DESERTED_S, self._adopted_at + MAKE_WAY_S)
        if not self._is_due(max(due, self._reach_again_at), now):
            return []
        others = [
            dev
            for dev in measure.rank(self._view, but=[self._me, self.standby, *lost])
            if dev in self._view.heard
            and not measure.is_strained(self._view, dev)
            and not self._pairs.of(dev) & lost
        ]
        if not others:
            return []
        if now > self._reach_again_at + REACH_S_MAX:
            self._reach_pause_s = MAKE_WAY_S
        self._reach_again_at = now + self._reach_pause_s
        self._reach_pause_s = min(2 * self._reach_pause_s, REACH_S_MAX)
        return self._claim(self._me, others[0], now)

    def _make_way(self, now: float) -> list[Output]:
        """To the standby, for somebody who reaches it and not us, or since we cannot keep
        up; if it is no better off, one who is becomes standby first."""
        lost = len(measure.unreached(self._view, self._me))
        self._unmet_at = min(self._unmet_at, now) if lost else math.inf
        strained = measure.is_strained(self._view, self._me)
        if not strained and not self._is_due(self._unmet_at + UNMET_S, now):
            return []
        # Security: who lets no hub reach him moves the room about no oftener than this.
        # Test: test_election.py::test_one_whom_no_hub_reaches_moves_the_room_each_ten_seconds
        if not (lost or strained) or not self._is_due(self._adopted_at + MAKE_WAY_S, now):
            return []
        ranks = measure.rank(self._view, but=[self._me])
        better = [
            dev
            for dev in ranks
            if dev in self._view.heard
            and not measure.is_strained(self._view, dev)
            and (self._apart(dev) < lost or (strained and self._apart(dev) == lost))
        ]
        if self.standby in better:
            return self._claim(self.standby, self._next([self._me, self.standby]), now)
        return self._claim(self._me, better[0], now) if better else []

    def _apart(self, dev: DeviceKey) -> int:
        """With how many it has failed to meet."""
        return len(self._pairs.of(dev))

    @property
    def _is_draining(self) -> bool:
        """Whether we are about to leave, or our person, a battery or a bill says no."""
        bid = self._view.bids.get(self._me)
        if bid is None:
            return False
        is_over = bid.cap < self._view.need and self._next([self._me]) is not None
        return is_over or not measure.would_carry(bid)

    @property
    def _leaves(self) -> bool:
        bid = self._view.bids.get(self._me)
        return bid is not None and bool(bid.flags & BidFlag.DRAINING)

    def _drain(self, now: float) -> list[Output]:
        """To the standby, or at need to somebody untried: better than to nobody."""
        standby = self.standby
        bid = None if standby is None else self._view.bids.get(standby)
        is_willing = bid is None or measure.would_carry(bid)
        if standby is None or standby not in self._view.members or not is_willing:
            standby = self._next([self._me])
        if standby is None:
            # Whoever leaves does so anyway; who only said no must not be kept at it by a room that
            # could be a mesh.
            is_small = self._view.people <= limits.MESH_MEMBERS_MAX
            return self._claim(None, None, now) if is_small and not self._leaves else []
        return self._claim(standby, self._next([self._me, standby]), now)

    def _is_calm(self, now: float) -> bool:
        if self.why is not None or self._view.people > CALM_MEMBERS:
            self._calm_at = math.inf
            return False
        self._calm_at = min(self._calm_at, now)
        return self._is_due(max(self._calm_at + CALM_S, self._adopted_at + DWELL_S), now)

    def _standby_is_lost(self, standby: DeviceKey | None, now: float) -> bool:
        if standby is None:
            return self._is_due(self._adopted_at + LOST_STANDBY_S, now)
        bid = self._view.bids.get(standby)
        if standby not in self._view.members or (bid and not measure.would_carry(bid)):
            return self._is_due(self._adopted_at + LOST_STANDBY_S, now)
        return self._is_unheard(standby, now, LOST_STANDBY_S)

    def _improve(self, now: float) -> list[Output]:
        """A better one becomes standby first, and hub once it has been tried as that."""
        own = measure.cost(self._view, self._me)
        if not self._costs or self._costs[-1][1] != own:
            self._costs.append((now, own))
        while len(self._costs) > 1 and self._costs[1][0] < now - BEST_S:
            self._costs.popleft()
        own_apart = self._apart(self._me)
        worse = [dev for dev in self._view.members if self._apart(dev) > own_apart]
        best = self._next([self._me, *worse])
        mine = measure.is_favoured(self._view, self._me)
        its = best is not None and measure.is_favoured(self._view, best)
        standby = self.standby
        is_stood_in_for = standby is None or not measure.is_favoured(self._view, standby)
        is_owed = its and not mine  # who only stands in for a relay does not keep it waiting
        is_first = is_owed or (its and is_stood_in_for)  # nor does who stands by in its place
        if not self._is_due(self._adopted_at + (DWELL_S if is_first else REFRESH_S), now):
            return []
        if best is None:
            return []
        standing = min(value for _, value in self._costs)
        new = measure.cost(self._view, best)
        if best == standby:
            is_heard = best in self._view.heard
            is_tried = is_heard and (is_owed or measure.is_tried(self._view, best))
            is_better = is_owed or (its is mine and _is_better(new, standing))
            if is_tried and is_better:
                return self._claim(best, self._me, now)
            return []
        if standby is None or is_first or _is_better(new, measure.cost(self._view, standby)):
            return self._claim(self._me, best, now)
        return []

    def _as_standby(self, now: float) -> list[Output]:
        hub = self.hub
        assert hub is not None
        if hub not in self._view.members:
            return self._promote(now) if self._is_due(self._gone_at(hub), now) else []
        if hub not in self._heard_once or hub not in self._unheard_at:
            return []  # a link that is not up yet is no death
        silent_at = self._unheard_at[hub]
        count, of = self._pulls
        if of and 2 * count >= of:
            return self._promote(now) if self._is_due(silent_at + PULLED_S, now) else []
        alone_s = ALONE_S if len(self._view.members) > 2 else LEASE_S
        return self._promote(now) if self._is_due(silent_at + alone_s, now) else []

    def _promote(self, now: float) -> list[Output]:
        if self._is_draining:
            return []
        return self._claim(self._me, self._next([self._me, self.hub]), now)

    def _as_member(self, now: float) -> list[Output]:
        if self._pairs.of(self._me):
            _, changes_at = pairs.retry(now, self._adopted_at)
            self._wake(changes_at)
        hub, silent_at = self.hub, self._silent_at()
        assert hub is not None
        is_due = silent_at < math.inf and self._is_due(silent_at + LEASE_S, now)
        # Security: whoever has lost them alone has lost his own network, or never had a way.
        # Test: test_election.py::test_one_who_alone_hears_neither_hub_nor_standby_claims_nothing
        if not is_due or not measure.is_doubted(self._view, hub, self.standby, self._me):
            self._doubted_at = math.inf
            return []
        self._doubted_at = min(self._doubted_at, now)
        ranks = measure.rank(self._view, but=[hub, self.standby])
        # A listener leaves it to the stage, whatever it bid when it stood there.
        if self._view.listens or self._me not in ranks:
            return []
        at = self._doubted_at + RANK_S * ranks.index(self._me)
        if not self._is_due(max(at, self._since + NEWCOMER_S), now):
            return []
        return self._claim(self._me, self._next([self._me, self.hub, self.standby]), now)

    # ── silence ──────────────────────────────────────────────────────────────────────────────

    def _silent_at(self) -> float:
        """Since when neither hub nor standby is heard; inf if one is, or may be soon."""
        hub, standby = self.hub, self.standby
        assert hub is not None
        if hub not in self._view.members and standby in self._view.heard:
            # Somebody else than the standby steps in only if that one does nothing. A listener does
            # not: all of the stage would have noticed.
            return math.inf if self._view.listens else self._gone_at(hub) + IDLE_STANDBY_S
        times = [self._lost_at(dev) for dev in (hub, standby) if dev is not None]
        return max(times)

    def _lost_at(self, dev: DeviceKey) -> float:
        if dev == self._me:
            return math.inf
        if dev not in self._view.members:
            return self._gone_at(dev)
        unheard_at = self._unheard_at.get(dev, math.inf)
        return unheard_at if dev in self._heard_once else unheard_at + CONNECT_S

    def _gone_at(self, dev: DeviceKey) -> float:
        """It is no member. Whom we never met here may be on its way to us, or we to it."""
        at = self._unheard_at.get(dev, self._adopted_at)
        return at if dev in self._heard_once else max(at, self._adopted_at) + NEWCOMER_S

    def _is_unheard(self, dev: DeviceKey, now: float, most_s: float) -> bool:
        unheard_at = self._unheard_at.get(dev)
        if unheard_at is None:
            return False
        return self._is_due(unheard_at + (most_s if dev in self._heard_once else CONNECT_S), now)

    # ── claiming ─────────────────────────────────────────────────────────────────────────────

    def _next(self, but: list[DeviceKey | None]) -> DeviceKey | None:
        """The best of those who are heard, else of all."""
        ranks = measure.rank(self._view, but=but)
        heard = [dev for dev in ranks if dev in self._view.heard]
        return next(iter(heard or ranks), None)

    def _claim(
        self,
        hub: DeviceKey | None,
        standby: DeviceKey | None,
        now: float,
        above: int = 0,
    ) -> list[Output]:
        epoch = max(self._register.epoch, above) + 1
        if epoch > limits.CLAIM_EPOCH_MAX:
            return []  # after twelve hours of one each 0.7 s: it stays as it is
        cost = limits.COST_MAX if hub is None else measure.cost(self._view, hub)
        self._wake(now + RANK_S)  # whoever drives this has told us of it by then
        return [MakeClaim(epoch, cost, hub, standby)]


def _is_better(new: int, standing: int) -> bool:
    """Tailscale's rule: by a third and by 10 ms, or it goes to and fro."""
    return new <= standing - max(BETTER_MS, standing // 3)
