"""The mixer by what it is told, given and says: voices come in, pieces of a stream go out."""

from p2phouse import channel
from p2phouse.channel import CloseGuestRoom, GuestSlots, Mixed, NewGuestRoom, SendOn
from p2phouse.vocabulary import FRAME_S, HERE
from p2phouse_relay.mixer import LATE_TICKS_MAX, Mixer
from tests.guest.test_mix import SLOTS, Voice, sound, tones

TEA, SONG = 1, 2


class House:
    def __init__(self) -> None:
        self.said: list[channel.Up] = []
        self.mixer = Mixer(self.said.append)
        self.now_s = 1_000.0
        for room in (TEA, SONG):
            self.mixer.perform(self.now_s, NewGuestRoom(room, SLOTS))
            self.mixer.perform(self.now_s, SendOn(room, (0,)))

    def goes_on(self, ticks: int, *voices: tuple[int, Voice]) -> None:
        for _ in range(ticks):
            for room, voice in voices:
                self.mixer.receive(self.now_s, room, voice.source, voice.say())
            self.now_s += FRAME_S
            self.mixer.tick(self.now_s)

    def heard(self, room: int) -> bytes:
        mixed = [each for each in self.said if isinstance(each, Mixed) and each.room == room]
        return b"".join(each.cluster for each in mixed)


def test_each_room_is_a_stream_of_its_own():
    house = House()
    house.goes_on(150, (TEA, Voice(1, 400)), (SONG, Voice(2, 1_100)))
    assert tones(sound(house.heard(TEA))) == {400}
    assert tones(sound(house.heard(SONG))) == {1_100}
    slots = [each for each in house.said if isinstance(each, GuestSlots)]
    assert {each.room: each.holders for each in slots} == {
        TEA: (1, HERE, HERE, HERE),
        SONG: (2, HERE, HERE, HERE),
    }


def test_a_room_that_is_closed_is_said_no_more_of_and_costs_nothing():
    house = House()
    house.mixer.perform(house.now_s, CloseGuestRoom(TEA))
    house.mixer.receive(house.now_s, TEA, Voice(1, 400).source, Voice(1, 400).say())
    house.goes_on(10)
    assert house.heard(TEA) == b""
    assert house.heard(SONG)
    house.mixer.perform(house.now_s, CloseGuestRoom(SONG))
    assert house.mixer.deadline == float("inf")


def test_ticks_that_came_late_are_made_up_for_and_after_a_stall_time_moves_on():
    house = House()
    house.now_s += (LATE_TICKS_MAX - 1) * FRAME_S
    house.mixer.tick(house.now_s)
    before = len(sound(house.heard(TEA)))
    assert before > 0
    house.now_s += 60.0
    house.goes_on(10)
    assert len(sound(house.heard(TEA))) < before + 48_000
