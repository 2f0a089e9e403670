"""The stage and its hands, as the API tells them: facts of the room, and of each person in it."""

from typing import Final

from p2phouse.identity.keys import Me, key_tag, peer_id
from p2phouse.room import inquiry, permission, soft, voices
from p2phouse.room.rules import Role
from p2phouse.room.state import Member, Membership
from p2phouse.vocabulary import DeviceKey, UserKey

LISTENERS_TOLD_MAX: Final = 64  # of more a name tells which


def room_facts(membership: Membership, own: UserKey) -> dict[str, object]:
    """The stage, as the API tells it."""
    state = membership.log.state
    return {
        "stage": "invited" if state.default_role is Role.LISTENER else "everyone",
        "speakers_max": state.speakers_max,
        "on_stage": len(voices.standing(membership, own)),
        "may": permission.on_room(membership, own),
        "guests": _guests(membership),
    }


def _guests(membership: Membership) -> list[dict[str, object]]:
    """Who listens with only a browser, as each relay of the room says; in a sealed one nobody."""
    # Security: how many there are nobody else can check, and a member's word counts for nothing.
    # Test: test_stage_view.py::test_only_a_relay_of_the_room_is_believed_how_many_guests_listen
    relays = [] if membership.is_sealed else sorted(membership.relays & membership.members.keys())
    counts = [(dev, membership.members[dev]) for dev in relays]
    return [
        {"name": member.name or key_tag(member.uid), "peer_id": peer_id(dev), "count": count}
        for dev, member in counts
        if (count := member.soft.guests)
    ]


def member_facts(membership: Membership, own: Me, member: Member | None) -> dict[str, object]:
    """Of one person, None for ourselves."""
    said = membership.own if member is None else member.soft
    uid, dev = (own.uid, own.dev) if member is None else (member.uid, member.dev)
    on_stage = is_on_stage(membership, own.uid, member)
    return {
        "relay": dev in membership.relays,
        "on_stage": on_stage,
        "invited": said.on_stage is None and membership.may_stand(uid),
        "hand": None
        if said.hand is None
        else {"topic": said.hand.topic, "place": queue(membership, own.dev).get(dev)},
        "typing": said.typing,
        "may": permission.on_person(
            membership, own.uid, uid, on_stage=on_stage, hand=said.hand is not None
        ),
    }


def is_on_stage(membership: Membership, own: UserKey, member: Member | None) -> bool:
    if member is None:
        return membership.own.on_stage is True
    return member.speak is not None and member.speak.id in voices.standing(membership, own)


def queue(membership: Membership, own: DeviceKey) -> dict[DeviceKey, int]:
    """The hands that are up, by their places from 1 on."""
    hands = [(member.dev, member.soft.hand) for member in membership.members.values()]
    return soft.places([*hands, (own, membership.own.hand)])


def listener_facts(membership: Membership, text: str) -> dict[str, object]:
    """Those of the audience who are called so."""
    found = inquiry.called(membership, text)[:LISTENERS_TOLD_MAX]
    facts = [
        {
            "name": member.name,
            "uid": member.uid.hex(),
            "key_tag": key_tag(member.uid),
            "peer_id": peer_id(member.dev),
        }
        for member in found
    ]
    return {"listeners": facts, "people": membership.people}
