"""When a room is heard again whose hub and standby were killed together: bench/hub.py."""

import numpy as np

from bench.figures import Figure
from bench.hub import a_room, killed, until_broken

NAME = "hub_both_killed"


def run() -> list[Figure]:
    with a_room() as room:
        found = killed(room, both=True)
    p50, p99 = (float(each) / 1_000 for each in np.percentile(found.gaps_ms, [50, 99]))
    note = until_broken(found, "deaf")
    return [
        Figure("hub and standby killed: heard again, p50", round(p50, 2), "s", note=note),
        Figure("hub and standby killed: heard again, p99", round(p99, 2), "s", "≤ 4"),
    ]
