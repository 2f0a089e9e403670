"""A room of guests over real sockets: who is sent what, at once or together, and when."""

import os
from collections.abc import Iterator

import pytest

from p2phouse.carry.pace import BYTES_PER_S_MAX, PACKETS_AT_ONCE_MAX, PACKETS_PER_S_MAX
from p2phouse.carry.rtcp import decode
from p2phouse.guest.room import AWAY_S, TALKING_S, TOGETHER_S, GuestRoom
from p2phouse.link.port import Port
from p2phouse.vocabulary import FRAME_S, LinkNumber, Ssrc
from p2phouse.voice.packet import PT_OPUS
from p2phouse.voice.plain import Plain, build, parse
from tests.link.test_crowd import Listener

SSRCS = (Ssrc(11), Ssrc(12), Ssrc(13), Ssrc(14))
ANA, BEN = LinkNumber(1), LinkNumber(2)
FAR, NODE = LinkNumber(77), LinkNumber(-5)  # at another process; of a node
PLAIN = Plain(PT_OPUS, False, 1, 960, Ssrc(5), 30, b"\x78far")


class House:
    def __init__(self) -> None:
        self.port = Port("127.0.0.1", 0)
        self.room = GuestRoom(SSRCS, os.urandom)
        self.listeners: list[Listener] = []
        self.now_s = 100.0
        self._seq = 0

    def listener(self, lines: int) -> Listener:
        listener = Listener(self.port)
        self.listeners.append(listener)
        self.room.add_listener(
            self.now_s, LinkNumber(100 + len(self.listeners)), listener.sink, lines
        )
        return listener

    def says(self, link: LinkNumber, word: str) -> None:
        self._seq += 1
        packet = Plain(111, False, self._seq, 960 * self._seq, Ssrc(link), 30, word.encode())
        self.room.receive(self.now_s, link, build(packet))

    def after(self, seconds: float) -> None:
        self.now_s += seconds
        if self.now_s >= self.room.deadline:
            self.room.flush(self.now_s)


@pytest.fixture
def house() -> Iterator[House]:
    house = House()
    for link in (ANA, BEN):
        house.room.add_speaker(link, 111, 0)
    yield house
    house.port.close()
    for each in house.listeners:
        each.socket.close()


def words(listener: Listener) -> list[str]:
    return [parse(data).payload.decode() for data in listener.heard()]


def test_at_first_every_packet_goes_at_once(house: House):
    listener = house.listener(4)
    house.says(ANA, "one")
    assert words(listener) == ["one"]
    assert house.room.deadline == float("inf")


def test_when_voices_go_together_each_waits_for_the_other_but_not_long(house: House):
    listener = house.listener(4)
    house.room.together = True
    house.says(ANA, "a1")
    assert words(listener) == ["a1"]  # alone there is nobody to wait for
    house.after(0.010)
    house.says(BEN, "b1")
    assert words(listener) == []
    house.after(0.010)
    house.says(ANA, "a2")
    assert words(listener) == []
    house.after(TOGETHER_S)
    assert words(listener) == ["b1", "a2"]
    assert house.room.deadline == float("inf")


def test_nobody_waits_for_a_voice_that_is_silent(house: House):
    listener = house.listener(4)
    house.room.together = True
    house.says(BEN, "b1")
    house.after(TALKING_S + 0.01)
    house.says(ANA, "a1")
    assert words(listener) == ["b1", "a1"]


def test_packets_of_one_voice_keep_their_order(house: House):
    listener = house.listener(4)
    house.room.together = True
    for n in range(50):
        house.says(ANA, f"a{n}")
        house.says(BEN, f"b{n}")
        house.after(FRAME_S / 2)
    house.after(TOGETHER_S)
    heard = words(listener)
    assert [word for word in heard if word[0] == "a"] == [f"a{n}" for n in range(50)]
    assert [word for word in heard if word[0] == "b"] == [f"b{n}" for n in range(50)]


