"""Guests as members of a room: real networks on 127.0.0.1, real cores, media that only answers.

What media does of it is in test_speaking.py.
"""

import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from p2phouse import channel
from p2phouse.drive import clock
from p2phouse.guest import tokens
from p2phouse.guest.facts import Voice
from p2phouse.hall import invitation
from p2phouse.record.types import Act
from p2phouse.room import messages
from p2phouse.vocabulary import HERE, LinkNumber
from p2phouse_relay.carrying import Carrying
from p2phouse_relay.members import Members
from tests.relay import stand_in_media
from tests.relay.test_carrying import Person, give, network, people, relay
from tests.waits import until

LINK, OTHER = LinkNumber(500), LinkNumber(501)
SEED = bytes(range(32))


@dataclass
class Guests:
    """Those of a relay: what media was told of them, and who was hung up on."""

    members: Members
    told: list[channel.Down] = field(default_factory=list)
    gone: list[LinkNumber] = field(default_factory=list)

    def last(self, kind: type[channel.Down]) -> channel.Down | None:
        return next((each for each in reversed(self.told) if isinstance(each, kind)), None)


@asynccontextmanager
async def guests_of(its: Carrying, folder: Path) -> AsyncIterator[Guests]:
    numbers = itertools.count(1)

    async def to_media(message: channel.Down) -> None:
        guests.told.append(message)
        for said in stand_in_media.what_follows(message):
            await guests.members.heard(said)

    async def hang_up(link: LinkNumber) -> None:
        guests.gone.append(link)

    guests = Guests(
        Members(
            "Dev",
            new_network=lambda key: network(key, folder / f"guest-{next(numbers)}"),
            to_media=to_media,
            links=itertools.count(1_000),
            way_to=its.way_to,
            hang_up=hang_up,
        )
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(guests.members.run)
        yield guests
        nursery.cancel_scope.cancel()


def named(person: Person, name: str) -> bool:
    return name in [each.name for each in person.here.members.values()]


@pytest.mark.nightly  # 13 s, with the next
async def test_a_guest_is_a_member_who_speaks_for_as_long_as_the_room_lets_it(tmp_path: Path):
    """By its token's keys; and is out, and its line ended, once it is removed."""
    async with relay(tmp_path) as its, people(tmp_path, "ana") as (ana,):
        await ana.shell.act(messages.Open("Tea", stage="invited"))
        await give(ana, its)
        await until(lambda: ana.here.hub == its.me.dev, "the relay carries Ana")
        zoe = tokens.person_of(SEED, clock())
        await ana.shell.act(messages.NameVoice(zoe))
        name = invitation.room_text(ana.here.room)
        async with guests_of(its, tmp_path) as guests:
            await until(lambda: its.way_to(name) is not None, "a way in")
            guests.members.set({LINK: Voice(name, "Zoé", SEED)})
            await until(lambda: named(ana, "Zoé via Dev"), "Zoé in the room")
            await until(lambda: _is_heard(guests), "Zoé unmuted, and her voice sent on")
            member = next(each for each in ana.here.members.values() if each.uid == zoe)
            await until(lambda: member.speak is not None and not member.muted, "Ana knowing that")
            await ana.shell.act(messages.Decide(Act.ROLE, "Zoé via Dev", "muted"))
            await until(lambda: not _has_row(guests), "no way for her voice")
            await ana.shell.act(messages.Decide(Act.ROLE, "Zoé via Dev", "speaker"))
            await until(lambda: _is_heard(guests), "Zoé heard again")
            await ana.shell.act(messages.Decide(Act.ROLE, "Zoé via Dev", "remove"))
            await until(lambda: guests.gone == [LINK], "her line ended")
            await until(lambda: not named(ana, "Zoé via Dev"), "Zoé out")
            assert len(guests.members) == 0


@pytest.mark.nightly
async def test_a_guest_who_leaves_says_so_and_one_whose_room_is_gone_is_hung_up_on(
    tmp_path: Path,
):
    async with relay(tmp_path) as its, people(tmp_path, "ana") as (ana,):
        await ana.shell.act(messages.Open("Tea"))
        await give(ana, its)
        await until(lambda: ana.here.hub == its.me.dev, "the relay carries Ana")
        name = invitation.room_text(ana.here.room)
        async with guests_of(its, tmp_path) as guests:
            guests.members.set({LINK: Voice("b" * 52, "Zoé", SEED)})
            await until(lambda: guests.gone == [LINK], "no such room")
            guests.members.set({})
            guests.members.set({LINK: Voice(name, "Zoé", SEED)})
            await until(lambda: named(ana, "Zoé via Dev"), "Zoé in the room")
            guests.members.set({})
            await until(lambda: not named(ana, "Zoé via Dev"), "Zoé gone")
            assert isinstance(guests.last(channel.EndVoice), channel.EndVoice)


async def test_what_one_guest_s_node_runs_into_ends_no_other(caplog):
    gone: list[LinkNumber] = []

    class Beginning:
        """A network, for as long as it begins."""

        async def run(self, **_: object) -> None:
            await trio.sleep_forever()

    class Failing:
        async def run(self, **_: object) -> None:
            raise ZeroDivisionError

    async def to_media(message: channel.Down) -> None:
        pass

    async def hang_up(link: LinkNumber) -> None:
        gone.append(link)

    networks: Any = iter([Beginning(), Failing()])
    members = Members(
        "Dev",
        new_network=lambda key: next(networks),
        to_media=to_media,
        links=itertools.count(1_000),
        way_to=lambda room: "a way",
        hang_up=hang_up,
    )
    ben, zoe = Voice("tea", "Ben", bytes(32)), Voice("tea", "Zoé", SEED)
    async with trio.open_nursery() as nursery:
        await nursery.start(members.run)
        members.set({OTHER: ben})
        await trio.testing.wait_all_tasks_blocked()
        members.set({OTHER: ben, LINK: zoe})
        await trio.testing.wait_all_tasks_blocked()
        assert gone == [LINK]
        assert "guest_failed link=500 error=ZeroDivisionError()" in caplog.text
        members.set({})
        await trio.testing.wait_all_tasks_blocked()
        assert gone == [LINK, OTHER]
        nursery.cancel_scope.cancel()


def _has_row(guests: Guests) -> bool:
    table = guests.last(channel.SetTable)
    return isinstance(table, channel.SetTable) and any(
        row.ingress == HERE and row.sinks for row in table.rows
    )


def _is_heard(guests: Guests) -> bool:
    voice = guests.last(channel.SetVoice)
    return isinstance(voice, channel.SetVoice) and not voice.muted and _has_row(guests)
