"""What WHIP and WHEP answer, and what media is told for it. RFC 9725 and draft-ietf-wish-whep."""

import random
from dataclasses import replace
from itertools import count

import pytest

from p2phouse.channel import (
    CloseGuestRoom,
    CloseLink,
    GuestRole,
    GuestSlots,
    LinkState,
    LinkStatus,
    Load,
    NewGuestRoom,
    OpenGuest,
    PortReady,
    RestartGuest,
    SendOn,
)
from p2phouse.guest.capacity import BUSY_PERMILLE
from p2phouse.guest.exchange import Request
from p2phouse.guest.facts import RoomFacts, Speaker
from p2phouse.guest.resources import (
    EMPTY_S_MAX,
    SPEAKERS_MAX,
    Guests,
)
from p2phouse.guest.shards import MIXER, To
from p2phouse.guest.terms import RoomTerms, Terms
from p2phouse.guest.waiting import WAIT_S_MAX
from p2phouse.vocabulary import LinkNumber, Now
from tests.guest.test_sdp import offer, section

ANYBODY = Terms(rooms=None, rooms_max=3, guests_max=20, waiting_max=4)
LISTEN = offer(section("0"), section("1"))
SPEAK = offer(section("0", direction="sendonly"))
FRAGMENT = b"a=ice-ufrag:abcd\r\na=ice-pwd:" + b"p" * 22 + b"\r\nm=audio 9 RTP/AVP 0\r\na=mid:0\r\n"


class Relay:
    """Guests with a media process that does what the test says; `told` is what it was told."""

    def __init__(self, terms: Terms = ANYBODY, *, ready: bool = True) -> None:
        self.guests = Guests(terms, random.Random(1).randbytes, count(1))
        self.guests.reached_at(("192.0.2.7",))
        self.told: list[object] = []
        self.told_by_shard: dict[int, list[object]] = {}
        self.now = 100.0
        if ready:
            self.says(PortReady(7_000, bytes(32)))

    def says(self, message, shard=0) -> None:
        self.tell(self.guests.heard(Now(self.now, 0), shard, message))

    def ends(self, shard=0) -> None:
        self.tell(self.guests.gone(Now(self.now, 0), shard))

    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.tell(self.guests.tick(Now(self.now, 0)))

    def tell(self, outputs: list[To]) -> None:
        self.told += [each.message for each in outputs]
        for each in outputs:
            self.told_by_shard.setdefault(each.shard, []).append(each.message)

    def ask(
        self, method, path, body=b"", source="198.51.100.7", kind="", **headers
    ) -> tuple[int, dict[str, str], str]:
        """A reply, with its headers by name."""
        kinds = {"POST": "application/sdp", "PATCH": "application/trickle-ice-sdpfrag"}
        given = {"content-type": kind or kinds.get(method, "")}
        given |= {name.replace("_", "-"): value for name, value in headers.items()}
        request = Request(method, path, given, body, source)
        reply, outputs = self.guests.request(Now(self.now, 0), request)
        self.tell(outputs)
        return reply.status, dict(reply.headers), reply.body.decode()

    def join(self, path="/whep/tea", source="198.51.100.7", connects=True, **headers) -> str:
        """The path of the new guest's resource."""
        body = SPEAK if path.startswith("/whip") else LISTEN
        status, told, text = self.ask("POST", path, body, source, **headers)
        assert status == 201, text
        if connects:
            self.says(LinkState(self.opened().link, LinkStatus.CONNECTED, ""))
        return told["location"]

    def opened(self) -> OpenGuest:
        return [each for each in self.told if isinstance(each, OpenGuest)][-1]


def test_a_listener_is_expected_by_media_as_the_answer_says():
    relay = Relay()
    status, headers, answer = relay.ask("POST", "/whep/tea", LISTEN)
    assert status == 201
    assert headers["content-type"] == "application/sdp"
    assert headers["location"].startswith("/guest/")
    assert headers["etag"][0] == headers["etag"][-1] == '"'
    room, guest = relay.told
    assert isinstance(room, NewGuestRoom)
    assert isinstance(guest, OpenGuest)
    assert guest.role is GuestRole.LISTENER
    assert guest.room == room.room
    assert guest.slots == room.slots[:2]
    assert f"a=ice-ufrag:{guest.ufrag}\r\na=ice-pwd:{guest.pwd}\r\n" in answer
    assert [f"a=ssrc:{each} " in answer for each in room.slots] == [True, True, False, False]
    assert (guest.remote_ufrag, guest.remote_pwd, guest.fp) == ("abcd", "p" * 22, b"\xab" * 32)


