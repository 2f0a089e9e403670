"""Rooms of nodes among those that guests may come to."""

from dataclasses import replace

import pytest

from p2phouse.channel import (
    CloseGuestRoom,
    CloseLink,
    LinkState,
    LinkStatus,
    NewGuestRoom,
    PortReady,
)
from p2phouse.guest import tokens
from p2phouse.guest.capacity import Crowding
from p2phouse.guest.facts import NodeRoom, SealedRoom, Voice
from p2phouse.guest.present import name_among_nodes
from p2phouse.guest.resources import VOICES_MAX
from p2phouse.guest.shards import NODES, To
from p2phouse.guest.terms import RoomTerms
from p2phouse.record.limits import NAME_CODE_POINTS_MAX
from p2phouse.vocabulary import Now
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
    relay.guests.drop(ROOM)
    relay.guests.carry(ROOM, TEA, 8)
    relay.join(f"/whep/{ROOM}")  # nobody has said that it is full since


SEED = bytes(range(32))
TOKEN = tokens.write(SEED)
ZOE = tokens.person_of(SEED, Now(0, 1_800_000_000))


def test_whom_the_room_names_speaks_by_the_token_as_a_member_of_its_own():
    relay = Relay()
    relay.guests.carry(ROOM, replace(TEA, voices=frozenset({ZOE})), 7)
    relay.join(f"/whip/{ROOM}/Zo%C3%A9", authorization=f"Bearer {TOKEN}")
    guest = relay.opened()
    assert guest.room == -guest.link
    assert relay.guests.voices() == {guest.link: Voice(ROOM, "Zoé", SEED)}
    assert TOKEN not in repr(relay.guests.voices())
    facts = relay.guests.room(ROOM)
    assert facts is not None
    assert facts.speakers == (), "it is on the stage of the room"
    relay.tell(relay.guests.hang_up(Now(relay.now, 0), guest.link))
    assert relay.guests.voices() == {}
    assert relay.guests.hang_up(Now(relay.now, 0), guest.link) == []


def test_nobody_speaks_among_nodes_whom_the_room_does_not_name():
    """Security: without a token, with none, with another's, and once it is taken back."""
    relay = Relay()
    relay.guests.carry(ROOM, replace(TEA, voices=frozenset({ZOE})), 7)
    other = tokens.write(bytes(32))
    for shown, status in (({}, 401), ({"authorization": "Bearer x"}, 401),
                          ({"authorization": f"Bearer {other}"}, 403)):  # fmt: skip
        assert relay.ask("POST", f"/whip/{ROOM}/ana", SPEAK, **shown)[0] == status
    relay.guests.carry(ROOM, TEA, 7)
    bearer = {"authorization": f"Bearer {TOKEN}"}
    assert relay.ask("POST", f"/whip/{ROOM}/ana", SPEAK, **bearer)[0] == 403
    assert relay.guests.voices() == {}


def test_one_token_is_one_voice_and_a_relay_has_few_of_them():
    relay = Relay()
    seeds = [bytes([number]) * 32 for number in range(VOICES_MAX + 1)]
    people = frozenset(tokens.person_of(seed, Now(0, 1_800_000_000)) for seed in seeds)
    relay.guests.carry(ROOM, replace(TEA, voices=people), 7)
    bearers = [f"Bearer {tokens.write(seed)}" for seed in seeds]
    for number, bearer in enumerate(bearers[:-1]):
        relay.join(f"/whip/{ROOM}/g{number}", authorization=bearer)
    path = f"/whip/{ROOM}/late"
    assert relay.ask("POST", path, SPEAK, authorization=bearers[-1])[0] == 503
    elsewhere = relay.ask("POST", path, SPEAK, "192.0.2.9", authorization=bearers[0])
    assert elsewhere[0] == 409
    relay.join(path, authorization=bearers[0])
    assert len(relay.guests.voices()) == VOICES_MAX
    assert "late" in {each.name for each in relay.guests.voices().values()}


def test_who_speaks_among_nodes_is_where_their_links_are_and_a_voice_once_it_has_come():
    relay = Relay()
    relay.says(PortReady(7_001, bytes(32)), shard=1)
    relay.guests.carry(ROOM, replace(TEA, voices=frozenset({ZOE})), 7)
    relay.join("/whip/tea/first")  # so that the other process has less to do
    path, bearer = f"/whip/{ROOM}/Zoe", f"Bearer {TOKEN}"
    place = relay.join(path, connects=False, authorization=bearer)
    assert relay.guests.shard_of(place) == NODES
    assert relay.guests.voices() == {}
    relay.says(LinkState(relay.opened().link, LinkStatus.CONNECTED, ""))
    assert len(relay.guests.voices()) == 1
    relay.ends(NODES)
    assert relay.guests.voices() == {}
    assert relay.ask("POST", path, SPEAK, authorization=bearer)[0] == 503


@pytest.mark.parametrize(
    ("name", "relay", "read"),
    [
        ("Zoé", "Radio Libre", "Zoé via Radio Libre"),
        ("Ana, host" + " " * 30 + ".", "Dev", "Ana, host via Dev"),
        ("Z" * 40, "Radio Libre", "Z" * 24 + " via Radio Libre"),
        ("Z" * 40, "R" * 40, "Z" * 16 + " via " + "R" * 19),
        ("Zoé", "R" * 40, "Zoé via " + "R" * 19),
    ],
)
def test_no_name_is_so_long_that_it_hides_where_a_guest_comes_from(name, relay, read):
    assert name_among_nodes(name, relay) == read
    assert len(read) <= NAME_CODE_POINTS_MAX


def test_whom_a_refused_guest_would_have_followed_goes_on_speaking():
    relay = Relay()
    ben_seed = bytes(32)
    ben = tokens.person_of(ben_seed, Now(0, 1_800_000_000))
    relay.guests.carry(ROOM, replace(TEA, voices=frozenset({ZOE, ben})), 7)
    relay.join(f"/whip/{ROOM}/Zoe", authorization=f"Bearer {TOKEN}")
    there, ben_token = relay.guests.voices(), f"Bearer {tokens.write(ben_seed)}"
    relay.join(f"/whip/{ROOM}/Ben", "192.0.2.9", authorization=ben_token)
    assert relay.ask("POST", f"/whip/{ROOM}/Zoe", SPEAK, authorization=ben_token)[0] == 409
    assert there.items() <= relay.guests.voices().items()


@pytest.mark.parametrize("text", ["", "x", TOKEN[:-1], TOKEN + "A", TOKEN[:-1] + "!", "é" * 43])
def test_what_is_no_token_is_none(text: str):
    assert tokens.read(text) is None


def test_a_token_is_read_as_it_was_written():
    assert tokens.read(TOKEN) == SEED
