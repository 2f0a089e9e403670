"""What our person writes into the room's chat, or takes back: checked, signed, and kept.

What others would not show is refused here, with how long to wait or whom to ask.
"""

from collections.abc import Iterable
from typing import Final

from p2phouse.errors import UserError
from p2phouse.identity.keys import Me
from p2phouse.record import envelope, limits
from p2phouse.record.envelope import Signed
from p2phouse.record.schema import is_plain_text, one_line
from p2phouse.record.types import Chat, ChatKind
from p2phouse.room import chat
from p2phouse.room.chat_view import Message, View
from p2phouse.room.log import NoSeat
from p2phouse.room.messages import Write
from p2phouse.room.rules import RoomState
from p2phouse.room.state import Membership
from p2phouse.vocabulary import Now

PREFIX_MIN: Final = 4


class ChatOff(UserError):
    """The chat is switched off. Those who run the room can switch it on: p2phouse chat-mode on."""


class MayNotChat(UserError):
    """You may not write in this room now. `p2phouse why` says who decided it."""


class TooSoon(UserError):
    """That is too soon after your last message{slow}. Write again in {seconds} s."""


class BadMessage(UserError):
    """A message is one line of 1 to {limit} characters, of at most {bytes} bytes."""


class TooOld(UserError):
    """All that is kept of this chat is newer than that. Is the clock of this machine right?"""


class NoSuchMessage(UserError):
    """No message here begins with “{text}”. `p2phouse chat` lists them with their ids."""


class SeveralSuch(UserError):
    """Several messages begin with “{text}”. Write more of the id."""


class MayNotTakeBack(UserError):
    """That is not yours: its author can take it back, or somebody above who runs the room."""


class Pen:
    """See the module. The room is given with each call."""

    def __init__(self, me: Me) -> None:
        self._me = me
        self._last_n = 0

    def write(self, now: Now, membership: Membership, action: Write) -> Signed[Chat]:
        """Signs it into the chat. Raises UserError before anything has changed."""
        state, view = membership.log.state, membership.view
        ref = None
        match action.kind:
            case ChatKind.DELETE:
                ref = _find((*view.messages, *view.mods), action.ref)
            case ChatKind.UNPIN:
                ref = _find(view.pins, action.ref)
            case ChatKind.PIN | ChatKind.MODS if not state.runs(self._me.uid):
                raise NoSeat
        if ref is not None and not chat.may_take_back(self._me.uid, ref.signed.record, state):
            raise MayNotTakeBack
        text = _text(action) if ref is None else ""
        ts = self._time(now, membership)
        if action.kind is ChatKind.TEXT:
            self._must_be_shown(state, view, ts)
        signed = self._sign(now, membership, action.kind, text, ts, ref)
        if not membership.chats.add(signed, self._me.record, state):
            raise TooOld
        return signed

    def _must_be_shown(self, state: RoomState, view: View, ts: int) -> None:
        if not state.may_chat(self._me.uid):
            raise ChatOff if state.chat is False else MayNotChat
        spacing = view.spacing(self._me.uid)
        seconds = spacing.wait_s(ts)
        if seconds:
            slow = f" (slow mode, {spacing.slow_s} s)" if spacing.slow_s else ""
            raise TooSoon(slow=slow, seconds=seconds)

    def _time(self, now: Now, membership: Membership) -> int:
        """Our clock's, but never before the room or our own last word."""
        own = [each.record.ts for each in membership.chats if each.record.dev == self._me.dev]
        created = membership.chats.genesis.record.created
        return max(int(now.unix), created, *own)

    def _sign(
        self,
        now: Now,
        membership: Membership,
        kind: ChatKind,
        text: str,
        ts: int,
        ref: Message | None,
    ) -> Signed[Chat]:
        self._last_n = max(self._last_n + 1, int(now.unix * 1_000))
        record = Chat(
            room=membership.room,
            uid=self._me.uid,
            dev=self._me.dev,
            idrec=self._me.record.id,
            n=self._last_n,
            kind=kind,
            ref=ref.signed.id if ref is not None else None,
            text=text,
            ts=ts,
        )
        return envelope.sign(record, self._me.device_key)


def _text(action: Write) -> str:
    text = one_line(action.text)
    limit = chat.TEXT_MAX[action.kind]
    is_short = len(text) <= limit and len(text.encode()) <= limits.CHAT_TEXT_BYTES_MAX
    if not text or not is_short or not is_plain_text(text):
        raise BadMessage(limit=limit, bytes=limits.CHAT_TEXT_BYTES_MAX)
    return text


def _find(messages: Iterable[Message], text: str) -> Message:
    wanted = text.lower()
    found = [
        each for each in messages if each.signed.id.hex().startswith(wanted) and not each.deleted
    ]
    if len(wanted) < PREFIX_MIN or not found:
        raise NoSuchMessage(text=text)
    if len(found) > 1:
        raise SeveralSuch(text=text)
    return found[0]
