"""Four voices of real Opus sent together beside the same at once, and beside packets of one length.

Packets that go together as one message (UDP_SEGMENT) must be of one length, so the shorter are
padded. Lengths are of read human speech by our own encoder: each voice a clip, said over and over
without a pause. In turns, in one run; how it is measured stands in bench/relay.py.
"""

import sys
from collections.abc import Iterator, Sequence
from statistics import median
from typing import Final, NamedTuple

from bench.figures import Figure
from bench.relay import CROWD_CORE, IN_REAL_TIME, LIMIT_LOSS, LIMIT_MS, RELAY_CORE, Run
from p2phouse.voice.opus import DTX_BYTES_MAX, Encoder
from p2phouse_relay.crowd.crowd import Measured
from p2phouse_relay.crowd.processes import Spent, crowd_at, trial_relay
from p2phouse_relay.crowd.said import PAYLOAD_BYTES
from tests.voice.speech import CLIPS, frames_of, librivox

NAME = "relay_opus"
LISTENERS: Final = 200
VOICES: Final = 4
TURNS: Final = 3  # what else the machine does hits all
HEAD_BYTES: Final = 28  # of UDP and IPv4
ALWAYS: Final = 0

Lengths = Sequence[Sequence[int]]


class Turn(NamedTuple):
    """CPU is for each packet that came."""

    told: Measured
    used: Spent

    @property
    def media_us(self) -> float:
        return 1e6 * self.used.media_s / self.told.packets

    @property
    def control_us(self) -> float:
        return 1e6 * self.used.control_s / self.told.packets

    @property
    def both_us(self) -> float:
        return self.media_us + self.control_us


def lengths_of(clip: str) -> list[int]:
    """Of the packets of a clip that are sent."""
    encoder = Encoder()
    packets = map(encoder.encode, frames_of(librivox(clip)))
    return [len(each) for each in packets if len(each) > DTX_BYTES_MAX]


def measured(lengths: Lengths, together_above: int | None) -> Turn:
    with (
        trial_relay(core=RELAY_CORE, together_above=together_above) as relay,
        crowd_at(relay.http, listeners=LISTENERS, voices=VOICES, core=CROWD_CORE) as crowd,
    ):
        its = Run(relay, crowd)
        its.hurry()
        crowd.speak(lengths)
        its.join(LISTENERS)
        turn = Turn(*its.measure())
        crowd.leave()
    assert turn.told.unopened == turn.told.wrong == 0, turn
    return turn


def figures_of(what: str, turns: Sequence[Turn]) -> Iterator[Figure]:
    kind = ", SCHED_FIFO" if IN_REAL_TIME else ""
    for part in ("both", "media", "control"):
        us = [getattr(each, f"{part}_us") for each in turns]
        note = f"of {', '.join(f'{each:.2f}' for each in us)}{kind}"
        name = part.replace("both", "media and control")
        yield Figure(f"{what}: CPU per packet, {name}", round(median(us), 2), "µs", note=note)
    padding, opened = (
        sum(getattr(each.told, of) for each in turns) for of in ("padding", "opened")
    )
    octets = sum(each.told.octets for each in turns) + HEAD_BYTES * opened
    note = f"of {octets / opened:.0f} bytes a packet with UDP and IPv4"
    yield Figure(f"{what}: padding", round(100 * padding / octets, 2), "%", note=note)
    p50, p99 = (
        median(getattr(each.told, f"delay_ms_{of}") for each in turns) for of in ("p50", "p99")
    )
    yield Figure(f"{what}: delay p50", round(p50, 2), "ms")
    yield Figure(f"{what}: delay p99", round(p99, 2), "ms", LIMIT_MS)
    lost = max(each.told.loss for each in turns)
    note = f"{opened:,} opened and compared, 0 bad"
    yield Figure(f"{what}: lost", round(100 * lost, 4), "%", LIMIT_LOSS, note=note)


def run() -> list[Figure]:
    speech = [lengths_of(clip) for clip in CLIPS[:VOICES]]
    one = [[PAYLOAD_BYTES]] * VOICES
    here = f"{VOICES} × {LISTENERS}"
    ways: dict[str, tuple[Lengths, int | None]] = {
        f"{here}, real Opus, together forced": (speech, ALWAYS),
        f"{here}, real Opus, at once": (speech, None),
        f"{here}, packets of one length, together forced": (one, ALWAYS),
    }
    turns: dict[str, list[Turn]] = {what: [] for what in ways}
    for number in range(TURNS):
        for what, (lengths, together_above) in ways.items():
            turns[what].append(measured(lengths, together_above))
            print(
                f"{number + 1}: {what}: {turns[what][-1].both_us:.2f} µs",
                file=sys.stderr,
                flush=True,
            )
    return [figure for what, its in turns.items() for figure in figures_of(what, its)]
