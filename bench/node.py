"""Whole nodes: how long until ready, found and heard; how much memory and CPU they take idle."""

import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.figures import Figure
from tests.e2e.nodes import ProcessNode, gather, until

NAME = "node"
STARTS = 5
JOINS = 8
IDLE_S = 20.0
CLOCK_HZ = os.sysconf("SC_CLK_TCK")


@contextmanager
def nodes(count: int, *options: str) -> Iterator[list[ProcessNode]]:
    """So many nodes on loopback, started; ended after."""
    with tempfile.TemporaryDirectory(prefix="p2ph-") as folder:
        made = [
            ProcessNode(Path(folder) / f"node{n}", Path(folder) / "run", "--loopback", *options)
            for n in range(count)
        ]
        try:
            for node in made:
                node.start()
            yield made
        finally:
            for node in made:
                if hasattr(node, "process"):
                    node.stop()


def pss_mb(node: ProcessNode) -> float:
    """Proportional set size of both processes."""
    total = 0
    for pid in (node.process.pid, node.facts["media_pid"]):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1])
    return total / 1_024


def cpu_s(node: ProcessNode) -> float:
    ticks = 0
    for pid in (node.process.pid, node.facts["media_pid"]):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / CLOCK_HZ


def ready() -> list[Figure]:
    times = []
    with nodes(1) as (node,):
        for _ in range(STARTS):
            node.stop()
            began = time.monotonic()
            node.start()
            times.append(time.monotonic() - began)
    began = time.monotonic()
    subprocess.run([sys.executable, "-c", "import libp2p"], check=True)
    imported = time.monotonic() - began
    return [
        Figure(
            "`up` to ready, not the first run, p50",
            statistics.median(times),
            "s",
            "< 2",
            "python -c 'import libp2p'",
            imported,
            f"{STARTS} starts, slowest {max(times):.2f} s",
        )
    ]


def found() -> list[Figure]:
    """A node that starts after `open`, and one that was there before it."""
    before, after = [], []
    for _ in range(STARTS):
        with nodes(2) as (ana, ben):
            began = time.monotonic()
            room = ana.asked("open", title="Tea")["room"]
            until(lambda ben=ben, room=room: ben.sees(room), "seeing the room")
            before.append(time.monotonic() - began)
            late = ProcessNode(ana.home.parent / "late", ana.runtime, "--loopback")
            late.start()
            began = time.monotonic()
            until(lambda late=late, room=room: late.sees(room), "seeing the room")
            after.append(time.monotonic() - began)
            late.stop()
    return [
        Figure("room seen by a node that runs, p50", statistics.median(before), "s", "< 2"),
        Figure(
            "room seen by a node that starts after `open`, since it is ready, p50",
            statistics.median(after),
            "s",
            "< 2",
            note=f"slowest {max(after):.2f} s",
        ),
    ]


def first_sound() -> list[Figure]:
    """From the word `join` to the first frame of somebody who speaks meanwhile."""
    times, links = [], []
    rng = random.Random(1)
    with nodes(2, "--audio", "tone") as (ana, ben):
        room = ana.asked("open", title="Tea")["room"]
        ana.asked("unmute")
        until(lambda: ben.sees(room), "seeing the room")
        for _ in range(JOINS):
            events = ben.begin("events")
            happening = iter(events)
            time.sleep(rng.uniform(0, 0.2))  # at any phase of the speaker's ticks
            began = time.monotonic()
            ben.asked("join", room=room)
            for event in happening:
                if event["event"] == "link_connected":
                    links.append(time.monotonic() - began)
                if event["event"] == "voice_heard":
                    break
            times.append(time.monotonic() - began)
            events.stop()
            for _ in happening:
                pass
            ben.asked("leave")
            until(lambda: not ana.others(), "leaving")
    return [
        Figure(
            "join to first sound, p50",
            1_000 * statistics.median(times),
            "ms",
            "< 500",
            "of it until the link is connected",
            1_000 * statistics.median(links),
            f"{JOINS} joins, slowest {1_000 * max(times):.0f} ms",
        )
    ]


def idle() -> list[Figure]:
    with nodes(1) as (node,):
        until(lambda: node.asked("status")["media_restarts"] == 0, "answering")
        began, cpu = time.monotonic(), cpu_s(node)
        time.sleep(IDLE_S)  # what is measured is a node that is left alone
        share = 100 * (cpu_s(node) - cpu) / (time.monotonic() - began)
        memory = pss_mb(node)
    with nodes(4) as room:
        gather(room)
        memory_in_room = max(pss_mb(node) for node in room)
    return [
        Figure("memory of an idle node, both processes (PSS)", memory, "MB", "< 220"),
        Figure("memory of a node in a room of four (PSS)", memory_in_room, "MB", "< 260"),
        Figure("CPU of an idle node, both processes", share, "% of a core", "< 1"),
    ]


def run() -> list[Figure]:
    return [*ready(), *found(), *first_sound(), *idle()]
