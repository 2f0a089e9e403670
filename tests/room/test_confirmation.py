"""A core on a table hears beats and digests, and says whether its log is all there is."""

import pytest

from p2phouse.errors import PeerError
from p2phouse.hall import invitation
from p2phouse.hall.invitation import Invitation
from p2phouse.identity.keys import Me
from p2phouse.record import envelope
from p2phouse.record.cbor import Value
from p2phouse.record.types import Act, Beat
from p2phouse.room import frames, messages
from p2phouse.room.frames import FrameKind
from p2phouse.room.messages import Decide, EventKind, Output, SendRoomFrame
from p2phouse.vocabulary import RoomId
from tests.room.table import Person, Table, kinds, of

CONFIRMED, UNCONFIRMED = EventKind.CONFIRMED, EventKind.UNCONFIRMED


@pytest.fixture
def table() -> Table:
    """A node that has just been let into ann's room, and is nobody in it."""
    table = Table()
    ann = table.person()
    other = Table(seed=9)  # where ann opens the room
    other.me, other.mono, other.unix = ann.me, table.mono, table.unix
    other.restart()
    other.open()
    genesis = other.here.genesis
    assert genesis is not None
    ann.genesis = genesis
    table.ann = ann  # type: ignore[attr-defined]
    table.ask(messages.Join(str(other.rooms.facts()["link"])))
    table.up(ann, outbound=True)
    table.frame(ann, ann.greeting(table.here.room, genesis))
    return table


@pytest.fixture
def ann(table: Table) -> Person:
    return table.ann  # type: ignore[attr-defined, no-any-return]


def beat_frame(table: Table, me: Me, digest: bytes | None = None, age_s: float = 0) -> list[Value]:
    record = Beat(
        room=table.here.room,
        dev=me.dev,
        count=0,
        digest=table.here.log.digest if digest is None else digest,
        en=0,
        ts=int(table.unix - age_s),
    )
    data = envelope.sign(record, me.device_key).data
    return [int(FrameKind.BEAT), data, me.record.data]


def tell_digest(table: Table, person: Person, digest: bytes | None = None) -> list[Output]:
    own = table.here.log.digest if digest is None else digest
    return table.frame(person, [int(FrameKind.DIGEST), own])


def is_confirmed(table: Table) -> bool:
    return table.rooms.facts()["confirmed"] is True


def sketches(outputs: list[Output]) -> list[SendRoomFrame]:
    return [each for each in of(SendRoomFrame, outputs) if each.frame[0] == FrameKind.SKETCH]


def beats(outputs: list[Output]) -> list[SendRoomFrame]:
    return [each for each in of(SendRoomFrame, outputs) if each.frame[0] == FrameKind.BEAT]


# ── when it is confirmed ─────────────────────────────────────────────────────────────────────


def test_a_beat_and_a_digest_of_everybody_confirm_the_log(table: Table, ann: Person):
    assert not is_confirmed(table)
    table.frame(ann, beat_frame(table, ann.me))
    assert not is_confirmed(table), "a beat alone"
    tell_digest(table, ann)
    assert is_confirmed(table)
    assert kinds(table.said).count(CONFIRMED) == 1


def test_with_more_members_two_must_have_told_theirs(table: Table, ann: Person):
    others = [table.person(f"p{number}") for number in range(3)]
    for person in others:
        table.let_in(person)
    table.frame(ann, beat_frame(table, ann.me))
    tell_digest(table, ann)
    assert not is_confirmed(table)
    tell_digest(table, others[0], bytes(32))
    assert is_confirmed(table), "what one of them says it holds takes nothing back"


def test_digests_without_a_beat_confirm_nothing(table: Table, ann: Person):
    tell_digest(table, ann)
    table.wait(30)
    assert not is_confirmed(table)


def test_the_beat_of_somebody_who_runs_nothing_confirms_nothing(table: Table, ann: Person):
    eve = table.person("eve")
    table.let_in(eve)
    for person in (ann, eve):
        tell_digest(table, person)
    table.frame(eve, beat_frame(table, eve.me))
    assert not is_confirmed(table)


def test_one_who_runs_a_room_alone_needs_nobody(table: Table):
    own = Table(seed=4)
    own.open()
    own.wait(2)
    assert is_confirmed(own)
    guest = own.person("guest")
    own.let_in(guest)
    tell_digest(own, guest)
    own.wait(300)
    assert is_confirmed(own)
    assert UNCONFIRMED not in kinds(own.said)


# ── when it is no longer ─────────────────────────────────────────────────────────────────────


def confirm(table: Table, ann: Person) -> None:
    tell_digest(table, ann)
    table.frame(ann, beat_frame(table, ann.me))
    assert is_confirmed(table)


def test_a_beat_that_disagrees_is_given_fifteen_seconds_and_no_more(table: Table, ann: Person):
    confirm(table, ann)
    table.frame(ann, beat_frame(table, ann.me, bytes(32)))
    table.wait(14.5)
    assert is_confirmed(table)
    table.wait(1)
    assert not is_confirmed(table)
    assert UNCONFIRMED in kinds(table.said)
    table.frame(ann, beat_frame(table, ann.me))
    assert is_confirmed(table)


