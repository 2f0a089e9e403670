"""Real cards on their way: what goes on, what does not, and how fast."""

import os
import random
import time
from typing import Any

import pytest
import trio
from libp2p.pubsub.pb import rpc_pb2

from p2phouse.hall.card import make_card, make_genesis
from p2phouse.identity.keys import make_identity
from p2phouse.net.cards import judge
from p2phouse.net.events import CardHeard
from p2phouse.net.gossip import (
    HEARD_A_SECOND,
    HEARD_BURST,
    PROTOCOLS,
    PUBLISH_A_SECOND,
    TOPIC,
)
from p2phouse.net.host import peer_id_of
from p2phouse.record.limits import CARD_TTL_S_MAX, CLOCK_SKEW_S_MAX
from p2phouse.record.types import Access
from p2phouse.vocabulary import Now
from tests.net.stranger import stranger
from tests.net.test_hostile import count, rpc_frame

ME = make_identity(now=Now(0.0, time.time()), entropy=random.Random(1).randbytes)


def new_card(*, ago_s=0.0, title="Tea"):
    """A card of a new room, made some time ago."""
    now = Now(0.0, time.time() - ago_s)
    genesis = make_genesis(ME, title=title, access=Access.OPEN, now=now, entropy=os.urandom)
    return make_card(
        ME, genesis, seq=1, speakers=1, listeners=0, addrs=(), ttl_s=CARD_TTL_S_MAX, now=now
    ).data


class Gossiper:
    """A stranger's stream to a node, for messages it may sign as it likes."""

    def __init__(self, eve, stream):
        self._eve = eve
        self._stream = stream
        self._seqno = time.time_ns()

    async def tell(self, *cards, seqno=None, sender=None, topics=(TOPIC,), key=b""):
        messages = []
        for card in cards:
            self._seqno += 1
            message = rpc_pb2.Message(
                data=card,
                topicIDs=topics,
                from_id=peer_id_of(sender or self._eve.dev).to_bytes(),
                seqno=(seqno or self._seqno).to_bytes(8, "big"),
            )
            private = self._eve.libp2p.get_private_key()
            message.signature = private.sign(b"libp2p-pubsub:" + message.SerializeToString())
            message.key = key
            messages.append(message)
        await self._stream.write(rpc_frame(rpc_pb2.RPC(publish=messages)))

    async def join(self):
        """Becomes a neighbour who is told of everything."""
        subscribe = rpc_pb2.RPC.SubOpts(subscribe=True, topicid=TOPIC)
        control = rpc_pb2.ControlMessage(graft=[rpc_pb2.ControlGraft(topicID=TOPIC)])
        await self._stream.write(rpc_frame(rpc_pb2.RPC(subscriptions=[subscribe], control=control)))


async def gossiper(eve, node):
    await eve.connect(node)
    return Gossiper(eve, await eve.open(node, PROTOCOLS[0]))


async def chain(ana, ben):
    """Ana and Ben are neighbours; Ben, in these tests, takes whatever Ana passes on."""
    ben.network.dial(ana.dev, ana.network.addrs)
    await ana.in_mesh_with(ben)


async def test_a_good_card_goes_on_and_one_that_is_over_does_not(make_node):
    over = new_card(ago_s=CARD_TTL_S_MAX + CLOCK_SKEW_S_MAX + 5)
    good = new_card()
    async with make_node(1, judge=judge) as ana, make_node(2) as ben, stranger() as eve:
        await chain(ana, ben)
        await (await gossiper(eve, ana)).tell(over, good)
        assert await ben.next(CardHeard) == CardHeard(good, eve.dev)
        assert await ana.next(CardHeard) == CardHeard(good, eve.dev)
        assert ana.network.counters["gossip_useless"] == 1
        assert ana.network.counters["peer_error"] == 0, "lateness is nobody's fault"


async def test_a_card_told_again_goes_on_once_whoever_tells_it(make_node):
    first, second = new_card(), new_card()
    async with make_node(1, judge=judge) as ana, make_node(2) as ben:
        await chain(ana, ben)
        async with stranger() as eve, stranger() as mallory:
            await (await gossiper(eve, ana)).tell(first, first)
            assert await ben.next(CardHeard) == CardHeard(first, eve.dev)
            await (await gossiper(mallory, ana)).tell(first, second)
            assert await ben.next(CardHeard) == CardHeard(second, mallory.dev)


async def test_our_own_card_told_back_to_us_goes_nowhere(make_node):
    own, other = new_card(), new_card()
    async with make_node(1, judge=judge) as ana, make_node(2) as ben, stranger() as eve:
        await chain(ana, ben)
        await ana.network.publish_card(own)
        await ben.next(CardHeard, data=own)
        await (await gossiper(eve, ana)).tell(own, other)
        assert await ben.next(CardHeard) == CardHeard(other, eve.dev)
        assert await ana.next(CardHeard) == CardHeard(other, eve.dev)


async def test_a_forged_card_goes_no_further_and_is_held_against_who_passed_it_on(make_node):
    forged = bytearray(new_card())
    forged[-1] ^= 1
    good = new_card()
    async with make_node(1, judge=judge) as ana, make_node(2) as ben, stranger() as eve:
        await chain(ana, ben)
        await (await gossiper(eve, ana)).tell(bytes(forged), good)
        assert await ben.next(CardHeard) == CardHeard(good, eve.dev)
        assert ana.network.counters["peer_error"] == 1


