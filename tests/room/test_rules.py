"""Each rule of docs/protocol.md §2.12 by its number, and what people ask of a room's state."""

import inspect
import random
import re
from dataclasses import replace
from pathlib import Path

import pytest
from nacl.signing import SigningKey

from p2phouse.identity.keys import make_identity
from p2phouse.record import envelope
from p2phouse.record.types import Access, Act
from p2phouse.room import rules
from p2phouse.room.rules import Level, Role
from p2phouse.vocabulary import Now, RecordId, UserKey
from tests.room.logbook import NOW, Logbook, nothing, person

PROTOCOL = (Path(__file__).parents[2] / "docs" / "protocol.md").read_text()
ANA, BEN, CLEO, DAN, EVE = (person(name) for name in ("ana", "ben", "cleo", "dan", "eve"))


class Staffed(Logbook):
    """A room that Ana opened; Ben is host, Cleo moderator by Ben's grant."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.ben = self.grant(ANA, BEN, "host")
        self.cleo = self.grant(BEN, CLEO, "moderator", auth=self.ben)


@pytest.fixture
def book() -> Staffed:
    return Staffed(host=ANA)


def test_the_rules_have_the_same_numbers_and_names_in_code_and_protocol():
    told = re.findall(r"^- \*\*(R\d+ \w+)\.\*\*", PROTOCOL, re.MULTILINE)
    coded = re.findall(r"# (R\d+ \w+):", inspect.getsource(rules))
    assert sorted(told) == sorted(coded)
    assert told == sorted(told, key=lambda name: int(name[1:3]))
    tests = set(re.findall(r"def test_r(\d+)_", Path(__file__).read_text()))
    assert tests == {name.split()[0][1:] for name in told}


def test_every_act_stands_in_the_protocol_with_the_level_that_may():
    words = {Level.HOST: "host", Level.MODERATOR: "moderator"}
    for act in Act:
        row = re.search(
            rf"^\| {int(act)} \| {act.name.lower()} \| .* \| (.*) \|$", PROTOCOL, re.MULTILINE
        )
        assert row, act
        assert words[rules.POWERS[act]] in row[1]


# ── an empty log ─────────────────────────────────────────────────────────────────────────────


def test_a_room_without_entries_is_what_its_genesis_says():
    state = Logbook(host=ANA).state
    assert state.role_of(ANA.uid) is state.role_of(BEN.uid) is Role.SPEAKER
    assert (state.level(ANA.uid), state.level(BEN.uid)) == (Level.CREATOR, Level.SPEAKER)
    assert (state.title, state.locked, state.ended) == ("tea", False, False)
    assert (state.access, state.speakers_max, state.creator) == (Access.OPEN, 16, ANA.uid)
    assert state.why(BEN.uid) == ()


# ── R1 to R5: an entry by itself ─────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("act", "subject", "value"),
    [
        (Act.GRANT, BEN.uid, "speaker"),
        (Act.GRANT, BEN.uid, None),
        (Act.GRANT, None, "host"),
        (Act.GRANT, ANA.uid, "moderator"),
        (Act.REVOKE, None, None),
        (Act.REVOKE, nothing("grant"), True),
        (Act.ROLE, BEN.uid, "host"),
        (Act.ROLE, BEN.uid, 0),
        (Act.ROLE, None, "ban"),
        (Act.ROLE, None, "remove"),
        (Act.ROLE, None, "relay"),
        (Act.TITLE, None, None),
        (Act.TITLE, None, 3),
        (Act.TITLE, BEN.uid, "x"),
        (Act.LOCK, None, 1),
        (Act.LOCK, BEN.uid, True),
        (Act.ACCESS, None, True),
        (Act.ACCESS, None, 3),
        (Act.ACCESS, None, "open"),
        (Act.ACCESS, BEN.uid, 2),
        (Act.END, None, True),
        (Act.END, BEN.uid, None),
        (Act.CHAT, None, None),
        (Act.CHAT, None, "off"),
        (Act.CHAT, None, 0),
        (Act.CHAT, None, 3_601),
        (Act.CHAT, BEN.uid, True),
    ],
)
def test_r1_an_entry_whose_subject_or_value_does_not_fit_its_act_counts_for_nothing(
    book, act, subject, value
):
    before = book.state
    book.write(ANA, act, subject, value)
    assert book.state == before


def test_r1_only_a_revoke_has_a_pin_and_neither_it_nor_a_grant_replaces_anything(book):
    before = book.state
    role = book.role(ANA, DAN, "muted", pin=book.ben)
    book.grant(ANA, DAN, "host", over=[role])
    book.revoke(ANA, book.ben, over=[book.ben])
    assert book.state == before


def test_r1_an_entry_of_another_room_counts_for_nothing(book):
    before = book.state
    book.role(ANA, DAN, "ban", room=nothing("another room"))
    assert book.state == before


def test_r1_a_lan_room_never_becomes_another_kind_of_room():
    book = Logbook(host=ANA, access=Access.LAN)
    book.write(ANA, Act.ACCESS, None, int(Access.OPEN))
    assert book.state.access is Access.LAN
    assert book.state.counting == {}
    assert not book.state.may(ANA.uid, Act.ACCESS)


def test_r2_a_device_that_the_identity_does_not_list_writes_nothing(book):
    before = book.state
    book.role(ANA, DAN, "ban", key=SigningKey(bytes(32)))
    assert book.state == before


def test_r2_an_identity_of_somebody_else_lends_nobody_its_name(book):
    before = book.state
    book.role(EVE, DAN, "ban", uid=ANA.uid)
    book.role(EVE, DAN, "ban", uid=ANA.uid, idrec=ANA.record.id)
    assert book.state == before


def test_r2_an_identity_nobody_has_shown_proves_nothing(book):
    book.role(ANA, DAN, "ban")
    del book.identities[ANA.record.id]
    assert book.state.counting == {}


@pytest.mark.parametrize("late_s", [0, 1])
def test_r2_an_identity_that_had_run_out_when_the_room_began_proves_nothing(late_s):
    life_s = 90 * 86_400
    old = Now(0.0, NOW.unix - life_s - late_s)
    ana = make_identity(now=old, entropy=random.Random("old").randbytes, name="ana")
    book = Logbook(host=ana)
    book.role(ana, DAN, "ban")
    assert (book.state.role_of(DAN.uid) is Role.BAN) == (late_s == 0)


def test_r2_a_device_that_had_run_out_when_the_room_began_proves_nothing(book):
    record = ANA.record.record
    (device,) = record.devices
    for exp, counts in ((int(NOW.unix), True), (int(NOW.unix) - 1, False)):
        aged = replace(record, devices=(replace(device, exp=exp),))
        ana = replace(ANA, record=envelope.sign(aged, ANA.root_key))
        other = Logbook(host=ana)
        other.role(ana, DAN, "ban")
        assert (other.state.role_of(DAN.uid) is Role.BAN) == counts


def test_r3_nobody_writes_from_a_seat_that_is_another_s(book):
    before = book.state
    book.role(EVE, DAN, "ban")
    book.role(EVE, DAN, "ban", auth=book.ben)
    book.role(BEN, DAN, "ban", auth=book.cleo)
    assert book.state == before


def test_r3_a_seat_is_made_by_a_sound_grant_and_by_nothing_else(book):
    before = book.state
    role = book.role(ANA, EVE, "speaker")
    forged = book.grant(EVE, EVE, "host")
    for auth in (role, forged, nothing("grant")):
        book.role(EVE, DAN, "ban", auth=auth)
        book.grant(EVE, DAN, "moderator", auth=auth)
    assert book.state.seats == before.seats
    assert book.state.role_of(DAN.uid) is Role.SPEAKER


def test_r4_an_entry_whose_chain_is_not_of_its_seat_counts_for_nothing(book):
    before = book.state
    book.role(BEN, DAN, "ban", auth=book.ben, prev=book.ben)
    book.role(BEN, DAN, "ban", auth=book.ben, prev=nothing("entry"))
    unsound = book.role(BEN, DAN, "host", auth=book.ben)
    book.role(BEN, DAN, "ban", auth=book.ben, prev=unsound)
    assert book.state == before


def test_r4_a_fork_of_a_seat_s_chain_does_no_harm(book):
    first = book.role(BEN, DAN, "muted", auth=book.ben, prev=None)
    book.role(BEN, EVE, "muted", auth=book.ben, prev=first)
    book.write(BEN, Act.TITLE, None, "coffee", auth=book.ben, prev=first)
    state = book.state
    assert (state.role_of(DAN.uid), state.role_of(EVE.uid)) == (Role.MUTED, Role.MUTED)
    assert state.title == "coffee"


def test_r5_each_level_may_what_it_may_and_no_more(book):
    by_moderators = {Act.ROLE, Act.TITLE, Act.LOCK}
    acts = {
        Act.GRANT: (DAN.uid, "moderator"),
        Act.REVOKE: (book.cleo.id, None),
        Act.ROLE: (DAN.uid, "ban"),
        Act.TITLE: (None, "coffee"),
        Act.LOCK: (None, True),
        Act.ACCESS: (None, int(Access.CLOSED)),
        Act.END: (None, None),
    }
    for author, auth in ((ANA, None), (BEN, book.ben), (CLEO, book.cleo)):
        for act, (subject, value) in acts.items():
            written = book.write(author, act, subject, value, auth=auth)
            counts = written.id in book.state.counting
            assert counts == (author is not CLEO or act in by_moderators), (author.name, act)
            book.entries.remove(written)


def test_r5_hosts_are_named_by_the_creator_alone(book):
    for author, auth in ((BEN, book.ben), (CLEO, book.cleo)):
        book.grant(author, EVE, "host", auth=auth)
        book.grant(CLEO, EVE, "moderator", auth=book.cleo)
    assert book.state.seat_of(EVE.uid) is None


def test_r5_a_relay_is_named_by_hosts_alone(book):
    """Security: it gets to know everybody's network address."""
    book.role(CLEO, EVE, "relay", auth=book.cleo)
    assert book.state.relays == frozenset()
    assert not book.state.may(CLEO.uid, Act.ROLE, EVE.uid, "relay")
    book.role(BEN, EVE, "relay", auth=book.ben)
    assert book.state.relays == {EVE.uid}
    assert not book.state.may_speak(EVE.uid)
    assert not book.state.may_chat(EVE.uid)
    book.role(CLEO, EVE, "remove", auth=book.cleo)
    assert book.state.relays == frozenset()