def test_a_speaker_brings_no_slots_and_is_named_to_those_who_come():
    relay = Relay()
    relay.join("/whip/tea/Zo%C3%A9")
    relay.join()
    assert [each.role for each in relay.told if isinstance(each, OpenGuest)] == [
        GuestRole.SPEAKER,
        GuestRole.LISTENER,
    ]
    assert relay.guests.room("tea") == RoomFacts("tea", (Speaker("Zoé", LinkNumber(1)),), 1)


def test_whose_voice_is_in_which_slot_is_known_as_media_tells_it():
    relay = Relay()
    relay.join("/whip/tea/ana")
    ben = relay.join("/whip/tea/ben")
    relay.says(GuestSlots(1, (LinkNumber(2), LinkNumber(0), LinkNumber(1), LinkNumber(0))))
    relay.says(GuestSlots(9, (LinkNumber(0),) * 4))  # a room that is gone
    assert relay.guests.rooms()[0].slots == (2, 0, 1, 0)
    relay.ask("DELETE", ben)
    assert [each.name for each in relay.guests.rooms()[0].speakers] == ["ana"]


def test_rooms_differ_and_one_room_is_one_for_all_in_it():
    relay = Relay()
    for room in ("tea", "tea", "song"):
        relay.join(f"/whep/{room}")
    made = [each for each in relay.told if isinstance(each, NewGuestRoom)]
    assert [each.room for each in made] == [1, 2]
    assert len({slot for each in made for slot in each.slots}) == 8


def test_who_leaves_is_closed_and_gone():
    relay = Relay()
    place = relay.join()
    assert relay.ask("DELETE", place)[0] == 200
    assert relay.told[-1] == CloseLink(LinkNumber(1))
    assert relay.ask("DELETE", place)[0] == 404


@pytest.mark.parametrize("status", [LinkStatus.FAILED, LinkStatus.LOST])
def test_whoever_media_loses_is_gone(status):
    relay = Relay()
    place = relay.join()
    relay.says(LinkState(LinkNumber(1), status, ""))
    assert relay.ask("DELETE", place)[0] == 404
    assert relay.guests.room("tea") == RoomFacts("tea", (), 0)


def test_who_never_comes_is_closed_after_a_while_and_who_came_is_not():
    relay = Relay()
    stays, comes_not = relay.join(), relay.join(connects=False)
    relay.wait(WAIT_S_MAX - 0.1)
    assert CloseLink(LinkNumber(2)) not in relay.told
    relay.wait(0.2)
    assert relay.told[-1] == CloseLink(LinkNumber(2))
    assert relay.ask("DELETE", comes_not)[0] == 404
    assert relay.ask("DELETE", stays)[0] == 200


def test_a_room_stays_for_a_minute_after_the_last_has_left():
    relay = Relay()
    relay.ask("DELETE", relay.join())
    relay.wait(EMPTY_S_MAX - 1)
    place = relay.join()
    relay.wait(EMPTY_S_MAX)
    assert not any(isinstance(each, CloseGuestRoom) for each in relay.told)
    relay.ask("DELETE", place)
    relay.wait(EMPTY_S_MAX)
    assert relay.told[-1] == CloseGuestRoom(1)
    assert relay.guests.rooms() == []


def test_when_media_ends_all_are_gone_and_nobody_is_let_in_before_the_next():
    relay = Relay()
    place = relay.join(connects=False)
    relay.ends()
    assert relay.ask("DELETE", place)[0] == 404
    status, headers, _ = relay.ask("POST", "/whep/tea", LISTEN)
    assert (status, headers["retry-after"]) == (503, "1")
    relay.says(PortReady(7_001, bytes(32)))
    relay.join()
    assert relay.opened().link == 2  # a number is never used twice
    relay.wait(WAIT_S_MAX + 1)


