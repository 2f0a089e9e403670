"""People who write in a room's chat by hand, also such as no honest node would write."""

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from p2phouse.identity.keys import Me
from p2phouse.record import envelope
from p2phouse.record.envelope import Signed
from p2phouse.record.types import Act, Chat, ChatKind, Entry, Identity
from p2phouse.room.chat import Chats
from p2phouse.room.chat_view import View
from p2phouse.vocabulary import RecordId
from tests.room.logbook import NOW, Logbook, person

ANA, BEN, CLEO, DAN, EVE = (person(name) for name in ("ana", "ben", "cleo", "dan", "eve"))
BEGAN = int(NOW.unix)


class Staffed(Logbook):
    """A room that Ana opened; Ben is host, Cleo moderator by Ben's grant."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.ben = self.grant(ANA, BEN, "host")
        self.cleo = self.grant(BEN, CLEO, "moderator", auth=self.ben)

    def chat(self, value: bool | int) -> Signed[Entry]:
        """The mode, in place of all that was there before."""
        before = [each for each in self.entries if each.record.act is Act.CHAT]
        return self.write(ANA, Act.CHAT, None, value, over=before[-8:])


@dataclass
class Scribble:
    """All that was ever written in one room's chat, without any judgement."""

    book: Staffed = field(default_factory=lambda: Staffed(host=ANA))
    records: list[Signed[Chat]] = field(default_factory=list)
    identities: dict[RecordId, Signed[Identity]] = field(default_factory=dict)
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def add(
        self,
        author: Me,
        text: str = "",
        at: int = 0,
        kind: int = ChatKind.TEXT,
        ref: Signed[Chat] | RecordId | None = None,
        **more,
    ) -> Signed[Chat]:
        """at: seconds after the room was opened."""
        fields: dict[str, Any] = {
            "room": self.book.id,
            "uid": author.uid,
            "dev": author.dev,
            "idrec": author.record.id,
            "n": next(self._numbers),
            "kind": kind,
            "ref": ref.id if isinstance(ref, Signed) else ref,
            "text": text,
            "ts": BEGAN + at,
        }
        signed = envelope.sign(Chat(**fields | more), author.device_key)
        self.identities[author.record.id] = author.record
        self.records.append(signed)
        return signed

    def delete(self, author: Me, target: Signed[Chat] | RecordId, at: int = 0, **more):
        return self.add(author, "", at, ChatKind.DELETE, target, **more)

    def pin(self, author: Me, text: str, at: int = 0, **more):
        return self.add(author, text, at, ChatKind.PIN, **more)

    def unpin(self, author: Me, target: Signed[Chat], at: int = 0, **more):
        return self.add(author, "", at, ChatKind.UNPIN, target, **more)

    def mods(self, author: Me, text: str, at: int = 0, **more):
        return self.add(author, text, at, ChatKind.MODS, **more)

    def chats(self, records: Iterable[Signed[Chat]] | None = None) -> Chats:
        """What somebody keeps to whom they came in that order."""
        chats, state = Chats(self.book.genesis), self.book.state
        for signed in self.records if records is None else records:
            chats.add(signed, self.identities[RecordId(signed.record.idrec)], state)
        return chats

    def view(self, records: Iterable[Signed[Chat]] | None = None) -> View:
        return View(self.chats(records), self.book.state)

    @property
    def shown(self) -> list[str]:
        return [message.text for message in self.view().messages]

    @property
    def pinned(self) -> list[str]:
        return [message.text for message in self.view().pins]