# ── R6 to R8: authority ──────────────────────────────────────────────────────────────────────


def test_r6_two_hosts_cannot_cut_one_another(book):
    dan = book.grant(ANA, DAN, "host")
    book.revoke(BEN, dan, auth=book.ben)
    book.revoke(DAN, book.ben, auth=dan)
    book.role(BEN, DAN, "ban", auth=book.ben)
    book.role(DAN, BEN, "ban", auth=dan)
    state = book.state
    for each in (BEN, DAN):
        assert state.level(each.uid) is Level.HOST
        assert state.role_of(each.uid) is Role.SPEAKER


def test_r6_nobody_cuts_upwards_or_the_creator(book):
    for author, auth in ((BEN, book.ben), (CLEO, book.cleo)):
        book.role(author, ANA, "ban", auth=auth)
        book.role(CLEO, BEN, "remove", auth=book.cleo)
        book.revoke(author, book.ben, auth=auth)
    book.role(ANA, ANA, "ban")
    state = book.state
    assert (state.role_of(ANA.uid), state.level(ANA.uid)) == (Role.SPEAKER, Level.CREATOR)
    assert (state.role_of(BEN.uid), state.level(BEN.uid)) == (Role.SPEAKER, Level.HOST)


def test_r6_a_host_cuts_moderators_whoever_named_them(book):
    dan = book.grant(ANA, DAN, "moderator")
    book.revoke(BEN, dan, auth=book.ben)
    book.role(BEN, CLEO, "muted", auth=book.ben)
    state = book.state
    assert state.seat_of(DAN.uid) is None
    assert (state.level(CLEO.uid), state.role_of(CLEO.uid)) == (Level.MODERATOR, Role.MUTED)
    assert not state.may_speak(CLEO.uid)


