"""Reports: what stands in a bundle, who may believe it, and whom it reaches."""

import random
from dataclasses import replace
from typing import Any

import pytest

from p2phouse.errors import PeerError, UserError
from p2phouse.record import cbor, envelope, limits
from p2phouse.room import report
from p2phouse.room.frames import FrameKind
from p2phouse.room.log import EntryLog
from tests.record.mutants import mutant, reshaped, survives
from tests.room.logbook import NOW, nothing
from tests.room.scribble import ANA, CLEO, DAN, EVE, Scribble
from tests.room.table import Table


@pytest.fixture
def tea() -> Scribble:
    return Scribble()


def log_of(tea: Scribble) -> EntryLog:
    log = EntryLog(tea.book.genesis)
    log.take(
        [each.data for each in tea.book.entries],
        [each.data for each in tea.book.identities.values()],
    )
    return log


def bundle(tea: Scribble, text: str = "rude", by=EVE, about=DAN) -> bytes:
    return report.make(by, NOW, log=log_of(tea), chats=tea.chats(), about=about.uid, text=text)


def test_a_bundle_holds_what_the_person_wrote_and_what_the_log_says_of_it_for_anybody_to_check(tea):
    tea.add(DAN, "go away", 1)
    tea.add(CLEO, "please stop", 2)
    tea.add(DAN, "all of you", 3)
    role = tea.book.role(ANA, DAN, "muted")
    read = report.read(bundle(tea))
    assert read.report.record.text == "rude"
    assert read.by.record.name == "eve"
    assert read.about_name == "dan"
    assert [each.record.text for each in read.chats] == ["all of you", "go away"]
    assert read.entries == (role,)
    assert read.report.record.evidence == tuple(each.id for each in (*read.chats, role))


def test_what_its_author_has_deleted_is_proof_all_the_same(tea):
    tea.delete(DAN, tea.add(DAN, "go away"), 1)
    assert [each.record.text for each in report.read(bundle(tea)).chats] == ["go away"]


def test_a_bundle_names_16_records_and_the_latest_words_among_them(tea):
    for at in range(40):
        tea.add(DAN, f"{at}", at)
    read = report.read(bundle(tea))
    assert [each.record.text for each in read.chats] == [f"{at}" for at in range(39, 23, -1)]
    assert len(read.report.record.evidence) == limits.EVIDENCE_MAX


def test_a_bundle_has_15_000_bytes_at_most(tea):
    assert limits.REPORT_BYTES_MAX == 15_000
    for at in range(40):
        tea.add(DAN, "\U0001f600" * 180, at)
    data = bundle(tea, "\U0001f600" * 500)
    assert 14_000 < len(data) <= 15_000
    assert len(report.read(data).chats) == 12
    with pytest.raises(PeerError, match=r"size|long|bytes"):
        report.read(cbor.encode([*fields(data)[:5], [bytes(15_000)]]))


@pytest.mark.parametrize("text", ["", "  ", "x" * 501, "a\u202eb"])
def test_a_report_says_something_in_500_characters(tea, text):
    with pytest.raises(UserError):
        bundle(tea, text)


def test_nobody_reports_oneself(tea):
    with pytest.raises(UserError):
        bundle(tea, by=DAN)


def fields(data: bytes) -> list[Any]:
    decoded = cbor.decode(data, size_max=15_000)
    assert isinstance(decoded, list)
    return decoded


def parts(tea: Scribble) -> list[Any]:
    tea.add(DAN, "go away", 1)
    tea.book.role(ANA, DAN, "muted")
    return fields(bundle(tea))


def forged(tea: Scribble, at: int, value: object) -> bytes:
    made = parts(tea)
    made[at] = value
    return cbor.encode(made)


@pytest.mark.parametrize("at", range(6))
@pytest.mark.parametrize("value", [None, 7, True, b"", [], [b"x"], [[]]])
def test_a_bundle_with_something_else_in_a_place_of_it_is_refused(tea, at, value):
    with pytest.raises(PeerError):
        report.read(forged(tea, at, value))


def test_words_of_another_person_prove_nothing(tea):
    other = tea.add(CLEO, "I wrote this")
    with pytest.raises(PeerError):
        report.read(signed_again(tea, evidence=(other.id,), chats=[other.data], entries=[]))


def test_words_from_another_room_prove_nothing(tea):
    other = tea.add(DAN, "elsewhere", room=nothing("coffee"))
    with pytest.raises(PeerError):
        report.read(signed_again(tea, evidence=(other.id,), chats=[other.data], entries=[]))


def test_words_whose_author_cannot_be_told_prove_nothing(tea):
    other = tea.add(EVE, "I am Dan", uid=DAN.uid)
    with pytest.raises(PeerError):
        report.read(signed_again(tea, evidence=(other.id,), chats=[other.data], entries=[]))
    made = parts(tea)
    made[5] = made[5][:1]  # the reporter's identity alone
    with pytest.raises(PeerError):
        report.read(cbor.encode(made))


def signed_again(tea: Scribble, *, evidence, chats, entries) -> bytes:
    made = parts(tea)
    word = report.read(cbor.encode(made)).report.record
    again = envelope.sign(replace(word, evidence=evidence), EVE.device_key)
    made[2], made[3], made[4] = again.data, chats, entries
    made[5] = [each.record.data for each in (EVE, DAN, CLEO, ANA)]
    return cbor.encode(made)


def test_a_bundle_that_fits_is_read_when_signed_again(tea):
    mine = tea.add(DAN, "mine")
    read = report.read(signed_again(tea, evidence=(mine.id,), chats=[mine.data], entries=[]))
    assert read.chats == (mine,)


def test_50_reports_are_kept_and_no_more():
    """Of one person four at once, and then one a minute."""
    assert limits.REPORTS_KEPT_MAX == 50
    table = Table()
    table.open()
    ann, bob = table.person("ann"), table.person("bob")
    for each in (ann, bob):
        table.let_in(each)

    def tell(text: str) -> None:
        log, chats = table.here.log, table.here.chats
        data = report.make(ann.me, table.now, log=log, chats=chats, about=bob.me.uid, text=text)
        table.frame(ann, [int(FrameKind.REPORT), data])

    for number in range(5):
        tell(f"{number}")
    for number in range(5, 52):
        table.wait(60)
        tell(f"{number}")
    heard = [each.report.record.text for each in table.rooms.reports]
    assert heard == [*(f"{number}" for number in range(51, 4, -1)), "3", "2", "1"]


@pytest.mark.slow
def test_mutants_of_bundles_are_read_or_refused(tea):
    for at in range(3):
        tea.add(DAN, f"{at}", at)
    tea.book.role(ANA, DAN, "muted")
    data = bundle(tea)

    def make(rng: random.Random) -> bytes:
        return mutant(rng, [data]) if rng.random() < 0.5 else reshaped(rng, data)

    survives(report.read, make, errors=PeerError, accepted_min=100)
