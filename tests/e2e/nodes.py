"""Real nodes for the e2e tests: `p2phouse up` as a process, asked over its socket like anybody's.

A node may live in a network namespace of its own; its unix socket is reached all the same.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import soxr

from p2phouse.ask import ask
from p2phouse.config import api_socket
from p2phouse.hearing import measure
from p2phouse.sound.files import load, to_float
from p2phouse.vocabulary import SAMPLE_RATE_HZ
from tests import promised
from tests.e2e import witness

Facts = dict[str, Any]
READY_S_MAX = 60.0
HAPPENS_S_MAX = 30.0


class ProcessNode:
    """One `p2phouse up`. `asked` is what a person would type."""

    pages: tuple[str, ...] = ("--no-page",)

    def __init__(
        self,
        home: Path,
        runtime: Path,
        *options: str,
        namespace: str | None = None,
        cheats: bool | None = None,
    ):
        """cheats: if given, a witness (see there), which keeps the room's rules or does not."""
        self.home = home
        self.runtime = runtime
        self.options = options
        self.namespace = namespace
        self.log_path = home.parent / f"{home.name}.log"
        self.witness_path = home.parent / f"{home.name}.witness"
        self.clock_path = home.parent / f"{home.name}.clock"
        self._program = "p2phouse"
        self._env = os.environ | {"P2PHOUSE_RUNTIME_DIR": str(runtime)}
        if cheats is not None:
            self._program = witness.__name__
            self._env |= {witness.WITNESS: str(self.witness_path), witness.CHEAT: f"{cheats:d}"}
            self._env |= {witness.CLOCK: str(self.clock_path)}
        runtime.mkdir(mode=0o700, parents=True, exist_ok=True)

    def start(self) -> Facts:
        """Starts it and waits until it is ready; what it printed then."""
        command = [sys.executable, "-m", self._program, "up", "--json", "--tied", *self.pages]
        command += ["--log", "info", "--home", str(self.home), *self.options]
        if self.namespace is not None:
            command = ["ip", "netns", "exec", self.namespace, *command]
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=self._env,
            )
        watchdog = threading.Timer(READY_S_MAX, self.process.kill)
        watchdog.start()
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        watchdog.cancel()
        assert line, f"the node did not start; its log ends: {self.log[-2000:]}"
        facts: Facts = json.loads(line)
        assert "error" not in facts, facts["error"]
        self.facts = facts
        return facts

    @property
    def log(self) -> str:
        return self.log_path.read_text(errors="replace")

    def begin(self, verb, **arguments):
        return ask(api_socket(self.home, self.runtime), self.home, verb, **arguments)

    def asked(self, verb, **arguments) -> Facts:
        asking = self.begin(verb, **arguments)
        for event in asking:
            promised.check_event(verb, event)
        result: Facts = asking.result
        promised.check_result(verb, result)
        return result

    def stop(self) -> int:
        """Ctrl-C, and what it exited with."""
        if self.process.poll() is None:
            self.process.terminate()
        try:
            return self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise
        finally:
            self._close_pipes()

    def kill(self) -> None:
        """kill -9 of control; media is left to notice."""
        self.process.kill()
        self.process.wait()
        self._close_pipes()

    @property
    def pids(self) -> tuple[int, int]:
        """Of control and media."""
        return self.process.pid, self.asked("status")["media_pid"]

    def crash(self) -> None:
        """kill -9 of both processes at once, as when the machine's power is cut."""
        control, media = self.pids
        for pid in (media, control):
            os.kill(pid, signal.SIGKILL)
        self.kill()

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """Neither of its processes runs, as while a laptop sleeps."""
        pids = self.pids
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)

    def set_clock(self, wrong_s: float) -> None:
        """A witness's clock is wrong by so much from now on."""
        new = self.clock_path.with_suffix(".new")
        new.write_text(str(wrong_s))
        new.replace(self.clock_path)

    def _close_pipes(self) -> None:
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            with contextlib.suppress(OSError):
                pipe.close()

    # ── what tests wait for ──────────────────────────────────────────────────────────────────

    def sees(self, room: str) -> bool:
        return room in [each["room"] for each in self.asked("rooms")["rooms"]]

    def witnessed(self, how: str) -> list[witness.Seen]:
        """What a witness has sealed or opened."""
        return [seen for seen in witness.read(self.witness_path) if seen.how == how]

    def others(self) -> dict[str, Facts]:
        """The other members by PeerId."""
        return {m["peer_id"]: m for m in self.asked("members")["members"] if not m["you"]}

    def me(self) -> Facts:
        return next(m for m in self.asked("members")["members"] if m["you"])

    def is_connected_to(self, count: int) -> bool:
        others = self.others().values()
        return len(others) == count and all(other["link"] == "connected" for other in others)


