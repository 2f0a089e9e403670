"""News: what a hub tells its listeners, what a listener takes from it, and what nobody can do."""

import itertools

import pytest

from p2phouse.errors import PeerError
from p2phouse.record import cbor, envelope, limits
from p2phouse.record.cbor import Value
from p2phouse.record.types import Act, SoftKind, Speak
from p2phouse.room import frames, messages, news
from p2phouse.room.frames import FrameKind, FrameRefused
from p2phouse.room.messages import CloseRoomLink, EventKind, OpenRoomLink, SendRoomFrame
from p2phouse.room.news import News
from tests.room.company.people import fill
from tests.room.door.knocking import closed_room, let_in
from tests.room.table import ADDR, UNIX, Person, Table, frame_kinds, kinds, of
from tests.room.test_chat_exchange import say, shown, word

NUMBERS = itertools.count(1)


@pytest.fixture
def table() -> Table:
    table = Table()
    table.open()
    return table


def carry(table: Table, hub: Person | None, standby: Person | None = None) -> None:
    """As room/carrying.py leaves it. None: we are the hub."""
    here = table.here
    here.hub = table.me.dev if hub is None else hub.dev
    here.standby = None if standby is None else standby.dev
    here.wanted = None if hub is None else frozenset({hub.dev, here.standby} - {None})  # type: ignore[arg-type]
    table.tell(table.me.dev, messages.OwnAddresses((ADDR,)))


def told(outputs: list[messages.Output], to: Person) -> list[News]:
    sent = [each for each in of(SendRoomFrame, outputs) if each.dev == to.dev]
    return [news.read(each.frame) for each in sent if each.frame[0] == FrameKind.NEWS]


def said(outputs: list[messages.Output], to: Person) -> list[tuple[bytes | None, Value]]:
    return [(dev, frame[0]) for each in told(outputs, to) for dev, frame in each.said]


def present(table: Table, person: Person) -> list[Value]:
    return [person.join(table.here.room).data, person.me.record.data, [ADDR]]


def names(table: Table) -> set[str]:
    return {member.name for member in table.here.members.values()}


def tell(table: Table, hub: Person, *, people: int = 20, **more: object) -> list[messages.Output]:
    return table.frame(hub, news.frame_of(people, 3, **more))  # type: ignore[arg-type]


@pytest.fixture
def hub(table: Table) -> Person:
    """A hub that carries a room of twenty, of which we are in the audience."""
    person = table.person("hub")
    table.let_in(person)
    carry(table, person)
    table.ask(messages.StepDown())
    tell(table, person)
    return person


# ── being told ───────────────────────────────────────────────────────────────────────────────


def test_whom_the_hub_tells_of_is_there_and_speaks_and_needs_no_link_of_ours(table: Table):
    hub, ann = table.person("hub"), table.person("ann")
    table.let_in(hub)
    carry(table, hub)
    voice = ann.voice_frame(table.here.room)
    outputs = tell(table, hub, present=[present(table, ann)], said=[(ann.dev, voice)])
    assert EventKind.MEMBER_JOINED in kinds(outputs)
    member = table.here.members[ann.dev]
    assert member.ssrc is not None
    assert member.is_told
    assert table.rooms.facts()["people"] == 20
    assert table.rooms.facts()["on_stage"] == 2
    assert not of(SendRoomFrame, [each for each in outputs if getattr(each, "dev", 0) == ann.dev])


def test_hands_reactions_and_mutes_of_others_come_by_the_hub(table: Table, hub: Person):
    ann, room = table.person("ann"), table.here.room
    tell(table, hub, present=[present(table, ann)])
    words: list[news.Word] = [
        (ann.dev, ann.soft_frame(room, SoftKind.HAND, "cats")),
        (ann.dev, ann.soft_frame(room, SoftKind.REACTION, "👏")),
        (ann.dev, ann.mute_frame(room, muted=False)),
    ]
    seen = kinds(tell(table, hub, said=words))
    for kind in (EventKind.HAND_RAISED, EventKind.REACTION, EventKind.MEMBER_UNMUTED):
        assert kind in seen
    assert not kinds(tell(table, hub, said=words)), "said again"


def test_chat_comes_by_the_hub_and_is_passed_on_to_nobody(table: Table, hub: Person):
    ann = table.person("ann")
    signed = word(ann, table, "good evening")
    frame: list[Value] = [int(FrameKind.CHAT), [signed.data], [ann.me.record.data], None]
    tell(table, hub, said=[(None, frame)])
    assert shown(table) == ["good evening"]
    assert FrameKind.CHAT not in frame_kinds(table.wait(1))


