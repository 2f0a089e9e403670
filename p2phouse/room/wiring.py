"""What media must know of the room: the forwarding table, the keys of voices, our own voice."""

from collections.abc import Iterator
from dataclasses import replace

from p2phouse.channel import SetKeys, SetTable, SetVoice, VoiceKeyRow
from p2phouse.record.envelope import Signed
from p2phouse.record.types import Speak
from p2phouse.room import keys, voices
from p2phouse.room.epochs import Live
from p2phouse.room.messages import Event, EventKind, Output, ToMedia
from p2phouse.room.state import Membership, ssrc_of
from p2phouse.shape.plan import Neighbour, Plan, Voice, part_of, plan
from p2phouse.vocabulary import DeviceKey, RecordId, RoomId, Ssrc, UserKey, VoiceId


class Wiring:
    """Gives media the plan of the room's present state, under a rising epoch."""

    def __init__(self, uid: UserKey) -> None:
        self._uid = uid
        self._epoch = 0
        self._told: SetVoice | None = None  # of our voice

    def rewire(self, membership: Membership | None) -> Iterator[Output]:
        self._epoch += 1
        if membership is None:
            yield ToMedia(SetKeys(()))
            yield ToMedia(SetTable(self._epoch, ()))
            return
        members = membership.members.values()
        # Security: whose role is not speaker has no row anywhere, whatever its own node does; nor
        # has a voice beyond the slots of the stage.
        placed = voices.standing(membership, self._uid)
        near = [
            Neighbour(
                member.link if member.link_up else None,
                # Security: a voice found to be forged has no row until its member has a new one.
                # Test: test_wiring.py::test_a_forged_voice_has_no_row_until_there_is_a_new_one
                _voice(membership, member.uid, member.speak, placed)
                if membership.may_speak(member.uid) and not member.is_forged
                else None,
                part_of(member.dev, hub=membership.hub, standby=membership.standby),
                yields=member.dev == membership.former,
                silent=member.silent,
            )
            for member in members
        ]
        speak = membership.voice.speak if membership.may_speak(self._uid) else None
        own = _voice(membership, self._uid, speak, placed)
        # Security: a relay opens nothing in a sealed room, and has no key to do so. Of other rooms
        # everybody has the keys, and a relay hears them for its guests.
        # Test: test_wiring.py::test_a_relay_of_a_sealed_room_gives_media_no_key_and_no_ear
        is_public = membership.genesis is not None and not membership.is_sealed
        deaf = membership.serves and not is_public
        made = plan(own, near, membership.standpoint, deaf=deaf)
        # Security: media is given the keys of those alone whose packets it may take.
        keys = [
            _key_row(membership.room, member.speak, live)
            for member in members
            if member.speak is not None and member.speak.id in made.heard
            for live in (() if deaf else membership.heard_under)
        ]
        yield ToMedia(SetKeys(tuple(keys)))
        yield _table(self._epoch, made)

    def audit_failed(self, membership: Membership, ssrc: Ssrc) -> Iterator[Output]:
        """Media has found out that somebody else speaks as the member with this voice."""
        for member in membership.members.values():
            if member.speak is not None and member.ssrc == ssrc and not member.is_forged:
                member.forged_speak = member.speak.id
                yield from self.rewire(membership)
                yield Event(EventKind.FORGED_SPEECH, membership.room, member.dev, member.name)

    def tell_voice(self, membership: Membership) -> Iterator[Output]:
        """Media's settings of our own voice, once its `speak` is signed."""
        voice, live, told = membership.voice, membership.live, self._told
        if voice.speak is None:
            return
        if live is not None:
            row = _key_row(membership.room, voice.speak, live)
            sealed = membership.is_sealed
            told = SetVoice(voice.sid, row.ssrc, row.kid, row.base, membership.muted, sealed)
        elif told is not None and told.sid == voice.sid:
            # Security: without an epoch that covers nothing is said, whatever the person wants.
            told = replace(told, muted=True)
        else:
            return  # media sends nothing under no key
        self._told = told
        yield ToMedia(told)


def _table(epoch: int, made: Plan) -> ToMedia:
    return ToMedia(
        SetTable(epoch, made.rows, made.guarded, made.hurried, made.loudest, made.leaning)
    )


def _voice(
    membership: Membership, uid: UserKey, speak: Signed[Speak] | None, placed: frozenset[RecordId]
) -> Voice | None:
    if speak is None or speak.id not in placed:
        return None
    runs_it = membership.genesis is not None and membership.log.state.seat_of(uid) is not None
    return Voice(ssrc_of(speak), speak.id, pinned=runs_it)


def _key_row(room: RoomId, speak: Signed[Speak], live: Live) -> VoiceKeyRow:
    record = speak.record
    base = keys.sender_base(
        live.secret,
        room=room,
        epoch=live.n,
        dev=DeviceKey(record.dev),
        sid=VoiceId(record.sid),
    )
    kid = keys.key_id(epoch=live.n, slot=record.slot)
    return VoiceKeyRow(ssrc_of(speak), kid, base, record.akey)
