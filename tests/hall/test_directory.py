import math
from itertools import permutations

import pytest

from p2phouse.errors import PeerError
from p2phouse.hall.card import RoomCard, make_card
from p2phouse.hall.directory import (
    CARDS_PER_ROOM_MAX,
    ROOMS_PER_KEY_MAX,
    Directory,
    NoSuchRoom,
    SeveralRooms,
)
from p2phouse.identity.keys import Me
from p2phouse.record import cbor, envelope, limits
from p2phouse.record.envelope import Signed
from p2phouse.record.types import Act, Entry, Genesis
from p2phouse.vocabulary import RoomId
from tests.hall.rooms import UNIX, at, card, person, room

ANA, BEN = person(1), person(2)
TEA = room(ANA, "Tea")
TALK = room(BEN, "Talk")
TEA_ID, TALK_ID = RoomId(TEA.id), RoomId(TALK.id)


def titles(directory: Directory, after_s: float = 0) -> list[str]:
    return [each.genesis.record.title for each in directory.live(at(after_s))]


def test_a_card_is_news_once():
    directory = Directory()
    data = card(ANA, TEA).data
    heard = directory.receive(at(0), data)
    assert heard is not None
    assert heard.room == TEA_ID
    assert directory.receive(at(1), data) is None
    assert directory.get(TEA_ID, at(1)) == heard
    assert directory.get(TALK_ID, at(1)) is None


def test_of_a_room_s_cards_the_highest_seq_counts_in_whatever_order_they_come():
    cards = [card(ANA, TEA, seq=seq, now=at(seq)).data for seq in (1, 2, 3)]
    for order in permutations(cards):
        directory = Directory()
        for data in order:
            directory.receive(at(3), data)
        (live,) = directory.live(at(3))
        assert live.card.record.seq == 3


def test_two_cards_of_one_seq_are_settled_alike_everywhere():
    pair = [card(ANA, TEA, seq=1, now=at(after_s)) for after_s in (0, 1)]
    winners = set()
    for order in permutations(pair):
        directory = Directory()
        for each in order:
            directory.receive(at(1), each.data)
        winners.add(directory.live(at(1))[0].card.id)
    assert winners == {max(each.id for each in pair)}


def test_rooms_are_listed_with_the_newest_card_first():
    directory = Directory()
    for number in (2, 3, 1):
        directory.receive(at(0), card(ANA, room(ANA, f"room {number}"), seq=number).data)
    assert titles(directory) == ["room 3", "room 2", "room 1"]


def test_a_room_is_listed_until_its_card_runs_out():
    directory = Directory()
    directory.receive(at(0), card(ANA, TEA).data)
    assert directory.deadline_unix == UNIX + 600
    assert titles(directory, 599) == ["Tea"]
    assert directory.expire(at(599)) == []
    assert titles(directory, 600) == []
    assert directory.get(TEA_ID, at(600)) is None
    (gone,) = directory.expire(at(600))
    assert gone.room == TEA_ID
    assert directory.deadline_unix == math.inf
    assert directory.expire(at(601)) == []


def test_the_next_to_run_out_decides_when_to_look_again():
    directory = Directory()
    directory.receive(at(0), card(ANA, TEA, ttl_s=100).data)
    directory.receive(at(0), card(BEN, TALK, ttl_s=300).data)
    assert directory.deadline_unix == UNIX + 100
    assert [gone.room for gone in directory.expire(at(100))] == [TEA_ID]
    assert directory.deadline_unix == UNIX + 300


def test_a_refreshed_room_lives_on():
    directory = Directory()
    directory.receive(at(0), card(ANA, TEA, seq=1).data)
    assert directory.receive(at(240), card(ANA, TEA, seq=2, now=at(240)).data) is not None
    assert directory.expire(at(600)) == []
    assert titles(directory, 839) == ["Tea"]
    assert [gone.room for gone in directory.expire(at(840))] == [TEA_ID]


# ── tombstones ───────────────────────────────────────────────────────────────────────────────


def test_a_tombstone_takes_a_room_off_the_list_and_no_older_card_brings_it_back():
    directory = Directory()
    old = card(ANA, TEA, seq=1).data
    directory.receive(at(0), old)
    stone = directory.receive(at(10), card(ANA, TEA, seq=2, ttl_s=0, now=at(10)).data)
    assert stone is not None
    assert stone.is_tombstone
    assert titles(directory, 10) == []
    assert directory.get(TEA_ID, at(10)) is None
    for after_s in (11, 500, 720):
        directory.expire(at(after_s))
        assert directory.receive(at(after_s), old) is None
        assert titles(directory, after_s) == []


