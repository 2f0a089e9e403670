"""What people have written in a room: which records are kept, and who may write them.

What is kept and what is shown (chat_view.py) are functions of sets, so that all who hold the same
records and the same log show the same chat, whatever came first, late or twice. `Chats` keeps each
record that could ever be shown, within bounds that do not depend on the order of arrival. Its time
is its author's word: it orders and spaces what is shown, and proves nothing. So what was written
before a switch cannot be told from what claims so, and each rule is for all there is.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from p2phouse.errors import PeerError
from p2phouse.record import envelope, limits
from p2phouse.record.envelope import Signed
from p2phouse.record.types import Chat, ChatKind, Genesis, Identity
from p2phouse.room.rules import Role, RoomState
from p2phouse.vocabulary import RecordId, UserKey

ASIDE_PER_AUTHOR_MAX: Final = 32
PINS_PER_AUTHOR_MAX: Final = 20
HAVE_BYTES: Final = 8  # of an id, to say that one has it; a likeness hides its maker's own record
HAVE_MAX: Final = 1_500  # 12 kB: with its head a frame of 16 KiB
NEWCOMER_MESSAGES: Final = 50

TEXTS: Final = (ChatKind.TEXT, ChatKind.MODS)
TAKES_BACK: Final = {ChatKind.DELETE: TEXTS, ChatKind.UNPIN: (ChatKind.PIN,)}
TEXT_MAX: Final = {
    ChatKind.TEXT: limits.CHAT_CODE_POINTS_MAX,
    ChatKind.MODS: limits.CHAT_CODE_POINTS_MAX,
    ChatKind.PIN: limits.PIN_CODE_POINTS_MAX,
}

Rank = tuple[int, int, RecordId]
"""Time, number, id: what one person writes within a second stays in its order."""


class BadChat(PeerError):
    """A chat record breaks the protocol: {reason}."""


def read(data: bytes, genesis: Signed[Genesis]) -> Signed[Chat] | None:
    """Raises PeerError for what no honest peer passes on; None for a kind of a later version."""
    signed = envelope.read(data, Chat)
    record = signed.record
    if record.room != genesis.id:
        raise BadChat(reason="it belongs to another room")
    if record.kind not in set(ChatKind):
        return None
    kind = ChatKind(record.kind)
    if kind in TAKES_BACK:
        if record.ref is None or record.text:
            raise BadChat(reason="it takes back nothing, or has a text besides")
    elif record.ref is not None or not 1 <= len(record.text) <= TEXT_MAX[kind]:
        raise BadChat(reason="it has no text, too long a text, or names a record")
    return signed


@dataclass(slots=True)
class _Shelf:
    """Records of one kind: the newest of each author, and of these the newest."""

    most: int
    per_author: int
    records: dict[RecordId, Signed[Chat]] = field(default_factory=dict)
    _authors: Counter[bytes] = field(default_factory=Counter)

    def add(self, signed: Signed[Chat]) -> list[Signed[Chat]]:
        """Returns what goes for it; perhaps itself."""
        uid = signed.record.uid
        self.records[signed.id] = signed
        self._authors[uid] += 1
        gone = []
        if self._authors[uid] > self.per_author:
            own = [each for each in self.records.values() if each.record.uid == uid]
            gone.append(self.remove(min(own, key=rank)))
        if len(self.records) > self.most:
            gone.append(self.remove(min(self.records.values(), key=rank)))
        return gone

    def remove(self, signed: Signed[Chat]) -> Signed[Chat]:
        del self.records[signed.id]
        self._authors[signed.record.uid] -= 1
        if not self._authors[signed.record.uid]:
            del self._authors[signed.record.uid]
        return signed


class Chats:
    """The records of one room that this node keeps. Nothing in it is judged but what it costs."""

    def __init__(self, genesis: Signed[Genesis]) -> None:
        self.genesis = genesis
        per_author = limits.CHAT_KEPT_PER_AUTHOR_MAX
        self.shelves = {
            ChatKind.TEXT: _Shelf(limits.CHAT_KEPT_MAX, per_author),
            ChatKind.MODS: _Shelf(limits.MODS_KEPT_MAX, per_author),
            ChatKind.PIN: _Shelf(limits.PINS_KEPT_MAX, PINS_PER_AUTHOR_MAX),
        }
        self._taken: dict[RecordId, dict[RecordId, Signed[Chat]]] = {}  # by what they take back
        self._aside = _Shelf(limits.CHAT_ASIDE_MAX, ASIDE_PER_AUTHOR_MAX)  # that is not here
        self._identities: dict[RecordId, Signed[Identity]] = {}
        self._held: set[bytes] = set()  # as they came, so that a copy costs no signature check

    # ── what is in it ────────────────────────────────────────────────────────────────────────

    def __len__(self) -> int:
        return len(self._held)

    def __iter__(self) -> Iterator[Signed[Chat]]:
        """The older first."""
        return iter(sorted(self._all(), key=rank))

    def holds(self, data: bytes) -> bool:
        return data in self._held

    def get(self, id_: bytes | None) -> Signed[Chat] | None:
        """A text or pin."""
        if id_ is None:
            return None
        found = (shelf.records.get(RecordId(id_)) for shelf in self.shelves.values())
        return next((signed for signed in found if signed is not None), None)

    def identity_of(self, record: Chat) -> Signed[Identity]:
        """Who wrote it: the record that the author named."""
        return self._identities[RecordId(record.idrec)]

    def taken_back_by(self, id_: RecordId) -> Iterable[Signed[Chat]]:
        return self._taken.get(id_, {}).values()

    def is_for_mods(self, signed: Signed[Chat]) -> bool:
        """Whether only those who run the room may have it."""
        target = self.get(signed.record.ref) or signed
        return target.record.kind == ChatKind.MODS

    def _all(self) -> Iterator[Signed[Chat]]:
        for shelf in (*self.shelves.values(), self._aside):
            yield from shelf.records.values()
        for taken in self._taken.values():
            yield from taken.values()

    # ── coming in ────────────────────────────────────────────────────────────────────────────

    def add(self, signed: Signed[Chat], identity: Signed[Identity], state: RoomState) -> bool:
        """Whether it is kept and was not before. What the log does not allow is left out."""
        record = signed.record
        if signed.data in self._held or not self.is_true(record, identity):
            return False
        if not is_allowed(record, self.get(record.ref), state):
            return False
        self._held.add(signed.data)
        self._identities.setdefault(identity.id, identity)
        kind = ChatKind(record.kind)
        gone: list[Signed[Chat]] = []
        if kind in TAKES_BACK:
            gone += self._take_back(signed)
        else:
            gone += self.shelves[kind].add(signed)
            gone += self._bring_in(signed, state)
        for each in gone:
            self._forget(each)
        return signed.data in self._held

    def is_true(self, record: Chat, identity: Signed[Identity]) -> bool:
        """Whether the author is who it names, and wrote in this room's time."""
        creation, proof = self.genesis.record, identity.record
        skew = limits.CLOCK_SKEW_S_MAX
        # Security: nothing is newest for ever; twelve hours are the most that a lie can win.
        if not creation.created - skew <= record.ts <= creation.exp + skew:
            return False
        if identity.id != record.idrec or proof.uid != record.uid or proof.exp < creation.created:
            return False
        # Security: a name belongs to a person's own devices; nobody writes under another's.
        return any(
            each.dev == record.dev and each.exp >= creation.created for each in proof.devices
        )

    def _take_back(self, signed: Signed[Chat]) -> list[Signed[Chat]]:
        target = self.get(signed.record.ref)
        if target is None:
            return self._aside.add(signed)
        if target.record.kind not in TAKES_BACK[ChatKind(signed.record.kind)]:
            return [signed]
        return self._attach(signed, target)

    def _attach(self, signed: Signed[Chat], target: Signed[Chat]) -> list[Signed[Chat]]:
        """One of each person's is enough; of others' than the author's a few."""
        taken = self._taken.setdefault(target.id, {})
        taken[signed.id] = signed
        gone = [each for each in taken.values() if each.record.uid == signed.record.uid]
        gone.remove(min(gone, key=_id))
        others = [each for each in taken.values() if each not in gone]
        others.sort(key=lambda each: (each.record.uid != target.record.uid, each.id))
        gone += others[limits.TAKEN_BACK_MAX :]
        for each in gone:
            del taken[each.id]
        return gone

    def _bring_in(self, target: Signed[Chat], state: RoomState) -> list[Signed[Chat]]:
        """What has waited for the target; it goes if the target cannot be taken back by it."""
        waiting = [each for each in self._aside.records.values() if each.record.ref == target.id]
        gone: list[Signed[Chat]] = []
        for each in waiting:
            self._aside.remove(each)
            fits = target.record.kind in TAKES_BACK[ChatKind(each.record.kind)]
            if fits and is_allowed(each.record, target, state):
                gone += self._attach(each, target)
            else:
                gone.append(each)
        return gone

    def _forget(self, signed: Signed[Chat]) -> None:
        self._held.discard(signed.data)
        for each in self._taken.pop(signed.id, {}).values():
            self._held.discard(each.data)
        named = {each.record.idrec for each in self._all()}
        for id_ in [id_ for id_ in self._identities if id_ not in named]:
            del self._identities[id_]

    # ── comparing with others ────────────────────────────────────────────────────────────────

    def have(self, *, mods: bool) -> bytes:
        """Eight bytes of each id, the newest first. mods: those of the moderators' channel too."""
        ids = [each.id for each in reversed(list(self)) if mods or not self.is_for_mods(each)]
        return b"".join(id_[:HAVE_BYTES] for id_ in ids[:HAVE_MAX])

    def missing(self, have: bytes, state: RoomState, *, mods: bool) -> list[Signed[Chat]]:
        """What the sender of a `have` should be told, in their order but deletes last: to somebody
        new the last messages; to others all that is no older than the oldest that both hold. What
        the log does not allow now is not told."""
        known = {have[at : at + HAVE_BYTES] for at in range(0, len(have), HAVE_BYTES)}
        records = self.shelves[ChatKind.TEXT].records.values()
        texts = sorted((each for each in records if is_allowed(each.record, None, state)), key=rank)
        common = [each for each in texts if each.id[:HAVE_BYTES] in known]
        last = texts[-NEWCOMER_MESSAGES:]
        from_rank: Rank = (0, 0, RecordId(b""))
        if last and (not known or common):
            from_rank = min(rank(each) for each in (*last[:1], *common[:1]))
        old = {each.id for each in texts if rank(each) < from_rank}
        return [
            each
            for each in sorted(self, key=lambda each: (each.record.ref is not None, rank(each)))
            if each.id[:HAVE_BYTES] not in known
            and each.id not in old
            and each.record.ref not in old
            and (mods or not self.is_for_mods(each))
            and is_allowed(each.record, self.get(each.record.ref), state)
        ]


def rank(signed: Signed[Chat]) -> Rank:
    """Its place in the chat; and what ranks first goes first."""
    return signed.record.ts, signed.record.n, signed.id


def _id(signed: Signed[Chat]) -> RecordId:
    return signed.id


def is_allowed(record: Chat, target: Signed[Chat] | None, state: RoomState) -> bool:
    """Whether such a record may come in by what the log says now. target: what `ref` names."""
    uid = UserKey(record.uid)
    # Security: who was put out, or waits in the lobby, is not heard through others either.
    if state.role_of(uid) in (None, Role.BAN, Role.REMOVE):
        return False
    match record.kind:
        case ChatKind.TEXT:
            return state.may_chat(uid)
        case ChatKind.PIN | ChatKind.MODS:
            return state.runs(uid)
        case _:
            return target is None or may_take_back(uid, target.record, state)


def may_take_back(by: UserKey, target: Chat, state: RoomState) -> bool:
    """Whether that person may delete the text, or unpin the pin."""
    of = UserKey(target.uid)
    if by == of:
        return True
    if not state.runs(by):
        return False
    above, below = state.level(by), state.level(of)
    # Security: a message is deleted from above alone; a pin is also everybody's of its level.
    return above <= below if target.kind == ChatKind.PIN else above < below
