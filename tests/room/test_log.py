"""What comes into the log of a room, what waits, what must go, and what others may lack."""

import random
from hashlib import sha256

import pytest

from p2phouse.errors import PeerError
from p2phouse.identity.keys import Me
from p2phouse.record import envelope
from p2phouse.record.cbor import Malformed
from p2phouse.record.envelope import BadSignature, Signed
from p2phouse.record.types import Act, Entry
from p2phouse.room.log import (
    SKETCH_BYTES,
    BadSketch,
    EntryLog,
    ForeignEntry,
    MayNot,
    NoSeat,
    SeatFull,
)
from p2phouse.room.rules import Role
from p2phouse.vocabulary import RecordId
from tests.room.logbook import Logbook, nothing, person

ANA, BEN, CLEO, DAN, EVE = (person(name) for name in ("ana", "ben", "cleo", "dan", "eve"))


@pytest.fixture
def book() -> Logbook:
    return Logbook(host=ANA)


def log_of(book: Logbook, *known: Me) -> EntryLog:
    """An empty log that knows who these are; everybody in the book if nobody is named."""
    log = EntryLog(book.genesis)
    for record in [each.record for each in known] or book.identities.values():
        log.add_identity(record.data)
    return log


def filled(book: Logbook) -> EntryLog:
    log = log_of(book)
    for each in book.entries:
        log.add(each.data)
    return log


def chain(book: Logbook, author: Me, count: int, **more) -> list[Signed[Entry]]:
    """So many entries, each after the one before."""
    made: list[Signed[Entry]] = []
    for number in range(count):
        prev = made[-1] if made else None
        made.append(book.write(author, Act.TITLE, None, f"{number}", prev=prev, **more))
    return made


# ── coming in ────────────────────────────────────────────────────────────────────────────────


def test_an_entry_comes_in_once(book):
    ban = book.role(ANA, DAN, "ban")
    log = log_of(book)
    assert log.add(ban.data) == (ban,)
    assert log.add(ban.data) == ()
    assert list(log) == [ban]
    assert ban.id in log
    assert log.state.role_of(DAN.uid) is Role.BAN


def test_an_entry_with_another_signature_of_its_author_is_the_same_entry(book):
    ban = book.role(ANA, DAN, "ban")
    log = log_of(book)
    log.add(ban.data)
    again = bytearray(ban.data)
    again[-1] ^= 1
    with pytest.raises(BadSignature):
        log.add(bytes(again))
    assert list(log) == [ban]


@pytest.mark.parametrize("damage", [b"", b"\x00", bytes(1_025)])
def test_what_is_no_entry_is_its_sender_s_fault(book, damage):
    ban = book.role(ANA, DAN, "ban")
    log = log_of(book)
    with pytest.raises(Malformed):
        log.add(damage)
    with pytest.raises(PeerError):
        log.add(ban.data[:-1] + bytes([ban.data[-1] ^ 1]))
    with pytest.raises(Malformed):
        log.add(ANA.record.data)
    assert len(log) == 0


def test_an_entry_of_another_room_is_its_sender_s_fault(book):
    other = Logbook(host=ANA, room="coffee").role(ANA, DAN, "ban")
    with pytest.raises(ForeignEntry):
        log_of(book, ANA).add(other.data)


def test_an_entry_that_can_never_count_is_passed_over_and_not_kept(book):
    log = log_of(book, ANA, EVE)
    forged = [
        book.role(EVE, DAN, "ban"),
        book.role(EVE, DAN, "ban", uid=ANA.uid),
        book.grant(EVE, EVE, "host"),
        book.write(ANA, Act.LOCK, None, 1),
    ]
    assert [log.add(each.data) for each in forged] == [()] * 4
    assert len(log) == 0
    assert log.awaited == frozenset()


# ── waiting ──────────────────────────────────────────────────────────────────────────────────


def test_an_entry_waits_for_its_author_s_identity(book):
    ban = book.role(ANA, DAN, "ban")
    log = EntryLog(book.genesis)
    assert log.add(ban.data) == ()
    assert (len(log), log.awaited) == (0, frozenset({ANA.record.id}))
    assert log.add_identity(ANA.record.data) == (ban,)
    assert log.add_identity(ANA.record.data) == ()
    assert log.awaited == frozenset()
    assert log.identity(ANA.record.id) == ANA.record
    assert log.identity(BEN.record.id) is None


