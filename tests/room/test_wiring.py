"""What media is told of the room: rows, keys and our own voice, in an order that never lies."""

import pytest

from p2phouse.channel import (
    AuditFailed,
    CloseLink,
    LinkStatus,
    NewVoice,
    SetInput,
    SetKeys,
    SetOutput,
    SetTable,
    SetVoice,
    TableRow,
)
from p2phouse.hall import invitation
from p2phouse.hall.card import make_genesis
from p2phouse.hall.invitation import Invitation
from p2phouse.record.cbor import Value
from p2phouse.record.types import Access, Act
from p2phouse.room import frames, keys, messages
from p2phouse.room.frames import ByeReason
from p2phouse.room.log import EntryLog
from p2phouse.vocabulary import HERE, RoomId, Ssrc, VoiceId
from tests.room.table import ADDR, Person, Table, commands, down, of


@pytest.fixture
def table() -> Table:
    table = Table()
    table.open()
    return table


def speaker(table: Table, name: str, slot: int) -> tuple[Person, Ssrc]:
    person = table.person(name)
    speak = person.speak(table.here.room, slot)
    table.let_in(person, speaks=[speak])
    return person, Ssrc(int.from_bytes(speak.id[:4]))


def rows(table: Table) -> tuple[TableRow, ...]:
    return down(SetTable, table.said)[-1].rows


def key_ssrcs(table: Table) -> set[Ssrc]:
    return {key.ssrc for key in down(SetKeys, table.said)[-1].keys}


def test_our_voice_goes_to_all_that_are_connected_and_each_voice_comes_from_its_link(table: Table):
    ann, ann_ssrc = speaker(table, "ann", 1)
    bob, bob_ssrc = speaker(table, "bob", 2)
    to_ann, to_bob = table.connect(ann), table.connect(bob)
    own = table.here.voice.ssrc
    assert own is not None
    assert set(rows(table)) == {
        TableRow(HERE, own, (), (to_ann, to_bob)),
        TableRow(to_ann, ann_ssrc, (), (HERE,)),
        TableRow(to_bob, bob_ssrc, (), (HERE,)),
    }
    assert key_ssrcs(table) == {ann_ssrc, bob_ssrc}


def test_who_is_not_connected_has_no_row_and_no_key(table: Table):
    ann, _ = speaker(table, "ann", 1)
    assert rows(table) == ()
    assert key_ssrcs(table) == set()
    link = table.connect(ann)
    assert len(rows(table)) == 2
    table.link(link, LinkStatus.LOST)
    assert rows(table) == ()
    assert key_ssrcs(table) == set()


def test_a_link_that_is_not_up_yet_carries_nothing(table: Table):
    ann, _ = speaker(table, "ann", 1)
    data = ann.offer(table.me.dev, table.here.room)
    table.tell(ann.dev, messages.OfferHeard(data))
    assert table.here.members[ann.dev].link is not None
    assert rows(table) == ()
    assert key_ssrcs(table) == set()


def test_a_leaver_is_out_of_the_table_before_its_link_is_closed(table: Table):
    ann, _ = speaker(table, "ann", 1)
    link = table.connect(ann)
    outputs = table.frame(ann, frames.bye(ByeReason.LEAVING))
    told = commands(outputs)
    places = [told.index(kind) for kind in (down(SetTable, outputs)[0], CloseLink(link))]
    assert places == sorted(places)
    assert rows(table) == ()


def test_each_table_has_a_higher_epoch_than_the_last(table: Table):
    ann, _ = speaker(table, "ann", 1)
    table.connect(ann)
    table.tell(table.me.dev, messages.MediaGone())
    table.ask(messages.Leave())
    table.open()
    epochs = [message.epoch for message in down(SetTable, table.said)]
    assert epochs == sorted(set(epochs))


def test_the_key_of_a_voice_is_of_its_device_and_sid(table: Table):
    ann, ssrc = speaker(table, "ann", 5)
    table.connect(ann)
    (row,) = down(SetKeys, table.said)[-1].keys
    room = table.here.room
    base = keys.sender_base(
        keys.open_secret(room), room=room, epoch=0, dev=ann.dev, sid=VoiceId(b"\1" * 16)
    )
    assert (row.ssrc, row.kid, row.base) == (ssrc, 5, base)


