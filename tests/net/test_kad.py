"""libp2p's kad-dht in its cell: what we rely on of it, and what strangers may do to it."""

import importlib
import pkgutil
import random
from contextlib import suppress

import libp2p.kad_dht
import pytest
import trio
from libp2p.host.exceptions import StreamFailure
from libp2p.kad_dht import kad_dht, routing_table, value_store
from libp2p.kad_dht.kad_dht import KadDHT
from libp2p.kad_dht.pb.kademlia_pb2 import Message, Record
from libp2p.kad_dht.routing_table import KBucket, RoutingTable
from libp2p.peer.id import ID
from libp2p.peer.peerstore import create_signed_peer_record
from multiaddr import Multiaddr

from p2phouse.hall.shelf import key_of
from p2phouse.net.cards import judge
from p2phouse.net.events import PeerUp
from p2phouse.net.faults import BAD_A_MINUTE_MAX
from p2phouse.net.host import peer_id_of
from p2phouse.net.kad import ASKED_BURST, PATCHED, PROTOCOL, PUBLIC_PROTOCOL
from p2phouse.net.wire import varint
from p2phouse.record import limits
from p2phouse.record.types import Access
from p2phouse.vocabulary import RoomId
from tests.net.roomy import card_of, knows, me_of, room_of, until
from tests.net.stranger import stranger

GET, PUT, FIND = (
    Message.MessageType.GET_VALUE,
    Message.MessageType.PUT_VALUE,
    Message.MessageType.FIND_NODE,
)


# ── what we rely on ──────────────────────────────────────────────────────────────────────────


def test_the_five_modules_that_name_the_protocol_are_all_there_are():
    found = set()
    for module in pkgutil.iter_modules(libp2p.kad_dht.__path__):
        if not module.ispkg:
            loaded = importlib.import_module(f"libp2p.kad_dht.{module.name}")
            if hasattr(loaded, "PROTOCOL_ID"):
                found.add(module.name)
                assert loaded.PROTOCOL_ID in (PROTOCOL, PUBLIC_PROTOCOL)
    assert found == set(PATCHED)


def test_the_names_of_kad_dht_that_are_changed_still_mean_something():
    assert isinstance(kad_dht.MAX_DHT_MESSAGE_SIZE, int)
    assert isinstance(kad_dht.MAX_RECORD_SIZE, int)
    assert isinstance(routing_table.MAXIMUM_BUCKETS, int)
    assert callable(KBucket._ping_peer)
    for owner, names in (
        (KadDHT, ("handle_stream", "add_peer")),
        (RoutingTable, ("add_peer", "remove_peer", "find_local_closest_peers", "peer_in_table")),
        (value_store.ValueStore, ("get", "put_record", "remove")),
    ):
        assert all(callable(getattr(owner, name)) for name in names)


async def test_the_public_table_is_not_spoken_and_ours_is(make_node):
    async with make_node(1) as node, stranger() as peer:
        await peer.connect(node)
        with pytest.raises(StreamFailure):
            await peer.open(node, PUBLIC_PROTOCOL)
        assert await ask(peer, node, Message(type=FIND, key=peer_id_of(node.dev).to_bytes()))


# ── what strangers do ────────────────────────────────────────────────────────────────────────


async def send(peer, node, data):
    """What the node says to these bytes, until it ends the stream."""
    heard = b""
    try:
        stream = await peer.open(node, PROTOCOL)
    except StreamFailure:
        return heard  # ended before the protocol was agreed on
    with trio.fail_after(15), suppress(Exception):
        await stream.write(data)
        await stream.close_write()
        while part := await stream.read(4_096):
            heard += part
    with suppress(Exception):
        await stream.reset()
    return heard


async def ask(peer, node, message):
    body = message.SerializeToString()
    heard = await send(peer, node, varint(len(body)) + body)
    if not heard:
        return None
    answer = Message()
    answer.ParseFromString(heard[len(varint(len(heard))) :] if len(heard) > 1 else b"")
    return answer


def put(key, value):
    return Message(type=PUT, key=key.encode(), record=Record(key=key.encode(), value=value))


@pytest.fixture
def known():
    me = me_of(5)
    return me, room_of(me)


