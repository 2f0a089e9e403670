"""A search in a made-up table: whom it asks, when it ends, and what liars can do to it."""

import random
from collections import Counter

import pytest
import trio
import trio.testing

from p2phouse.errors import LinkError
from p2phouse.hall.shelf import distance
from p2phouse.identity.keys import PEER_ID_PREFIX
from p2phouse.net.lookup import (
    ASKED_MAX,
    AT_ONCE,
    CANDIDATES_MAX,
    LIES_MAX,
    NEAREST,
    Reply,
    Shortlist,
    search,
)
from p2phouse.vocabulary import DeviceKey

TARGET = b"a room"
OWN = DeviceKey(b"o" * 32)


def away(dev):
    return distance(TARGET, PEER_ID_PREFIX + dev)


def devices(count, seed=1):
    rng = random.Random(seed)
    return [DeviceKey(rng.randbytes(32)) for _ in range(count)]


class Table:
    """Nodes of which each knows the twenty nearest to itself and a few more."""

    def __init__(self, count, *, seed=1):
        rng = random.Random(seed)
        self.nodes = devices(count, seed)
        self.knows = {dev: set(rng.sample(self.nodes, min(30, count))) for dev in self.nodes}
        near = sorted(self.nodes, key=away)[:20]
        for dev in near:
            self.knows[dev] |= set(near)
        self.asked: Counter[DeviceKey] = Counter()
        self.running = self.most = 0
        self.silent = set()
        self.gone = set()
        self.values = {}
        self.answer_s = 0.05

    async def ask(self, dev):
        self.asked[dev] += 1
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            if dev in self.silent:
                await trio.sleep_forever()
            await trio.sleep(self.answer_s)
            if dev in self.gone or dev not in self.knows:
                raise LinkError(reason="nobody there")
            return Reply(tuple(sorted(self.knows[dev], key=away)[:20]), self.values.get(dev))
        finally:
            self.running -= 1


async def run(table, start, **more):
    shortlist = Shortlist(TARGET, start, own=OWN)
    async with trio.open_nursery() as nursery:
        await search(shortlist, table.ask, spawn=nursery.start_soon, **more)
        nursery.cancel_scope.cancel()
    return shortlist.nearest


async def test_from_anywhere_it_ends_at_the_nearest(autojump_clock):
    table = Table(300)
    assert await run(table, table.nodes[:3]) == sorted(table.nodes, key=away)[:NEAREST]
    assert max(table.asked.values()) == 1
    assert table.most <= AT_ONCE
    assert len(table.asked) <= ASKED_MAX


async def test_a_silent_node_holds_nobody_up(autojump_clock):
    table = Table(100)
    table.silent = set(sorted(table.nodes, key=away)[:2])
    began = trio.current_time()
    nearest = await run(table, table.nodes[:20])
    assert trio.current_time() - began < 2.5
    assert nearest == sorted(set(table.nodes) - table.silent, key=away)[:NEAREST]


async def test_nodes_that_are_gone_are_passed_over(autojump_clock):
    table = Table(100)
    table.gone = set(sorted(table.nodes, key=away)[::3])
    nearest = await run(table, [dev for dev in table.nodes if dev not in table.gone][:20])
    assert set(nearest).isdisjoint(table.gone)
    assert len(nearest) == NEAREST


async def test_a_question_that_ends_late_is_given_up_at_its_time(autojump_clock):
    table = Table(20)

    async def stuck(dev):
        with trio.CancelScope(shield=True):  # as a stream that is being opened
            await trio.sleep(6)
        return Reply(())

    shortlist = Shortlist(TARGET, table.nodes[:1], own=OWN)
    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        await search(shortlist, stuck, spawn=nursery.start_soon)
        assert trio.current_time() - began == pytest.approx(2.0)


async def test_a_liar_who_names_ever_nearer_nobodies_costs_a_few_questions(autojump_clock):
    table = Table(60)
    liar = min(table.nodes, key=away)
    nobodies = sorted(devices(20_000, seed=9), key=away)[:20]
    assert max(map(away, nobodies)) < away(liar)  # each of them is to be asked before all others
    table.knows[liar] = set(nobodies)
    table.silent = set(nobodies)
    began = trio.current_time()
    nearest = await run(table, table.nodes[:20])
    assert nearest == sorted(table.nodes, key=away)[:NEAREST]
    assert sum(table.asked[dev] for dev in nobodies) <= LIES_MAX + AT_ONCE
    assert trio.current_time() - began < 6.0


async def test_liars_who_name_one_another_for_ever_come_to_an_end(autojump_clock):
    table = Table(10)

    async def lie(dev):
        table.asked[dev] += 1
        return Reply(tuple(devices(500, seed=len(table.asked))))

    shortlist = Shortlist(TARGET, table.nodes, own=OWN)
    async with trio.open_nursery() as nursery:
        await search(shortlist, lie, spawn=nursery.start_soon)
    assert len(table.asked) <= ASKED_MAX
    assert len(shortlist._candidates) <= CANDIDATES_MAX


async def test_what_is_found_is_told_at_once(autojump_clock):
    table = Table(100)
    keeper = min(table.nodes, key=away)
    table.values[keeper] = b"the card"
    table.silent = set(sorted(table.nodes, key=away)[1:8])
    told = []
    began = trio.current_time()
    await run(
        table,
        [keeper, *sorted(table.silent)],
        heard=lambda dev, reply: told.append((reply.value, trio.current_time())),
    )
    assert told[0][0] == b"the card"
    assert told[0][1] - began < 0.1  # and the silent ones took two seconds


async def test_we_are_not_asked_ourselves_and_with_nobody_it_ends(autojump_clock):
    table = Table(3)
    for known in table.knows.values():
        known.add(OWN)
    await run(table, table.nodes)
    assert OWN not in table.asked
    assert await run(table, []) == []
