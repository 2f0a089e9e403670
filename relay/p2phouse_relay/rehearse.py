"""`p2phouse-relay rehearse`: how many listeners this machine carries, tried with as many.

A crowd joins step by step, each step is measured, and the last that held is what is written into
the relay's home. Held is: less than one packet in a thousand lost, and 99 of 100 not later than
20 ms, which is one frame and what every listener's buffer has in store.
"""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from p2phouse.errors import UserError
from p2phouse.identity.keyfile import write_atomically
from p2phouse_relay.crowd.crowd import Joined, Measured
from p2phouse_relay.crowd.place import relay_at
from p2phouse_relay.crowd.processes import (
    CrowdProcess,
    Spent,
    Trial,
    crowd_at,
    spent,
    trial_relay,
)
from p2phouse_relay.settings import REHEARSAL_NAME, NoSettings, read_settings

LOSS_MAX: Final = 0.001
DELAY_MS_MAX: Final = 20.0
STEPS: Final = (20, 50, 100, 200, 350, 500, 700, 1_000, 1_250, 1_500, 2_000, 3_000, 4_000)
AT_ONCE: Final = 16
SETTLE_S: Final = 1.0
SHARE_FULL: Final = 0.9  # of a core: then it is the crowd that is at its end, perhaps


class NothingHeld(UserError):
    """Not even {listeners} listeners were carried: {reason}. Is something else using this
    machine?"""


@dataclass(frozen=True, slots=True)
class Step:
    """cpu_us: of a packet that went to a listener, all processes; None: not ours to look into."""

    joined: Joined
    measured: Measured
    cpu_us: float | None
    core: float | None  # share of one that the relay's sound used, in all its processes
    listener_kb: float | None
    crowd_core: float

    @property
    def trouble(self) -> str:
        """Why it did not hold; empty if it did."""
        if self.joined.refused:
            return "the relay let nobody more in"
        if self.joined.failed:
            return f"{self.joined.failed} could not join ({self.joined.reason})"
        if self.measured.loss >= LOSS_MAX or self.measured.silent:
            return f"{self.measured.loss:.2%} of the packets were lost"
        if self.measured.delay_ms_p99 >= DELAY_MS_MAX:
            return f"one packet in a hundred was {self.measured.delay_ms_p99:.0f} ms late"
        return ""


@dataclass(frozen=True, slots=True)
class Report:
    """listeners: the most that were carried of so many voices. limit: what stood against more;
    empty if no more were tried."""

    voices: int
    listeners: int
    limit: str
    steps: tuple[Step, ...]

    @property
    def best(self) -> Step:
        return next(each for each in reversed(self.steps) if not each.trouble)


def processes_of(home: Path) -> int:
    """How many carry sound at the relay of that home, if there is one. Raises SettingsWrong."""
    try:
        return read_settings(home).processes
    except NoSettings:
        return 1


def rehearse(
    *, listeners: int, voices: int, seconds: float, relay: str | None, processes: int, room: str,
    token: str, say: Callable[[Step], None],
) -> Report:  # fmt: skip
    """processes: of a relay that is started. say: told of each step. Raises NotOurs, NoPlainHttp,
    NothingHeld, CannotRehearse."""
    if relay is not None:
        relay_at(relay)
    with (
        _relay(relay, processes) as (url, trial),
        crowd_at(url, listeners=listeners, voices=voices, room=room, token=token) as crowd,
    ):
        steps: list[Step] = []
        limit = ""
        before = None if trial is None else spent(trial)
        crowd.speak()
        for step in _steps(crowd, trial, before, listeners, seconds):
            steps.append(step)
            say(step)
            limit = step.trouble
            if limit:
                break
        crowd.leave()
    held = [each.measured.listeners for each in steps if not each.trouble]
    if not held:
        raise NothingHeld(listeners=steps[0].joined.asked, reason=limit)
    return Report(voices, held[-1], limit, tuple(steps))


def _steps(
    crowd: CrowdProcess, trial: Trial | None, empty: Spent | None, most: int, seconds: float
) -> Iterator[Step]:
    here = 0
    for listeners in (*(each for each in STEPS if each < most), most):
        joined = crowd.join(listeners - here, at_once=AT_ONCE)
        here = listeners
        crowd.rest(SETTLE_S)
        crowd.mark()
        before = None if trial is None else spent(trial)
        crowd.rest(seconds)
        after = None if trial is None else spent(trial)
        measured = crowd.tell()
        cpu_us = core = listener_kb = None
        if before is not None and after is not None and empty is not None:
            used = after.since(before)
            cpu_us = 1e6 * (used.media_s + used.control_s) / max(1, measured.packets)
            core = used.media_s / measured.seconds
            listener_kb = after.since(empty).rss_kb / max(1, measured.listeners)
        yield Step(joined, measured, cpu_us, core, listener_kb, measured.cpu_s / measured.seconds)


@contextmanager
def _relay(given: str | None, processes: int) -> Iterator[tuple[str, Trial | None]]:
    if given is not None:
        yield given, None
        return
    with trial_relay(processes=processes) as trial:
        yield trial.http, trial


# ── what is told of it ───────────────────────────────────────────────────────────────────────


HEAD: Final = (
    "listeners   lost    p50 ms  p99 ms  µs/packet   core  joins ms p50 / p99  kB/listener"
)


def line(step: Step) -> str:
    measured, joined = step.measured, step.joined
    cpu = "" if step.cpu_us is None else f"{step.cpu_us:.1f}"
    core = "" if step.core is None else f"{step.core:.0%}"
    memory = "" if step.listener_kb is None else f"{step.listener_kb:.0f}"
    return (
        f"{measured.listeners:9,}  {measured.loss:5.2%}  {measured.delay_ms_p50:8.1f}"
        f"{measured.delay_ms_p99:8.1f}  {cpu:>9}  {core:>5}"
        f"  {joined.sound_ms_p50:8.0f} / {joined.sound_ms_p99:5.0f}  {memory:>11}"
    ).rstrip()


def sentences(report: Report, price: float | None) -> Iterator[str]:
    """What the operator should know."""
    voices = "1 voice" if report.voices == 1 else f"{report.voices} voices"
    yield f"This machine carries {report.listeners:,} listeners of {voices}."
    if not report.limit:
        yield "No more were tried: --listeners tries more."
    else:
        yield f"With more, {report.limit}."
        if report.steps[-1].crowd_core > SHARE_FULL:
            yield "The rehearsal itself used a whole core by then: it may be more than that."
    if price is not None:
        yield f"100 listeners cost {cost_of_100(report, price):.2f} a month."


def cost_of_100(report: Report, price: float) -> float:
    """price: of the machine, in whatever money, for whatever time."""
    return 100 * price / report.listeners


def as_json(report: Report, price: float | None) -> dict[str, object]:
    return {
        "voices": report.voices,
        "listeners": report.listeners,
        "limit": report.limit,
        "cost_of_100": None if price is None else round(cost_of_100(report, price), 4),
        "steps": [asdict(each) for each in report.steps],
    }


def keep(home: Path, report: Report, *, unix_s: float | None = None) -> Path:
    """Writes what was found where the relay finds it. Raises FileNotWritten."""
    path = home / REHEARSAL_NAME
    best = report.best
    found = {
        "voices": report.voices,
        "listeners": report.listeners,
        "limit": report.limit,
        "delay_ms_p99": best.measured.delay_ms_p99,
        "loss": best.measured.loss,
        "cpu_us": best.cpu_us,
        "unix_s": int(time.time() if unix_s is None else unix_s),
    }
    write_atomically(path, json.dumps(found, indent=1).encode() + b"\n")
    return path
