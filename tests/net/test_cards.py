"""What the network makes of a card before it goes on."""

import random

import pytest

from p2phouse.hall.card import make_card, make_genesis
from p2phouse.identity.keys import make_identity
from p2phouse.net.cards import (
    OWN_ROOMS_MAX,
    REMEMBERED_MAX,
    REMEMBERED_S,
    Cards,
    Judgement,
    Verdict,
    judge,
)
from p2phouse.record.limits import CARD_TTL_S_MAX, CLOCK_SKEW_S_MAX
from p2phouse.record.types import Access
from p2phouse.vocabulary import Now, RoomId

UNIX = 1_800_000_000.0
ANA = make_identity(now=Now(0.0, UNIX), entropy=random.Random(1).randbytes)


def genesis(access=Access.OPEN, nonce=0):
    return make_genesis(
        ANA,
        title="Tea",
        access=access,
        now=Now(0.0, UNIX),
        entropy=lambda size: nonce.to_bytes(size, "big"),
    )


def card(room, *, at=0.0, ttl_s=CARD_TTL_S_MAX):
    now = Now(at, UNIX + at)
    return make_card(ANA, room, seq=1, speakers=1, listeners=0, addrs=(), ttl_s=ttl_s, now=now).data


class Clock:
    def __init__(self):
        self.after = 0.0

    def __call__(self):
        return Now(self.after, UNIX + self.after)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def cards(clock):
    return Cards(judge=judge, clock=clock)


def test_a_good_card_is_told_to_everybody(cards):
    assert cards.verdict(card(genesis())) is Verdict.TELL


def test_a_card_of_a_lan_room_is_told_to_near_ones(cards):
    room = genesis(Access.LAN)
    assert not cards.is_near_only(RoomId(room.id))
    assert cards.verdict(card(room)) is Verdict.TELL_NEAR
    assert cards.is_near_only(RoomId(room.id))


def test_a_card_that_ran_out_is_late_and_not_forged(cards, clock):
    data = card(genesis())
    clock.after = CARD_TTL_S_MAX + CLOCK_SKEW_S_MAX
    assert cards.verdict(data) is Verdict.TELL
    clock.after += 2
    assert cards.verdict(data) is Verdict.LATE


def test_a_card_first_seen_when_it_is_over_is_late_too(cards, clock):
    clock.after = CARD_TTL_S_MAX + CLOCK_SKEW_S_MAX + 2
    assert cards.verdict(card(genesis())) is Verdict.LATE


def test_a_card_from_a_clock_that_is_ahead_is_late_now_and_good_then(cards, clock):
    data = card(genesis(), at=CLOCK_SKEW_S_MAX + 10)
    assert cards.verdict(data) is Verdict.LATE
    clock.after = 20
    assert cards.verdict(data) is Verdict.TELL


@pytest.mark.parametrize("byte", [0, 5, 100, -1])
def test_a_card_with_a_flipped_bit_is_forged(cards, byte):
    data = bytearray(card(genesis()))
    data[byte] ^= 1
    assert cards.verdict(bytes(data)) is Verdict.FORGED


def test_junk_is_forged(cards):
    rng = random.Random(7)
    for _ in range(200):
        assert cards.verdict(rng.randbytes(rng.randrange(200))) is Verdict.FORGED


def test_a_card_is_judged_once_however_often_it_comes(clock):
    judged = []

    def judge(data, now):
        judged.append(data)
        return Judgement(Verdict.TELL, until_unix=now.unix + 10)

    cards = Cards(judge=judge, clock=clock)
    for _ in range(5):
        cards.verdict(b"card")
    assert judged == [b"card"]


def test_bytes_that_went_on_do_not_go_on_again_while_they_are_good(cards, clock):
    assert not cards.was_passed_on(b"card")
    cards.pass_on(b"card")
    assert cards.was_passed_on(b"card")
    clock.after = REMEMBERED_S - 1
    assert cards.was_passed_on(b"card")
    clock.after = REMEMBERED_S
    assert not cards.was_passed_on(b"card")


def test_the_oldest_of_too_many_is_forgotten(cards):
    for number in range(REMEMBERED_MAX):
        cards.pass_on(number.to_bytes(4, "big"))
    assert cards.was_passed_on((0).to_bytes(4, "big"))
    cards.pass_on(b"one more")
    assert not cards.was_passed_on((0).to_bytes(4, "big"))
    assert cards.was_passed_on((1).to_bytes(4, "big"))


def test_a_flood_of_lan_rooms_does_not_open_ours_to_the_world(clock):
    def judge(data, now):
        return Judgement(Verdict.TELL_NEAR, RoomId(data), now.unix + 600)

    cards = Cards(judge=judge, clock=clock)
    cards.verdict(b"ours", own=True)
    for number in range(REMEMBERED_MAX + 1):
        cards.verdict(number.to_bytes(4, "big"))
    assert cards.is_near_only(RoomId(b"ours"))
    assert not cards.is_near_only(RoomId((0).to_bytes(4, "big")))
    for number in range(OWN_ROOMS_MAX):
        cards.verdict(b"own" + number.to_bytes(4, "big"), own=True)
    assert not cards.is_near_only(RoomId(b"ours"))


def test_the_clock_is_compared_with_cards_of_others_and_never_with_ours(cards, clock):
    ours, theirs, forged = card(genesis()), card(genesis(nonce=1)), b"forged"
    cards.verdict(ours, own=True)
    for heard in (ours, theirs, theirs, forged):  # ours comes back by gossip
        cards.hear(heard)
    assert list(cards.heard) == [(theirs, UNIX)]


def test_a_card_that_is_late_by_our_clock_shows_that_the_clock_is_wrong(cards, clock):
    clock.after = CARD_TTL_S_MAX + CLOCK_SKEW_S_MAX + 2
    data = card(genesis())
    assert cards.hear(data) is Verdict.LATE
    assert list(cards.heard) == [(data, UNIX + clock.after)]
