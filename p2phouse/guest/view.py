"""What guests are shown of a room that the core of rooms is in: facts of the core, as guest/facts.

The core is that of who carries the room, or is in it. Guests are shown what is shown to whoever
comes in; of a sealed room nothing at all.
"""

from collections import deque
from collections.abc import Iterator
from typing import Final

from p2phouse.guest.ear import source_of
from p2phouse.guest.facts import (
    CHAT_SHOWN_MAX,
    HANDS_SHOWN_MAX,
    REACTIONS_S,
    Hand,
    NodeRoom,
    Pin,
    Reaction,
    RoleName,
    Said,
    SealedRoom,
    Seat,
    face_of,
)
from p2phouse.identity.keys import key_tag
from p2phouse.record.types import Access, Act
from p2phouse.room import stage_view
from p2phouse.room.chat_view import Message
from p2phouse.room.messages import Event, EventKind
from p2phouse.room.room import Rooms
from p2phouse.room.rules import Level, Role, RoomState
from p2phouse.room.state import Member, Membership
from p2phouse.vocabulary import HERE, UserKey

REACTIONS_MAX: Final = 64  # of a crowd that claps the last

_ROLES: Final[dict[Level, RoleName]] = {
    Level.CREATOR: "host",
    Level.HOST: "host",
    Level.MODERATOR: "moderator",
}


class Reactions:
    """Of one room, each for as long as pages may still ask for it."""

    def __init__(self) -> None:
        self._shown: deque[tuple[float, Reaction]] = deque(maxlen=REACTIONS_MAX)
        self._count = 0

    def hear(self, now_s: float, membership: Membership | None, event: Event) -> None:
        """Anything that happens in the room."""
        if membership is None or event.dev is None or event.kind is not EventKind.REACTION:
            return
        member = membership.members.get(event.dev)
        if member is not None:
            self._count += 1
            told = Reaction(self._count, key_tag(member.uid), event.text)
            self._shown.append((now_s, told))

    def shown(self, now_s: float) -> tuple[Reaction, ...]:
        while self._shown and self._shown[0][0] <= now_s - REACTIONS_S:
            self._shown.popleft()
        return tuple(told for _, told in self._shown)


def seen(rooms: Rooms, reactions: tuple[Reaction, ...] = ()) -> NodeRoom | SealedRoom | None:
    """None while we are in no room, or have not been let in."""
    membership = rooms.membership
    if membership is None or not membership.joined or membership.genesis is None:
        return None
    # Security: nothing of a sealed room but the way to its door.
    # Test: test_view.py::test_of_a_sealed_room_there_is_nothing_but_the_way_to_its_door
    if membership.is_sealed:
        return SealedRoom(rooms.link)
    state, own = membership.log.state, rooms.me
    stage = [
        member
        for member in membership.members.values()
        if stage_view.is_on_stage(membership, own.uid, member)
    ]
    stage.sort(key=lambda member: (state.level(member.uid), member.name, member.dev))
    return NodeRoom(
        title=state.title,
        access="lan" if state.access is Access.LAN else "open",
        stage=tuple(_seat(membership, member) for member in stage),
        listeners=max(0, membership.people - len(stage)),
        hands=_hands(membership, rooms, stage),
        chat=None if state.chat is False else _chat(membership),
        pins=tuple(Pin(_id(each), each.text) for each in membership.view.pins),
        reactions=reactions,
        invite=rooms.link,
        voices=frozenset(_named(state)),
    )


def _named(state: RoomState) -> Iterator[UserKey]:
    """Whom an entry of the log names, and calls speaker."""
    for act, subject in state.winners:
        if act is Act.ROLE and subject is not None and state.may_speak(UserKey(subject)):
            yield UserKey(subject)


def _seat(membership: Membership, member: Member) -> Seat:
    state = membership.log.state
    is_muted = state.role_of(member.uid) is Role.MUTED
    return Seat(
        name=member.name,
        tag=key_tag(member.uid),
        face=face_of(member.uid),
        role=_ROLES.get(state.level(member.uid), "speaker"),
        muted="moderator" if is_muted else "self" if member.muted else "",
        source=HERE if member.ssrc is None else source_of(member.ssrc),
    )


def _hands(membership: Membership, rooms: Rooms, stage: list[Member]) -> tuple[Hand, ...]:
    queue = stage_view.queue(membership, rooms.me.dev)
    raised = [membership.members[dev] for dev in sorted(queue, key=queue.__getitem__)
              if dev in membership.members]  # fmt: skip
    found = [each for each in raised if each not in stage][:HANDS_SHOWN_MAX]
    return tuple(Hand(each.name, key_tag(each.uid), face_of(each.uid)) for each in found)


def _chat(membership: Membership) -> tuple[Said, ...]:
    messages = [each for each in membership.view.messages if not each.deleted]
    return tuple(
        Said(
            id=_id(each),
            name=each.name,
            tag=key_tag(each.uid),
            face=face_of(each.uid),
            text=each.text,
            at_s=each.signed.record.ts,
        )
        for each in messages[-CHAT_SHOWN_MAX:]
    )


def _id(message: Message) -> str:
    return message.signed.id.hex()
