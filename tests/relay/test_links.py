"""The relay carries a room of nodes: real links of p2phouse.link.link at the other ends."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from p2phouse import channel
from p2phouse.carry.control import LinkControl
from p2phouse.carry.pace import PACKETS_AT_ONCE_MAX, PACKETS_PER_S_MAX
from p2phouse.carry.rtcp import ControlKind, Keepalive
from p2phouse.channel import (
    CloseLink,
    ConnectLink,
    LinkRole,
    LinkState,
    LinkStatus,
    LocalDescription,
    OpenLink,
    Pulls,
    SetTable,
    Stats,
    TableRow,
)
from p2phouse.link.link import Description, Link
from p2phouse.link.port import Port
from p2phouse.vocabulary import LinkNumber
from p2phouse_relay.links import addresses_in
from p2phouse_relay.media import Media
from tests.carry.packets import ANA, BEN, a_packet

WITHIN_S = 15.0
OTHER = {LinkRole.OFFERER: LinkRole.ANSWERER, LinkRole.ANSWERER: LinkRole.OFFERER}


class Node:
    """A node's end of a link to the relay, and all that came out of it."""

    def __init__(self, number: LinkNumber, role: LinkRole) -> None:
        self.packets: list[bytes] = []
        self.controls: list[bytes] = []
        self.states: list[tuple[LinkStatus, str]] = []
        self.link = Link(
            number,
            role,
            local_only=False,
            loopback_only=True,
            on_packet=lambda number, data: self.packets.append(data),
            on_control=lambda number, data: self.controls.append(data),
            on_state=lambda number, status, reason: self.states.append((status, reason)),
        )

    @property
    def is_connected(self) -> bool:
        return (LinkStatus.CONNECTED, "") in self.states


class Relay:
    """Media's insides with a real port, taking turns with the nodes on one loop."""

    def __init__(self, host: str = "127.0.0.1", *, stays_near: bool = False) -> None:
        self.port = Port(host, 0, stays_near=stays_near)
        self.said: list[channel.Up] = []
        self.media = Media(self.said.append, [self.port])
        self.nodes: list[Node] = []
        self.epoch = 0

    async def run(self) -> None:
        while True:
            self.media.peers.read(time.monotonic(), 0)
            self.media.peers.work(time.monotonic())
            self.media.tick(time.monotonic())
            await asyncio.sleep(0.001)

    async def until(self, is_so: Callable[[], bool], within_s: float = WITHIN_S) -> None:
        async with asyncio.timeout(within_s):
            while not is_so():  # noqa: ASYNC110 - of three processes' worth of things
                await asyncio.sleep(0.002)

    async def open(self, number: LinkNumber, role: LinkRole, room: int = 0) -> Description:
        """The relay's end, in this role."""
        self.media.perform(OpenLink(number, role, local_only=False, room=room))
        said = self.said[-1]
        assert isinstance(said, LocalDescription)
        return Description(said.ufrag, said.pwd, said.fp, said.cands)

    def meet(self, number: LinkNumber, end: Description) -> None:
        self.media.perform(ConnectLink(number, end.ufrag, end.pwd, end.fp, end.cands))

    async def join(self, role: LinkRole = LinkRole.OFFERER, room: int = 0) -> Node:
        """A node in this role is connected."""
        number = LinkNumber(len(self.nodes) + 1)
        node = Node(number, role)
        self.nodes.append(node)
        ours = await self.open(number, OTHER[role], room)
        theirs = await node.link.open()
        if role is LinkRole.ANSWERER:
            # Its answer takes a while to us, and it checks already.
            connecting = asyncio.ensure_future(node.link.connect(ours))
            await asyncio.sleep(0.05)
            self.meet(number, theirs)
            await connecting
        else:
            self.meet(number, theirs)
            await node.link.connect(ours)
        connected = LinkState(number, LinkStatus.CONNECTED, "")
        await self.until(lambda: node.is_connected and connected in self.said)
        return node

    def set_rows(self, *rows: TableRow, room: int = 0) -> None:
        self.epoch += 1
        self.media.perform(SetTable(self.epoch, rows, room=room))

    def states(self, node: Node) -> list[LinkState]:
        return [
            each
            for each in self.said
            if isinstance(each, LinkState) and each.link == node.link.number
        ]


def run(
    test: Callable[[Relay], Coroutine[Any, Any, None]],
    host: str = "127.0.0.1",
    *,
    stays_near: bool = False,
) -> None:
    async def and_close() -> None:
        relay = Relay(host, stays_near=stays_near)
        running = asyncio.ensure_future(relay.run())
        try:
            await test(relay)
        finally:
            for node in relay.nodes:
                await node.link.close()
            assert not running.done(), "the relay died"
            running.cancel()
            relay.port.close()

    asyncio.run(and_close())


ONE, TWO, THREE = (LinkNumber(n) for n in (1, 2, 3))


