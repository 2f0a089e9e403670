"""The cards that two nodes tell each other on a new connection."""

import os
import time

import pytest
import trio

from p2phouse.net.cards import Cards, Judgement, Verdict
from p2phouse.net.faults import Faults
from p2phouse.net.hall_exchange import (
    CARDS_BYTES_MAX,
    CARDS_MAX,
    FRAME_BYTES_MAX,
    BadHall,
    HallExchange,
)
from p2phouse.net.wire import FrameTooLong, TooSlow
from p2phouse.record import cbor
from p2phouse.record.types import Card
from p2phouse.vocabulary import Now
from tests.net.pipes import wire_pair


def clock():
    return Now(time.monotonic(), time.time())


def judge(data, now):
    """By its first letter."""
    verdicts = {b"F": Verdict.FORGED, b"L": Verdict.LATE, b"N": Verdict.TELL_NEAR}
    return Judgement(verdicts.get(data[:1], Verdict.TELL), until_unix=now.unix + 600)


class Side:
    """One node's part of the exchange and what it heard."""

    def __init__(self, held=()):
        self.heard: list[bytes] = []
        self.faults = Faults()

        async def hear(data, teller):
            self.heard.append(data)

        self.hall = HallExchange(
            held=lambda: list(held),
            cards=Cards(judge=judge, clock=clock),
            heard=hear,
            faults=self.faults,
        )


async def exchange(ana, ben, *, near=True):
    ours, theirs = wire_pair(near=near)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ana.hall.ask, ours)
        nursery.start_soon(ben.hall.answer, theirs)


async def tell(side, frame, *, near=True):
    """Answers one frame of a peer's."""
    ours, theirs = wire_pair(near=near)
    await ours.send(frame)
    await side.hall.answer(theirs)


async def test_both_sides_hear_what_the_other_holds():
    ana, ben = Side([b"a1", b"a2"]), Side([b"b1"])
    await exchange(ana, ben)
    assert (ana.heard, ben.heard) == ([b"b1"], [b"a1", b"a2"])


async def test_fifty_cards_are_told_and_no_more():
    ana, ben = Side([b"c%d" % number for number in range(CARDS_MAX + 1)]), Side()
    await exchange(ana, ben)
    assert ben.heard == [b"c%d" % number for number in range(CARDS_MAX)]


async def test_forty_eight_kilobytes_are_told_and_no_more():
    cards = [b"c%03d" % number + bytes(1_196) for number in range(45)]
    ana, ben = Side(cards), Side()
    await exchange(ana, ben)
    assert ben.heard == cards[: CARDS_BYTES_MAX // 1_200]


async def test_a_list_at_each_limit_is_heard_and_one_past_it_is_not():
    side = Side()
    await tell(side, cbor.encode([b"c"] * CARDS_MAX))
    with pytest.raises(BadHall, match="at most 50"):
        await tell(side, cbor.encode([b"c"] * (CARDS_MAX + 1)))
    await tell(side, cbor.encode([bytes(Card.SIZE_MAX)]))
    with pytest.raises(BadHall, match="something else"):
        await tell(side, cbor.encode([bytes(Card.SIZE_MAX + 1)]))
    full: list[cbor.Value] = [*[bytes(1_229)] * 39, bytes(CARDS_BYTES_MAX - 39 * 1_229)]
    await tell(side, cbor.encode(full))
    with pytest.raises(BadHall, match="49152 bytes"):
        await tell(side, cbor.encode([*full, b"c"]))
    with pytest.raises(FrameTooLong):
        await tell(side, bytes(FRAME_BYTES_MAX + 1))


@pytest.mark.parametrize(
    "frame",
    [b"", b"\xff", cbor.encode({}), cbor.encode([1]), cbor.encode([[b"c"]]), os.urandom(400)],
)
async def test_what_is_no_list_of_cards_is_the_peers_fault(frame):
    with pytest.raises(BadHall.__mro__[1]):
        await tell(Side(), frame)


async def test_a_forged_card_is_the_tellers_fault_and_what_came_before_it_is_kept():
    side = Side()
    with pytest.raises(BadHall, match="provable"):
        await tell(side, cbor.encode([b"good", b"Forged", b"later"]))
    assert side.heard == [b"good"]


async def test_a_late_card_is_nobodys_fault_and_no_use():
    side = Side()
    await tell(side, cbor.encode([b"Late", b"good"]))
    assert side.heard == [b"good"]


async def test_cards_of_lan_rooms_are_told_to_near_ones_alone():
    ana, ben = Side([b"Near", b"all"]), Side()
    await exchange(ana, ben, near=True)
    assert ben.heard == [b"Near", b"all"]
    ours, theirs = wire_pair(near=False)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ana.hall.ask, ours)
        told = await theirs.receive(size_max=FRAME_BYTES_MAX)  # whatever would be made of it
        await theirs.send(cbor.encode([]))
    assert cbor.decode(told, size_max=FRAME_BYTES_MAX) == [b"all"]


async def test_a_lan_rooms_card_from_far_away_is_not_believed():
    side = Side()
    await tell(side, cbor.encode([b"Near", b"all"]), near=False)
    assert side.heard == [b"all"]


async def test_who_opens_the_exchange_and_says_nothing_is_too_slow(autojump_clock):
    _, theirs = wire_pair()
    with pytest.raises(TooSlow):
        await Side().hall.answer(theirs)
