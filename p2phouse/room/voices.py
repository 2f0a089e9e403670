"""Which signed voices have a place on the stage: the limit on speakers, kept by every receiver.

A stage has as many slots as its genesis says. A voice in any other slot has no place, and of two
that claim one slot the lower id has it, on every node alike. So nobody can add a speaker to a full
stage, whatever his own node does.
"""

from collections.abc import Iterable

from p2phouse.record.envelope import Signed
from p2phouse.record.types import Speak
from p2phouse.room.state import Membership
from p2phouse.vocabulary import RecordId, UserKey


def holders(speaks: Iterable[Signed[Speak]], slots: int) -> dict[int, RecordId]:
    """Whose each slot is."""
    held: dict[int, RecordId] = {}
    for speak in speaks:
        slot = speak.record.slot
        # Security: the limit holds at whoever receives, not at who wants to speak.
        if slot < slots:
            held[slot] = min(speak.id, held.get(slot, speak.id))
    return held


def standing(membership: Membership, own: UserKey) -> frozenset[RecordId]:
    """The voices that have a place on the stage, ours among them. own: who we are."""
    speaks = _others(membership)
    if membership.voice.speak is not None and membership.may_stand(own):
        speaks.append(membership.voice.speak)
    return frozenset(holders(speaks, _slots(membership)).values())


def free_slots(membership: Membership) -> list[int]:
    """Those that no other member's voice has."""
    slots = _slots(membership)
    taken = holders(_others(membership), slots)
    return [slot for slot in range(slots) if slot not in taken]


def _others(membership: Membership) -> list[Signed[Speak]]:
    return [
        member.speak
        for member in membership.members.values()
        if member.speak is not None and membership.may_stand(member.uid)
    ]


def _slots(membership: Membership) -> int:
    return membership.log.state.speakers_max if membership.genesis is not None else 0