def test_a_voice_goes_from_one_node_to_the_others_as_it_came():
    async def test(relay: Relay) -> None:
        ana, ben, cem = [await relay.join() for _ in range(3)]
        relay.set_rows(TableRow(ONE, ANA, (), (TWO, THREE)), TableRow(TWO, BEN, (), (ONE,)))
        sent = [a_packet(ANA, seq) for seq in range(1, 60)]
        for each in sent:
            ana.link.send(each)
        ben.link.send(a_packet(BEN, 7))
        ben.link.send(a_packet(ANA, 100))  # in another's name
        await relay.until(lambda: len(ben.packets) == len(cem.packets) == len(sent))
        assert ben.packets == cem.packets == sent
        await relay.until(lambda: ana.packets == [a_packet(BEN, 7)])
        await relay.until(lambda: any(isinstance(each, Stats) for each in relay.said))
        await relay.until(lambda: refused(relay, TWO) == 1)

    run(test)


def test_a_voice_that_is_flooded_is_carried_no_faster_than_a_voice():
    """And another by the same link as ever."""

    async def test(relay: Relay) -> None:
        ana, ben = [await relay.join() for _ in range(2)]
        relay.set_rows(TableRow(ONE, ANA, (), (TWO,)), TableRow(ONE, BEN, (), (TWO,)))
        began_s = time.monotonic()
        for seq in range(1, 1_001):
            ana.link.send(a_packet(ANA, seq))
            if seq % 20 == 0:
                ana.link.send(a_packet(BEN, seq // 20))
                await asyncio.sleep(0.002)
        await relay.until(lambda: ben.packets[-1:] == [a_packet(BEN, 50)])
        most = PACKETS_AT_ONCE_MAX + PACKETS_PER_S_MAX * (time.monotonic() - began_s)
        of_ben = [each for each in ben.packets if each in {a_packet(BEN, n) for n in range(51)}]
        assert len(of_ben) == 50
        assert len(ben.packets) - 50 <= most

    run(test)


def test_rooms_know_nothing_of_one_another():
    """Each has its own table, whose end is not that of the others; both here have a voice of one
    SSRC, as chance may have it."""

    async def test(relay: Relay) -> None:
        ana, ben = [await relay.join(room=1) for _ in range(2)]
        cem, dan = [await relay.join(room=2) for _ in range(2)]
        four = LinkNumber(4)
        relay.set_rows(TableRow(ONE, ANA, (), (TWO,)), room=1)
        relay.set_rows(TableRow(THREE, ANA, (), (four,)), room=2)
        ana.link.send(a_packet(ANA, 1))
        cem.link.send(a_packet(ANA, 9))
        await relay.until(lambda: ben.packets == [a_packet(ANA, 1)])
        await relay.until(lambda: dan.packets == [a_packet(ANA, 9)])
        for number in (ONE, TWO):
            relay.media.perform(CloseLink(number))
        relay.media.perform(SetTable(1, (), room=1))
        cem.link.send(a_packet(ANA, 10))
        await relay.until(lambda: dan.packets[1:] == [a_packet(ANA, 10)])
        assert ben.packets == [a_packet(ANA, 1)]

    run(test)


def test_pulls_are_told_with_their_room():
    async def test(relay: Relay) -> None:
        ana = await relay.join(room=7)
        ben = await relay.join(room=7)
        relay.set_rows(TableRow(ONE, ANA, (), (), (TWO,)), room=7)
        ana.link.send(a_packet(ANA, 1))
        control = LinkControl(lambda size: bytes([9] * size))
        ben.link.send_control(control.request(ControlKind.PULL, 1, altogether=False))
        await relay.until(lambda: Pulls(1, 1, room=7) in relay.said)

    run(test)


def refused(relay: Relay, link: LinkNumber) -> int:
    stats = [each for each in relay.said if isinstance(each, Stats)]
    return sum(each.refused for each in stats[-1].links if each.link == link)


@pytest.mark.parametrize("role", list(LinkRole))
def test_a_node_may_offer_or_answer(role: LinkRole):
    async def test(relay: Relay) -> None:
        ana, ben = await relay.join(role), await relay.join(role)
        relay.set_rows(TableRow(ONE, ANA, (), (TWO,)))
        ana.link.send(a_packet(ANA, 1))
        await relay.until(lambda: ben.packets == [a_packet(ANA, 1)])

    run(test)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_two_relays_of_one_room_meet(host: str):
    async def test(relay: Relay) -> None:
        other = Relay(host)
        running = asyncio.ensure_future(other.run())
        ours = await relay.open(ONE, LinkRole.OFFERER)
        theirs = await other.open(TWO, LinkRole.ANSWERER)
        other.meet(TWO, ours)
        relay.meet(ONE, theirs)
        await relay.until(lambda: LinkState(ONE, LinkStatus.CONNECTED, "") in relay.said)
        await relay.until(lambda: LinkState(TWO, LinkStatus.CONNECTED, "") in other.said)
        running.cancel()
        other.port.close()

    run(test, host)


def test_a_relay_knocks_nowhere_inside_its_own_machine():
    cands = (
        "1 1 udp 1 127.0.0.1 5000 typ host",
        "1 1 udp 1 ::1 5000 typ host",
        "1 1 udp 1 0.0.0.0 5000 typ host",
        "1 1 udp 1 224.0.0.1 5000 typ host",
        "1 1 tcp 1 192.0.2.1 5000 typ host",
        "1 1 udp 1 192.0.2.1 99999 typ host",
        "1 1 udp 1 somewhere.example 5000 typ host",
        "1 1 udp 1 192.0.2.1",
        "1 1 udp 1 192.0.2.1 5000 typ host",
        "1 1 udp 1 2001:db8::1 5001 typ host",
    )
    outside = [("192.0.2.1", 5000), ("2001:db8::1", 5001, 0, 0)]
    assert addresses_in(cands, is_trial=False) == outside
    assert addresses_in(cands, is_trial=True) == [("127.0.0.1", 5000), ("::1", 5000, 0, 0)]


def test_link_control_goes_both_ways_and_measures():
    """A quiet link lives by keepalives, and round trips are known at both ends."""

    async def test(relay: Relay) -> None:
        ana = await relay.join()
        control = LinkControl(lambda size: bytes([7] * size))
        keepalives: list[Keepalive] = []

        def turn() -> bool:
            now_s = time.monotonic()
            while ana.controls:
                message = control.receive(now_s, ana.controls.pop(0))
                if isinstance(message, Keepalive):
                    keepalives.append(message)
            for data in control.tick(now_s, quiet=True, epoch=0):
                ana.link.send_control(data)
            return bool(control.rtt_us) and rtt_us(relay, ONE) > 0

        await relay.until(turn)
        assert len(keepalives) >= 5
        assert all(each.quiet for each in keepalives)
        # Somebody keeps the link alive, so nobody is told that it is silent.
        assert not [each for each in relay.said if isinstance(each, channel.Silent)]

    run(test)


def rtt_us(relay: Relay, link: LinkNumber) -> int:
    stats = [each for each in relay.said if isinstance(each, Stats)]
    return sum(each.rtt_us for each in stats[-1].links if each.link == link) if stats else 0


def test_a_silent_node_is_told_of_while_its_link_lives():
    async def test(relay: Relay) -> None:
        await relay.join()
        await relay.until(lambda: channel.Silent(ONE) in relay.said)
        assert len(relay.states(relay.nodes[0])) == 1

    run(test)


def test_whoever_hangs_up_is_lost_at_the_other_end_at_once():
    async def test(relay: Relay) -> None:
        ana, ben = await relay.join(), await relay.join(LinkRole.ANSWERER)
        await ana.link.close()
        lost = LinkState(ONE, LinkStatus.LOST, "closed by the other end")
        await relay.until(lambda: lost in relay.said, 1.0)
        relay.media.perform(CloseLink(TWO))
        await relay.until(lambda: len(ben.states) == 2, 1.0)
        assert ben.states[1] == (LinkStatus.LOST, "closed by the other end")
        assert len(relay.states(ben)) == 1  # whoever closes is told nothing more

    run(test)


def test_a_node_that_vanishes_is_lost_within_five_seconds():
    async def test(relay: Relay) -> None:
        ana, ben = await relay.join(), await relay.join()
        relay.set_rows(TableRow(ONE, ANA, (), (TWO,)))
        # Its cable is pulled: nothing is read or sent any more.
        ana.link._datagrams._nominated[1].protocol.transport.abort()
        await relay.until(lambda: len(relay.states(ana)) == 2, 5.0)
        assert relay.states(ana)[1].status is LinkStatus.LOST
        assert len(relay.states(ben)) == 1

    run(test)


@pytest.mark.nightly
def test_a_link_that_control_closes_before_anybody_came_is_no_more():
    async def test(relay: Relay) -> None:
        ours = await relay.open(ONE, LinkRole.ANSWERER)
        relay.media.perform(CloseLink(ONE))
        node = Node(ONE, LinkRole.OFFERER)
        relay.nodes.append(node)
        relay.meet(ONE, await node.link.open())
        connecting = asyncio.ensure_future(node.link.connect(ours))
        await relay.until(lambda: bool(node.states))
        assert node.states[0][0] is LinkStatus.FAILED
        await connecting

    run(test)


def test_a_room_of_one_network_alone_is_not_carried():
    async def test(relay: Relay) -> None:
        relay.media.perform(OpenLink(ONE, LinkRole.ANSWERER, local_only=True))
        said = relay.said[-1]
        assert isinstance(said, LinkState)
        assert said.status is LinkStatus.FAILED

    run(test)


def test_a_port_that_no_router_passes_on_carries_it():
    async def test(relay: Relay) -> None:
        relay.media.perform(OpenLink(ONE, LinkRole.ANSWERER, local_only=True))
        assert isinstance(relay.said[-1], LocalDescription)

    run(test, stays_near=True)


def test_tables_that_contradict_themselves_or_are_old_change_nothing():
    async def test(relay: Relay) -> None:
        ana, ben = await relay.join(), await relay.join()
        relay.set_rows(TableRow(ONE, ANA, (), (TWO,)))
        relay.media.perform(SetTable(0, ()))
        relay.set_rows(TableRow(ONE, ANA, (), (ONE,)))
        ana.link.send(a_packet(ANA, 3))
        await relay.until(lambda: ben.packets == [a_packet(ANA, 3)])

    run(test)