def test_a_whole_history_comes_in_from_its_end_to_its_beginning(book):
    ben = book.grant(ANA, BEN, "host")
    first = book.role(BEN, DAN, "muted", auth=ben)
    second = book.role(BEN, EVE, "muted", auth=ben, prev=first)
    log = log_of(book)
    assert log.add(second.data) == ()
    assert log.awaited == {ben.id, first.id}
    assert log.add(first.data) == ()
    assert log.awaited == {ben.id}
    assert set(log.add(ben.data)) == {ben, first, second}
    assert list(log) == [ben, first, second]


def test_an_entry_that_waited_for_two_things_comes_in_once(book):
    ben = book.grant(ANA, BEN, "host")
    first = book.role(BEN, DAN, "muted", auth=ben)
    last = book.role(BEN, EVE, "muted", auth=ben, prev=first)
    log = log_of(book, ANA)
    for each in (last, first, ben):
        log.add(each.data)
    assert sorted(each.id for each in log.add_identity(BEN.record.data)) == sorted(
        [first.id, last.id]
    )
    assert len(log) == 3
    more = chain(book, BEN, 510, auth=ben)
    for each in more:
        log.add(each.data)
    assert len(log) == 513


def test_a_revoke_does_not_wait_for_what_it_cuts(book):
    ben = book.grant(ANA, BEN, "host")
    act = book.role(BEN, DAN, "ban", auth=ben)
    revoke = book.revoke(ANA, ben, pin=act)
    log = log_of(book)
    assert log.add(revoke.data) == (revoke,)
    log.add(ben.data)
    assert log.state.seat_of(BEN.uid) is None
    log.add(act.data)
    assert log.state.role_of(DAN.uid) is Role.BAN


@pytest.mark.parametrize("of", ["identity", "genesis", "entry"])
def test_a_name_in_the_wrong_place_is_no_name(book, of):
    """An identity is no entry before another, the genesis none either, an entry no identity."""
    ban = book.role(ANA, DAN, "ban")
    log = filled(book)
    if of == "entry":
        odd = book.role(ANA, EVE, "ban", idrec=ban.id)
    else:
        odd = book.role(ANA, EVE, "ban", prev=ANA.record.id if of == "identity" else book.id)
    assert log.add(odd.data) == ()
    assert list(log) == [ban]


def test_256_entries_wait_aside_and_no_more(book):
    waiting = [book.role(ANA, DAN, "ban", prev=nothing(str(number))) for number in range(257)]
    log = log_of(book)
    for each in waiting[:256]:
        log.add(each.data)
    assert log.awaited == {each.record.prev for each in waiting[:256]}
    log.add(waiting[256].data)
    assert log.awaited == {each.record.prev for each in waiting[1:]}
    assert log.add(waiting[0].data) == ()
    assert waiting[0].record.prev in log.awaited


def test_an_entry_that_was_driven_out_while_it_waited_can_come_again(book):
    late = book.role(BEN, DAN, "ban", auth=(ben := book.grant(ANA, BEN, "host")))
    log = log_of(book)
    log.add(late.data)
    for number in range(256):
        log.add(book.role(ANA, DAN, "ban", prev=nothing(str(number))).data)
    assert log.add(ben.data) == (ben,)
    assert log.add(late.data) == (late,)


def test_identities_that_no_entry_names_are_forgotten_in_time(book):
    ban = book.role(ANA, DAN, "ban")
    log = filled(book)
    first = person("first")
    log.add_identity(first.record.data)
    for number in range(255):
        log.add_identity(person(f"p{number}").record.data)
    assert log.identity(first.record.id)
    log.add_identity(person("one more").record.data)
    assert log.identity(first.record.id) is None
    assert log.identity(ban.record.idrec)


# ── limits ───────────────────────────────────────────────────────────────────────────────────


def test_a_seat_holds_512_entries_and_no_more(book):
    made = chain(book, ANA, 513)
    log = log_of(book)
    assert all(log.add(each.data) == (each,) for each in made[:512])
    assert log.add(made[512].data) == ()
    assert list(log) == made[:512]


