"""How a talk sounds, and how late, over the named networks: our playout, itself before, NetEQ.

Every packet goes to Chromium's NetEQ in real time (neteq.py), and the same packets, at the times
at which they were really sent, to the shipped playout and to the one of commit BEFORE out of git's
history. Without Chromium the two are compared in virtual time alone. The reader hardly pauses, so
delay has to change in speech; there is no DTX, for NetEQ takes a gap in time for a loss.
PESQ and STOI align what they compare, by sentence or by half second: delay is no fault to them,
but a shift within is, whether or not an ear minds.
"""

import statistics
import subprocess
import sys
import types
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
import soxr
from pesq import PesqError, pesq

from bench.figures import Figure
from bench.neteq import Heard, through_neteq
from p2phouse.hearing import measure
from p2phouse.vocabulary import FRAME_S, SAMPLE_RATE_HZ
from p2phouse.voice import playout as shipped
from tests.voice.speech import CLIPS, frames_of, librivox
from tests.voice.wire import (
    GOOD_WIFI,
    HOTEL,
    WEAK_4G,
    Conditions,
    Ear,
    Hold,
    Network,
    Sent,
    arrivals,
    speak,
)

NAME = "playout"

BEFORE: Final = "d9e8377"  # the last commit whose playout moved delay by whole frames alone
SEEDS: Final = 3
PHASES_S: Final = (0.001, 0.007, 0.013)
SCORE_RATE_HZ: Final = 16_000
SPIKES: Final = Hold(3.0, 0.190, 0.210)
NETWORKS: Final = {
    "good_wifi": GOOD_WIFI,
    "weak_4g": WEAK_4G,
    "hotel": HOTEL,
    "200 ms spikes each 3 s": Conditions(0.030, 0.002, holds=(SPIKES,)),
    "200 ms spikes each 10 s": Conditions(0.030, 0.002, holds=(SPIKES._replace(each_s=10.0),)),
}
UNIT: Final = {"PESQ-WB": "MOS", "STOI": "", "delay, mean": "ms", "delay, 95 %": "ms"}


@dataclass(frozen=True, slots=True)
class Talk:
    """One talk over one network, as one playout gives it."""

    pesq: float
    stoi: float
    delay_ms: tuple[float, ...]  # from mouth to ear, of each half second in which it was found
    made_up_pct: float  # of what was heard: no packet brought it
    unheard_pct: float  # packets that came and were not heard
    stretched_pct: float  # time that stretching added or took


Figures = dict[str, float]


@cache
def before() -> types.ModuleType | None:
    """The playout of BEFORE as a module; None without git's history."""
    modules: dict[str, types.ModuleType] = {}
    for name in ("jitter", "playout"):
        done = subprocess.run(
            ["git", "show", f"{BEFORE}:p2phouse/voice/{name}.py"],
            capture_output=True, text=True, check=False, cwd=Path(__file__).parent,
        )  # fmt: skip
        if done.returncode:
            print(f"  no {BEFORE} in this history: nothing to compare with", file=sys.stderr)
            return None
        module = modules[name] = types.ModuleType(f"before_{name}")
        sys.modules[module.__name__] = module
        source = done.stdout.replace("from p2phouse.voice.jitter", "from before_jitter")
        exec(compile(source, f"{BEFORE}:{name}.py", "exec"), module.__dict__)
    return modules["playout"]


# ── what is said, and by which way it comes ──────────────────────────────────────────────────────


@cache
def said() -> np.ndarray:
    return np.concatenate([librivox(clip) for clip in CLIPS])


@cache
def spoken() -> list[Sent]:
    return speak(frames_of(said()), sealed=True)


def came(seed: int) -> dict[str, list[tuple[float, Sent]]]:
    return {
        name: arrivals(spoken(), Network(conditions, seed=seed))
        for name, conditions in NETWORKS.items()
    }


def neteq(lists: Sequence[Sequence[tuple[float, Sent]]]) -> list[Heard] | None:
    try:
        return through_neteq(lists)
    except pytest.skip.Exception as error:
        print(f"  NetEQ is left out: {error}", file=sys.stderr)
        return None


# ── what is heard ────────────────────────────────────────────────────────────────────────────────


def talk(make: Callable[[], Any], packets: Iterable[tuple[float, Sent]], phase_s: float) -> Talk:
    playout = make()

    def receive(now_s: float, each: Sent) -> None:
        playout.receive(now_s, each.seq, each.counter, each.marker, each.opus)

    ear: Ear[Sent] = Ear(playout, receive, phase_s=phase_s)
    ear.listen(packets, until_s=len(said()) / SAMPLE_RATE_HZ + 1)
    stats = playout.stats
    stretched = getattr(stats, "slowed", 0) + getattr(stats, "hurried", 0)
    share = 100 / len(spoken())
    return judge(
        ear.sound,
        phase_s,
        made_up_pct=share * (stats.concealed + stats.recovered + stats.grown),
        unheard_pct=share * (stats.late + stats.dropped),
        stretched_pct=share * stretched,
    )


