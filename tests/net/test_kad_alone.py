"""What a node asks of the table and answers in it, on wires in memory."""

from ipaddress import ip_address, ip_network
from types import SimpleNamespace

import pytest
import trio
import trio.lowlevel
from libp2p.kad_dht.pb.kademlia_pb2 import Message
from libp2p.peer.envelope import consume_envelope

from p2phouse.hall.shelf import Shelf
from p2phouse.identity.keys import PEER_ID_PREFIX
from p2phouse.net.addresses import Address, pack, unpack_all
from p2phouse.net.contacts import Contacts
from p2phouse.net.faults import Faults
from p2phouse.net.host import peer_id_of
from p2phouse.net.kad import BadKad, Kad
from p2phouse.net.lookup import TOLD_MAX
from p2phouse.net.wire import Framing, Wire, WireEnded
from p2phouse.record.types import Card
from p2phouse.vocabulary import DeviceKey
from tests.net.conftest import clock
from tests.net.pipes import Stream
from tests.net.stranger import new_key

GET, FIND = Message.MessageType.GET_VALUE, Message.MessageType.FIND_NODE
BEN, CARLA = (DeviceKey(bytes([number]) * 32) for number in (2, 3))
PUBLIC, HOME = (Address(ip_address(ip), 17_472) for ip in ("5.9.1.2", "192.168.1.7"))
KEY = new_key(1)


def ends(*, near=False, relayed=False):
    """A wire of ours to Ben, and Ben's end."""
    one, other = trio.testing.memory_stream_pair()
    return (
        Wire(Stream(one), BEN, near=near, relayed=relayed),
        Wire(Stream(other), DeviceKey(bytes(32)), near=near),
    )


class House:
    """Stands where the host does: all are connected, and Ben is as near as the test says."""

    def __init__(self, *, near=False):
        own = DeviceKey(KEY.public_key.to_bytes())
        self.is_near = near
        self.libp2p = SimpleNamespace(
            get_id=lambda: peer_id_of(own), get_private_key=lambda: KEY.private_key
        )
        self.contacts, self.faults = Contacts(), Faults()
        self.answer = None
        self.wires: list[Wire] = []
        self.kad = Kad(
            self,  # type: ignore[arg-type]  # all that it asks of one
            clock=clock,
            faults=self.faults,
            contacts=self.contacts,
            shelf=Shelf(PEER_ID_PREFIX + own),
            networks=lambda: [ip_network("192.168.1.0/24")],
            own=lambda: [PUBLIC, HOME],
            met=lambda: None,
        )

    def serve(self, protocol, handler, **pace):
        self.answer = handler

    def near(self, dev):
        return self.is_near

    def connected(self, dev):
        return True

    def peers(self):
        return [BEN]

    def ips(self, dev):
        return {PUBLIC.ip}

    async def open(self, dev, protocol):
        ours, theirs = ends(near=self.is_near)
        self.wires.append(theirs)
        return ours


async def read(wire):
    message = Message()
    message.ParseFromString(await wire.receive(size_max=8_192, framing=Framing.VARINT))
    return message


async def asked(house, message, **where):
    """What Ben is answered; None if nothing."""
    ours, ben = ends(**where)
    await ben.send_varint(message.SerializeToString())
    await house.answer(ours)
    try:
        return await read(ben)
    except WireEnded:
        return None


async def answered(house, answer):
    """What we make of what Ben says to a question, and the question."""
    questions = []

    async def ben():
        while not house.wires:
            await trio.lowlevel.checkpoint()
        questions.append(await read(house.wires[0]))
        await house.wires[0].send_varint(answer.SerializeToString())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ben)
        reply = await house.kad.get_value(BEN, "/p2phouse/" + "0" * 64)
    return reply, questions[0]


def find(dev):
    return Message(type=FIND, key=peer_id_of(dev).to_bytes())


async def test_through_a_relay_nobody_is_answered():
    # Security: a volunteer's bytes are for people.
    house = House()
    assert await asked(house, find(CARLA), relayed=True) is None
    assert house.faults.counters["kad_not_for_us"] == 1
    assert await asked(house, find(CARLA)) is not None


async def test_who_asks_without_saying_where_they_listen_is_told_to_nobody():
    # Security: kad-dht would add whoever asks; then the table fills with whom nobody can dial.
    house = House()
    assert await asked(house, find(CARLA)) is not None
    assert house.kad.count == 0


@pytest.mark.parametrize(("near", "told"), [(True, [PUBLIC, HOME]), (False, [PUBLIC])])
async def test_private_addresses_are_told_to_near_ones_alone(near, told):
    # Security: from elsewhere they lead to another machine, and say what a home looks like.
    house = House(near=near)
    house.contacts.prove(CARLA, [PUBLIC, HOME])
    await house.kad.meet(CARLA)
    answer = await asked(house, find(CARLA), near=near)
    (peer,) = [each for each in answer.closerPeers if each.id == peer_id_of(CARLA).to_bytes()]
    assert unpack_all(peer.addrs) == told


@pytest.mark.parametrize(("near", "told"), [(True, [PUBLIC, HOME]), (False, [PUBLIC])])
async def test_our_own_private_addresses_are_told_to_near_ones_alone(near, told):
    house = House(near=near)
    _, question = await answered(house, Message(type=GET))
    _, record = consume_envelope(question.senderRecord, "libp2p-peer-record")
    assert unpack_all(each.to_bytes() for each in record.addrs) == told


async def test_of_those_that_an_answer_names_so_many_are_heard_and_no_more():
    # Security: each costs us memory, and a dial if it seems near to what we seek.
    answer = Message(type=GET)
    devs = [DeviceKey(bytes([9, number]).ljust(32)) for number in range(TOLD_MAX + 1)]
    for dev in devs:
        answer.closerPeers.add(id=peer_id_of(dev).to_bytes(), addrs=[pack(PUBLIC)])
    house = House()
    reply, _ = await answered(house, answer)
    assert list(reply.closer) == devs[:TOLD_MAX]
    assert house.contacts.addresses(devs[0]) == [PUBLIC]
    assert house.contacts.addresses(devs[-1]) == []


@pytest.mark.parametrize("size", [Card.SIZE_MAX, Card.SIZE_MAX + 1])
async def test_an_answer_is_no_longer_than_a_card(size):
    answer = Message(type=GET)
    answer.record.value = bytes(size)
    if size <= Card.SIZE_MAX:
        reply, _ = await answered(House(), answer)
        assert reply.value == bytes(size)
    else:
        with pytest.RaisesGroup(BadKad):
            await answered(House(), answer)


async def test_an_answer_to_another_question_is_none():
    with pytest.RaisesGroup(BadKad):
        await answered(House(), Message(type=FIND))
