"""Which rooms a relay carries: lists, relay grants and quotas, judged from what it holds itself.

Nobody is asked: a relay grant is a signature of a key on the operator's list. A refusal names
another relay, if the operator knows one.
"""

from dataclasses import dataclass
from typing import Final

from p2phouse.errors import PeerError
from p2phouse.hall.relay_ask import AskCarry, Said, Verdict
from p2phouse.record import envelope
from p2phouse.record.types import Access, Admits, Genesis, GrantOf, RelayGrant
from p2phouse.vocabulary import DeviceKey, Now, RoomId
from p2phouse_relay.policy import Charter
from p2phouse_relay.quota import Ledger, Pressure

BUSY_PERMILLE: Final = 700  # above it packets begin to wait for one another


@dataclass(slots=True)
class Admission:
    """`decide` says what a relay replies; a room that it takes is in the ledger from then on."""

    charter: Charter
    own: DeviceKey
    ledger: Ledger
    drains: bool = False
    load_permille: int = 0  # of media's core
    _turn: int = 0  # of the others that refusals name

    def decide(self, now: Now, asker: DeviceKey, ask: AskCarry) -> Said:
        """Pure but for the ledger. asker: as its handshake proved."""
        verdict = self._judge(now, asker, ask)
        if verdict is not Verdict.CARRIED:
            return Said(verdict, self._another())
        genesis, grant = ask.genesis.record, ask.grant
        listeners, kbps, until = self.charter.listeners, self.charter.kbps, genesis.exp
        if grant is not None:
            listeners = min(listeners, grant.record.listeners)
            kbps = min(kbps, grant.record.kbps)
            until = min(until, grant.record.exp)
        room = RoomId(ask.genesis.id)
        if room not in self.ledger.loads:
            key = _account(ask)
            self.ledger.take(room, key, listeners_max=listeners, kbps_max=kbps)
        return Said(Verdict.CARRIED, "", listeners, kbps, until)

    def _judge(self, now: Now, asker: DeviceKey, ask: AskCarry) -> Verdict:
        genesis, grant = ask.genesis.record, ask.grant
        if not _is_fit(genesis, now, near=self.charter.near):
            return Verdict.ROOM_UNFIT
        # Security: whoever has seen a card could have a relay come into a room that is not his.
        if genesis.dev != asker:
            return Verdict.NOT_THE_HOST
        if self.denies(genesis) or (grant is not None and grant.record.by in self.charter.deny):
            return Verdict.DENIED
        if grant is not None and not self._is_good(now, ask, grant.record):
            return Verdict.GRANT_UNFIT
        is_listed = bool(self.charter.allow & {genesis.uid, genesis.dev})
        if grant is None and not is_listed and self.charter.admits is not Admits.EVERYBODY:
            return Verdict.NOT_LISTED
        if RoomId(ask.genesis.id) in self.ledger.loads:
            return Verdict.CARRIED  # it is carried already, and may be while we drain
        if self.drains:
            return Verdict.DRAINING
        account = _account(ask)
        months = (self.ledger.month_pressure(), self.ledger.month_pressure(account))
        if months != (Pressure.NONE, Pressure.NONE):
            return Verdict.SPENT
        if self.ledger.rooms_of(account) >= self.charter.rooms_each:
            return Verdict.TOO_MANY
        if self.ledger.is_spent(account):
            return Verdict.TOO_MANY
        is_full = self.ledger.is_full_of_rooms or self.ledger.rooms_max == 0
        is_busy = self.load_permille >= BUSY_PERMILLE
        if is_full or is_busy or self.ledger.pressure is not Pressure.NONE:
            return Verdict.FULL
        return Verdict.CARRIED

    def denies(self, genesis: Genesis) -> bool:
        """Whether whoever opened the room is refused, by person or by device."""
        return bool(self.charter.deny & {genesis.uid, genesis.dev})

    def _is_good(self, now: Now, ask: AskCarry, grant: RelayGrant) -> bool:
        """Whether the relay grant counts here; its signature was checked when it was read."""
        if grant.by not in {*self.charter.allow, self.own}:
            return False
        if grant.relay is not None and grant.relay != self.own:
            return False
        try:
            envelope.check_time(grant, now.unix)
        except PeerError:
            return False
        of_room = grant.of is GrantOf.ROOM
        return grant.subject == (ask.genesis.id if of_room else ask.genesis.record.uid)

    def _another(self) -> str:
        if not self.charter.others:
            return ""
        self._turn += 1
        return self.charter.others[self._turn % len(self.charter.others)]


def _account(ask: AskCarry) -> bytes:
    """On whose account a room is: of the relay grant, or of who opened it."""
    return ask.genesis.record.uid if ask.grant is None else ask.grant.id


def _is_fit(genesis: Genesis, now: Now, *, near: bool) -> bool:
    try:
        envelope.check_time(genesis, now.unix)
    except PeerError:
        return False
    # A lan room is for who stands on its network, and a relay is for who does not; but for one that
    # stands there too, and carries nothing else.
    is_over = genesis.exp <= now.unix
    return not is_over and (genesis.access is Access.LAN) is near and genesis.exposure == "direct"
