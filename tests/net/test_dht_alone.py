"""What is put and what is believed, with made-up peers on a clock that jumps."""

import os
import random
from contextlib import asynccontextmanager

import nacl.signing
import pytest
import trio
import trio.testing

from p2phouse.config import NamedRelay
from p2phouse.errors import LinkError
from p2phouse.hall.shelf import key_of
from p2phouse.net.dht import FIND_S, PUT_AGAIN_S, Dht, NothingToAsk, NotThere
from p2phouse.net.faults import Faults
from p2phouse.net.lookup import Reply
from p2phouse.net.network import Network
from p2phouse.vocabulary import DeviceKey, Now, RoomId
from tests.hall.rooms import UNIX, at, card, person, room

ANA, BEN = person(1), person(2)
TEA = room(ANA)
ROOM = RoomId(TEA.id)
OWN = DeviceKey(b"o" * 32)
PEERS = [DeviceKey(bytes([number]) * 32) for number in range(1, 5)]


def clock():
    return Now(trio.current_time(), UNIX + trio.current_time())


class Peers:
    """Stands where libp2p does."""

    def __init__(self, *devs):
        self.devs = list(devs)
        self.values = {}  # what each says when it is asked
        self.after_s = {}
        self.puts = []
        self.asked = []

    def nearest(self, target):
        return self.devs

    @property
    def count(self):
        return len(self.devs)

    async def get_value(self, dev, key):
        self.asked.append(dev)
        await trio.sleep(self.after_s.get(dev, 0.05))
        return Reply((), self.values.get(dev))

    find_node = get_value

    async def put_value(self, dev, key, value):
        self.puts.append((dev, key, value))

    async def meet(self, dev):
        return

    def knows(self, dev):
        return True

    def forget(self, dev):
        self.devs = [each for each in self.devs if each != dev]


@asynccontextmanager
async def table(*devs, through_relays=()):
    """through_relays: those of them that no connection leads to but circuits."""
    faults = Faults()

    async def reach(dev, addresses):
        if dev not in through_relays:
            raise LinkError(reason="all are connected")

    dht = Dht(
        OWN,
        addresses=list,
        reach=reach,
        connected=lambda dev: dev not in through_relays,
        release=lambda dev: None,
        networks=list,
        clock=clock,
        rng=random.Random(1),
        faults=faults,
    )
    dht.kad = peers = Peers(*devs)  # type: ignore[assignment]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(dht.run)
        await trio.testing.wait_all_tasks_blocked()
        yield dht, peers, faults
        nursery.cancel_scope.cancel()


async def test_nobody_is_asked_through_a_volunteer_s_circuit(autojump_clock):
    # Security: the relay gives its bytes to people; a table would spend them for anybody.
    ben, carla = PEERS[:2]
    async with table(ben, carla, through_relays=[ben]) as (dht, peers, _):
        peers.values = dict.fromkeys(PEERS, card(ANA, TEA).data)
        assert await dht.find(ROOM) == card(ANA, TEA).data
        assert set(peers.asked) == {carla}


# ── what is believed ─────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "lie",
    [
        card(BEN, TEA).data,
        card(ANA, room(ANA, nonce=7)).data,
        card(ANA, TEA, now=at(-900)).data,
        card(ANA, TEA).data[:-1],
        b"\xff" * 1_280,
    ],
    ids=["a stranger's", "of another room", "long over", "cut short", "junk"],
)
async def test_a_lie_is_counted_and_not_believed_and_the_truth_is_found_beside_it(
    autojump_clock, lie
):
    async with table(*PEERS) as (dht, peers, faults):
        peers.values = dict.fromkeys(PEERS[:3], lie)
        with pytest.raises(NotThere, match="none of the 4"):
            await dht.find(ROOM)
        assert faults.counters["kad_lies"] == 3
        peers.values[PEERS[3]] = card(ANA, TEA).data
        assert await dht.find(ROOM) == card(ANA, TEA).data


async def test_a_newer_card_that_comes_within_a_moment_is_taken(autojump_clock):
    async with table(*PEERS) as (dht, peers, _):
        peers.values = {PEERS[0]: card(ANA, TEA, seq=1).data, PEERS[1]: card(ANA, TEA, seq=2).data}
        peers.after_s = {PEERS[1]: 0.2}
        assert await dht.find(ROOM) == card(ANA, TEA, seq=2).data


async def test_silent_peers_do_not_hold_up_what_was_found(autojump_clock):
    async with table(*PEERS) as (dht, peers, _):
        peers.values = {PEERS[0]: card(ANA, TEA).data}
        peers.after_s = dict.fromkeys(PEERS[1:], 1_000)
        began = trio.current_time()
        assert await dht.find(ROOM)
        assert trio.current_time() - began < 0.5


