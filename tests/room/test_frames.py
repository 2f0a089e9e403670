"""What a room link may carry, and every way in which it may not."""

from dataclasses import replace

import pytest

from p2phouse.errors import PeerError
from p2phouse.hall.card import make_genesis
from p2phouse.record.cbor import Value
from p2phouse.record.types import Access
from p2phouse.room import frames
from p2phouse.room.frames import ByeReason, FrameRefused
from p2phouse.vocabulary import RoomId
from tests.room.table import Person, Table

JOIN, IDENTITY, ADDRS, MEMBERS, ENTRIES, SPEAKS = range(1, 7)


@pytest.fixture
def table() -> Table:
    table = Table()
    table.open()
    return table


@pytest.fixture
def ann(table: Table) -> Person:
    return table.person()


def read(table: Table, ann: Person, frame: list[Value]) -> frames.Greeting:
    return frames.read_greeting(frame, sender=ann.dev, room=table.here.room)


def with_field(table: Table, ann: Person, at: int, value: Value) -> list[Value]:
    greeting = ann.greeting(table.here.room, table.here.genesis)
    greeting[at] = value
    return greeting


def test_a_greeting_reads_back_as_what_was_said(table: Table, ann: Person):
    bob = table.person("bob")
    speak = ann.speak(table.here.room)
    frame = ann.greeting(table.here.room, table.here.genesis, members=[bob.dev], speaks=[speak])
    greeting = read(table, ann, frame)
    assert greeting.join.record.dev == ann.dev
    assert greeting.identity.record.name == "ann"
    assert greeting.addrs == ann.addrs
    assert [dev for dev, _ in greeting.members] == [bob.dev]
    assert greeting.genesis == table.here.genesis
    assert greeting.speaks == (speak,)


def test_who_joins_by_link_may_lack_the_genesis(table: Table, ann: Person):
    assert read(table, ann, ann.greeting(table.here.room, None)).genesis is None


@pytest.mark.parametrize("length", [1, 6, 8])
def test_a_greeting_of_another_length_is_refused(table: Table, ann: Person, length: int):
    frame = [*ann.greeting(table.here.room, table.here.genesis), b"", b""][:length]
    with pytest.raises(FrameRefused, match=f"{length} fields"):
        read(table, ann, frame)


def test_a_join_of_somebody_else_is_refused(table: Table, ann: Person):
    bob = table.person("bob")
    frame = with_field(table, ann, JOIN, bob.join(table.here.room).data)
    with pytest.raises(FrameRefused, match="somebody else"):
        read(table, ann, frame)


def test_a_join_for_another_room_is_refused(table: Table, ann: Person):
    frame = with_field(table, ann, JOIN, ann.join(RoomId(bytes(32))).data)
    with pytest.raises(FrameRefused, match="another room"):
        read(table, ann, frame)


def test_an_identity_that_the_join_does_not_name_is_refused(table: Table, ann: Person):
    bob = table.person("bob")
    frame = with_field(table, ann, IDENTITY, bob.me.record.data)
    with pytest.raises(FrameRefused, match="identity"):
        read(table, ann, frame)


def test_an_identity_that_does_not_list_the_device_is_refused(table: Table, ann: Person):
    """Ann's device names bob's identity as its own; bob never listed it."""
    bob = table.person("bob")
    stolen = Person(replace(ann.me, record=bob.me.record))
    with pytest.raises(FrameRefused, match="does not list"):
        read(table, ann, stolen.greeting(table.here.room, table.here.genesis))


def test_the_genesis_of_another_room_is_refused(table: Table, ann: Person):
    other = make_genesis(
        ann.me, title="Other", access=Access.OPEN, now=table.now, entropy=table.rng.randbytes
    )
    frame = with_field(table, ann, ENTRIES, [other.data])
    with pytest.raises(FrameRefused, match="another room"):
        read(table, ann, frame)


def test_a_voice_of_somebody_else_or_for_another_room_is_refused(table: Table, ann: Person):
    bob = table.person("bob")
    for speak in (bob.speak(table.here.room), ann.speak(RoomId(bytes(32)))):
        with pytest.raises(FrameRefused, match="speak record"):
            read(table, ann, with_field(table, ann, SPEAKS, [speak.data]))


@pytest.mark.parametrize(
    ("at", "value"),
    [
        (JOIN, 5),
        (JOIN, b"no record"),
        (IDENTITY, None),
        (ADDRS, b"no list"),
        (ADDRS, [b"a"] * 5),
        (ADDRS, [b"a" * 65]),
        (ADDRS, ["text"]),
        (MEMBERS, [[bytes(32), []]] * 33),
        (MEMBERS, [[bytes(31), []]]),
        (MEMBERS, [[bytes(32)]]),
        (MEMBERS, [[bytes(32), [], 1]]),
        (MEMBERS, [bytes(32)]),
        (ENTRIES, [b"no record"]),
        (ENTRIES, {}),
        (SPEAKS, [b""] * 3),
        (SPEAKS, "text"),
    ],
)
def test_what_does_not_belong_into_a_greeting_is_refused(
    table: Table, ann: Person, at: int, value: Value
):
    with pytest.raises(PeerError):
        read(table, ann, with_field(table, ann, at, value))


def test_soft_state_of_somebody_else_or_for_another_room_is_refused(table: Table, ann: Person):
    bob = table.person("bob")
    room = table.here.room
    for frame in (bob.mute_frame(room, True), ann.mute_frame(RoomId(bytes(32)), True)):
        with pytest.raises(FrameRefused, match="soft state"):
            frames.read_soft(frame[1], sender=ann.dev, room=room)


@pytest.mark.parametrize("reason", ByeReason)
def test_a_bye_says_why_in_words(reason: ByeReason):
    assert frames.read_bye(frames.bye(reason)) is reason
    assert frames.BYE_TEXTS[reason]


@pytest.mark.parametrize("frame", [[5], [5, 77], [5, b"x"], [5, None], [5, [1]]])
def test_a_bye_for_reasons_unknown_is_a_leaving(frame: list[Value]):
    assert frames.read_bye(frame) is ByeReason.LEAVING


@pytest.mark.parametrize("frame", [[1], [1, b"", b""]])
def test_a_frame_with_more_or_less_than_its_one_field_is_refused(frame: list[Value]):
    with pytest.raises(FrameRefused):
        frames.only_field(frame)


def test_a_frame_of_entries_holds_64_of_each_and_no_more():
    full: list[Value] = [b"entry"] * frames.ENTRIES_TOLD_MAX
    more: list[Value] = [*full, b""]
    assert frames.read_entries([2, full, full]) == (full, full)
    refused: list[list[Value]] = [[2, more, []], [2, [], more], [2, full], [2, ["x"], []]]
    for wrong in refused:
        with pytest.raises(FrameRefused):
            frames.read_entries(wrong)


@pytest.mark.parametrize("size", [31, 33])
def test_a_digest_of_another_length_is_refused(size):
    assert frames.read_exactly([6, bytes(32)], 32) == bytes(32)
    with pytest.raises(FrameRefused):
        frames.read_exactly([6, bytes(size)], 32)