# ── what HTTP asks ───────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("method", "path", "body", "kind", "status"),
    [
        ("POST", "/whep/tea", LISTEN, "text/plain", 415),
        ("POST", "/whep/tea", LISTEN, "application/sdp; charset=utf-8", 201),
        ("POST", "/whep/tea", b"rubbish", "", 400),
        ("POST", "/whep/tea", SPEAK, "", 406),
        ("POST", "/whip/tea/ana", LISTEN, "", 406),
        ("POST", "/whip/tea/", SPEAK, "", 400),
        ("POST", "/whip/tea/%20a", SPEAK, "", 400),
        ("POST", "/whip/tea/a%0Ab", SPEAK, "", 400),
        ("POST", "/whip/tea/%E2%80%AEa", SPEAK, "", 400),
        ("POST", "/whip/tea/" + "a" * 41, SPEAK, "", 400),
        ("POST", "/whip/tea/" + "a" * 40, SPEAK, "", 201),
        ("POST", "/whip/tea", SPEAK, "", 404),
        ("POST", "/whep/tea/ana", LISTEN, "", 404),
        ("POST", "/whep/", LISTEN, "", 404),
        ("POST", "/whep/" + "r" * 65, LISTEN, "", 404),
        ("POST", "/whep/..", LISTEN, "", 404),
        ("POST", "/whep/" + "a2" * 26, LISTEN, "", 404),  # of nodes, and not carried here
        ("POST", "/guest/nobody", LISTEN, "", 404),
        ("GET", "/whep/tea", b"", "", 405),
        ("DELETE", "/whep/tea", b"", "", 405),
        ("PATCH", "/whip/tea/ana", b"", "", 405),
        ("OPTIONS", "/whep/tea", b"", "", 204),
        ("OPTIONS", "/whip/tea/ana", b"", "", 204),
        ("OPTIONS", "/guest/nobody", b"", "", 204),
    ],
)
def test_an_endpoint_answers_as_the_rfc_asks(method, path, body, kind, status):
    told = Relay().ask(method, path, body, kind=kind)
    assert told[0] == status, told
    assert told[1]["access-control-allow-origin"] == "*"
    if status == 405:
        assert told[1]["allow"] == "POST, OPTIONS"
    if status in (204, 415):
        assert told[1]["accept-post"] == "application/sdp"


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        ({}, FRAGMENT, 428),
        ({"if_match": '"other"'}, FRAGMENT, 412),
        ({"if_match": "ETAG"}, FRAGMENT, 204),
        ({"if_match": '"x", ETAG'}, FRAGMENT, 204),
        ({"if_match": "ETAG"}, b"a=end-of-candidates\r\n", 204),
        ({"if_match": "*"}, FRAGMENT, 422),
        ({"if_match": "*"}, FRAGMENT.replace(b"abcd", b"efgh"), 200),
        ({"if_match": "ETAG"}, FRAGMENT.replace(b"abcd", b"efgh"), 200),
        ({"if_match": "*"}, b"a=ice-ufrag:efgh\r\n", 400),
        ({"if_match": "*"}, FRAGMENT + b"m=audio 9 RTP/AVP 0\r\na=ice-ufrag:efgh\r\n", 400),
        ({"if_match": "ETAG"}, b"rubbish", 400),
        ({"if_match": "ETAG", "kind": "application/sdp"}, FRAGMENT, 415),
    ],
)
def test_candidates_are_taken_and_restarts_are_not(headers, body, status):
    relay = Relay()
    _, told, _ = relay.ask("POST", "/whep/tea", LISTEN)
    given = {name: value.replace("ETAG", told["etag"]) for name, value in headers.items()}
    assert relay.ask("PATCH", told["location"], body, **given)[0] == status
    assert relay.ask("GET", told["location"])[1]["allow"] == "PATCH, DELETE, OPTIONS"
    assert relay.ask("DELETE", told["location"])[0] == 200