def talk_of(heard: Heard) -> Talk:
    """What NetEQ gave; it counts what it makes of FEC as received, and silence as concealed."""
    stats = heard.stats
    share = 100 / len(said())
    recovered = stats.get("fecPacketsReceived", 0) - stats.get("fecPacketsDiscarded", 0)
    made_up = stats["concealedSamples"] - stats.get("silentConcealedSamples", 0)
    stretched = stats["insertedSamplesForDeceleration"] + stats["removedSamplesForAcceleration"]
    return judge(
        heard.sound,
        heard.played_s,
        made_up_pct=share * made_up + 100 / len(spoken()) * recovered,
        unheard_pct=100 / len(spoken()) * stats.get("packetsDiscarded", 0),
        stretched_pct=share * stretched,
    )


def judge(sound: np.ndarray, played_s: float, **counted: float) -> Talk:
    heard = measure(sent=said(), spoken_s=-FRAME_S, heard=sound, played_s=played_s)
    return Talk(
        pesq=pesq_of(from_time_0(sound, played_s)),
        stoi=heard.stoi,
        delay_ms=delays_ms(sound, played_s),
        **counted,
    )


def from_time_0(sound: np.ndarray, played_s: float) -> np.ndarray:
    early = round(played_s * SAMPLE_RATE_HZ)
    return sound[-early:] if early < 0 else np.concatenate([np.zeros(early, np.float32), sound])


def delays_ms(sound: np.ndarray, played_s: float) -> tuple[float, ...]:
    ear: Ear[Sent] = Ear(shipped.Playout(), lambda _, __: None, phase_s=played_s)
    ear.heard.append(sound)
    times = np.arange(1.0, len(said()) / SAMPLE_RATE_HZ - 1, 0.5)
    found = [ear.delay_s(said(), at_s) for at_s in times]
    return tuple(1000 * each for each in found if each is not None)


def pesq_of(heard: np.ndarray) -> float:
    """The mean over the clips, some 5 seconds each, as PESQ is meant for."""
    scores = []
    at = 0
    for clip in CLIPS:
        length = len(librivox(clip))
        # What was said in a clip is heard up to half a second later.
        parts = (librivox(clip), heard[at : at + length + SAMPLE_RATE_HZ // 2])
        at += length
        two = [soxr.resample(part, SAMPLE_RATE_HZ, SCORE_RATE_HZ) for part in parts]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                scores.append(float(pesq(SCORE_RATE_HZ, *two, "wb")))
            except PesqError as error:
                print(f"  {clip}: {error!r}", file=sys.stderr)
    return statistics.fmean(scores)


# ── figures ──────────────────────────────────────────────────────────────────────────────────────


def summary(talks: Sequence[Talk]) -> Figures:
    delays = [delay for each in talks for delay in each.delay_ms]
    return {
        "PESQ-WB": round(statistics.fmean(each.pesq for each in talks), 2),
        "STOI": round(statistics.fmean(each.stoi for each in talks), 3),
        "delay, mean": round(statistics.fmean(delays), 1),
        "delay, 95 %": round(float(np.percentile(delays, 95)), 1),
        "made up": round(statistics.fmean(each.made_up_pct for each in talks), 2),
        "came and not heard": round(statistics.fmean(each.unheard_pct for each in talks), 2),
        "stretched": round(statistics.fmean(each.stretched_pct for each in talks), 2),
    }


def figures(name: str, by: dict[str, list[Talk]]) -> list[Figure]:
    """Each figure of the shipped playout, beside the same of each other."""
    summaries = {way: summary(talks) for way, talks in by.items() if talks}
    ours = summaries.pop("shipped")
    found = []
    for what, value in ours.items():
        unit = UNIT.get(what, "%")
        if not summaries:
            found.append(Figure(f"{name}: {what}", value, unit))
        for way, theirs in summaries.items():
            found.append(Figure(f"{name}: {what}", value, unit, "", way, theirs[what]))
    return found


def run() -> list[Figure]:
    by: dict[str, dict[str, list[Talk]]] = {
        name: {"shipped": [], "before": [], "NetEQ": []} for name in NETWORKS
    }
    old = before()
    lists = [came(seed) for seed in range(SEEDS)]
    played = [neteq(list(each.values())) for each in lists]  # in real time, so by itself
    for seed, (packets, heard) in enumerate(zip(lists, played, strict=True)):
        print(f"  judging {seed}", file=sys.stderr)
        for n, name in enumerate(NETWORKS):
            times = packets[name]
            if heard is not None:
                times = heard[n].came
                by[name]["NetEQ"].append(talk_of(heard[n]))
            by[name]["shipped"].append(talk(shipped.Playout, times, PHASES_S[seed]))
            if old is not None:
                by[name]["before"].append(talk(old.Playout, times, PHASES_S[seed]))
    return [figure for name, ways in by.items() for figure in figures(name, ways)]
