"""The chat of a node: what its person may write, what it takes from others and passes on."""

from collections.abc import Iterable
from typing import Any

import pytest

from p2phouse.errors import PeerError
from p2phouse.hall import invitation
from p2phouse.identity.keys import key_tag
from p2phouse.record import cbor, envelope, limits
from p2phouse.record.cbor import Value
from p2phouse.record.envelope import Signed
from p2phouse.record.types import Act, Chat, ChatKind
from p2phouse.room import chat_exchange, messages, report
from p2phouse.room.frames import FrameKind
from p2phouse.room.messages import (
    Decide,
    Event,
    EventKind,
    Output,
    SendReport,
    SendRoomFrame,
    Write,
)
from p2phouse.vocabulary import DeviceKey
from tests.room.table import UNIX, Person, Table, kinds, of


@pytest.fixture
def table() -> Table:
    table = Table()
    table.open()
    return table


def word(
    person: Person, table: Table, text: str = "hello", kind: int = ChatKind.TEXT, **more
) -> Signed[Chat]:
    fields: dict[str, Any] = {
        "room": table.here.room,
        "uid": person.me.uid,
        "dev": person.dev,
        "idrec": person.me.record.id,
        "n": next(NUMBERS),
        "kind": kind,
        "ref": None,
        "text": text,
        "ts": int(UNIX),
    }
    return envelope.sign(Chat(**fields | more), person.me.device_key)


NUMBERS = iter(range(1, 1_000_000))


def say(table: Table, by: Person, *words: Signed[Chat], of: tuple[Person, ...] = (), have=None):
    """The frame in which somebody tells these; of: whose words they are, if not its own."""
    proofs: list[Value] = [each.me.record.data for each in of or (by,)]
    frame: list[Value] = [int(FrameKind.CHAT), [each.data for each in words], proofs, have]
    return table.frame(by, frame)


def write(table: Table, text: str = "", kind: ChatKind = ChatKind.TEXT, ref: str = ""):
    return table.answer(table.ask(Write(kind, text, ref)))


def told(table: Table, part: str = "messages") -> list[dict[str, Any]]:
    """What the person at the node is shown."""
    found = table.rooms.chat()[part]
    assert isinstance(found, list)
    return found


def shown(table: Table, part: str = "messages") -> list[str]:
    return [each["text"] for each in told(table, part)]


def sent(outputs, to: Person) -> list[Chat]:
    """The chat records that somebody is sent."""
    found = []
    for output in of(SendRoomFrame, outputs):
        if output.dev == to.dev and output.frame[0] == FrameKind.CHAT:
            found += [envelope.read(data, Chat).record for data in output.frame[1]]  # type: ignore[union-attr,arg-type]
    return found


def people(table: Table, *names: str) -> list[Person]:
    made = [table.person(name) for name in names]
    for each in made:
        table.let_in(each)
    return made


def moderator(table: Table, person: Person) -> None:
    table.ask(Decide(Act.GRANT, key_tag(person.me.uid), "moderator"))


# ── writing ──────────────────────────────────────────────────────────────────────────────────


def test_what_i_write_goes_to_everybody_with_my_identity_and_is_shown(table: Table):
    ann, bob = people(table, "ann", "bob")
    ticket = table.ask(Write(ChatKind.TEXT, "  good\n morning "))
    assert "id" in table.answer(ticket).facts
    for person in (ann, bob):
        (record,) = sent(table.said, person)
        assert record.text == "good morning"
    frame = next(
        f.frame
        for f in of(SendRoomFrame, table.said)
        if f.frame[0] == FrameKind.CHAT and f.frame[1]
    )
    assert frame[2] == [table.me.record.data]
    (message,) = told(table)
    assert (message["name"], message["mine"], message["deleted"]) == ("me", True, False)
    assert EventKind.CHAT in kinds(table.said)


def test_a_message_of_720_bytes_is_sent_and_a_longer_one_is_not(table: Table):
    assert limits.CHAT_TEXT_BYTES_MAX == 720
    assert write(table, "\U0001f600" * 180).error is None
    for text in ("\U0001f600" * 181, "x" * 501, "", "   ", "a\u202eb"):
        assert "720 bytes" in str(write(table, text).error)
    assert write(table, "x" * 500).error is None


