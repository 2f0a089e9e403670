"""The verbs about relays, asked of a node with a real core; and how the command line says it."""

import os
from dataclasses import replace

import pytest

from p2phouse.cli.relays import given, show
from p2phouse.drive import clock
from p2phouse.errors import UserError
from p2phouse.hall import relay_ask
from p2phouse.hall.invitation import room_of
from p2phouse.hall.relay_ask import AskCarry, AskPolicy, Said, Shown, Verdict
from p2phouse.identity.keys import Me, make_identity
from p2phouse.people.relays import KnownRelay
from p2phouse.record import envelope
from p2phouse.record.types import Access, Hello
from p2phouse.relays import CardDamaged, LanRoom, NotYours
from p2phouse.vocabulary import RoomId
from tests.asked import TableNode
from tests.record import samples
from tests.record.samples import signed
from tests.room.table import Table


class OneRelay:
    """A network in which one relay answers, with the policy of the samples; `others` as well."""

    def __init__(self, dev, said: Said) -> None:
        self.dev = dev
        self.others: dict[bytes, tuple[Me, Said]] = {}
        self.card = signed(samples.POLICY).data
        self.addrs = [samples.LAN_ADDRESS]
        self.named: list[bytes] = []
        self.asked: list[object] = []
        self._said = said

    async def hello(self, host: str, port: int) -> Hello:
        return Hello(bytes(64), (1, 1), samples.DEV, (samples.LAN_ADDRESS,))

    async def ask_relay(self, dev, addrs, question: bytes) -> bytes:
        asked = relay_ask.read_ask(question)
        self.asked.append(asked)
        if dev in self.others:
            return relay_ask.write(self.others[dev][1])
        if isinstance(asked, AskPolicy):
            return relay_ask.write(Shown(signed(samples.POLICY), signed(samples.IDENTITY)))  # type: ignore[arg-type]
        return relay_ask.write(self._said)

    async def well_known(self, host: str, port: int) -> bytes:
        return self.card

    def name_relay(self, dev, addrs) -> None:
        self.named.append(dev)


def node_with(folder, said: Said) -> tuple[TableNode, OneRelay]:
    made = TableNode(Table(), folder)
    network = OneRelay(made.me.dev, said)
    made.relays._network = made.network = network  # type: ignore[assignment]  # as much as is asked
    return made, network


CARRIED = Said(Verdict.CARRIED, "", 100, 9_000, 2**40)
FULL = Said(Verdict.FULL, "other.example:17472")


async def test_a_relay_that_was_looked_at_is_kept_only_once_it_is_added(tmp_path):
    node, network = node_with(tmp_path, CARRIED)
    facts = await node.asked("relay_look", relay="relay.example")
    assert (facts["at"], facts["name"]) == ("relay.example:17472", samples.POLICY.name)
    assert facts["admits"] == "listed"
    assert (await node.asked("relays"))["relays"] == []
    assert await node.asked("relay_add", relay="relay.example") == facts
    assert (await node.asked("relays"))["relays"] == [facts]
    assert network.named == [samples.DEV], "from now on it is kept in touch with"
    await node.asked("relay_remove", relay=samples.POLICY.name)
    assert (await node.asked("relays"))["relays"] == []


async def test_a_room_that_a_relay_takes_names_it_in_its_log(tmp_path):
    node, network = node_with(tmp_path, CARRIED)
    facts = await node.asked("open", title="Tea", relay="relay.example")
    assert facts["relay"] == {
        "carried": True,
        "by": "",
        "text": "it carries the room",
        "another": "",
    }
    (asked,) = [each for each in network.asked if isinstance(each, AskCarry)]
    here = node.table.here
    assert RoomId(asked.genesis.id) == here.room
    assert here.log.state.relays == {samples.POLICY.uid}


async def test_who_gave_a_room_to_a_relay_can_give_the_link_of_its_page_away(tmp_path):
    node, _ = node_with(tmp_path, CARRIED)
    assert (await node.asked("guest_link"))["link"] == ""
    await node.asked("open", title="Tea")
    assert (await node.asked("guest_link"))["link"] == "", "nobody carries it"
    await node.asked("relay_use", relay="relay.example")
    link = (await node.asked("guest_link"))["link"]
    page, _, name = link.rpartition("/r/")
    assert page == samples.POLICY.page
    assert room_of(name) == node.table.here.room


async def test_of_a_sealed_room_there_is_no_link_for_browsers(tmp_path):
    node, _ = node_with(tmp_path, CARRIED)
    await node.asked("open", title="Tea", access="closed", relay="relay.example")
    assert (await node.asked("guest_link"))["link"] == ""


async def test_a_room_that_a_relay_refuses_is_open_all_the_same_and_names_nobody(tmp_path):
    node, _ = node_with(tmp_path, FULL)
    facts = await node.asked("open", title="Tea", relay="relay.example")
    assert facts["relay"] == {
        "carried": False,
        "by": "",
        "text": "it is full",
        "another": "other.example:17472",
    }
    assert facts["title"] == "Tea"
    assert node.table.here.log.state.relays == frozenset()


async def test_nobody_gives_a_relay_a_room_for_one_network_or_one_that_is_not_there(tmp_path):
    node, _ = node_with(tmp_path, CARRIED)
    with pytest.raises(LanRoom):
        await node.asked("open", title="Tea", lan=True, relay="relay.example")
    with pytest.raises(NotYours):
        await node.asked("relay_use", relay="relay.example")


