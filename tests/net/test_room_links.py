"""Room links on streams in memory: what makes one, what ends one, and how many there may be."""

import nacl.signing
import pytest
import trio
import trio.testing

from p2phouse.errors import LinkError
from p2phouse.net.events import NetEvent, RoomClosed, RoomFrame, RoomOpen
from p2phouse.net.room_links import (
    DRAIN_S,
    FRAME_BYTES_MAX,
    FRAMES_BURST,
    LINKS_MAX,
    LINKS_PER_PEER_MAX,
    QUEUE_FRAMES,
    BadFrame,
    BadGreeting,
    RoomLinks,
)
from p2phouse.net.wire import FrameTooLong, TooSlow, Wire, WireBroken
from p2phouse.record import cbor, envelope
from p2phouse.record.types import Join
from p2phouse.vocabulary import DeviceKey, RoomId
from tests.net.pipes import Stream

OWN = DeviceKey(b"\x80" * 32)  # in the middle: some peers have lower ids, some higher


class Peer:
    """Somebody at the other end of a stream."""

    def __init__(self, number):
        self.key = nacl.signing.SigningKey(number.to_bytes(32, "big"))
        self.dev = DeviceKey(bytes(self.key.verify_key))

    def greeting(self, room, *, dev=None):
        join = Join(room=room, dev=self.dev, idrec=bytes(32), beat=None, ts=0)
        return cbor.encode([0, envelope.sign(join, self.key).data, b"", [], [], [], []])

    def wires(self, *, near=True):
        """Our end and the peer's."""
        one, other = trio.testing.memory_stream_pair()
        return Wire(Stream(one), self.dev, near=near), Wire(Stream(other), OWN, near=near)


def room(number):
    return RoomId(number.to_bytes(32, "big"))


TEA = room(1)
LAN_ROOM = room(2)
LOW = next(peer for number in range(1, 99) if (peer := Peer(number)).dev < OWN)
HIGH = next(peer for number in range(1, 99) if (peer := Peer(number)).dev > OWN)


class Links:
    """RoomLinks, its events, and the faults it found in peers."""

    def __init__(self, nursery):
        self.events: list[NetEvent] = []
        self.faults: list[Exception] = []
        self._nursery = nursery

        async def emit(event):
            self.events.append(event)

        self.links = RoomLinks(OWN, emit=emit, near_only=lambda room: room == LAN_ROOM)

    async def accept(self, wire):
        try:
            await self.links.accept(wire)
        except Exception as error:
            self.faults.append(error)
        await wire.finish()

    async def join(self, peer, room=TEA, *, near=True):
        """The peer opens a link and greets; returns its end."""
        ours, theirs = peer.wires(near=near)
        self._nursery.start_soon(self.accept, ours)
        await theirs.send(peer.greeting(room))
        await trio.testing.wait_all_tasks_blocked()
        return theirs

    async def open(self, peer, room=TEA, *, near=True):
        """We open a link to the peer; returns its end."""
        ours, theirs = peer.wires(near=near)

        async def connect():
            return ours

        self._nursery.start_soon(self.links.open, peer.dev, room, connect)
        await trio.testing.wait_all_tasks_blocked()
        return theirs

    def told(self, kind):
        return [event for event in self.events if isinstance(event, kind)]


@pytest.fixture
async def links(nursery):
    return Links(nursery)


async def frames(wire):
    """The kinds of all frames that come until the end."""
    kinds = []
    try:
        while True:
            data = await wire.receive(size_max=FRAME_BYTES_MAX)
            kinds.append(cbor.decode(data, size_max=FRAME_BYTES_MAX))
    except LinkError:
        return kinds


async def test_a_link_that_a_peer_opens_begins_with_its_greeting(links):
    await links.join(LOW)
    opened, greeting = links.events
    assert opened == RoomOpen(LOW.dev, TEA, outbound=False)
    assert isinstance(greeting, RoomFrame)
    assert greeting.frame[0] == 0
    assert links.links.peers() == {LOW.dev}


@pytest.mark.parametrize(
    ("first", "fault"),
    [
        (cbor.encode([3, b"soft"]), BadGreeting),
        (cbor.encode([0]), BadGreeting),
        (cbor.encode([0, b"no join"]), cbor.Malformed),
        (cbor.encode([True, b"x"]), BadFrame),
        (cbor.encode([]), BadFrame),
        (cbor.encode(0), BadFrame),
        (b"\xff\x00", cbor.Malformed),
        (HIGH.greeting(TEA), BadGreeting),
    ],
    ids=["soft", "short", "no join", "bool", "empty", "no list", "junk", "another's join"],
)
async def test_a_stream_that_begins_otherwise_is_no_link(links, nursery, first, fault):
    ours, theirs = LOW.wires()
    nursery.start_soon(links.accept, ours)
    await theirs.send(first)
    await trio.testing.wait_all_tasks_blocked()
    assert [type(error) for error in links.faults] == [fault]
    assert links.events == []


