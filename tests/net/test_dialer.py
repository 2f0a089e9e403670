"""Which addresses are dialled, in which order, how often and how long."""

import random
from ipaddress import ip_address, ip_network
from itertools import pairwise

import pytest
import trio
import trio.testing

from p2phouse.errors import LinkError
from p2phouse.net.addresses import Address
from p2phouse.net.dialer import (
    ADDRESS_S,
    ADDRESSES_MAX,
    HEAD_START_S,
    PAUSE_S_MAX,
    WISHES_MAX,
    Dialer,
    NoAddress,
    NobodyThere,
    pause_s,
)
from p2phouse.vocabulary import DeviceKey

ANA, BEN = (DeviceKey(bytes([number]) * 32) for number in (1, 2))
NEAR = Address(ip_address("192.168.1.9"), 4_000)
FAR = Address(ip_address("203.0.113.9"), 4_000)
NEAR_NETWORK = ip_network("192.168.1.0/24")


def address(number):
    return Address(ip_address(f"203.0.113.{number}"), 4_000)


class Refused(LinkError):
    """Nobody answers there: {reason}."""


class World:
    """Where addresses answer or not, and who is connected."""

    def __init__(self):
        self.answers = set()
        self.refuses = {}
        self.here: set[DeviceKey] = set()
        self.dialled = []
        self.failed = []
        self.dialer = Dialer(
            connect=self.connect,
            connected=lambda dev: dev in self.here,
            failed=self.fail,
            rng=random.Random(3),
            networks=lambda: [NEAR_NETWORK],
        )

    async def connect(self, dev, address):
        self.dialled.append((round(trio.current_time(), 2), address))
        if address in self.answers:
            await trio.sleep(0.01)
            self.come(dev)
        elif address in self.refuses:
            raise Refused(reason=self.refuses[address])
        else:
            await trio.sleep_forever()

    async def fail(self, dev, reason):
        self.failed.append((dev, reason))

    def come(self, dev):
        self.here.add(dev)
        self.dialer.connected(dev)

    def go(self, dev):
        self.here.discard(dev)
        self.dialer.disconnected(dev)

    def tried(self):
        return [address for _, address in self.dialled]


@pytest.fixture
def world(nursery):
    world = World()
    nursery.start_soon(world.dialer.run)
    return world


async def test_the_near_address_is_dialled_first_and_the_next_a_little_later(world, autojump_clock):
    world.dialer.want(ANA, [FAR, NEAR])
    await trio.sleep(1)
    assert world.dialled == [(0.0, NEAR), (HEAD_START_S, FAR)]


async def test_an_address_that_answers_ends_the_round(world, autojump_clock):
    world.answers.add(NEAR)
    world.dialer.want(ANA, [FAR, NEAR])
    await trio.sleep(30)
    assert world.tried() == [NEAR]
    assert world.failed == []


async def test_a_silent_address_holds_up_the_others_for_four_seconds_at_most(world, autojump_clock):
    addresses = [address(number) for number in range(5)]
    world.answers.add(addresses[4])
    world.dialer.want(ANA, addresses)
    await trio.sleep(60)
    assert ANA in world.here
    assert world.dialled[-1][0] <= 2 * ADDRESS_S + 2 * HEAD_START_S


async def test_a_round_that_fails_says_why(world, autojump_clock):
    world.refuses[NEAR] = "connection refused"
    world.dialer.want(ANA, [NEAR])
    await trio.sleep(10)
    assert world.failed == [(ANA, "None of its addresses answered (connection refused).")]
    world.dialer.want(BEN, [])
    await trio.sleep(10)
    assert world.failed[1] == (BEN, "No address of that node is known.")


async def test_a_peer_to_be_kept_is_dialled_with_growing_pauses(world, autojump_clock):
    world.refuses[NEAR] = "refused"
    world.dialer.want(ANA, [NEAR], tries=float("inf"))
    await trio.sleep(600)
    times = [when for when, _ in world.dialled]
    gaps = [after - before for before, after in pairwise(times)]
    assert gaps[0] < gaps[2] < gaps[4]
    assert all(gap <= 1.25 * PAUSE_S_MAX + 1 for gap in gaps)


