"""What idle, pauses and stalls do to delay: clicks and speech through the real classes.

Virtual time: no machine's load is in these figures. Every case is heard at several phases between
the two ends' ticks; the worst is printed, beside the steady delay of the same run. Delay is from
mouth to ear, so 20 ms of frame and 6.5 ms of codec are in it.
"""

import statistics
from collections.abc import Callable
from functools import partial
from typing import Final

import numpy as np

from bench.figures import Figure
from p2phouse.hearing import measure
from p2phouse.vocabulary import FRAME_S, SAMPLE_RATE_HZ, Frame
from tests.voice.speech import CLIPS, frames_of, librivox, noise
from tests.voice.wire import (
    GOOD_WIFI,
    HOTEL,
    STEADY,
    WEAK_4G,
    Conditions,
    Network,
    arrivals,
    click,
    ear_of,
    incoming,
    speak,
)

NAME = "stalls"

PHASES_S: Final = (0.001, 0.007, 0.013, 0.019)
AFTER_S: Final = (0.0, 0.2, 1.0, 2.0, 4.0)
BACK_S: Final = 2.0  # by then the delay is to be what it was
CLICK_EACH: Final = 10  # frames
EVENT: Final = 300  # the frame at which idle or pause ends
FRAMES: Final = 600
START_S: Final = 0.1  # a sender that wakes is so late with its first packets (60-135 ms seen)
STALL_S: Final = 0.3
SEEDS: Final = 8

Case = Callable[[float], tuple[float, list[tuple[float, float]]]]
"""Given a phase: the steady delay, and (how long after it was over, delay) of what followed."""


def room(n: int) -> Frame:
    return noise(n, amplitude=0.0005)


def click_train(*, quiet: range = range(0), muted: range = range(0)) -> list[Frame | None]:
    frames = [
        room(n) + click() * (n % CLICK_EACH == 0 and n > 0 and n not in quiet)
        for n in range(FRAMES)
    ]
    return [None if n in muted else frame for n, frame in enumerate(frames)]


def click_delays(
    frames: list[Frame | None],
    phase_s: float,
    *,
    ear_stall_s: float = 0.0,
    network_stall_s: float = 0.0,
    late_start_s: float = 0.0,
) -> tuple[float, list[tuple[float, float]]]:
    over_s = EVENT * FRAME_S
    start_s = over_s + STEADY.delay_s + late_start_s
    network = Network(stalls=[(over_s - network_stall_s, network_stall_s)])
    came = [
        (max(at_s, start_s) if late_start_s and sent.counter >= EVENT else at_s, sent)
        for at_s, sent in arrivals(speak(frames), network)
    ]
    ear = ear_of(incoming(), phase_s=phase_s, stalls=[(over_s - ear_stall_s, ear_stall_s)])
    ear.listen(came, until_s=FRAMES * FRAME_S + 0.5)
    after = [n for n in range(EVENT, FRAMES, CLICK_EACH) if frames[n] is not None]
    return ear.click_delay_s(2 * CLICK_EACH), [
        (n * FRAME_S - over_s, ear.click_delay_s(n)) for n in after
    ]


def speech() -> np.ndarray:
    return np.concatenate([librivox(clip) for clip in CLIPS])


def speech_delays(
    phase_s: float, *, ear_stall_s: float = 0.0, network_stall_s: float = 0.0
) -> tuple[float, list[tuple[float, float]]]:
    said, over_s = speech(), 4.1  # in mid-sentence
    ear = ear_of(incoming(), phase_s=phase_s, stalls=[(over_s - ear_stall_s, ear_stall_s)])
    network = Network(stalls=[(over_s - network_stall_s, network_stall_s)])
    ear.listen(arrivals(speak(frames_of(said)), network), until_s=24.0)
    steady_s = ear.delay_s(said, over_s - 1.1)
    assert steady_s is not None
    later = np.arange(0.0, 6.0, 0.1)
    found = [(float(each), ear.delay_s(said, over_s + float(each))) for each in later]
    return steady_s, [(each, delay_s) for each, delay_s in found if delay_s is not None]