async def test_a_stream_that_says_nothing_is_no_link(links, autojump_clock):
    ours, _ = LOW.wires()
    await links.accept(ours)
    assert [type(error) for error in links.faults] == [TooSlow]


async def test_a_frame_of_sixteen_kilobytes_passes_and_one_byte_more_ends_the_link(links):
    theirs = await links.join(LOW)
    body = cbor.encode([3, bytes(FRAME_BYTES_MAX - 5)])
    assert len(body) == FRAME_BYTES_MAX
    await theirs.send(body)
    await trio.testing.wait_all_tasks_blocked()
    assert links.told(RoomFrame)[-1].frame[0] == 3
    await theirs.send(bytes(FRAME_BYTES_MAX + 1))
    await trio.testing.wait_all_tasks_blocked()
    assert [type(error) for error in links.faults] == [FrameTooLong]
    assert links.told(RoomClosed) == [
        RoomClosed(LOW.dev, TEA, "A frame of 16385 bytes came where 16384 are allowed.")
    ]


async def test_a_frame_that_does_not_end_is_not_waited_for(links, autojump_clock):
    near_end, far_end = trio.testing.memory_stream_pair()
    ours = Wire(Stream(near_end), LOW.dev, near=True)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(links.accept, ours)
        await Wire(Stream(far_end), OWN, near=True).send(LOW.greeting(TEA))
        await trio.testing.wait_all_tasks_blocked()
        await far_end.send_all(b"\0\0\1\0half")
    assert [type(error) for error in links.faults] == [TooSlow]
    assert len(links.told(RoomClosed)) == 1


async def test_a_later_greeting_for_another_room_ends_the_link(links):
    theirs = await links.join(LOW)
    await theirs.send(LOW.greeting(room(9)))
    await trio.testing.wait_all_tasks_blocked()
    assert [type(error) for error in links.faults] == [BadGreeting]


async def test_frames_faster_than_fifty_a_second_wait_in_the_connection(links, autojump_clock):
    theirs = await links.join(LOW)
    began = trio.current_time()
    for number in range(int(FRAMES_BURST) + 100):
        await theirs.send(cbor.encode([3, number]))
    while len(links.told(RoomFrame)) <= FRAMES_BURST + 100:  # noqa: ASYNC110 - a list has no event
        await trio.sleep(0.01)
    assert 1.9 < trio.current_time() - began < 2.2
    assert [event.frame for event in links.told(RoomFrame)][1:] == [
        [3, number] for number in range(int(FRAMES_BURST) + 100)
    ]


async def test_a_peer_that_lets_sixty_four_frames_pile_up_loses_its_link(links, nursery):
    class Stuck(Stream):
        async def write(self, data):
            await trio.sleep_forever()

    one, other = trio.testing.memory_stream_pair()
    nursery.start_soon(links.accept, Wire(Stuck(one), LOW.dev, near=True))
    await Wire(Stream(other), OWN, near=True).send(LOW.greeting(TEA))
    await trio.testing.wait_all_tasks_blocked()
    links.links.send(LOW.dev, TEA, [3, 0])  # this one is being written
    await trio.testing.wait_all_tasks_blocked()
    for number in range(QUEUE_FRAMES):
        links.links.send(LOW.dev, TEA, [3, number])
    await trio.testing.wait_all_tasks_blocked()
    assert links.told(RoomClosed) == []
    links.links.send(LOW.dev, TEA, [3, b"one too many"])
    await trio.testing.wait_all_tasks_blocked()
    assert links.told(RoomClosed) == [RoomClosed(LOW.dev, TEA, "it does not read what it is sent")]
    links.links.send(LOW.dev, TEA, [3, b"for nobody"])


async def test_a_peer_that_reads_nothing_for_five_seconds_loses_its_link(links, autojump_clock):
    class Stuck(Stream):
        async def write(self, data):
            await trio.sleep_forever()

    one, other = trio.testing.memory_stream_pair()
    await Wire(Stream(other), OWN, near=True).send(LOW.greeting(TEA))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(links.accept, Wire(Stuck(one), LOW.dev, near=True))
        await trio.testing.wait_all_tasks_blocked()
        links.links.send(LOW.dev, TEA, [3, 0])
    assert len(links.told(RoomClosed)) == 1
    assert "does not read" in links.told(RoomClosed)[0].reason


async def test_sixty_four_links_are_held_and_no_more(links):
    for number in range(1, LINKS_MAX + 1):
        await links.join(Peer(100 + number))
    theirs = await links.join(Peer(999))
    assert await frames(theirs) == []
    assert len(links.links.peers()) == LINKS_MAX


async def test_one_peer_holds_four_links_and_no_more(links):
    for number in range(LINKS_PER_PEER_MAX):
        await links.join(LOW, room(10 + number))
    theirs = await links.join(LOW, room(99))
    assert await frames(theirs) == []
    assert {event.room for event in links.told(RoomOpen)} == {
        room(10 + number) for number in range(LINKS_PER_PEER_MAX)
    }