async def still_serves(node, peer, me):
    """After all of it the node keeps an honest card and gives it back."""
    genesis = room_of(me, title="Still here")
    key = key_of(RoomId(genesis.id))
    assert await ask(peer, node, put(key, card_of(me, genesis)))
    answer = await ask(peer, node, Message(type=GET, key=key.encode()))
    assert answer.record.value == card_of(me, genesis) or answer.record.value
    assert node.network.counters["host_died"] == 0


JUNK = [
    b"",
    b"\x00",
    b"\x32" + b"\xff" * 50,
    b"\xff" * 12,
    varint(8_193) + b"\x08\x04" * 4_096,
    varint(3) + b"\x08\x04",
    *[random.Random(seed).randbytes(300) for seed in range(4)],
]


async def test_garbage_ends_its_stream_and_nothing_else(make_node, known):
    me, _ = known
    async with make_node(1, judge=judge) as node, stranger() as peer:
        await peer.connect(node)
        for junk in JUNK:
            assert await send(peer, node, junk) == b""
        for kind in ("PING", "ADD_PROVIDER", "GET_PROVIDERS"):
            assert await ask(peer, node, Message(type=kind, key=b"k")) is None
        assert await ask(peer, node, Message(type=PUT, key=b"k")) is None
        await still_serves(node, peer, me)


async def test_a_message_has_8192_bytes_and_a_key_80_and_no_more(make_node):
    async with make_node(1) as node, stranger() as peer:
        await peer.connect(node)
        for size, taken in ((80, True), (81, False)):
            answer = await ask(peer, node, Message(type=GET, key=b"k" * size))
            assert (answer is not None) is taken
        assert limits.DHT_KEY_BYTES_MAX == 80
        for size, taken in ((8_192, True), (8_193, False)):
            message = Message(type=GET, key=b"k")
            message.clusterLevelRaw = 1
            # A field that nobody reads, as long as it takes.
            padding = size - len(message.SerializeToString()) - 3
            message.record.value = b"\0" * padding
            while len(message.SerializeToString()) > size:
                padding -= 1
                message.record.value = b"\0" * padding
            assert len(message.SerializeToString()) == size
            assert (await ask(peer, node, message) is not None) is taken
        assert limits.DHT_MESSAGE_BYTES_MAX == 8_192


async def test_only_cards_of_the_key_s_room_in_their_time_are_kept(make_node, known):
    me, genesis = known
    other, lan = room_of(me, title="Other"), room_of(me, title="Lan", access=Access.LAN)
    key = key_of(RoomId(genesis.id))
    async with make_node(1, judge=judge) as node, stranger() as peer:
        await peer.connect(node)
        for refused in (
            put(key, card_of(me, other)),
            put(key, card_of(me_of(6), genesis)),
            put(key, card_of(me, genesis)[:-1]),
            put(key, card_of(me, genesis) + b"\0" * 1_280),
            put(key, card_of(me, genesis, age_s=800)),
            put(key_of(RoomId(lan.id)), card_of(me, lan)),
            put("/pk/" + "a" * 40, card_of(me, genesis)),
            put("plain", card_of(me, genesis)),
            Message(
                type=PUT,
                key=key.encode(),
                record=Record(key=b"another", value=card_of(me, genesis)),
            ),
        ):
            assert await ask(peer, node, refused) is None
        assert len(node.network._dht.shelf) == 0
        await still_serves(node, peer, me)


@pytest.mark.nightly
async def test_a_hundred_lies_in_a_minute_ban_whoever_puts_them(make_node, known):
    _, genesis = known
    lie = put(key_of(RoomId(genesis.id)), card_of(me_of(6), genesis))
    async with make_node(1, judge=judge) as node, stranger() as peer:
        await peer.connect(node)
        with suppress(StreamFailure, trio.TooSlowError), trio.move_on_after(30):
            for _ in range(2 * BAD_A_MINUTE_MAX):
                await ask(peer, node, lie)
        assert node.network.counters["peer_error"] >= ASKED_BURST
        assert len(node.network._dht.shelf) == 0


