"""Every limit of record/limits.py holds at its value and breaks one past it."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from p2phouse.errors import P2PHouseError
from p2phouse.hall.card import make_genesis
from p2phouse.identity.keys import make_identity
from p2phouse.net import hello, room_links
from p2phouse.net.faults import Faults
from p2phouse.net.wire import FrameTooLong, Wire
from p2phouse.record import envelope, limits
from p2phouse.record.cbor import Value
from p2phouse.record.types import Access, Genesis, Identity, IdentityDevice, Record
from p2phouse.room import frames
from p2phouse.vocabulary import DeviceKey, Now, RoomId
from tests.record import samples
from tests.record.forgery import enclose, message_of
from tests.record.samples import (
    AUDIT,
    BID,
    CARD,
    CLAIM,
    ENTRY,
    EPOCH,
    GENESIS,
    HELLO,
    IDENTITY,
    OFFER,
    SPEAK,
    UNIX,
    key_of,
    signed,
)

NOW = Now(0.0, UNIX)
ROOT = Path(__file__).parents[2]


def read(record: Record) -> None:
    """Takes the record as from a stranger, who signs whatever he likes."""
    data = enclose(record, key_of(record).sign(message_of(record)).signature)
    assert envelope.read(data, type(record)).record == record


def in_time(record: Record) -> None:
    envelope.check_time(record, UNIX)


def open_room(title: str) -> None:
    me = make_identity(now=NOW, entropy=bytes)
    make_genesis(me, title=title, access=Access.OPEN, now=NOW, entropy=bytes)


def greet(entries: int) -> None:
    """A greeting whose log has so many entries."""
    history: list[Value] = [samples.SIGNED_GENESIS.data, *[b""] * (entries - 1)]
    join, identity = signed(samples.JOIN).data, signed(IDENTITY).data
    frames.read_greeting(
        [0, join, identity, [], [], history, []],
        sender=DeviceKey(samples.DEV),
        room=RoomId(samples.ROOM),
    )


def devices(count: int) -> tuple[IdentityDevice, ...]:
    (first,) = IDENTITY.devices
    return tuple(replace(first, dev=bytes([n]) * 32) for n in range(count))


def living(record: Identity | Genesis, life_s: int) -> Record:
    return replace(record, created=UNIX, exp=UNIX + life_s)


Case = tuple[str, Callable[[int], object], int]
CASES: list[Case] = [
    ("CLOCK_SKEW_S_MAX", lambda s: in_time(replace(OFFER, ts=UNIX + s)), 120),
    ("CLOCK_SKEW_S_MAX", lambda s: in_time(replace(OFFER, ts=UNIX - s)), 120),
    ("ROOM_LIFE_S_MAX", lambda s: in_time(living(GENESIS, s)), 43_200),
    ("IDENTITY_LIFE_S", lambda s: in_time(living(IDENTITY, s)), 90 * 86_400),
    ("BEAT_LIFE_S", lambda s: in_time(replace(samples.BEAT, ts=UNIX - s)), 60),
    ("CLOCK_SKEW_S_MAX", lambda s: in_time(replace(samples.BEAT, ts=UNIX + s)), 120),
    ("ENTRIES_PER_ROOM_MAX", lambda n: read(replace(samples.BEAT, count=n)), 2_048),
    ("CARD_TTL_S_MAX", lambda s: read(replace(CARD, ttl=s)), 600),
    ("CARD_TTL_S_MAX", lambda s: in_time(replace(CARD, ttl=s)), 600),
    ("TITLE_CODE_POINTS_MAX", lambda n: read(replace(GENESIS, title="é" * n)), 80),
    ("TITLE_BYTES_MAX", lambda n: open_room("é" * (n // 2) + "e" * (n % 2)), 80),
    ("NAME_CODE_POINTS_MAX", lambda n: read(replace(IDENTITY, name="中" * n)), 40),
    ("NAME_CODE_POINTS_MAX", lambda n: make_identity(now=NOW, entropy=bytes, name="中" * n), 40),
    ("DEVICES_MAX", lambda n: read(replace(IDENTITY, devices=devices(n))), 8),
    ("SPEAKERS_MAX", lambda n: read(replace(GENESIS, maxspk=n)), 16),
    ("SPEAKERS_MAX", lambda n: read(replace(SPEAK, slot=n - 1)), 16),
    ("ADDRS_MAX", lambda n: read(replace(HELLO, addrs=(samples.LAN_ADDRESS,) * n)), 4),
    ("ADDR_BYTES_MAX", lambda n: read(replace(CARD, at=(bytes(n),))), 64),
    ("CARD_ADDRS_MAX", lambda n: read(replace(CARD, at=(samples.LAN_ADDRESS,) * n)), 4),
    ("ENTRIES_PER_ROOM_MAX", greet, 2_048),
    ("OVER_MAX", lambda n: read(replace(ENTRY, over=(bytes(32),) * n)), 8),
    ("TITLE_CODE_POINTS_MAX", lambda n: read(replace(ENTRY, val="é" * n)), 80),
    ("EPOCH_NUMBER_MAX", lambda n: read(replace(EPOCH, n=n)), 65_535),
    ("EPOCH_REMOVALS_MAX", lambda n: read(replace(EPOCH, rm=(bytes(32),) * n)), 256),
    ("EPOCH_BOXES_MAX", lambda n: read(replace(EPOCH, boxes=EPOCH.boxes * n)), 64),
    ("CLAIM_EPOCH_MAX", lambda n: read(replace(CLAIM, epoch=n)), 65_535),
    ("COST_MAX", lambda n: read(replace(CLAIM, cost=n)), 65_535),
    ("BID_ROWS_MAX", lambda n: read(replace(BID, rows=BID.rows * n)), 8),
    ("CHAT_CODE_POINTS_MAX", lambda n: read(replace(samples.CHAT, text="x" * n)), 500),
    ("REPORT_CODE_POINTS_MAX", lambda n: read(replace(samples.REPORT, text="中" * n)), 500),
    ("EVIDENCE_MAX", lambda n: read(replace(samples.REPORT, evidence=(bytes(32),) * n)), 16),
    ("CANDIDATES_MAX", lambda n: read(replace(OFFER, cands=("candidate",) * n)), 8),
    ("AUDIT_FRAMES", lambda n: read(replace(AUDIT, tags=bytes(8 * n))), 17),
    ("AUDIT_FRAMES", lambda n: read(replace(AUDIT, parity=bytes(8 * n))), 17),
    ("AUDIT_TAG_BYTES", lambda n: read(replace(AUDIT, tags=bytes(17 * n))), 8),
    ("AUDIT_REACH", lambda n: read(replace(AUDIT, run=n)), 6),
    ("POLICY_CODE_POINTS_MAX", lambda n: read(replace(samples.POLICY, rules="中" * n)), 160),
    ("POLICY_LIFE_S_MAX", lambda s: in_time(replace(samples.POLICY, exp=UNIX + s)), 90 * 86_400),
    ("OTHER_RELAYS_MAX", lambda n: read(replace(samples.POLICY, others=("a:1",) * n)), 3),
    (
        "RELAY_GRANT_LIFE_S_MAX",
        lambda s: in_time(replace(samples.RELAY_GRANT, exp=UNIX + s)),
        366 * 86_400,
    ),
    ("CANDIDATE_CHARS_MAX", lambda n: read(replace(OFFER, cands=("x" * n,))), 160),
]

ELSEWHERE = {
    "GUESTS_TOLD_MAX": "tests/room/test_stage_view.py"
    "::test_only_a_relay_of_the_room_is_believed_how_many_guests_listen",
    "IDENTITY_RENEW_S": "tests/identity/test_keys.py::test_a_record_is_renewed_in_its_last_30_days",
    "MESH_MEMBERS_MAX": "tests/sim/test_mesh.py::test_a_ninth_is_told_that_the_room_is_full",
    "ROOM_MEMBERS_MAX": "tests/room/test_crowd.py"
    "::test_32_people_are_linked_with_one_another_and_no_more",
    "LISTENERS_MAX": "tests/room/test_news.py::test_a_hub_takes_in_512_listeners_and_no_more",
    "PEOPLE_MAX": "tests/room/test_news.py::test_news_of_a_million_people_and_no_more_are_read",
    "NEWS_BYTES_MAX": "tests/room/test_news.py::test_what_does_not_fit_into_4_kb_waits_its_turn",
    "ROOMS_CACHED_MAX": "tests/hall/test_directory.py::test_2000_rooms_are_kept_and_no_more",
    "ENTRIES_PER_SEAT_MAX": "tests/room/test_log.py::test_a_seat_holds_512_entries_and_no_more",
    "ENTRIES_ASIDE_MAX": "tests/room/test_log.py::test_256_entries_wait_aside_and_no_more",
    "GRANTS_PER_ROOM_MAX": "tests/room/test_rules.py::test_r8_64_grants_count_and_no_more",
    "EPOCHS_OF_ONE_MAX": "tests/room/test_epochs.py::test_8_epochs_of_one_signer_are_known",
    "DHT_CARDS_MAX": "tests/hall/test_shelf.py::test_2000_cards_are_kept_and_no_more",
    "DHT_MESSAGE_BYTES_MAX": (
        "tests/net/test_kad.py::test_a_message_has_8192_bytes_and_a_key_80_and_no_more"
    ),
    "DHT_KEY_BYTES_MAX": (
        "tests/net/test_kad.py::test_a_message_has_8192_bytes_and_a_key_80_and_no_more"
    ),
    "TOPIC_CODE_POINTS_MAX": "tests/room/test_soft.py::test_a_topic_has_64_code_points_and_no_more",
    "REACTION_CODE_POINTS_MAX": (
        "tests/room/test_soft.py::test_a_reaction_has_8_code_points_and_no_more"
    ),
    "HANDS_MAX": "tests/room/test_soft.py::test_the_queue_has_20_places_and_no_more",
    "SOFT_TTL_S": (
        "tests/room/test_soft.py::test_a_hand_lasts_for_15_s_after_it_was_last_told_and_no_longer"
    ),
    "CHAT_TEXT_BYTES_MAX": "tests/room/test_chat_exchange.py"
    "::test_a_message_of_720_bytes_is_sent_and_a_longer_one_is_not",
    "PIN_CODE_POINTS_MAX": "tests/room/test_chat.py::test_a_pin_has_200_characters_and_no_more",
    "CHAT_KEPT_MAX": "tests/room/test_chat.py"
    "::test_500_messages_are_kept_and_no_more_and_100_of_one_person",
    "CHAT_KEPT_PER_AUTHOR_MAX": "tests/room/test_chat.py"
    "::test_500_messages_are_kept_and_no_more_and_100_of_one_person",
    "MODS_KEPT_MAX": "tests/room/test_chat.py"
    "::test_200_messages_of_the_moderators_channel_are_kept_and_no_more",
    "PINS_KEPT_MAX": "tests/room/test_chat.py"
    "::test_60_pins_are_kept_and_no_more_and_20_of_one_person",
    "PINS_SHOWN_MAX": "tests/room/test_chat.py"
    "::test_the_last_three_pins_of_those_who_run_the_room_are_shown",
    "TAKEN_BACK_MAX": "tests/room/test_chat.py"
    "::test_of_one_message_four_deletes_are_kept_and_its_author_s_is_among_them",
    "CHAT_ASIDE_MAX": "tests/room/test_chat.py"
    "::test_256_deletes_wait_and_no_more_and_32_of_one_person",
    "CHAT_BURST_MAX": "tests/room/test_chat.py"
    "::test_a_person_s_sixth_message_within_a_second_is_not_shown_and_then_one_a_second_is",
    "SLOW_MODE_S_MAX": "tests/room/test_rules.py::test_r10_the_strictest_chat_holds",
    "REPORT_BYTES_MAX": "tests/room/test_report.py::test_a_bundle_has_15_000_bytes_at_most",
    "REPORTS_KEPT_MAX": "tests/room/test_report.py::test_50_reports_are_kept_and_no_more",
    "MET_MAX": "tests/room/company/test_greeting.py"
    "::test_a_room_in_which_a_crowd_comes_and_goes_forgets_who_went_first",
    "LOBBY_WAITING_MAX": "tests/room/door/test_lobby.py::test_sixteen_wait_at_a_door_and_no_more",
    "LOBBY_SHOWING_MAX": "tests/room/door/test_lobby.py::test_eight_more_may_show_an_invite",
    "LOBBY_REFUSED_MAX": "tests/room/door/test_lobby.py::test_256_who_were_refused_are_remembered",
    "LOBBY_S_MAX": "tests/room/door/test_lobby.py::test_after_ten_minutes_the_wait_is_over",
    "ADMITTED_BY_SEAT_MAX": "tests/room/door/test_admission.py::test_policy_leaves_half_of_a_seat",
    "INVITES_KEPT_MAX": "tests/room/door/test_invites.py::test_256_single_use_invites_are_kept",
    "EPOCH_RATCHETS_MAX": "tests/room/test_epochs.py::test_1024_ratchets_of_a_line_and_no_more",
    "FOLLOWING_MAX": "tests/people/test_following.py::test_1024_people_are_followed_and_no_more",
    "RELAY_ASK_BYTES_MAX": "tests/net/test_relay_asks.py"
    "::test_what_is_asked_of_a_relay_has_1536_bytes_and_no_more",
    "RELAY_REPLY_BYTES_MAX": "tests/net/test_relay_asks.py"
    "::test_what_a_relay_replies_has_3600_bytes_and_no_more",
    "HELLO_BYTES": "tests/record/test_limits.py::test_a_hello_request_has_512_bytes_and_none_else",
    "ROOM_FRAME_BYTES_MAX": "tests/record/test_limits.py::test_a_room_frame_has_16_kib_at_most",
}


@pytest.mark.parametrize(("name", "take", "limit"), CASES, ids=[case[0] for case in CASES])
def test_a_limit_holds_at_its_value_and_breaks_one_past_it(name, take, limit):
    assert getattr(limits, name) == limit
    take(limit)
    with pytest.raises(P2PHouseError):
        take(limit + 1)


@pytest.mark.parametrize(
    "record",
    [
        replace(GENESIS, maxspk=0),
        replace(GENESIS, title="two\nlines"),
        replace(GENESIS, title="ab\u202ecd"),
        replace(GENESIS, title="Cafe\u0301"),
        replace(GENESIS, exposure="both"),  # type: ignore[arg-type]  # as a stranger may
        replace(GENESIS, langs=("x" * 36,)),
        replace(GENESIS, langs=("x",) * 5),
        replace(GENESIS, relay=(b"a",) * 4),
        replace(GENESIS, nonce=bytes(15)),
        replace(GENESIS, idrec=bytes(31)),
        replace(GENESIS, created=2**40 + 1),
        replace(IDENTITY, devices=()),
        replace(IDENTITY, name="Zoe\u0308"),
        replace(IDENTITY, seq=2**53 + 1),
        replace(IDENTITY, relays=(b"a",) * 5),
        replace(CARD, genesis=b""),
        replace(CARD, grant=bytes(1_025)),
        replace(CARD, at=(b"",)),
        replace(CARD, nspk=10_000_001),
        replace(ENTRY, sub=bytes(31)),
        replace(ENTRY, pin=bytes(33)),
        replace(ENTRY, act=8),  # type: ignore[arg-type]  # as a stranger may
        replace(OFFER, ufrag="x" * 65),
        replace(OFFER, pwd="x" * 129),
        replace(OFFER, fp=bytes(33)),
        replace(OFFER, answer=bytes(17)),
        replace(SPEAK, sid=bytes(17)),
        replace(samples.CHAT, kind=256),
        replace(samples.CHAT, text="two\nlines"),
        replace(samples.CHAT, text="ab\u202ecd"),
        replace(samples.CHAT, ref=bytes(31)),
        replace(samples.REPORT, about=bytes(31)),
        replace(samples.REPORT, text="two\nlines"),
        replace(samples.SOFT, kind=256),
        replace(samples.SOFT, val="x" * 65),
        replace(samples.BEAT, digest=bytes(31)),
        replace(samples.BEAT, en=2**32),
        replace(GENESIS, continues=bytes(31)),
        replace(AUDIT, block=2**28),
        replace(AUDIT, tags=bytes(135)),
        replace(HELLO, nonce=bytes(63)),
        replace(HELLO, versions=(0, 65_536)),
        replace(samples.JOIN, beat=bytes(31)),
        replace(EPOCH, parent=bytes(31)),
        replace(EPOCH, rm=(bytes(31),)),
        replace(EPOCH, commit=bytes(33)),
        replace(EPOCH, ratchet=1),  # type: ignore[arg-type]  # as a stranger may
        replace(EPOCH, boxes=(replace(EPOCH.boxes[0], sealed=bytes(79)),)),
        replace(CLAIM, epoch=0),
        replace(CLAIM, hub=bytes(31)),
        replace(CLAIM, standby=b""),
        replace(CLAIM, cost=-1),
        replace(BID, flags=256),
        replace(BID, version=65_536),
        replace(BID, uptime_min=2**32),
        replace(BID, cap=4_097),
        replace(BID, rows=(replace(BID.rows[0], dev=bytes(31)),)),
        replace(BID, rows=(replace(BID.rows[0], rtt_p50=65_536),)),
        replace(BID, rows=(replace(BID.rows[0], rtt_p90=65_536),)),
        replace(BID, rows=(replace(BID.rows[0], loss=1_001),)),
        replace(BID, rows=(replace(BID.rows[0], served=65_536),)),
        replace(samples.POLICY, admits=2),  # type: ignore[arg-type]  # as a stranger may
        replace(samples.POLICY, rooms=4_097),
        replace(samples.POLICY, rooms_each=-1),
        replace(samples.POLICY, listeners=4_097),
        replace(samples.POLICY, kbps=2**32),
        replace(samples.POLICY, others=("a" * 81,)),
        replace(samples.RELAY_GRANT, of=2),  # type: ignore[arg-type]  # as a stranger may
        replace(samples.RELAY_GRANT, subject=bytes(31)),
        replace(samples.RELAY_GRANT, relay=b""),
        replace(samples.RELAY_GRANT, listeners=4_097),
        replace(samples.RELAY_GRANT, kbps=2**32),
        replace(samples.INVITE, nonce=bytes(15)),
        replace(samples.INVITE, once=1),  # type: ignore[arg-type]  # as a stranger may
    ],
)
def test_a_field_past_what_its_type_says_is_refused(record):
    with pytest.raises(P2PHouseError):
        read(record)


@pytest.mark.parametrize("wrong", [511, 513, 0])
def test_a_hello_request_has_512_bytes_and_none_else(wrong):
    answerer = hello.HelloAnswerer(
        samples.DEVICE_KEY, addrs=lambda: [bytes(64)] * 5, clock=lambda: NOW, faults=Faults()
    )
    nonce, request = hello.request(bytes)
    assert len(request) == limits.HELLO_BYTES == 512
    longest = answerer.answer(request, "192.168.1.8")
    assert longest is not None
    assert len(longest) <= limits.HELLO_BYTES
    assert len(hello.check(longest, nonce).addrs) == 4
    assert answerer.answer(bytes(wrong), "192.168.1.8") is None


class MemoryStream:
    """As much of a stream as a Wire reads: what was written, a few bytes at a time."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    async def read(self, count: int) -> bytes:
        taken, self._data = self._data[: min(count, 999)], self._data[min(count, 999) :]
        return taken


async def test_a_room_frame_has_16_kib_at_most():
    size_max = room_links.FRAME_BYTES_MAX
    assert size_max == limits.ROOM_FRAME_BYTES_MAX == 16_384
    for size in (size_max, size_max + 1):
        stream = MemoryStream(size.to_bytes(4, "big") + bytes(size))
        wire = Wire(stream, DeviceKey(samples.DEV), near=True)
        if size > size_max:
            with pytest.raises(FrameTooLong):
                await wire.receive(size_max=size_max)
        else:
            assert await wire.receive(size_max=size_max) == bytes(size)


def test_a_limit_that_stands_twice_is_the_same_twice():
    assert hello.REQUEST_BYTES == hello.REPLY_BYTES_MAX == limits.HELLO_BYTES


def test_every_limit_is_tested_somewhere():
    names = {name for name in vars(limits) if name.isupper()}
    assert {name for name, _, _ in CASES} | set(ELSEWHERE) == names
    for place in ELSEWHERE.values():
        path, _, test = place.partition("::")
        assert f"def {test}(" in (ROOT / path).read_text(), place
