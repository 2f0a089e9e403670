"""Which beats count: young ones, of devices that a seat's person has listed."""

import random
from dataclasses import replace

import pytest

from p2phouse.errors import PeerError
from p2phouse.identity.keys import Me
from p2phouse.record import envelope
from p2phouse.record.envelope import Signed
from p2phouse.record.types import Act, Beat
from p2phouse.room.beats import (
    BEAT_S,
    BEATS_MAX,
    BeatBook,
    BeatRefused,
    level_of,
    read_beat,
)
from p2phouse.room.log import EntryLog
from p2phouse.room.rules import Level
from p2phouse.vocabulary import Now, RoomId
from tests.room.logbook import Logbook, person

ANA, BEN, CLEO, DAN = (person(name) for name in ("ana", "ben", "cleo", "dan"))


@pytest.fixture
def log() -> EntryLog:
    """Ana's room, in which Ben is host and Cleo moderator."""
    book = Logbook(ANA)
    log = EntryLog(book.genesis)
    log.write(ANA, Act.GRANT, BEN.uid, "host")
    for me in (BEN, CLEO):
        log.add_identity(me.record.data)
    log.write(ANA, Act.GRANT, CLEO.uid, "moderator")
    return log


def now_of(log: EntryLog, after_s: float = 0.0) -> Now:
    return Now(1_000.0 + after_s, log.genesis.record.created + after_s)


def beat(me: Me, log: EntryLog, after_s: float = 0.0, *, digest: bytes | None = None):
    record = Beat(
        room=log.genesis.id,
        dev=me.dev,
        count=len(log),
        digest=log.digest if digest is None else digest,
        en=0,
        ts=log.genesis.record.created + int(after_s),
    )
    return envelope.sign(record, me.device_key)


def take(book: BeatBook, me: Me, log: EntryLog, made_s: float, read_s: float, *, direct: bool):
    made = beat(me, log, made_s)
    return book.take(now_of(log, read_s), made, me.record, log.state, direct=direct)


def makers(book: BeatBook, log: EntryLog, after_s: float = 0.0) -> set[bytes]:
    return {each.beat.record.dev for each in book.counting(now_of(log, after_s), log.state)}


# ── what is one ──────────────────────────────────────────────────────────────────────────────


def test_a_beat_is_read_with_the_identity_that_lists_its_device(log):
    sent = beat(ANA, log)
    assert read_beat(sent.data, ANA.record.data, room=RoomId(log.genesis.id)) == (sent, ANA.record)


def test_a_beat_that_its_identity_does_not_prove_is_refused(log):
    with pytest.raises(BeatRefused, match="does not list its device"):
        read_beat(beat(BEN, log).data, ANA.record.data, room=RoomId(log.genesis.id))


def test_a_beat_of_another_room_is_refused(log):
    with pytest.raises(BeatRefused, match="another room"):
        read_beat(beat(ANA, log).data, ANA.record.data, room=RoomId(bytes(32)))


@pytest.mark.parametrize("what", ["number", "record", "signature"])
def test_what_is_no_beat_is_refused(log, what):
    sent = beat(ANA, log).data
    wrong = {
        "number": 5,
        "record": log.genesis.data,
        "signature": sent[:-1] + bytes([sent[-1] ^ 1]),
    }[what]
    for pair in ((wrong, ANA.record.data), (sent, wrong)):
        with pytest.raises(PeerError):
            read_beat(*pair, room=RoomId(log.genesis.id))


def test_a_beat_fits_into_its_limit_with_the_largest_numbers(log):
    record = replace(beat(ANA, log).record, count=2_048, en=2**32 - 1, ts=2**40)
    assert len(envelope.sign(record, ANA.device_key).data) <= Beat.SIZE_MAX


# ── how long it counts ───────────────────────────────────────────────────────────────────────


def test_a_beat_from_its_maker_counts_for_a_minute_whatever_its_clock_says(log):
    for clock_s in (0, -3_600, 3_600):
        book = BeatBook()
        made = beat(ANA, log, 5_000 + clock_s)
        assert book.take(now_of(log, 5_000), made, ANA.record, log.state, direct=True)
        assert makers(book, log, 5_059.9) == {ANA.dev}
        assert makers(book, log, 5_060) == set()


def test_one_that_was_passed_on_counts_until_a_minute_after_it_was_made(log):
    book = BeatBook()
    assert take(book, ANA, log, 100, 145, direct=False)
    assert makers(book, log, 159) == {ANA.dev}
    assert makers(book, log, 160) == set()