def test_r6_who_lost_the_seat_is_cut_by_those_who_were_its_equals(book):
    dan = book.grant(ANA, DAN, "host")
    book.role(BEN, DAN, "ban", auth=book.ben)
    assert book.state.role_of(DAN.uid) is Role.SPEAKER
    book.revoke(ANA, dan)
    assert book.state.role_of(DAN.uid) is Role.BAN


def test_r6_the_higher_of_two_seats_protects_until_it_is_revoked(book):
    book.grant(BEN, DAN, "moderator", auth=book.ben)
    host = book.grant(ANA, DAN, "host")
    book.role(BEN, DAN, "ban", auth=book.ben)
    assert book.state.role_of(DAN.uid) is Role.SPEAKER
    book.role(CLEO, DAN, "remove", auth=book.cleo)
    book.revoke(ANA, host)
    state = book.state
    assert (state.level(DAN.uid), state.role_of(DAN.uid)) == (Level.MODERATOR, Role.BAN)


def test_r6_a_revoke_of_what_is_no_grant_counts_for_nothing(book):
    role = book.role(ANA, DAN, "muted")
    for sub in (role.id, nothing("grant"), book.id):
        book.write(ANA, Act.REVOKE, sub)
    assert len(book.state.counting) == 3
    assert book.state.role_of(DAN.uid) is Role.MUTED


