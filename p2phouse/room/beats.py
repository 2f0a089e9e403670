"""Beats: those who run a room say again and again what they hold of its log.

Somebody new has the log from people who may keep a part of it from him. A beat is what he can hold
it against: its digest is signed by a seat, and it is young. This is what is known of the beats in
one room; room/confirmation.py sends and hears them.
"""

import math
import random
from dataclasses import dataclass, field
from typing import Final

from p2phouse.errors import PeerError
from p2phouse.record import envelope
from p2phouse.record.cbor import Value
from p2phouse.record.envelope import Expired, Signed
from p2phouse.record.limits import BEAT_LIFE_S
from p2phouse.record.types import Beat, Identity
from p2phouse.room.rules import Level, RoomState
from p2phouse.vocabulary import DeviceKey, Now, RecordId, RoomId, UserKey

BEAT_S: Final = 20.0  # ± 20 %: three in a life, so two may be lost
BEAT_S_MIN: Final = 5.0  # however often the log changes
BEAT_SOON_S: Final = 1.0  # after a change: what is decided together comes in one beat
BEATS_MAX: Final = 64  # devices; of people without a seat the oldest go first


class BeatRefused(PeerError):
    """A beat says what it may not say: {reason}."""


@dataclass(slots=True)
class Heard:
    """The last beat of one device."""

    beat: Signed[Beat]
    identity: Signed[Identity]  # lists the device
    until: float  # when it is too old to count, in seconds of the monotonic clock

    @property
    def uid(self) -> UserKey:
        return UserKey(self.identity.record.uid)


def read_beat(
    beat_data: Value, identity_data: Value, *, room: RoomId
) -> tuple[Signed[Beat], Signed[Identity]]:
    """A beat with the identity that lists its device. Raises PeerError."""
    if not isinstance(beat_data, bytes) or not isinstance(identity_data, bytes):
        raise BeatRefused(reason="something else where bytes belong")
    beat = envelope.read(beat_data, Beat)
    identity = envelope.read(identity_data, Identity)
    if beat.record.room != room:
        raise BeatRefused(reason="it is of another room")
    # Security: a seat is a person's, a beat is signed by a device; this is what joins them.
    if all(device.dev != beat.record.dev for device in identity.record.devices):
        raise BeatRefused(reason="the identity beside it does not list its device")
    return beat, identity


@dataclass(slots=True)
class BeatBook:
    """See the module. Seconds are those of the monotonic clock."""

    heard: dict[DeviceKey, Heard] = field(default_factory=dict)
    own: Signed[Beat] | None = None
    own_at: float = -math.inf
    due: float = math.inf  # our next; whether we have a seat is asked then

    # ── others' ──────────────────────────────────────────────────────────────────────────────

    def copy_of(self, data: Value) -> Heard | None:
        """The one that we hold already, so that a copy costs no signature check."""
        return next((each for each in self.heard.values() if each.beat.data == data), None)

    def take(
        self,
        now: Now,
        beat: Signed[Beat],
        identity: Signed[Identity],
        state: RoomState,
        *,
        direct: bool,
    ) -> bool:
        """Keeps it if it is young and the last of its device. direct: that device sent it."""
        dev = DeviceKey(beat.record.dev)
        age_s = 0.0
        if not direct:
            # Security: who passes beats on may have kept old ones, from before what he withholds.
            # Who made one and sends it himself needs no clock.
            try:
                envelope.check_time(beat.record, now.unix)
            except Expired:
                return False
            known = self.heard.get(dev)
            if known is not None and beat.record.ts <= known.beat.record.ts:
                return False
            if level_of(identity.record, dev, state) is None:
                return False  # the seat may come to light later, and then the next beat counts
            age_s = max(0.0, now.unix - beat.record.ts)
        self.heard.pop(dev, None)  # and in again, as the latest
        self.heard[dev] = Heard(beat, identity, now.mono + BEAT_LIFE_S - age_s)
        if len(self.heard) > BEATS_MAX:
            del self.heard[self._spare(state)]
        return True

    def _spare(self, state: RoomState) -> DeviceKey:
        """Security: people without a seat beat into nothing and push out nobody who has one."""
        for dev, each in self.heard.items():
            if level_of(each.identity.record, dev, state) is None:
                return dev
        return next(iter(self.heard))

    def counting(self, now: Now, state: RoomState) -> list[Heard]:
        """Young beats of the highest level of seats that beats: equals, none above them."""
        levels = {
            dev: level
            for dev, each in self.heard.items()
            if each.until > now.mono
            and (level := level_of(each.identity.record, dev, state)) is not None
        }
        highest = min(levels.values(), default=None)
        return [self.heard[dev] for dev, level in levels.items() if level is highest]

    def latest(self, now: Now, state: RoomState) -> RecordId | None:
        """The id of the beat that our log would be held against; else of our own."""
        found = max(self.counting(now, state), key=lambda each: each.until, default=None)
        if found is not None:
            return found.beat.id
        return self.own.id if self.own is not None else None

    # ── ours ─────────────────────────────────────────────────────────────────────────────────

    def changed(self, now: Now) -> None:
        """The log has changed: others want to know what we hold of it."""
        soon = max(now.mono + BEAT_SOON_S, self.own_at + BEAT_S_MIN)
        self.due = min(self.due, soon)

    def sent(self, now: Now, beat: Signed[Beat], rng: random.Random) -> None:
        self.own, self.own_at = beat, now.mono
        self.due = now.mono + BEAT_S * rng.uniform(0.8, 1.2)


def level_of(identity: Identity, dev: DeviceKey, state: RoomState) -> Level | None:
    """The level of the seat that the device may beat from; None if it has none."""
    created = state.genesis.record.created
    lists = any(each.dev == dev and each.exp >= created for each in identity.devices)
    if not lists or identity.exp < created:  # as of entries (R2)
        return None
    seat = state.seat_of(UserKey(identity.uid))
    return None if seat is None else seat.level