async def test_a_second_stream_of_a_peer_that_was_killed_replaces_its_first(links):
    first = await links.join(LOW)
    second = await links.join(LOW)
    assert await frames(first) == []
    links.links.send(LOW.dev, TEA, [3, b"hand"])
    assert cbor.decode(await second.receive(size_max=99), size_max=99) == [3, b"hand"]
    assert links.told(RoomClosed) == []
    assert len(links.told(RoomOpen)) == 2


async def test_of_two_streams_opened_at_once_the_lower_ids_stays(links, autojump_clock):
    # Ours, as ours is the lower id; the peer closes its own on seeing ours.
    ours_there = await links.open(HIGH)
    theirs = await links.join(HIGH)
    await theirs.reset()
    links.links.send(HIGH.dev, TEA, [3, b"on ours"])
    assert cbor.decode(await ours_there.receive(size_max=99), size_max=99) == [3, b"on ours"]
    # The peer's, as its id is the lower one.
    ours_there = await links.open(LOW)
    theirs = await links.join(LOW)
    links.links.send(LOW.dev, TEA, [3, b"on theirs"])
    assert cbor.decode(await theirs.receive(size_max=99), size_max=99) == [3, b"on theirs"]
    assert await frames(ours_there) == []


async def test_a_link_asked_for_twice_at_once_is_opened_once(links, nursery):
    connecting = trio.Event()
    connected = []

    async def connect():
        connected.append(1)
        await connecting.wait()
        return LOW.wires()[0]

    for _ in range(2):
        nursery.start_soon(links.links.open, LOW.dev, TEA, connect)
    await trio.testing.wait_all_tasks_blocked()
    connecting.set()
    await trio.testing.wait_all_tasks_blocked()
    assert connected == [1]
    assert links.events == [RoomOpen(LOW.dev, TEA, outbound=True)]


async def test_a_link_that_cannot_be_opened_is_one_event(links):
    async def connect():
        raise WireBroken(reason="nobody there")

    await links.links.open(LOW.dev, TEA, connect)
    assert links.events == [
        RoomClosed(LOW.dev, TEA, "The connection to that node broke: nobody there.")
    ]


async def test_a_link_closed_before_it_stands_is_never_told_of(links, nursery):
    connecting = trio.Event()
    ours, theirs = LOW.wires()

    async def connect():
        await connecting.wait()
        return ours

    nursery.start_soon(links.links.open, LOW.dev, TEA, connect)
    await trio.testing.wait_all_tasks_blocked()
    links.links.close(LOW.dev, TEA)
    connecting.set()
    assert await frames(theirs) == []
    assert links.events == []


async def test_a_closed_link_gets_its_last_words_out(links):
    theirs = await links.join(LOW)
    for number in range(5):
        links.links.send(LOW.dev, TEA, [3, number])
    links.links.close(LOW.dev, TEA)
    with trio.fail_after(1):
        await links.links.flush()
    assert await frames(theirs) == [[3, number] for number in range(5)]
    assert links.told(RoomClosed) == []


async def test_last_words_to_a_peer_that_does_not_read_are_given_two_seconds(
    links, nursery, autojump_clock
):
    class Stuck(Stream):
        async def write(self, data):
            await trio.sleep_forever()

    one, other = trio.testing.memory_stream_pair()
    nursery.start_soon(links.accept, Wire(Stuck(one), LOW.dev, near=True))
    await Wire(Stream(other), OWN, near=True).send(LOW.greeting(TEA))
    await trio.sleep(0.1)
    links.links.send(LOW.dev, TEA, [5, 0])
    links.links.close(LOW.dev, TEA)
    began = trio.current_time()
    await links.links.flush()
    assert trio.current_time() - began == pytest.approx(DRAIN_S, abs=0.1)


async def test_nobody_from_far_away_gets_a_lan_rooms_link(links):
    theirs = await links.join(LOW, LAN_ROOM, near=False)
    assert await frames(theirs) == [[5, 3]]
    assert links.events == []
    await links.join(HIGH, LAN_ROOM, near=True)
    assert links.told(RoomOpen) == [RoomOpen(HIGH.dev, LAN_ROOM, outbound=False)]


async def test_a_link_says_whether_the_peer_is_near(links):
    await links.join(LOW, near=False)
    await links.join(HIGH, near=True)
    assert [opened.near for opened in links.told(RoomOpen)] == [False, True]


async def test_a_lan_rooms_link_is_not_opened_to_somebody_far_away(links):
    theirs = await links.open(LOW, LAN_ROOM, near=False)
    assert await frames(theirs) == []
    (closed,) = links.events
    assert closed.reason == (
        "That room is only for people on its own network, and that node is on another."
    )


async def test_when_the_host_is_gone_every_link_is_told_of(links):
    await links.join(LOW)
    await links.join(HIGH)
    await links.links.abandon("restarted")
    assert sorted(links.told(RoomClosed), key=lambda event: event.dev) == sorted(
        [RoomClosed(peer.dev, TEA, "restarted") for peer in (LOW, HIGH)],
        key=lambda event: event.dev,
    )