def test_our_own_voice_is_told_with_the_key_that_others_open_it_with(table: Table):
    (told,) = down(SetVoice, table.said)
    voice, room = table.here.voice, table.here.room
    assert voice.speak is not None
    base = keys.sender_base(
        keys.open_secret(room), room=room, epoch=0, dev=table.me.dev, sid=voice.sid
    )
    assert (told.sid, told.ssrc, told.base) == (voice.sid, voice.ssrc, base)
    assert told.kid == voice.speak.record.slot
    assert told.muted


def test_a_second_voice_of_a_member_replaces_its_first(table: Table):
    ann, first = speaker(table, "ann", 1)
    table.connect(ann)
    table.frame(ann, ann.voice_frame(table.here.room, slot=2, sid=b"\2" * 16))
    assert first not in {row.ssrc for row in rows(table)}
    assert len(rows(table)) == 2
    assert first not in key_ssrcs(table)


def test_a_member_in_a_new_process_has_no_row_until_it_has_a_link_again(table: Table):
    ann, _ = speaker(table, "ann", 1)
    table.connect(ann)
    table.up(ann)
    table.greet(ann, ts=table.unix + 5)
    assert rows(table) == ()


def test_a_forged_voice_has_no_row_until_there_is_a_new_one(table: Table):
    ann, ann_ssrc = speaker(table, "ann", 1)
    speaker(table, "bob", 2)
    link = table.connect(ann)
    told = of(messages.Event, table.media(AuditFailed(ann_ssrc)))
    assert (told[0].kind, told[0].dev) == (messages.EventKind.FORGED_SPEECH, ann.dev)
    assert ann_ssrc not in {row.ssrc for row in rows(table)}
    assert ann_ssrc not in key_ssrcs(table)
    # Once is enough, and what media says of a voice that nobody has says nothing.
    assert table.media(AuditFailed(ann_ssrc)) == []
    assert table.media(AuditFailed(Ssrc(1))) == []
    again = ann.speak(table.here.room, 3)
    table.frame(ann, [int(frames.FrameKind.SPEAK), again.data])
    ssrc = Ssrc(int.from_bytes(again.id[:4]))
    assert TableRow(link, ssrc, (), (HERE,)) in rows(table)
    assert ssrc in key_ssrcs(table)


def test_a_relay_of_a_sealed_room_gives_media_no_key_and_no_ear():
    """Security: from the moment on in which the room is closed. Of an open one it has both, for
    guests."""
    host = Table(seed=1)
    genesis = make_genesis(host.me, title="Tea", access=Access.OPEN, now=host.now, entropy=bytes)
    relay, room = Table(serves=True), RoomId(genesis.id)
    relay.ask(messages.Join(invitation.write(Invitation(room, host.me.dev, (ADDR,)))))
    ana = Person(host.me)
    relay.up(ana, outbound=True)
    relay.frame(ana, ana.greeting(room, genesis))
    speaker(relay, "ben", 1)
    for name, slot in (("cleo", 2), ("dan", 3)):
        relay.connect(speaker(relay, name, slot)[0])
    assert len(rows(relay)) == 2
    assert all(HERE in row.sinks for row in rows(relay))
    assert key_ssrcs(relay) == {row.ssrc for row in rows(relay)}
    log = EntryLog(genesis)
    people = [member.uid for member in relay.here.members.values() if member.uid != host.me.uid]
    entries: list[Value] = [log.write(host.me, Act.ROLE, uid, "speaker")[0].data for uid in people]
    entries.append(log.write(host.me, Act.ACCESS, None, int(Access.CLOSED))[0].data)
    relay.frame(ana, [int(frames.FrameKind.ENTRY), entries, [host.me.record.data]])
    assert len(rows(relay)) == 2
    assert all(HERE not in row.sinks for row in rows(relay))
    assert key_ssrcs(relay) == set()
    assert not down(NewVoice, relay.said) + down(SetInput, relay.said) + down(SetOutput, relay.said)