async def test_a_relay_that_does_not_answer_leaves_the_room_open(tmp_path):
    node = TableNode(Table(), tmp_path)
    facts = await node.asked("open", title="Tea", access="closed", relay="relay.example")
    assert not facts["relay"]["carried"]
    assert "Nobody answered" in facts["relay"]["text"]
    assert node.table.here.log.state.access is Access.CLOSED


async def test_half_a_relay_grant_is_said_to_be_none(tmp_path):
    node, _ = node_with(tmp_path, CARRIED)
    await node.asked("open", title="Tea")
    text = signed(samples.RELAY_GRANT).data.hex()
    with pytest.raises(UserError, match="no whole relay grant"):
        await node.asked("relay_use", relay="relay.example", grant=text[:80])


async def test_the_policy_is_shown_line_by_line_with_what_the_relay_will_see(tmp_path, capsys):
    node, _ = node_with(tmp_path, CARRIED)
    show(await node.asked("relay_look", relay="relay.example"))
    told = capsys.readouterr().out
    for what in (samples.POLICY.who, samples.POLICY.logs, samples.POLICY.contact):
        assert what in told
    assert "sees your network address" in told
    assert "opens no voice of a sealed room" in told


def test_a_refusal_says_why_and_names_another():
    facts = {"carried": False, "by": "", "text": "it is full", "another": "other.example:17472"}
    assert given(facts, "relay.example") == (
        "relay.example does not carry the room: it is full. It names another: other.example:17472"
    )


async def other_relay(node: TableNode, network: OneRelay, said: Said, *, added: bool) -> KnownRelay:
    """The one that FULL names."""
    me = make_identity(now=clock(), entropy=os.urandom, name="Other")
    card = envelope.sign(replace(samples.POLICY, dev=me.dev, uid=me.uid), me.device_key)
    network.others[me.dev] = (me, said)
    relay = KnownRelay("other.example", 17_472, card)
    if added:
        await node.relays.add(relay)
    return relay


async def test_a_relay_that_is_full_leads_to_another_that_the_person_has_added(tmp_path):
    node, network = node_with(tmp_path, FULL)
    other = await other_relay(node, network, CARRIED, added=True)
    facts = await node.asked("open", title="Tea", relay="relay.example")
    assert facts["relay"] == {
        "carried": True,
        "by": "other.example:17472",
        "text": "it is full; it carries the room",
        "another": "",
    }
    assert node.table.here.log.state.relays == {other.uid}
    assert "which relay.example named in its place" in given(facts["relay"], "relay.example")


async def test_a_relay_that_nobody_added_is_named_and_no_more(tmp_path):
    """Security: no relay gives somebody's room to whom that person has not agreed to."""
    node, network = node_with(tmp_path, FULL)
    await other_relay(node, network, CARRIED, added=False)
    facts = await node.asked("open", title="Tea", relay="relay.example")
    assert (facts["relay"]["carried"], facts["relay"]["another"]) == (False, "other.example:17472")
    assert node.table.here.log.state.relays == frozenset()


async def test_two_full_relays_that_name_one_another_are_asked_once_each(tmp_path):
    node, network = node_with(tmp_path, FULL)
    await node.asked("relay_add", relay="relay.example")
    await other_relay(node, network, Said(Verdict.FULL, "relay.example"), added=True)
    facts = await node.asked("open", title="Tea", relay="relay.example")
    assert facts["relay"]["by"] == "other.example:17472"
    assert given(facts["relay"], "relay.example") == (
        "relay.example does not carry the room: it is full; it is full. "
        "Nor does other.example:17472, which it named."
    )


async def test_a_relay_is_found_by_its_web_address_and_known_by_it(tmp_path):
    node, _ = node_with(tmp_path, CARRIED)
    facts = await node.asked("relay_add", relay="https://relay.example/")
    assert facts["name"] == samples.POLICY.name
    assert facts["at"].startswith("relay.example:")
    assert (await node.relays.find("https://relay.example")).dev == samples.DEV


@pytest.mark.parametrize("spoilt", ["cut", "flipped", "another"])
async def test_a_card_that_is_damaged_is_said_to_be(tmp_path, spoilt):
    """Security: whoever has the web site but not the key shows nothing that is believed."""
    node, network = node_with(tmp_path, CARRIED)
    good = network.card
    genesis = signed(samples.GENESIS).data
    flipped = good[:60] + bytes([good[60] ^ 1]) + good[61:]
    cards = {"cut": good[:-9], "flipped": flipped, "another": genesis}
    network.card = cards[spoilt]
    with pytest.raises(CardDamaged, match=r"relay\.example shows of itself"):
        await node.asked("relay_look", relay="https://relay.example")
    assert network.asked == []


@pytest.mark.parametrize(
    ("page", "shown"),
    [
        ("https://choeur.example", True),
        ("http://127.0.0.1:8478", True),
        ("https://[2001:db8::1]:8443", True),
        ("javascript:alert(1)", False),
        ("https://choeur.example/r/x?y", False),
        ("", False),
    ],
)
async def test_what_is_no_web_address_is_shown_to_nobody(tmp_path, page, shown):
    """Security: the page makes links of it."""
    node, _ = node_with(tmp_path, CARRIED)
    card = signed(replace(samples.POLICY, page=page))
    await node.relays.add(KnownRelay("relay.example", 17_472, card))  # type: ignore[arg-type]
    (facts,) = (await node.asked("relays"))["relays"]
    assert facts["page"] == (page if shown else "")