def test_r7_what_a_revoked_seat_did_counts_up_to_the_pin_and_no_further(book):
    first = book.role(BEN, DAN, "muted", auth=book.ben, prev=book.cleo)
    second = book.role(BEN, EVE, "muted", auth=book.ben, prev=first)
    book.revoke(ANA, book.ben, pin=first)
    state = book.state
    assert state.seat_of(BEN.uid) is None
    assert state.seat_of(CLEO.uid) is not None
    assert (state.role_of(DAN.uid), state.role_of(EVE.uid)) == (Role.MUTED, Role.SPEAKER)
    assert second.id not in state.counting


def test_r7_nothing_written_into_the_past_of_a_revoked_seat_counts(book):
    first = book.role(BEN, DAN, "muted", auth=book.ben, prev=book.cleo)
    book.revoke(ANA, book.ben, pin=first)
    before = book.state
    for prev in (None, book.cleo, first):
        book.role(BEN, EVE, "ban", auth=book.ben, prev=prev)
        book.grant(BEN, EVE, "moderator", auth=book.ben, prev=prev)
    assert book.state == before


@pytest.mark.parametrize("pin", [None, nothing("entry")])
def test_r7_without_a_pin_that_is_known_nothing_of_the_seat_counts(book, pin):
    book.role(BEN, DAN, "muted", auth=book.ben)
    book.role(CLEO, EVE, "muted", auth=book.cleo)
    book.revoke(ANA, book.ben, pin=pin)
    state = book.state
    assert [seat.uid for seat in state.seats] == [ANA.uid, BEN.uid]
    assert state.role_of(DAN.uid) is state.role_of(EVE.uid) is Role.SPEAKER


def test_r7_of_several_revokes_every_pin_must_allow_it(book):
    entries = [book.cleo]
    for name in "fghij":
        entries.append(book.role(BEN, person(name), "muted", auth=book.ben, prev=entries[-1]))
    side = book.role(BEN, person("k"), "muted", auth=book.ben, prev=entries[2])
    book.revoke(ANA, book.ben, pin=entries[4])
    assert [each.id in book.state.counting for each in entries] == [True] * 5 + [False]
    second = book.revoke(ANA, book.ben, pin=side, prev=None)
    assert [each.id in book.state.counting for each in entries] == [True] * 3 + [False] * 3
    assert side.id not in book.state.counting
    third = book.revoke(ANA, book.ben, pin=entries[3], prev=second)
    assert [each.id in book.state.counting for each in entries] == [True] * 3 + [False] * 3
    book.revoke(ANA, book.ben, pin=entries[1], prev=third)
    assert [each.id in book.state.counting for each in entries] == [True] * 2 + [False] * 4


def test_r7_a_pin_into_another_seat_keeps_nothing(book):
    book.role(BEN, DAN, "muted", auth=book.ben)
    other = book.role(ANA, EVE, "muted")
    book.revoke(ANA, book.ben, pin=other)
    assert book.state.role_of(DAN.uid) is Role.SPEAKER
    assert book.state.role_of(EVE.uid) is Role.MUTED


