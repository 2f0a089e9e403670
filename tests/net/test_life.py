"""The host's end and its return, and an end of everything that leaves nothing behind."""

import gc
import os
import threading
from ipaddress import ip_address

import pytest
import trio
import trio.testing

from p2phouse.net.acquaintances import KNOWN_MAX
from p2phouse.net.addresses import Address, pack
from p2phouse.net.events import (
    CardHeard,
    HostRebuilt,
    PeerDown,
    PeerUp,
    RoomClosed,
    RoomFrame,
    RoomOpen,
)
from tests.net.test_network import ROOM, greeting, join


def raise_inside(host):
    """A bug of libp2p's in a task of its service."""

    async def bug():
        raise RuntimeError("a bug of libp2p's")

    host.libp2p.get_network().manager.run_task(bug)


def end_quietly(host):
    """The service ends as if it had been asked to."""
    host.libp2p.get_network().manager.cancel()


@pytest.mark.parametrize("kill", [raise_inside, end_quietly])
async def test_a_host_that_dies_is_built_again_and_everybody_is_back(make_node, kill):
    async with make_node(1) as ana, make_node(2) as ben, make_node(3) as carla:
        await join(ana, ben)
        carla.network.dial(ana.dev, ana.network.addrs, keep=True)
        await ana.in_mesh_with(carla)
        await ben.next(PeerUp, dev=ana.dev)
        port = ana.network.port

        kill(ana.network._life.host)

        assert (await ana.next(RoomClosed)).dev == ben.dev
        await ana.next(HostRebuilt)
        assert ana.network.port == port
        # Ana dialled Ben, so she dials him again; Carla keeps Ana, so she comes back by herself.
        await ana.next(PeerDown, dev=ben.dev)
        await ana.next(PeerUp, dev=ben.dev)
        await carla.next(PeerUp, dev=ana.dev)
        await ben.next(RoomClosed, dev=ana.dev)
        assert (await carla.network.hello("127.0.0.1", port)).dev == ana.dev

        ana.network.open_room(ben.dev, ROOM, ben.network.addrs)
        await ana.next(RoomOpen, dev=ben.dev)
        ana.network.send_room(ben.dev, ROOM, greeting(ana))
        assert (await ben.next(RoomFrame)).frame == greeting(ana)
        await ana.network.wait_for_mesh(carla.dev)
        await ana.network.publish_card(b"after")
        assert await carla.next(CardHeard) == CardHeard(b"after", ana.dev)
        assert ana.network.counters["host_died"] == 1


async def test_what_is_asked_of_a_host_that_is_down_fails_or_waits(make_node):
    async with make_node(1) as ana, make_node(2) as ben:
        ana.network.dial(ben.dev, ben.network.addrs, keep=True)
        await ana.next(PeerUp)
        raise_inside(ana.network._life.host)
        await ana.next(PeerDown)
        ana.network.open_room(ben.dev, ROOM, ben.network.addrs)
        assert isinstance(await ana.next((RoomClosed, RoomOpen)), RoomClosed | RoomOpen)
        await ana.next(HostRebuilt)
        await ana.next(PeerUp, dev=ben.dev)


async def test_a_kept_peer_is_dialled_again_however_many_others_are_known(make_node):
    async with make_node(1) as ana, make_node(2) as ben:
        ana.network.dial(ben.dev, ben.network.addrs, keep=True)
        await ana.next(PeerUp, dev=ben.dev)
        gone = pack(Address(ip_address("127.0.0.1"), 9))
        others = [(bytes([number]) * 32, (gone,)) for number in range(KNOWN_MAX)]
        ana.network.meet_again(others)
        raise_inside(ana.network._life.host)
        await ana.next(HostRebuilt)
        await ana.next(PeerUp, dev=ben.dev)


async def test_a_card_published_while_the_host_is_down_goes_out_when_it_is_back(make_node):
    async with make_node(1) as ana, make_node(2) as ben:
        ben.network.dial(ana.dev, ana.network.addrs, keep=True)
        await ana.in_mesh_with(ben)
        end_quietly(ana.network._life.host)
        await ana.next(PeerDown)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ana.network.publish_card, b"patient")
            await ana.next(HostRebuilt)
        await ana.in_mesh_with(ben)
        await ana.network.publish_card(b"after")
        assert (await ben.next(CardHeard)).data in (b"patient", b"after")


def belongings():
    """File descriptors, threads and tasks of this process, but for trio's idle workers."""
    gc.collect()
    threads = [each.name for each in threading.enumerate() if "Trio thread" not in each.name]
    return (
        len(os.listdir("/proc/self/fd")),
        len(threads),
        trio.lowlevel.current_statistics().tasks_living,
    )


async def at_rest():
    """Belongings once everything that was started has come to wait for something."""
    await trio.testing.wait_all_tasks_blocked(0.1)
    return belongings()


async def comes_back_to(before):
    with trio.fail_after(15):
        while belongings() != before:  # noqa: ASYNC110 - a thread's end is no event
            await trio.sleep(0.1)


async def live_a_little(make_node):
    """Two nodes that do everything there is: meet, gossip, hold a room, answer hello."""
    ana = make_node(1, lan="loopback", runtime="shared")
    ben = make_node(2, lan="loopback", runtime="shared")
    async with ana as ana, ben as ben:
        await ana.in_mesh_with(ben)
        await join(ana, ben)
        await ana.network.publish_card(b"card")
        await ben.next(CardHeard)
        await ana.network.hello("127.0.0.1", ben.network.port)
        carol = await trio.open_tcp_stream("127.0.0.1", ana.network.port)
        await carol.aclose()


async def test_a_node_that_ends_leaves_no_file_thread_or_task_behind(make_node):
    await live_a_little(make_node)  # the first time, libraries set themselves up
    before = await at_rest()
    for _ in range(3):
        await live_a_little(make_node)
    await comes_back_to(before)


async def test_a_host_that_dies_leaves_no_file_thread_or_task_behind(make_node):
    async with make_node(1) as ana, make_node(2) as ben:
        ana.network.dial(ben.dev, ben.network.addrs, keep=True)
        await ana.in_mesh_with(ben)
        before = await at_rest()
        for _ in range(3):
            raise_inside(ana.network._life.host)
            await ana.next(HostRebuilt)
            await ana.in_mesh_with(ben)
        await comes_back_to(before)


async def test_an_end_in_the_middle_of_a_crowd_is_clean(make_node):
    """Whoever is cancelled while peers come, talk and go must not raise."""
    async with make_node(2) as ben, make_node(3) as carla:
        for _ in range(3):
            async with make_node(1) as ana:
                for other in (ben, carla):
                    other.network.dial(ana.dev, ana.network.addrs)
                    ana.network.open_room(other.dev, ROOM, other.network.addrs)
                await ana.next(PeerUp)
            for other in (ben, carla):
                await other.next(PeerDown, dev=ana.dev)


async def test_a_start_on_a_taken_port_is_one_sentence_and_leaves_nothing(make_node):
    async with make_node(1) as ana:
        before = await at_rest()
        with pytest.raises(BaseExceptionGroup) as raised:
            async with make_node(2, port=ana.network.port):
                pass
        error = raised.value
        while isinstance(error, BaseExceptionGroup):
            (error,) = error.exceptions
        assert str(error).startswith(f"Port {ana.network.port} is taken by another program")
        await comes_back_to(before)
