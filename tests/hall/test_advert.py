import math
import random
from dataclasses import dataclass

import pytest

from p2phouse.hall.advert import Advert
from p2phouse.hall.card import read_card
from p2phouse.record.envelope import Signed
from p2phouse.record.types import Genesis
from tests.hall.rooms import at, person, room
from tests.record.samples import LAN_ADDRESS

ANA = person(1)


@dataclass
class Room:
    genesis: Signed[Genesis] | None
    people: int = 1
    on_stage_count: int = 1


TEA = Room(room(ANA))


def begun(after_s: float = 0, seed: int = 1) -> Advert:
    advert = Advert(ANA, rng=random.Random(seed))
    advert.begin(at(after_s))
    return advert


def test_nothing_is_due_before_a_room_is_ours():
    advert = Advert(ANA, rng=random.Random(1))
    assert advert.due == math.inf
    advert.changed(at(0))
    assert advert.due == math.inf
    assert advert.end(at(0), TEA) is None


def test_a_new_room_is_told_at_once_with_what_is_so_now():
    advert = begun()
    assert advert.due == at(0).mono
    told = advert.card(at(0), Room(TEA.genesis, people=5, on_stage_count=3), (LAN_ADDRESS,))
    assert told is not None
    card = read_card(told.data, at(0)).card.record
    assert (card.nspk, card.nlis, card.ttl, card.at) == (3, 2, 600, (LAN_ADDRESS,))


def test_a_card_is_refreshed_each_four_minutes_give_or_take_a_fifth():
    pauses = set()
    for seed in range(200):
        advert = begun(seed=seed)
        advert.card(at(0), TEA, ())
        pauses.add(advert.due - at(0).mono)
    assert min(pauses) >= 192
    assert max(pauses) <= 288
    assert max(pauses) - min(pauses) > 80, "or all nodes would publish at once"
    assert max(pauses) * 2 < 600, "one lost refresh must be survived"


def test_a_change_is_told_at_once_but_not_twice_within_a_minute():
    advert = begun()
    advert.card(at(0), TEA, ())
    advert.changed(at(10))
    assert advert.due == at(60).mono
    advert.changed(at(20))
    assert advert.due == at(60).mono
    advert.card(at(60), TEA, ())
    advert.changed(at(130))
    assert advert.due == at(130).mono


def test_a_change_never_puts_a_refresh_off():
    advert = begun()
    advert.card(at(0), TEA, ())
    refresh = advert.due
    advert.changed(at(refresh - at(0).mono - 1))
    assert advert.due == refresh - 1


def test_each_card_is_newer_than_the_last_even_if_the_clock_goes_back():
    advert = begun()
    seqs = []
    for after_s in (0, 0, -500, 100):
        told = advert.card(at(after_s), TEA, ())
        assert told is not None
        seqs.append(told.record.seq)
    assert seqs == sorted(set(seqs))
    assert seqs[0] == int(at(0).unix * 1_000)
    assert seqs[-1] == int(at(100).unix * 1_000)


def test_a_card_of_ours_that_others_still_hold_is_outdone_though_our_clock_is_behind():
    advert = begun()
    theirs = int(at(5_000).unix * 1_000)
    advert.saw(theirs)
    advert.saw(7)
    told = advert.card(at(0), TEA, ())
    assert told is not None
    assert told.record.seq == theirs + 1


def test_the_end_of_a_room_is_a_tombstone_newer_than_all_its_cards():
    advert = begun()
    last = advert.card(at(0), TEA, (LAN_ADDRESS,))
    stone = advert.end(at(0), TEA)
    assert last is not None
    assert stone is not None
    read = read_card(stone.data, at(0))
    assert read.is_tombstone
    assert read.card.record.at == ()
    assert stone.record.seq > last.record.seq
    assert advert.due == math.inf
    assert advert.end(at(1), TEA) is None


@pytest.mark.parametrize("nothing", [None, Room(None)])
def test_without_a_room_there_is_nothing_to_tell_and_nothing_due(nothing):
    advert = begun()
    assert advert.card(at(0), nothing, ()) is None
    assert advert.due == math.inf


def test_who_hands_the_list_over_publishes_no_more_and_takes_its_card_back_on_leaving():
    advert = begun()
    advert.card(at(0), TEA, ())
    advert.stop()
    assert advert.due == math.inf
    advert.changed(at(1))
    assert advert.due == math.inf
    stone = advert.end(at(599), TEA)
    assert stone is not None
    assert stone.record.ttl == 0
    assert advert.end(at(599), TEA) is None


def test_a_card_that_ran_out_needs_no_tombstone():
    advert = begun()
    advert.card(at(0), TEA, ())
    advert.stop()
    assert advert.end(at(600), TEA) is None


def test_who_takes_the_list_over_again_tells_at_once():
    advert = begun()
    advert.card(at(0), TEA, ())
    advert.stop()
    advert.begin(at(5))
    assert advert.due == at(5).mono
