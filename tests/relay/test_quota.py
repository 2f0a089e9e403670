"""What a relay carries, and from when on it sends people elsewhere."""

import pytest

from p2phouse.vocabulary import Now, RoomId
from p2phouse_relay.quota import LISTENER_KBPS, Ledger, Place, Pressure, Whose
from p2phouse_relay.traffic import GB, Traffic

TEA, CHOIR = RoomId(b"t" * 32), RoomId(b"c" * 32)


@pytest.fixture
def ledger() -> Ledger:
    ledger = Ledger(rooms_max=10, kbps_max=10_000)
    ledger.take(TEA, b"ana", listeners_max=100, kbps_max=5_000)
    return ledger


@pytest.mark.parametrize(
    ("listeners", "kbps", "pressure"),
    [
        (0, 0, Pressure.NONE),
        (89, 4_499, Pressure.NONE),
        (90, 0, Pressure.NEARLY),
        (0, 4_500, Pressure.NEARLY),
        (99, 4_999, Pressure.NEARLY),
        (100, 0, Pressure.FULL),
        (0, 5_000, Pressure.FULL),
    ],
)
def test_a_room_is_nearly_full_at_nine_tenths_and_full_at_the_whole(
    ledger, listeners, kbps, pressure
):
    ledger.measured(TEA, listeners=listeners, kbps=kbps)
    assert ledger.pressure_of(TEA) is pressure
    new = {Pressure.NONE: Place.HERE, Pressure.NEARLY: Place.ELSEWHERE}
    assert ledger.place_for(TEA, Whose.NEW) is new.get(pressure, Place.NOWHERE)
    assert ledger.place_for(TEA, Whose.SPEAKER) is Place.HERE
    assert ledger.place_for(TEA, Whose.KNOWN) is Place.HERE


def test_what_all_rooms_send_together_keeps_new_people_out_of_each(ledger):
    ledger.take(CHOIR, b"ben", listeners_max=100, kbps_max=9_000)
    ledger.measured(TEA, listeners=10, kbps=1_000)
    ledger.measured(CHOIR, listeners=10, kbps=7_999)
    assert ledger.pressure is Pressure.NONE
    ledger.measured(CHOIR, listeners=10, kbps=8_000)
    assert ledger.pressure is ledger.pressure_of(TEA) is Pressure.NEARLY
    assert ledger.place_for(TEA, Whose.NEW) is Place.ELSEWHERE


def test_rooms_are_counted_by_who_has_them_and_in_all(ledger):
    assert ledger.rooms_of(b"ana") == 1
    assert not ledger.is_full_of_rooms
    for number in range(8):
        ledger.take(RoomId(bytes([number]) * 32), b"ben", listeners_max=1, kbps_max=1)
    assert ledger.rooms_of(b"ben") == 8
    assert ledger.is_full_of_rooms, "nine of ten are nine tenths"
    ledger.drop(TEA)
    assert ledger.rooms_of(b"ana") == 0
    assert not ledger.is_full_of_rooms


def test_a_relay_for_one_room_takes_one():
    ledger = Ledger(rooms_max=1, kbps_max=1_000)
    assert not ledger.is_full_of_rooms
    ledger.take(TEA, b"ana", listeners_max=10, kbps_max=1_000)
    assert ledger.is_full_of_rooms


def test_as_many_links_are_offered_as_there_is_something_left_for(ledger):
    ledger.measured(TEA, listeners=10, kbps=1_660)
    assert ledger.links_for(TEA, 12) == 12 + (5_000 - 1_660) // LISTENER_KBPS
    ledger.measured(TEA, listeners=95, kbps=1_660)
    assert ledger.links_for(TEA, 97) == 97, "whoever is there stays"


def test_what_one_account_sends_in_all_its_rooms_counts_together(ledger):
    ledger.take(CHOIR, b"ana", listeners_max=100, kbps_max=5_000)
    ledger.measured(TEA, listeners=5, kbps=2_000)
    ledger.measured(CHOIR, listeners=5, kbps=2_499)
    assert ledger.pressure_of(TEA) is Pressure.NONE
    assert not ledger.is_spent(b"ana")
    ledger.measured(CHOIR, listeners=5, kbps=2_500)
    assert ledger.pressure_of(TEA) is ledger.pressure_of(CHOIR) is Pressure.NEARLY
    assert ledger.is_spent(b"ana")
    assert not ledger.is_spent(b"ben")
    assert ledger.links_for(TEA, 7) == 7


def test_guests_of_a_room_are_listeners_of_it_on_its_account(ledger):
    ledger.measured(TEA, listeners=60, kbps=2_000)
    ledger.visited(TEA, guests=29, kbps=1_000)
    assert (ledger.kbps, ledger.place_for(TEA, Whose.NEW)) == (3_000, Place.HERE)
    ledger.visited(TEA, guests=30, kbps=1_000)
    assert ledger.place_for(TEA, Whose.NEW) is Place.ELSEWHERE
    ledger.visited(TEA, guests=20, kbps=2_500)
    assert ledger.pressure_of(TEA) is Pressure.NEARLY, "nine tenths of the account's kb/s"


NOW = Now(0.0, 1_800_000_000.0)


def test_what_a_room_sends_is_on_its_account_s_month_and_what_it_may_ends_with_it():
    ledger = Ledger(rooms_max=10, kbps_max=10_000, traffic=Traffic(gb_each_max=1))
    ledger.take(TEA, b"ana", listeners_max=100, kbps_max=5_000)
    ledger.take(CHOIR, b"ben", listeners_max=100, kbps_max=5_000)
    ledger.measured(TEA, listeners=10, kbps=4_000)
    ledger.sent(NOW, 1_799.0)  # 4 Mb/s for half an hour is 0.9 GB
    assert ledger.pressure_of(TEA) is Pressure.NONE
    ledger.sent(NOW, 1.0)
    assert ledger.pressure_of(TEA) is Pressure.NEARLY
    assert ledger.place_for(TEA, Whose.NEW) is Place.ELSEWHERE
    assert ledger.links_for(TEA, 12) == 12, "whoever is there stays"
    ledger.sent(NOW, 200.0)
    assert ledger.pressure_of(TEA) is Pressure.FULL
    assert ledger.pressure_of(CHOIR) is Pressure.NONE


def test_what_all_have_sent_this_month_keeps_new_people_out_of_each(ledger):
    ledger.traffic.gb_max = 10
    ledger.traffic.add(NOW, 9 * GB)
    assert ledger.pressure is ledger.pressure_of(TEA) is Pressure.NEARLY
    ledger.traffic.add(NOW, GB)
    assert ledger.place_for(TEA, Whose.NEW) is Place.NOWHERE
    assert ledger.place_for(TEA, Whose.KNOWN) is Place.HERE
