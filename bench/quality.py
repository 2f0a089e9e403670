"""How human speech sounds after loss: PESQ-WB and STOI of what the shipped playout gives.

Every run sends a clip through OutgoingVoice, drops packets, and hears the rest through
IncomingVoice; beside it the same packets are decoded in two poorer ways. The codec's look-ahead
and the playout's delay are taken out first; a run in which delay changed is left out, since PESQ
takes a shift in mid-sentence for a fault (none is expected: loss alone changes no delay).
"""

import statistics
import sys
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
import soxr
from pesq import pesq
from pystoi import stoi

from bench.figures import Figure
from p2phouse.vocabulary import FRAME_S, FRAME_SAMPLES, SAMPLE_RATE_HZ, Frame
from p2phouse.voice.opus import LOOKAHEAD_SAMPLES, Decoder
from tests.voice.speech import CLIPS, frames_of, librivox
from tests.voice.wire import STEADY, Conditions, Network, Sent, arrivals, ear_of, incoming, speak

NAME = "quality"

SEEDS: Final = 8
SCORE_RATE_HZ: Final = 16_000  # what PESQ-WB is defined for
TARGETS: Final = {0: "≥ 4.1", 5: "≥ 3.8", 10: "≥ 3.3", 20: "≥ 2.6"}
BURST_PACKETS: Final = 2.5
DELAY_FRAMES_MAX: Final = 6


@dataclass(frozen=True, slots=True)
class Score:
    pesq: float
    stoi: float


@dataclass(frozen=True, slots=True)
class Run:
    """One clip through one pattern of loss, heard in three ways."""

    shipped: Score
    concealing: Score  # no recovery from the follower
    zeroed: Score  # silence for what is lost
    lost_pct: float
    bitrate_bps: float


def score(said: np.ndarray, heard: np.ndarray) -> Score:
    """Both at 48 kHz; `heard` is whole frames and the codec's look-ahead late."""
    late = range(
        LOOKAHEAD_SAMPLES, LOOKAHEAD_SAMPLES + DELAY_FRAMES_MAX * FRAME_SAMPLES, FRAME_SAMPLES
    )
    padded = np.concatenate([heard, np.zeros(len(said), np.float32)])
    best = max(late, key=lambda by: float(said @ padded[by : by + len(said)]))
    one, other = (
        soxr.resample(sound, SAMPLE_RATE_HZ, SCORE_RATE_HZ)
        for sound in (said, padded[best : best + len(said)])
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return Score(
            float(pesq(SCORE_RATE_HZ, one, other, "wb")), float(stoi(one, other, SCORE_RATE_HZ))
        )


def through_playout(came: Iterable[tuple[float, Sent]], *, until_s: float) -> np.ndarray | None:
    """What the shipped classes play; None if delay changed on the way."""
    voice = incoming()
    ear = ear_of(voice)
    ear.listen(came, until_s=until_s)
    return None if voice.stats.grown or voice.stats.dropped else ear.sound


def without_recovery(came: Iterable[tuple[float, Sent]], ticks: int, *, zero: bool) -> np.ndarray:
    """Each packet decoded, what is lost concealed or (zero) silent; a pause of DTX as shipped."""
    here = {sent.counter: sent for _, sent in came}
    decoder = Decoder()
    frames: list[Frame] = []
    seq = None
    for n in range(ticks):
        if n in here:
            seq = here[n].seq
            frames.append(decoder.decode(here[n].opus))
            continue
        concealed = decoder.conceal()
        following = next((here[k] for k in range(n + 1, ticks) if k in here), None)
        is_lost = following is None or seq is None or following.seq != seq + 1
        frames.append(np.zeros_like(concealed) if zero and is_lost else concealed)
    return np.concatenate(frames)


def one_run(clip: str, conditions: Conditions, seed: int) -> Run | None:
    frames = frames_of(librivox(clip))
    said = np.concatenate(frames)
    sent = speak([*frames, *[np.zeros(FRAME_SAMPLES, np.float32)] * DELAY_FRAMES_MAX])
    came = arrivals(sent, Network(conditions, seed=seed))
    ticks = len(frames) + DELAY_FRAMES_MAX
    shipped = through_playout(came, until_s=(ticks + 2) * FRAME_S)
    if shipped is None:
        return None
    return Run(
        score(said, shipped),
        score(said, without_recovery(came, ticks, zero=False)),
        score(said, without_recovery(came, ticks, zero=True)),
        100 * (1 - len(came) / len(sent)),
        8 * sum(len(each.opus) for each in sent) / (ticks * FRAME_S),
    )


def runs(loss_pct: int, *, lost_in_a_row: float = 1.0) -> list[Run]:
    conditions = Conditions(STEADY.delay_s, loss=loss_pct / 100, lost_in_a_row=lost_in_a_row)
    seeds = range(SEEDS if loss_pct else 1)
    print(f"  {loss_pct} % loss, runs of {lost_in_a_row}", file=sys.stderr)
    # Another seed for each clip: one pattern for all would count one piece of luck five times.
    found = [
        one_run(clip, conditions, 1_000 * n + seed)
        for n, clip in enumerate(CLIPS)
        for seed in seeds
    ]
    return [run for run in found if run is not None]


def mean(scores: Iterable[float]) -> float:
    return round(statistics.fmean(scores), 3)


def without_loss() -> list[Figure]:
    found = runs(0)
    heard = [run.shipped.pesq for run in found]
    return [
        Figure(
            "bitrate of read speech, DTX on",
            round(mean(run.bitrate_bps for run in found) / 1000, 1),
            "kb/s",
        ),
        Figure(
            "PESQ-WB, no loss", mean(heard), "MOS", TARGETS[0],
            "libopus alone", mean(run.concealing.pesq for run in found),
            f"{len(found)} runs, {min(heard):.2f}-{max(heard):.2f}",
        ),
        Figure(
            "STOI, no loss", mean(run.shipped.stoi for run in found), "", "",
            "libopus alone", mean(run.concealing.stoi for run in found),
        ),
    ]  # fmt: skip


def with_loss(what: str, found: list[Run], target: str) -> list[Figure]:
    heard = [run.shipped.pesq for run in found]
    lost = mean(run.lost_pct for run in found)
    note = f"{len(found)} runs, {min(heard):.2f}-{max(heard):.2f}, lost {lost:.1f} %"
    return [
        Figure(
            f"PESQ-WB, {what}", mean(heard), "MOS", target,
            "concealed only", mean(run.concealing.pesq for run in found), note,
        ),
        Figure(
            f"PESQ-WB, {what}", mean(heard), "MOS", "",
            "lost frames silent", mean(run.zeroed.pesq for run in found),
        ),
        Figure(
            f"STOI, {what}", mean(run.shipped.stoi for run in found), "", "",
            "concealed only", mean(run.concealing.stoi for run in found),
        ),
    ]  # fmt: skip


def run() -> list[Figure]:
    figures = without_loss()
    for loss_pct in (5, 10, 20):
        figures += with_loss(f"{loss_pct} % random loss", runs(loss_pct), TARGETS[loss_pct])
    for loss_pct in (5, 10, 20):
        found = runs(loss_pct, lost_in_a_row=BURST_PACKETS)
        figures += with_loss(f"{loss_pct} % loss in runs of {BURST_PACKETS}", found, "")
    return figures