@pytest.mark.parametrize("age_s", [61, 3_600, -121])
def test_one_from_another_time_is_not_taken_from_who_passes_it_on(log, age_s):
    book = BeatBook()
    assert not take(book, ANA, log, 5_000 - age_s, 5_000, direct=False)
    assert makers(book, log, 5_000) == set()


def test_an_older_beat_that_is_passed_on_takes_nothing_back(log):
    book = BeatBook()
    assert take(book, ANA, log, 30, 30, direct=True)
    for made_s in (10, 30):
        assert not take(book, ANA, log, made_s, 31, direct=False)
    assert book.heard[ANA.dev].beat.record.ts == log.genesis.record.created + 30


def test_a_copy_from_its_maker_renews_one_that_was_passed_on(log):
    book = BeatBook()
    assert take(book, ANA, log, 0, 50, direct=False)
    assert take(book, ANA, log, 0, 50, direct=True)
    assert makers(book, log, 100) == {ANA.dev}


# ── whose ────────────────────────────────────────────────────────────────────────────────────


def test_the_highest_seats_that_beat_are_believed(log):
    book = BeatBook()
    for me, expected in ((CLEO, CLEO), (BEN, BEN), (ANA, ANA), (CLEO, ANA)):
        take(book, me, log, 0, 0, direct=True)
        assert makers(book, log) == {expected.dev}


def test_who_has_no_seat_beats_in_vain_and_only_for_himself(log):
    book = BeatBook()
    assert not take(book, DAN, log, 0, 0, direct=False)
    assert take(book, DAN, log, 0, 0, direct=True)
    assert makers(book, log) == set()
    log.add_identity(DAN.record.data)
    log.write(ANA, Act.GRANT, DAN.uid, "moderator")
    assert makers(book, log) == {DAN.dev}, "his grant had been on its way"


def test_a_seat_that_was_taken_back_beats_no_more(log):
    book = BeatBook()
    take(book, BEN, log, 0, 0, direct=True)
    log.write(ANA, Act.REVOKE, BEN.uid)
    assert makers(book, log) == set()


def test_a_device_that_had_run_out_when_the_room_began_has_no_seat(log):
    created = log.genesis.record.created
    (device,) = ANA.record.record.devices
    for over, level in ((created - 1, None), (created, Level.CREATOR)):
        aged = replace(ANA.record.record, devices=(replace(device, exp=over),))
        assert level_of(aged, ANA.dev, log.state) is level
        aged = replace(ANA.record.record, exp=over)
        assert level_of(aged, ANA.dev, log.state) is level


def test_64_devices_are_kept_and_people_without_a_seat_push_out_nobody_who_has_one(log):
    book = BeatBook()
    take(book, ANA, log, 0, 0, direct=True)
    for number in range(BEATS_MAX):
        take(book, person(f"stranger {number}"), log, 0, 0, direct=True)
    assert len(book.heard) == BEATS_MAX == 64
    assert makers(book, log) == {ANA.dev}


# ── ours ─────────────────────────────────────────────────────────────────────────────────────


def sent(book: BeatBook, log: EntryLog, after_s: float, seed: int = 1) -> None:
    book.sent(now_of(log, after_s), beat(ANA, log), random.Random(seed))


def test_the_next_follows_after_twenty_seconds_give_or_take_a_fifth(log):
    due = []
    for seed in range(200):
        book = BeatBook()
        sent(book, log, 0, seed)
        due.append(book.due - 1_000.0)
    assert BEAT_S * 0.8 <= min(due) < BEAT_S * 0.85
    assert BEAT_S * 1.15 < max(due) <= BEAT_S * 1.2


def test_a_change_is_told_in_a_second_but_not_within_five_of_the_last(log):
    book = BeatBook()
    book.changed(now_of(log))
    assert book.due == 1_001
    sent(book, log, 1)
    book.changed(now_of(log, 2))
    assert book.due == 1_006
    book.changed(now_of(log, 3))
    assert book.due == 1_006
    sent(book, log, 6)
    book.changed(now_of(log, 16))
    assert book.due == 1_017


def test_what_we_held_last_is_the_highest_seat_s_or_our_own(log):
    book = BeatBook()
    assert book.latest(now_of(log), log.state) is None
    sent(book, log, 0)
    own: Signed[Beat] | None = book.own
    assert own is not None
    assert book.latest(now_of(log), log.state) == own.id
    take(book, BEN, log, 0, 0, direct=True)
    assert book.latest(now_of(log), log.state) == beat(BEN, log).id
