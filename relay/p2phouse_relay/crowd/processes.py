"""A relay in trial and a crowd, each a process, and what they cost: for rehearsals and bench.

Both end with us, however we end: their standard input is ours to hold open.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from p2phouse.errors import P2PHouseError
from p2phouse_relay.crowd.crowd import Joined, Measured

END_S_MAX: Final = 30.0


class CannotRehearse(P2PHouseError):
    """{what} did not begin: {reason}"""


@dataclass(frozen=True, slots=True)
class Trial:
    """A relay that was started for us."""

    http: str
    udp_ports: tuple[int, ...]
    control_pid: int
    media_pids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Spent:
    """CPU seconds of a relay's two processes, and their memory, at a moment."""

    media_s: float
    control_s: float
    rss_kb: int

    def since(self, before: "Spent") -> "Spent":
        return Spent(
            self.media_s - before.media_s,
            self.control_s - before.control_s,
            self.rss_kb - before.rss_kb,
        )


class CrowdProcess:
    """Each method is the Crowd's. Raises CannotRehearse if the crowd says why not."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.pid = process.pid

    def speak(self, lengths: Sequence[Sequence[int]] = ()) -> None:
        self._ask(do="speak", lengths=lengths)

    def join(self, listeners: int, *, at_once: int, per_s: float | None = None) -> Joined:
        pace = {} if per_s is None else {"per_s": per_s}
        return Joined(**self._ask(do="join", listeners=listeners, at_once=at_once, **pace))

    def rest(self, seconds: float) -> None:
        self._ask(do="rest", seconds=seconds)

    def mark(self) -> None:
        self._ask(do="mark")

    def tell(self) -> Measured:
        return Measured(**self._ask(do="tell"))

    def leave(self) -> None:
        self._ask(do="leave")

    def _ask(self, **command: object) -> dict[str, Any]:
        told = ""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(command) + "\n")
            self._process.stdin.flush()
            told = self._process.stdout.readline()
        except BrokenPipeError:
            pass
        answer = json.loads(told) if told else {"error": self._last_words()}
        if "error" in answer:
            raise CannotRehearse(what="The crowd", reason=answer["error"])
        return dict(answer)

    def _last_words(self) -> str:
        return _last_words(self._process)


@contextmanager
def trial_relay(
    *, core: int | None = None, processes: int = 1, together_above: int | None = None
) -> Iterator[Trial]:
    """A relay of its own on loopback, on any free ports. core: the one it runs on. processes: that
    carry sound. together_above: as of `up`."""
    options = (
        "--dev", "--http-port", "0", "--udp-port", "0", "--processes", str(processes),
        *(() if together_above is None else ("--together-above", str(together_above))),
    )  # fmt: skip
    with relay_process(*options) as trial:
        pin(core, trial.control_pid, *trial.media_pids)
        yield trial


@contextmanager
def relay_process(*options: str) -> Iterator[Trial]:
    """`p2phouse-relay up` with these options. Raises CannotRehearse."""
    with _process(("p2phouse_relay", "up", "--json", "--tied", *options)) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        facts: dict[str, Any] = json.loads(line) if line else {"error": _last_words(process)}
        if "error" in facts:
            raise CannotRehearse(what="The relay", reason=facts["error"])
        ports, pids = tuple(facts["udp_ports"]), tuple(facts["media_pids"])
        yield Trial(facts["http"], ports, facts["control_pid"], pids)


@contextmanager
def crowd_at(
    relay: str, *, listeners: int, voices: int, room: str = "rehearsal", token: str = "",
    core: int | None = None,
) -> Iterator[CrowdProcess]:  # fmt: skip
    command = (
        "p2phouse_relay.crowd", relay, "--listeners", str(listeners), "--voices", str(voices),
        "--room", room, *(("--token", token) if token else ()),
    )  # fmt: skip
    with _process(command) as process:
        pin(core, process.pid)
        yield CrowdProcess(process)


def pin(core: int | None, *pids: int) -> None:
    """If that is allowed: what is measured on cores that others use is less exact, not wrong."""
    if core is not None and core in os.sched_getaffinity(0):
        for pid in pids:
            os.sched_setaffinity(pid, {core})


def spent(trial: Trial) -> Spent:
    """Until now."""
    return Spent(
        sum(map(cpu_s, trial.media_pids)),
        cpu_s(trial.control_pid),
        sum(map(rss_kb, (*trial.media_pids, trial.control_pid))),
    )


def cpu_s(pid: int) -> float:
    """User and system, of all threads that are and were; to the nanosecond, where /proc/PID/stat
    has ticks of ten milliseconds."""
    # clock_getcpuclockid(3): what Linux calls the clock of another process (posix-timers.h).
    return time.clock_gettime(~pid << 3 | 2)


def rss_kb(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") // 1_024


@contextmanager
def _process(module: Sequence[str]) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", *module],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield process
        finally:
            _end(process)


def _end(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    with suppress(BrokenPipeError):
        process.stdin.close()
    try:
        process.wait(END_S_MAX)
    except subprocess.TimeoutExpired:
        process.kill()


def _last_words(process: subprocess.Popen[str]) -> str:
    assert process.stderr is not None
    lines = process.stderr.read().strip().splitlines()
    return lines[-1] if lines else "it ended without a word."
