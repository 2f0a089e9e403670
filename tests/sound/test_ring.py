from collections import deque

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2phouse.sound.ring import CAPACITY_SAMPLES, Cushion, Ring, bend
from p2phouse.vocabulary import FRAME_SAMPLES, SAMPLE_RATE_HZ
from tests.sound.sounds import sine

BLOCK_SAMPLES = 480


@settings(max_examples=200)
@given(st.lists(st.tuples(st.sampled_from(["put", "take", "drop"]), st.integers(-20, 150))))
def test_a_ring_is_a_queue_that_forgets_its_oldest(steps: list[tuple[str, int]]):
    ring, model, count = Ring(100), deque[float](maxlen=100), 0
    for step, size in steps:
        if step == "drop":
            ring.drop(size)
            for _ in range(min(size, len(model))):
                model.popleft()
        elif size < 0:
            continue
        elif step == "put":
            sound = np.arange(count, count + size, dtype=np.float32)
            count += size
            ring.put(sound)
            model.extend(sound.tolist())
        else:
            taken = ring.take(size)
            if size > len(model):
                assert taken is None
            else:
                assert taken is not None
                assert taken.tolist() == [model.popleft() for _ in range(size)]
        assert len(ring) == len(model)


def test_what_is_taken_is_not_changed_by_what_comes_after():
    ring = Ring(100)
    ring.put(np.ones(60, np.float32))
    taken = ring.take(50)
    ring.put(np.zeros(100, np.float32))
    assert taken is not None
    assert (taken == 1).all()


@pytest.mark.parametrize("count", [941, 950, 959, 961, 970, 979])
def test_a_bent_frame_is_the_same_sound_a_little_longer_or_shorter(count: int):
    sound = sine()[:count]
    bent = bend(sound, FRAME_SAMPLES)
    assert bent.shape == (FRAME_SAMPLES,)
    assert bent.dtype == np.float32
    assert bent[0] == sound[0]
    assert bent[-1] == sound[-1]
    assert float(np.abs(np.diff(bent)).max()) < 1.05 * float(np.abs(np.diff(sound)).max())


class Card:
    """A sound card whose clock is off by `ppm`; moves blocks through a ring in virtual time."""

    def __init__(self, ppm: float) -> None:
        self._block_s = BLOCK_SAMPLES / SAMPLE_RATE_HZ / (1 + ppm / 1e6)
        self._next_s = self._block_s * 0.37  # in no phase with the tick

    def blocks_until(self, now_s: float) -> int:
        count = 0
        while self._next_s <= now_s:
            self._next_s += self._block_s
            count += 1
        return count


@pytest.mark.parametrize("ppm", [-300, -50, 50, 300])
def test_a_microphone_whose_clock_drifts_is_never_late_and_never_far_behind(ppm: int):
    ring, cushion, card = Ring(), Cushion(), Card(ppm)
    starved: list[int] = []
    ring.put(np.zeros(BLOCK_SAMPLES, np.float32))
    for tick in range(15_000):  # five minutes
        for _ in range(card.blocks_until(tick * 0.02)):
            ring.put(np.zeros(BLOCK_SAMPLES, np.float32))
        surplus = cushion.surplus(len(ring) - FRAME_SAMPLES)
        if ring.take(FRAME_SAMPLES + surplus) is None:
            starved.append(tick)
        if tick > 250:
            assert len(ring) < 2 * FRAME_SAMPLES
    assert all(tick < 50 for tick in starved)


@pytest.mark.parametrize("ppm", [-300, -50, 50, 300])
def test_a_loudspeaker_whose_clock_drifts_never_runs_dry_and_never_lags_far(ppm: int):
    ring, cushion, card = Ring(), Cushion(), Card(ppm)
    dry: list[int] = []
    for tick in range(15_000):
        for _ in range(card.blocks_until(tick * 0.02)):
            dry += [tick] if ring.take(BLOCK_SAMPLES) is None else []
        if tick > 250:
            assert len(ring) < 2 * FRAME_SAMPLES
        ring.put(np.zeros(FRAME_SAMPLES - cushion.surplus(len(ring)), np.float32))
    assert all(tick < 50 for tick in dry)


def test_what_a_stall_left_behind_is_used_up_within_seconds():
    ring, cushion, card = Ring(), Cushion(), Card(0)
    held = []
    for tick in range(400):
        for _ in range(card.blocks_until(tick * 0.02)):
            ring.put(np.zeros(BLOCK_SAMPLES, np.float32))
        if tick == 100:
            ring.put(np.zeros(CAPACITY_SAMPLES, np.float32))
        ring.take(FRAME_SAMPLES + cushion.surplus(len(ring) - FRAME_SAMPLES))
        held.append(len(ring))
    assert held[101] > 4 * FRAME_SAMPLES
    assert held[-1] < 2 * FRAME_SAMPLES
