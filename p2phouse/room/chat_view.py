"""What is shown of a room's chat: a function of the records that are kept and of the log as it is.

The rules have the numbers that they have in docs/protocol.md.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from p2phouse.record import limits
from p2phouse.record.envelope import Signed
from p2phouse.record.types import Chat, ChatKind
from p2phouse.room.chat import Chats, is_allowed, rank
from p2phouse.room.rules import RoomState
from p2phouse.vocabulary import RecordId, UserKey

LONG_AGO: Final = -(2**41)


@dataclass(slots=True)
class Spacing:
    """How far apart one person's messages must be to be shown."""

    slow_s: int  # 0: no slow mode
    _spent: int = 0
    _at: int = LONG_AGO  # of the last that was shown

    def wait_s(self, ts: int) -> int:
        """After how many seconds more a message of that time would be shown; 0: at once."""
        since = ts - self._at
        over = max(0, self._spent - since) + 1 - limits.CHAT_BURST_MAX
        return max(0, over, self.slow_s - since)

    def admits(self, ts: int) -> bool:
        """Whether the next message is shown. Who made it and who reads it come to the same."""
        if self.wait_s(ts):
            return False
        self._spent = max(0, self._spent - (ts - self._at)) + 1
        self._at = ts
        return True


@dataclass(frozen=True, slots=True)
class Message:
    signed: Signed[Chat]
    name: str
    deleted: bool

    @property
    def uid(self) -> UserKey:
        return UserKey(self.signed.record.uid)

    @property
    def text(self) -> str:
        return "" if self.deleted else self.signed.record.text


class View:
    """What is shown of a room's chat under a state of its log."""

    def __init__(self, chats: Chats, state: RoomState) -> None:
        self._chats = chats
        self._state = state
        self._spacings: dict[UserKey, Spacing] = {}
        self.messages = tuple(self._messages())
        self.pins = tuple(self._pins())[-limits.PINS_SHOWN_MAX :]
        self.mods = tuple(self._mods())

    def spacing(self, uid: UserKey) -> Spacing:
        """Of the person's messages, those that are shown taken into account."""
        if uid not in self._spacings:
            mode = self._state.chat
            is_slow = not isinstance(mode, bool) and not self._state.runs(uid)
            self._spacings[uid] = Spacing(int(mode) if is_slow else 0)
        return self._spacings[uid]

    def _messages(self) -> Iterator[Message]:
        may: dict[bytes, bool] = {}
        for signed in self._of(ChatKind.TEXT):
            uid = UserKey(signed.record.uid)
            if uid not in may:
                may[uid] = self._state.may_chat(uid)
            if may[uid] and self.spacing(uid).admits(signed.record.ts):
                yield self._message(signed)

    def _pins(self) -> Iterator[Message]:
        for signed in self._of(ChatKind.PIN):
            message = self._message(signed)
            if is_allowed(signed.record, None, self._state) and not message.deleted:
                yield message

    def _mods(self) -> Iterator[Message]:
        for signed in self._of(ChatKind.MODS):
            if is_allowed(signed.record, None, self._state):
                yield self._message(signed)

    def _of(self, kind: ChatKind) -> Iterator[Signed[Chat]]:
        """Those of one kind in their order; of two that a device gave one number the lower id."""
        records = self._chats.shelves[kind].records.values()
        first: dict[tuple[bytes, int], RecordId] = {}
        for signed in records:
            number = (signed.record.dev, signed.record.n)
            first[number] = min(signed.id, first.get(number, signed.id))
        counting = set(first.values())
        return iter(sorted((each for each in records if each.id in counting), key=rank))

    def _message(self, signed: Signed[Chat]) -> Message:
        taken = self._chats.taken_back_by(signed.id)
        deleted = any(is_allowed(each.record, signed, self._state) for each in taken)
        return Message(signed, self._chats.identity_of(signed.record).record.name, deleted)


def mode_of(state: RoomState) -> str | int:
    """Whether there is chat, as the API tells it: on, off, or slow mode in seconds."""
    mode = state.chat
    return ("on" if mode else "off") if isinstance(mode, bool) else mode
