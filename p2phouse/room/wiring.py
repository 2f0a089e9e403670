"""What media must know of the room: the forwarding table, the keys of voices, our own voice."""

from collections.abc import Iterator

from p2phouse.channel import SetKeys, SetTable, SetVoice, VoiceKeyRow
from p2phouse.record.envelope import Signed
from p2phouse.record.types import Speak
from p2phouse.room import keys
from p2phouse.room.messages import Output, ToMedia
from p2phouse.room.state import Membership, ssrc_of
from p2phouse.shape.plan import Neighbour, plan
from p2phouse.vocabulary import DeviceKey, RoomId, VoiceId


class Wiring:
    """Gives media the plan of the room's present state, under a rising epoch."""

    def __init__(self) -> None:
        self._epoch = 0

    def rewire(self, membership: Membership | None) -> Iterator[Output]:
        members = list(membership.members.values()) if membership is not None else []
        near = [
            Neighbour(member.link, member.ssrc)
            for member in members
            if member.link is not None and member.link_up
        ]
        own = membership.voice.ssrc if membership is not None else None
        self._epoch += 1
        yield ToMedia(
            SetKeys(tuple(_key_row(membership.room, m.speak) for m in members if m.speak))
            if membership is not None
            else SetKeys(())
        )
        yield ToMedia(SetTable(self._epoch, plan(own, near).rows))

    def tell_voice(self, membership: Membership) -> Iterator[Output]:
        """Media's settings of our own voice, once its `speak` is signed."""
        voice = membership.voice
        if voice.speak is not None:
            row = _key_row(membership.room, voice.speak)
            muted = membership.muted
            yield ToMedia(SetVoice(voice.sid, row.ssrc, row.kid, row.base, muted, sealed=False))


def _key_row(room: RoomId, speak: Signed[Speak]) -> VoiceKeyRow:
    record = speak.record
    base = keys.sender_base(
        keys.open_secret(room),
        room=room,
        epoch=0,
        dev=DeviceKey(record.dev),
        sid=VoiceId(record.sid),
    )
    return VoiceKeyRow(ssrc_of(speak), keys.key_id(epoch=0, slot=record.slot), base)
