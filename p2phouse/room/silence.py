"""Why somebody is not heard: for every voice that should be, and for our own microphone and ear.

A silence that nobody explains sends people away. Each one that this node can know of has a cause, a
sentence and one remedy. A cause is told once it has lasted for its delay, so that what mends itself
is not told at all, and it is gone in the moment in which it is. A quiet person is no fault: whoever
is unmuted sends a frame of background at least each 0.42 s, so nothing for 3 s is not quiet.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from p2phouse.channel import Stats, VoiceCondition, VoiceState
from p2phouse.identity.keys import Me, key_tag, peer_id
from p2phouse.record.types import Act
from p2phouse.room.earshot import Earshot
from p2phouse.room.messages import Event, EventKind, Output
from p2phouse.room.rules import Role
from p2phouse.room.sounding import Sounding
from p2phouse.room.state import Member, Membership
from p2phouse.room.talk import Talk
from p2phouse.vocabulary import DeviceKey, Now, UserKey


class Cause(StrEnum):
    """In the order in which one hides the next."""

    FORGED = "forged"
    DEVICE_LOST = "device_lost"
    OUTPUT_BLOCKED = "output_blocked"
    LINK_DOWN = "link_down"
    MUTED_BY = "muted_by"
    KEY_MISSING = "key_missing"
    UNPROVED = "unproved"
    NO_MICROPHONE = "no_microphone"
    LEVEL_ZERO = "level_zero"
    NO_PACKETS = "no_packets"
    TALKING_WHILE_MUTED = "talking_while_muted"


DELAY_S: Final = {
    Cause.LINK_DOWN: 3.0,  # a new link takes 0.5 to 2 s, and a Wi-Fi that roams as long
    Cause.KEY_MISSING: 2.0,  # a new secret reaches everybody within a second or two
    Cause.NO_MICROPHONE: 1.0,  # a report that came before the input was open says nothing
    Cause.LEVEL_ZERO: 3.0,  # a breath between sentences; no microphone is so quiet by itself
    Cause.NO_PACKETS: 3.0,  # seven frames of background missing: 1 in 78,000 at 20 % loss
}
NO_PAGE_S: Final = 3.0  # a page that is loaded anew is back within 1.5 s
CAUSES: Final = tuple(Cause)


@dataclass(frozen=True, slots=True)
class Explanation:
    """by: who decided it, if somebody did."""

    cause: Cause
    text: str
    remedy: str
    by: str = ""
    after_s: float = 0.0

    def facts(self) -> dict[str, object]:
        return {
            "cause": self.cause.value,
            "text": self.text,
            "remedy": self.remedy,
            "by": self.by or None,
        }


@dataclass(slots=True)
class _Noted:
    explanation: Explanation
    told_at: float  # when it has lasted long enough
    is_told: bool = False


class Silence:
    """See the module. One for the node; the room is given with each call."""

    def __init__(self, me: Me, talk: Talk, earshot: Earshot) -> None:
        self._me = me
        self._talk = talk
        self._earshot = earshot
        self._sound = Sounding()
        self._noted: dict[tuple[DeviceKey, Cause, str], _Noted] = {}  # whom it is about, and what

    # ── what media and the page tell ─────────────────────────────────────────────────────────

    def voice_state(self, state: VoiceState) -> None:
        """To be told before talk is: of a file that is spoken the asker hears by itself."""
        if not (self._talk.is_saying and state.condition is VoiceCondition.INPUT_FAILED):
            self._sound.voice_state(state)

    def stats(self, now: Now, stats: Stats) -> None:
        self._sound.stats(now, stats)

    def page_sound(self, *, blocked: bool) -> None:
        """Whether the browser holds the page's sound back until it is clicked."""
        self._sound.page_blocked = blocked

    def media_gone(self) -> None:
        self._sound = Sounding()

    # ── what we tell ─────────────────────────────────────────────────────────────────────────

    def of(self, dev: DeviceKey) -> list[Explanation]:
        """What is known to keep that member, or us, from being heard; the worst first."""
        told = [
            noted.explanation
            for (who, _, _), noted in self._noted.items()
            if who == dev and noted.is_told
        ]
        return sorted(told, key=lambda each: CAUSES.index(each.cause))

    def fact(self, dev: DeviceKey) -> dict[str, object] | None:
        explained = self.of(dev)
        return explained[0].facts() if explained else None

    def check(self, membership: Membership) -> list[dict[str, object]]:
        """Everything, ourselves first, as the API tells it."""
        people = {self._me.dev: (self._me.name, self._me.uid)}
        people |= {m.dev: (m.name, m.uid) for m in membership.members.values()}
        return [
            {
                "who": name or key_tag(uid),
                "peer_id": peer_id(dev),
                "you": dev == self._me.dev,
                **explanation.facts(),
            }
            for dev, (name, uid) in people.items()
            for explanation in self.of(dev)
        ]

    # ── time ─────────────────────────────────────────────────────────────────────────────────

    def settle(self, now: Now, membership: Membership | None) -> Iterator[Output]:
        """After each input and tick: what has become a cause, and what is none any more."""
        if membership is None:
            self._sound.left()
        present = {
            (dev, each.cause, each.text): each for dev, each in self._present(now, membership)
        }
        for key in [key for key in self._noted if key not in present]:
            noted = self._noted.pop(key)
            if noted.is_told and membership is not None:
                yield Event(EventKind.SILENCE_EXPLAINED, membership.room, key[0])
        for key, explanation in present.items():
            fresh = _Noted(explanation, now.mono + explanation.after_s)
            noted = self._noted.setdefault(key, fresh)
            if not noted.is_told and noted.told_at <= now.mono and membership is not None:
                noted.is_told = True
                kind = EventKind.SILENCE_EXPLAINED
                yield Event(kind, membership.room, key[0], explanation.text)

    @property
    def deadline(self) -> float:
        noted = self._noted.values()
        times = [each.told_at for each in noted if not each.is_told]
        if any(each.explanation.cause is Cause.TALKING_WHILE_MUTED for each in noted):
            times.append(self._sound.talking_until)
        return min(times, default=math.inf)

    # ── causes ───────────────────────────────────────────────────────────────────────────────

    def _present(
        self, now: Now, membership: Membership | None
    ) -> Iterator[tuple[DeviceKey, Explanation]]:
        if membership is None or not membership.joined or membership.genesis is None:
            return
        for explanation in self._own(now, membership):
            yield self._me.dev, explanation
        for member in membership.members.values():
            explained = self._other(membership, member)
            if explained is not None and member.uid not in self._earshot.blocked:
                yield member.dev, explained

    def _own(self, now: Now, membership: Membership) -> Iterator[Explanation]:
        sound, members = self._sound, membership.members.values()
        yield from self._ear()
        if members and not any(member.is_heard for member in members):
            yield _of(
                Cause.LINK_DOWN,
                "No sound reaches you from anybody here, nor from you anybody.",
                "Look at your network; your node tries again by itself.",
            )
        if sound.input_lost and membership.muted:
            yield _of(Cause.DEVICE_LOST, sound.input_lost, "Then unmute yourself.")
        if not membership.own.on_stage:
            return
        if membership.log.state.role_of(self._me.uid) is Role.MUTED:
            by = self._decided_by(membership, self._me.uid)
            yield _muted_by(by, f"{by} has muted you.", "Raise your hand, or ask in the chat.")
        elif membership.muted:
            if sound.is_talking(now) and not self._talk.is_saying:
                yield _of(
                    Cause.TALKING_WHILE_MUTED,
                    "You are talking, and you are muted.",
                    "Unmute yourself to be heard.",
                )
        else:
            yield from self._mouth(membership)

    def _mouth(self, membership: Membership) -> Iterator[Explanation]:
        """We are unmuted: does anybody hear us?"""
        sound = self._sound
        if membership.live is None:
            yield _of(
                Cause.KEY_MISSING,
                "Nobody has given your node the key of this room yet, so it sends nothing.",
                "Wait a moment; if it lasts, leave the room and join it again.",
            )
        if self._talk.is_saying:
            return
        if not sound.input_open:
            if self._talk.mouth == "none":
                yield _of(
                    Cause.NO_MICROPHONE,
                    "You are unmuted, but this node has no microphone.",
                    "Open its page, p2phouse page, or start it with --audio device.",
                )
        elif sound.input_silent:
            yield _of(
                Cause.LEVEL_ZERO,
                "Your microphone gives no sound.",
                "Look for a switch on it, or choose another one in your system's settings.",
            )

    def _ear(self) -> Iterator[Explanation]:
        """Do we hear anybody?"""
        sound, ear = self._sound, self._talk.ear
        if sound.output_failed:
            yield _of(
                Cause.OUTPUT_BLOCKED, sound.output_failed, "Then leave the room and join it again."
            )
        elif ear == "page" and not sound.output_ready:
            yield _of(
                Cause.OUTPUT_BLOCKED,
                "No page is open, so you hear nobody.",
                "Open it: p2phouse page.",
                after_s=NO_PAGE_S,
            )
        elif ear == "page" and sound.page_blocked:
            yield _of(
                Cause.OUTPUT_BLOCKED,
                "Your browser holds back the sound of the page.",
                "Click anywhere in the page.",
            )

    def _other(self, membership: Membership, member: Member) -> Explanation | None:
        """Why a voice that should be heard is not; None if it is, or need not be."""
        state, who = membership.log.state, member.name or key_tag(member.uid)
        sound, ssrc = self._sound, member.ssrc
        if member.is_forged:
            return _of(
                Cause.FORGED,
                f"Somebody else spoke as {who}, so that voice is not played.",
                f"Ask {who} in another way to step down from the stage and come back.",
            )
        if ssrc is None:
            return None
        if state.role_of(member.uid) is Role.MUTED:
            by = self._decided_by(membership, member.uid)
            return _muted_by(by, f"{by} has muted {who}.", "Whoever runs the room can lift it.")
        if member.muted or not membership.may_speak(member.uid):
            return None
        if not member.is_heard:
            return _of(
                Cause.LINK_DOWN,
                f"No sound comes through from {who} now.",
                "Your node tries again by itself; the chat still works.",
            )
        if not membership.heard_under or ssrc in sound.keyless:
            return _of(
                Cause.KEY_MISSING,
                f"Your node has not got the key to the voice of {who}.",
                "Wait a moment; if it lasts, leave the room and join it again.",
            )
        if ssrc in sound.unproved:
            return _of(
                Cause.UNPROVED,
                f"What comes as the voice of {who} is not proved to be that, so it is not played.",
                f"Wait a moment; if it lasts, ask {who} in another way to join the room again.",
            )
        if ssrc in sound.still:
            return _of(
                Cause.NO_PACKETS,
                f"{who} is unmuted, but nothing comes of that voice.",
                f"Write to {who}: the microphone there gives nothing, or the network loses it.",
            )
        return None

    def _decided_by(self, membership: Membership, uid: UserKey) -> str:
        """Name of who made a person what it is in the room."""
        winners = membership.log.state.winners
        entry = winners.get((Act.ROLE, uid)) or winners.get((Act.ROLE, None))
        if entry is None:
            return ""
        author = UserKey(entry.record.uid)
        if author == self._me.uid:
            return self._me.name or key_tag(author)
        names = [m.name for m in membership.members.values() if m.uid == author and m.name]
        return names[0] if names else key_tag(author)


def _of(cause: Cause, text: str, remedy: str, *, after_s: float | None = None) -> Explanation:
    delay_s = DELAY_S.get(cause, 0.0) if after_s is None else after_s
    return Explanation(cause, text, remedy, after_s=delay_s)


def _muted_by(by: str, text: str, remedy: str) -> Explanation:
    return Explanation(Cause.MUTED_BY, text, remedy, by)
