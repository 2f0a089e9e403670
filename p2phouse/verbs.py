"""What a running node can be asked: each verb reads its arguments, acts, and returns facts.

The command line, and whatever else speaks to the API, sees exactly these. docs/api.md lists them.
"""

import os
import re
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import trio
from multiaddr import Multiaddr

from p2phouse import __version__
from p2phouse.api import EVENTS_QUEUED_MAX, BadRequest, Call, Facts, Verb, argument, beside
from p2phouse.drive import clock
from p2phouse.errors import UserError
from p2phouse.hall.card import RoomCard
from p2phouse.identity.keys import key_tag, load_or_create, peer_id
from p2phouse.record import limits
from p2phouse.record.schema import is_plain_text, one_line
from p2phouse.record.types import Act
from p2phouse.room import messages, rules
from p2phouse.room.messages import Decide, Event
from p2phouse.room.state import Member, Membership
from p2phouse.room.stay import standing
from p2phouse.room.talk import StillSpeaking
from p2phouse.vocabulary import DeviceKey

if TYPE_CHECKING:
    from p2phouse.node import Node

# HOST:PORT; a title such as "Tea 10:30" has a space, and a name of a host has none.
TYPED_ADDRESS = re.compile(r"(?!p2ph:)([^\s]+):([0-9]{1,5})")
ROOMS_TOLD_MAX = 200  # 40 kB; who floods the list with rooms must not make an answer too long
FILE_WHOLE_S = 10.0  # a slow disk takes what was heard; the file is whole in milliseconds elsewhere
CARDS_WAIT_S = 3.0  # after a typed address answered: hall exchange takes two round trips
PATH_CHARS_MAX = 4_000  # no system has longer ones; with "file:" it must fit into channel.SetInput


class NameFixed(UserError):
    """You keep your name for as long as you are in a room. Leave it, then choose another."""


class StillListening(UserError):
    """What is heard is being written to a file already. Stop that first, with Ctrl-C there."""


def table(node: "Node") -> dict[str, Verb]:
    """Every verb by its name."""

    def bind(verb: "Callable[[Node, Call, Facts], Awaitable[Facts]]") -> Verb:
        return lambda call, request: verb(node, call, request)

    return {name: bind(verb) for name, verb in VERBS.items()}


async def status(node: "Node", call: Call, request: Facts) -> Facts:
    """version, identity, pids, port, media restarts, and the room we are in."""
    return {
        "version": __version__,
        **identity(node),
        "media_pid": node.media.pid,
        "media_restarts": node.media.restarts,
        "counters": dict(node.network.counters),
        "mouth": node.rooms.talk.mouth,
        **node.rooms.facts(),
    }


def identity(node: "Node") -> Facts:
    return {
        "name": node.me.name,
        "uid": node.me.uid.hex(),
        "key_tag": key_tag(node.me.uid),
        "peer_id": peer_id(node.me.dev),
        "addrs": [str(Multiaddr(addr)) for addr in node.network.addrs],
        "port": node.network.port,
    }


async def show_id(node: "Node", call: Call, request: Facts) -> Facts:
    return identity(node)


async def rooms(node: "Node", call: Call, request: Facts) -> Facts:
    """rooms: those this node can see now, newest card first, at most ROOMS_TOLD_MAX."""
    now = clock()
    live = node.rooms.directory.live(now)
    return {"rooms": [_room(card, now.unix) for card in live[:ROOMS_TOLD_MAX]]}


def _room(card: RoomCard, now_unix: float) -> Facts:
    genesis = card.genesis.record
    return {
        "room": card.room.hex(),
        "title": genesis.title,
        "host": key_tag(genesis.uid),
        "host_uid": genesis.uid.hex(),
        "access": genesis.access.name.lower(),
        "people": card.card.record.nspk + card.card.record.nlis,
        "age_s": max(0, int(now_unix - genesis.created)),
    }


async def open_room(node: "Node", call: Call, request: Facts) -> Facts:
    """title; lan: only for this network."""
    lan = argument(request, "lan", bool, default=False)
    return await node.act(messages.Open(argument(request, "title", str), lan))


async def join(node: "Node", call: Call, request: Facts) -> Facts:
    """room: id, its beginning, title, p2ph: link or HOST:PORT."""
    text = argument(request, "room", str)
    typed = TYPED_ADDRESS.fullmatch(text)
    if typed and not any(
        card.genesis.record.title == text for card in node.rooms.directory.live(clock())
    ):
        return await _join_at(node, call, typed[1], int(typed[2]))
    return await node.act(messages.Join(text))


