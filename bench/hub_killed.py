"""How long listeners hear nothing when who carries the room is killed: bench/hub.py."""

import numpy as np

from bench.figures import Figure
from bench.hub import a_room, killed, until_broken

NAME = "hub_killed"


def run() -> list[Figure]:
    with a_room() as room:
        found = killed(room, both=False)
    p50, p99 = np.percentile(found.gaps_ms, [50, 99])
    note = until_broken(found, "times somebody was deaf for 20 s")
    return [
        Figure("hub killed: gap at each listener, p50", round(p50), "ms", "≤ 150", note=note),
        Figure("hub killed: gap at each listener, p99", round(p99), "ms", "≤ 300"),
        Figure("hub killed: longest gap", round(max(found.gaps_ms)), "ms"),
    ]
