"""What the relay costs and holds: a crowd of our own on loopback, relay and crowd a core each.

CPU is of the relay's two processes, from /proc, all that they did meanwhile included; on loopback
the kernel does the receivers' socket work in the sender's call and charges the relay for it.
Delay is from the speaker's clock before its send to the kernel's stamp at the listener. Beside it
stands a loop of `sendto` that protects nothing, for as many listeners, in the same run.
"""

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from bench.figures import Figure, table
from p2phouse.errors import P2PHouseError
from p2phouse_relay.crowd.crowd import Joined, Measured
from p2phouse_relay.crowd.processes import (
    CrowdProcess,
    Spent,
    Trial,
    crowd_at,
    pin,
    spent,
    trial_relay,
)
from p2phouse_relay.crowd.said import PAYLOAD_BYTES

NAME = "relay"
RELAY_CORE: Final = 0
CROWD_CORE: Final = 1
SECONDS: Final = 5.0
SETTLE_S: Final = 2.0
AT_ONCE: Final = 16
BASE: Final = 100  # who is in before a storm
STORM: Final = 500
STEADY_S: Final = 15.0  # last flights of handshakes are kept for ten
REQUESTS: Final = 50  # in one write of a flood
# What others do on the same cores is then not in the delays (as root). A relay in earnest has none.
IN_REAL_TIME: Final = os.environ.get("P2PHOUSE_RELAY_FIFO") == "1"
FULL: Final = 4_000
FULL_CORE: Final = 0.72  # of a core: media's load, above which a relay lets nobody in, is 0.7
STARVED: Final = 1_000
BUSY: Final = 6
LOAD_S: Final = 1.2  # media tells its load each second
LIMIT_MS: Final = "< 20"
LIMIT_LOSS: Final = "< 0.1"


class Run:
    """A relay and a crowd at it."""

    def __init__(self, relay: Trial, crowd: CrowdProcess) -> None:
        self.relay = relay
        self.crowd = crowd

    def hurry(self) -> None:
        """Before all others on this machine, if that is wanted."""
        if IN_REAL_TIME:
            # Of two of one rank the first keeps the core until it waits; an ordinary scheduler lets
            # no control do so while sound is there.
            ranks = dict.fromkeys((self.relay.control_pid, self.crowd.pid), 1)
            ranks |= dict.fromkeys(self.relay.media_pids, 2)
            for pid, rank in ranks.items():
                os.sched_setscheduler(pid, os.SCHED_FIFO, os.sched_param(rank))

    def measure(self, seconds: float = SECONDS) -> tuple[Measured, Spent]:
        self.crowd.rest(SETTLE_S)
        self.crowd.mark()
        before = spent(self.relay)
        self.crowd.rest(seconds)
        used = spent(self.relay).since(before)
        return self.crowd.tell(), used

    def join(self, listeners: int, at_once: int = AT_ONCE) -> Joined:
        joined = self.crowd.join(listeners, at_once=at_once)
        assert joined.joined == listeners, joined
        return joined


@contextmanager
def running(listeners: int, voices: int) -> Iterator[Run]:
    with (
        trial_relay(core=RELAY_CORE) as relay,
        crowd_at(relay.http, listeners=listeners, voices=voices, core=CROWD_CORE) as crowd,
    ):
        its = Run(relay, crowd)
        its.hurry()
        yield its


def forwarding(voices: int, listeners: int, *, holds: bool) -> Iterator[Figure]:
    """holds: whether this is what a relay is promised to hold."""
    with running(listeners, voices) as its:
        its.crowd.speak()
        its.join(listeners)
        told, used = its.measure()
    what = f"{voices} × {listeners:,}"
    limit_ms, limit_loss = (LIMIT_MS, LIMIT_LOSS) if holds else ("", "")
    kind = ", SCHED_FIFO" if IN_REAL_TIME else ""
    core = f"{100 * (used.media_s + used.control_s) / told.seconds:.0f} % of a core{kind}"
    plain = round(plain_us(listeners), 2) if voices == 1 else None
    beside = "loop of sendto, no SRTP" if plain is not None else ""
    yield Figure(
        f"{what}: CPU per packet, media", _us(used.media_s, told), "µs", "", beside, plain, core
    )
    yield Figure(f"{what}: CPU per packet, control", _us(used.control_s, told), "µs")
    yield Figure(f"{what}: delay p50", told.delay_ms_p50, "ms")
    yield Figure(f"{what}: delay p99", told.delay_ms_p99, "ms", limit_ms)
    yield Figure(f"{what}: lost", round(100 * told.loss, 4), "%", limit_loss, note=_checked(told))