def after_event(what: str, case: Case, *, note: str = "") -> list[Figure]:
    """Delay so long after it was over, the worst of all phases, beside what it was before."""
    heard = [case(phase_s) for phase_s in PHASES_S]
    figures = []
    for later_s in AFTER_S:
        # What was spoken at this time or next after it; in speech there may be a pause here.
        pairs = [
            (steady_s, next((delay_s for at_s, delay_s in found if at_s >= later_s - 0.001)))
            for steady_s, found in heard
        ]
        steady_s, delay_s = max(pairs, key=lambda pair: pair[1] - pair[0])
        figures.append(
            Figure(
                f"{what}, {later_s:g} s after", round(1000 * delay_s, 1), "ms",
                f"≤ {1000 * steady_s + 1:.1f}" if later_s >= BACK_S else "",
                "before", round(1000 * steady_s, 1), note,
            )
        )  # fmt: skip
    return figures


def over_network(name: str, conditions: Conditions) -> list[Figure]:
    """24 s of read speech several times over a named network."""
    said = speech()
    sent = speak(frames_of(said))
    p50: list[float] = []
    p99: list[float] = []
    stoi, made_up, late = [], [], []
    for seed in range(SEEDS):
        voice = incoming()
        ear = ear_of(voice, phase_s=PHASES_S[seed % len(PHASES_S)])
        ear.listen(
            arrivals(sent, Network(conditions, seed=seed)), until_s=len(said) / SAMPLE_RATE_HZ + 1
        )
        heard = measure(
            sent=said, spoken_s=-FRAME_S, heard=ear.sound, played_s=PHASES_S[seed % len(PHASES_S)]
        )
        if heard.delay_ms_p50 is not None and heard.delay_ms_p99 is not None:
            p50.append(heard.delay_ms_p50)
            p99.append(heard.delay_ms_p99)
        stoi.append(heard.stoi)
        stats = voice.stats
        made_up.append(100 * (stats.concealed + stats.grown) / len(sent))
        late.append(100 * stats.late / len(sent))
    lost = 100 * conditions.loss
    return [
        Figure(
            f"{name}: delay of read speech, p50 of {SEEDS} talks", round(statistics.fmean(p50), 1),
            "ms", "", "of it the way", 1000 * conditions.delay_s,
        ),
        Figure(f"{name}: delay of read speech, p99", round(statistics.fmean(p99), 1), "ms"),
        Figure(
            f"{name}: frames made up", round(statistics.fmean(made_up), 2), "%", "",
            "packets the network lost", lost, f"came too late: {statistics.fmean(late):.2f} %",
        ),
        Figure(f"{name}: STOI by half seconds", round(statistics.fmean(stoi), 3), ""),
    ]  # fmt: skip


def run() -> list[Figure]:
    idle = range(EVENT - 200, EVENT)
    figures = after_event(
        "click after 4 s of mute",
        partial(click_delays, click_train(muted=idle)),
    )
    figures += after_event(
        "click after mute, sender slow to start",
        partial(click_delays, click_train(muted=idle), late_start_s=START_S),
        note=f"its first packets {1000 * START_S:.0f} ms late",
    )
    figures += after_event("click after 4 s of DTX", partial(click_delays, click_train(quiet=idle)))
    figures += after_event(
        "click, 300 ms stall of the ear",
        partial(click_delays, click_train(), ear_stall_s=STALL_S),
    )
    figures += after_event(
        "click, 300 ms stall of the network",
        partial(click_delays, click_train(), network_stall_s=STALL_S),
    )
    figures += after_event(
        "speech, 300 ms stall of the ear", partial(speech_delays, ear_stall_s=STALL_S)
    )
    for stall_s in (0.08, STALL_S):
        figures += after_event(
            f"speech, {1000 * stall_s:.0f} ms stall of the network",
            partial(speech_delays, network_stall_s=stall_s),
            note="waited for" if stall_s < 0.1 else "what it held back is left out",
        )
    figures += over_network("good_wifi", GOOD_WIFI)
    figures += over_network("weak_4g", WEAK_4G)
    figures += over_network("hotel", HOTEL)
    return figures
