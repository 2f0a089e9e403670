"""What a relay with two media processes costs and holds beside one with one, in the same run.

First both on one core, the crowd on the other: what a packet costs more because voices go between
processes and each has a share of the listeners. Then on both cores, which the crowd has to share,
with more and more listeners until it does not hold. What two cores of its own would carry is worked
out from the CPU of a packet, and called so.
"""

import sys
from collections.abc import Iterator
from statistics import mean
from typing import Final

from bench.figures import Figure, table
from bench.relay import LIMIT_LOSS, LIMIT_MS, Run
from p2phouse.guest.capacity import BUSY_PERMILLE
from p2phouse.vocabulary import FRAME_S
from p2phouse_relay.crowd.crowd import LISTENERS_MAX, Measured
from p2phouse_relay.crowd.processes import crowd_at, trial_relay
from p2phouse_relay.crowd.tally import MARK_AHEAD
from p2phouse_relay.rehearse import DELAY_MS_MAX, LOSS_MAX

NAME = "relay_cores"
RELAY_CORE: Final = 0
CROWD_CORE: Final = 1
TURNS: Final = 2  # of one process and of two, in turns: what else the machine does hits both
STEPS: Final = {
    1: (2_000, 2_500, 3_000, 3_500, 4_000),
    2: (3_000, 3_500, 4_000, 4_500, LISTENERS_MAX),
}
AT_ONCE: Final = 16
JOINS_PER_S: Final = 250.0
GOAL: Final = 5_000  # by two


def crossing(voices: int, listeners: int) -> Iterator[Figure]:
    """Both processes on the one core on which else the one is."""
    costs: dict[int, list[float]] = {1: [], 2: []}
    for _ in range(TURNS):
        for processes, found in costs.items():
            with (
                trial_relay(core=RELAY_CORE, processes=processes) as relay,
                crowd_at(relay.http, listeners=listeners, voices=voices, core=CROWD_CORE) as crowd,
            ):
                its = Run(relay, crowd)
                its.hurry()
                crowd.speak()
                its.join(listeners)
                told, used = its.measure()
                assert loss(told, voices) < LOSS_MAX, told
                found.append(1e6 * used.media_s / told.packets)
    one, two = (round(mean(each), 2) for each in costs.values())
    note = f"{TURNS} turns: {_said(costs[2])}; of one process {_said(costs[1])}"
    what = f"{voices} × {listeners:,}: CPU per packet, two processes on one core"
    yield Figure(what, two, "µs", "", "one process", one, note)


def held(processes: int) -> Iterator[Figure]:
    """The most that so many processes hold while the crowd shares the two cores with them."""
    best: tuple[Measured, float, float] | None = None
    limit = "no more were tried"
    with (
        trial_relay(processes=processes) as relay,
        crowd_at(relay.http, listeners=STEPS[processes][-1], voices=1) as crowd,
    ):
        its = Run(relay, crowd)
        its.hurry()
        crowd.speak()
        here = 0
        for listeners in STEPS[processes]:
            joined = crowd.join(listeners - here, at_once=AT_ONCE, per_s=JOINS_PER_S)
            here += joined.joined
            if joined.joined < joined.asked:
                limit = f"of {joined.asked} more {joined.refused} were refused: {joined.reason}"
                break
            told, used = its.measure()
            lost = loss(told, 1)
            if lost >= LOSS_MAX or told.delay_ms_p99 >= DELAY_MS_MAX:
                limit = (
                    f"{listeners:,} had {100 * lost:.2f} % lost, p99 {told.delay_ms_p99:.0f} ms, "
                    f"the crowd at {100 * told.cpu_s / told.seconds:.0f} % of a core"
                )
                break
            best = told, used.media_s, lost
    assert best is not None, limit
    told, media_s, lost = best
    us = 1e6 * media_s / told.packets
    what = f"1 voice, {processes} process(es) and the crowd on two cores"
    note = f"crowd {100 * told.cpu_s / told.seconds:.0f} % of a core; then {limit}"
    yield Figure(f"{what}: held", told.listeners, "", note=note)
    yield Figure(f"{what}: CPU per packet, media", round(us, 2), "µs")
    yield Figure(f"{what}: delay p99", told.delay_ms_p99, "ms", LIMIT_MS)
    yield Figure(f"{what}: lost", round(100 * lost, 4), "%", LIMIT_LOSS)
    may = processes * BUSY_PERMILLE / 1_000 * FRAME_S / (us / 1e6)
    note = f"not measured: {processes} × {BUSY_PERMILLE / 10:.0f} % of a core at that price"
    target = f"≥ {GOAL}" if processes == 2 else ""
    yield Figure(f"{what}: worked out for cores of their own", round(may), "", target, note=note)


def loss(told: Measured, voices: int) -> float:
    """Who hears nothing of a voice at a whole process is not in `told.loss`, which compares those
    of one process: what was said is more than what came there."""
    said = told.listeners * (told.sent - voices * (MARK_AHEAD + 1))
    return max(told.loss, 1 - (told.expected - told.lost) / said)


def _said(costs: list[float]) -> str:
    return " ".join(f"{each:.2f}" for each in costs)


def run() -> list[Figure]:
    figures: list[Figure] = []
    for part in (crossing(1, 1_000), crossing(4, 200), held(1), held(2)):
        found = list(part)
        print(table(found), file=sys.stderr, flush=True)
        figures += found
    return figures