def test_who_is_gone_or_not_named_any_more_is_there_no_more(table: Table, hub: Person):
    ann, bob = table.person("ann"), table.person("bob")
    tell(table, hub, present=[present(table, ann), present(table, bob)])
    prefix = table.here.members[ann.dev].join.id[:8]
    assert EventKind.MEMBER_LEFT in kinds(tell(table, hub, gone=[prefix]))
    assert {"hub", "bob"} <= names(table)
    tell(table, hub, here=[])
    assert names(table) == {"hub"}


def test_what_the_hub_keeps_back_the_standby_tells(table: Table, hub: Person):
    """A hub that says somebody is gone hides nobody of whom the standby tells."""
    standby, ann = table.person("standby"), table.person("ann")
    table.let_in(standby)
    carry(table, hub, standby)
    table.frame(standby, news.frame_of(20, 3, present=[present(table, ann)]))
    tell(table, hub, here=[])
    hand = ann.soft_frame(table.here.room, SoftKind.HAND, "I am here")
    table.frame(standby, news.frame_of(20, 3, said=[(ann.dev, hand)]))
    assert table.here.members[ann.dev].soft.hand is not None


def test_who_was_told_of_by_a_hub_whose_link_breaks_is_there_still(table: Table, hub: Person):
    """It is back in seconds, and names nobody twice."""
    standby, ann = table.person("standby"), table.person("ann")
    table.let_in(standby)
    carry(table, hub, standby)
    tell(table, hub, present=[present(table, ann)])
    table.frame(standby, news.frame_of(20, 3))
    table.down(hub)
    table.frame(standby, news.frame_of(20, 3))
    assert "ann" in names(table)
    table.frame(standby, news.frame_of(20, 3, gone=[ann.join(table.here.room).id[:8]]))
    assert "ann" not in names(table)


def test_nobody_else_is_listened_to(table: Table, hub: Person):
    eve, ann = table.person("eve"), table.person("ann")
    table.let_in(eve)
    assert not tell(table, eve, people=900, present=[present(table, ann)])
    assert ann.dev not in table.here.members
    assert table.rooms.facts()["people"] == 20


def test_nobody_is_made_up(table: Table, hub: Person):
    ann, eve = table.person("ann"), table.person("eve")
    join, identity = ann.join(table.here.room).data, ann.me.record.data
    for made_up in (
        [join, eve.me.record.data, []],
        [b"no record", identity, []],
        [ann.join(b"r" * 32).data, identity, []],  # type: ignore[arg-type]
        [join[:-1] + b"x", identity, []],
    ):
        tell(table, hub, present=[made_up])
        assert ann.dev not in table.here.members
        assert eve.dev not in table.here.members


def test_who_was_put_out_is_nobody_here_whatever_the_hub_tells(table: Table, hub: Person):
    ann = table.person("ann")
    table.let_in(ann)
    table.ask(messages.Decide(Act.ROLE, "ann", "ban"))
    assert ann.dev not in table.here.members
    outputs = tell(table, hub, present=[present(table, ann)])
    assert EventKind.MEMBER_JOINED not in kinds(outputs)
    assert ann.dev not in table.here.members


def test_who_was_not_let_in_is_nobody_in_a_closed_room_whatever_the_hub_tells():
    table = closed_room()
    hub, eve = table.person("hub"), table.person("eve")
    let_in(table, hub)
    carry(table, hub)
    table.ask(messages.StepDown())
    tell(table, hub, present=[present(table, eve)])
    assert eve.dev not in table.here.members


def test_of_two_joins_and_of_two_voices_that_are_brought_the_younger_counts(
    table: Table, hub: Person
):
    """Hub and standby both tell, and one of them may be late, or keep what suits it."""
    ann, room = table.person("ann"), table.here.room

    def joined(ts: float) -> list[Value]:
        return [ann.join(room, ts).data, ann.me.record.data, [ADDR]]

    def spoken(ts: float, sid: bytes) -> tuple[bytes, list[Value]]:
        record = Speak(room, ann.dev, sid * 16, 3, int(ts), bytes(32))
        return ann.dev, [int(FrameKind.SPEAK), envelope.sign(record, ann.me.device_key).data]

    for young, old in ((1, 0), (3, 2)):
        tell(table, hub, present=[joined(UNIX + young)], said=[spoken(UNIX + young, b"y")])
        tell(table, hub, present=[joined(UNIX + old)], said=[spoken(UNIX + old, b"o")])
        member = table.here.members[ann.dev]
        assert member.join.record.ts == UNIX + young
        assert member.speak is not None
        assert member.speak.record.created == UNIX + young


