"""Who follows a room is told all of it once and then each change, however slow they are."""

import json
from dataclasses import replace
from typing import Any

import pytest
import trio

from p2phouse.guest import following
from p2phouse.guest.exchange import Stream
from p2phouse.guest.facts import NodeRoom, RoomFacts, Said
from p2phouse.guest.following import BEAT_S, FOLLOWERS_MAX, LOOK_S, OF_ONE_SOURCE_MAX, Following
from p2phouse.guest.telling import Told, changes, whole
from p2phouse.vocabulary import LinkNumber
from tests.guest.test_page import ANA, BEN, FERRY

KEY = ("ferry", None)
SLOTS = (LinkNumber(0),) * 4


def said(number: int) -> Said:
    return Said(f"{number}", "Zoé", "7bqt-2j9d", "0d" * 10, f"word {number}", number)


def told(room: NodeRoom | None, slots: tuple[LinkNumber, ...] = SLOTS) -> Told:
    return whole(RoomFacts("ferry", slots=slots, carried=room), "Dev")


def joined(before: dict[str, Any], change: Told) -> dict[str, Any]:
    """What a page has after it was told of a change; see docs/relay.md."""
    if "room" in change:
        return dict(change)
    after = {**before, **change}
    after["chat"] = [*(after.get("chat") or []), *after.pop("said", [])]
    return after


def test_a_voice_that_takes_a_slot_is_a_few_bytes():
    change = changes(told(FERRY), told(FERRY, (LinkNumber(0), LinkNumber(40), *SLOTS[:2])))
    assert change == {"slots": [None, 0, None, None]}


def test_the_chat_is_told_by_what_it_grew_by_even_if_its_beginning_went():
    before = replace(FERRY, chat=tuple(said(each) for each in range(50)))
    after = replace(FERRY, chat=tuple(said(each) for each in range(2, 52)))
    change = changes(told(before), told(after))
    assert change.keys() == {"said"}
    assert [each["id"] for each in joined(dict(told(before)), change)["chat"]][-50:] == [
        f"{each}" for each in range(2, 52)
    ]


@pytest.mark.parametrize("after", [(said(1), said(3)), (said(2),), (), None, (said(9), said(3))])
def test_a_chat_that_changed_otherwise_is_told_whole(after):
    before = replace(FERRY, chat=(said(1), said(2), said(3)))
    change = changes(told(before), told(replace(FERRY, chat=after)))
    assert change == {"chat": told(replace(FERRY, chat=after))["chat"]}


def test_of_reactions_only_new_ones_are_told():
    one, two = FERRY.reactions[0], replace(FERRY.reactions[0], n=8)
    both = replace(FERRY, reactions=(one, two))
    assert [each["n"] for each in joined({}, changes(told(FERRY), told(both)))["reactions"]] == [8]
    assert changes(told(both), told(replace(FERRY, reactions=(two,)))) == {}


def test_a_room_that_becomes_another_kind_is_told_whole():
    assert changes(told(None), told(FERRY)) == told(FERRY)


class World:
    def __init__(self) -> None:
        self.told: Told | None = told(FERRY)
        self.following = Following(lambda key: self.told if key == KEY else None)

    def follow(self, source: str = "192.0.2.7") -> Stream:
        stream = self.following.follow(KEY, source)
        assert stream is not None
        return stream


@pytest.fixture
async def world(nursery):
    its = World()
    nursery.start_soon(its.following.run)
    return its


async def test_the_whole_comes_first_and_then_what_changes_soon_after_it_did(autojump_clock, world):
    stream = world.follow()
    assert json.loads(await stream.next()) == world.told
    world.told = told(replace(FERRY, listeners=38))
    began = trio.current_time()
    assert json.loads(await stream.next()) == {"people": 40}
    assert trio.current_time() - began <= LOOK_S


async def test_a_follower_who_is_slow_gets_the_whole_instead_of_what_it_missed(
    autojump_clock, world
):
    stream, other = world.follow(), world.follow()
    await stream.next()
    await other.next()
    for listeners in (38, 39):
        world.told = told(replace(FERRY, listeners=listeners))
        await other.next()
    assert json.loads(await stream.next()) == world.told
    world.told = told(replace(FERRY, stage=(ANA,)))
    assert json.loads(await stream.next()).keys() == {"people", "speakers"}


async def test_while_nothing_changes_a_sign_of_life_comes(autojump_clock, world):
    stream = world.follow()
    await stream.next()
    began = trio.current_time()
    assert await stream.next() == b"\n"
    assert trio.current_time() - began == pytest.approx(BEAT_S)


async def test_the_stream_of_a_room_that_ends_ends(autojump_clock, world):
    stream = world.follow()
    await stream.next()
    world.told = None
    assert await stream.next() == b""
    stream.close()
    assert world.following.follow(KEY, "192.0.2.7") is None
    world.told = told(replace(FERRY, stage=(BEN,)))
    assert json.loads(await world.follow().next()) == world.told


async def test_a_room_that_comes_again_is_told_though_somebody_has_not_left(autojump_clock, world):
    """One whose line is stuck keeps nobody else from it."""
    stuck, before = world.follow(), world.told
    await stuck.next()
    world.told = None
    await trio.sleep(2 * LOOK_S)
    world.told = before
    await trio.sleep(2 * LOOK_S)
    assert json.loads(await world.follow().next()) == before
    assert json.loads(await stuck.next()) == before


async def test_followers_of_one_source_leave_room_for_others(autojump_clock, world):
    held = [world.follow() for _ in range(OF_ONE_SOURCE_MAX)]
    assert world.following.follow(KEY, "192.0.2.7") is None
    world.follow("192.0.2.8")
    held[0].close()
    world.follow()


async def test_followers_leave_connections_for_who_comes(autojump_clock, world, monkeypatch):
    monkeypatch.setattr(following, "FOLLOWERS_MAX", 2)
    assert FOLLOWERS_MAX == 1_536  # of the front's 2,048
    first = world.follow("192.0.2.1")
    world.follow("192.0.2.2")
    assert world.following.follow(KEY, "192.0.2.3") is None
    first.close()
    world.follow("192.0.2.3")
