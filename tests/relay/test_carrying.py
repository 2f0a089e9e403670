"""A relay among nodes: real networks on 127.0.0.1, real cores, media that says it is linked."""

import itertools
import os
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import pytest
import trio

from p2phouse import channel
from p2phouse.drive import clock
from p2phouse.hall.relay_ask import Verdict
from p2phouse.identity.keys import make_identity
from p2phouse.net.network import Network
from p2phouse.net.relay_asks import NoReply
from p2phouse.record import envelope
from p2phouse.record.types import Access, Admits, ChatKind
from p2phouse.relays import NotYours, Relays
from p2phouse.room import messages
from p2phouse.room.room import Rooms
from p2phouse.room.state import Membership
from p2phouse.shell import INBOX_MESSAGES, Kept, RoomOver, Shell
from p2phouse.verbs.relays import read_text
from p2phouse.vocabulary import DeviceKey, Now
from p2phouse_relay import carrying, granting
from p2phouse_relay.carrying import Carrying, Showing
from p2phouse_relay.policy import Charter
from tests.relay import stand_in_media
from tests.waits import until

OPEN = Charter(name="Dev", who="the tests", admits=Admits.EVERYBODY)


class Person:
    """A node, but for its media process."""

    def __init__(self, name: str, folder: Path) -> None:
        self.me = make_identity(now=clock(), entropy=os.urandom, name=name)
        self.rooms = Rooms(self.me, rng=random.Random(), entropy=os.urandom)
        self.network = network(self.me.device_key, folder / name)
        self.shell = Shell(self.rooms, self.network, self._media, _keep)
        self.relays = Relays(folder, self.rooms, self.network, self.shell.act)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        async with trio.open_nursery() as nursery:
            await nursery.start(self.shell.run)
            await nursery.start(self.network.run)
            await self.shell.tell(messages.OwnAddresses(tuple(self.network.addrs)))
            await self.shell.tell(
                messages.Carry(willing=True, on_mains=True, metered=False, cap=30)
            )
            nursery.start_soon(self.relays.run)
            nursery.start_soon(self._from_network)
            task_status.started()

    async def _from_network(self) -> None:
        async for event in self.network.events:
            await self.shell.hear(event)

    async def _media(self, message: channel.Down) -> None:
        for said in stand_in_media.what_follows(message):
            await self.shell.tell(said)

    @property
    def here(self) -> Membership:
        assert self.rooms.membership is not None
        return self.rooms.membership

    def is_linked(self, dev: DeviceKey) -> bool:
        member = self.here.members.get(dev)
        return member is not None and member.link_up

    @property
    def link(self) -> str:
        return str(self.rooms.facts()["link"])


async def _keep(kept: Kept) -> None:
    pass


def network(key, folder: Path, **more) -> Network:
    folder.mkdir(mode=0o700)
    return Network(
        device_key=key,
        port=0,
        lan="loopback",
        runtime_dir=folder,
        rng=random.Random(),
        entropy=os.urandom,
        clock=clock,
        cards=list,
        **more,
    )


@asynccontextmanager
async def relay(folder: Path, charter: Charter = OPEN) -> AsyncIterator[Carrying]:
    me = make_identity(now=clock(), entropy=os.urandom, name=charter.name)

    async def to_media(message: channel.Down) -> None:
        for said in stand_in_media.what_follows(message):
            await made.heard(said)

    shown: dict[str, Showing] = {}

    async def show(name: str, facts: Showing, number: int) -> int:
        shown[name] = facts
        return 0

    made = Carrying(
        me,
        charter,
        lambda its: network(
            me.device_key, folder / f"relay-{os.urandom(4).hex()}", answerer=its.answer
        ),
        to_media=to_media,
        links=itertools.count(1),
        show=show,
    )
    with trio.fail_after(120):
        async with trio.open_nursery() as nursery:
            await nursery.start(made.run)
            yield made
            nursery.cancel_scope.cancel()


@asynccontextmanager
async def people(folder: Path, *names: str) -> AsyncIterator[list[Person]]:
    made = [Person(name, folder) for name in names]
    async with trio.open_nursery() as nursery:
        for person in made:
            await nursery.start(person.run)
        yield made
        nursery.cancel_scope.cancel()


def at(its: Carrying) -> str:
    return f"127.0.0.1:{its.network.port}"


async def give(host: Person, its: Carrying):
    return await host.relays.give(await host.relays.find(at(its)), None)


