"""People who write entries by hand, also such as no honest node would write."""

import random
from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import sha256

from nacl.signing import SigningKey

from p2phouse.hall.card import make_genesis
from p2phouse.identity.keys import Me, make_identity
from p2phouse.record import envelope
from p2phouse.record.envelope import Signed
from p2phouse.record.types import Access, Act, Entry, Identity
from p2phouse.room import rules
from p2phouse.room.rules import RoomState, Value
from p2phouse.vocabulary import Now, RecordId, UserKey

NOW = Now(0.0, 1_800_000_000.0)


def person(name: str) -> Me:
    """Always the same keys for the same name."""
    return make_identity(now=NOW, entropy=random.Random(name).randbytes, name=name)


def nothing(text: str) -> RecordId:
    """The id of a record that nobody has."""
    return RecordId(sha256(text.encode()).digest())


@dataclass
class Logbook:
    """A room and all the entries that were ever written for it, without any judgement."""

    host: Me = field(default_factory=lambda: person("creator"))
    access: Access = Access.OPEN
    room: str = "tea"

    def __post_init__(self) -> None:
        entropy = random.Random(self.room).randbytes
        self.genesis = make_genesis(
            self.host, title=self.room, access=self.access, now=NOW, entropy=entropy
        )
        self.id = RecordId(self.genesis.id)
        self.entries: list[Signed[Entry]] = []
        self.identities: dict[RecordId, Signed[Identity]] = {}

    def write(
        self,
        author: Me,
        act: Act,
        subject: UserKey | RecordId | None = None,
        value: Value = None,
        *,
        auth: Signed[Entry] | RecordId | None = None,
        prev: Signed[Entry] | RecordId | None = None,
        over: Iterable[Signed[Entry]] = (),
        pin: Signed[Entry] | RecordId | None = None,
        room: RecordId | None = None,
        uid: UserKey | None = None,
        key: SigningKey | None = None,
        idrec: RecordId | None = None,
    ) -> Signed[Entry]:
        """auth: the genesis if not given; prev: none."""
        key = key or author.device_key
        entry = Entry(
            room=room or self.id,
            uid=uid or author.uid,
            dev=bytes(key.verify_key),
            idrec=idrec or author.record.id,
            auth=_id(auth) or self.id,
            prev=_id(prev),
            act=act,
            sub=subject,
            val=value,
            over=tuple(each.id for each in over),
            pin=_id(pin),
        )
        self.identities[author.record.id] = author.record
        signed = envelope.sign(entry, key)
        self.entries.append(signed)
        return signed

    def grant(self, author: Me, to: Me, seat: str, **more) -> Signed[Entry]:
        return self.write(author, Act.GRANT, to.uid, seat, **more)

    def revoke(self, author: Me, grant: Signed[Entry], **more) -> Signed[Entry]:
        return self.write(author, Act.REVOKE, grant.id, **more)

    def role(self, author: Me, of: Me | None, role: str, **more) -> Signed[Entry]:
        return self.write(author, Act.ROLE, of.uid if of else None, role, **more)

    @property
    def state(self) -> RoomState:
        return self.fold(self.entries)

    def fold(self, entries: Iterable[Signed[Entry]]) -> RoomState:
        identities = {id_: signed.record for id_, signed in self.identities.items()}
        return rules.fold(self.genesis, entries, identities)


def _id(of: Signed[Entry] | RecordId | None) -> RecordId | None:
    return of.id if isinstance(of, Signed) else of
