"""`p2phouse demo`: three nodes on this machine find one another, open a room and talk.

Nothing here is a short cut: the nodes are three processes of `p2phouse up`, driven by the verbs a
person would type. They live in temporary folders, on loopback and in a run-time directory of their
own, so they never meet the person's node or LAN.
"""

import contextlib
import json as jsonlib
import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from p2phouse.ask import Asking, NoNode, ask
from p2phouse.config import api_socket
from p2phouse.errors import P2PHouseError
from p2phouse.hearing import Hearing, measure

NAMES: Final = ("Ana", "Ben", "Cleo")
TITLE: Final = "Morning coffee"
READY_S_MAX: Final = 60.0  # a second on a quiet machine; three at once on two busy cores take ten
MEET_S_MAX: Final = 30.0
STEP_S: Final = 0.05  # between two questions to a node that has no event for the answer
PAUSE_S: Final = 1.0  # between two voices, as people leave it


class NodeDied(P2PHouseError):
    """Node {name} ended before the demo did. It said: {said}"""


class NeverHappened(P2PHouseError):
    """{what} did not happen within {seconds:.0f} s. Run it again with --log info to see why."""


@dataclass(frozen=True, slots=True)
class Heard:
    """What one node heard of another's clip."""

    speaker: str
    listener: str
    hearing: Hearing
    concealed_pct: float

    @property
    def is_good(self) -> bool:
        return self.hearing.is_heard(concealed_pct=self.concealed_pct)

    def facts(self) -> dict[str, object]:
        return {
            "from": self.speaker,
            "to": self.listener,
            "delay_ms_p50": self.hearing.delay_ms_p50,
            "delay_ms_p99": self.hearing.delay_ms_p99,
            "stoi": round(self.hearing.stoi, 3),
            "concealed_pct": round(self.concealed_pct, 2),
        }