@pytest.mark.parametrize("access", [Access.OPEN, Access.CLOSED])
async def test_it_carries_the_room_that_a_host_gives_it_and_hands_it_over_when_it_drains(
    tmp_path, access
):
    async with relay(tmp_path) as its, people(tmp_path, "ana", "ben") as (ana, ben):
        await ana.shell.act(messages.Open("Tea", access))
        said = await give(ana, its)
        assert said.verdict == 0
        await until(lambda: ana.here.hub == its.me.dev, "the relay carries Ana")
        link = ana.link
        if access is Access.CLOSED:
            link = str((await ana.shell.act(messages.MakeInvite(1, False)))["link"])
        await ben.shell.act(messages.Join(link))
        for person in (ana, ben):
            await until(lambda p=person: p.here.hub == its.me.dev, "the relay carries both")
            await until(lambda p=person: p.is_linked(its.me.dev), "a link to the relay")
            assert person.rooms.facts()["people"] == 2
        (stay,) = its.stays.values()
        core = stay.shell.rooms.membership
        assert core is not None
        assert core.custody.epochs is None
        await its.drain()
        assert not its.stays
        for person in (ana, ben):
            await until(lambda p=person: p.here.hub != its.me.dev, "somebody else carries")
            await until(lambda p=person: its.me.dev not in p.here.members, "the relay has left")


async def test_several_rooms_are_carried_at_once_and_know_nothing_of_one_another(tmp_path):
    async with relay(tmp_path) as its, people(tmp_path, "ana", "ben") as hosts:
        for host in hosts:
            await host.shell.act(messages.Open(f"with {host.me.name}"))
            await give(host, its)
        for host in hosts:
            await until(lambda p=host: p.here.hub == its.me.dev, "the relay carries it")
            assert host.rooms.facts()["people"] == 1
            assert host.here.members.keys() == {its.me.dev}
        counts = its.counts()
        assert (counts["node_rooms"], counts["node_people"], counts["node_refused"]) == (2, 2, 0)
        numbers = [stay.numbers for stay in its.stays.values()]
        assert len({each.room for each in numbers}) == 2
        assert not set(numbers[0].to_core) & set(numbers[1].to_core)


@pytest.mark.nightly
async def test_what_one_room_runs_into_ends_no_other(tmp_path, monkeypatch):
    """Security: whoever finds out how to trip a core trips his own room's."""
    async with relay(tmp_path) as its, people(tmp_path, "ana", "ben") as (ana, ben):
        for host in (ana, ben):
            await host.shell.act(messages.Open(f"with {host.me.name}"))
            await give(host, its)
            await until(lambda p=host: p.here.hub == its.me.dev, "the relay carries it")

        def trip(*_: object) -> NoReturn:
            raise ZeroDivisionError

        monkeypatch.setattr(its.stays[ana.here.room].shell.rooms, "receive", trip)
        await ana.shell.act(messages.Write(ChatKind.TEXT, "hello"))
        await until(lambda: ana.here.room not in its.stays, "Ana's room is left")
        assert its.stays.keys() == {ben.here.room}
        await until(lambda: ben.is_linked(its.me.dev), "Ben is carried on")
        monkeypatch.undo()
        await until(lambda: ana.here.room in its.stays, "Ana has asked again")


async def test_a_room_that_has_ended_holds_up_nobody_who_tells_it_something(tmp_path):
    """Security: all rooms of a relay hear by one network; who floods one and leaves stops none."""
    shell = Person("ana", tmp_path).shell
    async with trio.open_nursery() as nursery:
        await nursery.start(shell.run)
        nursery.cancel_scope.cancel()
    with trio.fail_after(5):
        for _ in range(INBOX_MESSAGES + 1):
            await shell.tell(messages.OwnAddresses(()))
        with pytest.raises(RoomOver):
            await shell.act(messages.HandOver())


@pytest.mark.nightly
async def test_a_relay_that_was_started_anew_is_asked_again(tmp_path):
    async with people(tmp_path, "ana") as (ana,):
        await ana.shell.act(messages.Open("Tea"))
        async with relay(tmp_path) as its:
            await give(ana, its)
            await until(lambda: its.me.dev in ana.here.members, "the relay is in")
            (stay,) = its.stays.values()
            stay.scope.cancel()  # as if it had forgotten
            await until(lambda: not its.stays, "it is out")
            await until(lambda: bool(its.stays), "Ana has asked again")