def test_a_guest_that_looks_for_another_way_is_told_our_new_names_and_so_is_media():
    relay = Relay()
    _, before, _ = relay.ask("POST", "/whep/tea", LISTEN)
    guest = relay.opened()
    wanted = (
        b"a=group:BUNDLE 0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\n"
        b"a=ice-ufrag:efgh\r\na=ice-pwd:anotherpasswordofthem22\r\n"
    )
    status, after, text = relay.ask("PATCH", before["location"], wanted, if_match="*")
    restart = relay.told[-1]
    assert isinstance(restart, RestartGuest)
    assert status == 200
    assert after["content-type"] == "application/trickle-ice-sdpfrag"
    assert after["etag"] != before["etag"]
    assert restart.link == guest.link
    assert (restart.remote_ufrag, restart.remote_pwd) == ("efgh", "anotherpasswordofthem22")
    assert (restart.ufrag, restart.pwd) != (guest.ufrag, guest.pwd)
    lines = text.split("\r\n")
    assert f"a=ice-ufrag:{restart.ufrag}" in lines
    assert f"a=ice-pwd:{restart.pwd}" in lines
    assert lines[:4] == [
        *("a=ice-lite", "a=group:BUNDLE 0", "m=audio 9 UDP/TLS/RTP/SAVPF 111", "a=mid:0"),
    ]
    assert "pwd" not in repr(restart)
    old, new = {"if_match": before["etag"]}, {"if_match": after["etag"]}
    candidates = b"a=ice-ufrag:efgh\r\na=end-of-candidates\r\n"
    assert relay.ask("PATCH", before["location"], candidates, **old)[0] == 412
    assert relay.ask("PATCH", before["location"], candidates, **new)[0] == 204


def test_servers_that_help_a_browser_are_named():
    relay = Relay(replace(ANYBODY, ice_servers=("stun:stun.example.org:3478",)))
    headers = relay.ask("POST", "/whep/tea", LISTEN)[1]
    assert headers["link"] == '<stun:stun.example.org:3478>; rel="ice-server"'


# ── who is let in ────────────────────────────────────────────────────────────────────────────

CLOSED = replace(ANYBODY, rooms={"tea": RoomTerms(speak="s3cret", listen=None)})


def test_a_room_asks_for_its_token():
    relay = Relay(CLOSED)
    status, headers, _ = relay.ask("POST", "/whip/tea/ana", SPEAK)
    assert (status, headers["www-authenticate"]) == (401, "Bearer")
    for given in ("Bearer other", "Basic s3cret", "s3cret", "Bearer"):
        assert relay.ask("POST", "/whip/tea/ana", SPEAK, authorization=given)[0] == 401
    place = relay.join("/whip/tea/ana", authorization="Bearer s3cret")
    relay.join("/whep/tea")
    assert relay.ask("DELETE", place)[0] == 401
    assert relay.ask("DELETE", place, authorization="bearer s3cret")[0] == 200
    assert "s3cret" not in repr(CLOSED)


def test_only_rooms_of_the_policy_exist_where_it_names_them():
    relay = Relay(CLOSED)
    assert relay.ask("POST", "/whep/song", LISTEN)[0] == 404
    assert relay.guests.room("song") is None
    assert relay.guests.room("tea") is not None


def test_a_name_is_one_person_s_but_who_comes_back_from_there_takes_it_over():
    relay = Relay()
    first = relay.join("/whip/tea/ana")
    assert relay.ask("POST", "/whip/tea/ana", SPEAK, "203.0.113.9")[0] == 409
    relay.join("/whip/tea/ana")
    assert CloseLink(LinkNumber(1)) in relay.told
    assert relay.ask("DELETE", first)[0] == 404
    assert relay.guests.room("tea") == RoomFacts("tea", (Speaker("ana", LinkNumber(2)),), 0)


def refused(relay: Relay, path="/whep/tea", body=LISTEN, source="198.51.100.7") -> str:
    status, headers, _ = relay.ask("POST", path, body, source)
    assert status == 503
    return headers["retry-after"]


def test_a_stage_a_relay_and_its_rooms_can_be_full():
    relay = Relay(replace(ANYBODY, guests_max=SPEAKERS_MAX + 2, rooms_max=2))
    for number in range(SPEAKERS_MAX):
        relay.join(f"/whip/tea/{number}")
    assert refused(relay, "/whip/tea/more", SPEAK)
    relay.join("/whep/song")
    assert refused(relay, "/whep/third")
    relay.join("/whep/tea")
    assert refused(relay)
    assert relay.guests.refused == 3


def test_a_busy_relay_and_one_that_closes_take_nobody_in_and_keep_whom_they_have():
    relay = Relay()
    place = relay.join()
    relay.says(Load(BUSY_PERMILLE + 1))
    assert refused(relay)
    relay.says(Load(BUSY_PERMILLE))
    relay.join()
    relay.guests.capacity.draining = True
    assert int(refused(relay)) >= 60
    assert relay.ask("DELETE", place)[0] == 200


