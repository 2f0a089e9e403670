"""What a person may do in the room, as verbs: for whoever draws buttons. The log decides (§2.12);
these lists only say beforehand what it would answer.
"""

from typing import Final

from p2phouse.record.types import Act
from p2phouse.room.rules import SEATS
from p2phouse.room.state import Membership
from p2phouse.vocabulary import UserKey

ON_ROOM: Final = {
    "title": Act.TITLE,
    "lock": Act.LOCK,
    "unlock": Act.LOCK,
    "mute_all": Act.ROLE,
    "unmute_all": Act.ROLE,
    "end": Act.END,
    "access": Act.ACCESS,
    "chat_mode": Act.CHAT,
}


def on_room(membership: Membership, uid: UserKey) -> list[str]:
    """Verbs that this node's person may use on the room; sorted."""
    if membership.genesis is None:
        return []
    state, own = membership.log.state, membership.own
    may = {"hand", "react", "typing"}
    may |= {verb for verb, act in ON_ROOM.items() if state.may(uid, act)}
    if membership.unattended or (membership.end_told and state.seat_of(uid) is not None):
        may.add("continue_room")
    if membership.successors:
        may.add("move")
    may.add("report")
    if state.may_chat(uid):
        may.add("chat")
    if state.runs(uid):
        may |= {"pin", "unpin", "unsay", "mods", "reports"}
        may |= {"invite_link", "lobby", "admit", "refuse"}
    if own.hand is not None or state.may(uid, Act.ROLE):
        may.add("lower_hand")
    if own.on_stage:
        may.add("step_down")
        if membership.may_speak(uid):
            may.add("unmute")
    elif membership.may_stand(uid):
        may.add("accept")
        if own.on_stage is None:
            may.add("decline")
    return sorted(may)


def on_person(
    membership: Membership, uid: UserKey, subject: UserKey, *, on_stage: bool, hand: bool
) -> list[str]:
    """What the person `uid` may do to another; sorted.

    mute, unmute, remove and ban are roles; grant_moderator and grant_host are the seats of grant.
    """
    if membership.genesis is None:
        return []
    state = membership.log.state
    may = {
        f"grant_{seat}"
        for seat, level in SEATS.items()
        if state.may(uid, Act.GRANT, subject, seat) and level < state.level(subject)
    }
    if state.may(uid, Act.REVOKE, subject):
        may.add("revoke")
    if not state.may(uid, Act.ROLE, subject):
        return sorted(may)
    may |= {"remove", "ban"}
    if not on_stage:
        may.add("invite")
    if membership.may_stand(subject):
        may |= {"audience", "mute" if state.may_speak(subject) else "unmute"}
    if hand:
        may.add("lower_hand")
    return sorted(may)