def busy_control(listeners: int) -> Iterator[Figure]:
    """Sound while control answers as many requests as it can, on media's own core."""
    with running(listeners, 1) as its:
        its.crowd.speak()
        its.join(listeners)
        quiet, _ = its.measure()
        with flood(its.relay):
            told, used = its.measure()
    what = f"1 × {listeners:,}, control at {100 * used.control_s / told.seconds:.0f} % of the core"
    for part in ("p50", "p99"):
        value, before = (getattr(each, f"delay_ms_{part}") for each in (told, quiet))
        yield Figure(f"{what}: delay {part}", value, "ms", "", "control idle", before)
    yield Figure(f"{what}: lost", round(100 * told.loss, 4), "%", LIMIT_LOSS)


def storm() -> Iterator[Figure]:
    """Five hundred at once, while a hundred listen; and what they leave in memory."""
    with running(BASE + STORM, 1) as its:
        its.crowd.speak()
        its.join(BASE)
        its.crowd.rest(SETTLE_S)
        before = spent(its.relay)
        its.crowd.mark()
        joined = its.join(STORM, at_once=STORM)
        after = spent(its.relay).since(before)
        told = its.crowd.tell()
        its.crowd.rest(STEADY_S)
        steady = spent(its.relay).since(before)
    own = f"the crowd's own CPU: {told.cpu_s:.2f} s of {told.seconds:.2f} s"
    what = f"{STORM} join at once"
    yield Figure(f"{what}: until all hear", joined.all_in_s, "s", "≤ 1", note=own)
    yield Figure(f"{what}: first packet p50", joined.sound_ms_p50, "ms")
    yield Figure(f"{what}: first packet p99", joined.sound_ms_p99, "ms")
    yield Figure(f"{what}: lost by those who were in", round(100 * told.loss, 4), "%", LIMIT_LOSS)
    yield Figure(f"{what}: delay p99 of those who were in", told.delay_ms_p99, "ms", LIMIT_MS)
    yield Figure(f"{what}: memory per listener then", round(after.rss_kb / STORM), "kB", "≤ 100")
    yield Figure(
        f"{what}: memory per listener {STEADY_S:.0f} s later",
        round(steady.rss_kb / STORM), "kB", "≤ 65",
    )  # fmt: skip


def join_cost() -> Iterator[Figure]:
    """CPU of a join when few are in and when many are; nobody speaks, so it is of joins alone."""
    more = 100
    with running(1_000 + 2 * more, 1) as its:
        costs = []
        for here in (10, 1_000 - more - 10):
            its.join(here)
            its.crowd.rest(SETTLE_S)
            before = spent(its.relay)
            joined = its.join(more)
            used = spent(its.relay).since(before)
            costs.append((joined, 1_000 * used.media_s / more, 1_000 * used.control_s / more))
    for here, (joined, media_ms, control_ms) in zip((10, 1_000), costs, strict=True):
        note = f"media {media_ms:.2f}, control {control_ms:.2f}; keys p50 {joined.keys_ms_p50} ms"
        total = round(media_ms + control_ms, 2)
        yield Figure(f"CPU per join with {here:,} in", total, "ms", "≤ 1.5", note=note)


def full() -> Iterator[Figure]:
    """Joins at a relay that has as much as it takes: it says no, and sound does not suffer."""
    with running(FULL, 1) as its:
        its.crowd.speak()
        here, core = 0, 0.0
        for more in (1_800, *[200] * 10):
            here += its.crowd.join(more, at_once=AT_ONCE, per_s=200).joined
            before, began_s = spent(its.relay), time.monotonic()
            its.crowd.rest(LOAD_S)
            core = spent(its.relay).since(before).media_s / (time.monotonic() - began_s)
            if core >= FULL_CORE:
                break
        quiet, _ = its.measure(3.0)
        its.crowd.mark()
        before = spent(its.relay)
        tried = its.crowd.join(50, at_once=AT_ONCE)
        its.crowd.rest(3.0)
        used = spent(its.relay).since(before)
        told = its.crowd.tell()
    core = 100 * used.media_s / told.seconds
    what = f"1 × {here:,}, media at {core:.0f} % of the core"
    yield Figure(f"{what}: of 50 who come, refused", tried.refused, "", note=tried.reason)
    yield Figure(
        f"{what}: delay p99 while they come", told.delay_ms_p99, "ms", "",
        "before", quiet.delay_ms_p99,
    )  # fmt: skip
    yield Figure(f"{what}: lost while they come", round(100 * told.loss, 4), "%", LIMIT_LOSS)


