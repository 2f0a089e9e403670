"""What a relay shows guests of rooms that it carries: real cores in a simulated world."""

from p2phouse.guest import tokens
from p2phouse.guest.ear import source_of
from p2phouse.guest.facts import NodeRoom, SealedRoom, face_of
from p2phouse.guest.view import Reactions, seen
from p2phouse.hall import invitation
from p2phouse.identity.keys import key_tag
from p2phouse.record.types import Access, Act, ChatKind
from p2phouse.room import messages
from p2phouse.room.messages import EventKind, Write
from p2phouse.vocabulary import DeviceKey, Now
from tests.sim.test_hub import until
from tests.sim.test_relay import room_with_relay
from tests.sim.world import Node


def shown(relay: Node) -> NodeRoom:
    facts = seen(relay.rooms)
    assert isinstance(facts, NodeRoom)
    return facts


def test_guests_are_shown_the_stage_the_hands_the_chat_and_what_is_pinned():
    world, (host, ana, _, relay) = room_with_relay(1, 3, stage="invited")
    host.act(Write(ChatKind.TEXT, "welcome"))
    world.run_for(2.0)  # what has one time has no order
    ana.act(Write(ChatKind.TEXT, "which song?"))
    ana.act(messages.Hand("a question"))
    until(world, lambda: shown(relay).chat is not None and len(shown(relay).chat or ()) == 2)
    until(world, lambda: bool(shown(relay).hands))
    facts = shown(relay)
    assert (facts.title, facts.access, facts.listeners) == ("Tea", "open", 2)
    assert invitation.read(facts.invite).dev == relay.dev
    (seat,) = facts.stage
    assert (seat.name, seat.tag, seat.role) == (host.name, key_tag(host.me.uid), "host")
    assert seat.face == face_of(host.me.uid)
    assert host.rooms.membership is not None
    ssrc = host.rooms.membership.voice.ssrc
    assert ssrc is not None
    assert seat.source == source_of(ssrc)
    assert [each.name for each in facts.hands] == [ana.name]
    assert [(each.name, each.text) for each in facts.chat or ()] == [
        (host.name, "welcome"),
        (ana.name, "which song?"),
    ]
    said = (facts.chat or ())[1]
    host.act(Write(ChatKind.PIN, "songs.example.org"))
    host.act(Write(ChatKind.DELETE, ref=said.id))
    host.act(messages.Decide(Act.ROLE, ana.name, "muted"))
    until(world, lambda: [each.text for each in shown(relay).pins] == ["songs.example.org"])
    until(world, lambda: [each.text for each in shown(relay).chat or ()] == ["welcome"])
    host.act(messages.Decide(Act.CHAT, "", False))
    until(world, lambda: shown(relay).chat is None)


def test_of_a_sealed_room_there_is_nothing_but_the_way_to_its_door():
    """Security: its title and its people are in what the relay knows, and not in what it shows."""
    _, (host, *_, relay) = room_with_relay(1, 3, Access.CLOSED)
    facts = seen(relay.rooms)
    assert isinstance(facts, SealedRoom)
    way = invitation.read(facts.invite)
    assert host.rooms.room == way.room
    assert way == invitation.Invitation(way.room, relay.dev, way.addrs)


def test_whose_token_counts_is_whom_an_entry_calls_speaker_for_as_long_as_it_does():
    """Security: a token that is taken back opens nothing."""
    world, (host, ana, _, relay) = room_with_relay(1, 3)
    assert shown(relay).voices == frozenset()
    zoe = tokens.person_of(bytes(32), Now(0.0, 1_800_000_000.0))
    host.act(messages.NameVoice(zoe))
    until(world, lambda: shown(relay).voices == {zoe})
    host.act(messages.Decide(Act.ROLE, ana.name, "speaker"))
    until(world, lambda: shown(relay).voices == {zoe, ana.me.uid})
    host.act(messages.Decide(Act.ROLE, ana.name, "muted"))
    until(world, lambda: shown(relay).voices == {zoe})


def test_a_reaction_is_shown_for_a_while_and_each_has_a_number_of_its_own():
    _, (host, ana, _, relay) = room_with_relay(1, 3)
    membership, book = relay.rooms.membership, Reactions()

    def react(now_s: float, dev: DeviceKey, text: str) -> None:
        event = messages.Event(EventKind.REACTION, host.rooms.room, dev, text)
        book.hear(now_s, membership, event)

    react(100.0, host.dev, "👏")
    react(101.0, ana.dev, "👏")
    react(101.0, DeviceKey(bytes(32)), "👏")  # of nobody
    assert [(each.n, each.tag) for each in book.shown(105.0)] == [
        (1, key_tag(host.me.uid)),
        (2, key_tag(ana.me.uid)),
    ]
    assert [each.n for each in book.shown(110.5)] == [2]
    react(112.0, ana.dev, "🎉")
    assert [(each.n, each.text) for each in book.shown(112.0)] == [(3, "🎉")]
