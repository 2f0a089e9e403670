"""What tests of a company ask of those in it."""

import itertools
from collections.abc import Callable
from dataclasses import replace

from p2phouse.hall import invitation
from p2phouse.hall.card import make_genesis
from p2phouse.record import envelope
from p2phouse.record.cbor import Value
from p2phouse.record.envelope import Signed
from p2phouse.record.types import Access, Genesis
from p2phouse.room import frames, messages
from p2phouse.room.frames import ByeReason, FrameKind
from p2phouse.room.messages import (
    SendRoomFrame,
)
from p2phouse.vocabulary import DeviceKey, RoomId
from tests.room.table import Person, Table, of

GREETING, SPEAK, SOFT, BYE = FrameKind.GREETING, FrameKind.SPEAK, FrameKind.SOFT, FrameKind.BYE


DIGEST, BEAT = FrameKind.DIGEST, FrameKind.BEAT


def told(outputs: list[messages.Output]) -> set[Value]:
    """The devices that the last greeting sent named as members."""
    greeting = [frame.frame for frame in of(SendRoomFrame, outputs) if frame.frame[0] == GREETING]
    return {item[0] for item in greeting[-1][4]}  # type: ignore[index, union-attr]  # as sent


def byes(outputs: list[messages.Output]) -> list[ByeReason]:
    said = [frame.frame for frame in of(SendRoomFrame, outputs)]
    return [frames.read_bye(frame) for frame in said if frame[0] == BYE]


def again(times: int, act: Callable[[int], object]) -> None:
    for number in range(times):
        act(number)


def fill(table: Table, count: int) -> list[Person]:
    people = [table.person(f"p{number}") for number in range(count)]
    for person in people:
        table.let_in(person)
    return people


def table_mute(table: Table) -> list[messages.Output]:
    before = len(table.said)
    table.ask(messages.SetMuted(muted=not table.here.muted))
    return table.said[before:]


NUMBERS = itertools.count(10_000)


def strangers(count: int) -> list[DeviceKey]:
    """Devices that nobody has heard of."""
    return [DeviceKey(next(NUMBERS).to_bytes(32, "big")) for _ in range(count)]


def room_of(host: Person, **change: object) -> Signed[Genesis]:
    table = Table(seed=9)
    genesis = make_genesis(
        host.me, title="Tea", access=Access.OPEN, now=table.now, entropy=table.rng.randbytes
    )
    return envelope.sign(replace(genesis.record, **change), host.me.device_key)  # type: ignore[arg-type]


def join_by_link(table: Table, host: Person, genesis: Signed[Genesis]) -> int:
    link = invitation.Invitation(RoomId(genesis.id), host.dev, host.addrs)
    return table.ask(messages.Join(invitation.write(link)))
