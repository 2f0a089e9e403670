"""Nodes that find one another by themselves."""

import contextlib
import socket
from ipaddress import ip_address

import pytest
import trio

from p2phouse.net.addresses import Address
from p2phouse.net.events import Found, PeerUp
from p2phouse.net.hello import NobodyAnswers
from p2phouse.net.meeting import LOWER_WAITS_S, MET_MAX, NEIGHBOURS_MAX, TRIES, Meeting
from p2phouse.vocabulary import DeviceKey


async def test_nodes_of_one_machine_meet_in_the_runtime_directory(make_node):
    async with make_node(1, runtime="shared") as ana, make_node(2, runtime="shared") as ben:
        assert (await ana.next(Found)).where == "machine"
        await ben.next(Found, dev=ana.dev)
        await ana.next(PeerUp, dev=ben.dev)
        await ben.next(PeerUp, dev=ana.dev)


async def test_nodes_meet_by_browsing_on_loopback_alone(make_node):
    async with make_node(1, lan="loopback") as ana, make_node(2, lan="loopback") as ben:
        found = await ana.next(Found, dev=ben.dev)
        assert found.where == "lan"
        await ana.next(PeerUp, dev=ben.dev)
        await ben.next(PeerUp, dev=ana.dev)


async def test_the_socket_of_a_dead_process_is_removed(make_node, tmp_path):
    runtime = tmp_path / "shared"
    runtime.mkdir(mode=0o700)
    dead = runtime / "hello-1-dead.sock"
    with contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as left_over:
        left_over.bind(str(dead))
    async with make_node(1, runtime="shared"):
        with trio.fail_after(10):
            while dead.exists():  # noqa: ASYNC110 - a file system has no event to wait for
                await trio.sleep(0.01)


async def test_a_typed_address_says_who_listens_there(make_node):
    async with make_node(1) as ana, make_node(2) as ben:
        answer = await ana.network.hello("127.0.0.1", ben.network.port)
        assert answer.dev == ben.dev
        ana.network.dial(answer.dev, answer.addrs)
        assert (await ana.next(PeerUp)).addrs[0] in answer.addrs


async def test_a_typed_address_where_nobody_listens_is_one_sentence(make_node):
    async with make_node(1) as ana:
        with pytest.raises(NobodyAnswers, match="Nobody answered"):
            await ana.network.hello("127.0.0.1", 9)


OWN = DeviceKey(b"\x80" * 32)
LOW, HIGH = DeviceKey(b"\x01" * 32), DeviceKey(b"\xff" * 32)
HOME = Address(ip_address("192.168.1.9"), 4_000)
MOVED = Address(ip_address("192.168.1.10"), 4_000)


class Hall:
    """Who is here, and whom we wished to dial when."""

    def __init__(self):
        self.here: set[DeviceKey] = set()
        self.told: list[Found] = []
        self.wished: list[tuple[float, DeviceKey]] = []
        self.meeting = Meeting(
            OWN,
            connected=self.here.__contains__,
            connected_count=lambda: len(self.here),
            want=self._want,
            emit=self._emit,
        )

    def _want(self, dev, addresses, tries):
        assert tries == TRIES
        self.wished.append((trio.current_time(), dev))

    async def _emit(self, event):
        self.told.append(event)


@pytest.fixture
def hall(nursery):
    hall = Hall()
    nursery.start_soon(hall.meeting.run)
    return hall


async def test_the_higher_id_dials_at_once_and_the_lower_a_little_later(hall, autojump_clock):
    await hall.meeting.found(LOW, [HOME], "lan")
    await hall.meeting.found(HIGH, [HOME], "lan")
    assert trio.current_time() == 0.0, "whoever found them does not wait"
    await trio.sleep(5)
    assert hall.wished == [(0.0, LOW), (LOWER_WAITS_S, HIGH)]


async def test_who_was_dialled_by_the_other_meanwhile_does_not_dial(hall, autojump_clock):
    await hall.meeting.found(HIGH, [HOME], "lan")
    await trio.sleep(0.1)
    hall.here.add(HIGH)
    await trio.sleep(5)
    assert hall.wished == []


async def test_a_find_is_news_once_and_again_when_it_has_moved(hall):
    for addresses in ([HOME], [HOME], [MOVED]):
        await hall.meeting.found(LOW, addresses, "lan")
    assert len(hall.told) == 2


async def test_a_neighbour_that_is_lost_is_dialled_again_and_a_stranger_is_not(
    hall, autojump_clock
):
    await hall.meeting.found(LOW, [HOME], "lan")
    await trio.sleep(1)
    hall.meeting.lost(LOW)
    hall.meeting.lost(HIGH)
    await trio.sleep(1)
    assert [dev for _, dev in hall.wished] == [LOW, LOW]


async def test_with_forty_neighbours_no_more_are_dialled(hall, autojump_clock):
    hall.here |= {DeviceKey(number.to_bytes(32, "big")) for number in range(NEIGHBOURS_MAX - 1)}
    await hall.meeting.found(LOW, [HOME], "lan")
    await trio.sleep(1)
    assert len(hall.wished) == 1
    hall.here.add(HIGH)
    hall.meeting.lost(LOW)
    await trio.sleep(1)
    assert len(hall.wished) == 1


async def test_of_too_many_neighbours_the_longest_unseen_is_forgotten(hall, autojump_clock):
    await hall.meeting.found(LOW, [HOME], "lan")
    for number in range(2, MET_MAX + 2):
        await hall.meeting.found(DeviceKey(number.to_bytes(32, "big")), [HOME], "lan")
    await trio.sleep(1)
    hall.wished.clear()
    hall.meeting.lost(LOW)
    await trio.sleep(1)
    assert hall.wished == []


async def test_we_do_not_find_ourselves(hall, autojump_clock):
    await hall.meeting.found(OWN, [HOME], "machine")
    await trio.sleep(1)
    assert (hall.told, hall.wished) == ([], [])