OTHERS = ("https://b.example", "https://c.example")
AT_OTHERS = replace(
    ANYBODY, rooms={"tea": RoomTerms(also_at=OTHERS), "song": RoomTerms()}, guests_max=10
)


def sent_to(relay: Relay, path="/whep/tea", query="") -> str:
    """Where a guest is sent; empty if he is let in."""
    kind = {"content-type": "application/sdp"}
    asked = Request("POST", path, kind, LISTEN, "198.51.100.7", query)
    reply, _ = relay.guests.request(Now(relay.now, 0), asked)
    assert reply.status in (201, 307)
    return dict(reply.headers)["location"] if reply.status == 307 else ""


def test_at_nine_tenths_whoever_is_new_is_sent_where_the_room_is_as_well():
    relay = Relay(AT_OTHERS)
    first = relay.join()
    for _ in range(8):
        relay.join()
    assert sent_to(relay) == "https://b.example/whep/tea?sent-on"
    assert sent_to(relay) == "https://c.example/whep/tea?sent-on", "each in turn"
    assert relay.guests.capacity.sent_on == 2
    assert relay.ask("PATCH", first, FRAGMENT, if_match="*")[0] == 422, "who is in stays"
    assert sent_to(relay, query="a=b") == "https://b.example/whep/tea?a=b&sent-on"
    assert sent_to(relay, query="a=b&sent-on") == "", "who was sent here has the last tenth"
    assert refused(relay, "/whep/song"), "the room is nowhere else"
    relay.ask("DELETE", first)
    assert sent_to(relay).startswith("https://c.example"), "nine of ten again"


