"""Who may come in, and who leaves when it is full."""

from ipaddress import ip_address, ip_network

import pytest

from p2phouse.net.door import (
    ARRIVALS_BURST,
    ARRIVALS_FAR_BURST,
    ARRIVALS_NEAR_BURST,
    GIVES_WAY_S,
    HANDSHAKES_FAR_MAX,
    HANDSHAKES_MAX,
    HANDSHAKES_NEAR_MAX,
    Door,
    crowd_of,
    is_near,
    to_close,
)

HOME = [ip_network("127.0.0.0/8"), ip_network("192.168.1.0/24")]


@pytest.fixture
def door():
    return Door(lambda: HOME)


@pytest.fixture
def gone():
    return []


def knock(door, gone, text, now=0.0):
    ip = ip_address(text)
    return door.enter(now, ip, lambda: gone.append(text))


def far(number):
    """An address in a neighbourhood of its own."""
    return f"203.{number // 256}.{number % 256}.1"


def test_a_neighbourhood_far_away_has_eight_places_and_no_ninth(door, gone):
    for number in range(HANDSHAKES_FAR_MAX):
        assert knock(door, gone, f"203.0.113.{number}")
    assert knock(door, gone, "203.0.113.99") is None
    assert knock(door, gone, "203.0.114.1"), "another neighbourhood has its own"
    assert gone == []


def test_six_addresses_count_by_their_48(door, gone):
    for number in range(HANDSHAKES_FAR_MAX):
        assert knock(door, gone, f"2001:db8:7:{number}::1")
    assert knock(door, gone, "2001:db8:7:ffff::1") is None
    assert knock(door, gone, "2001:db8:8::1")


def test_neighbours_on_our_own_network_count_each_for_itself(door, gone):
    for number in range(1, 31):
        for _ in range(3):
            assert knock(door, gone, f"192.168.1.{number}", now=0.0)
    assert gone == []


def test_an_address_nearby_has_sixty_four_places_and_no_more(door, gone):
    for _ in range(HANDSHAKES_NEAR_MAX):
        assert knock(door, gone, "127.0.0.1")
    assert knock(door, gone, "127.0.0.1") is None


def test_all_together_have_ninety_six_places_and_no_more(door, gone):
    for number in range(HANDSHAKES_MAX):
        assert knock(door, gone, far(number))
    assert knock(door, gone, far(9_999)) is None


def test_one_that_ended_frees_its_place(door, gone):
    places = [knock(door, gone, "203.0.113.1") for _ in range(HANDSHAKES_FAR_MAX)]
    door.leave(places[3])
    assert knock(door, gone, "203.0.113.2")


def test_the_oldest_gives_way_once_an_honest_handshake_would_be_over(door, gone):
    for number in range(HANDSHAKES_FAR_MAX):
        knock(door, gone, f"203.0.113.{number}", now=number * 0.01)
    assert knock(door, gone, "203.0.113.99", now=GIVES_WAY_S - 0.01) is None
    assert knock(door, gone, "203.0.113.99", now=GIVES_WAY_S)
    assert gone == ["203.0.113.0"]


def test_silent_ones_from_everywhere_give_way_too(door, gone):
    for number in range(HANDSHAKES_MAX):
        knock(door, gone, far(number))
    assert knock(door, gone, "192.168.1.7", now=GIVES_WAY_S)
    assert gone == [far(0)]


@pytest.mark.parametrize(
    ("text", "burst"), [("203.0.113.1", ARRIVALS_FAR_BURST), ("127.0.0.1", ARRIVALS_NEAR_BURST)]
)
def test_arrivals_in_a_burst_are_counted_even_if_they_end_at_once(door, gone, text, burst):
    for _ in range(int(burst)):
        door.leave(knock(door, gone, text))
    assert knock(door, gone, text) is None


def test_those_from_far_away_share_a_bucket_however_many_neighbourhoods_they_are(door, gone):
    for number in range(int(ARRIVALS_BURST)):
        door.leave(knock(door, gone, far(number)))
    assert knock(door, gone, far(9_999)) is None
    assert knock(door, gone, "192.168.1.7"), "which leaves neighbours alone"


def test_near_is_this_machine_and_what_it_is_attached_to():
    assert is_near(ip_address("127.0.0.1"), [])
    assert is_near(ip_address("192.168.1.9"), HOME)
    assert not is_near(ip_address("192.168.2.9"), HOME)
    assert not is_near(ip_address("2001:db8::1"), HOME)


def test_of_a_full_house_the_youngest_of_the_biggest_crowd_leaves():
    few = [("ana", "north", 1.0), ("ben", "south", 9.0)]
    many = [("x1", "east", 2.0), ("x2", "east", 4.0), ("x3", "east", 3.0)]
    assert to_close([*few, *many]) == "x2"


def test_of_strangers_from_everywhere_the_last_to_come_leaves():
    assert to_close([("ana", 1, 1.0), ("ben", 2, 3.0), ("carla", 3, 2.0)]) == "ben"


def test_of_nobody_nobody_leaves():
    assert to_close([]) is None


def test_a_crowd_is_an_address_at_home_and_a_neighbourhood_elsewhere():
    assert crowd_of(ip_address("192.168.1.9"), HOME) == ip_address("192.168.1.9")
    assert crowd_of(ip_address("203.0.113.9"), HOME) == ip_network("203.0.113.0/24")
    assert crowd_of(ip_address("2001:db8:1:2::9"), HOME) == ip_network("2001:db8:1::/48")
