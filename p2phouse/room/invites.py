"""Invites: signed by who runs the room, they let in whoever shows one, or the first who does.

An invite for many may be taken by the node of anybody who runs the room. A single-use one is taken
by the device that made it alone, which remembers those that nobody has used: two members could
else take one each for two people.
"""

from collections.abc import Generator, Iterable
from typing import Final

from p2phouse.errors import UserError
from p2phouse.identity.keys import Me
from p2phouse.record import envelope, limits
from p2phouse.record.cbor import Value
from p2phouse.record.envelope import Signed
from p2phouse.record.types import Identity, Invite
from p2phouse.room import frames
from p2phouse.room.lobby import LobbyState
from p2phouse.room.messages import KeepInvites, Output
from p2phouse.room.state import Membership
from p2phouse.vocabulary import DeviceKey, Entropy, Now, RecordId, RoomId, UserKey

NONCE_BYTES: Final = 16
IDENTITIES_MET_MAX: Final = 64
HOUR_S: Final = 3_600


class MayNotLetIn(UserError):
    """Only hosts and moderators let people in or invite them. Ask one of them."""


class NotSealed(UserError):
    """Anybody may come into this room: share its link. `p2phouse access closed` changes that."""


class TooManyInvites(UserError):
    """{limit} single-use invites of yours are unused already. Use a link that many may use."""


def runs(membership: Membership, uid: UserKey) -> bool:
    """Whether that person may let others in."""
    return membership.log.state.seat_of(uid) is not None


class Invites:
    """See the module. The room is given with each call."""

    def __init__(self, me: Me, *, entropy: Entropy) -> None:
        self._me = me
        self._entropy = entropy
        # Security: what was made and not used yet, so that a lost file lets nobody in twice.
        self._unused: dict[bytes, tuple[RoomId, int]] = {}

    def met(self, membership: Membership, identity: Signed[Identity]) -> None:
        """Keeps what proves the invites of those who were here."""
        known = membership.met_identities
        known[identity.id] = identity.record
        while len(known) > IDENTITIES_MET_MAX:
            del known[next(iter(known))]

    def fault_of(
        self, now: Now, membership: Membership, invite: Signed[Invite]
    ) -> LobbyState | None:
        """Why an invite lets nobody in; None for one that is good as far as we know."""
        record, genesis = invite.record, membership.log.genesis.record
        # Security: an invite is for one room, and no longer than that lives.
        if record.room != membership.room or record.exp > genesis.exp:
            return LobbyState.INVITE_FORGED
        if record.exp + limits.CLOCK_SKEW_S_MAX < now.unix:
            return LobbyState.INVITE_EXPIRED
        # Security: the device that signed it must be the person's in whose name it speaks.
        if self._is_proven(membership, record) is False:
            return LobbyState.INVITE_FORGED
        if not runs(membership, UserKey(record.uid)):
            return LobbyState.INVITE_VOID
        if record.once and record.dev == self._me.dev and record.nonce not in self._unused:
            return LobbyState.INVITE_USED
        return None

    def _is_proven(self, membership: Membership, record: Invite) -> bool | None:
        """Whether the device is that person's; None if we never met the person."""
        genesis = membership.log.genesis.record
        if (record.uid, record.dev) == (genesis.uid, genesis.dev):
            return True
        if record.idrec == self._me.record.id:
            identity: Identity | None = self._me.record.record
        else:
            signed = membership.log.identity(RecordId(record.idrec))
            identity = signed.record if signed is not None else None
            identity = identity or membership.met_identities.get(RecordId(record.idrec))
        if identity is None:
            return None
        return identity.uid == record.uid and frames.lists_device(identity, DeviceKey(record.dev))

    def may_use(self, now: Now, membership: Membership, invite: Signed[Invite] | None) -> bool:
        if invite is None or self.fault_of(now, membership, invite) is not None:
            return False
        # Security: one device alone counts the uses, so no two people come in by one invite.
        if invite.record.once and invite.record.dev != self._me.dev:
            return False
        return self._is_proven(membership, invite.record) is True

    def make(
        self, now: Now, membership: Membership, *, hours: int, once: bool
    ) -> Generator[Output, None, Signed[Invite]]:
        """Raises UserError."""
        if not membership.is_sealed:
            raise NotSealed
        if not runs(membership, self._me.uid):
            raise MayNotLetIn
        self._forget_old(now)
        if once and len(self._unused) >= limits.INVITES_KEPT_MAX:
            raise TooManyInvites(limit=limits.INVITES_KEPT_MAX)
        exp = min(int(now.unix) + hours * HOUR_S, membership.log.genesis.record.exp)
        record = Invite(
            room=membership.room,
            uid=self._me.uid,
            dev=self._me.dev,
            idrec=self._me.record.id,
            nonce=self._entropy(NONCE_BYTES),
            exp=exp,
            once=once,
        )
        if once:
            self._unused[record.nonce] = (membership.room, exp)
            yield self._keep()
        return envelope.sign(record, self._me.device_key)

    def use(self, invite: Signed[Invite]) -> Generator[Output, None, None]:
        """Nobody can use a single-use invite again. Before anybody can see that it was used."""
        if self._unused.pop(invite.record.nonce, None) is not None:
            yield self._keep()

    def _forget_old(self, now: Now) -> None:
        least = now.unix - limits.CLOCK_SKEW_S_MAX
        self._unused = {n: kept for n, kept in self._unused.items() if kept[1] >= least}

    def _keep(self) -> KeepInvites:
        return KeepInvites([[n, room, exp] for n, (room, exp) in self._unused.items()])

    def remembered(self, state: Iterable[Value]) -> None:
        """What KeepInvites kept of an earlier process."""
        for item in state:
            match item:
                case [bytes(nonce), bytes(room), int(exp)] if (
                    len(self._unused) < limits.INVITES_KEPT_MAX
                ):
                    self._unused[nonce] = (RoomId(room), exp)