def starved() -> Iterator[Figure]:
    """More than media can send, since others use most of its core: what is heard is late by
    little and has gaps, and who comes is told to come later."""
    with running(STARVED + 50, 1) as its:
        its.crowd.speak()
        its.join(STARVED)
        quiet, _ = its.measure()
        with busy_beside():
            told, used = its.measure()
            tried = its.crowd.join(50, at_once=AT_ONCE)
    share = 100 * used.media_s / told.seconds
    what = f"1 × {STARVED:,}, of the core {share:.0f} % for media"
    for part, limit in (("p50", ""), ("p99", "< 200")):
        value, before = (getattr(each, f"delay_ms_{part}") for each in (told, quiet))
        yield Figure(f"{what}: delay {part}", value, "ms", limit, "with a core to itself", before)
    yield Figure(f"{what}: lost", round(100 * told.loss, 2), "%")
    yield Figure(f"{what}: checks in a row without an answer", told.unanswered, "", "≤ 1")
    yield Figure(f"{what}: of 50 who come, refused", tried.refused, "", note=tried.reason)


@contextmanager
def busy_beside() -> Iterator[None]:
    """Programs that use all they are given of the relay's core, for as long as this lasts."""
    command = [sys.executable, "-c", "while True: pass"]
    programs = [subprocess.Popen(command) for _ in range(BUSY)]
    try:
        for each in programs:
            pin(RELAY_CORE, each.pid)
        yield
    finally:
        for each in programs:
            each.kill()
            each.wait()


@contextmanager
def flood(relay: Trial) -> Iterator[None]:
    """Requests as fast as they are answered, for as long as this lasts."""
    host, port = relay.http.removeprefix("http://").split(":")
    request = f"GET /r/flood/now HTTP/1.1\r\nHost: {host}\r\n\r\n".encode() * REQUESTS
    ends = threading.Event()

    def ask() -> None:
        while not ends.is_set():
            with socket.create_connection((host, int(port)), 5.0) as line:
                line.sendall(request)
                answered = 0
                while answered < REQUESTS and (data := line.recv(65_536)):
                    answered += data.count(b"HTTP/1.1 ")

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for each in threads:
        each.start()
    try:
        yield
    finally:
        ends.set()
        for each in threads:
            each.join()


def plain_us(listeners: int, rounds: int = 100) -> float:
    """CPU of `sendto` to so many sockets in a loop, a burst each 20 ms, on the relay's core."""
    allowed = os.sched_getaffinity(0)
    if RELAY_CORE in allowed:
        os.sched_setaffinity(0, {RELAY_CORE})
    sinks = []
    try:
        for _ in range(listeners):
            sink = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            sink.bind(("127.0.0.1", 0))
            sinks.append(sink)
        addresses = [each.getsockname() for each in sinks]
        packet = bytes(12 + PAYLOAD_BYTES + 16)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as source:
            began = time.process_time()
            for _ in range(rounds):
                for address in addresses:
                    source.sendto(packet, address)
                time.sleep(0.005)
            return 1e6 * (time.process_time() - began) / (rounds * listeners)
    finally:
        for sink in sinks:
            sink.close()
        os.sched_setaffinity(0, allowed)


def _us(seconds: float, told: Measured) -> float:
    return round(1e6 * seconds / max(1, told.packets), 2)


def _checked(told: Measured) -> str:
    return f"{told.opened:,} opened and compared, {told.unopened + told.wrong} bad"


PARTS: Final = {
    "1x20": lambda: forwarding(1, 20, holds=True),
    "1x200": lambda: forwarding(1, 200, holds=True),
    "1x500": lambda: forwarding(1, 500, holds=True),
    "1x1000": lambda: forwarding(1, 1_000, holds=True),
    "1x1500": lambda: forwarding(1, 1_500, holds=True),
    "3x650": lambda: forwarding(3, 650, holds=True),
    "4x200": lambda: forwarding(4, 200, holds=True),
    "busy20": lambda: busy_control(20),
    "busy500": lambda: busy_control(500),
    "storm": storm,
    "joins": join_cost,
    "full": full,
    "starved": starved,
}


def run() -> list[Figure]:
    """P2PHOUSE_RELAY_PARTS: names of PARTS, if not all."""
    wanted = os.environ.get("P2PHOUSE_RELAY_PARTS", "").split() or list(PARTS)
    figures: list[Figure] = []
    for name in wanted:
        try:
            part = list(PARTS[name]())
        except (AssertionError, P2PHouseError) as error:
            # What a busy machine does not hold must not hide what it does.
            print(f"relay, {name}: {type(error).__name__}: {error}", file=sys.stderr)
            continue
        print(table(part), file=sys.stderr, flush=True)
        figures += part
    return figures
