"""Who is in the room and how each is heard: for whoever asks, and for the page as it changes."""

from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, NotRequired, TypedDict

from p2phouse.api import Call, Facts
from p2phouse.identity.keys import key_tag, peer_id
from p2phouse.room.carrying_view import link_fact
from p2phouse.room.state import Member, Membership
from p2phouse.room.stay import standing
from p2phouse.verbs.declaration import verb
from p2phouse.verbs.facts import Hand, KeyTag, LevelName, PeerIdText, RoleName, Room, Silence, Uid

if TYPE_CHECKING:
    from p2phouse.node import Node

LISTED_MAX: Final = 150  # an answer holds 256 KiB; nobody looks for one face among hundreds


class Person(TypedDict):
    """Somebody in the room. The figures are there once the media process has reported."""

    name: Annotated[str, "as the person wrote it, or empty"]
    uid: Uid
    key_tag: KeyTag
    peer_id: PeerIdText
    you: Annotated[bool, "true for ourselves"]
    muted: Annotated[bool, "whether that member says it is"]
    role: NotRequired[RoleName]
    level: NotRequired[LevelName]
    relay: NotRequired[Annotated[bool, "whether it is no person, and carries the room"]]
    on_stage: NotRequired[Annotated[bool, "whether it has a place on the stage"]]
    invited: NotRequired[Annotated[bool, "asked to the stage, and not answered yet"]]
    hand: NotRequired[Annotated[Hand | None, "null if it is down"]]
    typing: NotRequired[Annotated[bool, "whether it says that it is writing"]]
    blocked: NotRequired[
        Annotated[bool, "whether we neither hear nor read it; missing of ourselves"]
    ]
    gain_pct: NotRequired[Annotated[int, "how loud it is to us, of what it sends"]]
    may: NotRequired[Annotated[list[str], "what we may do to it now"]]
    link: Annotated[
        Literal["here", "connecting", "connected", "carried", "silent"],
        "carried: it has no link to us, and is heard through the hub",
    ]
    tunnelled: NotRequired[
        Annotated[
            bool, "whether the link goes through HTTPS, because UDP is blocked, and is slower"
        ]
    ]
    followed: NotRequired[Annotated[bool, "whether you follow that person"]]
    silence: Annotated[Silence | None, "why it, or we, are not heard; null if nothing is known"]
    forged: Annotated[
        bool, "whether somebody else spoke as this member, who is then heard by nobody here"
    ]
    level_dbov: Annotated[int, "loudness of its voice, 0 loudest to -127 silent"]
    played: NotRequired[Annotated[int, "frames of 20 ms of its voice that were played"]]
    concealed: NotRequired[Annotated[int, "frames invented for lost ones"]]
    recovered: NotRequired[Annotated[int, "frames restored from a copy"]]
    buffered_ms: NotRequired[Annotated[int, "how long its last frame waited to be played"]]
    rtt_ms: NotRequired[Annotated[float, "round trip of the link to it"]]
    loss_pct: NotRequired[Annotated[float, "of the link to it"]]
    jitter_ms: NotRequired[Annotated[float, "of the link to it"]]


class People(Room):
    report: Annotated[int, "how many reports came from the media process so far"]
    members: Annotated[list[Person], "ourselves first; of a crowd who speaks, then 150 in all"]


@verb(page=True, result=People)
async def members(node: "Node", call: Call) -> Facts:
    """Who is in the room."""
    membership = node.rooms.membership
    if membership is None:
        return {"room": None, "report": node.reports, "members": []}
    if membership.waits is not None:
        return {**node.rooms.facts(), "report": node.reports, "members": []}
    ours: Facts = {
        "name": node.me.name,
        "uid": node.me.uid.hex(),
        "key_tag": key_tag(node.me.uid),
        "peer_id": peer_id(node.me.dev),
        "you": True,
        "muted": membership.muted,
        **standing(membership, node.me.uid),
        **node.rooms.member_facts(None),
        "silence": node.rooms.silence.fact(node.me.dev),
        "link": "here",
        "forged": False,
        "level_dbov": _level(node, membership.voice.ssrc),
    }
    others = [_member(node, membership, member) for member in _listed(node, membership)]
    return {**node.rooms.facts(), "report": node.reports, "members": [ours, *others]}


def _listed(node: "Node", membership: Membership) -> list[Member]:
    """The other members, or as many of them as an answer holds: who speaks or wants to first."""
    members = list(membership.members.values())
    if len(members) >= LISTED_MAX:

        def is_far(member: Member) -> bool:
            is_near = member.speak is not None or member.uid in node.rooms.following
            return not (is_near or member.soft.hand is not None)

        members.sort(key=is_far)
    return members[: LISTED_MAX - 1]


def _level(node: "Node", ssrc: int | None) -> int:
    return -node.levels.get(ssrc, 127) if ssrc is not None else -127


def _heard_level(node: "Node", member: Member) -> int:
    return -127 if member.uid in node.rooms.earshot.blocked else _level(node, member.ssrc)


def _member(node: "Node", membership: Membership, member: Member) -> Facts:
    facts: Facts = {
        "name": member.name,
        "uid": member.identity.record.uid.hex(),
        "key_tag": key_tag(member.identity.record.uid),
        "peer_id": peer_id(member.dev),
        "you": False,
        "followed": member.uid in node.rooms.following,
        "muted": member.muted,
        **standing(membership, member.uid),
        **node.rooms.member_facts(member),
        "silence": node.rooms.silence.fact(member.dev),
        "link": link_fact(membership, member),
        "tunnelled": member.is_tunnelled,
        "forged": member.is_forged,
        "level_dbov": _heard_level(node, member),
    }
    stats = node.rooms.talk.stats
    if stats is not None:
        facts |= next((_heard(v) for v in stats.voices if v.ssrc == member.ssrc), {})
        facts |= next((_path(path) for path in stats.links if path.link == member.link), {})
    return facts


def pulse(node: "Node") -> Facts:
    """What the page is told whenever it changes: where sound is, and who is how loud."""
    port = node.sound_port
    facts: Facts = {"sound": {"port": port, "ready": port is not None}}
    membership = node.rooms.membership
    if membership is not None:
        levels = {peer_id(node.me.dev): _level(node, membership.voice.ssrc)}
        for member in membership.members.values():
            if member.ssrc is not None:  # of hundreds most only listen
                levels[peer_id(member.dev)] = _heard_level(node, member)
        facts["levels"] = levels
    return facts


def _heard(voice: Any) -> Facts:  # noqa: ANN401 - channel.VoiceStats, by its fields
    return {
        "played": voice.played,
        "concealed": voice.concealed,
        "recovered": voice.recovered,
        "buffered_ms": voice.buffered_us // 1_000,
    }


def _path(link: Any) -> Facts:  # noqa: ANN401 - channel.LinkStats, by its fields
    return {
        "rtt_ms": link.rtt_us / 1_000,
        "loss_pct": link.loss_permille / 10,
        "jitter_ms": link.jitter_us / 1_000,
    }
