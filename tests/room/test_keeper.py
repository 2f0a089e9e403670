"""The keys of a sealed room at one node: to whom they are sealed, when, and who is answered."""

from dataclasses import replace

import pytest

from p2phouse.channel import LinkStatus, OpenLink, SetKeys, SetVoice, VoiceCondition, VoiceState
from p2phouse.errors import PeerError
from p2phouse.record import cbor, envelope
from p2phouse.record.cbor import Value
from p2phouse.record.types import Access, Act, Epoch, EpochBox, Identity
from p2phouse.room import frames, keys, messages
from p2phouse.room.epochs import Live
from p2phouse.room.frames import ByeReason, FrameKind
from p2phouse.room.keeper import BATCH_S, PAUSE_S, REKEY_S
from p2phouse.room.messages import EventKind, Output, Remember, SendRoomFrame
from tests.room.table import Person, Table, down, kinds, of

ASK: list[Value] = [int(FrameKind.EPOCH), [], []]


@pytest.fixture
def table() -> Table:
    """We have opened a closed room."""
    table = Table()
    table.open(access=Access.CLOSED)
    table.wait(1)
    return table


def admit(table: Table, person: Person, role: str = "speaker") -> None:
    table.here.log.write(table.me, Act.ROLE, person.me.uid, role)


def member(table: Table, name: str = "ann", role: str = "speaker") -> Person:
    """Somebody whom we let in, and who is here."""
    person = table.person(name)
    admit(table, person, role)
    table.let_in(person)
    return person


def put_out(table: Table, person: Person) -> list[Output]:
    table.ask(messages.Decide(Act.ROLE, person.me.name, "ban"))
    return table.said


def epochs_to(person: Person, outputs: list[Output]) -> list[Epoch]:
    """Records of epochs that a member was sent."""
    sent = [
        each.frame
        for each in of(SendRoomFrame, outputs)
        if each.dev == person.dev and each.frame[0] == FrameKind.EPOCH
    ]
    records: list[Epoch] = []
    for frame in sent:
        read, _ = frames.read_epochs(frame, room=of(SendRoomFrame, outputs)[0].room)
        records += [signed.record for signed in read]
    return records


def secret_for(person: Person, record: Epoch) -> bytes | None:
    """What the person finds in its box."""
    found = [
        keys.open_box(person.me.seal_key, box.sealed)
        for box in record.boxes
        if box.dev == person.dev
    ]
    return found[0] if found else None


def questions(outputs: list[Output]) -> list[bytes]:
    """Whom we ask for the secret."""
    return [each.dev for each in of(SendRoomFrame, outputs) if each.frame == ASK]


# ── making and handing on ────────────────────────────────────────────────────────────────────


def test_who_opens_a_closed_room_makes_its_first_secret_at_once(table: Table):
    assert table.here.live is not None
    assert table.here.live.n == 0
    assert table.rooms.facts()["epoch"] == 0
    assert table.rooms.facts()["keys"] == "current"
    (voice,) = down(SetVoice, table.said)
    assert voice.sealed
    assert table.here.live.secret != keys.open_secret(table.here.room)


def test_two_rooms_never_have_one_secret():
    secrets = set()
    for seed in range(5):
        other = Table(seed=seed)
        other.open(access=Access.CLOSED)
        secrets.add(other.here.live)
    assert len(secrets) == 5


def test_who_is_let_in_is_given_the_running_secret_at_once(table: Table):
    table.said.clear()
    ann = member(table)
    (record,) = epochs_to(ann, table.said)
    assert (record.n, record.ratchet) == (0, False)
    assert table.here.live is not None
    assert secret_for(ann, record) == table.here.live.secret


def test_a_secret_is_sealed_to_the_key_that_the_root_key_signed_and_to_no_other(table: Table):
    ann, ben = member(table), member(table, "ben")
    put = put_out(table, ann)
    (record,) = [each for each in epochs_to(ben, put) if each.n == 1]
    assert [box.dev for box in record.boxes] == [ben.dev]
    assert secret_for(ann, record) is None
    assert keys.open_box(ann.me.seal_key, record.boxes[0].sealed) is None


