"""Rooms that share a media process hear of their own links alone, under the numbers they chose."""

import itertools
from dataclasses import replace

import pytest

from p2phouse import channel
from p2phouse.channel import (
    AuditFailed,
    CloseLink,
    ConnectLink,
    LinkRole,
    LinkState,
    LinkStats,
    LinkStatus,
    OpenLink,
    Pulls,
    Released,
    SetTable,
    Silent,
    Stats,
    TableRow,
)
from p2phouse.vocabulary import HERE, LinkNumber, Ssrc, VoiceId
from p2phouse_relay.numbers import RoomNumbers

ONE, TWO, THREE = (LinkNumber(n) for n in (1, 2, 3))
SSRC = Ssrc(77)


def open_link(link: LinkNumber) -> OpenLink:
    return OpenLink(link, LinkRole.OFFERER, local_only=False)


@pytest.fixture
def rooms() -> tuple[RoomNumbers, RoomNumbers]:
    """Two, each with its links 1 and 2: of the relay 10 and 11, and 12 and 13."""
    numbers = itertools.count(10)
    made = RoomNumbers(1, numbers, lambda: False), RoomNumbers(2, numbers, lambda: True)
    for room in made:
        for link in (ONE, TWO):
            room.down(open_link(link))
    return made


def test_each_room_s_links_have_numbers_of_their_own(rooms):
    first, second = rooms
    assert first.to_relay == {1: 10, 2: 11}
    assert second.to_relay == {1: 12, 2: 13}
    assert second.down(open_link(THREE)) == OpenLink(LinkNumber(14), LinkRole.OFFERER, False, 2)
    connect = ConnectLink(TWO, "u", "p", bytes(32), ())
    assert second.down(connect) == ConnectLink(LinkNumber(13), "u", "p", bytes(32), ())


def test_a_table_is_told_with_its_room_in_the_relay_s_numbers(rooms):
    _, second = rooms
    row = TableRow(ONE, SSRC, (TWO,), (TWO, THREE), (THREE, TWO), pinned=True)
    told = second.down(SetTable(5, (row,), ONE, (TWO,), 3, TWO))
    thirteen = LinkNumber(13)
    assert told == SetTable(
        5,
        (TableRow(LinkNumber(12), SSRC, (thirteen,), (thirteen,), (thirteen,), pinned=True),),
        LinkNumber(12),
        (thirteen,),
        3,
        thirteen,
        2,
    )


def test_what_media_says_reaches_the_room_it_is_about_and_no_other(rooms):
    first, second = rooms
    for said, heard in (
        (LinkState(LinkNumber(13), LinkStatus.LOST, "x"), LinkState(TWO, LinkStatus.LOST, "x")),
        (Silent(LinkNumber(12)), Silent(ONE)),
        (Released(LinkNumber(13)), Released(TWO)),
        (Pulls(1, 2, room=2), Pulls(1, 2)),
        (Stats(-1, -1, 0, (), (stats(13),)), Stats(-1, -1, 0, (), (stats(2),))),
    ):
        assert second.up(said) == heard
        assert first.up(said) is None


def stats(link: int) -> LinkStats:
    return LinkStats(LinkNumber(link), 0, 0, 0, 0, 0, 0, 0)


def test_a_closed_link_is_heard_of_no_more_and_its_number_is_gone(rooms):
    first, _ = rooms
    assert first.down(CloseLink(ONE)) == CloseLink(LinkNumber(10))
    assert first.down(CloseLink(ONE)) is None
    assert first.up(Silent(LinkNumber(10))) is None
    row = TableRow(ONE, SSRC, (), (TWO,))
    table = first.down(SetTable(2, (row,)))
    assert isinstance(table, SetTable)
    assert table.rows == ()
    assert first.close_all() == [CloseLink(LinkNumber(11))]
    assert first.close_all() == []


KEYS = (channel.VoiceKeyRow(SSRC, 1, bytes(16), bytes(32)),)


def test_of_a_sealed_room_nothing_but_links_and_tables_gets_through(rooms):
    """Security: a relay's media is given no key of it, and neither mouth nor ear."""
    first, _ = rooms
    assert first.down(channel.SetKeys(KEYS)) == channel.SetKeys((), 1)
    for said in (
        channel.NewVoice(VoiceId(bytes(16))),
        channel.SetOutput("null"),
        channel.SetInput("device"),
    ):
        assert first.down(said) is None
    own = TableRow(HERE, SSRC, (), (ONE,))
    ear = TableRow(ONE, SSRC, (), (HERE, TWO))
    table = first.down(SetTable(1, (own, ear)))
    assert isinstance(table, SetTable)
    assert table.rows == (TableRow(LinkNumber(10), SSRC, (), (LinkNumber(11),)),)


def test_of_a_room_whose_keys_are_everybodys_an_ear_gets_them(rooms):
    _, second = rooms
    assert second.down(channel.SetKeys(KEYS)) == channel.SetKeys(KEYS, 2)
    table = second.down(SetTable(1, (TableRow(ONE, SSRC, (), (HERE, TWO)),)))
    assert isinstance(table, SetTable)
    assert table.rows == (TableRow(LinkNumber(12), SSRC, (), (HERE, LinkNumber(13))),)
    assert second.up(AuditFailed(SSRC, room=2)) == AuditFailed(SSRC)
    assert second.up(AuditFailed(SSRC, room=1)) is None


def test_of_a_guest_who_speaks_the_voice_alone_gets_through():
    """Security: it is given no key and has no ear, and what others say goes nowhere by it."""
    numbers = RoomNumbers(-9, itertools.count(30), lambda: True, speaks=True)
    numbers.down(open_link(ONE))
    sid = VoiceId(bytes(16))
    assert numbers.down(channel.NewVoice(sid)) == channel.NewVoice(sid, -9)
    assert numbers.down(channel.EndVoice(sid)) == channel.EndVoice(sid, -9)
    voice = channel.SetVoice(sid, SSRC, 1, bytes(16), False, False)
    assert numbers.down(voice) == replace(voice, room=-9)
    assert numbers.up(channel.VoiceKey(sid, bytes(32))) == channel.VoiceKey(sid, bytes(32))
    for said in (channel.SetKeys(KEYS), channel.SetOutput("null"), channel.SetInput("device")):
        assert numbers.down(said) is None
    own = TableRow(HERE, SSRC, (), (ONE,))
    others = TableRow(ONE, Ssrc(78), (), (HERE, ONE))
    table = numbers.down(SetTable(1, (own, others)))
    assert isinstance(table, SetTable)
    assert table.rows == (TableRow(HERE, SSRC, (), (LinkNumber(30),)),)