def test_a_room_holds_2048_entries_and_no_more(book):
    last = None
    for name in "abcde":
        last = book.grant(ANA, person(name), "moderator", prev=last)
    grants = list(book.entries)
    for name, grant in zip("abcde", grants, strict=True):
        chain(book, person(name), 412, auth=grant)
    log = filled(book)
    assert len(book.entries) == 5 + 5 * 412
    assert len(log) == 2_048
    kept = {each.id for each in log}
    assert {grant.id for grant in grants} <= kept
    # Of each chain the same, but for the last places, where the ids decide.
    gone = [each for each in book.entries if each.id not in kept]
    assert {int(str(each.record.val)) for each in gone} == {408, 409, 410, 411}
    backwards = log_of(book)
    for each in grants:
        backwards.add(each.data)
    for each in random.Random(1).sample(book.entries, len(book.entries)):
        backwards.add(each.data)
    for each in book.entries:  # what was driven out while it waited
        backwards.add(each.data)
    assert backwards.digest == log.digest


def test_a_full_seat_keeps_the_same_entries_whatever_came_first(book):
    """One with two pens, who writes more than fits: everybody keeps the same part."""
    long = chain(book, ANA, 500)
    wide = [book.role(ANA, person(f"p{number}"), "muted") for number in range(40)]
    first, second = log_of(book), log_of(book)
    for each in long + wide:
        first.add(each.data)
    for each in wide + long:
        second.add(each.data)
    assert len(first) == len(second) == 512
    assert first.digest == second.digest
    assert {each.id for each in wide} <= {each.id for each in first}


def test_with_a_grant_that_no_longer_fits_goes_what_its_seat_did(book):
    made = chain(book, ANA, 511)
    ben = book.grant(ANA, BEN, "host", prev=made[-1])
    act = book.role(BEN, DAN, "ban", auth=ben)
    log = filled(book)
    assert (ben.id in log, act.id in log) == (True, True)
    log.add(book.role(ANA, EVE, "ban").data)
    assert (ben.id in log, act.id in log, len(log)) == (False, False, 512)
    assert log.state.role_of(DAN.uid) is Role.SPEAKER


# ── comparing ────────────────────────────────────────────────────────────────────────────────


def test_the_digest_is_of_the_ids_in_order(book):
    log = log_of(book, ANA)
    assert log.digest == sha256(b"").digest()
    for number in range(5):
        log.add(book.role(ANA, person(f"p{number}"), "ban").data)
        ids = sorted(each.id for each in book.entries)
        assert log.digest == sha256(b"".join(ids)).digest()


def test_a_sketch_is_what_the_protocol_says(book):
    chain(book, ANA, 300)
    sketch = filled(book).sketch
    assert len(sketch) == SKETCH_BYTES == 4_096
    for first in range(256):
        ids = sorted(each.id for each in book.entries if each.id[0] == first)
        expected = sha256(b"".join(ids)).digest()[:16] if ids else bytes(16)
        assert sketch[16 * first : 16 * first + 16] == expected


@pytest.mark.parametrize("seed", range(20))
def test_two_who_exchange_sketches_hold_the_same_afterwards(book, seed):
    rng = random.Random(seed)
    ben = book.grant(ANA, BEN, "host")
    chain(book, ANA, 60)
    chain(book, BEN, 60, auth=ben)
    logs = []
    for _ in range(2):
        log = log_of(book, ANA) if rng.random() < 0.5 else log_of(book)
        for each in book.entries:
            if rng.random() < 0.9:
                log.add(each.data)
        logs.append(log)
    one, other = logs
    for _ in range(30):  # each round closes a gap on each side
        for here, there in ((one, other), (other, one)):
            sent = list(here.missing(there.sketch))
            for identity in here.identities_of(sent):
                there.add_identity(identity.data)
            for each in sent:
                there.add(each.data)
    assert one.digest == other.digest
    assert one.state == other.state
    assert list(one.missing(other.sketch)) == []


def test_what_is_missing_is_little_more_than_what_differs_and_in_order(book):
    made = chain(book, ANA, 500)
    log = filled(book)
    other = log_of(book)
    for each in made[:490]:
        other.add(each.data)
    sent = list(log.missing(other.sketch))
    assert {each.id for each in made[490:]} <= {each.id for each in sent}
    assert len(sent) < 60
    assert sent == [each for each in made if each in sent]


@pytest.mark.parametrize("size", [0, 4_095, 4_097])
def test_a_sketch_of_another_length_is_its_sender_s_fault(book, size):
    with pytest.raises(BadSketch):
        filled(book).missing(bytes(size))


