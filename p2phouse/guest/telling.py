"""What is told of a room, as JSON has it: all of it, and what has changed since.

A room of a thousand guests is told a thousand times of every change, so a change is small: a slot
that another voice takes is thirty bytes, a message of the chat is that message.
"""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Final

from p2phouse.guest.facts import NodeRoom, RoomFacts, SealedRoom, face_of_name
from p2phouse.qr import matrix

Told = Mapping[str, object]
ITEMS: Final = ("hands", "pins", "reactions")


def whole(room: RoomFacts, relay: str) -> Told:
    """See docs/relay.md. Guests who speak are after the members, and have no key to show."""
    head: dict[str, object] = {"room": room.name, "relay": relay, "allowed": True}
    match room.carried:
        # Security: of a sealed room nothing is told but how a node gets there.
        # Test: test_page.py::test_of_a_sealed_room_a_guest_learns_the_way_in_and_nothing_else
        case SealedRoom(invite):
            code = matrix(invite) if invite else []
            return {**head, "access": "sealed", "invite": invite, "code": code}
        case NodeRoom() as carried:
            facts = {each: [asdict(its) for its in getattr(carried, each)] for each in ITEMS}
            chat = None if carried.chat is None else [asdict(each) for each in carried.chat]
            head = {**head, "access": carried.access, "title": carried.title, "chat": chat, **facts}
            head["invite"] = carried.invite
            members, stage = len(carried.stage) + carried.listeners, carried.stage
        case None:
            head = {**head, "access": "guests", "title": room.name}
            members, stage = 0, ()
    seats = [{**asdict(each), "via": False} for each in stage]
    seats += [
        {"name": each.name, "tag": "", "face": face_of_name(each.name), "source": each.source}
        | {"role": "speaker", "muted": "", "via": True}
        for each in room.speakers
    ]
    sources = [each.pop("source") for each in seats]
    guests = len(room.speakers) + room.listeners
    return {
        **head,
        "people": members + guests,
        "guests": guests,
        "speakers": seats,
        "slots": [sources.index(each) if each and each in sources else None for each in room.slots],
    }


def changes(before: Told, after: Told) -> Told:
    """What makes one of the other; empty if they are the same, and whole, with the room's name in
    it, if they are of different kinds.

    `said` is what the chat has grown by; of reactions there are the new ones alone.
    """
    if before.keys() != after.keys() or before["access"] != after["access"]:
        return after
    found = {key: value for key, value in after.items() if value != before[key]}
    match before.get("chat"), found.get("chat"):
        case list(old), list(new) if (said := _behind(old, new)) is not None:
            del found["chat"]
            found["said"] = said
    if "reactions" in found:
        found["reactions"] = _fresh(before["reactions"], found["reactions"])
        if not found["reactions"]:
            del found["reactions"]
    return found


def _behind(old: list[object], new: list[object]) -> list[object] | None:
    """What new has behind old, whose beginning may be gone; None if it differs otherwise."""
    if not old:
        return new
    if old[-1] not in new:
        return None
    kept = new.index(old[-1]) + 1
    return new[kept:] if kept <= len(old) and new[:kept] == old[-kept:] else None


def _fresh(old: object, new: object) -> list[object]:
    assert isinstance(old, list)
    assert isinstance(new, list)
    last = max((each["n"] for each in old), default=-1)
    return [each for each in new if each["n"] > last]