def test_a_hub_that_names_people_without_end_is_believed_of_256(table: Table, hub: Person):
    for _ in range(150):
        tell(table, hub, present=[present(table, table.person("ann")) for _ in range(2)])
        table.wait(0.5)
    assert len(table.here.news.here[hub.dev]) == 256
    assert len(table.here.members) <= 1 + 96


def test_a_forged_word_counts_for_nothing_and_the_others_do(table: Table, hub: Person):
    ann, eve, room = table.person("ann"), table.person("eve"), table.here.room
    tell(table, hub, present=[present(table, ann)])
    forged = (ann.dev, eve.soft_frame(room, SoftKind.HAND, "forged"))
    voice = (ann.dev, eve.voice_frame(room))
    true = (ann.dev, ann.mute_frame(room, muted=False))
    tell(table, hub, said=[forged, voice, true])
    member = table.here.members[ann.dev]
    assert (member.soft.hand, member.speak, member.muted) == (None, None, False)


def test_an_old_voice_that_the_hub_brings_again_counts_for_nothing(table: Table, hub: Person):
    ann, room = table.person("ann"), table.here.room
    voice = (ann.dev, ann.voice_frame(room))
    tell(table, hub, present=[present(table, ann)], said=[voice])
    off = (ann.dev, ann.soft_frame(room, SoftKind.ON_STAGE, val=False))
    tell(table, hub, said=[off, voice])
    assert table.here.members[ann.dev].speak is None


def test_who_has_a_link_to_a_speaker_takes_no_voice_of_it_from_the_hub(table: Table, hub: Person):
    ann, room = table.person("ann"), table.here.room
    table.let_in(ann)
    table.frame(ann, ann.voice_frame(room, slot=1, sid=b"2" * 16))
    mine = table.here.members[ann.dev].speak
    tell(table, hub, said=[(ann.dev, ann.voice_frame(room, slot=2))])
    assert table.here.members[ann.dev].speak == mine


def test_news_of_a_million_people_and_no_more_are_read():
    assert news.read(news.frame_of(limits.PEOPLE_MAX, 3)).people == 1_000_000
    with pytest.raises(FrameRefused):
        news.read(news.frame_of(limits.PEOPLE_MAX + 1, 3))


@pytest.mark.parametrize(
    ("at", "value"),
    [
        (1, -1),
        (1, True),
        (1, "many"),
        (3, [b"short"]),
        (3, [bytes(8)] * 257),
        (4, [[b"join", b"identity"]]),
        (4, [b"join"]),
        (4, [[b"", b"", []]] * 65),
        (5, [[b"dev"]]),
        (5, [[None, []]]),
        (5, [[None, [1, b""]]] * 65),
        (6, [bytes(9)]),
        (6, [bytes(8)] * 65),
        (6, None),
    ],
)
def test_news_of_another_shape_are_refused(at: int, value: Value):
    frame = news.frame_of(5, 3)
    frame[at] = value
    with pytest.raises(PeerError):
        news.read(frame)


def test_words_of_a_later_version_are_passed_over(table: Table, hub: Person):
    assert not kinds(tell(table, hub, said=[(None, [77, b"later"]), (hub.dev, [99])]))


def test_news_without_end_are_passed_over(table: Table, hub: Person):
    people = [table.person(f"p{number}") for number in range(30)]
    for person in people:
        tell(table, hub, present=[present(table, person)])
    assert len(table.here.members) < 20


def test_a_listener_knows_at_most_96_people_by_news(table: Table, hub: Person):
    for _ in range(4):
        people = [table.person(f"p{number}") for number in range(30)]
        tell(table, hub, present=[present(table, person) for person in people])
        table.wait(3)
    assert sum(member.is_told for member in table.here.members.values()) == 96


# ── telling ──────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def crowd(table: Table) -> list[Person]:
    """We carry a room of twelve: ourselves, a speaker, and ten who listen."""
    table.here.can_grow = True
    speaker, *audience = fill(table, 11)
    table.frame(speaker, speaker.voice_frame(table.here.room))
    carry(table, None)
    table.wait(1.5)
    return [speaker, *audience]


