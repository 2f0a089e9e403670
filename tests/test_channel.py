import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2phouse import channel
from p2phouse.channel import (
    FRAME_BYTES_MAX,
    ITEMS_MAX,
    ChannelBroken,
    ConnectLink,
    Down,
    FrameReader,
    GuestRole,
    LinkRole,
    LinkStats,
    NewGuestRoom,
    NewVoice,
    OpenGuest,
    OpenLink,
    SetInput,
    SetTable,
    Started,
    Stats,
    TableRow,
    Up,
    VoiceStats,
    encode,
)
from p2phouse.record import cbor
from p2phouse.vocabulary import LinkNumber, Ssrc, VoiceId
from tests.record.mutants import mutant, reshaped, survives
from tests.record.strategies import instances

DOWN, UP = Down.__args__, Up.__args__
BOTH_WAYS = [("down", cls) for cls in DOWN] + [("up", cls) for cls in UP]


def frame(value: cbor.Value) -> bytes:
    """Any value as a frame, as only a broken process would send it."""
    body = cbor.encode(value)
    return struct.pack("!I", len(body)) + body


@pytest.mark.parametrize(
    ("direction", "cls"), BOTH_WAYS, ids=lambda it: it if isinstance(it, str) else it.__name__
)
def test_every_message_comes_out_as_it_went_in(direction, cls):
    @given(instances(cls))
    @settings(max_examples=50)
    def comes_out(message):
        assert FrameReader(direction).feed(encode(message)) == [message]

    comes_out()


def test_no_message_goes_both_ways():
    assert not set(DOWN) & set(UP)
    assert len(set(DOWN)) == len(DOWN)
    assert len(set(UP)) == len(UP)


MESSAGES: list[Down] = [
    OpenLink(LinkNumber(1), LinkRole.OFFERER, local_only=False),
    ConnectLink(LinkNumber(1), "ufrag", "password", bytes(32), ("candidate",) * 8),
    SetTable(7, tuple(TableRow(LinkNumber(n), Ssrc(n), (), (LinkNumber(0),)) for n in range(9))),
    SetInput("file:/tmp/a\nb\u202e.wav"),
    NewVoice(VoiceId(bytes(16))),
    NewGuestRoom(7, (Ssrc(1), Ssrc(2), Ssrc(3), Ssrc(4))),
    OpenGuest(
        LinkNumber(2),
        7,
        GuestRole.LISTENER,
        "ours",
        "password",
        "theirs",
        "password",
        bytes(32),
        111,
        (Ssrc(1),),
    ),
]
WHOLE = b"".join(map(encode, MESSAGES))


def test_messages_come_out_in_order_byte_by_byte():
    reader = FrameReader("down")
    found = []
    for at in range(len(WHOLE)):
        found += reader.feed(WHOLE[at : at + 1])
    assert found == MESSAGES


def test_a_message_is_there_with_its_last_byte_and_not_before():
    reader = FrameReader("down")
    data = encode(MESSAGES[0])
    assert reader.feed(data[:-1]) == []
    assert reader.feed(b"") == []
    assert reader.feed(data[-1:]) == [MESSAGES[0]]


def test_all_that_is_whole_comes_out_at_once_and_the_rest_waits():
    reader = FrameReader("down")
    half = encode(MESSAGES[1])
    assert reader.feed(WHOLE + half[:10]) == MESSAGES
    assert reader.feed(half[10:]) == [MESSAGES[1]]


@given(st.lists(st.integers(0, len(WHOLE)), max_size=8).map(sorted))
def test_however_a_stream_is_cut_the_same_messages_come_out(cuts):
    reader = FrameReader("down")
    found = []
    for begin, end in zip([0, *cuts], [*cuts, len(WHOLE)], strict=True):
        found += reader.feed(WHOLE[begin:end])
    assert found == MESSAGES


def test_the_largest_table_that_fits_a_frame_comes_through():
    rows = tuple(
        TableRow(
            LinkNumber(n),
            Ssrc(2**32 - 1 - n),
            (LinkNumber(n + 1),),
            tuple(map(LinkNumber, range(200))),
        )
        for n in range(256)
    )
    table = SetTable(2**63 - 1, rows)
    assert len(encode(table)) < FRAME_BYTES_MAX
    assert FrameReader("down").feed(encode(table)) == [table]


def test_the_stats_of_4096_links_and_64_voices_come_through():
    links = tuple(
        LinkStats(LinkNumber(n), n, n, n, 0, rtt_us=50_000, loss_permille=1, jitter_us=1_000)
        for n in range(4_096)
    )
    voices = tuple(VoiceStats(Ssrc(n), n, 0, 0, 0, 0, 0, 40_000, 2_000) for n in range(64))
    stats = Stats(-1, 10**9, 3, voices, links)
    assert FrameReader("up").feed(encode(stats)) == [stats]


# ── everything else breaks the channel ───────────────────────────────────────────────────────


def guest_as_sent(role: int, payload_type: int, slots: list[cbor.Value], level: int) -> cbor.Value:
    """An OpenGuest in its place among the kinds, whatever its fields say."""
    names = ["ours", "password", "theirs", "password"]
    kind = DOWN.index(channel.OpenGuest)
    return [kind, 1, 1, role, *names, bytes(32), payload_type, slots, level]