@contextlib.contextmanager
def making_nodes(folder: Path) -> Iterator[Callable[..., ProcessNode]]:
    """What makes nodes with their homes in the folder, and ends them all in the end.

    called: by their people, if not by the name of the home.
    """
    made: list[ProcessNode] = []
    # Not in the folder, whose name may be longer than the path of a socket may be.
    runtime = Path(tempfile.mkdtemp(prefix="p2ph-"))

    def make(
        name: str,
        *options: str,
        namespace: str | None = None,
        start: bool = True,
        cheats: bool | None = None,
        kind: type[ProcessNode] = ProcessNode,
        called: str | None = None,
    ) -> ProcessNode:
        node = kind(
            folder / name,
            runtime / (namespace or "here"),
            "--name",
            name if called is None else called,
            *options,
            namespace=namespace,
            cheats=cheats,
        )
        made.append(node)
        if start:
            node.start()
        return node

    with contextlib.ExitStack() as ending:  # one that hangs must not leave the others running
        ending.callback(shutil.rmtree, runtime)
        try:
            yield make
        finally:
            for node in made:
                if hasattr(node, "process"):
                    ending.callback(node.stop)


def until(holds, what: str, within_s: float = HAPPENS_S_MAX) -> float:
    """Waits for a condition that another process brings about; how long it took."""
    began = time.monotonic()
    while not holds():
        assert time.monotonic() - began < within_s, f"not within {within_s} s: {what}"
        time.sleep(0.02)  # no event comes from another process's state
    return time.monotonic() - began


def gather(nodes, title="Tea", **how) -> str:
    """The first opens a room, the others find it and join; the room's id."""
    host, *others = nodes
    room: str = host.asked("open", title=title, **how)["room"]
    for node in others:
        until(lambda node=node: node.sees(room), "seeing the room")
        node.asked("join", room=room)
    for node in nodes:
        until(lambda node=node: node.is_connected_to(len(nodes) - 1), "a link to everybody")
    return room


class Ear:
    """A `listen` that runs while the test goes on."""

    def __init__(self, node: ProcessNode, path: Path):
        self.path = path
        self._asking = node.begin("listen", out=str(path))
        self._events = iter(self._asking)
        assert next(self._events)["event"] == "listening"

    def stop(self):
        """The sound, float32 at 48 kHz, and when its first sample was played."""
        self._asking.stop()
        for event in self._events:
            promised.check_event("listen", event)
        promised.check_result("listen", self._asking.result)
        return read_sound(self.path), self._asking.result["began_mono_s"]


def wait_for_reports(node: ProcessNode, count: int) -> None:
    """Media reports once a second: after two of them at least a second has been played."""
    before = node.asked("members")["report"]
    until(lambda: node.asked("members")["report"] >= before + count, "media's reports")


def heard(speaker: ProcessNode, listener: ProcessNode, clip: Path, out: Path):
    """The speaker says the clip while the listener listens; how it was heard."""
    ear = Ear(listener, out)
    said = speaker.asked("say", path=str(clip))
    wait_for_reports(listener, 1)  # the end is played
    sound, from_s = ear.stop()
    return measure(
        sent=read_sound(clip), spoken_s=said["began_mono_s"], heard=sound, played_s=from_s
    )


def read_sound(path: Path) -> np.ndarray:
    return to_float(load(str(path)))


def write_clip(path: Path, sound: np.ndarray, rate: int = 16_000) -> Path:
    """A clip as a 16-bit WAV, from float32 at 48 kHz."""
    import wave

    samples = (soxr.resample(sound, SAMPLE_RATE_HZ, rate) * 32_767).astype("<i2")
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(samples.tobytes())
    return path
