"""What people write while they cannot hear one another, and what cheats write: one state results.

P2PHOUSE_SEEDS=300 tries 3,000 runs, P2PHOUSE_MUTANTS=all every mutant of the rules.
"""

import os
from itertools import islice

import pytest

from p2phouse.room import rules
from p2phouse.room.log import EntryLog
from tests.room.mutants import MUTANTS, TRUE, law
from tests.sim.log_world import LogWorld
from tests.sim.world import SEEDS

RUNS_EACH = 10
MUTANT_RUNS_MAX = 2_000
IN_CI = [
    "R3 anybody from any seat",
    "R5 any seat may all",
    "R6 equals revoke equals",
    "R6 the moderators first",
    "R6 no levels",
    "R7 no pin",
    "R10 as they came",
]
CHOSEN = list(MUTANTS) if os.environ.get("P2PHOUSE_MUTANTS") == "all" else IN_CI


def worlds(seed: int, under: object) -> list[LogWorld]:
    made = []
    for number in range(RUNS_EACH):
        world = LogWorld(seed * RUNS_EACH + number, under)
        world.live()
        made.append(world)
    return made


@pytest.mark.parametrize("seed", SEEDS)
def test_whatever_is_written_the_room_stays_whose_it_is(seed):
    for world in worlds(seed, law(TRUE)):
        assert list(world.faults()) == [], f"LogWorld({world.seed})"


def test_each_line_of_the_rules_that_can_be_made_wrong_is_there():
    for name in MUTANTS:
        law(name)


@pytest.mark.parametrize("name", CHOSEN)
def test_rules_with_one_line_wrong_are_found_out(name):
    mutant = law(name)
    for seed in range(MUTANT_RUNS_MAX):
        world = LogWorld(seed, mutant)
        try:
            world.live()
        except (KeyError, TypeError, ValueError):
            return  # rules that fail are found out too
        if any(islice(world.faults(), 1)):
            return
    pytest.fail(f"{MUTANT_RUNS_MAX} worlds did not notice")


@pytest.mark.parametrize("seed", SEEDS)
def test_logs_that_heard_it_in_any_order_come_to_hold_the_same(seed):
    for world in worlds(seed, rules):
        everything = world.heal()
        logs = [EntryLog(world.book.genesis) for _ in range(3)]
        records = list(world.book.identities.values())
        for log in logs:
            heard = [each.data for each in everything if each.record.room == world.book.id]
            heard += world.rng.choices(heard, k=5)
            heard = [data for data in heard if world.rng.random() < 0.9]
            world.rng.shuffle(heard)
            world.rng.shuffle(records)
            for identity in records[: world.rng.randrange(len(records) + 1)]:
                log.add_identity(identity.data)
            for data in heard:
                log.add(data)
        for _ in range(2 * len(logs)):
            exchange(logs, world)
        assert len({log.digest for log in logs}) == 1, f"LogWorld({world.seed})"
        assert logs[0].state == logs[1].state == logs[2].state
        held = {each.id for each in logs[0]}
        counting = world.fold([each for each in everything if each.id in held]).counting
        assert logs[0].state.counting == counting


def exchange(logs: list[EntryLog], world: LogWorld) -> None:
    """Each tells each what it may lack, as anti-entropy does."""
    for here in logs:
        for there in logs:
            sent = list(here.missing(there.sketch))
            for identity in here.identities_of(sent):
                there.add_identity(identity.data)
            for each in sent:
                there.add(each.data)
            for id_ in there.awaited & world.book.identities.keys():
                there.add_identity(world.book.identities[id_].data)