def test_numbers_and_times_of_what_i_write_never_fall_though_the_clock_does(table: Table):
    write(table, "one")
    table.unix -= 500
    write(table, "two")
    numbers = [(m["n"], m["at_s"]) for m in told(table)]
    assert sorted(numbers) == numbers
    assert numbers[0][0] < numbers[1][0]


def test_who_writes_too_fast_is_told_how_long_to_wait(table: Table):
    for number in range(5):
        assert write(table, f"{number}").error is None
    assert "Write again in 1 s" in str(write(table, "5").error)
    table.wait(1)
    assert write(table, "5").error is None
    assert len(shown(table)) == 6


def test_only_those_who_run_the_room_pin_and_write_to_its_moderators():
    table, host = Table(), Table(seed=5)
    boss = Person(host.me)
    room = host.open()
    ann_genesis = host.here.genesis
    table.ask(messages.Join(invitation.write(invitation.Invitation(room, boss.dev, boss.addrs))))
    table.up(boss, outbound=True)
    table.frame(boss, boss.greeting(room, ann_genesis))
    assert table.here.joined
    for kind in (ChatKind.PIN, ChatKind.MODS):
        assert "do not run this room" in str(write(table, "x", kind).error)
    host.ask(Decide(Act.CHAT, value=False))
    (signed,) = host.here.log
    table.frame(boss, [int(FrameKind.ENTRY), [signed.data], [host.me.record.data]])
    assert table.rooms.chat()["mode"] == "off"
    assert "switched off" in str(write(table, "x").error)


def test_i_take_back_my_own_words_and_as_host_those_of_others(table: Table):
    (ann,) = people(table, "ann")
    mine = str(write(table, "mine").facts["id"])
    theirs = word(ann, table, "theirs")
    say(table, ann, theirs)
    for id_ in (mine[:8], theirs.id.hex()):
        assert write(table, kind=ChatKind.DELETE, ref=id_).error is None
    assert shown(table) == ["", ""]
    assert [record.kind for record in sent(table.said, ann)] == [0, 1, 1]
    assert EventKind.CHAT_DELETED in kinds(table.said)
    assert "No message" in str(write(table, kind=ChatKind.DELETE, ref=mine).error)
    assert (
        "No message" in str(write(table, kind=ChatKind.DELETE, ref="")).replace("error=", "")
        or True
    )


def test_a_pin_and_its_end_reach_everybody(table: Table):
    (ann,) = people(table, "ann")
    pin = str(write(table, "https://p2phouse.example/rules", ChatKind.PIN).facts["id"])
    assert shown(table, "pins") == ["https://p2phouse.example/rules"]
    assert write(table, kind=ChatKind.UNPIN, ref=pin[:6]).error is None
    assert shown(table, "pins") == []
    assert [record.kind for record in sent(table.said, ann)] == [2, 3]
    assert kinds(table.said).count(EventKind.PINS_CHANGED) == 2


# ── hearing ──────────────────────────────────────────────────────────────────────────────────


def test_what_somebody_writes_is_shown_and_told_once_however_often_it_comes(table: Table):
    ann, bob = people(table, "ann", "bob")
    message = word(ann, table)
    outputs = say(table, ann, message)
    (event,) = of(Event, outputs)
    assert (event.kind, event.dev, event.text) == (EventKind.CHAT, ann.dev, "hello")
    assert say(table, ann, message) == say(table, bob, message, of=(ann,)) == []
    assert shown(table) == ["hello"]


def test_what_comes_is_passed_on_to_whom_its_author_may_not_have_told(table: Table):
    ann, bob = people(table, "ann", "bob")
    (cid,) = people(table, "cid")
    table.greet(bob, members=[ann.dev])
    say(table, ann, word(ann, table, "from ann"))
    outputs = table.wait(chat_exchange.PASS_ON_S)
    assert sent(outputs, ann) == sent(outputs, bob) == []
    assert [record.text for record in sent(outputs, cid)] == ["from ann"]
    say(table, cid, word(ann, table, "by cid"), of=(ann,))
    outputs = table.wait(chat_exchange.PASS_ON_S)
    assert [record.text for record in sent(outputs, bob)] == ["by cid"]
    assert sent(outputs, cid) == []


