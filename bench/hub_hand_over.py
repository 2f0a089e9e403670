"""What listeners notice when who carries the room wants to carry no more: bench/hub.py."""

import numpy as np

from bench.figures import Figure
from bench.hub import a_room, handed_over, until_broken

NAME = "hub_hand_over"


def run() -> list[Figure]:
    with a_room() as room:
        found = handed_over(room)
    spacing = float(np.percentile(found.spacings_ms, 99))
    note = until_broken(found, "deaf")
    return [
        Figure("planned hand-over: frames lost", found.missing, "", "≤ 0", note=note),
        Figure("planned hand-over: spacing of packets, p99", round(spacing, 1), "ms", "≤ 65"),
        Figure("planned hand-over: longest spacing", round(max(found.gaps_ms)), "ms"),
    ]
