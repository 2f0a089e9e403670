"""No live key is known to a removed device, however a room falls apart and comes together.

P2PHOUSE_SEEDS=400 tries 10,000 runs, P2PHOUSE_MUTANTS=all every mutant of the cover rule.
"""

import os

import pytest

from tests.sim.epoch_world import MUTANTS, TRUE, EpochWorld, law
from tests.sim.world import SEEDS

RUNS_EACH = 25  # so 500 with the usual twenty seeds
MUTANT_RUNS_MAX = 4_000
IN_CI = [
    "the highest number wins",
    "who is let in again is given what there is",
    "there is always time",
    "anybody makes epochs",
]
CHOSEN = list(MUTANTS) if os.environ.get("P2PHOUSE_MUTANTS") == "all" else IN_CI


def first_fault(world: EpochWorld) -> str | None:
    for _ in world.live():
        for fault in world.faults():
            return fault
    world.heal()
    for fault in world.faults():
        return fault
    return world.disagreement()


@pytest.mark.parametrize("seed", SEEDS)
def test_no_live_key_is_known_to_somebody_who_is_out(seed):
    true = law(TRUE)
    for number in range(RUNS_EACH):
        world = EpochWorld(seed * RUNS_EACH + number, true)
        assert first_fault(world) is None, f"EpochWorld({world.seed})"


@pytest.mark.parametrize("name", CHOSEN)
def test_a_rule_with_one_line_wrong_is_found_out(name):
    mutant = law(name)
    assert any(first_fault(EpochWorld(seed, mutant)) for seed in range(MUTANT_RUNS_MAX))