def test_what_waits_goes_first_when_voices_go_at_once_again(house: House):
    listener = house.listener(4)
    house.room.together = True
    house.says(ANA, "a1")
    house.says(BEN, "b1")
    house.room.together = False
    house.says(ANA, "a2")
    assert words(listener) == ["a1", "b1", "a2"]


def test_a_listener_of_one_line_hears_one_voice_and_one_of_two_lines_both(house: House):
    one, two = house.listener(1), house.listener(2)
    house.says(ANA, "a1")
    house.says(BEN, "b1")
    assert words(one) == ["a1"]
    assert words(two) == ["a1", "b1"]


def test_whoever_leaves_is_sent_nothing_and_is_no_voice(house: House):
    gone, stays = house.listener(4), house.listener(4)
    house.room.remove(LinkNumber(101))
    house.room.remove(LinkNumber(101))
    house.says(ANA, "a1")
    house.room.remove(ANA)
    assert house.room.holders == (0, 0, 0, 0)
    house.says(ANA, "a2")
    assert words(gone) == []
    assert words(stays) == ["a1"]


def test_reports_count_what_is_lost_and_noise_changes_nothing(house: House):
    for n in (1, 2, 3, 7, 8, 6):
        packet = Plain(111, False, n, 960 * n, Ssrc(ANA), 30, b"word")
        house.room.receive(house.now_s, ANA, build(packet))
    for noise in (b"", b"\x80\xc8\x00\x06", bytes(60), os.urandom(100)):
        house.room.hear_control(house.now_s, ANA, noise)
        house.room.hear_control(house.now_s, LinkNumber(99), noise)
    ((link, data),) = house.room.reports(house.now_s)
    reports = decode(data)
    assert isinstance(reports, tuple)
    (report,) = reports
    assert link == ANA
    assert (report.blocks[0].lost, report.blocks[0].highest_seq) == (2, 8)
    assert 0.2 < report.blocks[0].fraction_lost / 256 <= 0.25
    assert list(house.room.reports(house.now_s)) == []  # nothing new