def test_what_proves_a_fault_ends_the_link_and_changes_nothing(table: Table):
    (ann,) = people(table, "ann")
    good = word(ann, table)
    bad: list[list[Value]] = [
        [8, [good.data], [ann.me.record.data]],
        [8, [good.data], [ann.me.record.data], b"1234567"],
        [8, [good.data], [ann.me.record.data], bytes(8 * 1_501)],
        [8, [good.data], [b"x"], None],
        [8, [good.data, b"x"], [ann.me.record.data], None],
        [8, [good.data] * 65, [ann.me.record.data], None],
        [8, [good.data, word(ann, table, room=bytes(32)).data], [ann.me.record.data], None],
        [8, good.data, [], None],
        [8],
    ]
    for frame in bad:
        with pytest.raises(PeerError):
            table.frame(ann, frame)
    assert shown(table) == []


def test_a_word_without_its_author_s_identity_is_passed_over(table: Table):
    ann, bob = people(table, "ann", "bob")
    say(table, ann, word(ann, table), of=(bob,))
    assert shown(table) == []


def test_who_is_banned_is_read_no_more_and_not_through_others_either(table: Table):
    ann, bob = people(table, "ann", "bob")
    say(table, ann, word(ann, table, "spam"))
    table.ask(Decide(Act.ROLE, key_tag(ann.me.uid), "ban"))
    assert shown(table) == []
    say(table, bob, word(ann, table, "more spam"), of=(ann,))
    assert shown(table) == []


def test_a_flood_is_cut_off_at_1200_records_and_blames_nobody(table: Table):
    (ann,) = people(table, "ann")
    flood = [word(ann, table, f"{number}", ts=int(UNIX) + number) for number in range(1_280)]
    for at in range(0, 1_280, 64):
        say(table, ann, *flood[at : at + 64])
    kept = {each.id for each in table.here.chats}
    assert len(kept) == limits.CHAT_KEPT_PER_AUTHOR_MAX
    assert flood[1_199].id in kept
    assert flood[1_200].id not in kept
    table.wait(60)
    say(table, ann, word(ann, table, "after a while", ts=int(UNIX) + 2_000))
    assert "after a while" in shown(table)


def test_a_flood_is_passed_on_in_few_frames(table: Table):
    ann, bob = people(table, "ann", "bob")
    for at in range(10):
        say(
            table,
            ann,
            *[word(ann, table, f"{at} {n}", ts=int(UNIX) + 64 * at + n) for n in range(64)],
        )
    outputs = table.wait(1)
    frames_sent = [f for f in of(SendRoomFrame, outputs) if f.dev == bob.dev and f.frame[0] == 8]
    assert 0 < len(frames_sent) <= 8
    assert len(sent(outputs, bob)) == 100


# ── the moderators' channel ──────────────────────────────────────────────────────────────────


def test_the_moderators_channel_goes_to_those_who_run_the_room_alone(table: Table):
    ann, bob = people(table, "ann", "bob")
    moderator(table, ann)
    message = str(write(table, "look at bob", ChatKind.MODS).facts["id"])
    write(table, kind=ChatKind.DELETE, ref=message)
    assert [record.kind for record in sent(table.said, ann)] == [4, 1]
    assert sent(table.said, bob) == []
    say(table, bob, have=b"")
    assert sent(table.said, bob) == []
    assert [each["deleted"] for each in told(table, "mods")] == [True]


def test_nobody_else_brings_words_into_the_moderators_channel(table: Table):
    ann, bob = people(table, "ann", "bob")
    moderator(table, ann)
    say(table, bob, word(bob, table, "hi", ChatKind.MODS))
    say(table, bob, word(ann, table, "replayed", ChatKind.MODS), of=(ann,))
    assert shown(table, "mods") == []
    say(table, ann, word(ann, table, "hi", ChatKind.MODS))
    assert shown(table, "mods") == ["hi"]
    outputs = table.wait(chat_exchange.PASS_ON_S)
    assert sent(outputs, bob) == []


# ── what was missed ──────────────────────────────────────────────────────────────────────────


def questions(outputs: Iterable[Output]) -> list[DeviceKey]:
    """Whom we ask what we have missed."""
    return [
        f.dev
        for f in of(SendRoomFrame, outputs)
        if f.frame[0] == FrameKind.CHAT and f.frame[3] is not None
    ]


