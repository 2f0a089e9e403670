"""Rooms of nodes among those that guests may come to."""

from dataclasses import replace

from p2phouse.channel import CloseGuestRoom, CloseLink, NewGuestRoom, PortReady
from p2phouse.guest.capacity import Crowding
from p2phouse.guest.facts import NodeRoom, SealedRoom
from p2phouse.guest.shards import To
from p2phouse.guest.terms import RoomTerms
from tests.guest.test_resources import ANYBODY, LISTEN, SPEAK, Relay

ROOM = "a" * 52
TEA = NodeRoom("Tea", "open")
SEALED = SealedRoom("p2ph:…")


def test_who_listens_to_a_room_of_nodes_is_led_to_its_voices():
    relay = Relay(replace(ANYBODY, rooms={}, rooms_max=0))
    assert relay.ask("POST", f"/whep/{ROOM}", LISTEN)[0] == 404
    assert relay.guests.carry(ROOM, TEA, 7) == []
    relay.join(f"/whep/{ROOM}")
    (made,) = [each for each in relay.told if isinstance(each, NewGuestRoom)]
    assert made.of == 7
    facts = relay.guests.room(ROOM)
    assert facts is not None
    assert (facts.carried, facts.listeners) == (TEA, 1)


def test_nobody_with_only_a_browser_speaks_among_nodes():
    """Security: who speaks there is for those who run the room to say."""
    relay = Relay()
    relay.guests.carry(ROOM, TEA, 7)
    status, _, text = relay.ask("POST", f"/whip/{ROOM}/ana", SPEAK)
    assert (status, "p2phouse" in text) == (403, True)


def test_a_sealed_room_answers_403_with_words_and_nothing_else():
    """Security: be it asked for to listen or to speak."""
    relay = Relay()
    relay.guests.carry(ROOM, SEALED, 7)
    for path, body in ((f"/whep/{ROOM}", LISTEN), (f"/whip/{ROOM}/ana", SPEAK)):
        status, _, text = relay.ask("POST", path, body)
        assert (status, "sealed" in text) == (403, True)
    assert not any(isinstance(each, NewGuestRoom) for each in relay.told)


def test_when_a_room_is_closed_its_guests_are_out():
    """Security: at once, and whoever comes then reads why."""
    relay = Relay()
    relay.guests.carry(ROOM, TEA, 7)
    relay.join(f"/whep/{ROOM}")
    guest = relay.opened()
    assert relay.guests.carry(ROOM, SEALED, 7) == [
        To(0, CloseLink(guest.link)),
        To(0, CloseGuestRoom(1)),
    ]
    assert relay.guests.count == 0
    assert relay.ask("POST", f"/whep/{ROOM}", LISTEN)[0] == 403
    relay.guests.carry(ROOM, TEA, 7)
    relay.join(f"/whep/{ROOM}")


def test_when_a_room_is_carried_no_more_its_guests_are_out():
    relay = Relay()
    relay.guests.carry(ROOM, TEA, 7)
    relay.join(f"/whep/{ROOM}")
    guest = relay.opened()
    assert relay.guests.drop(ROOM) == [To(0, CloseLink(guest.link)), To(0, CloseGuestRoom(1))]
    assert relay.guests.drop(ROOM) == []


def test_a_room_that_guests_made_under_the_name_of_one_of_nodes_is_closed():
    """Security: nobody waits with a voice of his own where listeners of a room will come."""
    assert Relay().ask("POST", f"/whip/{ROOM}/ana", SPEAK)[0] == 404
    relay = Relay(replace(ANYBODY, rooms={ROOM: RoomTerms()}))  # an operator may
    relay.join(f"/whip/{ROOM}/ana")
    guest = relay.opened()
    assert relay.guests.carry(ROOM, TEA, 7) == [
        To(0, CloseLink(guest.link)),
        To(0, CloseGuestRoom(1)),
    ]
    relay.join(f"/whep/{ROOM}")
    assert [each.of for each in relay.told if isinstance(each, NewGuestRoom)] == [0, 7]


def test_a_room_of_nodes_that_the_operator_denies_is_not_heard():
    relay = Relay()
    relay.guests.carry(ROOM, TEA, 7)
    relay.join(f"/whep/{ROOM}")
    guest = relay.opened()
    assert relay.guests.deny({ROOM: "a notice of 3 May"}) == [
        To(0, CloseLink(guest.link)), To(0, CloseGuestRoom(1))
    ]  # fmt: skip
    relay.guests.carry(ROOM, TEA, 7)
    status, _, text = relay.ask("POST", f"/whep/{ROOM}", LISTEN)
    assert (status, "a notice of 3 May" in text) == (403, True)
    assert relay.guests.room(ROOM) is None


def test_after_the_media_process_has_died_the_room_can_be_heard_again():
    relay = Relay()
    relay.guests.carry(ROOM, TEA, 7)
    relay.join(f"/whep/{ROOM}")
    relay.ends()
    assert relay.guests.carry(ROOM, TEA, 7) == []
    assert relay.ask("POST", f"/whep/{ROOM}", LISTEN)[0] == 503
    relay.says(PortReady(7_000, bytes(32)))
    relay.join(f"/whep/{ROOM}")
    assert [each.of for each in relay.told if isinstance(each, NewGuestRoom)] == [7, 7]


def test_a_room_that_is_nearly_full_here_is_listened_to_where_it_is_as_well():
    relay = Relay(replace(ANYBODY, rooms={}, rooms_max=0))
    relay.guests.carry(ROOM, TEA, 7)
    relay.guests.crowd(ROOM, Crowding(is_nearly_full=True, also_at=("https://b.example",)))
    status, headers, _ = relay.ask("POST", f"/whep/{ROOM}", LISTEN)
    assert (status, headers["location"]) == (307, f"https://b.example/whep/{ROOM}?sent-on")
    relay.guests.crowd(ROOM, Crowding(is_nearly_full=True))
    relay.join(f"/whep/{ROOM}")
    relay.guests.crowd(ROOM, Crowding(is_nearly_full=True, is_full=True))
    status, _, text = relay.ask("POST", f"/whep/{ROOM}", LISTEN)
    assert (status, "as many listeners here as it may" in text) == (503, True)
    facts = relay.guests.room(ROOM)
    assert facts is not None
    assert facts.listeners == 1, "who is in stays"
