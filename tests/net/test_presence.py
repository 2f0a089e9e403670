"""Who is here, told to the node without making libp2p wait."""

import pytest
import trio
import trio.testing

from p2phouse.net.events import PeerDown, PeerUp
from p2phouse.net.presence import Presence
from p2phouse.vocabulary import DeviceKey

ANA, BEN = (DeviceKey(bytes([number]) * 32) for number in (1, 2))


@pytest.fixture
def told():
    return []


@pytest.fixture
def presence(told, nursery):
    async def emit(event):
        told.append(event)

    presence = Presence(emit)
    nursery.start_soon(presence.run)
    return presence


async def test_coming_and_going_are_told_in_order(presence, told):
    presence.up(ANA, (b"address",))
    await trio.testing.wait_all_tasks_blocked()
    presence.down(ANA)
    await trio.testing.wait_all_tasks_blocked()
    assert told == [PeerUp(ANA, (b"address",)), PeerDown(ANA)]


async def test_a_second_connection_is_not_a_second_peer(presence, told):
    presence.up(ANA, (b"address",))
    await trio.testing.wait_all_tasks_blocked()
    presence.up(ANA, ())
    await trio.testing.wait_all_tasks_blocked()
    assert told == [PeerUp(ANA, (b"address",))]


async def test_who_came_and_went_unseen_is_not_told_of(presence, told):
    presence.up(ANA, ())
    presence.down(ANA)
    await trio.testing.wait_all_tasks_blocked()
    assert told == []


async def test_who_asks_anew_is_told_again(presence, told):
    presence.up(ANA, (b"address",))
    await trio.testing.wait_all_tasks_blocked()
    presence.remind(ANA)
    await trio.testing.wait_all_tasks_blocked()
    assert told == [PeerUp(ANA, (b"address",))] * 2


async def test_when_the_host_is_gone_so_is_everybody(presence, told):
    presence.up(ANA, ())
    presence.up(BEN, ())
    await trio.testing.wait_all_tasks_blocked()
    told.clear()
    assert set(presence.clear()) == {ANA, BEN}
    await trio.testing.wait_all_tasks_blocked()
    assert sorted(told, key=lambda event: event.dev) == [PeerDown(ANA), PeerDown(BEN)]


async def test_a_node_that_reads_slowly_delays_nobody_who_connects(told, nursery):
    go_on = trio.Event()

    async def emit(event):
        await go_on.wait()
        told.append(event)

    presence = Presence(emit)
    nursery.start_soon(presence.run)
    presence.up(ANA, ())
    await trio.testing.wait_all_tasks_blocked()
    presence.up(BEN, ())
    go_on.set()
    await trio.testing.wait_all_tasks_blocked()
    assert told == [PeerUp(ANA, ()), PeerUp(BEN, ())]
