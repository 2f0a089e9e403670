"""`join` of a room that the hallway lacks, or in which nobody answers: other nodes are asked."""

from typing import Any

import pytest
import trio

from p2phouse.api import Call
from p2phouse.errors import LinkError
from p2phouse.hall import invitation
from p2phouse.hall.card import make_card, make_genesis
from p2phouse.hall.directory import NoSuchRoom
from p2phouse.hall.invitation import Invitation
from p2phouse.record.types import Access
from p2phouse.room import messages
from p2phouse.room.frames import ByeReason, bye
from p2phouse.room.messages import OpenRoomLink
from p2phouse.room.stay import JoinFailed, NobodyAnswered
from p2phouse.verbs import finding, room
from p2phouse.verbs.finding import RoomNotFound
from p2phouse.verbs.table import VERBS
from p2phouse.vocabulary import RoomId
from tests.asked import TableNode
from tests.room.table import Table, of


class OtherNodes:
    """What the table of rooms holds."""

    def __init__(self):
        self.cards = {}
        self.asked = []

    async def find_card(self, room):
        self.asked.append(room)
        if room not in self.cards:
            raise LinkError(reason="it is a test")
        return self.cards[room]


class Finder(TableNode):
    """Time passes while it waits to be let in; nobody ever does."""

    def __init__(self, table):
        super().__init__(table)
        self.network: Any = OtherNodes()
        self.told = []

    async def act(self, action):
        ticket = self.table.ask(action)
        await trio.lowlevel.checkpoint()
        for _ in range(20):
            if not self.table.answers(ticket):
                self.table.wait(1.0)
        answer = self.table.answer(ticket)
        if answer.error is not None:
            raise answer.error
        return answer.facts

    async def hear_card(self, data, dev):
        self.table.tell(dev, messages.CardHeard(data))

    async def join(self, text):
        async def tell(event):
            self.told.append(event)

        return await VERBS["join"](self, Call(tell, trio.Event()), {"room": text})

    @property
    def called(self):
        return [each.dev for each in of(OpenRoomLink, self.table.said)]


@pytest.fixture
def node(monkeypatch):
    table = Table()
    for module in (finding, room):
        monkeypatch.setattr(module, "clock", lambda: table.now)
    return Finder(table)


@pytest.fixture
def ann(node):
    return node.table.person("ann")


@pytest.fixture
def bob(node):
    return node.table.person("bob")


def room_of(node, host, *, access=Access.OPEN):
    return make_genesis(host.me, title="Tea", access=access, now=node.table.now, entropy=bytes)


def card_of(node, host, genesis, **more):
    arguments: dict[str, Any] = {
        "seq": 1,
        "speakers": 1,
        "listeners": 0,
        "addrs": (),
        "ttl_s": 600,
    } | more
    return make_card(host.me, genesis, now=node.table.now, **arguments).data


async def test_a_whole_id_that_the_hallway_lacks_is_asked_of_others_and_its_host_is_called(
    node, ann
):
    genesis = room_of(node, ann)
    node.network.cards[RoomId(genesis.id)] = card_of(node, ann, genesis)
    with pytest.raises(NobodyAnswered):
        await node.join(genesis.id.hex().upper())
    assert node.called[0] == ann.dev
    assert node.told[0] == {"event": "calling", "text": "asking other nodes for that room"}
    assert [card.room for card in node.table.rooms.directory.live(node.table.now)] == [genesis.id]


async def test_a_whole_id_that_nobody_knows_says_that_nobody_answered_and_why(node):
    with pytest.raises(RoomNotFound, match=r"Nobody answered for that room: .*it is a test"):
        await node.join("ab" * 32)
    assert node.table.rooms.membership is None


@pytest.mark.parametrize("text", ["ab" * 31, "tea", "ab" * 33])
async def test_what_is_no_whole_id_is_looked_for_in_the_hallway_alone(node, text):
    with pytest.raises(NoSuchRoom):
        await node.join(text)
    assert not node.network.asked


async def test_a_room_that_the_hallway_knows_is_joined_without_asking_others(node, ann):
    genesis = room_of(node, ann)
    await node.hear_card(card_of(node, ann, genesis), ann.dev)
    with pytest.raises(NobodyAnswered):
        await node.join(genesis.id.hex())
    assert node.called == [ann.dev]
    assert node.network.asked == [genesis.id], "and only once nobody had answered"


async def test_a_ghost_says_so_in_the_list_and_stands_last(node, ann, bob):
    here, gone = room_of(node, bob), room_of(node, ann)
    await node.hear_card(card_of(node, bob, here), bob.dev)
    await node.hear_card(card_of(node, ann, gone, seq=9), ann.dev)
    assert [each["ghost"] for each in (await node.asked("rooms"))["rooms"]] == [False, False]
    with pytest.raises(NobodyAnswered):
        await node.join(gone.id.hex())
    rooms = (await node.asked("rooms"))["rooms"]
    assert [(each["room"], each["ghost"]) for each in rooms] == [
        (here.id.hex(), False),
        (gone.id.hex(), True),
    ]


async def test_where_the_link_s_member_is_gone_whoever_lists_the_room_now_is_called(node, ann, bob):
    genesis = room_of(node, bob)
    await node.hear_card(card_of(node, bob, genesis), bob.dev)
    node.network.cards[RoomId(genesis.id)] = card_of(node, bob, genesis)
    link = invitation.write(Invitation(RoomId(genesis.id), ann.dev, ()))
    with pytest.raises(NobodyAnswered):
        await node.join(link)
    assert node.called == [ann.dev, bob.dev]


@pytest.mark.parametrize(
    ("access", "is_listed", "invite"),
    [
        (Access.SOCIAL, True, b"let me in"),
        (Access.OPEN, False, b""),
        (Access.CLOSED, False, b""),
        (Access.CLOSED, False, b"let me in"),
        (Access.LAN, True, b""),
    ],
)
async def test_strangers_do_not_learn_of_a_room_from_whoever_has_a_link_to_it(
    node, ann, bob, access, is_listed, invite
):
    # Security: whoever knows the id may knock, so a link is asked for only if all may know it.
    genesis = room_of(node, bob, access=access)
    if is_listed:
        await node.hear_card(card_of(node, bob, genesis), bob.dev)
    with pytest.raises(NobodyAnswered):
        await node.join(invitation.write(Invitation(RoomId(genesis.id), ann.dev, (), invite)))
    assert node.called == [ann.dev]
    assert not node.network.asked


async def test_a_lan_room_is_never_asked_of_others(node, ann):
    genesis = room_of(node, ann, access=Access.LAN)
    await node.hear_card(card_of(node, ann, genesis), ann.dev)
    with pytest.raises(NobodyAnswered):
        await node.join("tea")
    assert not node.network.asked


async def test_who_is_refused_is_not_led_elsewhere(node, ann):
    genesis = room_of(node, ann)
    await node.hear_card(card_of(node, ann, genesis), ann.dev)

    async def refused(action):
        ticket = node.table.ask(action)
        node.table.up(ann, outbound=True)
        node.table.frame(ann, bye(ByeReason.LOCKED))
        raise node.table.answer(ticket).error

    node.act = refused
    with pytest.raises(JoinFailed, match="locked"):
        await node.join("tea")
    assert not node.network.asked