class DemoNode:
    """One `p2phouse up` and the verbs it is asked."""

    def __init__(self, name: str, folder: Path, runtime: Path, log: str) -> None:
        self.name = name
        self.home = folder / name.lower()
        self.heard_path = folder / f"heard-by-{name.lower()}.wav"
        self._socket = api_socket(self.home, runtime)
        self._log_path = folder / f"{name.lower()}.log"
        command = [sys.executable, "-m", "p2phouse", "up", "--home", str(self.home)]
        command += ["--loopback", "--no-page", "--json", "--tied", "--name", name, "--log", log]
        with self._log_path.open("wb") as log_file:
            # Its standard input is ours to hold: however this process ends, the node ends too.
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log_file,
                env=os.environ | {"P2PHOUSE_RUNTIME_DIR": str(runtime)},
            )

    def wait_until_ready(self) -> dict[str, Any]:
        """What the node printed once it was ready. Raises NodeDied or NeverHappened."""
        assert self.process.stdout is not None
        killer = threading.Timer(READY_S_MAX, self.process.kill)
        killer.start()
        try:
            line = self.process.stdout.readline()
        finally:
            killer.cancel()
        if not line:
            raise NodeDied(name=self.name, said=self._last_words())
        facts: dict[str, Any] = jsonlib.loads(line)
        if "error" in facts:
            raise NodeDied(name=self.name, said=facts["error"])
        return facts

    def start(self, verb: str, **arguments: Any) -> Asking:  # noqa: ANN401 - JSON
        try:
            return ask(self._socket, self.home, verb, **arguments)
        except NoNode as error:
            raise NodeDied(name=self.name, said=self._last_words()) from error

    def do(self, verb: str, **arguments: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
        asking = self.start(verb, **arguments)
        for _ in asking:
            pass
        return asking.result

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            with contextlib.suppress(OSError):
                pipe.close()

    def _last_words(self) -> str:
        lines = self._log_path.read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else "nothing"


def run_demo(
    *, once: bool, json: bool, spread_s: float, seed: int | None, keep: Path | None, log: str
) -> int:
    """Exit status: 0 only if everybody heard everybody."""
    say = _quiet if json else _print
    with contextlib.ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="p2phouse-demo-"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        demo = _Demo(folder, stack, say, log)
        demo.start(spread_s, random.Random(seed))
        demo.meet()
        table = demo.talk()
        if keep is not None:
            keep.mkdir(parents=True, exist_ok=True)
            for node in demo.nodes:
                shutil.copy(node.heard_path, keep)
        ok = all(heard.is_good for heard in table)
        if json:
            print(jsonlib.dumps({"heard": [heard.facts() for heard in table], "ok": ok}))
        else:
            _show(table, ok)
        if not once:
            demo.stay_open()
    return 0 if ok else 1


class _Demo:
    """The steps, in order."""

    def __init__(
        self, folder: Path, stack: contextlib.ExitStack, say: Callable[[str], None], log: str
    ) -> None:
        self.folder = folder
        self.nodes: list[DemoNode] = []
        self._say = say
        self._log = log
        self._stack = stack
        self._runtime = folder / "run"
        self._runtime.mkdir(mode=0o700)
        self._pool = stack.enter_context(ThreadPoolExecutor(max_workers=2 * len(NAMES)))
        self._clips = [
            stack.enter_context(as_file(files("p2phouse.clips") / f"{name.lower()}.wav"))
            for name in NAMES
        ]

    def start(self, spread_s: float, rng: random.Random) -> None:
        """All nodes, in random order and up to spread_s apart."""
        order = list(NAMES)
        rng.shuffle(order)
        began = time.monotonic()
        made = {}
        for number, name in enumerate(order):
            if number:
                time.sleep(rng.uniform(0, spread_s))  # the pause is what is tried here
            self._say(f"starting {name}")
            made[name] = DemoNode(name, self.folder, self._runtime, self._log)
            self._stack.callback(made[name].stop)
        self.nodes = [made[name] for name in NAMES]
        for node, facts in zip(
            self.nodes, self._pool.map(DemoNode.wait_until_ready, self.nodes), strict=True
        ):
            self._say(f"{node.name} is ready: {facts['key_tag']}, port {facts['port']}")
        self._say(f"three nodes run after {time.monotonic() - began:.1f} s")

    def meet(self) -> None:
        """The first opens a room; the others see it by themselves and join."""
        host, *others = self.nodes
        room = host.do("open", title=TITLE)["room"]
        self._say(f"{host.name} opened “{TITLE}”")
        opened = time.monotonic()
        for node in others:
            _until(lambda node=node: room in _rooms(node), f"{node.name} seeing the room")  # type: ignore[misc]
            self._say(f"{node.name} sees it after {time.monotonic() - opened:.2f} s")
        for node in others:
            node.do("join", room=room)
            self._say(f"{node.name} joined")
        for node in self.nodes:
            _until(lambda node=node: _is_connected(node), f"{node.name} reaching the others")  # type: ignore[misc]
        self._say("everybody is connected to everybody")

    def talk(self) -> list[Heard]:
        """Each speaks in turn while all listen; what was heard of it."""
        listening = [_Listening(self._pool, node) for node in self.nodes]
        spoken = []
        for node, clip in zip(self.nodes, self._clips, strict=True):
            self._say(f"{node.name} speaks")
            before = {other.name: _counts(other) for other in self.nodes}
            began_s = float(node.do("say", path=str(clip))["began_mono_s"])
            time.sleep(PAUSE_S)
            after = {other.name: _counts(other) for other in self.nodes}
            spoken.append((node, clip, began_s, before, after))
        table = []
        heard = {listener.node.name: listener.stop() for listener in listening}
        self._say("measuring")
        for node, clip, began_s, before, after in spoken:
            sent = _read(clip)
            for other in self.nodes:
                if other is not node:
                    sound, from_s = heard[other.name]
                    hearing = measure(sent=sent, spoken_s=began_s, heard=sound, played_s=from_s)
                    concealed = _concealed_pct(
                        before[other.name][node.name], after[other.name][node.name]
                    )
                    table.append(Heard(node.name, other.name, hearing, concealed))
        return table

    def stay_open(self) -> None:
        """The three go on talking in turn, for whoever comes, until Ctrl-C."""
        link = self.nodes[0].do("members")["link"]
        print(
            "\nThe room stays open and they go on talking; Ctrl-C ends it. To hear them yourself:"
        )
        print("  p2phouse up --loopback --home ~/p2phouse-demo      (and in another terminal)")
        print(f"  p2phouse join --home ~/p2phouse-demo '{link}'")
        print("  p2phouse listen --home ~/p2phouse-demo --out heard.wav", flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            while True:
                for node, clip in zip(self.nodes, self._clips, strict=True):
                    node.do("say", path=str(clip))
                    time.sleep(PAUSE_S)


class _Listening:
    """A `listen` that runs in a thread of its own until it is stopped."""

    def __init__(self, pool: ThreadPoolExecutor, node: DemoNode) -> None:
        self.node = node
        self._asking = node.start("listen", out=str(node.heard_path))
        self._events = iter(self._asking)
        next(self._events)  # "listening": from here on the file is being written
        self._rest: Future[list[Any]] = pool.submit(list, self._events)

    def stop(self) -> tuple[NDArray[np.float32], float]:
        """What was heard, float32 at 48 kHz, and when its first sample was played."""
        self._asking.stop()
        self._rest.result()
        return _read(self.node.heard_path), float(self._asking.result["began_mono_s"])


def _read(path: Path) -> NDArray[np.float32]:
    from p2phouse.sound.files import load, to_float  # loads FFmpeg

    return to_float(load(str(path)))


def _rooms(node: DemoNode) -> list[str]:
    return [room["room"] for room in node.do("rooms")["rooms"]]


def _others(node: DemoNode) -> list[dict[str, Any]]:
    return [member for member in node.do("members")["members"] if not member["you"]]


def _is_connected(node: DemoNode) -> bool:
    others = _others(node)
    return len(others) == len(NAMES) - 1 and all(o["link"] == "connected" for o in others)


def _counts(node: DemoNode) -> dict[str, dict[str, Any]]:
    """Frames heard of each other member, as of now: waits for the next report of media."""
    number = node.do("members")["report"]
    fresh: dict[str, Any] = {}

    def is_fresh() -> bool:
        fresh.update(node.do("members"))
        return bool(fresh["report"] > number)

    _until(is_fresh, f"{node.name} counting frames")
    return {member["name"]: member for member in fresh["members"] if not member["you"]}


def _concealed_pct(before: dict[str, Any], after: dict[str, Any]) -> float:
    def grown(name: str) -> int:
        return int(after.get(name, 0)) - int(before.get(name, 0))

    whole = grown("played") + grown("recovered") + grown("concealed")
    return 100.0 * grown("concealed") / whole if whole else 100.0


def _until(holds: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + MEET_S_MAX
    while not holds():
        if time.monotonic() > end:
            raise NeverHappened(what=what, seconds=MEET_S_MAX)
        time.sleep(STEP_S)


def _show(table: Sequence[Heard], ok: bool) -> None:
    print(f"\n{'who heard whom':<18} {'delay p50':>10} {'p99':>8} {'STOI':>6} {'concealed':>10}")
    for heard in table:
        hearing = heard.hearing
        print(
            f"{heard.listener + ' ← ' + heard.speaker:<18} {_ms(hearing.delay_ms_p50):>10}"
            f" {_ms(hearing.delay_ms_p99):>8} {hearing.stoi:>6.3f} {heard.concealed_pct:>8.1f} %"
            f"  {'heard' if heard.is_good else 'NOT HEARD'}"
        )
    print("Everybody heard everybody." if ok else "Somebody was not heard.")


def _ms(delay: float | None) -> str:
    return "–" if delay is None else f"{delay:.0f} ms"


def _print(text: str) -> None:
    print(f"demo: {text}", flush=True)


def _quiet(text: str) -> None:
    pass
