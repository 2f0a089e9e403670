"""The core is told whether this node carries others: at the start, and when that changes."""

import pytest
import trio

from p2phouse.choices import ChoicesDamaged
from p2phouse.room.messages import Carry
from p2phouse.willing import Willing, links_fed


class Machine:
    def __init__(self, home):
        self.is_plugged = True
        self.checks, self._seen = trio.open_memory_channel[int](1_000)
        self.told: list[Carry] = []
        self.willing = Willing(home, self.tell, has_mains=self.has_mains, check_s=0.001)

    def has_mains(self):
        trio.from_thread.run_sync(self.checks.send_nowait, 1)
        return self.is_plugged

    async def tell(self, offer):
        self.told.append(offer)

    async def checks_passed(self, count):
        for _ in range(count):
            await self._seen.receive()


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path)


def test_five_megabits_feed_thirty_people_with_three_voices_each():
    assert (links_fed(5_000), links_fed(500), links_fed(20_000)) == (30, 3, 120)


async def test_the_core_is_told_at_the_start_and_of_each_choice(machine):
    await machine.willing.begin()
    await machine.willing.choose(carry="never")
    await machine.willing.choose(metered=True, carry_kbps=1_500)
    await machine.willing.choose()
    assert machine.told == [
        Carry(willing=True, on_mains=True, metered=False, cap=30),
        Carry(willing=False, on_mains=True, metered=False, cap=30),
        Carry(willing=False, on_mains=True, metered=True, cap=9),
    ]


async def test_nobody_s_words_are_passed_on_before_the_choice_is_known_nor_against_it(machine):
    assert not machine.willing.relays, "it may be never"
    await machine.willing.begin()
    assert machine.willing.relays
    await machine.willing.choose(metered=True)
    assert not machine.willing.relays
    await machine.willing.choose(metered=False)
    await machine.willing.choose(carry="never")
    assert not machine.willing.relays


async def test_the_core_is_told_once_when_the_plug_is_pulled(machine):
    await machine.willing.begin()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(machine.willing.run)
        await machine.checks_passed(4)
        machine.is_plugged = False
        await machine.checks_passed(4)
        nursery.cancel_scope.cancel()
    assert [offer.on_mains for offer in machine.told] == [True, False]


async def test_a_node_whose_choice_cannot_be_read_does_not_start_to_carry(machine, tmp_path):
    (tmp_path / "config.toml").write_text("carry = never")
    with pytest.raises(ChoicesDamaged):
        await machine.willing.begin()
    assert machine.told == []
    assert not machine.willing.relays
