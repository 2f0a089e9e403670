"""What is kept of a room's chat and what is shown of it, whatever came first."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2phouse.errors import PeerError
from p2phouse.identity.keys import Me, make_identity
from p2phouse.record import envelope, limits
from p2phouse.record.envelope import Signed
from p2phouse.record.types import Act, Chat, ChatKind
from p2phouse.room import chat
from p2phouse.room.chat import Chats
from p2phouse.room.chat_view import View
from p2phouse.vocabulary import Now, RecordId
from tests.room.logbook import NOW, Logbook, nothing
from tests.room.scribble import ANA, BEGAN, BEN, CLEO, DAN, EVE, Scribble


@pytest.fixture
def tea() -> Scribble:
    return Scribble()


def stranger(number: int) -> Me:
    return make_identity(now=NOW, entropy=lambda size: bytes([number]) * size)


def read(tea: Scribble, signed: Signed[Chat]) -> object:
    return chat.read(signed.data, tea.book.genesis)


# ── one record by itself ─────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "more",
    [
        {"text": ""},
        {"text": "x", "ref": nothing("a")},
        {"text": "", "kind": ChatKind.DELETE},
        {"text": "x", "kind": ChatKind.DELETE, "ref": nothing("a")},
        {"text": "", "kind": ChatKind.UNPIN},
        {"text": "", "kind": ChatKind.PIN},
        {"text": "", "kind": ChatKind.MODS},
        {"text": "x", "kind": ChatKind.PIN, "ref": nothing("a")},
        {"text": "x", "room": nothing("another room")},
    ],
)
def test_a_record_that_no_honest_node_writes_ends_the_link_that_brings_it(tea, more):
    with pytest.raises(PeerError):
        read(tea, tea.add(DAN, **more))


def test_a_pin_has_200_characters_and_no_more(tea):
    assert limits.PIN_CODE_POINTS_MAX == 200
    assert read(tea, tea.pin(ANA, "x" * 200))
    with pytest.raises(PeerError):
        read(tea, tea.pin(ANA, "x" * 201))


def test_the_longest_text_that_a_node_writes_fits_into_a_record(tea):
    assert limits.CHAT_TEXT_BYTES_MAX == 720
    longest = tea.add(DAN, "\U0001f600" * 180, n=2**53, kind=ChatKind.MODS, ts=2**40)
    assert len(longest.data) <= 1_024
    with pytest.raises(AssertionError, match="of 10"):
        tea.add(DAN, "\U0001f600" * 200, n=2**53, ts=2**40)


def test_a_kind_of_a_later_version_is_passed_over(tea):
    assert read(tea, tea.add(DAN, "x", kind=5)) is None


# ── who is read ──────────────────────────────────────────────────────────────────────────────


def test_messages_stand_in_the_order_of_their_times_and_bear_their_authors_names(tea):
    tea.add(DAN, "second", 20)
    tea.add(EVE, "first", 10)
    tea.add(ANA, "third", 30)
    messages = tea.view().messages
    assert [(each.name, each.text) for each in messages] == [
        ("eve", "first"),
        ("dan", "second"),
        ("ana", "third"),
    ]


def test_the_audience_may_write(tea):
    tea.book.role(ANA, None, "listener")
    tea.add(DAN, "hello")
    assert tea.shown == ["hello"]


def test_nobody_writes_under_another_person_s_name(tea):
    tea.add(EVE, "I am Dan", uid=DAN.uid)
    tea.identities[RecordId(DAN.record.id)] = DAN.record
    tea.add(EVE, "so am I", uid=DAN.uid, idrec=DAN.record.id)
    assert tea.shown == []


def test_a_proof_that_had_run_out_before_the_room_began_proves_nothing(tea):
    early = Now(0.0, NOW.unix - 90 * 86_400 - 1)
    old = make_identity(now=early, entropy=lambda size: b"o" * size, name="old")
    tea.add(old, "am I still here?")
    assert tea.shown == []


@pytest.mark.parametrize(("at", "shown"), [(-121, False), (-120, True), (43_320, True)])
def test_what_claims_to_be_from_outside_the_room_s_life_is_not_kept(tea, at, shown):
    began, ends = tea.book.genesis.record.created - BEGAN, tea.book.genesis.record.exp - BEGAN
    assert (began, ends) == (0, 43_200)
    tea.add(DAN, "when?", at)
    assert (tea.shown == ["when?"]) == shown
    tea.add(DAN, "long after", ends + 121)
    assert "long after" not in tea.shown


@pytest.mark.parametrize("role", ["ban", "remove"])
def test_who_is_put_out_is_read_no_more_and_takes_all_of_it_along(tea, role):
    tea.add(DAN, "before")
    tea.add(EVE, "between", 1)
    chats = tea.chats()
    tea.book.role(ANA, DAN, role)
    late = tea.add(DAN, "after", 60)
    assert not chats.add(late, DAN.record, tea.book.state)
    assert [each.text for each in View(chats, tea.book.state).messages] == ["between"]


def test_who_waits_in_the_lobby_is_not_read(tea):
    tea.book.write(ANA, Act.ACCESS, None, 2)
    tea.add(DAN, "let me in")
    tea.add(CLEO, "wait", 1)
    assert tea.shown == ["wait"]
    tea.book.role(ANA, DAN, "listener")
    assert tea.shown == ["let me in", "wait"]


# ── the switch, and slow mode ────────────────────────────────────────────────────────────────


def test_while_chat_is_off_only_those_who_run_the_room_are_read(tea):
    tea.add(DAN, "before")
    chats = tea.chats()
    tea.book.chat(False)
    assert not chats.add(tea.add(DAN, "anyway", 5), DAN.record, tea.book.state)
    chats.add(tea.add(CLEO, "quiet, please", 9), CLEO.record, tea.book.state)
    assert [each.text for each in View(chats, tea.book.state).messages] == ["quiet, please"]
    tea.book.chat(True)
    assert [each.text for each in View(chats, tea.book.state).messages] == [
        "before",
        "quiet, please",
    ]


def test_in_slow_mode_a_person_is_read_once_in_so_many_seconds_by_its_own_times(tea):
    tea.book.chat(30)
    for at in (0, 10, 29, 30, 59, 61):
        tea.add(DAN, f"{at}", at)
    tea.add(EVE, "eve", 11)
    assert tea.shown == ["0", "eve", "30", "61"]


def test_slow_mode_is_not_for_those_who_run_the_room(tea):
    tea.book.chat(3_600)
    for at in (0, 1, 2):
        tea.add(CLEO, f"{at}", at)
    assert tea.shown == ["0", "1", "2"]


def test_a_person_s_sixth_message_within_a_second_is_not_shown_and_then_one_a_second_is(tea):
    assert limits.CHAT_BURST_MAX == 5
    for number in range(7):
        tea.add(DAN, f"burst {number}", 10)
    for at in (11, 12, 12):
        tea.add(DAN, f"at {at}", at)
    view = tea.view()
    assert len([each for each in view.messages if each.text.startswith("burst")]) == 5
    assert len([each for each in view.messages if each.text.startswith("at")]) == 2
    assert view.spacing(DAN.uid).wait_s(BEGAN + 12) == 1
    assert view.spacing(DAN.uid).wait_s(BEGAN + 13) == 0


def test_how_long_one_must_wait_is_how_long_it_takes_until_one_is_shown(tea):
    tea.book.chat(20)
    tea.add(DAN, "first", 10)
    wait_s = tea.view().spacing(DAN.uid).wait_s(BEGAN + 13)
    assert wait_s == 17
    tea.add(DAN, "too soon", 10 + 3 + wait_s - 1)
    tea.add(DAN, "in time", 10 + 3 + wait_s)
    assert tea.shown == ["first", "in time"]


# ── taking back ──────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("by", "of", "gone"),
    [
        (DAN, DAN, True),
        (EVE, DAN, False),
        (CLEO, DAN, True),
        (BEN, CLEO, True),
        (CLEO, BEN, False),
        (ANA, BEN, True),
        (BEN, ANA, False),
        (CLEO, CLEO, True),
    ],
    ids=lambda each: getattr(each, "name", str(each)),
)
def test_a_message_is_deleted_by_its_author_or_from_above(tea, by, of, gone):
    message = tea.add(of, "hm")
    tea.delete(by, message)
    (shown,) = tea.view().messages
    assert (shown.deleted, shown.text) == (gone, "" if gone else "hm")


def test_a_delete_waits_for_what_it_deletes(tea):
    message = tea.add(DAN, "hm")
    delete = tea.delete(CLEO, message)
    (shown,) = tea.view([delete, message]).messages
    assert shown.deleted


def test_a_moderator_who_loses_the_seat_has_deleted_nothing(tea):
    tea.delete(CLEO, tea.add(DAN, "hm"))
    chats = tea.chats()
    tea.book.revoke(BEN, tea.book.cleo, auth=tea.book.ben)
    (shown,) = View(chats, tea.book.state).messages
    assert shown.text == "hm"


def test_256_deletes_wait_and_no_more_and_32_of_one_person(tea):
    assert limits.CHAT_ASIDE_MAX == 256
    crowd = [stranger(number) for number in range(1, 12)]
    for member in crowd:
        for number in range(40):
            tea.delete(member, nothing(f"{number}"), number)
    assert len(tea.chats()) == 256
    tea.records = [each for each in tea.records if each.record.uid == crowd[0].uid]
    assert len(tea.chats()) == 32


def test_of_one_message_four_deletes_are_kept_and_its_author_s_is_among_them(tea):
    assert limits.TAKEN_BACK_MAX == 4
    message, deletes = tea.add(DAN, "hm"), []
    for letter in b"fghij":
        above = stranger(letter)
        tea.book.grant(ANA, above, "moderator")
        deletes += [tea.delete(above, message), tea.delete(above, message)]
    own = tea.delete(DAN, message)
    kept = list(tea.chats([message, *deletes, own]).taken_back_by(message.id))
    assert len(kept) == len({each.record.uid for each in kept}) == 4
    assert own in kept


# ── pins and the moderators' channel ─────────────────────────────────────────────────────────


def test_the_last_three_pins_of_those_who_run_the_room_are_shown(tea):
    assert limits.PINS_SHOWN_MAX == 3
    for at, author in enumerate((CLEO, BEN, DAN, ANA, CLEO)):
        tea.pin(author, f"https://{author.name}.example/{at}", at)
    assert tea.pinned == [
        "https://ben.example/1",
        "https://ana.example/3",
        "https://cleo.example/4",
    ]


@pytest.mark.parametrize(
    ("by", "of", "gone"),
    [(CLEO, CLEO, True), (CLEO, BEN, False), (BEN, CLEO, True), (DAN, CLEO, False)],
    ids=lambda each: getattr(each, "name", str(each)),
)
def test_a_pin_is_taken_off_by_its_own_level_or_from_above(tea, by, of, gone):
    tea.pin(CLEO, "older")
    pin = tea.pin(of, "newer", 5)
    tea.unpin(by, pin, 6)
    assert tea.pinned == (["older"] if gone else ["older", "newer"])


def test_an_unpin_deletes_no_message_and_a_delete_unpins_nothing(tea):
    pin, message = tea.pin(CLEO, "pinned"), tea.add(CLEO, "said")
    tea.delete(CLEO, pin)
    tea.unpin(CLEO, message)
    assert tea.pinned == ["pinned"]
    assert tea.shown == ["said"]
    tea.records.reverse()
    assert tea.pinned == ["pinned"]
    assert tea.shown == ["said"]


def test_pins_go_with_the_seat_they_were_made_from(tea):
    tea.pin(CLEO, "hello")
    chats = tea.chats()
    tea.book.revoke(BEN, tea.book.cleo, auth=tea.book.ben)
    assert View(chats, tea.book.state).pins == ()


def test_60_pins_are_kept_and_no_more_and_20_of_one_person(tea):
    assert limits.PINS_KEPT_MAX == 60
    for author in (ANA, BEN, CLEO):
        for at in range(21):
            tea.pin(author, f"{at}", at)
    assert len(tea.chats()) == 60
    tea.records = [each for each in tea.records if each.record.uid == ANA.uid]
    assert len(tea.chats()) == 20
    dora = stranger(4)
    tea.book.grant(BEN, dora, "moderator", auth=tea.book.ben, prev=tea.book.cleo)
    assert tea.book.state.runs(dora.uid)
    for author in (BEN, CLEO, dora):
        for at in range(20):
            tea.pin(author, f"{at}", 100 + at)
    assert len(tea.chats()) == 60


def test_only_those_who_run_the_room_write_in_the_moderators_channel(tea):
    tea.mods(CLEO, "look at Dan")
    tea.mods(DAN, "look at Cleo")
    assert [each.text for each in tea.view().mods] == ["look at Dan"]
    assert tea.shown == []


def test_200_messages_of_the_moderators_channel_are_kept_and_no_more(tea):
    assert limits.MODS_KEPT_MAX == 200
    for author in (ANA, BEN, CLEO):
        for at in range(70):
            tea.mods(author, f"{at}", at)
    assert len(tea.chats()) == 200
    assert len(tea.view().mods) == 200


# ── one state ────────────────────────────────────────────────────────────────────────────────


def test_of_two_messages_that_a_device_gives_one_number_all_come_to_show_the_same(tea):
    one, other = tea.add(DAN, "yes", 1, n=7), tea.add(DAN, "no", 2, n=7)
    lower = min(one, other, key=lambda each: each.id)
    for order in ([one, other], [other, one]):
        (shown,) = tea.view(order).messages
        assert shown.signed == lower


def test_500_messages_are_kept_and_no_more_and_100_of_one_person(tea):
    assert limits.CHAT_KEPT_MAX == 500
    assert limits.CHAT_KEPT_PER_AUTHOR_MAX == 100
    for number in range(1, 7):
        member = stranger(number)
        for at in range(101):
            tea.add(member, f"{number} {at}", 10 * at)
    first = [each for each in tea.records if each.record.uid == tea.records[0].record.uid]
    assert len(tea.chats(first)) == 100
    view = tea.view()
    assert len(view.messages) == 500
    assert min(each.signed.record.ts for each in view.messages) == BEGAN + 10 * 17


AUTHORS = [ANA, BEN, CLEO, DAN, EVE]
WORDS = st.tuples(
    st.integers(0, 4), st.sampled_from(ChatKind), st.integers(0, 40), st.integers(0, 99)
)


@settings(max_examples=150)
@given(
    words=st.lists(WORDS, max_size=30),
    mode=st.sampled_from([True, True, False, 1, 10]),
    rng=st.randoms(use_true_random=False),
)
def test_whatever_comes_in_whatever_order_and_however_often_is_one_chat(words, mode, rng):
    tea = Scribble()
    tea.book.chat(mode)
    for who, kind, at, of in words:
        author = AUTHORS[who]
        if kind in chat.TAKES_BACK:
            target = tea.records[of % len(tea.records)] if tea.records else nothing("a")
            tea.add(author, "", at, kind, target)
        else:
            tea.add(author, f"{of}", at, kind, n=of)
    views = []
    for _ in range(3):
        again = tea.records * 2
        rng.shuffle(again)
        views.append(tea.view(again))
    assert len({(view.messages, view.pins, view.mods) for view in views}) == 1


@settings(max_examples=60)
@given(rng=st.randoms(use_true_random=False))
def test_what_is_kept_of_a_full_chat_does_not_depend_on_what_came_first(rng):
    shelf = chat._Shelf
    tea = Scribble()
    for number in range(40):
        tea.add(AUTHORS[number % 3], f"{number}", rng.randrange(20))
    kept = []
    for _ in range(3):
        rng.shuffle(tea.records)
        narrow = shelf(10, 4)
        for signed in tea.records:
            narrow.add(signed)
        kept.append(set(narrow.records))
    assert kept[0] == kept[1] == kept[2]
    assert len(kept[0]) == 10


# ── what somebody has missed ─────────────────────────────────────────────────────────────────


def fill(tea: Scribble, count: int, at: int = 0) -> list[Signed[Chat]]:
    return [tea.add(AUTHORS[i % 5], f"{i}", at + i) for i in range(count)]


def test_somebody_new_is_told_the_last_50_messages_the_pins_and_their_deletes(tea):
    fill(tea, 60)
    pin = tea.pin(ANA, "read me", 1)
    early, late = tea.delete(ANA, tea.records[0], 70), tea.delete(ANA, tea.records[59], 70)
    told = tea.chats().missing(b"", tea.book.state, mods=False)
    assert len(told) == 52
    assert pin in told
    assert late in told
    assert early not in told


def test_nobody_new_is_told_what_was_written_by_whom_the_room_put_out(tea):
    early = [tea.add(EVE, f"{i}", i) for i in range(40)]
    for at in range(60):
        tea.add(DAN, "spam", 100 + at)
    chats = tea.chats()
    tea.book.role(ANA, DAN, "ban")
    assert chats.missing(b"", tea.book.state, mods=False) == early


def test_who_was_away_is_told_all_that_was_written_meanwhile(tea):
    common = fill(tea, 5)
    fill(tea, 200, at=10)
    here, there = tea.chats(), tea.chats(common)
    told = here.missing(there.have(mods=False), tea.book.state, mods=False)
    assert len(told) == 200
    for signed in told:
        there.add(signed, tea.identities[RecordId(signed.record.idrec)], tea.book.state)
    assert here.missing(there.have(mods=False), tea.book.state, mods=False) == []


def test_two_parts_of_a_room_that_have_nothing_in_common_tell_each_other_everything(tea):
    here, there = fill(tea, 120), fill(tea, 120, at=200)
    assert (
        len(tea.chats(here).missing(tea.chats(there).have(mods=False), tea.book.state, mods=False))
        == 120
    )


def test_the_moderators_channel_and_what_is_deleted_there_is_told_to_moderators_alone(tea):
    tea.mods(CLEO, "psst")
    tea.delete(CLEO, tea.records[0], 1)
    tea.add(DAN, "hello")
    chats = tea.chats()
    assert len(chats.missing(b"", tea.book.state, mods=True)) == 3
    assert len(chats.missing(b"", tea.book.state, mods=False)) == 1
    assert len(chats.have(mods=False)) == 8
    assert len(chats.have(mods=True)) == 24


def test_identities_are_kept_for_as_long_as_a_record_names_them(tea):
    tea.add(DAN, "hello")
    chats = tea.chats()
    (signed,) = chats
    assert chats.identity_of(signed.record) == DAN.record
    for at in range(101):
        tea.add(EVE, f"{at}", at)
    other = Chats(Logbook(host=ANA, room="coffee").genesis)
    assert not other.holds(signed.data)
    renamed = replace(DAN.record.record, name="danny", seq=2)
    again = replace(DAN, record=envelope.sign(renamed, DAN.root_key))
    tea.add(again, "new name", 300)
    assert [each.name for each in tea.view().messages if each.uid == DAN.uid] == ["dan", "danny"]
