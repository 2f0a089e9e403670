"""What listeners notice when who carries the room is killed, hands over, or dies with its standby.

Six real nodes, each in a network namespace of its own, one of whom speaks without a pause. A gap is
the time between two packets that a listener opened; 20 ms is usual, and the last before the kill
counts. All six share this machine's cores, and whoever was killed starts anew before the next time.
How often: P2PHOUSE_KILLS. A bench of its own for each kind of trouble: a hundred of one take twenty
minutes. P2PHOUSE_FOUND names a file that keeps what was found, to which the next run adds: a
machine that has other things to do may take them by the dozen.
"""

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

from tests.e2e.conftest import Lan
from tests.e2e.hub import HubRoom, hub_room
from tests.e2e.nodes import making_nodes

TIMES: Final = int(os.environ.get("P2PHOUSE_KILLS", "100"))
HEARD_S_MAX: Final = 20.0  # who hears nothing for so long counts as deaf
PACKETS_AFTER: Final = 150  # three seconds


@dataclass
class Found:
    """Of one kind of trouble: of each listener each time."""

    gaps_ms: list[float] = field(default_factory=list)
    spacings_ms: list[float] = field(default_factory=list)
    missing: int = 0
    times: int = 0
    deaf: int = 0


@contextmanager
def a_room() -> Iterator[HubRoom]:
    with ExitStack() as ending, tempfile.TemporaryDirectory() as folder:
        lan = Lan(f"p2ph{os.getpid()}")
        ending.callback(lan.remove)
        make = ending.enter_context(making_nodes(Path(folder)))
        yield ending.enter_context(hub_room(lan, make, Path(folder)))


def look(room: HubRoom, found: Found, since: float) -> None:
    """Waits until everybody has heard on for a while, and takes down how it was."""
    try:
        room.hear(PACKETS_AFTER, within_s=HEARD_S_MAX)
    except AssertionError as error:
        found.deaf += 1
        print(f"  deaf: {error}", file=sys.stderr)
    now = time.time()
    found.times += 1
    for name in room.listeners:
        found.gaps_ms.append(room.gap_ms(name, since, now))
        found.spacings_ms += room.spacings_ms(name, since - 1, now)
        missing = room.missing(name, since - 1, now - 1)
        found.missing += missing
        if missing:
            print(f"  {name} misses {missing}", file=sys.stderr)
    print(f"  {found.times}: gaps {[round(gap) for gap in found.gaps_ms[-4:]]}", file=sys.stderr)


def killed(room: HubRoom, *, both: bool) -> Found:
    def once(found: Found) -> None:
        carried = room.settled()
        gone = (carried.hub, carried.standby) if both else (carried.hub,)
        look(room, found, room.kill(*gone))
        room.revive()

    return again_and_again(once)


def handed_over(room: HubRoom) -> Found:
    def once(found: Found) -> None:
        carried = room.settled()
        before = found.missing
        look(room, found, room.hand_over(carried.hub))
        if found.missing > before:
            print(f"  when {carried.hub} gave way to {carried.standby}", file=sys.stderr)
        room.settled(unlike=carried.hub)
        room.nodes[carried.hub].asked("carry", choice="auto")

    return again_and_again(once)


def again_and_again(once: Callable[[Found], None]) -> Found:
    """What does not settle ends this trouble, and what was found until then is told."""
    kept = os.environ.get("P2PHOUSE_FOUND")
    found = Found()
    if kept and Path(kept).exists():
        found = Found(**json.loads(Path(kept).read_text()))
    for _ in range(TIMES):
        try:
            once(found)
        except AssertionError as error:
            print(f"  ends here: {error}", file=sys.stderr)
            break
        if kept:
            Path(kept).write_text(json.dumps(asdict(found)))
    return found


def until_broken(found: Found, what: str) -> str:
    return f"{found.times} times, {len(found.gaps_ms)} listeners; {found.deaf} {what}"