def test_a_device_whose_proof_had_run_out_when_the_room_began_gets_no_box(table: Table):
    ann = table.person()
    record = ann.me.record.record
    (device,) = record.devices
    assert table.here.genesis is not None
    began = table.here.genesis.record.created
    for exp, boxes in ((began, 1), (began - 1, 0)):
        old: Identity = replace(record, seq=record.seq + exp, devices=(replace(device, exp=exp),))
        other = Person(replace(ann.me, record=envelope.sign(old, ann.me.root_key)))
        table.here.members.pop(ann.dev, None)
        table.here.links.pop(ann.dev, None)
        admit(table, other)
        table.said.clear()
        table.let_in(other, ts=table.unix + exp % 7)
        assert sum(len(each.boxes) for each in epochs_to(other, table.said)) == boxes


def test_a_member_whose_key_can_be_no_key_holds_up_nobody(table: Table):
    """X25519 keys of small order: libsodium refuses them, and the keeper goes on."""
    liar = table.person("liar")
    record = liar.me.record.record
    zero = replace(record, devices=(replace(record.devices[0], xpk=bytes(32)),))
    liar = Person(replace(liar.me, record=envelope.sign(zero, liar.me.root_key)))
    admit(table, liar)
    table.let_in(liar)
    ann = member(table)
    assert secret_for(ann, epochs_to(ann, table.said)[-1]) is not None
    assert table.here.live is not None


def test_who_has_no_role_in_a_closed_room_is_given_nothing_by_whoever_thinks_he_is_in(table: Table):
    """A node that has just come in lets others in whom it cannot judge yet."""
    ann = member(table)
    table.ask(messages.Decide(Act.ROLE, ann.me.name, "remove"))
    table.wait(70)
    table.said.clear()
    table.up(ann)
    table.greet(ann, ts=table.unix)
    table.frame(ann, ASK)
    table.wait(5)
    assert epochs_to(ann, table.said) == []


# ── removals ─────────────────────────────────────────────────────────────────────────────────


def test_a_ban_and_the_secret_without_the_banned_go_out_in_one_breath(table: Table):
    ann, ben = member(table), member(table, "ben")
    table.frame(ben, ben.voice_frame(table.here.room))
    table.said.clear()
    put_out(table, ann)
    assert table.here.live is not None
    assert table.here.live.n == 1
    (record,) = epochs_to(ben, table.said)
    assert len(record.rm) == 1
    assert epochs_to(ann, table.said) == []
    assert down(SetVoice, table.said)[-1].kid >> 4 == 1
    assert EventKind.EPOCH_CHANGED in kinds(table.said)


def test_a_flood_of_bans_makes_four_secrets_a_second_and_nothing_is_said_meanwhile(table: Table):
    others = [member(table, f"p{n}") for n in range(4)]
    ben = member(table, "ben")
    table.ask(messages.SetMuted(muted=False))
    table.said.clear()
    put_out(table, others[0])
    put_out(table, others[1])
    assert table.here.live is None
    assert down(SetVoice, table.said)[-1].muted
    assert table.rooms.facts()["keys"] == "waiting"
    put_out(table, others[2])
    assert len({each.n for each in epochs_to(ben, table.said)}) == 1
    table.wait(PAUSE_S)
    assert table.here.live is not None
    assert not down(SetVoice, table.said)[-1].muted
    assert len({each.n for each in epochs_to(ben, table.said)}) == 2


def test_who_was_banned_and_is_let_in_again_has_a_secret_made_that_is_not_without_him(table: Table):
    ann, ben = member(table), member(table, "ben")
    put_out(table, ann)
    table.wait(1)
    assert table.here.live is not None
    without = table.here.live
    table.here.log.write(table.me, Act.ROLE, ann.me.uid, "listener")
    table.said.clear()
    table.let_in(ann, ts=table.unix)
    assert table.here.live is not None
    record = epochs_to(ann, table.said)[-1]
    assert (record.n, record.rm) == (without.n + 1, ())
    assert secret_for(ann, record) not in (None, without.secret)
    assert secret_for(ben, epochs_to(ben, table.said)[-1]) == secret_for(ann, record)