async def _join_at(node: "Node", call: Call, host: str, port: int) -> Facts:
    await call.tell({"event": "calling", "text": f"asking {host}:{port} who it is"})
    found = await node.network.hello(host, port)
    dev = DeviceKey(found.dev)
    node.network.dial(dev, found.addrs)
    async with node.events(EVENTS_QUEUED_MAX) as events:
        with trio.move_on_after(CARDS_WAIT_S):
            while not node.rooms.directory.of(dev, clock()):
                await events.receive()
    return await node.act(messages.JoinAt(dev))


async def leave(node: "Node", call: Call, request: Facts) -> Facts:
    return await node.act(messages.Leave())


async def mute(node: "Node", call: Call, request: Facts) -> Facts:
    return await node.act(messages.SetMuted(muted=True))


async def unmute(node: "Node", call: Call, request: Facts) -> Facts:
    return await node.act(messages.SetMuted(muted=False))


async def grant(node: "Node", call: Call, request: Facts) -> Facts:
    """who: a name, key tag or PeerId; seat: host or moderator."""
    seat = argument(request, "seat", str)
    if seat not in rules.SEATS:
        raise BadRequest(reason="seat is neither host nor moderator")
    return await node.act(Decide(Act.GRANT, _named(argument(request, "who", str)), seat))


async def revoke(node: "Node", call: Call, request: Facts) -> Facts:
    """who: whose seats end."""
    return await node.act(Decide(Act.REVOKE, _named(argument(request, "who", str))))


async def role(node: "Node", call: Call, request: Facts) -> Facts:
    """who: as in grant, or empty for all without one; role: what it is from now on."""
    who, value = argument(request, "who", str), argument(request, "role", str)
    if value not in (rules.ROLES if who else rules.DEFAULTS):
        raise BadRequest(reason=f"nobody can be made {value}")
    return await node.act(Decide(Act.ROLE, who, value))


def _named(who: str) -> str:
    if not who:
        raise BadRequest(reason="who is missing")
    return who


async def title(node: "Node", call: Call, request: Facts) -> Facts:
    text = one_line(argument(request, "title", str))
    if not text or len(text) > limits.TITLE_CODE_POINTS_MAX or not is_plain_text(text):
        raise BadRequest(reason=f"a title has 1 to {limits.TITLE_CODE_POINTS_MAX} characters")
    return await node.act(Decide(Act.TITLE, value=text))


async def lock(node: "Node", call: Call, request: Facts) -> Facts:
    return await node.act(Decide(Act.LOCK, value=True))


async def unlock(node: "Node", call: Call, request: Facts) -> Facts:
    return await node.act(Decide(Act.LOCK, value=False))


async def end(node: "Node", call: Call, request: Facts) -> Facts:
    return await node.act(Decide(Act.END))


async def why(node: "Node", call: Call, request: Facts) -> Facts:
    """who: as in grant, or empty for ourselves."""
    who = argument(request, "who", str, default="")
    uid, membership = node.rooms.person(who or peer_id(node.me.dev)), node.rooms.membership
    assert membership is not None
    deciding = membership.log.state.why(uid)
    return {
        "key_tag": key_tag(uid),
        **standing(membership, uid),
        "entries": [
            {
                "id": each.id.hex(),
                "act": each.record.act.name.lower(),
                "value": each.record.val,
                "by": key_tag(each.record.uid),
            }
            for each in deciding
        ],
    }


async def say(node: "Node", call: Call, request: Facts) -> Facts:
    """path: the file to speak; ends with it, or when the asker stops."""

    path = _path_in(request, "path")
    if node.rooms.talk.is_saying:
        raise StillSpeaking  # before there is anything that this asker could stop

    async def stop() -> None:
        await call.stopped.wait()
        await node.act(messages.StopSaying())

    return await beside(stop, partial(node.act, messages.Say("file:" + path)))


def _path_in(request: Facts, name: str) -> str:
    path: str = argument(request, name, str)
    if len(path) > PATH_CHARS_MAX:
        raise BadRequest(reason=f"{name} is longer than {PATH_CHARS_MAX} characters")
    return path


async def listen(node: "Node", call: Call, request: Facts) -> Facts:
    """out: the file that what is heard goes to, until the asker stops or we leave the room."""
    path = _path_in(request, "out")
    if node.listening:
        raise StillListening
    before = node.config.ear
    node.listening = True
    try:
        return await _listen(node, call, path, before)
    finally:
        node.listening = False


