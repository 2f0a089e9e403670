"""What listeners notice when the relay that carries their room is killed, and when it drains.

Four real nodes and a relay, each in a network namespace of its own, one of whom speaks without a
pause. A gap is the time between two packets that a listener opened, as in bench/hub.py; whoever
opened the room asks the relay anew after each time. How often: P2PHOUSE_KILLS.
"""

import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import numpy as np

from bench.figures import Figure
from bench.hub import Found, look, until_broken
from tests.e2e.conftest import Lan
from tests.e2e.nodes import making_nodes, until
from tests.e2e.relays import RelayRoom, relay_room

NAME = "carried_by_relay"
TIMES: Final = int(os.environ.get("P2PHOUSE_KILLS", "100"))


@contextmanager
def a_room() -> Iterator[RelayRoom]:
    with ExitStack() as ending, tempfile.TemporaryDirectory() as folder:
        lan = Lan(f"p2ph{os.getpid()}")
        ending.callback(lan.remove)
        make = ending.enter_context(making_nodes(Path(folder)))
        yield ending.enter_context(relay_room(lan, make, Path(folder)))


def once(room: RelayRoom, found: Found, end: Callable[[], float]) -> None:
    room.talk()
    room.hear(100)
    look(room, found, end())
    until(lambda: room.relay.process.poll() is not None, "the relay has ended")
    room.relay.start()
    room.all_by_relay()


def killed(room: RelayRoom) -> float:
    return room.relay.kill()


def drained(room: RelayRoom) -> float:
    return room.relay.drain()


def trouble(kind: Callable[[RelayRoom], float], times: int) -> Found:
    found = Found()
    began = time.monotonic()
    with a_room() as room:
        for _ in range(times):
            try:
                once(room, found, lambda: kind(room))
            except AssertionError as error:
                print(f"  ends here: {error}", file=sys.stderr)
                break
    print(f"  {found.times} in {time.monotonic() - began:.0f} s", file=sys.stderr)
    return found


def run() -> list[Figure]:
    dead, gone = trouble(killed, TIMES), trouble(drained, max(1, TIMES // 4))
    p50, p99 = np.percentile(dead.gaps_ms, [50, 99])
    note = until_broken(dead, "times somebody was deaf for 20 s")
    spacing = float(np.percentile(gone.spacings_ms, 99))
    return [
        Figure("relay killed: gap at each listener, p50", round(p50), "ms", "≤ 150", note=note),
        Figure("relay killed: gap at each listener, p99", round(p99), "ms", "≤ 300"),
        Figure("relay killed: longest gap", round(max(dead.gaps_ms)), "ms"),
        Figure(
            "relay drained: frames lost", gone.missing, "", "≤ 0",
            note=until_broken(gone, "deaf"),
        ),
        Figure("relay drained: spacing of packets, p99", round(spacing, 1), "ms", "≤ 65"),
    ]  # fmt: skip