def test_a_moderator_who_loses_the_seat_leaves_the_secret_behind(table: Table):
    ann, ben = member(table), member(table, "ben")
    table.ask(messages.Decide(Act.GRANT, ann.me.name, "moderator"))
    table.said.clear()
    table.ask(messages.Decide(Act.REVOKE, ann.me.name))
    records = [each for each in epochs_to(ben, table.said) if each.n == 1]
    assert records
    assert len(records[0].rm) == 1


# ── coming and going ─────────────────────────────────────────────────────────────────────────


def test_those_who_leave_within_a_minute_share_one_new_secret(table: Table):
    ann, ben, cleo = (member(table, name) for name in ("ann", "ben", "cleo"))
    table.wait(BATCH_S + 5)  # a ratchet for those who came
    assert table.here.live is not None
    before = table.here.live
    table.frame(ann, frames.bye(ByeReason.LEAVING))
    first = epochs_to(cleo, table.said)[-1]
    assert (first.n, first.ratchet) == (before.n + 1, False)
    assert ann.dev not in {box.dev for box in first.boxes}
    table.wait(20)
    table.frame(ben, frames.bye(ByeReason.LEAVING))
    table.said.clear()
    table.wait(BATCH_S - 21)
    assert epochs_to(cleo, table.said) == []
    table.wait(2)
    (second,) = epochs_to(cleo, table.said)
    assert [box.dev for box in second.boxes] == [cleo.dev]


def test_a_minute_after_somebody_came_a_ratchet_moves_the_secret_on_without_boxes(table: Table):
    ann = member(table)
    assert table.here.live is not None
    before = table.here.live
    table.said.clear()
    table.wait(BATCH_S - 2)
    assert epochs_to(ann, table.said) == []
    table.wait(2)
    (record,) = epochs_to(ann, table.said)
    assert (record.ratchet, record.boxes) == (True, ())
    moved = keys.next_secret(before.secret, room=table.here.room, epoch=1)
    assert record.commit == keys.commit(moved)
    table.wait(3)
    assert table.here.live.secret == moved
    table.said.clear()
    table.wait(10 * BATCH_S)
    assert epochs_to(ann, table.said) == []  # nobody came


def test_after_an_hour_the_secret_is_a_new_one(table: Table):
    table.wait(REKEY_S - 1)
    assert table.here.live is not None
    assert table.here.live.n == 0
    table.wait(4)
    assert table.here.live.n == 1


# ── asking and answering ─────────────────────────────────────────────────────────────────────


def test_who_asks_is_answered_and_not_without_end(table: Table):
    ann = member(table)
    table.said.clear()
    for _ in range(12):
        table.frame(ann, ASK)
    answers = epochs_to(ann, table.said)
    assert len(answers) == 8
    assert table.here.live is not None
    assert {secret_for(ann, each) for each in answers} == {table.here.live.secret}
    table.wait(2)
    table.frame(ann, ASK)
    assert len(epochs_to(ann, table.said)) == 9


def guest() -> tuple[Table, Person]:
    """We have come into somebody's closed room, which let us in."""
    table = Table()
    host = Table(seed=7)
    host.open(access=Access.CLOSED)
    host.here.log.write(host.me, Act.ROLE, table.me.uid, "speaker")
    genesis = host.here.genesis
    assert genesis is not None
    link = str(host.rooms.facts()["link"])
    table.ask(messages.Join(link))
    person = Person(host.me, genesis=genesis)
    table.up(person, outbound=True)
    greeted = table.frame(person, person.greeting(host.here.room, genesis))
    (opened,) = down(OpenLink, greeted)
    (offer,) = of(messages.SendOffer, table.describe(opened.link))
    answer = person.offer(table.me.dev, table.here.room, answer=offer.offer, n=b"a" * 16)
    table.tell(person.dev, messages.OfferAnswered(answer))
    table.link(opened.link, LinkStatus.CONNECTED)
    entries: list[Value] = [each.data for each in host.here.log]
    table.frame(person, [int(FrameKind.ENTRY), entries, [host.me.record.data]])
    table.key_voice()
    assert table.here.joined
    return table, person