def test_r7_a_revoke_that_does_not_count_any_more_gives_the_seat_back(book):
    revoke = book.revoke(BEN, book.cleo, auth=book.ben, prev=book.cleo)
    assert book.state.seat_of(CLEO.uid) is None
    book.revoke(ANA, book.ben, pin=book.cleo)
    assert book.state.seat_of(CLEO.uid) is not None
    assert revoke.id not in book.state.counting


def test_r7_a_malicious_moderator_s_bans_are_all_taken_back_at_once(book):
    last = None
    for each in (DAN, EVE, person("f"), person("g")):
        last = book.role(CLEO, each, "ban", auth=book.cleo, prev=last)
    assert book.state.role_of(EVE.uid) is Role.BAN
    book.revoke(BEN, book.cleo, auth=book.ben)
    assert {book.state.role_of(each.uid) for each in (DAN, EVE)} == {Role.SPEAKER}


def test_r8_64_grants_count_and_no_more():
    book = Logbook(host=ANA)
    last, made = None, []
    for number in range(65):
        last = book.grant(ANA, person(f"p{number}"), "moderator", prev=last)
        made.append(last)
    state = book.state
    assert [seat.grant for seat in state.seats[1:]] == made[:64]
    assert made[64].id not in state.counting
    book.role(person("p64"), DAN, "ban", auth=made[64])
    assert book.state.role_of(DAN.uid) is Role.SPEAKER


def test_r8_the_creator_s_grants_come_before_a_host_s(book):
    for number in range(80):
        book.grant(BEN, person(f"p{number}"), "moderator", auth=book.ben)
    last = None
    for number in range(10):
        last = book.grant(ANA, person(f"q{number}"), "moderator", prev=last)
    state = book.state
    assert len(state.seats) == 65
    assert state.seat_of(person("q9").uid) is not None
    book.revoke(ANA, book.ben)
    assert len(book.state.seats) == 12


# ── R9 and R10: which entry decides ──────────────────────────────────────────────────────────


def test_r9_a_later_word_replaces_the_one_it_names(book):
    ban = book.role(BEN, DAN, "ban", auth=book.ben)
    pardon = book.role(BEN, DAN, "speaker", auth=book.ben, prev=ban, over=[ban])
    assert book.state.role_of(DAN.uid) is Role.SPEAKER
    book.role(BEN, DAN, "muted", auth=book.ben, prev=pardon, over=[pardon])
    assert book.state.role_of(DAN.uid) is Role.MUTED


def test_r9_an_equal_replaces_an_equal_and_a_lower_one_never_a_higher(book):
    dan = book.grant(BEN, DAN, "moderator", auth=book.ben)
    by_cleo = book.role(CLEO, EVE, "ban", auth=book.cleo)
    by_dan = book.role(DAN, EVE, "speaker", auth=dan, over=[by_cleo])
    assert book.state.role_of(EVE.uid) is Role.SPEAKER
    by_ben = book.role(BEN, EVE, "muted", auth=book.ben, over=[by_dan])
    book.role(DAN, EVE, "speaker", auth=dan, prev=by_dan, over=[by_ben])
    assert book.state.role_of(EVE.uid) is Role.MUTED


def test_r9_a_lower_one_who_names_an_entry_too_shields_it_from_nobody(book):
    ban = book.role(BEN, DAN, "ban", auth=book.ben)
    for entries in (1, -1):
        by_cleo = book.role(CLEO, DAN, "speaker", auth=book.cleo, over=[ban])
        by_ana = book.role(ANA, DAN, "speaker", over=[ban])
        assert book.fold(book.entries[::entries]).role_of(DAN.uid) is Role.SPEAKER
        book.entries.remove(by_cleo)
        book.entries.remove(by_ana)


def test_r9_an_entry_replaces_only_what_is_about_the_same(book):
    ban = book.role(ANA, DAN, "ban")
    title = book.write(ANA, Act.TITLE, None, "coffee")
    book.role(ANA, EVE, "speaker", over=[ban, title])
    assert book.state.role_of(DAN.uid) is Role.BAN
    assert book.state.title == "coffee"