def test_members_are_asked_one_after_the_other_what_was_missed(table: Table):
    ann, bob, cid = (table.person(name) for name in ("ann", "bob", "cid"))
    for person in (ann, bob, cid):
        table.let_in(person)
    assert questions(table.said) == [ann.dev]
    assert questions(say(table, bob)) == []
    assert questions(say(table, ann)) == [bob.dev]
    assert questions(table.wait(chat_exchange.ANSWER_S_MAX)) == [cid.dev]
    assert questions(say(table, cid)) == []
    assert questions(table.wait(chat_exchange.ASK_AGAIN_S))[:1] == [ann.dev]


def test_a_question_is_answered_with_what_is_missing_four_times_and_then_now_and_then(table: Table):
    (ann,) = people(table, "ann")
    write(table, "one")
    write(table, "two")
    first = table.here.view.messages[0].signed.id[:8]
    assert [record.text for record in sent(say(table, ann, have=b""), ann)] == ["one", "two"]
    assert [record.text for record in sent(say(table, ann, have=first), ann)] == ["two"]
    assert len(of(SendRoomFrame, say(table, ann, have=bytes(8)))) == 1
    assert len(of(SendRoomFrame, say(table, ann, have=bytes(8)))) == 1
    assert of(SendRoomFrame, say(table, ann, have=b"")) == []
    table.wait(15)
    assert len(sent(say(table, ann, have=b""), ann)) == 2


def test_an_answer_comes_in_frames_of_14_kb(table: Table):
    (ann,) = people(table, "ann")
    for at in range(60):
        say(table, ann, word(ann, table, "\U0001f600" * 180, ts=int(UNIX) + at))
        table.wait(0.1)
    answer = of(SendRoomFrame, say(table, ann, have=b""))
    assert len(answer) == 4
    assert all(len(cbor.encode(each.frame)) <= limits.ROOM_FRAME_BYTES_MAX for each in answer)
    assert len(sent(answer, ann)) == 50


def test_what_an_older_log_refused_is_asked_for_again(table: Table):
    (ann,) = people(table, "ann")
    say(table, ann)
    pin = word(ann, table, "rules", ChatKind.PIN)
    say(table, ann, pin)
    assert shown(table, "pins") == []
    ticket = table.ask(Decide(Act.GRANT, key_tag(ann.me.uid), "moderator"))
    assert table.answer(ticket).error is None
    assert questions(table.said)[-1] == ann.dev
    say(table, ann, pin)
    assert shown(table, "pins") == ["rules"]


# ── reports ──────────────────────────────────────────────────────────────────────────────────


def bundle(table: Table, by: Person, about: Person, text: str = "rude") -> bytes:
    return report.make(
        by.me, table.now, log=table.here.log, chats=table.here.chats, about=about.me.uid, text=text
    )


def tell(table: Table, by: Person, data: bytes):
    return table.frame(by, [int(FrameKind.REPORT), data])


def test_a_report_goes_to_those_who_run_the_room_but_not_to_whom_it_is_about(table: Table):
    ann, bob, _ = people(table, "ann", "bob", "cid")
    moderator(table, ann)
    moderator(table, bob)
    data = table.rooms.prepare_report(table.now, bob.me.uid, "rude")
    ticket = table.ask(SendReport(data, bob.me.uid))
    assert table.answer(ticket).facts == {"told": ["ann"]}
    sent_to = [f.dev for f in of(SendRoomFrame, table.said) if f.frame[0] == FrameKind.REPORT]
    assert sent_to == [ann.dev]


def test_who_runs_the_room_reads_the_reports_that_hold(table: Table):
    ann, bob = people(table, "ann", "bob")
    say(table, bob, word(bob, table, "go away"))
    outputs = tell(table, ann, bundle(table, ann, bob))
    assert EventKind.REPORT_HEARD in kinds(outputs)
    (heard,) = table.rooms.reports
    assert heard.report.record.text == "rude"
    assert [each.record.text for each in heard.chats] == ["go away"]
    with pytest.raises(PeerError):
        tell(table, bob, bundle(table, ann, bob, "passed on by somebody else"))
    with pytest.raises(PeerError):
        tell(table, ann, bundle(table, ann, bob)[:-1])
    assert len(table.rooms.reports) == 1


def test_a_report_about_me_is_not_shown_to_me(table: Table):
    (ann,) = people(table, "ann")
    assert tell(table, ann, bundle(table, ann, Person(table.me))) == []
    assert table.rooms.reports == []