def test_who_comes_in_sends_nothing_until_it_is_given_the_secret_and_asks_for_it():
    table, host = guest()
    assert table.rooms.facts()["keys"] == "waiting"
    assert table.rooms.facts()["epoch"] is None
    assert down(SetVoice, table.said) == []
    assert questions(table.said) == []
    assert questions(table.wait(0.5)) == [host.dev]
    assert 2 <= len(questions(table.wait(10))) <= 4


def test_who_does_not_run_the_room_makes_no_secret_whatever_happens():
    table, host = guest()
    table.frame(host, frames.bye(ByeReason.LEAVING))
    table.wait(300)
    assert table.rooms.membership is None or table.here.live is None


def given(table: Table, host: Person, n: int = 0, **changes: object) -> list[Value]:
    """A frame with an epoch that the host made and sealed to us."""
    secret = bytes([n]) * 32
    sealed = keys.seal(secret, bytes(table.me.seal_key.public_key), table.rng.randbytes)
    assert sealed is not None
    record = Epoch(
        room=table.here.room,
        dev=host.dev,
        by=host.dev,
        n=n,
        ratchet=False,
        parent=None,
        rm=(),
        commit=keys.commit(secret),
        boxes=(EpochBox(table.me.dev, sealed),),
    )
    signed = envelope.sign(replace(record, **changes), host.me.device_key)  # type: ignore[arg-type]
    return [int(FrameKind.EPOCH), [signed.data], []]


def test_once_given_the_secret_our_voice_is_told_to_media_sealed():
    table, host = guest()
    table.frame(host, given(table, host))
    (voice,) = down(SetVoice, table.said)
    assert voice.sealed
    assert voice.muted
    assert table.here.live == Live(0, bytes(32))
    assert questions(table.wait(60)) == []


def test_media_is_given_two_keys_of_each_voice_while_the_secret_changes():
    table, host = guest()
    speak = host.speak(table.here.room, slot=5)
    table.frame(host, [int(FrameKind.SPEAK), speak.data])
    table.frame(host, given(table, host, 3))
    table.said.clear()
    table.frame(host, given(table, host, 4))
    assert [row.kid for row in down(SetKeys, table.said)[-1].keys] == [4 << 4 | 5, 3 << 4 | 5]
    table.wait(10)
    assert [row.kid for row in down(SetKeys, table.said)[-1].keys] == [4 << 4 | 5]


def test_a_voice_that_we_have_no_key_for_has_its_speaker_asked_once_a_second():
    table, host = guest()
    speak = host.speak(table.here.room, slot=5)
    table.frame(host, [int(FrameKind.SPEAK), speak.data])
    table.frame(host, given(table, host))
    ssrc = table.here.members[host.dev].ssrc
    assert ssrc is not None
    missing = VoiceState(ssrc, VoiceCondition.KEY_MISSING, "")
    assert questions(table.media(missing)) == [host.dev]
    assert questions(table.media(missing)) == []
    table.wait(1)
    assert questions(table.media(missing)) == [host.dev]
    assert questions(table.media(replace(missing, condition=VoiceCondition.FLOWING))) == []


def test_a_listener_hands_no_secret_on():
    table, host = guest()
    table.frame(host, given(table, host))
    other = table.person("other")
    hosts_log = table.here.log
    (entry,) = hosts_log.write(host.me, Act.ROLE, other.me.uid, "speaker")
    assert entry.id in hosts_log
    table.let_in(other)
    table.said.clear()
    table.frame(other, ASK)
    assert epochs_to(other, table.said)  # we are on stage
    table.wait(30)
    hosts_log.write(host.me, Act.ROLE, table.me.uid, "listener")
    table.said.clear()
    table.frame(other, ASK)
    assert epochs_to(other, table.said) == []


def test_who_hands_on_a_secret_that_another_made_shows_by_whom_it_was_made():
    table, host = guest()
    table.frame(host, given(table, host))
    other = table.person("other")
    table.here.log.write(host.me, Act.ROLE, other.me.uid, "speaker")
    table.let_in(other)
    table.said.clear()
    table.frame(other, ASK)
    proof, ours = epochs_to(other, table.said)
    assert (proof.dev, proof.by) == (host.dev, host.dev)
    assert (ours.dev, ours.by) == (table.me.dev, host.dev)
    assert secret_for(other, ours) == bytes(32)


