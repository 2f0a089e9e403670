"""Peers known from before, and when they are called on."""

import random
from ipaddress import ip_address
from itertools import pairwise

import pytest
import trio

from p2phouse.errors import LinkError
from p2phouse.net.acquaintances import AT_ONCE, COMPANY_MAX, KNOWN_MAX, Acquaintances
from p2phouse.net.addresses import Address
from p2phouse.vocabulary import DeviceKey

HOME = Address(ip_address("192.168.1.9"), 4_000)


def dev(number):
    return DeviceKey(number.to_bytes(32, "big"))


class World:
    """Who is at home, who is connected, whom we called on and when."""

    def __init__(self):
        self.at_home = set()
        self.here: set[DeviceKey] = set()
        self.called = []
        self.calling = 0
        self.most_at_once = 0
        self.acquaintances = Acquaintances(
            reach=self.reach,
            connected=self.here.__contains__,
            connected_count=lambda: len(self.here),
            rng=random.Random(2),
        )

    async def reach(self, dev, addresses):
        assert addresses == (HOME,)
        self.called.append((trio.current_time(), dev))
        self.calling += 1
        self.most_at_once = max(self.most_at_once, self.calling)
        await trio.sleep(1)
        self.calling -= 1
        if dev not in self.at_home:
            raise LinkError(reason="nobody there")
        self.here.add(dev)


@pytest.fixture
def world(nursery):
    world = World()
    nursery.start_soon(world.acquaintances.run)
    return world


async def test_all_are_called_on_at_the_start_the_latest_met_first(world, autojump_clock):
    for number in range(20):
        world.acquaintances.add(dev(number), [HOME])
    world.acquaintances.meet()
    await trio.sleep(20)
    assert [each for _, each in world.called[:20]] == [dev(number) for number in range(19, -1, -1)]
    assert world.most_at_once == AT_ONCE


async def test_with_company_enough_nobody_else_is_called_on(world, autojump_clock):
    world.at_home = {dev(number) for number in range(KNOWN_MAX)}
    for number in range(KNOWN_MAX):
        world.acquaintances.add(dev(number), [HOME])
    world.acquaintances.meet()
    await trio.sleep(600)
    assert COMPANY_MAX <= len(world.called) < COMPANY_MAX + AT_ONCE


async def test_who_is_alone_tries_again_with_growing_pauses(world, autojump_clock):
    world.acquaintances.add(dev(1), [HOME])
    await trio.sleep(3_600)
    times = [when for when, _ in world.called]
    gaps = [after - before for before, after in pairwise(times)]
    assert times[0] < 40
    assert gaps[0] < gaps[2]
    assert max(gaps) <= 1.25 * 480 + 2


async def test_who_has_company_leaves_the_others_in_peace(world, autojump_clock):
    world.here.add(dev(9))
    world.acquaintances.add(dev(1), [HOME])
    await trio.sleep(3_600)
    assert world.called == []


async def test_who_is_connected_is_not_called_on(world, autojump_clock):
    world.here.add(dev(1))
    world.acquaintances.add(dev(1), [HOME])
    world.acquaintances.meet()
    await trio.sleep(10)
    assert world.called == []


async def test_sixty_four_are_known_and_of_one_more_the_longest_unseen_is_forgotten(
    world, autojump_clock
):
    for number in range(KNOWN_MAX):
        world.acquaintances.add(dev(number), [HOME])
    world.acquaintances.add(dev(0), [HOME])  # seen again just now
    world.acquaintances.add(dev(999), [HOME])
    world.acquaintances.meet()
    await trio.sleep(60)
    called = {each for _, each in world.called}
    assert dev(1) not in called
    assert called == {dev(0), dev(999), *(dev(number) for number in range(2, KNOWN_MAX))}