async def test_a_good_card_in_a_wrong_message_goes_nowhere(make_node):
    good = new_card()
    wrong: list[dict[str, Any]] = [
        {"topics": ["other"]},
        {"topics": [TOPIC, "other"]},
        {"topics": []},
        {"key": bytes(2_000)},  # junk beside the card, which everybody would carry
    ]
    async with make_node(1, judge=judge) as ana, make_node(2) as ben, stranger() as eve:
        await chain(ana, ben)
        await eve.connect(ana)
        for number, fields in enumerate(wrong, start=1):
            gossip = Gossiper(eve, await eve.open(ana, PROTOCOLS[0]))
            await gossip.tell(new_card(), **fields)
            await count(ana, "peer_error", at_least=number)
        await Gossiper(eve, await eve.open(ana, PROTOCOLS[0])).tell(good)
        assert await ben.next(CardHeard) == CardHeard(good, eve.dev)
        assert ana.network.counters["peer_error"] == len(wrong)


async def test_a_number_that_was_used_again_with_other_data_is_checked_anew(make_node):
    """libp2p remembers its verdict by sender and number, and would pass the second unseen."""
    good = new_card()
    async with make_node(1, judge=judge) as ana, make_node(2) as ben, stranger() as eve:
        await chain(ana, ben)
        gossip = await gossiper(eve, ana)
        await gossip.tell(good, seqno=7)
        await ben.next(CardHeard, data=good)
        ana.network._life.gossip._pubsub.seen_messages.cache.clear()  # two minutes later
        await gossip.tell(b"no card at all", seqno=7)
        after = new_card()
        await gossip.tell(after)
        assert await ben.next(CardHeard) == CardHeard(after, eve.dev)


async def test_nobody_can_make_us_deaf_to_a_number_of_somebody_elses(make_node):
    mine = new_card()
    async with make_node(1, judge=judge) as ana, make_node(2) as ben, stranger() as eve:
        await chain(ana, ben)
        number = 1 << 50
        gossip = await gossiper(eve, ana)
        # With Ben's name and number, and no signature of his.
        await gossip.tell(new_card(), sender=ben.dev, seqno=number + 1)
        await count(ana, "peer_error")
        ben.network._life.gossip._pubsub.counter = number
        await ben.network.publish_card(mine)
        assert await ana.next(CardHeard) == CardHeard(mine, ben.dev)


async def test_a_node_tells_three_cards_a_second_and_the_fourth_waits(make_node):
    async with make_node(1) as ana, make_node(2) as ben:
        await chain(ana, ben)
        began = trio.current_time()
        for number in range(6):
            await ana.network.publish_card(b"card %d" % number)
        assert trio.current_time() - began >= 3 / PUBLISH_A_SECOND - 0.01
        for number in range(6):
            assert (await ben.next(CardHeard)).data == b"card %d" % number


async def test_a_node_that_restarts_is_heard_at_once(make_node):
    """libp2p's numbers begin with the second, so a new life would use some again."""
    async with make_node(2) as ben:
        for life in range(2):
            async with make_node(1) as ana:
                ana.network.dial(ben.dev, ben.network.addrs)
                await ana.in_mesh_with(ben)
                for number in range(3):
                    card = b"card %d of life %d" % (number, life)
                    await ana.network.publish_card(card)
                    assert await ben.next(CardHeard) == CardHeard(card, ana.dev)


async def test_neighbours_hear_nothing_of_our_addresses(make_node):
    async with make_node(1) as ana, stranger() as eve:
        heard = []

        async def listen(stream):
            try:
                while True:
                    heard.append(await stream.read(4_096))
            except Exception:
                return

        eve.libp2p.set_stream_handler(PROTOCOLS[0], listen)
        gossip = await gossiper(eve, ana)
        await gossip.join()
        await gossip.tell(b"card")
        await ana.next(CardHeard)
        await ana.network.publish_card(b"our card")
        with trio.fail_after(10):
            while b"our card" not in b"".join(heard):  # noqa: ASYNC110 - a list has no event
                await trio.sleep(0.01)
        port = ana.network.port.to_bytes(2, "big")
        assert b"\x04\x7f\x00\x00\x01\x06" + port not in b"".join(heard)


@pytest.mark.slow
async def test_a_flood_is_read_as_fast_as_it_can_be_checked_and_nobody_else_waits(make_node):
    async with make_node(1) as ana, make_node(2) as ben, stranger() as eve:
        await chain(ana, ben)
        gossip = await gossiper(eve, ana)

        async def flood():
            for number in range(2_000):
                await gossip.tell(b"flood %d" % number)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(flood)
            began = trio.current_time()
            await ben.network.publish_card(b"honest")
            await ana.next(CardHeard, data=b"honest")
            with trio.move_on_after(3):
                async for event in ana.network.events:
                    ana.heard.append(event)
            flooded = sum(isinstance(event, CardHeard) for event in ana.heard)
            took_s = trio.current_time() - began
            nursery.cancel_scope.cancel()
        assert HEARD_BURST < flooded <= HEARD_BURST + HEARD_A_SECOND * (took_s + 1)
        assert ana.network.counters["gossip_too_fast"] > 0
