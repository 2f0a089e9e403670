"""Guests who speak in rooms of nodes: for each the relay runs a node that has no ear (adr/0023).

So the room has nothing to learn of guests: it sees a person named "Zoé via Radio Libre" with keys
of their own, whom its log lets speak, mutes or removes like anybody, and every member's node sees
to it. The keys are made of the token that somebody who runs the room gave away.
"""

import logging
import os
import random
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Final

import trio
from nacl.signing import SigningKey

from p2phouse import channel
from p2phouse.drive import clock
from p2phouse.errors import P2PHouseError
from p2phouse.guest.facts import Voice
from p2phouse.guest.present import name_among_nodes
from p2phouse.identity.keys import make_identity, of_seed
from p2phouse.net.network import Network
from p2phouse.room import messages
from p2phouse.room.messages import EventKind
from p2phouse.room.room import Rooms
from p2phouse.room.state import Membership
from p2phouse.shell import Kept, Shell
from p2phouse.vocabulary import LinkNumber
from p2phouse_relay.numbers import RoomNumbers
from p2phouse_relay.speaking import room_of

log = logging.getLogger(__name__)

LOOK_S: Final = 0.2
EVENTS_MAX: Final = 64
NOBODY: Final = messages.Carry(willing=False, on_mains=True, metered=False, cap=0)


class _Member:
    def __init__(self, voice: Voice, numbers: RoomNumbers) -> None:
        self.voice = voice
        self.numbers = numbers
        self.scope = trio.CancelScope()
        self.shell: Shell | None = None


class Members:
    """`run` runs them, `set` says whose voices there are, `heard` what media says."""

    def __init__(
        self,
        relay: str,
        *,
        new_network: Callable[[SigningKey], Network],
        to_media: Callable[[channel.Down], Awaitable[None]],
        links: Iterator[int],
        way_to: Callable[[str], str | None],
        hang_up: Callable[[LinkNumber], Awaitable[None]],
    ) -> None:
        """relay: its name. way_to: a link into the room of that name, None if it is not here.
        hang_up: told of a guest whose member is in the room no more."""
        self._relay = relay
        self._new_network = new_network
        self._to_media = to_media
        self._links = links
        self._way_to = way_to
        self._hang_up = hang_up
        self._members: dict[LinkNumber, _Member] = {}
        self._nursery: trio.Nursery | None = None

    def __len__(self) -> int:
        return len(self._members)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Until cancelled."""
        async with trio.open_nursery() as self._nursery:
            task_status.started()
            await trio.sleep_forever()

    def set(self, voices: Mapping[LinkNumber, Voice]) -> None:
        """The guests who speak among nodes now, by their links."""
        for link, member in self._members.items():
            if link not in voices:
                member.scope.cancel()
        for link, voice in voices.items():
            if link not in self._members and self._nursery is not None:
                numbers = RoomNumbers(room_of(link), self._links, lambda: False, speaks=True)
                member = self._members[link] = _Member(voice, numbers)
                self._nursery.start_soon(self._be, link, member)

    async def heard(self, message: channel.Up) -> bool:
        """What media says; whether it was about one of them."""
        taken = False
        for member in list(self._members.values()):
            told = member.numbers.up(message)
            if told is not None and member.shell is not None:
                taken = taken or not isinstance(told, channel.Stats)
                await member.shell.tell(told)
        return taken

    async def _be(self, link: LinkNumber, member: _Member) -> None:
        """From coming in to having left, whatever happens there."""
        try:
            with member.scope:
                await self._live(member)
        except* Exception as group:
            # Broad: it is the top of its task, and what one guest's node runs into ends no other.
            # Test: test_members.py::test_what_one_guest_s_node_runs_into_ends_no_other
            log.error("guest_failed link=%d error=%r", link, group.exceptions[0])
        finally:
            with trio.CancelScope(shield=True):
                for closing in member.numbers.close_all():
                    await self._to_media(closing)
                await self._hang_up(link)
            del self._members[link]  # not before: else it would begin anew

    async def _live(self, member: _Member) -> None:
        way = self._way_to(member.voice.room)
        if way is None:
            return
        name = name_among_nodes(member.voice.name, self._relay)
        me = make_identity(now=clock(), entropy=of_seed(member.voice.seed), name=name)
        core = Rooms(me, rng=random.Random(), entropy=os.urandom, ear="none", mouth="none")
        network = self._new_network(me.device_key)

        async def to_media(message: channel.Down) -> None:
            told = member.numbers.down(message)
            if told is not None:
                await self._to_media(told)

        shell = member.shell = Shell(core, network, to_media, _forget)
        async with trio.open_nursery() as nursery:
            await nursery.start(network.run)
            await nursery.start(shell.run)
            nursery.start_soon(_listen, network, shell)
            nursery.start_soon(_watch_addresses, network, shell)
            await shell.tell(NOBODY)
            try:
                await shell.act(messages.Join(way))
                await _speak(shell)
            except P2PHouseError as error:
                log.info("guest_out error=%s", error)
            finally:
                with trio.CancelScope(shield=True):
                    if core.membership is not None:
                        await shell.leave()
                        await network.flush()
            nursery.cancel_scope.cancel()


async def _speak(shell: Shell) -> None:
    """For as long as it is in the room; unmuted whenever the room lets it speak anew: whoever
    sends a voice by an encoder has opened the microphone there."""
    could, dev = False, shell.rooms.me.dev
    async with shell.events(EVENTS_MAX) as events:
        while True:
            here = shell.rooms.membership
            if here is None or not here.joined:
                return
            can = _can_speak(here, shell)
            if can and not could:
                await shell.act(messages.SetMuted(False))
            could = can
            with trio.move_on_after(LOOK_S):
                event = await events.receive()
                # It may have been muted and let speak again since we looked.
                could = could and (event.kind, event.dev) != (EventKind.ROLE_CHANGED, dev)


def _can_speak(here: Membership, shell: Shell) -> bool:
    return here.own.on_stage is True and here.may_speak(shell.rooms.me.uid)


async def _listen(network: Network, shell: Shell) -> None:
    async for event in network.events:
        await shell.hear(event)


async def _watch_addresses(network: Network, shell: Shell) -> None:
    while True:
        changed = network.addrs_changed
        await shell.tell(messages.OwnAddresses(tuple(network.addrs)))
        await changed.wait()


async def _forget(kept: Kept) -> None:
    """A guest is remembered for as long as it speaks."""