def test_a_new_listener_is_told_of_the_stage_at_once(table: Table, crowd: list[Person]):
    late = table.person("late")
    table.up(late)
    outputs = table.greet(late)
    welcome = told(outputs, late)[0]
    assert welcome.people == 13
    assert [item[0] for item in welcome.present] == [table.here.members[crowd[0].dev].join.data]
    assert (crowd[0].dev, FrameKind.SPEAK) in said(outputs, late)
    assert welcome.here is not None


def test_who_comes_down_from_the_stage_is_told_of_those_it_had_no_time_to_meet_there(
    table: Table, crowd: list[Person]
):
    speaker, ann = crowd[:2]
    room = table.here.room
    table.frame(ann, ann.voice_frame(room, slot=5))
    table.wait(2)
    assert not said(table.wait(3), ann), "on the stage they tell one another"
    outputs = table.frame(ann, ann.soft_frame(room, SoftKind.ON_STAGE, val=False))
    outputs += table.wait(2)
    assert (speaker.dev, FrameKind.SPEAK) in said(outputs, ann)
    assert sum(each.here is not None for each in told(outputs + table.wait(5), ann)) == 1


def test_what_a_listener_says_is_told_to_all_once_and_with_who_it_is(
    table: Table, crowd: list[Person]
):
    speaker, ann, bob = crowd[:3]
    outputs = table.frame(ann, ann.soft_frame(table.here.room, SoftKind.HAND, "cats"))
    outputs += table.wait(1.1)
    for person in (speaker, bob):
        (frame,) = told(outputs, person)
        assert [dev for dev, _ in frame.said] == [ann.dev]
        assert [item[1] for item in frame.present] == [ann.me.record.data]
    assert not told(table.wait(3), bob)


def test_one_frame_a_second_however_much_is_said(table: Table, crowd: list[Person]):
    for number in range(10):
        for ann in crowd[1:]:
            hand = ann.soft_frame(table.here.room, SoftKind.HAND, f"topic {number}")
            assert len(told(table.frame(ann, hand), crowd[1])) == (number == 0 and ann is crowd[1])
        assert not told(table.wait(0.05), crowd[1])
    outputs = table.wait(3.6)
    assert len(told(outputs, crowd[1])) <= 4
    last = [dev for each in told(outputs, crowd[1]) for dev, _ in each.said]
    assert sorted(last) == sorted(ann.dev for ann in crowd[1:]), "of each hand the last word"  # type: ignore[type-var]


def test_what_does_not_fit_into_4_kb_waits_its_turn(table: Table, crowd: list[Person]):
    """And what is fleeting is dropped for what lasts."""
    for ann in crowd[1:]:
        say(table, ann, word(ann, table, "x" * 400))
    ann = crowd[1]
    table.frame(ann, ann.soft_frame(table.here.room, SoftKind.REACTION, "👏"))
    outputs = table.wait(6)
    heard = told(outputs, crowd[1])
    sizes = [
        len(cbor.encode(each.frame))
        for each in of(SendRoomFrame, outputs)
        if each.dev == ann.dev and each.frame[0] == FrameKind.NEWS
    ]
    assert 2 < len(heard) <= 6
    assert max(sizes) <= limits.NEWS_BYTES_MAX + 64
    assert sum(len(each.said) for each in heard) == 10
    assert FrameKind.SOFT not in [frame[0] for each in heard for _, frame in each.said]


def test_what_a_listener_writes_goes_on_to_a_stage_that_it_knew_before_it_listened(
    table: Table, crowd: list[Person]
):
    """Of greetings in a mesh that is no more nobody has a link."""
    speaker, ann = crowd[:2]
    table.greet(speaker, members=[ann.dev])
    say(table, ann, word(ann, table, "good evening"))
    sent = [each for each in of(SendRoomFrame, table.wait(1)) if each.dev == speaker.dev]
    assert FrameKind.CHAT in [each.frame[0] for each in sent]


def test_what_one_listener_says_without_end_is_not_passed_on(table: Table, crowd: list[Person]):
    ann, bob = crowd[1:3]
    passed = 0
    for _ in range(10):
        for _ in range(8):
            table.frame(ann, ann.soft_frame(table.here.room, SoftKind.LOWER_HANDS, None))
            table.frame(ann, ann.soft_frame(table.here.room, SoftKind.REACTION, "👏"))
        passed += len(said(table.wait(0.5), bob))
    assert passed <= 16 + 5 + 1


