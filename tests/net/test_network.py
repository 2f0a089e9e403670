from ipaddress import ip_address

import nacl.signing
import pytest
import trio

from p2phouse.errors import LinkError
from p2phouse.net.addresses import Address, Interface, pack
from p2phouse.net.cards import Judgement, Verdict
from p2phouse.net.events import (
    DialFailed,
    OfferHeard,
    PeerDown,
    PeerUp,
    RoomClosed,
    RoomFrame,
    RoomOpen,
)
from p2phouse.net.ground import Ground
from p2phouse.record import envelope
from p2phouse.record.types import Join
from p2phouse.vocabulary import RoomId
from tests.needed import need_ipv6
from tests.net.conftest import addrs_are

ROOM = RoomId(bytes(range(32)))


def signing_key(number):
    return nacl.signing.SigningKey(number.to_bytes(32, "big"))


def greeting(node, room=ROOM):
    """The first frame of a member, with a real join and nothing else that links look at."""
    join = Join(room=room, dev=node.dev, idrec=bytes(32), beat=None, ts=0)
    return [0, envelope.sign(join, node.key).data, b"", [], [], [], []]


async def join(ana, ben):
    """A room link from ana to ben, both greeted."""
    ana.network.open_room(ben.dev, ROOM, ben.network.addrs)
    await ana.next(RoomOpen)
    ana.network.send_room(ben.dev, ROOM, greeting(ana))
    await ben.next(RoomFrame)
    ben.network.send_room(ana.dev, ROOM, greeting(ben))
    await ana.next(RoomFrame)


async def test_two_nodes_connect_by_address_and_key(make_node):
    async with make_node(1) as ana, make_node(2) as ben:
        ana.network.dial(ben.dev, ben.network.addrs)
        up = await ana.next(PeerUp, dev=ben.dev)
        assert up.addrs[0] in ben.network.addrs
        assert (await ben.next(PeerUp, dev=ana.dev)).addrs == ()


async def test_two_who_dial_each_other_at_once_are_connected_once_and_stay_so(make_node):
    async with make_node(1) as ana, make_node(2) as ben:
        ana.network.dial(ben.dev, ben.network.addrs, keep=True)
        ben.network.dial(ana.dev, ana.network.addrs, keep=True)
        await ana.next(PeerUp, dev=ben.dev)
        await ben.next(PeerUp, dev=ana.dev)
        await join(ana, ben)
        ana.network.send_room(ben.dev, ROOM, [3, b"hand"])
        await ben.next(RoomFrame, frame=[3, b"hand"])
        told = [*ana.heard, *ben.heard]
        assert not [event for event in told if isinstance(event, PeerUp | PeerDown | RoomClosed)]


@pytest.mark.slow
async def test_a_network_that_is_plugged_in_later_is_used(make_node):
    plugged = [Interface.of("127.0.0.1", 8)]
    ground = Ground("off", find=lambda: list(plugged), ways_out=list)
    async with make_node(1, ground=ground) as ana, make_node(2) as ben:
        plugged.append(Interface.of("127.0.0.77", 24))
        new = pack(Address(ip_address("127.0.0.77"), ana.network.port))
        await addrs_are(ana, lambda addrs: new in addrs)
        answer = await ben.network.hello("127.0.0.77", ana.network.port)
        assert answer.dev == ana.dev
        ben.network.dial(ana.dev, [new])
        assert (await ben.next(PeerUp, dev=ana.dev)).addrs == (new,)


async def test_nodes_that_have_ipv6_alone_meet_and_know_where_each_other_is(make_node):
    need_ipv6()

    def six():
        return Ground("off", find=lambda: [Interface.of("::1", 128)], ways_out=list)

    async with make_node(1, ground=six()) as ana, make_node(2, ground=six()) as ben:
        answer = await ben.network.hello("::1", ana.network.port)
        where = (pack(Address(ip_address("::1"), ana.network.port)),)
        assert answer.addrs == where
        ben.network.dial(ana.dev, answer.addrs)
        assert (await ben.next(PeerUp, dev=ana.dev)).addrs == where
        await ana.next(PeerUp, dev=ben.dev)
        await join(ana, ben)


async def test_peers_of_earlier_runs_are_met_again(make_node):
    async with make_node(1) as ana, make_node(2) as ben:
        nobody = bytes(signing_key(9).verify_key)
        gone = pack(Address(ip_address("127.0.0.1"), 9))
        ana.network.meet_again(
            [(nobody, (gone,)), (ana.dev, (gone,)), (ben.dev, ben.network.addrs)]
        )
        await ana.next(PeerUp, dev=ben.dev)
        await ana.next(DialFailed, dev=nobody)