def test_a_tombstone_is_forgotten_once_no_older_card_could_come_and_that_is_no_news():
    directory = Directory()
    directory.receive(at(0), card(ANA, TEA, seq=2, ttl_s=0).data)
    assert directory.expire(at(719)) == []
    assert directory.deadline_unix == UNIX + 720
    assert directory.expire(at(720)) == []
    assert directory.deadline_unix == math.inf
    with pytest.raises(PeerError):
        directory.receive(at(721), card(ANA, TEA, seq=1).data)


def test_a_tombstone_wins_over_a_card_of_its_seq_in_either_order():
    stone, living = card(ANA, TEA, seq=1, ttl_s=0).data, card(ANA, TEA, seq=1).data
    for order in permutations([stone, living]):
        directory = Directory()
        for data in order:
            directory.receive(at(0), data)
        assert titles(directory) == []


def test_a_newer_card_opens_the_room_again_after_a_tombstone():
    directory = Directory()
    directory.receive(at(0), card(ANA, TEA, seq=1, ttl_s=0).data)
    directory.receive(at(1), card(ANA, TEA, seq=2, now=at(1)).data)
    assert titles(directory, 1) == ["Tea"]


def test_a_tombstone_from_the_future_cannot_occupy_a_place_for_ever():
    directory = Directory()
    with pytest.raises(PeerError):
        directory.receive(at(0), card(ANA, TEA, ttl_s=0, now=at(121)).data)
    directory.receive(at(0), card(ANA, TEA, ttl_s=0, now=at(120)).data)
    assert directory.deadline_unix <= UNIX + 840


# ── several publishers ───────────────────────────────────────────────────────────────────────


def seated(me: Me, by: Me = ANA, genesis: Signed[Genesis] = TEA) -> bytes:
    """What proves that the room's creator seated the person."""
    grant = Entry(
        genesis.id,
        by.uid,
        by.dev,
        by.record.id,
        genesis.id,
        None,
        Act.GRANT,
        me.uid,
        "moderator",
        (),
        None,
    )
    return cbor.encode([envelope.sign(grant, by.device_key).data, me.record.data])


def moderator_card(
    me: Me, after_s: float, *, seq: int = 1, ttl_s: int = 600, genesis: Signed[Genesis] = TEA
) -> bytes:
    return make_card(
        me,
        genesis,
        seq=seq,
        speakers=1,
        listeners=0,
        addrs=(),
        ttl_s=ttl_s,
        now=at(after_s),
        grant=seated(me, genesis=genesis),
    ).data


def test_a_room_with_several_cards_is_listed_once_by_the_freshest():
    cards = [card(ANA, TEA, seq=9).data, moderator_card(BEN, 5), moderator_card(person(3), 3)]
    for order in permutations(cards):
        directory = Directory()
        for data in order:
            assert directory.receive(at(5), data) is not None
        (live,) = directory.live(at(5))
        assert live.publisher == BEN.dev
        assert directory.get(TEA_ID, at(5)) == live
        assert [each.publisher for each in directory.of(ANA.dev, at(5))] == [ANA.dev]


def test_a_tombstone_takes_off_the_cards_of_its_publisher_alone():
    directory = Directory()
    directory.receive(at(0), card(ANA, TEA).data)
    directory.receive(at(1), moderator_card(BEN, 1))
    directory.receive(at(2), card(ANA, TEA, seq=2, ttl_s=0, now=at(2)).data)
    assert titles(directory, 2) == ["Tea"]
    assert directory.of(ANA.dev, at(2)) == []
    directory.receive(at(3), moderator_card(BEN, 3, seq=2, ttl_s=0))
    assert titles(directory, 3) == []
    assert directory.receive(at(4), moderator_card(BEN, 1)) is None
    assert titles(directory, 4) == []


def test_a_room_is_gone_when_the_last_of_its_cards_is():
    directory = Directory()
    directory.receive(at(0), card(ANA, TEA).data)
    directory.receive(at(100), moderator_card(BEN, 100))
    assert directory.expire(at(600)) == []
    assert titles(directory, 600) == ["Tea"]
    assert [gone.room for gone in directory.expire(at(700))] == [TEA_ID]
    assert directory.deadline_unix == math.inf


def test_eight_cards_of_a_room_are_kept_and_the_latest_stay():
    directory = Directory()
    people = [person(number) for number in range(10, 10 + CARDS_PER_ROOM_MAX + 1)]
    for number, me in enumerate(people):
        assert directory.receive(at(number), moderator_card(me, number)) is not None
    kept = [me for me in people if directory.of(me.dev, at(10))]
    assert kept == people[1:]
    assert len(kept) == CARDS_PER_ROOM_MAX == 8
    assert titles(directory, 10) == ["Tea"]


