"""Muting everybody at once, enforced: the entries that do it, and those that lift it."""

from p2phouse.identity.keys import Me
from p2phouse.record.envelope import Signed
from p2phouse.record.types import Act, Entry
from p2phouse.room.log import SeatFull
from p2phouse.room.rules import Role
from p2phouse.room.state import Membership
from p2phouse.vocabulary import UserKey


def write(membership: Membership, me: Me, *, muted: bool) -> tuple[Signed[Entry], ...]:
    """Writes for everybody below us: speakers become muted, or the muted speakers again.

    The room's default goes with them, so that it holds for those who come. Raises UserError.
    """
    log = membership.log
    old, new = (Role.SPEAKER, Role.MUTED) if muted else (Role.MUTED, Role.SPEAKER)
    written: tuple[Signed[Entry], ...] = ()
    if log.state.default_role is old:
        written += log.write(me, Act.ROLE, None, new.value)
    people = {member.uid for member in membership.members.values()}
    people |= {UserKey(sub) for act, sub in log.state.winners if act is Act.ROLE and sub}
    people |= {seat.uid for seat in log.state.seats}
    for uid in sorted(people - {me.uid}):
        state = log.state
        if state.role_of(uid) is old and state.may(me.uid, Act.ROLE, uid):
            try:
                written += log.write(me, Act.ROLE, uid, new.value)
            except SeatFull:
                break  # what is written counts already, and must be told
    return written