def test_what_one_frame_brings_of_epochs_goes_on_to_each_in_one_frame():
    """Else one who runs the room could have us say eight times as much as others hear of us."""
    table, host = guest()
    bob = table.person("bob")
    table.here.log.write(host.me, Act.ROLE, bob.me.uid, "speaker")
    table.let_in(bob)
    table.frame(host, given(table, host))
    many = [_list(given(table, host, n)[1])[0] for n in range(1, 9)]
    outputs = table.frame(host, [int(FrameKind.EPOCH), many, []])
    told = [
        sent.frame
        for sent in of(SendRoomFrame, outputs)
        if sent.dev == bob.dev and sent.frame[0] == FrameKind.EPOCH
    ]
    passed = [frame for frame in told if set(_list(frame[1])) & set(many)]
    assert [frame[1] for frame in passed] == [many]


def test_a_member_who_passes_on_a_flood_is_not_parted_with_for_it(table: Table):
    """One moderator floods bob, who passes all of it on to us within the same second."""
    bob = member(table, "bob")
    for number in range(500):
        table.frame(bob, [int(FrameKind.DIGEST), number.to_bytes(32)])
    assert bob.dev in table.here.members
    table.wait(10)
    table.frame(bob, bob.voice_frame(table.here.room))
    assert table.here.members[bob.dev].speak is not None  # heard again as before


def test_an_epoch_of_a_member_who_does_not_run_the_room_is_none():
    table, host = guest()
    ann = table.person()
    table.here.log.write(host.me, Act.ROLE, ann.me.uid, "speaker")
    table.let_in(ann)
    table.frame(ann, given(table, ann, 9))
    assert table.here.live is None
    table.frame(ann, given(table, ann, 9, by=host.dev))
    assert table.here.live is None


@pytest.mark.parametrize(
    "frame",
    [
        [9],
        [9, []],
        [9, [], [], []],
        [9, [b""] * 9, []],
        [9, [], [b""] * 9],
        [9, [b"rubbish"], []],
        [9, [1], []],
        [9, [], [b"rubbish"]],
        [9, "epoch", []],
    ],
)
def test_a_frame_of_kind_9_that_is_none_is_refused(table: Table, frame: list[Value]):
    ann = member(table)
    with pytest.raises(PeerError):
        table.frame(ann, frame)


def test_an_epoch_of_another_room_or_that_cannot_be_is_refused_and_changes_nothing():
    table, host = guest()
    good = given(table, host)
    for changes in ({"room": bytes(32)}, {"ratchet": True}, {"rm": (b"b" * 32, b"a" * 32)}):
        bad = given(table, host, **changes)
        both: list[Value] = [9, [*_list(good[1]), *_list(bad[1])], []]
        with pytest.raises(PeerError):
            table.frame(host, both)
        assert table.here.live is None
    table.frame(host, good)
    assert table.here.live is not None


def _list(value: Value) -> list[Value]:
    assert isinstance(value, list)
    return value


# ── where secrets are not ────────────────────────────────────────────────────────────────────


def test_no_secret_is_remembered_in_a_file_or_printed(table: Table):
    member(table)
    table.wait(70)
    known = table.here.custody.epochs
    assert known is not None
    for state in of(Remember, table.said):
        if state.state is not None:
            data = cbor.encode(state.state)
            assert not any(live.secret in data for live in known.held)
    printed = repr(table.here) + repr(known.best) + repr(known.sending)
    for live in known.held:
        assert live.secret.hex() not in printed
        assert repr(live.secret) not in printed


def test_an_open_room_has_no_epochs_and_its_members_are_sent_none():
    table = Table()
    table.open()
    ann = table.person()
    table.let_in(ann)
    table.frame(ann, ASK)
    table.wait(200)
    assert FrameKind.EPOCH not in [each.frame[0] for each in of(SendRoomFrame, table.said)]
    assert EventKind.EPOCH_CHANGED not in kinds(table.said)
    assert table.rooms.facts()["keys"] == "public"
