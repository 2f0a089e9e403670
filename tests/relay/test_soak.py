"""A relay that carries two hundred listeners for long: it loses nothing and grows in nothing.

`P2PHOUSE_SOAK_MINUTES=120 pytest -m nightly tests/relay/test_soak.py -s` prints what it saw.
"""

import faulthandler
import os
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

from p2phouse_relay.crowd.processes import Trial, crowd_at, rss_kb, spent, trial_relay

MINUTES = float(os.environ.get("P2PHOUSE_SOAK_MINUTES", "2"))
LISTENERS = 200
LOOK_S = 5.0
SETTLE_S = 30.0  # last flights of handshakes are kept for ten seconds
GROWTH_KB_MAX = 2_000  # of a relay of about 150 MB, and of noise in what the system counts


class Look(NamedTuple):
    """Of both processes together."""

    at_s: float
    rss_kb: int
    descriptors: int


def look(relay: Trial) -> Look:
    pids = relay.control_pid, relay.media_pids[0]
    return Look(
        time.monotonic(),
        sum(map(rss_kb, pids)),
        sum(len(list(Path(f"/proc/{pid}/fd").iterdir())) for pid in pids),
    )


def growth_kb(looks: Sequence[Look]) -> float:
    """From the first third to the last, by medians: one look may fall on a busy moment."""
    third = max(1, len(looks) // 3)
    first, last = (
        statistics.median(each.rss_kb for each in some) for some in (looks[:third], looks[-third:])
    )
    return last - first


@pytest.mark.nightly
@pytest.mark.slow
def test_it_carries_on():
    faulthandler.cancel_dump_traceback_later()  # it stands nowhere, it takes that long
    with trial_relay() as relay, crowd_at(relay.http, listeners=LISTENERS, voices=1) as crowd:
        crowd.speak()
        assert crowd.join(LISTENERS, at_once=16).joined == LISTENERS
        crowd.rest(SETTLE_S)
        crowd.mark()
        before, began_s = spent(relay), time.monotonic()
        looks = [look(relay)]
        while looks[-1].at_s < began_s + 60 * MINUTES:
            crowd.rest(LOOK_S)
            looks.append(look(relay))
        used, seconds = spent(relay).since(before), time.monotonic() - began_s
        told = crowd.tell()
    grown = growth_kb(looks)
    print(
        f"\n{seconds:.0f} s, {told.expected:,} packets expected, {told.lost} lost,"
        f" {told.duplicated} twice, {told.reordered} late; delay p50 {told.delay_ms_p50} ms,"
        f" p99 {told.delay_ms_p99} ms, max {told.delay_ms_max} ms\n"
        f"memory {looks[0].rss_kb} → {looks[-1].rss_kb} kB, grown by {grown:.0f} kB;"
        f" descriptors {looks[0].descriptors} → {looks[-1].descriptors}\n"
        f"media {1e6 * used.media_s / told.packets:.2f} µs a packet,"
        f" control {1_000 * used.control_s / seconds:.2f} ms a second"
    )
    assert told.expected > LISTENERS * 45 * 60 * MINUTES
    assert told.lost == told.duplicated == told.silent == told.unopened == told.wrong == 0
    assert told.unanswered <= 2
    assert grown <= GROWTH_KB_MAX
    assert looks[-1].descriptors <= looks[0].descriptors  # at first libp2p still closes some