async def _listen(node: "Node", call: Call, path: str, before: str) -> Facts:
    async with node.events(EVENTS_QUEUED_MAX) as events:
        await node.act(messages.SetEar("file:" + path))
        await call.tell({"event": "listening", "out": path})
        over = trio.CancelScope()

        async def until_stopped() -> None:
            await call.stopped.wait()
            over.cancel()

        async def until_over() -> str:
            with over:
                return await _until_over(events)
            return ""

        try:
            trouble = await beside(until_stopped, until_over)
        finally:
            heard_from = node.rooms.talk.heard_from_mono
            with trio.CancelScope(shield=True):
                if node.rooms.room is not None:
                    await node.act(messages.SetEar(before))
        if heard_from is not None and not trouble:
            with trio.move_on_after(FILE_WHOLE_S):
                await _until(events, messages.EventKind.OUTPUT_ENDED)
    facts: Facts = {"out": path, "trouble": trouble}
    if heard_from is not None:
        facts["began_mono_s"] = heard_from
    return facts


async def _until_over(events: trio.MemoryReceiveChannel[Event]) -> str:
    """Until the room is left or the ear fails; why it failed."""
    async for event in events:
        if event.kind is messages.EventKind.LEFT:
            return ""
        if event.kind is messages.EventKind.SOUND_TROUBLE:
            return event.text
    return ""


async def _until(events: trio.MemoryReceiveChannel[Event], kind: messages.EventKind) -> None:
    async for event in events:
        if event.kind is kind:
            return


async def members(node: "Node", call: Call, request: Facts) -> Facts:
    """members: ourselves first, then everybody else in the room; report: counts media's reports."""
    membership = node.rooms.membership
    if membership is None:
        return {"room": None, "report": node.reports, "members": []}
    ours: Facts = {
        "name": node.me.name,
        "uid": node.me.uid.hex(),
        "key_tag": key_tag(node.me.uid),
        "peer_id": peer_id(node.me.dev),
        "you": True,
        "muted": membership.muted,
        **standing(membership, node.me.uid),
        "link": "here",
        "level_dbov": _level(node, membership.voice.ssrc),
    }
    others = [_member(node, membership, member) for member in membership.members.values()]
    return {**node.rooms.facts(), "report": node.reports, "members": [ours, *others]}


def _level(node: "Node", ssrc: int | None) -> int:
    return -node.levels.get(ssrc, 127) if ssrc is not None else -127


def _member(node: "Node", membership: Membership, member: Member) -> Facts:
    up = "silent" if member.silent else "connected"
    facts: Facts = {
        "name": member.name,
        "uid": member.identity.record.uid.hex(),
        "key_tag": key_tag(member.identity.record.uid),
        "peer_id": peer_id(member.dev),
        "you": False,
        "muted": member.muted,
        **standing(membership, member.uid),
        "link": up if member.link_up else "connecting",
        "level_dbov": _level(node, member.ssrc),
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
            levels[peer_id(member.dev)] = _level(node, member.ssrc)
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


async def rename(node: "Node", call: Call, request: Facts) -> Facts:
    """name: what people see from the next room on; kept for the next start."""
    name = argument(request, "name", str)
    if node.rooms.room is not None:
        raise NameFixed  # our join names the record that says who we are
    renamed = await trio.to_thread.run_sync(
        partial(load_or_create, node.config.home, now=clock(), entropy=os.urandom, name=name)
    )
    if node.rooms.room is None:
        node.me.record = renamed.record
    return {"name": node.me.name}


async def page(node: "Node", call: Call, request: Facts) -> Facts:
    """file: leads a browser of this machine to the page, once and within a minute."""
    return {"file": str(node.new_page_file())}


async def events(node: "Node", call: Call, request: Facts) -> Facts:
    """Every change of state as it happens, until the asker stops."""
    async with node.events(EVENTS_QUEUED_MAX) as happening:
        over = trio.CancelScope()

        async def until_stopped() -> None:
            await call.stopped.wait()
            over.cancel()

        async def tell_all() -> Facts:
            with over:
                async for event in happening:
                    await call.tell(_event(event))
            return {}

        return await beside(until_stopped, tell_all)


def _event(event: Event) -> Facts:
    return {
        "event": event.kind.name.lower(),
        "room": event.room.hex() if event.room else None,
        "peer_id": peer_id(event.dev) if event.dev else None,
        "text": event.text,
    }


VERBS = {
    "status": status,
    "id": show_id,
    "rooms": rooms,
    "open": open_room,
    "join": join,
    "leave": leave,
    "mute": mute,
    "unmute": unmute,
    "say": say,
    "listen": listen,
    "members": members,
    "grant": grant,
    "revoke": revoke,
    "role": role,
    "title": title,
    "lock": lock,
    "unlock": unlock,
    "end": end,
    "why": why,
    "rename": rename,
    "page": page,
    "events": events,
}