async def test_a_policy_is_shown_kept_and_forgotten(tmp_path):
    async with relay(tmp_path) as its, people(tmp_path, "ana") as (ana,):
        found = await ana.relays.look(at(its))
        assert (found.policy.record.name, found.policy.record.who) == ("Dev", "the tests")
        assert found.uid == its.me.uid
        await ana.relays.add(found)
        assert await ana.relays.known() == [found]
        assert await ana.relays.find("dev") == found
        await ana.relays.remove(at(its))
        assert await ana.relays.known() == []


async def test_a_node_is_no_relay_and_says_nothing_to_who_takes_it_for_one(tmp_path):
    async with people(tmp_path, "ana", "ben") as (ana, ben):
        with pytest.raises(NoReply, match="did not reply"):
            await ana.relays.look(f"127.0.0.1:{ben.network.port}")


async def test_only_whoever_opened_the_room_gives_it_to_a_relay(tmp_path):
    async with relay(tmp_path) as its, people(tmp_path, "ana", "ben") as (ana, ben):
        await ana.shell.act(messages.Open("Tea"))
        await ben.shell.act(messages.Join(ana.link))
        with pytest.raises(NotYours):
            await give(ben, its)
        assert not its.stays


async def test_it_hands_over_and_leaves_when_the_relay_grant_is_over_or_who_opened_it_is_denied(
    tmp_path,
):
    async with relay(tmp_path) as its, people(tmp_path, "ana") as (ana,):
        await ana.shell.act(messages.Open("Tea"))
        for end in ("over", "denied"):
            its.admission.charter = OPEN
            await give(ana, its)
            await until(lambda: its.me.dev in ana.here.members, "it has come in")
            (stay,) = its.stays.values()
            if end == "over":
                stay.until = trio.current_time() - 1
            else:
                its.admission.charter = replace(OPEN, deny=frozenset({ana.me.uid}))
            await until(lambda: not its.stays, f"it has left: {end}")
            await until(lambda: its.me.dev not in ana.here.members, "and says so")


@pytest.mark.nightly
async def test_a_clock_that_leaps_ends_no_stay_and_gives_no_month_anew(tmp_path, monkeypatch):
    me = make_identity(now=clock(), entropy=os.urandom, name="choir")
    async with (
        relay(tmp_path, replace(OPEN, admits=Admits.LISTED, allow=frozenset({me.dev}))) as its,
        people(tmp_path, "ana") as (ana,),
    ):
        await ana.shell.act(messages.Open("Tea"))
        text = granting.make(
            me, clock(), person=ana.me.uid.hex(), room="", listeners=10, kbps=1_000, days=1,
            any_relay=True,
        )  # fmt: skip
        signed = read_text(text)
        assert signed is not None
        brief = replace(signed.record, exp=int(clock().unix) + 600)
        grant = envelope.sign(brief, me.device_key)
        said = await ana.relays.give(await ana.relays.find(at(its)), grant)
        assert said.verdict is Verdict.CARRIED
        await until(lambda: its.me.dev in ana.here.members, "it has come in")
        month = its.ledger.traffic
        its.ledger.loads[ana.here.room].kbps = 8
        await until(lambda: month.month != "", "it has counted")
        before = month.month
        for leap_s in (3_600.0, -3_600.0):
            looks: list[float] = []

            def leapt(leap_s: float = leap_s, looks: list[float] = looks) -> Now:
                now = clock()
                looks.append(now.mono)
                return Now(now.mono, now.unix + leap_s)

            monkeypatch.setattr(carrying, "clock", leapt)
            await until(lambda looks=looks: len(looks) >= 3, "it has looked at its rooms")
            (stay,) = its.stays.values()
            assert not stay.goes, "the grant has ten minutes left, whatever the clock says"
            assert month.month == before


async def test_it_leaves_a_room_that_does_not_name_it(tmp_path, monkeypatch):
    """The entry is its leave to be there; who only asks has a guest for half a minute."""
    monkeypatch.setattr(carrying, "NAMED_S", 3.0)
    async with relay(tmp_path) as its, people(tmp_path, "ana") as (ana,):
        await ana.shell.act(messages.Open("Tea"))
        known = await ana.relays.find(at(its))
        await ana.relays._ask(known, None)
        await until(lambda: its.me.dev in ana.here.members, "it has come in")
        await until(lambda: not its.stays, "it has left")