def test_the_load_sends_on_before_it_refuses_and_closing_sends_on_too():
    relay = Relay(AT_OTHERS)
    relay.says(Load(BUSY_PERMILLE * 9 // 10 - 1))
    assert sent_to(relay) == ""
    relay.says(Load(BUSY_PERMILLE * 9 // 10))
    assert sent_to(relay)
    assert sent_to(relay, "/whep/song") == ""
    relay.says(Load(0))
    relay.guests.capacity.draining = True
    assert sent_to(relay)


def test_a_month_s_traffic_sends_on_before_it_refuses():
    relay = Relay(AT_OTHERS)
    place = relay.join()
    relay.guests.capacity.month_permille = 899
    assert sent_to(relay) == ""
    relay.guests.capacity.month_permille = 900
    assert sent_to(relay)
    assert sent_to(relay, "/whep/song") == ""
    relay.guests.capacity.month_permille = 1_000
    assert sent_to(relay)
    assert int(refused(relay, "/whep/song")) >= 600
    assert relay.ask("DELETE", place)[0] == 200, "who is in stays until he leaves"


def test_a_network_of_which_nobody_comes_holds_no_more_places_than_it_may():
    relay = Relay()
    for last in range(ANYBODY.waiting_max):
        relay.join(source=f"198.51.100.{last}", connects=False)
    assert refused(relay, source="198.51.100.99")
    relay.join(source="198.51.101.1", connects=False)
    relay.says(LinkState(LinkNumber(1), LinkStatus.CONNECTED, ""))
    relay.join(source="198.51.100.99", connects=False)
    relay.wait(WAIT_S_MAX + 1)
    relay.join(source="198.51.100.99", connects=False)


def test_a_school_is_no_flood():
    relay = Relay(replace(ANYBODY, guests_max=200))
    for _ in range(100):
        relay.join()


def test_an_ipv6_household_counts_as_one_network():
    relay = Relay()
    for last in range(ANYBODY.waiting_max):
        relay.join(source=f"2001:db8:1:{last}::5", connects=False)
    assert refused(relay, source="2001:db8:1:ffff::1")
    relay.join(source="2001:db8:2::1", connects=False)


def test_who_shows_a_token_is_not_counted_among_strangers():
    rooms = {"tea": RoomTerms(listen="t"), "open": RoomTerms()}
    relay = Relay(replace(ANYBODY, rooms=rooms))
    for _ in range(ANYBODY.waiting_max + 2):
        relay.join(connects=False, authorization="Bearer t")
    for _ in range(ANYBODY.waiting_max):
        relay.join("/whep/open", connects=False)
    assert relay.ask("POST", "/whep/open", LISTEN)[0] == 503
    relay.join(connects=False, authorization="Bearer t")  # strangers do not keep it out


def test_a_room_that_is_denied_is_ended_and_whoever_comes_reads_why():
    relay = Relay()
    place, other = relay.join("/whip/tea/ana"), relay.join("/whep/song")
    relay.tell(relay.guests.deny({"tea": "a notice of 3 May", "x": "y"}))
    assert relay.told[-2:] == [CloseLink(LinkNumber(1)), CloseGuestRoom(1)]
    status, _, text = relay.ask("POST", "/whep/tea", LISTEN)
    assert (status, "a notice of 3 May" in text) == (403, True)
    assert relay.guests.room("tea") is None
    assert relay.ask("DELETE", place)[0] == 404
    assert relay.ask("DELETE", other)[0] == 200
    relay.guests.deny({})
    relay.join("/whep/tea")
    relay.wait(EMPTY_S_MAX)


def test_no_word_of_a_guest_can_be_read_in_what_is_logged():
    relay = Relay()
    relay.join()
    assert relay.opened().pwd not in repr(relay.opened())
    assert relay.opened().remote_pwd not in repr(relay.opened())


def test_books_balance_whatever_is_asked_in_whatever_order():
    """Nobody stays behind in any table: at the end all is as at the beginning."""
    for seed in range(30):
        rng = random.Random(seed)
        relay = Relay(replace(ANYBODY, waiting_max=3))
        places = ["/guest/none"]
        for _ in range(120):
            match rng.randrange(6):
                case 0:
                    path = rng.choice(["/whep/tea", "/whep/song", "/whip/tea/a", "/whip/song/b"])
                    body = SPEAK if "whip" in path else LISTEN
                    source = f"192.0.{rng.randrange(3)}.{rng.randrange(3)}"
                    places.append(relay.ask("POST", path, body, source)[1].get("location", "/"))
                case 1:
                    relay.ask("DELETE", rng.choice(places))
                case 2 | 3:
                    link = LinkNumber(1 + rng.randrange(40))
                    relay.says(LinkState(link, rng.choice(list(LinkStatus)), ""))
                case 4:
                    relay.wait(rng.random() * 10)
                case 5 if rng.random() < 0.1:
                    relay.ends()
                    relay.says(PortReady(7_000, bytes(32)))
        for place in places:
            relay.ask("DELETE", place)
        relay.wait(EMPTY_S_MAX)
        assert relay.guests.rooms() == []
        assert relay.guests.waiting == 0
        for _ in range(3):
            relay.join(source="192.0.0.1", connects=False)


# ── who hears a room's one mix ───────────────────────────────────────────────────────────────


def test_while_somebody_hears_the_mix_voices_go_on_to_the_mixer():
    relay = Relay()
    relay.join("/whip/tea/ana")
    room, outputs = relay.guests.tune_in("tea")
    slots = next(each.slots for each in relay.told if isinstance(each, NewGuestRoom))
    assert set(outputs) == {To(MIXER, NewGuestRoom(room, slots)), To(0, SendOn(room, (MIXER,)))}
    assert relay.guests.tune_in("tea") == (room, [])
    assert relay.guests.count == 3
    now = Now(relay.now, 0)
    assert relay.guests.tune_out(now, room) == []
    told = relay.guests.tune_out(now, room)
    assert set(told) == {To(MIXER, CloseGuestRoom(room)), To(0, SendOn(room, ()))}
    assert relay.guests.count == 1


def test_a_listener_to_the_mix_takes_a_place_and_keeps_the_room():
    relay = Relay(replace(ANYBODY, guests_max=1))
    room, _ = relay.guests.tune_in("tea")
    assert relay.ask("POST", "/whep/tea", LISTEN)[0] == 503
    relay.now += 2 * EMPTY_S_MAX
    relay.guests.tick(Now(relay.now, 0))
    assert [each.listeners for each in relay.guests.rooms()] == [1]
    relay.guests.tune_out(Now(relay.now, 0), room)
    relay.now += EMPTY_S_MAX
    relay.guests.tick(Now(relay.now, 0))
    assert relay.guests.rooms() == []
    assert relay.guests.tune_out(Now(relay.now, 0), room) == [], "the room is gone already"