async def test_a_room_that_was_taken_back_is_not_there_whatever_older_cards_say(autojump_clock):
    async with table(*PEERS) as (dht, peers, _):
        peers.values = {
            PEERS[0]: card(ANA, TEA, seq=2, ttl_s=0).data,
            PEERS[1]: card(ANA, TEA, seq=1).data,
        }
        with pytest.raises(NotThere):
            await dht.find(ROOM)


async def test_ten_seconds_are_the_longest_anybody_waits(autojump_clock):
    many = [DeviceKey(bytes([number, 1]) * 16) for number in range(200)]
    async with table(*many) as (dht, peers, _):
        peers.after_s = dict.fromkeys(many, 1_000)
        began = trio.current_time()
        with pytest.raises(NotThere):
            await dht.find(ROOM)
        assert trio.current_time() - began <= FIND_S


async def test_with_nobody_there_it_says_so(autojump_clock):
    async with table() as (dht, _, _):
        with pytest.raises(NothingToAsk):
            await dht.find(ROOM)


# ── what is put ──────────────────────────────────────────────────────────────────────────────


async def test_a_card_is_put_at_once_and_with_each_refresh_but_not_with_each_change(autojump_clock):
    async with table(*PEERS) as (dht, peers, _):
        for seq, when in ((1, 0), (2, 60), (3, PUT_AGAIN_S + 1)):
            await trio.sleep(max(0, when - trio.current_time()))
            dht.publish(card(ANA, TEA, seq=seq, now=at(when)).data)
            await trio.sleep(5)
        assert [put[2] for put in peers.puts if put[0] == PEERS[0]] == [
            card(ANA, TEA, seq=1, now=at(0)).data,
            card(ANA, TEA, seq=3, now=at(PUT_AGAIN_S + 1)).data,
        ]
        assert {put[0] for put in peers.puts} == set(PEERS)
        assert {put[1] for put in peers.puts} == {key_of(ROOM)}


async def test_a_tombstone_is_put_at_once(autojump_clock):
    async with table(*PEERS) as (dht, peers, _):
        dht.publish(card(ANA, TEA, seq=1).data)
        await trio.sleep(1)
        end = card(ANA, TEA, seq=2, ttl_s=0).data
        dht.publish(end)
        await trio.sleep(1)
        assert peers.puts[-1][2] == end


async def test_the_end_waits_for_a_tombstone_that_is_on_its_way(autojump_clock):
    async with table(*PEERS) as (dht, peers, _):
        end = card(ANA, TEA, seq=2, ttl_s=0).data
        dht.publish(end)
        await trio.sleep(0.01)
        assert not peers.puts, "somebody is being asked who is nearest"
        await dht.flush()
        assert {put[2] for put in peers.puts} == {end}


async def test_who_is_met_while_a_card_is_put_is_given_it_as_well(autojump_clock):
    async with table() as (dht, peers, _):
        dht.publish(card(ANA, TEA).data)
        await trio.sleep(20)
        peers.devs.append(PEERS[0])
        put_value = peers.put_value

        async def refused(dev, key, value):
            dht.publish(card(BEN, room(BEN)).data)
            dht.met()
            peers.put_value = put_value
            raise LinkError(reason="it is full")

        peers.put_value = refused
        dht.met()
        await trio.sleep(5)
        assert len(peers.puts) == 2


async def test_what_nobody_could_take_is_put_when_somebody_is_met(autojump_clock):
    async with table() as (dht, peers, _):
        dht.publish(card(ANA, TEA).data)
        await trio.sleep(20)
        assert not peers.puts
        peers.devs.append(PEERS[0])
        dht.met()
        await trio.sleep(1)
        assert len(peers.puts) == 1


@pytest.mark.parametrize("data", [b"junk", card(ANA, TEA, now=at(-900)).data])
async def test_what_others_would_refuse_is_not_put(autojump_clock, data):
    async with table(*PEERS) as (dht, peers, _):
        dht.publish(data)
        await trio.sleep(20)
        assert not peers.puts


# ── who is told where we are ─────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("relay_only", [True, False])
async def test_who_is_reached_by_relays_alone_has_no_address_to_tell(tmp_path, relay_only):
    network = Network(
        device_key=nacl.signing.SigningKey(b"k" * 32),
        port=0,
        lan="loopback",
        runtime_dir=tmp_path,
        rng=random.Random(1),
        entropy=os.urandom,
        clock=clock,
        cards=list,
        relays=(NamedRelay("192.0.2.1", 9),),
        relay_only=relay_only,
    )
    sockets = network._ground.claim(0)
    try:
        assert bool(network._dht.addresses()) is not relay_only
    finally:
        for socket in sockets:
            socket.close()