NONSENSE: dict[str, cbor.Value] = {
    "no array": {0: 1},
    "an empty array": [],
    "a number alone": 1,
    "a kind of no message": [len(DOWN), 1],
    "a negative kind": [-1, 1],
    "true for kind 1": [True, 1, "ufrag", "password", bytes(32), []],
    "false for kind 0": [False, 1, 0, False],
    "text for a kind": ["OpenLink", 1, 0, False],
    "a field missing": [0, 1, 0],
    "a field too many": [0, 1, 0, False, 0, 0],
    "a role that is none": [0, 1, 2, False],
    "a number for a truth": [0, 1, 0, 0],
    "a text for a link": [0, "1", 0, False],
    "nine candidates": [1, 1, "ufrag", "password", bytes(32), ["candidate"] * 9],
    "a candidate of 161 characters": [1, 1, "u", "p", bytes(32), ["x" * 161]],
    "a fingerprint of 31 bytes": [1, 1, "u", "p", bytes(31), []],
    "257 rows": [3, 1, [[1, 2, None, []]] * 257],
    "a row without sinks": [3, 1, [[1, 2, None]]],
    "513 keys": [DOWN.index(channel.SetKeys), [[1, 2, bytes(16)]] * 513],
    "a gain past 4": [DOWN.index(channel.SetGain), 1, 4_001],
    "a room of three slots": [DOWN.index(channel.NewGuestRoom), 1, [1, 2, 3]],
    "a guest with a role that is none": guest_as_sent(2, 111, [1], 0),
    "a guest of payload type 128": guest_as_sent(0, 128, [1], 0),
    "a guest with five slots": guest_as_sent(0, 111, [1] * 5, 0),
    "a guest whose levels have no id": guest_as_sent(1, 111, [], 15),
    "a path of 4,097 characters": [DOWN.index(SetInput), "x" * 4_097],
}


@pytest.mark.parametrize("what", NONSENSE)
def test_nonsense_breaks_the_channel(what):
    with pytest.raises(ChannelBroken):
        FrameReader("down").feed(frame(NONSENSE[what]))


def test_a_message_of_the_other_direction_breaks_the_channel():
    with pytest.raises(ChannelBroken):
        FrameReader("up").feed(frame([len(UP), b""]))
    with pytest.raises(ChannelBroken):
        FrameReader("down").feed(encode(Stats(0, 0, 0, (), ())))


@pytest.mark.parametrize("body", [b"", b"\x81", b"\x82\x00", b"\x81\x18\x00", b"\xff", b"\x80\x80"])
def test_a_frame_that_is_no_cbor_breaks_the_channel(body):
    with pytest.raises(ChannelBroken):
        FrameReader("down").feed(struct.pack("!I", len(body)) + body)


def test_a_frame_too_long_breaks_the_channel_before_its_body_is_there():
    assert FrameReader("down").feed(struct.pack("!I", FRAME_BYTES_MAX)) == []
    with pytest.raises(ChannelBroken, match=f"a frame of {FRAME_BYTES_MAX + 1} bytes"):
        FrameReader("down").feed(struct.pack("!I", FRAME_BYTES_MAX + 1))


def test_a_frame_of_too_many_items_breaks_the_channel():
    many = [0] * (ITEMS_MAX - 2)
    with pytest.raises(ChannelBroken, match="fields"):
        FrameReader("down").feed(frame([3, *many]))
    with pytest.raises(ChannelBroken, match="too many items"):
        FrameReader("down").feed(frame([3, *many, 0]))


def test_what_was_whole_before_the_nonsense_is_lost_with_the_channel():
    """Its reader ends the other process either way; half a story must not be acted upon."""
    with pytest.raises(ChannelBroken):
        FrameReader("down").feed(WHOLE + frame([99]))


@pytest.mark.slow
@pytest.mark.parametrize("direction", ["down", "up"])
def test_mutants_of_the_channel_are_read_or_break_it(direction):
    """Invariant: what a reader gives encodes to what it was fed, or it raises ChannelBroken."""
    corpus = [encode(each) for each in (MESSAGES if direction == "down" else UP_MESSAGES)]

    def decode(data):
        reader = FrameReader(direction)
        half = len(data) // 2
        found = reader.feed(data[:half]) + reader.feed(data[half:])
        assert data.startswith(b"".join(map(encode, found)))

    def make(rng):
        chance = rng.random()
        if chance < 0.4:
            return mutant(rng, corpus)
        if chance < 0.5:
            return rng.choice(corpus) + mutant(rng, corpus)
        body = reshaped(rng, rng.choice(corpus)[4:])
        return struct.pack("!I", len(body)) + body

    survives(decode, make, errors=ChannelBroken, accepted_min=5_000)


UP_MESSAGES: list[Up] = [
    Started(1),
    channel.LocalDescription(LinkNumber(1), "ufrag", "password", bytes(32), ("candidate",) * 3),
    channel.LinkState(LinkNumber(1), channel.LinkStatus.LOST, "it hung up"),
    channel.VoiceKey(VoiceId(bytes(16)), bytes(32)),
    channel.Levels((channel.Level(Ssrc(5), 30), channel.Level(Ssrc(6), 127))),
    channel.VoiceState(Ssrc(0), channel.VoiceCondition.INPUT_FAILED, "no such file: a\nb"),
    Stats(20_000, -1, 0, (VoiceStats(Ssrc(5), 9, 1, 1, 0, 0, 0, 40_000, 2_000),), ()),
    channel.PortReady(3478, bytes(32)),
    channel.Load(700),
    channel.GuestSlots(7, (LinkNumber(3), LinkNumber(0), LinkNumber(0), LinkNumber(0))),
]


def test_a_guests_passwords_stand_in_no_log():
    guest = OpenGuest(
        LinkNumber(2), 7, GuestRole.SPEAKER, "ours", "secret1", "theirs", "secret2",
        bytes(32), 111, (),
    )  # fmt: skip
    assert "secret" not in repr(guest)
