"""What listeners notice when the relay that carries their room is killed, and another stands by.

Four real nodes and two relays, each in a network namespace of its own; else as carried_by_relay.py.
How often: P2PHOUSE_KILLS.
"""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np

from bench.figures import Figure
from bench.hub import Found, again_and_again, look, until_broken
from tests.e2e.conftest import Lan
from tests.e2e.nodes import making_nodes
from tests.e2e.relays import TwoRelays, two_relays

NAME = "relay_killed"


@contextmanager
def a_room() -> Iterator[TwoRelays]:
    with ExitStack() as ending, tempfile.TemporaryDirectory() as folder:
        lan = Lan(f"p2ph{os.getpid()}")
        ending.callback(lan.remove)
        make = ending.enter_context(making_nodes(Path(folder)))
        yield ending.enter_context(two_relays(lan, make, Path(folder)))


def run() -> list[Figure]:
    with a_room() as room:

        def once(found: Found) -> None:
            room.talk()
            room.hear(100)
            dead = room.carrying
            look(room, found, dead.kill())
            dead.start()
            room.both_carry()

        found = again_and_again(once)
    p50, p99 = np.percentile(found.gaps_ms, [50, 99])
    print(f"  gaps: {sorted(map(round, found.gaps_ms))}", file=sys.stderr)
    note = until_broken(found, "times somebody was deaf for 20 s")
    return [
        Figure("gap at each listener, p50", round(p50), "ms", "≤ 150", note=note),
        Figure("gap at each listener, p99", round(p99), "ms", "≤ 300"),
        Figure("longest gap", round(max(found.gaps_ms)), "ms"),
    ]
