"""What guests are given of a room of nodes: true voices of those who may speak, once, in plain."""

import os
from collections.abc import Iterator

import numpy as np
import pytest

from p2phouse.channel import VoiceKeyRow
from p2phouse.guest.ear import Ear, source_of
from p2phouse.guest.room import GuestRoom
from p2phouse.link.port import Port
from p2phouse.vocabulary import FRAME_S, LinkNumber, Ssrc, VoiceId
from p2phouse.voice import packet, plain
from p2phouse.voice.outgoing import OutgoingVoice
from p2phouse.voice.seal import SealKey, open_sealed
from tests.link.test_crowd import Listener
from tests.voice.speech import tone

ANA, BEN = Ssrc(77), Ssrc(78)
KID, BASE = 0x73, bytes(range(16))
SLOTS = (Ssrc(11), Ssrc(12), Ssrc(13), Ssrc(14))
GUEST = LinkNumber(5)


def a_voice(ssrc: Ssrc) -> OutgoingVoice:
    voice = OutgoingVoice(VoiceId(bytes(16)), entropy=os.urandom)
    voice.set(ssrc, SealKey(KID, BASE), muted=False, sealed=True)
    return voice


def key_of(voice: OutgoingVoice, ssrc: Ssrc) -> VoiceKeyRow:
    return VoiceKeyRow(ssrc, KID, BASE, voice.akey)


class House:
    """An open room in which Ana speaks, and one guest."""

    def __init__(self) -> None:
        self.port = Port("127.0.0.1", 0)
        self.room = GuestRoom(SLOTS, os.urandom)
        self.listener = Listener(self.port)
        self.failed: list[Ssrc] = []
        self.ear = Ear(self.failed.append)
        self.ana = a_voice(ANA)
        self.ear.set_keys([key_of(self.ana, ANA)])
        self.ear.lead_to(self.room)
        self.frames = 0

    def come(self) -> None:
        self.room.add_listener(0.0, GUEST, self.listener.sink, 4)

    def says(
        self, voice: OutgoingVoice, ssrc: Ssrc, *, audited: bool = True, loud: float = 1.0
    ) -> bytes:
        """One frame; its packet."""
        data = voice.next_packet(tone(self.frames) * np.float32(loud))
        assert data is not None
        self.ear.hear(self.now_s, ssrc, data)
        audit = voice.next_audit()
        if audit is not None and audited:
            self.ear.hear(self.now_s, ssrc, audit)
        self.frames += 1
        self.ear.tick(self.now_s)
        return data

    @property
    def now_s(self) -> float:
        return self.frames * FRAME_S

    def heard(self) -> list[plain.Plain]:
        return [plain.parse(data) for data in self.listener.heard()]


@pytest.fixture
def house() -> Iterator[House]:
    house = House()
    yield house
    house.port.close()
    house.listener.socket.close()


def test_a_guest_is_sent_the_opus_that_was_sealed_with_its_level_and_time(house: House):
    house.come()
    sent = [house.says(house.ana, ANA) for _ in range(10)]
    keys = {KID: (SealKey(KID, BASE),)}
    frames = [open_sealed(keys, data[20:]).plaintext for data in sent]
    heard = house.heard()
    assert [each.payload for each in heard] == frames
    assert {each.timestamp - heard[0].timestamp for each in heard} == {960 * n for n in range(10)}
    assert {each.ssrc for each in heard} == {SLOTS[0]}
    assert house.room.holders == (source_of(ANA), 0, 0, 0)


def test_what_is_no_true_packet_of_the_voice_is_not_heard(house: House):
    """Security: forged, repeated, at a time that cannot be, or of somebody without a key."""
    house.come()
    good = house.says(house.ana, ANA)
    assert len(house.heard()) == 1
    later = a_voice(ANA)
    for _ in range(3):
        later.next_packet(tone(0))
    wrong = later.next_packet(tone(0))
    assert wrong is not None
    moved = wrong[:4] + bytes([wrong[4] ^ 1]) + wrong[5:]
    broken = wrong[:-1] + bytes([wrong[-1] ^ 1])
    stranger = a_voice(BEN).next_packet(tone(0))
    assert stranger is not None
    for ssrc, data in ((ANA, good), (ANA, moved), (ANA, broken), (BEN, stranger), (ANA, b"")):
        house.ear.hear(house.now_s, ssrc, data)
    assert house.heard() == []