def test_sixty_seconds_after_the_last_beat_nothing_is_confirmed(table: Table, ann: Person):
    confirm(table, ann)
    table.wait(59.5)
    assert is_confirmed(table)
    table.wait(1)
    assert not is_confirmed(table)


def test_a_beat_that_disagrees_has_us_ask_those_first_who_agree_with_it(table: Table, ann: Person):
    people = [table.person(f"p{number}") for number in range(4)]
    wanted = b"\7" * 32
    for person in people:
        table.let_in(person)
    for person in people[1:3]:
        tell_digest(table, person, wanted)
    table.wait(20)
    table.frame(ann, beat_frame(table, ann.me, wanted))
    said = table.wait(15)
    asked = sketches(said)
    assert len(asked) >= 4, "two of them, every five seconds"
    assert {each.dev for each in asked} == {people[1].dev, people[2].dev}


def test_while_all_agrees_nobody_is_asked(table: Table, ann: Person):
    confirm(table, ann)
    assert not sketches(table.wait(50))


# ── passing on ───────────────────────────────────────────────────────────────────────────────


def test_a_beat_of_a_seat_goes_on_once_to_all_but_its_teller_and_its_maker(
    table: Table, ann: Person
):
    ben, cleo = table.person("ben"), table.person("cleo")
    table.let_in(ben)
    table.let_in(cleo)
    frame = beat_frame(table, ann.me)
    said = table.frame(ben, frame)
    assert [(each.dev, each.frame) for each in beats(said)] == [(cleo.dev, frame)]
    for person in (ben, cleo, ann):
        assert not beats(table.frame(person, frame))


def test_a_copy_is_not_read_again(table: Table, ann: Person):
    """A member in a room of eight gets seven of each: their signatures are checked once."""
    ben = table.person("ben")
    table.let_in(ben)
    kind, beat, identity = beat_frame(table, ann.me)
    table.frame(ann, [kind, beat, identity])
    assert not table.frame(ben, [kind, beat, b"unread"])


def test_a_beat_of_nobody_goes_nowhere(table: Table):
    eve, ben = table.person("eve"), table.person("ben")
    table.let_in(eve)
    table.let_in(ben)
    assert not beats(table.frame(eve, beat_frame(table, eve.me)))
    assert not beats(table.frame(ben, beat_frame(table, eve.me)))


def test_beats_without_end_go_no_further(table: Table, ann: Person):
    ben = table.person("ben")
    table.let_in(ben)
    passed = 0
    for number in range(30):
        passed += len(beats(table.frame(ann, beat_frame(table, ann.me, bytes([number]) * 32))))
    assert passed == 8


@pytest.mark.parametrize("wrong", [[4], [4, b"", b"", b""], [4, 1, 2], [4, b"", b""]])
def test_what_is_no_beat_ends_the_link_and_changes_nothing(
    table: Table, ann: Person, wrong: list[Value]
):
    before = table.rooms.facts()
    with pytest.raises(PeerError):
        table.frame(ann, wrong)
    assert table.rooms.facts() == before


# ── ours ─────────────────────────────────────────────────────────────────────────────────────


def test_who_runs_a_room_beats_and_who_does_not_does_not(table: Table, ann: Person):
    assert not beats(table.wait(100))
    own = Table(seed=4)
    own.open()
    guest = own.person("guest")
    own.let_in(guest)
    first = beats(own.said)
    assert [each.dev for each in first] == [guest.dev], "at once, to somebody new"
    told = beats(own.wait(100))
    assert 4 <= len(told) <= 8
    record = envelope.read(bytes(told[-1].frame[1]), Beat).record  # type: ignore[arg-type]
    assert (record.dev, record.count, record.digest) == (own.me.dev, 0, own.here.log.digest)


def test_a_decision_is_followed_by_a_beat_within_six_seconds():
    own = Table(seed=4)
    own.open()
    guest = own.person("guest")
    own.let_in(guest)
    own.wait(3)
    own.ask(Decide(Act.TITLE, value="coffee"))
    (told,) = beats(own.wait(6))
    record = envelope.read(bytes(told.frame[1]), Beat).record  # type: ignore[arg-type]
    assert (record.count, record.digest) == (1, own.here.log.digest)


def test_a_join_names_the_beat_that_was_held_when_the_room_was_left(table: Table, ann: Person):
    confirm(table, ann)
    assert table.here.join.record.beat is None
    held = table.here.beats.heard[ann.dev].beat.id
    link, room = str(table.rooms.facts()["link"]), table.here.room
    table.ask(messages.Leave())
    table.ask(messages.Join(link.replace(link[link.index("?") :], _way_to(ann))))
    assert table.here.room == room
    assert table.here.join.record.beat == held


def _way_to(person: Person) -> str:
    text = invitation.write(Invitation(RoomId(bytes(32)), person.dev, person.addrs))
    return text[text.index("?") :]


def test_the_first_digest_comes_from_an_empty_log_too(table: Table):
    eve = table.person("eve")
    table.up(eve)
    said = table.greet(eve)
    digest = [each.frame for each in of(SendRoomFrame, said) if each.frame[0] == FrameKind.DIGEST]
    assert digest == [[int(FrameKind.DIGEST), table.here.log.digest]]
    assert len(table.here.log.digest) == frames.DIGEST_BYTES