def test_r9_an_entry_that_does_not_count_replaces_nothing(book):
    ban = book.role(ANA, DAN, "ban")
    book.role(EVE, DAN, "speaker", over=[ban])
    book.role(BEN, DAN, "speaker", auth=book.cleo, over=[ban])
    assert book.state.role_of(DAN.uid) is Role.BAN


def test_r10_of_several_words_about_a_person_the_most_restrictive_decides(book):
    dan = book.grant(BEN, DAN, "moderator", auth=book.ben)
    for role in ("speaker", "muted", "listener", "remove", "ban"):
        book.role(DAN, EVE, role, auth=dan)
        book.role(ANA, EVE, "speaker")
        assert book.state.role_of(EVE.uid) is Role(role)
    book.role(DAN, EVE, "listener", auth=dan)
    assert book.state.role_of(EVE.uid) is Role.BAN


def test_r10_a_room_is_locked_closed_and_over_rather_than_not(book):
    for value in (True, False):
        book.write(ANA, Act.LOCK, None, value)
    for access in (Access.SOCIAL, Access.CLOSED, Access.OPEN):
        book.write(ANA, Act.ACCESS, None, int(access))
    assert (book.state.locked, book.state.access) == (True, Access.CLOSED)
    assert not book.state.ended
    book.write(ANA, Act.END)
    state = book.state
    assert state.ended
    assert not state.may_speak(ANA.uid)


def test_r10_the_strictest_chat_holds(book):
    assert book.state.chat is True
    for value, holds in ((True, True), (1, 1), (3_600, 3_600), (30, 3_600), (False, False)):
        book.write(ANA, Act.CHAT, None, value)
        assert book.state.chat is holds or book.state.chat == holds
        assert isinstance(book.state.chat, bool) == isinstance(holds, bool)
    book.write(ANA, Act.CHAT, None, 3_601)
    book.write(ANA, Act.CHAT, None, 0)
    assert book.state.chat is False


def test_r10_an_end_is_undone_by_revoking_the_seat_that_made_it(book):
    book.write(BEN, Act.END, auth=book.ben)
    assert book.state.ended
    book.revoke(ANA, book.ben)
    assert not book.state.ended


def test_r10_of_equal_words_the_higher_level_s_decides_then_the_lower_id(book):
    low = book.write(CLEO, Act.TITLE, None, "by cleo", auth=book.cleo)
    assert book.state.title == "by cleo"
    for number in range(8):
        book.write(BEN, Act.TITLE, None, f"by ben {number}", auth=book.ben)
    titles = [each for each in book.entries if each.record.act is Act.TITLE and each != low]
    assert book.state.title == min(titles, key=lambda each: each.id).record.val
    book.write(ANA, Act.TITLE, None, "by ana")
    assert book.state.title == "by ana"


# ── R11 and R12: what a person is ────────────────────────────────────────────────────────────


def test_r11_a_room_with_a_stage_makes_newcomers_listeners_but_not_those_who_run_it(book):
    default = book.role(ANA, None, "listener")
    state = book.state
    assert (state.role_of(DAN.uid), state.level(DAN.uid)) == (Role.LISTENER, Level.LISTENER)
    assert {state.role_of(each.uid) for each in (ANA, BEN, CLEO)} == {Role.SPEAKER}
    book.role(CLEO, DAN, "speaker", auth=book.cleo)
    assert (book.state.role_of(DAN.uid), book.state.level(DAN.uid)) == (Role.SPEAKER, Level.SPEAKER)
    assert book.state.why(EVE.uid) == (default,)


def test_r11_a_moderator_s_word_about_a_person_ends_when_that_person_gets_a_seat(book):
    book.role(CLEO, DAN, "muted", auth=book.cleo)
    assert (book.state.role_of(DAN.uid), book.state.level(DAN.uid)) == (Role.MUTED, Level.SPEAKER)
    book.grant(ANA, DAN, "moderator")
    assert book.state.role_of(DAN.uid) is Role.SPEAKER


@pytest.mark.parametrize("access", [Access.SOCIAL, Access.CLOSED])
def test_r12_a_closed_room_lets_in_whom_an_entry_names(access):
    book = Logbook(host=ANA, access=access)
    book.grant(ANA, CLEO, "moderator")
    book.role(ANA, DAN, "listener")
    book.role(ANA, None, "muted")
    state = book.state
    assert state.role_of(EVE.uid) is None
    assert not state.may_speak(EVE.uid)
    assert [state.role_of(each.uid) for each in (ANA, CLEO, DAN)] == [
        Role.SPEAKER,
        Role.SPEAKER,
        Role.LISTENER,
    ]