@pytest.mark.parametrize("fields", [[], [b""], [b"\x00"], [b"\x83\x00\x00\x00"], [7]])
def test_a_word_that_nobody_read_ends_no_hub(
    table: Table, crowd: list[Person], fields: list[Value]
):
    """Who has said too much is not read any more, and might send anything."""
    ann, bob = crowd[1:3]
    for number in range(32):
        table.frame(ann, ann.soft_frame(table.here.room, SoftKind.HAND, f"topic {number}"))
    table.wait(0.0)
    assert not said(table.frame(ann, [FrameKind.SOFT, *fields]), bob)
    assert (ann.dev, FrameKind.SOFT) in said(table.wait(3), bob), "what it said before is told"


def test_a_hub_tells_how_many_there_are_when_nothing_happens(table: Table, crowd: list[Person]):
    assert {each.people for each in told(table.wait(41), crowd[1])} == {12}
    assert 2 <= len(told(table.wait(41), crowd[1])) <= 3


def test_who_leaves_is_told_of_as_gone(table: Table, crowd: list[Person]):
    join = table.here.members[crowd[0].dev].join
    outputs = table.frame(crowd[0], frames.bye(frames.ByeReason.LEAVING))
    (frame,) = told(outputs + table.wait(1.1), crowd[1])
    assert frame.gone == (join.id[:8],)
    assert frame.people == 11


def test_a_hub_takes_in_512_listeners_and_no_more(table: Table, crowd: list[Person]):
    assert table.here.places == limits.ROOM_MEMBERS_MAX + limits.LISTENERS_MAX == 32 + 512
    while table.here.has_place(outbound=False):
        stranger = next(iter(table.here.members.values()))
        table.here.members[next(NUMBERS).to_bytes(32, "big")] = stranger  # type: ignore[index]
    ann = table.person("ann")
    table.up(ann)
    table.greet(ann)
    assert ann.dev not in table.here.members
    assert table.here.count == 544


def test_a_hub_takes_in_no_more_than_it_would_feed(table: Table, crowd: list[Person]):
    table.here.feeds_max = 13
    for name, fits in (("ann", True), ("bob", True), ("cem", False)):
        person = table.person(name)
        table.up(person)
        table.greet(person)
        assert (person.dev in table.here.members) == fits


def test_a_hub_answers_a_listeners_question_and_asks_it_nothing(table: Table, crowd: list[Person]):
    outputs = table.wait(70)
    sent = [each.frame[0] for each in of(SendRoomFrame, outputs) if each.dev == crowd[1].dev]
    assert set(sent) <= {FrameKind.NEWS, FrameKind.BEAT, FrameKind.SOFT}
    outputs = table.frame(crowd[1], [int(FrameKind.DIGEST), bytes(32)])
    assert [each.frame[0] for each in of(SendRoomFrame, outputs)] == [FrameKind.DIGEST]


# ── whom links are held with ─────────────────────────────────────────────────────────────────


def test_who_is_not_on_the_stage_has_links_to_hub_and_standby_alone(table: Table):
    """We are on it (the room is ours), so it is the others' links that are of no use."""
    hub, ann = table.person("hub"), table.person("ann")
    for person in (hub, ann):
        table.let_in(person)
    carry(table, hub)
    tell(table, hub, present=[present(table, ann)])
    assert not of(CloseRoomLink, table.wait(9))
    (closed,) = of(CloseRoomLink, table.wait(3))
    assert closed.dev == ann.dev
    assert ann.dev in table.here.members
    assert EventKind.MEMBER_LOST not in kinds(table.wait(60))


def test_who_comes_to_the_stage_is_called_and_kept(table: Table):
    hub, ann = table.person("hub"), table.person("ann")
    table.let_in(hub)
    carry(table, hub)
    voice = (ann.dev, ann.voice_frame(table.here.room))
    tell(table, hub, present=[present(table, ann)], said=[voice])
    (call,) = of(OpenRoomLink, table.wait(6))
    assert (call.dev, call.addrs) == (ann.dev, (ADDR,))
    table.up(ann, outbound=True)
    table.greet(ann)
    assert not of(CloseRoomLink, table.wait(30))


def test_the_greeting_in_a_split_room_names_hub_and_standby_alone(
    table: Table, crowd: list[Person]
):
    late = table.person("late")
    table.up(late)
    greeting = next(
        each.frame
        for each in of(SendRoomFrame, table.greet(late))
        if each.frame[0] == FrameKind.GREETING
    )
    assert greeting[4] == []
