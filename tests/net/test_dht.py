"""Rooms by their ids: real hosts on 127.0.0.1, none of which tells another of cards."""

from contextlib import AsyncExitStack

import pytest
import trio

from p2phouse.net.cards import judge
from p2phouse.net.dht import NothingToAsk, NotThere
from p2phouse.net.events import PeerUp, RoomClosed, RoomOpen
from p2phouse.record.types import Access
from p2phouse.vocabulary import RoomId
from tests.net.conftest import Node
from tests.net.roomy import card_of, knows, me_of, room_of, until


@pytest.fixture
def house(make_node):
    """Several nodes, each but the first connected to the first alone."""

    async def make(stack, count, *, first=1):
        nodes: list[Node] = []
        for number in range(first, first + count):
            node = await stack.enter_async_context(make_node(number, judge=judge))
            if nodes:
                node.network.dial(nodes[0].dev, nodes[0].network.addrs)
                await knows(node)
            nodes.append(node)
        return nodes

    return make


async def test_a_card_is_found_by_somebody_who_never_heard_of_it(house, make_node):
    me = me_of(1)
    genesis = room_of(me)
    card = card_of(me, genesis)
    async with AsyncExitStack() as stack:
        keeper, host, *_ = await house(stack, 4)
        await host.network.publish_card(card)
        await until(lambda: len(keeper.network._dht.shelf))
        (seeker,) = await house(stack, 1, first=9)
        seeker.network.dial(keeper.dev, keeper.network.addrs)
        await knows(seeker)
        with trio.fail_after(5):
            assert await seeker.network.find_card(RoomId(genesis.id)) == card


async def test_a_card_that_was_published_before_anybody_was_there_is_put_when_somebody_is(house):
    me = me_of(1)
    genesis = room_of(me)
    card = card_of(me, genesis)
    async with AsyncExitStack() as stack:
        (host,) = await house(stack, 1)
        await host.network.publish_card(card)
        (other,) = await house(stack, 1, first=2)
        host.network.dial(other.dev, other.network.addrs)
        await until(lambda: len(other.network._dht.shelf))
        assert await other.network.find_card(RoomId(genesis.id)) == card


async def test_a_room_that_was_closed_is_not_found_any_more(house):
    me = me_of(1)
    genesis = room_of(me)
    room = RoomId(genesis.id)
    async with AsyncExitStack() as stack:
        keeper, host, seeker = await house(stack, 3)
        await host.network.publish_card(card_of(me, genesis))
        await until(lambda: len(keeper.network._dht.shelf))
        assert await seeker.network.find_card(room)
        await host.network.publish_card(card_of(me, genesis, seq=2, ttl_s=0))

        async def gone():
            try:
                await seeker.network.find_card(room)
            except NotThere:
                return True
            return False

        with trio.fail_after(10):
            while not await gone():  # noqa: ASYNC110 - the tombstone is on its way
                await trio.sleep(0.05)


async def test_with_nobody_to_ask_it_says_so_at_once(house):
    async with AsyncExitStack() as stack:
        (alone,) = await house(stack, 1)
        with trio.fail_after(1), pytest.raises(NothingToAsk):
            await alone.network.find_card(RoomId(b"r" * 32))


async def test_a_room_that_nobody_put_is_not_there(house):
    async with AsyncExitStack() as stack:
        *_, seeker = await house(stack, 2)
        with trio.fail_after(5), pytest.raises(NotThere) as caught:
            await seeker.network.find_card(RoomId(b"r" * 32))
        assert "none of the 1" in str(caught.value)


@pytest.mark.parametrize("access", [Access.LAN])
async def test_a_lan_room_is_never_put(house, access):
    me = me_of(1)
    hidden, shown = room_of(me, access=access), room_of(me)
    async with AsyncExitStack() as stack:
        keeper, host = await house(stack, 2)
        await host.network.publish_card(card_of(me, hidden))
        await host.network.publish_card(card_of(me, shown))
        await until(lambda: len(keeper.network._dht.shelf))
        with pytest.raises(NotThere):
            await host.network.find_card(RoomId(hidden.id))


async def test_a_member_whose_address_is_not_known_is_found_and_joined(house):
    """The seeker knows one node, which knows the member."""
    async with AsyncExitStack() as stack:
        middle, member = await house(stack, 2)
        (seeker,) = await house(stack, 1, first=9)
        seeker.network.dial(middle.dev, middle.network.addrs)
        await knows(seeker)
        room = RoomId(b"r" * 32)
        seeker.network.open_room(member.dev, room, ())
        assert (await seeker.next(RoomOpen, dev=member.dev)).outbound


async def test_a_member_whom_nobody_knows_is_not_reached(house):
    async with AsyncExitStack() as stack:
        *_, seeker = await house(stack, 2)
        seeker.network.open_room(b"x" * 32, RoomId(b"r" * 32), ())
        assert await seeker.next(RoomClosed, dev=b"x" * 32)


@pytest.mark.nightly
async def test_the_table_is_whole_again_after_the_host_was_rebuilt(house):
    async with AsyncExitStack() as stack:
        first, second = await house(stack, 2)
        second.network.dial(first.dev, first.network.addrs, keep=True)
        await first.next(PeerUp, dev=second.dev)
        second.network._life._nursery.start_soon(_fail)
        await first.next(PeerUp, dev=second.dev)
        await knows(second)


async def _fail():
    raise RuntimeError("libp2p fell")