def test_nobody_begins_to_hear_a_slot_just_before_it_wraps():
    """It would count its wraps one short for good (RFC 3711 §3.3.1)."""
    house = House()
    # The slot's seq begins at 32,767, so that it wraps after 32,768 packets.
    house.room = GuestRoom(SSRCS, lambda size: b"\x7f\xff" * (size // 2))
    house.room.add_speaker(ANA, 111, 0)
    early = house.listener(1)
    for n in range(32_768 - 20):
        house.says(ANA, "old")
        house.after(FRAME_S)
        if n % 1_000 == 0:
            early.heard()
    early.heard()
    late = house.listener(1)
    for _ in range(15):
        house.says(ANA, "before")
    assert words(late) == []
    for _ in range(15):
        house.says(ANA, "after")
    heard = words(late)
    assert heard
    assert set(heard) == {"after"}
    assert words(early)[-15:] == ["after"] * 15
    house.port.close()
    for each in house.listeners:
        each.socket.close()


def test_a_slot_that_fell_silent_just_before_its_wrap_keeps_nobody_out():
    house = House()
    house.room = GuestRoom(SSRCS, lambda size: b"\x7f\xff" * (size // 2))
    for link in (ANA, BEN):
        house.room.add_speaker(link, 111, 0)
    early = house.listener(2)
    for n in range(32_768 - 20):
        house.says(ANA, "old")
        house.after(FRAME_S)
        if n % 1_000 == 0:
            early.heard()
    early.heard()
    for _ in range(100):  # Ana says nothing, and Ben has the other slot
        house.says(BEN, "ben")
        house.after(FRAME_S)
    early.heard()
    late = house.listener(2)
    house.says(BEN, "ben")
    assert words(late) == ["ben"]
    for _ in range(40):
        house.says(ANA, "again")
        house.after(FRAME_S)
    # None from before the wrap: who misses just those would count his wraps one short for good.
    assert [parse(data).seq for data in late.heard()] == [*range(40)]
    assert words(early) == ["ben", *["again"] * 40]
    house.port.close()
    for each in house.listeners:
        each.socket.close()


def test_one_who_floods_is_sent_on_no_faster_than_a_voice(house: House):
    """Others in the room are heard as ever, and so is it once it has calmed down."""
    listener = house.listener(4)
    heard: list[str] = []
    for tick in range(50):
        for _ in range(100):
            house.says(ANA, "flood")
        house.says(BEN, f"b{tick}")
        house.after(FRAME_S)
        heard += words(listener)
    assert [each for each in heard if each != "flood"] == [f"b{tick}" for tick in range(50)]
    assert heard.count("flood") <= PACKETS_AT_ONCE_MAX + PACKETS_PER_S_MAX
    house.after(1.0)
    house.says(ANA, "sorry")
    assert words(listener) == ["sorry"]


def test_one_who_is_as_wide_as_a_picture_is_sent_on_no_wider_than_music(house: House):
    """Few packets, of a kilobyte each. Outcome: what all are sent has a bound in bytes as well; the
    widest music stays below it, and another is heard as ever."""
    listener = house.listener(4)
    heard: list[str] = []
    for _ in range(150):
        house.says(ANA, "p" * 1_200)
        house.says(ANA, "p" * 1_200)
        house.says(BEN, "m" * (320_000 // 8 // 50))
        house.after(FRAME_S)
        heard += words(listener)
    assert sum(word[0] == "m" for word in heard) == 150
    wide = sum(len(word) for word in heard if word[0] == "p")
    assert wide <= 4 * BYTES_PER_S_MAX  # of three seconds, and one at once


# ── voices of other processes ────────────────────────────────────────────────────────────────


def test_what_enters_here_goes_on_once_and_what_came_in_elsewhere_does_not(house: House):
    listener = house.listener(4)
    gone_on: list[tuple[LinkNumber, bytes]] = []
    house.room.send_on = lambda now_s, source, packet: gone_on.append((source, packet.payload))
    house.says(ANA, "a1")
    house.room.enter(house.now_s, NODE, PLAIN._replace(payload=b"n1"))
    house.room.hand_out(house.now_s, FAR, PLAIN._replace(payload=b"f1"))
    assert words(listener) == ["a1", "n1", "f1"]
    assert gone_on == [(ANA, b"a1"), (NODE, b"n1")]


def test_a_guest_who_floods_is_not_sent_on_either(house: House):
    gone_on: list[bytes] = []
    house.room.send_on = lambda now_s, source, packet: gone_on.append(packet.payload)
    for n in range(200):
        house.says(ANA, f"{n}")
    assert 0 < len(gone_on) <= PACKETS_AT_ONCE_MAX


def test_voices_from_elsewhere_have_slots_as_guests_have_and_lose_them_when_they_stay_away(
    house: House,
):
    house.listener(4)

    def talk(source: LinkNumber) -> None:
        house.room.hand_out(house.now_s, source, PLAIN)

    house.says(ANA, "a1")
    talk(FAR)
    assert house.room.holders[:2] == (ANA, FAR)
    house.after(AWAY_S - 0.1)
    talk(NODE)
    house.after(0.2)
    house.room.forget_silent(house.now_s)
    assert house.room.holders == (ANA, 0, NODE, 0)  # a guest stays until it is said to be gone
    talk(FAR)
    assert house.room.holders == (ANA, FAR, NODE, 0)


def test_a_room_is_heard_if_somebody_listens_here_or_elsewhere(house: House):
    assert not house.room.is_heard
    house.room.send_on = lambda now_s, source, packet: None
    assert house.room.is_heard
    house.room.send_on = None
    house.listener(1)
    assert house.room.is_heard