def test_a_voice_without_a_key_is_heard_no_more(house: House):
    """Security: as of somebody who was muted by a moderator, or of a room that was closed."""
    house.come()
    house.says(house.ana, ANA)
    house.ear.set_keys([])
    assert house.room.holders == (0, 0, 0, 0)
    house.heard()
    house.says(house.ana, ANA)
    assert house.heard() == []


def test_a_voice_under_keys_that_are_no_more_is_not_heard(house: House):
    house.come()
    house.says(house.ana, ANA)
    assert len(house.heard()) == 1
    house.ear.set_keys([VoiceKeyRow(ANA, KID, bytes(16), house.ana.akey)])
    house.says(house.ana, ANA)
    assert house.heard() == []


def test_other_guests_hear_who_spoke_to_those_before(house: House):
    former, house.room = house.room, GuestRoom(SLOTS, os.urandom)
    former.add_listener(0.0, GUEST, house.listener.sink, 4)
    house.says(house.ana, ANA)
    house.ear.lead_to(house.room)
    assert former.holders == (0, 0, 0, 0)
    former.remove(GUEST)
    again = Listener(house.port)
    house.room.add_listener(0.0, GUEST, again.sink, 4)
    house.says(house.ana, ANA)
    assert len(again.heard()) == 1
    again.socket.close()


def test_a_forged_voice_is_heard_no_more_and_told_of(house: House):
    """Security: everybody has the keys of an open room, and might speak as Ana."""
    house.come()
    forger = a_voice(ANA)
    for _ in range(20):
        house.says(forger, ANA, audited=False, loud=0.5)
    for _ in range(20):
        house.says(house.ana, ANA)  # whose proofs say something else of the same frames
    assert house.failed == [ANA]
    house.heard()
    house.says(forger, ANA)
    house.says(house.ana, ANA)
    assert house.heard() == []
    assert house.failed == [ANA]
    house.ear.set_keys([])
    house.ear.set_keys([key_of(house.ana, ANA)])  # she has come again
    house.says(house.ana, ANA)
    assert len(house.heard()) == 1


def test_a_voice_without_proof_is_heard_for_three_seconds(house: House):
    """Security: anybody might speak as Ana; but she may be on a line that drops her proofs."""
    house.come()
    while house.now_s < 3.0:
        house.says(house.ana, ANA, audited=False)
    house.heard()
    house.says(house.ana, ANA, audited=False)
    assert house.heard() == []
    for _ in range(60):
        house.says(house.ana, ANA)
    assert house.heard()
    assert house.failed == []


def test_while_no_guest_listens_nothing_is_opened(house: House):
    for _ in range(200):  # more than may go unproved, and none of them counts
        house.says(house.ana, ANA, audited=False)
    house.come()
    for _ in range(200):
        house.says(house.ana, ANA)
    assert house.failed == []
    assert len(house.heard()) == 200
    house.room.remove(GUEST)
    house.says(house.ana, ANA)
    assert house.room.holders == (0, 0, 0, 0)


def test_audits_leave_no_gap_in_what_a_guest_is_sent(house: House):
    """A player waits for what seems lost, and drops what comes meanwhile."""
    house.come()
    for _ in range(120):
        house.says(house.ana, ANA)
    heard = house.heard()
    assert len(heard) == 120
    assert [each.seq - heard[0].seq for each in heard] == list(range(120))


def test_what_comes_late_around_an_audit_has_its_place(house: House):
    house.come()
    sent = []
    for _ in range(40):
        data = house.ana.next_packet(tone(0))
        assert data is not None
        sent.append(data)
        audit = house.ana.next_audit()
        if audit is not None:
            sent.append(audit)
    kinds = [packet.parse(data).payload_type for data in sent]
    at = kinds.index(packet.PT_AUDIT)
    sent[at - 1], sent[at] = sent[at], sent[at - 1]  # a frame comes after the audit
    second = at + 1 + kinds[at + 1 :].index(packet.PT_AUDIT)
    late = sent.pop(second)
    sent.insert(second + 1, late)  # and an audit after the frame that follows it: it leaves a gap
    for data in sent:
        house.ear.hear(0.0, ANA, data)
    heard = house.heard()
    stamps = [(each.timestamp - heard[0].timestamp) // 960 for each in heard]
    seqs = [each.seq - heard[0].seq for each in heard]
    assert sorted(stamps) == list(range(40))
    gaps = [seq - stamp for stamp, seq in zip(stamps, seqs, strict=True)]
    assert sorted(gaps) == gaps
    assert {*gaps} == {0, 1}
    assert gaps.index(1) == second - 1
