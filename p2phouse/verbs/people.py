"""What one does about a person for oneself: block, turn down, report. None of it is an entry."""

import re
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, TypedDict

import trio

from p2phouse.api import Call, Facts
from p2phouse.config import HomeUnusable, make_private
from p2phouse.drive import clock
from p2phouse.errors import UserError
from p2phouse.identity.keyfile import FileUnreadable, write_atomically
from p2phouse.identity.keys import key_tag
from p2phouse.room.earshot import PERCENT_MAX
from p2phouse.room.messages import SendReport, SetBlocked, SetLoudness
from p2phouse.room.report import Bundle, read
from p2phouse.verbs.chat import Words
from p2phouse.verbs.declaration import Between, Who, verb
from p2phouse.verbs.facts import KeyTag, Uid
from p2phouse.vocabulary import UserKey, key_short

if TYPE_CHECKING:
    from p2phouse.node import Node

REPORTS_FOLDER: Final = "reports"
UID: Final = re.compile(r"[0-9a-f]{64}")


class NotBlocked(UserError):
    """You have blocked nobody called “{text}”. `p2phouse blocked` lists whom you have."""


class BlockingYourself(UserError):
    """That is you. Name somebody else."""


class Blocked(TypedDict):
    name: Annotated[str, "as it was when you blocked that person"]
    uid: Uid
    key_tag: KeyTag


class BlockedPeople(TypedDict):
    people: Annotated[list[Blocked], "in the order of their blocking"]


class Reported(TypedDict):
    file: Annotated[str, "name of the signed report in the folder `reports` of the home"]
    told: Annotated[list[str], "names of those who run the room and were sent it"]


class Evidence(TypedDict):
    text: Annotated[str, "what the person wrote"]
    at_s: Annotated[int, "seconds since 1970 by that person's clock"]


class Told(TypedDict):
    id: Annotated[str, "of the report, 64 hexadecimal digits"]
    by: Annotated[KeyTag, "of who reports"]
    by_name: Annotated[str, "its name, or empty"]
    about: Annotated[KeyTag, "of whom it is about"]
    about_name: Annotated[str, "its name, or empty"]
    about_uid: Annotated[Uid, "of whom it is about"]
    text: Annotated[str, "what the report says"]
    at_s: Annotated[int, "seconds since 1970"]
    evidence: Annotated[list[Evidence], "the last that the person had written, newest first"]


class Reports(TypedDict):
    reports: Annotated[list[Told], "the latest first; none for whom they are not"]


Whom = Annotated[Who, "a name, key tag or PeerId of `members`, or a person's `uid`"]


@verb(page=True)
async def block(node: "Node", call: Call, who: Whom) -> Facts:
    """Neither hears nor reads a person any more, in any room; nobody learns of it."""
    uid = _person(node, who)
    if uid == node.me.uid:
        raise BlockingYourself
    await trio.to_thread.run_sync(node.blocks.put, uid, node.rooms.name_of(uid))
    return await node.act(SetBlocked(uid, True))


@verb(page=True)
async def unblock(
    node: "Node",
    call: Call,
    who: Annotated[str, "a name, key tag or `uid` of `blocked`", Between(1, 200)],
) -> Facts:
    """Hears and reads a person again."""
    wanted = who.casefold()
    known = await trio.to_thread.run_sync(node.blocks.read)
    found = [
        uid for uid, name in known.items() if wanted in (name.casefold(), key_tag(uid), uid.hex())
    ]
    if len(found) != 1:
        raise NotBlocked(text=who)
    await trio.to_thread.run_sync(node.blocks.take_off, found[0])
    return await node.act(SetBlocked(found[0], False))


@verb(page=True, result=BlockedPeople)
async def blocked(node: "Node", call: Call) -> Facts:
    """Whom we have blocked."""
    known = await trio.to_thread.run_sync(node.blocks.read)
    return {
        "people": [
            {"name": name, "uid": uid.hex(), "key_tag": key_tag(uid)} for uid, name in known.items()
        ]
    }


@verb(page=True)
async def gain(
    node: "Node",
    call: Call,
    who: Whom,
    percent: Annotated[int, "how loud, of what it sends", Between(0, PERCENT_MAX)],
) -> Facts:
    """How loud a person is to us, until we leave the room."""
    return await node.act(SetLoudness(_person(node, who), percent))


@verb(page=True, result=Reported)
async def report(node: "Node", call: Call, who: Whom, text: Words) -> Facts:
    """Reports a person to those who run the room, with what it wrote and the log says of it."""
    about = _person(node, who)
    now = clock()
    bundle = node.rooms.prepare_report(now, about, text)
    folder = node.config.home / REPORTS_FOLDER
    mark = sha256(bundle).hexdigest()[:8]  # two in one second are two
    file = folder / f"{int(now.unix)}-{key_short(about)}-{mark}.cbor"
    await trio.to_thread.run_sync(partial(_keep, folder, file, bundle))
    # Security: no path is handed out, for the page may ask this too.
    return {"file": file.name, **await node.act(SendReport(bundle, about))}


def _keep(folder: Path, file: Path, bundle: bytes) -> None:
    make_private(folder, HomeUnusable)
    write_atomically(file, bundle)


@verb(page=True, result=Reports)
async def reports(node: "Node", call: Call) -> Facts:
    """The reports that we have heard as one who runs the room."""
    return {"reports": [told(each) for each in node.rooms.reports]}


def read_report(file: Path) -> Bundle:
    """Raises FileUnreadable, or PeerError if a signature does not hold."""
    try:
        return read(file.read_bytes())
    except OSError as error:
        raise FileUnreadable(path=file, reason=error.strerror) from error


def told(bundle: Bundle) -> Facts:
    """What a report says, as the API tells it."""
    word = bundle.report.record
    return {
        "id": bundle.report.id.hex(),
        "by": key_tag(word.uid),
        "by_name": bundle.by.record.name,
        "about": key_tag(word.about),
        "about_name": bundle.about_name,
        "about_uid": word.about.hex(),
        "text": word.text,
        "at_s": word.ts,
        "evidence": [{"text": each.record.text, "at_s": each.record.ts} for each in bundle.chats],
    }


def _person(node: "Node", who: str) -> UserKey:
    """Somebody of our room; by the root key also somebody who left. Raises UserError."""
    return UserKey(bytes.fromhex(who)) if UID.fullmatch(who) else node.rooms.person(who)