async def test_a_flood_of_rooms_fills_no_more_than_the_shelf(make_node, known):
    me, _ = known
    async with make_node(1, judge=judge) as node, stranger() as peer:
        node.network._dht.shelf.room_max = 4
        await peer.connect(node)
        for number in range(12):
            genesis = room_of(me, title=str(number))
            assert await ask(peer, node, put(key_of(RoomId(genesis.id)), card_of(me, genesis)))
        assert len(node.network._dht.shelf) == 4


@pytest.mark.nightly
async def test_who_asks_too_fast_is_not_answered(make_node):
    async with make_node(1) as node, stranger() as peer:
        await peer.connect(node)
        question = Message(type=FIND, key=peer_id_of(node.dev).to_bytes())
        answered = 0
        for _ in range(int(2 * ASKED_BURST)):
            answered += await ask(peer, node, question) is not None
        assert ASKED_BURST <= answered < 2 * ASKED_BURST
        assert node.network.counters["streams_too_fast"] > 0


# ── who is believed ──────────────────────────────────────────────────────────────────────────


def introduction(peer, *addresses):
    host = peer.libp2p
    return create_signed_peer_record(
        host.get_id(), [Multiaddr(each) for each in addresses], host.get_private_key()
    ).marshal_envelope()


@pytest.mark.parametrize(
    ("address", "believed"),
    [
        ("/ip4/127.0.0.1/tcp/9", True),
        ("/ip4/127.0.0.2/tcp/9", False),
        ("/ip4/8.8.8.8/tcp/9", False),
        ("/ip4/127.0.0.1/udp/9/quic-v1", False),
    ],
)
async def test_a_peer_enters_the_table_by_the_address_it_comes_from_alone(
    make_node, address, believed
):
    async with make_node(1) as node, stranger() as peer:
        await peer.connect(node)
        await node.next(PeerUp, dev=peer.dev)
        question = Message(type=FIND, key=b"\x00\x24" * 19)
        question.senderRecord = introduction(peer, address)
        assert await ask(peer, node, question)
        assert node.network._dht.count == believed


async def test_an_introduction_of_somebody_else_is_a_fault(make_node):
    async with make_node(1) as node, stranger() as peer, stranger() as other:
        await peer.connect(node)
        question = Message(type=FIND, key=b"\x00\x24" * 19)
        question.senderRecord = introduction(other, "/ip4/127.0.0.1/tcp/9")
        assert await ask(peer, node, question) is None
        question.senderRecord = b"junk"
        assert await ask(peer, node, question) is None
        assert node.network._dht.count == 0


async def test_peers_that_a_peer_only_names_are_not_passed_on(make_node):
    """A peer that answers with inventions gets none of them into our table."""
    async with make_node(1) as node, stranger() as peer:
        named = ID(bytes.fromhex("002408011220") + b"n" * 32)

        async def lie(stream):
            with suppress(Exception):
                await stream.read(4_096)
                answer = Message(type=FIND)
                answer.closerPeers.add(
                    id=named.to_bytes(), addrs=[Multiaddr("/ip4/127.0.0.1/tcp/9").to_bytes()]
                )
                body = answer.SerializeToString()
                await stream.write(varint(len(body)) + body)
                await stream.close()

        peer.libp2p.set_stream_handler(PROTOCOL, lie)
        await peer.connect(node)
        await node.next(PeerUp, dev=peer.dev)
        await node.network._dht._greet(peer.dev)
        assert node.network._dht.count == 1  # the liar, who did answer
        async with stranger() as third:
            await third.connect(node)
            answer = await ask(third, node, Message(type=FIND, key=named.to_bytes()))
            assert named.to_bytes() not in [each.id for each in answer.closerPeers]


async def test_a_full_bucket_keeps_who_is_connected(make_node):
    async with make_node(1) as node, make_node(2) as friend:
        friend.network.dial(node.dev, node.network.addrs)
        await knows(node)
        table = node.network._dht.kad._table
        (bucket,) = table.buckets
        assert await bucket._ping_peer(peer_id_of(friend.dev))
        assert not await bucket._ping_peer(ID(bytes.fromhex("002408011220") + b"g" * 32))
        await until(lambda: friend.network._dht.count == 1)