# ── writing ──────────────────────────────────────────────────────────────────────────────────


def test_what_i_write_follows_what_i_wrote_and_replaces_what_stood(book):
    log = EntryLog(book.genesis)
    (first,) = log.write(ANA, Act.ROLE, DAN.uid, "ban")
    (second,) = log.write(ANA, Act.ROLE, DAN.uid, "speaker")
    assert (first.record.prev, second.record.prev) == (None, first.id)
    assert second.record.over == (first.id,)
    assert log.state.role_of(DAN.uid) is Role.SPEAKER
    (third,) = log.write(ANA, Act.TITLE, None, "coffee")
    assert third.record.over == ()
    assert log.state.title == "coffee"


def test_i_replace_what_an_equal_said_and_not_what_one_above_did(book):
    ben, cleo = book.grant(ANA, BEN, "moderator"), book.grant(ANA, CLEO, "moderator")
    muted, listener = (
        book.role(CLEO, DAN, "muted", auth=cleo),
        book.role(ANA, DAN, "listener"),
    )
    book.identities[BEN.record.id] = BEN.record
    log = filled(book)
    (mine,) = log.write(BEN, Act.ROLE, DAN.uid, "speaker")
    assert mine.record.auth == ben.id
    assert mine.record.over == (muted.id,)
    assert log.state.role_of(DAN.uid) is Role.LISTENER
    assert listener.id in log


def test_of_many_words_that_concur_eight_are_replaced_at_once(book):
    made = [book.role(ANA, DAN, "ban")]
    for _ in range(8):
        made.append(book.role(ANA, DAN, "ban", prev=made[-1]))
    log = filled(book)
    (mine,) = log.write(ANA, Act.ROLE, DAN.uid, "speaker")
    assert len(mine.record.over) == 8
    log.write(ANA, Act.ROLE, DAN.uid, "speaker")
    assert log.state.role_of(DAN.uid) is Role.SPEAKER


def test_a_revoke_takes_every_seat_and_keeps_what_was_done_from_them_so_far(book):
    seats = [book.grant(ANA, BEN, "host"), book.grant(ANA, BEN, "moderator")]
    done = book.role(BEN, DAN, "muted", auth=seats[0])
    log = filled(book)
    revokes = log.write(ANA, Act.REVOKE, BEN.uid)
    pins = {each.record.sub: each.record.pin for each in revokes}
    assert pins == {seats[0].id: done.id, seats[1].id: None}
    assert log.state.seat_of(BEN.uid) is None
    assert log.state.role_of(DAN.uid) is Role.MUTED
    backdated = book.role(BEN, EVE, "ban", auth=seats[0])
    log.add(backdated.data)
    assert log.state.role_of(EVE.uid) is Role.SPEAKER


def test_a_revoke_may_say_how_far_back_it_goes(book):
    ben = book.grant(ANA, BEN, "host")
    first = book.role(BEN, DAN, "muted", auth=ben)
    book.role(BEN, EVE, "muted", auth=ben, prev=first)
    log = filled(book)
    log.write(ANA, Act.REVOKE, BEN.uid, pin=RecordId(first.id))
    assert log.state.role_of(DAN.uid) is Role.MUTED
    assert log.state.role_of(EVE.uid) is Role.SPEAKER


def test_whose_seat_does_not_allow_it_is_told(book):
    book.grant(ANA, CLEO, "moderator")
    log = filled(book)
    with pytest.raises(NoSeat):
        log.write(EVE, Act.ROLE, DAN.uid, "ban")
    with pytest.raises(MayNot):
        log.write(CLEO, Act.GRANT, CLEO.uid, "host")
    with pytest.raises(MayNot):
        log.write(CLEO, Act.ROLE, ANA.uid, "ban")
    assert len(log) == 1


def test_whose_seat_is_full_is_told(book):
    chain(book, ANA, 512)
    log = filled(book)
    with pytest.raises(SeatFull, match="512"):
        log.write(ANA, Act.LOCK, None, True)
    assert len(log) == 512


def test_an_entry_i_write_reads_as_one_from_a_peer_does(book):
    log = EntryLog(book.genesis)
    (written,) = log.write(ANA, Act.GRANT, BEN.uid, "host")
    assert envelope.read(written.data, Entry) == written
    other = log_of(book, ANA)
    assert other.add(written.data) == (written,)