def test_the_rooms_of_others_count_towards_the_ten_that_one_key_may_list():
    directory = Directory()
    for number in range(ROOMS_PER_KEY_MAX):
        directory.receive(at(0), card(BEN, room(BEN, nonce=number)).data)
    assert directory.receive(at(0), moderator_card(BEN, 0)) is None
    assert directory.receive(at(0), card(ANA, TEA).data) is not None
    assert directory.receive(at(0), moderator_card(BEN, 0)) is None


# ── caps ─────────────────────────────────────────────────────────────────────────────────────


def test_ten_rooms_of_one_key_are_kept_and_no_more():
    directory = Directory()
    for number in range(ROOMS_PER_KEY_MAX):
        assert directory.receive(at(0), card(ANA, room(ANA, nonce=number)).data) is not None
    assert directory.refused == 0
    eleventh = card(ANA, room(ANA, nonce=ROOMS_PER_KEY_MAX)).data
    assert directory.receive(at(0), eleventh) is None
    assert directory.refused == 1
    assert directory.receive(at(0), card(BEN, TALK).data) is not None
    refreshed = card(ANA, room(ANA, nonce=0), seq=2).data
    assert directory.receive(at(0), refreshed) is not None, "one that is known is no new one"
    directory.expire(at(600))
    later = card(ANA, room(ANA, nonce=ROOMS_PER_KEY_MAX), now=at(600)).data
    assert directory.receive(at(600), later) is not None


def test_2000_rooms_are_kept_and_no_more():
    directory = Directory()
    people = [person(number) for number in range(limits.ROOMS_CACHED_MAX // ROOMS_PER_KEY_MAX)]
    rooms = [(me, room(me, nonce=number)) for me in people for number in range(ROOMS_PER_KEY_MAX)]
    assert len(rooms) == limits.ROOMS_CACHED_MAX == 2_000
    for me, genesis in rooms:
        assert directory.receive(at(0), card(me, genesis).data) is not None
    stranger = person(9_999)
    assert directory.receive(at(0), card(stranger, room(stranger)).data) is None
    assert directory.refused == 1
    assert len(directory.live(at(0))) == 2_000
    me, genesis = rooms[0]
    assert directory.receive(at(0), card(me, genesis, seq=2).data) is not None


def test_our_own_room_is_listed_whatever_the_caps_and_the_clock_say():
    directory = Directory()
    for number in range(ROOMS_PER_KEY_MAX):
        directory.receive(at(0), card(ANA, room(ANA, nonce=number)).data)
    ours = room(ANA, "Ours")
    own = card(ANA, ours, seq=9, now=at(500))  # our clock ran ahead, and was put right
    with pytest.raises(PeerError):
        directory.receive(at(0), own.data)
    directory.keep(RoomCard(own, ours))
    assert titles(directory)[0] == "Ours"
    assert directory.get(RoomId(ours.id), at(0)) is not None
    assert [gone.room for gone in directory.expire(at(1_100))][-1] == RoomId(ours.id)


def test_what_is_no_card_changes_nothing():
    directory = Directory()
    for data in (b"", TEA.data, card(BEN, TEA).data):
        with pytest.raises(PeerError):
            directory.receive(at(0), data)
    assert directory.live(at(0)) == []


# ── finding ──────────────────────────────────────────────────────────────────────────────────


def directory_of_two() -> Directory:
    directory = Directory()
    directory.receive(at(0), card(ANA, TEA).data)
    directory.receive(at(0), card(BEN, TALK).data)
    return directory


def test_a_room_is_found_by_its_title_or_by_the_beginning_of_its_id():
    directory = directory_of_two()
    for text in ("Tea", " tEA ", TEA_ID.hex(), TEA_ID.hex()[:4], TEA_ID.hex()[:8].upper()):
        assert directory.find(text, at(0)).room == TEA_ID


@pytest.mark.parametrize("text", ["", "Te", "coffee", TEA_ID.hex()[:3], TEA_ID.hex() + "0"])
def test_what_names_no_room_is_told_so(text):
    with pytest.raises(NoSuchRoom, match="p2phouse rooms"):
        directory_of_two().find(text, at(0))


def test_a_title_that_two_rooms_have_needs_more_of_the_id():
    directory = directory_of_two()
    second = room(BEN, "tea")
    directory.receive(at(0), card(BEN, second).data)
    with pytest.raises(SeveralRooms, match="fits 2 rooms"):
        directory.find("Tea", at(0))
    assert directory.find(second.id.hex(), at(0)).room == RoomId(second.id)


def test_a_room_that_is_over_is_not_found():
    directory = directory_of_two()
    with pytest.raises(NoSuchRoom):
        directory.find("Tea", at(600))


def test_the_rooms_of_one_person_are_told_apart():
    directory = directory_of_two()
    assert [each.room for each in directory.of(ANA.dev, at(0))] == [TEA_ID]
    assert directory.of(person(3).dev, at(0)) == []