async def test_the_pause_doubles_from_one_second_to_sixty():
    rng = random.Random(1)
    for failures, middle in [(1, 1), (2, 2), (3, 4), (6, 32), (7, 60), (50, 60)]:
        for _ in range(20):
            assert 0.75 * middle <= pause_s(failures, rng) <= 1.25 * middle


async def test_a_new_address_ends_a_pause(world, autojump_clock):
    world.refuses[NEAR] = "refused"
    world.answers.add(FAR)
    world.dialer.want(ANA, [NEAR], tries=float("inf"))
    await trio.sleep(300)
    world.dialer.want(ANA, [FAR])
    await trio.sleep(ADDRESS_S)
    assert ANA in world.here


async def test_a_kept_peer_is_dialled_again_when_it_is_lost(world, autojump_clock):
    world.answers.add(NEAR)
    world.dialer.want(ANA, [NEAR], tries=float("inf"))
    await trio.sleep(5)
    world.go(ANA)
    await trio.sleep(5)
    assert ANA in world.here
    assert world.tried() == [NEAR, NEAR]


async def test_a_peer_that_is_forgotten_is_dialled_no_more(world, autojump_clock):
    world.refuses[NEAR] = "refused"
    world.dialer.want(ANA, [NEAR], tries=float("inf"))
    await trio.sleep(5)
    world.dialer.forget(ANA)
    dialled = len(world.dialled)
    await trio.sleep(600)
    assert len(world.dialled) == dialled


async def test_a_peer_that_came_by_itself_is_not_dialled_again(world, autojump_clock):
    world.dialer.want(ANA, [NEAR], tries=3)
    await trio.sleep(1)
    world.come(ANA)
    await trio.sleep(60)
    assert world.tried() == [NEAR]


async def test_two_wishes_for_one_peer_are_one_dial(world, autojump_clock):
    world.dialer.want(ANA, [NEAR])
    world.dialer.want(ANA, [NEAR])
    await trio.sleep(1)
    assert world.tried() == [NEAR]


async def test_of_too_many_addresses_the_first_eight_are_kept(world, autojump_clock):
    addresses = [address(number) for number in range(ADDRESSES_MAX + 1)]
    for each in addresses:
        world.refuses[each] = "refused"
    world.dialer.want(ANA, addresses)
    await trio.sleep(60)
    assert sorted(world.tried(), key=str) == sorted(addresses[:ADDRESSES_MAX], key=str)


async def test_of_too_many_wishes_the_last_is_refused(world, autojump_clock):
    for number in range(WISHES_MAX):
        world.dialer.want(DeviceKey(number.to_bytes(32, "big")), [NEAR])
    with pytest.raises(NoAddress):
        await world.dialer.reach(BEN, [FAR])
    await trio.sleep(1)
    assert FAR not in world.tried()


async def test_who_reaches_for_a_peer_waits_for_the_first_round(world, autojump_clock):
    world.answers.add(FAR)
    await world.dialer.reach(ANA, [FAR])
    assert ANA in world.here
    await world.dialer.reach(ANA, [])  # is here already
    with pytest.raises(NobodyThere):
        await world.dialer.reach(BEN, [NEAR])


async def test_who_reaches_for_a_peer_is_content_if_it_comes_by_itself(
    world, nursery, autojump_clock
):
    async def come_later():
        await trio.sleep(2)
        world.come(ANA)

    nursery.start_soon(come_later)
    await world.dialer.reach(ANA, [NEAR])
    assert trio.current_time() < 3


async def test_who_reaches_for_a_peer_that_is_then_forgotten_is_told(
    world, nursery, autojump_clock
):
    async def forget_later():
        await trio.sleep(1)
        world.dialer.forget(ANA)

    nursery.start_soon(forget_later)
    with pytest.raises(NoAddress):
        await world.dialer.reach(ANA, [NEAR])