@pytest.mark.parametrize("access", [Access.OPEN, Access.LAN])
def test_r12_an_open_room_lets_in_everybody_it_has_not_put_out(access):
    book = Logbook(host=ANA, access=access)
    book.role(ANA, DAN, "remove")
    assert book.state.role_of(EVE.uid) is Role.SPEAKER
    assert book.state.role_of(DAN.uid) is Role.REMOVE


# ── R13: who may write ───────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("role", Role)
def test_r13_who_is_inside_may_write_whatever_its_place_and_who_is_put_out_may_not(book, role):
    assert book.state.may_chat(DAN.uid)
    book.role(ANA, DAN, role.value)
    assert book.state.may_chat(DAN.uid) == (role not in (Role.BAN, Role.REMOVE, Role.RELAY))


def test_r13_who_is_not_let_in_yet_may_not_write(book):
    book.write(ANA, Act.ACCESS, None, int(Access.CLOSED))
    assert not book.state.may_chat(DAN.uid)
    assert book.state.may_chat(CLEO.uid)


def test_r13_while_chat_is_off_only_who_has_a_seat_may_write(book):
    off = book.write(ANA, Act.CHAT, None, False)
    assert [book.state.may_chat(each.uid) for each in (ANA, BEN, CLEO)] == [True] * 3
    assert not book.state.may_chat(DAN.uid)
    book.write(ANA, Act.CHAT, None, 30, over=[off])
    assert book.state.may_chat(DAN.uid)


# ── questions ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("act", Act)
def test_may_says_beforehand_whether_an_entry_will_count(book, act):
    seats = {"ana": None, "ben": book.ben, "cleo": book.cleo, "dan": book.grant(ANA, DAN, "host")}
    values: dict[Act, list[str | int]] = {
        Act.GRANT: ["host", "moderator"],
        Act.ROLE: ["muted"],
        Act.TITLE: ["x"],
        Act.LOCK: [True],
        Act.ACCESS: [int(Access.CLOSED)],
        Act.CHAT: [False, 30],
    }
    about_people = act in (Act.GRANT, Act.REVOKE, Act.ROLE)
    for author in (ANA, BEN, CLEO, DAN, EVE):
        for subject in (BEN, CLEO, DAN, EVE) if about_people else (None,):
            for value in values.get(act, [None]):
                uid = subject.uid if subject else None
                expected = book.state.may(author.uid, act, uid, value)
                name: UserKey | RecordId | None = uid
                if act is Act.REVOKE and subject:
                    seat = seats.get(subject.name)
                    name = seat.id if seat else nothing("seat")
                written = book.write(author, act, name, value, auth=seats.get(author.name))
                counts = written.id in book.state.counting
                assert counts == expected, (author.name, act, subject, value)
                book.entries.remove(written)


@pytest.mark.parametrize("act", [Act.REVOKE, Act.ROLE])
def test_nobody_may_do_anything_to_the_creator(book, act):
    assert not any(book.state.may(each.uid, act, ANA.uid) for each in (ANA, BEN, CLEO, EVE))


def test_why_names_the_entries_that_made_a_person_what_it_is(book):
    ban = book.role(BEN, CLEO, "ban", auth=book.ben)
    revoke = book.revoke(BEN, book.cleo, auth=book.ben, prev=ban)
    milder = book.role(ANA, CLEO, "remove")
    assert book.state.why(CLEO.uid) == (book.cleo, revoke, ban, milder)
    assert book.state.why(BEN.uid) == (book.ben,)
    assert book.state.why(ANA.uid) == ()


def test_a_chain_of_hundreds_is_folded_whatever_end_comes_first(book):
    last = None
    for number in range(400):
        last = book.role(BEN, person(f"p{number % 7}"), "muted", auth=book.ben, prev=last)
    backwards = list(reversed(book.entries))
    assert book.fold(backwards) == book.state
    assert len(book.state.counting) == 402