async def test_a_dial_to_nobody_fails_and_says_so(make_node):
    async with make_node(1) as ana:
        nobody = bytes(signing_key(9).verify_key)
        ana.network.dial(nobody, [pack(Address(ip_address("127.0.0.1"), 9))])
        failed = await ana.next(DialFailed, dev=nobody)
        assert failed.reason == "None of its addresses answered (connection refused)."


async def test_a_dial_fails_when_somebody_else_answers_at_the_address(make_node):
    async with make_node(1) as ana, make_node(2) as ben:
        carla = bytes(signing_key(3).verify_key)
        ana.network.dial(carla, ben.network.addrs)
        await ana.next(DialFailed, dev=carla)


async def test_a_room_link_carries_frames_both_ways(make_node):
    async with make_node(1) as ana, make_node(2) as ben:
        ana.network.open_room(ben.dev, ROOM, ben.network.addrs)
        opened = await ana.next(RoomOpen, dev=ben.dev)
        assert opened == RoomOpen(ben.dev, ROOM, outbound=True)
        ana.network.send_room(ben.dev, ROOM, greeting(ana))
        assert await ben.next(RoomOpen) == RoomOpen(ana.dev, ROOM, outbound=False)
        assert (await ben.next(RoomFrame)).frame == greeting(ana)
        ben.network.send_room(ana.dev, ROOM, greeting(ben))
        assert (await ana.next(RoomFrame)).frame == greeting(ben)
        ben.network.send_room(ana.dev, ROOM, [3, b"soft"])
        assert (await ana.next(RoomFrame)).frame == [3, b"soft"]


async def test_for_a_lan_room_nobody_is_dialled_beyond_our_own_networks(make_node):
    def judge(data, now):
        return Judgement(Verdict.TELL_NEAR, ROOM, now.unix + 600)

    async with make_node(1, judge=judge) as ana:
        await ana.network.publish_card(b"our lan room's card")
        far = pack(Address(ip_address("203.0.113.9"), 4_000))
        ana.network.open_room(bytes(signing_key(9).verify_key), ROOM, [far])
        assert (await ana.next(RoomClosed)).reason == "No address of that node is known."


async def test_a_closed_room_link_gets_its_last_word_out(make_node):
    async with make_node(1) as ana, make_node(2) as ben:
        await join(ana, ben)
        ana.network.send_room(ben.dev, ROOM, [5, 0])
        ana.network.close_room(ben.dev, ROOM)
        assert (await ben.next(RoomFrame)).frame == [5, 0]
        assert (await ben.next(RoomClosed)).dev == ana.dev


async def test_of_two_links_opened_at_once_both_ends_keep_the_same(make_node):
    async with make_node(1) as ana, make_node(2) as ben:
        ana.network.dial(ben.dev, ben.network.addrs)
        await ana.next(PeerUp)
        await ben.next(PeerUp)
        ana.network.open_room(ben.dev, ROOM, [])
        ben.network.open_room(ana.dev, ROOM, [])

        async def greet(node, other):
            """Greets whenever asked, as a member does, until the other's word has come."""
            with trio.fail_after(20):
                async for event in node.network.events:
                    if isinstance(event, RoomOpen):
                        assert event.outbound
                        node.network.send_room(other.dev, ROOM, greeting(node))
                        node.network.send_room(other.dev, ROOM, [3, b"hand"])
                    if isinstance(event, RoomFrame) and event.frame == [3, b"hand"]:
                        return
                    assert not isinstance(event, RoomClosed)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(greet, ana, ben)
            nursery.start_soon(greet, ben, ana)
        ana.network.send_room(ben.dev, ROOM, [3, b"later"])
        await ben.next(RoomFrame, frame=[3, b"later"])


async def test_an_offer_is_answered_on_its_own_stream(make_node):
    async with make_node(1) as ana, make_node(2) as ben:
        ana.network.dial(ben.dev, ben.network.addrs)
        await ana.next(PeerUp)

        async def answer():
            heard = await ben.next(OfferHeard)
            assert (heard.dev, heard.data) == (ana.dev, b"offer")
            heard.reply(b"answer")
            heard.reply(b"a second answer is ignored")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(answer)
            assert await ana.network.signal(ben.dev, b"offer") == b"answer"


async def test_an_offer_to_a_stranger_fails_at_once(make_node):
    async with make_node(1) as ana:
        with pytest.raises(LinkError, match="no connection"):
            await ana.network.signal(bytes(signing_key(7).verify_key), b"offer")


async def test_whoever_gives_up_waiting_for_an_answer_harms_no_other_stream(make_node):
    async with make_node(1) as ana, make_node(2) as ben:
        ana.network.dial(ben.dev, ben.network.addrs)
        await ana.next(PeerUp)
        with trio.move_on_after(0.5) as waiting:
            await ana.network.signal(ben.dev, b"offer")
        assert waiting.cancelled_caught
        # The connection took no harm from our giving up in the middle.
        await join(ana, ben)
